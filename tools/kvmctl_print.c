/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What kvmctl prints: JSON as it came, or text made from the reply's schema; a few verbs have a form of their own. */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "domain/commands_kvmd.h"
#include "domain/commands_media.h"
#include "domain/commands_memory.h"
#include "tools/kvmctl.h"

/* --- helpers --- */

static const char *str(json_object *o, const char *key)
{
	json_object *v;

	return json_object_object_get_ex(o, key, &v) && v ? json_object_get_string(v) : "";
}

static int64_t num(json_object *o, const char *key)
{
	json_object *v;

	return json_object_object_get_ex(o, key, &v) ? json_object_get_int64(v) : 0;
}

static bool flag(json_object *o, const char *key)
{
	json_object *v;

	return json_object_object_get_ex(o, key, &v) && json_object_get_boolean(v);
}

static json_object *list(json_object *o, const char *key)
{
	json_object *v;

	return json_object_object_get_ex(o, key, &v) && json_object_is_type(v, json_type_array) ? v : NULL;
}

/* What a guest, a machine's process or an XML wrote must not drive the reader's terminal, nor write over what stands there. NULL: nothing. */
void put_text(FILE *f, const char *s)
{
	bool tty = isatty(fileno(f));

	for (const unsigned char *c = (const unsigned char *)s; c && *c; c++) {
		bool high = *c == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0;         /* U+0080 to U+009F: the same by other bytes */

		c += tty && high;
		putc(tty && (high || *c == 0x7f || (*c < ' ' && *c != '\n' && *c != '\t' && !(*c == '\r' && c[1] == '\n'))) ? '?' : *c, f);
	}
}

static void put_json(json_object *o, int flags)
{
	put_text(stdout, json_object_to_json_string_ext(o, flags));
	putchar('\n');
}

static bool colours(FILE *f)
{
	return isatty(fileno(f)) && !g_getenv("NO_COLOR") && g_strcmp0(g_getenv("TERM"), "dumb");
}

static char *bytes_text(int64_t n)
{
	if (n && n % (1 << 20) == 0)
		return g_strdup_printf("%" G_GINT64_FORMAT " MiB", n >> 20);
	return g_strdup_printf("%" G_GINT64_FORMAT " KiB", n >> 10);
}

static char *when_text(int64_t seconds)
{
	g_autoptr(GDateTime) t = g_date_time_new_from_unix_local(seconds);

	return t ? g_date_time_format(t, "%F %T") : g_strdup("?");
}

/* --- any reply --- */

static const char *const in_bytes[] = { "memory", "memory_max", "memory_available", "rss", NULL };
static const char *const in_seconds[] = { "since", NULL };
static const char *const none_is_dash[] = { "id", "pid", NULL };

static char *value_text(json_object *o, const char *key, json_object *v)
{
	json_object *pid;

	if (json_object_is_type(v, json_type_boolean))
		return g_strdup(json_object_get_boolean(v) ? "yes" : "no");
	if (g_strv_contains(in_bytes, key))
		return bytes_text(json_object_get_int64(v));
	if (g_strv_contains(in_seconds, key))
		return when_text(json_object_get_int64(v));
	if (g_strv_contains(none_is_dash, key) && !json_object_get_int64(v))
		return g_strdup("-");
	if (!strcmp(key, "uid") && json_object_object_get_ex(o, "pid", &pid) && !json_object_get_int64(pid))
		return g_strdup("-");           /* of no process; 0 is root */
	if (!strcmp(key, "cpu_time"))
		return g_strdup_printf("%.1f s", (double)json_object_get_int64(v) / 1e9);
	return g_strdup(json_object_get_string(v));
}

static void put_label(const char *label, unsigned depth)
{
	printf("%*s", (int)depth * 2, "");
	put_text(stdout, label);
	putchar(':');
}

