/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a power cut leaves of a qcow2 image. Random requests run on a disk that logs what reaches it; then, for many points
 * of the log, the image is made anew with all that flushes had made stable, and a random part, torn by sectors, of what
 * they had not. qemu-img must find no damage (leaks are fine), and no sector may hold anything but what a flush promised or
 * something written later. KVMD_LONG=1 cuts at 10,000 points; KVMD_CUTS sets the number.
 */
#include <string.h>

#include "block_rig.h"
#include "domain/disk.h"

#define SECTOR 512u
#define DEPTH 12u
#define BASE 0x80000000u        /* stamp of what was there before */
#define NEVER UINT_MAX

struct setup {
	const char *name;
	uint32_t cluster;
	unsigned refcount_bits;
	bool lazy, backing, snapshot, close;
	uint64_t size;
};

static const struct setup setups[] = {
	{ "4k", 4096, 16, false, false, false, false, 2 << 20 },
	{ "512-refs64-close", 512, 64, false, false, false, true, 512 << 10 },
	{ "64k-backing", 65536, 16, false, true, false, false, 4 << 20 },
	{ "2k-backing-refs4", 2048, 4, false, true, false, true, 1 << 20 },
	{ "4k-snapshot", 4096, 16, false, false, true, true, 1 << 20 },
	{ "4k-lazy", 4096, 16, true, false, false, false, 1 << 20 },
	{ "512-lazy-backing", 512, 16, true, true, false, false, 512 << 10 },
};

struct op {                             /* of the guest */
	enum block_op op;
	bool fua;
	unsigned first, n;              /* sectors */
	unsigned begun, done;           /* length of the log then */
	unsigned began_as, ended_as;    /* their order among all beginnings and ends of the guest's requests */
	uint64_t size;                  /* resize */
};
struct slot { struct test *test; struct block_req req; struct iovec iov; unsigned op; bool busy; };
struct test {
	struct rig rig;
	const struct setup *setup;
	struct block_fault fault;
	struct block *block;
	GRand *rand;
	GArray *ops;
	struct slot slots[DEPTH];
	unsigned busy, order;
	uint64_t size, room;
	uint8_t *start, *backing;
	uint64_t start_n;
	char *base_path, *image_path, *snap_path, *snap_now;
};

static unsigned pick(struct test *t, unsigned below)
{
	return (unsigned)g_rand_int_range(t->rand, 0, (gint32)below);
}

static void stamp(uint8_t *sector, uint32_t value)
{
	for (unsigned i = 0; i < SECTOR; i += 4)
		memcpy(sector + i, &value, 4);
}

/* --- the run --- */

static void done(struct block_req *r, int64_t result)
{
	struct slot *s = r->arg;
	struct test *t = s->test;
	struct op *op = &g_array_index(t->ops, struct op, s->op);

	g_assert_cmpint(result, >=, 0);
	op->done = t->fault.log->len;
	op->ended_as = ++t->order;
	if (op->op == BLOCK_RESIZE)
		t->size = op->size;
	g_free(s->iov.iov_base);
	s->iov.iov_base = NULL;
	s->busy = false;
	t->busy--;
}

static bool overlaps(struct test *t, unsigned first, unsigned n)
{
	for (unsigned i = 0; i < DEPTH; i++) {
		const struct op *op = &g_array_index(t->ops, struct op, t->slots[i].op);

		if (t->slots[i].busy && first < op->first + op->n && op->first < first + n)
			return true;
	}
	return false;
}

