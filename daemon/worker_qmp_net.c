/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Network cards of the running machine: cable, limits, receive filters, announcements, counters. What changes is written
 * into the machine's description, and KVMD_MACHINE tells kvmd to look.
 */
#include "daemon/worker_qmp_net.h"

#include <stdio.h>
#include <string.h>

#include "devices/virtio_net.h"
#include "domain/commands_qmp_net.h"
#include "domain/json.h"

#define NET(name) static enum run_result name(struct client *c, json_object *raw, const void *args, json_object **reply, GError **err)

static struct iface *config_of(const struct device *d)
{
	return d->config;
}

/* The cards, one after the other: NULL to begin, NULL at the end. */
static struct device *card_next(struct worker *w, struct device *at)
{
	bool found = !at;

	for (guint i = 0; i < w->vm.devices->len; i++) {
		struct device *d = w->vm.devices->pdata[i];

		if (found && virtio_net_backend(d))
			return d;
		found = found || d == at;
	}
	return NULL;
}

static bool is_called(const struct device *d, const char *name)
{
	const struct iface *i = config_of(d);

	return !g_strcmp0(i->alias, name) || !g_strcmp0(i->target, name) || !strcmp(d->id, name);
}

static struct device *card_by_name(struct worker *w, const char *name, GError **err)
{
	struct device *d = NULL;

	while ((d = card_next(w, d)))
		if (is_called(d, name))
			return d;
	kerr_set(err, KERR_NO_DEVICE, "there is no network card '%s'", name);
	return NULL;
}

static void changed(struct worker *w, const struct device *d)
{
	worker_changed(w, "interface", worker_name_of(d));
}

/* --- cable, limits --- */

/* The card, or netdev_add's name of what it stands on. */
NET(set_link)
{
	const struct args_set_link *a = args;
	const char *card = made_card(c->worker, a->name);
	struct device *d = card_by_name(c->worker, card ? card : a->name, err);
	struct iface *i;

	if (!d)
		return RUN_FAILED;
	i = config_of(d);
	if (a->up == (i->link != LINK_DOWN))
		return RUN_DONE;
	i->link = a->up ? LINK_UP : LINK_DOWN;
	virtio_net_set_link(d, a->up);
	changed(c->worker, d);
	return RUN_DONE;
}

static void side_copy(struct bandwidth_side *to, const struct bandwidth_side *from)
{
	to->average = from->average;
	to->peak = from->peak;
	to->floor = from->floor;
	to->burst = from->burst;
}

NET(net_tune)
{
	const struct args_net_tune *a = args;
	struct device *d = card_by_name(c->worker, a->id, err);
	struct iface *i;
	struct bandwidth old;

	if (!d)
		return RUN_FAILED;
	i = config_of(d);
	old = i->bandwidth;
	side_copy(&i->bandwidth.inbound, &a->bandwidth.inbound);
	side_copy(&i->bandwidth.outbound, &a->bandwidth.outbound);
	if (!d->ops->update(d, i, err)) {
		i->bandwidth = old;
		return RUN_FAILED;
	}
	changed(c->worker, d);
	return RUN_DONE;
}

/* --- looking --- */

NET(net_list)
{
	struct device *d = NULL;

	*reply = json_object_new_array();
	while ((d = card_next(c->worker, d))) {
		struct net_stats s;
		struct net_row_told row;

		net_stats(virtio_net_backend(d), &s);
		row = (struct net_row_told){ .id = (char *)worker_name_of(d), .up = config_of(d)->link != LINK_DOWN, .linked = virtio_net_is_linked(d),
			.rx_bytes = s.rx_bytes, .rx_packets = s.rx_frames, .rx_drop = s.rx_dropped, .tx_bytes = s.tx_bytes,
			.tx_packets = s.tx_frames, .tx_drop = s.tx_dropped };
		json_object_array_add(*reply, json_from_struct(&net_row_told_schema, &row, JSON_ALL));
	}
	return RUN_DONE;
}

static char *mac_text(const uint8_t m[6])
{
	return g_strdup_printf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
}

static char *macs_text(uint8_t table[][6], unsigned n)
{
	GString *s = g_string_new("[");

	for (unsigned i = 0; i < n; i++) {
		g_autofree char *mac = mac_text(table[i]);

		g_string_append_printf(s, "%s\"%s\"", i ? "," : "", mac);
	}
	g_string_append_c(s, ']');
	return g_string_free(s, FALSE);
}

