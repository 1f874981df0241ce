/* SPDX-License-Identifier: GPL-2.0-or-later */
/* disk-usage: all images of all domains, and the file systems under them. Everything that may block runs on one thread. */
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "daemon/commands.h"
#include "daemon/disk_look.h"
#include "daemon/dom.h"
#include "daemon/kvmd.h"
#include "domain/commands_disk.h"

struct owner {                  /* a domain */
	char *name, *text;      /* text: its definition, when it does not run */
	struct machine *machine;
};

struct usage {
	struct request *request;
	GPtrArray *owners;
	/* the thread's */
	struct tell_disk_usage told;
	GHashTable *fs;         /* number of a file system: struct tell_usage_fs */
	GHashTable *seen;       /* images that are counted, by what they are counted as */
};

static void owner_free(gpointer p)
{
	struct owner *o = p;

	machine_free(o->machine);
	g_free(o->name);
	g_free(o->text);
	g_free(o);
}

static void image_free(gpointer p)
{
	struct tell_usage_image *i = p;

	g_free(i->domain);
	g_free(i->target);
	g_free(i->format);
	g_free(i->path);
	g_free(i->trouble);
	g_free(i);
}

static void fs_free(gpointer p)
{
	g_free(((struct tell_usage_fs *)p)->path);
	g_free(p);
}

/* The topmost folder above a file that is on the same file system. */
static char *mount_point(const char *path, dev_t dev)
{
	char *at = g_path_get_dirname(path);

	while (strcmp(at, "/") && strcmp(at, ".")) {
		char *up = g_path_get_dirname(at);
		struct stat st;

		if (stat(up, &st) < 0 || st.st_dev != dev) {
			g_free(up);
			break;
		}
		g_free(at);
		at = up;
	}
	return at;
}

static struct tell_usage_fs *fs_of(struct usage *u, const struct looked_image *i)
{
	uint64_t key = i->dev;
	struct tell_usage_fs *fs = g_hash_table_lookup(u->fs, &key);
	struct statvfs v;

	if (fs || statvfs(i->path, &v) < 0)
		return fs;
	fs = g_new0(struct tell_usage_fs, 1);
	fs->path = mount_point(i->path, i->dev);
	fs->size = (uint64_t)v.f_blocks * v.f_frsize;
	fs->free = (uint64_t)v.f_bavail * v.f_frsize;
	g_hash_table_insert(u->fs, g_memdup2(&key, sizeof(key)), fs);
	g_ptr_array_add(u->told.filesystems, fs);
	return fs;
}

static bool first_time(struct usage *u, const struct looked_image *i, const char *as)
{
	return g_hash_table_add(u->seen, g_strdup_printf("%s %llu:%llu", as, (unsigned long long)i->dev, (unsigned long long)i->ino));
}

static void count(struct usage *u, const struct owner *o, const struct looked_image *i)
{
	struct tell_usage_image *row = g_new0(struct tell_usage_image, 1);
	struct tell_usage_fs *fs = !i->err && i->is_file ? fs_of(u, i) : NULL;

	*row = (struct tell_usage_image){ .domain = g_strdup(o->name), .target = g_strdup(i->target), .format = g_strdup(disk_format_names[i->format]),
		.path = g_strdup(i->path), .trouble = i->err ? g_strdup(i->err->message) : NULL, .depth = i->depth, .virtual = i->virtual,
		.allocated = i->allocated, .free = fs ? fs->free : 0 };
	g_ptr_array_add(u->told.images, row);
	if (!fs)
		return;
	if (first_time(u, i, "used"))
		fs->used += i->allocated;
	if (i->writable && i->virtual > i->allocated && first_time(u, i, "promised"))
		fs->promised += i->virtual - i->allocated;
}

static void look(void *arg)
{
	struct usage *u = arg;

	for (unsigned n = 0; n < u->owners->len; n++) {
		struct owner *o = u->owners->pdata[n];
		g_autoptr(GPtrArray) images = g_ptr_array_new_with_free_func(looked_image_free);
		AUTO(report) report = report_new(NULL, false, true);

		if (!o->machine)        /* one that cannot be read is told by list and dominfo */
			o->machine = machine_from_xml(o->text, strlen(o->text), report, NULL);
		if (!o->machine)
			continue;
		disk_look(o->machine, NULL, images);
		for (unsigned i = 0; i < images->len; i++)
			count(u, o, images->pdata[i]);
		g_clear_pointer(&o->machine, machine_free);
	}
	for (unsigned i = 0; i < u->told.filesystems->len; i++) {
		struct tell_usage_fs *fs = u->told.filesystems->pdata[i];

		fs->lacking = fs->promised > fs->free ? fs->promised - fs->free : 0;
	}
}

static void looked(void *arg)
{
	struct usage *u = arg;

	request_reply(u->request, &u->told);
	g_ptr_array_unref(u->told.images);
	g_ptr_array_unref(u->told.filesystems);
	g_hash_table_unref(u->fs);
	g_hash_table_unref(u->seen);
	g_ptr_array_unref(u->owners);
	g_free(u);
}

static void add_owner(GPtrArray *owners, const struct dom *d)
{
	struct owner *o;

	if (!d->live && (!d->text || d->trouble))
		return;
	o = g_new0(struct owner, 1);
	o->name = g_strdup(d->name);
	if (d->live)
		o->machine = schema_dup(&machine_schema, d->live);
	else
		o->text = g_strdup(d->text);
	g_ptr_array_add(owners, o);
}

void cmd_disk_usage(struct request *r)
{
	const struct ask_disk_usage *a = r->args;
	g_autoptr(GError) err = NULL;
	const struct dom *only = a->domain ? doms_find(r->kvmd->doms, a->domain, &err) : NULL;
	g_autoptr(GPtrArray) all = only || err ? NULL : doms_sorted(r->kvmd->doms);
	struct usage *u;

	if (err) {
		request_fail(r, err);
		return;
	}
	u = g_new0(struct usage, 1);
	*u = (struct usage){ .request = r, .owners = g_ptr_array_new_with_free_func(owner_free),
		.told = { g_ptr_array_new_with_free_func(image_free), g_ptr_array_new_with_free_func(fs_free) },
		.fs = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL), .seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL) };
	if (only)
		add_owner(u->owners, only);
	for (unsigned i = 0; all && i < all->len; i++)
		add_owner(u->owners, all->pdata[i]);
	work_run(r->kvmd->work, look, looked, u);
}
