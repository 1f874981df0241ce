/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Mode, model and features of <cpu>, as libvirt defines them. What the host offers comes in as a CPUID table; bits that no
 * row of cpu_features.h names (cache and topology data, widths) pass through or follow from the rest.
 *
 *   (no <cpu>), host-model   all that the host offers and that may migrate
 *   host-passthrough         likewise; with migratable='off' all of it
 *   maximum                  all of it
 *   custom                   the model's features, all of which the host must have (unless check='none'); match='minimum'
 *                            adds the host's others, match='strict' refuses a host that has others
 *
 * Then each <feature> by its policy. What KVM itself provides to every guest (GRANTED) is there in all modes.
 */
#include "hv/x86/cpuid.h"

#include <string.h>

#include "domain/cpu_features.h"
#include "domain/cpu_models.h"
#include "domain/error.h"
#include "domain/machine.h"

#define NAMES_SHOWN 24

/* Provided by KVM, so given with any model where offered; also QEMU's habit. */
static const char *const granted[] = { "hypervisor", "x2apic", "tsc-deadline", "arat", "tsc_adjust" };
/* Set by cpuid.c or by KVM as the guest runs: no row's business. */
static const char *const derived[] = { "ht", "osxsave", "ospke", "topoext", "cmp_legacy" };
/* Listed by models of old, but nothing a guest needs: given where the host has it, never missed. */
static const char *const unmissed[] = { "vmx", "svm", "monitor", "ht", "acpi", "tm", "tm2", "ds", "ds_cpl", "pbe", "ss", "est",
	"xtpr", "dtes64", "cid", "osxsave", "npt", "nrip-save", "topoext", "cmp_legacy", "extapic", "cr8legacy", "osvw", "ibs", "skinit",
	"wdt", "lwp", "nodeid_msr", "perfctr_core", "perfctr_nb" };
/* Not with a machine that may move to another host. */
static const char *const immobile[] = { "invtsc" };

struct job {
	const struct machine *m;
	const struct cpuid_env *env;
	struct kvm_cpuid2 *t;           /* what it becomes */
	struct kvm_cpuid2 *offered;     /* what it was */
	GPtrArray *missing;             /* names of required features that the host lacks; not owned */
};

static bool listed(const char *const *list, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(list[i], name))
			return true;
	return false;
}
#define LISTED(list, name) listed(list, G_N_ELEMENTS(list), name)

static uint32_t *word(const struct kvm_cpuid2 *t, const struct cpu_feature_row *row)
{
	struct kvm_cpuid_entry2 *e = row->msr ? NULL : cpuid_find(t, row->leaf, row->subleaf);

	return e ? cpuid_reg(e, row->reg) : NULL;
}

static bool has(const struct kvm_cpuid2 *t, const struct cpu_feature_row *row)
{
	const uint32_t *w = word(t, row);

	return w && *w >> row->bit & 1;
}

static void set(struct kvm_cpuid2 *t, const struct cpu_feature_row *row, bool on)
{
	uint32_t *w = word(t, row);

	if (!w && on && !row->msr && t->nent < CPUID_ENTRIES_MAX) {     /* forced, on a host without that leaf */
		t->entries[t->nent++] = (struct kvm_cpuid_entry2){ .function = row->leaf, .index = row->subleaf,
			.flags = row->leaf == 7 || row->leaf == 0xd ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0 };
		w = word(t, row);
	}
	if (w)
		*w = on ? *w | 1u << row->bit : *w & ~(1u << row->bit);
}

static void drop_named(struct job *j, const char *name)
{
	const struct cpu_feature_row *row = cpu_feature_find(name);

	if (row)
		set(j->t, row, false);
}

/* --- custom models --- */

static void require_of_model(const char *name, void *arg)
{
	struct job *j = arg;
	const struct cpu_feature_row *row = cpu_feature_find(name);

	if (!row || row->msr || row->host_only || LISTED(unmissed, row->name))
		return;
	if (!has(j->offered, row) && j->m->cpu.check != CPU_CHECK_NONE)
		g_ptr_array_add(j->missing, (void *)row->name);
}

