# SPDX-License-Identifier: BSD-2-Clause
"""The agent in the test bed: serve.py drives real subflows that the test bed carries."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

import ccdrl
from ccdrl.agent import live_controllers
from ccdrl.bindings.network import FlowConfig, LinkConfig, PathConfig

MISSING = live_controllers.missing_requirement()
pytestmark = pytest.mark.skipif(MISSING is not None, reason=f"this machine lacks {MISSING}")
if MISSING is None:
    from ccdrl.agent.live_agent import start_agent
    from ccdrl.bindings.linux.status import read_status
    from ccdrl.bindings.testbed.bed import BedConfig, BedFlow, run_bed
    from ccdrl.bindings.testbed.library import BedError
    from ccdrl.tests.live.support_datapath import loaded, require_machine

MS, S = 1_000_000, 1_000_000_000
SHIPPED = Path(ccdrl.__file__).parent / "models" / "pretrained"


def shipped_agent():
    agents = sorted(path.parent for path in SHIPPED.glob("*/policy.safetensors"))
    assert agents, "no agent is shipped"
    return agents[0]


def test_an_agent_without_a_datapath_is_one_line(tmp_path):
    with pytest.raises(BedError, match=r"^serve\.py ended with status [12]: ") as error:
        start_agent(shipped_agent(), tmp_path / "nothing")
    assert "\n" not in str(error.value)


STARTER = """
import sys, time
from pathlib import Path
from ccdrl.agent.live_agent import start_agent
with start_agent(Path(sys.argv[1]), Path(sys.argv[2])):
    print("ready", flush=True)
    time.sleep(60)
"""


def test_a_killed_run_leaves_no_daemon():
    require_machine()
    with loaded() as pin_dir:
        command = [sys.executable, "-c", STARTER, str(shipped_agent()), str(pin_dir)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline() == "ready\n"
            (daemon,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            assert "ccdrl.serve" in Path(f"/proc/{daemon}/cmdline").read_text()
            process.kill()
        end_s = time.monotonic() + 10
        while Path(f"/proc/{daemon}").exists():
            assert time.monotonic() < end_s
            time.sleep(0.05)


def test_an_agent_fills_two_links():
    require_machine()
    links = tuple(
        LinkConfig(rate_bps=mbps * 1e6, delay_ns=delay_ms * MS, limit_bytes=50_000)
        for mbps, delay_ms in ((10, 10), (5, 20))
    )
    flow = BedFlow(FlowConfig(cc="drl", paths=(PathConfig((0,)), PathConfig((1,)))), "ccdrl")
    config = BedConfig(links, (flow,), (), 1, 1448, 4 * S, 10 * S)
    with loaded() as pin_dir:
        with start_agent(shipped_agent(), pin_dir) as agent:
            result = run_bed(config)
            agent.check()
        answers = read_status(pin_dir)["agents"]
    # 15 Mbit/s less headers; an agent keeps queues short, so it may leave some of it
    goodput_mbps = result.flows[0].goodput_bytes * 8 / 6 / 1e6
    assert 15 * 0.75 <= goodput_mbps <= 15
    assert result.flows[0].n_subflows_seen == 2
    # The windows were the agent's.
    assert answers["applied"] > 100
