/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A control group per machine. */
#include "daemon/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/work.h"

enum cgroup_kind { CGROUP_NONE, CGROUP_V1, CGROUP_V2, CGROUP_SYSTEMD };

struct cgroups {
	enum cgroup_kind kind;
	GPtrArray *bases;       /* folders that hold one folder per machine */
	char *busctl, *key, *text;
	bool stopping;          /* nothing is tried again */
};

/* v1 hierarchies worth a group of their own: the rest neither counts nor limits anything we offer */
static const char *const v1_wanted[] = { "pids", "memory", "cpu", "cpuacct" };

/* --- finding our place --- */

/* Our path in the hierarchy of a controller ("" for v2). New, or NULL. */
static char *own_path(const char *controller)
{
	g_autofree char *text = NULL;
	g_auto(GStrv) lines = NULL;

	if (!g_file_get_contents("/proc/self/cgroup", &text, NULL, NULL))
		return NULL;
	lines = g_strsplit(text, "\n", -1);
	for (unsigned i = 0; lines[i]; i++) {
		g_auto(GStrv) part = g_strsplit(lines[i], ":", 3);

		if (g_strv_length(part) < 3)
			continue;
		g_auto(GStrv) names = g_strsplit(part[1], ",", -1);

		if (*controller ? g_strv_contains((const char *const *)names, controller) : !*part[1])
			return g_strdup(part[2]);
	}
	return NULL;
}

/* Where that hierarchy is mounted. New, or NULL. */
static char *mount_of(const char *controller)
{
	g_autofree char *text = NULL;
	g_auto(GStrv) lines = NULL;

	if (!g_file_get_contents("/proc/self/mountinfo", &text, NULL, NULL))
		return NULL;
	lines = g_strsplit(text, "\n", -1);
	for (unsigned i = 0; lines[i]; i++) {
		char *tail = strstr(lines[i], " - ");
		g_auto(GStrv) head = tail ? g_strsplit(lines[i], " ", 6) : NULL;
		g_auto(GStrv) fs = tail ? g_strsplit(tail + 3, " ", 3) : NULL;

		if (!tail || g_strv_length(head) < 6 || g_strv_length(fs) < 3 || strcmp(head[3], "/"))
			continue;
		g_auto(GStrv) opts = g_strsplit(fs[2], ",", -1);

		if (*controller ? !strcmp(fs[0], "cgroup") && g_strv_contains((const char *const *)opts, controller) : !strcmp(fs[0], "cgroup2"))
			return g_strdup(head[4]);
	}
	return NULL;
}

/* Groups of machines that ended when no kvmd was there. Those of machines that run cannot be removed. */
static void remove_empty(const char *base)
{
	GDir *d = g_dir_open(base, 0, NULL);
	const char *name;

	while (d && (name = g_dir_read_name(d))) {
		g_autofree char *dir = g_uuid_string_is_valid(name) ? g_build_filename(base, name, NULL) : NULL;

		if (dir)
			(void)rmdir(dir);
	}
	if (d)
		g_dir_close(d);
}

static bool add_base(struct cgroups *g, const char *controller)
{
	g_autofree char *mount = mount_of(controller);
	g_autofree char *own = own_path(controller);
	g_autofree char *base = mount && own ? g_strdup_printf("%s%s%skvmd-%s", mount, own, g_str_has_suffix(own, "/") ? "" : "/", g->key) : NULL;

	if (!base || (mkdir(base, 0755) < 0 && errno != EEXIST))
		return false;
	for (unsigned i = 0; i < g->bases->len; i++)            /* cpu,cpuacct are often one hierarchy */
		if (!strcmp(g_ptr_array_index(g->bases, i), base))
			return false;
	remove_empty(base);
	g_ptr_array_add(g->bases, g_steal_pointer(&base));
	return true;
}

static bool is_pure_v2(void)
{
	g_autofree char *mount = mount_of("");
	g_autofree char *file = mount ? g_build_filename(mount, "cgroup.controllers", NULL) : NULL;
	g_autofree char *text = NULL;

	return file && g_file_get_contents(file, &text, NULL, NULL) && strstr(text, "memory");
}

