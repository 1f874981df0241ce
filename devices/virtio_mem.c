/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-mem (virtio 1.2, 5.15): a region of address space above RAM, of which the guest uses blocks, as many as it is asked to. The guest
 * says which: it plugs blocks while it has fewer than `requested_size`, and unplugs while it has more. What it unplugs goes back to the
 * host at once: a hole in the memory's file.
 *
 * The whole region is mapped from the beginning, so plugging costs nothing but a bit. A guest that touches blocks it has not
 * plugged harms nobody: it finds zeroes, and takes at most the region's size from the host, which is what the operator allowed
 * it. Drivers must promise not to (UNPLUGGED_INACCESSIBLE), because on shared memory reading takes pages too.
 *
 * The machine's reset unplugs everything; a driver's reset of the device nothing, as the standard wants.
 */
#include "devices/virtio_mem.h"

#include <string.h>
#include <sys/mman.h>

#include "devices/list.h"
#include "devices/virtio.h"
#include "domain/error.h"
#include "domain/machine.h"
#include "domain/memdev.h"
#include "hv/accel.h"

#define F_ACPI_PXM (1ull << 0)
#define F_UNPLUGGED_INACCESSIBLE (1ull << 1)
#define BLOCK_MIN (1ull << 20)
#define BLOCKS_MAX (1u << 20)           /* 128 KiB of bits: larger devices need larger blocks */
#define ALIGN (1ull << 30)              /* Linux plugs pieces of 128 MiB up to 2 GiB, aligned ones best */
#define EXTENT (256ull << 20)           /* usable beyond what is requested: two pieces of Linux, so that it may choose */
#define BITS (8 * sizeof(long))

enum { REQ_PLUG, REQ_UNPLUG, REQ_UNPLUG_ALL, REQ_STATE };
enum { RESP_ACK, RESP_NACK, RESP_BUSY, RESP_ERROR };
enum { STATE_PLUGGED, STATE_UNPLUGGED, STATE_MIXED };

/* All little endian, as this machine. */
struct request {
	uint16_t type, pad[3];
	uint64_t addr;
	uint16_t blocks, pad2[3];
};
struct response {
	uint16_t type, pad[3], state;
};
#define RESPONSE_BYTES 10
struct mem_space {
	uint64_t block_size;
	uint16_t node, pad[3];
	uint64_t addr, region_size, usable, plugged, requested;
};
G_STATIC_ASSERT(sizeof(struct request) == 24 && sizeof(struct response) == RESPONSE_BYTES && sizeof(struct mem_space) == 56);

struct mem_device {
	struct virtio virtio;
	int piece;                      /* of struct ram; -1: none */
	uint8_t *host;
	uint64_t blocks;
	unsigned long *bits;            /* a bit per plugged block. Written on the loop with the lock held, or while nothing runs */
	void (*watch)(void *, struct device *); /* main */
	void *watch_arg;
	struct change_post *change;
	GByteArray *saved;              /* bits, while saved */

	/* state; the guest's registers: lock */
	struct mem_space space;
};

/* A word to main that outlives the device. */
struct change_post {
	struct mem_device *m;           /* NULL: gone; main */
	int refs, queued;               /* atomic */
};

static struct mem_device *mem_of(struct virtio *v)
{
	return (struct mem_device *)v;
}

static GMutex *lock_of(struct mem_device *m)
{
	return &m->virtio.head.dev.lock;
}

/* --- blocks --- */

static bool is_plugged(const struct mem_device *m, uint64_t block)
{
	return m->bits[block / BITS] >> block % BITS & 1;
}

/* How many of n blocks are plugged. */
static uint64_t count(const struct mem_device *m, uint64_t first, uint64_t n)
{
	uint64_t found = 0;

	for (uint64_t i = first; i < first + n; i++)
		found += is_plugged(m, i);
	return found;
}

static void set(struct mem_device *m, uint64_t first, uint64_t n, bool on)
{
	for (uint64_t i = first; i < first + n; i++)
		if (on)
			m->bits[i / BITS] |= 1ul << i % BITS;
		else
			m->bits[i / BITS] &= ~(1ul << i % BITS);
}

/* The blocks' memory goes back to the host. */
static bool discard(struct mem_device *m, uint64_t first, uint64_t n)
{
	struct ram *ram = &m->virtio.head.dev.vm->ram;
	uint64_t at = first * m->space.block_size, len = n * m->space.block_size;

	if (madvise(m->host + at, len, ram_discard_advice(ram)))
		return false;
	ram_mark(ram, m->space.addr + at, len);
	return true;
}

