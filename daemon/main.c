/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kvmd: options, start, end.
 *
 * Start: places → lock (one kvmd per run/) → configuration → definitions → events → machines that run already → clients →
 * autostart. Machines are not touched when kvmd ends, however it ends.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/cgroup.h"
#include "daemon/define.h"
#include "daemon/disk_watch.h"
#include "daemon/dom.h"
#include "daemon/kvmd.h"
#include "daemon/log.h"
#include "daemon/reasons.h"
#include "daemon/probe.h"
#include "daemon/supervise.h"
#include "domain/commands_kvmd.h"

#define WORKERS 32              /* threads for what may block */
#define ADOPT_PATIENCE_MS 300   /* clients wait so long for machines to answer a new kvmd */

struct options {
	char *root, *conf, *worker, *kvm;
	gboolean verbose, version;
};

/* --- the pieces of a start --- */

static bool lock_run(struct kvmd *k, GError **err)
{
	g_autofree char *path = g_build_filename(k->paths->run, "kvmd.lock", NULL);

	k->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (k->lock_fd < 0)
		return kerr_errno(err, errno, "open '%s'", path);
	if (flock(k->lock_fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? kerr_set(err, KERR_BUSY, "another kvmd runs here ('%s' is locked): end it, or use --root", path) :
			kerr_errno(err, errno, "lock '%s'", path);
	return true;
}

static bool read_config(struct kvmd *k, const char *given, GError **err)
{
	const char *path = given ? given : k->paths->conf;
	g_autofree char *text = NULL;
	g_autoptr(GError) bad = NULL;

	k->config = config_new();
	if (g_file_get_contents(path, &text, NULL, &bad))
		return config_parse(k->config, text, path, err);
	if (!given && g_error_matches(bad, G_FILE_ERROR, G_FILE_ERROR_NOENT))
		return true;
	return kerr_set(err, KERR_NO_FILE, "%s", bad->message);
}

/* A tmpfs that no one else sees, whose files may have huge pages whatever the host's shmem_enabled says. */
static int ram_fs_new(void)
{
	int fs = (int)syscall(SYS_fsopen, "tmpfs", 1 /* FSOPEN_CLOEXEC */), mnt = -1;

	if (fs < 0)
		return -1;
	if (!syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "huge", "advise", 0) &&
		!syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "size", "0", 0) &&
		!syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "mode", "0700", 0) &&
		!syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
		mnt = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	close(fs);
	return mnt;
}

static void many_descriptors(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r))
		return;
	r.rlim_cur = MIN(r.rlim_max, (rlim_t)1 << 20);
	(void)setrlimit(RLIMIT_NOFILE, &r);
}

/* systemd's readiness protocol: one datagram. */
static void notify(const char *text)
{
	const char *path = g_getenv("NOTIFY_SOCKET");
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd;

	if (!path || strlen(path) >= sizeof sa.sun_path || (*path != '/' && *path != '@'))
		return;
	strcpy(sa.sun_path, path);
	if (*path == '@')
		sa.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	(void)sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&sa, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path)));
	close(fd);
}

static void autostart(struct kvmd *k)
{
	g_autofree char *boot = NULL, *mark = g_build_filename(k->paths->run, "autostarted", NULL), *done = NULL;

	/* once per boot: a kvmd that is started again must not start what was shut down on purpose */
	if (!g_file_get_contents("/proc/sys/kernel/random/boot_id", &boot, NULL, NULL))
		boot = g_strdup("?");
	if (g_file_get_contents(mark, &done, NULL, NULL) && !strcmp(done, boot))
		return;
	(void)g_file_set_contents_full(mark, boot, -1, G_FILE_SET_CONTENTS_NONE, 0600, NULL);
	g_autoptr(GPtrArray) all = doms_sorted(k->doms);

	for (unsigned i = 0; i < all->len; i++) {
		struct dom *d = all->pdata[i];

		if (!d->autostart || dom_is_active(d) || d->restart_timer)
			continue;
		log_info("vm '%s': starts with the host", d->name);
		dom_start_with_host(d);
	}
}

static void adopted(void *arg)
{
	struct kvmd *k = arg;
	g_autofree char *path = control_path(k->control);

	control_open(k->control);
	restarts_resume(k);
	autostart(k);
	notify("READY=1\nSTATUS=serving");
	log_info("ready: %u domain%s, groups: %s, control socket '%s'", doms_count(k->doms), doms_count(k->doms) == 1 ? "" : "s", cgroups_describe(k->cgroups), path);
}

static gboolean on_end(gpointer data)
{
	struct kvmd *k = data;

	k->stopping = true;
	g_main_loop_quit(k->loop);
	return G_SOURCE_CONTINUE;
}

/* Scopes and groups of several kvmd of one host must not meet. */
static char *instance_key(const struct paths *p)
{
	g_autofree char *sum = g_compute_checksum_for_string(G_CHECKSUM_SHA256, p->run, -1);

	return g_strndup(sum, 8);
}

