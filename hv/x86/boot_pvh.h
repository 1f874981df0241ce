/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PVH: Xen's HVM direct boot ABI, as KVM guests know it. */
#pragma once
#include "hv/x86/boot_elf.h"

/* hvm_start_info, its memory map and module list for a kernel that boot_elf_load() has loaded. */
bool boot_pvh(const struct boot_plan *, const struct boot_elf *, struct boot_entry *, GError **err);
