/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What of the host kvmd gave a machine, at the word of people: paths, connections, helpers of cards. A machine's process tells what
 * it is (query-machine), and kvmd goes by that; but the process may be hostile, so a description that names anything of the host
 * that it was not given is refused. The run folder has a note of each thing (given/…), made by kvmd before the process is told of
 * it: so whichever kvmd is there knows. dir: the run folder. Any thread.
 */
#pragma once
#include "domain/machine.h"

/* At a start: notes who the machine is and all that it names. */
bool given_begin(const char *dir, const struct machine *, GError **err);
/* The devices that m names come too, or may come. */
bool given_add(const char *dir, const struct machine *m, GError **err);
/* Is it this machine, and was it given all that it names? Descriptors of clients (/dev/fdset/N, fd:NAME) need not be given. */
bool given_holds(const char *dir, const struct machine *, GError **err);
/* Whether anything was noted: a kvmd before this one did not. */
bool given_is_known(const char *dir);
/* The machine had what `is` has no more: it does not get it again by itself, where a process stands behind it. */
void given_changed(const char *dir, const struct machine *was, const struct machine *is);
/* The machine is off. */
void given_clean(const char *dir);
