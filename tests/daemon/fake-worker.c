/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A worker without a machine: speaks kvmd-vm's protocol, so that kvmd is tested without KVM and root. The <description> of
 * the domain says how it begins (refuse, die, mute; hold: what changes the machine is done when kvmd has gone); commands x-… on its QMP socket say what happens to it later.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <json-c/json.h>
#include <json-c/json_pointer.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/wire.h"
#include "daemon/worker_journal.h"
#include "domain/error.h"
#include "tests/daemon/fake_serve.h"

struct fake {
	GMainLoop *loop;
	GHashTable *fds;        /* name → fd + 1 */
	GPtrArray *wires;
	json_object *machine, *forged;  /* forged: what it says that it is; NULL: the truth */
	unsigned asked;         /* how often it was asked what it is */
	GPtrArray *events;
	uint64_t seq;
	const char *state;
	bool mute, hold;
	struct fake_serve serve;
	GPtrArray *held;        /* of json_object: what COMMAND_DONE will say */
};

static struct fake f;           /* a test program has one */

static int fd_of(const char *name)
{
	return GPOINTER_TO_INT(g_hash_table_lookup(f.fds, name)) - 1;
}

static const char *machine_str(const char *key)
{
	json_object *v;

	return f.machine && json_object_object_get_ex(f.machine, key, &v) ? json_object_get_string(v) : "";
}

static void event(const char *name, json_object *data)
{
	json_object *o = wire_event(name, data, ++f.seq);

	g_ptr_array_add(f.events, o);
	for (unsigned i = 0; i < f.wires->len; i++)
		wire_send(f.wires->pdata[i], o, NULL, 0);
}

G_NORETURN static void leave(const char *reason, const char *detail)
{
	g_autofree char *line = g_strdup_printf("{\"reason\":\"%s\",\"detail\":\"%s\",\"guest\":true,\"value\":7}\n", reason, detail ? detail : "");
	int fd = fd_of("exit");

	if (fd >= 0)
		(void)!write(fd, line, strlen(line));
	for (unsigned i = 0; i < f.wires->len; i++)
		wire_close(f.wires->pdata[i], true, NULL);
	_exit(0);
}

static gboolean console_input(gint fd, GIOCondition cond, gpointer data)
{
	char buf[4096];
	ssize_t n = read(fd, buf, sizeof buf);

	if (n <= 0) {
		close(fd);
		return G_SOURCE_REMOVE;
	}
	(void)!write(fd, buf, (size_t)n);       /* an echo is guest enough */
	return G_SOURCE_CONTINUE;
}

static json_object *str_data(const char *key, const char *value)
{
	json_object *o = json_object_new_object();

	json_object_object_add(o, key, json_object_new_string(value));
	return o;
}

static gboolean guest_off(gpointer data)
{
	event("SHUTDOWN", str_data("reason", "guest-shutdown"));
	leave("shutdown", NULL);
}

static gboolean accepted(gint fd, GIOCondition cond, gpointer data);

static json_object *create(json_object *args, GError **err)
{
	json_object *v;

	if (!json_object_object_get_ex(args, "machine", &v)) {
		kerr_set(err, KERR_ARGS, "no machine");
		return NULL;
	}
	f.machine = json_object_get(v);
	for (const char *const *name = (const char *const []){ "kvm", "ram", "lock", "exit", "qmp", "kvmd", "console-log", "console-log-old", NULL }; *name; name++)
		if (fd_of(*name) < 0) {
			kerr_set(err, KERR_ARGS, "no descriptor '%s'", *name);
			return NULL;
		}
	if (!strcmp(machine_str("description"), "refuse")) {
		kerr_set(err, KERR_HOST, "this fake refuses");
		return NULL;
	}
	if (!strcmp(machine_str("description"), "die"))
		abort();
	f.mute = !strcmp(machine_str("description"), "mute");
	f.hold = !strcmp(machine_str("description"), "hold");
	f.state = json_object_object_get_ex(args, "run", &v) && json_object_get_boolean(v) ? "running" : "prelaunch";
	g_unix_fd_add(fd_of("qmp"), G_IO_IN, accepted, NULL);
	g_unix_fd_add(fd_of("kvmd"), G_IO_IN, accepted, NULL);
	(void)!write(fd_of("console-log"), "fake guest\n", 11);
	if (!strcmp(machine_str("description"), "brief"))
		leave("crashed", "brief life");
	return json_object_new_object();
}

static json_object *console(int *fds, unsigned n, GError **err)
{
	if (n != 1) {
		kerr_set(err, KERR_ARGS, "no descriptor");
		return NULL;
	}
	(void)!write(fds[0], "backlog\n", 8);
	g_unix_fd_add(fds[0], G_IO_IN, console_input, NULL);
	fds[0] = -1;
	return json_object_new_object();
}

