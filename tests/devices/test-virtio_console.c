/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-console: ports and their names, a console on a file, a channel on a socket that comes and goes, output that has to
 * wait, moving in the middle of it all, hostile guests.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "devices/chr_ring.h"
#include "devices/virtio.h"
#include "devices/virtio_console.h"
#include "domain/error.h"
#include "domain/machine.h"
#include "tests/fake/driver.h"
#include "tests/fake/virtio_driver.h"
#include "tests/fake/virtio_hostile.h"

#define F_MULTIPORT 2ull
enum { READY, ADD, REMOVE, PORT_READY, CONSOLE, RESIZE, OPEN, NAME };

static int token;

struct rig {
	struct fake *f;
	struct device *dev;
	struct vdrv d;
	struct chardev console, channel, spice;
	GPtrArray *consoles, *channels;
	int out, host;                  /* the console's file, the channel's socket */
	char address[32];
	GString *said;                  /* control messages: "event id value name," */
};

static struct chardev port(int type, const char *number, const char *name, const char *fd)
{
	return (struct chardev){ .type = type, .target = { .type = (char *)"virtio", .name = (char *)name },
		.source.path.fd = (char *)fd, .address = { .type = ADDRESS_VIRTIO_SERIAL, .port = (char *)number } };
}

static int listener(const char *name)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	g_snprintf(a.sun_path + 1, sizeof(a.sun_path) - 1, "%s", name);
	g_assert_cmpint(bind(fd, (struct sockaddr *)&a, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name))), ==, 0);
	g_assert_cmpint(listen(fd, 4), ==, 0);
	return fd;
}

static bool host_try_connect(struct rig *r)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	r->host = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	g_snprintf(a.sun_path + 1, sizeof(a.sun_path) - 1, "%s", r->address);
	if (connect(r->host, (struct sockaddr *)&a, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(r->address))) < 0) {
		close(r->host);
		r->host = -1;
		return false;
	}
	fake_step(r->f);
	return true;
}

static void host_connect(struct rig *r)
{
	g_assert_true(host_try_connect(r));
}

static void rig_make(struct rig *r)
{
	static unsigned n;

	memset(r, 0, sizeof(*r));
	r->f = fake_vm();
	r->host = -1;
	r->out = memfd_create("console", MFD_CLOEXEC);
	g_snprintf(r->address, sizeof(r->address), "kvmd-test-%d-%u", getpid(), n++);
	r->console = port(CHARDEV_FILE, "0", NULL, "file");
	r->channel = port(CHARDEV_UNIX, "1", "org.qemu.guest_agent.0", "sock");
	r->spice = port(CHARDEV_SPICEVMC, "3", "com.redhat.spice.0", NULL);
	g_assert_true(fdset_add(r->f->fds, "file", fcntl(r->out, F_DUPFD_CLOEXEC, 0), NULL));
	g_assert_true(fdset_add(r->f->fds, "sock", listener(r->address), NULL));
	r->consoles = r->f->machine->devices.consoles = g_ptr_array_new();
	r->channels = r->f->machine->devices.channels = g_ptr_array_new();
	g_ptr_array_add(r->consoles, &r->console);
	g_ptr_array_add(r->channels, &r->channel);
	g_ptr_array_add(r->channels, &r->spice);
	fake_add(r->f, "pci-host", NULL);
	r->dev = fake_add(r->f, "virtio-console", "{'type':'virtio-serial','index':0,'ports':4,'driver':{'packed':'on'}}");
	r->said = g_string_new(NULL);
}

static void rig_clear(struct rig *r)
{
	fake_free(r->f);
	g_ptr_array_unref(r->consoles);
	g_ptr_array_unref(r->channels);
	close(r->out);
	if (r->host >= 0)
		close(r->host);
	g_string_free(r->said, TRUE);
}

static void offer_in(struct rig *r, unsigned q, uint64_t at, uint32_t len)
{
	struct vseg s = { at, len };

	g_assert_true(vring_add(&r->d.rings[q], &s, 0, 1, (void *)(uintptr_t)at));
	vdrv_kick(&r->d, q);
}

