# SPDX-License-Identifier: BSD-2-Clause
"""What the numbers mean: environments, observation, action, reward, scenarios."""
