# SPDX-License-Identifier: BSD-2-Clause
"""What an agent would do if it knew the network: the action that training imitates before it searches on its own.

Where nobody else is on the path, the window goes to what carries the path's rate with a short queue.
Where strangers are, it is left to the coupling, which is fair by its own dynamics, unless it is far from the coupled
equilibrium (envs/coupled_share.py): nothing that an agent can see tells its share better than that. The teacher reads
the privileged columns of envs/scoring.py, so it exists in the simulator only.
"""

import numpy as np
from numpy.typing import NDArray

from ccdrl.envs.action import FINE_STEP, NEUTRAL
from ccdrl.envs.observation_layout import OBSERVATION_NAMES
from ccdrl.envs.scoring import PRIVILEGED_NAMES, PRIVILEGED_SIZE

OWN_GAIN, OWN_GAIN_RISE = 0.4, 1.0
"""Part of the way to the wanted window in one RTT, and how it rises with the way (log2) up to all of it: what is seen
is an RTT old, so that small errors may be over already, but a capacity that has doubled is there to be used."""
SHARED_GAIN = 0.5
SHARED_MARGIN = 0.5
"""log2: within this of the equilibrium the coupling is trusted."""
QUEUE_FILLED = 0.15
"""log2(srtt / base) below which strangers leave capacity unused, so that nothing is taken from them."""
STEP_TOLERANCE = 0.06
"""log2: a wanted step this near to the coupled one needs no action; below, actions fade with the distance."""

_COUPLED, _ALIEN, _CLEAR = (OBSERVATION_NAMES.index(name) for name in ("coupled_step", "is_alien", "is_clear"))
_TARGET, _STRANGER, _QUEUE = (
    PRIVILEGED_NAMES.index(name) - PRIVILEGED_SIZE for name in ("target_cwnd", "has_stranger", "true_queue")
)


def compute_teacher_actions(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the actions float32 (N,) for rows of a VectorEnv, float32 (N, observation ... privileged columns)."""
    error, coupled = rows[:, _TARGET], rows[:, _COUPLED]
    is_crowded = (rows[:, _STRANGER] > 0.5) & ((rows[:, _QUEUE] > QUEUE_FILLED) | (error < 0.0))
    beyond = np.sign(error) * np.maximum(np.abs(error) - SHARED_MARGIN, 0.0)
    gain = np.minimum(OWN_GAIN + OWN_GAIN_RISE * np.abs(error), 1.0)
    step = np.where(is_crowded, SHARED_GAIN * beyond, gain * error)
    # Among strangers a step of zero means the coupling; alone it means to stay, whatever the coupling does.
    distance = np.where(is_crowded, step, step - coupled)
    action = np.sign(step) * (NEUTRAL + (1.0 - NEUTRAL) * np.minimum(np.abs(step), 1.0))
    # What is left of a decrease of the coupling; at NEUTRAL nothing is, with room for the student's errors.
    is_milder = (coupled < 0.0) & (distance > 0.0) & (step <= 0.0)
    left = np.divide(step, coupled, out=np.zeros_like(step), where=is_milder)
    action = np.where(is_milder, NEUTRAL * (1.0 - left), action)
    action *= np.minimum(np.abs(distance) / STEP_TOLERANCE, 1.0)
    # Where neutral actions count, they go the small distances.
    is_fine = (rows[:, _CLEAR] > 0.0) & (coupled >= 0.0)
    far = np.clip(np.where(distance * step > 0.0, np.abs(step), 0.0) - FINE_STEP, 0.0, 1.0)
    near = NEUTRAL * np.minimum(np.abs(distance) / FINE_STEP, 1.0) + (1.0 - NEUTRAL) * far
    action = np.where(is_fine, np.sign(distance) * near, action) * (rows[:, _ALIEN] == 0.0)
    return np.asarray(action, np.float32)
