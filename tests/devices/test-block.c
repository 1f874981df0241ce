/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The block core and its leaves: the door, batches, FUA, drain, chains; files through io_uring and threads. */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "block_rig.h"
#include "devices/block_detect.h"
#include "devices/block_throttle.h"
#include "domain/disk.h"
#include "domain/error.h"

static const struct block_mem_config mem64k = { .size = 65536 };

static void test_door(void)
{
	struct rig r;
	struct block_row rows[] = { { "mem", &mem64k } };
	struct block_options options = { .align = 512 };
	struct block_stats stats;
	uint8_t buf[1024];
	struct block *b;

	rig_init(&r, true, false);
	b = rig_open(&r, rows, 1, &options);
	g_assert_cmpint(rig_io(&r, b, BLOCK_READ, 0, 0, buf, 512), ==, 512);
	g_assert_cmpint(rig_io(&r, b, BLOCK_READ, 0, 65536, buf, 512), ==, -EINVAL);
	g_assert_cmpint(rig_io(&r, b, BLOCK_READ, 0, 65024, buf, 1024), ==, -EINVAL);
	g_assert_cmpint(rig_io(&r, b, BLOCK_READ, 0, UINT64_MAX - 511, buf, 512), ==, -EINVAL);
	g_assert_cmpint(rig_io(&r, b, BLOCK_WRITE, 0, 1, buf, 512), ==, -EINVAL);
	g_assert_cmpint(rig_io(&r, b, BLOCK_WRITE, 0, 0, buf, 100), ==, -EINVAL);
	g_assert_cmpint(rig_io(&r, b, BLOCK_DISCARD, 0, 512, NULL, 1ull << 60), ==, -EINVAL);
	g_assert_cmpint(rig_io(&r, b, (enum block_op)77, 0, 0, buf, 512), ==, -EINVAL);
	g_assert_cmpint(rig_io(&r, b, BLOCK_RESIZE, 0, 32768, NULL, 0), ==, -EINVAL); /* shrink */
	g_assert_cmpint(rig_io(&r, b, BLOCK_RESIZE, 0, 65536 + 100, NULL, 0), ==, -EINVAL);
	g_assert_cmpint(rig_io(&r, b, BLOCK_FLUSH, 0, 0, NULL, 0), ==, 0);
	g_assert_cmpint(rig_io(&r, b, BLOCK_READ, 0, 0, buf, 0), ==, 0);
	block_stats(b, &stats);
	g_assert_cmpuint(stats.op[BLOCK_READ].ops, ==, 5);
	g_assert_cmpuint(stats.op[BLOCK_READ].errors, ==, 3);
	g_assert_cmpuint(stats.op[BLOCK_READ].bytes, ==, 512);
	g_assert_cmpuint(stats.bad, ==, 9);
	g_assert_cmpuint(stats.inflight, ==, 0);
	rig_close(&r, b, false);

	options.readonly = true;
	b = rig_open(&r, rows, 1, &options);
	g_assert_cmpint(rig_io(&r, b, BLOCK_READ, 0, 0, buf, 512), ==, 512);
	g_assert_cmpint(rig_io(&r, b, BLOCK_WRITE, 0, 0, buf, 512), ==, -EROFS);
	g_assert_cmpint(rig_io(&r, b, BLOCK_DISCARD, 0, 0, NULL, 512), ==, -EROFS);
	g_assert_cmpint(rig_io(&r, b, BLOCK_FLUSH, 0, 0, NULL, 0), ==, 0);
	g_assert_cmpuint(block_can(b) & BLOCK_CAN_WRITE, ==, 0);
	rig_close(&r, b, false);
	rig_finish(&r);
}

struct order { unsigned done, in_submit, wrong; struct block *block; };

static void count_done(struct block_req *req, int64_t result)
{
	struct order *o = req->arg;

	o->done++;
	o->wrong += o->in_submit || result != (int64_t)req->bytes;
}

