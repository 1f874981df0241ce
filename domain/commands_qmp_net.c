/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The rows of the commands about network cards that run in the worker. */
#include "domain/commands_qmp_net.h"

#define S(id, T, what, text) const struct schema id = { .name = what, .doc = text, .size = sizeof(T), .fields = id##_fields }
#define TEXT(m, text, ...) STR(T, m, NULL, 0, text, ##__VA_ARGS__)
#define BOOL(m, text, ...) FLAG(T, m, NULL, 0, text, ##__VA_ARGS__)
#define COUNT(m, text) U64(T, m, NULL, 0, UINT64_MAX, 0, text)
#define MS(m, most, text, ...) U32(T, m, NULL, 0, most, REQUIRED, text, ##__VA_ARGS__)

static const char *const rx_names[RX_N] = { "normal", "none", "all" };

#define T struct args_set_link
static const struct field args_set_link_schema_fields[] = {
	STR(T, name, NULL, REQUIRED, "alias of the card, or name of its tap"), FLAG(T, up, NULL, REQUIRED, "the cable is in"), END };
static S(args_set_link_schema, T, "set_link", "a card's cable");
#undef T

#define T struct args_rx_filter
static const struct field args_rx_filter_schema_fields[] = { TEXT(name, "only of this card"), END };
static S(args_rx_filter_schema, T, "query-rx-filter", "which card");
#undef T

#define T struct qmp_rx_filter
#define STATE(m, text) ENUM(T, m, NULL, rx_names, 0, text)
static const struct field qmp_rx_filter_schema_fields[] = {
	TEXT(name, "alias of the card"), BOOL(promiscuous, "everything is received"),
	STATE(multicast, "frames to groups"), STATE(unicast, "frames to one"), STATE(vlan, "frames with a tag"),
	BOOL(broadcast, "frames to all are received", .name = "broadcast-allowed"),
	BOOL(multicast_overflow, "more groups than the table holds: all pass", .name = "multicast-overflow"),
	BOOL(unicast_overflow, "more addresses than the table holds: all pass", .name = "unicast-overflow"),
	TEXT(mac, "the card's address", .name = "main-mac"), JSON(T, vlans, "[int]", 0, "tags that are received", .name = "vlan-table"),
	JSON(T, unicasts, "[str]", 0, "further addresses", .name = "unicast-table"),
	JSON(T, multicasts, "[str]", 0, "groups", .name = "multicast-table"), END };
#undef STATE
S(qmp_rx_filter_schema, T, "RxFilterInfo", "what a card receives");
#undef T

#define T struct args_announce
static const struct field args_announce_schema_fields[] = {
	MS(initial, 100000, "ms before the first"), MS(max, 100000, "ms between two at most"), U32(T, rounds, NULL, 1, 1000, REQUIRED, "how often"),
	MS(step, 10000, "ms that each wait is longer than the one before"), JSON(T, interfaces, "[str]", 0, "only these cards; not given: all"),
	TEXT(id, "taken, and of no use here: an announcement ends by itself"), END };
static S(args_announce_schema, T, "announce-self", "how often, and whose address");
#undef T

#define T struct args_net_tune
static const struct field args_net_tune_schema_fields[] = {
	STR(T, id, NULL, REQUIRED, "alias of the card"), STRUCT(T, bandwidth, NULL, bandwidth_schema, REQUIRED, "its limits from now on"), END };
static S(args_net_tune_schema, T, "net-tune", "limits of a card");
#undef T

#define T struct net_row_told
static const struct field net_row_told_schema_fields[] = {
	TEXT(id, "alias"), BOOL(up, "the cable is in"), BOOL(linked, "and the other end is there"),
	COUNT(rx_bytes, "bytes to the guest"), COUNT(rx_packets, "frames to the guest"), COUNT(rx_drop, "frames to the guest that were lost"),
	COUNT(tx_bytes, "bytes from the guest"), COUNT(tx_packets, "frames from the guest"), COUNT(tx_drop, "frames from the guest that were lost"), END };
S(net_row_told_schema, T, "net", "a card and what it carried");
#undef T

#define ASK CMD_READ | CMD_VM
const struct command qmp_net_commands[] = {
	{ "set_link", NULL, "put a card's cable in or pull it out", IN_WORKER, CMD_VM, &args_set_link_schema },
	{ "query-rx-filter", NULL, "list the networks' receive filters", IN_WORKER, ASK | CMD_LIST, &args_rx_filter_schema, &qmp_rx_filter_schema },
	{ "announce-self", NULL, "tell the neighbours where the guest's cards are", IN_WORKER, CMD_VM, &args_announce_schema },
	{ "net-tune", NULL, "change the limits of a card", IN_WORKER, CMD_INTERNAL, &args_net_tune_schema },
	{ "net-list", NULL, "list the cards and what they carried", IN_WORKER, CMD_READ | CMD_INTERNAL | CMD_LIST, NULL, &net_row_told_schema },
	{ NULL },
};