static void begin(struct test *t, struct slot *s)
{
	unsigned dice = pick(t, 100), per = t->setup->cluster / SECTOR,
		 all = (unsigned)(t->size / SECTOR);
	struct op op = { .done = NEVER };

	op.op = dice < 62   ? BLOCK_WRITE
		: dice < 74 ? BLOCK_ZERO
		: dice < 86 ? BLOCK_DISCARD
		: dice < 98 ? BLOCK_FLUSH
			    : BLOCK_RESIZE;
	if (op.op == BLOCK_RESIZE &&
		(t->setup->snapshot || t->size + 128 * SECTOR > t->room || pick(t, 2)))
		op.op = BLOCK_FLUSH;
	if (op.op != BLOCK_FLUSH && op.op != BLOCK_RESIZE) {
		op.first = pick(t, all);
		if (pick(t, 2))
			op.first -= op.first % per;
		op.n = 1 + pick(t, pick(t, 3) ? 8 : 3 * per);
		op.n = MIN(op.n, all - op.first);
		if (overlaps(t, op.first, op.n))
			return;
	}
	op.begun = t->fault.log->len;
	op.began_as = ++t->order;
	op.ended_as = NEVER;
	op.fua = op.op == BLOCK_WRITE && !pick(t, 25);
	op.size = t->size + SECTOR * (1 + pick(t, 127));
	s->op = t->ops->len;
	s->busy = true;
	t->busy++;
	s->req = (struct block_req){ .op = op.op,
		.offset = op.op == BLOCK_RESIZE ? op.size : (uint64_t)op.first * SECTOR,
		.bytes = (uint64_t)op.n * SECTOR,
		.done = done,
		.arg = s,
		.flags = op.fua ? BLOCK_FUA : 0 };
	if (op.op == BLOCK_ZERO && pick(t, 2))
		s->req.flags |= BLOCK_UNMAP;
	if (op.op == BLOCK_RESIZE)              /* one at a time */
		for (unsigned i = 0; i < DEPTH; i++)
			if (&t->slots[i] != s && t->slots[i].busy &&
				g_array_index(t->ops, struct op, t->slots[i].op).op ==
					BLOCK_RESIZE) {
				s->req.op = op.op = BLOCK_FLUSH;
				s->req.offset = 0;
			}
	g_array_append_val(t->ops, op);
	if (op.op == BLOCK_WRITE) {
		s->iov = (struct iovec){ g_malloc(s->req.bytes), s->req.bytes };
		for (unsigned i = 0; i < op.n; i++)
			stamp((uint8_t *)s->iov.iov_base + i * SECTOR,
				t->ops->len); /* number of the op, from 1 */
		s->req.iov = &s->iov;
		s->req.iov_n = 1;
	}
	block_submit(t->block, &s->req);
}

/* --- a cut --- */

static void apply(struct test *t, GByteArray *image, const struct block_fault_event *e, bool torn)
{
	uint64_t end = e->off + e->len;

	if ((e->op != BLOCK_WRITE && e->op != BLOCK_ZERO && e->op != BLOCK_DISCARD) || !e->len)
		return;
	if (end > image->len && e->op != BLOCK_DISCARD) {
		unsigned old = image->len;

		g_byte_array_set_size(image, (guint)end);
		memset(image->data + old, 0, end - old);
	}
	for (uint64_t at = e->off; at < MIN(end, image->len);) {
		uint64_t part = MIN(SECTOR - at % SECTOR, MIN(end, image->len) - at);

		if (torn && pick(t, 2)) {
			/* this sector did not make it */
		} else if (e->op == BLOCK_WRITE) {
			memcpy(image->data + at, e->data + (at - e->off), part);
		} else {
			memset(image->data + at, 0, part);
		}
		at += part;
	}
}

