/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Network cards: the control queue (virtio 1.2, 5.1.6.5) and the receive filter it sets. Filter: before the driver says
 * otherwise every frame passes.
 */
#include "devices/virtio_net_card.h"

#include <string.h>

enum { CLASS_RX, CLASS_MAC, CLASS_VLAN, CLASS_ANNOUNCE, CLASS_MQ, CLASS_OFFLOADS };
enum { RX_PROMISC, RX_ALLMULTI, RX_ALLUNI, RX_NOMULTI, RX_NOUNI, RX_NOBCAST };
enum { MAC_TABLE, MAC_ADDR };
enum { VLAN_ADD, VLAN_DEL };
enum { ACK_OK, ACK_ERR };
#define ETHERTYPE_VLAN 0x8100
#define COMMANDS_MOST 256       /* of one turn */

/* --- filter --- */

void card_filter_reset(struct card *c)
{
	g_mutex_lock(&c->lock);
	c->filter = (struct net_filter){ .promisc = true };
	memcpy(c->filter.mac, c->mac, 6);
	g_mutex_unlock(&c->lock);
}

static bool in_table(uint8_t table[][6], unsigned n, const uint8_t *mac)
{
	for (unsigned i = 0; i < n; i++)
		if (!memcmp(table[i], mac, 6))
			return true;
	return false;
}

