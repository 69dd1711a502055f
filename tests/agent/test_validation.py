# SPDX-License-Identifier: BSD-2-Clause
import math
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from ccdrl.agent.callbacks import Comparison, ProgressDisplay, ScalarWriter
from ccdrl.agent.config import load_config
from ccdrl.agent.validation import Validation, log_ratio, score
from ccdrl.bindings.errors import InputError

BASE = {"goodput_mbps": 10.0, "rtt_p95_ms": 100.0, "rival_goodput_mbps": 5.0}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 0.0),
        ({"goodput_mbps": 20.0}, 1.0),
        ({"goodput_mbps": 1e-3}, -2.0),
        ({"goodput_mbps": 1000.0}, 2.0),
        ({"rtt_p95_ms": 50.0}, 0.5),
        ({"rtt_p95_ms": math.nan}, 0.0),
        ({"rival_goodput_mbps": 2.5}, -1.0),
        ({"rival_goodput_mbps": 50.0}, 0.0),
        ({"goodput_mbps": 20.0, "rival_goodput_mbps": 2.5}, 0.0),
        ({"rival_goodput_mbps": math.nan}, 0.0),
    ],
)
def test_score(changes, expected):
    assert score(BASE | changes, BASE, 0.5) == pytest.approx(expected)


def test_log_ratio_is_symmetric_and_bounded():
    assert log_ratio(8, 4) == -log_ratio(4, 8) == 1.0
    assert log_ratio(1e9, 1) == 2.0


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ((["idle-pair"], ["lia", "vegas"], [1], 0.5), "unknown controller 'vegas'; one of reno, cubic"),
        ((["idle-pair"], [], [1], 0.5), "at least one"),
        ((["idle-pair"], ["lia"], [], 0.5), "at least one"),
        ((["no-such-scenario"], ["lia"], [1], 0.5), "no-such-scenario"),
    ],
)
def test_bad_settings(arguments, match):
    with pytest.raises(InputError, match=match):
        Validation(*arguments)


def fake_trainer(tmp_path, steps=0, **changes):
    config = load_config(None, ["total_steps=1000"])
    values = {"steps": steps, "config": config, "out": tmp_path, "best_score": None, "is_interrupted": False}
    return SimpleNamespace(**(values | changes))


def test_comparison_keeps_its_schedule(tmp_path, monkeypatch):
    monkeypatch.setattr("ccdrl.agent.callbacks.save_artifact", lambda artifact, path: path)
    offered = []
    trainer = fake_trainer(tmp_path, artifact=lambda: None, offer=lambda value, figures: offered.append(trainer.steps))
    comparison = Comparison(lambda path: (1.5, {"x": 2.0}), 300)
    comparison.start(trainer)
    for trainer.steps in range(0, 1100, 100):
        scalars = {}
        comparison.update(trainer, scalars)
        assert scalars in ({}, {"validation/score": 1.5, "validation/x": 2.0})
    assert offered == [300, 600, 900, 1000]
    trainer.steps, trainer.is_interrupted = 1300, True
    comparison.update(trainer, {})
    assert len(offered) == 4
    # A resumed run goes on with the same schedule.
    trainer.steps, trainer.is_interrupted = 650, False
    comparison.start(trainer)
    comparison.update(trainer, {})
    assert len(offered) == 4


def test_progress_without_a_terminal_prints_lines(tmp_path, capsys):
    display, trainer = ProgressDisplay(Console(stderr=True, force_terminal=False)), fake_trainer(tmp_path)
    display.start(trainer)
    for trainer.steps in range(0, 1001, 10):
        display.update(trainer, {"speed/steps_per_s": 12345.6, "rollout/reward": 0.25})
    display.finish(trainer)
    lines = capsys.readouterr().err.splitlines()
    assert 15 <= len(lines) <= 25
    assert "12,346/s  reward +0.250" in lines[0]


def test_scalars_and_configuration_reach_tensorboard(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    writer, trainer = ScalarWriter(), fake_trainer(tmp_path)
    writer.start(trainer)
    for trainer.steps in (100, 200):
        writer.update(trainer, {"rollout/reward": trainer.steps / 1000})
    writer.finish(trainer)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(e.step, round(e.value, 3)) for e in events.Scalars("rollout/reward")] == [(100, 0.1), (200, 0.2)]
    text = events.Tensors("config/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "| learning_rate | 0.001 |" in text
    assert np.char.count(text, "\n") > 30