static char *vlans_text(const uint8_t *bits)
{
	GString *s = g_string_new("[");

	for (unsigned i = 0; i < VIRTIO_NET_VLANS; i++)
		if (bits[i / 8] >> i % 8 & 1)
			g_string_append_printf(s, "%s%u", s->len > 1 ? "," : "", i);
	g_string_append_c(s, ']');
	return g_string_free(s, FALSE);
}

/* In the order of VIRTIO_NET_RX_…, which is that of enum rx_state. */
G_STATIC_ASSERT((int)RX_N == (int)VIRTIO_NET_RX_N && (int)RX_NONE == (int)VIRTIO_NET_RX_NONE && (int)RX_ALL == (int)VIRTIO_NET_RX_ALL);

static json_object *filter_json(struct device *d)
{
	struct virtio_net_filter f;
	g_autofree char *mac = NULL, *vlans = NULL, *unicasts = NULL, *multicasts = NULL;

	virtio_net_filter(d, &f);
	mac = mac_text(f.mac);
	vlans = vlans_text(f.vlans);
	unicasts = macs_text(f.uni, f.uni_n);
	multicasts = macs_text(f.multi, f.multi_n);
	return json_from_struct(&qmp_rx_filter_schema, &(struct qmp_rx_filter){ .name = (char *)worker_name_of(d), .promiscuous = f.promisc,
		.broadcast = f.broadcast, .multicast_overflow = f.multi_overflow, .unicast_overflow = f.uni_overflow, .multicast = (int)f.multicast,
		.unicast = (int)f.unicast, .vlan = (int)f.vlan, .mac = mac, .vlans = vlans, .unicasts = unicasts, .multicasts = multicasts }, JSON_ALL);
}

NET(query_rx_filter)
{
	const struct args_rx_filter *a = args;
	struct device *d = NULL;

	if (a->name && !(d = card_by_name(c->worker, a->name, NULL)))
		return kerr_set(err, KERR_ARGS, "invalid net client name: %s; query-pci has the names of cards", a->name), RUN_FAILED;
	*reply = json_object_new_array();
	if (d)
		json_object_array_add(*reply, filter_json(d));
	else
		while ((d = card_next(c->worker, d)))
			json_object_array_add(*reply, filter_json(d));
	return RUN_DONE;
}

/* --- announcing --- */

struct announcing {
	struct worker *worker;
	struct args_announce args;      /* without its texts */
	GPtrArray *names;               /* NULL: all cards */
	uint32_t done;
};

static void announcing_free(struct announcing *a)
{
	if (a->names)
		g_ptr_array_unref(a->names);
	g_free(a);
}

static gboolean announce(gpointer data)
{
	struct announcing *a = data;
	struct device *d = NULL;
	uint64_t wait = a->args.initial + (uint64_t)a->args.step * a->done;

	while ((d = card_next(a->worker, d))) {
		bool meant = !a->names;

		for (guint i = 0; a->names && i < a->names->len; i++)
			meant = meant || is_called(d, a->names->pdata[i]);
		if (meant)
			(void)virtio_net_announce(d);   /* a card without a link has no neighbours */
	}
	if (++a->done < a->args.rounds)
		g_timeout_add((guint)MIN(wait, a->args.max), announce, a);
	else
		announcing_free(a);
	return G_SOURCE_REMOVE;
}

/* false: a name that no card has. */
static bool take_names(struct worker *w, const char *text, GPtrArray **names, GError **err)
{
	g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func(g_free);
	json_object *o = json_tokener_parse(text);
	bool ok = json_object_is_type(o, json_type_array) || kerr_set(err, KERR_ARGS, "'interfaces' is a list of names");

	for (size_t i = 0; ok && i < json_object_array_length(o); i++) {
		const char *name = json_object_get_string(json_object_array_get_idx(o, i));

		ok = card_by_name(w, name ? name : "", err);
		g_ptr_array_add(list, g_strdup(name));
	}
	json_object_put(o);
	if (ok)
		*names = g_steal_pointer(&list);
	return ok;
}

NET(announce_self)
{
	const struct args_announce *a = args;
	struct announcing *n;
	GPtrArray *names = NULL;

	if (a->interfaces && !take_names(c->worker, a->interfaces, &names, err))
		return RUN_FAILED;
	n = g_new0(struct announcing, 1);
	*n = (struct announcing){ .worker = c->worker, .names = names,
		.args = { .initial = a->initial, .max = a->max, .rounds = a->rounds, .step = a->step } };
	announce(n);
	return RUN_DONE;
}

const struct worker_binding qmp_net_bindings[] = {
	{ "set_link", set_link },
	{ "query-rx-filter", query_rx_filter },
	{ "announce-self", announce_self },
	{ "net-tune", net_tune },
	{ "net-list", net_list },
	{ NULL },
};
