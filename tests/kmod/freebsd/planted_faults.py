# SPDX-License-Identifier: BSD-2-Clause
"""Faults as kernel modules have them: a text of the sources, what it becomes, and the scenario that notices."""

from collections.abc import Callable
from dataclasses import dataclass

from ccdrl.tests.kmod.freebsd import scenarios_calls as calls
from ccdrl.tests.kmod.freebsd import scenarios_events as events
from ccdrl.tests.kmod.freebsd import scenarios_limits as limits
from ccdrl.tests.kmod.freebsd import scenarios_races as races
from ccdrl.tests.kmod.freebsd.harness import KernelFault
from ccdrl.tests.kmod.freebsd.scenarios_events import Start

NOTICED = (AssertionError, KernelFault, OSError)


@dataclass(frozen=True)
class Fault:
    """`text` stands once in the module's sources; `scenario` fails where it is `becomes` instead."""

    name: str
    text: str
    becomes: str
    scenario: Callable[[Start], None]


CALLS = (
    Fault(
        "no privilege check",
        "return (priv_check(td, PRIV_NETINET_DUMMYNET));",
        "return (0);",
        calls.unprivileged_writer,
    ),
    Fault(
        "privilege of the reader unchecked",
        "\terror = caller_check(td);\n\tif (error != 0)\n\t\treturn (error);\n\terror = copyin((void *)uap->count",
        "\terror = copyin((void *)uap->count",
        calls.unprivileged_reader,
    ),
    Fault(
        "high half of a 32-bit argument used",
        "uint32_t i, n = (uint32_t)uap->n;",
        "uint64_t i, n = uap->n;",
        calls.garbage_in_high_half,
    ),
    Fault(
        "count of actions unchecked",
        "\tif (n > CCDRL_ACTIONS_MAX)\n\t\treturn (EINVAL);\n",
        "",
        calls.writer_counts,
    ),
    Fault(
        "record written behind the buffer",
        "samples, room, &closed)",
        "samples, room + 1, &closed)",
        calls.readers_share,
    ),
    Fault(
        "user memory read without copyin",
        "error = copyin((void *)uap->count, &capacity, sizeof(capacity));",
        "error = 0, capacity = *(uint32_t *)uap->count;",
        calls.reader_pointers,
    ),
    Fault(
        "error of copyout ignored",
        "\t\terror = copyout(samples, to, n * sizeof(*samples));",
        "\t\t(void)copyout(samples, to, n * sizeof(*samples));",
        calls.reader_pointers,
    ),
    Fault(
        "records lost when copyout fails",
        "ccdrl_records_restore(samples, n, &closed);",
        "ccdrl_records_free(&closed);",
        calls.reader_faults_midway,
    ),
    Fault("buffer leaked by a call", "\tfree(results, M_CCDRL);\n", "", limits.memory_runs_out),
    Fault(
        "actions taken although the results cannot be told",
        "\t\terror = copyout(results, (void *)uap->results, n * sizeof(*results));\n\tif (error == 0) {",
        "\t\terror = 0;\n\tif (error == 0) {",
        calls.writer_pointers,
    ),
    Fault(
        "windows unbounded",
        "MIN(MAX(action->cwnd_bytes, low), MAX(high, low))",
        "action->cwnd_bytes + (low & high & 0)",
        calls.results_per_action,
    ),
    Fault("stale answers taken", "action->seq < sf->rto_seq || ", "", events.time_out_ends_lease),
    Fault("future answers taken", " || action->seq > sf->sample.seq", "", calls.results_per_action),
    Fault("reserved bits ignored", "action->reserved != 0 || ", "", calls.results_per_action),
    Fault("network stacks mixed", "sf == NULL || sf->vnet != vnet", "sf == NULL", calls.network_stacks_are_apart),
)

MEMORY = (
    Fault(
        "sleeping allocation under a lock",
        "uma_zalloc(subflow_zone, M_NOWAIT | M_ZERO)",
        "uma_zalloc(subflow_zone, M_WAITOK | M_ZERO)",
        events.created_record,
    ),
    Fault(
        "memory not cleared",
        "uma_zalloc(subflow_zone, M_NOWAIT | M_ZERO)",
        "uma_zalloc(subflow_zone, M_NOWAIT)",
        events.created_record,
    ),
    Fault(
        "failed allocation used",
        "\tif (sf == NULL) {\n\t\tCCDRL_COUNT(no_memory);\n\t\treturn (NULL);\n\t}\n",
        "",
        limits.memory_runs_out,
    ),
    Fault(
        "failed allocation of a connection used",
        "\t\tif (connection == NULL) {\n\t\t\tCCDRL_COUNT(no_memory);\n\t\t\treturn;\n\t\t}\n",
        "",
        limits.memory_runs_out,
    ),
    Fault(
        "use after free",
        "\t\tTAILQ_REMOVE(closed, sf, link);\n\t\tccdrl_subflow_free(sf);",
        "\t\tccdrl_subflow_free(sf);\n\t\tTAILQ_REMOVE(closed, sf, link);",
        events.closed_record,
    ),
    Fault(
        "freed twice",
        "\tif (lost != NULL)\n\t\tccdrl_subflow_free(lost);",
        "\tif (lost != NULL) {\n\t\tccdrl_subflow_free(lost);\n\t\tccdrl_subflow_free(lost);\n\t}",
        limits.nobody_reads,
    ),
    Fault(
        "closed records kept without bound",
        "> MAX(closed_max, 1)",
        "> UINT32_MAX - 1 - (closed_max & 0)",
        limits.nobody_reads,
    ),
    Fault(
        "leak of closed records at unload", "\tccdrl_records_free(&purged);\n", "", limits.unload_with_unread_records
    ),
    Fault("leak of a zone at unload", "\tuma_zdestroy(subflow_zone);\n", "", limits.reload),
    Fault("locks left at unload", "\t\tmtx_destroy(&ccdrl_stripes[i].lock);\n", "\t\tcontinue;\n", limits.reload),
    Fault(
        "unload with connections",
        "must_be_idle && ccdrl_subflows_attached() != 0",
        "must_be_idle && false",
        limits.unload_is_refused,
    ),
)

