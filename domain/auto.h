/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Scoped ownership for our plain structs (g_autoptr needs a typedef): AUTO(report) r = report_new(…); */
#pragma once

#define AUTO_DEFINE(name, fn) \
	static inline __attribute__((unused)) void auto_##name(struct name **p) { if (*p) fn(*p); }
#define AUTO(name) __attribute__((cleanup(auto_##name))) struct name *