/* Nothing ends inside submit; a batch may end in unplug; without one the loop ends it. */
static void test_batch(void)
{
	struct rig r;
	struct block_row rows[] = { { "mem", &mem64k } };
	struct order o = { 0 };
	struct block_req reqs[64];
	uint8_t buf[512];
	struct iovec iov = { buf, 512 };
	struct block *b;

	rig_init(&r, true, false);
	b = rig_open(&r, rows, 1, NULL);
	for (int round = 0; round < 2; round++) {
		if (round)
			block_plug(b);
		for (unsigned i = 0; i < 64; i++) {
			reqs[i] = (struct block_req){ .op = BLOCK_WRITE,
				.offset = i * 512u,
				.bytes = 512,
				.iov = &iov,
				.iov_n = 1,
				.done = count_done,
				.arg = &o };
			o.in_submit = 1;
			block_submit(b, &reqs[i]);
			o.in_submit = 0;
		}
		g_assert_cmpuint(o.done, ==, round * 64);
		if (round)
			block_unplug(b);
		else
			while (loop_step(r.loop, 0))
				;
		g_assert_cmpuint(o.done, ==, (round + 1) * 64);
	}
	g_assert_cmpuint(o.wrong, ==, 0);
	rig_close(&r, b, false);
	rig_finish(&r);
}

static void test_fua_and_detect(void)
{
	struct rig r;
	struct block_fault fault = { 0 };
	struct block_fault_config config = { &fault };
	struct block_detect_config detect = { .unmap = true };
	struct block_row rows[] = { { "detect", &detect }, { "fault", &config },
		{ "mem", &mem64k } };
	struct block_options options = { .align = 1 };
	uint8_t buf[4096] = { 0 };
	struct block *b;

	rig_init(&r, true, false);
	b = rig_open(&r, rows, 3, &options);
	g_assert_cmpint(
		rig_io(&r, b, BLOCK_WRITE, BLOCK_FUA, 0, memset(buf, 1, sizeof(buf)), sizeof(buf)),
		==, sizeof(buf));
	g_assert_cmpuint(fault.seen[BLOCK_FLUSH], ==, 1);
	g_assert_cmpint(rig_io(&r, b, BLOCK_WRITE, 0, 0, buf, sizeof(buf)), ==, sizeof(buf));
	g_assert_cmpuint(fault.seen[BLOCK_FLUSH], ==, 1);
	memset(buf, 0, sizeof(buf));
	g_assert_cmpint(
		rig_io(&r, b, BLOCK_WRITE, BLOCK_FUA, 0, buf, sizeof(buf)), ==, sizeof(buf));
	g_assert_cmpuint(fault.seen[BLOCK_ZERO], ==, 1);
	g_assert_cmpuint(fault.seen[BLOCK_WRITE], ==, 2);
	g_assert_cmpuint(fault.seen[BLOCK_FLUSH], ==, 2);
	buf[4095] = 1;
	g_assert_cmpint(rig_io(&r, b, BLOCK_WRITE, 0, 0, buf, sizeof(buf)), ==, sizeof(buf));
	g_assert_cmpuint(fault.seen[BLOCK_WRITE], ==, 3);
	/* a failing flush fails the write */
	fault.fail_ops = 1u << BLOCK_FLUSH;
	fault.nth = 1;
	fault.error = -EIO;
	g_assert_cmpint(rig_io(&r, b, BLOCK_WRITE, BLOCK_FUA, 0, buf, sizeof(buf)), ==, -EIO);
	rig_close(&r, b, false);

	options.writethrough = true;
	memset(&fault, 0, sizeof(fault));
	b = rig_open(&r, rows, 3, &options);
	g_assert_cmpint(rig_io(&r, b, BLOCK_WRITE, 0, 0, buf, sizeof(buf)), ==, sizeof(buf));
	g_assert_cmpint(rig_io(&r, b, BLOCK_ZERO, 0, 0, NULL, sizeof(buf)), ==, sizeof(buf));
	g_assert_cmpuint(fault.seen[BLOCK_FLUSH], ==, 2);
	rig_close(&r, b, false);

	options.ignore_discard = true;
	memset(&fault, 0, sizeof(fault));
	b = rig_open(&r, rows, 3, &options);
	g_assert_cmpint(rig_io(&r, b, BLOCK_DISCARD, 0, 0, NULL, sizeof(buf)), ==, sizeof(buf));
	g_assert_cmpuint(fault.seen[BLOCK_DISCARD], ==, 0);
	rig_close(&r, b, false);
	rig_finish(&r);
}

