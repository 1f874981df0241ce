/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A network in memory: nobody is at its other end but a test, which puts frames in and takes out what the card sent. Without
 * one, frames are dropped (<interface type='null'>). One thread.
 */
#pragma once
#include "devices/net.h"

#define NET_MEM_FRAMES 256              /* frames each way before it is full */

struct net_mem_config {
	bool header, keep;              /* frames have one; what the card sends is kept for net_mem_take */
	unsigned can;
};
/* The leaf of a chain, which must be a net_mem. */
struct net *net_mem_leaf(struct net *);
/* A frame, with its header if there is one, for the guest. false: full. */
bool net_mem_put(struct net *leaf, unsigned queue, const void *frame, size_t n);
/* The oldest frame that the card sent, NULL: none. Caller frees. */
GByteArray *net_mem_take(struct net *leaf, unsigned queue);
void net_mem_keep(struct net *leaf, bool on);
void net_mem_link(struct net *leaf, bool up);
/* What the card set last. */
unsigned net_mem_offloads(const struct net *leaf);
unsigned net_mem_used(const struct net *leaf);
/* The next send fails with that -errno, once. */
void net_mem_fail(struct net *leaf, int error);
