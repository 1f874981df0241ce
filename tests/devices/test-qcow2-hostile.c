/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Damaged and hostile qcow2 images: good ones of every kind, mutated in their header and tables, go through the fuzz
 * target; and the header parser alone gets each cut and each flipped bit. KVMD_LONG=1: 100,000 mutations.
 */
#include <string.h>

#include "block_rig.h"
#include "domain/disk.h"
#include "domain/error.h"
#include "domain/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

struct good { uint8_t *data; uint64_t n; };

/* A used image, small. */
static struct good make(struct rig *r, uint32_t cluster, unsigned bits, unsigned version, bool lazy,
	bool zstd, bool backing)
{
	struct block_mem_config mem = { .max = 64 << 20 }, base = { .size = 1 << 20 };
	struct block_row leaf = { "mem", &mem },
			 rows[] = { { "qcow2", NULL }, { "mem", &mem }, { "mem", &base } };
	struct qcow2_create c = { .size = 900 << 10,
		.cluster = cluster,
		.refcount_bits = bits,
		.version = version,
		.lazy_refcounts = lazy,
		.zstd = zstd,
		.backing = backing ? "/base" : NULL,
		.backing_format = backing ? FORMAT_RAW : 0 };
	struct block *b = rig_open(r, &leaf, 1, NULL);
	g_autofree uint8_t *buf = g_malloc0(200000);
	struct good g;
	GError *err = NULL;

	g_assert_true(qcow2_create(b, &c, &err));
	g.data = g_memdup2(block_mem_data(b, &g.n), b->size);
	rig_close(r, b, false);
	mem.data = g.data;
	mem.data_n = mem.size = g.n;
	b = rig_open(r, rows, backing ? 3 : 2, NULL);
	g_assert_cmpint(rig_io(r, b, BLOCK_WRITE, 0, 5000, buf, 200000), ==, 200000);
	g_assert_cmpint(rig_io(r, b, BLOCK_ZERO, 0, 100000, NULL, 50000), ==, 50000);
	g_assert_cmpint(rig_io(r, b, BLOCK_DISCARD, 0, 10000, NULL, 50000), ==, 50000);
	g_assert_cmpint(rig_io(r, b, BLOCK_FLUSH, 0, 0, NULL, 0), ==, 0);
	g_free(g.data);
	g.data = g_memdup2(block_mem_data(b->lower, &g.n), b->lower->size);
	rig_close(r, b, false);
	return g;
}

