/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kvmctl top: rates of all domains, from two looks at domstats. On a terminal it takes keys and refreshes; -b prints table after
 * table; where the output is not a terminal, one table.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "domain/commands_kvmd.h"
#include "domain/commands_watch.h"
#include "tools/kvmctl.h"

#define FIRST_MS 500            /* between the first two looks */

enum form { FORM_TEXT, FORM_PERCENT, FORM_COUNT, FORM_BYTES };
/* What is added up of a domain's keys: those that begin with `group` and end with `counter`. */
static const struct {
	const char *title;
	char key;
	int width;
	enum form form;
	const char *group, *counter;
	bool rate;
	double scale;
} columns[TOP_COLUMNS] = {
	[TOP_NAME] = { "NAME", 'n', -20, FORM_TEXT },
	[TOP_STATE] = { "STATE", 0, -8, FORM_TEXT },
	[TOP_CPU] = { "CPU%", 'c', 6, FORM_PERCENT, "cpu.", "time", true, 1e-7 },
	[TOP_STEAL] = { "STEAL%", 's', 6, FORM_PERCENT, "vcpu.", ".delay", true, 1e-7 },
	[TOP_VCPUS] = { "VCPU", 0, 4, FORM_COUNT, "vcpu.", "current", false, 1 },
	[TOP_RSS] = { "RSS", 'm', 6, FORM_BYTES, "balloon.", "rss", false, 1024 },
	[TOP_MEMORY] = { "MEM", 0, 6, FORM_BYTES, "balloon.", "current", false, 1024 },
	[TOP_READ] = { "READ/s", 'r', 7, FORM_BYTES, "block.", ".rd.bytes", true, 1 },
	[TOP_WRITE] = { "WRITE/s", 'w', 7, FORM_BYTES, "block.", ".wr.bytes", true, 1 },
	[TOP_OPS] = { "OPS/s", 'o', 7, FORM_COUNT, "block.", ".reqs", true, 1 },
	[TOP_RX] = { "RX/s", 'x', 7, FORM_BYTES, "net.", ".rx.bytes", true, 1 },
	[TOP_TX] = { "TX/s", 't', 7, FORM_BYTES, "net.", ".tx.bytes", true, 1 },
	[TOP_EXITS] = { "EXITS/s", 'e', 8, FORM_COUNT, "vcpu.", ".exits.sum", true, 1 },
};

struct row {
	char *name;
	const char *state;
	double sum[TOP_COLUMNS];        /* as counted */
	double value[TOP_COLUMNS];      /* as shown */
};

struct top {
	struct call *call;
	struct client *client;
	GPtrArray *rows;                /* struct row */
	gint64 at;                      /* monotonic, µs: of rows */
	int sort;
	bool reverse, screen;
};

/* --- one look --- */

static void row_free(gpointer p)
{
	struct row *r = p;

	g_free(r->name);
	g_free(r);
}

static void add_up(struct row *r, json_object *stats)
{
	json_object_object_foreach(stats, key, v) {
		size_t len = strlen(key);

		for (int i = TOP_CPU; i < TOP_COLUMNS; i++) {
			size_t tail = strlen(columns[i].counter);

			if (g_str_has_prefix(key, columns[i].group) && len > tail && !strcmp(key + len - tail, columns[i].counter))
				r->sum[i] += (double)json_object_get_uint64(v);
		}
	}
}

static const char *state_text(json_object *stats)
{
	static const char *const names[] = { "-", "running", "blocked", "paused", "shutdown", "shut off", "crashed" };
	json_object *v;
	int64_t n = json_object_object_get_ex(stats, "state.state", &v) ? json_object_get_int64(v) : 0;

	return n >= 0 && n < (int64_t)G_N_ELEMENTS(names) ? names[n] : "?";
}

static GPtrArray *look(struct top *t, GError **err)
{
	GPtrArray *rows;
	json_object *args = json_object_new_object(), *reply, *list, *v;

	json_object_object_add(args, "list_active", json_object_new_boolean(true));
	reply = client_call(t->client, "domstats", NULL, args, NULL, err);
	if (!reply)
		return NULL;
	rows = g_ptr_array_new_with_free_func(row_free);
	for (size_t i = 0; json_object_object_get_ex(reply, "domains", &list) && i < json_object_array_length(list); i++) {
		json_object *d = json_object_array_get_idx(list, i);
		struct row *r = g_new0(struct row, 1);

		r->name = g_strdup(json_object_object_get_ex(d, "name", &v) ? json_object_get_string(v) : "?");
		if (json_object_object_get_ex(d, "stats", &v) && json_object_is_type(v, json_type_object)) {
			r->state = state_text(v);
			add_up(r, v);
		}
		g_ptr_array_add(rows, r);
	}
	json_object_put(reply);
	return rows;
}

