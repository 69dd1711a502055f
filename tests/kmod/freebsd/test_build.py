# SPDX-License-Identifier: BSD-2-Clause
"""kmod/freebsd compiles for every release, and its object is what FreeBSD's kernel linker loads."""

import re
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ccdrl.tests.kmod.freebsd import headers13, toolchain

RELEASES = sorted(toolchain.ZIGLANG)
ET_REL = 1
SHF_ALLOC = 2
SHT_RELA = 4
STB_GLOBAL = 1
MACHINE_X86_64 = 62
# sys/kern/link_elf_obj.c with sys/amd64/amd64/elf_machdep.c: what elf_reloc() can do for an object.
RELOCATIONS = {1: "64", 2: "PC32", 4: "PLT32", 11: "32S"}

# Every name that the module takes from the kernel. Each is in FreeBSD 13, 14 and 15.
LOCKS = {"__mtx_lock_flags", "__mtx_unlock_flags", "_mtx_destroy", "_mtx_init"}
MEMORY = {"malloc", "free", "malloc_init", "malloc_uninit", "memcpy", "memset", "copyin", "copyout"}
ZONES = {"uma_zalloc_arg", "uma_zcreate", "uma_zdestroy", "uma_zfree_arg"}
MODULES = {"cc_modevent", "module_register_init", "syscall_module_handler"}
VNETS = {"vnet_register_sysuninit", "vnet_deregister_sysuninit"}
SYSCTLS = {"sysctl___net_inet_tcp_cc", "sysctl_handle_32", "sysctl_handle_64", "sysctl_handle_int"}
OTHERS = {"binuptime", "tick", "priv_check"}
KERNEL = LOCKS | MEMORY | ZONES | MODULES | VNETS | SYSCTLS | OTHERS
KERNEL_CHECKED = KERNEL | {"__mtx_assert", "__rw_assert", "panic", "kassert_panic"}


def need(*tools: str) -> None:
    for tool in tools:
        if shutil.which(tool) is None:
            pytest.skip(f"this machine lacks {tool}")


@pytest.fixture(scope="module", params=[(release, checked) for release in RELEASES for checked in (False, True)])
def module(request):
    """(release, with the kernel's checks, object)"""
    release, checked = request.param
    name = f"ccdrl-{release}{'-invariants' if checked else ''}.ko"
    # A folder of its own: other tests may run the one in build/ at the same time.
    target = toolchain.BUILD / "test-build" / name
    return release, checked, toolchain.build_module(release, invariants=checked, out=target)


class Elf:
    """Sections and symbols of a 64-bit little-endian object (System V ABI, chapters 4 and 5)."""

    def __init__(self, path: Path) -> None:
        self.content = path.read_bytes()
        assert self.content[:7] == b"\x7fELF\x02\x01\x01"
        self.kind, self.machine = struct.unpack_from("<HH", self.content, 16)
        (offset,) = struct.unpack_from("<Q", self.content, 40)
        _, count, strings = struct.unpack_from("<HHH", self.content, 58)
        headers = [struct.unpack_from("<IIQQQQIIQQ", self.content, offset + 64 * i) for i in range(count)]
        names = headers[strings][4]
        self.sections = [(self._text(names + header[0]), *header[1:]) for header in headers]

    def _text(self, at: int) -> str:
        return self.content[at : self.content.index(b"\0", at)].decode()

    def size(self, name: str) -> int:
        return next((section[5] for section in self.sections if section[0] == name), 0)

    def relocations(self) -> Iterator[tuple[str, int, tuple[str, int, bool]]]:
        """Of each relocation of an allocated section: the section, the type, the symbol."""
        for _, kind, _, _, offset, size, link, info, _, _ in self.sections:
            if kind != SHT_RELA or not self.sections[info][2] & SHF_ALLOC:
                continue
            for at in range(offset, offset + size, 24):
                (word,) = struct.unpack_from("<Q", self.content, at + 8)
                yield self.sections[info][0], word & 0xFFFFFFFF, self._symbol(link, word >> 32)

    def _symbol(self, table: int, index: int) -> tuple[str, int, bool]:
        """Name, binding, whether it is defined."""
        offset, _, strings = self.sections[table][4:7]
        name, info, _, section = struct.unpack_from("<IBBH", self.content, offset + 24 * index)
        return self._text(self.sections[strings][4] + name), info >> 4, section != 0

    def imports(self) -> dict[str, int]:
        """Binding by name of the undefined symbols that the object uses; headers mention more, like the sets' ends."""
        return {name: binding for _, _, (name, binding, is_defined) in self.relocations() if not is_defined}


