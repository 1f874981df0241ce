/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Descriptors by name. A hash table that owns what nobody has taken yet. */
#include "hv/fdset.h"

#include <unistd.h>

#include "domain/error.h"

#define FDSET_MAX 1024

struct fdset {
	GHashTable *fds;        /* name → fd + 1 as a pointer, so that no value is NULL */
};

static void close_value(gpointer value)
{
	close(GPOINTER_TO_INT(value) - 1);
}

struct fdset *fdset_new(void)
{
	struct fdset *set = g_new0(struct fdset, 1);

	set->fds = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, close_value);
	return set;
}

void fdset_free(struct fdset *set)
{
	if (!set)
		return;
	g_hash_table_destroy(set->fds);
	g_free(set);
}

bool fdset_add(struct fdset *set, const char *name, int fd, GError **err)
{
	if (fd < 0)
		return kerr_set(err, KERR_ARGS, "descriptor '%s' is not open", name);
	if (g_hash_table_contains(set->fds, name)) {
		close(fd);
		return kerr_set(err, KERR_EXISTS, "descriptor '%s' was given twice", name);
	}
	if (g_hash_table_size(set->fds) >= FDSET_MAX) {
		close(fd);
		return kerr_set(err, KERR_LIMIT, "more than %d descriptors", FDSET_MAX);
	}
	g_hash_table_insert(set->fds, g_strdup(name), GINT_TO_POINTER(fd + 1));
	return true;
}

int fdset_take(struct fdset *set, const char *name, GError **err)
{
	gpointer key, value;

	if (!name || !g_hash_table_steal_extended(set->fds, name, &key, &value)) {
		kerr_set(err, KERR_NO_FILE, "no descriptor '%s' was handed over", name ? name : "");
		return -1;
	}
	g_free(key);
	return GPOINTER_TO_INT(value) - 1;
}

bool fdset_has(const struct fdset *set, const char *name)
{
	return name && g_hash_table_contains(set->fds, name);
}
