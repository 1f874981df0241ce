/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2 on a disk that fails: the same script of requests runs again and again, each time another call to the file fails
 * (for good or once, torn or not). The request concerned fails cleanly, nothing hangs, what succeeded is there, and
 * qemu-img finds no damage (leaks are fine). KVMD_LONG=1 fails every call, else a part of them.
 */
#include <errno.h>
#include <string.h>

#include "block_rig.h"
#include "domain/disk.h"

#define OPS 90u
#define DEPTH 4u

struct setup {
	const char *name;
	uint32_t cluster;
	unsigned refcount_bits;
	bool lazy, backing;
	uint64_t size;
};
static const struct setup setups[] = {
	{ "4k", 4096, 16, false, false, 512 << 10 },
	{ "512-refs64-backing", 512, 64, false, true, 128 << 10 },
	{ "64k-backing", 65536, 16, false, true, 1 << 20 },
	{ "1k-lazy", 1024, 16, true, false, 128 << 10 },
};
static const struct fault {
	const char *name;
	unsigned ops;
	int error;
	uint64_t times;
	bool torn;
} faults[] = {
	{ "EIO once",
		1u << BLOCK_WRITE | 1u << BLOCK_ZERO | 1u << BLOCK_FLUSH | 1u << BLOCK_READ |
			1u << BLOCK_DISCARD,
		-EIO, 1, false },
	{ "ENOSPC, torn, 20 times", 1u << BLOCK_WRITE | 1u << BLOCK_ZERO, -ENOSPC, 20, true },
	{ "EIO for flushes, 5 times", 1u << BLOCK_FLUSH, -EIO, 5, false },
};

struct test;
struct slot {
	struct test *test;
	struct block_req req;
	struct iovec iov;
	bool busy;
	uint8_t value;
};
struct test {
	struct rig rig;
	const struct setup *setup;
	struct block_fault fault;
	struct block *block;
	GRand *rand;
	struct slot slots[DEPTH];
	unsigned busy, failed;
	uint64_t size;
	uint8_t *model, *unsure;        /* per byte */
};

static unsigned pick(struct test *t, unsigned below)
{
	return (unsigned)g_rand_int_range(t->rand, 0, (gint32)below);
}

static void done(struct block_req *r, int64_t result)
{
	struct slot *s = r->arg;
	struct test *t = s->test;
	bool data = r->op == BLOCK_WRITE || r->op == BLOCK_ZERO;

	if (result < 0) {
		g_assert_true(result == -EIO || result == -ENOSPC);
		t->failed++;
	}
	if (r->op == BLOCK_RESIZE && result >= 0)
		t->size = r->offset;
	if (data && result >= 0) {
		memset(t->model + r->offset, s->value, r->bytes);
		memset(t->unsure + r->offset, 0, r->bytes);
	} else if (data || r->op == BLOCK_DISCARD) {
		memset(t->unsure + r->offset, 1, r->bytes);
	} else if (r->op == BLOCK_READ && result >= 0) {
		for (uint64_t i = 0; i < r->bytes; i++)
			g_assert_true(t->unsure[r->offset + i] ||
				      ((uint8_t *)s->iov.iov_base)[i] == t->model[r->offset + i]);
	}
	g_free(s->iov.iov_base);
	s->iov.iov_base = NULL;
	s->busy = false;
	t->busy--;
}

