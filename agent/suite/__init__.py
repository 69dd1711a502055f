# SPDX-License-Identifier: BSD-2-Clause
"""The held-out evaluation suite: generated scenarios, criteria, ranking and the RFC 9743 list (docs/suite.md)."""
