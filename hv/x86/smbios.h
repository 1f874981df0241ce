/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SMBIOS 3.0 tables: who made this machine, its serial numbers and UUID, sockets and memory, as
 * dmidecode and inventory tools read them. Made from a plain description; pure, any thread.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define SMBIOS_SOCKETS_MAX 4096
#define SMBIOS_BOARDS_MAX 16
#define SMBIOS_RANGES_MAX 64
#define SMBIOS_OEM_STRINGS_MAX 255
#define SMBIOS_STRING_MAX 65535u

struct smbios_board {
	const char *manufacturer, *product, *version, *serial, *asset, *location;
};

struct smbios_range {
	uint64_t base, size;		/* bytes, whole KiB, size > 0 */
};

/*
 * Strings are printed as they are, without control characters; NULL takes the default that is
 * named, or else leaves the field out, as "" does.
 */
struct smbios_params {
	struct {
		const char *vendor;	/* "kvmd" */
		const char *version;	/* "kvmd-1.0" */
		const char *date;	/* "01/01/2026"; month/day/year */
		const char *release;	/* "major.minor", each 0..254 */
	} bios;
	struct {
		const char *manufacturer;	/* "kvmd" */
		const char *product;		/* "Virtual Machine" */
		const char *version;		/* "kvmd-1.0" */
		const char *serial, *sku, *family;
		const uint8_t *uuid;		/* 16 bytes in the order of its text form; NULL: none */
	} system;
	struct {
		const char *manufacturer;	/* "kvmd" */
		const char *version, *serial, *asset, *sku;
	} chassis;
	const struct smbios_board *boards;
	unsigned n_boards;
	const char *const *oem_strings;
	unsigned n_oem_strings;

	unsigned sockets, cores, threads;	/* cores in a socket, threads in a core; each > 0 */
	const char *cpu_manufacturer, *cpu_model;
	uint64_t cpu_id;			/* CPUID leaf 1: EAX, and EDX in the upper half */
	unsigned cpu_mhz;			/* 0: unknown */

	uint64_t memory;			/* bytes, > 0 */
	const struct smbios_range *ranges;	/* where it lies */
	unsigned n_ranges;
};

/*
 * Build entry points and structures into one blob for guest address @base (a multiple of 16; guests
 * without EFI search 0xf0000..0xfffff) that ends at or below @limit. The 64-bit entry point "_SM3_"
 * is its first bytes, the 32-bit one "_SM_" follows where it can express the table.
 * Returns the blob, the caller's; or NULL and @err: KERR_ARGS for parameters outside of what is
 * written above, KERR_LIMIT when the blob does not fit.
 */
GByteArray *smbios_build(const struct smbios_params *p, uint64_t base, uint64_t limit, GError **err);
