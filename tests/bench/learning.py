# SPDX-License-Identifier: BSD-2-Clause
"""Benchmarks of training and of a decision; run.py enters them into its registry.

A step is one decision of one subflow row, as in `TrainingConfig.total_steps` (Stable-Baselines3's num_timesteps). A
connection decides for all its subflows at once, so connection decisions are fewer. Packets are data packets of all
flows, competitors included.
"""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from ccdrl.agent.config import TrainingConfig, load_config
from ccdrl.agent.controller import Controller
from ccdrl.agent.policy import Policy
from ccdrl.bindings.library import ABI_VERSION, SampleArray, make_samples
from ccdrl.envs.action import ACTION_VERSION
from ccdrl.envs.observation import OBSERVATION_NAMES, OBSERVATION_SIZE, OBSERVATION_VERSION
from ccdrl.envs.observation_layout import HISTORY_LENGTH
from ccdrl.envs.vector import VectorEnv
from ccdrl.models.artifact import Artifact, weight_shapes
from ccdrl.models.normaliser import Normaliser

CORES = 2
UPDATES = 6
ENV_STEPS = 256
DECISIONS = 400
MSS_BYTES = 1448

# The packets of a step are the capacity times the interval between two decisions. The shipped ranges (0.3 to 120
# Mbit/s, at most 800 packets a network and interval) give 8 to 30; these, of the same networks, give more than 50.
BUSY_NETWORKS = {"env.rate_mbps": [30.0, 200.0], "env.packets_per_tick_max": 2000.0}


def make_config(**overrides: Any) -> TrainingConfig:
    """Return the shipped default configuration without checkpoints and comparisons, over BUSY_NETWORKS."""
    quiet = {"validation_steps": 0, "checkpoint_steps": 10**9, "threads": CORES}
    return load_config("default", overrides={**quiet, **BUSY_NETWORKS, **overrides})


def make_env(config: TrainingConfig, seed: int) -> VectorEnv:
    """Return the vector env that train.py makes of this configuration."""
    return VectorEnv(config.simulators, seed, config.threads, config.env, config.reward)