static void test_drain(void)
{
	struct rig r;
	struct block_fault fault = { .delay = 1000000000 };
	struct block_fault_config config = { &fault };
	struct iotune slow = { .total_iops_sec = 1 };
	struct block_throttle_config throttle = { &slow };
	struct block_row rows[] = { { "throttle", &throttle }, { "fault", &config },
		{ "mem", &mem64k } };
	struct block_req reqs[20];
	struct order o = { 0 };
	struct block *b;

	rig_init(&r, true, false);
	b = rig_open(&r, rows, 3, NULL);
	for (unsigned i = 0; i < 20; i++) {
		reqs[i] = (struct block_req){ .op = BLOCK_DISCARD,
			.offset = i * 512u,
			.bytes = 512,
			.done = count_done,
			.arg = &o };
		block_submit(b, &reqs[i]);
	}
	for (int i = 0; i < 10; i++)
		loop_step(r.loop, 0);
	g_assert_cmpuint(o.done, ==, 0);
	fault.delay = 0; /* what the throttle lets go is done at once; the first one still waits */
	clock_step(r.clock, 1000000000);
	rig_drain(&r, b);
	g_assert_cmpuint(o.done, ==, 20);
	g_assert_cmpuint(o.wrong, ==, 0);
	block_undrain(b);
	rig_close(&r, b, false);
	rig_finish(&r);
}

static void test_rows(void)
{
	struct rig r;
	struct block_options options = { .align = 1 };
	static const struct { const char *names[4]; enum kerr code; } bad[] = {
		{ { "floppy" }, KERR_UNSUPPORTED },
		{ { "throttle" }, KERR_ARGS },
		{ { "mem", "mem" }, KERR_ARGS },
		{ { "qcow2", "qcow2", "mem" }, KERR_ARGS },
		{ { "qcow2", "mem" }, KERR_STATE_DATA },
	};
	struct block_throttle_config throttle = { NULL };

	rig_init(&r, true, false);
	for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
		struct block_row rows[4];
		unsigned n = 0;
		GError *err = NULL;

		for (; n < 4 && bad[i].names[n]; n++)
			rows[n] = (struct block_row){ bad[i].names[n],
				!strcmp(bad[i].names[n], "mem")        ? (void *)&mem64k
				: !strcmp(bad[i].names[n], "throttle") ? (void *)&throttle
								       : NULL };
		g_assert_null(block_open(r.host, rows, n, &options, r.fds, &err));
		g_assert_error(err, kerr_quark(), (int)bad[i].code);
		g_clear_error(&err);
	}
	g_assert_null(block_open(r.host, NULL, 0, &options, r.fds, NULL));
	rig_finish(&r);
}

/* --- files --- */

#define FILE_BYTES (1u << 20)
#define DEPTH 12

struct files {
	struct rig rig;
	struct block *block;
	GRand *rand;
	uint8_t *model;
	uint64_t size;
	struct piece {
		struct files *files;
		struct block_req req;
		struct iovec iov[3];
		uint8_t *mem;
		bool busy;
	} pieces[DEPTH];
	unsigned busy;
};
struct file_case { const char *name, *driver; bool direct, grows; uint64_t size, slice_at, slice; };
static const struct file_case file_cases[] = {
	{ "threads", "threads", false, false, FILE_BYTES, 0, 0 },
	{ "threads-direct", "threads", true, false, FILE_BYTES, 0, 0 },
	{ "threads-direct-odd", "threads", true, false, FILE_BYTES - 4096 + 512, 0, 0 },
	{ "uring", "uring", false, false, FILE_BYTES, 0, 0 },
	{ "uring-direct", "uring", true, false, FILE_BYTES, 0, 0 },
	{ "uring-direct-odd", "uring", true, false, FILE_BYTES - 4096 + 1536, 0, 0 },
	{ "uring-slice", "uring", true, false, FILE_BYTES, 512, FILE_BYTES - 4096 },
	{ "threads-slice", "threads", false, false, FILE_BYTES, 12345, FILE_BYTES - 54321 },
};

static void piece_done(struct block_req *r, int64_t result)
{
	struct piece *p = r->arg;
	struct files *f = p->files;

	g_assert_cmpint(result, ==, r->bytes);
	if (r->op == BLOCK_WRITE) {
		for (uint64_t i = 0, at = 0; i < r->iov_n; at += r->iov[i++].iov_len)
			memcpy(f->model + r->offset + at, r->iov[i].iov_base, r->iov[i].iov_len);
	} else if (r->op == BLOCK_READ) {
		for (uint64_t i = 0, at = 0; i < r->iov_n; at += r->iov[i++].iov_len)
			g_assert_cmpmem(f->model + r->offset + at, r->iov[i].iov_len,
				r->iov[i].iov_base, r->iov[i].iov_len);
	} else if (r->op == BLOCK_ZERO) {
		memset(f->model + r->offset, 0, r->bytes);
	}
	g_clear_pointer(&p->mem, g_free);
	p->busy = false;
	f->busy--;
}