/* Events that a flush had made stable before the cut, then some of the others. */
static GByteArray *image_at(struct test *t, unsigned cut)
{
	GByteArray *image = g_byte_array_new();
	const GPtrArray *log = t->fault.log;
	g_autofree unsigned *done_at = g_new0(unsigned, t->fault.next_id + 1);
	g_autoptr(GArray) loose = g_array_new(FALSE, FALSE, sizeof(unsigned));
	unsigned stable = 0;    /* writes done before this place are on the disk */

	g_byte_array_append(image, t->start, (guint)t->start_n);
	for (unsigned i = 0; i < cut; i++) {
		const struct block_fault_event *e = log->pdata[i];

		if (e->done)
			done_at[e->id] = i + 1;
	}
	for (unsigned i = 0; i < cut; i++) {
		const struct block_fault_event *e = log->pdata[i];

		if (!e->done && e->op == BLOCK_FLUSH && done_at[e->id])
			stable = MAX(stable, e->submitted);
	}
	for (unsigned i = 0; i < cut; i++) {
		const struct block_fault_event *e = log->pdata[i];

		if (e->done)
			continue;
		if (done_at[e->id] && done_at[e->id] <= stable)
			apply(t, image, e, false);
		else
			g_array_append_val(loose, i);
	}
	for (unsigned i = loose->len; i > 1; i--) {     /* any order */
		unsigned k = pick(t, i), *a = &g_array_index(loose, unsigned, i - 1),
			 *b = &g_array_index(loose, unsigned, k), x = *a;

		*a = *b;
		*b = x;
	}
	for (unsigned i = 0, luck = pick(t, 4); i < loose->len; i++) {
		unsigned fate = luck == 0 ? 0 : luck == 1 ? 2 : pick(t, 3);

		if (fate)
			apply(t, image, log->pdata[g_array_index(loose, unsigned, i)], fate == 1);
	}
	return image;
}

static uint32_t stamp_of(const uint8_t *sector, bool *whole)
{
	uint32_t v;

	memcpy(&v, sector, 4);
	*whole = true;
	for (unsigned i = 4; i < SECTOR; i += 4)
		*whole &= !memcmp(sector + i, &v, 4);
	return v;
}

/* May the sector hold v after a cut there? */
static bool allowed(struct test *t, unsigned cut, unsigned stable, unsigned sector, uint32_t v)
{
	uint32_t base = t->setup->backing || t->setup->snapshot ? BASE + sector : 0;
	bool ok = v == base || (sector >= t->setup->size / SECTOR && !v);

	for (unsigned i = 0; i < t->ops->len; i++) {
		const struct op *op = &g_array_index(t->ops, struct op, i);
		uint32_t leaves = op->op == BLOCK_WRITE ? i + 1 : 0;

		if (op->begun >= cut)
			break;
		if (op->op == BLOCK_FLUSH || op->op == BLOCK_RESIZE || sector < op->first ||
			sector >= op->first + op->n)
			continue;
		if ((op->ended_as < stable || (op->fua && op->done <= cut)) && op->op != BLOCK_DISCARD)
			ok = v == leaves;       /* what came before is gone */
		else
			ok |= v == leaves;
	}
	return ok;
}

static void check_content(struct test *t, unsigned cut, struct block *b)
{
	g_autofree uint8_t *data = g_malloc(block_size(b));
	unsigned stable = 0;
	uint64_t size = t->setup->size;

	for (unsigned i = 0; i < t->ops->len; i++) {
		const struct op *op = &g_array_index(t->ops, struct op, i);

		if (op->op == BLOCK_FLUSH && op->done <= cut)
			stable = MAX(stable, op->began_as);
		if (op->op == BLOCK_RESIZE && op->done <= cut)
			size = op->size;
	}
	g_assert_cmpuint(block_size(b), >=, size);
	g_assert_cmpint(
		rig_io(&t->rig, b, BLOCK_READ, 0, 0, data, block_size(b)), ==, block_size(b));
	for (unsigned i = 0; i < block_size(b) / SECTOR; i++) {
		bool whole;
		uint32_t v = stamp_of(data + i * SECTOR, &whole);

		if (!whole || !allowed(t, cut, stable, i, v)) {
			for (unsigned k = 0; k < t->ops->len; k++) {
				const struct op *op = &g_array_index(t->ops, struct op, k);

				if (op->begun < cut && i >= op->first && i < op->first + op->n)
					g_printerr("op %u %s %u+%u%s: begun %u done %u\n", k + 1,
						block_op_names[op->op], op->first, op->n,
						op->fua ? " fua" : "", op->begun, op->done);
			}
			g_error("%s: cut at %u, stable to %u: sector %u holds %#x%s",
				t->setup->name, cut, stable, i, v, whole ? "" : ", torn");
		}
	}
}

