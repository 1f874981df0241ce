/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The rows of the commands about a domain's network cards. */
#include "domain/commands_net.h"

#define ASK(id, T, what, text) \
	static const struct schema id##_schema = { .name = what, .doc = text, .size = sizeof(T), .fields = id##_fields }
#define TELL(id, T, what, text) const struct schema id##_schema = { .name = what, .doc = text, .size = sizeof(T), .fields = id##_fields }
#define TEXT(m, text) STR(T, m, NULL, 0, text)
#define COUNT(m, text) U64(T, m, NULL, 0, UINT64_MAX, 0, text)
#define CARD STRN(T, interface, NULL, 1, 255, REQUIRED | POSITIONAL, "the card: name of its tap, MAC address or alias")

static const char *const state_names[NET_STATE_N] = { "up", "down" };

#define T struct ask_domif_setlink
static const struct field ask_domif_setlink_fields[] = {
	CARD, ENUM(T, state, NULL, state_names, REQUIRED | POSITIONAL, "up: the cable is in"), ASK_SCOPE(T), END };
ASK(ask_domif_setlink, T, "domif-setlink", "a card's cable");
#undef T

#define T struct ask_domif_getlink
static const struct field ask_domif_getlink_fields[] = { CARD, ASK_SCOPE(T), END };
ASK(ask_domif_getlink, T, "domif-getlink", "which card");
#undef T

#define T struct ask_domiflist
static const struct field ask_domiflist_fields[] = { FLAG(T, inactive, NULL, 0, "of the definition, also while the machine runs"), END };
ASK(ask_domiflist, T, "domiflist", "which cards");
#undef T

#define T struct ask_domifstat
static const struct field ask_domifstat_fields[] = { CARD, END };
ASK(ask_domifstat, T, "domifstat", "which card");
#undef T

#define T struct ask_domiftune
static const struct field ask_domiftune_fields[] = {
	CARD, STR(T, inbound, NULL, 0, "AVERAGE[,PEAK[,BURST]] to the guest: KiB per second, KiB per second, KiB; 0: no limit"),
	STR(T, outbound, NULL, 0, "the same from the guest"), ASK_SCOPE(T), END };
ASK(ask_domiftune, T, "domiftune", "limits of a card");
#undef T

#define T struct tell_domif_getlink
static const struct field tell_domif_getlink_fields[] = {
	TEXT(interface, "the card, as it was named"), ENUM(T, state, NULL, state_names, 0, "up: the cable is in"), END };
TELL(tell_domif_getlink, T, "domif-getlink", "a card's cable");
#undef T

#define T struct tell_domiflist_row
static const struct field tell_domiflist_row_fields[] = {
	TEXT(interface, "name of its tap; not given: it has none now"), TEXT(type, "what it is plugged into"), TEXT(source, "which one"),
	TEXT(model, "what the guest sees"), TEXT(mac, "MAC address"), TEXT(alias, "its name inside the machine"),
	ENUM(T, state, NULL, state_names, 0, "up: the cable is in"), END };
static TELL(tell_domiflist_row, T, "card", "a card");
#undef T

#define T struct tell_domiflist
static const struct field tell_domiflist_fields[] = { LIST(T, interfaces, NULL, tell_domiflist_row_schema, 1024, 0, "the cards"), END };
TELL(tell_domiflist, T, "domiflist", "the cards of a domain");
#undef T

#define T struct tell_domifstat
static const struct field tell_domifstat_fields[] = {
	TEXT(interface, "the card, as it was named"),
	COUNT(rx_bytes, "bytes to the guest"), COUNT(rx_packets, "frames to the guest"),
	COUNT(rx_errs, "frames to the guest that were damaged: never on a cable like this"), COUNT(rx_drop, "frames to the guest that were lost"),
	COUNT(tx_bytes, "bytes from the guest"), COUNT(tx_packets, "frames from the guest"),
	COUNT(tx_errs, "frames from the guest that were damaged"), COUNT(tx_drop, "frames from the guest that were lost"), END };
TELL(tell_domifstat, T, "domifstat", "what a card has carried");
#undef T

#define T struct tell_domiftune_side
#define N32(m, text) U32(T, m, NULL, 0, UINT32_MAX, 0, text)
static const struct field tell_domiftune_side_fields[] = {
	N32(average, "KiB per second on average; 0: no limit"), N32(peak, "KiB per second at most; 0: the average"),
	N32(burst, "KiB that may go at peak speed"), N32(floor, "KiB per second that are promised (kept, not kept free)"), END };
static TELL(tell_domiftune_side, T, "side", "limits in one direction");
#undef T

#define T struct tell_domiftune
static const struct field tell_domiftune_fields[] = {
	STRUCT(T, inbound, NULL, tell_domiftune_side_schema, 0, "to the guest"), STRUCT(T, outbound, NULL, tell_domiftune_side_schema, 0, "from the guest"), END };
TELL(tell_domiftune, T, "domiftune", "limits of a card");
#undef T

const struct command net_commands[] = {
	{ "domif-setlink", "domif-setlink", "put a network card's cable in, or pull it out", IN_KVMD, CMD_VM, &ask_domif_setlink_schema, NULL,
	  "kvmctl domif-setlink web vnet0 down\nkvmctl domif-setlink web 52:54:00:12:34:56 up --live --config",
	  "The guest is told by an interrupt; frames that come meanwhile are lost." },
	{ "domif-getlink", "domif-getlink", "tell whether a network card's cable is in", IN_KVMD, CMD_VM | CMD_READ, &ask_domif_getlink_schema,
	  &tell_domif_getlink_schema, "kvmctl domif-getlink web vnet0", NULL },
	{ "domiflist", "domiflist", "list a domain's network cards", IN_KVMD, CMD_VM | CMD_READ, &ask_domiflist_schema, &tell_domiflist_schema,
	  "kvmctl domiflist web", NULL },
	{ "domifstat", "domifstat", "print what a running domain's network card has carried", IN_KVMD, CMD_VM | CMD_READ, &ask_domifstat_schema,
	  &tell_domifstat_schema, "kvmctl domifstat web vnet0", "Seen from the guest: rx is what it received." },
	{ "domiftune", "domiftune", "print or change how much a network card may carry", IN_KVMD, CMD_VM, &ask_domiftune_schema, &tell_domiftune_schema,
	  "kvmctl domiftune web vnet0\nkvmctl domiftune web vnet0 --inbound 10240,20480,1024 --outbound 10240\nkvmctl domiftune web vnet0 --outbound 0 --config",
	  "Without --inbound and --outbound the limits are printed. A change holds at once for all queues of the card together." },
	{ NULL },
};
