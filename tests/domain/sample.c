/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See sample.h. */
#include "tests/domain/sample.h"

#include "domain/report.h"

static const char *const cache_names[] = { "", "none", "writeback", "unsafe" };
static const char *const mode_names[] = { "listen", "connect", "dial" };

#define T struct sample_tune
static const struct field tune_fields[] = {
	U64(T, total_bytes_sec, "total_bytes_sec", 0, INT64_MAX, LIVE, "bytes per second"),
	U64(T, total_bytes_sec_max, "total_bytes_sec_max", 0, INT64_MAX, LIVE, "bytes per second in a burst"),
	U64(T, total_bytes_sec_max_length, "total_bytes_sec_max_length", 0, 86400, LIVE, "seconds of a burst"),
	END
};
#undef T
static void tune_check(const void *obj, struct report *r)
{
	const struct sample_tune *t = obj;

	if (t->total_bytes_sec_max && t->total_bytes_sec_max < t->total_bytes_sec)
		report_error(r, t, "total_bytes_sec_max", KERR_XML, "make it larger", "the burst is below the rate");
}
static const struct schema tune_schema = { "iotune", "limits", 1, sizeof(struct sample_tune), tune_fields, tune_check };

#define T struct sample_host
static const struct field host_fields[] = {
	STRN(T, name, "@name", 1, 255, REQUIRED, "host name"),
	U16(T, port, "@port", 1, 65535, 0, "port", .def = 10809),
	END
};
#undef T
static const struct schema host_schema = { "host", "a server", 1, sizeof(struct sample_host), host_fields };

#define T struct sample_rom
static const struct field rom_fields[] = {
	ENUM(T, bar, "@bar", onoff_names, 0, "whether the guest sees it"),
	RESOURCE(T, file, "@file", RES_READ, 0, "image"),
	END
};
#undef T
static const struct schema rom_schema = { "rom", "option ROM", 1, sizeof(struct sample_rom), rom_fields };

#define T struct sample_slot
static const struct field slot_fields[] = {
	U8(T, slot, "@slot", 0, 31, REQUIRED, "number"),
	STR(T, text, ".", 0, "what it says"),
	END
};
#undef T
static const struct schema slot_schema = { "slot", "a slot", 1, sizeof(struct sample_slot), slot_fields };

#define T struct sample_chan
static const struct field chan_fields[] = {
	ENUM(T, mode, "source/@mode", mode_names, 0, "who calls", .def = 1),
	RESOURCE(T, path, "source/@path", RES_SOCKET_CONNECT, 0, "socket"),
	STR(T, secret, "source/auth/@passwd", SECRET, "password"),
	END
};
#undef T
static const struct schema chan_schema = { "chan", "a character device", 1, sizeof(struct sample_chan), chan_fields };

#define T struct sample
static const struct field sample_fields[] = {
	STRN(T, name, "name", 1, 60, REQUIRED, "name"),
	UUID(T, uuid, "uuid", 0, "uuid"),
	STR(T, title, "title", 0, "a few words", .text_def = "untitled"),
	KEEP("metadata", NULL),
	U32(T, exit_port, "metadata/kvmd:test/kvmd:exit-port/@iobase", 0, 0xffff, 0, "test port"),
	SIZE(T, memory, "memory", 0, UINT64_C(1) << 48, 0, "memory"),
	ENUM(T, dump_core, "memory/@dumpCore", onoff_names, 0, "whether dumps hold it"),
	SIZE(T, cell, "cell/@memory", 0, UINT64_MAX, 0, "memory of the cell", .attr = "@scale"),
	CPUSET(T, cpus, "vcpu/@cpuset", 0, "host CPUs"),
	U8(T, small, "vcpu", 1, 200, 0, "a small number", .def = 1),
	U64(T, big, "big", 0, UINT64_MAX, 0, "a big number", .key = "big-number"),
	I32(T, offset, "clock/@offset", -86400, 86400, 0, "seconds"),
	I64(T, far, "clock/@far", INT64_MIN, INT64_MAX, 0, "seconds", .def = (uint64_t)-1),
	MAC(T, mac, "mac/@address", 0, "address"),
	HEX16(T, bus, "address/@bus", 0, 0xff, GUEST, "bus"),
	HEX64(T, base, "address/@base", 0, UINT64_MAX, GUEST, "base"),
	ENUM(T, cache, "driver/@cache", cache_names, 0, "cache policy"),
	ENUM(T, pinned, "driver/iommu/@pinned", yesno_names, 0, "pinned"),
	KEEP("driver/@ats", "there is nothing to translate"),
	KEEP("emulator", "kvmd runs the machine itself"),
	REFUSE("sound", "remove it"),
	REFUSE_DEVICE("watch", "remove it or use --lenient"),
	FLAG(T, readonly, "readonly", 0, "not writable"),
	FLAG(T, hidden, "kvm/@hidden", 0, "hide"),
	BYTES(T, key, "key", 64, 0, "a key"),
	RESOURCE(T, file, "source/@file", RES_DISK, 0, "image"),
	STRUCT(T, chan, ".", chan_schema, 0, "where it leads"),
	U32(T, id, "@id", 0, UINT32_MAX, RUNTIME, "number while running"),
	STRUCT(T, tune, "iotune", tune_schema, 0, "limits"),
	OPT(T, rom, "rom", rom_schema, 0, "option ROM"),
	LIST(T, hosts, "host", host_schema, 8, 0, "servers"),
	LIST(T, slots, "slots/slot", slot_schema, 32, 0, "slots"),
	EXTRAS(T, extras),
	END
};
#undef T
const struct schema sample_schema = { "sample", "everything once", 3, sizeof(struct sample), sample_fields };