static void cut_at(struct test *t, unsigned cut, bool judge)
{
	g_autoptr(GByteArray) image = image_at(t, cut);
	struct block_mem_config mem = {
		.size = image->len, .max = 1ull << 30, .data = image->data, .data_n = image->len
	};
	struct block_mem_config base = {
		.size = t->setup->size, .data = t->backing, .data_n = t->setup->size
	};
	struct block_row rows[] = { { "qcow2", NULL }, { "mem", &mem }, { "mem", &base } };
	struct block_options readonly = { .readonly = true, .align = 1 };
	struct block_info info;
	struct block *b;
	GError *err = NULL;

	if (judge && !t->setup->lazy) {
		rig_save(t->image_path, image->data, image->len);
		if (rig_check(t->image_path, 3) % 3)
			g_error("%s: cut at %u of %u: damaged", t->setup->name, cut,
				t->fault.log->len);
	}
	b = block_open(t->rig.host, rows, t->setup->backing ? 3 : 2,
		t->setup->lazy ? &(struct block_options){ .align = 1 } : &readonly, t->rig.fds,
		&err);
	g_assert_no_error(err);
	check_content(t, cut, b);
	block_info(b, &info);
	g_assert_false(info.corrupt);
	if (judge && t->setup->lazy) {  /* as repaired by us */
		uint64_t n;
		const void *data;

		rig_drain(&t->rig, b);
		data = block_mem_data(b->lower, &n);
		rig_save(t->image_path, data, n);
		g_assert_cmpint(rig_check(t->image_path, 3) % 3, ==, 0);
	}
	if (judge && t->setup->snapshot && cut % 3 == 0) {
		g_autofree char *was = NULL, *now = NULL;
		gsize was_n, now_n;

		g_assert_cmpint(rig_command(NULL, "qemu-img", "convert", "-l", "s1", "-O", "raw",
					t->image_path, t->snap_now, NULL),
			==, 0);
		g_assert_true(g_file_get_contents(t->snap_path, &was, &was_n, NULL));
		g_assert_true(g_file_get_contents(t->snap_now, &now, &now_n, NULL));
		g_assert_cmpmem(was, was_n, now, now_n);
	}
	rig_close(&t->rig, b, false);
}

/* --- set-up --- */

static void make_start(struct test *t)
{
	struct block_mem_config mem = { .max = 1ull << 30 };
	struct block_row row = { "mem", &mem };
	struct qcow2_create create = { .size = t->setup->size,
		.cluster = t->setup->cluster,
		.refcount_bits = t->setup->refcount_bits,
		.lazy_refcounts = t->setup->lazy };
	struct block *b = rig_open(&t->rig, &row, 1, NULL);
	g_autofree uint8_t *content = g_malloc(t->setup->size);
	GError *err = NULL;

	t->image_path = rig_path(&t->rig, "image");
	t->base_path = rig_path(&t->rig, "base");
	t->snap_path = rig_path(&t->rig, "snapshot");
	t->snap_now = rig_path(&t->rig, "snapshot-now");
	for (unsigned i = 0; i < t->setup->size / SECTOR; i++)
		stamp(content + i * SECTOR, BASE + i);
	if (t->setup->backing) {
		create.backing = t->base_path;
		create.backing_format = FORMAT_RAW;
		t->backing = g_memdup2(content, t->setup->size);
		rig_save(t->base_path, t->backing, t->setup->size);
	}
	g_assert_true(qcow2_create(b, &create, &err));
	g_assert_no_error(err);
	t->start = g_memdup2(block_mem_data(b, &t->start_n), b->size);
	rig_close(&t->rig, b, false);
	if (t->setup->snapshot) {
		gsize n;

		rig_save(t->image_path, t->start, t->start_n);
		rig_save(t->snap_path, content, t->setup->size);
		g_assert_cmpint(rig_command(NULL, "qemu-img", "convert", "-n", "-O", "qcow2",
					t->snap_path, t->image_path, NULL),
			==, 0);
		g_assert_cmpint(
			rig_command(NULL, "qemu-img", "snapshot", "-c", "s1", t->image_path, NULL),
			==, 0);
		g_free(t->start);
		g_assert_true(g_file_get_contents(t->image_path, (char **)&t->start, &n, NULL));
		t->start_n = n;
	}
}

