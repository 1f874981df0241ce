/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A machine without KVM for tests. */
#include "tests/fake/fake.h"

#include <string.h>
#include <sys/mman.h>

#include "domain/json.h"
#include "domain/state.h"

struct config {
	const struct schema *schema;
	void *obj;
};

static void on_request(struct vm *vm, enum vm_request what, unsigned value, const char *detail)
{
	struct fake *f = vm->owner;

	if (what == VM_REQ_CLOCK) {
		f->clock_sets++;
		return;
	}
	g_assert(f->requests_n < G_N_ELEMENTS(f->requests));
	f->requests[f->requests_n].what = what;
	f->requests[f->requests_n++].value = value;
}

struct fake *fake_vm(void)
{
	struct fake *f = g_new0(struct fake, 1);

	f->clock = clock_new_manual();
	f->loop = f->loops[0] = loop_new("fake", f->clock);
	f->fds = fdset_new();
	f->configs = g_ptr_array_new();
	vm_init(&f->vm, &accel_fake, f->clock);
	f->machine = g_new0(struct machine, 1);
	f->vm.def = f->machine;
	f->vm.accel_data = f;
	f->vm.loops = f->loops;
	f->vm.loops_n = 1;
	f->vm.owner = f;
	f->vm.on_request = on_request;
	g_assert(ram_init_anon(&f->vm.ram, FAKE_RAM, NULL));
	g_assert_true(ram_track(&f->vm.ram, true, NULL));
	return f;
}

void fake_free(struct fake *f)
{
	fake_step(f);
	(void)ram_track(&f->vm.ram, false, NULL);
	vm_finish(&f->vm);
	fdset_free(f->fds);
	loop_free(f->loop);
	clock_free(f->clock);
	for (unsigned i = 0; i < f->configs->len; i++) {
		struct config *c = f->configs->pdata[i];

		schema_free(c->schema, c->obj);
		g_free(c);
	}
	g_ptr_array_free(f->configs, TRUE);
	g_free(f->machine);
	g_free(f);
}

struct device *fake_try(struct fake *f, const char *type, void *config, GError **err)
{
	const struct device_ops *ops = device_type(type);
	struct device *d;

	g_assert_nonnull(ops);
	for (unsigned n = 0;; n++) {
		g_autofree char *id = g_strdup_printf("%s%u", type, n);

		if (device_find(&f->vm, id))
			continue;
		d = device_new(&f->vm, ops, id, config);
		break;
	}
	if (device_realize(d, f->fds, err))
		return d;
	device_free(d);
	return NULL;
}

static void *config_from_json(struct fake *f, const struct schema *schema, const char *json)
{
	struct config *c = g_new0(struct config, 1);
	json_object *o = json_tokener_parse(json);
	GError *err = NULL;

	g_assert_nonnull(o);
	c->schema = schema;
	c->obj = schema_new(schema);
	json_to_struct(schema, c->obj, o, &err);
	g_assert_no_error(err);
	json_object_put(o);
	g_ptr_array_add(f->configs, c);
	return c->obj;
}

struct device *fake_add(struct fake *f, const char *type, const char *json)
{
	const struct device_ops *ops = device_type(type);
	GError *err = NULL;
	struct device *d;

	g_assert_nonnull(ops);
	d = fake_try(f, type, ops->config ? config_from_json(f, ops->config, json ? json : "{}") : NULL, &err);
	g_assert_no_error(err);
	return d;
}

void fake_step(struct fake *f)
{
	for (unsigned i = 0; i < 10000; i++) {
		bool any = loop_step(f->loop, 0);

		any |= g_main_context_iteration(NULL, FALSE);
		if (!any)
			return;
	}
	g_assert_not_reached();
}

void fake_pass(struct fake *f, int64_t ns)
{
	clock_step(f->clock, ns);
	fake_step(f);
}

static void paused(struct done *d, int result)
{
	*(bool *)d->arg = true;
	g_assert_cmpint(result, ==, 0);
}

void fake_pause(struct fake *f)
{
	bool is_paused = false;
	struct done done = { .fn = paused, .arg = &is_paused };

	clock_stop(f->clock);
	devices_pause(&f->vm, &done);
	fake_step(f);
	g_assert_true(is_paused);
}

void fake_resume(struct fake *f)
{
	devices_resume(&f->vm);
	clock_go(f->clock);
	fake_step(f);
}

void fake_move(struct fake *from, struct fake *to)
{
	g_autoptr(GByteArray) state = g_byte_array_new();
	const uint8_t *p;
	size_t n;
	GError *err = NULL;

	devices_save(&from->vm, state);
	memcpy(ram_host(&to->vm.ram, 0, FAKE_RAM), ram_host(&from->vm.ram, 0, FAKE_RAM), FAKE_RAM);
	p = state->data;
	n = state->len;
	g_assert_true(devices_load(&to->vm, &p, &n, &err));
	g_assert_no_error(err);
}

bool fake_dirty(struct fake *f, uint64_t gpa)
{
	uint64_t page = gpa / 4096, bits = 8 * sizeof(long);

	g_assert(gpa < FAKE_RAM);
	return f->vm.ram.dirty[page / bits] >> page % bits & 1;
}

bool fake_resident(struct fake *f, uint64_t gpa)
{
	unsigned char there = 0;

	g_assert_cmpint(mincore(ram_host(&f->vm.ram, gpa, 4096), 4096, &there), ==, 0);
	return there & 1;
}

GByteArray *fake_save(struct device *d)
{
	GByteArray *out = g_byte_array_new();

	device_save(d, out);
	return out;
}

bool fake_load(struct device *d, const GByteArray *state, GError **err)
{
	const uint8_t *p = state->data;
	size_t n = state->len;

	if (!device_load(d, &p, &n, err))
		return false;
	g_assert_cmpuint(n, ==, 0);
	return true;
}

char *fake_state_text(struct device *d, const char *const *but)
{
	GByteArray *state = fake_save(d);
	g_autoptr(GString) all = g_string_new(NULL);
	g_auto(GStrv) lines = NULL;
	GString *out = g_string_new(NULL);

	g_assert_true(state_dump(state->data, state->len, all, NULL));
	g_byte_array_unref(state);
	lines = g_strsplit(all->str, "\n", -1);
	for (char **l = lines; *l; l++) {
		bool skip = false;

		for (const char *const *b = but; b && *b; b++) {
			g_autofree char *start = g_strconcat(*b, " =", NULL);

			skip |= g_str_has_prefix(g_strchug(*l), start);
		}
		if (!skip)
			g_string_append_printf(out, "%s\n", *l);
	}
	return g_string_free(out, FALSE);
}
