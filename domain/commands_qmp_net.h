/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Network cards of a running machine: what QEMU's clients ask (names and units are QEMU's), and what stands behind
 * kvmctl's domif verbs. domain/commands_qmp_net.c has the rows.
 */
#pragma once
#include "domain/command.h"
#include "domain/iface.h"

struct args_set_link { char *name; bool up; };
struct args_rx_filter { char *name; };
struct args_announce { uint32_t initial, max, rounds, step; char *interfaces /* JSON */, *id; };
struct args_net_tune { char *id; struct bandwidth bandwidth; };

enum rx_state { RX_NORMAL, RX_NONE, RX_ALL, RX_N };
struct qmp_rx_filter {
	char *name;
	bool promiscuous, broadcast, multicast_overflow, unicast_overflow;
	int multicast, unicast, vlan;           /* enum rx_state */
	char *mac, *vlans, *unicasts, *multicasts;      /* the last three: JSON */
};
/* A card, as net-list tells it. rx: to the guest. */
struct net_row_told {
	char *id;
	bool up, linked;
	uint64_t rx_bytes, rx_packets, rx_drop, tx_bytes, tx_packets, tx_drop;
};
extern const struct schema qmp_rx_filter_schema, net_row_told_schema;
