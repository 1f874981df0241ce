/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Virtqueues against a driver of our own: every kind of ring with every feature, requests of random shape finished in random
 * order, saved and loaded in mid-request; then guests that break each rule, and random ones.
 */
#include <string.h>

#include "devices/virtq.h"
#include "domain/error.h"
#include "domain/state.h"
#include "tests/fake/virtio_driver.h"

#define RAM (1u << 20)
#define HELD 24

struct rig {
	struct ram ram;
	struct virtq q;
	struct vring r;
	unsigned interrupts, breaks;
	const char *why;
	struct chain held[HELD];
	bool busy[HELD];
	GRand *rand;
};

static void on_interrupt(struct virtq *q)
{
	((struct rig *)q->arg)->interrupts++;
}

static void on_broken(struct virtq *q, const char *why)
{
	struct rig *g = q->arg;

	g->breaks++;
	g->why = why;
}

static void queue_make(struct rig *g)
{
	g->q = (struct virtq){ .ram = &g->ram, .interrupt = on_interrupt, .broken = on_broken, .arg = g };
	virtq_init(&g->q);
}

static struct virtq_setup setup_of(const struct vring *r)
{
	return (struct virtq_setup){ .size = (uint16_t)r->size, .packed = r->packed, .indirect = r->indirect,
		.event_idx = r->event_idx, .desc = r->desc, .driver = r->driver, .device = r->device };
}

static void rig_make(struct rig *g, unsigned size, bool packed, bool indirect, bool event_idx)
{
	memset(g, 0, sizeof(*g));
	g_assert_true(ram_init_anon(&g->ram, RAM, NULL));
	g->ram.dirty = g_new0(unsigned long, RAM / 4096 / (8 * sizeof(long)));
	queue_make(g);
	vring_init(&g->r, &g->ram, size, packed, indirect, event_idx, 4096);
	g_assert_true(virtq_start(&g->q, &(struct virtq_setup){ .size = (uint16_t)size, .packed = packed, .indirect = indirect,
		.event_idx = event_idx, .desc = g->r.desc, .driver = g->r.driver, .device = g->r.device }));
	g->rand = g_rand_new_with_seed(size * 8 + packed * 4 + indirect * 2 + event_idx);
}

static void rig_clear(struct rig *g)
{
	virtq_finish(&g->q);
	for (unsigned i = 0; i < HELD; i++)
		if (g->busy[i])
			virtq_push(&g->q, &g->held[i], 0);
	g_clear_pointer(&g->ram.dirty, g_free);
	ram_finish(&g->ram);
	g_rand_free(g->rand);
}

/* One request of the driver: what it wrote, and where the answer has to be. */
struct request {
	unsigned out, in;
	struct vseg seg[VRING_SEGS];
	uint32_t out_len, in_len;
	uint64_t area;
	uint8_t seed;
};

#define AREA 2048u
static struct request *request_make(struct rig *g, unsigned area)
{
	struct request *q = g_new0(struct request, 1);
	uint64_t at = 0x80000 + (uint64_t)area * AREA;
	unsigned n = (unsigned)g_rand_int_range(g->rand, 1, MIN(VRING_SEGS, g->r.size) + 1);

	q->area = area;
	q->out = (unsigned)g_rand_int_range(g->rand, 0, (gint32)n + 1);
	q->in = n - q->out;
	q->seed = (uint8_t)g_rand_int(g->rand);
	for (unsigned i = 0; i < n; i++) {
		uint32_t len = (uint32_t)g_rand_int_range(g->rand, 1, AREA / VRING_SEGS + 1);

		q->seg[i] = (struct vseg){ at, len };
		at += len;
		if (i < q->out) {
			for (uint32_t k = 0; k < len; k++) {
				uint8_t b = (uint8_t)(q->seed + q->out_len + k);

				g_assert_true(ram_write(&g->ram, q->seg[i].addr + k, &b, 1));
			}
			q->out_len += len;
		} else {
			q->in_len += len;
		}
	}
	return q;
}

