/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The host's side of a machine's network cards: taps, bridges, passt. What is made here lives as long as its descriptors in
 * the worker: a tap is not persistent, passt ends when its socket closes. So nothing is left behind, whoever dies first.
 */
#pragma once
#include <glib.h>
#include <json-c/json.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "domain/iface.h"
#include "domain/machine.h"

struct dom;
struct launch;

/* --- net_launch.c: any thread, may block --- */
/* Makes what the cards of l->machine need: descriptors in l->fds, names of taps in the machine. *err: the card and what to
 * do. What was made before a failure goes with l->fds. */
bool net_launch(struct launch *l, GError **err);

/* --- net_tap.c: any thread --- */
#define NET_TAP_AUTO "vnet%d"   /* names that kvmd gives */
struct net_tap {
	const char *name;               /* NULL: a free one */
	bool existing;                  /* it must be there; else it must not */
	unsigned queues;
	uint32_t sndbuf;                /* bytes; 0: the kernel's */
};
/* fds: room for one per queue, all the caller's. made: its name. *err: EXISTS, NO_DEVICE, ACCESS, HOST. */
bool net_tap_open(const struct net_tap *, int *fds, char made[IFNAMSIZ], GError **err);
/* Is that a name that kvmd gave to an earlier run? */
bool net_tap_is_auto(const char *name);

/* --- net_commands.c: any thread --- */
/* "AVERAGE[,PEAK[,BURST]]" (KiB/s, KiB/s, KiB), 0: no limit; text NULL: side stays. *err names the option. */
bool net_limit_parse(const char *option, const char *text, struct bandwidth_side *side, GError **err);

/* --- net_link.c: any thread --- */
struct net_link {
	const char *name;
	const char *bridge;             /* NULL: none */
	uint32_t mtu;                   /* 0: as it is */
	const uint8_t *mac;             /* NULL: as it is */
	bool up;
};
bool net_link_set(const struct net_link *, GError **err);
/* Does not see other isolated ports of its bridge. */
bool net_link_isolate(const char *name, bool on, GError **err);
bool net_link_add_address(const char *name, const struct iface_ip *, GError **err);
bool net_link_add_route(const char *name, const struct iface_route *, GError **err);
unsigned net_link_mtu(const char *name);        /* 0: there is no such interface */

/* --- net_passt.c: any thread, may block --- */
struct net_passt {
	const struct iface *iface;
	const char *program;            /* NULL: the one in PATH */
	const char *pid_file;
	int null_fd;
};
/* Arguments, ends with NULL. g_strfreev. */
char **net_passt_args(const struct net_passt *, const char *program);
/* Starts it and waits until it is ready. *sock: the card's end, the caller's. *err: HOST when there is none, else its words. */
bool net_passt_start(const struct net_passt *, int *sock, GError **err);
/* The pid file of a card. New. */
char *net_passt_file(const char *dir, const char *alias);

/* --- net_watch.c: main thread --- */
/* d->live runs: watches its helpers, also those that an earlier kvmd started. A helper that ends is started again. */
void net_watch(struct dom *);
void net_forget(struct dom *);                  /* stops watching */
/* Removes their files from the machine's folder: of cards that it had and has no more; of all that `live` (NULL: it has ended) does
 * not have, when none is on its way to it. */
void net_changed(const char *dir, const struct machine *was, const struct machine *is);
void net_clean(const char *dir, const struct machine *live);
