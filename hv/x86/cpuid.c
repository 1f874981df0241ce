/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest's CPUID table, in this order: what the host offers; the model and features (cpuid_model.c); what follows from
 * the machine: topology, APIC id, hypervisor leaves. Intel SDM volume 2 (CPUID), AMD APM volume 3 appendix E.
 */
#include "hv/x86/cpuid.h"

#include <cpuid.h>
#include <linux/kvm_para.h>
#include <string.h>

#include "domain/cpu_features.h"
#include "domain/error.h"
#include "domain/machine.h"

#define HV_BASE 0x40000000u
#define BIT(n) (1u << (n))
#define L1_EDX_HTT BIT(28)
#define L1_ECX_HYPERVISOR BIT(31)
#define L1_ECX_TSC_DEADLINE BIT(24)
#define L1_ECX_MOVBE BIT(22)
#define L7_ECX_RDPID BIT(22)
#define AMD_ECX_CMP_LEGACY BIT(1)
#define AMD_ECX_TOPOEXT BIT(22)

/* Paravirtual features that an emulated guest kernel can have: none that makes hypercalls, wants steal time (a tick's cost
 * there is too high) or asynchronous page faults. */
#define KVM_FEATURES_EMULATED (BIT(0) /* clock */ | BIT(1) /* no I/O delay */ | BIT(3) /* clock, new numbers */ | \
	BIT(15) /* extended MSI destinations */ | BIT(24) /* stable clock */)

struct kvm_cpuid_entry2 *cpuid_find(const struct kvm_cpuid2 *t, uint32_t leaf, uint32_t subleaf)
{
	for (unsigned i = 0; i < t->nent; i++) {
		const struct kvm_cpuid_entry2 *e = &t->entries[i];

		if (e->function == leaf && (!(e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) || e->index == subleaf))
			return (struct kvm_cpuid_entry2 *)e;
	}
	return NULL;
}

uint32_t *cpuid_reg(struct kvm_cpuid_entry2 *e, unsigned reg)
{
	switch (reg) {
	case CPUID_EAX:
		return &e->eax;
	case CPUID_EBX:
		return &e->ebx;
	case CPUID_ECX:
		return &e->ecx;
	default:
		return &e->edx;
	}
}

static void drop(struct kvm_cpuid2 *t, uint32_t first, uint32_t last)
{
	unsigned n = 0;

	for (unsigned i = 0; i < t->nent; i++)
		if (t->entries[i].function < first || t->entries[i].function > last)
			t->entries[n++] = t->entries[i];
	t->nent = n;
}

static void put(struct kvm_cpuid2 *t, struct kvm_cpuid_entry2 e)
{
	if (t->nent < CPUID_ENTRIES_MAX)
		t->entries[t->nent++] = e;
}

static bool is_amd(const struct kvm_cpuid2 *t)
{
	const struct kvm_cpuid_entry2 *e = cpuid_find(t, 0, 0);

	return e && (e->ebx == signature_AMD_ebx || e->ebx == 0x6f677948 /* Hygon */);
}

/* --- topology --- */

static unsigned bits_for(unsigned n)
{
	return n > 1 ? 32 - (unsigned)__builtin_clz(n - 1) : 0;
}

void cpu_layout_init(struct cpu_layout *l, const struct machine *m)
{
	const struct cpu_topology *t = &m->cpu.topology;
	bool given = t->sockets && t->cores && t->threads;

	*l = (struct cpu_layout){ .sockets = 1, .dies = 1, .cores = MAX(m->vcpu.max, 1), .threads = 1 };
	if (given)
		*l = (struct cpu_layout){ .sockets = t->sockets, .dies = MAX(t->dies, 1), .cores = t->cores, .threads = t->threads };
	l->thread_bits = bits_for(l->threads);
	l->core_bits = bits_for(l->cores);
	l->die_bits = bits_for(l->dies);
}

uint32_t cpu_layout_apic_id(const struct cpu_layout *l, unsigned index)
{
	unsigned thread = index % l->threads, core = index / l->threads % l->cores;
	unsigned die = index / l->threads / l->cores % l->dies, socket = index / l->threads / l->cores / l->dies;

	return thread | core << l->thread_bits | die << (l->thread_bits + l->core_bits) |
		socket << (l->thread_bits + l->core_bits + l->die_bits);
}

static uint32_t caches(uint32_t eax, unsigned threads, unsigned package)
{
	unsigned level = eax >> 5 & 7, share = level >= 3 ? package : threads;

	return (eax & ~(0xfffu << 14)) | (MIN(share, 0x1000u) - 1) << 14;
}