LOCKS = (
    Fault(
        "copyout under a mutex",
        "\tmtx_unlock(&stripe->lock);\n\treturn (n);",
        "\t(void)copyout(&n, &n, 0);\n\tmtx_unlock(&stripe->lock);\n\treturn (n);",
        calls.readers_share,
    ),
    Fault("lock not released", "out:\n\tmtx_unlock(&stripe->lock);\n", "out:\n", calls.answers_in_order),
    Fault(
        "lock released twice",
        "out:\n\tmtx_unlock(&stripe->lock);\n",
        "out:\n\tmtx_unlock(&stripe->lock);\n\tmtx_unlock(&stripe->lock);\n",
        calls.answers_in_order,
    ),
    Fault(
        "list changed without its lock",
        "\tmtx_lock(&stripe->lock);\n\tLIST_REMOVE(sf, hash);",
        "\tLIST_REMOVE(sf, hash);",
        events.closed_record,
    ),
    Fault(
        "lock taken twice",
        "\t\tccdrl_connection_leave(sf);\n",
        "\t\tccdrl_subflow_lock(sf);\n\t\tccdrl_connection_leave(sf);\n",
        events.closed_record,
    ),
    Fault(
        "two locks of a kind",
        "\tmtx_lock(&ccdrl_stripe_of(sf->sample.subflow_id)->lock);",
        "\tmtx_lock(&ccdrl_stripe_of(sf->sample.subflow_id)->lock);\n"
        "\tmtx_lock(&ccdrl_stripe_of(sf->sample.subflow_id + 1)->lock);\n"
        "\tmtx_unlock(&ccdrl_stripe_of(sf->sample.subflow_id + 1)->lock);",
        events.created_record,
    ),
    Fault(
        "locks taken in another order",
        "\t\tmtx_lock(&stripe->lock);\n\t\tfor (i = 0; i < DRL_SUBFLOWS_MAX; i++) {\n\t\t\tif (i != sf->member",
        "\t\tccdrl_subflow_unlock(sf);\n\t\tmtx_lock(&stripe->lock);\n\t\tccdrl_subflow_lock(sf);\n"
        "\t\tfor (i = 0; i < DRL_SUBFLOWS_MAX; i++) {\n\t\t\tif (i != sf->member",
        events.lia_over_siblings,
    ),
)

WINDOWS = (
    Fault("ids used again", "atomic_fetchadd_64(&next_id, 1)", "1 + n_attached", calls.identities),
    Fault("no collapse at a time-out", "\t\tccdrl_window_collapse(sf, tp);\n", "", events.time_out),
    Fault(
        "lease outlives a time-out",
        "\tccdrl_lease_end(sf);\n\tsf->pending_end_us = 0;\n",
        "",
        events.time_out_ends_lease,
    ),
    Fault(
        "lease without end",
        "sf->lease_end_us != 0 && sf->lease_end_us <= now_us",
        "sf->lease_end_us == 1 && sf->lease_end_us <= now_us",
        events.lease_expires,
    ),
    Fault(
        "growth although the window is not used",
        "is_new && (ccv->flags & CCF_CWND_LIMITED) != 0",
        "is_new",
        events.slow_start,
    ),
    Fault(
        "loss counted twice in a window",
        "\t\tif (!IN_FASTRECOVERY(tp->t_flags)) {",
        "\t\tif (true) {",
        events.fast_recovery,
    ),
    Fault(
        "sequence numbers compared without wrap-around",
        "\tif (SEQ_GT(tp->snd_max, sf->snd_max)) {",
        "\tif (tp->snd_max > sf->snd_max) {",
        limits.sequence_numbers_wrap,
    ),
    Fault(
        "subflow left among its siblings",
        "\t\tccdrl_connection_leave(sf);\n",
        "",
        events.lia_over_siblings,
    ),
    Fault(
        "address of IPv6 cut",
        "&inp->in6p_faddr, sizeof(inp->in6p_faddr)",
        "&inp->in6p_faddr, 4",
        events.created_record_ipv6,
    ),
)

RACES = (
    Fault(
        "waiting records counted twice",
        "pending = ccdrl_records_pending();\n\troom = MIN(capacity, pending);",
        "(void)pending;\n\troom = MIN(capacity, ccdrl_records_pending());",
        races.room_is_kept,
    ),
    Fault(
        "event forgotten when a record is put back",
        "\t\t\t\tsf->sample.event = samples[i].event;\n",
        "\t\t\t\tcontinue;\n",
        races.reader_faults_meanwhile,
    ),
    Fault(
        "subflow gone before its last record waits",
        "\tLIST_REMOVE(sf, hash);\n",
        "\tLIST_REMOVE(sf, hash);\n\tmtx_unlock(&stripe->lock);\n\tmtx_lock(&stripe->lock);\n",
        races.agent_meets_the_end,
    ),
)

FAULTS = (*CALLS, *MEMORY, *LOCKS, *WINDOWS, *RACES)
