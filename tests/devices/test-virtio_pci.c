/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio over PCI, with a device of our own that echoes: what queue 0 brings goes back in its writable part, at once, when
 * the test says so (.lazy) or when it is drained.
 */
#include <string.h>

#include "devices/list.h"
#include "devices/virtio.h"
#include "devices/virtio_pci.h"
#include "domain/error.h"
#include "domain/state.h"
#include "tests/fake/driver.h"
#include "tests/fake/virtio_driver.h"
#include "tests/fake/virtio_hostile.h"

#define F_ECHO (1ull << 3)
#define F_PART (1ull << 4)              /* goes with F_ECHO only */
#define HELD 256

struct echo_config {
	int model;                      /* as all have: offset 0 means none */
	struct virtio_driver driver;
	struct address address;
};
static const struct field echo_config_fields[] = {
	STRUCT(struct echo_config, driver, "driver", virtio_driver_schema, 0, "how it is served"),
	STRUCT(struct echo_config, address, "address", address_schema, 0, "where it is"),
	END
};
static const struct schema echo_schema = { .name = "echo", .doc = "an echo", .version = 1, .size = sizeof(struct echo_config),
	.fields = echo_config_fields };

struct echo {
	struct virtio virtio;
	uint32_t space[2];
	bool lazy, drains;
	struct chain *held[HELD];
	unsigned served, resets;
};

static void finish(struct echo *e, struct virtq *q, struct chain *c)
{
	uint8_t buf[256];
	size_t n;

	while ((n = chain_read(c, buf, sizeof(buf))) > 0)
		(void)chain_write(c, buf, n);
	virtq_push(q, c, c->written);
	e->served++;
}

static void finish_held(struct echo *e)
{
	for (unsigned i = 0; i < HELD; i++) {
		struct chain *c = e->held[i];
		struct virtq *q = c ? c->q : NULL;

		if (!c)
			continue;
		e->held[i] = NULL;
		finish(e, q ? q : &e->virtio.queues[0].q, c);
		if (q)
			virtq_signal(q);
		g_free(c);
	}
}

static void echo_ready(struct virtio *v, struct virtq *q)
{
	struct echo *e = (struct echo *)v;

	for (;;) {
		struct chain *c = g_new0(struct chain, 1);
		unsigned i = 0;

		while (i < HELD && e->held[i])
			i++;
		if (i == HELD || !virtq_pop(q, c)) {
			g_free(c);
			return;
		}
		if (e->lazy) {
			e->held[i] = c;
			continue;
		}
		finish(e, q, c);
		g_free(c);
	}
}

static gboolean drained(gpointer arg)
{
	struct { struct echo *e; struct done *done; } *p = arg;

	finish_held(p->e);
	done_end(p->done, 0);
	g_free(p);
	return G_SOURCE_REMOVE;
}

static void echo_drain(struct virtio *v, struct virtq *q, struct done *done)
{
	struct { struct echo *e; struct done *done; } *p;
	struct echo *e = (struct echo *)v;

	if (!e->drains)
		return;
	p = g_malloc(sizeof(*p));
	p->e = e;
	p->done = done;
	done_begin(done);
	g_idle_add(drained, p);
}

static bool echo_realize(struct virtio *v, struct fdset *fds, GError **err)
{
	v->offered |= F_ECHO | F_PART;
	((struct echo *)v)->space[0] = 0x11223344;
	return virtio_set_queues(v, 2, 256, NULL, err);
}

static void echo_unrealize(struct virtio *v)
{
	finish_held((struct echo *)v);
}

static void echo_reset(struct virtio *v)
{
	((struct echo *)v)->resets++;
	((struct echo *)v)->space[1] = 0;
}

static bool echo_write(struct virtio *v, unsigned offset, unsigned size, uint32_t value)
{
	if (offset != 4 || size != 4)
		return false;
	((struct echo *)v)->space[1] = value;
	return true;
}

static bool echo_accept(struct virtio *v, uint64_t features)
{
	return !(features & F_PART) || features & F_ECHO;
}

static const struct virtio_ops echo_vops = { .name = "echo", .id = 60, .class = 0xff0000,
	.address = offsetof(struct echo_config, address), .driver = offsetof(struct echo_config, driver),
	.space = offsetof(struct echo, space), .space_len = 8, .realize = echo_realize, .unrealize = echo_unrealize,
	.ready = echo_ready, .drain = echo_drain, .reset = echo_reset, .write = echo_write, .accept = echo_accept };

