/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Bounds what waits unsent on each subflow to a few of its windows.
 *
 * Linux's MPTCP hands data to the subflow that would be through with its queue first, as long as that subflow's send buffer
 * has room. Send buffers grow with the window and never shrink, so after a few losses megabytes stand in the queue of a
 * subflow whose window has collapsed, the connection's own send buffer is full of them, and the siblings go idle for seconds.
 * TCP_NOTSENT_LOWAT bounds such a queue, but on an MPTCP socket it holds for the connection and not for its subflows. A
 * program at the hooks of sockets (BPF_PROG_TYPE_SOCK_OPS) can set it on a subflow: here once a round trip.
 *
 * It is attached to the cgroup hierarchy through a link, which ends with its last file descriptor, and looks only at sockets
 * with the test bed's addresses in other network namespaces than the caller's. It is short enough to be written out.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "testbed.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

#define SENDERS_MASK 0xff800000	/* of TESTBED_ADDRESS_SENDERS */
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define LOAD(to, field) { BPF_LDX | BPF_MEM | BPF_W, (to), BPF_REG_6, offsetof(struct bpf_sock_ops, field), 0 }
#define MOVE(to, from) { BPF_ALU64 | BPF_MOV | BPF_X, (to), (from), 0, 0 }
#define SET(to, value) { BPF_ALU64 | BPF_MOV | BPF_K, (to), 0, 0, (value) }
#define ALU(operation, source, to, from, value) { BPF_ALU64 | (operation) | (source), (to), (from), 0, (value) }
#define JUMP(condition, reg, value, over) { BPF_JMP32 | (condition) | BPF_K, (reg), 0, (over), (value) }
#define CALL(function) { BPF_JMP | BPF_CALL, 0, 0, 0, (function) }

static int64_t netns_cookie(void)
{
	uint64_t cookie = 0;
	socklen_t bytes = sizeof(cookie);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), error;

	if (fd < 0)
		return -errno;
	error = getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &bytes) == 0 ? 0 : -errno;
	close(fd);
	return error != 0 ? error : (int64_t)cookie;
}

static int program_load(int64_t own_netns, int windows)
{
	const struct bpf_insn program[] = {
		/* 0 */ MOVE(BPF_REG_6, BPF_REG_1),
		/* 1 */ LOAD(BPF_REG_2, remote_ip4),
		/* 2 */ JUMP(BPF_JNE, BPF_REG_2, (int)htonl(TESTBED_ADDRESS_RECEIVER), 25),
		/* 3 */ LOAD(BPF_REG_2, local_ip4),
		/* 4 */ ALU(BPF_AND, BPF_K, BPF_REG_2, 0, (int)htonl(SENDERS_MASK)),
		/* 5 */ JUMP(BPF_JNE, BPF_REG_2, (int)htonl(TESTBED_ADDRESS_SENDERS & SENDERS_MASK), 22),
		/* 6 */ CALL(BPF_FUNC_get_netns_cookie),
		/* 7 */ { BPF_LD | BPF_IMM | BPF_DW, BPF_REG_2, 0, 0, (int)own_netns },
		/* 8 */ { 0, 0, 0, 0, (int)(own_netns >> 32) },
		/* 9 */ { BPF_JMP | BPF_JEQ | BPF_X, BPF_REG_0, BPF_REG_2, 18, 0 },
		/* 10 */ LOAD(BPF_REG_2, op),
		/* 11 */ JUMP(BPF_JEQ, BPF_REG_2, BPF_SOCK_OPS_RTT_CB, 4),
		/* 12 */ JUMP(BPF_JNE, BPF_REG_2, BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB, 15),
		/* 13 */ MOVE(BPF_REG_1, BPF_REG_6),
		/* 14 */ SET(BPF_REG_2, BPF_SOCK_OPS_RTT_CB_FLAG),
		/* 15 */ CALL(BPF_FUNC_sock_ops_cb_flags_set),
		/* 16 */ LOAD(BPF_REG_7, snd_cwnd),
		/* 17 */ LOAD(BPF_REG_8, mss_cache),
		/* 18 */ ALU(BPF_MUL, BPF_X, BPF_REG_7, BPF_REG_8, 0),
		/* 19 */ ALU(BPF_MUL, BPF_K, BPF_REG_7, 0, windows),
		/* 20 */ { BPF_STX | BPF_MEM | BPF_W, BPF_REG_10, BPF_REG_7, -4, 0 },
		/* 21 */ MOVE(BPF_REG_1, BPF_REG_6),
		/* 22 */ SET(BPF_REG_2, IPPROTO_TCP),
		/* 23 */ SET(BPF_REG_3, TCP_NOTSENT_LOWAT),
		/* 24 */ MOVE(BPF_REG_4, BPF_REG_10),
		/* 25 */ ALU(BPF_ADD, BPF_K, BPF_REG_4, 0, -4),
		/* 26 */ SET(BPF_REG_5, 4),
		/* 27 */ CALL(BPF_FUNC_setsockopt),
		/* 28 */ SET(BPF_REG_0, 1),
		/* 29 */ { BPF_JMP | BPF_EXIT, 0, 0, 0, 0 },
	};
	union bpf_attr attributes;
	int fd;

	memset(&attributes, 0, sizeof(attributes));
	attributes.prog_type = BPF_PROG_TYPE_SOCK_OPS;
	attributes.insns = (uint64_t)(uintptr_t)program;
	attributes.insn_cnt = COUNT(program);
	attributes.license = (uint64_t)(uintptr_t)"Dual BSD/GPL";
	memcpy(attributes.prog_name, "testbed_unsent", sizeof("testbed_unsent"));
	fd = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &attributes, sizeof(attributes));
	return fd < 0 ? -errno : fd;
}

static int link_create(int program, int cgroup)
{
	union bpf_attr attributes;
	int fd;

	memset(&attributes, 0, sizeof(attributes));
	attributes.link_create.prog_fd = (uint32_t)program;
	attributes.link_create.target_fd = (uint32_t)cgroup;
	attributes.link_create.attach_type = BPF_CGROUP_SOCK_OPS;
	fd = (int)syscall(SYS_bpf, BPF_LINK_CREATE, &attributes, sizeof(attributes));
	return fd < 0 ? -errno : fd;
}

int testbed_unsent_bound(const char *cgroup_path, uint32_t windows)
{
	const int64_t own_netns = netns_cookie();
	int cgroup, program, link;

	if (own_netns < 0)
		return (int)own_netns;
	cgroup = open(cgroup_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (cgroup < 0)
		return -errno;
	program = program_load(own_netns, (int)windows);
	link = program < 0 ? program : link_create(program, cgroup);
	if (program >= 0)
		close(program);
	close(cgroup);
	return link;
}
