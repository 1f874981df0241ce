/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Network back ends, seen from a card (virtio-net, a test): where its frames go to and come from. A chain of nodes, each an
 * instance of a driver: throttle over a leaf (tap, stream, mem).
 *
 * The card pulls: it says what it waits for (net_want), is told that frames wait or that there is room again, and then calls
 * net_recv with the guest's own buffers until there is nothing left. So a card without buffers costs nothing, and what it
 * does not take waits on the host, where it is dropped when it grows too old.
 *
 * A frame is preceded by `header` bytes of struct virtio_net_hdr_v1 (12), or by nothing (0): then the back end knows nothing
 * of unfinished checksums and of segmentation, and `can` is 0.
 *
 * Threads: a queue belongs to the loop given for it; recv, send, flush, want and the front's functions are called there.
 * open, close, update, reconnect from the main thread; use and offload from main or the loop of queue 0; stats from any.
 * While loops are not started (tests) one thread plays all.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "domain/iface.h"
#include "hv/fdset.h"
#include "hv/loop.h"

#define NET_QUEUES_MAX 63               /* pairs: with the control queue all that a virtio device may have */
#define NET_FRAME_MAX 69632u            /* bytes with header: 64 KiB of payload and all that may stand before it */
#define NET_FRAME_MIN 14u               /* bytes without header: two addresses and a type */
#define NET_HEADER 12u                  /* struct virtio_net_hdr_v1 */

/* What one side may leave to the other; the numbers are TUN_F_*. */
enum net_offload { NET_CSUM = 1, NET_TSO4 = 2, NET_TSO6 = 4, NET_ECN = 8, NET_UFO = 16, NET_USO4 = 32, NET_USO6 = 64 };
enum net_wish { NET_RX = 1, NET_TX = 2 };

struct net;
struct net_front {
	void (*readable)(void *arg, unsigned queue);    /* frames wait, while NET_RX is wanted */
	void (*writable)(void *arg, unsigned queue);    /* room again, while NET_TX is wanted */
	void (*linked)(void *arg, bool up);             /* the other end came or went; loop of queue 0. May be NULL */
};

/* A slot of the statistics page (domain/statpage.h): new ones at the end. */
struct net_stats { uint64_t rx_frames, rx_bytes, rx_dropped, tx_frames, tx_bytes, tx_dropped, rx_errors, tx_errors; };

/* What to build: queues and the loop of each. */
struct net_plan {
	unsigned queues;                /* 1 … NET_QUEUES_MAX */
	struct loop *const *loops;      /* queue q runs on loops[q % loops_n] */
	unsigned loops_n;
	struct clock *clock;
};
struct net_row { const struct net_ops *ops; const void *config; };

/* Opens from the last row to the first; configs are used during the call only. *err: ARGS, NO_FILE, IO, UNSUPPORTED. */
struct net *net_open(const struct net_plan *, const struct net_row *, unsigned n, const struct net_front *, void *arg,
	struct fdset *, GError **err);
/* The chain of an <interface>: its descriptors are IFACE_FD_NAME. *err: also UNSUPPORTED when the type is not the worker's. */
struct net *net_open_iface(const struct net_plan *, const struct iface *, const struct net_front *, void *arg,
	struct fdset *, GError **err);
void net_close(struct net *);                   /* NULL is fine */

unsigned net_header(const struct net *);        /* NET_HEADER or 0 */
unsigned net_can(const struct net *);           /* enum net_offload: what the guest may leave to the host, and back */
bool net_is_linked(const struct net *);         /* is the other end there? Any thread */
const struct net *net_leaf(const struct net *);

/* One frame into iov. Bytes of it, header included, at most the sum of iov; -EAGAIN: there is none (now); -EMSGSIZE: it did
 * not fit and is lost; other: lost too, or the other end has gone. */
ssize_t net_recv(struct net *, unsigned queue, const struct iovec *, unsigned n);
/* One frame. Its bytes; -EAGAIN: no room, want NET_TX and try again; other -errno: dropped. The iov is not used afterwards. */
ssize_t net_send(struct net *, unsigned queue, const struct iovec *, unsigned n);
void net_flush(struct net *, unsigned queue);   /* no more frames for now: what was collected goes out */
void net_want(struct net *, unsigned queue, unsigned wishes /* enum net_wish */);
/* The card drops a frame itself: counted. */
void net_drop(struct net *, unsigned queue, bool rx);

/* Offloads that frames to the guest may need from now on. 0 or -errno. */
int net_offload(struct net *, unsigned offloads);
/* The guest uses the first n queues: frames come there only. 0 or -errno. */
int net_use(struct net *, unsigned n);
bool net_update(struct net *, const struct iface *, GError **err);      /* LIVE fields: bandwidth */
/* A new descriptor for the other end, taken over also on failure. *err: UNSUPPORTED. */
bool net_reconnect(struct net *, int fd, GError **err);
void net_stats(const struct net *, struct net_stats *out);      /* sums; no lock: may be one frame apart */
/* A queue counts there from now on (NULL: in memory of its own). Before the first frame, or after the last; main. */
void net_count_in(struct net *, unsigned queue, struct net_stats *);

/* --- seen from a driver --- */

struct net_ops {
	const char *name;
	size_t size;                    /* of the driver's struct, whose first member is struct net */
	bool leaf;
	/* Main. Checks and sets queues, header, can, linked; those of a filter are preset to the lower's. */
	bool (*open)(struct net *, const void *config, struct fdset *, GError **err);
	void (*close)(struct net *);    /* main; also after a failed open */
	/* NULL: passes to lower, or does nothing. As the functions above. */
	ssize_t (*recv)(struct net *, unsigned queue, const struct iovec *, unsigned n);
	ssize_t (*send)(struct net *, unsigned queue, const struct iovec *, unsigned n);
	void (*flush)(struct net *, unsigned queue);
	void (*want)(struct net *, unsigned queue, unsigned wishes);
	int (*offload)(struct net *, unsigned offloads);
	int (*use)(struct net *, unsigned n);
	bool (*update)(struct net *, const struct iface *, GError **err);
	bool (*reconnect)(struct net *, int fd, GError **err);
	const struct net_front *front;  /* filters: how they hear of the lower node */
};

struct net_queue {
	struct loop *loop;
	unsigned wishes;                /* loop */
	struct net_stats *stats;        /* loop writes, any reads; of the top node; in the statistics page or `counted` */
	struct net_stats counted;
};
struct net {                            /* a node; owns the one below */
	const struct net_ops *ops;
	struct net *lower;
	const struct net_front *front;  /* who is above */
	void *front_arg;
	struct clock *clock;
	unsigned queues, header, can;
	int linked;                     /* atomic */
	struct net_queue *queue;        /* [queues] */
};

/* Leaf: the other end came or went. Loop of queue 0. */
void net_set_linked(struct net *, bool up);

extern const struct net_ops net_tap_ops, net_stream_ops, net_mem_ops, net_throttle_ops;
/* What tap and stream are told: whose descriptors. */
struct net_fd_config { const char *alias; };
/* Rates of net_throttle. */
struct net_throttle_config { const struct bandwidth *limits; };