def test_object_is_relocatable(module):
    elf = Elf(module[2])
    assert (elf.kind, elf.machine) == (ET_REL, MACHINE_X86_64)
    assert not [section[0] for section in elf.sections if section[0].startswith(".debug")]


def test_relocations_are_those_that_the_kernel_knows(module):
    relocations = list(Elf(module[2]).relocations())
    assert {".text", "set_sysinit_set"} <= {section for section, _, _ in relocations}
    assert not [relocation for relocation in relocations if relocation[1] not in RELOCATIONS]


def test_linker_sets_are_complete(module):
    elf = Elf(module[2])
    # A DECLARE_MODULE each: the controller and two calls; malloc type, table; on the way out, the network stacks too.
    assert elf.size("set_sysinit_set") == 8 * 6
    assert elf.size("set_sysuninit_set") == 8 * 3
    assert elf.size("set_modmetadata_set") == 8 * 7  # three modules, their need of the kernel, one version
    assert elf.size("set_sysctl_set") == 8 * 17


def test_the_controller_is_asked_first(module):
    """kldunload asks modules in the order of their metadata; the one that may refuse must not come after a call."""
    symbols = subprocess.run(["nm", "-n", str(module[2])], capture_output=True, text=True, check=True).stdout
    order = re.findall(r"\b(ccdrl_mod|drl_get_buffer_mod|drl_update_cwnd_mod)\b", symbols)
    assert order[0] == "ccdrl_mod" and len(order) == 3


def test_imports_are_those_of_the_list(module):
    _, checked, path = module
    imports = Elf(path).imports()
    allowed = KERNEL_CHECKED if checked else KERNEL
    assert not set(imports) - allowed
    assert {"priv_check", "copyin", "copyout", "uma_zalloc_arg", "cc_modevent"} <= set(imports)
    assert set(imports.values()) == {STB_GLOBAL}, "the kernel linker refuses undefined weak symbols"


def test_checks_of_the_kernel_are_compiled_in(module):
    _, checked, path = module
    for name in ("__rw_assert", "__mtx_assert"):
        assert (name in Elf(path).imports()) is checked


def test_no_floating_point_and_no_red_zone(module):
    need("objdump")
    text = subprocess.run(["objdump", "-d", str(module[2])], capture_output=True, text=True, check=True).stdout
    assert "%rsp" in text
    assert not re.search(r"%(xmm|ymm|st\(|mm)\d", text)


@pytest.mark.parametrize("flags", [(), ("-DCCDRL_MPTCP",)], ids=["stock", "mptcp"])
@pytest.mark.parametrize("checked", [False, True], ids=["plain", "invariants"])
def test_compiles_with_the_differences_of_13(tmp_path, flags, checked):
    """What this proves, and what not, stands in headers13.py."""
    folder = headers13.write_headers()
    target = tmp_path / "ccdrl.ko"
    toolchain.build_module(14, invariants=checked, out=target, flags=[*flags, f"-I{folder}"])
    symbols = subprocess.run(["nm", str(target)], capture_output=True, text=True, check=True).stdout
    assert "ccdrl_cb_init" in symbols
    assert "ccdrl_data_sz" not in symbols and "ccdrl_rttsample" not in symbols


def test_a_warning_is_an_error(tmp_path):
    source = tmp_path / "unit.c"
    source.write_text("#include <sys/param.h>\nstatic int unused;\n")
    with pytest.raises(toolchain.ToolchainError, match="unused"):
        toolchain.build_module(14, sources=[source], out=tmp_path / "unit.ko")


def test_an_import_that_is_not_in_the_list_is_noticed(tmp_path):
    source = tmp_path / "unit.c"
    source.write_text(
        '#include <sys/param.h>\n#include <sys/systm.h>\nint unit(void);\nint unit(void)\n{ return printf(""); }\n'
    )
    toolchain.build_module(14, sources=[source], out=tmp_path / "unit.ko")
    assert "printf" in set(Elf(tmp_path / "unit.ko").imports()) - KERNEL_CHECKED


