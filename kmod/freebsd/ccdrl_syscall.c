/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The two calls, as modules with numbers of their own: user space finds those with modfind("sys/drl_get_buffer").
 *
 *   drl_get_buffer(samples, count)          *count in: room in samples; out: records filled
 *   drl_update_cwnd(actions, n, results)    results[i]: enum drl_action_result of actions[i]
 *
 * EPERM without privilege, EINVAL for a count out of bounds, EFAULT for memory that is not the caller's; after
 * an error no record is lost, and no action was taken.
 */
#include "ccdrl_var.h"

#include <sys/priv.h>
#include <sys/syscallsubr.h>
#include <sys/sysent.h>

#include <bsm/audit_kevents.h>

#define	CCDRL_CAPACITY_MAX	INT32_MAX	/* more is a negative number */
#define	CCDRL_ACTIONS_MAX	65536

/* Registers as the caller filled them: the upper half of one that carries 32 bits may hold anything. */
struct drl_get_buffer_args {
	register_t samples;
	register_t count;
};

struct drl_update_cwnd_args {
	register_t actions;
	register_t n;
	register_t results;
};

/*
 * Who may shape every connection's traffic: the superuser of this network stack, which in a jail must be its own
 * (vnet), as for dummynet(4).
 */
static int
caller_check(struct thread *td)
{

	return (priv_check(td, PRIV_NETINET_DUMMYNET));
}

static int
sys_drl_get_buffer(struct thread *td, void *args)
{
	struct drl_get_buffer_args *uap = args;
	struct drl_subflow_sample *to = (void *)uap->samples, *samples = NULL;
	struct ccdrl_list closed = TAILQ_HEAD_INITIALIZER(closed);
	uint32_t capacity, pending, room, n = 0;
	int error;

	error = caller_check(td);
	if (error != 0)
		return (error);
	error = copyin((void *)uap->count, &capacity, sizeof(capacity));
	if (error != 0)
		return (error);
	if (capacity > CCDRL_CAPACITY_MAX)
		return (EINVAL);
	if (capacity > 0 && to == NULL)
		return (EFAULT);

	/* As large as what waits, not as what the caller names. MIN() would count twice, and more may wait by then. */
	pending = ccdrl_records_pending();
	room = MIN(capacity, pending);
	if (room > 0) {
		samples = malloc(room * sizeof(*samples), M_CCDRL, M_WAITOK);
		n = ccdrl_records_take(ccdrl_thread_vnet(td), samples, room, &closed);
		error = copyout(samples, to, n * sizeof(*samples));
	}
	if (error == 0)
		error = copyout(&n, (void *)uap->count, sizeof(n));
	if (error == 0)
		ccdrl_records_free(&closed);
	else
		ccdrl_records_restore(samples, n, &closed);
	free(samples, M_CCDRL);
	return (error);
}

static void
result_count(enum drl_action_result result)
{

	switch (result) {
	case DRL_RESULT_APPLIED:
		CCDRL_COUNT(actions.applied);
		break;
	case DRL_RESULT_CLAMPED:
		CCDRL_COUNT(actions.clamped);
		break;
	case DRL_RESULT_STALE:
		CCDRL_COUNT(actions.stale);
		break;
	case DRL_RESULT_UNKNOWN:
		CCDRL_COUNT(actions.unknown);
		break;
	case DRL_RESULT_MALFORMED:
		CCDRL_COUNT(actions.malformed);
		break;
	}
}

static int
sys_drl_update_cwnd(struct thread *td, void *args)
{
	struct drl_update_cwnd_args *uap = args;
	uint32_t i, n = (uint32_t)uap->n;
	struct drl_cwnd_action *actions;
	int32_t *results;
	int error;

	error = caller_check(td);
	if (error != 0)
		return (error);
	if (n > CCDRL_ACTIONS_MAX)
		return (EINVAL);
	if (n == 0)
		return (0);
	actions = malloc(n * sizeof(*actions), M_CCDRL, M_WAITOK);
	results = malloc(n * sizeof(*results), M_CCDRL, M_WAITOK | M_ZERO);
	error = copyin((void *)uap->actions, actions, n * sizeof(*actions));
	if (error == 0)		/* can the results be told? If not, nothing is taken. */
		error = copyout(results, (void *)uap->results, n * sizeof(*results));
	if (error == 0) {
		for (i = 0; i < n; i++) {
			results[i] = ccdrl_action_take(ccdrl_thread_vnet(td), &actions[i]);
			result_count(results[i]);
		}
		error = copyout(results, (void *)uap->results, n * sizeof(*results));
	}
	free(results, M_CCDRL);
	free(actions, M_CCDRL);
	return (error);
}

static struct sysent drl_get_buffer_sysent = {
	.sy_call = sys_drl_get_buffer,
	.sy_narg = sizeof(struct drl_get_buffer_args) / sizeof(register_t),
	.sy_auevent = AUE_NULL,
};

static struct sysent drl_update_cwnd_sysent = {
	.sy_call = sys_drl_update_cwnd,
	.sy_narg = sizeof(struct drl_update_cwnd_args) / sizeof(register_t),
	.sy_auevent = AUE_NULL,
};

/* kldunload takes the calls before the controller: a refusal must come before they have lost their numbers. */
static int
call_modevent(module_t mod __unused, int type, void *arg __unused)
{

	return (ccdrl_unload_check(type));
}

static int drl_get_buffer_number = NO_SYSCALL;
static int drl_update_cwnd_number = NO_SYSCALL;

SYSCALL_MODULE(drl_get_buffer, &drl_get_buffer_number, &drl_get_buffer_sysent, call_modevent, NULL);
SYSCALL_MODULE(drl_update_cwnd, &drl_update_cwnd_number, &drl_update_cwnd_sysent, call_modevent, NULL);
