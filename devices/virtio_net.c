/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Network card (virtio 1.2, 5.1): life, features, link, saving.
 *
 * Pairs of queues are spread over the I/O loops, both queues of a pair on one. What the driver accepted is told to the back
 * end by the first queue that runs after DRIVER_OK, on its loop. The link that the guest sees is up when the definition
 * says so and the other end of the back end is there.
 */
#include "devices/virtio_net.h"

#include <stdio.h>
#include <string.h>

#include "devices/virtio_net_card.h"
#include "domain/error.h"

#define SPEED 10000u            /* Mbit/s; a number for those who ask, nothing is paced by it */
#define QUEUE_SIZE 256u

static const struct virtio_ops net_virtio_ops;

static const struct iface *config_of(const struct card *c)
{
	return c->virtio.head.dev.config;
}

/* --- link --- */

/* Any thread; the device's lock not held. */
static void link_update(struct card *c)
{
	struct device *d = &c->virtio.head.dev;
	bool up = g_atomic_int_get(&c->link_wanted) && net_is_linked(c->net);

	g_mutex_lock(&d->lock);
	if (up != !!(c->space.status & NET_STATUS_LINK_UP)) {
		c->space.status ^= NET_STATUS_LINK_UP;
		if (virtio_has(&c->virtio, NET_F_STATUS))
			virtio_changed(&c->virtio);
	}
	g_mutex_unlock(&d->lock);
}

/* --- the back end's words --- */

static void on_readable(void *arg, unsigned queue)
{
	card_receive(&((struct card *)arg)->pairs[queue]);
}

static void on_writable(void *arg, unsigned queue)
{
	card_send(&((struct card *)arg)->pairs[queue]);
}

static void on_linked(void *arg, bool up)
{
	struct card *c = arg;

	if (c->net)             /* else it is just being opened */
		link_update(c);
}

static const struct net_front card_front = { on_readable, on_writable, on_linked };

/* --- features --- */

static bool on(int setting)
{
	return setting != ONOFF_OFF;
}

static uint64_t features(const struct card *c)
{
	const struct iface *i = config_of(c);
	const struct iface_offloads *host = &i->driver.host, *guest = &i->driver.guest;
	unsigned can = net_can(c->net);
	bool csum = can & NET_CSUM && on(host->csum), gcsum = can & NET_CSUM && on(guest->csum);
	/* congestion marks go with one of the two that they are about: else they must not be offered */
	bool tso = (can & NET_TSO4 && on(host->tso4)) || (can & NET_TSO6 && on(host->tso6));
	bool gtso = (can & NET_TSO4 && on(guest->tso4)) || (can & NET_TSO6 && on(guest->tso6));
	const struct { uint64_t feature; bool have; } rows[] = {
		{ NET_F_MAC | NET_F_STATUS | NET_F_CTRL_VQ | NET_F_CTRL_RX | NET_F_CTRL_RX_EXTRA | NET_F_CTRL_VLAN | NET_F_CTRL_MAC_ADDR |
		  NET_F_GUEST_ANNOUNCE | NET_F_SPEED_DUPLEX, true },
		{ NET_F_MTU, i->mtu },
		{ NET_F_MQ, c->pairs_n > 1 },
		{ NET_F_MRG_RXBUF, on(host->mrg_rxbuf) },
		/* the host takes … */
		{ NET_F_CSUM, csum },
		{ NET_F_HOST_TSO4, csum && can & NET_TSO4 && on(host->gso) && on(host->tso4) },
		{ NET_F_HOST_TSO6, csum && can & NET_TSO6 && on(host->gso) && on(host->tso6) },
		{ NET_F_HOST_ECN, csum && tso && can & NET_ECN && on(host->gso) && on(host->ecn) },
		{ NET_F_HOST_UFO, csum && can & NET_UFO && on(host->gso) && on(host->ufo) },
		{ NET_F_HOST_USO, csum && can & NET_USO4 && can & NET_USO6 && on(host->gso) && on(host->ufo) },
		/* the guest takes … */
		{ NET_F_GUEST_CSUM | NET_F_CTRL_GUEST_OFFLOADS, gcsum },
		{ NET_F_GUEST_TSO4, gcsum && can & NET_TSO4 && on(guest->tso4) },
		{ NET_F_GUEST_TSO6, gcsum && can & NET_TSO6 && on(guest->tso6) },
		{ NET_F_GUEST_ECN, gcsum && gtso && can & NET_ECN && on(guest->ecn) },
		{ NET_F_GUEST_UFO, gcsum && can & NET_UFO && on(guest->ufo) },
		{ NET_F_GUEST_USO4, gcsum && can & NET_USO4 && on(guest->ufo) },
		{ NET_F_GUEST_USO6, gcsum && can & NET_USO6 && on(guest->ufo) },
	};
	uint64_t all = 0;

	for (size_t n = 0; n < G_N_ELEMENTS(rows); n++)
		if (rows[n].have)
			all |= rows[n].feature;
	return all;
}

