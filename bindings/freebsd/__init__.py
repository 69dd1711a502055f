# SPDX-License-Identifier: BSD-2-Clause
"""FreeBSD as a datapath: this project's module (ABI v2), and the deployed MPTCP kernel of FreeBSD 13.1 (ABI v1)."""