static void test_mutations(void)
{
	static const uint64_t values[] = { 0, 1, 2, 511, 512, 65536, 0x7fffffff, 0x80000000,
		0xffffffff, 1ull << 56, 1ull << 62, 1ull << 63, UINT64_MAX, 0x40000000000000ff,
		0x8000000000000001 };
	uint64_t count = rig_count("KVMD_MUTATIONS", 4000, 100000);
	uint32_t seed = (uint32_t)rig_count(
		"KVMD_SEED", (uint64_t)g_test_rand_int() & 0x7fffffff, g_random_int());
	GRand *rand = g_rand_new_with_seed(seed);
	struct good good[6];
	struct rig r;

	g_test_message("KVMD_SEED=%u", seed);
	rig_init(&r, true, false);
	good[0] = make(&r, 65536, 16, 3, false, false, false);
	good[1] = make(&r, 512, 64, 3, false, false, false);
	good[2] = make(&r, 4096, 1, 3, false, true, false);
	good[3] = make(&r, 4096, 16, 2, false, false, false);
	good[4] = make(&r, 4096, 16, 3, false, false, true);
	good[5] = make(&r, 1024, 8, 3, true, false, false);
	for (uint64_t i = 0; i < count; i++) {
		const struct good *g = &good[i % G_N_ELEMENTS(good)];
		g_autofree uint8_t *data = g_memdup2(g->data, g->n);
		uint64_t n = g->n;
		unsigned changes = 1 + (unsigned)g_rand_int_range(rand, 0, 4);

		for (unsigned k = 0; k < changes; k++) {
			/* the header mostly, then any table: all of them lie in the first clusters */
			unsigned dice = (unsigned)g_rand_int_range(rand, 0, 10);
			uint64_t at =
				dice < 6 ? (uint64_t)g_rand_int_range(rand, 0, 28) * 4
				: dice < 7
					? (uint64_t)g_rand_int_range(rand, 72, 80)
					: (uint64_t)g_rand_int_range(rand, 0, (gint32)(n / 8)) * 8;
			uint64_t v = GUINT64_TO_BE(
				values[g_rand_int_range(rand, 0, G_N_ELEMENTS(values))]);

			switch (g_rand_int_range(rand, 0, 4)) {
			case 0:
				data[at] ^= (uint8_t)(1u << g_rand_int_range(rand, 0, 8));
				break;
			case 1:
				memcpy(data + at, &v, MIN(8, n - at));
				break;
			case 2:
				memcpy(data + at, (uint8_t *)&v + 4, MIN(4, n - at));
				break;
			default:        /* a pointer to another cluster of the image */
				v = GUINT64_TO_BE(
					((uint64_t)g_rand_int(rand) % (n / 512 + 4) * 512) |
					(g_rand_int_range(rand, 0, 2) ? 1ull << 63 : 0) |
					(g_rand_int_range(rand, 0, 6) ? 0 : 1ull << 62));
				memcpy(data + at, &v, MIN(8, n - at));
				break;
			}
		}
		if (g_rand_int_range(rand, 0, 20) == 0)
			n = (uint64_t)g_rand_int_range(rand, 1, (gint32)n);
		if (g_rand_int_range(rand, 0, 10) == 0 && n > 80)
			data[79] |= 1;          /* not closed: it will be repaired */
		{
			g_autofree uint8_t *exact = g_memdup2(data, n);

			LLVMFuzzerTestOneInput(exact, n);
		}
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(good); i++)
		g_free(good[i].data);
	g_rand_free(rand);
	rig_finish(&r);
}

static void probe(const uint8_t *data, size_t n)
{
	struct image_info info;
	GError *err = NULL;
	size_t need;

	if (image_probe(data, n, 1 << 20, FORMAT_QCOW2, &info, &need, &err)) {
		g_assert_no_error(err);
		image_info_clear(&info);
	} else {
		g_assert_nonnull(err);
		g_assert_true(!need || need > n);
		g_clear_error(&err);
	}
}

static void test_probe(void)
{
	struct rig r;
	struct good g;
	struct image_info info;
	GError *err = NULL;
	char *path;

	rig_init(&r, true, false);
	g = make(&r, 4096, 16, 3, false, false, true);
	g_assert_true(image_probe(g.data, 4096, g.n, FORMAT_QCOW2, &info, NULL, &err));
	g_assert_cmpstr(info.backing, ==, "/base");
	g_assert_cmpint(info.backing_format, ==, FORMAT_RAW);
	g_assert_cmpuint(info.size, ==, 900 << 10);
	image_info_clear(&info);
	/* a guest's bytes are never looked at */
	g_assert_true(image_probe(g.data, 4096, g.n, FORMAT_RAW, &info, NULL, &err));
	g_assert_null(info.backing);
	g_assert_cmpuint(info.size, ==, g.n);
	for (size_t cut = 0; cut < 200; cut++) {
		g_autofree uint8_t *exact = g_memdup2(g.data, MAX(cut, 1));

		probe(exact, cut);
	}
	for (unsigned bit = 0; bit < 200 * 8; bit++) {
		g_autofree uint8_t *exact = g_memdup2(g.data, 4096);

		exact[bit / 8] ^= (uint8_t)(1u << bit % 8);
		probe(exact, 4096);
	}
	g_free(g.data);

	path = image_backing_path("/img/a.qcow2", "b.raw", &err);
	g_assert_cmpstr(path, ==, "/img/b.raw");
	g_free(path);
	path = image_backing_path("/img/a.qcow2", "/x/b.raw", &err);
	g_assert_cmpstr(path, ==, "/x/b.raw");
	g_free(path);
	path = image_backing_path("/img/a.qcow2", "file:b:c.raw", &err);
	g_assert_cmpstr(path, ==, "/img/b:c.raw");
	g_free(path);
	g_assert_null(image_backing_path("/img/a.qcow2", "json:{\"driver\":\"nbd\"}", &err));
	g_clear_error(&err);
	g_assert_null(image_backing_path("/img/a.qcow2", "nbd://host/x", &err));
	g_clear_error(&err);
	rig_finish(&r);
}