static void put_out(struct rig *r, unsigned q, const void *data, size_t n)
{
	struct vseg s = { 0x60000, (uint32_t)n };

	g_assert_true(ram_write(&r->f->vm.ram, s.addr, data, n));
	g_assert_true(vring_add(&r->d.rings[q], &s, 1, 0, &token));
	vdrv_kick(&r->d, q);
}

static bool out_done(struct rig *r, unsigned q)
{
	uint32_t len;

	return vring_take(&r->d.rings[q], &len) != NULL;
}

/* Reads control messages as far as there are any, and offers their buffers again. */
static const char *listen_to(struct rig *r)
{
	struct { uint32_t id; uint16_t event, value; char name[64]; } m;
	uint32_t len;
	uint64_t at;

	g_string_truncate(r->said, 0);
	fake_step(r->f);
	while ((at = (uintptr_t)vring_take(&r->d.rings[2], &len))) {
		memset(&m, 0, sizeof(m));
		g_assert_cmpuint(len, >=, 8);
		g_assert_true(ram_read(&r->f->vm.ram, at, &m, MIN(len, sizeof(m) - 1)));
		g_string_append_printf(r->said, "%u %u %u%s%s,", m.event, m.id, m.value, len > 8 ? " " : "", m.name);
		offer_in(r, 2, at, 128);
	}
	return r->said->str;
}

static void tell(struct rig *r, uint32_t id, uint16_t event, uint16_t value)
{
	struct { uint32_t id; uint16_t event, value; } m = { id, event, value };

	put_out(r, 3, &m, sizeof(m));
	g_assert_true(out_done(r, 3));
}

static void open_it(struct rig *r, uint64_t features)
{
	vdrv_open(&r->d, r->f, r->dev, features, true);
	for (unsigned i = 0; i < 10; i++)
		vdrv_queue(&r->d, i, 16);
	vdrv_go(&r->d);
	if (!(features & F_MULTIPORT))
		return;
	for (unsigned i = 0; i < 12; i++)
		offer_in(r, 2, 0x50000 + 128 * i, 128);
}

static void open_ports(struct rig *r)
{
	tell(r, 0, READY, 1);
	g_assert_cmpstr(listen_to(r), ==, "1 0 1,1 1 1,1 3 1,");
	tell(r, 0, PORT_READY, 1);
	g_assert_cmpstr(listen_to(r), ==, "4 0 1,6 0 1,");
	tell(r, 1, PORT_READY, 1);
	g_assert_cmpstr(listen_to(r), ==, r->host < 0 ? "7 1 1 org.qemu.guest_agent.0,6 1 0," : "7 1 1 org.qemu.guest_agent.0,6 1 1,");
	tell(r, 0, OPEN, 1);
	tell(r, 1, OPEN, 1);
}

static char *console_text(struct rig *r)
{
	char *text = g_malloc0(4096);

	fake_pass(r->f, 10000000);
	g_assert_cmpint(pread(r->out, text, 4095, 0), >=, 0);
	return text;
}

static void test_ports(void)
{
	struct rig r;

	rig_make(&r);
	open_it(&r, F_MULTIPORT);
	g_assert_cmpuint(drv_mmio_read(r.f, r.d.space + 4, 4), ==, 4);
	open_ports(&r);
	/* a channel for spice is kept: a port at which nobody is */
	tell(&r, 3, PORT_READY, 1);
	g_assert_cmpstr(listen_to(&r), ==, "7 3 1 com.redhat.spice.0,6 3 0,");
	/* what makes no sense is ignored */
	tell(&r, 2, PORT_READY, 1);
	tell(&r, 4000000000u, OPEN, 1);
	tell(&r, 0, 99, 1);
	tell(&r, 0, READY, 0);
	g_assert_cmpstr(listen_to(&r), ==, "");
	g_assert_cmpuint(r.dev->guest_errors, ==, 3);
	g_assert_nonnull(virtio_console_chr(r.dev, NULL));
	g_assert_true(virtio_console_chr(r.dev, "org.qemu.guest_agent.0") != virtio_console_chr(r.dev, NULL));
	g_assert_null(virtio_console_chr(r.dev, "nobody"));
	rig_clear(&r);
}