static void print_struct(json_object *o, unsigned depth)
{
	json_object_object_foreach(o, key, v) {
		g_autofree char *label = g_strdelimit(g_strdup(key), "_", ' ');

		if (!v)
			continue;
		label[0] = g_ascii_toupper(label[0]);
		if (json_object_is_type(v, json_type_object)) {
			put_label(label, depth);
			putchar('\n');
			print_struct(v, depth + 1);
		} else if (json_object_is_type(v, json_type_array)) {
			if (json_object_array_length(v))
				put_label(label, depth), putchar('\n');
			for (size_t i = 0; i < json_object_array_length(v); i++) {
				json_object *item = json_object_array_get_idx(v, i);

				if (json_object_is_type(item, json_type_object)) {
					print_struct(item, depth + 1);
					if (i + 1 < json_object_array_length(v))
						putchar('\n');
				} else {
					printf("%*s", (int)depth * 2 + 2, "");
					put_text(stdout, json_object_get_string(item));
					putchar('\n');
				}
			}
		} else {
			g_autofree char *text = value_text(o, key, v);

			put_label(label, depth);
			printf("%*s", MAX(1, 16 - (int)strlen(label)), "");
			put_text(stdout, text);
			putchar('\n');
		}
	}
}

/* --- forms of their own --- */

static void print_list(const struct call *c, json_object *o)
{
	const struct ask_list *a = c->args;
	json_object *rows = list(o, "domains");
	size_t n = rows ? json_object_array_length(rows) : 0;
	int wide = 8;

	for (size_t i = 0; i < n; i++)
		wide = MAX(wide, (int)g_utf8_strlen(str(json_object_array_get_idx(rows, i), "name"), -1));
	if (!a->names)
		printf(" %-5s %-*s State\n%.*s\n", "Id", wide, "Name", wide + 30,
			"--------------------------------------------------------------------------------------------------------------------");
	for (size_t i = 0; i < n; i++) {
		json_object *r = json_object_array_get_idx(rows, i);
		const char *name = str(r, "name");

		if (a->names) {
			put_text(stdout, name);
			putchar('\n');
			continue;
		}
		g_autofree char *id = num(r, "id") ? g_strdup_printf("%" G_GINT64_FORMAT, num(r, "id")) : g_strdup("-");

		printf(" %-5s ", id);
		put_text(stdout, name);
		printf("%*s %s\n", wide - (int)g_utf8_strlen(name, -1), "", str(r, "state"));
	}
}

static void print_define(const struct call *c, json_object *o)
{
	json_object *w = list(o, "warnings");

	for (size_t i = 0; w && i < json_object_array_length(w); i++) {
		json_object *f = json_object_array_get_idx(w, i);
		g_autofree char *line = g_strdup_printf("%s:%" G_GINT64_FORMAT ":%" G_GINT64_FORMAT ": %s: %s: %s%s%s\n", c->file, num(f, "line"), num(f, "column"),
			str(f, "level"), str(f, "path"), str(f, "text"), *str(f, "cure") ? "; " : "", str(f, "cure"));

		put_text(stderr, line);
	}
	if (!c->quiet)
		printf("domain '%s' %s, uuid %s\n", str(o, "name"), flag(o, "created") ? "defined" : "redefined", str(o, "uuid"));
}

static void print_notes(json_object *o)
{
	json_object *notes = list(o, "notes");

	for (size_t i = 0; notes && i < json_object_array_length(notes); i++) {
		fputs("note: ", stderr);
		put_text(stderr, str(json_object_array_get_idx(notes, i), "text"));
		fputc('\n', stderr);
	}
}

static void print_start(const struct call *c, json_object *o)
{
	print_notes(o);
	if (!c->quiet)
		printf("domain '%s' started\n", c->vm);
}

static void print_state(const struct call *c, json_object *o)
{
	bool reason = !strcmp(c->command->name, "domstate") && ((const struct ask_domstate *)c->args)->reason && *str(o, "reason");

	if (strcmp(c->command->name, "wait") || !c->quiet)
		printf(reason ? "%s (%s)\n" : "%s\n", str(o, "state"), str(o, "reason"));
}

static void print_autostart(const struct call *c, json_object *o)
{
	if (!c->quiet)
		printf(flag(o, "autostart") ? "domain '%s' starts with the host\n" : "domain '%s' no longer starts with the host\n", c->vm);
}

/* As virsh: a key and a number a line, sizes in KiB. */
static void print_memstat(const struct call *c, json_object *o)
{
	static const char *const plain[] = { "major_fault", "minor_fault", "last_update", "hugetlb_pgalloc", "hugetlb_pgfail", "period", NULL };

	if (((const struct ask_dommemstat *)c->args)->period != PERIOD_ABSENT)
		return;
	json_object_object_foreach(o, key, v)
		printf("%s %" G_GUINT64_FORMAT "\n", key, g_strv_contains(plain, key) ? json_object_get_uint64(v) : json_object_get_uint64(v) >> 10);
}

