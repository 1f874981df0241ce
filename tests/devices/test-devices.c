/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What holds for every device of the list: accesses of any kind do no harm, reset makes it as new,
 * state survives saving and loading, damaged state is refused or does no harm.
 */
#include <string.h>

#include "devices/serial.h"
#include "domain/error.h"
#include "domain/state.h"
#include "domain/machine.h"
#include "tests/fake/driver.h"

#define ACCESSES 10000

static const struct machine_test exit_config = { .exit_port = 0xf4 };

/* What a battery keeps over a reset. */
static const char *const kept[] = { "offset", "seen", NULL };

/* What a device cannot do without. */
static const char *config_of(const char *type)
{
	static const struct { const char *type, *json; } rows[] = {
		{ "virtio-balloon", "{'model':'virtio','free_page_reporting':'on','driver':{'packed':'on'}}" },
		{ "virtio-console", "{'type':'virtio-serial','index':0,'ports':4}" },
		{ "virtio-mem", "{'model':'virtio-mem','target':{'size':16777216,'block':1048576,'requested':4194304}}" },
		{ "virtio-rng", "{'model':'virtio','backend':{'model':'builtin'}}" },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++)
		if (!strcmp(rows[i].type, type))
			return rows[i].json;
	return NULL;
}

/* A machine with one device of each type. */
static struct fake *all_devices(void)
{
	struct fake *f = fake_vm();

	for (const struct device_ops *const *ops = device_list; *ops; ops++) {
		if (!strcmp((*ops)->name, "virtio-net") || !strcmp((*ops)->name, "virtio-blk"))
			continue;       /* cannot be without a host side: test-virtio_net.c, test-virtio_blk.c */
		if (!strcmp((*ops)->name, "test-exit"))
			g_assert_nonnull(fake_try(f, (*ops)->name, (void *)&exit_config, NULL));
		else
			fake_add(f, (*ops)->name, config_of((*ops)->name));
	}
	return f;
}

static uint16_t random_port(GRand *r)
{
	static const struct { uint16_t base, n; } where[] = {
		{ 0x3f8, 8 }, { 0x70, 2 }, { 0x60, 8 }, { 0x92, 1 }, { 0x600, 12 }, { 0x620, 4 }, { 0x505, 1 }, { 0xf4, 1 }, { 0xaf00, 16 }, { 0xcf8, 8 },
	};
	unsigned i = (unsigned)g_rand_int_range(r, 0, G_N_ELEMENTS(where));

	return (uint16_t)(where[i].base + (unsigned)g_rand_int_range(r, -2, where[i].n + 2));
}

static void play(struct fake *f, GRand *r, unsigned n, bool time)
{
	static const unsigned sizes[] = { 1, 1, 1, 2, 4, 8 };

	while (n--) {
		unsigned size = sizes[g_rand_int_range(r, 0, G_N_ELEMENTS(sizes))];
		uint64_t value = (uint64_t)g_rand_int(r) << 32 | g_rand_int(r);
		uint16_t port = random_port(r);

		if (g_rand_boolean(r))
			drv_in(f, port, size);
		else
			drv_out(f, port, size, value);
		f->requests_n = 0;
		if (time && !g_rand_int_range(r, 0, 50))
			fake_pass(f, g_rand_int_range(r, 0, 2000000000));
	}
}

static void test_list(void)
{
	unsigned n = 0;

	for (const struct device_ops *const *ops = device_list; *ops; ops++, n++) {
		g_assert_true(device_type((*ops)->name) == *ops);
		g_assert_cmpuint(strlen((*ops)->doc), >, 10);
		g_assert_nonnull((*ops)->state);
		for (unsigned i = 0; i < n; i++)
			g_assert_cmpstr(device_list[i]->name, !=, (*ops)->name);
		for (const struct field *f = (*ops)->state->fields; f->name; f++)
			g_assert_cmpuint(strlen(f->doc), >, 3);
	}
	g_assert_cmpuint(n, >=, 6);
	g_assert_null(device_type("flux-capacitor"));
}

static void test_reset_is_fresh(void)
{
	for (unsigned seed = 0; seed < 5; seed++) {
		GRand *r = g_rand_new_with_seed(seed);
		struct fake *f = all_devices(), *fresh = all_devices();

		play(f, r, ACCESSES, false);
		devices_reset(&f->vm);
		for (unsigned i = 0; i < f->vm.devices->len; i++) {
			g_autofree char *a = fake_state_text(f->vm.devices->pdata[i], kept);
			g_autofree char *b = fake_state_text(fresh->vm.devices->pdata[i], kept);

			g_assert_cmpstr(a, ==, b);
		}
		for (unsigned gsi = 0; gsi < IRQ_LINES; gsi++)
			g_assert_cmpint(f->level[gsi], ==, 0);
		g_rand_free(r);
		fake_free(f);
		fake_free(fresh);
	}
}

static void test_any_access(void)
{
	GRand *r = g_rand_new_with_seed(99);
	struct fake *f = all_devices();

	for (unsigned i = 0; i < 5; i++) {
		play(f, r, ACCESSES, true);
		fake_pause(f);
		fake_resume(f);
	}
	g_rand_free(r);
	fake_free(f);
}

static GByteArray *save_all(struct fake *f)
{
	GByteArray *out = g_byte_array_new();

	devices_save(&f->vm, out);
	return out;
}

