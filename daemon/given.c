/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See given.h. What a thing of the host is, is said in a text of one line: the same text is the same thing, done the same way
 * ("chardev unix connect /run/a.sock" is not "chardev unix bind /run/a.sock"). A note is a link named by the text's checksum; where it
 * leads to is the text, for people who look. The tables know what names something of the host: any row that is a RESOURCE, also of
 * devices that are only kept, besides the ends of connections and what passt is started with.
 */
#include "daemon/given.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/net.h"

#define FOLDER "given"
#define SHOWN 1000              /* bytes of the text in a link */
#define SET "/dev/fdset/"
#define FD "fd:"

struct look {
	const char *dir;
	bool (*fn)(struct look *, const char *text, GError **err);
	GHashTable *found;
};

/* --- texts --- */

static bool say(struct look *l, GError **err, const char *first, ...) G_GNUC_NULL_TERMINATED;

/* The words, each as one. */
static bool say(struct look *l, GError **err, const char *first, ...)
{
	g_autoptr(GString) s = g_string_new(first);
	const char *word;
	va_list ap;

	va_start(ap, first);
	while ((word = va_arg(ap, const char *))) {
		g_autofree char *escaped = g_strescape(word, NULL);

		g_string_append_printf(s, " \"%s\"", escaped);
	}
	va_end(ap);
	return l->fn(l, s->str, err);
}

/* A descriptor that a client gave the machine; no path of the host. */
static bool is_descriptor(const char *path)
{
	if (g_str_has_prefix(path, SET))
		return path[strlen(SET)] && strspn(path + strlen(SET), "0123456789") == strlen(path + strlen(SET));
	return g_str_has_prefix(path, FD) && !strchr(path, '/');
}

static bool is_chardev(const struct schema *s)
{
	return s == &serial_schema || s == &parallel_schema || s == &console_schema || s == &channel_schema;
}

#define WORD(text) ((text) ? (text) : "")

static bool end_of(struct look *l, const struct chardev *c, const struct chardev_source *s, GError **err)
{
	const char *path = s->path.path;

	if ((!path || is_descriptor(path)) && !s->host && !s->service)
		return true;
	return say(l, err, "chardev", WORD(chardev_type_names[c->type]), s->mode == CHARDEV_CONNECT ? "connect" : "bind",
		s->reconnect == YESNO_YES ? "again" : "once", WORD(path), WORD(s->host), WORD(s->service), NULL);
}

static bool passt(struct look *l, const struct iface *i, GError **err)
{
	g_auto(GStrv) args = net_passt_args(&(struct net_passt){ .iface = i, .pid_file = (char *)WORD(i->alias) }, "passt");
	g_autoptr(GString) all = g_string_new(NULL);

	for (char **a = args; *a; a++) {
		g_autofree char *escaped = g_strescape(*a, NULL);

		g_string_append_printf(all, "%s\"%s\"", all->len ? " " : "", escaped);
	}
	return say(l, err, "card", WORD(i->mac), all->str, NULL);
}

static bool walk(struct look *l, const struct schema *s, const void *obj, GError **err);

/* One member, and all that is in it. */
static bool look_at(struct look *l, const struct schema *s, const struct field *f, const void *obj, GError **err)
{
	const void *member = field_at(f, (void *)(uintptr_t)obj);
	const char *path;
	GPtrArray *list;

	switch (f->kind->shape) {
	case SHAPE_STRUCT:
		return walk(l, f->sub, member, err);
	case SHAPE_OPT:
		return !*(void *const *)member || walk(l, f->sub, *(void *const *)member, err);
	case SHAPE_LIST:
		list = *(GPtrArray *const *)member;
		for (unsigned i = 0; list && i < list->len; i++)
			if (!walk(l, f->sub, list->pdata[i], err))
				return false;
		return true;
	default:
		if (f->kind == &kind_str && !strcmp(f->name, "alias")) {
			path = *(char *const *)member;         /* what kvmd makes for a device is named after it */
			return !path || !strchr(path, '/') || say(l, err, "alias", path, NULL);
		}
		if (f->kind != &kind_resource)
			return true;
		path = ((const struct resource *)member)->path;
		return !path || is_descriptor(path) || say(l, err, s->name, f->name, path, NULL);
	}
}