static void test_console(void)
{
	for (unsigned multi = 0; multi < 2; multi++) {
		struct rig r;
		char *text;

		rig_make(&r);
		open_it(&r, multi ? F_MULTIPORT : 0);
		if (multi)
			open_ports(&r);
		put_out(&r, 1, "hello, world\n", 13);
		g_assert_true(out_done(&r, 1));
		text = console_text(&r);
		g_assert_cmpstr(text, ==, "hello, world\n");
		g_free(text);
		/* without a driver, by register */
		drv_mmio_write(r.f, r.d.space + 8, 4, '!');
		text = console_text(&r);
		g_assert_cmpstr(text, ==, "hello, world\n!");
		g_free(text);
		rig_clear(&r);
	}
}

static void test_channel(void)
{
	struct rig r;
	char buf[64] = "";
	uint32_t len = 0;

	rig_make(&r);
	open_it(&r, F_MULTIPORT | VIRTIO_F_EVENT_IDX);
	open_ports(&r);
	/* to nobody: goes nowhere, and does not wait */
	put_out(&r, 5, "lost", 4);
	g_assert_true(out_done(&r, 5));
	host_connect(&r);
	g_assert_cmpstr(listen_to(&r), ==, "6 1 1,");
	put_out(&r, 5, "to the host", 11);
	g_assert_true(out_done(&r, 5));
	fake_pass(r.f, 10000000);
	g_assert_cmpint(recv(r.host, buf, sizeof(buf), 0), >=, 11);
	g_assert_nonnull(strstr(buf, "to the host"));
	/* to the guest: waits for buffers, and for somebody to have it open */
	g_assert_cmpint(send(r.host, "to the guest", 12, 0), ==, 12);
	fake_step(r.f);
	tell(&r, 1, OPEN, 0);
	offer_in(&r, 4, 0x70000, 5);
	g_assert_null(vring_take(&r.d.rings[4], &len));
	tell(&r, 1, OPEN, 1);
	fake_step(r.f);
	g_assert_true((uintptr_t)vring_take(&r.d.rings[4], &len) == 0x70000);
	g_assert_cmpuint(len, ==, 5);
	offer_in(&r, 4, 0x70100, 64);
	fake_step(r.f);
	g_assert_true((uintptr_t)vring_take(&r.d.rings[4], &len) == 0x70100);
	g_assert_cmpuint(len, ==, 7);
	memset(buf, 0, sizeof(buf));
	g_assert_true(ram_read(&r.f->vm.ram, 0x70000, buf, 5) && ram_read(&r.f->vm.ram, 0x70100, buf + 5, 7));
	g_assert_cmpstr(buf, ==, "to the guest");
	/* that the host has gone is seen once the guest can take what it may have sent before */
	close(r.host);
	r.host = -1;
	offer_in(&r, 4, 0x70200, 64);
	g_assert_cmpstr(listen_to(&r), ==, "6 1 0,");
	host_connect(&r);
	g_assert_cmpstr(listen_to(&r), ==, "6 1 1,");
	rig_clear(&r);
}

static void heard(void *arg)
{
	(*(unsigned *)arg)++;
}

/* Who has a channel open in the guest is told when it changes, also when the driver goes. */
static void test_in_use(void)
{
	unsigned n = 0;
	struct rig r;

	rig_make(&r);
	virtio_console_listen(r.dev, heard, &n);
	open_it(&r, F_MULTIPORT);
	open_ports(&r);
	n = 0;
	g_assert_true(virtio_console_in_use(r.dev, &r.channel) && !virtio_console_in_use(r.dev, &r.spice));
	tell(&r, 1, OPEN, 1);
	g_assert_cmpuint(n, ==, 0);
	tell(&r, 1, OPEN, 0);
	g_assert_true(n == 1 && !virtio_console_in_use(r.dev, &r.channel));
	tell(&r, 1, OPEN, 1);
	device_reset(r.dev);
	g_assert_true(n >= 3 && !virtio_console_in_use(r.dev, &r.channel));
	rig_clear(&r);
}

