/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From a definition to a worker that has all it needs. */
#include "daemon/launch.h"
#include "daemon/unix.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/cgroup.h"
#include "daemon/disk_open.h"
#include "daemon/given.h"
#include "daemon/net.h"
#include "daemon/probe.h"
#include "daemon/resources.h"
#include "daemon/spawn.h"
#include "domain/config.h"
#include "domain/json.h"
#include "domain/statpage.h"

#define LOG_KEEP (1 << 20)

/* --- the folder and the lock --- */

int launch_lock(const char *dir, const char *name, GError **err)
{
	g_autofree char *path = g_build_filename(dir, "lock", NULL);
	char holder[300] = "";
	g_autofree char *text = NULL;
	int fd;

	if (mkdir(dir, 0755) < 0 && errno != EEXIST) {
		kerr_errno(err, errno, "make folder '%s'", dir);
		return -1;
	}
	fd = open(path, O_RDONLY | O_CREAT | O_CLOEXEC, 0600);          /* the machine's: it must not write what the next kvmd believes */
	if (fd < 0) {
		kerr_errno(err, errno, "open '%s'", path);
		return -1;
	}
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		bool held = errno == EWOULDBLOCK;
		ssize_t n = pread(fd, holder, sizeof holder - 1, 0);

		holder[MAX(n, 0)] = '\0';
		g_strchomp(holder);
		if (held)
			kerr_set(err, KERR_BUSY, "a process runs it already (%s); it could not be reached: end it by 'kvmctl destroy %s', or look at "
				"it first", *holder ? holder : "holds the lock", name);
		else
			kerr_errno(err, errno, "lock '%s'", path);
		close(fd);
		return -1;
	}
	return fd;
}

/* Field 22 of /proc/PID/stat: with the pid it names a process for as long as the host is up. 0: there is none. */
uint64_t process_start(int pid)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/stat", pid);
	g_autofree char *text = NULL;
	char *at;

	if (!g_file_get_contents(path, &text, NULL, NULL) || !(at = strrchr(text, ')')))
		return 0;
	for (int field = 2; field < 22 && at; field++)
		at = strchr(at + 1, ' ');
	return at ? strtoull(at + 1, NULL, 10) : 0;
}

char *boot_id(void)
{
	char *text = NULL;

	if (!g_file_get_contents("/proc/sys/kernel/random/boot_id", &text, NULL, NULL))
		return g_strdup("?");
	return g_strchomp(text);
}

/* For people who look who holds the lock, and for the next kvmd; the lock itself holds without. */
static void lock_sign(const char *dir, const char *name, int pid, uint32_t uid)
{
	g_autofree char *path = g_build_filename(dir, "lock", NULL), *boot = boot_id();
	g_autofree char *text = g_strdup_printf("pid %d start %" G_GUINT64_FORMAT " uid %u boot %s machine %s\n", pid, process_start(pid), uid, boot, name);

	int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);

	if (fd < 0)
		return;
	(void)!write(fd, text, strlen(text));
	close(fd);
}

/* --- descriptors --- */

static void give(struct launch *l, const char *name, int fd)
{
	struct launch_fd *f = g_new(struct launch_fd, 1);

	*f = (struct launch_fd){ g_strdup(name), fd };
	g_ptr_array_add(l->fds, f);
}

static bool give_file(struct launch *l, const char *name, const char *path, int flags, mode_t mode)
{
	int fd = open(path, flags | O_CLOEXEC, mode);

	if (fd < 0)
		return kerr_errno(&l->err, errno, "open '%s'", path);
	give(l, name, fd);
	return true;
}

static bool give_listener(struct launch *l, const char *name, const char *dir, const char *file, unsigned mode)
{
	g_autofree char *path = g_build_filename(dir, file, NULL);
	int fd = listen_unix(path, mode, 16, &l->err);

	if (fd < 0)
		return false;
	give(l, name, fd);
	return true;
}