extern const struct device_ops virtio_echo_ops;
VIRTIO_DEVICE(virtio_echo, "virtio-echo", struct echo, &echo_vops, &echo_schema, "an echo of the test",
	U32(struct echo, space[1], NULL, 0, UINT32_MAX, 0, "what the guest wrote", .name = "written"));

static struct echo_config packed = { .driver.packed = ONOFF_ON }, paged = { .driver.page_per_vq = ONOFF_ON, .driver.packed = ONOFF_ON };

static struct echo *add_echo(struct fake *f, struct echo_config *config)
{
	struct device *d = device_new(&f->vm, &virtio_echo_ops, "echo", config);

	g_assert_true(device_realize(d, f->fds, NULL));
	return (struct echo *)d;
}

static struct fake *machine(struct echo **e, struct echo_config *config)
{
	struct fake *f = fake_vm();

	fake_add(f, "pci-host", NULL);
	*e = add_echo(f, config ? config : &packed);
	return f;
}

/* --- requests --- */

static int tokens[512];

static void send(struct vdrv *d, unsigned q, unsigned i, uint64_t at)
{
	struct vseg s[2] = { { at, 100 }, { at + 128, 100 } };
	uint8_t text[100];

	memset(text, 'a' + (int)(i % 26), sizeof(text));
	g_assert_true(ram_write(&d->f->vm.ram, at, text, sizeof(text)));
	g_assert_true(vring_add(&d->rings[q], s, 1, 1, &tokens[i]));
}

static void expect(struct vdrv *d, unsigned q, unsigned i, uint64_t at)
{
	uint32_t len = 0;
	uint8_t text[100];

	g_assert_true(vring_take(&d->rings[q], &len) == &tokens[i]);
	g_assert_cmpuint(len, ==, 100);
	g_assert_true(ram_read(&d->f->vm.ram, at + 128, text, sizeof(text)));
	for (unsigned k = 0; k < sizeof(text); k++)
		g_assert_cmpuint(text[k], ==, 'a' + i % 26);
}

static void open_all(struct vdrv *d, struct fake *f, struct echo *e, uint64_t features, bool msix)
{
	vdrv_open(d, f, &e->virtio.head.dev, features, msix);
	vdrv_queue(d, 0, 16);
	vdrv_queue(d, 1, 8);
	vdrv_go(d);
	g_assert_cmpuint(vdrv_status(d), ==, 15);
}

#define F_ALL (VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX | VIRTIO_F_RING_PACKED | VIRTIO_F_RING_RESET)

static void test_kinds(void)
{
	for (unsigned kind = 0; kind < 32; kind++) {
		uint64_t features = (kind & 1 ? VIRTIO_F_INDIRECT_DESC : 0) | (kind & 2 ? VIRTIO_F_EVENT_IDX : 0) |
			(kind & 4 ? VIRTIO_F_RING_PACKED : 0);
		struct echo *e;
		struct fake *f = machine(&e, kind & 16 ? &paged : NULL);
		struct vdrv d;
		unsigned gsi = 16 + 1;
		uint64_t at;

		open_all(&d, f, e, features, kind & 8);
		g_assert_true((d.accepted & features) == features);
		at = vdrv_alloc(&d, 4096);
		for (unsigned i = 0; i < 300; i++) {
			unsigned q = i & 1;

			send(&d, q, i, at);
			vdrv_kick(&d, q);
			if (!(kind & 8))
				g_assert_cmpint(f->level[gsi], ==, 1);
			g_assert_cmpuint(vdrv_interrupts(&d, q), ==, 1);
			g_assert_cmpint(f->level[gsi], ==, 0);
			expect(&d, q, i, at);
		}
		g_assert_cmpuint(e->virtio.head.dev.guest_errors, ==, 0);
		fake_free(f);
	}
}

/* --- registers --- */

static void set_features(struct vdrv *d, uint64_t features)
{
	for (unsigned i = 0; i < 2; i++) {
		vdrv_common_write(d, COMMON_ACCEPTED_SELECT, 4, i);
		vdrv_common_write(d, COMMON_ACCEPTED, 4, (uint32_t)(features >> 32 * i));
	}
}

