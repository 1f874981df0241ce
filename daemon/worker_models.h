/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CPU models by name, spelt out for query-cpu-model-expansion. */
#pragma once
#include <glib.h>
#include <json-c/json.h>
#include <stdbool.h>

/* New: each feature that CPUID tells (libvirt's names), true where the model has it; "base" has none. NULL and *err: unknown. */
json_object *model_expand(const char *name, GError **err);
/* Switches features on and off in it, as props (JSON text of an object; NULL: none) says. model: for the error. */
bool model_change(json_object *features, const char *model, const char *props, GError **err);