static void piece_start(struct files *f, struct piece *p, bool sectors)
{
	unsigned dice = (unsigned)g_rand_int_range(f->rand, 0, 100), unit = sectors ? 512 : 1;
	enum block_op op = dice < 45   ? BLOCK_WRITE
			   : dice < 80 ? BLOCK_READ
			   : dice < 90 ? BLOCK_ZERO
				       : BLOCK_FLUSH;
	uint64_t off = (uint64_t)g_rand_int_range(f->rand, 0, (gint32)(f->size / unit)) * unit;
	uint64_t len = (uint64_t)g_rand_int_range(f->rand, 1,
			       dice % 10 ? 20000 / (gint32)unit : 300000 / (gint32)unit) *
		       unit;
	size_t skew = (size_t)g_rand_int_range(f->rand, 0, 3) * 16, cut;

	len = MIN(len, f->size - off);
	if (op == BLOCK_FLUSH)
		off = len = 0;
	for (unsigned i = 0; i < DEPTH; i++)
		if (f->pieces[i].busy && off < f->pieces[i].req.offset + f->pieces[i].req.bytes &&
			f->pieces[i].req.offset < off + len)
			return;
	p->files = f;
	p->busy = true;
	f->busy++;
	p->req = (struct block_req){ .op = op,
		.offset = off,
		.bytes = len,
		.done = piece_done,
		.arg = p,
		.flags = g_rand_int_range(f->rand, 0, 10) ? 0 : BLOCK_FUA };
	if (op == BLOCK_ZERO && dice % 2)
		p->req.flags |= BLOCK_UNMAP;
	if (op == BLOCK_WRITE || op == BLOCK_READ) {
		p->mem = g_malloc(len + 8192);
		for (uint64_t i = 0; op == BLOCK_WRITE && i < len + 8192; i += 7)
			p->mem[i] = (uint8_t)g_rand_int(f->rand);
		cut = (size_t)g_rand_int_range(f->rand, 0, (gint32)(len / 2 + 1));
		p->iov[0] = (struct iovec){ (char *)(((uintptr_t)p->mem + 4095) & ~4095ul) + skew,
			cut };
		p->iov[1] = (struct iovec){ (char *)p->iov[0].iov_base + cut, len - cut };
		p->req.iov = p->iov;
		p->req.iov_n = 2;
		if (g_rand_int_range(f->rand, 0, 2)) {
			p->iov[0].iov_len = len;
			p->req.iov_n = 1;
		}
	}
	block_submit(f->block, &p->req);
}

static void test_file(const void *arg)
{
	const struct file_case *c = arg;
	struct files f = { .size = c->slice ? c->slice : c->size };
	g_autofree char *path = NULL, *whole = NULL;
	struct block_file_config config = { .fd = "disk", .offset = c->slice_at, .size = c->slice };
	struct block_row row = { c->driver, &config };
	struct stat st;
	uint8_t *all;
	gsize n;
	int fd;

	rig_init(&f.rig, false, true);
	if (!strcmp(c->driver, "uring") && !f.rig.host->ring) {
		g_test_skip("this host allows no io_uring");
		rig_finish(&f.rig);
		return;
	}
	f.rand = g_rand_new_with_seed(g_test_rand_int() & 0xffff);
	all = g_malloc(c->size);
	memset(all, 0x55, c->size);
	f.model = all + c->slice_at;
	path = rig_path(&f.rig, "file");
	rig_save(path, all, c->size);
	fd = open(path, O_RDWR | O_CLOEXEC | (c->direct ? O_DIRECT : 0));
	if (fd < 0) {
		g_test_skip("no O_DIRECT on this file system");
		rig_finish(&f.rig);
		return;
	}
	g_assert_true(fdset_add(f.rig.fds, "disk", fd, NULL));
	f.block = rig_open(&f.rig, &row, 1, NULL);
	g_assert_cmpuint(block_size(f.block), ==, f.size);
	for (unsigned i = 0; i < 2500; i++) {
		struct piece *p = &f.pieces[g_rand_int_range(f.rand, 0, DEPTH)];

		block_plug(f.block);
		if (!p->busy)
			piece_start(&f, p, i % 3);
		block_unplug(f.block);
		if (i % 4 == 0)
			loop_step(f.rig.loop, 0);
	}
	rig_run(&f.rig, &f.busy);
	if (!c->slice) {        /* discards give space back; resizing grows */
		struct block_info before, after;

		block_info(f.block, &before);
		g_assert_cmpint(rig_io(&f.rig, f.block, BLOCK_DISCARD, 0, 100, NULL, f.size - 200),
			==, f.size - 200);
		block_info(f.block, &after);
		g_assert_cmpuint(after.allocated, <, before.allocated);
		memset(f.model + 4096, 0, f.size - 8192 - f.size % 4096);
		g_assert_cmpint(rig_io(&f.rig, f.block, BLOCK_READ, 0, 4096, f.model + 4096, 4096),
			==, 4096);
		g_assert_cmpint(rig_io(&f.rig, f.block, BLOCK_RESIZE, 0,
					f.size + 51200 - f.size % 512, NULL, 0),
			==, 0);
		g_assert_cmpuint(block_size(f.block), ==, f.size + 51200 - f.size % 512);
		g_assert_cmpint(fstat(fd, &st), ==, 0);
		g_assert_cmpint(st.st_size, ==, f.size + 51200 - f.size % 512);
	}
	rig_close(&f.rig, f.block, false);
	g_assert_true(g_file_get_contents(path, &whole, &n, NULL));
	if (c->slice) {
		g_assert_cmpuint(n, ==, c->size);
		g_assert_cmpmem(whole, n, all, c->size); /* nothing outside the slice was touched */
	}
	g_free(all);
	g_rand_free(f.rand);
	rig_finish(&f.rig);
}

