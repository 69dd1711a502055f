/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What Python calls of the FreeBSD binding. Parsed by cffi, together with ccdrl.h.
 *
 * calls.c     the system calls of both ABIs, by number
 * system.c    modules, sysctls
 *
 * Functions that can fail return a negative errno. A number that no call has yields -ENOSYS once SIGSYS is ignored.
 */
#ifndef CCDRL_FREEBSD_NATIVE_H
#define CCDRL_FREEBSD_NATIVE_H

#ifndef CCDRL_CFFI
#include <stddef.h>
#include <stdint.h>

#include "ccdrl.h"
#endif

/* ABI v1: the static numbers of the FreeBSD 13.1 MPTCP kernel. FreeBSD 14 gave them to kqueuex and membarrier. */
enum ccdrl_v1_limits {
	CCDRL_V1_UPDATE_CWND = 583,
	CCDRL_V1_GET_BUFFER = 584,
	CCDRL_V1_QUEUE_RECORDS = 10000,	/* the kernel's queue, and so the room that a caller must have */
};

/* One event of one subflow: an ACK, or a congestion signal. */
struct ccdrl_v1_record {
	uint32_t cwnd_bytes;
	int32_t srtt_q5_ticks;		/* t_srtt: ticks, scaled by 32; 0: no sample yet */
	int32_t cong_events;		/* 1: congestion signal */
	uint32_t local_addr;		/* network byte order */
	uint32_t local_port;		/* network byte order, in the low 16 bits */
};

/* A system call of a loaded module. */
struct ccdrl_call {
	int module_id;			/* never given twice in one boot */
	int number;
};

/* calls.c */
void ccdrl_calls_begin(void);		/* ignores SIGSYS, as a number may lose its call at any time */
int ccdrl_call_get_buffer(int number, struct drl_subflow_sample *samples, uint32_t *count);
int ccdrl_call_update_cwnd(int number, const struct drl_cwnd_action *actions, uint32_t n, int32_t *results);
/* Room for CCDRL_V1_QUEUE_RECORDS; *count is 0 where the queue is empty. */
int ccdrl_v1_get_buffer(struct ccdrl_v1_record *records, int *count);
int ccdrl_v1_update_cwnd(uint32_t cwnd_bytes, uint32_t local_addr, uint32_t local_port);

/* system.c */
int ccdrl_call_find(const char *module, struct ccdrl_call *out);
int ccdrl_call_check(const struct ccdrl_call *call);	/* -ENOENT: its module was unloaded */
int ccdrl_sysctl_number(const char *name, uint64_t *out);	/* of 4 or 8 bytes */
int ccdrl_sysctl_text(const char *name, char *out, size_t size);
int ccdrl_clock_hz(uint32_t *out);	/* kern.clockrate: ticks in a second */

#endif /* CCDRL_FREEBSD_NATIVE_H */
