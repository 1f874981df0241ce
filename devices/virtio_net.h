/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Network cards: what others than the guest may ask of them. Main thread. */
#pragma once
#include "devices/net.h"
#include "hv/device.h"

extern const struct device_ops virtio_net_ops;

/* The back end, for statistics and tests; NULL when the device is no network card. */
struct net *virtio_net_backend(struct device *);
/* A new connection to the user-mode network, taken over also on failure. *err: UNSUPPORTED. */
bool virtio_net_reconnect(struct device *, int fd, GError **err);
/* The neighbours learn where the card is now (after a migration, a new cable): a RARP frame in the guest's
 * name goes out, and the guest is asked to tell its addresses when its driver can. Asked again before it has done so, it does
 * it once. false: the link is down or the host had no room for the frame. */
bool virtio_net_announce(struct device *);
/* The cable is in or out from now on. */
void virtio_net_set_link(struct device *, bool up);
bool virtio_net_is_linked(struct device *);     /* the cable is in, and the other end there */

/* What the guest wants to receive. */
enum virtio_net_rx { VIRTIO_NET_RX_NORMAL, VIRTIO_NET_RX_NONE, VIRTIO_NET_RX_ALL, VIRTIO_NET_RX_N };
#define VIRTIO_NET_TABLE 64u            /* addresses of a filter table; more: all pass */
#define VIRTIO_NET_VLANS 4096u
struct virtio_net_filter {
	bool promisc, broadcast, multi_overflow, uni_overflow;
	enum virtio_net_rx multicast, unicast, vlan;
	uint8_t mac[6];
	unsigned multi_n, uni_n;
	uint8_t multi[VIRTIO_NET_TABLE][6], uni[VIRTIO_NET_TABLE][6];
	uint8_t vlans[VIRTIO_NET_VLANS / 8];    /* a bit each */
};
void virtio_net_filter(struct device *, struct virtio_net_filter *out);