static json_object *add_fds(json_object *args, int *fds, unsigned n, GError **err)
{
	json_object *names, *v;

	json_object_object_get_ex(args, "names", &names);
	for (unsigned i = 0; i < n; i++) {
		json_object_object_get_ex(json_object_array_get_idx(names, i), "name", &v);
		g_hash_table_insert(f.fds, g_strdup(json_object_get_string(v)), GINT_TO_POINTER(fds[i] + 1));
		fds[i] = -1;
	}
	return json_object_new_object();
}

static json_object *hello(void)
{
	json_object *o = str_data("status", f.state);

	json_object_object_add(o, "last-seq", json_object_new_uint64(f.seq));
	return o;
}

static json_object *replay(json_object *args)
{
	json_object *list = json_object_new_array(), *v;
	uint64_t since = json_object_object_get_ex(args, "since", &v) ? json_object_get_uint64(v) : 0;

	for (unsigned i = 0; i < f.events->len; i++)
		if (i + 1 > since)
			json_object_array_add(list, json_object_get(f.events->pdata[i]));
	return list;
}

/* Its only network card changes as it is told. */
static json_object *net_change(const char *name, json_object *args, GError **err)
{
	json_object *devices, *cards, *card, *v;

	if (!json_object_object_get_ex(f.machine, "devices", &devices) || !json_object_object_get_ex(devices, "interfaces", &cards) ||
		!(card = json_object_array_get_idx(cards, 0))) {
		kerr_set(err, KERR_NO_DEVICE, "this fake has no card");
		return NULL;
	}
	if (!strcmp(name, "set_link") && json_object_object_get_ex(args, "up", &v))
		json_object_object_add(card, "link", json_object_new_string(json_object_get_boolean(v) ? "up" : "down"));
	else if (!strcmp(name, "net-tune") && json_object_object_get_ex(args, "bandwidth", &v))
		json_object_object_add(card, "bandwidth", json_object_get(v));
	json_object_object_add(card, "target", json_object_new_string("fake7"));
	return json_object_new_object();
}

/* "POINTER=JSON" in what it is; "": the truth. */
static bool forge(const char *text, GError **err)
{
	const char *value = strchr(text, '=');
	g_autofree char *at = value ? g_strndup(text, (gsize)(value - text)) : NULL;

	json_object_put(f.forged);
	f.forged = NULL;
	if (!value)
		return true;
	(void)json_object_deep_copy(f.machine, &f.forged, NULL);
	return !json_pointer_set(&f.forged, at, json_tokener_parse(value + 1)) || kerr_set(err, KERR_ARGS, "'%s' is not there", at);
}

/* Whatever a process can write to kvmd. */
static void say(const char *text)
{
	json_object *o = json_tokener_parse(text);

	if (f.serve.kvmd)
		wire_send(f.serve.kvmd, o, NULL, 0);
	json_object_put(o);
}

/* Its last words as it likes them, after much noise. */
G_NORETURN static void leave_with(const char *line)
{
	g_autofree char *noise = g_strnfill(1 << 20, '\n');
	int fd = fd_of("exit");

	(void)!write(fd, noise, 1 << 20);
	(void)!write(fd, line, strlen(line));
	_exit(0);
}