def analyze(release: int, unit: Path, tmp_path: Path) -> list[str]:
    """What clang's compiler and analyzer say of one unit, FreeBSD's headers left out."""
    flags = [flag for flag in toolchain.FLAGS if flag != "-O2"]
    command = ["clang", "--target=x86_64-unknown-freebsd", *flags, *toolchain.header_flags(release, invariants=True)]
    command += ["-Wno-builtin-macro-redefined", "-Wno-macro-redefined", f"-D__FreeBSD_version={release}00000"]
    command += ["--analyze", "--analyzer-output", "text", "-c", str(unit), "-o", str(tmp_path / "out")]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    found = [line for line in run.stderr.splitlines() if re.search(r": (warning|error): ", line)]
    assert run.returncode == 0 or found, run.stderr
    return [line for line in found if "/ziglang" not in line]


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("unit", toolchain.list_units(), ids=lambda unit: unit.stem)
def test_clang_and_its_analyzer_are_content(unit, release, tmp_path):
    need("clang")
    assert analyze(release, unit, tmp_path) == []


def test_the_analyzer_notices_a_null_pointer(tmp_path):
    need("clang")
    source = tmp_path / "unit.c"
    source.write_text("int unit(int n);\nint unit(int n)\n{\n\tint *p = 0;\n\n\treturn n > 3 ? *p : n;\n}\n")
    assert "Dereference of null pointer" in analyze(14, source, tmp_path)[0]


def test_makefile_names_every_unit():
    text = (toolchain.SOURCES_FOLDER / "Makefile").read_text().replace("\\\n", " ")
    (sources,) = re.findall(r"^SRCS=(.*)$", text, re.MULTILINE)
    assert sources.split() == [path.name for path in toolchain.list_units()]
    assert re.search(r"^KMOD=\s*ccdrl$", text, re.MULTILINE)
    assert ".include <bsd.kmod.mk>" in text


def test_manual_page_is_correct():
    need("mandoc")
    page = toolchain.SOURCES_FOLDER / "ccdrl.4"
    run = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning", str(page)], capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stdout) == (0, "")


def test_manual_page_names_every_sysctl():
    source = (toolchain.SOURCES_FOLDER / "ccdrl_sysctl.c").read_text()
    names = re.findall(r"^CCDRL_(?:BOUND|COUNTER)\((\w+)", source, re.MULTILINE)
    names += re.findall(r"^SYSCTL_\w+\(_net_inet_tcp_cc_ccdrl, OID_AUTO, (\w+)", source, re.MULTILINE)
    page = (toolchain.SOURCES_FOLDER / "ccdrl.4").read_text()
    assert len(names) == 16
    assert [name for name in names if not re.search(rf"^\.It Va (?:.* )?{name}\b", page, re.MULTILINE)] == []


RC_SUBR = """
load_rc_config() { . "$CONFIG"; }
err() { shift; echo "$*" >&2; exit 1; }
run_rc_command() { $start_precmd; echo "$required_modules|$command $command_args"; }
"""


def run_rc(tmp_path: Path, config: str) -> subprocess.CompletedProcess[str]:
    """The start of the rc script with a model of rc.subr."""
    (tmp_path / "rc.subr").write_text(RC_SUBR)
    (tmp_path / "rc.conf").write_text(config)
    script = (toolchain.SOURCES_FOLDER / "ccdrl.rc").read_text().replace("/etc/rc.subr", f"{tmp_path}/rc.subr")
    environment = {"CONFIG": f"{tmp_path}/rc.conf", "PATH": "/usr/bin:/bin"}
    command = ["sh", "-eu", "-c", script, "ccdrl", "start"]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_rc_script_starts_the_daemon_after_the_module(tmp_path):
    run = run_rc(tmp_path, "ccdrl_program=/bin/true\nccdrl_model=/agents/mine\nccdrl_args='--metrics 9464'\n")
    assert run.returncode == 0, run.stderr
    modules, command = run.stdout.strip().split("|")
    assert modules == "ccdrl"
    assert command.startswith("/usr/sbin/daemon -P /var/run/ccdrl.pid ")
    assert command.endswith(" /bin/true --datapath freebsd --model /agents/mine --metrics 9464")


def test_rc_script_says_what_is_missing(tmp_path):
    run = run_rc(tmp_path, "ccdrl_program=/nowhere/serve\n")
    assert run.returncode == 1
    assert run.stderr.strip() == "ccdrl_program: no program /nowhere/serve; pip install ccdrl, or set it in rc.conf"