static bool mac_passes(struct net_filter *f, const uint8_t *to)
{
	static const uint8_t broadcast[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

	if (!memcmp(to, broadcast, 6))
		return !f->nobcast;
	if (to[0] & 1)
		return !f->nomulti && (f->allmulti || f->multi_all || in_table(f->multi, f->multi_n, to));
	return !f->nouni && (f->alluni || f->uni_all || !memcmp(to, f->mac, 6) || in_table(f->uni, f->uni_n, to));
}

bool card_filter_passes(struct card *c, const uint8_t frame[18], size_t n)
{
	struct net_filter *f = &c->filter;
	bool passes = true;

	g_mutex_lock(&c->lock);
	if (!f->promisc) {
		if (virtio_has(&c->virtio, NET_F_CTRL_VLAN) && n >= 16 && (frame[12] << 8 | frame[13]) == ETHERTYPE_VLAN) {
			unsigned id = (unsigned)(frame[14] << 8 | frame[15]) & (CARD_VLANS - 1);

			passes = f->vlans[id / 8] >> id % 8 & 1;
		}
		passes = passes && mac_passes(f, frame);
	}
	g_mutex_unlock(&c->lock);
	return passes;
}

void card_filter_tell(struct card *c, struct virtio_net_filter *out)
{
	struct net_filter *f = &c->filter;

	*out = (struct virtio_net_filter){ 0 };
	g_mutex_lock(&c->lock);
	out->promisc = f->promisc;
	out->broadcast = !f->nobcast;
	out->multi_overflow = f->multi_all;
	out->uni_overflow = f->uni_all;
	out->multicast = f->nomulti ? VIRTIO_NET_RX_NONE : f->allmulti ? VIRTIO_NET_RX_ALL : VIRTIO_NET_RX_NORMAL;
	out->unicast = f->nouni ? VIRTIO_NET_RX_NONE : f->alluni ? VIRTIO_NET_RX_ALL : VIRTIO_NET_RX_NORMAL;
	out->vlan = virtio_has(&c->virtio, NET_F_CTRL_VLAN) ? VIRTIO_NET_RX_NORMAL : VIRTIO_NET_RX_ALL;
	memcpy(out->mac, f->mac, 6);
	out->multi_n = f->multi_n;
	out->uni_n = f->uni_n;
	memcpy(out->multi, f->multi, f->multi_n * 6);
	memcpy(out->uni, f->uni, f->uni_n * 6);
	memcpy(out->vlans, f->vlans, sizeof(f->vlans));
	g_mutex_unlock(&c->lock);
}

static bool set_mode(struct card *c, uint8_t cmd, struct chain *ch)
{
	struct net_filter *f = &c->filter;
	bool *modes[] = { &f->promisc, &f->allmulti, &f->alluni, &f->nomulti, &f->nouni, &f->nobcast };
	uint8_t on;

	if (cmd >= G_N_ELEMENTS(modes) || chain_read(ch, &on, 1) != 1 || chain_left(ch) || !virtio_has(&c->virtio, NET_F_CTRL_RX))
		return false;
	g_mutex_lock(&c->lock);
	*modes[cmd] = on;
	g_mutex_unlock(&c->lock);
	return true;
}

/* A table of the command: what does not fit makes everything of its kind pass. */
static bool read_table(struct chain *ch, uint8_t table[][6], unsigned *n, bool *all)
{
	uint32_t count;

	*n = 0;
	*all = false;
	if (chain_read(ch, &count, 4) != 4 || (uint64_t)count * 6 > chain_left(ch))
		return false;
	*all = count > CARD_TABLE;
	for (uint32_t i = 0; i < count; i++) {
		uint8_t mac[6];

		chain_read(ch, mac, 6);
		if (!*all)
			memcpy(table[(*n)++], mac, 6);
	}
	return true;
}

static bool set_mac(struct card *c, uint8_t cmd, struct chain *ch)
{
	struct net_filter *f = &c->filter;
	struct net_filter new;
	uint8_t mac[6];

	if (cmd == MAC_ADDR) {
		if (!virtio_has(&c->virtio, NET_F_CTRL_MAC_ADDR) || chain_left(ch) != 6 || chain_read(ch, mac, 6) != 6)
			return false;
		g_mutex_lock(&c->lock);
		memcpy(f->mac, mac, 6);
		g_mutex_unlock(&c->lock);
		g_mutex_lock(&c->virtio.head.dev.lock);
		memcpy(c->space.mac, mac, 6);
		g_mutex_unlock(&c->virtio.head.dev.lock);
		return true;
	}
	if (cmd != MAC_TABLE || !virtio_has(&c->virtio, NET_F_CTRL_RX) || !read_table(ch, new.uni, &new.uni_n, &new.uni_all) ||
		!read_table(ch, new.multi, &new.multi_n, &new.multi_all) || chain_left(ch))
		return false;
	g_mutex_lock(&c->lock);
	f->uni_n = new.uni_n;
	f->uni_all = new.uni_all;
	f->multi_n = new.multi_n;
	f->multi_all = new.multi_all;
	memcpy(f->uni, new.uni, new.uni_n * 6);
	memcpy(f->multi, new.multi, new.multi_n * 6);
	g_mutex_unlock(&c->lock);
	return true;
}

static bool set_vlan(struct card *c, uint8_t cmd, struct chain *ch)
{
	uint16_t id;

	if (cmd > VLAN_DEL || !virtio_has(&c->virtio, NET_F_CTRL_VLAN) || chain_left(ch) != 2 || chain_read(ch, &id, 2) != 2 ||
		id >= CARD_VLANS)
		return false;
	g_mutex_lock(&c->lock);
	if (cmd == VLAN_ADD)
		c->filter.vlans[id / 8] |= (uint8_t)(1u << id % 8);
	else
		c->filter.vlans[id / 8] &= (uint8_t)~(1u << id % 8);
	g_mutex_unlock(&c->lock);
	return true;
}

static bool announced(struct card *c, uint8_t cmd, struct chain *ch)
{
	if (cmd || chain_left(ch) || !virtio_has(&c->virtio, NET_F_GUEST_ANNOUNCE))
		return false;
	g_mutex_lock(&c->virtio.head.dev.lock);
	c->space.status &= (uint16_t)~NET_STATUS_ANNOUNCE;
	g_mutex_unlock(&c->virtio.head.dev.lock);
	return true;
}

/* --- back end --- */

static const struct { uint64_t feature; unsigned offload; } offload_of[] = {
	{ NET_F_GUEST_CSUM, NET_CSUM }, { NET_F_GUEST_TSO4, NET_TSO4 }, { NET_F_GUEST_TSO6, NET_TSO6 }, { NET_F_GUEST_ECN, NET_ECN },
	{ NET_F_GUEST_UFO, NET_UFO }, { NET_F_GUEST_USO4, NET_USO4 }, { NET_F_GUEST_USO6, NET_USO6 },
};

unsigned card_offloads(uint64_t features)
{
	unsigned offloads = 0;

	for (size_t i = 0; i < G_N_ELEMENTS(offload_of); i++)
		if (features & offload_of[i].feature)
			offloads |= offload_of[i].offload;
	return offloads & NET_CSUM ? offloads : 0;      /* nothing is segmented without its checksum */
}

static uint64_t offload_features(void)
{
	uint64_t all = 0;

	for (size_t i = 0; i < G_N_ELEMENTS(offload_of); i++)
		all |= offload_of[i].feature;
	return all;
}

bool card_set_offloads(struct card *c, unsigned offloads)
{
	int r;

	g_mutex_lock(&c->control);
	r = net_offload(c->net, offloads & net_can(c->net));
	__atomic_store_n(&c->offloads, offloads, __ATOMIC_RELAXED);
	g_mutex_unlock(&c->control);
	return r >= 0;
}

bool card_set_pairs(struct card *c, unsigned pairs)
{
	int r;

	g_mutex_lock(&c->control);
	r = net_use(c->net, pairs);
	if (r >= 0)
		g_atomic_int_set(&c->used, (int)pairs);
	g_mutex_unlock(&c->control);
	for (unsigned i = 0; i < c->pairs_n; i++)       /* each looks whether it is used */
		virtio_kick(&c->virtio, c->pairs[i].rx->index);
	return r >= 0;
}

static bool set_pairs(struct card *c, uint8_t cmd, struct chain *ch)
{
	uint16_t n;

	if (cmd || !virtio_has(&c->virtio, NET_F_MQ) || chain_left(ch) != 2 || chain_read(ch, &n, 2) != 2 || !n || n > c->pairs_n)
		return false;
	return card_set_pairs(c, n);
}

static bool set_offloads(struct card *c, uint8_t cmd, struct chain *ch)
{
	uint64_t features;

	if (cmd || !virtio_has(&c->virtio, NET_F_CTRL_GUEST_OFFLOADS) || chain_left(ch) != 8 || chain_read(ch, &features, 8) != 8 ||
		features & ~(offload_features() & c->virtio.accepted))
		return false;
	return card_set_offloads(c, card_offloads(features));
}

/* --- commands --- */

static bool (*const classes[])(struct card *, uint8_t cmd, struct chain *) = {
	[CLASS_RX] = set_mode, [CLASS_MAC] = set_mac, [CLASS_VLAN] = set_vlan, [CLASS_ANNOUNCE] = announced, [CLASS_MQ] = set_pairs,
	[CLASS_OFFLOADS] = set_offloads,
};

void card_control(struct card *c, struct virtq *q)
{
	struct chain ch;
	unsigned n = 0;

	while (virtio_runs(&c->virtio, q) && n++ < COMMANDS_MOST && virtq_pop(q, &ch)) {
		uint8_t head[2], ack = ACK_ERR;

		if (chain_read(&ch, head, 2) != 2 || chain_room(&ch) < 1)
			guest_error(&c->virtio.head.dev, "a control command without its parts");
		else if (head[0] < G_N_ELEMENTS(classes) && classes[head[0]](c, head[1], &ch))
			ack = ACK_OK;
		chain_write(&ch, &ack, 1);
		virtq_push(q, &ch, 1);
	}
	if (n > COMMANDS_MOST)
		virtio_kick(&c->virtio, q->index);
}