/* The device answers with the sum of what it read, then counts on; in pieces of any size. */
static void serve(struct rig *g, struct chain *c)
{
	uint8_t buf[64], sum = 0, first = 0;
	size_t n;
	uint64_t place = 0, most = chain_room(c);
	bool any = false;

	while ((n = chain_read(c, buf, (size_t)g_rand_int_range(g->rand, 1, sizeof(buf)))) > 0) {
		if (!any)
			first = buf[0];
		any = true;
		for (size_t i = 0; i < n; i++) {
			g_assert_cmpuint(buf[i], ==, (uint8_t)(first + place + i));
			sum = (uint8_t)(sum + buf[i]);
		}
		place += n;
	}
	g_assert_cmpuint(place, ==, c->out_len);
	while (chain_room(c)) {
		size_t want = (size_t)g_rand_int_range(g->rand, 1, sizeof(buf));

		for (size_t i = 0; i < want; i++)
			buf[i] = (uint8_t)(sum + c->written + i);
		g_assert_cmpuint(chain_write(c, buf, want), >, 0);
	}
	g_assert_cmpuint(c->written, ==, most);
}

static void check_answer(struct rig *g, struct request *q, uint32_t len)
{
	uint8_t sum = 0, b;
	uint32_t at = 0;

	g_assert_cmpuint(len, ==, q->in_len);
	for (uint32_t i = 0; i < q->out_len; i++)
		sum = (uint8_t)(sum + q->seed + i);
	for (unsigned s = q->out; s < q->out + q->in; s++)
		for (uint32_t k = 0; k < q->seg[s].len; k++, at++) {
			g_assert_true(ram_read(&g->ram, q->seg[s].addr + k, &b, 1));
			g_assert_cmpuint(b, ==, (uint8_t)(sum + at));
		}
}

/* The state through its schema into a queue made anew over the same memory. */
static void move(struct rig *g)
{
	struct virtq_state *s = schema_new(&virtq_state_schema), *to = schema_new(&virtq_state_schema);
	GByteArray *bytes = g_byte_array_new();
	const uint8_t *p;
	size_t n;
	GError *err = NULL;
	struct virtq_setup setup = setup_of(&g->r);

	virtq_save(&g->q, s);
	state_save(&virtq_state_schema, s, bytes);
	schema_free(&virtq_state_schema, s);
	virtq_finish(&g->q);
	for (unsigned i = 0; i < HELD; i++)
		if (g->busy[i]) {
			virtq_push(&g->q, &g->held[i], 0);      /* an orphan */
			g->busy[i] = false;
		}
	queue_make(g);
	g_assert_true(virtq_start(&g->q, &setup));
	p = bytes->data;
	n = bytes->len;
	g_assert_true(state_load(&virtq_state_schema, to, &p, &n, &err));
	g_assert_no_error(err);
	g_assert_true(virtq_load(&g->q, to, &err));
	g_assert_no_error(err);
	schema_free(&virtq_state_schema, to);
	g_byte_array_unref(bytes);
}

static void device_turn(struct rig *g, bool *kicked)
{
	unsigned todo = (unsigned)g_rand_int_range(g->rand, 0, 12);

	while (*kicked) {
		unsigned i;

		for (i = 0; i < HELD && g->busy[i]; i++)
			;
		if (i == HELD)
			break;
		if (!virtq_pop(&g->q, &g->held[i])) {
			*kicked = false;
			break;
		}
		g->busy[i] = true;
		if (!g_rand_int_range(g->rand, 0, 20)) {
			virtq_unpop(&g->q, &g->held[i]);
			g->busy[i] = false;
			break;
		}
	}
	for (; todo; todo--) {
		unsigned i = (unsigned)g_rand_int_range(g->rand, 0, HELD);

		if (!g->busy[i])
			continue;
		serve(g, &g->held[i]);
		(g_rand_boolean(g->rand) ? virtq_push_hidden : virtq_push)(&g->q, &g->held[i], g->held[i].written);
		g->busy[i] = false;
	}
	virtq_signal(&g->q);
}