static void begin(struct test *t, struct slot *s, unsigned i)
{
	unsigned dice = pick(t, 100);
	enum block_op op = dice < 45   ? BLOCK_WRITE
			   : dice < 55 ? BLOCK_READ
			   : dice < 67 ? BLOCK_ZERO
			   : dice < 80 ? BLOCK_DISCARD
			   : dice < 98 ? BLOCK_FLUSH
				       : BLOCK_RESIZE;
	uint64_t off = pick(t, (unsigned)(t->setup->size / 512)) * 512u,
		 len = 512u * (1 + pick(t, 3 * t->setup->cluster / 512 + 3));

	if (pick(t, 3) == 0)
		off &= ~(uint64_t)(t->setup->cluster - 1);
	len = MIN(len, t->setup->size - off);
	for (unsigned k = 0; k < DEPTH; k++)
		if (t->slots[k].busy &&
			(op == BLOCK_RESIZE ||
				(off < t->slots[k].req.offset + t->slots[k].req.bytes &&
					t->slots[k].req.offset < off + len)))
			op = BLOCK_FLUSH;
	s->busy = true;
	t->busy++;
	s->value = op == BLOCK_WRITE ? (uint8_t)(i % 250 + 1) : 0;
	s->req = (struct block_req){ .op = op, .offset = off, .bytes = len, .done = done, .arg = s,
		.flags = op == BLOCK_ZERO && pick(t, 2) ? BLOCK_UNMAP : 0 };
	if (op == BLOCK_FLUSH || op == BLOCK_RESIZE)
		s->req.bytes = 0,
		s->req.offset = op == BLOCK_RESIZE
					? t->size + 512 * (1 + pick(t, 2 * t->setup->cluster / 512))
					: 0;
	if (op == BLOCK_WRITE || op == BLOCK_READ) {
		s->iov = (struct iovec){ g_malloc(len), len };
		memset(s->iov.iov_base, s->value, len);
		s->req.iov = &s->iov;
		s->req.iov_n = 1;
	}
	block_submit(t->block, &s->req);
}

/* Runs the script; number of calls that could have failed. */
static uint64_t run_script(struct test *t, const struct fault *f, uint64_t nth,
	const uint8_t *start, uint64_t start_n, const uint8_t *backing)
{
	struct block_mem_config mem = {
		.size = start_n, .max = 1 << 30, .data = start, .data_n = start_n
	};
	struct block_mem_config base = {
		.size = t->setup->size, .data = backing, .data_n = t->setup->size
	};
	struct block_fault_config fault = { &t->fault };
	struct block_qcow2_config config = { .cache = 1, .punch = true };
	struct block_row rows[] = { { "qcow2", &config }, { "fault", &fault }, { "mem", &mem },
		{ "mem", &base } };
	g_autofree char *path = rig_path(&t->rig, "image");
	g_autofree uint8_t *all = NULL;
	struct block_info info;
	uint64_t calls = 0, n;
	const void *image;

	memset(&t->fault, 0, sizeof(t->fault));
	memset(t->slots, 0, sizeof(t->slots));
	t->failed = 0;
	t->size = t->setup->size;
	memset(t->unsure, 0, t->setup->size);
	if (backing)
		memcpy(t->model, backing, t->setup->size);
	else
		memset(t->model, 0, t->setup->size);
	t->block = rig_open(&t->rig, rows, t->setup->backing ? 4 : 3, NULL);
	t->fault.fail_ops = f->ops;
	t->fault.error = f->error;
	t->fault.times = f->times;
	t->fault.torn = f->torn;
	t->fault.nth = nth;
	memset(t->fault.seen, 0, sizeof(t->fault.seen));
	for (unsigned i = 0; i < OPS;) {
		unsigned want = 1 + pick(t, DEPTH);

		for (unsigned k = 0; k < DEPTH && t->busy < want; k++)
			if (!t->slots[k].busy) {
				t->slots[k].test = t;
				begin(t, &t->slots[k], i++);
			}
		loop_step(t->rig.loop, 0);
	}
	rig_run(&t->rig, &t->busy);
	for (int i = 0; i < BLOCK_OPS; i++)
		calls += f->ops & 1u << i ? t->fault.seen[i] : 0;
	t->fault.nth = 0;
	block_info(t->block, &info);
	g_assert_false(info.corrupt);
	/* well again: a flush succeeds, and all that was promised is there */
	g_assert_cmpint(rig_io(&t->rig, t->block, BLOCK_FLUSH, 0, 0, NULL, 0), ==, 0);
	g_assert_cmpint(
		rig_io(&t->rig, t->block, BLOCK_WRITE, 0, 0, memset(t->model, 0xee, 512), 512), ==,
		512);
	memset(t->unsure, 0, 512);
	all = g_malloc(t->setup->size);
	g_assert_cmpint(rig_io(&t->rig, t->block, BLOCK_READ, 0, 0, all, t->setup->size), ==,
		t->setup->size);
	for (uint64_t i = 0; i < t->setup->size; i++)
		if (!t->unsure[i] && all[i] != t->model[i])
			g_error("%s, %s at call %" G_GUINT64_FORMAT ": byte %#" G_GINT64_MODIFIER
				"x is %02x, not %02x",
				t->setup->name, f->name, nth, i, all[i], t->model[i]);
	g_assert_cmpint(rig_io(&t->rig, t->block, BLOCK_FLUSH, 0, 0, NULL, 0), ==, 0);
	rig_drain(&t->rig, t->block);
	image = block_mem_data(t->block->lower->lower, &n);
	if (rig_has_qemu_img() && !t->setup->lazy) {
		rig_save(path, image, n);
		if (rig_check(path, 3) % 3)
			g_error("%s, %s at call %" G_GUINT64_FORMAT ": damaged", t->setup->name,
				f->name, nth);
	}
	g_assert_true(block_close(t->block, NULL));
	return calls;
}

