/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Virtqueues, the device's side.
 *
 * While a queue is worked on, kicks are off: the driver is told not to notify. When it runs empty they go on again and the
 * ring is looked at once more, for the driver may have added something before it saw that. Pushing publishes each used
 * entry at once, unless it is asked to wait; the interrupt is decided by virtq_signal, once per batch.
 *
 * The two rings differ in four functions (peek, take, push, and what to say about kicks); walking a chain is common to
 * both: direct entries, of which the last may be an indirect table. They share a file, because what must hold for one must
 * hold for the other.
 */
#include "devices/virtq.h"

#include <string.h>


#define DESC_NEXT 1u
#define DESC_WRITE 2u
#define DESC_INDIRECT 4u
#define DESC_AVAIL (1u << 7)            /* packed */
#define DESC_USED (1u << 15)
#define AVAIL_NO_INTERRUPT 1u           /* split */
#define USED_NO_NOTIFY 1u
#define EVENT_ENABLE 0u                 /* packed */
#define EVENT_DISABLE 1u
#define EVENT_DESC 2u
#define LEN_MAX UINT32_MAX

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;           /* as in a split ring; packed: id, flags */
};
struct packed_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t id, flags;
};
G_STATIC_ASSERT(sizeof(struct desc) == 16 && sizeof(struct packed_desc) == 16);

/* What walking a chain collects. */
struct walk {
	struct virtq *q;
	const char *why;                /* set: the chain is nonsense */
	unsigned out_n, in_n;
	uint64_t out_len, in_len;
	struct iovec seg[VIRTQ_SEGMENTS_MAX];
};

static uint16_t load16(const uint8_t *at)
{
	return __atomic_load_n((const uint16_t *)(const void *)at, __ATOMIC_ACQUIRE);
}

static void store16(struct virtq *q, uint8_t *at, uint64_t gpa, uint16_t v)
{
	__atomic_store_n((uint16_t *)(void *)at, v, __ATOMIC_RELEASE);
	ram_mark(q->ram, gpa, 2);
}

static void break_it(struct virtq *q, const char *why)
{
	if (q->is_broken)
		return;
	q->is_broken = true;
	q->broken(q, why);
}

/* --- lifecycle --- */

void virtq_init(struct virtq *q)
{
	q->list.next = q->list.prev = &q->list;
}

static void forget_again(struct virtq *q)
{
	for (unsigned i = 0; q->again && i < q->again->len; i++)
		schema_free(&virtq_saved_schema, q->again->pdata[i]);
	if (q->again)
		g_ptr_array_unref(q->again);
	q->again = NULL;
	q->again_at = 0;
}

void virtq_stop(struct virtq *q)
{
	while (q->list.next && q->list.next != &q->list) {
		struct chain *c = q->list.next;

		q->list.next = c->next;
		c->next->prev = &q->list;
		c->next = c->prev = NULL;
		c->q = NULL;
	}
	forget_again(q);
	q->popped = 0;
	q->started = q->is_broken = false;
	q->desc = q->driver = q->device = NULL;
}

void virtq_finish(struct virtq *q)
{
	virtq_stop(q);
}

static uint64_t driver_len(const struct virtq_setup *s)
{
	return s->packed ? 4 : 6 + 2ull * s->size;
}

static uint64_t device_len(const struct virtq_setup *s)
{
	return s->packed ? 4 : 6 + 8ull * s->size;
}

bool virtq_start(struct virtq *q, const struct virtq_setup *s)
{
	virtq_stop(q);
	q->set = *s;
	q->avail = q->seen = q->used = q->unsignalled = 0;
	q->avail_wrap = q->used_wrap = true;
	q->kicks_off = q->signalled_any = q->polled = q->hidden = false;
	if (!s->size || s->size > VIRTQ_SIZE_MAX || (!s->packed && s->size & (s->size - 1))) {
		break_it(q, "impossible queue size");
		return false;
	}
	if (s->desc % 16 || s->driver % (s->packed ? 4 : 2) || s->device % 4) {
		break_it(q, "a queue area is not aligned");
		return false;
	}
	q->desc = ram_host(q->ram, s->desc, 16ull * s->size);
	q->driver = ram_host(q->ram, s->driver, driver_len(s));
	q->device = ram_host(q->ram, s->device, device_len(s));
	if (!q->desc || !q->driver || !q->device) {
		break_it(q, "a queue area is not in RAM");
		return false;
	}
	q->started = true;
	return true;
}