/* Is a feature of the model turned off (or made optional) by name? Then the host need not have it. */
static bool is_excused(const struct cpu *cpu, const char *name)
{
	for (unsigned i = 0; cpu->features && i < cpu->features->len; i++) {
		const struct cpu_feature *f = g_ptr_array_index(cpu->features, i);
		const struct cpu_feature_row *row = cpu_feature_find(f->name);

		if (row && !strcmp(row->name, name))
			return f->policy != CPU_POLICY_ABSENT && f->policy != CPU_POLICY_REQUIRE;
	}
	return false;
}

static void set_signature(struct kvm_cpuid2 *t, const struct cpu_model_row *model)
{
	unsigned family = MIN(model->family, 15u), extended = model->family - family;
	uint32_t eax = model->stepping & 15u;
	struct kvm_cpuid_entry2 *e;

	if (!model->family)
		return;
	eax |= (model->model & 15u) << 4 | family << 8 | (model->model >> 4 & 15u) << 16 | extended << 20;
	if ((e = cpuid_find(t, 1, 0)))
		e->eax = eax;
	if ((e = cpuid_find(t, 0x80000001, 0)) && e->eax)
		e->eax = eax;
}

static void set_vendor(struct kvm_cpuid2 *t, const char *twelve)
{
	static const uint32_t leaves[] = { 0, 0x80000000 };

	for (unsigned i = 0; i < G_N_ELEMENTS(leaves); i++) {
		struct kvm_cpuid_entry2 *e = cpuid_find(t, leaves[i], 0);

		if (!e || (leaves[i] && !e->ebx))       /* Intel leaves the second place empty */
			continue;
		memcpy(&e->ebx, twelve, 4);
		memcpy(&e->edx, twelve + 4, 4);
		memcpy(&e->ecx, twelve + 8, 4);
	}
}

static void set_brand(struct kvm_cpuid2 *t, const char *name)
{
	char text[48] = { 0 };

	g_strlcpy(text, name, sizeof(text));
	for (unsigned i = 0; i < 3; i++) {
		struct kvm_cpuid_entry2 *e = cpuid_find(t, 0x80000002 + i, 0);

		if (!e)
			return;
		memcpy(&e->eax, text + 16 * i, 4);
		memcpy(&e->ebx, text + 16 * i + 4, 4);
		memcpy(&e->ecx, text + 16 * i + 8, 4);
		memcpy(&e->edx, text + 16 * i + 12, 4);
	}
}