static void run(unsigned size, bool packed, bool indirect, bool event_idx)
{
	struct rig *g = g_new(struct rig, 1);
	bool area_taken[256] = { false }, kicked = false;
	unsigned waiting = 0, finished = 0, idle = 0;

	rig_make(g, size, packed, indirect, event_idx);
	for (unsigned turn = 0; finished < 3000; turn++) {
		unsigned want = finished < 2900 ? (unsigned)g_rand_int_range(g->rand, 0, 6) : 0, seen = g->interrupts;
		struct request *q;
		uint32_t len;

		for (; want; want--) {
			unsigned area;

			for (area = 0; area < 200 && area_taken[area]; area++)
				;
			if (area == 200)
				break;
			q = request_make(g, area);
			if (!vring_add(&g->r, q->seg, q->out, q->in, q)) {
				g_free(q);
				break;
			}
			area_taken[area] = true;
			waiting++;
		}
		kicked |= vring_wants_kick(&g->r);
		if (!g_rand_int_range(g->rand, 0, 50)) {
			move(g);
			kicked = true;
		}
		device_turn(g, &kicked);
		/* a driver that only looks after interrupts must not starve */
		if (event_idx && g->interrupts == seen && ++idle < 200)
			continue;
		idle = 0;
		while ((q = vring_take(&g->r, &len))) {
			check_answer(g, q, len);
			area_taken[q->area] = false;
			g_free(q);
			waiting--;
			finished++;
		}
		g_assert_cmpuint(g->breaks, ==, 0);
		if (finished >= 2900 && !waiting)
			break;
		g_assert_cmpuint(turn, <, 200000);
	}
	g_assert_cmpuint(waiting, ==, 0);
	rig_clear(g);
	g_free(g);
}

static void test_all_kinds(void)
{
	static const unsigned sizes[] = { 1, 2, 8, 64, 256 };

	for (unsigned i = 0; i < G_N_ELEMENTS(sizes); i++)
		for (unsigned kind = 0; kind < 8; kind++)
			run(sizes[i], kind & 4, kind & 2, kind & 1);
	run(3, true, false, true);
	run(100, true, true, true);
}

/* --- suppression --- */

