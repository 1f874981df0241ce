/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Definitions survive power cuts. The store's system calls are recorded (the linker's --wrap); then the power is cut after
 * each of them: data that was not synced is there, half there or missing, and of the changes of a folder that was not
 * synced any may have reached the disk. From each of these disks the store must read, for each uuid, what was last reported as done
 * or something that was asked for later, whole. And each call fails once: the change is reported as failed and undone.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/store.h"
#include "domain/error.h"

#define UUIDS 3
#define SUBSETS 12              /* of the unsynced changes, at each cut */
static const char *const uuids[UUIDS] = { "6a5b8c1e-0000-4000-8000-000000000001", "6a5b8c1e-0000-4000-8000-000000000002",
	"6a5b8c1e-0000-4000-8000-000000000003" };

/* --- what the store did --- */

enum what { CREATE, WRITE, SYNC, SYNC_DIR, RENAME, UNLINK, DONE };
struct op {
	enum what what;
	char *path, *to;        /* base names below the folder; DONE: the uuid, and its text or NULL: removed */
	GString *data;          /* WRITE */
	unsigned file;          /* its number: CREATE, WRITE, SYNC, RENAME */
};

static struct {
	GMutex lock;
	bool on;
	GPtrArray *ops;
	const char *dir;
	unsigned files, file_of[1024];  /* by descriptor; 0: not one of ours */
	bool dirs[1024];
	GHashTable *names;              /* path → number */
	unsigned fail_at, calls;        /* the call that fails, from 1; 0: none */
} rec;

static void op_free(gpointer data)
{
	struct op *o = data;

	g_free(o->path);
	g_free(o->to);
	if (o->data)
		g_string_free(o->data, TRUE);
	g_free(o);
}

static struct op *record(enum what what, const char *path, unsigned file)
{
	struct op *o = g_new0(struct op, 1);

	*o = (struct op){ .what = what, .path = path ? g_path_get_basename(path) : NULL, .file = file };
	g_ptr_array_add(rec.ops, o);
	return o;
}

static bool fails(void)
{
	return rec.on && ++rec.calls == rec.fail_at;
}

static bool ours(const char *path)
{
	return rec.on && g_str_has_prefix(path, rec.dir);
}

int __real_open64(const char *, int, ...);
int __wrap_open64(const char *, int, ...);
int __real_fsync(int);
int __wrap_fsync(int);
ssize_t __real_write(int, const void *, size_t);
ssize_t __wrap_write(int, const void *, size_t);
int __real_rename(const char *, const char *);
int __wrap_rename(const char *, const char *);
int __real_unlink(const char *);
int __wrap_unlink(const char *);

int __wrap_open64(const char *path, int flags, ...)
{
	va_list ap;
	mode_t mode;
	int fd;

	va_start(ap, flags);
	mode = flags & O_CREAT ? va_arg(ap, mode_t) : 0;
	va_end(ap);
	g_mutex_lock(&rec.lock);
	if (ours(path) && flags & O_CREAT && fails()) {
		g_mutex_unlock(&rec.lock);
		errno = ENOSPC;
		return -1;
	}
	fd = __real_open64(path, flags, mode);
	if (fd >= 0 && fd < 1024) {
		rec.file_of[fd] = 0;
		rec.dirs[fd] = ours(path) && flags & O_DIRECTORY;
		if (ours(path) && flags & O_CREAT) {
			rec.file_of[fd] = ++rec.files;
			g_hash_table_insert(rec.names, g_strdup(path), GUINT_TO_POINTER(rec.files));
			record(CREATE, path, rec.files);
		}
	}
	g_mutex_unlock(&rec.lock);
	return fd;
}

ssize_t __wrap_write(int fd, const void *data, size_t len)
{
	ssize_t n;

	g_mutex_lock(&rec.lock);
	if (fd < 0 || fd >= 1024 || !rec.on || !rec.file_of[fd]) {
		g_mutex_unlock(&rec.lock);
		return __real_write(fd, data, len);
	}
	if (fails()) {
		n = -1;
		errno = ENOSPC;
	} else {
		n = __real_write(fd, data, len > 7 ? len / 2 : len);    /* short writes happen */
	}
	if (n > 0)
		record(WRITE, NULL, rec.file_of[fd])->data = g_string_new_len(data, n);
	g_mutex_unlock(&rec.lock);
	return n;
}