static bool walk(struct look *l, const struct schema *s, const void *obj, GError **err)
{
	const struct chardev *c = is_chardev(s) ? obj : NULL;

	if (c) {
		if (!end_of(l, c, &c->source, err))
			return false;
		list_each(chardev_source, other, c->others)
			if (!end_of(l, c, other, err))
				return false;
	}
	if (s == &iface_schema && ((const struct iface *)obj)->type == IFACE_USER && !passt(l, obj, err))
		return false;
	for (const struct field *f = s->fields; f->name; f++)
		if (!(c && f->sub == &chardev_source_schema) && !look_at(l, s, f, obj, err))
			return false;
	return true;
}

/* What it is for kvmd, and what kvmd does when it ends. */
static bool who(struct look *l, const struct machine *m, GError **err)
{
	g_autofree char *rest = g_strdup_printf("%u %d %d %d", m->id, m->on_poweroff, m->on_reboot, m->on_crash);

	return say(l, err, "machine", WORD(m->uuid), WORD(m->name), rest, NULL);
}

/* --- notes --- */

static char *note_of(const char *dir, const char *text)
{
	g_autofree char *sum = g_compute_checksum_for_string(G_CHECKSUM_SHA256, text, -1);

	return g_build_filename(dir, FOLDER, sum, NULL);
}

static bool note(struct look *l, const char *text, GError **err)
{
	g_autofree char *at = note_of(l->dir, text), *shown = g_strndup(text, SHOWN);

	return !symlink(shown, at) || errno == EEXIST || kerr_errno(err, errno, "note '%s'", shown);
}

static bool holds(struct look *l, const char *text, GError **err)
{
	g_autofree char *at = note_of(l->dir, text), *shown = g_strndup(text, SHOWN);
	struct stat st;

	return !lstat(at, &st) || kerr_set(err, KERR_ACCESS, "its process names what it was not given by kvmd: %s", shown);
}

static bool make_folder(const char *dir, GError **err)
{
	g_autofree char *folder = g_build_filename(dir, FOLDER, NULL);

	return !mkdir(folder, 0700) || errno == EEXIST || kerr_errno(err, errno, "make folder '%s'", folder);
}

bool given_begin(const char *dir, const struct machine *m, GError **err)
{
	struct look l = { .dir = dir, .fn = note };

	given_clean(dir);
	return make_folder(dir, err) && who(&l, m, err) && walk(&l, &machine_schema, m, err);
}

bool given_add(const char *dir, const struct machine *m, GError **err)
{
	struct look l = { .dir = dir, .fn = note };

	return make_folder(dir, err) && walk(&l, &machine_schema, m, err);
}

bool given_holds(const char *dir, const struct machine *m, GError **err)
{
	struct look l = { .dir = dir, .fn = holds };

	return who(&l, m, err) && walk(&l, &machine_schema, m, err);
}

bool given_is_known(const char *dir)
{
	g_autofree char *folder = g_build_filename(dir, FOLDER, NULL);

	return !access(folder, F_OK);
}

/* --- cards that are gone --- */

static bool card_in(struct look *l, const char *text, GError **err)
{
	g_hash_table_add(l->found, g_strdup(text));
	return true;
}

static GHashTable *cards(const struct machine *m)
{
	struct look l = { .fn = card_in, .found = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL) };

	list_each(iface, i, m->devices.interfaces)
		if (i->type == IFACE_USER)
			(void)passt(&l, i, NULL);
	return l.found;
}

void given_changed(const char *dir, const struct machine *was, const struct machine *is)
{
	g_autoptr(GHashTable) old = cards(was), new = cards(is);
	GHashTableIter it;
	gpointer text;

	g_hash_table_iter_init(&it, old);
	while (g_hash_table_iter_next(&it, &text, NULL)) {
		g_autofree char *at = g_hash_table_contains(new, text) ? NULL : note_of(dir, text);

		if (at)
			(void)unlink(at);
	}
}

void given_clean(const char *dir)
{
	g_autofree char *folder = g_build_filename(dir, FOLDER, NULL);
	GDir *d = g_dir_open(folder, 0, NULL);
	const char *name;

	while (d && (name = g_dir_read_name(d))) {
		g_autofree char *path = g_build_filename(folder, name, NULL);

		(void)unlink(path);
	}
	if (d)
		g_dir_close(d);
	(void)rmdir(folder);
}
