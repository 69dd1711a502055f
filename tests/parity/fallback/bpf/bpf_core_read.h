/* SPDX-License-Identifier: BSD-2-Clause */
/* See bpf_helpers.h. */
#include "bpf_helpers.h"