/* Once after each DRIVER_OK or load, before frames move. */
static void configure(struct card *c)
{
	unsigned pairs = (unsigned)g_atomic_int_get(&c->used);

	if (!g_atomic_int_compare_and_exchange(&c->configured, 0, 1))
		return;
	if (!card_set_offloads(c, __atomic_load_n(&c->offloads, __ATOMIC_RELAXED) & card_offloads(c->virtio.accepted)))
		g_debug("device '%s': offloads 0x%x are refused", c->virtio.head.dev.id, c->offloads);
	if (!card_set_pairs(c, pairs))
		g_debug("device '%s': %u pairs of queues are refused", c->virtio.head.dev.id, pairs);
}

static void net_ready(struct virtio *v, struct virtq *q)
{
	struct card *c = card_of(v);
	unsigned control = virtio_has(v, NET_F_MQ) ? 2 * c->pairs_n : 2;

	configure(c);
	if (q->index == control && virtio_has(v, NET_F_CTRL_VQ))
		card_control(c, q);
	else if (q->index >= 2 * c->pairs_n)
		return;
	else if (q->index & 1)
		card_send(&c->pairs[q->index / 2]);
	else
		card_receive(&c->pairs[q->index / 2]);
}

/* --- life --- */

static bool parse_mac(const char *text, uint8_t mac[6])
{
	unsigned b[6];

	if (!text || sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5]) != 6)
		return false;
	for (int i = 0; i < 6; i++)
		mac[i] = (uint8_t)b[i];
	return true;
}

static void give_slots(struct card *c)
{
	for (unsigned q = 0; c->pairs && q < c->pairs_n; q++)
		stats_give(c->virtio.head.dev.vm, g_steal_pointer(&c->pairs[q].stats));
}

static struct loop *loop_of(struct vm *vm, unsigned pair)
{
	return vm->loops[pair % vm->loops_n];
}

static bool make_pairs(struct card *c, GError **err)
{
	const struct iface *i = config_of(c);
	struct virtio *v = &c->virtio;

	c->pairs_n = i->driver.queues ? i->driver.queues : 1;
	if (c->pairs_n > NET_QUEUES_MAX)
		return kerr_set(err, KERR_UNSUPPORTED, "a card has 1 to %u pairs of queues, not %u", NET_QUEUES_MAX, c->pairs_n);
	if (!virtio_set_queues(v, 2 * c->pairs_n + 1, QUEUE_SIZE, NULL, err))
		return false;
	c->pairs = g_new0(struct pair, c->pairs_n);
	for (unsigned n = 0; n < c->pairs_n; n++) {
		struct pair *p = &c->pairs[n];

		virtio_queue_loop(v, 2 * n, loop_of(v->head.dev.vm, n));
		virtio_queue_loop(v, 2 * n + 1, loop_of(v->head.dev.vm, n));
		p->card = c;
		p->expect = 1;
		p->index = n;
		p->rx = &v->queues[2 * n].q;
		p->tx = &v->queues[2 * n + 1].q;
		p->ahead = g_new0(struct chain, CARD_AHEAD);
		p->bounce = g_malloc(NET_FRAME_MAX);
	}
	for (unsigned n = 0; n < 2 * c->pairs_n; n++)
		if (!virtio_queue_size(v, n, n & 1 ? i->driver.tx_queue_size : i->driver.rx_queue_size, err))
			return false;
	g_atomic_int_set(&c->used, 1);
	return true;
}

