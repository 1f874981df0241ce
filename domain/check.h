/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The parts of machine_check. Each adds findings to the report; the machine is filled. */
#pragma once
#include <inttypes.h>

#include "domain/machine.h"

void check_cpu(const struct machine *, struct report *);
void check_tune(const struct machine *, struct report *);
void check_devices(const struct machine *, struct report *);
void check_disks(const struct machine *, struct report *);
void check_interfaces(const struct machine *, struct report *);
void check_chardevs(const struct machine *, struct report *);
/* Addresses, aliases and boot order of all devices. */
void check_places(const struct machine *, struct report *);
/* What a start would refuse (supported.c). */
void check_start(const struct machine *, struct report *);

/* A broken rule; what kvmd has not. obj, field: where. */
#define BAD(obj, field, cure, ...) report_error(r, obj, field, KERR_XML, cure, __VA_ARGS__)
#define HAS_NOT(obj, field, cure, ...) report_error(r, obj, field, KERR_UNSUPPORTED, cure, __VA_ARGS__)

/* Members of a canonical cpuset text. */
#define CPU_BITS_MAX 8192
struct cpu_bits { uint64_t word[CPU_BITS_MAX / 64]; };
void cpu_bits_parse(const char *text, struct cpu_bits *);       /* NULL: none */
static inline bool cpu_bit(const struct cpu_bits *b, unsigned i) { return b->word[i / 64] >> (i % 64) & 1; }
int cpu_bits_highest(const struct cpu_bits *);                  /* -1: none */
static inline bool power_of_two(uint64_t v) { return v && !(v & (v - 1)); }
bool machine_has_iothread(const struct machine *, uint32_t id);
