/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Definitions on disk.
 *
 * Theory of operation: the main thread queues changes; one thread takes all that wait as a batch. Each new text goes to
 * ".tmp-N" in the same folder and is synced; then the renames and unlinks happen in the order they were asked for, then
 * each folder touched is synced once, then every change of the batch is reported. A failure before the rename leaves the
 * old file as it was. After a crash, ".tmp-*" are leftovers that no one was told of.
 */
#include "daemon/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/work.h"
#include "domain/error.h"
#include "domain/xml.h"

#define TEMP_PREFIX ".tmp-"

enum change_kind { PUT, REMOVE, FLAG_ON, FLAG_OFF, QUIT };

struct change {
	enum change_kind kind;
	char *uuid, *text, *temp;
	store_done *done;
	void *arg;
	GError *err;
	int handed;
};

struct store {
	char *domains, *autostart;
	GAsyncQueue *queue;
	GThread *thread;
	unsigned temp;                  /* the writer's */
	unsigned pending;               /* main thread: changes not yet reported */
};

/* --- writing; any thread --- */

static bool write_synced(const char *path, const char *text, size_t len, GError **err)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int bad = 0;

	if (fd < 0)
		return kerr_errno(err, errno, "create '%s'", path);
	for (size_t at = 0; !bad && at < len;) {
		ssize_t n = write(fd, text + at, len - at);

		if (n < 0 && errno != EINTR)
			bad = errno;
		else if (n > 0)
			at += (size_t)n;
	}
	if (!bad && fsync(fd) < 0)
		bad = errno;
	if (close(fd) < 0 && !bad)
		bad = errno;
	if (!bad)
		return true;
	(void)unlink(path);             /* half a file is of no use to anyone */
	return kerr_errno(err, bad, "write '%s'", path);
}

static bool sync_dir(const char *path, GError **err)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int bad = 0;

	if (fd < 0)
		return kerr_errno(err, errno, "open folder '%s'", path);
	if (fsync(fd) < 0)
		bad = errno;
	close(fd);
	return bad ? kerr_errno(err, bad, "sync folder '%s'", path) : true;
}

bool store_write_file(const char *dir, const char *name, const char *text, size_t len, GError **err)
{
	g_autofree char *path = g_build_filename(dir, name, NULL);
	g_autofree char *temp = g_strdup_printf("%s/" TEMP_PREFIX "%s", dir, name);

	(void)unlink(temp);             /* of a run that was cut short */
	if (!write_synced(temp, text, len, err))
		return false;
	if (rename(temp, path) < 0) {
		kerr_errno(err, errno, "rename '%s' to '%s'", temp, path);
		(void)unlink(temp);
		return false;
	}
	return sync_dir(dir, err);
}

/* --- the writer's thread --- */

static char *definition_path(struct store *s, const char *uuid)
{
	return g_strdup_printf("%s/%s.xml", s->domains, uuid);
}

static void change_prepare(struct store *s, struct change *c)
{
	if (c->kind != PUT)
		return;
	c->temp = g_strdup_printf("%s/" TEMP_PREFIX "%u", s->domains, ++s->temp);
	write_synced(c->temp, c->text, strlen(c->text), &c->err);
}

static void unlink_it(const char *path, GError **err)
{
	if (unlink(path) < 0 && errno != ENOENT)
		kerr_errno(err, errno, "remove '%s'", path);
}

