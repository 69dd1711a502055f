# SPDX-License-Identifier: BSD-2-Clause
"""Contenders of a comparison: the controllers named by --cc and the agents named by --model.

A contender's label is what the results call `cc`: a controller's name, `drl` for the one agent, `drl:NAME` for each of
several.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ccdrl.bindings.errors import InputError
from ccdrl.envs.scenario_schema import CONTROLLERS

AGENT = "drl"
CLASSIC = tuple(name for name in CONTROLLERS if name != AGENT)
COUPLINGS = ("lia", "olia", "balia")
DEFAULT_CLASSIC = (*COUPLINGS, "cubic")
PRETRAINED = Path(__file__).resolve().parent.parent / "models" / "pretrained"


@dataclass(frozen=True)
class Contender:
    """One controller under test; `model` is an agent's artifact, None for the classic controllers."""

    label: str
    model: Path | None = None

    @property
    def controller(self) -> str:
        """The simulator's name of the controller."""
        return AGENT if is_agent(self.label) else self.label


def is_agent(label: str) -> bool:
    """Tell whether a label names an agent."""
    return label == AGENT or label.startswith(AGENT + ":")


def split_list(values: Iterable[str]) -> list[str]:
    """Return the items of options that may be repeated and hold commas."""
    return [item.strip() for value in values for item in value.split(",") if item.strip()]


def shipped_agents() -> dict[str, Path]:
    """Return the agents that come with the product, by name."""
    if not PRETRAINED.is_dir():
        return {}
    return {
        path.name: path for path in sorted(PRETRAINED.iterdir()) if path.is_dir() and any(path.glob("*.safetensors"))
    }


def find_model(text: str) -> tuple[str, Path]:
    """Return name and place of one --model item: NAME=DIR, DIR, or the name of a shipped agent."""
    name, separator, place = text.partition("=")
    if not separator:
        name, place = "", text
    shipped = shipped_agents()
    path = Path(place)
    if not path.exists():
        if place not in shipped:
            names = ", ".join(shipped) or "none"
            raise InputError(
                f"--model: {place!r} does not exist, accepted: a folder of train.py, or a shipped agent ({names})"
            )
        path = shipped[place]
    name = name or path.resolve().name
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}", name):
        raise InputError(f"--model: name {name!r}, accepted: up to 64 letters, digits and . _ + -")
    return name, path


def find_agents(models: Sequence[str]) -> list[Contender]:
    """Return the agents of the --model options; without any the first shipped agent, if there is one."""
    items = split_list(models)
    if models and not items:
        raise InputError("--model: names no agent, accepted: a folder of train.py, or a shipped agent")
    if not items:
        return [Contender(AGENT, path) for path in list(shipped_agents().values())[:1]]
    named = [find_model(item) for item in items]
    if len(named) == 1:
        return [Contender(AGENT, named[0][1])]
    names = [name for name, _ in named]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InputError(f"--model: two agents are called {twice!r}, accepted: NAME=DIR with different names")
    return [Contender(f"{AGENT}:{name}", path) for name, path in named]


def find_contenders(controllers: Sequence[str], agents: Sequence[Contender]) -> list[Contender]:
    """Return the contenders of the --cc options, each once and in the order given; `drl` stands for all agents."""
    items = split_list(controllers)
    if controllers and not items:
        raise InputError(f"--cc: {','.join(controllers)!r} names none, accepted: {', '.join((*CLASSIC, AGENT))}")
    if not items:
        items = [*([AGENT] if agents else []), *DEFAULT_CLASSIC]
    by_label = {agent.label: agent for agent in agents}
    found: dict[str, Contender] = {}
    for item in items:
        if item in CLASSIC:
            found[item] = Contender(item)
        elif item == AGENT and agents:
            found.update(by_label)
        elif item in by_label:
            found[item] = by_label[item]
        elif item == AGENT:
            raise InputError("--cc: drl needs an agent, accepted: --model DIR with a folder that train.py wrote")
        else:
            accepted = ", ".join(
                [*CLASSIC, *([AGENT] if agents else []), *(label for label in by_label if label != AGENT)]
            )
            raise InputError(f"--cc: {item!r} is no controller, accepted: {accepted}")
    return list(found.values())
