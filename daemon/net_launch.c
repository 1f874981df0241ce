/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the network cards of a machine need, before it starts. */
#include <stdio.h>
#include <unistd.h>

#include "daemon/launch.h"
#include "daemon/net.h"

#define QUEUES_MOST 63          /* pairs; with the control queue all that a virtio device may have */

static void give(struct launch *l, const struct iface *i, unsigned queue, int fd)
{
	struct launch_fd *f = g_new(struct launch_fd, 1);

	*f = (struct launch_fd){ g_strdup_printf(IFACE_FD_NAME, i->alias ? i->alias : "", queue), fd };
	g_ptr_array_add(l->fds, f);
}

/* The host's end of the cable: the guest's address with a first byte that is never the lowest on a bridge, for a bridge
 * takes the lowest as its own. */
static bool host_mac(const struct iface *i, uint8_t mac[6])
{
	unsigned b[6];

	if (!i->mac || sscanf(i->mac, "%2x:%2x:%2x:%2x:%2x:%2x", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5]) != 6)
		return false;
	for (int n = 0; n < 6; n++)
		mac[n] = (uint8_t)b[n];
	mac[0] = 0xfe;
	return true;
}

static bool addresses(const struct iface *i, const char *name, GError **err)
{
	list_each(iface_ip, ip, i->source.ips)
		if (!net_link_add_address(name, ip, err))
			return false;
	list_each(iface_route, route, i->source.routes)
		if (!net_link_add_route(name, route, err))
			return false;
	return true;
}

static bool plug(struct launch *l, struct iface *i, GError **err)
{
	bool bridge = i->type == IFACE_BRIDGE, existing = i->type == IFACE_ETHERNET && i->target_managed == YESNO_NO;
	unsigned queues = i->driver.queues ? i->driver.queues : 1;
	struct net_tap tap = { .existing = existing, .queues = queues, .sndbuf = i->sndbuf,
		.name = i->target && (existing || !net_tap_is_auto(i->target)) ? i->target : NULL };
	uint32_t mtu = i->mtu;
	char name[IFNAMSIZ];
	uint8_t mac[6];
	int fds[QUEUES_MOST];

	if (existing && !tap.name)
		return kerr_set(err, KERR_ARGS, "managed='no' needs the name of the tap: <target dev='tap0' managed='no'/>");
	if (!net_tap_open(&tap, fds, name, err))
		return false;
	for (unsigned q = 0; q < queues; q++)
		give(l, i, q, fds[q]);
	g_free(i->target);
	i->target = g_strdup(name);
	if (existing)
		return true;
	if (bridge && !mtu)             /* a port of another size would make the bridge drop frames */
		mtu = net_link_mtu(i->source.bridge);
	return net_link_set(&(struct net_link){ .name = name, .bridge = bridge ? i->source.bridge : NULL, .mtu = mtu,
		.mac = host_mac(i, mac) ? mac : NULL, .up = true }, err) &&
		(!bridge || i->isolated != YESNO_YES || net_link_isolate(name, true, err)) && addresses(i, name, err);
}

static bool user(struct launch *l, struct iface *i, GError **err)
{
	g_autofree char *dir = g_build_filename(l->paths->vms, l->uuid, NULL);
	g_autofree char *file = net_passt_file(dir, i->alias ? i->alias : "");
	int sock;

	if (i->driver.queues > 1)
		return kerr_set(err, KERR_UNSUPPORTED, "the user-mode network has one pair of queues: leave out queues='%u'", i->driver.queues);
	if (!net_passt_start(&(struct net_passt){ .iface = i, .pid_file = file, .null_fd = l->null_fd }, &sock, err))
		return false;
	give(l, i, 0, sock);
	return true;
}

bool net_launch(struct launch *l, GError **err)
{
	list_each(iface, i, l->machine->devices.interfaces) {
		bool ok = true;

		if (i->driver.queues > QUEUES_MOST)
			ok = kerr_set(err, KERR_UNSUPPORTED, "a card has 1 to %d pairs of queues, not %u", QUEUES_MOST, i->driver.queues);
		else if (i->type == IFACE_ETHERNET || i->type == IFACE_BRIDGE)
			ok = plug(l, i, err);
		else if (i->type == IFACE_USER)
			ok = user(l, i, err);
		if (!ok) {
			g_prefix_error(err, "interface '%s': ", i->mac ? i->mac : "?");
			return false;
		}
	}
	return true;
}