int __wrap_fsync(int fd)
{
	int r = 0;

	g_mutex_lock(&rec.lock);
	if (fails()) {
		r = -1;
		errno = EIO;
	} else if (rec.on && fd >= 0 && fd < 1024 && (rec.file_of[fd] || rec.dirs[fd])) {
		record(rec.dirs[fd] ? SYNC_DIR : SYNC, NULL, rec.file_of[fd]);
	}
	g_mutex_unlock(&rec.lock);
	return r;
}

int __wrap_rename(const char *from, const char *to)
{
	unsigned file;
	int r = -1;

	g_mutex_lock(&rec.lock);
	if (fails()) {
		errno = EIO;
	} else {
		r = __real_rename(from, to);
		if (!r && ours(to)) {
			file = GPOINTER_TO_UINT(g_hash_table_lookup(rec.names, from));
			record(RENAME, from, file)->to = g_path_get_basename(to);
			g_hash_table_insert(rec.names, g_strdup(to), GUINT_TO_POINTER(file));
		}
	}
	g_mutex_unlock(&rec.lock);
	return r;
}

int __wrap_unlink(const char *path)
{
	int r;

	g_mutex_lock(&rec.lock);
	r = __real_unlink(path);
	if (!r && ours(path))
		record(UNLINK, path, 0);
	g_mutex_unlock(&rec.lock);
	return r;
}

/* --- a store of its own --- */

struct rig {
	char *root;
	struct paths paths;
	struct store *store;
};

static void rig_init(struct rig *r)
{
	g_autoptr(GError) err = NULL;

	r->root = g_dir_make_tmp("kvmd-store-XXXXXX", &err);
	g_assert_no_error(err);
	r->paths = (struct paths){ .domains = g_build_filename(r->root, "domains", NULL), .autostart = g_build_filename(r->root, "autostart", NULL) };
	g_assert_cmpint(g_mkdir(r->paths.domains, 0700), ==, 0);
	g_assert_cmpint(g_mkdir(r->paths.autostart, 0700), ==, 0);
	r->store = store_new(&r->paths);
	rec.ops = g_ptr_array_new_with_free_func(op_free);
	rec.names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	rec.dir = r->paths.domains;
	rec.files = rec.calls = rec.fail_at = 0;
	rec.on = true;
}

static void empty_folder(const char *path)
{
	GDir *d = g_dir_open(path, 0, NULL);
	const char *name;

	while ((name = g_dir_read_name(d))) {
		g_autofree char *file = g_build_filename(path, name, NULL);

		g_assert_cmpint(g_unlink(file), ==, 0);
	}
	g_dir_close(d);
}

static void rig_finish(struct rig *r)
{
	store_free(r->store);
	rec.on = false;
	g_ptr_array_unref(rec.ops);
	g_hash_table_unref(rec.names);
	empty_folder(r->paths.domains);
	empty_folder(r->paths.autostart);
	g_rmdir(r->paths.domains);
	g_rmdir(r->paths.autostart);
	g_assert_cmpint(g_rmdir(r->root), ==, 0);
	g_free(r->paths.domains);
	g_free(r->paths.autostart);
	g_free(r->root);
}

/* What was asked of the store, in order; .text NULL: removed. */
struct asked { const char *uuid; char *text; bool done; };
static GPtrArray *wishes;

static void asked_free(gpointer data)
{
	g_free(((struct asked *)data)->text);
	g_free(data);
}

static void is_done(void *arg, const GError *err)
{
	struct asked *a = arg;

	g_assert_no_error(err);
	a->done = true;
	g_mutex_lock(&rec.lock);
	record(DONE, a->uuid, 0)->to = g_strdup(a->text);
	g_mutex_unlock(&rec.lock);
}

static void ask(struct rig *r, unsigned uuid, const char *text)
{
	struct asked *a = g_new0(struct asked, 1);

	*a = (struct asked){ .uuid = uuids[uuid], .text = g_strdup(text) };
	g_ptr_array_add(wishes, a);
	if (text)
		store_put(r->store, a->uuid, text, is_done, a);
	else
		store_remove(r->store, a->uuid, is_done, a);
}

