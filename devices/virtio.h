/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio 1.2 devices: status, features, queues and their threads, saving. A virtio device is a file with a struct whose
 * first member is struct virtio, a struct virtio_ops and a line VIRTIO_DEVICE; it sees queues that run and nothing of PCI.
 *
 * Threads: registers come from vCPUs under dev->lock and only set flags and post. A queue belongs to a loop: .ready and
 * everything done with its virtq runs there. Starting, stopping and resetting go through these loops and main, and a
 * guest's reset reads as done only when the device has nothing in flight any more.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "devices/pci.h"
#include "devices/virtq.h"
#include "domain/address.h"
#include "hv/loop.h"
#include "hv/vm.h"

#define VIRTIO_NO_VECTOR 0xffff

enum virtio_status { VIRTIO_ACKNOWLEDGE = 1, VIRTIO_DRIVER = 2, VIRTIO_DRIVER_OK = 4, VIRTIO_FEATURES_OK = 8, VIRTIO_NEEDS_RESET = 64,
	VIRTIO_FAILED = 128 };
#define VIRTIO_F_INDIRECT_DESC (1ull << 28)
#define VIRTIO_F_EVENT_IDX (1ull << 29)
#define VIRTIO_F_VERSION_1 (1ull << 32)
#define VIRTIO_F_ACCESS_PLATFORM (1ull << 33)
#define VIRTIO_F_RING_PACKED (1ull << 34)
#define VIRTIO_F_RING_RESET (1ull << 40)

struct virtio;

struct virtio_ops {
	const char *name;               /* "rng": the type is virtio-rng */
	uint16_t id;
	uint32_t class;                 /* PCI class code */
	unsigned queue_size;            /* entries at most, when the device does not say otherwise; 0: 256 */
	size_t address;                 /* offset of struct address in its config; 0: none */
	size_t driver;                  /* offset of VIRTIO_MEMBERS in its config; 0: none */
	size_t space;                   /* offset of its config registers in its struct, as the guest sees them; 0: none */
	unsigned space_len;
	bool polls;                     /* a busy loop may look at its queues before it sleeps */
	/* Main. Opens what it needs and says what it is by virtio_set_queues and ->offered. May be NULL for one queue. */
	bool (*realize)(struct virtio *, struct fdset *, GError **err);
	void (*unrealize)(struct virtio *);     /* queues do not run any more */
	/* On the queue's loop: there is something in it, or it has just been started. */
	void (*ready)(struct virtio *, struct virtq *);
	/* Main, queues do not run: end what is in flight (of one queue, or NULL: of all), by completing it. done_begin for each
	 * part; may take long. NULL: never has anything in flight between two calls. */
	void (*drain)(struct virtio *, struct virtq *, struct done *);
	void (*resumed)(struct virtio *);       /* Main, after pause or drain of everything: go on. May be NULL */
	/* dev->lock held; queues do not run, nothing is in flight. As after power-on. May be NULL */
	void (*reset)(struct virtio *);
	/* The same, after it, when the machine is reset and not only the device by its driver. May be NULL */
	void (*power_on)(struct virtio *);
	/* dev->lock held: the guest wrote its config registers; true: taken. NULL: they are read-only */
	bool (*write)(struct virtio *, unsigned offset, unsigned size, uint32_t value);
	bool (*accept)(struct virtio *, uint64_t features);     /* do these go together? NULL: any do */
	void (*hold)(struct virtio *, bool on, struct done *);  /* main: pause of back ends; done NULL when it is over. May be NULL */
	bool (*update)(struct virtio *, const void *config, GError **err);
	void (*pre_save)(struct virtio *);
	bool (*post_load)(struct virtio *, GError **err);
};

/* One queue, between registers and loop. */
struct virtio_queue {
	struct virtq q;                 /* the loop's; .arg: the device */
	struct loop *loop;
	struct loop_fd kick;            /* the guest's notifications: .fd is what the accelerator writes */
	struct loop_poll poll;
	bool polled;                    /* the loop polls at present; its thread */
	struct queue_post *post;
	uint16_t size_max;              /* what the guest is offered */
	/* registers: dev->lock */
	uint16_t size, vector;          /* vector: atomic too */
	bool enabled, resetting;
	uint64_t desc, driver, device;
	bool kick_on;                   /* the accelerator watches */
	uint64_t kick_at;
	int stopping;                   /* atomic: gives nothing any more */
	uint64_t kicks;                 /* atomic: for statistics */
};

struct virtio {
	struct pci_device head;         /* .dev, .pci */
	const struct virtio_ops *ops;
	struct virtio_queue *queues;
	unsigned queues_n;
	uint64_t offered;               /* features; set before the end of realize */
	/* registers: dev->lock */
	uint64_t accepted;              /* fixed at FEATURES_OK; read by loops afterwards */
	uint32_t offered_select, accepted_select;
	uint16_t config_vector, queue_select;
	uint8_t status, generation;
	uint8_t isr;
	uint32_t access_offset, access_len;     /* the window in config space */
	uint8_t access_bar;
	bool resetting;                 /* the guest's reset is under way */
	int active;                     /* atomic: DRIVER_OK and no reset under way: queues run */
	int held;                       /* atomic: paused */
	int mute;                       /* atomic: may not reach memory */
	int broken;                     /* atomic */
	struct virtio_self *self;       /* what posts hold */
	struct done *pause_waits;       /* main */
	uint32_t notify_step;           /* bytes between queues' notification addresses */
	unsigned access_cap;
	GPtrArray *saved_queues;        /* while saved */
};

static inline struct virtio *virtio_of(struct device *d) { return (struct virtio *)d; }
static inline struct virtio *virtio_of_queue(const struct virtq *q) { return q->arg; }
static inline bool virtio_has(const struct virtio *v, uint64_t feature) { return v->accepted & feature; }

