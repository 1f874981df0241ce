/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Disks that are files, through io_uring and threads: pieces of any kind, a loop on a thread of its own, the host's cache. */
#include <fcntl.h>
#include <sys/mman.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/devices/block_rig.h"

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

/* --- on a thread of its own --- */

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

/* --- the host's cache --- */

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
	for (unsigned i = 0; i < G_N_ELEMENTS(file_cases); i++) {
		g_autofree char *path = g_strdup_printf("/block/file/%s", file_cases[i].name);

		g_test_add_data_func(path, &file_cases[i], test_file);
	}
	g_test_add_func("/block/cached", test_cached);
	g_test_add_data_func("/block/thread/threads", "threads", test_thread);
	g_test_add_data_func("/block/thread/uring", "uring", test_thread);
	return g_test_run();
}