/* Lets the machines' groups limit what they can; it is no loss when it is not allowed. */
static void delegate_v2(const char *base)
{
	static const char *const controllers[] = { "+cpu", "+memory", "+pids", "+io" };
	g_autofree char *up = g_path_get_dirname(base);
	const char *const dirs[] = { up, base };

	for (size_t d = 0; d < G_N_ELEMENTS(dirs); d++) {
		g_autofree char *file = g_build_filename(dirs[d], "cgroup.subtree_control", NULL);

		for (size_t i = 0; i < G_N_ELEMENTS(controllers); i++) {
			int fd = open(file, O_WRONLY | O_CLOEXEC);

			if (fd < 0 || write(fd, controllers[i], strlen(controllers[i])) < 0)
				log_debug("cgroup: %s to '%s': %s", controllers[i], file, g_strerror(errno));
			if (fd >= 0)
				close(fd);
		}
	}
}

struct cgroups *cgroups_new(const char *key, bool systemd_scopes)
{
	struct cgroups *g = g_new0(struct cgroups, 1);

	g->bases = g_ptr_array_new_with_free_func(g_free);
	g->key = g_strdup(key);
	if (systemd_scopes && g_file_test("/run/systemd/system", G_FILE_TEST_IS_DIR) && (g->busctl = g_find_program_in_path("busctl"))) {
		g->kind = CGROUP_SYSTEMD;
		g->text = g_strdup("systemd scopes");
		return g;
	}
	if (is_pure_v2() && add_base(g, "")) {
		g->kind = CGROUP_V2;
		g->text = g_strdup("cgroup v2");
		delegate_v2(g_ptr_array_index(g->bases, 0));
		return g;
	}
	GString *names = g_string_new(NULL);

	for (size_t i = 0; i < G_N_ELEMENTS(v1_wanted); i++)
		if (add_base(g, v1_wanted[i]))
			g_string_append_printf(names, "%s%s", names->len ? ", " : "", v1_wanted[i]);
	g->kind = names->len ? CGROUP_V1 : CGROUP_NONE;
	g->text = names->len ? g_strdup_printf("cgroup v1 (%s)", names->str) : g_strdup("none");
	g_string_free(names, TRUE);
	return g;
}

void cgroups_stop(struct cgroups *g)
{
	if (g)
		g->stopping = true;
}

void cgroups_free(struct cgroups *g)
{
	if (!g)
		return;
	for (unsigned i = 0; i < g->bases->len; i++)
		(void)rmdir(g_ptr_array_index(g->bases, i));    /* stays while machines run */
	g_ptr_array_unref(g->bases);
	g_free(g->busctl);
	g_free(g->key);
	g_free(g->text);
	g_free(g);
}

const char *cgroups_describe(const struct cgroups *g)
{
	return g->text;
}

