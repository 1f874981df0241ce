/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lifecycle and saving, with device types of the test's own. */
#include <string.h>

#include "domain/error.h"
#include "tests/fake/driver.h"

struct probe {
	struct device dev;
	struct region region;
	uint32_t value, ticks;
	bool flag;
	GByteArray *bytes;
	/* what the core called */
	GString *log;
	struct done *pausing;
};

static struct probe *probe_of(struct device *d)
{
	return (struct probe *)d;
}

static uint64_t probe_read(struct device *d, uint64_t offset, unsigned size)
{
	g_assert_false(g_mutex_trylock(&d->lock));
	return probe_of(d)->value;
}

static void probe_write(struct device *d, uint64_t offset, unsigned size, uint64_t value)
{
	g_assert_false(g_mutex_trylock(&d->lock));
	if (value > 1000)
		guest_error(d, "%u is too much", (unsigned)value);
	else
		probe_of(d)->value = (uint32_t)value;
}

static const struct region_ops probe_regs = { .read = probe_read, .write = probe_write };

static bool probe_realize(struct device *d, struct fdset *fds, GError **err)
{
	const char *config = d->config;

	probe_of(d)->log = g_string_new("realize ");
	if (!device_map_pio(d, &probe_of(d)->region, &probe_regs, "probe", 0x100, 4, err))
		return false;
	return !config || kerr_set(err, KERR_ARGS, "%s", config);
}

static void probe_unrealize(struct device *d)
{
	bus_unmap(&probe_of(d)->region);
	g_clear_pointer(&probe_of(d)->bytes, g_byte_array_unref);
	g_string_free(probe_of(d)->log, TRUE);
}

static void probe_reset(struct device *d)
{
	g_string_append(probe_of(d)->log, "reset ");
	probe_of(d)->value = 7;
	probe_of(d)->ticks = 0;
	probe_of(d)->flag = false;
	g_clear_pointer(&probe_of(d)->bytes, g_byte_array_unref);
}

static void probe_pause(struct device *d, struct done *done)
{
	g_string_append(probe_of(d)->log, "pause ");
	done_begin(done);
	probe_of(d)->pausing = done;
}

static void probe_resume(struct device *d)
{
	g_string_append(probe_of(d)->log, "resume ");
}

static bool probe_post_load(void *obj, GError **err)
{
	struct probe *p = obj;

	if (p->ticks == 666)
		return kerr_set(err, KERR_STATE_DATA, "bad omen");
	g_string_append(p->log, "loaded ");
	return true;
}

static const struct field probe_fields[] = {
	U32(struct probe, value, NULL, 0, 1000, 0, "a register", .def = 7),
	U32(struct probe, ticks, NULL, 0, 1000, 0, "a counter"),
	FLAG(struct probe, flag, NULL, 0, "a bit"),
	BYTES(struct probe, bytes, NULL, 8, 0, "a buffer"),
	END
};
static const struct schema probe_state = { .name = "probe", .doc = "of the test", .version = 1,
	.size = sizeof(struct probe), .fields = probe_fields, .post_load = probe_post_load };

static const struct device_ops probe_ops = {
	.name = "probe",
	.doc = "for tests",
	.size = sizeof(struct probe),
	.state = &probe_state,
	.realize = probe_realize,
	.unrealize = probe_unrealize,
	.reset = probe_reset,
	.pause = probe_pause,
	.resume = probe_resume,
};
static const struct device_ops plain_ops = { .name = "plain", .doc = "for tests", .size = sizeof(struct device),
	.state = &no_state };

static struct device *probe(struct fake *f)
{
	struct device *d = device_new(&f->vm, &probe_ops, "p", NULL);

	g_assert_true(device_realize(d, f->fds, NULL));
	return d;
}

