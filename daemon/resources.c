/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Opens everything of the host that a machine names. One function per way of opening; the walk finds them all. */
#include "daemon/resources.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "daemon/chardev_open.h"
#include "daemon/disk_open.h"
#include "daemon/launch.h"
#include "daemon/sockets.h"
#include "daemon/unix.h"

#define LATER -2                        /* it is not there yet, and need not be */

struct opening {
	const char *dir;                /* the machine's run folder */
	GPtrArray *fds, *sockets;
};

static void add_fd(struct opening *o, const char *name, int fd)
{
	struct launch_fd *f = g_new(struct launch_fd, 1);

	*f = (struct launch_fd){ g_strdup(name), fd };
	g_ptr_array_add(o->fds, f);
}

int resource_open_file(const char *path, int flags, mode_t mode, GError **err)
{
	int fd = open(path, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, mode);

	if (fd >= 0)
		return fd;
	switch (errno) {
	case ENOENT:
		if (flags & O_CREAT) {
			g_autofree char *dir = g_path_get_dirname(path);

			kerr_set(err, KERR_NO_FILE, "there is no folder '%s' for '%s': correct the path, or make the folder", dir, path);
			break;
		}
		kerr_set(err, KERR_NO_FILE, "there is no '%s': correct the path, or put the file there", path);
		break;
	case EACCES:
	case EPERM:
		kerr_set(err, KERR_ACCESS, "no permission for '%s': kvmd (user %u) must be able to open it", path, geteuid());
		break;
	case ENXIO:
		kerr_set(err, KERR_BUSY, "'%s': nobody has its other end open", path);
		break;
	default:
		kerr_errno(err, errno, "open '%s'", path);
	}
	return -1;
}

static int open_read(struct resource_visit *v, struct opening *o, GError **err)
{
	int fd = resource_open_file(v->res->path, O_RDONLY, 0, err);
	struct stat st;

	/* a device too: the source of an <rng> */
	if (fd >= 0 && (fstat(fd, &st) < 0 || (!S_ISREG(st.st_mode) && !S_ISCHR(st.st_mode)))) {
		kerr_set(err, KERR_NO_FILE, "'%s' is neither a regular file nor a device", v->res->path);
		close(fd);
		fd = -1;
	}
	return fd;
}

static int open_write(struct resource_visit *v, struct opening *o, GError **err)
{
	return resource_open_file(v->res->path, O_RDWR, 0, err);
}

/* As libvirt: a file begins anew at each start unless append='on'. */
static int open_log(struct resource_visit *v, struct opening *o, GError **err)
{
	int append = ONOFF_ABSENT;

	if (v->owner_schema == &chardev_source_schema)
		append = ((const struct chardev_source *)v->owner)->append;
	else if (v->owner_schema == &chardev_log_schema)
		append = ((const struct chardev_log *)v->owner)->append;
	return resource_open_file(v->res->path, O_RDWR | O_CREAT | O_APPEND | (append == ONOFF_ON ? 0 : O_TRUNC), 0640, err);
}

static int open_pty(struct resource_visit *v, struct opening *o, GError **err)
{
	int fd = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	struct termios t;
	char name[64];

	if (fd < 0 || grantpt(fd) < 0 || unlockpt(fd) < 0 || ptsname_r(fd, name, sizeof name)) {
		kerr_errno(err, errno, "make a pty");
		if (fd >= 0)
			close(fd);
		return -1;
	}
	if (!tcgetattr(fd, &t)) {               /* what the guest prints must not come back as its input */
		cfmakeraw(&t);
		(void)tcsetattr(fd, TCSANOW, &t);
	}
	g_free(v->res->path);
	v->res->path = g_strdup(name);
	return fd;
}

static int open_listen(struct resource_visit *v, struct opening *o, GError **err)
{
	g_autoptr(GError) nobody = NULL;
	struct stat st;
	int fd;

	if (!lstat(v->res->path, &st)) {
		if (!S_ISSOCK(st.st_mode)) {
			kerr_set(err, KERR_EXISTS, "'%s' is there and is not a socket: remove it, or use another path", v->res->path);
			return -1;
		}
		fd = connect_unix(v->res->path, &nobody);
		if (fd >= 0) {
			close(fd);
			kerr_set(err, KERR_BUSY, "socket '%s' is in use by another process", v->res->path);
			return -1;
		}
	}
	if (!socket_note(o->dir, v->res->path, err))
		return -1;
	fd = listen_unix(v->res->path, 0660, 4, err);
	if (fd >= 0)
		g_ptr_array_add(o->sockets, g_strdup(v->res->path));
	return fd;
}