static bool load_all(struct fake *f, const uint8_t *data, size_t len, GError **err)
{
	return devices_load(&f->vm, &data, &len, err) && !len;
}

/* Save, load into another machine, save: equal; and the lines are as they were. */
static void test_move(void)
{
	GRand *r = g_rand_new_with_seed(5);

	for (unsigned round = 0; round < 40; round++) {
		struct fake *a = all_devices(), *b = all_devices();
		GByteArray *from, *to;
		GError *err = NULL;

		play(a, r, 500, true);
		fake_pause(a);
		clock_stop(b->clock);
		clock_step(b->clock, clock_now(a->clock, CLOCK_HOST));
		clock_set_guest(b->clock, clock_now(a->clock, CLOCK_GUEST));
		from = save_all(a);
		load_all(b, from->data, from->len, &err);
		g_assert_no_error(err);
		to = save_all(b);
		g_assert_cmpmem(to->data, to->len, from->data, from->len);
		g_assert_cmpmem(a->level, sizeof(a->level), b->level, sizeof(b->level));
		fake_resume(b);
		play(b, r, 500, true);
		g_byte_array_unref(from);
		g_byte_array_unref(to);
		fake_free(a);
		fake_free(b);
	}
	g_rand_free(r);
}

static void test_damage(void)
{
	GRand *r = g_rand_new_with_seed(6);
	struct fake *a = all_devices(), *b = all_devices();
	GByteArray *state;

	play(a, r, 1000, true);
	fake_pause(a);
	state = save_all(a);
	for (unsigned n = 0; n < state->len; n += 1 + n / 64)
		g_assert_false(load_all(b, state->data, n, NULL));
	for (unsigned i = 0; i < 500; i++) {
		unsigned bit = (unsigned)g_rand_int_range(r, 0, (gint32)state->len * 8);

		state->data[bit / 8] ^= (guint8)(1 << bit % 8);
		g_assert_false(load_all(b, state->data, state->len, NULL));
		state->data[bit / 8] ^= (guint8)(1 << bit % 8);
		play(b, r, 20, true);
	}
	g_byte_array_unref(state);
	fake_free(a);
	fake_free(b);
	g_rand_free(r);
}

static bool is_header(const struct field *f)
{
	return f->off < sizeof(struct device);
}

/* State that is well-formed and nonsense: every field any value within its bounds. Refused by the device, or it goes on. */
static void test_nonsense(void)
{
	GRand *r = g_rand_new_with_seed(8);

	for (unsigned round = 0; round < 300; round++) {
		struct fake *f = all_devices();

		for (unsigned i = 0; i < f->vm.devices->len; i++) {
			struct device *d = f->vm.devices->pdata[i];
			const struct schema *s = d->ops->state;
			struct schema plain = *s;
			void *obj = g_malloc0(MAX(s->size, 1));
			GByteArray *state = fake_save(d), *body = g_byte_array_new();
			const uint8_t *p;
			size_t head;
			GError *err = NULL;

			plain.pre_save = NULL;
			for (const struct field *fl = s->fields; fl->name; fl++) {
				g_assert_false(is_header(fl));
				if (fl->kind->random && g_rand_boolean(r))
					fl->kind->random(fl, field_at(fl, obj), r);
			}
			/* the section's head is what a fresh device's section has before its own struct */
			state_save(s, d, body);
			head = state->len - body->len;
			g_byte_array_set_size(state, (guint)head);
			g_byte_array_set_size(body, 0);
			state_save(&plain, obj, body);
			g_byte_array_append(state, body->data, body->len);
			p = state->data;
			head = state->len;
			if (!device_load(d, &p, &head, &err))
				g_assert_error(err, kerr_quark(), KERR_STATE_DATA);
			g_clear_error(&err);
			for (const struct field *fl = s->fields; fl->name; fl++)
				if (fl->kind->clear)
					fl->kind->clear(fl, field_at(fl, obj));
			g_free(obj);
			g_byte_array_unref(state);
			g_byte_array_unref(body);
		}
		play(f, r, 200, true);
		fake_free(f);
	}
	g_rand_free(r);
}

/* A device may come and go any number of times: nothing is left behind. */
static void test_come_and_go(void)
{
	struct fake *f = all_devices();

	for (unsigned i = 0; i < 200; i++) {
		while (f->vm.devices->len)
			device_free(f->vm.devices->pdata[f->vm.devices->len - 1]);
		for (uint32_t port = 0; port < 0x800; port++)
			g_assert_cmphex(drv_inb(f, (uint16_t)port), ==, 0xff);
		fake_add(f, "serial", NULL);
		fake_add(f, "rtc", NULL);
		fake_add(f, "acpi-pm", NULL);
		fake_add(f, "i8042", NULL);
		drv_outb(f, 0x3f8, 'x');
		if (i % 2)
			fake_step(f);
	}
	fake_free(f);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/devices/list", test_list);
	g_test_add_func("/devices/reset-is-fresh", test_reset_is_fresh);
	g_test_add_func("/devices/any-access", test_any_access);
	g_test_add_func("/devices/move", test_move);
	g_test_add_func("/devices/damage", test_damage);
	g_test_add_func("/devices/nonsense", test_nonsense);
	g_test_add_func("/devices/come-and-go", test_come_and_go);
	return g_test_run();
}
