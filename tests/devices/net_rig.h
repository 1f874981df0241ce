/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A network card with a network in memory behind it and a driver in plain memory before it. One thread. */
#pragma once
#include "devices/net_mem.h"
#include "devices/virtio_net.h"
#include "devices/virtio_net_card.h"
#include "tests/fake/virtio_driver.h"

#define ALL (~0ull)
#define PACKED (1ull << 34)
#define INDIRECT (1ull << 28)
#define EVENT_IDX (1ull << 29)
#define CAN (NET_CSUM | NET_TSO4 | NET_TSO6 | NET_ECN | NET_UFO | NET_USO4 | NET_USO6)
#define RX_BUFFERS 64

static const uint8_t own[6] = { 0x52, 0x54, 0, 1, 2, 3 };        /* its address */
#define CARD_MAC "'mac':'52:54:00:01:02:03'"

/* The back end of type='null' is a net_mem. */
struct rig {
	struct fake *f;
	struct device *dev;
	struct net *net, *leaf;
	struct vdrv d;
	unsigned pairs, rx_size;
	uint64_t rx_at[VDRV_QUEUES], tx_at, control_at;
	uint64_t buffers[VDRV_QUEUES][RX_BUFFERS];
};

/* more: members of its config as JSON, or "" */
void rig_open(struct rig *r, const char *more);
/* A driver that accepts these features and gives so many receive buffers to each pair. */
void drive(struct rig *r, uint64_t features, unsigned buffers);
void rig_close(struct rig *r);
void give_buffer(struct rig *r, unsigned pair, unsigned i);       /* .buffers[pair][i], to be received into */
/* The guest sends a frame: in one piece (cut 0), header and frame (1), or three pieces, the second of `cut` bytes from within the header. */
void guest_send(struct rig *r, unsigned pair, const void *frame, size_t n, unsigned cut);
void assert_sent(struct rig *r, unsigned pair, const void *frame, size_t n);
/* One frame from the guest's buffers, which are given again. Its bytes without header; -1: there is none. */
ssize_t guest_take(struct rig *r, unsigned pair, uint8_t *to, struct net_header *h);
/* h NULL: nothing is left to the guest. false: full */
bool host_send(struct rig *r, unsigned pair, const void *frame, size_t n, const struct net_header *h);
void frame_fill(uint8_t *f, size_t n, unsigned seed);
void assert_taken(struct rig *r, unsigned pair, const uint8_t *frame, size_t n);
void assert_none(struct rig *r, unsigned pair);
/* Does a frame to this address (of this VLAN; -1: of none) reach the guest? */
bool passes(struct rig *r, const uint8_t to[6], int vlan);
/* The card has told the network where `mac` is: a "who am I". */
void assert_rarp(struct rig *r, const uint8_t mac[6]);
/* Class, command, data; the acknowledgement. */
uint8_t control(struct rig *r, uint8_t class, uint8_t cmd, const void *data, size_t n);
/* a config register */
uint64_t space(struct rig *r, unsigned offset, unsigned size);