static int open_connect(struct resource_visit *v, struct opening *o, GError **err)
{
	g_autoptr(GError) why = NULL;
	int fd;

	if (v->chardev) {
		fd = chardev_connect(v->chardev, &why);
		v->chardev->source.lost = fd < 0 && chardev_reconnects(v->chardev);
		if (why && !v->chardev->source.lost)
			g_propagate_error(err, g_steal_pointer(&why));
		return v->chardev->source.lost ? LATER : fd;
	}
	fd = connect_unix(v->res->path, err);
	if (fd < 0)
		g_prefix_error(err, "nobody listens there: ");
	return fd;
}

static int open_tcp(struct resource_visit *v, struct opening *o, GError **err)
{
	return chardev_listen_tcp(v->chardev, err);
}

static int open_udp(struct resource_visit *v, struct opening *o, GError **err)
{
	return chardev_open_udp(v->chardev, err);
}

static int open_pipe(struct resource_visit *v, struct opening *o, GError **err)
{
	g_autofree char *name = g_strconcat(v->path, ".in", NULL);
	int in, fd = chardev_open_pipe(v->res->path, &in, err);

	if (in >= 0)
		add_fd(o, name, in);
	return fd;
}

static int open_dir(struct resource_visit *v, struct opening *o, GError **err)
{
	return resource_open_file(v->res->path, O_PATH | O_DIRECTORY, 0, err);
}

/* Has this descriptor of a process a lock? Its fdinfo has a line for each. */
static bool has_lock(const char *pid, const char *fd)
{
	g_autofree char *path = g_strdup_printf("/proc/%s/fdinfo/%s", pid, fd), *text = NULL;

	return g_file_get_contents(path, &text, NULL, NULL) && strstr(text, "\nlock:");
}

static char *name_of(GHashTable *machines, const char *pid)
{
	const char *vm = machines ? g_hash_table_lookup(machines, GINT_TO_POINTER(strtol(pid, NULL, 10))) : NULL;
	g_autofree char *comm = g_strdup_printf("/proc/%s/comm", pid), *name = NULL;

	(void)g_file_get_contents(comm, &name, NULL, NULL);
	return vm ? g_strdup_printf("machine '%s'", vm) : g_strdup_printf("process %s (%s)", pid, name ? g_strchomp(name) : "?");
}

/* Who has the file open, best one who has locked it: "machine 'db'", "process 1234 (qemu-system-x86)". New. */
static char *holder_of(GHashTable *machines, const struct stat *st)
{
	GDir *proc = g_dir_open("/proc", 0, NULL);
	g_autofree char *holder = NULL, *user = NULL;
	const char *pid, *n;

	while (proc && !holder && (pid = g_dir_read_name(proc))) {
		g_autofree char *fds = g_strdup_printf("/proc/%s/fd", pid);
		GDir *dir = g_ascii_isdigit(*pid) && (int)strtol(pid, NULL, 10) != getpid() ? g_dir_open(fds, 0, NULL) : NULL;

		while (dir && !holder && (n = g_dir_read_name(dir))) {
			g_autofree char *path = g_build_filename(fds, n, NULL);
			struct stat it;

			if (stat(path, &it) || it.st_dev != st->st_dev || it.st_ino != st->st_ino)
				continue;
			if (has_lock(pid, n))
				holder = name_of(machines, pid);
			else if (!user)
				user = name_of(machines, pid);
		}
		if (dir)
			g_dir_close(dir);
	}
	if (proc)
		g_dir_close(proc);
	return holder ? g_steal_pointer(&holder) : user ? g_steal_pointer(&user) : g_strdup("another process");
}

char *resource_holder(int fd, GHashTable *machines)
{
	struct stat st;

	return fstat(fd, &st) ? g_strdup("another process") : holder_of(machines, &st);
}

static int open_device(struct resource_visit *v, struct opening *o, GError **err)
{
	return resource_open_file(v->res->path, O_RDWR, 0, err);
}

