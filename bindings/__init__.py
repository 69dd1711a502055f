# SPDX-License-Identifier: BSD-2-Clause
"""Everything cffi: the simulator and the datapaths behind one protocol."""