static void test_features(void)
{
	struct echo *e;
	struct fake *f = machine(&e, NULL);
	static const uint64_t bad[] = { F_ECHO, VIRTIO_F_VERSION_1 | 1ull << 33, VIRTIO_F_VERSION_1 | 1, VIRTIO_F_VERSION_1 | F_PART };
	struct vdrv d;

	vdrv_open(&d, f, &e->virtio.head.dev, F_ECHO, true);
	g_assert_true(d.offered & VIRTIO_F_RING_PACKED);
	g_assert_false(d.offered & 1ull << 33);
	vdrv_common_write(&d, COMMON_OFFERED_SELECT, 4, 2);
	g_assert_cmphex(vdrv_common(&d, COMMON_OFFERED, 4), ==, 0);
	/* fixed once they are agreed on */
	set_features(&d, VIRTIO_F_VERSION_1);
	g_assert_true(virtio_has(&e->virtio, F_ECHO));
	for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
		vdrv_reset(&d);
		vdrv_common_write(&d, COMMON_STATUS, 1, 3);
		set_features(&d, bad[i]);
		vdrv_common_write(&d, COMMON_STATUS, 1, 11);
		g_assert_cmpuint(vdrv_status(&d), ==, 3);
		vdrv_common_write(&d, COMMON_STATUS, 1, 7);
		g_assert_cmpuint(vdrv_status(&d), ==, 3);
	}
	vdrv_reset(&d);
	vdrv_common_write(&d, COMMON_STATUS, 1, 3);
	set_features(&d, VIRTIO_F_VERSION_1 | F_ECHO | F_PART);
	vdrv_common_write(&d, COMMON_STATUS, 1, 11);
	g_assert_cmpuint(vdrv_status(&d), ==, 11);
	fake_free(f);
}

/* <driver iommu='on'>: there is none, so the addresses are what they are. */
static void test_platform(void)
{
	static struct echo_config config = { .driver.iommu = ONOFF_ON };
	struct echo *e;
	struct fake *f = machine(&e, &config);
	struct vdrv d;

	for (unsigned i = 0; i < 2; i++) {      /* a driver that does not know of it is served all the same */
		open_all(&d, f, e, i ? VIRTIO_F_ACCESS_PLATFORM : 0, true);
		g_assert_true(d.offered & VIRTIO_F_ACCESS_PLATFORM);
		g_assert_cmpint(virtio_has(&e->virtio, VIRTIO_F_ACCESS_PLATFORM), ==, i);
		send(&d, 0, 0, 0x80000);
		vdrv_kick(&d, 0);
		expect(&d, 0, 0, 0x80000);
	}
	fake_free(f);
}

