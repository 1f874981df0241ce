/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A small grammar that uses every kind and every form of path once; for tests of the engine itself. */
#pragma once
#include "domain/field.h"

enum sample_cache { CACHE_ABSENT, CACHE_NONE, CACHE_WRITEBACK, CACHE_UNSAFE };

struct sample_tune { uint64_t total_bytes_sec, total_bytes_sec_max, total_bytes_sec_max_length; };
struct sample_host { char *name; uint16_t port; };
struct sample_rom { int bar; struct resource file; };
struct sample_slot { uint8_t slot; char *text; };
/* stands in the same element as the struct around it */
struct sample_chan { int mode; struct resource path; char *secret; };

struct sample {
	char *name, *uuid, *mac, *title, *cpus;
	uint64_t memory, cell, big;
	int32_t offset;
	int64_t far;
	uint8_t small;
	uint16_t bus;
	uint64_t base;
	int cache, dump_core, pinned;
	bool readonly, hidden;
	GByteArray *key;
	struct resource file;
	uint32_t id;
	struct sample_tune tune;
	struct sample_rom *rom;
	GPtrArray *hosts, *slots;
	struct sample_chan chan;
	uint32_t internal, exit_port;
	struct extras extras;
};

extern const struct schema sample_schema;
