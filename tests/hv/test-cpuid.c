/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest's CPUID from <cpu> and a made-up host: models, policies, topology, APIC ids, hypervisor leaves, emulated hosts. */
#include <glib.h>
#include <string.h>

#include "domain/cpu_features.h"
#include "domain/cpu_models.h"
#include "domain/error.h"
#include "domain/machine.h"
#include "hv/x86/cpuid.h"

struct table { struct kvm_cpuid2 head; struct kvm_cpuid_entry2 entries[64]; };

static void put(struct table *t, uint32_t leaf, uint32_t subleaf, uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
	bool indexed = leaf == 4 || leaf == 7 || leaf == 0xb || leaf == 0xd || leaf == 0x8000001d;

	t->entries[t->head.nent++] = (struct kvm_cpuid_entry2){ .function = leaf, .index = subleaf,
		.flags = indexed ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0, .eax = a, .ebx = b, .ecx = c, .edx = d };
}

static void add_bit(struct table *t, const char *name)
{
	const struct cpu_feature_row *row = cpu_feature_find(name);
	struct kvm_cpuid_entry2 *e;

	g_assert_nonnull(row);
	if (row->msr)
		return;
	e = cpuid_find(&t->head, row->leaf, row->subleaf);
	if (e)
		*cpuid_reg(e, row->reg) |= 1u << row->bit;
}

static void add_feature(const char *name, void *arg)
{
	add_bit(arg, name);
}

/* A host of this vendor with all that the model has. */
static struct table host(const char *vendor, const char *model)
{
	struct table t = { 0 };
	uint32_t b, c, d;

	memcpy(&b, vendor, 4);
	memcpy(&d, vendor + 4, 4);
	memcpy(&c, vendor + 8, 4);
	put(&t, 0, 0, 0x1f, b, c, d);
	put(&t, 1, 0, 0x50654, 0x00100800, 0, 0);
	put(&t, 4, 0, 0x1c004121, 0x01c0003f, 0x3f, 0);
	put(&t, 4, 3, 0x1c03c163, 0x02c0003f, 0x6fff, 0);
	put(&t, 6, 0, 4, 0, 0, 0);
	put(&t, 7, 0, 1, 0, 0, 0);
	put(&t, 7, 1, 0, 0, 0, 0);
	put(&t, 0xb, 0, 0, 0, 0, 0);
	put(&t, 0xd, 0, 0x2e7, 2696, 2696, 0);
	put(&t, 0xd, 1, 0xf, 0, 0, 0);
	put(&t, 0xd, 2, 256, 576, 0, 0);
	put(&t, 0xd, 5, 64, 1088, 0, 0);
	put(&t, 0xd, 6, 512, 1152, 0, 0);
	put(&t, 0xd, 7, 1024, 1664, 0, 0);
	put(&t, 0xd, 9, 8, 2688, 0, 0);
	put(&t, 0x80000000, 0, 0x80000021, 0, 0, 0);
	put(&t, 0x80000001, 0, 0, 0, 0, 0);
	for (uint32_t i = 2; i <= 4; i++)
		put(&t, 0x80000000 + i, 0, 0x20202020, 0, 0, 0);
	put(&t, 0x80000007, 0, 0, 0, 0, 0);
	put(&t, 0x80000008, 0, 0x3030, 0, 0, 0);
	put(&t, 0x8000001d, 3, 0x4163, 0, 0, 0);
	put(&t, 0x8000001e, 0, 0, 0, 0, 0);
	put(&t, 0x40000000, 0, 0x40000001, 0x4b4d564b, 0x564b4d56, 0x4d);
	put(&t, 0x40000001, 0, 0x01007efb, 0, 0, 0);
	cpu_model_features(cpu_model_find(model), add_feature, &t);
	add_bit(&t, "x2apic");
	add_bit(&t, "invtsc");
	return t;
}

static struct cpu_feature *feature(const char *name, enum cpu_policy policy)
{
	struct cpu_feature *f = g_new0(struct cpu_feature, 1);

	f->name = (char *)name;
	f->policy = policy;
	return f;
}

static bool offers(const struct kvm_cpuid2 *t, const char *name)
{
	const struct cpu_feature_row *row = cpu_feature_find(name);
	struct kvm_cpuid_entry2 *e = cpuid_find(t, row->leaf, row->subleaf);

	return e && *cpuid_reg(e, row->reg) >> row->bit & 1;
}