static void print_xml(const struct call *c, json_object *o)
{
	fputs(str(o, "xml"), stdout);
}

static void print_log(const struct call *c, json_object *o)
{
	put_text(stdout, str(o, "text"));
}

static void print_host(const struct call *c, json_object *o)
{
	json_object *checks = list(o, "checks"), *models, *caps;
	bool colour = colours(stdout);

	printf("%s, Linux %s, %" G_GINT64_FORMAT " CPUs: %s\n", str(o, "hostname"), str(o, "kernel"), num(o, "cpus"), str(o, "cpu_model"));
	printf("memory: %" G_GINT64_FORMAT " MiB, %" G_GINT64_FORMAT " MiB available\n", num(o, "memory") >> 20, num(o, "memory_available") >> 20);
	printf("guest kernel code: %s\n\n", str(o, "guest_kernel_code"));
	for (size_t i = 0; checks && i < json_object_array_length(checks); i++) {
		json_object *x = json_object_array_get_idx(checks, i);
		const char *result = str(x, "result");
		const char *on = !colour ? "" : !strcmp(result, "ok") ? "\033[32m" : !strcmp(result, "failed") ? "\033[31m" : "\033[33m";

		printf("%s%-8s%s %s: %s\n", on, result, colour ? "\033[0m" : "", str(x, "name"), str(x, "found"));
		if (*str(x, "cure"))
			printf("         %s\n", str(x, "cure"));
	}
	if ((models = list(o, "cpu_models"))) {
		printf("\nCPU models that <cpu> may name:");
		for (size_t i = 0; i < json_object_array_length(models); i++)
			printf(" %s", json_object_get_string(json_object_array_get_idx(models, i)));
		putchar('\n');
	}
	if (json_object_object_get_ex(o, "capabilities", &caps) && caps) {
		printf("\nKVM:");
		json_object_object_foreach(caps, key, v) {
			if (json_object_is_type(v, json_type_int))
				printf(" %s=%s", key, json_object_get_string(v));
		}
		putchar('\n');
	}
}

/* virsh's table, or the one number that the options leave. */
static void print_vcpucount(const struct call *c, json_object *o)
{
	const struct ask_vcpucount *a = c->args;
	bool running = num(o, "maximum_live");
	bool live = a->live || (a->current && running), config = a->config || (a->current && !running);
	const struct { const char *which, *of, *key; bool shown; } rows[] = {
		{ "maximum", "config", "maximum_config", (!a->active || a->maximum) && (config || !live) },
		{ "maximum", "live", "maximum_live", (!a->active || a->maximum) && (live || !config) },
		{ "current", "config", "current_config", (!a->maximum || a->active) && (config || !live) },
		{ "current", "live", "current_live", (!a->maximum || a->active) && (live || !config) },
	};
	unsigned n = 0;

	if (a->guest) {
		printf("%" G_GINT64_FORMAT "\n", num(o, "guest"));
		return;
	}
	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++)
		n += rows[i].shown;
	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		int64_t v = num(o, rows[i].key);

		if (!rows[i].shown || (!v && n > 1))
			continue;
		if (n > 1)
			printf("%-12s %-12s %" G_GINT64_FORMAT "\n", rows[i].which, rows[i].of, v);
		else
			printf("%" G_GINT64_FORMAT "\n", v);
	}
}

static void print_setvcpus(const struct call *c, json_object *o)
{
	const struct ask_setvcpus *a = c->args;

	if (c->quiet)
		return;
	if (!a->guest)
		printf("domain '%s': the number of vCPUs is changed", c->vm);
	if (num(o, "online"))
		printf("%s%" G_GINT64_FORMAT " are online in the guest", a->guest ? "" : "; ", num(o, "online"));
	putchar('\n');
}

static void print_setvcpu(const struct call *c, json_object *o)
{
	if (!c->quiet)
		printf("domain '%s': %" G_GINT64_FORMAT " vCPUs of at most %" G_GINT64_FORMAT "\n", c->vm, num(o, "vcpus"), num(o, "maximum"));
}