static const struct row *row_of(const GPtrArray *rows, const char *name)
{
	for (unsigned i = 0; i < rows->len; i++)
		if (!strcmp(((const struct row *)rows->pdata[i])->name, name))
			return rows->pdata[i];
	return NULL;
}

static gint by_column(gconstpointer a, gconstpointer b, gpointer data)
{
	const struct row *x = *(struct row *const *)a, *y = *(struct row *const *)b;
	const struct top *t = data;
	int order = 0;

	if (t->sort == TOP_STATE)
		order = g_strcmp0(x->state, y->state);
	else if (t->sort != TOP_NAME)
		order = x->value[t->sort] > y->value[t->sort] ? -1 : x->value[t->sort] < y->value[t->sort];
	if (!order)
		order = strcmp(x->name, y->name);
	return t->reverse ? -order : order;
}

/* Looks again; what it shows are rates since the last time. A counter that went back belongs to a machine that began anew. */
static bool refresh(struct top *t, GError **err)
{
	GPtrArray *rows = look(t, err);
	gint64 now = g_get_monotonic_time();
	double seconds = (double)MAX(now - t->at, 1) / 1e6;

	if (!rows)
		return false;
	for (unsigned i = 0; i < rows->len; i++) {
		struct row *r = rows->pdata[i];
		const struct row *old = t->rows ? row_of(t->rows, r->name) : NULL;

		for (int k = TOP_CPU; k < TOP_COLUMNS; k++) {
			double from = old && old->sum[k] <= r->sum[k] ? old->sum[k] : r->sum[k];

			r->value[k] = columns[k].rate ? (r->sum[k] - from) / seconds * columns[k].scale : r->sum[k] * columns[k].scale;
		}
	}
	g_ptr_array_sort_with_data(rows, by_column, t);
	if (t->rows)
		g_ptr_array_unref(t->rows);
	t->rows = rows;
	t->at = now;
	return true;
}

/* --- showing --- */

static void text_of(const struct row *r, int k, char *out, size_t n)
{
	static const char units[] = " KMGTPE";
	double v = r->value[k];
	unsigned u = 0;

	switch (columns[k].form) {
	case FORM_TEXT:
		snprintf(out, n, "%s", k == TOP_NAME ? r->name : r->state ? r->state : "-");
		break;
	case FORM_PERCENT:
		snprintf(out, n, "%.1f", v);
		break;
	case FORM_COUNT:
		snprintf(out, n, "%.0f", v);
		break;
	case FORM_BYTES:
		for (; v >= 1024 && u + 2 < sizeof(units); u++)
			v /= 1024;
		snprintf(out, n, u && v < 10 ? "%.1f%c" : "%.0f%c", v, units[u]);
		if (!u)
			g_strchomp(out);
		break;
	}
}

static void show_table(const struct top *t, unsigned lines)
{
	for (int k = 0; k < TOP_COLUMNS; k++)
		printf("%s%*s%s", k ? " " : "", columns[k].width, columns[k].title, k == TOP_COLUMNS - 1 ? (t->screen ? "\033[K\r\n" : "\n") : "");
	for (unsigned i = 0; i < t->rows->len && i < lines; i++) {
		for (int k = 0; k < TOP_COLUMNS; k++) {
			char text[600];

			text_of(t->rows->pdata[i], k, text, sizeof text);
			if (k == TOP_NAME) {            /* in characters, and cut on a terminal */
				int wide = (int)g_utf8_strlen(text, -1);

				if (t->screen && wide > 20) {
					*g_utf8_offset_to_pointer(text, 20) = '\0';
					wide = 20;
				}
				put_text(stdout, text);
				printf("%*s", MAX(20 - wide, 0), "");
			} else {
				printf(" %*s", columns[k].width, text);
			}
		}
		fputs(t->screen ? "\033[K\r\n" : "\n", stdout);
	}
}

