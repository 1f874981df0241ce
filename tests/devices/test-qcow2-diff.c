/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2 against a twin in plain memory: random requests, several under way, done in random order; then qemu-img as a judge.
 * In the disk's last eighth requests overlap: what it holds is anybody's guess, but the rest must not suffer.
 * KVMD_LONG=1 runs a million; KVMD_OPS sets the number, KVMD_SEED repeats a run.
 */
#include <string.h>

#include "block_rig.h"
#include "domain/disk.h"

#define DEPTH 16

struct setup {
	const char *name;
	uint32_t cluster;
	unsigned refcount_bits, version;
	bool lazy, punch;
	uint64_t size, backing;         /* bytes; backing 0: none */
	bool qcow2_backing;
	bool resize;
};

static const struct setup setups[] = {
	{ "64k", 65536, 16, 3, false, true, 8 << 20, 0, false, true },
	{ "4k", 4096, 16, 3, false, true, 4 << 20, 0, false, true },
	{ "512", 512, 16, 3, false, true, 1 << 20, 0, false, true },
	{ "512-refs64-backing", 512, 64, 3, false, true, 1 << 20, 700 * 1024 + 512, false, true },
	{ "512-refs1", 512, 1, 3, false, false, 1 << 20, 0, false, true },
	{ "2m", 2 << 20, 16, 3, false, true, 24 << 20, 0, false, false },
	{ "64k-backing", 65536, 16, 3, false, true, 8 << 20, 5 << 20, false, true },
	{ "64k-qcow2-backing", 65536, 8, 3, false, true, 8 << 20, 12 << 20, true, true },
	{ "4k-v2", 4096, 16, 2, false, true, 4 << 20, 0, false, true },
	{ "4k-v2-backing", 4096, 16, 2, false, true, 4 << 20, 3 << 20, false, true },
	{ "64k-lazy", 65536, 16, 3, true, true, 8 << 20, 0, false, true },
	{ "1k-lazy-refs2-backing", 1024, 2, 3, true, true, 2 << 20, 1 << 20, false, true },
};

struct test;
struct slot {
	struct test *test;
	struct block_req req;
	struct iovec iov[5];
	uint8_t *buf;
	bool busy, checking;    /* checking: reads back what a discard left */
};
struct test {
	struct rig rig;
	const struct setup *setup;
	struct block_fault fault;
	struct block *block;
	GRand *rand;
	uint8_t *model;
	uint64_t size, room;    /* of the disk; of model */
	struct slot slots[DEPTH];
	unsigned busy;
	bool resizing;
	uint64_t ops, mix, counts[BLOCK_OPS];
};

static uint64_t pick(struct test *t, uint64_t below)
{
	return below ? ((uint64_t)g_rand_int(t->rand) << 32 | g_rand_int(t->rand)) % below : 0;
}

static bool is_wild(const struct test *t, uint64_t off)
{
	return off >= t->setup->size / 8 * 7 && off < t->setup->size;
}

static void compare(struct test *t, struct slot *s)
{
	const struct block_req *r = &s->req;

	if (is_wild(t, r->offset)) {
		memcpy(t->model + r->offset, s->buf, r->bytes);
		return;
	}
	if (!memcmp(s->buf, t->model + r->offset, r->bytes))
		return;
	for (uint64_t i = 0; i < r->bytes; i++)
		if (s->buf[i] != t->model[r->offset + i])
			g_error("%s: after %" G_GUINT64_FORMAT
				" operations byte %#" G_GINT64_MODIFIER
				"x of a read at %#" G_GINT64_MODIFIER "x is %02x, not %02x",
				t->setup->name, t->ops, r->offset + i, r->offset, s->buf[i],
				t->model[r->offset + i]);
}

static void free_slot(struct slot *s)
{
	g_clear_pointer(&s->buf, g_free);
	s->busy = s->checking = false;
	s->test->busy--;
}

