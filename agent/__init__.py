# SPDX-License-Identifier: BSD-2-Clause
"""Decisions: configuration, training, policy, evaluation and reports."""