static void print_jsons(const struct top *t)
{
	json_object *list = json_object_new_array(), *reply = json_object_new_object();

	for (unsigned i = 0; i < t->rows->len; i++) {
		const struct row *r = t->rows->pdata[i];
		json_object *o = json_object_new_object();

		json_object_object_add(o, "name", json_object_new_string(r->name));
		json_object_object_add(o, "state", json_object_new_string(r->state ? r->state : "-"));
		for (int k = TOP_CPU; k < TOP_COLUMNS; k++) {
			char text[40];

			snprintf(text, sizeof text, "%.1f", r->value[k]);
			json_object_object_add(o, top_columns[k], json_object_new_double_s(r->value[k], text));
		}
		json_object_array_add(list, o);
	}
	json_object_object_add(reply, "domains", list);
	print_reply(t->call, reply);
	json_object_put(reply);
}

static void show(const struct top *t)
{
	struct winsize size = { .ws_row = 24 };

	if (t->call->output != OUT_TEXT) {
		print_jsons(t);
	} else if (!t->screen) {
		show_table(t, UINT_MAX);
	} else {
		(void)ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
		printf("\033[H%u domain%s, sorted by %s%s; q ends\033[K\r\n\033[K\r\n", t->rows->len, t->rows->len == 1 ? "" : "s", top_columns[t->sort], t->reverse ? ", the other way round" : "");
		show_table(t, size.ws_row > 4 ? size.ws_row - 4u : 1);
		fputs("\033[J", stdout);
	}
	fflush(stdout);
}

/* --- the terminal --- */

static struct termios before;
static volatile sig_atomic_t is_screen;

static void leave_screen(void)
{
	static const char bye[] = "\033[?25h\033[?1049l";

	if (!is_screen)
		return;
	is_screen = 0;
	(void)!write(STDOUT_FILENO, bye, sizeof(bye) - 1);
	(void)tcsetattr(STDIN_FILENO, TCSADRAIN, &before);
}

static void on_signal(int sig)
{
	leave_screen();
	_exit(128 + sig);
}

static void enter_screen(void)
{
	struct termios raw;

	if (tcgetattr(STDIN_FILENO, &before) < 0)
		return;
	raw = before;
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	raw.c_cc[VMIN] = 1;
	raw.c_cc[VTIME] = 0;
	for (const int *s = (const int[]){ SIGTERM, SIGHUP, SIGINT, SIGQUIT, 0 }; *s; s++)
		(void)signal(*s, on_signal);
	(void)atexit(leave_screen);
	is_screen = 1;
	(void)tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
	fputs("\033[?1049h\033[?25l\033[2J", stdout);
}

/* Waits, with keys on a screen; false: the end. */
static bool pause_ms(struct top *t, int ms)
{
	gint64 end = g_get_monotonic_time() + (gint64)ms * 1000;

	for (;;) {
		struct pollfd p = { .fd = t->screen ? STDIN_FILENO : -1, .events = POLLIN };
		int left = (int)((end - g_get_monotonic_time() + 999) / 1000);
		char key;

		if (left <= 0)
			return true;
		if (poll(&p, 1, left) <= 0)
			continue;               /* time, or the window's size: shown again at once */
		if (read(STDIN_FILENO, &key, 1) != 1 || key == 'q' || key == 'Q')
			return false;
		if (key == ' ')
			return true;
		if (key == 'R')
			t->reverse = !t->reverse;
		for (int k = 0; k < TOP_COLUMNS; k++)
			if (key && key == columns[k].key)
				t->sort = k;
		g_ptr_array_sort_with_data(t->rows, by_column, t);
		show(t);
	}
}

bool top_run(struct call *c, int *status, GError **err)
{
	const struct ask_top *a = c->args;
	struct top t = { .call = c, .sort = a->sort, .client = client_new(c, err) };
	uint32_t count = a->count;
	bool ok;

	if (!t.client)
		return false;
	t.screen = !a->batch && c->output == OUT_TEXT && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
	if (!t.screen && !a->batch && !count)
		count = 1;
	ok = refresh(&t, err);
	if (ok && t.screen)
		enter_screen();
	if (ok && t.screen)
		show(&t);
	for (uint32_t n = 0; ok && pause_ms(&t, n ? (int)a->delay * 1000 : FIRST_MS); ) {
		ok = refresh(&t, err);
		if (!ok)
			break;
		if (n && !t.screen && c->output == OUT_TEXT)
			putchar('\n');
		show(&t);
		n++;
		if ((count && n >= count) || ferror(stdout))
			break;
	}
	leave_screen();
	if (t.rows)
		g_ptr_array_unref(t.rows);
	client_free(t.client);
	return ok;
}