/* --- kicks --- */

static void say_kicks(struct virtq *q, bool on)
{
	const struct virtq_setup *s = &q->set;

	q->kicks_off = !on;
	if (s->packed) {
		if (on && s->event_idx)
			store16(q, q->device, s->device, (uint16_t)(q->avail | (q->avail_wrap ? 0x8000u : 0)));
		store16(q, q->device + 2, s->device + 2, (uint16_t)(!on ? EVENT_DISABLE : s->event_idx ? EVENT_DESC : EVENT_ENABLE));
	} else if (!s->event_idx) {
		store16(q, q->device, s->device, (uint16_t)(on ? 0 : USED_NO_NOTIFY));
	} else if (on) {
		uint64_t at = 4 + 8ull * s->size;

		store16(q, q->device + at, s->device + at, q->avail);
	}
}

/* --- is there something? --- */

/*
 * Entries that wait; a split ring knows how many, a packed one whether. Breaks the queue when the driver lies. A split ring's
 * index is read again only when all that it told of is taken: the driver's processor writes it all the time, and each look
 * takes that line from it.
 */
static unsigned waiting(struct virtq *q)
{
	uint16_t n, flags;

	if (q->set.packed) {
		flags = load16(q->desc + 16ull * q->avail + 14);
		return !(flags & DESC_AVAIL) != q->avail_wrap && !(flags & DESC_USED) == q->avail_wrap;
	}
	n = (uint16_t)(q->seen - q->avail);
	if (n)
		return n;
	q->seen = load16(q->driver + 2);
	n = (uint16_t)(q->seen - q->avail);
	if (n <= q->set.size)
		return n;
	q->seen = q->avail;
	break_it(q, "the available index jumped");
	return 0;
}

static bool is_open(const struct virtq *q)
{
	return q->started && !q->is_broken;
}

bool virtq_has(struct virtq *q)
{
	if (!is_open(q))
		return false;
	if (q->again || waiting(q))
		return true;
	if (q->is_broken || q->polled)
		return false;
	say_kicks(q, true);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);        /* what is said before what is looked at */
	return waiting(q) != 0;
}

bool virtq_waits(struct virtq *q)
{
	return is_open(q) && (q->again || waiting(q));
}

void virtq_set_polled(struct virtq *q, bool on)
{
	q->polled = on && is_open(q);
	if (q->polled && !q->kicks_off)
		say_kicks(q, false);
	else if (!on)
		(void)virtq_has(q);     /* kicks are on when it finds nothing */
}

/* --- walking a chain --- */

static bool add_segment(struct walk *w, uint64_t addr, uint32_t len, bool write)
{
	uint64_t *total = write ? &w->in_len : &w->out_len;
	void *host;

	if (!len)
		return true;
	if (w->out_n + w->in_n == VIRTQ_SEGMENTS_MAX)
		w->why = "a chain has too many descriptors";
	else if (!write && w->in_n)
		w->why = "a readable descriptor follows a writable one";
	else if (*total + len > LEN_MAX)
		w->why = "a chain is longer than 4 GiB";
	if (w->why)
		return false;
	host = ram_host(w->q->ram, addr, len);
	if (!host) {
		w->why = "a buffer is not in RAM";
		return false;
	}
	*total += len;
	w->seg[w->out_n + w->in_n] = (struct iovec){ host, len };
	if (write)
		w->in_n++;
	else
		w->out_n++;
	return true;
}