static struct kvm_cpuid2 *make(const struct table *h, const struct machine *m, uint32_t id, GError **err)
{
	struct cpuid_env env = { .supported = &h->head, .tsc_deadline = true };

	return cpuid_make(m, &env, id, err);
}

static void test_passthrough(void)
{
	struct table h = host("GenuineIntel", "Skylake-Server");
	struct machine m = { .vcpu.max = 1, .cpu.mode = CPU_MODE_HOST_PASSTHROUGH };
	g_autofree struct kvm_cpuid2 *t = make(&h, &m, 0, NULL);

	g_assert_true(offers(t, "avx512f"));
	g_assert_true(offers(t, "hypervisor"));
	g_assert_true(offers(t, "tsc-deadline"));
	g_assert_false(offers(t, "invtsc"));
	g_assert_cmphex(cpuid_find(t, 1, 0)->eax, ==, 0x50654);
	g_assert_nonnull(cpuid_find(t, 0x40000000, 0));
	g_free(g_steal_pointer(&t));
	m.cpu.migratable = ONOFF_OFF;
	m.features.kvm_hidden = ONOFF_ON;
	t = make(&h, &m, 0, NULL);
	g_assert_true(offers(t, "invtsc"));
	g_assert_null(cpuid_find(t, 0x40000000, 0));
	g_assert_null(cpuid_find(t, 0x40000001, 0));
}

static void test_custom(void)
{
	struct table h = host("GenuineIntel", "Skylake-Server");
	struct machine m = { .vcpu.max = 2, .cpu = { .mode = CPU_MODE_CUSTOM, .model = "Haswell-noTSX", .match = CPU_MATCH_EXACT } };
	g_autoptr(GError) err = NULL;
	g_autofree struct kvm_cpuid2 *t = make(&h, &m, 1, &err);

	g_assert_no_error(err);
	g_assert_true(offers(t, "avx2"));
	g_assert_true(offers(t, "x2apic"));
	g_assert_false(offers(t, "avx512f"));
	g_assert_false(offers(t, "clwb"));
	g_assert_cmphex(cpuid_find(t, 1, 0)->eax, ==, 0x306c1);        /* family 6, model 60, stepping 1 */
	/* XSAVE state only for what is shown */
	g_assert_cmphex(cpuid_find(t, 0xd, 0)->eax, ==, 7);
	g_assert_cmpuint(cpuid_find(t, 0xd, 0)->ecx, ==, 832);
	g_free(g_steal_pointer(&t));

	m.cpu.match = CPU_MATCH_MINIMUM;
	t = make(&h, &m, 0, NULL);
	g_assert_true(offers(t, "avx512f"));
	g_free(g_steal_pointer(&t));
	m.cpu.match = CPU_MATCH_STRICT;
	t = make(&h, &m, 0, &err);
	g_assert_null(t);
	g_assert_error(err, kerr_quark(), KERR_HOST);
	g_assert_nonnull(strstr(err->message, "strict"));
}

static void test_missing(void)
{
	struct table h = host("GenuineIntel", "Haswell-noTSX");
	struct machine m = { .vcpu.max = 1, .cpu = { .mode = CPU_MODE_CUSTOM, .model = "Skylake-Server" } };
	g_autoptr(GPtrArray) features = g_ptr_array_new_with_free_func(g_free);
	g_autoptr(GError) err = NULL;
	g_autofree struct kvm_cpuid2 *t = make(&h, &m, 0, &err);

	g_assert_null(t);
	g_assert_error(err, kerr_quark(), KERR_HOST);
	g_assert_nonnull(strstr(err->message, "'avx512f'"));
	g_assert_nonnull(strstr(err->message, "host-model"));
	g_clear_error(&err);
	m.cpu.check = CPU_CHECK_NONE;
	t = make(&h, &m, 0, &err);
	g_assert_no_error(err);
	g_assert_false(offers(t, "avx512f"));
	g_free(g_steal_pointer(&t));
	/* what is turned off by name need not be there */
	m.cpu.check = CPU_CHECK_ABSENT;
	m.cpu.model = "Broadwell-noTSX";
	m.cpu.features = features;
	for (unsigned i = 0; i < 4; i++)
		g_ptr_array_add(features, feature((const char *[]){ "3dnowprefetch", "adx", "rdseed", "smap" }[i], CPU_POLICY_DISABLE));
	t = make(&h, &m, 0, &err);
	g_assert_no_error(err);
}

