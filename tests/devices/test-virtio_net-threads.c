/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The network card with real threads: a loop serves it, one thread plays the network and sends every frame back, this one is
 * the guest's vCPU and main in one. Frames go round while the machine is paused, the driver resets the card, the link and
 * the bandwidth change and the network is replaced; ThreadSanitizer must have nothing to say.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "devices/virtio_net.h"
#include "devices/virtio_net_card.h"
#include "tests/fake/driver.h"
#include "tests/fake/virtio_driver.h"

#define ROUNDS 60
#define LIMIT_US 20000000
#define BUFFERS 16
#define ROOM 2048

struct rig {
	struct fake *f;
	struct loop *loop;
	struct device *dev;
	struct vdrv d;
	uint64_t rx[BUFFERS], tx;
	int far;                        /* the network's end */
	GThread *echo;
};

/* Until the other end closes. */
static void *echo(void *arg)
{
	int fd = GPOINTER_TO_INT(arg);
	uint8_t buf[4096];
	ssize_t n;

	while ((n = recv(fd, buf, sizeof buf, 0)) > 0)
		for (ssize_t at = 0; at < n;) {
			ssize_t put = send(fd, buf + at, (size_t)(n - at), MSG_NOSIGNAL);

			if (put <= 0)
				break;
			at += put;
		}
	close(fd);
	return NULL;
}

static int new_network(struct rig *r)
{
	int pair[2];

	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), ==, 0);
	r->far = pair[1];
	r->echo = g_thread_new("echo", echo, GINT_TO_POINTER(pair[1]));
	return pair[0];
}

static void rig_make(struct rig *r)
{
	*r = (struct rig){ .f = fake_vm() };
	(void)ram_track(&r->f->vm.ram, false, NULL);
	r->loop = loop_new("io", r->f->clock);
	loop_set_polling(r->loop, 2000, 0, 2);
	g_assert_true(loop_start(r->loop, NULL));
	r->f->vm.loops[0] = r->loop;
	fake_add(r->f, "pci-host", NULL);
	g_assert_true(fdset_add(r->f->fds, "net/net0/0", new_network(r), NULL));
	r->dev = fake_add(r->f, "virtio-net", "{'type':'user','mac':'52:54:00:01:02:03','alias':'net0','driver':{'packed':'on'}}");
}

static void rig_clear(struct rig *r)
{
	while (r->f->vm.devices->len)
		device_free(r->f->vm.devices->pdata[r->f->vm.devices->len - 1]);
	g_thread_join(r->echo);
	r->f->vm.loops[0] = r->f->loop;
	loop_free(r->loop);
	fake_free(r->f);
}

static void kick(struct rig *r, unsigned q)
{
	if (vring_wants_kick(&r->d.rings[q]))
		drv_mmio_write(r->f, r->d.notify + (uint64_t)q * r->d.notify_step, 2, q);
}

static void drive(struct rig *r, uint64_t features)
{
	vdrv_open(&r->d, r->f, r->dev, features, true);
	for (unsigned q = 0; q < 3; q++)
		vdrv_queue(&r->d, q, 32);
	r->tx = vdrv_alloc(&r->d, 64 * ROOM);
	for (unsigned i = 0; i < BUFFERS; i++) {
		r->rx[i] = vdrv_alloc(&r->d, ROOM);
		g_assert_true(vring_add(&r->d.rings[0], &(struct vseg){ r->rx[i], ROOM }, 0, 1, &r->rx[i]));
	}
	vdrv_go(&r->d);
	kick(r, 0);
}

static void main_turn(void)
{
	while (g_main_context_iteration(NULL, FALSE))
		;
}

/* n frames go out and come back; lossy: some may be lost. */
static void rounds(struct rig *r, unsigned n, bool lossy)
{
	int64_t end = g_get_monotonic_time() + (lossy ? 20000 : LIMIT_US);
	unsigned sent = 0, got = 0, free = 16;
	uint32_t len;

	while (got < n && g_get_monotonic_time() < end) {
		uint64_t *at;

		while (vring_take(&r->d.rings[1], &len))
			free++;
		for (; sent < n && free && sent - got < BUFFERS; free--, sent++) {
			uint64_t frame = r->tx + (sent % 64) * ROOM;

			ram_fill(&r->f->vm.ram, frame, 0, NET_HEADER);
			ram_fill(&r->f->vm.ram, frame + NET_HEADER, (uint8_t)sent, 300);
			g_assert_true(vring_add(&r->d.rings[1], &(struct vseg){ frame, NET_HEADER + 300 }, 1, 0, r));
		}
		kick(r, 1);
		while ((at = vring_take(&r->d.rings[0], &len))) {
			uint8_t byte = 0;

			g_assert_cmpuint(len, ==, NET_HEADER + 300);
			ram_read(&r->f->vm.ram, *at + NET_HEADER + 299, &byte, 1);
			if (!lossy)
				g_assert_cmpuint(byte, ==, (uint8_t)got);
			got++;
			g_assert_true(vring_add(&r->d.rings[0], &(struct vseg){ *at, ROOM }, 0, 1, at));
		}
		kick(r, 0);
		main_turn();
		g_thread_yield();
	}
	if (!lossy)
		g_assert_cmpuint(got, ==, n);
}

static void paused(struct done *d, int result)
{
	*(bool *)d->arg = true;
}

static void pause_and_go(struct rig *r)
{
	bool is = false;
	struct done done = { .fn = paused, .arg = &is };

	devices_pause(&r->f->vm, &done);
	while (!is)
		main_turn();
	g_byte_array_unref(fake_save(r->dev));
	devices_resume(&r->f->vm);
}

static void reset(struct rig *r)
{
	vdrv_common_write(&r->d, 20, 1, 0);
	for (int64_t end = g_get_monotonic_time() + LIMIT_US; vdrv_status(&r->d);) {
		g_assert_cmpint(g_get_monotonic_time(), <, end);
		main_turn();
		g_thread_yield();
	}
}

static void replace(struct rig *r)
{
	GThread *old = r->echo;
	g_autoptr(GError) err = NULL;

	if (g_random_boolean())
		shutdown(r->far, SHUT_RDWR);
	virtio_net_reconnect(r->dev, new_network(r), &err);
	g_assert_no_error(err);
	g_thread_join(old);
}

static void test_threads(void)
{
	struct iface config[2] = { { .type = IFACE_USER, .link = LINK_DOWN },
		{ .type = IFACE_USER, .bandwidth = { .inbound = { .average = 1 << 20 }, .outbound = { .average = 1 << 20 } } } };
	struct rig r;

	rig_make(&r);
	drive(&r, ~0ull);
	for (unsigned i = 0; i < ROUNDS; i++) {
		rounds(&r, 64, false);
		switch (i % 5) {
		case 0:
			rounds(&r, 8, true);
			pause_and_go(&r);
			break;
		case 1:
			g_assert_true(r.dev->ops->update(r.dev, &config[i / 5 % 2], NULL));
			rounds(&r, 8, true);
			g_assert_true(r.dev->ops->update(r.dev, &(struct iface){ .type = IFACE_USER }, NULL));
			break;
		case 2:
			replace(&r);
			break;
		default:
			break;
		}
		rounds(&r, 16, true);           /* some are under way while … */
		reset(&r);
		replace(&r);                    /* nothing old comes */
		drive(&r, i % 2 ? ~0ull : ~(1ull << 34));
	}
	g_assert_cmpuint(r.dev->guest_errors, ==, 0);
	rig_clear(&r);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/virtio-net/threads", test_threads);
	return g_test_run();
}
