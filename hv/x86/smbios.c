/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SMBIOS tables. A structure is a formatted area, in which a string is a number counted from 1,
 * followed by its strings. Handles count up from 0. Offsets and section numbers are those of
 * DMTF DSP0134 3.0.
 *
 *	base      "_SM3_", 24 bytes
 *	base+32   "_SM_", 31 bytes
 *	base+64   structures
 */
#include "hv/x86/smbios.h"

#include "domain/error.h"
#include "hv/x86/blob.h"

#include <inttypes.h>
#include <string.h>

#define ENTRY3_LEN 24
#define ENTRY2_AT 32
#define ENTRY2_LEN 31
#define TABLE_AT 64
#define NO_HANDLE 0xffff
#define NOT_GIVEN 0xfffe	/* handle of the error information */
#define MIB 20
#define STRINGS_MAX 255
#define MEMORY_MAX ((uint64_t)INT32_MAX << MIB)

enum smbios_type {
	TYPE_BIOS = 0,
	TYPE_SYSTEM = 1,
	TYPE_BOARD = 2,
	TYPE_CHASSIS = 3,
	TYPE_PROCESSOR = 4,
	TYPE_OEM_STRINGS = 11,
	TYPE_MEMORY_ARRAY = 16,
	TYPE_MEMORY_DEVICE = 17,
	TYPE_MEMORY_MAPPED = 19,
	TYPE_BOOT = 32,
	TYPE_END = 127,
};

struct table {
	GByteArray *out;
	unsigned handle, count;		/* next handle; structures so far */
	size_t start, largest;		/* of the open structure; of all */
	const char *strings[STRINGS_MAX];	/* of the open structure */
	unsigned n_strings;
};

static unsigned open_structure(struct table *t, enum smbios_type type)
{
	unsigned handle = t->handle++;

	t->start = t->out->len;
	t->n_strings = 0;
	blob_u8(t->out, type);
	blob_u8(t->out, 0);			/* length: close_structure() */
	blob_u16(t->out, handle);
	return handle;
}

static void add_string(struct table *t, const char *s)
{
	g_assert(t->n_strings < STRINGS_MAX);
	t->strings[t->n_strings++] = s;
}

/* A string's byte in the formatted area; an empty string is none. */
static void put_string(struct table *t, const char *s)
{
	if (!s || !*s) {
		blob_u8(t->out, 0);
		return;
	}
	add_string(t, s);
	blob_u8(t->out, t->n_strings);
}

/* @len: what the standard says the formatted area has */
static void close_structure(struct table *t, size_t len)
{
	g_assert_cmpuint(t->out->len - t->start, ==, len);
	t->out->data[t->start + 1] = (uint8_t)len;
	for (unsigned i = 0; i < t->n_strings; i++)
		blob_put(t->out, t->strings[i], strlen(t->strings[i]) + 1);
	blob_zero(t->out, t->n_strings ? 1 : 2);
	t->largest = MAX(t->largest, t->out->len - t->start);
	t->count++;
}

static const char *text_or(const char *s, const char *otherwise)
{
	return s ? s : otherwise;
}

static bool parse_release(const char *s, uint8_t release[2], GError **err)
{
	uint64_t n[2];
	char *end;

	release[0] = release[1] = 0xff;
	if (!s || !*s)
		return true;
	for (unsigned i = 0; i < 2; i++) {
		if (!g_ascii_isdigit(*s))
			break;
		n[i] = g_ascii_strtoull(s, &end, 10);
		if (n[i] > 254 || *end != (i ? '\0' : '.'))
			break;
		s = end + 1;
		if (i) {
			release[0] = (uint8_t)n[0];
			release[1] = (uint8_t)n[1];
			return true;
		}
	}
	return kerr_set(err, KERR_ARGS, "BIOS release is not 'major.minor' with numbers up to 254");
}

/* 7.1 */
static void add_bios(struct table *t, const struct smbios_params *p, const uint8_t release[2])
{
	open_structure(t, TYPE_BIOS);
	put_string(t, text_or(p->bios.vendor, "kvmd"));
	put_string(t, text_or(p->bios.version, "kvmd-1.0"));
	blob_u16(t->out, 0);			/* start segment: there is no ROM */
	put_string(t, text_or(p->bios.date, "01/01/2026"));
	blob_u8(t->out, 0);
	blob_u64(t->out, 1 << 3);		/* characteristics: not supported */
	blob_u8(t->out, 0);
	blob_u8(t->out, 1 << 4 | 1 << 2);	/* a virtual machine; content may be updated */
	blob_put(t->out, release, 2);
	blob_u16(t->out, 0xffff);		/* no embedded controller */
	close_structure(t, 0x18);
}

