/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Devices: registry, lifecycle and saving. What every device would otherwise repeat is here: the
 * order of calls (asserted, for only our own code makes them), the lock around reset, save and load,
 * the way back to a fresh device when loaded state turns out to be bad.
 *
 * A device's section is two structs of tagged state: {id, type} and the fields of ops->state.
 */
#include "hv/device.h"

#include <string.h>

#include "domain/state.h"
#include "hv/stats.h"
#include "hv/vm.h"

#define LOG_EVERY_NS 1000000000ll

static const struct field no_fields[] = { END };
const struct schema no_state = { .name = "none", .doc = "a device without state of its own", .version = 1,
	.size = 1, .fields = no_fields };

struct head {
	char *id, *type;
	uint32_t devices;       /* first section only */
};
static const struct field head_fields[] = {
	STR(struct head, id, NULL, 0, "the device's id"),
	STR(struct head, type, NULL, 0, "its type"),
	U32(struct head, devices, NULL, 0, 65536, 0, "how many devices follow"),
	END
};
static const struct schema head_schema = { .name = "device", .doc = "whose state follows", .version = 1,
	.size = sizeof(struct head), .fields = head_fields };

/* --- done --- */

static gboolean run_done(gpointer arg)
{
	struct done *d = arg;

	g_assert(!g_atomic_int_get(&d->pending));
	d->fn(d, g_atomic_int_get(&d->result));
	return G_SOURCE_REMOVE;
}

void done_begin(struct done *d)
{
	g_atomic_int_inc(&d->pending);
}

void done_end(struct done *d, int result)
{
	GSource *source;

	if (result < 0)
		g_atomic_int_compare_and_exchange(&d->result, 0, result);
	if (!g_atomic_int_dec_and_test(&d->pending))
		return;
	/* never at once, also when this is main: the caller may still be inside what fn takes apart */
	source = g_idle_source_new();
	g_source_set_priority(source, G_PRIORITY_HIGH);
	g_source_set_callback(source, run_done, d, NULL);
	g_source_attach(source, NULL);
	g_source_unref(source);
}

/* --- lifecycle --- */

const struct device_ops *device_type(const char *name)
{
	for (const struct device_ops *const *ops = device_list; *ops; ops++)
		if (!strcmp((*ops)->name, name))
			return *ops;
	return NULL;
}

struct device *device_find(struct vm *vm, const char *id)
{
	for (unsigned i = 0; i < vm->devices->len; i++) {
		struct device *d = vm->devices->pdata[i];

		if (!strcmp(d->id, id))
			return d;
	}
	return NULL;
}

struct device *device_new(struct vm *vm, const struct device_ops *ops, const char *id, void *config)
{
	struct device *d;

	g_assert(ops->size >= sizeof(*d) && ops->state && !device_find(vm, id));
	d = g_malloc0(ops->size);
	d->ops = ops;
	d->id = g_strdup(id);
	d->config = config;
	d->vm = vm;
	g_mutex_init(&d->lock);
	g_ptr_array_add(vm->devices, d);
	return d;
}

bool device_realize(struct device *d, struct fdset *fds, GError **err)
{
	g_assert(d->state == DEVICE_NEW);
	if (d->ops->realize && !d->ops->realize(d, fds, err)) {
		g_prefix_error(err, "device '%s': ", d->id);
		if (d->ops->unrealize)
			d->ops->unrealize(d);
		d->state = DEVICE_DEAD;
		return false;
	}
	d->state = DEVICE_REALIZED;
	device_reset(d);
	return true;
}

void device_free(struct device *d)
{
	if (!d)
		return;
	if ((d->state == DEVICE_REALIZED || d->state == DEVICE_PAUSED) && d->ops->unrealize)
		d->ops->unrealize(d);
	g_ptr_array_remove(d->vm->devices, d);
	g_mutex_clear(&d->lock);
	g_free(d->id);
	g_free(d);
}

