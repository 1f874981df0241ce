/* SPDX-License-Identifier: GPL-2.0-or-later */
/* query-stats in QEMU's shape, over our counters. */
#include <string.h>
#include <unistd.h>

#include "daemon/worker_qmp.h"
#include "daemon/worker_vcpus.h"
#include "domain/json.h"
#include "domain/kvmstat.h"
#include "domain/statpage.h"
#include "hv/accel.h"
#include "hv/lock.h"
#include "hv/vcpu.h"

#define PROVIDER "kvm"

/* Names are KVM's own where it counts the same. */
static const struct { const char *name; enum vcpu_stat stat; } vcpu_counters[] = {
	{ "exits", VCPU_EXITS }, { "io_exits", VCPU_PIO }, { "mmio_exits", VCPU_MMIO }, { "halt_exits", VCPU_HLT },
	{ "signal_exits", VCPU_INTR }, { "insn_assists", VCPU_ASSISTS }, { "syscall_assists", VCPU_SYSCALLS },
	{ "msr_exits", VCPU_MSR }, { "other_exits", VCPU_OTHER },
};
static const struct { const char *name, *unit; int base, exponent; } vm_counters[] = {
	{ "guest_time", "seconds", 10, -9 }, { "fence_violations", NULL, 0, 0 },
};

/* Whether the question's "providers" leaves this counter in. */
static bool is_wanted(json_object *providers, const char *name)
{
	if (!json_object_is_type(providers, json_type_array))
		return true;
	for (size_t i = 0; i < json_object_array_length(providers); i++) {
		json_object *p = json_object_array_get_idx(providers, i), *v = NULL;

		if (!json_object_is_type(p, json_type_object) || !json_object_object_get_ex(p, "provider", &v) ||
		    g_strcmp0(json_object_get_string(v), PROVIDER))
			continue;
		if (!json_object_object_get_ex(p, "names", &v) || !json_object_is_type(v, json_type_array))
			return true;
		for (size_t j = 0; j < json_object_array_length(v); j++)
			if (!g_strcmp0(json_object_get_string(json_object_array_get_idx(v, j)), name))
				return true;
	}
	return false;
}

static void add_stat(json_object *list, json_object *providers, const char *name, uint64_t value)
{
	json_object *o;

	if (!is_wanted(providers, name))
		return;
	o = json_object_new_object();
	json_object_object_add(o, "name", json_object_new_string(name));
	json_object_object_add(o, "value", json_object_new_uint64(value));
	json_object_array_add(list, o);
}

/* Which of KVM's it is; KVMSTAT_N: none. */
static unsigned kvm_row(const char *name)
{
	unsigned i = 0;

	while (i < KVMSTAT_N && strcmp(kvmstat_rows[i].name, name))
		i++;
	return i;
}

static void add_vcpu(json_object *list, json_object *providers, const struct vcpu *v)
{
	int fd = v->vm->accel->stats_fd ? v->vm->accel->stats_fd(v) : -1;
	g_autofree uint8_t *buf = fd >= 0 ? g_malloc(KVMSTAT_BYTES) : NULL;
	uint64_t values[KVMSTAT_N];
	ssize_t n = buf ? pread(fd, buf, KVMSTAT_BYTES, 0) : -1;
	bool known = n > 0 && kvmstat_parse(buf, (size_t)n, values);

	for (unsigned i = 0; i < KVMSTAT_N && !known; i++)
		values[i] = STAT_UNKNOWN;
	for (size_t i = 0; i < G_N_ELEMENTS(vcpu_counters); i++) {
		uint64_t own = __atomic_load_n(&v->stats[vcpu_counters[i].stat], __ATOMIC_RELAXED);
		unsigned row = kvm_row(vcpu_counters[i].name);

		/* of what both count the larger number is true (daemon/stats.c says why) */
		if (row < KVMSTAT_N && values[row] != STAT_UNKNOWN)
			values[row] = MAX(values[row], own);
		else
			add_stat(list, providers, vcpu_counters[i].name, own);
	}
	for (unsigned i = 0; i < KVMSTAT_N; i++)
		if (values[i] != STAT_UNKNOWN)
			add_stat(list, providers, kvmstat_rows[i].name, values[i]);
}

