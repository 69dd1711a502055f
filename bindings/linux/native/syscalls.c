/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * bpf(2) on maps and pins: a reader of pinned maps needs no library and no capability.
 */
#define _GNU_SOURCE
#include "native.h"

#include <errno.h>
#include <linux/bpf.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int bpf(enum bpf_cmd command, union bpf_attr *attr)
{
	long result = syscall(SYS_bpf, command, attr, sizeof(*attr));

	return result < 0 ? -errno : (int)result;
}

int ccdrl_bpf_open(const char *path)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.pathname = (uintptr_t)path;
	return bpf(BPF_OBJ_GET, &attr);
}

int ccdrl_bpf_pin(int fd, const char *path)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.pathname = (uintptr_t)path;
	attr.bpf_fd = (uint32_t)fd;
	return bpf(BPF_OBJ_PIN, &attr);
}

int ccdrl_bpf_freeze(int fd)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.map_fd = (uint32_t)fd;
	return bpf(BPF_MAP_FREEZE, &attr);
}

int ccdrl_bpf_shape(int fd, struct ccdrl_map_shape *out)
{
	struct bpf_map_info info;
	union bpf_attr attr;
	int error;

	memset(&info, 0, sizeof(info));
	memset(&attr, 0, sizeof(attr));
	attr.info.bpf_fd = (uint32_t)fd;
	attr.info.info_len = sizeof(info);
	attr.info.info = (uintptr_t)&info;
	error = bpf(BPF_OBJ_GET_INFO_BY_FD, &attr);
	if (error < 0)
		return error;
	out->type = info.type;
	out->key_bytes = info.key_size;
	out->value_bytes = info.value_size;
	out->entries = info.max_entries;
	return 0;
}

int ccdrl_bpf_update(int fd, const void *key, const void *value)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.map_fd = (uint32_t)fd;
	attr.key = (uintptr_t)key;
	attr.value = (uintptr_t)value;
	return bpf(BPF_MAP_UPDATE_ELEM, &attr);
}

int ccdrl_bpf_delete(int fd, const void *key)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.map_fd = (uint32_t)fd;
	attr.key = (uintptr_t)key;
	return bpf(BPF_MAP_DELETE_ELEM, &attr);
}
