/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How kvmctl prints network cards: as virsh does, for scripts that read it. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "domain/commands_net.h"
#include "domain/json.h"
#include "tools/kvmctl.h"

#define COLUMNS 5

/* The reply as its struct; NULL and nothing printed: not what the table says. */
static void *reply_struct(const struct schema *s, json_object *reply)
{
	void *t = schema_new(s);

	if (json_to_struct(s, t, reply, NULL))
		return t;
	schema_free(s, t);
	return NULL;
}

static const char *or_dash(const char *text)
{
	return text && *text ? text : "-";
}

void print_domiflist(const struct call *c, json_object *o)
{
	static const char *const heads[COLUMNS] = { "Interface", "Type", "Source", "Model", "MAC" };
	struct tell_domiflist *t = reply_struct(&tell_domiflist_schema, o);
	int wide[COLUMNS], all = 1;

	if (!t)
		return;
	for (int n = 0; n < COLUMNS; n++)
		wide[n] = (int)strlen(heads[n]);
#define ROW(r) { or_dash((r)->interface), or_dash((r)->type), or_dash((r)->source), or_dash((r)->model), or_dash((r)->mac) }
	for (unsigned i = 0; t->interfaces && i < t->interfaces->len; i++) {
		const struct tell_domiflist_row *r = t->interfaces->pdata[i];
		const char *const text[COLUMNS] = ROW(r);

		for (int n = 0; n < COLUMNS; n++)
			wide[n] = MAX(wide[n], (int)strlen(text[n]));
	}
	for (int n = 0; n < COLUMNS; n++) {
		printf("%s%-*s", n ? "   " : " ", n + 1 < COLUMNS ? wide[n] : 0, heads[n]);
		all += wide[n] + 3;
	}
	putchar('\n');
	for (int n = 0; n < all; n++)
		putchar('-');
	putchar('\n');
	for (unsigned i = 0; t->interfaces && i < t->interfaces->len; i++) {
		const struct tell_domiflist_row *r = t->interfaces->pdata[i];
		const char *const text[COLUMNS] = ROW(r);

		for (int n = 0; n < COLUMNS; n++)
			printf("%s%-*s", n ? "   " : " ", n + 1 < COLUMNS ? wide[n] : 0, text[n]);
		putchar('\n');
	}
#undef ROW
	schema_free(&tell_domiflist_schema, t);
}

void print_domif_getlink(const struct call *c, json_object *o)
{
	struct tell_domif_getlink *t = reply_struct(&tell_domif_getlink_schema, o);

	if (!t)
		return;
	printf("%s %s\n", or_dash(t->interface), t->state == NET_STATE_UP ? "up" : "down");
	schema_free(&tell_domif_getlink_schema, t);
}

void print_domifstat(const struct call *c, json_object *o)
{
	struct tell_domifstat *t = reply_struct(&tell_domifstat_schema, o);
	const struct { const char *name; uint64_t value; } rows[] = {
		{ "rx_bytes", t ? t->rx_bytes : 0 }, { "rx_packets", t ? t->rx_packets : 0 }, { "rx_errs", t ? t->rx_errs : 0 },
		{ "rx_drop", t ? t->rx_drop : 0 }, { "tx_bytes", t ? t->tx_bytes : 0 }, { "tx_packets", t ? t->tx_packets : 0 },
		{ "tx_errs", t ? t->tx_errs : 0 }, { "tx_drop", t ? t->tx_drop : 0 },
	};

	for (size_t i = 0; t && i < G_N_ELEMENTS(rows); i++)
		printf("%s %s %" PRIu64 "\n", or_dash(t->interface), rows[i].name, rows[i].value);
	schema_free(&tell_domifstat_schema, t);
}

static void print_side(const char *name, const struct tell_domiftune_side *s, bool floor)
{
	const struct { const char *name; uint32_t value; bool shown; } rows[] = {
		{ "average", s->average, true }, { "peak", s->peak, true }, { "burst", s->burst, true }, { "floor", s->floor, floor },
	};

	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++)
		if (rows[i].shown) {
			g_autofree char *label = g_strdup_printf("%s.%s", name, rows[i].name);

			printf("%-16s: %u\n", label, rows[i].value);
		}
}

void print_domiftune(const struct call *c, json_object *o)
{
	const struct ask_domiftune *a = c->args;
	struct tell_domiftune *t;

	if (a->inbound || a->outbound) {
		if (!c->quiet)
			printf("domain '%s': the limits of '%s' are changed\n", c->vm, a->interface);
		return;
	}
	t = reply_struct(&tell_domiftune_schema, o);
	if (!t)
		return;
	print_side("inbound", &t->inbound, true);
	print_side("outbound", &t->outbound, false);
	schema_free(&tell_domiftune_schema, t);
}
