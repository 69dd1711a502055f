# SPDX-License-Identifier: BSD-2-Clause
"""FreeBSD 13's side of each difference that kmod/freebsd/ccdrl_compat.h covers, as edits of FreeBSD 14's headers.

No package carries the headers of FreeBSD 13. What compiles against these proves that the module uses no name that 13
lacks of mod_cc and the tcpcb, and that each branch for 13 is correct C with 13's signatures. It proves nothing about
the layout of structures: a module for 13 is built on FreeBSD 13.
"""

import re
from pathlib import Path

from ccdrl.tests.kmod.freebsd import toolchain

CC = (
    (r"int\t\(\*cb_init\)\(struct cc_var \*ccv, void \*ptr\);", "int\t(*cb_init)(struct cc_var *ccv);"),
    (r"\tsize_t  \(\*cc_data_sz\)\(void\);\n", ""),
    (r"\tvoid\t\(\*newround\)\([^;]*;\n", ""),
    (r"\tvoid\t\(\*rttsample\)\([^;]*;\n", ""),
    (r"#define\s*CCF_HYSTART_\w+.*\n", ""),
    (r"#define\s*CC_MODULE_BEING_REMOVED.*\n", ""),
)
TCP_VAR = (
    (r"struct inpcb t_inpcb;", "struct inpcb *t_inpcb;"),
    (r"#define\s*tptoinpcb\(tp\).*\n", ""),
    (r"#define\s*tptosocket\(tp\).*\n", ""),
    (r"tptoinpcb\(tp\)", "tp->t_inpcb"),
    (r"#define\s*TCP_TMR_GRANULARITY_\w+.*\n", ""),
    (r"\tuint8_t t_tmr_granularity;.*\n", ""),
    (r"struct cc_var\tt_ccv;", "struct cc_var *ccv; struct mpcb *t_mpcb;"),
)
"""Pattern and replacement; each must match."""

MPTCP_VAR = "struct mpcb { uint32_t local_token; };\nstatic unsigned char mp_outflags[1];\n"
"""As much of the 13.1 MPTCP kernel's netinet/mptcp_var.h as the module uses."""


def write_headers() -> Path:
    """The folder of the edited headers, to be searched before FreeBSD 14's."""
    source = toolchain.ziglang(14) / "lib" / "libc" / "include" / "generic-freebsd" / "netinet"
    folder = toolchain.BUILD / "headers13"
    for name, edits in (("cc/cc.h", CC), ("tcp_var.h", TCP_VAR)):
        text = (source / name).read_text()
        for pattern, replacement in edits:
            text, count = re.subn(pattern, replacement, text)
            assert count > 0, f"{name}: nothing matches {pattern}"
        target = folder / "netinet" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    (folder / "netinet" / "mptcp_var.h").write_text(MPTCP_VAR)
    (folder / "netinet" / "mptcp_pcb.h").write_text("")
    return folder