/* Linux looks for room where it likes; the usable part shrinks only when nothing is plugged. */
static void fit_usable(struct mem_device *m, bool may_shrink)
{
	uint64_t most = m->space.region_size, wanted = m->space.requested;

	if (wanted)
		wanted = most - wanted > EXTENT ? wanted + EXTENT : most;
	wanted = MIN(most, (wanted + m->space.block_size - 1) / m->space.block_size * m->space.block_size);
	if (wanted > m->space.usable || may_shrink)
		m->space.usable = wanted;
}

/* --- word to main --- */

static void change_unref(struct change_post *p)
{
	if (g_atomic_int_dec_and_test(&p->refs))
		g_free(p);
}

static gboolean tell_change(gpointer arg)
{
	struct change_post *p = arg;
	struct mem_device *m = p->m;

	__atomic_store_n(&p->queued, 0, __ATOMIC_SEQ_CST);
	if (m && m->watch)
		m->watch(m->watch_arg, &m->virtio.head.dev);
	change_unref(p);
	return G_SOURCE_REMOVE;
}

/* dev->lock held. */
static void post_change(struct mem_device *m)
{
	if (!m->watch || __atomic_exchange_n(&m->change->queued, 1, __ATOMIC_SEQ_CST))
		return;
	g_atomic_int_inc(&m->change->refs);
	g_idle_add(tell_change, m->change);
}

/* --- requests: on the loop, which alone changes bits while queues run --- */

static bool range_ok(const struct mem_device *m, const struct request *r, uint64_t usable, uint64_t *first)
{
	uint64_t at = r->addr - m->space.addr, block = m->space.block_size;

	if (r->addr < m->space.addr || at % block || !r->blocks || at >= usable || r->blocks > (usable - at) / block)
		return false;
	*first = at / block;
	return true;
}

static uint16_t plug(struct mem_device *m, uint64_t first, uint16_t n)
{
	uint64_t bytes = n * m->space.block_size;
	uint16_t answer = RESP_ACK;

	g_mutex_lock(lock_of(m));
	if (count(m, first, n)) {
		answer = RESP_ERROR;
	} else if (m->space.requested < m->space.plugged || m->space.requested - m->space.plugged < bytes) {
		answer = RESP_NACK;
	} else {
		set(m, first, n, true);
		m->space.plugged += bytes;
		post_change(m);
	}
	g_mutex_unlock(lock_of(m));
	return answer;
}

static uint16_t unplug(struct mem_device *m, uint64_t first, uint16_t n)
{
	if (count(m, first, n) != n)
		return RESP_ERROR;
	if (!discard(m, first, n))
		return RESP_BUSY;
	g_mutex_lock(lock_of(m));
	set(m, first, n, false);
	m->space.plugged -= n * m->space.block_size;
	post_change(m);
	g_mutex_unlock(lock_of(m));
	return RESP_ACK;
}

static uint16_t unplug_all(struct mem_device *m)
{
	if (!discard(m, 0, m->blocks))
		return RESP_BUSY;
	g_mutex_lock(lock_of(m));
	set(m, 0, m->blocks, false);
	if (m->space.plugged)
		post_change(m);
	m->space.plugged = 0;
	fit_usable(m, true);
	g_mutex_unlock(lock_of(m));
	return RESP_ACK;
}

static void answer(struct mem_device *m, const struct request *r, struct response *out)
{
	uint64_t first, usable, n;

	g_mutex_lock(lock_of(m));
	usable = m->space.usable;
	g_mutex_unlock(lock_of(m));
	if (r->type == REQ_UNPLUG_ALL) {
		out->type = unplug_all(m);
		return;
	}
	if (r->type > REQ_STATE || !range_ok(m, r, usable, &first)) {
		guest_error(&m->virtio.head.dev, "request %u for %u blocks at 0x%" G_GINT64_MODIFIER "x", r->type, r->blocks, r->addr);
		out->type = RESP_ERROR;
		return;
	}
	if (r->type == REQ_PLUG) {
		out->type = plug(m, first, r->blocks);
	} else if (r->type == REQ_UNPLUG) {
		out->type = unplug(m, first, r->blocks);
	} else {
		n = count(m, first, r->blocks);
		out->state = n == r->blocks ? STATE_PLUGGED : n ? STATE_MIXED : STATE_UNPLUGGED;
	}
}

static void mem_ready(struct virtio *v, struct virtq *q)
{
	struct mem_device *m = mem_of(v);
	struct chain c;

	while (virtq_pop(q, &c)) {
		struct request r = { 0 };
		struct response out = { 0 };

		if (chain_read(&c, &r, sizeof(r)) != sizeof(r)) {
			virtq_push(q, &c, 0);
			virtio_break(v, "a request shorter than %zu bytes", sizeof(r));
			return;
		}
		answer(m, &r, &out);
		if (chain_write(&c, &out, sizeof(out)) != sizeof(out)) {
			virtq_push(q, &c, 0);
			virtio_break(v, "a request with less than %u bytes for the answer", RESPONSE_BYTES);
			return;
		}
		virtq_push(q, &c, sizeof(out));
	}
}

