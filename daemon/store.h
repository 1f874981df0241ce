/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Definitions on disk: lib/domains/UUID.xml, and lib/autostart/UUID for those that start with the host. A change is
 * reported done when it survives a power cut: written beside, synced, renamed, the folder synced. Changes that wait for
 * the disk together share one sync of the folder. Main thread; writing happens on one thread of its own, in order.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>

#include "daemon/paths.h"

typedef void store_done(void *arg, const GError *err);  /* err NULL: it is on disk */

struct store;
struct store *store_new(const struct paths *);
void store_free(struct store *);                /* waits for what is under way */
/* Reads all definitions, one fn call each; removes left-over temporary files. A file that cannot be read is told with
 * text NULL and the reason; nothing is deleted. */
bool store_load(struct store *, void (*fn)(void *arg, const char *uuid, const char *text, size_t len, bool autostart, const char *trouble),
	void *arg, GError **err);
void store_put(struct store *, const char *uuid, const char *text, store_done *, void *arg);
void store_remove(struct store *, const char *uuid, store_done *, void *arg);
void store_autostart(struct store *, const char *uuid, bool on, store_done *, void *arg);
/* The same way of writing for one file of kvmd's own. Blocks; any thread. */
bool store_write_file(const char *dir, const char *name, const char *text, size_t len, GError **err);
