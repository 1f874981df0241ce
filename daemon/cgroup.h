/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A control group per machine, whatever the host has:
 *   systemd   a scope kvmd-vm-UUID.scope, asked of systemd by busctl
 *   v2        a folder beside kvmd's own group; the worker is born in it
 *   v1        a folder in each hierarchy that counts or limits (pids, memory, cpu, cpuacct)
 * Joining an existing process to a v1 group or a scope waits for an RCU grace period (20 ms measured), so that happens
 * behind the start, on the `slow` thread. Where kvmd may make no groups, machines stay in its own.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>

struct cgroups;
struct work;
/* Looks at the host; blocks (start only). `key` tells several kvmd of one host apart. */
struct cgroups *cgroups_new(const char *key, bool systemd_scopes);
void cgroups_free(struct cgroups *);
/* Before `slow` is freed: what a group holds up is left to the next kvmd. */
void cgroups_stop(struct cgroups *);
/* "systemd scopes", "cgroup v2", "cgroup v1 (pids, memory)", "none" */
const char *cgroups_describe(const struct cgroups *);
/* v2: descriptor of a new group for clone3, the caller closes it; -1: join afterwards. Any thread. */
int cgroups_birth_fd(const struct cgroups *, const char *uuid);
/* Main thread; the work is done on `slow`. */
void cgroups_join(struct cgroups *, struct work *slow, const char *uuid, const char *name, int pid);
void cgroups_leave(struct cgroups *, struct work *slow, const char *uuid);
