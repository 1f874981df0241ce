/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rules on shares, limits and pinning. */
#include <string.h>

#include "domain/check.h"

static void check_scheduler(const void *obj, int scheduler, uint32_t priority, struct report *r)
{
	bool realtime = scheduler == SCHED_NAME_FIFO || scheduler == SCHED_NAME_RR;

	if (realtime && !priority)
		BAD(obj, "priority", "write priority='1' to '99'",
			"a real-time scheduler needs a priority");
	if (!realtime && priority)
		BAD(obj, "priority", "leave it out, or write scheduler='fifo'",
			"only real-time schedulers have priorities");
}

static void check_quota(const struct cputune *t, const char *field, int64_t quota, struct report *r)
{
	if (quota > 0 && quota < 1000)
		BAD(t, field, "write at least 1000, or -1 for no limit",
			"%" PRId64 " µs are too few", quota);
}

static void check_pins(const struct machine *m, struct report *r)
{
	const struct cputune *t = &m->cputune;
	g_autofree bool *vcpu = g_new0(bool, VCPUS_MAX), *thread = g_new0(bool, 1025);

	list_each(vcpupin, p, t->vcpupins) {
		if (p->vcpu >= m->vcpu.max || p->vcpu >= VCPUS_MAX)
			BAD(p, "vcpu", "name a vCPU below the number in <vcpu>",
				"there is no vCPU %u", p->vcpu);
		else if (vcpu[p->vcpu])
			BAD(p, "vcpu", "leave one of them out", "vCPU %u is pinned twice", p->vcpu);
		else
			vcpu[p->vcpu] = true;
	}
	list_each(iothreadpin, p, t->iothreadpins) {
		if (!machine_has_iothread(m, p->iothread))
			BAD(p, "iothread", "name an id of <iothreadids>, or raise <iothreads>",
				"there is no I/O thread %u", p->iothread);
		else if (thread[p->iothread])
			BAD(p, "iothread", "leave one of them out", "I/O thread %u is pinned twice",
				p->iothread);
		else
			thread[p->iothread] = true;
	}
}

/* No thread may have two schedulers. */
static void check_schedulers(const struct machine *m, struct report *r)
{
	const struct cputune *t = &m->cputune;
	struct cpu_bits taken = { { 0 } }, now;

	if (t->emulatorsched)
		check_scheduler(t->emulatorsched, t->emulatorsched->scheduler,
			t->emulatorsched->priority, r);
	list_each(vcpusched, s, t->vcpuscheds) {
		check_scheduler(s, s->scheduler, s->priority, r);
		cpu_bits_parse(s->vcpus, &now);
		if (cpu_bits_highest(&now) >= (int)m->vcpu.max)
			BAD(s, "vcpus", "name vCPUs below the number in <vcpu>",
				"there is no vCPU %d", cpu_bits_highest(&now));
		for (unsigned i = 0; i < CPU_BITS_MAX / 64; i++) {
			if (taken.word[i] & now.word[i]) {
				BAD(s, "vcpus", "name each vCPU once", "vCPU %d has two schedulers",
					(int)i * 64 + __builtin_ctzll(taken.word[i] & now.word[i]));
				break;
			}
			taken.word[i] |= now.word[i];
		}
	}
	list_each(iothreadsched, s, t->iothreadscheds)
		check_scheduler(s, s->scheduler, s->priority, r);
}

static void check_numatune(const struct machine *m, struct report *r)
{
	const struct numatune *t = &m->numatune;
	bool seen[128] = { false };

	if (t->mode && !t->nodeset && t->placement != PLACEMENT_AUTO && m->vcpu.placement != PLACEMENT_AUTO)
		BAD(t, "mode", "write <memory mode='strict' nodeset='0'/>, or placement='auto'",
			"the host's nodes are missing");
	list_each(memnode, n, t->memnodes) {
		bool found = false;

		list_each(numa_cell, c, m->cpu.cells)
			found |= c->id == n->cellid;
		if (!found)
			BAD(n, "cellid", "name a cell of <cpu><numa>", "there is no cell %u",
				n->cellid);
		else if (n->cellid < 128 && seen[n->cellid])
			BAD(n, "cellid", "leave one of them out", "cell %u is given twice",
				n->cellid);
		if (n->cellid < 128)
			seen[n->cellid] = true;
	}
}

static void check_memtune(const struct machine *m, struct report *r)
{
	const struct memtune *t = &m->memtune;

	if (t->hard_limit && t->swap_hard_limit && t->swap_hard_limit < t->hard_limit)
		BAD(t, "swap_hard_limit",
			"write at least the hard limit: it counts memory and swap together",
			"the limit with swap is below the limit without");
}

static void check_order(const struct machine *m, struct report *r)
{
	list_each(vcpu_entry, v, m->vcpu.list)
		if (v->order && v->order != v->id + 1) {
			report_warn(r, v, "order", NULL, "kept, has no effect yet: vCPUs are plugged in the order of their ids");
			return;
		}
}

static void check_iothreads(const struct machine *m, struct report *r)
{
	g_autofree bool *seen = g_new0(bool, 1025);

	list_each(iothread, t, m->iothreads.list) {
		if (t->id > 1024)
			continue;       /* out of bounds: the row has said so */
		if (seen[t->id])
			BAD(t, "id", "leave one of them out", "I/O thread %u is given twice",
				t->id);
		seen[t->id] = true;
		if (t->pool_min >= 0 && t->pool_max >= 0 && t->pool_min > t->pool_max)
			BAD(t, "pool_min", "write at most thread_pool_max",
				"more helpers are kept than allowed");
	}
}

void check_tune(const struct machine *m, struct report *r)
{
	const struct cputune *t = &m->cputune;
	g_autoptr(GHashTable) paths = g_hash_table_new(g_str_hash, g_str_equal);

	check_order(m, r);
	check_quota(t, "quota", t->quota, r);
	check_quota(t, "global_quota", t->global_quota, r);
	check_quota(t, "emulator_quota", t->emulator_quota, r);
	check_quota(t, "iothread_quota", t->iothread_quota, r);
	check_pins(m, r);
	check_schedulers(m, r);
	check_numatune(m, r);
	check_memtune(m, r);
	check_iothreads(m, r);
	list_each(blkio_device, d, m->blkiotune.devices)
		if (d->path && !g_hash_table_add(paths, d->path))
			BAD(d, "path", "leave one of them out", "device '%s' is given twice",
				d->path);
	if (m->resource.partition && m->resource.partition[0] != '/')
		BAD(&m->resource, "partition", "write <partition>/machine</partition>",
			"'%s' does not begin with '/'", m->resource.partition);
}
