# SPDX-License-Identifier: BSD-2-Clause
"""The live test bed: real MPTCP connections of this machine's kernel through emulated links (docs/testbed.md)."""