static void change_commit(struct store *s, struct change *c)
{
	g_autofree char *path = definition_path(s, c->uuid);
	g_autofree char *flag = g_build_filename(s->autostart, c->uuid, NULL);
	int fd;

	if (c->err)
		return;
	switch (c->kind) {
	case PUT:
		if (rename(c->temp, path) < 0) {
			kerr_errno(&c->err, errno, "rename '%s' to '%s'", c->temp, path);
			(void)unlink(c->temp);
		}
		break;
	case REMOVE:
		unlink_it(path, &c->err);
		if (!c->err)
			unlink_it(flag, &c->err);
		break;
	case FLAG_ON:
		fd = open(flag, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		if (fd < 0)
			kerr_errno(&c->err, errno, "create '%s'", flag);
		else
			close(fd);
		break;
	case FLAG_OFF:
		unlink_it(flag, &c->err);
		break;
	case QUIT:
		break;
	}
}

static void change_free(struct change *c)
{
	g_clear_error(&c->err);
	g_free(c->uuid);
	g_free(c->text);
	g_free(c->temp);
	g_free(c);
}

struct batch {
	struct store *store;
	GPtrArray *changes;
	int handed;
};

static gboolean batch_report(gpointer data)
{
	struct batch *b = data;

	TAKEN(&b->handed);
	for (unsigned i = 0; i < b->changes->len; i++) {
		struct change *c = g_ptr_array_index(b->changes, i);

		b->store->pending--;
		c->done(c->arg, c->err);
	}
	g_ptr_array_unref(b->changes);
	g_free(b);
	return G_SOURCE_REMOVE;
}

static bool batch_write(struct store *s, GPtrArray *changes)
{
	bool quit = false, domains = false, flags = false;
	GError *dir_err = NULL;

	for (unsigned i = 0; i < changes->len; i++)
		change_prepare(s, g_ptr_array_index(changes, i));
	for (unsigned i = 0; i < changes->len; i++) {
		struct change *c = g_ptr_array_index(changes, i);

		change_commit(s, c);
		domains |= c->kind == PUT || c->kind == REMOVE;
		flags |= c->kind != PUT;
		quit |= c->kind == QUIT;
	}
	if (domains)
		sync_dir(s->domains, &dir_err);
	if (flags && !quit && !dir_err)
		sync_dir(s->autostart, &dir_err);
	for (unsigned i = 0; dir_err && i < changes->len; i++) {
		struct change *c = g_ptr_array_index(changes, i);

		if (!c->err)
			c->err = g_error_copy(dir_err);
	}
	g_clear_error(&dir_err);
	return !quit;
}

static gpointer writer(gpointer data)
{
	struct store *s = data;
	bool go_on = true;

	while (go_on) {
		GPtrArray *changes = g_ptr_array_new_with_free_func((GDestroyNotify)change_free);
		struct change *c = g_async_queue_pop(s->queue);
		struct batch *b = g_new(struct batch, 1);

		for (; c; c = g_async_queue_try_pop(s->queue)) {
			TAKEN(&c->handed);
			g_ptr_array_add(changes, c);
		}
		go_on = batch_write(s, changes);
		*b = (struct batch){ s, changes, 0 };
		HANDED(&b->handed);
		g_idle_add_full(G_PRIORITY_DEFAULT, batch_report, b, NULL);
	}
	return NULL;
}

/* --- main thread --- */

static void store_queue(struct store *s, enum change_kind kind, const char *uuid, const char *text, store_done *done, void *arg)
{
	struct change *c = g_new0(struct change, 1);

	*c = (struct change){ .kind = kind, .uuid = g_strdup(uuid), .text = g_strdup(text), .done = done, .arg = arg };
	s->pending++;
	HANDED(&c->handed);
	g_async_queue_push(s->queue, c);
}

void store_put(struct store *s, const char *uuid, const char *text, store_done *done, void *arg)
{
	store_queue(s, PUT, uuid, text, done, arg);
}

void store_remove(struct store *s, const char *uuid, store_done *done, void *arg)
{
	store_queue(s, REMOVE, uuid, NULL, done, arg);
}

void store_autostart(struct store *s, const char *uuid, bool on, store_done *done, void *arg)
{
	store_queue(s, on ? FLAG_ON : FLAG_OFF, uuid, NULL, done, arg);
}

struct store *store_new(const struct paths *p)
{
	struct store *s = g_new0(struct store, 1);

	s->domains = g_strdup(p->domains);
	s->autostart = g_strdup(p->autostart);
	s->queue = g_async_queue_new();
	s->thread = g_thread_new("store", writer, s);
	return s;
}

static void no_report(void *arg, const GError *err)
{
}

void store_free(struct store *s)
{
	if (!s)
		return;
	store_queue(s, QUIT, "", NULL, no_report, NULL);
	while (s->pending)
		g_main_context_iteration(NULL, TRUE);
	g_thread_join(s->thread);
	g_async_queue_unref(s->queue);
	g_free(s->domains);
	g_free(s->autostart);
	g_free(s);
}

/* --- start --- */

static char *read_definition(const char *path, gsize *len, GError **err)
{
	g_autoptr(GError) local = NULL;
	char *text = NULL;

	if (!g_file_get_contents(path, &text, len, &local)) {
		kerr_set(err, KERR_IO, "%s", local->message);
		return NULL;
	}
	if (*len > XML_MAX_BYTES) {
		g_free(text);
		kerr_set(err, KERR_LIMIT, "larger than %u bytes", XML_MAX_BYTES);
		return NULL;
	}
	return text;
}

bool store_load(struct store *s, void (*fn)(void *, const char *, const char *, size_t, bool, const char *), void *arg, GError **err)
{
	GDir *dir = g_dir_open(s->domains, 0, NULL);
	const char *name;

	if (!dir)
		return kerr_set(err, KERR_IO, "cannot read folder '%s'", s->domains);
	while ((name = g_dir_read_name(dir))) {
		g_autofree char *path = g_build_filename(s->domains, name, NULL);
		g_autofree char *uuid = NULL, *flag = NULL, *text = NULL;
		g_autoptr(GError) bad = NULL;
		gsize len = 0;

		if (g_str_has_prefix(name, TEMP_PREFIX)) {
			log_info("removing '%s': left over from a write that was cut short", path);
			(void)unlink(path);
			continue;
		}
		if (!g_str_has_suffix(name, ".xml"))
			continue;
		uuid = g_strndup(name, strlen(name) - strlen(".xml"));
		if (!g_uuid_string_is_valid(uuid)) {
			log_warning("'%s' is not named by a uuid: left alone", path);
			continue;
		}
		flag = g_build_filename(s->autostart, uuid, NULL);
		text = read_definition(path, &len, &bad);
		fn(arg, uuid, text, len, !access(flag, F_OK), bad ? bad->message : NULL);
	}
	g_dir_close(dir);
	return true;
}