/* 7.2; since version 2.6 the first three fields of a UUID are little-endian */
static void add_system(struct table *t, const struct smbios_params *p)
{
	static const uint8_t order[16] = { 3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15 };

	open_structure(t, TYPE_SYSTEM);
	put_string(t, text_or(p->system.manufacturer, "kvmd"));
	put_string(t, text_or(p->system.product, "Virtual Machine"));
	put_string(t, text_or(p->system.version, "kvmd-1.0"));
	put_string(t, p->system.serial);
	for (unsigned i = 0; i < sizeof(order); i++)
		blob_u8(t->out, p->system.uuid ? p->system.uuid[order[i]] : 0);
	blob_u8(t->out, 6);			/* woken by the power switch */
	put_string(t, p->system.sku);
	put_string(t, p->system.family);
	close_structure(t, 0x1b);
}

/* 7.4 */
static unsigned add_chassis(struct table *t, const struct smbios_params *p)
{
	unsigned handle = open_structure(t, TYPE_CHASSIS);

	put_string(t, text_or(p->chassis.manufacturer, "kvmd"));
	blob_u8(t->out, 1);			/* type: other */
	put_string(t, p->chassis.version);
	put_string(t, p->chassis.serial);
	put_string(t, p->chassis.asset);
	blob_u8(t->out, 3);			/* boot-up, power supply, thermal state: safe */
	blob_u8(t->out, 3);
	blob_u8(t->out, 3);
	blob_u8(t->out, 2);			/* security: unknown */
	blob_zero(t->out, 8);
	put_string(t, p->chassis.sku);
	close_structure(t, 0x16);
	return handle;
}

/* 7.3 */
static void add_board(struct table *t, const struct smbios_board *b, unsigned chassis)
{
	open_structure(t, TYPE_BOARD);
	put_string(t, b->manufacturer);
	put_string(t, b->product);
	put_string(t, b->version);
	put_string(t, b->serial);
	put_string(t, b->asset);
	blob_u8(t->out, 1);			/* a hosting board */
	put_string(t, b->location);
	blob_u16(t->out, chassis);
	blob_u8(t->out, 0x0a);			/* motherboard */
	blob_u8(t->out, 0);
	close_structure(t, 0x0f);
}

/* 7.5 */
static void add_processor(struct table *t, const struct smbios_params *p, unsigned socket)
{
	unsigned threads = p->cores * p->threads;
	unsigned cores8 = MIN(p->cores, 255), threads8 = MIN(threads, 255);
	char name[16];

	g_snprintf(name, sizeof(name), "CPU %u", socket);
	open_structure(t, TYPE_PROCESSOR);
	put_string(t, name);
	blob_u8(t->out, 3);			/* central processor */
	blob_u8(t->out, 1);			/* family: other */
	put_string(t, p->cpu_manufacturer);
	blob_u64(t->out, p->cpu_id);
	put_string(t, p->cpu_model);
	blob_u8(t->out, 0);
	blob_u16(t->out, 0);
	blob_u16(t->out, p->cpu_mhz);		/* maximum, current */
	blob_u16(t->out, p->cpu_mhz);
	blob_u8(t->out, 0x41);			/* populated, enabled */
	blob_u8(t->out, 1);			/* upgrade: other */
	blob_u16(t->out, NO_HANDLE);		/* caches: CPUID tells */
	blob_u16(t->out, NO_HANDLE);
	blob_u16(t->out, NO_HANDLE);
	blob_zero(t->out, 3);
	blob_u8(t->out, cores8);
	blob_u8(t->out, cores8);
	blob_u8(t->out, threads8);
	blob_u16(t->out, 1 << 2 | (p->cores > 1 ? 1 << 3 : 0) | (p->threads > 1 ? 1 << 4 : 0));
	blob_u16(t->out, 1);
	blob_u16(t->out, p->cores);
	blob_u16(t->out, p->cores);
	blob_u16(t->out, threads);
	close_structure(t, 0x30);
}

/* 7.12 */
static void add_oem_strings(struct table *t, const struct smbios_params *p)
{
	if (!p->n_oem_strings)
		return;
	open_structure(t, TYPE_OEM_STRINGS);
	blob_u8(t->out, p->n_oem_strings);
	for (unsigned i = 0; i < p->n_oem_strings; i++)
		add_string(t, p->oem_strings[i]);
	close_structure(t, 5);
}