static void settle(void)
{
	for (unsigned i = 0; i < wishes->len; i++)
		while (!((struct asked *)wishes->pdata[i])->done)
			g_main_context_iteration(NULL, TRUE);
}

/* --- the disk after a cut --- */

struct disk { GHashTable *names /* → file number */; GString **data; };

/* The first n operations; of a folder's unsynced changes those whose bit is set; unsynced data by `torn`. */
static void make_disk(struct disk *d, unsigned n, uint64_t bits, unsigned torn)
{
	g_autofree bool *synced = g_new0(bool, rec.files + 1), *durable = g_new0(bool, rec.ops->len + 1);
	unsigned bit = 0;

	d->names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	d->data = g_new0(GString *, rec.files + 1);
	for (unsigned i = 0; i <= rec.files; i++)
		d->data[i] = g_string_new(NULL);
	for (unsigned i = 0; i < n; i++) {
		const struct op *o = rec.ops->pdata[i];

		if (o->what == SYNC)
			synced[o->file] = true;
		for (unsigned j = 0; o->what == SYNC_DIR && j < i; j++)
			durable[j] = true;
		if (o->what == WRITE)
			g_string_append_len(d->data[o->file], o->data->str, (gssize)o->data->len);
	}
	for (unsigned i = 1; i <= rec.files; i++)
		if (!synced[i] && torn)
			g_string_truncate(d->data[i], torn == 1 ? 0 : d->data[i]->len / 2);
	for (unsigned i = 0; i < n; i++) {
		const struct op *o = rec.ops->pdata[i];

		if (o->what != CREATE && o->what != RENAME && o->what != UNLINK)
			continue;
		if (!durable[i] && !(bits >> bit++ % 64 & 1))
			continue;
		if (o->what != CREATE)
			g_hash_table_remove(d->names, o->path);
		if (o->what != UNLINK)
			g_hash_table_insert(d->names, g_strdup(o->what == RENAME ? o->to : o->path), GUINT_TO_POINTER(o->file));
	}
}

static void put_disk(struct disk *d, const char *dir)
{
	GHashTableIter it;
	gpointer name, file;

	g_hash_table_iter_init(&it, d->names);
	while (g_hash_table_iter_next(&it, &name, &file)) {
		g_autofree char *path = g_build_filename(dir, name, NULL);
		const GString *s = d->data[GPOINTER_TO_UINT(file)];

		g_assert_true(g_file_set_contents_full(path, s->str, (gssize)s->len, G_FILE_SET_CONTENTS_NONE, 0600, NULL));
	}
	for (unsigned i = 0; i <= rec.files; i++)
		g_string_free(d->data[i], TRUE);
	g_free(d->data);
	g_hash_table_unref(d->names);
}

static void found(void *arg, const char *uuid, const char *text, size_t len, bool autostart, const char *trouble)
{
	g_assert_null(trouble);
	g_hash_table_insert(arg, g_strdup(uuid), g_strndup(text, len));
}

/* What the store reads is what was reported before the cut, or was asked for after that. */
static void check_found(GHashTable *texts, unsigned cut)
{
	for (unsigned u = 0; u < UUIDS; u++) {
		const char *text = g_hash_table_lookup(texts, uuids[u]), *last = NULL;
		unsigned done = 0, nth = 0;
		bool fine;

		for (unsigned i = 0; i < cut; i++) {
			const struct op *o = rec.ops->pdata[i];

			if (o->what == DONE && !strcmp(o->path, uuids[u])) {
				done++;
				last = o->to;
			}
		}
		fine = !g_strcmp0(text, last);
		for (unsigned i = 0; i < wishes->len; i++) {
			const struct asked *a = wishes->pdata[i];

			if (a->uuid == uuids[u] && nth++ >= done)
				fine |= !g_strcmp0(text, a->text);
		}
		if (!fine)
			g_error("cut after %u: '%s' is '%s', but '%s' was reported", cut, uuids[u], text ? text : "(none)", last ? last : "(none)");
	}
}