int cgroups_birth_fd(const struct cgroups *g, const char *uuid)
{
	g_autofree char *dir = NULL;

	if (g->kind != CGROUP_V2)
		return -1;
	dir = g_build_filename(g_ptr_array_index(g->bases, 0), uuid, NULL);
	if (mkdir(dir, 0755) < 0 && errno != EEXIST)
		return -1;
	return open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* --- behind the start --- */

#define LEAVE_TRIES 50
#define LEAVE_PAUSE_MS 100

struct move {
	struct cgroups *groups;
	struct work *slow;
	char *uuid, *name;
	int pid;
	bool busy;                      /* a process that ends is still in a group: try again, */
	unsigned tries;                 /* so often up to now */
};

static void move_free(void *arg)
{
	struct move *m = arg;

	g_free(m->uuid);
	g_free(m->name);
	g_free(m);
}

static void join_v1(struct move *m)
{
	g_autofree char *pid = g_strdup_printf("%d", m->pid);

	for (unsigned i = 0; i < m->groups->bases->len; i++) {
		g_autofree char *dir = g_build_filename(g_ptr_array_index(m->groups->bases, i), m->uuid, NULL);
		g_autofree char *procs = g_build_filename(dir, "cgroup.procs", NULL);
		int fd;

		if (g_mkdir_with_parents(dir, 0755) < 0) {
			log_warning("vm '%s': cgroup '%s': %s", m->name, dir, g_strerror(errno));
			continue;
		}
		fd = open(procs, O_WRONLY | O_CLOEXEC);
		if (fd < 0 || (write(fd, pid, strlen(pid)) < 0 && errno != ESRCH))      /* ESRCH: it has ended already */
			log_warning("vm '%s': cgroup '%s': %s", m->name, procs, g_strerror(errno));
		if (fd >= 0)
			close(fd);
	}
}

static void join_scope(struct move *m)
{
	g_autofree char *scope = g_strdup_printf("kvmd-vm-%s-%s.scope", m->groups->key, m->uuid);
	g_autofree char *what = g_strdup_printf("machine %s of kvmd", m->name);
	g_autofree char *pid = g_strdup_printf("%d", m->pid);
	char *argv[] = { m->groups->busctl, (char *)"--quiet", (char *)"call", (char *)"org.freedesktop.systemd1",
		(char *)"/org/freedesktop/systemd1", (char *)"org.freedesktop.systemd1.Manager", (char *)"StartTransientUnit",
		(char *)"ssa(sv)a(sa(sv))", scope, (char *)"replace", (char *)"4", (char *)"PIDs", (char *)"au", (char *)"1", pid,
		(char *)"Description", (char *)"s", what, (char *)"Slice", (char *)"s", (char *)"machine.slice",
		(char *)"CollectMode", (char *)"s", (char *)"inactive-or-failed", (char *)"0", NULL };
	g_autofree char *out = NULL, *err = NULL;
	g_autoptr(GError) bad = NULL;
	int status;

	if (!g_spawn_sync(NULL, argv, NULL, G_SPAWN_STDOUT_TO_DEV_NULL, NULL, NULL, NULL, &err, &status, &bad))
		log_warning("vm '%s': busctl: %s", m->name, bad->message);
	else if (!g_spawn_check_wait_status(status, NULL))
		log_warning("vm '%s': scope '%s': %s", m->name, scope, err ? g_strchomp(err) : "");
}

static void join(void *arg)
{
	struct move *m = arg;

	if (m->groups->kind == CGROUP_V1)
		join_v1(m);
	else if (m->groups->kind == CGROUP_SYSTEMD)
		join_scope(m);
}

static void leave(void *arg)
{
	struct move *m = arg;

	for (unsigned i = 0; i < m->groups->bases->len; i++) {
		g_autofree char *dir = g_build_filename(g_ptr_array_index(m->groups->bases, i), m->uuid, NULL);

		if (!rmdir(dir) || errno == ENOENT)
			continue;
		m->busy |= errno == EBUSY;
		log_debug("cgroup '%s': %s", dir, g_strerror(errno));
	}
}

static void left(void *arg);

static gboolean leave_again(gpointer data)
{
	struct move *m = data;

	m->busy = false;
	if (m->groups->stopping)
		move_free(m);
	else
		work_run(m->slow, leave, left, m);
	return G_SOURCE_REMOVE;
}

/* The lock of a process is free a moment before its group is. */
static void left(void *arg)
{
	struct move *m = arg;

	if (m->busy && ++m->tries < LEAVE_TRIES && !m->groups->stopping)
		g_timeout_add(LEAVE_PAUSE_MS, leave_again, m);
	else
		move_free(m);
}

static struct move *move_new(struct cgroups *g, struct work *slow, const char *uuid, const char *name, int pid)
{
	struct move *m = g_new0(struct move, 1);

	*m = (struct move){ .groups = g, .slow = slow, .uuid = g_strdup(uuid), .name = g_strdup(name), .pid = pid };
	return m;
}

void cgroups_join(struct cgroups *g, struct work *slow, const char *uuid, const char *name, int pid)
{
	if (g->kind == CGROUP_V1 || g->kind == CGROUP_SYSTEMD)
		work_run(slow, join, move_free, move_new(g, slow, uuid, name, pid));
}

void cgroups_leave(struct cgroups *g, struct work *slow, const char *uuid)
{
	if (g->bases->len)
		work_run(slow, leave, left, move_new(g, slow, uuid, NULL, 0));
}