static void set_topology_intel(struct kvm_cpuid2 *t, const struct cpu_layout *l, unsigned package_bits)
{
	for (unsigned i = 0; i < t->nent; i++) {
		struct kvm_cpuid_entry2 *e = &t->entries[i];

		if (e->function == 4 && e->eax & 0x1f)
			e->eax = (caches(e->eax, 1u << l->thread_bits, 1u << package_bits) & ~(0x3fu << 26)) |
				MIN((1u << (package_bits - l->thread_bits)) - 1, 0x3fu) << 26;
	}
}

static void set_topology_amd(struct kvm_cpuid2 *t, const struct cpu_layout *l, unsigned package_bits, uint32_t id)
{
	unsigned n = l->threads * l->cores * l->dies;
	struct kvm_cpuid_entry2 *e;

	for (unsigned i = 0; i < t->nent; i++)
		if (t->entries[i].function == 0x8000001d && t->entries[i].eax & 0x1f)
			t->entries[i].eax = caches(t->entries[i].eax, l->threads, l->threads * l->cores);
	e = cpuid_find(t, 0x80000001, 0);
	if (e && n > 1)
		e->ecx |= AMD_ECX_CMP_LEGACY;
	else if (e)
		e->ecx &= ~AMD_ECX_CMP_LEGACY;
	e = cpuid_find(t, 0x80000008, 0);
	if (e)
		e->ecx = (e->ecx & ~0xf0ffu) | MIN(n - 1, 0xffu) | package_bits << 12;
	e = cpuid_find(t, 0x8000001e, 0);
	if (e) {
		e->eax = id;
		e->ebx = (l->threads - 1) << 8 | ((id >> l->thread_bits) & 0xff);
		e->ecx = (l->dies - 1) << 8 | ((id >> (l->thread_bits + l->core_bits)) & 0xff);
		e->edx = 0;
	}
}

/* Leaves 0xb and 0x1f: one subleaf per level {type, width so far, logical processors so far}, then an empty one. */
static void put_levels(struct kvm_cpuid2 *t, uint32_t leaf, const struct cpu_layout *l, uint32_t id)
{
	unsigned threads = l->thread_bits, cores = threads + l->core_bits, dies = cores + l->die_bits;
	struct { unsigned type, width, n; } level[4] = { { 1, threads, l->threads } };
	unsigned levels = 1;

	if (leaf == 0x1f) {
		level[levels].type = 2, level[levels].width = cores, level[levels++].n = l->threads * l->cores;
		level[levels].type = 5, level[levels].width = dies, level[levels++].n = l->threads * l->cores * l->dies;
	} else {
		level[levels].type = 2, level[levels].width = dies, level[levels++].n = l->threads * l->cores * l->dies;
	}
	for (unsigned i = 0; i <= levels; i++)
		put(t, (struct kvm_cpuid_entry2){ .function = leaf, .index = i, .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
			.eax = level[i].width, .ebx = level[i].n, .ecx = i | level[i].type << 8, .edx = id });
}

static void set_topology(struct kvm_cpuid2 *t, const struct cpu_layout *l, uint32_t id)
{
	unsigned n = l->threads * l->cores * l->dies, package_bits = l->thread_bits + l->core_bits + l->die_bits;
	struct kvm_cpuid_entry2 *e = cpuid_find(t, 1, 0);

	if (e) {
		e->ebx = (e->ebx & 0xffffu) | MIN(1u << package_bits, 0xffu) << 16 | (id & 0xff) << 24;
		e->edx = n > 1 ? e->edx | L1_EDX_HTT : e->edx & ~L1_EDX_HTT;
	}
	if (is_amd(t))
		set_topology_amd(t, l, package_bits, id);
	else
		set_topology_intel(t, l, package_bits);
	drop(t, 0xb, 0xb);
	drop(t, 0x1f, 0x1f);
	drop(t, 0x80000026, 0x80000026);
	put_levels(t, 0xb, l, id);
	e = cpuid_find(t, 0, 0);
	if (l->dies > 1 && e && e->eax >= 0x1f && !is_amd(t))
		put_levels(t, 0x1f, l, id);
	if (e)
		e->eax = MAX(e->eax, 0xb);
}

/* --- what the host offers --- */