/* Refuses what cannot work at all; overcommitting is the operator's business, but not without a word. */
static bool memory_fits(struct launch *l, uint64_t bytes)
{
	g_autofree char *text = NULL;
	uint64_t total = 0, swap = 0;
	char *at;

	if (!g_file_get_contents("/proc/meminfo", &text, NULL, NULL))
		return true;
	if ((at = strstr(text, "MemTotal:")))
		total = strtoull(at + 9, NULL, 10) << 10;
	if ((at = strstr(text, "SwapTotal:")))
		swap = strtoull(at + 10, NULL, 10) << 10;
	if (!total)
		return true;
	if (bytes <= total + swap && l->promised > total + swap)
		g_ptr_array_add(l->notes, g_strdup_printf("memory: the machines that run may use %" G_GUINT64_FORMAT " MiB together, more than the host's %"
			G_GUINT64_FORMAT " MiB and %" G_GUINT64_FORMAT " MiB of swap", l->promised >> 20, total >> 20, swap >> 20));
	if (bytes <= total + swap)
		return true;
	return kerr_set(&l->err, KERR_NO_MEMORY, "it wants %" G_GUINT64_FORMAT " MiB of memory; this host has %" G_GUINT64_FORMAT " MiB and %"
		G_GUINT64_FORMAT " MiB of swap: lower <memory>", bytes >> 20, total >> 20, swap >> 20);
}

static int hugetlb_fd(const struct machine *m, GError **err)
{
	const struct hugepages *h = m->memory.backing.hugepages;
	uint64_t size = list_len(h->pages) ? list_at(hugepage, h->pages, 0)->size : 0;
	unsigned flags = MFD_CLOEXEC | MFD_HUGETLB;
	int fd;

	if (size)
		flags |= (unsigned)__builtin_ctzll(size) << MFD_HUGE_SHIFT;
	fd = memfd_create("ram", flags);
	if (fd < 0)
		kerr_set(err, KERR_HOST, "huge pages of %" G_GUINT64_FORMAT " KiB: %s: the host must reserve them (vm.nr_hugepages), or leave out <hugepages>",
			size >> 10, g_strerror(errno));
	return fd;
}

bool launch_memory(struct launch *l, const struct machine *m, const char *name, uint64_t bytes)
{
	int fd;

	if (!memory_fits(l, m->memory.size))
		return false;
	if (m->memory.backing.hugepages) {
		fd = hugetlb_fd(m, &l->err);
	} else {
		fd = l->ram_fs >= 0 ? openat(l->ram_fs, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600) : -1;
		if (fd < 0)
			fd = memfd_create("ram", MFD_CLOEXEC);
		if (fd < 0)
			kerr_errno(&l->err, errno, "make guest memory");
	}
	if (fd < 0)
		return false;
	give(l, name, fd);
	if (ftruncate(fd, (off_t)bytes) < 0)
		return kerr_errno(&l->err, errno, "make %" G_GUINT64_FORMAT " MiB of guest memory", bytes >> 20);
	return true;
}

/* --- the worker --- */

#define ASSIST_PLACES "4"       /* for vector instructions of guest kernels; vCPUs share them */

/* Workers say little and at a limited rate: looking at each start is enough. */
static void log_rotate(const char *path)
{
	g_autofree char *old = g_strconcat(path, ".1", NULL);
	struct stat st;

	if (!stat(path, &st) && st.st_size > LOG_KEEP)
		(void)rename(path, old);
}

/*
 * How many I/O rings the worker makes before its fence: one for everyone's thread and one per <iothread>. From the text, for the
 * worker starts before the XML is parsed, as with --assist: one too many does no harm, and disks without one use threads.
 */
unsigned launch_rings(const char *text)
{
	const char *count, *at = text;
	unsigned long n;
	unsigned listed = 0;

	if (!text || !strstr(text, "<disk"))
		return 0;
	count = strstr(text, "<iothreads>");
	n = count ? strtoul(count + strlen("<iothreads>"), NULL, 10) : 0;
	while ((at = strstr(at, "<iothread "))) {
		listed++;
		at++;
	}
	return 1 + (unsigned)MIN(MAX(n, listed), IOTHREADS_RUN);
}

