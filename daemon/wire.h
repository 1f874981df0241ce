/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QMP's framing on a unix stream socket: one JSON object per line (the newline may be missing), descriptors ride along. Both ends of every control
 * connection use it: kvmctl, kvmd, worker. Input and output are bounded: a line longer than .line_max, or a peer that lets
 * more than .queue_max bytes pile up, ends the connection with a reason. Descriptors belong to the message they were
 * sent with (of several sent in one go, to the last). One thread: the GMainContext it was made on.
 */
#pragma once
#include <glib.h>
#include <json-c/json.h>
#include <stdbool.h>

#define WIRE_FDS_MAX 200        /* per message; the kernel's limit is 253 */
#define WIRE_LINE_MAX (32u << 20)
#define WIRE_QUEUE_MAX (8u << 20)

struct wire;
struct wire_ops {
	/* One message; fds[n] belong to the callee, which must close or keep each. The callee may call wire_close. */
	void (*message)(struct wire *, json_object *, int *fds, unsigned n);
	/* The line is not a JSON object: answer or close as you like. NULL: the connection is closed. Also called for a
	 * message without an end; then the connection is closed after the answer. */
	void (*garbage)(struct wire *, const char *why);
	/* Once, at the end, also after wire_close; why is NULL for a plain end of file. The wire is freed after it returns. */
	void (*closed)(struct wire *, const char *why);
	/* The peer has ended its direction only (printf … | socat …): does an answer, or what it subscribed to, still come?
	 * Asked after each message sent from then on; the connection ends at the first no. NULL: no. */
	bool (*busy)(struct wire *);
	/*
	 * Does this message, as it stands in the socket, stay there? Asked for each that is there as a whole, before it is read: one
	 * that comes in pieces, or is longer than WIRE_WHOLE_MAX, is not asked for. Who says yes has held the wire; what is then in
	 * front of the queue is asked for again. NULL: no, at no cost.
	 */
	bool (*leave)(struct wire *, const char *text, size_t len);
};
#define WIRE_WHOLE_MAX (64u << 10)

/* Takes fd (made non-blocking, close-on-exec). context NULL: the default one. */
struct wire *wire_new(int fd, GMainContext *context, const struct wire_ops *, void *owner);
void *wire_owner(const struct wire *);
int wire_fd(const struct wire *);
void wire_limits(struct wire *, size_t line_max, size_t queue_max);
/* Queues and sends as far as the socket takes. msg stays the caller's; fds are duplicated by the kernel, the caller
 * closes his. false when the peer has gone (what it sent before that is still read), the connection has ended or the queue is over
 * its limit (then it is closed). */
bool wire_send(struct wire *, json_object *msg, const int *fds, unsigned n);
/* Whole lines as they are, shared with other wires; sent at the loop's next turn, together with what comes until then. */
bool wire_send_lines(struct wire *, GBytes *lines);
size_t wire_queued(const struct wire *);
/* Stops reading until called with false: back-pressure. */
void wire_hold(struct wire *, bool hold);
/* Ends the connection; what is queued is sent first when flush is true and the peer reads within 10 s. closed() runs later. */
void wire_close(struct wire *, bool flush, const char *why);

/* Blocking forms for clients and start-up: -1 timeout for ever. NULL and *err at the end, a time-out or garbage. */
bool wire_write_sync(int fd, json_object *msg, const int *fds, unsigned n, GError **err);
struct wire_reader;
struct wire_reader *wire_reader_new(int fd);
void wire_reader_free(struct wire_reader *);
json_object *wire_read_sync(struct wire_reader *, int timeout_ms, int *fds, unsigned *n /* in: room, out: got */, GError **err);

/* QMP's messages. New objects. */
json_object *wire_return(json_object *id, json_object *value /* taken; NULL: {} */);
json_object *wire_error(json_object *id, const GError *);       /* {"error":{class, desc, code}, "id"} */
json_object *wire_event(const char *name, json_object *data /* taken */, uint64_t seq);
/* The error of a reply as GError; false and *err set when msg holds one. */
bool wire_check(json_object *msg, GError **err);