static bool walk_indirect(struct walk *w, uint64_t addr, uint32_t len)
{
	const struct virtq *q = w->q;
	unsigned n = len / 16, i = 0;
	const uint8_t *table;

	if (!q->set.indirect)
		w->why = "an indirect descriptor was not negotiated";
	else if (len % 16 || !n || n > VIRTQ_SEGMENTS_MAX)
		w->why = "impossible size of an indirect table";
	if (w->why)
		return false;
	table = ram_host(q->ram, addr, len);
	if (!table) {
		w->why = "an indirect table is not in RAM";
		return false;
	}
	for (unsigned steps = 0; steps < n; steps++) {
		struct desc d;
		uint16_t flags;

		memcpy(&d, table + 16ull * i, sizeof(d));
		flags = q->set.packed ? d.next : d.flags;       /* packed: that is where flags are */
		if (flags & DESC_INDIRECT) {
			w->why = "an indirect table in an indirect table";
			return false;
		}
		if (!add_segment(w, d.addr, d.len, flags & DESC_WRITE))
			return false;
		if (!q->set.packed && !(flags & DESC_NEXT))
			return true;
		i = q->set.packed ? i + 1 : d.next;
		if (i >= n && !q->set.packed) {
			w->why = "a descriptor leads out of its table";
			return false;
		}
	}
	if (!q->set.packed)
		w->why = "the descriptors of a chain form a loop";
	return !w->why;
}

/* One direct entry. true: the walk goes on with the next. */
static bool walk_direct(struct walk *w, uint64_t addr, uint32_t len, uint16_t flags)
{
	if (!(flags & DESC_INDIRECT))
		return add_segment(w, addr, len, flags & DESC_WRITE) && flags & DESC_NEXT;
	if (flags & DESC_NEXT)
		w->why = "an indirect descriptor has a next one";
	else
		(void)walk_indirect(w, addr, len);
	return false;
}

static void take_split(struct virtq *q, struct walk *w, struct chain *c)
{
	unsigned mask = q->set.size - 1u, steps = 0;
	uint16_t i = load16(q->driver + 4 + 2ull * (q->avail & mask));
	struct desc d;

	c->id = i;
	c->count = 1;
	do {
		if (i >= q->set.size)
			w->why = "a descriptor leads out of the ring";
		else if (steps++ == q->set.size)
			w->why = "the descriptors of a chain form a loop";
		if (w->why)
			return;
		memcpy(&d, q->desc + 16ull * i, sizeof(d));
		i = d.next;
	} while (walk_direct(w, d.addr, d.len, d.flags));
	if (!w->why)
		q->avail++;
}

static void take_packed(struct virtq *q, struct walk *w, struct chain *c)
{
	uint16_t at = q->avail, n = 0;
	bool wrap = q->avail_wrap;
	struct packed_desc d;

	do {
		if (n++ == q->set.size) {
			w->why = "a chain is longer than its ring";
			return;
		}
		memcpy(&d, q->desc + 16ull * at, sizeof(d));
		if (++at == q->set.size) {
			at = 0;
			wrap = !wrap;
		}
	} while (walk_direct(w, d.addr, d.len, d.flags));
	if (w->why)
		return;
	c->id = d.id;
	c->count = n;
	q->avail = at;
	q->avail_wrap = wrap;
}

/* --- chains --- */

static void chain_fill(struct virtq *q, struct chain *c, const struct walk *w)
{
	unsigned n = w->out_n + w->in_n;

	c->q = q;
	c->out_n = w->out_n;
	c->in_n = w->in_n;
	c->out_len = w->out_len;
	c->in_len = w->in_len;
	c->read = c->written = 0;
	c->out_at = c->in_at = 0;
	c->out_off = c->in_off = 0;
	c->more = n > VIRTQ_FEW ? g_new(struct iovec, n) : NULL;
	for (struct iovec *v = chain_iov(c), *end = v + n; v < end; v++)        /* not memcpy: it would wait for the stores it reads */
		*v = w->seg[v - chain_iov(c)];
	c->prev = q->list.prev;
	c->next = &q->list;
	c->prev->next = c;
	q->list.prev = c;
	q->popped++;
}

static bool add_saved(struct walk *w, const GByteArray *bytes, bool write)
{
	for (unsigned i = 0; bytes && i + 12 <= bytes->len; i += 12) {
		uint64_t addr;
		uint32_t len;

		memcpy(&addr, bytes->data + i, 8);
		memcpy(&len, bytes->data + i + 8, 4);
		if (!add_segment(w, GUINT64_FROM_BE(addr), GUINT32_FROM_BE(len), write))
			return false;
	}
	return true;
}