static bool spawn_worker(struct launch *l)
{
	g_autofree char *log = g_strdup_printf("%s/%s.log", l->paths->log, l->name);
	g_autofree char *uid = g_strdup_printf("%u", l->uid);
	g_autofree char *fence = g_strdup_printf("--fence=%s", config_fence_names[l->config->fence]);
	char *argv[16] = { (char *)l->worker, (char *)"--fd", (char *)"3", fence };
	int argc = 4, pair[2], out, group;
	pid_t pid;
	bool ok;

	if (l->uid) {
		argv[argc++] = (char *)"--uid";
		argv[argc++] = uid;
		argv[argc++] = (char *)"--gid";
		argv[argc++] = uid;
	}
	g_autofree char *empty = l->empty ? g_strdup_printf("--empty=%s", l->empty) : NULL;

	if (empty)
		argv[argc++] = empty;
	/* harmless where it is not needed, so also when the probe has not ended yet */
	if (!l->host || strstr(l->host, "\"emulated\"")) {
		argv[argc++] = (char *)"--assist";
		argv[argc++] = (char *)ASSIST_PLACES;
	}
	g_autofree char *rings = g_strdup_printf("%u", launch_rings(l->text));

	if (strcmp(rings, "0")) {
		argv[argc++] = (char *)"--rings";
		argv[argc++] = rings;
	}
	argv[argc] = NULL;
	log_rotate(log);
	out = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
	if (out < 0)
		return kerr_errno(&l->err, errno, "open '%s'", log);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
		close(out);
		return kerr_errno(&l->err, errno, "socketpair");
	}
	group = cgroups_birth_fd(l->cgroups, l->uuid);
	ok = spawn_process(&(struct spawn){ .argv = argv, .in = l->null_fd, .out = out, .fd3 = pair[1], .cgroup = group }, &pid, &l->pidfd, &l->err);
	close(pair[1]);
	close(out);
	if (group >= 0)
		close(group);
	if (!ok) {
		close(pair[0]);
		return false;
	}
	l->sock = pair[0];
	l->pid = pid;
	return true;
}

/* --- all of it --- */

struct lacks {
	GPtrArray *notes;
	GError **err;
};

static bool lacking(const struct lack *lack, void *arg)
{
	struct lacks *l = arg;

	if (!lack->harmless)
		return kerr_set(l->err, KERR_UNSUPPORTED, "%s: %s", lack->what, lack->why);
	if (l->notes)
		g_ptr_array_add(l->notes, g_strdup_printf("%s: %s", lack->what, lack->why));
	return true;
}

bool launch_supported(const struct machine *m, GPtrArray *notes, GError **err)
{
	struct lacks l = { notes, err };

	return machine_lacks(m, lacking, &l);
}

static bool parse(struct launch *l)
{
	AUTO(report) report = report_new(NULL, false, true);    /* define was the strict one */

	l->machine = machine_from_xml(l->text, strlen(l->text), report, &l->err);
	if (!l->machine)
		return false;
	l->machine->id = l->id;
	list_each(chardev, c, l->machine->devices.channels)
		if (!g_strcmp0(c->target.type, "virtio"))
			c->target.state = CHARDEV_DISCONNECTED; /* the worker tells when that changes */
	disks_drop_missing(l->machine, l->dropped);
	for (unsigned i = 0; i < l->dropped->len; i++) {
		json_object *o = l->dropped->pdata[i], *target = NULL, *reason = NULL;

		json_object_object_get_ex(o, "target", &target);
		json_object_object_get_ex(o, "reason", &reason);
		g_ptr_array_add(l->notes, g_strdup_printf("disk '%s': it starts without, as its startupPolicy says: %s", json_object_get_string(target),
			json_object_get_string(reason)));
	}
	list_each(disk, d, l->machine->devices.disks)
		disk_doubt(d, l->notes);
	return launch_supported(l->machine, l->notes, &l->err);
}

/* All of it is allocated now: a file system that fills up must not hit who writes to the mapped page. */
static bool give_stats(struct launch *l, const char *dir)
{
	g_autofree char *path = g_build_filename(dir, "stats", NULL);
	unsigned slots[STAT_KINDS];
	g_autofree void *page = NULL;
	size_t len;
	int fd, rc;

	statpage_plan(l->machine, slots);
	len = statpage_size(slots);
	page = g_malloc0(len);
	statpage_format(page, slots);
	(void)unlink(path);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return kerr_errno(&l->err, errno, "open '%s'", path);
	give(l, "stats", fd);
	rc = posix_fallocate(fd, 0, (off_t)len);
	if (rc)
		return kerr_errno(&l->err, rc, "make '%s', %zu bytes", path, len);
	return pwrite(fd, page, len, 0) == (ssize_t)len || kerr_errno(&l->err, errno, "write '%s'", path);
}