static void test_life(void)
{
	struct fake *f = fake_vm();
	struct device *d = probe(f), *plain = device_new(&f->vm, &plain_ops, "q", NULL);

	g_assert_true(device_realize(plain, f->fds, NULL));
	g_assert_true(device_find(&f->vm, "p") == d);
	g_assert_null(device_find(&f->vm, "x"));
	g_assert_cmpuint(drv_in(f, 0x100, 4), ==, 7);
	drv_out(f, 0x100, 4, 8);
	g_assert_cmpuint(drv_in(f, 0x100, 4), ==, 8);
	drv_out(f, 0x100, 4, 1001);
	drv_out(f, 0x100, 4, 1002);
	g_assert_cmpuint(d->guest_errors, ==, 2);
	devices_reset(&f->vm);
	g_assert_cmpuint(drv_in(f, 0x100, 4), ==, 7);
	g_assert_cmpstr(probe_of(d)->log->str, ==, "realize reset reset ");
	device_free(plain);
	device_free(NULL);
	g_assert_null(device_find(&f->vm, "q"));
	fake_free(f);
}

static void test_realize_fails(void)
{
	struct fake *f = fake_vm();
	struct device *d = device_new(&f->vm, &probe_ops, "p", (char *)"no luck");
	GError *err = NULL;

	g_assert_false(device_realize(d, f->fds, &err));
	g_assert_error(err, kerr_quark(), KERR_ARGS);
	g_assert_cmpstr(err->message, ==, "device 'p': no luck");
	g_clear_error(&err);
	g_assert_cmphex(drv_in(f, 0x100, 4), ==, 0xffffffff);  /* nothing stays behind */
	device_free(d);
	g_assert_cmpuint(f->vm.devices->len, ==, 0);
	fake_free(f);
}

static void note_done(struct done *d, int result)
{
	*(int *)d->arg = result + 1;
}

static void test_pause(void)
{
	struct fake *f = fake_vm();
	struct device *d = probe(f);
	int said = 0;
	struct done done = { .fn = note_done, .arg = &said };

	devices_pause(&f->vm, &done);
	fake_step(f);
	g_assert_cmpint(said, ==, 0);           /* something is in flight */
	g_assert_cmpint(d->state, ==, DEVICE_PAUSED);
	done_end(probe_of(d)->pausing, 0);
	g_assert_cmpint(said, ==, 0);           /* by a post, never at once */
	fake_step(f);
	g_assert_cmpint(said, ==, 1);
	devices_resume(&f->vm);
	devices_resume(&f->vm);
	g_assert_cmpstr(probe_of(d)->log->str, ==, "realize reset pause resume ");
	/* a part that failed */
	said = 0;
	done = (struct done){ .fn = note_done, .arg = &said };
	devices_pause(&f->vm, &done);
	done_end(probe_of(d)->pausing, -5);
	fake_step(f);
	g_assert_cmpint(said, ==, -4);
	fake_free(f);
}

static GByteArray *save_all(struct fake *f)
{
	GByteArray *out = g_byte_array_new();

	devices_save(&f->vm, out);
	return out;
}

static bool load_all(struct fake *f, GByteArray *state, GError **err)
{
	const uint8_t *p = state->data;
	size_t n = state->len;

	return devices_load(&f->vm, &p, &n, err) && !n;
}

static void test_state(void)
{
	struct fake *a = fake_vm(), *b = fake_vm();
	struct probe *from = probe_of(probe(a)), *to = probe_of(probe(b));
	GByteArray *fresh, *state, *again;
	GError *err = NULL;

	fresh = save_all(a);
	from->value = 0;                /* not its default */
	from->ticks = 9;
	from->bytes = g_byte_array_append(g_byte_array_new(), (const guint8 *)"xyz", 3);
	state = save_all(a);
	to->value = 33;
	to->flag = true;                /* not sent: must become its default */
	load_all(b, state, &err);
	g_assert_no_error(err);
	g_assert_cmpuint(to->value, ==, 0);
	g_assert_cmpuint(to->ticks, ==, 9);
	g_assert_false(to->flag);
	g_assert_cmpmem(to->bytes->data, to->bytes->len, "xyz", 3);
	g_assert_nonnull(strstr(to->log->str, "loaded"));
	again = save_all(b);
	g_assert_cmpmem(again->data, again->len, state->data, state->len);
	g_byte_array_unref(again);
	/* what its own check refuses leaves a fresh device */
	from->ticks = 666;
	g_byte_array_unref(state);
	state = save_all(a);
	g_assert_false(load_all(b, state, &err));
	g_assert_error(err, kerr_quark(), KERR_STATE_DATA);
	g_assert_cmpstr(err->message, ==, "device 'p': probe: bad omen");
	g_clear_error(&err);
	again = save_all(b);
	g_assert_cmpmem(again->data, again->len, fresh->data, fresh->len);
	g_byte_array_unref(again);
	g_byte_array_unref(fresh);
	g_byte_array_unref(state);
	fake_free(a);
	fake_free(b);
}

