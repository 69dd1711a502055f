# SPDX-License-Identifier: BSD-2-Clause
"""What the numbers mean: environments, observation, action, reward, scenarios. Registers `ccdrl/Multipath-v0`."""

import gymnasium

gymnasium.register(id="ccdrl/Multipath-v0", entry_point="ccdrl.envs.multipath:MultipathEnv")
