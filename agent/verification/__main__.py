# SPDX-License-Identifier: BSD-2-Clause
"""`python -m ccdrl.agent.verification MODEL`."""

import sys

from ccdrl.agent.daemon import blas  # noqa: F401 (one thread, before numpy: sums in a fixed order)
from ccdrl.agent.verification.job import main

sys.exit(main())
