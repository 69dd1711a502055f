# SPDX-License-Identifier: BSD-2-Clause
"""The module's object in the kernel model (tests/kmod/freebsd/harness.py) as a `Transport`, and TCP to keep it busy."""

import os

import numpy as np

from ccdrl.tests.kmod.freebsd.harness import SYSCTLS, Kernel

STEP_US = 10_000
ACK_SEGMENTS = 4
"""Segments that one ACK acknowledges: merged by the card, which saves the model's time."""
MSS_BYTES = 1448


class HarnessTransport:
    """The two system calls of a loaded module, with the caller's privilege."""

    def __init__(self, kernel: Kernel):
        self.kernel = kernel
        self.is_privileged = True

    def get_buffer(self, samples):
        error, rows = self.kernel.get_buffer(len(samples), privileged=self.is_privileged)
        raise_errno(error, "drl_get_buffer")
        samples[: len(rows)] = rows
        return len(rows)

    def update_cwnd(self, actions, results):
        error, answers = self.kernel.update_cwnd(actions, privileged=self.is_privileged)
        raise_errno(error, "drl_update_cwnd")
        results[:] = answers

    def read_expired(self):
        return self.kernel.sysctl(f"{SYSCTLS}expired")

    def close(self):
        """The kernel belongs to the test."""


def raise_errno(error, call):
    if error:
        raise OSError(error, f"{call}: {os.strerror(error)}")


class Sender:
    """Data without end on one subflow over a bottleneck of its own: a fluid, in steps of 10 ms."""

    def __init__(self, kernel, subflow, rate_bytes_per_s, base_rtt_us, queue_bytes):
        self.kernel, self.subflow = kernel, subflow
        self.rate, self.base_rtt_us = rate_bytes_per_s, base_rtt_us
        self.path_bytes = rate_bytes_per_s * base_rtt_us / 1e6
        self.queue_bytes = queue_bytes
        self.outstanding_bytes = 0
        self.due_bytes = 0.0
        self.recovery_left_us = 0
        self.is_open = True

    def step(self):
        """Ten milliseconds, which have passed."""
        if not self.is_open:
            return
        cwnd_bytes = self.kernel.get(self.subflow, "snd_cwnd")
        queued_bytes = min(max(0.0, cwnd_bytes - self.path_bytes), self.queue_bytes)
        rtt_us = self.base_rtt_us + int(queued_bytes * 1e6 / self.rate)
        if self.recovery_left_us > 0:
            self.recovery_left_us -= STEP_US
            if self.recovery_left_us <= 0:
                self.outstanding_bytes = 0
                self.kernel.recovered(self.subflow, rtt_us=rtt_us)
            return
        self._fill(cwnd_bytes)
        self.due_bytes += min(cwnd_bytes * 1e6 / rtt_us, self.rate) * STEP_US / 1e6
        while min(self.due_bytes, self.outstanding_bytes) >= ACK_SEGMENTS * MSS_BYTES or (
            0 < self.outstanding_bytes <= self.due_bytes
        ):
            acked = min(ACK_SEGMENTS * MSS_BYTES, self.outstanding_bytes)
            self.due_bytes -= acked
            self.outstanding_bytes -= acked
            self.kernel.ack(self.subflow, acked, rtt_us=rtt_us)
            self._fill(self.kernel.get(self.subflow, "snd_cwnd"))
        if cwnd_bytes > self.path_bytes + self.queue_bytes + 2 * MSS_BYTES:
            self.kernel.dupack(self.subflow, sacked_bytes=MSS_BYTES)
            self.kernel.loss(self.subflow)
            self.recovery_left_us = rtt_us

    def _fill(self, cwnd_bytes):
        room = (cwnd_bytes - self.outstanding_bytes) // MSS_BYTES * MSS_BYTES
        if room > 0:
            self.kernel.send(self.subflow, room)
            self.outstanding_bytes += room

    def strike_rto(self):
        """The timer fires: nothing came back."""
        self.kernel.rto(self.subflow)
        self.outstanding_bytes = 0
        self.recovery_left_us = 0

    def close(self):
        """The connection ends."""
        self.is_open = False
        self.kernel.close_subflow(self.subflow)


class Network:
    """A loaded module and one connection of subflows with the bottlenecks given: (bytes/s, base RTT, queue bytes)."""

    def __init__(self, bottlenecks, release=14, **options):
        self.kernel = Kernel(release, **options)
        self.kernel.load()
        self.senders = []
        for path, bottleneck in enumerate(bottlenecks):
            subflow = self.kernel.create_subflow((f"10.0.{path}.1", 4000 + path), ("10.9.0.2", 5001), conn_id=0)
            self.senders.append(Sender(self.kernel, subflow, *bottleneck))

    def advance(self, duration_us):
        """Let time pass and data flow."""
        while duration_us > 0:
            step_us = min(duration_us, STEP_US)
            self.kernel.advance(step_us)
            duration_us -= step_us
            for sender in self.senders:
                sender.step()

    def windows(self):
        """Return the windows in bytes."""
        return np.array([self.kernel.get(sender.subflow, "snd_cwnd") for sender in self.senders if sender.is_open])

    def close(self):
        self.kernel.close()