/* --- from a <disk> --- */

static void test_disk(void)
{
	struct rig r;
	struct disk *d = schema_new(&disk_schema);
	struct block_info info;
	struct block *b;
	g_autofree char *path = NULL;
	uint8_t buf[512];
	GError *err = NULL;

	rig_init(&r, false, true);
	path = rig_path(&r, "disk");
	memset(buf, 7, sizeof(buf));
	rig_save(path, buf, sizeof(buf));
	g_assert_true(fdset_add(r.fds, "disk0", open(path, O_RDWR | O_CLOEXEC), NULL));
	d->type = DISK_FILE;
	d->source.file.path = g_strdup(path);
	d->driver.format = FORMAT_VMDK;
	g_assert_null(block_open_disk(r.host, d, r.fds, &err));
	g_assert_error(err, kerr_quark(), KERR_UNSUPPORTED);
	g_clear_error(&err);
	d->source.file.fd = g_strdup("disk0");
	d->driver.format = FORMAT_RAW;
	d->driver.cache = CACHE_WRITETHROUGH;
	d->driver.detect_zeroes = ZEROES_ON;
	d->iotune.total_bytes_sec = 1 << 20;
	b = block_open_disk(r.host, d, r.fds, &err);
	g_assert_no_error(err);
	block_info(b, &info);
	g_assert_cmpstr(info.format, ==, "raw");
	g_assert_cmpuint(info.size, ==, 512);
	g_assert_cmpuint(info.images, ==, 1);
	memset(buf, 0, sizeof(buf));
	g_assert_cmpint(rig_io(&r, b, BLOCK_READ, 0, 0, buf, 512), ==, 512);
	g_assert_cmpuint(buf[511], ==, 7);
	g_assert_true(block_set_iotune(b, NULL, &err));
	rig_close(&r, b, false);
	/* the descriptor is used up */
	g_assert_null(block_open_disk(r.host, d, r.fds, NULL));
	schema_free(&disk_schema, d);
	rig_finish(&r);
}

static void make_qcow2(struct rig *r, const char *path)
{
	struct block_file_config c = { .fd = "new", .flags = BLOCK_FILE_GROWS };
	struct block_row row = { "threads", &c };
	struct block *b;

	g_assert_true(fdset_add(r->fds, "new", open(path, O_RDWR | O_CLOEXEC), NULL));
	b = block_open(r->host, &row, 1, &(struct block_options){ 0 }, r->fds, NULL);
	g_assert_nonnull(b);
	g_assert_true(qcow2_create(b, &(struct qcow2_create){ .size = 1 << 20 }, NULL));
	rig_close(r, b, false);
}