/* --- chains --- */

struct fake_files { struct image_reader reader; struct { const char *path; uint8_t data[4096]; size_t n; } files[4]; unsigned n; };

static bool fake_read(struct image_reader *reader, const char *path, uint8_t *buf, size_t n, size_t *got, uint64_t *size,
	GError **err)
{
	struct fake_files *f = (struct fake_files *)reader;

	for (unsigned i = 0; i < f->n; i++)
		if (!strcmp(f->files[i].path, path)) {
			*got = MIN(n, f->files[i].n);
			*size = f->files[i].n;
			memcpy(buf, f->files[i].data, *got);
			return true;
		}
	return kerr_set(err, KERR_NO_FILE, "no file '%s'", path);
}

static void add_file(struct fake_files *f, struct rig *r, const char *path, const char *backing, int format)
{
	struct block_mem_config mem = { .max = 1 << 20 };
	struct block_row row = { "mem", &mem };
	struct qcow2_create c = { .size = 1 << 20, .cluster = 512, .backing = backing, .backing_format = format };
	struct block *b = rig_open(r, &row, 1, NULL);
	uint64_t n;
	const void *data;

	g_assert_true(qcow2_create(b, &c, NULL));
	data = block_mem_data(b, &n);
	f->files[f->n].path = path;
	f->files[f->n].n = MIN(n, 4096);
	memcpy(f->files[f->n++].data, data, MIN(n, 4096));
	rig_close(r, b, false);
}

static void test_chain(void)
{
	struct fake_files f = { { fake_read } };
	struct disk *d = schema_new(&disk_schema);
	struct rig r;
	GError *err = NULL;

	rig_init(&r, true, false);
	add_file(&f, &r, "/i/top", "mid", FORMAT_QCOW2);
	add_file(&f, &r, "/i/mid", "/b/base", FORMAT_RAW);
	add_file(&f, &r, "/i/mute", "/b/base", FORMAT_ABSENT);
	add_file(&f, &r, "/i/self", "self", FORMAT_QCOW2);
	d->type = DISK_FILE;
	d->driver.format = FORMAT_QCOW2;
	d->source.file.path = g_strdup("/i/top");
	g_assert_true(image_chain(d, &f.reader, &err));
	g_assert_cmpstr(d->backing->source.file.path, ==, "/i/mid");
	g_assert_cmpint(d->backing->format, ==, FORMAT_QCOW2);
	g_assert_cmpstr(d->backing->backing->source.file.path, ==, "/b/base");
	g_assert_cmpint(d->backing->backing->format, ==, FORMAT_RAW);
	g_assert_null(d->backing->backing->backing);
	g_assert_true(image_chain(d, &f.reader, &err));         /* again: it stays */

	schema_clear(&disk_schema, d);
	d->type = DISK_FILE;
	d->driver.format = FORMAT_QCOW2;
	d->source.file.path = g_strdup("/i/mute");
	g_assert_false(image_chain(d, &f.reader, &err));
	g_assert_error(err, kerr_quark(), KERR_UNSUPPORTED);
	g_assert_null(d->backing);
	g_clear_error(&err);
	g_free(d->source.file.path);
	d->source.file.path = g_strdup("/i/self");
	g_assert_false(image_chain(d, &f.reader, &err));
	g_assert_error(err, kerr_quark(), KERR_STATE_DATA);
	g_clear_error(&err);
	schema_free(&disk_schema, d);
	rig_finish(&r);
}

static void say_nothing(const gchar *domain, GLogLevelFlags level, const gchar *text, gpointer arg)
{
	if (!(level & (G_LOG_LEVEL_DEBUG | G_LOG_LEVEL_INFO)))
		g_log_default_handler(domain, level, text, arg);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_log_set_default_handler(
		say_nothing, NULL); /* thousands of damaged images are told at debug */
	g_test_add_func("/qcow2/hostile/probe", test_probe);
	g_test_add_func("/qcow2/hostile/chain", test_chain);
	g_test_add_func("/qcow2/hostile/mutations", test_mutations);
	return g_test_run();
}