static void try_disk(unsigned cut, uint64_t bits, unsigned torn)
{
	g_autoptr(GHashTable) texts = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	g_autoptr(GError) err = NULL;
	g_autofree char *root = g_dir_make_tmp("kvmd-cut-XXXXXX", NULL);
	struct paths p = { .domains = root, .autostart = root };
	struct store *s;
	struct disk d;
	GDir *dir;
	const char *name;

	make_disk(&d, cut, bits, torn);
	put_disk(&d, root);
	s = store_new(&p);
	g_assert_true(store_load(s, found, texts, &err));
	store_free(s);
	check_found(texts, cut);
	dir = g_dir_open(root, 0, NULL);
	while ((name = g_dir_read_name(dir)))
		g_assert_true(g_str_has_suffix(name, ".xml"));  /* nothing is left over */
	g_dir_close(dir);
	empty_folder(root);
	g_rmdir(root);
}

static void test_power_cut(void)
{
	GRand *rand = g_rand_new_with_seed(20261120);
	struct rig r;
	unsigned tried = 0;

	rig_init(&r);
	wishes = g_ptr_array_new_with_free_func(asked_free);
	for (unsigned round = 0; round < 12; round++) {
		unsigned batch = (unsigned)g_rand_int_range(rand, 1, 5);

		for (unsigned i = 0; i < batch; i++) {
			g_autofree char *text = g_strdup_printf("<domain type='kvm' round='%u' change='%u'/>", round, i);

			ask(&r, (unsigned)g_rand_int_range(rand, 0, UUIDS), g_rand_int_range(rand, 0, 4) ? text : NULL);
		}
		if (round % 3)
			settle();
	}
	settle();
	rec.on = false;
	for (unsigned cut = 0; cut <= rec.ops->len; cut++)
		for (unsigned i = 0; i < SUBSETS; i++, tried++)
			try_disk(cut, i ? i == 1 ? UINT64_MAX : (uint64_t)g_rand_int(rand) << 32 | g_rand_int(rand) : 0, i % 3);
	g_test_message("%u operations, %u disks", rec.ops->len, tried);
	g_assert_cmpuint(rec.ops->len, >, 60);
	g_ptr_array_unref(wishes);
	rig_finish(&r);
	g_rand_free(rand);
}

/* --- calls that fail --- */

static void keep_error(void *arg, const GError *err)
{
	GError **to = arg;

	*to = err ? g_error_copy(err) : g_error_new(kerr_quark(), KERR_INTERNAL, "done");
}

static GError *put_and_wait(struct rig *r, const char *text)
{
	GError *err = NULL;

	store_put(r->store, uuids[0], text, keep_error, &err);
	while (!err)
		g_main_context_iteration(NULL, TRUE);
	return err;
}

static void test_each_call_fails(void)
{
	bool passed = false;
	unsigned failed = 0;

	for (unsigned n = 1; !passed; n++) {
		g_autofree char *text = NULL, *path = NULL;
		GError *err;
		struct rig r;

		rig_init(&r);
		err = put_and_wait(&r, "<old/>");
		g_assert_cmpstr(err->message, ==, "done");
		g_clear_error(&err);
		rec.calls = 0;
		rec.fail_at = n;
		err = put_and_wait(&r, "<the-new-definition/>");
		passed = !strcmp(err->message, "done");
		path = g_strdup_printf("%s/%s.xml", r.paths.domains, uuids[0]);
		g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
		if (!passed) {
			g_assert_nonnull(strstr(err->message, r.paths.domains));        /* it says where */
			failed++;
		}
		/* the last call is the folder's sync: the disk may have either then */
		g_assert_true(!strcmp(text, passed ? "<the-new-definition/>" : "<old/>") || (!passed && strstr(err->message, "sync folder")));
		g_clear_error(&err);
		rig_finish(&r);
	}
	g_assert_cmpuint(failed, >=, 5);        /* create, writes, sync, rename, the folder's sync */
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	log_init(LOG_LEVEL_WARNING);
	g_test_add_func("/store/power-cut", test_power_cut);
	g_test_add_func("/store/each-call-fails", test_each_call_fails);
	return g_test_run();
}
