/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * File systems with images of running machines.
 *
 * A place is a folder with images. Each is looked at by a call of its own, the next one only when the last has come back, so
 * a dead file server holds one thread and one place. Places are of the same file system when they have its number; that is
 * what is low or not.
 */
#include "daemon/disk_watch.h"

#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "daemon/dom.h"
#include "daemon/kvmd.h"
#include "daemon/log.h"

#define PLACES_MAX 4096         /* more are not watched */
#define MARGIN 10               /* above the limit by a tenth of it: enough again */

struct place {
	char *folder;
	bool busy, known, used;
	uint64_t fs;            /* number of the file system, once known */
};

struct disk_watch {
	struct kvmd *kvmd;
	unsigned refs;          /* looks under way, and kvmd */
	guint timer;
	GHashTable *places;     /* by folder */
	GHashTable *low;        /* file systems that are: number (copied) to folder */
	bool ended, many;
};

/* One look: the thread's, then main's again. */
struct look {
	struct disk_watch *watch;
	char *folder;
	bool ok;
	uint64_t fs, size, free;
};

static void place_free(gpointer p)
{
	struct place *x = p;

	g_free(x->folder);
	g_free(x);
}

static void unref(struct disk_watch *w)
{
	if (--w->refs)
		return;
	g_hash_table_unref(w->places);
	g_hash_table_unref(w->low);
	g_free(w);
}

/* --- which places --- */

static void each_image(const struct dom *d, void (*fn)(void *arg, const struct dom *, const char *folder), void *arg)
{
	list_each(disk, disk, d->live ? d->live->devices.disks : NULL) {
		const struct resource *r = disk_source_resource(disk->type, &disk->source);
		g_autofree char *folder = NULL;

		if (!r || disk->type != DISK_FILE || disk->readonly || disk->device == DISK_DEVICE_CDROM)
			continue;
		folder = g_path_get_dirname(r->path);
		fn(arg, d, folder);
	}
}

static void use(void *arg, const struct dom *d, const char *folder)
{
	struct disk_watch *w = arg;
	struct place *p = g_hash_table_lookup(w->places, folder);

	if (!p && g_hash_table_size(w->places) >= PLACES_MAX) {
		if (!w->many)
			log_warning("images lie in more than %d folders: the space of the others is not watched", PLACES_MAX);
		w->many = true;
		return;
	}
	if (!p) {
		p = g_new0(struct place, 1);
		p->folder = g_strdup(folder);
		g_hash_table_insert(w->places, p->folder, p);
	}
	p->used = true;
}

/* --- telling --- */

struct telling { struct disk_watch *watch; uint64_t fs; json_object *machines; const struct dom *last; };

static void name_machine(void *arg, const struct dom *d, const char *folder)
{
	struct telling *t = arg;
	const struct place *p = g_hash_table_lookup(t->watch->places, folder);

	if (p && p->known && p->fs == t->fs && t->last != d) {
		json_object_array_add(t->machines, json_object_new_string(d->name));
		t->last = d;
	}
}

static void tell(struct disk_watch *w, const struct look *l, bool low, uint64_t limit)
{
	struct telling t = { w, l->fs, json_object_new_array(), NULL };
	g_autoptr(GPtrArray) all = doms_sorted(w->kvmd->doms);
	json_object *o = json_object_new_object();

	for (unsigned i = 0; i < all->len; i++)
		each_image(all->pdata[i], name_machine, &t);
	json_object_object_add(o, "path", json_object_new_string(l->folder));
	json_object_object_add(o, "free", json_object_new_uint64(l->free));
	json_object_object_add(o, "size", json_object_new_uint64(l->size));
	json_object_object_add(o, "limit", json_object_new_uint64(limit));
	json_object_object_add(o, "machines", t.machines);
	if (low)
		log_warning("'%s': %" G_GUINT64_FORMAT " MiB are left on its file system, for images of %zu machines: they pause when it is full", l->folder,
			l->free >> 20, json_object_array_length(t.machines));
	else
		log_info("'%s': %" G_GUINT64_FORMAT " MiB are free on its file system again", l->folder, l->free >> 20);
	(void)events_emit(w->kvmd->events, low ? "DISK_SPACE_LOW" : "DISK_SPACE_OK", NULL, NULL, o);
}

