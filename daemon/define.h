/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Definitions found at start: a callback for store_load. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

void define_loaded(void *kvmd, const char *uuid, const char *text, size_t len, bool autostart, const char *trouble);
