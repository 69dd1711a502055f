# SPDX-License-Identifier: BSD-2-Clause
"""The network, the policy artifact and the shipped agents; imports nothing of ours but itself."""
