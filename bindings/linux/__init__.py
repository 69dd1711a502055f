# SPDX-License-Identifier: BSD-2-Clause
"""The Linux kernel as a datapath: the pinned maps of the BPF controller `ccdrl`, and the loader behind them."""
