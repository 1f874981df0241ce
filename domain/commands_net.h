/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Network cards of a domain, for kvmctl: virsh's domif verbs. domain/commands_net.c has the rows, daemon/net_commands.c the code. */
#pragma once
#include "domain/command.h"

enum net_state { NET_STATE_UP, NET_STATE_DOWN, NET_STATE_N };
/* Which card, of what: first members of those that follow. mac: kvmd's, of a card that only the machine knows by that name. */
#define ASK_CARD struct ask_scope scope; char *interface; char mac[18]
struct ask_card { ASK_CARD; };
struct ask_domif_setlink { ASK_CARD; int state; };
struct ask_domif_getlink { ASK_CARD; };
struct ask_domiflist { bool inactive; };
struct ask_domifstat { char *interface; };
struct ask_domiftune { ASK_CARD; char *inbound, *outbound; };

struct tell_domif_getlink { char *interface; int state; };
struct tell_domiflist_row { char *interface, *type, *source, *model, *mac, *alias; int state; };
struct tell_domiflist { GPtrArray *interfaces; };
struct tell_domifstat {
	char *interface;
	uint64_t rx_bytes, rx_packets, rx_errs, rx_drop, tx_bytes, tx_packets, tx_errs, tx_drop;
};
struct tell_domiftune_side { uint32_t average, peak, burst, floor; };
struct tell_domiftune { struct tell_domiftune_side inbound, outbound; };

extern const struct schema tell_domif_getlink_schema, tell_domiflist_schema, tell_domifstat_schema, tell_domiftune_schema;