static void test_registers(void)
{
	struct echo *e;
	struct fake *f = machine(&e, NULL);
	struct vdrv d;

	vdrv_open(&d, f, &e->virtio.head.dev, F_ECHO, true);
	g_assert_cmphex(vdrv_common(&d, COMMON_QUEUES, 2), ==, 2);
	vdrv_common_write(&d, COMMON_QUEUE_SELECT, 2, 2);
	g_assert_cmphex(vdrv_common(&d, COMMON_QUEUE_SIZE, 2), ==, 0);
	vdrv_common_write(&d, COMMON_QUEUE_SIZE, 2, 16);
	vdrv_common_write(&d, COMMON_QUEUE_SELECT, 2, 1);
	g_assert_cmphex(vdrv_common(&d, COMMON_QUEUE_SIZE, 2), ==, 256);
	vdrv_common_write(&d, COMMON_QUEUE_SIZE, 2, 512);
	vdrv_common_write(&d, COMMON_QUEUE_SIZE, 2, 100);
	vdrv_common_write(&d, COMMON_QUEUE_SIZE, 2, 0);
	g_assert_cmphex(vdrv_common(&d, COMMON_QUEUE_SIZE, 2), ==, 256);
	vdrv_common_write(&d, COMMON_QUEUE_VECTOR, 2, 77);
	g_assert_cmphex(vdrv_common(&d, COMMON_QUEUE_VECTOR, 2), ==, 0xffff);
	vdrv_common_write(&d, COMMON_QUEUE_VECTOR, 2, 2);
	g_assert_cmphex(vdrv_common(&d, COMMON_QUEUE_VECTOR, 2), ==, 2);
	vdrv_common_write(&d, COMMON_QUEUE_DESC, 8, 0x123456789abcdef0);
	g_assert_cmphex(vdrv_common(&d, COMMON_QUEUE_DESC, 4), ==, 0x9abcdef0);
	g_assert_cmphex(vdrv_common(&d, COMMON_QUEUE_DESC + 4, 4), ==, 0x12345678);
	g_assert_cmphex(vdrv_common(&d, COMMON_QUEUE_DESC + 5, 1), ==, 0x56);
	/* widths that are not a register's own do nothing */
	vdrv_common_write(&d, COMMON_QUEUE_DESC, 2, 0xffff);
	vdrv_common_write(&d, COMMON_QUEUE_DESC + 2, 4, 0xffff);
	vdrv_common_write(&d, COMMON_STATUS, 4, 0);
	g_assert_cmphex(vdrv_common(&d, COMMON_QUEUE_DESC, 4), ==, 0x9abcdef0);
	g_assert_cmpuint(vdrv_status(&d), ==, 11);
	vdrv_queue(&d, 1, 8);
	vdrv_common_write(&d, COMMON_QUEUE_DESC, 4, 0);
	vdrv_common_write(&d, COMMON_QUEUE_ENABLE, 2, 0);
	g_assert_cmphex(vdrv_common(&d, COMMON_QUEUE_ENABLE, 2), ==, 1);
	g_assert_cmphex(vdrv_common(&d, COMMON_QUEUE_DESC, 4), ==, d.rings[1].desc);
	/* its own registers */
	g_assert_cmphex(drv_mmio_read(f, d.space, 4), ==, 0x11223344);
	g_assert_cmphex(drv_mmio_read(f, d.space + 1, 2), ==, 0x2233);
	g_assert_cmphex(drv_mmio_read(f, d.space + 8, 4), ==, 0);
	drv_mmio_write(f, d.space, 4, 1);
	drv_mmio_write(f, d.space + 4, 4, 0xabcd);
	g_assert_cmphex(drv_mmio_read(f, d.space, 8), ==, 0xabcd11223344);
	fake_free(f);
}

static void test_changes(void)
{
	struct echo *e;
	struct fake *f = machine(&e, NULL);
	struct vdrv d;
	unsigned before;

	open_all(&d, f, e, 0, true);
	before = (unsigned)vdrv_common(&d, COMMON_GENERATION, 1);
	g_mutex_lock(&e->virtio.head.dev.lock);
	e->space[0] = 5;
	virtio_changed(&e->virtio);
	g_mutex_unlock(&e->virtio.head.dev.lock);
	g_assert_cmpuint(vdrv_common(&d, COMMON_GENERATION, 1), !=, before);
	g_assert_cmpuint(f->msis_of[d.devfn][0], ==, 1);
	fake_free(f);
}

/* Everything can be reached through the window in config space as well. */
static void test_window(void)
{
	struct echo *e;
	struct fake *f = machine(&e, NULL);
	struct vdrv d;
	unsigned at;

	open_all(&d, f, e, 0, true);
	at = e->virtio.access_cap;
	g_assert_cmphex(vdrv_config_read(&d, at + 3, 1), ==, VIRTIO_CAP_WINDOW);
	vdrv_config_write(&d, at + 4, 1, 0);
	vdrv_config_write(&d, at + 8, 4, VIRTIO_BAR_COMMON + COMMON_STATUS);
	vdrv_config_write(&d, at + 12, 4, 1);
	g_assert_cmphex(vdrv_config_read(&d, at + 16, 1), ==, 15);
	vdrv_config_write(&d, at + 8, 4, VIRTIO_BAR_DEVICE + 4);
	vdrv_config_write(&d, at + 12, 4, 4);
	vdrv_config_write(&d, at + 16, 4, 0x5555);
	g_assert_cmphex(e->space[1], ==, 0x5555);
	/* nonsense reaches nothing */
	vdrv_config_write(&d, at + 4, 1, 3);
	vdrv_config_write(&d, at + 16, 4, 0x6666);
	vdrv_config_write(&d, at + 4, 1, 0);
	vdrv_config_write(&d, at + 8, 4, 0xfffffffc);
	vdrv_config_write(&d, at + 16, 4, 0x6666);
	vdrv_config_write(&d, at + 12, 4, 3);
	vdrv_config_write(&d, at + 16, 4, 0x6666);
	g_assert_cmphex(e->space[1], ==, 0x5555);
	fake_free(f);
}