/* On emulated hosts: what the processor has beyond what its KVM lists. Leaves of plain feature bits only. */
static const struct { uint32_t leaf, subleaf; uint8_t reg; uint32_t bits; } native_bits[] = {
	/* all but: MONITOR, VMX, SMX, EST, TM2, PDCM, PCID, DCA, OSXSAVE, hypervisor */
	{ 1, 0, CPUID_ECX, ~(BIT(3) | BIT(5) | BIT(6) | BIT(7) | BIT(8) | BIT(15) | BIT(17) | BIT(18) | BIT(27) | BIT(31)) },
	/* all but: HLE, INVPCID, RTM, PQM, MPX, PQE, PT */
	{ 7, 0, CPUID_EBX, ~(BIT(4) | BIT(10) | BIT(11) | BIT(12) | BIT(14) | BIT(15) | BIT(25)) },
	/* user instructions: VBMI, UMIP, WAITPKG no; VBMI2, GFNI, VAES, VPCLMULQDQ, VNNI, BITALG, VPOPCNTDQ, MOVDIR*; RDPID not: it would tell the host's number */
	{ 7, 0, CPUID_ECX, BIT(1) | BIT(2) | BIT(6) | BIT(8) | BIT(9) | BIT(10) | BIT(11) | BIT(12) | BIT(14) | BIT(27) | BIT(28) },
	/* 4VNNIW, 4FMAPS, FSRM, VP2INTERSECT, SERIALIZE, AVX512-FP16 */
	{ 7, 0, CPUID_EDX, BIT(2) | BIT(3) | BIT(4) | BIT(8) | BIT(14) | BIT(23) },
	/* SHA512, SM3, SM4, AVX-VNNI, AVX512-BF16, CMPCCXADD, FZRM, FSRS, FSRC, AVX-IFMA */
	{ 7, 1, CPUID_EAX, BIT(0) | BIT(1) | BIT(2) | BIT(4) | BIT(5) | BIT(7) | BIT(10) | BIT(11) | BIT(12) | BIT(23) },
	/* LAHF, ABM, SSE4A, MISALIGNSSE, 3DNOWPREFETCH, XOP, FMA4, TBM */
	{ 0x80000001, 0, CPUID_ECX, BIT(0) | BIT(5) | BIT(6) | BIT(7) | BIT(8) | BIT(11) | BIT(16) | BIT(21) },
	{ 0x80000001, 0, CPUID_EDX, BIT(11) | BIT(20) | BIT(22) | BIT(25) | BIT(29) },
	{ 0xd, 1, CPUID_EAX, BIT(0) | BIT(1) | BIT(2) },
};

static bool host_leaf(const struct cpuid_env *env, uint32_t leaf, uint32_t subleaf, struct kvm_cpuid_entry2 *out)
{
	const struct kvm_cpuid_entry2 *e;

	if (!env->host)
		return __get_cpuid_count(leaf, subleaf, &out->eax, &out->ebx, &out->ecx, &out->edx);
	e = cpuid_find(env->host, leaf, subleaf);
	if (e)
		*out = *e;
	return e;
}

static void add_native(const struct cpuid_env *env, struct kvm_cpuid2 *t)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(native_bits); i++) {
		struct kvm_cpuid_entry2 host = { 0 }, *e = cpuid_find(t, native_bits[i].leaf, native_bits[i].subleaf);

		if (e && host_leaf(env, native_bits[i].leaf, native_bits[i].subleaf, &host))
			*cpuid_reg(e, native_bits[i].reg) |= *cpuid_reg(&host, native_bits[i].reg) & native_bits[i].bits;
	}
}

/* Each use by a guest kernel would be a trip to user space: not shown to it unless the definition requires the feature by
 * name. Guest programs see it anyway. */
static const struct { uint32_t leaf; uint8_t reg, bit; } slow_bits[] = {
	{ 1, CPUID_ECX, 13 /* cx16: in each allocation of SLUB */ },
	{ 0x80000001, CPUID_EDX, 27 /* rdtscp */ },
};

static bool is_required(const struct machine *m, uint32_t leaf, unsigned reg, unsigned bit)
{
	for (unsigned i = 0; m->cpu.features && i < m->cpu.features->len; i++) {
		const struct cpu_feature *f = g_ptr_array_index(m->cpu.features, i);
		const struct cpu_feature_row *row = cpu_feature_find(f->name);

		if (row && !row->msr && row->leaf == leaf && row->reg == reg && row->bit == bit)
			return f->policy == CPU_POLICY_REQUIRE || f->policy == CPU_POLICY_FORCE;
	}
	return false;
}

