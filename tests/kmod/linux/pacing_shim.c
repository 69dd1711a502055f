/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * pacing_update() of kmod/linux/ccdrl_window.h as a library, in the stand-in of a kernel that the fallback's tests have.
 */
#include "../../parity/fallback/linux_fallback.c"

/* What a socket's pacing status becomes; `wanted` is the action's rate, `owners` its owner's bound, in bytes a second. */
uint32_t shim_pacing_status(uint32_t status, uint64_t wanted, uint64_t owners);

uint32_t shim_pacing_status(uint32_t status, uint64_t wanted, uint64_t owners)
{
	struct fallback *fallback = fallback_new(1, 1448);
	struct ccdrl_subflow sf = { .pacing_bytes_per_s = wanted };
	struct sock *sk = &fallback->subflows[0].inet_conn.sk;
	uint32_t result;

	sk->sk_pacing_status = status;
	sk->sk_max_pacing_rate = owners;
	pacing_update(sk, &sf);
	result = sk->sk_pacing_status;
	fallback_free(fallback);
	return result;
}
