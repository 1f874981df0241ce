/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Inside of network cards: shared by virtio_net.c (life, state), virtio_net_io.c (frames) and virtio_net_ctrl.c (control
 * queue, receive filter).
 */
#pragma once
#include "devices/net.h"
#include "devices/virtio.h"
#include "hv/stats.h"
#include "devices/virtio_net.h"

/* virtio 1.2, 5.1.3 */
#define NET_F_CSUM (1ull << 0)
#define NET_F_GUEST_CSUM (1ull << 1)
#define NET_F_CTRL_GUEST_OFFLOADS (1ull << 2)
#define NET_F_MTU (1ull << 3)
#define NET_F_MAC (1ull << 5)
#define NET_F_GUEST_TSO4 (1ull << 7)
#define NET_F_GUEST_TSO6 (1ull << 8)
#define NET_F_GUEST_ECN (1ull << 9)
#define NET_F_GUEST_UFO (1ull << 10)
#define NET_F_HOST_TSO4 (1ull << 11)
#define NET_F_HOST_TSO6 (1ull << 12)
#define NET_F_HOST_ECN (1ull << 13)
#define NET_F_HOST_UFO (1ull << 14)
#define NET_F_MRG_RXBUF (1ull << 15)
#define NET_F_STATUS (1ull << 16)
#define NET_F_CTRL_VQ (1ull << 17)
#define NET_F_CTRL_RX (1ull << 18)
#define NET_F_CTRL_VLAN (1ull << 19)
#define NET_F_CTRL_RX_EXTRA (1ull << 20)
#define NET_F_GUEST_ANNOUNCE (1ull << 21)
#define NET_F_MQ (1ull << 22)
#define NET_F_CTRL_MAC_ADDR (1ull << 23)
#define NET_F_GUEST_USO4 (1ull << 54)
#define NET_F_GUEST_USO6 (1ull << 55)
#define NET_F_HOST_USO (1ull << 56)
#define NET_F_SPEED_DUPLEX (1ull << 63)

#define NET_STATUS_LINK_UP 1u
#define NET_STATUS_ANNOUNCE 2u

/* struct virtio_net_hdr_v1: all of NET_HEADER bytes */
struct net_header {
	uint8_t flags, gso_type;
	uint16_t hdr_len, gso_size, csum_start, csum_offset, num_buffers;
};
G_STATIC_ASSERT(sizeof(struct net_header) == NET_HEADER);
enum { NET_HDR_NEEDS_CSUM = 1, NET_HDR_DATA_VALID = 2 };
enum { NET_GSO_NONE = 0, NET_GSO_TCPV4 = 1, NET_GSO_UDP = 3, NET_GSO_TCPV6 = 4, NET_GSO_UDP_L4 = 5, NET_GSO_ECN = 0x80 };

/* config registers, 5.1.4 */
struct net_space {
	uint8_t mac[6];
	uint16_t status, max_pairs, mtu;
	uint32_t speed;
	uint8_t duplex;
} __attribute__((packed));

#define CARD_AHEAD 256u         /* receive chains taken beforehand */
#define CARD_TABLE VIRTIO_NET_TABLE
#define CARD_VLANS VIRTIO_NET_VLANS

struct card;
/* A pair of queues: the loop's that they belong to. */
struct pair {
	struct card *card;
	unsigned index;
	struct virtq *rx, *tx;
	uint64_t *stats;                /* slot of the statistics page; NULL: none */
	/* receive: chains that were popped and not used yet, a ring buffer so that they stay in place */
	struct chain *ahead;            /* [CARD_AHEAD] */
	unsigned ahead_at, ahead_n;
	uint64_t room;                  /* bytes of them */
	size_t expect;                  /* bytes to offer directly to the next frame, after the size of the last */
	uint8_t *bounce;                /* [NET_FRAME_MAX] what the chains did not hold */
	size_t pending, direct;         /* bytes of a frame that waits for chains; those of them that are in the first chains */
	/* send: the chain that the back end had no room for */
	struct chain held;
	bool holding;
};

struct card {
	struct virtio virtio;
	struct net *net;
	unsigned pairs_n;
	struct pair *pairs;
	struct net_space space;         /* dev->lock */
	uint8_t mac[6];                 /* the definition's */
	int link_wanted;                /* atomic: <link state> */
	int announce;                   /* atomic: to do when it runs again */
	int configured;                 /* atomic: the back end knows what the driver accepted */
	int used;                       /* atomic: pairs */
	unsigned offloads;              /* control: enum net_offload of frames to the guest; read by loops (atomic) */
	GMutex control;                 /* back end's offloads and queues are changed by one at a time */
	GMutex lock;                    /* filter: this block */
	struct net_filter {
		bool promisc, allmulti, alluni, nomulti, nouni, nobcast, multi_all, uni_all;
		unsigned multi_n, uni_n;
		uint8_t multi[CARD_TABLE][6], uni[CARD_TABLE][6], mac[6];
		uint8_t vlans[CARD_VLANS / 8];
	} filter;
	/* while saved */
	uint64_t saved_mac;
	uint16_t saved_pairs;
	uint16_t saved_modes;
	uint32_t saved_offloads;
	GByteArray *saved_multi, *saved_uni, *saved_vlans;
};

static inline struct card *card_of(struct virtio *v) { return (struct card *)v; }

/* virtio_net_io.c; the queues' loop */
void card_receive(struct pair *);
void card_send(struct pair *);
void card_forget(struct pair *);                /* chains of queues that were stopped; they do not run */

/* virtio_net_ctrl.c */
void card_control(struct card *, struct virtq *);
void card_filter_reset(struct card *);
bool card_filter_passes(struct card *, const uint8_t frame[18], size_t n);
void card_filter_tell(struct card *, struct virtio_net_filter *out);
/* What the driver accepted, as enum net_offload of frames to the guest. */
unsigned card_offloads(uint64_t features);
/* Tells the back end offloads and pairs. Loop or main. false: it refused. */
bool card_set_offloads(struct card *, unsigned offloads);
bool card_set_pairs(struct card *, unsigned pairs);