static void test_events(void)
{
	for (unsigned kind = 0; kind < 4; kind++) {
		struct rig *g = g_new(struct rig, 1);
		struct vseg s = { 0x80000, 64 };
		struct chain c;
		uint32_t len;
		int token;

		rig_make(g, 16, kind & 2, false, kind & 1);
		g_assert_false(virtq_pop(&g->q, &c));
		g_assert_true(vring_add(&g->r, &s, 1, 0, &token));
		g_assert_true(vring_wants_kick(&g->r));
		g_assert_true(virtq_pop(&g->q, &c));
		/* while it is worked on, no kicks */
		g_assert_true(vring_add(&g->r, &s, 1, 0, &token));
		g_assert_false(vring_wants_kick(&g->r));
		virtq_push(&g->q, &c, 0);
		virtq_signal(&g->q);
		g_assert_cmpuint(g->interrupts, ==, 1);
		g_assert_true(virtq_pop(&g->q, &c));
		virtq_push(&g->q, &c, 0);
		g_assert_false(virtq_pop(&g->q, &c));
		virtq_signal(&g->q);
		virtq_signal(&g->q);
		/* with EVENT_IDX the driver asked for the first only */
		g_assert_cmpuint(g->interrupts, ==, kind & 1 && !(kind & 2) ? 1 : 2);
		while (vring_take(&g->r, &len))
			;
		if (!(kind & 1)) {
			vring_interrupts(&g->r, false);
			g->interrupts = 0;
			g_assert_true(vring_add(&g->r, &s, 1, 0, &token));
			g_assert_true(vring_wants_kick(&g->r));
			g_assert_true(virtq_pop(&g->q, &c));
			virtq_push(&g->q, &c, 0);
			virtq_signal(&g->q);
			g_assert_cmpuint(g->interrupts, ==, 0);
		}
		/* polled: an empty ring wants no kick, until that ends */
		g_assert_false(virtq_pop(&g->q, &c));
		virtq_set_polled(&g->q, true);
		g_assert_false(virtq_waits(&g->q));
		for (unsigned i = 0; i < 2; i++) {
			g_assert_true(vring_add(&g->r, &s, 1, 0, &token));
			if (vring_wants_kick(&g->r))    /* what EVENT_IDX said before stands for one more */
				g_assert_true(!i && kind & 1);
			g_assert_true(virtq_waits(&g->q));
			g_assert_true(virtq_pop(&g->q, &c));
			virtq_push(&g->q, &c, 0);
			g_assert_false(virtq_pop(&g->q, &c));
		}
		g_assert_true(vring_add(&g->r, &s, 1, 0, &token));
		g_assert_false(vring_wants_kick(&g->r));
		g_assert_true(virtq_pop(&g->q, &c));
		virtq_push(&g->q, &c, 0);
		virtq_set_polled(&g->q, false);
		g_assert_true(vring_add(&g->r, &s, 1, 0, &token));
		g_assert_true(vring_wants_kick(&g->r));
		rig_clear(g);
		g_free(g);
	}
}

/* Hidden ones are seen all at once: when they are shown, with the next one that is not hidden, or at the end of a batch. */
static void test_hidden(void)
{
	for (unsigned kind = 0; kind < 4; kind++) {
		struct rig *g = g_new(struct rig, 1);
		struct vseg s = { 0x80000, 64 };
		struct chain c[6];
		uint32_t len;
		int token;

		rig_make(g, 8, kind & 2, false, kind & 1);
		for (unsigned round = 0; round < 5; round++) {  /* and around the ring's end */
			for (unsigned i = 0; i < G_N_ELEMENTS(c); i++) {
				g_assert_true(vring_add(&g->r, &s, 0, 1, &token));
				g_assert_true(virtq_pop(&g->q, &c[i]));
			}
			for (unsigned i = 0; i < G_N_ELEMENTS(c); i += 2) {
				virtq_push_hidden(&g->q, &c[i], 10 + i);
				g_assert_null(vring_take(&g->r, &len));
				if (i == 2)
					virtq_push(&g->q, &c[i + 1], 11 + i);
				else
					virtq_push_hidden(&g->q, &c[i + 1], 11 + i);
				if (i != 2)
					g_assert_null(vring_take(&g->r, &len));
				if (i == 0)
					virtq_show(&g->q);
				else if (i == 4)
					virtq_signal(&g->q);
				for (unsigned k = 0; k < 2; k++) {
					g_assert_true(vring_take(&g->r, &len) == &token);
					g_assert_cmpuint(len, ==, 10 + i + k);
				}
				g_assert_null(vring_take(&g->r, &len));
			}
		}
		g_assert_cmpuint(g->breaks, ==, 0);
		rig_clear(g);
		g_free(g);
	}
}

/* --- dirty marks --- */

static bool dirty(struct rig *g, uint64_t gpa)
{
	return g->ram.dirty[gpa / 4096 / (8 * sizeof(long))] >> gpa / 4096 % (8 * sizeof(long)) & 1;
}