static void test_policies(void)
{
	struct table h = host("GenuineIntel", "Haswell-noTSX");
	struct machine m = { .vcpu.max = 1, .cpu.mode = CPU_MODE_HOST_PASSTHROUGH };
	g_autoptr(GPtrArray) features = g_ptr_array_new_with_free_func(g_free);
	g_autoptr(GError) err = NULL;
	g_autofree struct kvm_cpuid2 *t = NULL;

	m.cpu.features = features;
	g_ptr_array_add(features, feature("avx2", CPU_POLICY_DISABLE));
	g_ptr_array_add(features, feature("sse4_1", CPU_POLICY_REQUIRE));       /* an alias */
	g_ptr_array_add(features, feature("avx512f", CPU_POLICY_FORCE));
	g_ptr_array_add(features, feature("clwb", CPU_POLICY_OPTIONAL));
	g_ptr_array_add(features, feature("invtsc", CPU_POLICY_REQUIRE));
	g_ptr_array_add(features, feature("hypervisor", CPU_POLICY_DISABLE));
	t = make(&h, &m, 0, &err);
	g_assert_no_error(err);
	g_assert_false(offers(t, "avx2"));
	g_assert_true(offers(t, "sse4.1"));
	g_assert_true(offers(t, "avx512f"));
	g_assert_false(offers(t, "clwb"));
	g_assert_true(offers(t, "invtsc"));
	g_assert_false(offers(t, "hypervisor"));
	g_ptr_array_set_size(features, 0);
	g_ptr_array_add(features, feature("avx2", CPU_POLICY_FORBID));
	g_assert_null(make(&h, &m, 0, &err));
	g_assert_error(err, kerr_quark(), KERR_HOST);
	g_clear_error(&err);
	g_ptr_array_set_size(features, 0);
	g_ptr_array_add(features, feature("clwb", CPU_POLICY_REQUIRE));
	g_assert_null(make(&h, &m, 0, &err));
	g_assert_nonnull(strstr(err->message, "'clwb'"));
	g_clear_error(&err);
	g_ptr_array_set_size(features, 0);
	g_ptr_array_add(features, feature("axv2", CPU_POLICY_REQUIRE));
	g_assert_null(make(&h, &m, 0, &err));
	g_assert_error(err, kerr_quark(), KERR_ARGS);
	g_clear_error(&err);
	g_ptr_array_set_size(features, 0);
	m.cpu.mode = CPU_MODE_CUSTOM;
	m.cpu.model = "Hasswell";
	g_assert_null(make(&h, &m, 0, &err));
	g_assert_error(err, kerr_quark(), KERR_ARGS);
	g_clear_error(&err);
	m.cpu.model = "Haswell-noTSX";
	m.cpu.vendor = "AMD";
	g_assert_null(make(&h, &m, 0, &err));
	g_assert_error(err, kerr_quark(), KERR_HOST);
}

static void test_layout(void)
{
	struct machine m = { .vcpu.max = 12, .cpu.topology = { .sockets = 2, .cores = 3, .threads = 2 } };
	static const uint32_t ids[12] = { 0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13 };
	struct cpu_layout l;

	cpu_layout_init(&l, &m);
	for (unsigned i = 0; i < 12; i++)
		g_assert_cmpuint(cpu_layout_apic_id(&l, i), ==, ids[i]);
	m.cpu.topology = (struct cpu_topology){ 0 };
	cpu_layout_init(&l, &m);
	g_assert_cmpuint(l.cores, ==, 12);
	g_assert_cmpuint(cpu_layout_apic_id(&l, 11), ==, 11);
}

