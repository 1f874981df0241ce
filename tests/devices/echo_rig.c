/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/devices/echo_rig.h"

#include <string.h>

#include "devices/list.h"

static const struct field echo_config_fields[] = {
	STRUCT(struct echo_config, driver, "driver", virtio_driver_schema, 0, "how it is served"),
	STRUCT(struct echo_config, address, "address", address_schema, 0, "where it is"),
	END
};
static const struct schema echo_schema = { .name = "echo", .doc = "an echo", .version = 1, .size = sizeof(struct echo_config),
	.fields = echo_config_fields };

void echo_finish(struct echo *e, struct virtq *q, struct chain *c)
{
	uint8_t buf[256];
	size_t n;

	while ((n = chain_read(c, buf, sizeof(buf))) > 0)
		(void)chain_write(c, buf, n);
	virtq_push(q, c, c->written);
	e->served++;
}

void echo_finish_held(struct echo *e)
{
	for (unsigned i = 0; i < HELD; i++) {
		struct chain *c = e->held[i];
		struct virtq *q = c ? c->q : NULL;

		if (!c)
			continue;
		e->held[i] = NULL;
		echo_finish(e, q ? q : &e->virtio.queues[0].q, c);
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
		echo_finish(e, q, c);
		g_free(c);
	}
}

static gboolean drained(gpointer arg)
{
	struct { struct echo *e; struct done *done; } *p = arg;

	echo_finish_held(p->e);
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
	echo_finish_held((struct echo *)v);
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

struct echo_config echo_packed = { .driver.packed = ONOFF_ON }, echo_paged = { .driver.page_per_vq = ONOFF_ON, .driver.packed = ONOFF_ON };

static struct echo *add_echo(struct fake *f, struct echo_config *config)
{
	struct device *d = device_new(&f->vm, &virtio_echo_ops, "echo", config);

	g_assert_true(device_realize(d, f->fds, NULL));
	return (struct echo *)d;
}

struct fake *echo_machine(struct echo **e, struct echo_config *config)
{
	struct fake *f = fake_vm();

	fake_add(f, "pci-host", NULL);
	*e = add_echo(f, config ? config : &echo_packed);
	return f;
}

int echo_tokens[512];

void echo_send(struct vdrv *d, unsigned q, unsigned i, uint64_t at)
{
	struct vseg s[2] = { { at, 100 }, { at + 128, 100 } };
	uint8_t text[100];

	memset(text, 'a' + (int)(i % 26), sizeof(text));
	g_assert_true(ram_write(&d->f->vm.ram, at, text, sizeof(text)));
	g_assert_true(vring_add(&d->rings[q], s, 1, 1, &echo_tokens[i]));
}

void echo_expect(struct vdrv *d, unsigned q, unsigned i, uint64_t at)
{
	uint32_t len = 0;
	uint8_t text[100];

	g_assert_true(vring_take(&d->rings[q], &len) == &echo_tokens[i]);
	g_assert_cmpuint(len, ==, 100);
	g_assert_true(ram_read(&d->f->vm.ram, at + 128, text, sizeof(text)));
	for (unsigned k = 0; k < sizeof(text); k++)
		g_assert_cmpuint(text[k], ==, 'a' + i % 26);
}

void echo_open(struct vdrv *d, struct fake *f, struct echo *e, uint64_t features, bool msix)
{
	vdrv_open(d, f, &e->virtio.head.dev, features, msix);
	vdrv_queue(d, 0, 16);
	vdrv_queue(d, 1, 8);
	vdrv_go(d);
	g_assert_cmpuint(vdrv_status(d), ==, 15);
}