static void test_dirty(void)
{
	for (unsigned packed = 0; packed < 2; packed++) {
		struct rig *g = g_new(struct rig, 1);
		struct vseg s[] = { { 0x80000, 512 }, { 0x90000, 512 }, { 0xa0000, 512 } };
		struct chain c;
		int token;

		rig_make(g, 16, packed, false, false);
		g_assert_true(vring_add(&g->r, s, 1, 2, &token));
		memset(g->ram.dirty, 0, RAM / 4096 / 8);
		g_assert_true(virtq_pop(&g->q, &c));
		/* as zero copy I/O does: the pages are written, only the length is told */
		virtq_push(&g->q, &c, 512);
		g_assert_false(dirty(g, 0x80000));
		g_assert_true(dirty(g, 0x90000));
		g_assert_false(dirty(g, 0xa0000));
		g_assert_true(dirty(g, packed ? g->r.desc : g->r.device));
		rig_clear(g);
		g_free(g);
	}
}

/* --- guests that break the rules --- */

static void put_desc(struct rig *g, unsigned i, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
	struct { uint64_t addr; uint32_t len; uint16_t a, b; } d = { addr, len, g->r.packed ? next : flags,
		g->r.packed ? flags : next };

	g_assert_true(ram_write(&g->ram, g->r.desc + 16 * i, &d, 16));
}

static void offer(struct rig *g, uint16_t head, uint16_t index)
{
	g_assert_true(ram_write(&g->ram, g->r.driver + 4, &head, 2));
	g_assert_true(ram_write(&g->ram, g->r.driver + 2, &index, 2));
}

static void expect_broken(struct rig *g, const char *why)
{
	struct chain c;

	g_assert_false(virtq_pop(&g->q, &c));
	g_assert_cmpuint(g->breaks, ==, 1);
	g_assert_cmpstr(g->why, ==, why);
	g_assert_false(virtq_pop(&g->q, &c));
	g_assert_false(virtq_has(&g->q));
	virtq_signal(&g->q);
	g_assert_cmpuint(g->interrupts, ==, 0);
	rig_clear(g);
}

static void test_rules_split(void)
{
	struct rig *g = g_new(struct rig, 1);
	static const uint8_t table[64];

	rig_make(g, 16, false, true, false);
	offer(g, 0, 17);
	expect_broken(g, "the available index jumped");
	rig_make(g, 16, false, true, false);
	offer(g, 16, 1);
	expect_broken(g, "a descriptor leads out of the ring");
	rig_make(g, 16, false, true, false);
	put_desc(g, 0, 0x80000, 16, 1, 77);
	offer(g, 0, 1);
	expect_broken(g, "a descriptor leads out of the ring");
	rig_make(g, 16, false, true, false);
	put_desc(g, 0, 0x80000, 16, 1, 1);
	put_desc(g, 1, 0x80000, 16, 1, 0);
	offer(g, 0, 1);
	expect_broken(g, "the descriptors of a chain form a loop");
	rig_make(g, 16, false, true, false);
	put_desc(g, 0, RAM - 8, 16, 0, 0);
	offer(g, 0, 1);
	expect_broken(g, "a buffer is not in RAM");
	rig_make(g, 16, false, true, false);
	put_desc(g, 0, UINT64_MAX - 7, 16, 0, 0);
	offer(g, 0, 1);
	expect_broken(g, "a buffer is not in RAM");
	rig_make(g, 16, false, true, false);
	put_desc(g, 0, 0, UINT32_MAX, 0, 0);
	offer(g, 0, 1);
	expect_broken(g, "a buffer is not in RAM");
	rig_make(g, 16, false, true, false);
	put_desc(g, 0, 0x80000, 16, 3, 1);
	put_desc(g, 1, 0x80000, 16, 0, 0);
	offer(g, 0, 1);
	expect_broken(g, "a readable descriptor follows a writable one");
	rig_make(g, 16, false, false, false);
	put_desc(g, 0, 0x80000, 16, 4, 0);
	offer(g, 0, 1);
	expect_broken(g, "an indirect descriptor was not negotiated");
	rig_make(g, 16, false, true, false);
	put_desc(g, 0, 0x80000, 17, 4, 0);
	offer(g, 0, 1);
	expect_broken(g, "impossible size of an indirect table");
	rig_make(g, 16, false, true, false);
	put_desc(g, 0, 0x80000, 16 * 1025, 4, 0);
	offer(g, 0, 1);
	expect_broken(g, "impossible size of an indirect table");
	rig_make(g, 16, false, true, false);
	put_desc(g, 0, RAM - 16, 32, 4, 0);
	offer(g, 0, 1);
	expect_broken(g, "an indirect table is not in RAM");
	rig_make(g, 16, false, true, false);
	put_desc(g, 0, 0x80000, 32, 5, 1);
	offer(g, 0, 1);
	expect_broken(g, "an indirect descriptor has a next one");
	rig_make(g, 16, false, true, false);
	g_assert_true(ram_write(&g->ram, 0x80000, &(uint16_t[]){ 0, 0, 0, 0, 0, 0, 4, 0 }, 16));
	put_desc(g, 0, 0x80000, 16, 4, 0);
	offer(g, 0, 1);
	expect_broken(g, "an indirect table in an indirect table");
	rig_make(g, 16, false, true, false);
	g_assert_true(ram_write(&g->ram, 0x80000, &(uint16_t[]){ 0, 0, 0, 0, 0, 0, 1, 9 }, 16));
	put_desc(g, 0, 0x80000, 32, 4, 0);
	offer(g, 0, 1);
	expect_broken(g, "a descriptor leads out of its table");
	rig_make(g, 16, false, true, false);
	g_assert_true(ram_write(&g->ram, 0x80000, &(uint16_t[]){ 0, 0, 0, 0, 0, 0, 1, 0 }, 16));
	put_desc(g, 0, 0x80000, 32, 4, 0);
	offer(g, 0, 1);
	expect_broken(g, "the descriptors of a chain form a loop");
	(void)table;
	g_free(g);
}

