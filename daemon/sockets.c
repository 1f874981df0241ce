/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See sockets.h. */
#include "daemon/sockets.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/unix.h"
#include "domain/error.h"

#define PREFIX "socket-"

/* Paths are long and have slashes. */
static char *note_of(const char *dir, const char *path)
{
	g_autofree char *sum = g_compute_checksum_for_string(G_CHECKSUM_SHA256, path, -1);

	return g_strdup_printf("%s/%s%.32s", dir, PREFIX, sum);
}

static bool is_noted(const char *dir, const char *path)
{
	g_autofree char *note = note_of(dir, path), *noted = g_file_read_link(note, NULL);

	return !g_strcmp0(noted, path);
}

bool socket_note(const char *dir, const char *path, GError **err)
{
	g_autofree char *note = note_of(dir, path);

	return !symlink(path, note) || errno == EEXIST || kerr_errno(err, errno, "note socket '%s'", path);
}

/* Nothing else is removed: an operator may have put a file there meanwhile. */
static void remove_socket(const char *path)
{
	struct stat st;

	if (!lstat(path, &st) && S_ISSOCK(st.st_mode))
		(void)unlink(path);
}

void socket_drop(const char *dir, const char *path)
{
	g_autofree char *note = note_of(dir, path);

	remove_socket(path);
	(void)unlink(note);
}

static bool collect(struct resource_visit *v, void *set, GError **err)
{
	if (v->use == RES_SOCKET_LISTEN && v->res->path)
		g_hash_table_add(set, g_strdup(v->res->path));
	return true;
}

/* The paths at which a machine listens. */
static GHashTable *listens(struct machine *m)
{
	GHashTable *set = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

	if (m)
		(void)machine_walk_resources(m, collect, set, NULL);
	return set;
}

void sockets_changed(const char *dir, struct machine *was, struct machine *is)
{
	g_autoptr(GHashTable) old = listens(was), new = listens(is);
	GHashTableIter it;
	gpointer path;

	g_hash_table_iter_init(&it, old);
	while (g_hash_table_iter_next(&it, &path, NULL))
		if (!g_hash_table_contains(new, path) && is_noted(dir, path))
			socket_drop(dir, path);
}

void sockets_gone(const char *dir, struct machine *live, const char *path)
{
	g_autoptr(GHashTable) has = listens(live);

	/* a machine's process is not believed: what it names must have been made for it */
	if (is_noted(dir, path) && !g_hash_table_contains(has, path) && unix_is_dead(path))
		socket_drop(dir, path);
}

void sockets_tidy(const char *dir, struct machine *live)
{
	g_autoptr(GHashTable) has = listens(live);
	GDir *d = g_dir_open(dir, 0, NULL);
	const char *name;

	while (d && (name = g_dir_read_name(d))) {
		g_autofree char *note = NULL, *path = NULL;

		if (!g_str_has_prefix(name, PREFIX))
			continue;
		note = g_build_filename(dir, name, NULL);
		path = g_file_read_link(note, NULL);
		if (!path || g_hash_table_contains(has, path))
			continue;
		if (unix_is_dead(path))
			socket_drop(dir, path);
		else if (!live)
			(void)unlink(note);     /* another's now */
	}
	if (d)
		g_dir_close(d);
}