static void run(const void *arg)
{
	struct test t = { .setup = arg };
	struct block_mem_config mem = { .max = 1 << 30 };
	struct block_row row = { "mem", &mem };
	struct qcow2_create create = { .size = t.setup->size,
		.cluster = t.setup->cluster,
		.refcount_bits = t.setup->refcount_bits,
		.lazy_refcounts = t.setup->lazy };
	uint64_t part = rig_count("KVMD_FAULTS", 12, 1000000), start_n;
	uint32_t seed = (uint32_t)rig_count(
		"KVMD_SEED", (uint64_t)g_test_rand_int() & 0x7fffffff, g_random_int());
	g_autofree uint8_t *start = NULL, *backing = NULL;
	g_autofree char *base = NULL;
	struct block *b;
	GError *err = NULL;

	g_test_message("KVMD_SEED=%u", seed);
	rig_init(&t.rig, true, false);
	t.model = g_malloc(t.setup->size);
	t.unsure = g_malloc(t.setup->size);
	base = rig_path(&t.rig, "base");
	if (t.setup->backing) {
		backing = g_malloc(t.setup->size);
		memset(backing, 0xbb, t.setup->size);
		create.backing = base;
		create.backing_format = FORMAT_RAW;
		rig_save(base, backing, t.setup->size);
	}
	b = rig_open(&t.rig, &row, 1, NULL);
	g_assert_true(qcow2_create(b, &create, &err));
	start = g_memdup2(block_mem_data(b, &start_n), b->size);
	rig_close(&t.rig, b, false);
	for (unsigned f = 0; f < G_N_ELEMENTS(faults); f++) {
		unsigned felt = 0;
		uint64_t calls, step;

		t.rand = g_rand_new_with_seed(seed);
		calls = run_script(&t, &faults[f], 0, start, start_n, backing);
		step = MAX(calls / part, 1);
		g_rand_free(t.rand);
		for (uint64_t n = 1; n <= calls; n += step) {
			t.rand = g_rand_new_with_seed(seed);
			run_script(&t, &faults[f], n, start, start_n, backing);
			felt += t.failed > 0;
			g_rand_free(t.rand);
		}
		g_test_message("%s: %" G_GUINT64_FORMAT " calls, %u faults felt by a request",
			faults[f].name, calls, felt);
		g_assert_cmpuint(felt, >, 0);
	}
	g_free(t.model);
	g_free(t.unsure);
	rig_finish(&t.rig);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	for (unsigned i = 0; i < G_N_ELEMENTS(setups); i++) {
		g_autofree char *path = g_strdup_printf("/qcow2/fault/%s", setups[i].name);

		g_test_add_data_func(path, &setups[i], run);
	}
	return g_test_run();
}