/* --- resets --- */

static void test_reset_in_request(void)
{
	for (unsigned drains = 0; drains < 2; drains++) {
		struct echo *e;
		struct fake *f = machine(&e, NULL);
		struct vdrv d;
		uint64_t at;
		uint8_t byte = 0;

		e->lazy = true;
		e->drains = drains;
		open_all(&d, f, e, F_ALL, true);
		at = vdrv_alloc(&d, 256);
		send(&d, 0, 0, at);
		vdrv_kick(&d, 0);
		g_assert_nonnull(e->held[0]);
		vdrv_common_write(&d, COMMON_STATUS, 1, 0);
		/* not done before what is in flight is; until then registers do not listen */
		g_assert_cmpuint(vdrv_status(&d), ==, 15);
		vdrv_common_write(&d, COMMON_STATUS, 1, 1);
		g_assert_cmpuint(vdrv_status(&d), ==, 15);
		fake_step(f);
		g_assert_cmpuint(vdrv_status(&d), ==, 0);
		g_assert_cmpuint(e->served, ==, drains);
		/* what is finished later reaches nobody */
		ram_write(&f->vm.ram, at + 128, &byte, 1);
		finish_held(e);
		g_assert_true(ram_read(&f->vm.ram, at + 128, &byte, 1));
		g_assert_cmpuint(byte, ==, 0);
		e->lazy = false;
		open_all(&d, f, e, F_ALL, true);
		send(&d, 0, 1, at);
		vdrv_kick(&d, 0);
		expect(&d, 0, 1, at);
		/* the same by the machine, and by function level reset */
		e->lazy = true;
		send(&d, 0, 2, at);
		vdrv_kick(&d, 0);
		vdrv_config_write(&d, e->virtio.head.pci.express + 8, 2, 0x8000);
		fake_step(f);
		open_all(&d, f, e, 0, false);
		send(&d, 0, 3, at);
		vdrv_kick(&d, 0);
		devices_reset(&f->vm);
		fake_step(f);
		finish_held(e);
		e->lazy = false;
		open_all(&d, f, e, F_ALL, true);
		send(&d, 0, 4, at);
		vdrv_kick(&d, 0);
		expect(&d, 0, 4, at);
		fake_free(f);
	}
}

static void test_queue_reset(void)
{
	struct echo *e;
	struct fake *f = machine(&e, NULL);
	struct vdrv d;
	uint64_t at;

	e->lazy = e->drains = true;
	open_all(&d, f, e, F_ALL, true);
	at = vdrv_alloc(&d, 512);
	send(&d, 0, 0, at);
	vdrv_kick(&d, 0);
	vdrv_common_write(&d, COMMON_QUEUE_SELECT, 2, 0);
	vdrv_common_write(&d, COMMON_QUEUE_RESET, 2, 1);
	g_assert_cmpuint(vdrv_common(&d, COMMON_QUEUE_RESET, 2), ==, 1);
	fake_step(f);
	g_assert_cmpuint(vdrv_common(&d, COMMON_QUEUE_RESET, 2), ==, 0);
	g_assert_cmpuint(vdrv_common(&d, COMMON_QUEUE_ENABLE, 2), ==, 0);
	g_assert_cmpuint(vdrv_common(&d, COMMON_QUEUE_VECTOR, 2), ==, 0xffff);
	e->lazy = false;
	/* the other goes on, and this one can be had again */
	send(&d, 1, 1, at);
	vdrv_kick(&d, 1);
	expect(&d, 1, 1, at);
	vdrv_queue(&d, 0, 8);
	send(&d, 0, 2, at);
	vdrv_kick(&d, 0);
	expect(&d, 0, 2, at);
	g_assert_cmpuint(e->virtio.head.dev.guest_errors, ==, 0);
	fake_free(f);
}

/* --- pause, save, load --- */

