/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Instead of the kernel's types: the members that kmod/linux/ccdrl.bpf.c names, so that it compiles and runs in user
 * space. BPF finds members by name when it is loaded; here the order is ours.
 */
#ifndef __VMLINUX_H__
#define __VMLINUX_H__

#include <stdbool.h>
#include <stddef.h>

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long __u64;	/* as uint64_t, where longs have 64 bits */
typedef int __s32;
typedef long __s64;

enum { TCP_FIN_WAIT1 = 4, TCP_LAST_ACK = 9, TCP_CLOSING = 11 };
enum tcp_ca_event { CA_EVENT_TX_START };
enum tcp_chrono { TCP_CHRONO_UNSPEC, TCP_CHRONO_BUSY, TCP_CHRONO_RWND_LIMITED };
enum sk_pacing { SK_PACING_NONE, SK_PACING_NEEDED, SK_PACING_FQ };
enum bpf_map_type { BPF_MAP_TYPE_HASH = 1, BPF_MAP_TYPE_ARRAY = 2, BPF_MAP_TYPE_QUEUE = 22 };
enum { BPF_ANY = 0, BPF_NOEXIST = 1, BPF_F_NO_PREALLOC = 1, BPF_F_MMAPABLE = 1024 };

struct in6_addr {
	union {
		__u32 u6_addr32[4];
	} in6_u;
};

struct net {
	struct {
		int sysctl_tcp_pacing_ss_ratio;
		int sysctl_tcp_pacing_ca_ratio;
		__u8 sysctl_tcp_slow_start_after_idle;
	} ipv4;
};

struct sock {
	struct {
		struct {
			struct net *net;
		} skc_net;
		struct in6_addr skc_v6_rcv_saddr, skc_v6_daddr;
		__u32 skc_rcv_saddr, skc_daddr;
		__u16 skc_num, skc_dport, skc_family;
		volatile __u8 skc_state;
	} __sk_common;
	unsigned long sk_pacing_rate, sk_max_pacing_rate;
	__u32 sk_pacing_status;
};

struct inet_connection_sock {
	struct sock sk;
	void *icsk_ulp_data;
	__u32 icsk_rto;
	__u8 icsk_ca_state, icsk_ca_initialized, icsk_backoff;
	__u64 icsk_ca_priv[13];
};

struct minmax_sample {
	__u32 t, v;
};

struct tcp_sock {
	struct inet_connection_sock inet_conn;
	__u32 mss_cache, snd_cwnd, snd_cwnd_cnt, snd_cwnd_clamp, snd_cwnd_stamp, snd_ssthresh, prior_cwnd, prr_out;
	__u32 packets_out, sacked_out, lost_out, retrans_out, max_packets_out, lost, snd_una, snd_nxt, snd_wnd, write_seq;
	__u32 delivered, srtt_us, mdev_us, undo_marker, lsndtime, rate_delivered, rate_interval_us;
	__u64 bytes_acked, bytes_sent, bytes_retrans;
	struct {
		struct minmax_sample s[3];
	} rtt_min;
	__u8 is_cwnd_limited, rate_app_limited, chrono_type;
	bool is_mptcp;
};

struct rate_sample {
	long rtt_us;
	int losses;
	__u32 acked_sacked, prior_in_flight;
};

struct mptcp_sock {
	__u32 token;
};

struct mptcp_subflow_context {
	__u32 token;
	void *conn;
	__u8 backup, request_bkup;
};

struct tcp_congestion_ops {
	char name[16];
	__u32 flags;
	void *init, *release, *cong_control, *ssthresh, *undo_cwnd, *set_state, *cwnd_event, *sndbuf_expand;
};

#endif