static void done(struct block_req *r, int64_t result)
{
	struct slot *s = r->arg;
	struct test *t = s->test;

	if (result < 0)
		g_error("%s: %s at %" G_GUINT64_FORMAT ": %s", t->setup->name,
			block_op_names[r->op], r->offset, g_strerror((int)-result));
	switch (r->op) {
	case BLOCK_READ:
		for (uint64_t i = 0; s->checking && i < r->bytes; i++)
			if (s->buf[i] == 0)
				t->model[r->offset + i] = 0;
		compare(t, s);
		break;
	case BLOCK_WRITE:
		memcpy(t->model + r->offset, s->buf, r->bytes);
		break;
	case BLOCK_ZERO:
		memset(t->model + r->offset, 0, r->bytes);
		break;
	case BLOCK_DISCARD:             /* old or zero: look, with the range still ours */
		s->checking = true;
		s->buf = g_malloc(r->bytes);
		s->iov[0] = (struct iovec){ s->buf, r->bytes };
		*r = (struct block_req){ .op = BLOCK_READ, .offset = r->offset, .bytes = r->bytes, .iov = s->iov, .iov_n = 1,
			.done = done, .arg = s };
		block_submit(t->block, r);
		return;
	case BLOCK_RESIZE:
		t->size = r->offset;
		t->resizing = false;
		g_assert_cmpuint(block_size(t->block), ==, t->size);
		break;
	default:
		break;
	}
	free_slot(s);
}

static bool overlaps(struct test *t, uint64_t off, uint64_t len)
{
	for (unsigned i = 0; i < DEPTH; i++) {
		const struct block_req *r = &t->slots[i].req;

		if (t->slots[i].busy && r->op != BLOCK_FLUSH && r->op != BLOCK_RESIZE &&
			off < r->offset + r->bytes && r->offset < off + len)
			return true;
	}
	return false;
}

static enum block_op choose(struct test *t)
{
	unsigned dice = (unsigned)pick(t, 1000);

	return dice < 420                        ? BLOCK_WRITE
	       : dice < 740                      ? BLOCK_READ
	       : dice < 840                      ? BLOCK_ZERO
	       : dice < 930                      ? BLOCK_DISCARD
	       : dice < 996 || !t->setup->resize ? BLOCK_FLUSH
						 : BLOCK_RESIZE;
}

static void split(struct test *t, struct slot *s, uint64_t len)
{
	unsigned n = 1 + (unsigned)pick(t, G_N_ELEMENTS(s->iov) - 1);
	uint64_t at = 0;

	for (unsigned i = 0; i < n; i++) {
		uint64_t part = i + 1 == n ? len - at : pick(t, len - at + 1);

		s->iov[i] = (struct iovec){ s->buf + at, part };
		at += part;
	}
	s->req.iov = s->iov;
	s->req.iov_n = n;
}

/* Eight bytes, none of them zero. */
static void put_random(struct test *t, uint8_t *at)
{
	t->mix = (t->mix ^ t->mix >> 29) * 0x9e3779b97f4a7c15ull + t->ops;
	for (unsigned i = 0; i < 8; i++)
		at[i] = (uint8_t)(t->mix >> 8 * i | 1);
}

static void start(struct test *t, struct slot *s)
{
	enum block_op op = choose(t);
	uint64_t most = pick(t, 4) ? t->setup->cluster : MIN(5 * t->setup->cluster, 512 << 10), off,
		 len;
	bool data = op == BLOCK_READ || op == BLOCK_WRITE;

	if (op == BLOCK_RESIZE && (t->resizing || t->size >= t->room))
		op = BLOCK_FLUSH;
	off = pick(t, t->size);
	if (!pick(t, 3))        /* whole clusters, and ends of the disk */
		off &= ~(uint64_t)(t->setup->cluster - 1);
	len = 1 + pick(t, MAX(most, 3 * 4096));
	if (op == BLOCK_DISCARD || op == BLOCK_ZERO)
		len *= 1 + pick(t, 6);
	if (!pick(t, 2))
		len = (len + 511) & ~511ull;
	len = MIN(len, t->size - off);
	if (!is_wild(t, off) && off < t->setup->size)
		len = MIN(len, t->setup->size / 8 * 7 - off);
	else if (is_wild(t, off))
		len = MIN(len, t->setup->size - off);
	if (op == BLOCK_FLUSH || op == BLOCK_RESIZE)
		off = len = 0;
	else if (!is_wild(t, off) && overlaps(t, off, len))
		return;
	s->busy = true;
	t->busy++;
	s->req =
		(struct block_req){ .op = op, .offset = off, .bytes = len, .done = done, .arg = s };
	if (op == BLOCK_RESIZE) {
		s->req.offset = t->size + 512 * (1 + pick(t, 4 * t->setup->cluster / 512 + 64));
		s->req.offset = MIN(s->req.offset, t->room);
		t->resizing = true;
	}
	if (op == BLOCK_ZERO && pick(t, 2))
		s->req.flags = BLOCK_UNMAP;
	if (op == BLOCK_WRITE && !pick(t, 20))
		s->req.flags = BLOCK_FUA;
	if (data) {
		s->buf = g_malloc(len + 8);
		for (uint64_t k = 0; op == BLOCK_WRITE && k < len; k += 8)
			put_random(t, s->buf + k);
		split(t, s, len);
	}
	t->counts[op]++;
	t->ops++;
	block_submit(t->block, &s->req);
}

