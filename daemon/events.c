/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Numbered events.
 *
 * Theory of operation: the journal is lib/events.jsonl and lib/events.jsonl.1, appended by plain writes: what the page
 * cache holds survives kvmd's death, and a power cut ends the machines the events spoke of. Numbers: run/seq (tmpfs on an
 * installed system) holds the last one given; lib/events.ceiling holds a number that none given before exceeds, synced, so that
 * after a power cut counting goes on above everything a follower may have seen.
 * A follower is either catching up (reads the journal as far as its socket takes) or live (gets events as they happen).
 * It becomes live when it has read the newest; what happens meanwhile is in the journal, so nothing is missed. A live
 * follower that reads too slowly catches up again: what waits for it is in the journal, not in memory. One that does not read
 * at all is cut off when what it has not read is no longer kept. So a follower costs BURST bytes or so, whatever it does; one
 * without a filter is given the journal's bytes as they are.
 */
#include "daemon/events.h"

#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/store.h"
#include "domain/error.h"

#define CEILING_STEP 1000000u
#define TAIL (1u << 20)                 /* more than one line */
#define BURST (64u << 10)               /* bytes of catching up before others have their turn */

struct follower {
	struct events *events;
	struct wire *wire;
	uint64_t next;                  /* the number it wants next */
	uint64_t left;                  /* events until it ends; 0: no limit */
	bool follow, live;
	bool placed;                    /* file stands at the line it wants next */
	char *uuid, *event;
	FILE *file;                     /* while catching up */
	bool older;                     /* it was the older one when it was opened, */
	unsigned rotations;             /* after so many rotations */
	GSource *writable;
	void (*ended)(void *);
	void *arg;
};

struct events {
	char *path, *old, *dir;
	uint64_t last, ceiling, found, first[2];        /* first number in the newer and the older file; 0: empty */
	int fd, seq_fd;
	size_t size, file_max;
	unsigned followers_max, rotations;
	GPtrArray *followers;
	bool failing;                   /* the last write failed: told once */
};

/* --- numbers --- */

static bool raise_ceiling(struct events *e, GError **err)
{
	g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT "\n", e->last + CEILING_STEP);

	if (!store_write_file(e->dir, "events.ceiling", text, strlen(text), err))
		return false;
	e->ceiling = e->last + CEILING_STEP;
	return true;
}

static uint64_t read_number(const char *path)
{
	g_autofree char *text = NULL;

	return g_file_get_contents(path, &text, NULL, NULL) ? g_ascii_strtoull(text, NULL, 10) : 0;
}

static uint64_t line_seq(const char *line, size_t len)
{
	struct json_tokener *tok = json_tokener_new();
	json_object *o = json_tokener_parse_ex(tok, line, (int)len), *seq;
	uint64_t n = o && json_object_object_get_ex(o, "seq", &seq) ? json_object_get_uint64(seq) : 0;

	json_object_put(o);
	json_tokener_free(tok);
	return n;
}

/* The first and last number of a journal file; *end is where its last whole line ends. */
static void scan(const char *path, uint64_t *first, uint64_t *last, size_t *end)
{
	g_autofree char *buf = g_malloc(TAIL);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	char *nl = NULL;
	ssize_t n;

	*first = *last = *end = 0;
	if (fd < 0)
		return;
	n = pread(fd, buf, TAIL, 0);
	for (ssize_t i = 0; i < n && !nl; i++)
		if (buf[i] == '\n')
			nl = buf + i;
	if (nl)
		*first = line_seq(buf, (size_t)(nl - buf));
	if (nl && !fstat(fd, &st)) {
		off_t from = st.st_size > (off_t)TAIL ? st.st_size - (off_t)TAIL : 0;

		n = pread(fd, buf, TAIL, from);
		nl = n > 0 ? memrchr(buf, '\n', (size_t)n) : NULL;
		if (nl) {
			char *line = nl;

			while (line > buf && line[-1] != '\n')
				line--;

			*last = line_seq(line, (size_t)(nl - line));
			*end = (size_t)from + (size_t)(nl - buf) + 1;
		}
	}
	close(fd);
}

/* --- followers --- */

