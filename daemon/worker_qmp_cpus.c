/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP about vCPUs, and device_add, device_del. */
#include <string.h>

#include "daemon/worker_plug.h"
#include "daemon/worker_models.h"
#include "daemon/worker_chardev.h"
#include "daemon/worker_qmp.h"
#include "daemon/worker_vcpus.h"
#include "domain/cpu_features.h"
#include "domain/json.h"
#include "hv/vcpu.h"
#include "hv/x86/cpuid.h"

#define CPU_DRIVER "-x86_64-cpu"
#define PERIPHERAL "/machine/peripheral/"

static void set_props(const struct worker *w, unsigned slot, struct qmp_props *to)
{
	struct cpu_props p;

	vcpu_props(w, slot, &p);
	*to = (struct qmp_props){ p.socket, p.die, p.core, p.thread };
}

QMP(query_cpus_fast)
{
	struct worker *w = c->worker;

	*reply = json_object_new_array();
	for (unsigned i = 0; i < w->vm.vcpus->len; i++) {
		struct vcpu *v = w->vm.vcpus->pdata[i];
		g_autofree char *path = NULL;
		struct qmp_cpu row;

		if (v->unplugged)
			continue;
		path = vcpu_path(w, v->index);
		row = (struct qmp_cpu){ .index = v->index, .path = path, .tid = (uint32_t)__atomic_load_n(&v->tid, __ATOMIC_RELAXED),
			.target = (char *)"x86_64" };
		set_props(w, v->index, &row.props);
		json_object_array_add(*reply, json_from_struct(&qmp_cpu_schema, &row, JSON_ALL));
	}
	return RUN_DONE;
}

/* The last slot first, as QEMU has it. */
QMP(query_hotpluggable_cpus)
{
	struct worker *w = c->worker;
	g_autofree char *type = vcpu_type(w);

	*reply = json_object_new_array();
	for (unsigned i = w->machine->vcpu.max; i-- > 0;) {
		g_autofree char *path = vm_has_vcpu(&w->vm, i) ? vcpu_path(w, i) : NULL;
		struct qmp_slot row = { .type = type, .count = 1, .path = path };

		set_props(w, i, &row.props);
		json_object_array_add(*reply, json_from_struct(&qmp_slot_schema, &row, JSON_ALL));
	}
	return RUN_DONE;
}

QMP(query_acpi_ospm_status)
{
	struct worker *w = c->worker;

	*reply = json_object_new_array();
	for (unsigned i = 0; w->hotplug && i < w->machine->vcpu.max; i++) {
		g_autofree char *number = g_strdup_printf("%u", i);
		struct qmp_ost row = { .device = (char *)vcpu_qid(w, i), .slot = number, .type = (char *)"CPU" };

		(void)vcpu_ost(w, i, &row.source, &row.status);
		json_object_array_add(*reply, json_from_struct(&qmp_ost_schema, &row, JSON_ALL));
	}
	return RUN_DONE;
}

/* --- the model --- */

static bool has_bit(const struct kvm_cpuid2 *t, const struct cpu_feature_row *f)
{
	struct kvm_cpuid_entry2 *e = t ? cpuid_find(t, f->leaf, f->subleaf) : NULL;

	return e && *cpuid_reg(e, f->reg) >> f->bit & 1;
}

static bool is_running_model(const struct worker *w, const char *name)
{
	g_autofree char *type = vcpu_type(w);
	size_t n = strlen(type) - strlen(CPU_DRIVER);

	return strlen(name) == n && !strncmp(type, name, n);
}

static json_object *running_features(const struct worker *w)
{
	const struct vcpu *first = vm_vcpu(&w->vm, 0);
	json_object *o = json_object_new_object();

	for (unsigned i = 0; i < cpu_feature_rows_n; i++)
		if (!cpu_feature_rows[i].msr)
			json_object_object_add(o, cpu_feature_rows[i].name, json_object_new_boolean(has_bit(first->cpuid, &cpu_feature_rows[i])));
	return o;
}

/* The running model as it runs; others as the tables have them. A static model is written as QEMU's «base» with all features. */
QMP(query_cpu_model_expansion)
{
	const struct ask_expansion *a = args;
	struct worker *w = c->worker;
	json_object *props = is_running_model(w, a->model.name) ? running_features(w) : model_expand(a->model.name, err);
	struct tell_expansion t;

	if (!props || !model_change(props, a->model.name, a->model.props, err)) {
		json_object_put(props);
		return RUN_FAILED;
	}
	t.model.name = a->type == EXPANSION_STATIC ? (char *)"base" : a->model.name;
	t.model.props = (char *)json_object_to_json_string_ext(props, JSON_C_TO_STRING_PLAIN);
	*reply = json_from_struct(&tell_expansion_schema, &t, JSON_ALL);
	json_object_put(props);
	return RUN_DONE;
}

