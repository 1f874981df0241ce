/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Opening what a machine names: each way, and what is said when it cannot be. */
#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <termios.h>
#include <unistd.h>

#include "daemon/disk_open.h"
#include "domain/json.h"
#include "daemon/launch.h"
#include "daemon/resources.h"
#include "daemon/unix.h"

struct place {
	char *dir, *kernel;
};

static char *at(const struct place *p, const char *name)
{
	return g_build_filename(p->dir, name, NULL);
}

static struct place place_new(void)
{
	struct place p = { g_dir_make_tmp("kvmd-test-XXXXXX", NULL), NULL };

	p.kernel = at(&p, "kernel");
	g_assert_true(g_file_set_contents(p.kernel, "k", -1, NULL));
	return p;
}

static void place_clear(struct place *p)
{
	GDir *d = g_dir_open(p->dir, 0, NULL);
	const char *name;

	while ((name = g_dir_read_name(d))) {
		g_autofree char *path = at(p, name);

		(void)g_unlink(path);
	}
	g_dir_close(d);
	(void)g_rmdir(p->dir);
	g_free(p->dir);
	g_free(p->kernel);
}

static struct machine *machine_with(const struct place *p, const char *devices)
{
	g_autofree char *xml = g_strdup_printf("<domain type='kvm'><name>t</name><memory unit='MiB'>16</memory><vcpu>1</vcpu><os><type>hvm</type>"
		"<kernel>%s</kernel></os><devices>%s</devices></domain>", p->kernel, devices);
	AUTO(report) r = report_new(NULL, false, true);
	g_autoptr(GError) err = NULL;
	struct machine *m = machine_from_xml(xml, strlen(xml), r, &err);

	g_assert_no_error(err);
	return m;
}

static void launch_fd_free(gpointer data)
{
	struct launch_fd *f = data;

	close(f->fd);
	g_free(f->name);
	g_free(f);
}

struct opened {
	struct machine *machine;
	GPtrArray *fds, *sockets;
	GError *err;
};

static struct opened open_all(const struct place *p, const char *devices, GHashTable *machines)
{
	struct opened o = { machine_with(p, devices), g_ptr_array_new_with_free_func(launch_fd_free), g_ptr_array_new_with_free_func(g_free), NULL };

	(void)resources_open(o.machine, p->dir, o.fds, o.sockets, machines, &o.err);
	return o;
}

static void opened_clear(struct opened *o)
{
	machine_free(o->machine);
	g_ptr_array_unref(o->fds);
	g_ptr_array_unref(o->sockets);
	g_clear_error(&o->err);
}

static int fd_of(const struct opened *o, const char *name)
{
	for (unsigned i = 0; i < o->fds->len; i++) {
		const struct launch_fd *f = o->fds->pdata[i];

		if (!strcmp(f->name, name))
			return f->fd;
	}
	g_error("there is no '%s'", name);
}

static void expect_error(const struct place *p, const char *devices, enum kerr code, const char *part)
{
	struct opened o = open_all(p, devices, NULL);

	g_assert_error(o.err, kerr_quark(), (int)code);
	if (!strstr(o.err->message, part))
		g_error("'%s' is not in '%s'", part, o.err->message);
	opened_clear(&o);
}

static void test_pty(void)
{
	struct place p = place_new();
	struct opened o = open_all(&p, "<serial type='pty'/>", NULL);
	const struct chardev *s;
	struct termios t;
	int slave;
	char c = 0;

	g_assert_no_error(o.err);
	s = list_at(chardev, o.machine->devices.serials, 0);
	g_assert_true(g_str_has_prefix(s->source.path.path, "/dev/pts/"));
	slave = open(s->source.path.path, O_RDWR | O_NOCTTY | O_NONBLOCK);
	g_assert_cmpint(slave, >=, 0);
	g_assert_cmpint(tcgetattr(slave, &t), ==, 0);
	g_assert_false(t.c_lflag & ECHO);
	g_assert_cmpint(write(fd_of(&o, s->source.path.fd), "x", 1), ==, 1);
	g_assert_cmpint(read(slave, &c, 1), ==, 1);
	g_assert_cmpint(c, ==, 'x');
	close(slave);
	opened_clear(&o);
	place_clear(&p);
}

