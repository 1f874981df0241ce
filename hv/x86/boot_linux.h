/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Linux' 64-bit boot protocol: bzImage, and vmlinux as an ELF file. */
#pragma once
#include "hv/x86/boot_elf.h"

#define BOOT_LINUX_HEAD 1024            /* bytes of the file that hold the setup header */

bool boot_is_linux(const uint8_t *head, size_t len);
bool boot_linux(const struct boot_plan *, const uint8_t *head, struct boot_entry *, GError **err);
/* The zero page for an ELF kernel that boot_elf_load() has loaded. */
bool boot_linux_elf(const struct boot_plan *, const struct boot_elf *, struct boot_entry *, GError **err);