static void print_powerdown(const struct call *c, json_object *o)
{
	bool reboot = !strcmp(c->command->name, "system_reboot");

	if (c->quiet)
		return;
	if (!strcmp(str(o, "mode"), "agent"))
		printf("domain '%s': the guest's agent is told to %s\n", c->vm, reboot ? "begin anew" : "shut down");
	else
		printf("domain '%s': power button pressed%s\n", c->vm, reboot ? ", starts again when it is off" : "");
}

/* As it came. */
static void print_line(const struct call *c, json_object *o)
{
	put_json(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
}

/* As virsh prints them. */
static void print_domstats(const struct call *c, json_object *o)
{
	json_object *rows = list(o, "domains");

	for (size_t i = 0; rows && i < json_object_array_length(rows); i++) {
		json_object *row = json_object_array_get_idx(rows, i), *stats;

		printf("%sDomain: '%s'\n", i ? "\n" : "", str(row, "name"));
		if (!json_object_object_get_ex(row, "stats", &stats) || !json_object_is_type(stats, json_type_object))
			continue;
		json_object_object_foreach(stats, key, v) {
			printf("  ");
			put_text(stdout, key);
			putchar('=');
			put_text(stdout, json_object_get_string(v));
			putchar('\n');
		}
	}
}

/* A device that the machine has has an alias; one that is only in the definition gets it at the next start. */
static void print_device(const struct call *c, json_object *o)
{
	print_notes(o);
	json_object_object_del(o, "notes");
	if (*str(o, "alias"))
		print_struct(o, 0);
	else if (!c->quiet)
		printf("domain '%s': its definition is changed\n", c->vm);
}

static void print_detached(const struct call *c, json_object *o)
{
	print_notes(o);
	if (c->quiet)
		return;
	if (*str(o, "alias"))
		printf("domain '%s': '%s' is detached\n", c->vm, str(o, "alias"));
	else
		printf("domain '%s': its definition is changed\n", c->vm);
}

static void print_medium(const struct call *c, json_object *o)
{
	const struct ask_change_media *a = c->args;

	print_notes(o);
	if (!c->quiet)
		printf("domain '%s': %s '%s'\n", c->vm, a->eject ? "there is no medium any more in" : "the medium is changed in", a->target);
}

static const struct {
	const char *command;
	void (*print)(const struct call *, json_object *);
	const char *said;       /* instead of print: one sentence about the domain */
	const char *key;        /* instead of both: this value alone */
} forms[] = {
	{ "list", print_list },
	{ "domstats", print_domstats },
	{ "define", print_define },
	{ "start", print_start },
	{ "dommemstat", print_memstat },
	{ "setmem", .said = "domain '%s': the amount of memory is changed\n" },
	{ "update-memory-device", .said = "domain '%s': the memory device's size is changed\n" },
	{ "setmaxmem", .said = "domain '%s': what it may have of memory is changed, from its next start\n" },
	{ "attach-device", print_device },
	{ "attach-disk", print_device },
	{ "attach-interface", print_device },
	{ "detach-device", print_detached },
	{ "detach-device-alias", print_detached },
	{ "detach-disk", print_detached },
	{ "detach-interface", print_detached },
	{ "change-media", print_medium },
	{ "update-device", print_device },
	{ "domstate", print_state },
	{ "wait", print_state },
	{ "autostart", print_autostart },
	{ "dumpxml", print_xml },
	{ "console-log", print_log },
	{ "host", print_host },
	{ "vcpucount", print_vcpucount },
	{ "domblklist", print_table },
	{ "domblkinfo", print_table },
	{ "domblkstat", print_table },
	{ "domblkerror", print_table },
	{ "disk-usage", print_table },
	{ "blkdeviotune", print_tune },
	{ "blockresize", print_resized },
	{ "domiflist", print_domiflist },
	{ "domif-getlink", print_domif_getlink },
	{ "domifstat", print_domifstat },
	{ "domiftune", print_domiftune },
	{ "domif-setlink", .said = "domain '%s': the cable is as asked\n" },
	{ "setvcpu", print_setvcpu },
	{ "setvcpus", print_setvcpus },
	{ "qemu-agent-command", print_line },
	{ "undefine", .said = "domain '%s' undefined\n" },
	{ "destroy", .said = "domain '%s' destroyed\n" },
	{ "shutdown", print_powerdown },
	{ "system_reboot", print_powerdown },
	{ "system_reset", .said = "domain '%s' reset\n" },
	{ "stop", .said = "domain '%s' suspended\n" },
	{ "cont", .said = "domain '%s' resumed\n" },
	{ "domuuid", .key = "uuid" },
	{ "domname", .key = "name" },
	{ "domid", .key = "id" },
};

static void print_json(const struct call *c, json_object *reply)
{
	json_object *only = NULL;

	if (c->output == OUT_JSON) {
		put_json(reply, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE);
		return;
	}
	/* one list in it: one line each */
	if (json_object_is_type(reply, json_type_object) && json_object_object_length(reply) == 1) {
		json_object_object_foreach(reply, key, v) {
			(void)key;
			only = json_object_is_type(v, json_type_array) ? v : NULL;
		}
	} else if (json_object_is_type(reply, json_type_array)) {
		only = reply;
	}
	if (!only) {
		put_json(reply, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
		return;
	}
	for (size_t i = 0; i < json_object_array_length(only); i++)
		put_json(json_object_array_get_idx(only, i), JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
}

void print_reply(const struct call *c, json_object *reply)
{
	if (c->output != OUT_TEXT) {
		print_json(c, reply);
		return;
	}
	for (size_t i = 0; i < G_N_ELEMENTS(forms); i++) {
		if (strcmp(forms[i].command, c->command->name))
			continue;
		if (forms[i].print)
			forms[i].print(c, reply);
		else if (forms[i].key && !strcmp(forms[i].key, "id") && !num(reply, "id"))
			puts("-");
		else if (forms[i].key)
			put_text(stdout, str(reply, forms[i].key)), putchar('\n');
		else if (!c->quiet)
			printf(forms[i].said, c->vm);
		return;
	}
	if (json_object_is_type(reply, json_type_object))
		print_struct(reply, 0);
	else
		put_json(reply, JSON_C_TO_STRING_PRETTY);
}

void print_event(const struct call *c, json_object *event)
{
	json_object *t = NULL, *data = NULL;
	char stamp[40] = "?";
	time_t seconds;
	struct tm tm;

	if (c->output != OUT_TEXT) {
		fputs(json_object_to_json_string_ext(event, (c->output == OUT_JSON ? JSON_C_TO_STRING_PRETTY : JSON_C_TO_STRING_PLAIN) | JSON_C_TO_STRING_NOSLASHESCAPE),
			stdout);
		if (c->output == OUT_JSONL)
			putchar('\n');
		fflush(stdout);
		return;
	}
	json_object_object_get_ex(event, "timestamp", &t);
	json_object_object_get_ex(event, "data", &data);
	seconds = (time_t)num(t, "seconds");
	if (localtime_r(&seconds, &tm))
		(void)strftime(stamp, sizeof stamp, "%F %T", &tm);
	printf("%" G_GINT64_FORMAT " %s.%03d %s %s", num(event, "seq"), stamp, (int)(num(t, "microseconds") / 1000), *str(data, "vm") ? str(data, "vm") : "-",
		str(event, "event"));
	if (data) {
		json_object_object_foreach(data, key, v) {
			if (!strcmp(key, "vm") || !strcmp(key, "uuid") || !strcmp(key, "worker-seq"))
				continue;
			putchar(' ');
			put_text(stdout, key);
			putchar('=');
			put_text(stdout, json_object_get_string(v));
		}
	}
	putchar('\n');
	fflush(stdout);
}

void print_error(const struct call *c, const GError *err)
{
	const struct kerr_row *row = kerr_of(err);

	if (c->output != OUT_TEXT) {
		json_object *o = json_object_new_object(), *e = json_object_new_object();

		json_object_object_add(e, "code", json_object_new_string(row->code));
		json_object_object_add(e, "class", json_object_new_string(row->qmp_class));
		json_object_object_add(e, "desc", json_object_new_string(err->message));
		json_object_object_add(o, "error", e);
		fprintf(stderr, "%s\n", json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
		json_object_put(o);
		return;
	}
	fprintf(stderr, colours(stderr) ? "\033[31merror:\033[0m %s: " : "error: %s: ", row->code);
	put_text(stderr, err->message);
	putc('\n', stderr);
}