static void test_files(void)
{
	struct place p = place_new();
	g_autofree char *log = at(&p, "log"), *anew = g_strdup_printf("<serial type='file'><source path='%s'/></serial>", log);
	g_autofree char *append = g_strdup_printf("<serial type='file'><source path='%s' append='on'/></serial>", log);
	g_autofree char *nowhere = g_strdup_printf("<serial type='file'><source path='%s/no/log'/></serial>", p.dir);
	struct stat st;

	g_assert_true(g_file_set_contents(log, "before", -1, NULL));
	struct opened o = open_all(&p, append, NULL);

	g_assert_no_error(o.err);
	g_assert_cmpint(stat(log, &st), ==, 0);
	g_assert_cmpint(st.st_size, ==, 6);
	opened_clear(&o);
	o = open_all(&p, anew, NULL);
	g_assert_no_error(o.err);
	g_assert_cmpint(stat(log, &st), ==, 0);
	g_assert_cmpint(st.st_size, ==, 0);
	opened_clear(&o);
	expect_error(&p, nowhere, KERR_NO_FILE, "serial 'serial0': there is no folder");
	(void)g_unlink(p.kernel);
	expect_error(&p, "", KERR_NO_FILE, "os/kernel: there is no");
	g_assert_cmpint(mkfifo(p.kernel, 0600), ==, 0);
	expect_error(&p, "", KERR_NO_FILE, "regular file");     /* and it does not wait for a writer */
	place_clear(&p);
}

static void test_sockets(void)
{
	struct place p = place_new();
	g_autofree char *path = at(&p, "sock"), *bind_xml = g_strdup_printf("<serial type='unix'><source mode='bind' path='%s'/></serial>", path);
	g_autofree char *connect_xml = g_strdup_printf("<serial type='unix'><source mode='connect' path='%s'/></serial>", path);
	int client;

	expect_error(&p, connect_xml, KERR_NO_FILE, "nobody listens there");
	struct opened o = open_all(&p, bind_xml, NULL);

	g_assert_no_error(o.err);
	g_assert_cmpuint(o.sockets->len, ==, 1);
	client = connect_unix(path, NULL);
	g_assert_cmpint(client, >=, 0);
	close(client);
	expect_error(&p, bind_xml, KERR_BUSY, "in use");
	opened_clear(&o);
	o = open_all(&p, bind_xml, NULL);                /* left over by one that was killed: taken over */
	g_assert_no_error(o.err);
	struct opened c = open_all(&p, connect_xml, NULL);

	g_assert_no_error(c.err);
	opened_clear(&c);
	opened_clear(&o);
	(void)g_unlink(path);
	g_assert_true(g_file_set_contents(path, "mine", -1, NULL));
	expect_error(&p, bind_xml, KERR_EXISTS, "not a socket");
	place_clear(&p);
}

/* A socket that the definition has no path for stands in the machine's folder; one that has stays. */
static void test_placed(void)
{
	struct place p = place_new();
	struct machine *m = machine_with(&p, "<channel type='unix'><target type='virtio' name='org.test.0'/></channel>"
		"<channel type='unix'><target type='virtio' name='" CHARDEV_AGENT "'/></channel>"
		"<serial type='unix'><source mode='bind' path='/x/y'/></serial>");
	g_autofree char *path = at(&p, "channel0.sock");

	resources_place_sockets(m, p.dir);
	g_assert_cmpstr(list_at(chardev, m->devices.channels, 0)->source.path.path, ==, path);
	g_assert_null(list_at(chardev, m->devices.channels, 1)->source.path.path);
	g_assert_cmpstr(list_at(chardev, m->devices.serials, 0)->source.path.path, ==, "/x/y");
	machine_free(m);
	place_clear(&p);
}

