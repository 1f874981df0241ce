/* SPDX-License-Identifier: GPL-2.0-or-later */
/* setvcpu: vCPUs by their numbers. setvcpus and the rest: vcpus.c. */
#include "daemon/change.h"
#include "daemon/commands.h"
#include "daemon/dom.h"
#include "daemon/vcpus.h"
#include "domain/check.h"
#include "domain/commands_vcpus.h"

#define PATIENCE 9              /* as vcpus.c */

static bool list_ok(const struct ask_setvcpu *a, unsigned max, const struct cpu_bits *bits, GError **err)
{
	int highest = cpu_bits_highest(bits);

	if (highest < 0)
		return kerr_set(err, KERR_ARGS, "the list names no vCPU");
	if ((unsigned)highest >= max)
		return kerr_set(err, KERR_ARGS, "there is no vCPU %d: the maximum is %u, numbers begin with 0", highest, max);
	if (a->disable && cpu_bit(bits, 0))
		return kerr_set(err, KERR_UNSUPPORTED, "vCPU 0 boots the guest: it stays");
	return true;
}

static bool edit(struct machine *m, void *arg, GError **err)
{
	const struct ask_setvcpu *a = arg;
	g_autofree struct cpu_bits *bits = g_new0(struct cpu_bits, 1);
	unsigned n = 0;

	cpu_bits_parse(a->vcpulist, bits);
	if (!list_ok(a, m->vcpu.max, bits, err))
		return false;
	vcpus_mention(m);
	list_each(vcpu_entry, e, m->vcpu.list) {
		if (e->id < m->vcpu.max && cpu_bit(bits, e->id)) {
			e->enabled = a->enable ? YESNO_YES : YESNO_NO;
			if (a->disable)
				e->hotpluggable = YESNO_YES;
		}
		n += e->id < m->vcpu.max && e->enabled != YESNO_NO;
	}
	m->vcpu.current = n == m->vcpu.max ? 0 : n;
	return true;
}

static void apply(struct change *c, struct dom *d, void *arg)
{
	const struct ask_setvcpu *a = arg;
	g_autofree struct cpu_bits *bits = g_new0(struct cpu_bits, 1);
	g_autoptr(GError) err = NULL;
	json_object *args;
	unsigned n = 0;

	cpu_bits_parse(a->vcpulist, bits);
	if (!list_ok(a, d->live->vcpu.max, bits, &err)) {
		change_done(c, err);
		return;
	}
	for (unsigned i = 0; i < d->live->vcpu.max; i++)
		n += cpu_bit(bits, i);
	args = json_object_new_object();
	json_object_object_add(args, "vcpus", json_object_new_string(a->vcpulist));
	json_object_object_add(args, "enable", json_object_new_boolean(a->enable));
	change_ask_guest(c, "vcpus-set", args, a->timeout, PATIENCE * (1 + (uint64_t)n), NULL, 0);
}

static void answer(struct request *r, bool live, void *arg)
{
	const struct dom *d = r->dom;
	struct tell_setvcpus t = { .vcpus = d->def.vcpus, .maximum = d->def.vcpus_max };

	if (live && d->live)
		t = (struct tell_setvcpus){ .vcpus = machine_vcpus(d->live), .maximum = d->live->vcpu.max };
	request_reply(r, &t);
}

static void cmd_setvcpu(struct request *r)
{
	static const struct change_ops ops = { .edit = edit, .apply = apply, .answer = answer };
	const struct ask_setvcpu *a = r->args;
	g_autoptr(GError) err = NULL;

	if (a->enable != a->disable) {
		change(r, &a->scope, &ops, r->args);
		return;
	}
	kerr_set(&err, KERR_ARGS, "say one of --enable and --disable");
	request_fail(r, err);
}

const struct command_binding vcpus_each_bindings[] = {
	{ "setvcpu", cmd_setvcpu },
	{ NULL },
};
