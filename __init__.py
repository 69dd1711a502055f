# SPDX-License-Identifier: BSD-2-Clause
"""Deep-reinforcement-learning congestion control for Multipath TCP: train agents, serve them, compare them."""

__version__ = "0.1.0"
