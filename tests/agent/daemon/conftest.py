# SPDX-License-Identifier: BSD-2-Clause
import io
import json

import pytest

from ccdrl.agent.daemon.logs import Log
from ccdrl.agent.daemon.notify import Notifier
from ccdrl.agent.daemon.options import Options
from ccdrl.agent.daemon.service import Daemon
from ccdrl.agent.policy import load_policy


class FakeSource:
    """A fake datapath whose clock the daemon moves, a thousand times faster than real time."""

    end_us = None
    speed = 1000.0
    is_live = False

    def __init__(self, datapath, at=None):
        self.datapath = datapath
        self.at = dict(at or {})
        self.turns = 0

    def begin(self):
        return self.datapath.now_us

    def reach(self, now_us):
        self.turns += 1
        if self.turns in self.at:
            self.at[self.turns]()
        self.datapath.advance(now_us - self.datapath.now_us)

    def name_connection(self, conn_id):
        return None

    def close(self):
        self.datapath.close()


class Run:
    """One run of the daemon in this process, and what it logged."""

    def __init__(self, daemon, stream):
        self.daemon, self._stream = daemon, stream

    def events(self, name=None):
        lines = [json.loads(line) for line in self._stream.getvalue().splitlines()]
        return [line for line in lines if name in (None, line["event"])]


@pytest.fixture
def agent(tmp_path, save_agent):
    """A small untrained agent."""
    return save_agent(tmp_path / "agent", 1)


@pytest.fixture
def make_run(agent):
    """From a datapath to a daemon over it that has not run yet; closed at the end."""
    daemons = []

    def make(datapath, *, at=None, model=agent, policy=None, duration_s=2.0, **options):
        stream = io.StringIO()
        options = Options(model=model, duration_s=duration_s, is_quiet=True, **options)
        source = FakeSource(datapath, at)
        log = Log("debug", is_json=True, stream=stream)
        daemon = Daemon(options, source, policy or load_policy(model), log, Notifier({}))
        daemons.append(daemon)
        return Run(daemon, stream)

    yield make
    for daemon in daemons:
        daemon.close()