static json_object *run(const char *name, json_object *args, int *fds, unsigned n, GError **err)
{
	json_object *v = NULL;
	const char *text = args && json_object_object_get_ex(args, "text", &v) ? json_object_get_string(v) : "";

	if (!strcmp(name, "add-fds"))
		return add_fds(args, fds, n, err);
	if (!strcmp(name, "machine-create"))
		return create(args, err);
	if (!strcmp(name, "hello"))
		return hello();
	if (!strcmp(name, "query-machine")) {
		f.asked++;
		return json_object_get(f.forged ? f.forged : f.machine);
	}
	if (!strcmp(name, "x-forge"))
		return forge(text, err) ? json_object_new_object() : NULL;
	if (!strcmp(name, "x-asked"))
		return json_object_new_int64(f.asked);
	if (!strcmp(name, "x-sign")) {          /* another process is the machine */
		if (pwrite(fd_of("lock"), text, strlen(text), 0) >= 0 && ftruncate(fd_of("lock"), (off_t)strlen(text)) == 0)
			kerr_set(err, KERR_INTERNAL, "it could be written");
		return *err ? NULL : json_object_new_object();
	}
	if (!strcmp(name, "replay-events"))
		return replay(args);
	if (!strcmp(name, "client-served")) {
		event("SERVED", json_object_get(args));
		return json_object_new_object();
	}
	if (!strcmp(name, "console-attach"))
		return console(fds, n, err);
	if (!strcmp(name, "set_link") || !strcmp(name, "net-tune"))
		return net_change(name, args, err);
	if (!strcmp(name, "net-list"))
		return json_tokener_parse("[{\"id\":\"net0\",\"up\":true,\"linked\":true,\"rx_bytes\":11,\"rx_packets\":2,\"tx_bytes\":33,\"tx_drop\":4}]");
	if (!strcmp(name, "query-status"))
		return str_data("status", f.state);
	if (!strcmp(name, "stop")) {
		f.state = "paused";
		event("STOP", NULL);
	} else if (!strcmp(name, "cont")) {
		f.state = "running";
		event("RESUME", NULL);
	} else if (!strcmp(name, "system_powerdown") || !strcmp(name, "shutdown")) {
		event("POWERDOWN", NULL);
		g_idle_add(guest_off, NULL);
	} else if (!strcmp(name, "quit")) {
		leave("killed", "by request");
	} else if (!strcmp(name, "x-leave")) {
		leave(text, "as told");
	} else if (!strcmp(name, "x-leave-with")) {
		leave_with(text);
	} else if (!strcmp(name, "x-say")) {
		say(text);
	} else if (!strcmp(name, "x-changes")) {        /* that often */
		for (int i = atoi(text); i > 0; i--)
			event("KVMD_MACHINE", NULL);
	} else if (!strcmp(name, "x-abort")) {
		abort();
	} else if (!strcmp(name, "x-mute")) {
		f.mute = true;
	} else if (!strcmp(name, "x-event")) {
		event(text, NULL);
	} else if (!strcmp(name, "x-words")) {
		event("WORDS", str_data("text", text));
	} else if (!strcmp(name, "x-clock")) {          /* the guest set its clock, so many seconds ahead */
		json_object *moved = json_object_new_object();

		json_object_object_add(moved, "offset", json_object_new_int64(g_ascii_strtoll(text, NULL, 10)));
		event("RTC_CHANGE", moved);
	} else if (!strcmp(name, "x-burst")) {          /* that many */
		for (int i = atoi(text); i > 0; i--)
			event("BURST", NULL);
	}
	return json_object_new_object();
}

static void message(struct wire *w, json_object *m, int *fds, unsigned n)
{
	json_object *v, *args = NULL, *id = NULL, *reply, *out;
	g_autoptr(GError) err = NULL;
	const char *name = json_object_object_get_ex(m, "execute", &v) ? json_object_get_string(v) : "";

	json_object_object_get_ex(m, "arguments", &args);
	json_object_object_get_ex(m, "id", &id);
	if (f.mute)
		return;
	if (f.hold && journal_wants(command_by_name(name))) {
		g_ptr_array_add(f.held, journal_data(command_by_name(name), args));
		event("HELD", str_data("command", name));
		for (unsigned i = 0; i < n; i++)
			close(fds[i]);
		return;
	}
	if (!strcmp(name, "machine-create") || !strcmp(name, "hello"))
		f.serve.kvmd = w;
	f.serve.qmp = fd_of("qmp");
	if (fake_serve(&f.serve, name, args && json_object_object_get_ex(args, "text", &v) ? json_object_get_string(v) : "", w))
		reply = json_object_new_object();
	else
		reply = run(name, args, fds, n, &err);
	for (unsigned i = 0; i < n; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	if (f.mute)
		return;
	out = reply ? wire_return(id, reply) : wire_error(id, err);
	wire_send(w, out, NULL, 0);
	json_object_put(out);
	if (!reply && !strcmp(name, "machine-create"))
		leave("error", err->message);
}

static void closed(struct wire *w, const char *why)
{
	g_ptr_array_remove(f.wires, w);
	if (f.serve.kvmd == w)
		f.serve.kvmd = NULL;
	if (!f.machine)
		_exit(1);
	while (f.held->len) {
		json_object *data = g_ptr_array_steal_index(f.held, 0);

		journal_result(data, NULL);
		event("COMMAND_DONE", data);
	}
}

static const struct wire_ops ops = { .message = message, .closed = closed };

static gboolean accepted(gint fd, GIOCondition cond, gpointer data)
{
	int s = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

	if (s >= 0)
		g_ptr_array_add(f.wires, wire_new(s, NULL, &ops, NULL));
	return G_SOURCE_CONTINUE;
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], "--probe")) {
			puts("{\"class\":\"native\",\"api\":12}");
			return 0;
		}
	(void)signal(SIGPIPE, SIG_IGN);
	f = (struct fake){ .loop = g_main_loop_new(NULL, FALSE), .fds = g_hash_table_new(g_str_hash, g_str_equal), .wires = g_ptr_array_new(),
		.events = g_ptr_array_new(), .held = g_ptr_array_new(), .state = "inmigrate" };
	g_ptr_array_add(f.wires, wire_new(3, NULL, &ops, NULL));
	g_main_loop_run(f.loop);
	return 0;
}