static void test_pause(void)
{
	struct echo *e;
	struct fake *f = machine(&e, NULL);
	struct vdrv d;
	uint64_t at;

	open_all(&d, f, e, F_ALL, true);
	at = vdrv_alloc(&d, 512);
	fake_pause(f);
	send(&d, 0, 0, at);
	vdrv_kick(&d, 0);
	g_assert_cmpuint(e->served, ==, 0);
	fake_resume(f);
	g_assert_cmpuint(e->served, ==, 1);
	expect(&d, 0, 0, at);
	/* what is in flight ends before the pause counts */
	e->lazy = e->drains = true;
	send(&d, 0, 1, at);
	vdrv_kick(&d, 0);
	fake_pause(f);
	expect(&d, 0, 1, at);
	fake_resume(f);
	/* a reset under way, too */
	send(&d, 0, 2, at);
	vdrv_kick(&d, 0);
	vdrv_common_write(&d, COMMON_STATUS, 1, 0);
	fake_pause(f);
	g_assert_cmpuint(vdrv_status(&d), ==, 0);
	fake_resume(f);
	fake_free(f);
}

static void test_master(void)
{
	struct echo *e;
	struct fake *f = machine(&e, NULL);
	struct vdrv d;
	uint64_t at;

	open_all(&d, f, e, F_ALL, true);
	at = vdrv_alloc(&d, 256);
	vdrv_config_write(&d, 4, 2, 2);
	send(&d, 0, 0, at);
	vdrv_kick(&d, 0);
	g_assert_cmpuint(e->served, ==, 0);
	vdrv_config_write(&d, 4, 2, 6);
	fake_step(f);
	expect(&d, 0, 0, at);
	fake_free(f);
}

/* Saved with requests popped and not finished, some with many segments: the other machine finishes them. */
static void test_move(void)
{
	for (unsigned kind = 0; kind < 16; kind++) {
		uint64_t features = (kind & 1 ? VIRTIO_F_INDIRECT_DESC : 0) | (kind & 2 ? VIRTIO_F_EVENT_IDX : 0) |
			(kind & 4 ? VIRTIO_F_RING_PACKED : 0);
		struct echo *a, *b;
		struct fake *f = machine(&a, NULL), *g = machine(&b, NULL);
		struct vdrv d;
		uint64_t at;
		unsigned n = 0, seen = 0;
		uint32_t len;

		open_all(&d, f, a, features, kind & 8);
		at = vdrv_alloc(&d, 4096);
		for (unsigned i = 0; i < 21; i++) {
			send(&d, 0, 100, at);
			vdrv_kick(&d, 0);
			expect(&d, 0, 100, at);
			(void)vdrv_interrupts(&d, 0);
		}
		a->lazy = true;
		for (; n < 4; n++)
			send(&d, 0, n, at + 256 * n);
		vdrv_kick(&d, 0);
		/* one of them is finished out of order, and one more is only offered */
		for (unsigned i = 1; i < 2; i++) {
			struct chain *c = a->held[i];

			a->held[i] = NULL;
			finish(a, c->q, c);
			g_free(c);
		}
		fake_pause(f);
		send(&d, 0, n, at + 256 * n);
		n++;
		(void)vring_wants_kick(&d.rings[0]);
		fake_pause(g);
		fake_move(f, g);
		vdrv_move(&d, g);
		fake_free(f);
		fake_resume(g);
		g_assert_cmpuint(vdrv_interrupts(&d, 0), >=, 1);
		for (int *t; (t = vring_take(&d.rings[0], &len)); seen++) {
			unsigned i = (unsigned)(t - tokens);
			uint8_t byte;

			g_assert_cmpuint(len, ==, 100);
			g_assert_true(ram_read(&g->vm.ram, at + 256 * i + 128, &byte, 1));
			g_assert_cmpuint(byte, ==, 'a' + i);
		}
		g_assert_cmpuint(seen, ==, n);
		send(&d, 0, 200, at);
		vdrv_kick(&d, 0);
		expect(&d, 0, 200, at);
		g_assert_cmpuint(b->virtio.head.dev.guest_errors, ==, 0);
		fake_free(g);
	}
}