static void run_once(struct test *t, unsigned cuts)
{
	struct block_mem_config mem = {
		.size = t->start_n, .max = 1ull << 30, .data = t->start, .data_n = t->start_n
	};
	struct block_mem_config base = {
		.size = t->setup->size, .data = t->backing, .data_n = t->setup->size
	};
	struct block_fault_config fault = { &t->fault };
	struct block_qcow2_config config = { .cache = 1, .punch = true };
	struct block_row rows[] = { { "qcow2", &config }, { "fault", &fault }, { "mem", &mem },
		{ "mem", &base } };
	unsigned steps = 0;

	t->size = t->setup->size;
	t->room = t->setup->size * 3 / 2;
	t->fault = (struct block_fault){ .shuffle = t->rand, .log = block_fault_log_new() };
	t->ops = g_array_new(FALSE, FALSE, sizeof(struct op));
	g_array_set_size(t->ops, 0);
	t->block = rig_open(&t->rig, rows, t->setup->backing ? 4 : 3, NULL);
	for (unsigned i = 0; i < DEPTH; i++)
		t->slots[i] = (struct slot){ .test = t };
	while (t->ops->len < 400) {
		unsigned want = 1 + pick(t, DEPTH);

		for (unsigned i = 0; i < DEPTH && t->busy < want; i++)
			if (!t->slots[i].busy)
				begin(t, &t->slots[i]);
		loop_step(t->rig.loop, 0);
		if (++steps % 700 == 0)
			clock_step(t->rig.clock, 6000000000ll);
	}
	rig_run(&t->rig, &t->busy);
	t->fault.shuffle = NULL;
	rig_close(&t->rig, t->block, false);
	for (unsigned i = 0; i < cuts; i++)
		cut_at(t,
			t->setup->close && !i ? t->fault.log->len : pick(t, t->fault.log->len + 1),
			rig_has_qemu_img());
	g_ptr_array_free(t->fault.log, TRUE);
	g_array_free(t->ops, TRUE);
}

static void run(const void *arg)
{
	struct test t = { .setup = arg };
	unsigned cuts = (unsigned)(rig_count("KVMD_CUTS", 300, 10000) / G_N_ELEMENTS(setups)) + 1;
	uint32_t seed = (uint32_t)rig_count(
		"KVMD_SEED", (uint64_t)g_test_rand_int() & 0x7fffffff, g_random_int());

	if (t.setup->snapshot && !rig_has_qemu_img()) {
		g_test_skip("qemu-img is missing: no image with a snapshot");
		return;
	}
	g_test_message("KVMD_SEED=%u", seed);
	rig_init(&t.rig, true, false);
	t.rand = g_rand_new_with_seed(seed);
	make_start(&t);
	for (unsigned left = cuts; left; left -= MIN(left, 12))
		run_once(&t, MIN(left, 12));
	g_rand_free(t.rand);
	g_free(t.start);
	g_free(t.backing);
	g_free(t.image_path);
	g_free(t.base_path);
	g_free(t.snap_path);
	g_free(t.snap_now);
	rig_finish(&t.rig);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	for (unsigned i = 0; i < G_N_ELEMENTS(setups); i++) {
		g_autofree char *path = g_strdup_printf("/qcow2/powercut/%s", setups[i].name);

		g_test_add_data_func(path, &setups[i], run);
	}
	return g_test_run();
}