static void test_rules_packed(void)
{
	struct rig *g = g_new(struct rig, 1);

	rig_make(g, 4, true, true, false);
	for (unsigned i = 0; i < 4; i++)
		put_desc(g, i, 0x80000, 16, 0x81, 0);
	expect_broken(g, "a chain is longer than its ring");
	rig_make(g, 4, true, true, false);
	put_desc(g, 0, RAM, 1, 0x80, 0);
	expect_broken(g, "a buffer is not in RAM");
	rig_make(g, 4, true, true, false);
	put_desc(g, 0, 0x80000, 8, 0x84, 0);
	expect_broken(g, "impossible size of an indirect table");
	g_free(g);
}

/* Places of rings that cannot be. */
static void test_places(void)
{
	struct rig *g = g_new(struct rig, 1);
	static const struct { uint64_t desc, driver, device; uint16_t size; bool packed; } bad[] = {
		{ RAM, 4096, 8192, 16, false }, { 4096, RAM - 8, 8192, 16, false }, { 4096, 8192, UINT64_MAX & ~3ull, 16, false },
		{ 4097, 8192, 12288, 16, false }, { 4096, 8193, 12288, 16, false }, { 4096, 8192, 12290, 16, false },
		{ 4096, 8192, 12288, 0, false }, { 4096, 8192, 12288, 3, false }, { 4096, 8192, 12288, 2048, false },
		{ RAM - 16, 8192, 12288, 2, true }, { 4096, 8194, 12288, 4, true },
	};

	rig_make(g, 16, false, false, false);
	for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
		struct chain c;

		g->breaks = 0;
		g_assert_false(virtq_start(&g->q, &(struct virtq_setup){ .size = bad[i].size, .packed = bad[i].packed,
			.desc = bad[i].desc, .driver = bad[i].driver, .device = bad[i].device }));
		g_assert_cmpuint(g->breaks, ==, 1);
		g_assert_false(virtq_pop(&g->q, &c));
	}
	rig_clear(g);
	g_free(g);
}