/* --- looking --- */

static void look(void *arg)
{
	struct look *l = arg;
	struct statvfs v;
	struct stat st;

	if (stat(l->folder, &st) < 0 || statvfs(l->folder, &v) < 0)
		return;
	l->ok = v.f_blocks;
	l->fs = st.st_dev;
	l->size = (uint64_t)v.f_blocks * v.f_frsize;
	l->free = (uint64_t)v.f_bavail * v.f_frsize;
}

static void judge(struct disk_watch *w, const struct look *l)
{
	const struct config *c = w->kvmd->config;
	uint64_t part = l->size / 100 * c->disk_low_percent, limit = MIN(part, c->disk_low_bytes);
	bool was = g_hash_table_contains(w->low, &l->fs);

	if (!was && l->free < limit) {
		g_hash_table_insert(w->low, g_memdup2(&l->fs, sizeof(l->fs)), g_strdup(l->folder));
		tell(w, l, true, limit);
	} else if (was && l->free >= limit + limit / MARGIN) {
		g_hash_table_remove(w->low, &l->fs);
		tell(w, l, false, limit);
	}
}

static void looked(void *arg)
{
	struct look *l = arg;
	struct disk_watch *w = l->watch;
	struct place *p = w->ended ? NULL : g_hash_table_lookup(w->places, l->folder);

	if (p) {
		p->busy = false;
		p->known = l->ok;
		p->fs = l->fs;
		if (l->ok && p->used)
			judge(w, l);
	}
	g_free(l->folder);
	g_free(l);
	unref(w);
}

static gboolean is_done(gpointer key, gpointer value, gpointer unused)
{
	const struct place *p = value;

	return !p->used && !p->busy;
}

static gboolean is_of_nobody(gpointer key, gpointer value, gpointer arg)
{
	GHashTableIter i;
	gpointer p;

	g_hash_table_iter_init(&i, ((struct disk_watch *)arg)->places);
	while (g_hash_table_iter_next(&i, NULL, &p))
		if (!((struct place *)p)->known || ((struct place *)p)->fs == *(uint64_t *)key)
			return FALSE;
	return TRUE;
}

static gboolean tick(gpointer arg)
{
	struct disk_watch *w = arg;
	g_autoptr(GPtrArray) all = doms_sorted(w->kvmd->doms);
	GHashTableIter i;
	gpointer value;

	g_hash_table_iter_init(&i, w->places);
	while (g_hash_table_iter_next(&i, NULL, &value))
		((struct place *)value)->used = false;
	for (unsigned n = 0; n < all->len; n++)
		each_image(all->pdata[n], use, w);
	g_hash_table_foreach_remove(w->places, is_done, NULL);
	g_hash_table_foreach_remove(w->low, is_of_nobody, w);
	g_hash_table_iter_init(&i, w->places);
	while (g_hash_table_iter_next(&i, NULL, &value)) {
		struct place *p = value;
		struct look *l;

		if (p->busy || !p->used)
			continue;
		p->busy = true;
		w->refs++;
		l = g_new0(struct look, 1);
		*l = (struct look){ .watch = w, .folder = g_strdup(p->folder) };
		work_run(w->kvmd->work, look, looked, l);
	}
	return G_SOURCE_CONTINUE;
}

struct disk_watch *disk_watch_new(struct kvmd *k)
{
	struct disk_watch *w;

	if (!k->config->disk_low_percent || !k->config->disk_low_bytes)
		return NULL;
	w = g_new0(struct disk_watch, 1);
	*w = (struct disk_watch){ .kvmd = k, .refs = 1, .places = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, place_free),
		.low = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free) };
	w->timer = g_timeout_add(k->config->disk_low_interval, tick, w);
	return w;
}

void disk_watch_free(struct disk_watch *w)
{
	if (!w)
		return;
	g_source_remove(w->timer);
	w->ended = true;
	unref(w);
}