static bool custom(struct job *j, GError **err)
{
	const struct cpu *cpu = &j->m->cpu;
	const struct cpu_model_row *model = cpu->model ? cpu_model_find(cpu->model) : NULL;
	g_autofree char *brand = NULL;
	const char *vendor;

	if (!model) {
		const char *near = cpu->model ? cpu_model_near(cpu->model) : NULL;

		return kerr_set(err, KERR_ARGS, "there is no CPU model '%s'%s%s%s", cpu->model ? cpu->model : "",
			near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
	}
	cpu_model_features(model, require_of_model, j);
	for (unsigned i = 0; i < j->missing->len;) {
		if (is_excused(cpu, g_ptr_array_index(j->missing, i)))
			g_ptr_array_remove_index(j->missing, i);
		else
			i++;
	}
	for (unsigned i = 0; i < cpu_feature_rows_n; i++) {
		const struct cpu_feature_row *row = &cpu_feature_rows[i];

		if (row->msr || !has(j->t, row) || LISTED(granted, row->name) || LISTED(derived, row->name) ||
		    cpu_model_has(model, row->name))
			continue;
		if (cpu->match == CPU_MATCH_STRICT && !row->host_only && !is_excused(cpu, row->name))
			return kerr_set(err, KERR_HOST, "this host's processor also has '%s', which CPU model '%s' lacks, and match='strict' "
				"is asked for; write match='exact'", row->name, model->name);
		if (cpu->match != CPU_MATCH_MINIMUM)
			set(j->t, row, false);
	}
	if (j->env->emulated)
		return true;    /* guest programs see the processor's own: an identity that contradicts it would only confuse */
	set_signature(j->t, model);
	vendor = model->vendor ? cpu_vendor_string(model->vendor) : NULL;
	if (vendor && strlen(vendor) == 12)
		set_vendor(j->t, vendor);
	brand = g_strdup_printf("kvmd %s", model->name);
	set_brand(j->t, brand);
	return true;
}

/* --- features by name --- */

static bool apply_feature(struct job *j, const struct cpu_feature *f, GError **err)
{
	const struct cpu_feature_row *row = cpu_feature_find(f->name);

	if (!row) {
		const char *near = cpu_feature_near(f->name);

		return kerr_set(err, KERR_ARGS, "there is no CPU feature '%s'%s%s%s", f->name, near ? "; did you mean '" : "",
			near ? near : "", near ? "'?" : "");
	}
	switch (f->policy) {
	case CPU_POLICY_FORCE:
		set(j->t, row, true);
		return true;
	case CPU_POLICY_DISABLE:
		set(j->t, row, false);
		return true;
	case CPU_POLICY_FORBID:
		if (has(j->offered, row))
			return kerr_set(err, KERR_HOST, "this host's processor has '%s', which is forbidden; write policy='disable' to hide it",
				row->name);
		return true;
	case CPU_POLICY_OPTIONAL:
		if (has(j->offered, row))
			set(j->t, row, true);
		return true;
	default:
		break;
	}
	if (row->msr)
		return kerr_set(err, KERR_UNSUPPORTED, "CPU feature '%s' is a bit of an MSR, which kvmd leaves as KVM sets it; "
			"write policy='optional'", row->name);
	if (!has(j->offered, row))
		g_ptr_array_add(j->missing, (void *)row->name);
	else
		set(j->t, row, true);
	return true;
}

static bool tell_missing(struct job *j, GError **err)
{
	g_autoptr(GString) names = g_string_new(NULL);
	const char *model = j->m->cpu.mode == CPU_MODE_CUSTOM ? j->m->cpu.model : NULL;

	if (!j->missing->len)
		return true;
	for (unsigned i = 0; i < j->missing->len && i < NAMES_SHOWN; i++)
		g_string_append_printf(names, "%s'%s'", i ? ", " : "", (char *)g_ptr_array_index(j->missing, i));
	if (j->missing->len > NAMES_SHOWN)
		g_string_append_printf(names, " and %u more", j->missing->len - NAMES_SHOWN);
	return kerr_set(err, KERR_HOST, "this host lacks the CPU feature%s %s%s%s%s; write <feature policy='disable' name='…'/>%s",
		j->missing->len > 1 ? "s" : "", names->str, model ? " of model '" : "", model ? model : "", model ? "'" : "",
		model ? ", an older model, or mode='host-model'" : "");
}

/* --- what follows --- */

static bool named_bit(const struct kvm_cpuid2 *t, const char *name)
{
	const struct cpu_feature_row *row = cpu_feature_find(name);

	return row && has(t, row);
}

/* XSAVE components whose instructions are not shown are not shown either, and the size is what remains. */
static void fit_xsave(struct kvm_cpuid2 *t)
{
	static const struct { const char *name; uint32_t bits; } parts[] = { { "avx", 1 << 2 }, { "mpx", 3 << 3 },
		{ "avx512f", 7 << 5 }, { "pku", 1 << 9 }, { "amx-tile", 3 << 17 } };
	struct kvm_cpuid_entry2 *e = cpuid_find(t, 0xd, 0);
	uint32_t size = 576;

	if (!e)
		return;
	for (unsigned i = 0; i < G_N_ELEMENTS(parts); i++)
		if (!named_bit(t, parts[i].name))
			e->eax &= ~parts[i].bits;
	for (unsigned i = 2; i < 32; i++) {
		const struct kvm_cpuid_entry2 *part = e->eax >> i & 1 ? cpuid_find(t, 0xd, i) : NULL;

		if (part)
			size = MAX(size, part->ebx + part->eax);
	}
	e->ecx = size;
	e->ebx = MIN(e->ebx, size);
}

static bool fit_address(const struct cpu *cpu, struct kvm_cpuid2 *t, GError **err)
{
	const struct cpu_maxphysaddr *a = cpu->maxphysaddr;
	struct kvm_cpuid_entry2 *e = cpuid_find(t, 0x80000008, 0);
	uint32_t host = e ? e->eax & 0xff : 36, bits = host;

	if (!a || !e)
		return true;
	if (a->mode == CPU_CACHE_EMULATE && a->bits)
		bits = a->bits;
	if (a->mode == CPU_CACHE_PASSTHROUGH && a->limit)
		bits = MIN(bits, a->limit);
	if (bits > host)
		return kerr_set(err, KERR_HOST, "this host's physical addresses have %u bits, <maxphysaddr> asks for %u; write "
			"mode='passthrough'", host, bits);
	e->eax = (e->eax & ~0xffu) | bits;
	return true;
}

static void fit_cache(const struct cpu *cpu, struct kvm_cpuid2 *t)
{
	if (!cpu->cache || cpu->cache->mode != CPU_CACHE_DISABLE)
		return;
	for (unsigned i = 0; i < t->nent; i++) {
		struct kvm_cpuid_entry2 *e = &t->entries[i];

		if (e->function == 4 || e->function == 0x8000001d || e->function == 0x80000006)
			e->eax = e->ebx = e->ecx = e->edx = 0;
		else if (e->function == 0x80000005)
			e->ecx = e->edx = 0;
	}
}

static bool check_vendor(const struct job *j, GError **err)
{
	const char *want = j->m->cpu.vendor ? cpu_vendor_string(j->m->cpu.vendor) : NULL;
	const struct kvm_cpuid_entry2 *e = cpuid_find(j->offered, 0, 0);
	char host[13] = "";

	if (!j->m->cpu.vendor || !e)
		return true;
	memcpy(host, &e->ebx, 4);
	memcpy(host + 4, &e->edx, 4);
	memcpy(host + 8, &e->ecx, 4);
	return (want && !strcmp(want, host)) || kerr_set(err, KERR_HOST, "this host's processor is %s; <vendor> asks for '%s'", host,
		j->m->cpu.vendor);
}

static bool run(struct job *j, GError **err)
{
	const struct cpu *cpu = &j->m->cpu;
	bool mobile = cpu->mode == CPU_MODE_ABSENT || cpu->mode == CPU_MODE_HOST_MODEL ||
		(cpu->mode == CPU_MODE_HOST_PASSTHROUGH && cpu->migratable != ONOFF_OFF);

	if (!check_vendor(j, err) || (cpu->mode == CPU_MODE_CUSTOM && !custom(j, err)))
		return false;
	for (unsigned i = 0; mobile && i < G_N_ELEMENTS(immobile); i++)
		drop_named(j, immobile[i]);
	for (unsigned i = 0; cpu->features && i < cpu->features->len; i++)
		if (!apply_feature(j, g_ptr_array_index(cpu->features, i), err))
			return false;
	if (!tell_missing(j, err) || !fit_address(cpu, j->t, err))
		return false;
	if (!j->env->emulated)
		fit_xsave(j->t);
	fit_cache(cpu, j->t);
	if (cpu->vendor_id && strlen(cpu->vendor_id) == 12)
		set_vendor(j->t, cpu->vendor_id);
	return true;
}

bool cpuid_model(const struct machine *m, const struct cpuid_env *env, struct kvm_cpuid2 *t, GError **err)
{
	size_t size = sizeof(*t) + t->nent * sizeof(t->entries[0]);
	g_autofree struct kvm_cpuid2 *offered = g_memdup2(t, size);
	g_autoptr(GPtrArray) missing = g_ptr_array_new();
	struct job j = { .m = m, .env = env, .t = t, .offered = offered, .missing = missing };

	return run(&j, err);
}
