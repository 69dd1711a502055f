# SPDX-License-Identifier: BSD-2-Clause
"""Models that are ready to serve: loaded, checked, and rehearsed."""

import queue
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ccdrl.agent.controller import Controller
from ccdrl.agent.policy import Policy, load_policy
from ccdrl.bindings.library import ABI_VERSION, Event, make_samples

_SRTT_US = 20_000
_MSS_BYTES = 1448


def load_model(path: Path) -> Policy:
    """Return the policy of an artifact after one decision for a made-up subflow.

    Whatever is slow the first time, or fails, does so here and not between two live decisions. Raises InputError for an
    artifact that cannot be used.
    """
    policy = load_policy(path)
    samples = make_samples(1)
    samples["abi"], samples["event"] = ABI_VERSION, Event.SAMPLE
    samples["subflow_id"] = samples["seq"] = 1
    samples["timestamp_us"] = 1_000_000
    samples["mss_bytes"], samples["cwnd_bytes"] = _MSS_BYTES, 10 * _MSS_BYTES
    samples["srtt_us"] = samples["min_rtt_us"] = samples["last_rtt_us"] = _SRTT_US
    with np.errstate(all="ignore"):
        Controller(policy, capacity=1).step(samples)
    return policy


class ModelLoader:
    """Loads a model beside the loop, as reading one may take longer than a turn; one at a time."""

    def __init__(self, path: Path, wake: Callable[[], None]) -> None:
        """`wake` is called, in another thread, when `take` will have something."""
        self._path, self._wake = path, wake
        self._loaded: queue.SimpleQueue[Policy | str] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a model is being loaded, or is there to be taken."""
        return self._thread is not None

    def begin(self) -> None:
        """Start loading."""
        self._thread = threading.Thread(target=self._load, name="model", daemon=True)
        self._thread.start()

    def _load(self) -> None:
        try:
            self._loaded.put(load_model(self._path))
        except Exception as error:  # whatever is wrong with a model, the one in service stays
            self._loaded.put(str(error) or type(error).__name__)
        self._wake()

    def take(self) -> Policy | str | None:
        """Return the model, or what is wrong with it; None as long as it is being loaded."""
        try:
            loaded = self._loaded.get_nowait()
        except queue.Empty:
            return None
        self.join()
        return loaded

    def join(self) -> None:
        """Wait for the end of what was begun."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