static bool give_runtime_files(struct launch *l, const char *dir)
{
	g_autofree char *exit_path = g_build_filename(dir, "exit", NULL);
	g_autofree char *seen = g_build_filename(dir, "seen", NULL);
	g_autofree char *log = g_strdup_printf("%s/%s.console.log", l->paths->log, l->name);
	g_autofree char *old = g_strconcat(log, ".1", NULL);

	l->seen_fd = open(seen, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (l->seen_fd < 0)
		return kerr_errno(&l->err, errno, "open '%s'", seen);
	return give_stats(l, dir) && give_file(l, "exit", exit_path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600) &&
		give_file(l, "console-log", log, O_RDWR | O_CREAT | O_APPEND, 0640) &&
		give_file(l, "console-log-old", old, O_RDWR | O_CREAT, 0640) &&
		give_listener(l, "qmp", dir, "qmp.sock", 0660) && give_listener(l, "kvmd", dir, "kvmd.sock", 0600);
}

/* NAME.qmp beside the folders: people know names, not uuids. */
static void link_qmp(struct launch *l)
{
	g_autofree char *link = g_strdup_printf("%s/%s.qmp", l->paths->vms, l->name);
	g_autofree char *to = g_strdup_printf("%s/qmp.sock", l->uuid);

	(void)unlink(link);
	(void)!symlink(to, link);       /* a convenience: the socket is there without it */
}

static bool describe(struct launch *l)
{
	json_object *machine, *host = l->host ? json_tokener_parse(l->host) : NULL;

	if (!clock_begin(&l->machine->clock, g_get_real_time() / G_USEC_PER_SEC, &l->err)) {
		json_object_put(host);
		return false;
	}
	machine = json_from_struct(&machine_schema, l->machine, JSON_SECRETS);
	l->create = json_object_new_object();
	json_object_object_add(l->create, "machine", machine);
	json_object_object_add(l->create, "host", host ? host : json_object_new_object());
	json_object_object_add(l->create, "run", json_object_new_boolean(!l->paused));
	json_object_object_add(l->create, "restarts", json_object_new_int64(l->restarts));
	return true;
}

void launch_run(struct launch *l)
{
	g_autofree char *dir = g_build_filename(l->paths->vms, l->uuid, NULL);
	int kvm, lock = launch_lock(dir, l->name, &l->err);

	if (lock < 0)
		return;
	l->locked = true;
	give(l, "lock", lock);
	if (!spawn_worker(l))
		return;
	lock_sign(dir, l->name, l->pid, l->uid);
	if (!parse(l))
		return;
	kvm = probe_open_kvm(l->kvm, &l->err);
	if (kvm < 0)
		return;
	give(l, "kvm", kvm);
	resources_place_sockets(l->machine, dir);
	if (!launch_memory(l, l->machine, "ram", l->machine->memory.size) || !give_runtime_files(l, dir) || !resources_open(l->machine, dir, l->fds, l->sockets, l->machines, &l->err) ||
		!net_launch(l, &l->err) || !given_begin(dir, l->machine, &l->err))
		return;
	link_qmp(l);
	describe(l);
}

/* --- the struct --- */

static void launch_fd_free(gpointer p)
{
	struct launch_fd *f = p;

	if (f->fd >= 0)
		close(f->fd);
	g_free(f->name);
	g_free(f);
}

static void json_free(gpointer o)
{
	json_object_put(o);
}

struct launch *launch_new(void)
{
	struct launch *l = g_new0(struct launch, 1);

	l->sock = l->pid = l->pidfd = l->seen_fd = l->ram_fs = -1;
	l->fds = g_ptr_array_new_with_free_func(launch_fd_free);
	l->sockets = g_ptr_array_new_with_free_func(g_free);
	l->notes = g_ptr_array_new_with_free_func(g_free);
	l->dropped = g_ptr_array_new_with_free_func(json_free);
	return l;
}

void launch_close_fds(struct launch *l)
{
	g_ptr_array_set_size(l->fds, 0);
}

void launch_free(struct launch *l)
{
	if (!l)
		return;
	if (l->sock >= 0)
		close(l->sock);
	if (l->pidfd >= 0)
		close(l->pidfd);
	if (l->seen_fd >= 0)
		close(l->seen_fd);
	machine_free(l->machine);
	json_object_put(l->create);
	g_clear_error(&l->err);
	g_clear_pointer(&l->machines, g_hash_table_unref);
	g_ptr_array_unref(l->fds);
	g_ptr_array_unref(l->sockets);
	g_ptr_array_unref(l->notes);
	g_ptr_array_unref(l->dropped);
	g_free(l->name);
	g_free(l->uuid);
	g_free(l->text);
	g_free(l->host);
	g_free(l);
}