static bool start(struct kvmd *k, const struct options *o, GError **err)
{
	g_autofree char *key = NULL;

	k->ram_fs = k->null_fd = k->lock_fd = -1;
	k->privileged = geteuid() == 0;
	k->paths = paths_new(o->root, err);
	if (!k->paths || !paths_make(k->paths, err) || !lock_run(k, err) || !read_config(k, o->conf, err))
		return false;
	log_init(o->verbose ? LOG_LEVEL_DEBUG : (enum log_level)k->config->log_level);
	many_descriptors();
	k->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (k->null_fd < 0)
		return kerr_errno(err, errno, "open /dev/null");
	k->worker = o->worker ? g_strdup(o->worker) : k->config->worker ? g_strdup(k->config->worker) : paths_program("kvmd-vm");
	k->empty = g_build_filename(k->paths->run, "empty", NULL);
	if (mkdir(k->empty, 0555) < 0 && errno != EEXIST)
		return kerr_errno(err, errno, "make folder '%s'", k->empty);
	if (k->privileged && k->config->huge_pages != YESNO_NO)
		k->ram_fs = ram_fs_new();
	key = instance_key(k->paths);
	k->cgroups = cgroups_new(key, k->privileged && k->config->systemd_scopes != YESNO_NO);
	k->work = work_new(WORKERS);
	k->slow = work_new(1);
	k->dial = work_new(WORKERS);
	k->events = events_new(k->paths, k->config->events_size, k->config->followers_max, err);
	if (!k->events)
		return false;
	k->store = store_new(k->paths);
	k->doms = doms_new(k);
	k->probe = probe_new(k, o->kvm ? o->kvm : "/dev/kvm");
	if (!store_load(k->store, define_loaded, k, err))
		return false;
	reasons_load(k);
	k->control = control_new(k, err);
	if (!k->control)
		return false;
	k->disk_watch = disk_watch_new(k);
	adopt_all(k, ADOPT_PATIENCE_MS, adopted, k);
	return true;
}

static void finish(struct kvmd *k)
{
	k->stopping = true;
	control_free(k->control);
	disk_watch_free(k->disk_watch);
	doms_finish(k->doms);
	cgroups_stop(k->cgroups);
	if (k->slow)
		work_free(k->slow, TRUE);
	if (k->dial)
		work_free(k->dial, FALSE);
	if (k->work)
		work_free(k->work, FALSE);
	store_free(k->store);
	events_free(k->events);
	probe_free(k->probe);
	doms_free(k->doms);
	cgroups_free(k->cgroups);
	if (k->ram_fs >= 0)
		close(k->ram_fs);
	if (k->null_fd >= 0)
		close(k->null_fd);
	if (k->lock_fd >= 0)
		close(k->lock_fd);
	config_free(k->config);
	paths_free(k->paths);
	g_free(k->worker);
	g_free(k->empty);
}

static bool parse_options(int *argc, char ***argv, struct options *o, GError **err)
{
	const GOptionEntry entries[] = {
		{ "root", 0, 0, G_OPTION_ARG_FILENAME, &o->root, "put all files under DIR (as KVMD_ROOT does)", "DIR" },
		{ "config", 'c', 0, G_OPTION_ARG_FILENAME, &o->conf, "read FILE instead of kvmd.conf", "FILE" },
		{ "worker", 0, 0, G_OPTION_ARG_FILENAME, &o->worker, "the program that runs a machine", "FILE" },
		{ "kvm", 0, 0, G_OPTION_ARG_FILENAME, &o->kvm, "the KVM device (/dev/kvm)", "FILE" },
		{ "verbose", 'v', 0, G_OPTION_ARG_NONE, &o->verbose, "log details", NULL },
		{ "version", 0, 0, G_OPTION_ARG_NONE, &o->version, "print the version", NULL },
		{ NULL },
	};
	GOptionContext *c = g_option_context_new("- manages virtual machines");
	g_autoptr(GError) bad = NULL;
	bool ok;

	g_option_context_add_main_entries(c, entries, NULL);
	ok = g_option_context_parse(c, argc, argv, &bad);
	g_option_context_free(c);
	if (!ok)
		return kerr_set(err, KERR_ARGS, "%s; see kvmd --help", bad->message);
	if (*argc > 1)
		return kerr_set(err, KERR_ARGS, "'%s' is too much; see kvmd --help", (*argv)[1]);
	return true;
}

int main(int argc, char **argv)
{
	struct options o = { 0 };
	struct kvmd k = { 0 };
	g_autoptr(GError) err = NULL;
	int status = 0;

	setlocale(LC_CTYPE, "");               /* for --help */
	log_init(LOG_LEVEL_INFO);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)umask(0);         /* every file and socket of kvmd is given its mode where it is made */
	if (!parse_options(&argc, &argv, &o, &err)) {
		log_error("%s", err->message);
		return kerr_of(err)->exit;
	}
	if (o.version) {
		puts("kvmd " KVMD_VERSION);
		return 0;
	}
	k.loop = g_main_loop_new(NULL, FALSE);
	g_unix_signal_add(SIGTERM, on_end, &k);
	g_unix_signal_add(SIGINT, on_end, &k);
	if (start(&k, &o, &err)) {
		g_main_loop_run(k.loop);
		notify("STOPPING=1");
		log_info("ends; machines go on");
	} else {
		log_error("%s", err->message);
		status = kerr_of(err)->exit;
	}
	finish(&k);
	g_main_loop_unref(k.loop);
	g_free(o.root);
	g_free(o.conf);
	g_free(o.worker);
	g_free(o.kvm);
	return status;
}