/* --- for devices --- */
/* How many queues, of at most how many entries, on which loop; once, in realize. */
bool virtio_set_queues(struct virtio *, unsigned n, unsigned size, struct loop *, GError **err);
/* Those of one queue, in realize. */
void virtio_queue_loop(struct virtio *, unsigned queue, struct loop *);
bool virtio_queue_size(struct virtio *, unsigned queue, unsigned size, GError **err);   /* at most so many entries; 0: as it is */
/* The config registers changed: dev->lock held. */
void virtio_changed(struct virtio *);
/* The guest broke the rules: NEEDS_RESET. Not with dev->lock held. */
void virtio_break(struct virtio *, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
void virtio_kick(struct virtio *, unsigned queue);      /* .ready soon, if it runs; any thread */
bool virtio_runs(struct virtio *, const struct virtq *);        /* the queue's loop: is it started and not held? */

/* --- what VIRTIO_DEVICE is made of --- */
bool virtio_realize(struct virtio *, const struct virtio_ops *, struct fdset *, GError **err);
void virtio_unrealize(struct device *);
void virtio_reset(struct device *);
void virtio_pause(struct device *, struct done *);
void virtio_resume(struct device *);
bool virtio_update(struct device *, const void *config, GError **err);
void virtio_pre_save(void *obj);
bool virtio_post_load(void *obj, GError **err);
extern const struct schema virtq_state_schema;

/* Rows of the state of T, whose member m is the struct virtio. */
#define VIRTIO_STATE_ROWS(T, m) \
	PCI_STATE_ROWS(T, m.head.pci), \
	U8(T, m.status, NULL, 0, 0xff, 0, "device status", .name = "status"), \
	U64(T, m.accepted, NULL, 0, UINT64_MAX, 0, "features the driver accepted", .name = "features"), \
	U32(T, m.offered_select, NULL, 0, UINT32_MAX, 0, "which of the device's features are shown", .name = "device_feature_select"), \
	U32(T, m.accepted_select, NULL, 0, UINT32_MAX, 0, "which of the driver's features are shown", .name = "driver_feature_select"), \
	U16(T, m.config_vector, NULL, 0, UINT16_MAX, 0, "MSI-X vector of changes; 65535: none", .name = "config_vector", \
		.def = VIRTIO_NO_VECTOR), \
	U16(T, m.queue_select, NULL, 0, UINT16_MAX, 0, "which queue's registers are shown", .name = "queue_select"), \
	U8(T, m.generation, NULL, 0, 0xff, 0, "generation of the config registers", .name = "generation"), \
	U8(T, m.isr, NULL, 0, 3, 0, "interrupt status", .name = "isr"), \
	U8(T, m.access_bar, NULL, 0, 0xff, 0, "window: BAR", .name = "window_bar"), \
	U32(T, m.access_offset, NULL, 0, UINT32_MAX, 0, "window: offset", .name = "window_offset"), \
	U32(T, m.access_len, NULL, 0, UINT32_MAX, 0, "window: length", .name = "window_len"), \
	LIST(T, m.saved_queues, NULL, virtq_state_schema, VIRTIO_QUEUES_MAX, 0, "queues", .name = "queues")

/*
 * The device type of struct T with first member `virtio`, ops `vops` and rows of own state in the macro argument:
 * VIRTIO_DEVICE(virtio_rng, struct rng, &ops, &config_schema, "…", ROW, ROW …) defines virtio_rng_ops.
 */
#define VIRTIO_DEVICE(ident, type, T, vops, config_schema, text, ...) \
	static const struct field ident##_state_fields[] = { VIRTIO_STATE_ROWS(T, virtio), ##__VA_ARGS__, END }; \
	static const struct schema ident##_state = { .name = type, .doc = text, .version = 1, .size = sizeof(T), \
		.fields = ident##_state_fields, .pre_save = virtio_pre_save, .post_load = virtio_post_load }; \
	static bool ident##_realize(struct device *d, struct fdset *fds, GError **err) \
	{ \
		return virtio_realize(virtio_of(d), vops, fds, err); \
	} \
	const struct device_ops ident##_ops = { .name = type, .doc = text, .size = sizeof(T), .config = config_schema, \
		.state = &ident##_state, .realize = ident##_realize, .unrealize = virtio_unrealize, .reset = virtio_reset, \
		.pause = virtio_pause, .resume = virtio_resume, .update = virtio_update }

/* --- between virtio.c, virtio_state.c and virtio_pci.c --- */
static inline int virtio_flag(const int *f) { return __atomic_load_n(f, __ATOMIC_SEQ_CST); }
static inline void virtio_set_flag(int *f, int value) { __atomic_store_n(f, value, __ATOMIC_SEQ_CST); }
struct virtq_setup virtio_queue_setup(const struct virtio *, const struct virtio_queue *);       /* lock */
void virtio_kick_all(struct virtio *);
void virtio_free_saved(struct virtio *);
bool virtio_pci_init(struct virtio *, GError **err);
void virtio_pci_kicks(struct virtio *, bool on);        /* lock: (un)watches the notification addresses of enabled queues */
void virtio_pci_kick(struct virtio *, struct virtio_queue *);   /* lock: the same for one, by its state */
void virtio_write_status(struct virtio *, uint8_t status);      /* the rest: lock held */
void virtio_write_features(struct virtio *, uint32_t value);
void virtio_enable_queue(struct virtio *, struct virtio_queue *);
void virtio_reset_queue(struct virtio *, struct virtio_queue *);
void virtio_request_reset(struct virtio *);
void virtio_may_reach_memory(struct virtio *, bool on);