/* In the statistics page: one per pair, whose sum is the card's; so all or none. */
static void take_slots(struct card *c)
{
	const struct iface *i = config_of(c);
	unsigned q = 0;

	while (q < c->pairs_n && (c->pairs[q].stats = stats_take(c->virtio.head.dev.vm, STAT_NET, i->alias, i->target)))
		q++;
	if (q < c->pairs_n)
		give_slots(c);
	for (q = 0; q < c->pairs_n; q++)
		net_count_in(c->net, q, (struct net_stats *)c->pairs[q].stats);
}

static bool net_realize(struct virtio *v, struct fdset *fds, GError **err)
{
	struct card *c = card_of(v);
	struct vm *vm = v->head.dev.vm;
	const struct iface *i = config_of(c);
	struct net_plan plan = { .loops = vm->loops, .loops_n = vm->loops_n, .clock = vm->clock };

	g_mutex_init(&c->lock);
	g_mutex_init(&c->control);
	if (!parse_mac(i->mac, c->mac))
		return kerr_set(err, KERR_ARGS, "'%s' is no MAC address", i->mac ? i->mac : "");
	if (!make_pairs(c, err))
		return false;
	plan.queues = c->pairs_n;
	c->link_wanted = i->link != LINK_DOWN;
	c->net = net_open_iface(&plan, i, &card_front, c, fds, err);
	if (!c->net)
		return false;
	take_slots(c);
	c->space = (struct net_space){ .max_pairs = (uint16_t)c->pairs_n, .mtu = (uint16_t)i->mtu, .speed = SPEED, .duplex = 1 };
	v->offered |= features(c);
	if (!on(i->driver.event_idx))
		v->offered &= ~VIRTIO_F_EVENT_IDX;
	return true;
}

static void net_unrealize(struct virtio *v)
{
	struct card *c = card_of(v);

	net_close(c->net);
	c->net = NULL;
	give_slots(c);
	for (unsigned n = 0; c->pairs && n < c->pairs_n; n++) {
		struct pair *p = &c->pairs[n];

		virtq_stop(p->rx);      /* its list of chains is in our memory */
		virtq_stop(p->tx);
		card_forget(p);
		g_free(p->ahead);
		g_free(p->bounce);
	}
	g_clear_pointer(&c->pairs, g_free);
	g_mutex_clear(&c->lock);
	g_mutex_clear(&c->control);
}

/* The back end is not touched: this may be a vCPU's thread. */
static void net_reset(struct virtio *v)
{
	struct card *c = card_of(v);

	for (unsigned n = 0; n < c->pairs_n; n++)
		card_forget(&c->pairs[n]);
	card_filter_reset(c);
	memcpy(c->space.mac, c->mac, 6);
	c->space.status = g_atomic_int_get(&c->link_wanted) && net_is_linked(c->net) ? NET_STATUS_LINK_UP : 0;
	g_atomic_int_set(&c->used, 1);
	__atomic_store_n(&c->offloads, ~0u, __ATOMIC_RELAXED);  /* all that the driver will accept */
	g_atomic_int_set(&c->configured, 0);
}

static bool net_update_config(struct virtio *v, const void *config, GError **err)
{
	struct card *c = card_of(v);
	const struct iface *i = config;

	if (!net_update(c->net, i, err))
		return false;
	g_atomic_int_set(&c->link_wanted, i->link != LINK_DOWN);
	link_update(c);
	return true;
}

/* --- announcing --- */

#define ETHERTYPE_RARP 0x8035
struct announcement { struct card *card; bool sent; };

/* "Who am I, 52:54:…?", to all: RFC 903's request, by which switches learn the port. It goes out even though the guest can be
 * asked to tell its addresses: a busy guest does so late, merges what it is asked twice, and one that hangs never does. Loop of
 * queue 0. */