static bool is_alive(const struct device *d)
{
	return d->state == DEVICE_REALIZED || d->state == DEVICE_PAUSED;
}

void device_reset(struct device *d)
{
	g_assert(is_alive(d));
	if (!d->ops->reset)
		return;
	g_mutex_lock(&d->lock);
	d->ops->reset(d);
	g_mutex_unlock(&d->lock);
}

void devices_pause(struct vm *vm, struct done *done)
{
	done_begin(done);
	for (unsigned i = 0; i < vm->devices->len; i++) {
		struct device *d = vm->devices->pdata[i];

		if (d->state != DEVICE_REALIZED)
			continue;
		if (d->ops->pause)
			d->ops->pause(d, done);
		d->state = DEVICE_PAUSED;
	}
	done_end(done, 0);
}

void devices_resume(struct vm *vm)
{
	for (unsigned i = vm->devices->len; i-- > 0;) {
		struct device *d = vm->devices->pdata[i];

		if (d->state != DEVICE_PAUSED)
			continue;
		d->state = DEVICE_REALIZED;
		if (d->ops->resume)
			d->ops->resume(d);
	}
}

void devices_reset(struct vm *vm)
{
	for (unsigned i = 0; i < vm->devices->len; i++)
		if (is_alive(vm->devices->pdata[i]))
			device_reset(vm->devices->pdata[i]);
}

/* --- state --- */

void device_save(struct device *d, GByteArray *out)
{
	struct head head = { .id = d->id, .type = (char *)d->ops->name };

	g_assert(is_alive(d));
	state_save(&head_schema, &head, out);
	g_mutex_lock(&d->lock);
	state_save(d->ops->state, d, out);
	g_mutex_unlock(&d->lock);
}

/* Every field of the state at its default: what was not sent is so. */
static void state_defaults(const struct schema *s, void *obj)
{
	for (const struct field *f = s->fields; f->name; f++) {
		if (f->kind->shape == SHAPE_NUM || f->kind->shape == SHAPE_BOOL)
			g_assert(field_set_num(f, obj, f->def, NULL));
		else if (f->kind->shape == SHAPE_STRUCT)
			state_defaults(f->sub, field_at(f, obj));
		else if (f->kind->clear)
			f->kind->clear(f, field_at(f, obj));
	}
}

static bool load_body(struct device *d, const uint8_t **data, size_t *len, GError **err)
{
	bool ok;

	g_assert(is_alive(d));
	g_mutex_lock(&d->lock);
	if (d->ops->reset)
		d->ops->reset(d);
	state_defaults(d->ops->state, d);
	ok = state_load(d->ops->state, d, data, len, err);
	if (!ok) {
		g_prefix_error(err, "device '%s': ", d->id);
		state_defaults(d->ops->state, d);
		if (d->ops->reset)
			d->ops->reset(d);
	}
	g_mutex_unlock(&d->lock);
	return ok;
}

static bool load_head(struct head *head, const uint8_t **data, size_t *len, GError **err)
{
	schema_init(&head_schema, head);
	if (state_load(&head_schema, head, data, len, err))
		return true;
	schema_clear(&head_schema, head);
	return false;
}

static bool fits(const struct device *d, const struct head *head, GError **err)
{
	if (!head->id || !head->type || strcmp(head->id, d->id))
		return kerr_set(err, KERR_STATE_DATA, "state of device '%s' where '%s' was expected",
			head->id ? head->id : "", d->id);
	if (strcmp(head->type, d->ops->name))
		return kerr_set(err, KERR_STATE_DATA, "device '%s' is '%s' here and '%s' in the saved state", d->id,
			d->ops->name, head->type);
	return true;
}

bool device_load(struct device *d, const uint8_t **data, size_t *len, GError **err)
{
	struct head head;
	bool ok;

	if (!load_head(&head, data, len, err))
		return false;
	ok = fits(d, &head, err) && load_body(d, data, len, err);
	schema_clear(&head_schema, &head);
	return ok;
}

