# SPDX-License-Identifier: BSD-2-Clause
"""What an agent computes around its policy, in C: samples to observations, actions to windows."""
