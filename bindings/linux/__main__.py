# SPDX-License-Identifier: BSD-2-Clause
"""`python -m ccdrl.bindings.linux load|unload|status`."""

import sys

from ccdrl.bindings.linux.command import main

sys.exit(main())
