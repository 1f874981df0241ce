/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rules on network cards. */
#include <arpa/inet.h>
#include <string.h>

#include "domain/check.h"

#define PAIRS_MAX ((VIRTIO_QUEUES_MAX - 1) / 2)  /* the control queue is the odd one */

#define IFNAME_MAX 15

static void check_name(const void *obj, const char *field, const char *name, struct report *r)
{
	if (name && (!*name || strlen(name) > IFNAME_MAX || strpbrk(name, "/ \t\n") || !strcmp(name,
	    ".") || !strcmp(name, "..")))
		BAD(obj, field, "write 1 to 15 characters without '/' and blanks",
			"'%s' is no name of a network interface", name);
}

static void check_type(const struct iface *i, struct report *r)
{
	const struct iface_source *s = &i->source;

	switch (i->type) {
	case IFACE_USER:
	case IFACE_ETHERNET:
		break;
	case IFACE_BRIDGE:
		if (!s->bridge)
			BAD(i, "source", "write <source bridge='br0'/>", "the bridge is missing");
		check_name(s, "bridge", s->bridge, r);
		break;
	case IFACE_NETWORK:
		if (!s->network)
			BAD(i, "source", "write <source network='default'/>", "the network is missing");
		break;
	case IFACE_DIRECT:
		report_refuse(r, i, "type",
			"put the host's interface into a bridge and write <interface type='bridge'>", "macvtap isn't used");
		break;
	case IFACE_HOSTDEV:
		break;          /* supported.c */
	default:
		report_refuse(r, i, "type", "write <interface type='bridge'> or type='user'",
			"a network of type '%s' can't be used",
			iface_type_names[i->type]);
	}
}

static void check_address(const void *obj, const char *field, const char *text, struct report *r)
{
	uint8_t buf[16];

	if (text && inet_pton(AF_INET, text, buf) != 1 && inet_pton(AF_INET6, text, buf) != 1)
		BAD(obj, field, "write an address such as 192.0.2.1 or 2001:db8::1",
			"'%s' is no IP address", text);
}

static void check_ips(GPtrArray *ips, GPtrArray *routes, struct report *r)
{
	list_each(iface_ip, ip, ips) {
		check_address(ip, "address", ip->address, r);
		check_address(ip, "peer", ip->peer, r);
	}
	list_each(iface_route, route, routes) {
		check_address(route, "address", route->address, r);
		check_address(route, "gateway", route->gateway, r);
	}
}

static void check_mac(const struct iface *i, GHashTable *macs, struct report *r)
{
	if (!i->mac)
		return;
	if (g_ascii_xdigit_value(i->mac[1]) & 1)
		BAD(i, "mac", "make the first byte even: 52:54:00:…", "%s is a multicast address",
			i->mac);
	if (!strcmp(i->mac, "00:00:00:00:00:00"))
		BAD(i, "mac", "leave <mac> out, and kvmd gives one", "the address is empty");
	if (!g_hash_table_add(macs, i->mac))
		report_warn(r, i, "mac", "give each card an address of its own",
			"address %s is given twice", i->mac);
}

static void check_forwards(const struct iface *i, struct report *r)
{
	if (list_len(i->forwards) && i->type != IFACE_USER)
		BAD(i, "forwards",
			"write <interface type='user'>, or forward by nftables on the host",
			"ports are forwarded by the user-mode network only");
	list_each(iface_forward, f, i->forwards) {
		check_address(f, "address", f->address, r);
		list_each(iface_range, g, f->ranges) {
			if (!g->start || (g->end && g->end < g->start))
				BAD(g, g->start ? "end" : "start",
					"write <range start='8080' end='8090'/>",
					"the range of ports is empty");
			if (g->to && g->to + ((g->end ? g->end : g->start) - g->start) > 65535)
				BAD(g, "to", "write a smaller port",
					"the range does not fit below port 65536");
		}
	}
}