#define LONG (1u << 20)
/* More than rings and sockets hold: the guest waits, and the host gets every byte in order, over a move in the middle. */
static void test_flow(void)
{
	for (unsigned moving = 0; moving < 2; moving++) {
		struct rig r, *at = &r, other;
		uint8_t *want = g_malloc(0x8000), buf[5000];
		uint32_t sent = 0, got = 0, turn = 0;

		rig_make(&r);
		open_it(&r, F_MULTIPORT);
		host_connect(&r);
		open_ports(&r);
		while (got < LONG) {
			ssize_t n;

			for (unsigned k = 0; sent < LONG; k++) {
				uint64_t place = 0x80000 + sent % 0x40000;
				uint32_t len = 0x2000;

				if (r.d.rings[5].n_free < 2)
					break;
				for (uint32_t i = 0; i < len; i++)
					want[i] = (uint8_t)((sent + i) * 7 + (sent + i) / 256);
				if (sent - got > 0x38000)
					break;
				g_assert_true(ram_write(&at->f->vm.ram, place, want, len));
				g_assert_true(vring_add(&r.d.rings[5], &(struct vseg){ place, len }, 1, 0, &token));
				sent += len;
			}
			vdrv_kick(&r.d, 5);
			while (out_done(&r, 5))
				;
			if (turn++ < 20)
				continue;       /* nobody reads: it fills up */
			if (turn == 22)
				g_assert_cmpuint(sent, <, LONG);
			n = recv(r.host, buf, sizeof(buf), 0);
			for (ssize_t i = 0; i < n; i++, got++)
				g_assert_cmpuint(buf[i], ==, (uint8_t)(got * 7 + got / 256));
			fake_pass(at->f, 2000000);
			if (!moving || turn != 40)
				continue;
			/* to another machine; the host's side reconnects there and reads on */
			rig_make(&other);
			fake_pause(r.f);
			while ((n = recv(r.host, buf, sizeof(buf), 0)) > 0 || (fake_pass(r.f, 2000000),
				(n = recv(r.host, buf, sizeof(buf), 0)) > 0))
				for (ssize_t i = 0; i < n; i++, got++)
					g_assert_cmpuint(buf[i], ==, (uint8_t)(got * 7 + got / 256));
			fake_pause(other.f);
			fake_move(r.f, other.f);
			other.d = r.d;
			vdrv_move(&other.d, other.f);
			rig_clear(&r);
			r = other;
			r.d.f = r.f;
			host_connect(&r);
			fake_resume(r.f);
			g_assert_cmpstr(listen_to(&r), ==, "6 0 1,6 1 1,");
		}
		g_free(want);
		rig_clear(&r);
	}
}

static void test_refused(void)
{
	struct fake *f = fake_vm();
	struct controller c = { .type = CONTROLLER_VIRTIO_SERIAL };
	struct chardev a = port(CHARDEV_NULL, "1", NULL, NULL), b = port(CHARDEV_NULL, "1", NULL, NULL),
		far = port(CHARDEV_NULL, "63", NULL, NULL);
	GPtrArray *list = g_ptr_array_new();
	GError *err = NULL;

	fake_add(f, "pci-host", NULL);
	f->machine->devices.channels = list;
	g_ptr_array_add(list, &a);
	g_ptr_array_add(list, &b);
	g_assert_null(fake_try(f, "virtio-console", &c, &err));
	g_assert_error(err, kerr_quark(), KERR_BUSY);
	g_clear_error(&err);
	list->pdata[1] = &far;
	g_assert_null(fake_try(f, "virtio-console", &c, &err));
	g_assert_error(err, kerr_quark(), KERR_LIMIT);
	g_clear_error(&err);
	fake_free(f);
	g_ptr_array_unref(list);
}

