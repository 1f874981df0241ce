/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where things are: one rule for kvmd, kvmd-vm and kvmctl.
 *
 *   --root DIR or KVMD_ROOT   DIR/etc/kvmd, DIR/var/lib/kvmd, DIR/run/kvmd, DIR/var/log/kvmd
 *   root                      /etc/kvmd, /var/lib/kvmd, /run/kvmd, /var/log/kvmd
 *   others                    the same under the XDG folders
 *
 * Pure but for the environment; any thread.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>

#include "domain/auto.h"

struct paths {
	char *root;             /* absolute; NULL: the system's places or XDG's */
	char *etc, *lib, *run, *log;
	char *conf;             /* etc/kvmd.conf */
	char *control;          /* run/control.sock */
	char *domains;          /* lib/domains: UUID.xml, one per definition */
	char *autostart;        /* lib/autostart: UUID, an empty file per flag */
	char *vms;              /* run/vm: UUID/, one per running machine; NAME.qmp */
	char *events;           /* lib/events.jsonl */
};

/* root NULL: KVMD_ROOT, then by user. New; NULL and *err when an ordinary user has no home. */
struct paths *paths_new(const char *root, GError **err);
void paths_free(struct paths *);
AUTO_DEFINE(paths, paths_free)
/* Makes the folders kvmd writes to (lib 0700, run 0755, log 0750). Blocks. */
bool paths_make(const struct paths *, GError **err);
/* A helper program: beside the running one, else in the installed libexec folder. Caller frees. */
char *paths_program(const char *name);