static void check_bandwidth(const struct bandwidth *b, struct report *r)
{
	const struct bandwidth_side *side[] = { &b->inbound, &b->outbound };

	for (size_t n = 0; n < G_N_ELEMENTS(side); n++) {
		if (!side[n]->average && (side[n]->peak || side[n]->burst))
			BAD(side[n], "average", "add average='1024' (KiB per second)",
				"a peak or burst needs an average");
		if (side[n]->peak && side[n]->peak < side[n]->average)
			BAD(side[n], "peak", "write at least the average",
				"the peak is below the average");
	}
	if (b->outbound.floor)
		BAD(&b->outbound, "floor", "leave it out",
			"a promise is for the inbound direction only");
	else if (b->inbound.floor)
		report_warn(r, &b->inbound, "floor", "leave it out",
			"promised bandwidth isn't kept free yet");
}

static void check_driver(const struct iface *i, struct report *r)
{
	const struct iface_driver *d = &i->driver;

	if (d->queues > PAIRS_MAX)
		BAD(d, "queues", "write as many as there are vCPUs", "a card has 1 to %d pairs of queues, not %u", PAIRS_MAX, d->queues);
	if (d->rx_queue_size && (!power_of_two(d->rx_queue_size) || d->rx_queue_size < 64 || d->rx_queue_size > VIRTQ_SIZE_MAX))
		BAD(d, "rx_queue_size", "write 256, 512 or 1024", "%u is no possible size",
			d->rx_queue_size);
	if (d->tx_queue_size && (!power_of_two(d->tx_queue_size) || d->tx_queue_size < 64 || d->tx_queue_size > VIRTQ_SIZE_MAX))
		BAD(d, "tx_queue_size", "write 256, 512 or 1024", "%u is no possible size",
			d->tx_queue_size);
	if (d->name > IFACE_DRIVER_QEMU && i->type != IFACE_HOSTDEV)
		BAD(d, "name", "write name='vhost' or leave it out",
			"the driver is for cards of the host");
	if (d->txmode == TXMODE_TIMER)
		report_warn(r, d, "txmode", "leave it out",
			"sending is never paced by a timer: kept");
	if (d->rss == ONOFF_ON || d->rss_hash_report == ONOFF_ON)
		report_warn(r, d, d->rss == ONOFF_ON ? "rss" : "rss_hash_report", "leave it out",
			"flows aren't spread by hash yet: kept");
}

void check_interfaces(const struct machine *m, struct report *r)
{
	g_autoptr(GHashTable) macs = g_hash_table_new(g_str_hash, g_str_equal);
	g_autoptr(GHashTable) targets = g_hash_table_new(g_str_hash, g_str_equal);

	list_each(iface, i, m->devices.interfaces) {
		check_type(i, r);
		check_mac(i, macs, r);
		check_name(i, "target", i->target, r);
		if (i->target && !g_hash_table_add(targets, i->target))
			BAD(i, "target", "give each tap a name of its own",
				"tap '%s' is given twice", i->target);
		if (i->model && strncmp(i->model, "virtio", 6) && i->type != IFACE_HOSTDEV)
			report_warn(r, i, "model", "write <model type='virtio'/>",
				"there is no '%s' card: it is shown to the guest as virtio",
				i->model);
		if ((i->script && *i->script) || (i->downscript && *i->downscript))
			report_refuse(r, i, i->script && *i->script ? "script" : "downscript",
				"set the tap up beforehand and write <target dev='NAME' managed='no'/>", "kvmd runs no scripts");
		if (i->backend && i->type != IFACE_USER)
			BAD(i, "backend", "write <interface type='user'>",
				"passt is the user-mode network's");
		if (i->backend_tap || i->backend_vhost)
			report_warn(r, i, i->backend_tap ? "backend_tap" : "backend_vhost", NULL,
				"the host's own devices are used: kept");
		check_forwards(i, r);
		check_bandwidth(&i->bandwidth, r);
		check_driver(i, r);
		check_ips(i->ips, i->routes, r);
		check_ips(i->source.ips, i->source.routes, r);
	}
}