static void send_rarp(void *arg)
{
	struct announcement *a = arg;
	struct net *net = a->card->net;
	struct virtio_net_filter f;
	struct { uint8_t header[NET_HEADER], frame[60]; } __attribute__((packed)) all = { 0 };
	uint8_t *b = all.frame, request[] = { ETHERTYPE_RARP >> 8, ETHERTYPE_RARP & 0xff, 0, 1, 8, 0, 6, 4, 0, 3 };
	struct iovec v = { net_header(net) ? all.header : all.frame, net_header(net) + sizeof(all.frame) };

	card_filter_tell(a->card, &f);
	memset(b, 0xff, 6);
	memcpy(b + 6, f.mac, 6);
	memcpy(b + 12, request, sizeof(request));
	memcpy(b + 22, f.mac, 6);
	memcpy(b + 32, f.mac, 6);
	a->sent = net_send(net, 0, &v, 1) > 0;
	net_flush(net, 0);
}

/* When its driver can. */
static void ask_guest(struct card *c)
{
	struct virtio *v = &c->virtio;

	g_mutex_lock(&v->head.dev.lock);
	if (virtio_has(v, NET_F_GUEST_ANNOUNCE) && c->space.status & NET_STATUS_LINK_UP) {
		c->space.status |= NET_STATUS_ANNOUNCE;
		virtio_changed(v);
	}
	g_mutex_unlock(&v->head.dev.lock);
}

static void net_resumed(struct virtio *v)
{
	struct card *c = card_of(v);

	if (g_atomic_int_compare_and_exchange(&c->announce, 1, 0))
		(void)virtio_net_announce(&v->head.dev);        /* a card without a link has no neighbours */
}

/* --- state --- */

static uint64_t mac_number(const uint8_t mac[6])
{
	uint64_t n = 0;

	for (int i = 0; i < 6; i++)
		n = n << 8 | mac[i];
	return n;
}

static GByteArray *bytes(const void *data, size_t n)
{
	return n ? g_byte_array_append(g_byte_array_sized_new((guint)n), data, (guint)n) : NULL;
}

static void clear_saved(struct card *c)
{
	g_clear_pointer(&c->saved_multi, g_byte_array_unref);
	g_clear_pointer(&c->saved_uni, g_byte_array_unref);
	g_clear_pointer(&c->saved_vlans, g_byte_array_unref);
}

static void modes_of(struct net_filter *f, bool *modes[8])
{
	bool *all[8] = { &f->promisc, &f->allmulti, &f->alluni, &f->nomulti, &f->nouni, &f->nobcast, &f->multi_all, &f->uni_all };

	memcpy(modes, all, sizeof all);
}

static void net_pre_save(struct virtio *v)
{
	struct card *c = card_of(v);
	struct net_filter *f = &c->filter;
	bool *modes[8];

	clear_saved(c);
	modes_of(f, modes);
	c->saved_modes = 0;
	for (unsigned i = 0; i < G_N_ELEMENTS(modes); i++)
		c->saved_modes |= (uint16_t)(*modes[i] << i);
	c->saved_mac = mac_number(f->mac);
	c->saved_multi = bytes(f->multi, f->multi_n * 6);
	c->saved_uni = bytes(f->uni, f->uni_n * 6);
	c->saved_vlans = bytes(f->vlans, sizeof f->vlans);
	c->saved_pairs = (uint16_t)g_atomic_int_get(&c->used);
	c->saved_offloads = c->offloads;
}

static bool take_table(const GByteArray *saved, uint8_t table[][6], unsigned *n)
{
	*n = saved ? saved->len / 6 : 0;
	if (saved && (saved->len % 6 || *n > CARD_TABLE))
		return false;
	if (saved)
		memcpy(table, saved->data, saved->len);
	return true;
}