static void follower_stop_reading(struct follower *f)
{
	if (f->writable) {
		g_source_destroy(f->writable);
		g_clear_pointer(&f->writable, g_source_unref);
	}
	if (f->file)
		fclose(f->file);
	f->file = NULL;
}

void follower_free(struct follower *f)
{
	if (!f)
		return;
	follower_stop_reading(f);
	g_ptr_array_remove(f->events->followers, f);
	g_free(f->uuid);
	g_free(f->event);
	g_free(f);
}

/* The last thing done with a follower: ended() may free it. */
static void follower_end(struct follower *f)
{
	json_object *o = wire_event("EVENTS_END", NULL, f->events->last);

	json_object_object_del(o, "seq");
	wire_send(f->wire, o, NULL, 0);
	json_object_put(o);
	f->live = false;
	follower_stop_reading(f);
	f->ended(f->arg);
}

static bool matches(const char *want, json_object *in, const char *key)
{
	json_object *v;

	return !want || (in && json_object_object_get_ex(in, key, &v) && !g_strcmp0(json_object_get_string(v), want));
}

static bool wants_all(const struct follower *f)
{
	return !f->uuid && !f->event && !f->left;
}

/* line: event as text, with its newline. false: it has had all it wanted (or its socket is gone) and must be ended. */
static bool follower_give(struct follower *f, json_object *event, GBytes *line)
{
	json_object *data = NULL;

	json_object_object_get_ex(event, "data", &data);
	if (!matches(f->uuid, data, "uuid") || !matches(f->event, event, "event"))
		return true;
	if (!wire_send_lines(f->wire, line))
		return false;
	return !f->left || --f->left;
}

/* What it has not read is gone: better no events than some. */
static bool has_lost(const struct follower *f)
{
	return f->placed && f->next < events_first(f->events);
}

static void cut_off(struct follower *f)
{
	follower_stop_reading(f);
	wire_close(f->wire, false, "it does not read its events: those it waits for are no longer kept");
}

/* The file that holds number n, positioned at its start; NULL: neither. */
static FILE *file_with(struct events *e, uint64_t n, bool *older)
{
	*older = e->first[1] && (!e->first[0] || n < e->first[0]);
	if (*older)
		return fopen(e->old, "re");
	return e->first[0] ? fopen(e->path, "re") : NULL;
}

/* Whole lines as they are, from a file that stands at the next; bytes sent, 0: there is no whole line (or its socket has gone). */
static size_t catch_up_lines(struct follower *f)
{
	g_autofree char *buf = g_malloc(BURST);
	size_t n = fread(buf, 1, BURST, f->file), len, last;
	char *end = n ? memrchr(buf, '\n', n) : NULL;
	g_autoptr(GBytes) lines = NULL;

	len = end ? (size_t)(end - buf) + 1 : 0;
	if (n > len)
		(void)fseeko(f->file, -(off_t)(n - len), SEEK_CUR);
	clearerr(f->file);
	if (!len)
		return 0;
	for (last = len - 1; last && buf[last - 1] != '\n'; last--)
		;
	f->next = line_seq(buf + last, len - 1 - last) + 1;
	lines = g_bytes_new_take(g_steal_pointer(&buf), len);
	return wire_send_lines(f->wire, lines) ? len : 0;
}

/* One burst of the journal. false: ended. */
static bool catch_up(struct follower *f)
{
	g_autofree char *line = NULL;
	size_t room = 0, sent = 0;
	ssize_t n;

	while (sent < BURST && f->next <= f->events->last) {
		if (!f->file) {
			f->file = file_with(f->events, f->next, &f->older);
			f->rotations = f->events->rotations;
		}
		if (!f->file)
			break;
		if (f->placed && wants_all(f)) {
			size_t some = catch_up_lines(f);

			sent += some;
			if (some)
				continue;
		}
		n = getline(&line, &room, f->file);
		if (n <= 0) {                           /* end of the older file: on to the newer, unless that was it */
			unsigned age = f->older + (f->events->rotations - f->rotations);

			fclose(f->file);
			f->file = NULL;
			if (!age || !f->events->first[0])
				break;
			if (age == 1)                   /* it is the older one now; numbers may be missing that could not be written */
				f->next = MAX(f->next, f->events->first[0]);
			else if (has_lost(f)) {
				cut_off(f);
				return true;
			}
			continue;
		}
		sent += (size_t)n;
		json_object *o = json_tokener_parse(line), *seq;
		uint64_t at = o && json_object_object_get_ex(o, "seq", &seq) ? json_object_get_uint64(seq) : 0;
		bool more = true;

		if (at >= f->next) {
			g_autoptr(GBytes) text = g_bytes_new(line, (gsize)n);

			f->next = at + 1;
			f->placed = true;
			more = follower_give(f, o, text);
		}
		json_object_put(o);
		if (!more)
			return false;
	}
	if (sent < BURST) {                             /* all read, or what is missing was never written */
		f->live = true;
		follower_stop_reading(f);
		return f->follow;
	}
	return true;
}