static struct rig *hostile_rig;

static void play_host(struct fake *f, GRand *rand)
{
	struct rig *r = hostile_rig;
	char buf[4096];

	if (r->host < 0) {
		(void)host_try_connect(r);      /* a guest that never reads keeps those before it in the queue */
		return;
	} else if (!g_rand_int_range(rand, 0, 10)) {
		close(r->host);
		r->host = -1;
		return;
	}
	if (g_rand_boolean(rand))
		(void)!send(r->host, buf, (size_t)g_rand_int_range(rand, 1, 100), MSG_NOSIGNAL);
	else
		while (recv(r->host, buf, sizeof(buf), 0) > 0)
			;
	if (!g_rand_int_range(rand, 0, 20))
		(void)!ftruncate(r->out, 0);
}

static void test_hostile(void)
{
	struct rig r;

	rig_make(&r);
	memset(r.f->vm.ram.pieces[0].host + 0x80000, 1, 0x1000);
	hostile_rig = &r;
	vhostile(r.f, r.dev, 10, vhostile_rounds(), 4, play_host);
	rig_clear(&r);
}

/* A channel comes, goes, and comes again before the guest has heard of either. */
static void test_come_and_go(void)
{
	struct chardev late, far;
	g_autoptr(GError) err = NULL;
	struct rig r;
	char *id = NULL;

	rig_make(&r);
	late = port(CHARDEV_SPICEVMC, "2", "org.kvmd.late", NULL);
	late.alias = (char *)"channel7";
	far = port(CHARDEV_SPICEVMC, "4", "org.kvmd.far", NULL);
	open_it(&r, F_MULTIPORT);
	open_ports(&r);
	g_assert_true(virtio_console_serves(r.dev, &late));
	g_assert_true(virtio_console_add(r.dev, &late, r.f->fds, &id, NULL));
	g_assert_cmpstr(id, ==, "channel7");
	g_free(id);
	g_assert_cmpstr(listen_to(&r), ==, "1 2 1,");
	tell(&r, 2, PORT_READY, 1);
	g_assert_cmpstr(listen_to(&r), ==, "7 2 1 org.kvmd.late,6 2 0,");
	put_out(&r, 7, "to nobody", 9);
	g_assert_true(out_done(&r, 7));
	g_assert_false(virtio_console_add(r.dev, &late, r.f->fds, &id, &err));
	g_assert_error(err, kerr_quark(), KERR_BUSY);
	g_clear_error(&err);
	g_assert_false(virtio_console_add(r.dev, &far, r.f->fds, &id, &err));
	g_assert_error(err, kerr_quark(), KERR_LIMIT);
	virtio_console_remove(r.dev, &far);     /* is not there */
	virtio_console_remove(r.dev, &late);
	g_assert_true(virtio_console_add(r.dev, &late, r.f->fds, &id, NULL));
	g_free(id);
	g_assert_cmpstr(listen_to(&r), ==, "2 2 1,1 2 1,");
	virtio_console_remove(r.dev, &late);
	g_assert_cmpstr(listen_to(&r), ==, "2 2 1,");
	device_reset(r.dev);                    /* no driver: nobody to wait for */
	id = (char *)"?";
	g_assert_true(virtio_console_add(r.dev, &late, r.f->fds, &id, NULL));
	g_assert_null(id);
	virtio_console_remove(r.dev, &late);
	rig_clear(&r);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/console/ports", test_ports);
	g_test_add_func("/console/console", test_console);
	g_test_add_func("/console/channel", test_channel);
	g_test_add_func("/console/in-use", test_in_use);
	g_test_add_func("/console/flow", test_flow);
	g_test_add_func("/console/come-and-go", test_come_and_go);
	g_test_add_func("/console/refused", test_refused);
	g_test_add_func("/console/hostile", test_hostile);
	return g_test_run();
}