/* Which modes tell the guest of a cache, raw or with a format above: all but those that write through. */
static void test_modes(void)
{
	static const bool cached[CACHE_N] = { [CACHE_ABSENT] = true, [CACHE_DEFAULT] = true, [CACHE_NONE] = true, [CACHE_WRITEBACK] = true,
		[CACHE_UNSAFE] = true };

	for (unsigned i = 0; i < 2 * CACHE_N; i++) {
		struct disk *d = schema_new(&disk_schema);
		struct rig r;
		struct block *b;
		g_autofree char *path = NULL;
		GError *err = NULL;

		rig_init(&r, false, true);
		path = rig_path(&r, "disk");
		rig_save(path, "", 0);
		if (i >= CACHE_N)
			make_qcow2(&r, path);
		g_assert_true(fdset_add(r.fds, "disk0", open(path, O_RDWR | O_CLOEXEC), NULL));
		d->type = DISK_FILE;
		d->source.file.path = g_strdup(path);
		d->source.file.fd = g_strdup("disk0");
		d->driver.format = i < CACHE_N ? FORMAT_RAW : FORMAT_QCOW2;
		d->driver.cache = (int)(i % CACHE_N);
		b = block_open_disk(r.host, d, r.fds, &err);
		g_assert_no_error(err);
		g_assert_cmpint(!!(block_can(b) & BLOCK_CAN_CACHE), ==, cached[i % CACHE_N]);
		rig_close(&r, b, false);
		schema_free(&disk_schema, d);
		rig_finish(&r);
	}
}

/* discard='ignore': what was allocated stays so, also when the guest zeroes it and allows to give it back. */
static void test_unmap(void)
{
	for (int discard = DISCARD_ABSENT; discard < DISCARD_N; discard++) {
		struct disk *d = schema_new(&disk_schema);
		g_autofree uint8_t *buf = g_malloc(1 << 20);
		struct block_info info;
		struct rig r;
		struct block *b;
		GError *err = NULL;

		rig_init(&r, false, true);
		g_autofree char *path = rig_path(&r, "disk");
		memset(buf, 1, 1 << 20);
		rig_save(path, buf, 1 << 20);
		g_assert_true(fdset_add(r.fds, "disk0", open(path, O_RDWR | O_CLOEXEC), NULL));
		d->type = DISK_FILE;
		d->source.file.path = g_strdup(path);
		d->source.file.fd = g_strdup("disk0");
		d->driver.format = FORMAT_RAW;
		d->driver.discard = discard;
		b = block_open_disk(r.host, d, r.fds, &err);
		g_assert_no_error(err);
		g_assert_cmpint(rig_io(&r, b, BLOCK_ZERO, BLOCK_UNMAP, 0, NULL, 1 << 20), ==, 1 << 20);
		g_assert_cmpint(rig_io(&r, b, BLOCK_READ, 0, 0, buf, 1 << 20), ==, 1 << 20);
		g_assert_true(!buf[0] && !memcmp(buf, buf + 1, (1 << 20) - 1));
		block_info(b, &info);
		g_assert_cmpint(info.allocated >= 1 << 20, ==, discard == DISCARD_IGNORE);
		rig_close(&r, b, false);
		schema_free(&disk_schema, d);
		rig_finish(&r);
	}
}

/* A loop with a thread of its own, as in a worker: requests are posted to it. */
struct worker {
	struct block *block;
	struct block_req reqs[8];
	struct iovec iov[8];
	uint8_t buf[8][4096];
	unsigned left, n;
	GMutex lock;
	GCond cond;
};

static void worker_done(struct block_req *r, int64_t result)
{
	struct worker *w = r->arg;

	g_assert_cmpint(result, ==, 4096);
	if (w->left) {
		w->left--;
		r->offset = (r->offset + 4096 * 37) % FILE_BYTES;
		r->op = w->left % 3 ? BLOCK_WRITE : BLOCK_READ;
		block_submit(w->block, r);
		return;
	}
	g_mutex_lock(&w->lock);
	w->n--;
	g_cond_signal(&w->cond);
	g_mutex_unlock(&w->lock);
}

static void worker_start(void *arg)
{
	struct worker *w = arg;

	block_plug(w->block);
	for (unsigned i = 0; i < 8; i++) {
		w->iov[i] = (struct iovec){ w->buf[i], 4096 };
		w->reqs[i] = (struct block_req){ .op = BLOCK_WRITE,
			.offset = i * 4096u,
			.bytes = 4096,
			.iov = &w->iov[i],
			.iov_n = 1,
			.done = worker_done,
			.arg = w };
		block_submit(w->block, &w->reqs[i]);
	}
	block_unplug(w->block);
}

