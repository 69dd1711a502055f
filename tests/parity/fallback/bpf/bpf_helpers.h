/* SPDX-License-Identifier: BSD-2-Clause */
/* Instead of libbpf's headers: programs become plain functions, maps are looked up by linux_fallback.c. */
#ifndef STANDIN_BPF_HELPERS_H
#define STANDIN_BPF_HELPERS_H

#define SEC(name)
#define __ksym
#undef __always_inline
#define __always_inline inline __attribute__((always_inline, unused))
#define __uint(name, value) int (*name)[value]
#define __type(name, value) __typeof__(value) *name
#define BPF_PROG(name, args...) name(args)
#define BPF_CORE_READ_BITFIELD(object, field) ((object)->field)
#define BPF_CORE_READ_BITFIELD_PROBED(object, field) ((object)->field)
#define bpf_core_read(to, bytes, from) memcpy(to, from, bytes)
#define bpf_core_type_id_kernel(type) 0
#define bpf_ntohs(value) __builtin_bswap16(value)
#define bpf_htonl(value) __builtin_bswap32(value)

static void *bpf_map_lookup_elem(void *map, const void *key);
static long bpf_map_update_elem(void *map, const void *key, const void *value, __u64 flags);
static long bpf_map_delete_elem(void *map, const void *key);
static long bpf_map_pop_elem(void *map, void *value);
static long bpf_map_push_elem(void *map, const void *value, __u64 flags);
static __u64 bpf_ktime_get_ns(void);
static __u64 bpf_jiffies64(void);

#endif
