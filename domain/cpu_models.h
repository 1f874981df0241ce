/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The named CPU models of libvirt 9 as differences to a parent. Pure data. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct cpu_model_row {
	const char *name;
	const char *vendor;             /* "Intel", "AMD", "Hygon"; NULL: any */
	uint16_t family, model;         /* as displayed (base + extended); 0: a generic model */
	uint16_t stepping;              /* the lowest it is known by */
	bool guest_only;                /* not a name for a host (host-model never answers with it) */
	const char *parent;             /* its features come first; NULL: none */
	const char *add;                /* names separated by blanks */
	const char *drop;               /* of the parent's; NULL: none */
};

extern const struct cpu_model_row cpu_model_rows[];
extern const unsigned cpu_model_rows_n;

const struct cpu_model_row *cpu_model_find(const char *name);
/* The nearest name, for "did you mean"; NULL when nothing is near. */
const char *cpu_model_near(const char *name);
/* "GenuineIntel" for "Intel"; NULL when unknown. */
const char *cpu_vendor_string(const char *vendor);
/* Calls fn with each feature of the model (names of cpu_features.h), once each, parents' first. */
void cpu_model_features(const struct cpu_model_row *, void (*fn)(const char *feature, void *arg), void *arg);
/* Has the model (or a parent, unless dropped) this feature? */
bool cpu_model_has(const struct cpu_model_row *, const char *feature);