static void test_needs_reset(void)
{
	struct echo *e;
	struct fake *f = machine(&e, NULL);
	struct vdrv d;
	uint16_t index = 1000;
	uint64_t at;

	open_all(&d, f, e, 0, true);
	at = vdrv_alloc(&d, 256);
	g_assert_true(ram_write(&f->vm.ram, d.rings[0].driver + 2, &index, 2));
	drv_mmio_write(f, d.notify, 2, 0);
	fake_step(f);
	g_assert_cmpuint(vdrv_status(&d), ==, 15 | VIRTIO_NEEDS_RESET);
	g_assert_cmpuint(f->msis_of[d.devfn][0], ==, 1);
	g_assert_cmpuint(e->virtio.head.dev.guest_errors, ==, 1);
	send(&d, 1, 0, at);
	vdrv_kick(&d, 1);
	g_assert_cmpuint(e->served, ==, 0);
	/* it stays so over a move, and until the reset */
	vdrv_common_write(&d, COMMON_STATUS, 1, 15);
	g_assert_cmpuint(vdrv_status(&d), ==, 15 | VIRTIO_NEEDS_RESET);
	vdrv_reset(&d);
	open_all(&d, f, e, 0, true);
	send(&d, 1, 0, at);
	vdrv_kick(&d, 1);
	expect(&d, 1, 0, at);
	fake_free(f);
}

/* A queue whose place cannot be: broken here, and there after a move. */
static void test_bad_place(void)
{
	struct echo *a, *b;
	struct fake *f = machine(&a, NULL), *g = machine(&b, NULL);
	struct vdrv d;

	vdrv_open(&d, f, &a->virtio.head.dev, 0, true);
	vdrv_queue(&d, 0, 16);
	vdrv_common_write(&d, COMMON_QUEUE_SELECT, 2, 1);
	vdrv_common_write(&d, COMMON_QUEUE_DESC, 8, FAKE_RAM);
	vdrv_common_write(&d, COMMON_QUEUE_ENABLE, 2, 1);
	vdrv_go(&d);
	g_assert_cmpuint(vdrv_status(&d), ==, 15 | VIRTIO_NEEDS_RESET);
	fake_pause(f);
	fake_pause(g);
	fake_move(f, g);
	vdrv_move(&d, g);
	fake_free(f);
	fake_resume(g);
	g_assert_cmpuint(vdrv_status(&d), ==, 15 | VIRTIO_NEEDS_RESET);
	vdrv_reset(&d);
	fake_free(g);
}

static void play_host(struct fake *f, GRand *r)
{
	struct echo *e = (struct echo *)device_find(&f->vm, "echo");

	e->lazy = g_rand_boolean(r);
	e->drains = g_rand_boolean(r);
	if (g_rand_boolean(r))
		finish_held(e);
}

static void test_hostile(void)
{
	struct echo *e;
	struct fake *f = machine(&e, &paged);
	struct device *other = fake_add(f, "virtio-rng", "{'model':'virtio','backend':{'model':'builtin'}}");
	struct vdrv d;
	struct vseg s = { 0x8000, 64 };
	uint32_t len = 0;

	vhostile(f, &e->virtio.head.dev, 2, vhostile_rounds(), 1, play_host);
	g_test_message("%u requests served, %u resets, %lu errors of the guest", e->served, e->resets, (unsigned long)e->virtio.head.dev.guest_errors);
	finish_held(e);
	vdrv_open(&d, f, other, 0, true);
	vdrv_queue(&d, 0, 8);
	vdrv_go(&d);
	g_assert_true(vring_add(&d.rings[0], &s, 0, 1, &s));
	vdrv_kick(&d, 0);
	g_assert_true(vring_take(&d.rings[0], &len) == &s);
	g_assert_cmpuint(len, ==, 64);
	fake_free(f);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/virtio/kinds", test_kinds);
	g_test_add_func("/virtio/features", test_features);
	g_test_add_func("/virtio/platform", test_platform);
	g_test_add_func("/virtio/registers", test_registers);
	g_test_add_func("/virtio/changes", test_changes);
	g_test_add_func("/virtio/window", test_window);
	g_test_add_func("/virtio/reset-in-request", test_reset_in_request);
	g_test_add_func("/virtio/queue-reset", test_queue_reset);
	g_test_add_func("/virtio/pause", test_pause);
	g_test_add_func("/virtio/master", test_master);
	g_test_add_func("/virtio/move", test_move);
	g_test_add_func("/virtio/needs-reset", test_needs_reset);
	g_test_add_func("/virtio/bad-place", test_bad_place);
	g_test_add_func("/virtio/hostile", test_hostile);
	return g_test_run();
}
