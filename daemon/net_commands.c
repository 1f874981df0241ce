/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The code behind domain/commands_net.c: a domain's network cards. */
#include <string.h>

#include "daemon/change.h"
#include "daemon/commands.h"
#include "daemon/dom.h"
#include "daemon/kvmd.h"
#include "daemon/link.h"
#include "daemon/net.h"
#include "daemon/supervise.h"
#include "domain/commands_net.h"
#include "domain/commands_qmp_net.h"
#include "domain/json.h"

static bool is_mac(const struct iface *i, const char *text)
{
	return i->mac && !g_ascii_strcasecmp(i->mac, text);
}

/* The card by the name of its tap, its MAC address or its alias. */
static struct iface *card_named(const struct machine *m, const char *name, GError **err)
{
	list_each(iface, i, m->devices.interfaces)
		if (!g_strcmp0(i->target, name) || !g_strcmp0(i->alias, name) || is_mac(i, name))
			return i;
	kerr_set(err, KERR_NO_DEVICE, "it has no network card '%s': domiflist lists them", name);
	return NULL;
}

static struct iface *card_find(const struct machine *m, const void *arg, GError **err)
{
	const struct ask_card *a = arg;

	if (*a->mac)
		list_each(iface, i, m->devices.interfaces)
			if (is_mac(i, a->mac))
				return i;
	return card_named(m, a->interface, err);
}

/* The names of taps that kvmd gives are the machine's only: its definition knows the card by its address. */
static const struct ask_scope *scope_of(struct request *r)
{
	struct ask_card *a = r->args;
	const struct iface *i = r->dom->live ? card_named(r->dom->live, a->interface, NULL) : NULL;

	if (i && i->mac)
		g_strlcpy(a->mac, i->mac, sizeof(a->mac));
	return &a->scope;
}

static enum net_state state_of(const struct iface *i)
{
	return i->link == LINK_DOWN ? NET_STATE_DOWN : NET_STATE_UP;
}

/* --- cable --- */

static bool link_edit(struct machine *m, void *arg, GError **err)
{
	const struct ask_domif_setlink *a = arg;
	struct iface *i = card_find(m, arg, err);

	if (i)
		i->link = a->state == NET_STATE_DOWN ? LINK_DOWN : LINK_UP;
	return i;
}

static void link_apply(struct change *c, struct dom *d, void *arg)
{
	const struct ask_domif_setlink *a = arg;
	g_autoptr(GError) err = NULL;
	const struct iface *i = card_find(d->live, arg, &err);
	json_object *args;

	if (!i) {
		change_done(c, err);
		return;
	}
	args = json_object_new_object();
	json_object_object_add(args, "name", json_object_new_string(i->alias ? i->alias : ""));
	json_object_object_add(args, "up", json_object_new_boolean(a->state == NET_STATE_UP));
	change_ask(c, "set_link", args);
}

static void cmd_domif_setlink(struct request *r)
{
	static const struct change_ops ops = { .edit = link_edit, .apply = link_apply };

	change(r, scope_of(r), &ops, r->args);
}

static void link_look(struct request *r, const struct machine *m, const GError *failed)
{
	const struct ask_domif_getlink *a = r->args;
	g_autoptr(GError) err = failed ? g_error_copy(failed) : NULL;
	const struct iface *i = m ? card_find(m, r->args, &err) : NULL;

	if (i)
		request_reply(r, &(struct tell_domif_getlink){ a->interface, (int)state_of(i) });
	else
		request_fail(r, err);
}

static void cmd_domif_getlink(struct request *r)
{
	change_look(r, scope_of(r), link_look);
}

/* --- list --- */

static const char *source_of(const struct iface *i)
{
	switch (i->type) {
	case IFACE_BRIDGE:
		return i->source.bridge;
	case IFACE_NETWORK:
		return i->source.network;
	default:
		return i->source.dev;
	}
}

static void list_look(struct request *r, const struct machine *m, const GError *err)
{
	struct tell_domiflist t = { 0 };

	if (err) {
		request_fail(r, err);
		return;
	}
	t.interfaces = g_ptr_array_new_with_free_func(g_free);
	list_each(iface, i, m->devices.interfaces) {
		struct tell_domiflist_row *row = g_new0(struct tell_domiflist_row, 1);

		*row = (struct tell_domiflist_row){ i->target, (char *)iface_type_names[i->type], (char *)source_of(i), i->model, i->mac, i->alias,
			(int)state_of(i) };
		g_ptr_array_add(t.interfaces, row);
	}
	request_reply(r, &t);
	g_ptr_array_unref(t.interfaces);
}

static void cmd_domiflist(struct request *r)
{
	const struct ask_domiflist *a = r->args;

	change_look(r, &(struct ask_scope){ .config = a->inactive }, list_look);
}

/* --- counters --- */