/* --- for others --- */

void virtio_mem_info(struct device *d, struct virtio_mem_info *out)
{
	struct mem_device *m = (struct mem_device *)d;

	g_mutex_lock(&d->lock);
	*out = (struct virtio_mem_info){ .addr = m->space.addr, .size = m->space.region_size, .block = m->space.block_size, .requested = m->space.requested,
		.plugged = m->space.plugged, .node = m->space.node, .driver = m->virtio.status & VIRTIO_DRIVER_OK };
	g_mutex_unlock(&d->lock);
}

bool virtio_mem_request(struct device *d, uint64_t bytes, GError **err)
{
	struct mem_device *m = (struct mem_device *)d;

	if (bytes % m->space.block_size || bytes > m->space.region_size)
		return kerr_set(err, KERR_ARGS, "it has %" G_GUINT64_FORMAT " KiB in blocks of %" G_GUINT64_FORMAT " KiB: %" G_GUINT64_FORMAT
			" bytes can't be asked for", m->space.region_size >> 10, m->space.block_size >> 10, bytes);
	g_mutex_lock(&d->lock);
	if (m->space.requested != bytes) {
		m->space.requested = bytes;
		fit_usable(m, false);
		virtio_changed(&m->virtio);
	}
	g_mutex_unlock(&d->lock);
	return true;
}

void virtio_mem_set_watch(struct device *d, void (*fn)(void *, struct device *), void *arg)
{
	struct mem_device *m = (struct mem_device *)d;

	g_mutex_lock(&d->lock);
	m->watch = fn;
	m->watch_arg = arg;
	g_mutex_unlock(&d->lock);
}

bool virtio_mem_is_hole(struct device *d, uint64_t gpa, uint64_t end, uint64_t *to)
{
	struct mem_device *m = (struct mem_device *)d;
	uint64_t at = gpa - m->space.addr, block;
	bool hole;

	*to = end;
	if (gpa < m->space.addr || at >= m->space.region_size)
		return false;
	block = at / m->space.block_size;
	hole = !is_plugged(m, block);
	while (++block < m->blocks && !is_plugged(m, block) == hole)
		;
	*to = MIN(end, m->space.addr + block * m->space.block_size);
	return hole;
}

/* --- lifecycle --- */

static bool mem_realize(struct virtio *v, struct fdset *fds, GError **err)
{
	struct mem_device *m = mem_of(v);
	const struct memdev *config = v->head.dev.config;
	const struct memdev_target *t = &config->target;
	struct vm *vm = v->head.dev.vm;
	uint64_t block = t->block ? t->block : 2ull << 20;
	g_autofree char *own = g_strdup_printf("memory:%s", config->alias ? config->alias : "");
	const struct ram_piece *p;
	int rc, fd = -1;

	m->piece = -1;
	if (config->model != MEMDEV_VIRTIO_MEM || block < BLOCK_MIN || (block & (block - 1)) || !t->size || t->size % block || t->requested > t->size || t->requested % block)
		return kerr_set(err, KERR_ARGS, "virtio-mem of %" G_GUINT64_FORMAT " KiB in blocks of %" G_GUINT64_FORMAT " KiB is not possible",
			t->size >> 10, block >> 10);
	if (t->size / block > BLOCKS_MAX)
		return kerr_set(err, KERR_LIMIT, "virtio-mem of %" G_GUINT64_FORMAT " KiB has more than %u blocks of %" G_GUINT64_FORMAT " KiB: write a larger <block>",
			t->size >> 10, BLOCKS_MAX, block >> 10);
	if (fds && fdset_has(fds, own))         /* it comes while the machine runs */
		fd = fdset_take(fds, own, NULL);
	m->piece = ram_add(&vm->ram, t->size, MAX(ALIGN, block), fd, err);
	if (m->piece < 0)
		return false;
	vm->ram.pieces[m->piece].node = t->node == UINT32_MAX ? 0 : t->node;
	p = &vm->ram.pieces[m->piece];
	rc = vm->accel->map(vm, &(struct slot){ .id = (unsigned)m->piece, .gpa = p->gpa, .size = p->size, .host = p->host });
	if (rc < 0)
		return kerr_errno(err, -rc, "give the guest room for memory at 0x%" G_GINT64_MODIFIER "x", p->gpa);
	m->host = p->host;
	m->blocks = t->size / block;
	m->bits = g_new0(unsigned long, m->blocks / BITS + 1);
	m->change = g_new0(struct change_post, 1);
	*m->change = (struct change_post){ .m = m, .refs = 1 };
	m->space = (struct mem_space){ .block_size = block, .node = t->node <= UINT16_MAX ? (uint16_t)t->node : 0, .addr = p->gpa, .region_size = t->size,
		.requested = t->requested };
	v->offered |= F_UNPLUGGED_INACCESSIBLE;
	if (vm->def && list_len(vm->def->cpu.cells))
		v->offered |= F_ACPI_PXM;
	return virtio_set_queues(v, 1, 0, vm->loops[0], err);
}