/* More requests than entries: the same head again and again. */
static void test_too_many(void)
{
	struct rig *g = g_new(struct rig, 1);
	struct chain c[9];
	unsigned n = 0;

	rig_make(g, 8, false, false, false);
	put_desc(g, 0, 0x80000, 16, 0, 0);
	for (uint16_t index = 1; n < 9; index++) {
		uint16_t head = 0;

		g_assert_true(ram_write(&g->ram, g->r.driver + 4 + 2 * ((index - 1) % 8), &head, 2));
		g_assert_true(ram_write(&g->ram, g->r.driver + 2, &index, 2));
		if (!virtq_pop(&g->q, &c[n]))
			break;
		n++;
	}
	g_assert_cmpuint(n, ==, 8);
	g_assert_cmpstr(g->why, ==, "more chains than the queue has entries");
	virtq_stop(&g->q);
	for (unsigned i = 0; i < n; i++) {
		g_assert_null(c[i].q);
		virtq_push(&g->q, &c[i], 16);
	}
	rig_clear(g);
	g_free(g);
}

/* Random bytes where the ring is, now and then a legal beginning. Whatever comes, nothing outside RAM is touched. */
static void test_random(void)
{
	unsigned rounds = g_getenv("KVMD_LONG") ? 1000000 : 100000;
	struct rig *g = g_new(struct rig, 1);

	for (unsigned kind = 0; kind < 8; kind++) {
		rig_make(g, 16, kind & 4, kind & 2, kind & 1);
		for (unsigned i = 0; i < rounds / 8; i++) {
			struct virtq_setup setup = setup_of(&g->r);
			uint64_t at = g->r.desc + (uint64_t)g_rand_int_range(g->rand, 0, 16 * 16 + 200) / 2 * 2;
			uint64_t v = g_rand_int_range(g->rand, 0, 3) ? (uint64_t)g_rand_int_range(g->rand, 0, 256) :
				(uint64_t)g_rand_int(g->rand) << g_rand_int_range(g->rand, 0, 32);
			struct chain c;

			if (!g_rand_int_range(g->rand, 0, 4))
				v = (uint64_t)g_rand_int_range(g->rand, 0, 2) << 63 | 0x80000;
			g_assert_true(ram_write(&g->ram, at, &v, (uint64_t)1 << g_rand_int_range(g->rand, 0, 4)));
			if (!g_rand_int_range(g->rand, 0, 3)) {
				uint16_t index = (uint16_t)(g->q.avail + 1);

				ram_write(&g->ram, g->r.packed ? g->r.desc + 16ull * g->q.avail + 14 : g->r.driver + 2,
					g->r.packed ? &(uint16_t){ g->q.avail_wrap ? 0x80 : 0x8000 } : &index, 2);
			}
			if (virtq_pop(&g->q, &c)) {
				uint8_t buf[256];

				(void)chain_read(&c, buf, sizeof(buf));
				(void)chain_write(&c, buf, sizeof(buf));
				virtq_push(&g->q, &c, c.written);
				virtq_signal(&g->q);
			}
			if (g->breaks) {
				g->breaks = 0;
				g_assert_true(virtq_start(&g->q, &setup));
			}
		}
		rig_clear(g);
	}
	g_free(g);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/virtq/all-kinds", test_all_kinds);
	g_test_add_func("/virtq/events", test_events);
	g_test_add_func("/virtq/hidden", test_hidden);
	g_test_add_func("/virtq/dirty", test_dirty);
	g_test_add_func("/virtq/rules-split", test_rules_split);
	g_test_add_func("/virtq/rules-packed", test_rules_packed);
	g_test_add_func("/virtq/places", test_places);
	g_test_add_func("/virtq/too-many", test_too_many);
	g_test_add_func("/virtq/random", test_random);
	return g_test_run();
}