static void have_counters(void *arg, json_object *reply, const GError *failed)
{
	struct request *r = arg;
	const struct ask_domifstat *a = r->args;
	g_autoptr(GError) err = failed ? g_error_copy(failed) : NULL;
	const struct iface *i = err || !r->dom->live ? NULL : card_named(r->dom->live, a->interface, &err);
	struct tell_domifstat t = { .interface = a->interface };
	bool found = false;

	for (size_t n = 0; i && !found && json_object_is_type(reply, json_type_array) && n < json_object_array_length(reply); n++) {
		struct net_row_told *row = schema_new(&net_row_told_schema);

		found = json_to_struct(&net_row_told_schema, row, json_object_array_get_idx(reply, n), NULL) && !g_strcmp0(row->id, i->alias);
		t = (struct tell_domifstat){ a->interface, row->rx_bytes, row->rx_packets, 0, row->rx_drop, row->tx_bytes, row->tx_packets, 0, row->tx_drop };
		schema_free(&net_row_told_schema, row);
	}
	if (!found && !err)
		kerr_set(&err, KERR_NO_DEVICE, "the machine has no network card '%s' just now", a->interface);
	if (found)
		request_reply(r, &t);
	else
		request_fail(r, err);
}

static void cmd_domifstat(struct request *r)
{
	const struct ask_domifstat *a = r->args;
	g_autoptr(GError) err = NULL;

	if (dom_can_ask(r->dom, &err) && card_named(r->dom->live, a->interface, &err))
		link_call(r->dom->link, "net-list", NULL, NULL, 0, r->kvmd->config->answer_timeout, have_counters, r);
	else
		request_fail(r, err);
}

/* --- limits --- */

#define PARTS 4

bool net_limit_parse(const char *option, const char *text, struct bandwidth_side *side, GError **err)
{
	g_auto(GStrv) parts = text ? g_strsplit(text, ",", PARTS) : NULL;
	guint64 n[PARTS - 1] = { 0 };
	guint count = parts ? g_strv_length(parts) : 0;

	if (!text)
		return true;
	for (guint i = 0; i < count && i < G_N_ELEMENTS(n); i++)
		if ((*parts[i] || !i) && !g_ascii_string_to_unsigned(parts[i], 10, 0, UINT32_MAX, &n[i], NULL))
			return kerr_set(err, KERR_ARGS, "--%s: '%s' is no number of KiB: write AVERAGE[,PEAK[,BURST]], 0 for no limit", option, parts[i]);
	if (!count)
		return kerr_set(err, KERR_ARGS, "--%s: write AVERAGE[,PEAK[,BURST]], 0 for no limit", option);
	if (count == PARTS)
		return kerr_set(err, KERR_ARGS, "--%s: bandwidth cannot be promised (a floor) yet: write AVERAGE[,PEAK[,BURST]]", option);
	if (!n[0] && (n[1] || n[2]))
		return kerr_set(err, KERR_ARGS, "--%s: a peak or burst needs an average", option);
	if (n[1] && n[1] < n[0])
		return kerr_set(err, KERR_ARGS, "--%s: the peak is below the average", option);
	side->average = (uint32_t)n[0];
	side->peak = (uint32_t)n[1];
	side->burst = (uint32_t)n[2];
	if (!n[0])
		side->floor = 0;
	return true;
}

static bool tune_parse(const struct ask_domiftune *a, struct bandwidth *b, GError **err)
{
	return net_limit_parse("inbound", a->inbound, &b->inbound, err) && net_limit_parse("outbound", a->outbound, &b->outbound, err);
}

static bool tune_edit(struct machine *m, void *arg, GError **err)
{
	struct iface *i = card_find(m, arg, err);

	return i && tune_parse(arg, &i->bandwidth, err);
}

static void tune_apply(struct change *c, struct dom *d, void *arg)
{
	g_autoptr(GError) err = NULL;
	const struct iface *i = card_find(d->live, arg, &err);
	struct bandwidth b;
	json_object *args;

	if (!i) {
		change_done(c, err);
		return;
	}
	schema_init(&bandwidth_schema, &b);
	schema_copy(&bandwidth_schema, &b, &i->bandwidth);
	if (tune_parse(arg, &b, &err)) {
		args = json_object_new_object();
		json_object_object_add(args, "id", json_object_new_string(i->alias ? i->alias : ""));
		json_object_object_add(args, "bandwidth", json_from_struct(&bandwidth_schema, &b, 0));
		change_ask(c, "net-tune", args);
	} else {
		change_done(c, err);
	}
	schema_clear(&bandwidth_schema, &b);
}

static struct tell_domiftune_side side_told(const struct bandwidth_side *s)
{
	return (struct tell_domiftune_side){ s->average, s->peak, s->burst, s->floor };
}

static void tune_look(struct request *r, const struct machine *m, const GError *failed)
{
	g_autoptr(GError) err = failed ? g_error_copy(failed) : NULL;
	const struct iface *i = m ? card_find(m, r->args, &err) : NULL;

	if (i)
		request_reply(r, &(struct tell_domiftune){ side_told(&i->bandwidth.inbound), side_told(&i->bandwidth.outbound) });
	else
		request_fail(r, err);
}

static void cmd_domiftune(struct request *r)
{
	static const struct change_ops ops = { .edit = tune_edit, .apply = tune_apply };
	const struct ask_domiftune *a = r->args;

	if (a->inbound || a->outbound)
		change(r, scope_of(r), &ops, r->args);
	else
		change_look(r, scope_of(r), tune_look);
}

const struct command_binding net_bindings[] = {
	{ "domif-setlink", cmd_domif_setlink },
	{ "domif-getlink", cmd_domif_getlink },
	{ "domiflist", cmd_domiflist },
	{ "domifstat", cmd_domifstat },
	{ "domiftune", cmd_domiftune },
	{ NULL },
};