static void judge(struct test *t, const void *image, uint64_t image_n, const char *base)
{
	g_autofree char *path = NULL, *twin = NULL, *out = NULL;
	int rc;

	if (!rig_has_qemu_img())
		return;
	path = rig_path(&t->rig, "image.qcow2");
	twin = rig_path(&t->rig, "twin.raw");
	rig_save(path, image, image_n);
	rig_save(twin, t->model, t->size);
	g_assert_cmpint(rig_check(path, 0), ==, 0);
	rc = rig_command(&out, "qemu-img", "compare", "-f", "qcow2", "-F", "raw", path, twin, NULL);
	if (rc)
		g_error("qemu-img compare: %s", out);
}

static void run(const void *arg)
{
	const struct setup *setup = arg;
	uint64_t ops = rig_count("KVMD_OPS", 20000, 1000000) / (G_N_ELEMENTS(setups) - 1);
	uint32_t seed = (uint32_t)rig_count(
		"KVMD_SEED", (uint64_t)g_test_rand_int() & 0x7fffffff, g_random_int());
	struct test t = { .setup = setup,
		.size = setup->size,
		.room = setup->size + 65 * setup->cluster + (1 << 20) };
	struct block_mem_config mem = { .size = 0, .max = 2ull << 30 },
				base = { .size = setup->backing };
	struct block_mem_config base_file = { .size = 0, .max = 1ull << 30 };
	struct block_fault_config fault = { &t.fault };
	struct block_qcow2_config config = { .cache = 1, .punch = setup->punch },
				  base_config = { 0 };
	struct block_row rows[] = { { "qcow2", &config }, { "fault", &fault }, { "mem", &mem },
		{ "qcow2", &base_config }, { "mem", &base } };
	struct qcow2_create create = { .size = setup->size,
		.cluster = setup->cluster,
		.refcount_bits = setup->refcount_bits,
		.version = setup->version,
		.lazy_refcounts = setup->lazy };
	g_autofree uint8_t *backing = NULL, *all = NULL, *image = NULL;
	g_autofree char *base_path = NULL;
	GError *err = NULL;
	struct block *leaf;
	uint64_t n;

	if (setup->cluster > 65536)     /* each operation moves megabytes */
		ops /= 8;
	g_test_message("KVMD_SEED=%u", seed);
	rig_init(&t.rig, true, false);
	t.rand = g_rand_new_with_seed(seed);
	t.model = g_malloc0(t.room);
	if (setup->backing) {
		backing = g_malloc(setup->backing);
		for (uint64_t i = 0; i < setup->backing; i++)
			backing[i] = (uint8_t)(g_rand_int(t.rand) >> 13 | 1);
		memset(backing + setup->backing / 3, 0, setup->backing / 5);
		base.data = backing;
		base.data_n = setup->backing;
		memcpy(t.model, backing, MIN(setup->backing, t.size));
		base_path = rig_path(&t.rig, "base");
		create.backing = base_path;
		create.backing_format = FORMAT_RAW;
		rig_save(base_path, backing, setup->backing);
	}
	if (setup->qcow2_backing) {     /* made by us, filled by us */
		struct qcow2_create c = { .size = setup->backing, .cluster = 4096 };
		struct block_row row = { "mem", &base_file },
				 two[] = { { "qcow2", NULL }, { "mem", &base_file } };
		uint64_t base_n;
		struct block *b;

		b = rig_open(&t.rig, &row, 1, NULL);
		g_assert_true(qcow2_create(b, &c, &err));
		base_file.data = g_memdup2(block_mem_data(b, &base_n), 1 << 20);
		base_file.data_n = base_file.size = MIN(base_n, 1 << 20);
		rig_close(&t.rig, b, false);
		b = rig_open(&t.rig, two, 2, NULL);
		g_assert_cmpint(rig_io(&t.rig, b, BLOCK_WRITE, 0, 0, backing, setup->backing), ==,
			setup->backing);
		rig_drain(&t.rig, b);
		g_free((void *)base_file.data);
		/* closed by hand in two steps, to keep the bytes of the leaf */
		block_undrain(b);
		g_assert_cmpint(rig_io(&t.rig, b, BLOCK_FLUSH, 0, 0, NULL, 0), ==, 0);
		base_file.data = g_memdup2(block_mem_data(b->lower, &base_n), b->lower->size);
		base_file.data_n = base_file.size = base_n;
		rig_close(&t.rig, b, false);
		rig_save(base_path, base_file.data, base_file.data_n);
		create.backing_format = FORMAT_QCOW2;
		rows[4].config = &base_file;
	}
	{
		struct block_row row = { "mem", &mem };

		leaf = rig_open(&t.rig, &row, 1, NULL);
		g_assert_true(qcow2_create(leaf, &create, &err));
		g_assert_no_error(err);
		all = g_memdup2(block_mem_data(leaf, &n), leaf->size);
		mem.data = all;
		mem.data_n = mem.size = n;
		rig_close(&t.rig, leaf, false);
	}
	if (!setup->qcow2_backing)
		rows[3] = rows[4];
	t.fault.shuffle = t.rand;
	t.block = rig_open(&t.rig, rows, !setup->backing ? 3 : setup->qcow2_backing ? 5 : 4, NULL);
	leaf = t.block->lower->lower;
	for (unsigned i = 0; i < DEPTH; i++)
		t.slots[i].test = &t;
	while (t.ops < ops) {
		unsigned want = 1 + (unsigned)pick(&t, DEPTH);

		block_plug(t.block);
		for (unsigned i = 0; i < DEPTH && t.busy < want; i++)
			if (!t.slots[i].busy)
				start(&t, &t.slots[i]);
		block_unplug(t.block);
		loop_step(t.rig.loop, 0);
		if (!pick(&t, 500))
			clock_step(t.rig.clock, 6000000000ll);  /* background commits */
	}
	rig_run(&t.rig, &t.busy);
	t.fault.shuffle = NULL;
	all = g_realloc(all, t.size);
	for (uint64_t at = 0; at < t.size; at += 1 << 20) {
		uint64_t part = MIN(t.size - at, 1 << 20);

		g_assert_cmpint(
			rig_io(&t.rig, t.block, BLOCK_READ, 0, at, all + at, part), ==, part);
	}
	memcpy(t.model + setup->size / 8 * 7, all + setup->size / 8 * 7, setup->size / 8);
	g_assert_cmpint(memcmp(all, t.model, t.size), ==, 0);
	/* close writes back into memory that goes with it: keep the file by closing into a log */
	{
		GPtrArray *log = t.fault.log = block_fault_log_new();
		uint64_t before, most;

		rig_drain(&t.rig, t.block);
		image = g_memdup2(block_mem_data(leaf, &before), leaf->size);
		most = before;
		g_assert_true(block_close(t.block, &err));
		g_assert_no_error(err);
		for (unsigned i = 0; i < log->len; i++) {
			struct block_fault_event *e = log->pdata[i];

			if (e->done || e->op == BLOCK_FLUSH)
				continue;
			if (e->off + e->len > most && e->op == BLOCK_WRITE) {
				image = g_realloc(image, e->off + e->len);
				memset(image + most, 0, e->off + e->len - most);
				most = e->off + e->len;
			}
			if (e->op == BLOCK_WRITE)
				memcpy(image + e->off, e->data, e->len);
			else if (e->op == BLOCK_DISCARD && e->off < most)
				memset(image + e->off, 0, MIN(e->len, most - e->off));
		}
		g_ptr_array_free(log, TRUE);
		judge(&t, image, most, base_path);
	}
	if (setup->qcow2_backing)
		g_free((void *)base_file.data);
	g_rand_free(t.rand);
	g_free(t.model);
	rig_finish(&t.rig);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	if (!rig_has_qemu_img())
		g_test_message("qemu-img is missing: images are compared with their twins, but not "
			       "judged by it");
	for (unsigned i = 0; i < G_N_ELEMENTS(setups); i++) {
		g_autofree char *path = g_strdup_printf("/qcow2/diff/%s", setups[i].name);

		g_test_add_data_func(path, &setups[i], run);
	}
	return g_test_run();
}