/* --- device_add, device_del --- */

static bool id_ok(const struct worker *w, const char *id, GError **err)
{
	if (!id)
		return true;
	if (!g_ascii_isalpha(*id) || id[strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._")])
		return kerr_set(err, KERR_ARGS, "'%s' is no id: letters first, then digits, '-', '.', '_' too", id);
	for (unsigned i = 0; i < w->vm.devices->len; i++)
		if (!strcmp(((struct device *)w->vm.devices->pdata[i])->id, id))
			return kerr_set(err, KERR_EXISTS, "the id '%s' is taken", id);
	return vcpu_by_name(w, id) < 0 || kerr_set(err, KERR_EXISTS, "the id '%s' is taken", id);
}

static bool within(const char *what, uint32_t given, unsigned n, bool may_lack, unsigned *value, GError **err)
{
	if (given == QMP_NO_ID && (may_lack || n == 1)) {
		*value = 0;
		return true;
	}
	if (given == QMP_NO_ID)
		return kerr_set(err, KERR_ARGS, "%s is not given: query-hotpluggable-cpus tells what is possible", what);
	*value = given;
	return given < n || kerr_set(err, KERR_ARGS, "%s: %u is outside 0..%u", what, given, n - 1);
}

static bool add_cpu(struct worker *w, const struct args_device_add *a, GError **err)
{
	g_autofree char *type = vcpu_type(w);
	unsigned socket, die, core, thread, slot;
	struct cpu_layout l;

	if (strcmp(a->driver, type))
		return kerr_set(err, KERR_ARGS, "the machine's vCPUs are of type '%s'", type);
	if (a->bus)
		return kerr_set(err, KERR_ARGS, "vCPUs have no bus");
	cpu_layout_init(&l, w->machine);
	if (!within("socket-id", a->socket, l.sockets, false, &socket, err) || !within("die-id", a->die, l.dies, true, &die, err) ||
	    !within("core-id", a->core, l.cores, false, &core, err) || !within("thread-id", a->thread, l.threads, false, &thread, err))
		return false;
	slot = ((socket * l.dies + die) * l.cores + core) * l.threads + thread;
	if (vm_has_vcpu(&w->vm, slot))
		return kerr_set(err, KERR_EXISTS, "vCPU %u is there already", slot);
	return vcpu_plug(w, slot, a->id, err);
}

QMP(device_add)
{
	const struct args_device_add *a = args;
	struct worker *w = c->worker;

	if (!id_ok(w, a->id, err))
		return RUN_FAILED;
	if (g_str_has_suffix(a->driver, CPU_DRIVER))
		return add_cpu(w, a, err) ? RUN_DONE : RUN_FAILED;
	if (qmp_plugs(a->driver))
		return qmp_device_plug(w, a, err) ? RUN_DONE : RUN_FAILED;
	if (!strcmp(a->driver, "virtserialport"))
		return chardev_add_port(w, a, err) ? RUN_DONE : RUN_FAILED;
	if (device_type(a->driver))
		return kerr_set(err, KERR_UNSUPPORTED, "a '%s' cannot be plugged while the machine runs: add it to the definition", a->driver), RUN_FAILED;
	return kerr_set(err, KERR_ARGS, "there is no device type '%s'", a->driver), RUN_FAILED;
}

QMP(device_del)
{
	const struct args_id *a = args;
	struct worker *w = c->worker;
	int slot = vcpu_by_name(w, a->id);

	if (slot >= 0)
		return vcpu_unplug(w, (unsigned)slot, err) ? RUN_DONE : RUN_FAILED;
	return plug_out(w, g_str_has_prefix(a->id, PERIPHERAL) ? a->id + strlen(PERIPHERAL) : a->id, false, err) ? RUN_DONE : RUN_FAILED;
}

/* --- kvmd's own --- */

QMP(vcpus_set)
{
	return vcpus_set(c, args, err);
}

QMP(vcpus_list)
{
	struct worker *w = c->worker;

	*reply = json_object_new_array();
	for (unsigned i = 0; i < w->machine->vcpu.max; i++) {
		const struct vcpu *v = vm_vcpu(&w->vm, i);
		struct vcpu_row row = { .id = i, .enabled = v && !v->unplugged, .hotpluggable = w->hotplug && machine_vcpu_hotpluggable(w->machine, i),
			.alias = (char *)vcpu_qid(w, i) };

		if (v) {
			row.tid = (uint32_t)__atomic_load_n(&v->tid, __ATOMIC_RELAXED);
			row.exits = __atomic_load_n(&v->stats[VCPU_EXITS], __ATOMIC_RELAXED);
		}
		json_object_array_add(*reply, json_from_struct(&vcpu_row_schema, &row, JSON_ALL));
	}
	return RUN_DONE;
}