void devices_save(struct vm *vm, GByteArray *out)
{
	struct head head = { .devices = vm->devices->len };

	state_save(&head_schema, &head, out);
	for (unsigned i = 0; i < vm->devices->len; i++)
		device_save(vm->devices->pdata[i], out);
}

/* One section of any device that was not loaded yet. */
static bool load_next(struct vm *vm, GHashTable *todo, const uint8_t **data, size_t *len, GError **err)
{
	struct device *d = NULL;
	struct head head;
	bool ok;

	if (!load_head(&head, data, len, err))
		return false;
	if (head.id)
		d = device_find(vm, head.id);
	if (!d)
		ok = kerr_set(err, KERR_STATE_DATA, "the saved state has a device '%s' which this machine has not",
			head.id ? head.id : "");
	else if (!g_hash_table_remove(todo, d))
		ok = kerr_set(err, KERR_STATE_DATA, "device '%s' comes twice in the saved state", d->id);
	else
		ok = fits(d, &head, err) && load_body(d, data, len, err);
	schema_clear(&head_schema, &head);
	return ok;
}

bool devices_load(struct vm *vm, const uint8_t **data, size_t *len, GError **err)
{
	g_autoptr(GHashTable) todo = g_hash_table_new(NULL, NULL);
	struct head head;
	uint32_t n;

	if (!load_head(&head, data, len, err))
		return false;
	n = head.devices;
	schema_clear(&head_schema, &head);
	for (unsigned i = 0; i < vm->devices->len; i++)
		g_hash_table_add(todo, vm->devices->pdata[i]);
	for (uint32_t i = 0; i < n; i++)
		if (!load_next(vm, todo, data, len, err))
			return false;
	for (unsigned i = 0; i < vm->devices->len; i++) {
		const struct device *d = vm->devices->pdata[i];

		if (g_hash_table_contains(todo, d))
			return kerr_set(err, KERR_STATE_DATA, "the saved state has nothing of device '%s'", d->id);
	}
	return true;
}

/* --- for devices --- */

void guest_error(struct device *d, const char *fmt, ...)
{
	g_autofree char *text = NULL;
	int64_t now, last = __atomic_load_n(&d->last_log, __ATOMIC_RELAXED);
	va_list ap;

	__atomic_add_fetch(&d->guest_errors, 1, __ATOMIC_RELAXED);
	stats_vm_add(d->vm, STAT_VM_GUEST_ERRORS, 1);
	now = clock_now(d->vm->clock, CLOCK_HOST) + 1;  /* so that 0 means never */
	if ((last && now - last < LOG_EVERY_NS) ||
		!__atomic_compare_exchange_n(&d->last_log, &last, now, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		return;
	va_start(ap, fmt);
	text = g_strdup_vprintf(fmt, ap);
	va_end(ap);
	g_debug("device '%s': guest: %s", d->id, text);
}

void device_has_driver(struct device *d)
{
	if (__atomic_exchange_n(&d->awaited, 0, __ATOMIC_SEQ_CST))
		vm_request(d->vm, VM_REQ_DRIVER, 0, d->id);
}

static bool map(struct bus *bus, struct device *d, struct region *r, const struct region_ops *ops, const char *name,
	uint64_t base, uint64_t size, GError **err)
{
	r->ops = ops;
	r->dev = d;
	r->name = name;
	r->size = size;
	return bus_map(bus, r, base, err);
}

bool device_map_pio(struct device *d, struct region *r, const struct region_ops *ops, const char *name, uint16_t base,
	uint16_t size, GError **err)
{
	return map(d->vm->pio, d, r, ops, name, base, size, err);
}

bool device_map_mmio(struct device *d, struct region *r, const struct region_ops *ops, const char *name, uint64_t base,
	uint64_t size, GError **err)
{
	return map(d->vm->mmio, d, r, ops, name, base, size, err);
}