@contextmanager
def on_two_cores() -> Iterator[None]:
    """Keep this thread, and those it starts, on the first two cores it may use."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:CORES])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Clock:
    """A callback of the trainer that reads both clocks after each update."""

    def __init__(self) -> None:
        self.wall_s: list[float] = []
        self.cpu_s: list[float] = []
        self.packets_per_step: list[float] = []
        self.rollout_share: list[float] = []
        self.connections_per_row: list[float] = []

    def start(self, trainer: Any) -> None:
        """Nothing is to be prepared."""

    def update(self, trainer: Any, scalars: dict[str, float]) -> None:
        """Note the time, and what the update says of itself."""
        self.wall_s.append(time.perf_counter())
        self.cpu_s.append(time.process_time())
        self.packets_per_step.append(scalars["speed/packets_per_step"])
        self.rollout_share.append(scalars["speed/rollout_share"])
        # Each live row knows how many rows its connection has.
        eighths = trainer.ppo.rollout_buffer.observations[..., OBSERVATION_NAMES.index("n_subflows")]
        self.connections_per_row.append(float((1 / (8 * eighths[eighths > 0])).sum() / eighths.size))

    def finish(self, trainer: Any) -> None:
        """Nothing is to be closed."""


def training_speed() -> dict[str, Any]:
    """Steps a second with learning, on two cores, shipped settings; target 20 000 at 50 or more packets a step."""
    from ccdrl.agent.trainer import Trainer

    config = make_config()
    rows_per_update = config.rollout_steps * make_env(config, 0).n_rows
    config = make_config(total_steps=(1 + UPDATES) * rows_per_update)
    clock = Clock()
    with on_two_cores(), tempfile.TemporaryDirectory() as folder:
        Trainer(config, lambda seed: make_env(config, seed), Path(folder) / "run", [clock]).run()
    # The first update is the warm-up.
    wall_s, cpu_s = np.diff(clock.wall_s), np.diff(clock.cpu_s)
    connections = float(np.mean(clock.connections_per_row[1:]))
    rate = rows_per_update / float(np.median(wall_s))
    return {
        "step": "one decision of one subflow row",
        "cores": len(sorted(os.sched_getaffinity(0))[:CORES]),
        "rows": rows_per_update // config.rollout_steps,
        "steps_per_update": rows_per_update,
        "updates": UPDATES,
        "overrides": BUSY_NETWORKS,
        "packets_per_step": float(np.mean(clock.packets_per_step[1:])),
        "steps_per_wall_s": rate,
        "steps_per_cpu_s": rows_per_update / float(np.median(cpu_s)),
        "steps_per_wall_s_all": (rows_per_update / wall_s).tolist(),
        "connection_decisions_per_wall_s": rate * connections,
        "packets_per_wall_s": rate * float(np.mean(clock.packets_per_step[1:])),
        "rollout_share_of_wall_time": float(np.mean(clock.rollout_share[1:])),
        "wall_s": float(wall_s.sum()),
        "cpu_s": float(cpu_s.sum()),
    }


def vector_env_speed() -> dict[str, Any]:
    """Steps a second of VectorEnv alone, two threads, random actions: shipped ranges, and those of training_speed."""
    figures: dict[str, Any] = {"cores": len(sorted(os.sched_getaffinity(0))[:CORES])}
    shipped = {key: TrainingConfig().flat()[key] for key in BUSY_NETWORKS}
    for name, overrides in (("shipped", shipped), ("busy", {})):
        config = make_config(**overrides)
        env = make_env(config, 1)
        noise = np.random.default_rng(1).normal(0.0, 0.5, (ENV_STEPS, env.n_rows)).clip(-1, 1).astype(np.float32)
        with on_two_cores():
            env.reset()
            for actions in noise[: ENV_STEPS // 4]:
                env.step(actions)
            packets, wall_s, cpu_s = env.count_packets(), time.perf_counter(), time.process_time()
            for actions in noise:
                env.step(actions)
            wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
            packets = env.count_packets() - packets
        steps = ENV_STEPS * env.n_rows
        env.close()
        figures[name] = {
            "rows": env.n_rows,
            "packets_per_step": packets / steps,
            "steps_per_wall_s": steps / wall_s,
            "steps_per_cpu_s": steps / cpu_s,
            "wall_s": wall_s,
            "cpu_s": cpu_s,
        }
    return figures


def make_policy() -> Policy:
    """Return a policy of the shipped size with random weights: they do not change what a decision costs."""
    rng, layers = np.random.default_rng(1), TrainingConfig().actor_layers
    shapes = weight_shapes(OBSERVATION_SIZE, layers)
    return Policy(
        Artifact(
            observation_names=tuple(OBSERVATION_NAMES),
            observation_version=OBSERVATION_VERSION,
            history=HISTORY_LENGTH,
            abi_version=ABI_VERSION,
            action_version=ACTION_VERSION,
            layers=layers,
            weights={name: rng.normal(0, 0.2, shape).astype(np.float32) for name, shape in shapes.items()},
            normaliser=Normaliser(np.zeros(OBSERVATION_SIZE), np.ones(OBSERVATION_SIZE), 1, 10.0),
        )
    )


def make_records(n_subflows: int) -> SampleArray:
    """Return the first records of connections of two subflows each, 20 to 60 ms away."""
    samples = make_samples(n_subflows)
    samples["abi"] = ABI_VERSION
    samples["subflow_id"] = np.arange(1, n_subflows + 1)
    samples["conn_id"] = 1 + np.arange(n_subflows) // 2
    samples["mss_bytes"] = MSS_BYTES
    samples["cwnd_bytes"] = samples["inflight_bytes"] = 50 * MSS_BYTES
    samples["srtt_us"] = samples["last_rtt_us"] = samples["min_rtt_us"] = np.linspace(20_000, 60_000, n_subflows)
    return samples


def decision_cost() -> dict[str, Any]:
    """Microseconds of Controller.step: observation, numpy inference, actions; for 2, 16 and 200 subflows, one core."""
    points = []
    for n_subflows in (2, 16, 200):
        policy, samples = make_policy(), make_records(n_subflows)
        controller = Controller(policy, interval_us=100_000)
        wall_us, cpu_us, inference_us = [], [], []
        observations = np.random.default_rng(2).normal(size=(n_subflows, OBSERVATION_SIZE)).astype(np.float32)
        for tick in range(1, DECISIONS + 1):
            samples["seq"], samples["timestamp_us"] = tick, tick * 100_000
            for name in ("sent_bytes", "delivered_bytes"):
                samples[name] += np.uint64(50 * MSS_BYTES)
            wall_s, cpu_s = time.perf_counter(), time.thread_time()
            actions = controller.step(samples)
            cpu_us.append(1e6 * (time.thread_time() - cpu_s))
            wall_us.append(1e6 * (time.perf_counter() - wall_s))
            assert len(actions) == n_subflows
            wall_s = time.perf_counter()
            policy.act(observations)
            inference_us.append(1e6 * (time.perf_counter() - wall_s))
        points.append(
            {
                "subflows": n_subflows,
                "connections": n_subflows // 2,
                "wall_us": median(wall_us),
                "wall_p99_us": float(np.quantile(wall_us, 0.99)),
                "cpu_us": median(cpu_us),
                "cpu_us_per_subflow": median(cpu_us) / n_subflows,
                "inference_wall_us": median(inference_us),
            }
        )
    return {"decisions": DECISIONS, "points": points}