/* The channel to the guest's agent: nobody but the worker is at its host's end, unless the definition names a listener. */
static void test_agent(void)
{
	static const char *const ours[] = { "", "<source mode='bind'/>", "<source mode='bind' path='/nowhere/agent.sock'/>" };
	struct place p = place_new();
	g_autofree char *path = at(&p, "sock");
	g_autofree char *theirs = g_strdup_printf("<channel type='unix'><source mode='connect' path='%s'/><target type='virtio' name='" CHARDEV_AGENT "'/></channel>", path);
	char c = 0;

	for (size_t i = 0; i < G_N_ELEMENTS(ours); i++) {
		g_autofree char *xml = g_strdup_printf("<channel type='unix'>%s<target type='virtio' name='" CHARDEV_AGENT "'/></channel>", ours[i]);
		struct opened o = open_all(&p, xml, NULL);
		const struct chardev *ch;

		g_assert_no_error(o.err);
		g_assert_cmpuint(o.sockets->len, ==, 0);
		ch = list_at(chardev, o.machine->devices.channels, 0);
		g_assert_cmpstr(ch->source.path.fd, ==, "devices/channels[0]/source/path");
		g_assert_cmpint(write(fd_of(&o, "devices/channels[0]/source/path.peer"), "x", 1), ==, 1);
		g_assert_cmpint(read(fd_of(&o, ch->source.path.fd), &c, 1), ==, 1);
		opened_clear(&o);
	}
	expect_error(&p, theirs, KERR_NO_FILE, "nobody listens there");
	place_clear(&p);
}

/* As QEMU does: read locks on bytes for what it does (100 and on) and for what others must not do (200 and on). */
static bool lock_bytes(int fd, unsigned does, unsigned refuses)
{
	for (unsigned i = 0; i < 8; i++) {
		struct flock l = { .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = (i < 4 ? 100 : 200) + i % 4, .l_len = 1 };

		if ((i < 4 ? does : refuses) >> i % 4 & 1 && fcntl(fd, F_OFD_SETLK, &l) < 0)
			return false;
	}
	return true;
}

/* Another process holds the image; with 0, 0 it only has it open. */
static pid_t hold(const char *image, unsigned does, unsigned refuses)
{
	int ready[2];
	char c;
	pid_t pid;

	g_assert_cmpint(pipe(ready), ==, 0);
	pid = fork();
	if (!pid) {
		int fd = open(image, O_RDWR);

		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (fd >= 0 && lock_bytes(fd, does, refuses))
			(void)!write(ready[1], "x", 1);
		for (;;)
			pause();
	}
	close(ready[1]);
	g_assert_cmpint(read(ready[0], &c, 1), ==, 1);
	close(ready[0]);
	return pid;
}