/* 7.17, 7.18, 7.20 */
static void add_memory(struct table *t, const struct smbios_params *p)
{
	uint64_t kib = (p->memory + 1023) >> 10, mib = (p->memory + (1 << MIB) - 1) >> MIB;
	unsigned array = open_structure(t, TYPE_MEMORY_ARRAY);

	blob_u8(t->out, 1);			/* place: other */
	blob_u8(t->out, 3);			/* system memory */
	blob_u8(t->out, 3);			/* no error correction */
	blob_u32(t->out, kib < 0x80000000 ? (uint32_t)kib : 0x80000000);
	blob_u16(t->out, NOT_GIVEN);
	blob_u16(t->out, 1);
	blob_u64(t->out, kib < 0x80000000 ? 0 : kib << 10);
	close_structure(t, 0x17);

	open_structure(t, TYPE_MEMORY_DEVICE);
	blob_u16(t->out, array);
	blob_u16(t->out, NOT_GIVEN);
	blob_u16(t->out, 0xffff);		/* widths: unknown */
	blob_u16(t->out, 0xffff);
	if (p->memory & ((1 << MIB) - 1) && kib < 0x7fff)
		blob_u16(t->out, 0x8000 | (unsigned)kib);
	else
		blob_u16(t->out, mib < 0x7fff ? (unsigned)mib : 0x7fff);
	blob_u8(t->out, 9);			/* DIMM */
	blob_u8(t->out, 0);
	put_string(t, "DIMM 0");
	put_string(t, NULL);
	blob_u8(t->out, 7);			/* RAM */
	blob_u16(t->out, 1 << 1);
	blob_u16(t->out, 0);
	blob_zero(t->out, 4);			/* manufacturer, serial, asset, part: none */
	blob_u8(t->out, 0);
	blob_u32(t->out, mib < 0x7fff ? 0 : (uint32_t)mib);
	blob_zero(t->out, 8);
	close_structure(t, 0x28);

	for (unsigned i = 0; i < p->n_ranges; i++) {
		uint64_t first = p->ranges[i].base, last = first + (p->ranges[i].size - 1);
		bool extended = last >> 10 >= UINT32_MAX;

		open_structure(t, TYPE_MEMORY_MAPPED);
		blob_u32(t->out, extended ? UINT32_MAX : (uint32_t)(first >> 10));
		blob_u32(t->out, extended ? UINT32_MAX : (uint32_t)(last >> 10));
		blob_u16(t->out, array);
		blob_u8(t->out, 1);
		blob_u64(t->out, extended ? first : 0);
		blob_u64(t->out, extended ? last : 0);
		close_structure(t, 0x1f);
	}
}

/* 7.33, 7.45 */
static void add_last(struct table *t)
{
	open_structure(t, TYPE_BOOT);
	blob_zero(t->out, 7);			/* no errors */
	close_structure(t, 0x0b);
	open_structure(t, TYPE_END);
	close_structure(t, 4);
}

/* 5.2.2 */
static void put_entry3(GByteArray *out, uint64_t table, size_t len)
{
	g_autoptr(GByteArray) e = g_byte_array_new();

	blob_text(e, "_SM3_", 5, 0);
	blob_u8(e, 0);
	blob_u8(e, ENTRY3_LEN);
	blob_u8(e, 3);
	blob_u8(e, 0);
	blob_u8(e, 0);				/* revision of the document */
	blob_u8(e, 1);				/* of the entry point */
	blob_u8(e, 0);
	blob_u32(e, (uint32_t)len);
	blob_u64(e, table);
	blob_checksum(e, 0, ENTRY3_LEN, 5);
	blob_set(out, 0, e->data, ENTRY3_LEN);
}

/* 5.2.1 */
static void put_entry2(GByteArray *out, uint64_t table, size_t len, const struct table *t)
{
	g_autoptr(GByteArray) e = g_byte_array_new();

	if (table > UINT32_MAX || len > UINT16_MAX)
		return;
	blob_text(e, "_SM_", 4, 0);
	blob_u8(e, 0);
	blob_u8(e, ENTRY2_LEN);
	blob_u8(e, 3);
	blob_u8(e, 0);
	blob_u16(e, (unsigned)t->largest);
	blob_zero(e, 6);
	blob_text(e, "_DMI_", 5, 0);
	blob_u8(e, 0);
	blob_u16(e, (unsigned)len);
	blob_u32(e, (uint32_t)table);
	blob_u16(e, t->count);
	blob_u8(e, 0x30);
	blob_checksum(e, 0x10, 0x0f, 0x15);
	blob_checksum(e, 0, ENTRY2_LEN, 4);
	blob_set(out, ENTRY2_AT, e->data, ENTRY2_LEN);
}

/* --- checks --- */

static bool check_string(const char *s, GError **err)
{
	if (s && strnlen(s, SMBIOS_STRING_MAX + 1) > SMBIOS_STRING_MAX)
		return kerr_set(err, KERR_ARGS, "an SMBIOS string is longer than %u bytes",
				SMBIOS_STRING_MAX);
	for (; s && *s; s++)
		if (g_ascii_iscntrl(*s))
			return kerr_set(err, KERR_ARGS, "an SMBIOS string has a control character");
	return true;
}

