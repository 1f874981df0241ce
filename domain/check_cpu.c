/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rules on processors, NUMA nodes and what ties them to the host. */
#include <string.h>

#include "domain/check.h"
#include "domain/cpu_features.h"
#include "domain/cpu_models.h"

static void check_vcpus(const struct machine *m, struct report *r)
{
	const struct vcpu_config *v = &m->vcpu;
	g_autofree bool *seen = g_new0(bool, VCPUS_MAX);
	unsigned on = 0;

	if (v->max > VCPUS_MAX) {
		HAS_NOT(m, "vcpu.max", "write at most 1024", "%u vCPUs are too many", v->max);
		return;
	}
	if (v->current > v->max)
		BAD(m, "vcpu.current", "write at most the maximum, which is the element's text",
			"%u current vCPUs of at most %u",
			v->current, v->max);
	list_each(vcpu_entry, e, v->list) {
		if (e->id >= v->max)
			BAD(e, "id", "leave the entry out", "vCPU %u of %u", e->id, v->max);
		else if (seen[e->id])
			BAD(e, "id", "leave one of them out", "vCPU %u is given twice", e->id);
		else
			seen[e->id] = true;
		if (!e->id && e->enabled == YESNO_NO)
			BAD(e, "enabled", "write enabled='yes'", "vCPU 0 starts the machine");
	}
	for (unsigned i = 0; i < v->max && list_len(v->list); i++)
		on += machine_vcpu_enabled(m, i);
	if (list_len(v->list) && on != machine_vcpus(m)) {
		g_autofree char *cure = g_strdup_printf("write <vcpu current='%u'>", on);

		BAD(m, v->current ? "vcpu.current" : "vcpu.max", cure,
			"%u vCPUs are enabled, but %u are current", on, machine_vcpus(m));
	}
}

static void check_topology(const struct machine *m, struct report *r)
{
	const struct cpu_topology *t = &m->cpu.topology;
	uint64_t n;

	if (!t->sockets && !t->cores && !t->threads && !t->dies)
		return;
	if (!t->sockets || !t->cores || !t->threads) {
		BAD(t, NULL, "write <topology sockets='1' dies='1' cores='2' threads='1'/>",
			"sockets, cores and threads are needed");
		return;
	}
	if (t->clusters > 1)
		HAS_NOT(t, "clusters", "write clusters='1' or leave it out", "x86 processors have no clusters");
	n = (uint64_t)t->sockets * t->dies;
	n = n > VCPUS_MAX ? n : n * t->cores;
	n = n > VCPUS_MAX ? n : n * t->threads;
	if (n != m->vcpu.max) {
		g_autofree char *cure = g_strdup_printf("write sockets × dies × cores × threads = %u, or change <vcpu>", m->vcpu.max);

		BAD(t, NULL, cure, "the topology has %" PRIu64 "%s vCPUs, <vcpu> says %u", n,
			n > VCPUS_MAX ? " or more" : "", m->vcpu.max);
	}
}

static void check_feature_names(const struct cpu *c, struct report *r)
{
	g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);

	list_each(cpu_feature, f, c->features) {
		const struct cpu_feature_row *row = f->name ? cpu_feature_find(f->name) : NULL;

		if (!row) {
			const char *near = f->name ? cpu_feature_near(f->name) : NULL;
			g_autofree char *cure = near ? g_strdup_printf("did you mean '%s'?",
				near) : NULL;

			BAD(f, "name", cure, "there is no CPU feature '%s'", f->name ?
				f->name : "");
			continue;
		}
		if (!g_hash_table_add(seen, (gpointer)(uintptr_t)row->name))
			BAD(f, "name", "leave one of them out", "feature '%s' is given twice",
				f->name);
	}
}