/* Missing, surplus, of another type: refused by name. */
static void test_mismatch(void)
{
	struct fake *a = fake_vm(), *b = fake_vm();
	struct device *d = probe(a), *q;
	GByteArray *one = save_all(a), *two;
	GError *err = NULL;

	g_assert_false(load_all(b, one, &err));
	g_assert_cmpstr(err->message, ==, "the saved state has a device 'p' which this machine has not");
	g_clear_error(&err);
	q = device_new(&b->vm, &plain_ops, "p", NULL);
	g_assert_true(device_realize(q, b->fds, NULL));
	g_assert_false(load_all(b, one, &err));
	g_assert_cmpstr(err->message, ==, "device 'p' is 'plain' here and 'probe' in the saved state");
	g_clear_error(&err);
	device_free(q);
	probe(b);
	q = device_new(&b->vm, &plain_ops, "q", NULL);
	g_assert_true(device_realize(q, b->fds, NULL));
	g_assert_false(load_all(b, one, &err));
	g_assert_cmpstr(err->message, ==, "the saved state has nothing of device 'q'");
	g_clear_error(&err);
	/* order does not matter */
	two = save_all(b);
	device_free(device_find(&b->vm, "p"));
	probe(b);
	load_all(b, two, &err);
	g_assert_no_error(err);
	/* the same one twice */
	g_byte_array_set_size(two, 0);
	device_save(d, two);
	{
		const uint8_t *p = two->data;
		size_t n = two->len;

		g_assert_true(device_load(d, &p, &n, &err));
		g_assert_cmpuint(n, ==, 0);
	}
	g_byte_array_unref(one);
	g_byte_array_unref(two);
	fake_free(a);
	fake_free(b);
}

/* Each bit flipped, each length: refused, and the device still works. */
static void test_damage(void)
{
	struct fake *f = fake_vm();
	struct device *d = probe(f);
	GByteArray *state;

	probe_of(d)->value = 99;
	probe_of(d)->bytes = g_byte_array_append(g_byte_array_new(), (const guint8 *)"abc", 3);
	state = save_all(f);
	for (unsigned bit = 0; bit < state->len * 8; bit++) {
		GError *err = NULL;

		state->data[bit / 8] ^= (guint8)(1 << bit % 8);
		g_assert_false(load_all(f, state, &err));
		g_assert_error(err, kerr_quark(), KERR_STATE_DATA);
		g_error_free(err);
		state->data[bit / 8] ^= (guint8)(1 << bit % 8);
	}
	for (unsigned n = 0; n < state->len; n++) {
		g_autofree uint8_t *copy = g_memdup2(state->data, n);
		const uint8_t *p = copy;
		size_t left = n;

		g_assert_false(devices_load(&f->vm, &p, &left, NULL));
	}
	load_all(f, state, NULL);
	g_assert_cmpuint(probe_of(d)->value, ==, 99);
	g_byte_array_unref(state);
	fake_free(f);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/device/life", test_life);
	g_test_add_func("/device/realize-fails", test_realize_fails);
	g_test_add_func("/device/pause", test_pause);
	g_test_add_func("/device/state", test_state);
	g_test_add_func("/device/mismatch", test_mismatch);
	g_test_add_func("/device/damage", test_damage);
	return g_test_run();
}
