# SPDX-License-Identifier: BSD-2-Clause
"""The HTML report: one self-contained file, figures as inline SVG. Needs matplotlib (extra `report`)."""

from ccdrl.agent.report.document import Provenance, render_report

__all__ = ["Provenance", "render_report"]
