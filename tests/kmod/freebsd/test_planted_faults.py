# SPDX-License-Identifier: BSD-2-Clause
"""Does the harness notice? Each fault is planted into a copy of the module's sources, and the named scenario must fail.

The unpatched module passes the same scenarios in test_module.py, so it is the fault that they notice.
"""

import shutil
from functools import partial

import pytest

from ccdrl.tests.kmod.freebsd import harness_build, planted_faults, toolchain
from ccdrl.tests.kmod.freebsd.harness import KernelFault
from ccdrl.tests.kmod.freebsd.planted_faults import FAULTS

SANITIZED = ("record written behind the buffer", "use after free", "failed allocation used")
"""Those that gcc's sanitizers name too."""


def build_faulty(folder, fault, **options):
    """The module with this fault, which must still load: what a scenario notices is what the fault does."""
    folder.mkdir()
    units = []
    for unit in toolchain.list_units():
        source = unit.read_text()
        if fault.text not in source:
            units.append(unit)
            continue
        assert source.count(fault.text) == 1
        units.append(folder / unit.name)
        units[-1].write_text(source.replace(fault.text, fault.becomes))
    for header in toolchain.SOURCES_FOLDER.glob("*.h"):
        shutil.copy(header, folder)
    assert sum(unit.parent == folder for unit in units) == 1, "the fault has no single place in the sources"
    return harness_build.build_module(**options, units=units, folder=folder)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_fault_is_noticed(open_kernel, tmp_path, fault):
    options = {"release": 14, "invariants": False, "sanitize": False}
    start = partial(open_kernel, module=build_faulty(tmp_path / "source", fault, **options), **options)
    assert start().sysctls()
    with pytest.raises(planted_faults.NOTICED):
        fault.scenario(start)


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault.name in SANITIZED], ids=lambda fault: fault.name)
def test_fault_is_noticed_by_sanitizers(open_kernel, tmp_path, fault):
    options = {"release": 15, "invariants": False, "sanitize": True}
    start = partial(open_kernel, module=build_faulty(tmp_path / "source", fault, **options), **options)
    assert start().sysctls()
    with pytest.raises(KernelFault, match="AddressSanitizer|runtime error"):
        fault.scenario(start)