static gboolean follower_writable(gint fd, GIOCondition cond, gpointer data)
{
	struct follower *f = data;

	if (wire_queued(f->wire) > BURST)               /* wire's own source empties it; come back then */
		return G_SOURCE_CONTINUE;
	if (!catch_up(f)) {
		follower_end(f);
		return G_SOURCE_REMOVE;
	}
	return f->live ? G_SOURCE_REMOVE : G_SOURCE_CONTINUE;
}

static void read_journal(struct follower *f)
{
	f->live = false;
	f->writable = g_unix_fd_source_new(wire_fd(f->wire), G_IO_OUT);
	g_source_set_callback(f->writable, G_SOURCE_FUNC(follower_writable), f, NULL);
	g_source_attach(f->writable, NULL);
}

/* A live one has too much unread: the event before which the file stands, and what follows, it gets from the journal. */
static void fall_behind(struct follower *f, off_t at)
{
	read_journal(f);
	f->file = fopen(f->events->path, "re");
	f->older = false;
	f->rotations = f->events->rotations;
	f->placed = f->file && !fseeko(f->file, at, SEEK_SET);         /* else it is found line by line */
}

struct follower *events_follow(struct events *e, struct wire *wire, const struct follow_ask *ask, void (*ended)(void *), void *arg, GError **err)
{
	struct follower *f;

	if (e->followers->len >= e->followers_max) {
		kerr_set(err, KERR_LIMIT, "%u clients follow events already: raise followers_max in kvmd.conf", e->followers->len);
		return NULL;
	}
	f = g_new0(struct follower, 1);
	*f = (struct follower){ .events = e, .wire = wire, .left = ask->count, .follow = ask->follow, .ended = ended, .arg = arg,
		.uuid = g_strdup(ask->uuid), .event = g_strdup(ask->event), .live = ask->since == UINT64_MAX && ask->follow };
	f->next = ask->since == UINT64_MAX ? e->last + 1 : ask->since + 1;
	g_ptr_array_add(e->followers, f);
	if (!f->live)
		read_journal(f);
	return f;
}

/* --- the journal --- */