/* The next of the chains that were outstanding when the state was saved. */
static bool pop_again(struct virtq *q, struct chain *c)
{
	struct walk w;
	const struct virtq_saved *s = q->again->pdata[q->again_at];

	w.q = q;
	w.why = NULL;
	w.out_n = w.in_n = 0;
	w.out_len = w.in_len = 0;
	c->id = s->id;
	c->count = s->count;
	if (!add_saved(&w, s->out, false) || !add_saved(&w, s->in, true)) {
		break_it(q, w.why);
		return false;
	}
	chain_fill(q, c, &w);
	if (++q->again_at == q->again->len)
		forget_again(q);
	return true;
}

bool virtq_pop(struct virtq *q, struct chain *c)
{
	struct walk w;

	if (!virtq_has(q))
		return false;
	if (q->again)
		return pop_again(q, c);
	if (q->popped >= q->set.size) {
		break_it(q, "more chains than the queue has entries");
		return false;
	}
	if (!q->kicks_off)
		say_kicks(q, false);
	w.q = q;
	w.why = NULL;
	w.out_n = w.in_n = 0;
	w.out_len = w.in_len = 0;
	if (q->set.packed)
		take_packed(q, &w, c);
	else
		take_split(q, &w, c);
	if (w.why) {
		break_it(q, w.why);
		return false;
	}
	chain_fill(q, c, &w);
	return true;
}

size_t chain_read(struct chain *c, void *to, size_t n)
{
	const struct iovec *v = chain_iov(c);
	size_t done = 0;

	while (done < n && c->out_at < c->out_n) {
		size_t part = MIN(n - done, v[c->out_at].iov_len - c->out_off);

		memcpy((uint8_t *)to + done, (const uint8_t *)v[c->out_at].iov_base + c->out_off, part);
		done += part;
		c->out_off += part;
		if (c->out_off == v[c->out_at].iov_len) {
			c->out_at++;
			c->out_off = 0;
		}
	}
	c->read += done;
	return done;
}

uint64_t virtq_gpa(const struct ram *ram, const void *host)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(ram->pieces); i++) {
		const struct ram_piece *p = &ram->pieces[i];
		/* regions stay where they are also when they have gone */
		const uint8_t *base = p->base ? p->base : p->host;
		uintptr_t at = (uintptr_t)host - (uintptr_t)base;

		if (base && (uintptr_t)host >= (uintptr_t)base && at < MAX(p->size, p->room))
			return p->gpa + at;
	}
	g_assert_not_reached();
}

static void mark(struct ram *ram, const void *host, size_t n)
{
	if (__atomic_load_n(&ram->dirty, __ATOMIC_RELAXED) && n)
		ram_mark(ram, virtq_gpa(ram, host), n);
}

size_t chain_write(struct chain *c, const void *from, size_t n)
{
	const struct iovec *v = chain_in(c);
	size_t done = 0;

	if (!c->q)
		return 0;       /* an orphan: its buffers are the guest's own again */
	while (done < n && c->in_at < c->in_n) {
		size_t part = MIN(n - done, v[c->in_at].iov_len - c->in_off);
		uint8_t *at = (uint8_t *)v[c->in_at].iov_base + c->in_off;

		memcpy(at, (const uint8_t *)from + done, part);
		mark(c->q->ram, at, part);
		done += part;
		c->in_off += part;
		if (c->in_off == v[c->in_at].iov_len) {
			c->in_at++;
			c->in_off = 0;
		}
	}
	c->written += done;
	return done;
}

/* --- giving back --- */

static void push_split(struct virtq *q, const struct chain *c, uint32_t len)
{
	uint64_t at = 4 + 8ull * (q->used & (q->set.size - 1u));
	uint32_t entry[2] = { c->id, len };

	memcpy(q->device + at, entry, sizeof(entry));
	ram_mark(q->ram, q->set.device + at, sizeof(entry));
	q->used++;
	q->unsignalled++;
	q->hidden = true;
}

