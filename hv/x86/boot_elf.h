/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ELF kernels, 32 and 64 bits: headers, segments, and Xen's PVH entry note. Headers are hostile. */
#pragma once
#include "hv/x86/boot.h"

struct boot_elf {
	bool is64;
	uint64_t entry;                 /* e_entry */
	bool pvh;
	uint32_t pvh_entry;             /* physical; valid when pvh */
	uint64_t start, end;            /* of all that was loaded, physical */
};

bool boot_is_elf(const uint8_t *head, size_t len);
/* Checks the headers and loads every PT_LOAD at its physical address. */
bool boot_elf_load(const struct boot_plan *, struct boot_elf *, GError **err);