static void test_thread(const void *driver)
{
	struct rig r;
	struct block_file_config config = { .fd = "disk" };
	struct block_row row = { driver, &config };
	struct worker *w = g_new0(struct worker, 1);
	g_autofree char *path = NULL, *zero = g_malloc0(FILE_BYTES);
	struct block_stats stats;
	GError *err = NULL;

	rig_init(&r, false, true);
	if (!strcmp(driver, "uring") && !r.host->ring) {
		g_test_skip("this host allows no io_uring");
		goto out;
	}
	path = rig_path(&r, "file");
	rig_save(path, zero, FILE_BYTES);
	g_assert_true(fdset_add(r.fds, "disk", open(path, O_RDWR | O_CLOEXEC), NULL));
	g_assert_true(loop_start(r.loop, &err));
	w->block = rig_open(&r, &row, 1, NULL);
	w->left = 2000;
	w->n = 8;
	loop_post(r.loop, worker_start, w);
	g_mutex_lock(&w->lock);
	while (w->n) {
		g_cond_wait(&w->cond, &w->lock);
		block_stats(w->block, &stats);
	}
	g_mutex_unlock(&w->lock);
	loop_stop(r.loop);
	block_stats(w->block, &stats);
	g_assert_cmpuint(stats.op[BLOCK_WRITE].ops + stats.op[BLOCK_READ].ops, ==, 2008);
	rig_close(&r, w->block, false);
out:
	g_free(w);
	rig_finish(&r);
}

/* Pages of the file in the page cache; fd is not written by anybody. */
static unsigned cached(int fd, size_t size)
{
	void *at = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	g_autofree unsigned char *in = g_malloc0(size / 4096);
	unsigned n = 0;

	g_assert_true(at != MAP_FAILED && mincore(at, size, in) == 0);
	for (size_t i = 0; i < size / 4096; i++)
		n += in[i] & 1;
	munmap(at, size);
	return n;
}

/* What a copy left in the page cache would stand in the way of direct writes. */
static void test_cached(void)
{
	static const char zeroes[1 << 20];
	struct block_file_config file = { .fd = "disk" };
	struct block_row row = { "threads", &file };
	struct rig rig;
	struct block *b;
	g_autofree char *path = NULL;
	g_autofree char *all = g_malloc(sizeof(zeroes));
	int fd, direct;

	rig_init(&rig, false, false);
	path = rig_path(&rig, "file");
	rig_save(path, zeroes, sizeof(zeroes));
	fd = open(path, O_RDWR | O_CLOEXEC);
	direct = open(path, O_RDWR | O_CLOEXEC | O_DIRECT);
	g_assert_true(fd >= 0 && fsync(fd) == 0);
	if (direct < 0 || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) || cached(fd, sizeof(zeroes)) ||
		pread(fd, all, sizeof(zeroes), 0) != sizeof(zeroes) || !cached(fd, sizeof(zeroes))) {
		g_test_skip("no O_DIRECT on this file system, or nothing leaves its cache");
		if (direct >= 0)
			close(direct);
	} else {
		g_assert_true(fdset_add(rig.fds, "disk", direct, NULL));
		b = rig_open(&rig, &row, 1, NULL);
		g_assert_cmpuint(cached(fd, sizeof(zeroes)), ==, 0);
		rig_close(&rig, b, false);
	}
	close(fd);
	rig_finish(&rig);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/block/door", test_door);
	g_test_add_func("/block/batch", test_batch);
	g_test_add_func("/block/fua-and-detect", test_fua_and_detect);
	g_test_add_func("/block/drain", test_drain);
	g_test_add_func("/block/rows", test_rows);
	g_test_add_func("/block/disk", test_disk);
	g_test_add_func("/block/modes", test_modes);
	g_test_add_func("/block/unmap", test_unmap);
	for (unsigned i = 0; i < G_N_ELEMENTS(file_cases); i++) {
		g_autofree char *path = g_strdup_printf("/block/file/%s", file_cases[i].name);

		g_test_add_data_func(path, &file_cases[i], test_file);
	}
	g_test_add_func("/block/cached", test_cached);
	g_test_add_data_func("/block/thread/threads", "threads", test_thread);
	g_test_add_data_func("/block/thread/uring", "uring", test_thread);
	return g_test_run();
}