/* Whose other end is the machine's own process: nobody else can be at it. */
static int open_pair(struct resource_visit *v, struct opening *o, GError **err)
{
	g_autofree char *peer = g_strconcat(v->path, ".peer", NULL);
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) {
		kerr_errno(err, errno, "make a socket pair");
		return -1;
	}
	add_fd(o, peer, pair[1]);
	return pair[0];
}

static int (*const openers[])(struct resource_visit *, struct opening *, GError **) = {
	[RES_READ] = open_read,
	[RES_WRITE] = open_write,
	[RES_DISK] = NULL,      /* daemon/disk_open.c */
	[RES_LOG] = open_log,
	[RES_SOCKET_LISTEN] = open_listen,
	[RES_SOCKET_CONNECT] = open_connect,
	[RES_PTY] = open_pty,
	[RES_DEVICE] = open_device,
	[RES_DIR] = open_dir,
	[RES_PAIR] = open_pair,
	[RES_TCP_LISTEN] = open_tcp,
	[RES_TCP_CONNECT] = open_connect,
	[RES_UDP] = open_udp,
	[RES_PIPE] = open_pipe,
};

static bool needs_path(enum resource_use use)
{
	return use != RES_PTY && use != RES_PAIR && use != RES_TCP_LISTEN && use != RES_TCP_CONNECT && use != RES_UDP;
}

/* "serial 'serial0'", "rng 1": which element people have to look at; what is the machine's own by its place ("os/kernel"). New. */
static char *told_place(const struct resource_visit *v)
{
	static const char devices[] = "devices/";
	const char *kind = g_str_has_prefix(v->path, devices) ? v->path + sizeof devices - 1 : NULL, *at = kind ? strchr(kind, '[') : NULL;
	g_autofree char *what = NULL;

	if (!at)
		return g_strdup(v->path);
	what = g_strndup(kind, (gsize)(at - kind) - (at[-1] == 's'));
	if (v->chardev && v->chardev->alias)
		return g_strdup_printf("%s '%s'", what, v->chardev->alias);
	return g_strdup_printf("%s %" G_GUINT64_FORMAT, what, g_ascii_strtoull(at + 1, NULL, 10) + 1);
}

static bool open_one(struct resource_visit *v, void *arg, GError **err)
{
	struct opening *o = arg;
	g_autofree char *place = told_place(v);
	int fd;

	if (v->use == RES_NONE || v->use >= G_N_ELEMENTS(openers) || !openers[v->use] || (!v->res->path && needs_path(v->use)))
		return true;
	fd = openers[v->use](v, o, err);
	if (fd == LATER) {
		g_clear_pointer(&v->res->fd, g_free);
		return true;
	}
	if (fd < 0) {
		g_prefix_error(err, "%s: ", place);
		return false;
	}
	g_free(v->res->fd);
	v->res->fd = g_strdup(v->path);
	add_fd(o, v->path, fd);
	if (v->owner_schema == &chardev_log_schema) {           /* where the log goes when it is full */
		g_autofree char *old = g_strconcat(v->res->path, ".1", NULL), *name = g_strconcat(v->path, ".backup", NULL);

		fd = resource_open_file(old, O_RDWR | O_CREAT, 0640, err);
		if (fd < 0) {
			g_prefix_error(err, "%s: ", place);
			return false;
		}
		add_fd(o, name, fd);
	}
	return true;
}

void resources_place_sockets(struct machine *m, const char *dir)
{
	struct devices *d = &m->devices;
	GPtrArray *lists[] = { d->serials, d->consoles, d->channels };

	for (size_t i = 0; i < G_N_ELEMENTS(lists); i++)
		list_each(chardev, c, lists[i])
			if (c->type == CHARDEV_UNIX && c->source.mode != CHARDEV_CONNECT && !c->source.path.path && !chardev_is_agent(c) &&
				!chardev_is_serial_console(d, c))
				c->source.path.path = g_strdup_printf("%s/%s.sock", dir, c->alias);
}

bool resources_open(struct machine *m, const char *dir, GPtrArray *fds, GPtrArray *sockets, GHashTable *machines, GError **err)
{
	struct opening o = { dir, fds, sockets };

	return disks_open(m, fds, machines, err) && machine_walk_resources(m, open_one, &o, err);
}