static void add_result(json_object *to, const char *path, json_object *stats)
{
	json_object *o = json_object_new_object();

	if (!json_object_array_length(stats)) {
		json_object_put(stats);
		json_object_put(o);
		return;
	}
	json_object_object_add(o, "provider", json_object_new_string(PROVIDER));
	if (path)
		json_object_object_add(o, "qom-path", json_object_new_string(path));
	json_object_object_add(o, "stats", stats);
	json_object_array_add(to, o);
}

static bool has_path(json_object *paths, const char *path)
{
	if (!json_object_is_type(paths, json_type_array))
		return true;
	for (size_t i = 0; i < json_object_array_length(paths); i++)
		if (!g_strcmp0(json_object_get_string(json_object_array_get_idx(paths, i)), path))
			return true;
	return false;
}

QMP(query_stats)
{
	const struct args_stats *a = args;
	struct worker *w = c->worker;
	json_object *paths = a->vcpus ? json_tokener_parse(a->vcpus) : NULL;
	json_object *providers = a->providers ? json_tokener_parse(a->providers) : NULL;

	*reply = json_object_new_array();
	if (a->target == STATS_VM) {
		json_object *stats = json_object_new_array();

		add_stat(stats, providers, vm_counters[0].name, (uint64_t)clock_now(w->vm.clock, CLOCK_GUEST));
		add_stat(stats, providers, vm_counters[1].name, lock_violations(NULL));
		add_result(*reply, NULL, stats);
	}
	for (unsigned i = 0; a->target == STATS_VCPU && i < w->vm.vcpus->len; i++) {
		const struct vcpu *v = w->vm.vcpus->pdata[i];
		g_autofree char *path = vcpu_path(w, v->index);
		json_object *stats;

		if (v->unplugged || !has_path(paths, path))
			continue;
		stats = json_object_new_array();
		add_vcpu(stats, providers, v);
		add_result(*reply, path, stats);
	}
	json_object_put(paths);
	json_object_put(providers);
	return RUN_DONE;
}

static void add_schema(json_object *list, const char *name, const char *unit, int base, int exponent)
{
	json_object *o = json_object_new_object();

	json_object_object_add(o, "name", json_object_new_string(name));
	json_object_object_add(o, "type", json_object_new_string("cumulative"));
	if (unit) {
		json_object_object_add(o, "unit", json_object_new_string(unit));
		json_object_object_add(o, "base", json_object_new_int(base));
	}
	json_object_object_add(o, "exponent", json_object_new_int(exponent));
	json_object_array_add(list, o);
}

static json_object *schema_of(const char *target, json_object *stats)
{
	json_object *o = json_object_new_object();

	json_object_object_add(o, "provider", json_object_new_string(PROVIDER));
	json_object_object_add(o, "target", json_object_new_string(target));
	json_object_object_add(o, "stats", stats);
	return o;
}

QMP(query_stats_schemas)
{
	const struct qmp_name *a = args;
	json_object *vcpu = json_object_new_array(), *vm = json_object_new_array();

	for (size_t i = 0; i < G_N_ELEMENTS(vcpu_counters); i++)
		if (kvm_row(vcpu_counters[i].name) == KVMSTAT_N)
			add_schema(vcpu, vcpu_counters[i].name, NULL, 0, 0);
	for (unsigned i = 0; i < KVMSTAT_N; i++)
		add_schema(vcpu, kvmstat_rows[i].name, kvmstat_rows[i].ns ? "seconds" : NULL, kvmstat_rows[i].ns ? 10 : 0, kvmstat_rows[i].ns ? -9 : 0);
	for (size_t i = 0; i < G_N_ELEMENTS(vm_counters); i++)
		add_schema(vm, vm_counters[i].name, vm_counters[i].unit, vm_counters[i].base, vm_counters[i].exponent);
	*reply = json_object_new_array();
	if (a->name && strcmp(a->name, PROVIDER)) {
		json_object_put(vcpu);
		json_object_put(vm);
		return RUN_DONE;
	}
	json_object_array_add(*reply, schema_of("vcpu", vcpu));
	json_object_array_add(*reply, schema_of("vm", vm));
	return RUN_DONE;
}