static bool net_post_load(struct virtio *v, GError **err)
{
	struct card *c = card_of(v);
	struct net_filter f = { 0 };
	bool *modes[8], ok;

	modes_of(&f, modes);
	for (unsigned i = 0; i < G_N_ELEMENTS(modes); i++)
		*modes[i] = c->saved_modes >> i & 1;
	ok = take_table(c->saved_multi, f.multi, &f.multi_n) && take_table(c->saved_uni, f.uni, &f.uni_n) &&
		(!c->saved_vlans || c->saved_vlans->len == sizeof f.vlans) && c->saved_pairs && c->saved_pairs <= c->pairs_n &&
		c->saved_mac < 1ull << 48;
	if (ok && c->saved_vlans)
		memcpy(f.vlans, c->saved_vlans->data, sizeof f.vlans);
	clear_saved(c);
	if (!ok)
		return kerr_set(err, KERR_STATE_DATA, "impossible filter or number of queues");
	for (int i = 0; i < 6; i++)
		f.mac[i] = c->space.mac[i] = (uint8_t)(c->saved_mac >> 8 * (5 - i));
	c->filter = f;
	g_atomic_int_set(&c->used, c->saved_pairs);
	c->offloads = c->saved_offloads;
	c->space.status = g_atomic_int_get(&c->link_wanted) && net_is_linked(c->net) ? NET_STATUS_LINK_UP : 0;
	g_atomic_int_set(&c->configured, 0);
	g_atomic_int_set(&c->announce, 1);
	return true;
}

/* --- for others --- */

static struct card *card_from(struct device *d)
{
	return d->ops == &virtio_net_ops ? card_of(virtio_of(d)) : NULL;
}

struct net *virtio_net_backend(struct device *d)
{
	struct card *c = card_from(d);

	return c ? c->net : NULL;
}

bool virtio_net_reconnect(struct device *d, int fd, GError **err)
{
	return net_reconnect(virtio_net_backend(d), fd, err);
}

bool virtio_net_announce(struct device *d)
{
	struct card *c = card_from(d);
	struct announcement a = { .card = c };

	if (!virtio_net_is_linked(d))
		return false;
	ask_guest(c);
	loop_call(loop_of(d->vm, 0), send_rarp, &a);
	return a.sent;
}

void virtio_net_set_link(struct device *d, bool up)
{
	struct card *c = card_from(d);

	g_atomic_int_set(&c->link_wanted, up);
	link_update(c);
}

bool virtio_net_is_linked(struct device *d)
{
	struct card *c = card_from(d);

	return g_atomic_int_get(&c->link_wanted) && net_is_linked(c->net);
}

void virtio_net_filter(struct device *d, struct virtio_net_filter *out)
{
	card_filter_tell(card_from(d), out);
}

static const struct virtio_ops net_virtio_ops = {
	.name = "net", .polls = true, .id = 1, .class = 0x020000, .queue_size = QUEUE_SIZE,
	.address = offsetof(struct iface, address), .driver = offsetof(struct iface, driver.iommu),
	.space = offsetof(struct card, space), .space_len = sizeof(struct net_space),
	.realize = net_realize, .unrealize = net_unrealize, .ready = net_ready, .resumed = net_resumed, .reset = net_reset,
	.update = net_update_config, .pre_save = net_pre_save, .post_load = net_post_load,
};

VIRTIO_DEVICE(virtio_net, "virtio-net", struct card, &net_virtio_ops, &iface_schema, "a network card",
	U64(struct card, saved_mac, NULL, 0, UINT64_MAX, 0, "address the driver set", .name = "mac"),
	U16(struct card, saved_modes, NULL, 0, 0xff, 0, "receive modes: promisc, allmulti, alluni, nomulti, nouni, nobcast, tables full", .name = "modes",
		.def = 1),
	BYTES(struct card, saved_multi, NULL, CARD_TABLE * 6, 0, "multicast addresses", .name = "multicast"),
	BYTES(struct card, saved_uni, NULL, CARD_TABLE * 6, 0, "further unicast addresses", .name = "unicast"),
	BYTES(struct card, saved_vlans, NULL, CARD_VLANS / 8, 0, "VLANs that pass, a bit each", .name = "vlans"),
	U16(struct card, saved_pairs, NULL, 0, VIRTIO_QUEUES_MAX / 2, 0, "pairs of queues in use", .name = "pairs", .def = 1),
	U32(struct card, saved_offloads, NULL, 0, UINT32_MAX, 0, "offloads the driver left on", .name = "offloads", .def = UINT32_MAX));