static bool check_strings(const struct smbios_params *p, GError **err)
{
	const char *const all[] = {
		p->bios.vendor, p->bios.version, p->bios.date,
		p->system.manufacturer, p->system.product, p->system.version,
		p->system.serial, p->system.sku, p->system.family,
		p->chassis.manufacturer, p->chassis.version, p->chassis.serial,
		p->chassis.asset, p->chassis.sku, p->cpu_manufacturer, p->cpu_model,
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(all); i++)
		if (!check_string(all[i], err))
			return false;
	for (unsigned i = 0; i < p->n_boards; i++) {
		const struct smbios_board *b = &p->boards[i];

		if (!check_string(b->manufacturer, err) || !check_string(b->product, err) ||
		    !check_string(b->version, err) || !check_string(b->serial, err) ||
		    !check_string(b->asset, err) || !check_string(b->location, err))
			return false;
	}
	for (unsigned i = 0; i < p->n_oem_strings; i++) {
		if (!p->oem_strings[i] || !*p->oem_strings[i])
			return kerr_set(err, KERR_ARGS, "OEM string %u is empty", i);
		if (!check_string(p->oem_strings[i], err))
			return false;
	}
	return true;
}

static bool check_params(const struct smbios_params *p, uint64_t base, uint64_t limit, GError **err)
{
	if (base % 16 || base >= limit)
		return kerr_set(err, KERR_ARGS, "SMBIOS can't lie at 0x%" PRIx64 "..0x%" PRIx64, base,
				limit);
	if (p->n_boards > SMBIOS_BOARDS_MAX || p->n_ranges > SMBIOS_RANGES_MAX ||
	    p->n_oem_strings > SMBIOS_OEM_STRINGS_MAX)
		return kerr_set(err, KERR_ARGS, "more than %u boards, %u memory ranges or %u OEM strings",
				SMBIOS_BOARDS_MAX, SMBIOS_RANGES_MAX, SMBIOS_OEM_STRINGS_MAX);
	if ((p->n_boards && !p->boards) || (p->n_ranges && !p->ranges) ||
	    (p->n_oem_strings && !p->oem_strings))
		return kerr_set(err, KERR_ARGS, "a list of SMBIOS entries is missing");
	if (!p->sockets || p->sockets > SMBIOS_SOCKETS_MAX || !p->cores || !p->threads ||
	    p->cores > UINT16_MAX || p->threads > UINT16_MAX / p->cores)
		return kerr_set(err, KERR_ARGS, "no CPU topology: %u sockets, %u cores, %u threads",
				p->sockets, p->cores, p->threads);
	if (!p->memory || p->memory > MEMORY_MAX)
		return kerr_set(err, KERR_ARGS, "memory of %" PRIu64 " bytes is outside 1..%" PRIu64,
				p->memory, MEMORY_MAX);
	for (unsigned i = 0; i < p->n_ranges; i++) {
		const struct smbios_range *r = &p->ranges[i];

		if (!r->size || (r->base | r->size) & 1023 || r->size - 1 > UINT64_MAX - r->base)
			return kerr_set(err, KERR_ARGS, "memory range at 0x%" PRIx64 ", size 0x%" PRIx64,
					r->base, r->size);
	}
	return check_strings(p, err);
}

GByteArray *smbios_build(const struct smbios_params *p, uint64_t base, uint64_t limit, GError **err)
{
	g_autoptr(GByteArray) out = NULL;
	struct table t = { .handle = 0 };
	uint8_t release[2];
	unsigned chassis;

	if (!check_params(p, base, limit, err) || !parse_release(p->bios.release, release, err))
		return NULL;
	t.out = out = g_byte_array_new();
	blob_zero(out, TABLE_AT);
	add_bios(&t, p, release);
	add_system(&t, p);
	chassis = add_chassis(&t, p);
	for (unsigned i = 0; i < p->n_boards; i++)
		add_board(&t, &p->boards[i], chassis);
	for (unsigned i = 0; i < p->sockets; i++)
		add_processor(&t, p, i);
	add_oem_strings(&t, p);
	add_memory(&t, p);
	add_last(&t);
	if (out->len > limit - base) {
		kerr_set(err, KERR_LIMIT, "SMBIOS tables of %u bytes do not fit in %" PRIu64, out->len,
			 limit - base);
		return NULL;
	}
	put_entry3(out, base + TABLE_AT, out->len - TABLE_AT);
	put_entry2(out, base + TABLE_AT, out->len - TABLE_AT, &t);
	return g_steal_pointer(&out);
}