static void push_packed(struct virtq *q, const struct chain *c, uint32_t len)
{
	uint64_t at = 16ull * q->used;
	uint16_t flags = (uint16_t)((q->used_wrap ? DESC_AVAIL | DESC_USED : 0) | (len ? DESC_WRITE : 0));

	memcpy(q->desc + at + 8, &len, 4);
	memcpy(q->desc + at + 12, &c->id, 2);
	ram_mark(q->ram, q->set.desc + at, 16);
	if (!q->hidden) {       /* the driver looks at this one first: when it is there, so are those behind it */
		q->hidden = true;
		q->hidden_at = q->used;
		q->hidden_flags = flags;
	} else {
		store16(q, q->desc + at + 14, q->set.desc + at + 14, flags);
	}
	q->unsignalled = (uint16_t)(q->unsignalled + c->count);
	q->used = (uint16_t)(q->used + c->count);
	if (q->used >= q->set.size) {
		q->used = (uint16_t)(q->used - q->set.size);
		q->used_wrap = !q->used_wrap;
	}
}

static void mark_written(struct virtq *q, struct chain *c, uint64_t len)
{
	const struct iovec *v = chain_in(c);

	for (unsigned i = 0; i < c->in_n && len; i++) {
		size_t part = (size_t)MIN(len, v[i].iov_len);

		mark(q->ram, v[i].iov_base, part);
		len -= part;
	}
}

void virtq_unlink(struct virtq *q, struct chain *c)
{
	c->prev->next = c->next;
	c->next->prev = c->prev;
	c->next = c->prev = NULL;
	q->popped--;
}

void virtq_show(struct virtq *q)
{
	uint64_t at = 16ull * q->hidden_at + 14;

	if (!q->hidden || !is_open(q))
		return;
	q->hidden = false;
	if (q->set.packed)
		store16(q, q->desc + at, q->set.desc + at, q->hidden_flags);
	else
		store16(q, q->device + 2, q->set.device + 2, q->used);
}

void virtq_push_hidden(struct virtq *q, struct chain *c, uint64_t len)
{
	if (c->q) {
		g_assert(c->q == q && q->popped);
		len = MIN(len, c->in_len);
		mark_written(q, c, len);
		virtq_unlink(q, c);
		if (is_open(q)) {
			if (q->set.packed)
				push_packed(q, c, (uint32_t)len);
			else
				push_split(q, c, (uint32_t)len);
		}
	}
	c->q = NULL;
	g_clear_pointer(&c->more, g_free);
}

void virtq_push(struct virtq *q, struct chain *c, uint64_t len)
{
	bool mine = c->q;       /* an orphan: the queue may be somebody else's now */

	virtq_push_hidden(q, c, len);
	if (mine)
		virtq_show(q);
}

/* Is `event` among the n entries before `now`? */
static bool passed(uint16_t event, uint16_t now, uint16_t n)
{
	return (uint16_t)(now - event - 1) < n;
}

static bool wants_split(struct virtq *q, uint16_t n)
{
	if (!q->set.event_idx)
		return !(load16(q->driver) & AVAIL_NO_INTERRUPT);
	return passed(load16(q->driver + 4 + 2ull * q->set.size), q->used, n);
}

static bool wants_packed(struct virtq *q, uint16_t n)
{
	uint32_t event;
	uint16_t flags, at;

	event = __atomic_load_n((const uint32_t *)(const void *)q->driver, __ATOMIC_ACQUIRE);
	flags = (uint16_t)(event >> 16 & 3);
	at = (uint16_t)(event & 0x7fff);
	if (flags != EVENT_DESC || !q->set.event_idx)
		return flags != EVENT_DISABLE;
	if ((event >> 15 & 1) != q->used_wrap)
		at = (uint16_t)(at - q->set.size);
	return passed(at, q->used, n);
}

void virtq_signal(struct virtq *q)
{
	uint16_t n = q->unsignalled;
	bool wanted;

	if (!is_open(q) || !n)
		return;
	virtq_show(q);
	q->unsignalled = 0;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);        /* the used entries before what the driver says */
	wanted = q->set.packed ? wants_packed(q, n) : wants_split(q, n);
	if (wanted || !q->signalled_any)        /* after a start or load an extra one does no harm, a missing one does */
		q->interrupt(q);
	q->signalled_any = true;
}
