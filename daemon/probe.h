/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What KVM on this host can do: asked of `kvmd-vm --probe` when it is first wanted, kept. Main thread. */
#pragma once
#include <glib.h>
#include <stdbool.h>

struct kvmd;
struct probe;
struct probe *probe_new(struct kvmd *, const char *device /* "/dev/kvm" */);
void probe_free(struct probe *);
/* Calls fn when it is known, at once or later; text is the JSON line, or NULL with err. again: ask anew unless it went well. */
void probe_ask(struct probe *, bool again, void (*fn)(void *arg, const char *text, const GError *err), void *arg);
/* The answer if it has been asked for; NULL: not yet, or it failed. */
const char *probe_text(const struct probe *);
const char *probe_device(const struct probe *);
/* Opens the KVM device; -1 and *err with what to do about it. Any thread. */
int probe_open_kvm(const char *device, GError **err);