static void test_topology(void)
{
	struct machine m = { .vcpu.max = 12, .cpu = { .mode = CPU_MODE_HOST_PASSTHROUGH,
		.topology = { .sockets = 2, .cores = 3, .threads = 2 } } };
	struct table intel = host("GenuineIntel", "Skylake-Server"), amd = host("AuthenticAMD", "EPYC");
	g_autofree struct kvm_cpuid2 *t = make(&intel, &m, 13, NULL);
	struct kvm_cpuid_entry2 *e = cpuid_find(t, 1, 0);

	g_assert_cmpuint(e->ebx >> 24, ==, 13);
	g_assert_cmpuint(e->ebx >> 16 & 0xff, ==, 8);
	g_assert_cmpuint(e->edx >> 28 & 1, ==, 1);
	e = cpuid_find(t, 0xb, 0);
	g_assert_cmpuint(e->eax, ==, 1);
	g_assert_cmpuint(e->ebx, ==, 2);
	g_assert_cmphex(e->ecx, ==, 0x100);
	g_assert_cmpuint(e->edx, ==, 13);
	e = cpuid_find(t, 0xb, 1);
	g_assert_cmpuint(e->eax, ==, 3);
	g_assert_cmpuint(e->ebx, ==, 6);
	g_assert_cmphex(e->ecx, ==, 0x201);
	e = cpuid_find(t, 0xb, 2);
	g_assert_cmpuint(e->ebx, ==, 0);
	e = cpuid_find(t, 4, 0);        /* L1: shared by a core's threads; 4 cores' worth of ids in the package */
	g_assert_cmpuint(e->eax >> 14 & 0xfff, ==, 1);
	g_assert_cmpuint(e->eax >> 26, ==, 3);
	e = cpuid_find(t, 4, 3);
	g_assert_cmpuint(e->eax >> 14 & 0xfff, ==, 7);
	g_assert_null(cpuid_find(t, 0x1f, 0));
	g_free(g_steal_pointer(&t));

	t = make(&amd, &m, 12, NULL);
	e = cpuid_find(t, 0x80000008, 0);
	g_assert_cmpuint(e->ecx & 0xff, ==, 5);
	g_assert_cmpuint(e->ecx >> 12 & 15, ==, 3);
	e = cpuid_find(t, 0x8000001e, 0);
	g_assert_cmpuint(e->eax, ==, 12);
	g_assert_cmphex(e->ebx, ==, 0x106);
	g_assert_cmpuint(cpuid_find(t, 0x80000001, 0)->ecx >> 1 & 1, ==, 1);
}

static void test_emulated(void)
{
	struct table h = host("AuthenticAMD", "EPYC"), raw = host("AuthenticAMD", "EPYC-Milan");
	struct machine m = { .vcpu.max = 1, .cpu.mode = CPU_MODE_HOST_PASSTHROUGH };
	struct cpuid_env env = { .supported = &h.head, .host = &raw.head, .emulated = true };
	g_autoptr(GPtrArray) features = g_ptr_array_new_with_free_func(g_free);
	g_autofree struct kvm_cpuid2 *t = NULL;

	/* KVM lists few features there; programs run on the processor all the same */
	cpuid_find(&h.head, 7, 0)->ebx = 0;
	t = cpuid_make(&m, &env, 0, NULL);
	g_assert_true(offers(t, "avx2"));
	g_assert_false(offers(t, "cx16"));
	g_assert_false(offers(t, "rdtscp"));
	g_assert_false(offers(t, "rdpid"));
	g_assert_cmphex(cpuid_find(t, 0x40000001, 0)->eax, ==, 0x0100000b | (0x01007efb & 1 << 15));
	g_assert_true(cpuid_hidden(&env, 0x80000001, CPUID_EDX, 27));
	g_assert_false(cpuid_hidden(&env, 7, CPUID_EBX, 5));
	g_free(g_steal_pointer(&t));
	m.cpu.features = features;
	g_ptr_array_add(features, feature("cx16", CPU_POLICY_REQUIRE));
	t = cpuid_make(&m, &env, 0, NULL);
	g_assert_true(offers(t, "cx16"));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/cpuid/passthrough", test_passthrough);
	g_test_add_func("/cpuid/custom", test_custom);
	g_test_add_func("/cpuid/missing", test_missing);
	g_test_add_func("/cpuid/policies", test_policies);
	g_test_add_func("/cpuid/layout", test_layout);
	g_test_add_func("/cpuid/topology", test_topology);
	g_test_add_func("/cpuid/emulated", test_emulated);
	return g_test_run();
}