static void check_model(const struct cpu *c, struct report *r)
{
	bool host = c->mode == CPU_MODE_HOST_PASSTHROUGH || c->mode == CPU_MODE_MAXIMUM;

	if (c->model && *c->model && !cpu_model_find(c->model)) {
		const char *near = cpu_model_near(c->model);
		g_autofree char *cure = near ? g_strdup_printf("did you mean '%s'?", near) :
			g_strdup("write a name that 'kvmctl host' lists, or mode='host-model'");

		BAD(c, "model", cure, "there is no CPU model '%s'", c->model);
	}
	if (list_len(c->features) && !c->model && (c->mode == CPU_MODE_ABSENT ||
	    c->mode == CPU_MODE_CUSTOM))
		BAD(c, "features", "add <model>qemu64</model>, or mode='host-model' to <cpu>",
			"features need a model they are added to");
	if (c->vendor_id && (strlen(c->vendor_id) != 12 || strchr(c->vendor_id, ',')))
		BAD(c, "vendor_id", "write exactly 12 characters, no comma",
			"'%s' is no vendor name", c->vendor_id);
	if (c->vendor && !cpu_vendor_string(c->vendor))
		BAD(c, "vendor", "write Intel, AMD or Hygon", "there is no CPU vendor '%s'",
			c->vendor);
	if (c->migratable && !host)
		BAD(c, "migratable", "leave it out",
			"only host-passthrough and maximum may be other than migratable");
	if (c->cache && c->cache->mode == CPU_CACHE_PASSTHROUGH && (!host || c->cache->level))
		BAD(c->cache, "mode", "write mode='host-passthrough' for <cpu> and no level",
			"the host's caches go with the host's CPU only");
	if (c->cache && c->cache->mode == CPU_CACHE_EMULATE && c->cache->level &&
	    c->cache->level != 3)
		BAD(c->cache, "level", "write level='3' or none",
			"level %u can't be emulated by itself", c->cache->level);
	if (c->maxphysaddr && c->maxphysaddr->mode == CPU_CACHE_DISABLE)
		BAD(c->maxphysaddr, "mode", "write emulate or passthrough",
			"the width can't be disabled");
	if (c->maxphysaddr && c->maxphysaddr->mode == CPU_CACHE_EMULATE && !c->maxphysaddr->bits)
		BAD(c->maxphysaddr, "mode", "write bits='42'", "the number of bits is missing");
	if (c->maxphysaddr && c->maxphysaddr->mode == CPU_CACHE_PASSTHROUGH &&
	    (c->maxphysaddr->bits || !host))
		BAD(c->maxphysaddr, "mode",
			"leave bits out, and write mode='host-passthrough' for <cpu>",
			"the host's width goes with the host's CPU only");
	check_feature_names(c, r);
}

static bool cell_exists(const struct cpu *c, uint32_t id)
{
	list_each(numa_cell, cell, c->cells)
		if (cell->id == id)
			return true;
	return false;
}

static void check_cell(const struct machine *m, const struct numa_cell *cell,
	struct cpu_bits *taken, struct report *r)
{
	struct cpu_bits cpus;

	cpu_bits_parse(cell->cpus, &cpus);
	if (cpu_bits_highest(&cpus) >= (int)m->vcpu.max)
		BAD(cell, "cpus", "name vCPUs below the number in <vcpu>", "there is no vCPU %d",
			cpu_bits_highest(&cpus));
	for (unsigned i = 0; i < CPU_BITS_MAX / 64; i++) {
		uint64_t both = taken->word[i] & cpus.word[i];

		if (both) {
			BAD(cell, "cpus", "name each vCPU in one cell", "vCPU %d is in two cells",
				(int)i * 64 + __builtin_ctzll(both));
			break;
		}
		taken->word[i] |= cpus.word[i];
	}
	if (!cell->memory || cell->memory % 4096)
		BAD(cell, "memory", "write a multiple of 4 KiB",
			"%" PRIu64 " bytes are no whole number of pages", cell->memory);
	list_each(numa_distance, d, cell->distances) {
		if (!cell_exists(&m->cpu, d->id))
			BAD(d, "id", "name a cell's id", "there is no cell %u", d->id);
		if (d->value < 10 || (d->id == cell->id && d->value != 10))
			BAD(d, "value", "write 10 for the cell itself, 11 to 255 for others",
				"a distance of %u is not possible", d->value);
	}
}

static void check_numa(const struct machine *m, struct report *r)
{
	const struct cpu *c = &m->cpu;
	struct cpu_bits taken = { { 0 } };
	bool seen[128] = { false };

	list_each(numa_cell, cell, c->cells) {
		if (cell->id >= list_len(c->cells))
			BAD(cell, "id", "number the cells from 0 without gaps", "cell %u of %u",
				cell->id, list_len(c->cells));
		else if (seen[cell->id])
			BAD(cell, "id", "number the cells from 0 without gaps",
				"cell %u is given twice", cell->id);
		else
			seen[cell->id] = true;
		check_cell(m, cell, &taken, r);
	}
	for (int n = 0; n < 2; n++)
		list_each(numa_link, l, n ? c->bandwidths : c->latencies)
			if (!cell_exists(c, l->initiator) || !cell_exists(c, l->target))
				BAD(l, cell_exists(c, l->initiator) ? "target" : "initiator",
					"name a cell's id", "there is no cell %u",
					cell_exists(c, l->initiator) ? l->target : l->initiator);
	list_each(memdev, d, m->devices.memdevs)
		if (d->target.node != UINT32_MAX && list_len(c->cells) && !cell_exists(c,
		    d->target.node))
			BAD(&d->target, "node", "name a cell's id", "there is no cell %u",
				d->target.node);
}

void check_cpu(const struct machine *m, struct report *r)
{
	check_vcpus(m, r);
	check_topology(m, r);
	check_model(&m->cpu, r);
	check_numa(m, r);
}
