/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Descriptors that came with the input of a wire and wait for their message to end. */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "daemon/wire.h"

struct wire_fds {
	int fds[WIRE_FDS_MAX];
	size_t at[WIRE_FDS_MAX];        /* each belongs to the first message that ends behind this byte of the input */
	unsigned n;
};

void wire_fds_close(int *fds, unsigned *n);
void wire_fds_drop(struct wire_fds *);
/*
 * Keeps those that came with a read, `in` having its bytes already; false: too many.
 * Messages that were sent one by one may come in one read. The kernel ends a read behind the piece that carries
 * descriptors, and they ride on a message's first byte: so they belong to the last message that begins in the read.
 */
bool wire_fds_take(struct wire_fds *, struct msghdr *, const GByteArray *in);
/* Those of the message that ends at `next`; how many. They are the caller's then. */
unsigned wire_fds_of(struct wire_fds *, size_t next, int fds[WIRE_FDS_MAX]);
/* So many bytes have gone from the input's start. */
void wire_fds_move(struct wire_fds *, size_t gone);