static void hide_slow(const struct machine *m, struct kvm_cpuid2 *t)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(slow_bits); i++) {
		struct kvm_cpuid_entry2 *e = cpuid_find(t, slow_bits[i].leaf, 0);

		if (e && !is_required(m, slow_bits[i].leaf, slow_bits[i].reg, slow_bits[i].bit))
			*cpuid_reg(e, slow_bits[i].reg) &= ~BIT(slow_bits[i].bit);
	}
}

/* Shown to guest kernels of such hosts whatever KVM_SET_CPUID2 says. */
#define EMULATED_L1_ECX 0x76d81203u

bool cpuid_hidden(const struct cpuid_env *env, uint32_t leaf, unsigned reg, unsigned bit)
{
	if (!env->emulated)
		return true;
	if (leaf == 1)
		return reg == CPUID_ECX && !(EMULATED_L1_ECX >> bit & 1);
	return leaf != 7 && leaf != 0xd;
}

/* No performance counters: Intel's leaf 0xa, AMD's core counters. */
static void hide_pmu(struct kvm_cpuid2 *t)
{
	struct kvm_cpuid_entry2 *e = cpuid_find(t, 0xa, 0);

	if (e)
		e->eax = e->ebx = e->ecx = e->edx = 0;
	e = cpuid_find(t, 0x80000001, 0);
	if (e)
		e->ecx &= ~(BIT(23) | BIT(24) | BIT(28));
	drop(t, 0x80000022, 0x80000022);
}

static void set_hypervisor(const struct machine *m, const struct cpuid_env *env, struct kvm_cpuid2 *t)
{
	struct kvm_cpuid_entry2 *e;

	if (m->features.kvm_hidden == ONOFF_ON) {
		drop(t, HV_BASE, HV_BASE + 0xff);
		return;
	}
	e = cpuid_find(t, HV_BASE, 0);
	if (e)
		e->eax = MAX(e->eax, HV_BASE + 1);
	e = cpuid_find(t, HV_BASE + 1, 0);
	if (!e)
		return;
	if (m->features.kvm_hint_dedicated == ONOFF_ON)
		e->edx |= BIT(KVM_HINTS_REALTIME);
	if (m->features.kvm_poll_control != ONOFF_ON)
		e->eax &= ~BIT(KVM_FEATURE_POLL_CONTROL);
	if (m->features.kvm_pv_ipi == ONOFF_OFF)
		e->eax &= ~BIT(KVM_FEATURE_PV_SEND_IPI);
	if (m->features.pvspinlock && !feature_on(m->features.pvspinlock))
		e->eax &= ~BIT(KVM_FEATURE_PV_UNHALT);
	if (env->emulated)
		e->eax &= KVM_FEATURES_EMULATED;
	if (!clock_timer_present(&m->clock, TIMER_KVMCLOCK, true))
		e->eax &= ~(BIT(KVM_FEATURE_CLOCKSOURCE) | BIT(KVM_FEATURE_CLOCKSOURCE2) | BIT(KVM_FEATURE_CLOCKSOURCE_STABLE_BIT));
}

struct kvm_cpuid2 *cpuid_make(const struct machine *m, const struct cpuid_env *env, uint32_t apic_id, GError **err)
{
	g_autofree struct kvm_cpuid2 *t = g_malloc0(sizeof(*t) + CPUID_ENTRIES_MAX * sizeof(t->entries[0]));
	struct kvm_cpuid_entry2 *e;
	struct cpu_layout layout;

	t->nent = MIN(env->supported->nent, CPUID_ENTRIES_MAX);
	memcpy(t->entries, env->supported->entries, t->nent * sizeof(t->entries[0]));
	if (env->emulated)
		add_native(env, t);
	e = cpuid_find(t, 1, 0);
	if (!e) {
		kerr_set(err, KERR_HOST, "this host's KVM offers no processor features");
		return NULL;
	}
	e->ecx |= L1_ECX_HYPERVISOR;    /* offered, though not a feature of the processor */
	if (env->tsc_deadline)
		e->ecx |= L1_ECX_TSC_DEADLINE;
	if (!cpuid_model(m, env, t, err))
		return NULL;
	if (env->emulated)
		hide_slow(m, t);
	cpu_layout_init(&layout, m);
	set_topology(t, &layout, apic_id);
	set_hypervisor(m, env, t);
	if (m->features.pmu && !feature_on(m->features.pmu))
		hide_pmu(t);
	return g_steal_pointer(&t);
}