static bool journal_open(struct events *e, GError **err)
{
	e->fd = open(e->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (e->fd < 0)
		return kerr_errno(err, errno, "open '%s'", e->path);
	return true;
}

static void journal_rotate(struct events *e)
{
	g_autoptr(GError) err = NULL;

	if (rename(e->path, e->old) < 0) {
		log_error("rename '%s': %s", e->path, g_strerror(errno));
		return;
	}
	close(e->fd);
	e->rotations++;
	e->first[1] = e->first[0];
	e->first[0] = e->size = 0;
	if (!journal_open(e, &err))
		log_error("events: %s", err->message);
	for (unsigned i = e->followers->len; i-- > 0;) {
		struct follower *f = g_ptr_array_index(e->followers, i);

		if (!f->live && has_lost(f))
			cut_off(f);
	}
}

/* Where the line begins in the file; -1: it is not there. */
static off_t journal_write(struct events *e, GBytes *line)
{
	size_t len;
	const char *text = g_bytes_get_data(line, &len);
	off_t at;
	ssize_t n;

	if (e->size + len > e->file_max && e->first[0])
		journal_rotate(e);
	at = (off_t)e->size;
	n = e->fd < 0 ? -1 : write(e->fd, text, len);
	if (n != (ssize_t)len) {
		if (!e->failing)
			log_error("event journal '%s': %s; events still reach those who follow", e->path, n < 0 ? g_strerror(errno) : "short write");
		if (n > 0)
			(void)!ftruncate(e->fd, (off_t)e->size);        /* no half lines */
		e->failing = true;
		return -1;
	}
	e->failing = false;
	e->size += len;
	if (!e->first[0])
		e->first[0] = e->last;
	return at;
}

static GBytes *line_of(json_object *o)
{
	size_t len;
	const char *text = json_object_to_json_string_length(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &len);
	char *line = g_malloc(len + 1);

	memcpy(line, text, len);
	line[len] = '\n';
	return g_bytes_new_take(line, len + 1);
}

uint64_t events_emit(struct events *e, const char *name, const char *vm, const char *uuid, json_object *data)
{
	g_autoptr(GError) err = NULL;
	g_autoptr(GBytes) line = NULL;
	json_object *o;
	off_t at;

	e->last++;
	if (e->last + CEILING_STEP / 2 > e->ceiling && !raise_ceiling(e, &err))
		log_error("events: %s", err->message);
	if (e->seq_fd >= 0)
		(void)!pwrite(e->seq_fd, &e->last, sizeof e->last, 0);  /* the journal's last line says the same */
	if (!data)
		data = json_object_new_object();
	if (vm)
		json_object_object_add(data, "vm", json_object_new_string(vm));
	if (uuid)
		json_object_object_add(data, "uuid", json_object_new_string(uuid));
	o = wire_event(name, data, e->last);
	line = line_of(o);
	at = journal_write(e, line);
	for (unsigned i = e->followers->len; i-- > 0;) {
		struct follower *f = g_ptr_array_index(e->followers, i);

		if (!f->live)
			continue;
		if (at >= 0 && wire_queued(f->wire) > BURST) {
			f->next = e->last;
			fall_behind(f, at);
			continue;
		}
		f->next = e->last + 1;
		if (!follower_give(f, o, line))
			follower_end(f);
	}
	json_object_put(o);
	return e->last;
}

uint64_t events_first(const struct events *e)
{
	return e->first[1] ? e->first[1] : e->first[0];
}

uint64_t events_last(const struct events *e)
{
	return e->last;
}

uint64_t events_found(const struct events *e)
{
	return e->found;
}

struct events *events_new(const struct paths *p, uint64_t file_max, unsigned followers_max, GError **err)
{
	struct events *e = g_new0(struct events, 1);
	g_autofree char *seq = g_build_filename(p->run, "seq", NULL);
	g_autofree char *ceiling = g_build_filename(p->lib, "events.ceiling", NULL);
	uint64_t last[2], run = 0;
	size_t end;

	*e = (struct events){ .path = g_strdup(p->events), .old = g_strconcat(p->events, ".1", NULL), .dir = g_strdup(p->lib), .fd = -1,
		.file_max = file_max, .followers_max = followers_max, .followers = g_ptr_array_new() };
	scan(e->old, &e->first[1], &last[1], &end);
	scan(e->path, &e->first[0], &last[0], &e->size);
	e->found = MAX(last[0], last[1]);
	e->ceiling = read_number(ceiling);
	e->seq_fd = open(seq, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (e->seq_fd >= 0 && pread(e->seq_fd, &run, sizeof run, 0) != sizeof run)
		run = 0;
	e->last = MAX(e->found, run ? run : e->ceiling);
	if (!journal_open(e, err) || (e->last + CEILING_STEP / 2 > e->ceiling && !raise_ceiling(e, err))) {
		events_free(e);
		return NULL;
	}
	(void)!ftruncate(e->fd, (off_t)e->size);        /* half a line of a power cut */
	return e;
}

void events_free(struct events *e)
{
	if (!e)
		return;
	while (e->followers->len)
		follower_free(g_ptr_array_index(e->followers, 0));
	g_ptr_array_unref(e->followers);
	if (e->fd >= 0)
		close(e->fd);
	if (e->seq_fd >= 0)
		close(e->seq_fd);
	g_free(e->path);
	g_free(e->old);
	g_free(e->dir);
	g_free(e);
}
