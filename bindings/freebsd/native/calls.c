/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The system calls of both ABIs through syscall(2): libc knows neither.
 */
#include <sys/types.h>
#include <sys/syscall.h>

#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "native.h"

void ccdrl_calls_begin(void)
{
	signal(SIGSYS, SIG_IGN);
}

int ccdrl_call_get_buffer(int number, struct drl_subflow_sample *samples, uint32_t *count)
{
	return syscall(number, samples, count) == 0 ? 0 : -errno;
}

int ccdrl_call_update_cwnd(int number, const struct drl_cwnd_action *actions, uint32_t n, int32_t *results)
{
	return syscall(number, actions, n, results) == 0 ? 0 : -errno;
}

/* An empty queue is told by -1 with errno as it was. */
int ccdrl_v1_get_buffer(struct ccdrl_v1_record *records, int *count)
{
	*count = 0;
	errno = 0;
	if (syscall(CCDRL_V1_GET_BUFFER, records, count) == -1) {
		*count = 0;
		return -errno;
	}
	return 0;
}

int ccdrl_v1_update_cwnd(uint32_t cwnd_bytes, uint32_t local_addr, uint32_t local_port)
{
	errno = 0;
	if (syscall(CCDRL_V1_UPDATE_CWND, cwnd_bytes, local_addr, local_port) == -1)
		return errno != 0 ? -errno : -ENOENT;
	return 0;
}
