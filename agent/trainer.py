# SPDX-License-Identifier: BSD-2-Clause
"""A training run: rollouts and updates, checkpoints, artifacts, callbacks, a clean end.

    <out>/config.toml       the configuration, complete
    <out>/policy/           the newest policy (artifact)
    <out>/best/             the policy with the best validation score; without validation, the newest one
    <out>/checkpoints/      what --resume reads
    <out>/tensorboard/      curves

docs/training.md says what a resumed run repeats bit for bit.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import numpy as np
import torch

from ccdrl.agent import checkpoint
from ccdrl.agent.config import TrainingConfig
from ccdrl.agent.export import find_provenance, make_artifact
from ccdrl.agent.imitation import Imitator, Teacher
from ccdrl.agent.ppo import RowPPO, TrainingDivergedError
from ccdrl.agent.sb3_env import RowEnv, RowVecEnv
from ccdrl.agent.settings import build, to_toml
from ccdrl.bindings.errors import InputError
from ccdrl.models.artifact import Artifact, save_artifact

MakeEnv = Callable[[int], RowEnv]
"""From a seed to a vector env."""


class Callback(Protocol):
    """Something that watches a run."""

    def start(self, trainer: Trainer) -> None:
        """Begin; the trainer is ready and may have been resumed."""

    def update(self, trainer: Trainer, scalars: dict[str, float]) -> None:
        """Take the figures of one update; may add some for the callbacks after it."""

    def finish(self, trainer: Trainer) -> None:
        """End, whatever the reason."""


class Trainer:
    """Imitation and PPO over a vector env in one process.

    Not re-entrant: torch's and numpy's global generators are its own.
    """

    def __init__(
        self,
        config: TrainingConfig,
        make_env: MakeEnv,
        out: Path,
        callbacks: Sequence[Callback] = (),
        teacher: Teacher | None = None,
    ) -> None:
        """Build network and env; nothing is written before `run`. config.imitation needs a teacher."""
        self.config = config
        self.out = out
        self.callbacks = callbacks
        self.best_score: float | None = None
        self.results: dict[str, Any] = {}
        self._make_env = make_env
        self._renewals = 0
        self._wall_before_s = 0.0
        self._origin: dict[str, Any] | None = None
        self._started = time.monotonic()
        self._checkpoint_due = config.checkpoint_steps
        self._is_interrupted = False
        torch.set_num_threads(config.torch_threads)
        self.env = RowVecEnv(make_env(self._env_seed()))
        try:
            self.ppo = RowPPO(config, self.env)
            self.imitator: Imitator | None = None
            if config.imitation.steps:
                if teacher is None:
                    raise InputError(f"imitation.steps: {config.imitation.steps}, but without a teacher only 0 works")
                self.imitator = Imitator(config.imitation, self.ppo, teacher)
        except BaseException:
            self.env.close()
            raise

    @property
    def steps(self) -> int:
        """Steps trained so far, over all resumed parts."""
        return int(self.ppo.num_timesteps)

    @property
    def is_interrupted(self) -> bool:
        """True after Ctrl-C: the run ends with this update, so callbacks start nothing long."""
        return self._is_interrupted

    @property
    def wall_s(self) -> float:
        """Seconds trained so far, over all resumed parts."""
        return self._wall_before_s + time.monotonic() - self._started

    def _env_seed(self) -> int:
        """Return the seed of the present env: one more network sequence after each scheduled checkpoint."""
        return int(np.random.SeedSequence([self.config.seed, self._renewals]).generate_state(1)[0] >> 1)

    def adopt(self, saved: checkpoint.Checkpoint) -> None:
        """Begin with the networks of another run, whose configuration may differ but for their sizes; or InputError."""
        try:
            checkpoint.adopt(saved, self.ppo)
        except (KeyError, ValueError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"--from: the checkpoint does not fit this configuration ({reason})") from None
        trainer = saved.document["trainer"]
        self._wall_before_s = trainer["wall_s"]
        config = saved.document["config"]
        self._origin = {"config": config, "steps": saved.document["steps"], "origin": trainer.get("origin")}

    def restore(self, saved: checkpoint.Checkpoint) -> None:
        """Go on from a checkpoint of the same configuration (total_steps may differ); or InputError."""
        trainer = saved.document["trainer"]
        try:
            checkpoint.apply(saved, self.ppo)
        except (KeyError, ValueError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"--resume: the checkpoint does not fit this program ({reason})") from None
        self._origin = trainer.get("origin")
        self.best_score, self.results = trainer["best_score"], trainer["results"]
        self._renewals, self._wall_before_s = trainer["renewals"], trainer["wall_s"]
        self._checkpoint_due = trainer["checkpoint_due"]
        # A scheduled checkpoint was written after the renewal; the others end their networks only now.
        self._renew_env(0 if trainer["is_scheduled"] else 1)

    def run(self) -> bool:
        """Train until total_steps; return False if Ctrl-C ended it early (a checkpoint is written).

        A second Ctrl-C raises KeyboardInterrupt at once. Raises InputError for a folder that cannot be
        made, and TrainingDivergedError; the last checkpoint stays.
        """
        try:
            self.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{self.out}: {error.strerror}; a folder that can be made expected") from None
        (self.out / "config.toml").write_text(to_toml(self.config))
        previous = signal.getsignal(signal.SIGINT)
        self._started = time.monotonic()
        try:
            signal.signal(signal.SIGINT, self._interrupt)
            for callback in self.callbacks:
                callback.start(self)
            if self.ppo._last_obs is None:
                self._begin()
            while self.steps < self.config.total_steps and not self._is_interrupted:
                self._update()
            self.save(is_scheduled=False)
            return self.steps >= self.config.total_steps
        finally:
            signal.signal(signal.SIGINT, previous)
            for callback in self.callbacks:
                callback.finish(self)
            self.env.close()

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        """First Ctrl-C: end after this update. Second: at once."""
        if self._is_interrupted:
            raise KeyboardInterrupt
        self._is_interrupted = True

    def _begin(self) -> None:
        """Start the first episodes; one rollout of the untrained policy fills the normaliser before anything learns."""
        self.ppo.start_episodes()
        if self.config.has_normaliser:
            self._collect()
            self.ppo.num_timesteps = 0
            self._absorb()

    def _collect(self) -> None:
        """Fill the buffer."""
        self.ppo.collect_rollouts(self.env, None, self.ppo.rollout_buffer, self.config.rollout_steps)

    def _absorb(self) -> None:
        """Take the rollout's raw observations into the normaliser; frozen until the next call."""
        if self.config.has_normaliser:
            columns = self.ppo.moments.mean.size
            self.ppo.moments.update(self.ppo.rollout_buffer.observations.reshape(-1, columns))
            self.ppo.network.set_normaliser(self.ppo.moments.freeze(self.config.observation_limit))

    def _update(self) -> None:
        """One rollout, one update of the phase we are in, checkpoint when due, callbacks."""
        imitator = self.imitator if self.steps < self.config.imitation.steps else None
        self.ppo.disturb = imitator.disturb if imitator is not None else None
        if self.imitator is not None:
            self._set_noise()
        begin, packets_before = time.monotonic(), self.env.rows.count_packets()
        self._collect()
        middle = time.monotonic()
        if imitator is not None:
            scalars = imitator.train()
        else:
            searched = max(self.config.total_steps - self.config.imitation.steps, 1)
            self.ppo._update_current_progress_remaining(self.steps - self.config.imitation.steps, searched)
            self.ppo.train()
            scalars = self.imitator.remind() if self.imitator is not None else {}
        scalars |= self.ppo.check_update()
        self._absorb()
        end = time.monotonic()
        rows = self.config.rollout_steps * self.env.num_envs
        scalars |= {f"rollout/{name}": value for name, value in self.ppo.sums.means().items()}
        scalars["speed/steps_per_s"] = rows / (end - begin)
        scalars["speed/rollout_share"] = (middle - begin) / (end - begin)
        packets = self.env.rows.count_packets() - packets_before
        scalars["speed/packets_per_s"] = packets / (end - begin)
        scalars["speed/packets_per_step"] = packets / rows
        for callback in self.callbacks:
            callback.update(self, scalars)
        if self.steps >= self._checkpoint_due and not self._is_interrupted:
            while self._checkpoint_due <= self.steps:
                self._checkpoint_due += self.config.checkpoint_steps
            # The run goes on with new networks, so that a run resumed from here goes on with the same ones.
            self._renew_env(1)
            self.save(is_scheduled=True)

    def _set_noise(self) -> None:
        """Set the exploration noise where a phase begins; the step counter says where, in a resumed run too."""
        rollout = self.config.rollout_steps * self.env.num_envs
        since = self.steps - self.config.imitation.steps
        if self.steps == 0 or 0 <= since < rollout:
            noise = self.config.imitation.log_std if since < 0 else self.config.log_std
            with torch.no_grad():
                self.ppo.network.log_std.fill_(noise)

    def _renew_env(self, advance: int) -> None:
        """Replace the env by the one `advance` places further in this run's sequence and start its episodes.

        The last rollout was bootstrapped with the critic, so no episode counts as ended by this.
        """
        self._renewals += advance
        if self.imitator is not None:
            self.imitator.forget()
        self.env.replace(self._make_env(self._env_seed()))
        self.ppo.start_episodes()

    def artifact(self) -> Artifact:
        """Return the present policy, with the configuration's own weights of delay and harm."""
        return make_artifact(
            self.config,
            self.ppo.network,
            self.ppo.moments,
            (0.0,) * self.env.rows.preference_size,
            {"steps": self.steps, "wall_s": round(self.wall_s, 1), "origin": self._origin},
            self.results,
        )

    def save(self, is_scheduled: bool) -> Path:
        """Write the newest policy and a checkpoint; return the checkpoint's folder."""
        artifact = self.artifact()
        save_artifact(artifact, self.out / "policy")
        if self.best_score is None:
            save_artifact(artifact, self.out / "best")
        state = checkpoint.capture(self.ppo)
        state.document["config"] = self.config.flat()
        state.document["provenance"] = find_provenance()
        state.document["trainer"] = {
            "best_score": self.best_score,
            "results": self.results,
            "renewals": self._renewals,
            "wall_s": self.wall_s,
            "origin": self._origin,
            "checkpoint_due": self._checkpoint_due,
            "is_scheduled": is_scheduled,
        }
        return checkpoint.write(state, self.out / "checkpoints", self.config.checkpoints_kept)

    def offer(self, score: float, results: Mapping[str, Any]) -> bool:
        """Keep the present policy as the best one if its validation score is the highest so far; say whether it is."""
        self.results = {"validation": dict(results), "validation_score": score, "validation_steps": self.steps}
        is_best = self.best_score is None or score > self.best_score
        if is_best:
            self.best_score = score
            save_artifact(self.artifact(), self.out / "best")
        return is_best


def resume_config(folder: Path, total_steps: int | None) -> tuple[TrainingConfig, checkpoint.Checkpoint]:
    """Return configuration and state of the run to go on with; `total_steps` may extend it. Raises InputError."""
    saved = checkpoint.read(checkpoint.find_newest(folder))
    config = build(TrainingConfig, saved.document.get("config", {}), f"--resume {folder}")
    if total_steps is not None:
        config = replace(config, total_steps=total_steps)
    if config.total_steps <= saved.document["steps"]:
        done = saved.document["steps"]
        raise InputError(f"--resume {folder}: {done} steps are done already; --steps above that expected")
    return config, saved


__all__ = ["Callback", "MakeEnv", "Trainer", "TrainingDivergedError", "resume_config"]
