# SPDX-License-Identifier: BSD-2-Clause
"""Train an agent in the simulator: `python train.py --help`."""

import sys

from ccdrl.agent.training import main

if __name__ == "__main__":
    sys.exit(main())
