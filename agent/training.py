# SPDX-License-Identifier: BSD-2-Clause
"""The command line of train.py: arguments, then one training run.

Exit status: 0 done, 1 the run failed (NaN, no memory), 2 bad usage or input, 130 ended by Ctrl-C (and saved).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ccdrl.agent.command_line import EXIT_BAD_INPUT, EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED, Parser, fail
from ccdrl.agent.config import SHIPPED, TrainingConfig, describe_config, load_config
from ccdrl.bindings.errors import InputError, SimulatorError

PROGRAM = "train.py"
EPILOG = """settings for --set and the TOML file, with their defaults:
{settings}

The run folder holds policy/ (newest artifact), best/ (best validation score), checkpoints/, tensorboard/, config.toml.
"""


def make_parser() -> Parser:
    """Return the parser of train.py."""
    parser = Parser(
        prog=PROGRAM,
        description="Train a congestion controller with PPO in the packet-level simulator.",
        epilog=EPILOG.format(settings=describe_config().replace("%", "%%")),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    shipped = ", ".join(SHIPPED)
    parser.add_argument(
        "--config", metavar="FILE.toml", help=f"settings; a file or a shipped name ({shipped}; default)"
    )
    parser.add_argument("--set", metavar="key=value", action="append", default=[], nargs="+", help="one setting")
    parser.add_argument("--steps", metavar="N", type=int, help="total_steps")
    parser.add_argument("--seed", metavar="S", type=int, help="seed")
    parser.add_argument("--envs", metavar="N", type=int, help="simulators")
    parser.add_argument("--out", metavar="DIR", type=Path, help="run folder (default: runs/<date and time>)")
    parser.add_argument("--resume", metavar="DIR", type=Path, help="go on with the newest checkpoint of this run")
    parser.add_argument(
        "--from", metavar="DIR", type=Path, dest="origin", help="a new run that begins with the networks of this one"
    )
    parser.add_argument("--engine", default="local", metavar="local|ray", help="local is the only one today")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run train.py; return the exit status."""
    try:
        return run(make_parser().parse_args(arguments))
    except InputError as error:
        return fail(PROGRAM, str(error), EXIT_BAD_INPUT)
    except KeyboardInterrupt:
        return fail(PROGRAM, "interrupted at once: the last checkpoint is the newest state", EXIT_INTERRUPTED)
    except ModuleNotFoundError as error:
        return fail(PROGRAM, f"{error}; training needs the extra 'train': pip install ccdrl[train]", EXIT_FAILED)
    except (SimulatorError, OSError, MemoryError) as error:
        return fail(PROGRAM, str(error) or type(error).__name__, EXIT_FAILED)


def run(options: argparse.Namespace) -> int:
    """Check the arguments, build the trainer and train."""
    if options.engine != "local":
        raise InputError(f"--engine {options.engine}: not available; 'local' expected")
    assignments = [text for group in options.set for text in group]
    if options.resume is not None:
        refused = {"--config": options.config, "--set": assignments, "--seed": options.seed, "--envs": options.envs}
        refused["--from"] = options.origin
        given = [name for name, value in refused.items() if value not in (None, [])]
        if given:
            raise InputError(f"{given[0]}: not with --resume, which goes on with the run's own settings; only --steps")
        return train(None, options.resume, options.steps, options.out, None)
    overrides = {"total_steps": options.steps, "seed": options.seed, "simulators": options.envs}
    config = load_config(options.config or "default", assignments, overrides)
    out = options.out or Path("runs") / time.strftime("%Y%m%d-%H%M%S")
    if (out / "checkpoints").exists() or (out.exists() and not out.is_dir()):
        raise InputError(f"--out {out}: exists already; a new folder expected, or --resume {out} to go on")
    return train(config, None, None, out, options.origin)


def train(
    config: TrainingConfig | None, resume: Path | None, steps: int | None, out: Path | None, origin: Path | None
) -> int:
    """Start or resume one run; torch is loaded only here, after everything else was checked."""
    from ccdrl.agent import checkpoint  # noqa: PLC0415
    from ccdrl.agent.callbacks import Comparison, ProgressDisplay, ScalarWriter  # noqa: PLC0415
    from ccdrl.agent.trainer import Callback, Trainer, TrainingDivergedError, resume_config  # noqa: PLC0415
    from ccdrl.agent.validation import Validation  # noqa: PLC0415
    from ccdrl.envs.teacher import compute_teacher_actions  # noqa: PLC0415
    from ccdrl.envs.vector import VectorEnv  # noqa: PLC0415

    saved = None
    started = checkpoint.read(checkpoint.find_newest(origin, "--from")) if origin is not None else None
    if resume is not None:
        config, saved = resume_config(resume, steps)
        run_folder = resume.parent.parent if resume.parent.name == "checkpoints" else resume
        out = out or run_folder
    assert config is not None and out is not None
    settings = config
    callbacks: list[Callback] = []
    if config.validation_steps and config.validation_scenarios:
        validation = Validation(
            config.validation_scenarios,
            config.validation_controllers,
            config.validation_seeds,
            config.validation_delay_weight,
        )
        callbacks.append(Comparison(validation, config.validation_steps))

    def make_env(seed: int) -> Any:
        return VectorEnv(settings.simulators, seed, settings.threads, settings.env, settings.reward)

    trainer = Trainer(config, make_env, out, [*callbacks, ProgressDisplay(), ScalarWriter()], compute_teacher_actions)
    if saved is not None:
        trainer.restore(saved)
    if started is not None:
        trainer.adopt(started)
    try:
        is_complete = trainer.run()
    except TrainingDivergedError as error:
        kept = f"the last checkpoint in {out / 'checkpoints'} is kept"
        return fail(PROGRAM, f"training stopped: {error}; {kept}", EXIT_FAILED)
    state = "done" if is_complete else f"interrupted; go on with: python train.py --resume {out}"
    print(f"{out}: {trainer.steps:,} steps in {trainer.wall_s:,.0f} s, {state}")
    print(f"policy: {out / 'policy'}\nbest:   {out / 'best'}")
    return EXIT_DONE if is_complete else EXIT_INTERRUPTED
