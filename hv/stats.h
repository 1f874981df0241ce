/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The worker's side of the statistics page (domain/statpage.h). What counts something asks for a slot when it is made and gives
 * it back when it goes; without a page, or without room in it, it counts in memory of its own, so that counting is always one
 * store. Slots are taken and given on the main thread; words are written by whoever counts.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>

#include "domain/statpage.h"

struct vm;
/* Maps the page behind fd into vm->stats and closes fd, also on failure. */
bool stats_open(struct vm *, int fd, GError **err);
void stats_close(struct vm *);          /* all slots have been given back, or nobody writes any more */
/* A slot's words; NULL: count elsewhere (that there was no room is itself counted in the page). */
uint64_t *stats_take(struct vm *, enum stat_kind, const char *alias, const char *label);
void stats_give(struct vm *, uint64_t *words);  /* NULL is fine */
/* A word of the machine itself; any thread. */
void stats_vm_add(struct vm *, unsigned word, uint64_t more);
void stats_vm_set(struct vm *, unsigned word, uint64_t value);
