/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of a wire share: its state, and how input, output and the end call each other. For daemon/wire*.c only. */
#pragma once
#include "daemon/wire.h"
#include "daemon/wire_fds.h"
#include "daemon/wire_text.h"

#define WIRE_READ_CHUNK (64u << 10)

/* A piece of output. */
struct wire_chunk {
	const char *data;
	GBytes *shared;                 /* holds data for others too; NULL: data is the chunk's own */
	size_t len, sent;
	int *fds;                       /* WIRE_FDS_MAX; NULL: none */
	unsigned fds_n;
};

struct wire {
	int fd;
	GMainContext *context;
	const struct wire_ops *ops;
	void *owner;
	GByteArray *in;
	struct wire_frame frame;        /* of the message that `in` begins with */
	struct wire_fds fds;
	GQueue out;                     /* of struct wire_chunk */
	size_t queued, line_max, queue_max;
	GSource *readable, *writable, *batch, *settle, *end;
	bool ended, held, flush, in_input, eof;
	bool deaf;                      /* the peer has gone, and what it sent before is still read */
	bool in_pieces;                 /* ops->leave: the rest of the message has been waited for */
	char *why;
};

/* wire.c: the life of a connection. */
/* Destroys what is there, and forgets it. */
void wire_source_drop(GSource **);
/* It is over, whatever is queued: closed() is called at the loop's next turn. The first reason counts. */
void wire_end(struct wire *, const char *why);

/* wire_in.c: input. */
void wire_listen(struct wire *);
/* Hands on every whole message that is there, until the wire is held or ended. */
void wire_lines(struct wire *);
/* At the loop's next turn: is a peer that sends no more still owed something? Nothing when it may send. */
void wire_settle_later(struct wire *);

/* wire_out.c: output. */
struct wire_chunk *wire_chunk_new(json_object *msg);
void wire_chunk_free(struct wire_chunk *);
/* Bytes that the socket took, or -1 and errno. */
ssize_t wire_send_some(int fd, const struct wire_chunk *, int flags);