static void let_go(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void json_free(gpointer o)
{
	json_object_put(o);
}

/* An optional disk goes when it is missing, the medium of an optional drive too; all else stays as it is. */
static void test_startup(void)
{
	static const struct { const char *device, *policy; bool there; unsigned disks, gone; } cases[] = {
		{ "disk", "optional", false, 0, 1 }, { "disk", "optional", true, 1, 0 }, { "cdrom", "optional", false, 1, 1 },
		{ "disk", "requisite", false, 1, 0 }, { "disk", "mandatory", false, 1, 0 },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct place p = place_new();
		g_autofree char *image = at(&p, "img"), *xml = g_strdup_printf("<disk type='file' device='%s'><driver name='qemu' type='raw'/>"
			"<source file='%s' startupPolicy='%s'/><target dev='sda' bus='sata'/></disk>", cases[i].device, image, cases[i].policy);
		g_autoptr(GPtrArray) dropped = g_ptr_array_new_with_free_func(json_free);
		struct machine *m = machine_with(&p, xml);

		if (cases[i].there)
			g_assert_true(g_file_set_contents(image, "disk", -1, NULL));
		disks_drop_missing(m, dropped);
		g_assert_cmpuint(list_len(m->devices.disks), ==, cases[i].disks);
		g_assert_cmpuint(dropped->len, ==, cases[i].gone);
		if (cases[i].disks)
			g_assert_cmpint(disk_has_source(list_at(disk, m->devices.disks, 0)), ==, !cases[i].gone);
		machine_free(m);
		place_clear(&p);
	}
}

/* An image that is given as another format than it is, is told: only where nobody can have meant it. */
static void test_doubt(void)
{
	static const struct { const char *device, *format, *start; bool told; } cases[] = {
		{ "disk", "raw", "QFI\xfb...", true }, { "disk", "raw", "QFI", false }, { "disk", "raw", "data", false }, { "disk", "raw", NULL, false },
		{ "disk", "qcow2", "QFI\xfb...", false }, { "cdrom", "raw", "QFI\xfb...", false },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct place p = place_new();
		g_autofree char *image = at(&p, "img"), *xml = g_strdup_printf("<disk type='file' device='%s'><driver name='qemu' type='%s'/>"
			"<source file='%s'/><target dev='sda' bus='virtio'/></disk>", cases[i].device, cases[i].format, image);
		g_autoptr(GPtrArray) notes = g_ptr_array_new_with_free_func(g_free);
		struct machine *m = machine_with(&p, xml);

		if (cases[i].start)
			g_assert_true(g_file_set_contents(image, cases[i].start, -1, NULL));
		disk_doubt(list_at(disk, m->devices.disks, 0), notes);
		g_assert_cmpuint(notes->len, ==, cases[i].told);
		if (notes->len)
			g_assert_nonnull(strstr(notes->pdata[0], "type='qcow2'"));
		machine_free(m);
		place_clear(&p);
	}
}

static void test_disk(void)
{
	struct place p = place_new();
	g_autofree char *image = at(&p, "img"), *xml = g_strdup_printf("<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='%s'/>"
		"<target dev='vda' bus='virtio'/></disk>", image);
	g_autoptr(GHashTable) machines = g_hash_table_new(NULL, NULL);
	g_autofree char *who = NULL;
	pid_t holder, bystander;

	expect_error(&p, xml, KERR_NO_FILE, "there is no");
	g_assert_true(g_file_set_contents(image, "disk", -1, NULL));
	bystander = hold(image, 0, 0);
	holder = hold(image, 0xb, 0xa);
	who = g_strdup_printf("in use by process %d (", holder);
	expect_error(&p, xml, KERR_BUSY, who);
	g_hash_table_insert(machines, GINT_TO_POINTER(holder), (char *)"db");
	struct opened o = open_all(&p, xml, machines);

	g_assert_error(o.err, kerr_quark(), KERR_BUSY);
	g_assert_nonnull(strstr(o.err->message, "in use by machine 'db'"));
	opened_clear(&o);
	let_go(holder);
	o = open_all(&p, xml, NULL);
	g_assert_no_error(o.err);
	opened_clear(&o);
	let_go(bystander);
	place_clear(&p);
}

static bool qemu_opens(const char *options, const char *image)
{
	const char *argv[] = { "qemu-io", "-fraw", options, "-cread 0 4k", image, NULL };
	int status = -1;

	g_assert_true(g_spawn_sync(NULL, (char **)(uintptr_t)argv, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_STDOUT_TO_DEV_NULL | G_SPAWN_STDERR_TO_DEV_NULL,
		NULL, NULL, NULL, NULL, &status, NULL));
	return !status;
}

/* QEMU's users of an image and ours: who may come when the other is there. */
static void test_qemu_lock(void)
{
	enum { OWN, SHARED, READER, READER_SHARED, OURS };
	static const char *const more[OURS] = { "", "<shareable/>", "<readonly/>", "<readonly/><shareable/>" };
	static const struct { const char *what; unsigned does, refuses; bool with[OURS]; } theirs[] = {
		{ "writer", 0xb, 0xa, { false, false, false, true } },
		{ "writer that shares", 0x3, 0, { false, true, false, true } },
		{ "reader", 0x1, 0x2, { false, false, true, true } },
		{ "looks with -U", 0, 0, { true, true, true, true } },
	};
	struct place p = place_new();
	g_autofree char *image = at(&p, "img"), *qemu = g_find_program_in_path("qemu-io");

	g_assert_true(g_file_set_contents(image, "disk", -1, NULL));
	g_assert_cmpint(truncate(image, 1 << 20), ==, 0);
	for (unsigned i = 0; i < OURS; i++) {
		g_autofree char *xml = g_strdup_printf("<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='%s'/>"
			"<target dev='vda' bus='virtio'/>%s</disk>", image, more[i]);
		struct opened o;

		for (unsigned k = 0; k < G_N_ELEMENTS(theirs); k++) {
			pid_t pid = hold(image, theirs[k].does, theirs[k].refuses);

			g_test_message("%s, then ours with '%s'", theirs[k].what, more[i]);
			o = open_all(&p, xml, NULL);
			if (theirs[k].with[i])
				g_assert_no_error(o.err);
			else
				g_assert_error(o.err, kerr_quark(), KERR_BUSY);
			opened_clear(&o);
			let_go(pid);
		}
		if (!qemu)
			continue;
		g_test_message("ours with '%s', then QEMU's tools", more[i]);
		o = open_all(&p, xml, NULL);
		g_assert_cmpint(qemu_opens("-n", image), ==, i == SHARED || i == READER_SHARED);
		g_assert_true(qemu_opens("-r", image));         /* of a raw image, it does not mind writers */
		opened_clear(&o);
	}
	place_clear(&p);
}

/* A qcow2 (version 3) of 1 MiB with nothing in it, on `backing`. */
static void make_qcow2(const char *path, const char *backing, const char *format)
{
	uint8_t b[65536] = { 'Q', 'F', 'I', 0xfb, [7] = 3, [23] = 16, [29] = 0x10, [39] = 1, [99] = 4, [103] = 104 };
	uint32_t n = (uint32_t)strlen(backing), at = 104;

	if (format) {           /* header extension: format of the backing image */
		static const uint8_t ext[] = { 0xe2, 0x79, 0x2a, 0xca, 0, 0, 0 };

		memcpy(b + at, ext, sizeof(ext));
		b[at + 7] = (uint8_t)strlen(format);
		memcpy(b + at + 8, format, strlen(format));
		at += 8 + 8;
	}
	at += 8;
	memcpy(b + at, backing, n);
	b[15] = (uint8_t)at;
	b[19] = (uint8_t)n;
	b[45] = 2;              /* L1 table at 128 KiB */
	b[53] = 1;              /* reference counts at 64 KiB */
	b[59] = 1;
	g_assert_true(g_file_set_contents(path, (const char *)b, sizeof(b), NULL));
}

/* The whole chain is opened, what is written and what is only read alike, and by the names that the worker looks for. */
static void test_chain(void)
{
	struct place p = place_new();
	g_autofree char *base = at(&p, "base"), *top = at(&p, "top");
	g_autofree char *xml = g_strdup_printf("<disk type='file' device='disk'><driver name='qemu' type='qcow2' cache='none'/><source file='%s'/>"
		"<target dev='vda' bus='virtio'/></disk>", top);
	const struct disk *d;
	int flags;

	make_qcow2(top, "base", "raw");
	expect_error(&p, xml, KERR_NO_FILE, "base'");
	g_assert_true(g_file_set_contents(base, "base", -1, NULL));
	struct opened o = open_all(&p, xml, NULL);

	if (g_error_matches(o.err, kerr_quark(), KERR_UNSUPPORTED) && strstr(o.err->message, "page cache")) {
		g_test_skip("this file system has no O_DIRECT");
	} else {
		g_assert_no_error(o.err);
		d = list_at(disk, o.machine->devices.disks, 0);
		g_assert_cmpstr(d->backing->source.file.path, ==, base);
		flags = fcntl(fd_of(&o, d->source.file.fd), F_GETFL);
		g_assert_cmpint(flags & (O_ACCMODE | O_DIRECT | O_NONBLOCK), ==, O_RDWR | O_DIRECT);
		flags = fcntl(fd_of(&o, d->backing->source.file.fd), F_GETFL);
		g_assert_cmpint(flags & (O_ACCMODE | O_DIRECT | O_NONBLOCK), ==, O_RDONLY | O_DIRECT);
	}
	opened_clear(&o);
	make_qcow2(top, "base", NULL);
	expect_error(&p, xml, KERR_UNSUPPORTED, "rebase");
	make_qcow2(top, "top", "qcow2");
	expect_error(&p, xml, KERR_STATE_DATA, "stands on itself");
	place_clear(&p);
}

static void test_share(void)
{
	struct place p = place_new();
	g_autofree char *image = at(&p, "img"), *disk = g_strdup_printf("<disk type='file' device='disk'><driver name='qemu' type='raw'/>"
		"<source file='%s'/><target dev='vda' bus='virtio'/>%%s</disk>", image);
	g_auto(GStrv) half = g_strsplit(disk, "%s", 2);
	g_autofree char *own = g_strconcat(half[0], half[1], NULL), *reader = g_strconcat(half[0], "<readonly/>", half[1], NULL);
	g_autofree char *shared = g_strconcat(half[0], "<shareable/>", half[1], NULL);

	g_assert_true(g_file_set_contents(image, "disk", -1, NULL));
	g_assert_cmpint(g_chmod(image, 0400), ==, 0);
	struct opened a = open_all(&p, reader, NULL), b = open_all(&p, reader, NULL);

	g_assert_no_error(a.err);
	g_assert_no_error(b.err);
	g_assert_cmpint(g_chmod(image, 0600), ==, 0);
	expect_error(&p, own, KERR_BUSY, "in use");
	opened_clear(&a);
	opened_clear(&b);
	a = open_all(&p, shared, NULL);
	b = open_all(&p, shared, NULL);
	g_assert_no_error(a.err);
	g_assert_no_error(b.err);
	expect_error(&p, own, KERR_BUSY, "in use");
	opened_clear(&a);
	opened_clear(&b);
	a = open_all(&p, own, NULL);
	g_assert_no_error(a.err);
	expect_error(&p, reader, KERR_BUSY, "may write");
	opened_clear(&a);
	place_clear(&p);
}

struct racer {
	const struct place *p;
	const char *xml;
	int *ready, *done;
	bool got;
};

static gpointer race(gpointer arg)
{
	struct racer *r = arg;
	struct opened o;

	g_atomic_int_inc(r->ready);
	while (g_atomic_int_get(r->ready) < 2)  /* both at once */
		;
	o = open_all(r->p, r->xml, NULL);
	r->got = !o.err;
	g_atomic_int_inc(r->done);
	while (g_atomic_int_get(r->done) < 2)   /* nobody lets go before all have tried */
		g_thread_yield();
	opened_clear(&o);
	return NULL;
}

/* Of two machines that want an image for themselves at the same time exactly one gets it; of two that read it, both. */
static void test_race(void)
{
	struct place p = place_new();
	g_autofree char *image = at(&p, "img");

	g_assert_true(g_file_set_contents(image, "disk", -1, NULL));
	for (unsigned i = 0; i < 200; i++) {
		g_autofree char *xml = g_strdup_printf("<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='%s'/>"
			"<target dev='vda' bus='virtio'/>%s</disk>", image, i & 1 ? "<readonly/>" : "");
		int ready = 0, done = 0;
		struct racer r[2] = { { &p, xml, &ready, &done, false }, { &p, xml, &ready, &done, false } };
		GThread *t[2];

		for (unsigned k = 0; k < 2; k++)
			t[k] = g_thread_new("race", race, &r[k]);
		for (unsigned k = 0; k < 2; k++)
			g_thread_join(t[k]);
		g_assert_cmpint(r[0].got + r[1].got, ==, i & 1 ? 2 : 1);
	}
	place_clear(&p);
}

static void test_rings(void)
{
	g_assert_cmpuint(launch_rings(NULL), ==, 0);
	g_assert_cmpuint(launch_rings("<domain><iothreads>4</iothreads></domain>"), ==, 0);
	g_assert_cmpuint(launch_rings("<domain><disk type='file'/></domain>"), ==, 1);
	g_assert_cmpuint(launch_rings("<domain><iothreads>4</iothreads><disk/></domain>"), ==, 5);
	g_assert_cmpuint(launch_rings("<iothreadids><iothread id='3'/><iothread id='9'/></iothreadids><disk/>"), ==, 3);
	g_assert_cmpuint(launch_rings("<iothreads>1000</iothreads><disk/>"), ==, IOTHREADS_RUN + 1);
	g_assert_cmpuint(launch_rings("<iothreads>-1</iothreads><disk/>"), <=, IOTHREADS_RUN + 1);
}

/* Writes the image's head anew, as a machine's process could that has it. */
static void write_head(const char *path, const char *backing, const char *format)
{
	g_autofree char *other = g_strconcat(path, ".other", NULL), *bytes = NULL;
	gsize n;
	int fd;

	make_qcow2(other, backing, format);
	g_assert_true(g_file_get_contents(other, &bytes, &n, NULL));
	g_assert_cmpint(g_unlink(other), ==, 0);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	g_assert_cmpint(write(fd, bytes, n), ==, (ssize_t)n);
	close(fd);
}

/* What an image that was written says of what is behind it is not opened, unless people say it too. */
static void test_behind(void)
{
	struct place p = place_new();
	g_autofree char *base = at(&p, "base"), *secret = at(&p, "secret"), *top = at(&p, "top");
	g_autofree char *xml = g_strdup_printf("<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='%s'/>"
		"<target dev='vda' bus='virtio'/></disk>", top);
	g_autofree char *said = g_strdup_printf("<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='%s'/>"
		"<backingStore type='file'><format type='raw'/><source file='%s'/><backingStore/></backingStore><target dev='vda' bus='virtio'/></disk>", top, secret);
	struct opened o;

	g_assert_true(g_file_set_contents(base, "base", -1, NULL) && g_file_set_contents(secret, "secret", -1, NULL));
	make_qcow2(top, "base", "raw");
	if (setxattr(top, "trusted.kvmd.test", "", 0, 0)) {
		g_test_skip("no attributes of files that only root may write, here or for this user");
		place_clear(&p);
		return;
	}
	for (int i = 0; i < 2; i++) {
		o = open_all(&p, xml, NULL);
		g_assert_no_error(o.err);
		opened_clear(&o);
	}
	write_head(top, secret, "raw");
	expect_error(&p, xml, KERR_ACCESS, "'raw base'");
	o = open_all(&p, said, NULL);
	g_assert_no_error(o.err);
	opened_clear(&o);
	o = open_all(&p, xml, NULL);    /* which is the same from now on */
	g_assert_no_error(o.err);
	opened_clear(&o);
	write_head(top, "base", "raw");
	expect_error(&p, xml, KERR_ACCESS, "'raw secret'");
	place_clear(&p);
}

static void test_lock(void)
{
	struct place p = place_new();
	g_autofree char *dir = at(&p, "vm"), *file = g_build_filename(dir, "lock", NULL);
	g_autoptr(GError) err = NULL;
	int own, first = launch_lock(dir, "a", &err);

	g_assert_no_error(err);
	g_assert_cmpint(first, >=, 0);
	/* the descriptor is the machine's, the file's words are kvmd's */
	g_assert_cmpint(write(first, "x", 1), ==, -1);
	own = open(file, O_WRONLY | O_CLOEXEC);
	g_assert_cmpint(write(own, "pid 7 machine a\n", 16), ==, 16);
	close(own);
	g_assert_cmpint(launch_lock(dir, "a", &err), ==, -1);
	g_assert_error(err, kerr_quark(), KERR_BUSY);
	g_assert_nonnull(strstr(err->message, "pid 7 machine a"));
	close(first);
	g_clear_error(&err);
	first = launch_lock(dir, "a", &err);
	g_assert_no_error(err);
	close(first);
	(void)g_unlink(file);
	(void)g_rmdir(dir);
	place_clear(&p);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/resources/pty", test_pty);
	g_test_add_func("/resources/files", test_files);
	g_test_add_func("/resources/sockets", test_sockets);
	g_test_add_func("/resources/agent", test_agent);
	g_test_add_func("/resources/placed", test_placed);
	g_test_add_func("/resources/disk", test_disk);
	g_test_add_func("/resources/doubt", test_doubt);
	g_test_add_func("/resources/qemu-lock", test_qemu_lock);
	g_test_add_func("/resources/race", test_race);
	g_test_add_func("/resources/chain", test_chain);
	g_test_add_func("/resources/share", test_share);
	g_test_add_func("/resources/behind", test_behind);
	g_test_add_func("/resources/lock", test_lock);
	g_test_add_func("/resources/startup", test_startup);
	g_test_add_func("/resources/rings", test_rings);
	return g_test_run();
}