static void mem_unrealize(struct virtio *v)
{
	struct mem_device *m = mem_of(v);
	struct vm *vm = v->head.dev.vm;

	if (m->piece >= 0) {
		(void)vm->accel->map(vm, &(struct slot){ .id = (unsigned)m->piece });   /* size 0: it goes */
		ram_remove(&vm->ram, m->piece);
	}
	m->piece = -1;
	g_clear_pointer(&m->bits, g_free);
	g_clear_pointer(&m->saved, g_byte_array_unref);
	if (m->change) {
		m->change->m = NULL;
		change_unref(m->change);
	}
	m->change = NULL;
}

static bool mem_accept(struct virtio *v, uint64_t features)
{
	return features & F_UNPLUGGED_INACCESSIBLE;
}

/* The machine begins anew: nothing is plugged, and what was goes back. dev->lock held. */
static void mem_power_on(struct virtio *v)
{
	struct mem_device *m = mem_of(v);
	const struct memdev *config = v->head.dev.config;

	if (m->space.plugged) {
		(void)discard(m, 0, m->blocks); /* what could not be is the guest's own from before */
		post_change(m);
	}
	set(m, 0, m->blocks, false);
	m->space.plugged = 0;
	m->space.usable = 0;
	if (config)
		m->space.requested = config->target.requested;
	fit_usable(m, true);
}

static bool mem_update(struct virtio *v, const void *config, GError **err)
{
	return virtio_mem_request(&v->head.dev, ((const struct memdev *)config)->target.requested, err);
}

static void mem_pre_save(struct virtio *v)
{
	struct mem_device *m = mem_of(v);

	g_clear_pointer(&m->saved, g_byte_array_unref);
	if (!m->space.plugged)
		return;
	m->saved = g_byte_array_new();
	g_byte_array_append(m->saved, (const guint8 *)m->bits, (guint)((m->blocks + 7) / 8));
}

static bool mem_post_load(struct virtio *v, GError **err)
{
	struct mem_device *m = mem_of(v);
	const struct mem_space *s = &m->space;
	g_autoptr(GByteArray) saved = g_steal_pointer(&m->saved);

	set(m, 0, m->blocks, false);
	if (s->usable > s->region_size || s->usable % s->block_size || s->requested > s->region_size || s->requested % s->block_size ||
	    (saved && saved->len != (m->blocks + 7) / 8))
		return kerr_set(err, KERR_STATE_DATA, "virtio-mem: sizes that do not fit a device of %" G_GUINT64_FORMAT " KiB", s->region_size >> 10);
	if (saved && m->blocks % 8 && saved->data[saved->len - 1] >> m->blocks % 8)
		return kerr_set(err, KERR_STATE_DATA, "virtio-mem: more blocks than there are");
	if (saved)
		memcpy(m->bits, saved->data, saved->len);
	m->space.plugged = count(m, 0, m->blocks) * s->block_size;
	if (count(m, s->usable / s->block_size, m->blocks - s->usable / s->block_size))
		return kerr_set(err, KERR_STATE_DATA, "virtio-mem: blocks outside of the usable part");
	return true;
}

static const struct virtio_ops ops = {
	.name = "mem",
	.id = 24,
	.class = 0x00ff00,
	.queue_size = 128,
	.address = offsetof(struct memdev, address),
	.space = offsetof(struct mem_device, space),
	.space_len = sizeof(struct mem_space),
	.realize = mem_realize,
	.unrealize = mem_unrealize,
	.ready = mem_ready,
	.accept = mem_accept,
	.power_on = mem_power_on,
	.update = mem_update,
	.pre_save = mem_pre_save,
	.post_load = mem_post_load,
};

VIRTIO_DEVICE(virtio_mem, "virtio-mem", struct mem_device, &ops, &memdev_schema, "memory that grows and shrinks",
	U64(struct mem_device, space.requested, NULL, 0, UINT64_MAX, 0, "bytes the guest is to use", .name = "requested"),
	U64(struct mem_device, space.usable, NULL, 0, UINT64_MAX, 0, "bytes in which it may choose blocks", .name = "usable"),
	BYTES(struct mem_device, saved, NULL, BLOCKS_MAX / 8, 0, "a bit for each block it uses", .name = "plugged"));
