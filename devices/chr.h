/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Character devices, the host's side: what a serial port or console puts out goes to any number of
 * ends — the back end of the XML (pty, socket, file), a log, consoles attached while running — and
 * what the back end and one writing console put in goes to the guest.
 *
 * Threads: chr_write and chr_ready from any thread, with the front end's lock held; chr_new to
 * chr_info from main; the ops of ends and of the front end run on the I/O loop.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "domain/chardev.h"
#include "hv/device.h"
#include "hv/loop.h"

#define CHR_CONSOLES_MAX 8
#define CHR_NAME_MAX 64
#define CHR_LOG_BYTES (1u << 20)        /* a log that reaches this goes to its backup and starts anew */

struct chr;
struct chr_end;

/* The guest's side of a character device. */
struct chr_front {
	size_t (*room)(struct device *);        /* bytes input takes now; 0: held, until chr_ready */
	void (*input)(struct device *, const uint8_t *data, size_t n);  /* n <= room */
	/* Somebody is (no longer) at the back end. May be NULL, as the next. */
	void (*opened)(struct device *, bool on);
	void (*drained)(struct device *);       /* chr_space has become larger after it was small */
};

/* What a kind of end does. Everything on the loop, except open. */
struct chr_ops {
	const char *name;
	size_t size;            /* of its own struct, whose first member is struct chr_end */
	/* Main: takes what it needs from the set into .watch.fd or its own struct. May be NULL. */
	bool (*open)(struct chr_end *, const struct chardev *, struct fdset *, GError **err);
	bool (*start)(struct chr_end *, GError **err);  /* NULL: nothing beside watching .watch.fd */
	void (*close)(struct chr_end *);                /* its own descriptors; .watch.fd is the core's. May be NULL */
	/* Bytes accepted (n when they are to be dropped); 0: full, the core tries again when .watch.fd is writable;
	 * -errno: over. */
	ssize_t (*write)(struct chr_end *, const uint8_t *data, size_t n);
	/* Bytes read; 0: no more for now and ever (end of file); -EAGAIN; -errno: over. NULL: has no input. */
	ssize_t (*read)(struct chr_end *, uint8_t *data, size_t n);
	/* The other side has gone, .watch.fd is closed. true: the end stays and waits for the next one, not at once but by
	 * an event; false: it is freed. NULL: false. */
	bool (*gone)(struct chr_end *);
	void (*hangup)(struct chr_end *);               /* the descriptor says so, for those that stay; NULL: as an end */
};

/* One end. The loop's thread only. */
struct chr_end {
	const struct chr_ops *ops;
	struct chr *chr;
	struct loop_fd watch;   /* .fd -1: none. Edge-triggered: readable and writable remember what it said */
	bool pollable;          /* set by open or start: watch .watch.fd */
	bool readable, writable;
	bool ended;             /* input is over */
	bool hup;               /* nobody takes output any more */
	bool closing;           /* freed by the core soon */
	bool writer;            /* its input goes to the guest */
	bool strict;            /* cut off when it falls behind; else it loses the oldest bytes */
	uint64_t at;            /* place in the stream: all before was put out here */
	uint64_t sent, lost;    /* bytes */
	/* consoles */
	unsigned id;
	char name[CHR_NAME_MAX];
};

extern const struct chr_ops chr_pty, chr_stream, chr_socket, chr_console, chr_file, chr_log, chr_udp, chr_pipe, chr_ringbuf;

/* New, on the given loop, for that front end, which outlives it. */
struct chr *chr_new(struct loop *, const struct chr_front *, struct device *);
/* Opens the back end and the log of the XML; descriptors by the names in its resources («NAME.backup» beside the log's
 * is where the log goes when it is full). *err: UNSUPPORTED, NO_FILE, IO. */
bool chr_open(struct chr *, const struct chardev *, struct fdset *, GError **err);
/* Another back end while it is used; the log stays. What the old one has not put out goes to the new one. *err: as chr_open;
 * then the old one stays. */
bool chr_change(struct chr *, const struct chardev *, struct fdset *, GError **err);
/* A log beside that of the XML: fd readable and writable, backup -1 or another; both are taken over. */
bool chr_set_log(struct chr *, int fd, int backup, GError **err);
void chr_free(struct chr *);            /* puts out what can be put out at once, then closes all; NULL is fine */

/* Output; never waits. Bounded: what an end does not take in time is lost to it, the oldest first. */
void chr_write(struct chr *, const void *data, size_t n);
/* Bytes that can be written now without the back end losing any; all when nobody is there, whose loss does not count.
 * For front ends that hold output back instead; the loop only. */
size_t chr_space(struct chr *);
bool chr_is_open(struct chr *);         /* is somebody at the back end? The loop only */
/* The back end is a connection that has gone; fd (taken over) is the one made anew. *err: STATE: it is connected, or none
 * such. */
bool chr_reconnect(struct chr *, int fd, GError **err);
/* The oldest bytes of its ringbuf, up to n; they are not in it any more. Bytes put into it behind those of the guest. *err:
 * UNSUPPORTED: the back end is none. */
bool chr_ringbuf_read(struct chr *, size_t n, GByteArray *out, GError **err);
bool chr_ringbuf_write(struct chr *, const uint8_t *data, size_t n, GError **err);
/* The front end has room again. Cheap when no input waits. */
void chr_ready(struct chr *);
/* Holds input (machine paused) and lets it go on; done (may be NULL) ends when nothing is being put in. */
void chr_hold(struct chr *, bool hold, struct done *);

enum chr_attach_flags { CHR_WRITER = 1, CHR_FORCE = 2 /* the present writer is told and disconnected */, CHR_NO_BACKLOG = 4 };
/* One more console on a connected stream socket, taken over also on failure. It gets the backlog, then what comes. *id
 * names it. *err: BUSY names the present writer, LIMIT. */
bool chr_attach(struct chr *, int fd, unsigned flags, const char *name, unsigned *id, GError **err);
bool chr_detach(struct chr *, unsigned id, GError **err);       /* *err: NO_DEVICE */

struct chr_info {
	const char *backend;    /* "pty", … */
	uint64_t out, in;       /* bytes by the guest, to the guest */
	uint64_t lost;          /* by the back end */
	bool open;              /* somebody is at the back end */
	unsigned consoles_n;
	unsigned cut;           /* consoles cut off because they did not read */
	struct { unsigned id; char name[CHR_NAME_MAX]; bool writer; uint64_t sent; } consoles[CHR_CONSOLES_MAX];
};
void chr_info(struct chr *, struct chr_info *out);

/* For ends. */
struct loop *chr_loop(struct chr *);
/* Makes a log of two descriptors, both taken over; for chr_set_log. */
void chr_log_init(struct chr_end *, int fd, int backup);
/* The end's .watch.fd is new (a client has come): watched from now on, closed by the core when it goes. Loop. */
bool chr_end_connected(struct chr_end *, int fd, GError **err);
/* The same for an end that has a descriptor beside .watch.fd: what epoll said of that. Loop. */
void chr_end_event(struct chr_end *, uint32_t events);
