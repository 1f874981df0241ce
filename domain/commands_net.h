/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Network cards of a domain, for kvmctl: virsh's domif verbs. domain/commands_net.c has the rows, daemon/net_commands.c the code. */
#pragma once
#include "domain/command.h"

enum net_state { NET_STATE_UP, NET_STATE_DOWN, NET_STATE_N };
#define ASK_SCOPE bool live, config, current    /* first members, as struct ask_scope */
struct ask_scope { ASK_SCOPE; };
struct ask_domif_setlink { ASK_SCOPE; char *interface; int state; };
struct ask_domif_getlink { ASK_SCOPE; char *interface; };
struct ask_domiflist { bool inactive; };
struct ask_domifstat { char *interface; };
struct ask_domiftune { ASK_SCOPE; char *interface, *inbound, *outbound; };

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
