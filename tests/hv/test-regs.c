/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tables of processor and chip state: random values through saved state and back, cut and flipped; MSR list; page walks. */
#include <glib.h>
#include <string.h>

#include "domain/error.h"
#include "domain/state.h"
#include "hv/x86/host.h"
#include "hv/x86/msr.h"
#include "hv/x86/paging.h"
#include "hv/x86/regs.h"

static void fill_cpu(struct cpu_state *s, GRand *rand)
{
	schema_random(&cpu_state_schema, s, rand, 3);
	if (!s->xsave)
		s->xsave = g_byte_array_new();
	g_byte_array_set_size(s->xsave, 4096);
	memset(s->xsave->data, 0x5c, 4096);
	if (!s->lapic)
		s->lapic = g_byte_array_new();
	g_byte_array_set_size(s->lapic, KVM_APIC_REG_SIZE);
	memset(s->lapic->data, 0x3a, KVM_APIC_REG_SIZE);
}

static void test_cpu(void)
{
	GRand *rand = g_rand_new_with_seed(7);

	for (unsigned i = 0; i < 50; i++) {
		g_autoptr(GByteArray) out = g_byte_array_new();
		g_autoptr(GError) err = NULL;
		struct cpu_state *a = schema_new(&cpu_state_schema), *b = schema_new(&cpu_state_schema);
		const uint8_t *data;
		size_t len;

		fill_cpu(a, rand);
		state_save(&cpu_state_schema, a, out);
		data = out->data;
		len = out->len;
		g_assert_true(state_load(&cpu_state_schema, b, &data, &len, &err));
		g_assert_no_error(err);
		g_assert_cmpuint(len, ==, 0);
		g_assert_true(schema_equal(&cpu_state_schema, a, b));
		schema_free(&cpu_state_schema, a);
		schema_free(&cpu_state_schema, b);
	}
	g_rand_free(rand);
}

static void test_damaged(void)
{
	GRand *rand = g_rand_new_with_seed(9);
	struct cpu_state *a = schema_new(&cpu_state_schema);
	g_autoptr(GByteArray) out = g_byte_array_new();

	fill_cpu(a, rand);
	state_save(&cpu_state_schema, a, out);
	for (unsigned cut = 0; cut < out->len; cut += cut < 200 ? 1 : 97) {
		struct cpu_state *b = schema_new(&cpu_state_schema);
		g_autoptr(GError) err = NULL;
		const uint8_t *data = out->data;
		size_t len = cut;

		g_assert_false(state_load(&cpu_state_schema, b, &data, &len, &err));
		g_assert_error(err, kerr_quark(), KERR_STATE_DATA);
		schema_free(&cpu_state_schema, b);
	}
	/* too short register sets are told by name */
	g_byte_array_set_size(a->lapic, 100);
	g_byte_array_set_size(out, 0);
	state_save(&cpu_state_schema, a, out);
	{
		struct cpu_state *b = schema_new(&cpu_state_schema);
		g_autoptr(GError) err = NULL;
		const uint8_t *data = out->data;
		size_t len = out->len;

		g_assert_false(state_load(&cpu_state_schema, b, &data, &len, &err));
		g_assert_nonnull(strstr(err->message, "local APIC"));
		schema_free(&cpu_state_schema, b);
	}
	schema_free(&cpu_state_schema, a);
	g_rand_free(rand);
}

static void test_chips(void)
{
	GRand *rand = g_rand_new_with_seed(11);
	struct chips_state *a = schema_new(&chips_state_schema), *b = schema_new(&chips_state_schema);
	g_autoptr(GByteArray) out = g_byte_array_new();
	const uint8_t *data;
	size_t len;

	schema_random(&chips_state_schema, a, rand, 3);
	state_save(&chips_state_schema, a, out);
	data = out->data;
	len = out->len;
	g_assert_true(state_load(&chips_state_schema, b, &data, &len, NULL));
	g_assert_true(schema_equal(&chips_state_schema, a, b));
	g_assert_cmpmem(&a->ioapic.redirtbl, sizeof(a->ioapic.redirtbl), &b->ioapic.redirtbl, sizeof(b->ioapic.redirtbl));
	g_assert_cmphex(a->pit.channels[2].count, ==, b->pit.channels[2].count);
	schema_free(&chips_state_schema, a);
	schema_free(&chips_state_schema, b);
	g_rand_free(rand);
}

static void test_msrs(void)
{
	static const uint32_t kvm[] = { 0x174, MSR_TSC_DEADLINE, 0x10a, MSR_LSTAR, MSR_TSC, 0x4b564d00, 0x277 };
	unsigned n;
	g_autofree uint32_t *list = msr_list(kvm, G_N_ELEMENTS(kvm), &n);
	unsigned pat = 0, skipped = 0, mtrr = 0;

	for (unsigned i = 0; i < n; i++) {
		pat += list[i] == 0x277;
		skipped += list[i] == 0x10a;
		mtrr += list[i] == 0x2ff;
	}
	g_assert_cmpuint(pat, ==, 1);
	g_assert_cmpuint(skipped, ==, 0);
	g_assert_cmpuint(mtrr, ==, 1);
	g_assert_cmphex(list[n - 1], ==, MSR_TSC_DEADLINE);
	g_assert_cmpuint(msr_flags(MSR_TSC) & MSR_KEEP, ==, MSR_KEEP);
	g_assert_cmpuint(msr_flags(0x4b564d01) & MSR_ZERO, ==, MSR_ZERO);
	g_assert_cmpuint(msr_flags(0x174), ==, 0);
}

static void test_host(void)
{
	struct host_info *h = schema_new(&host_info_schema);

	host_cpu(h);
	g_assert_cmpuint(strlen(h->vendor), ==, 12);
	g_assert_cmpuint(h->family, >, 0);
	g_assert_cmpuint(h->phys_bits, >=, 32);
	schema_free(&host_info_schema, h);
}

/* --- page walks --- */

#define P 1ull
#define W 2ull
#define U 4ull
#define PS 0x80ull
#define NX (1ull << 63)

static void put(struct ram *r, uint64_t at, uint64_t entry)
{
	g_assert_true(ram_write(r, at, &entry, 8));
}

static void test_walk(void)
{
	struct kvm_sregs s = { .cr0 = 0x80010001, .cr3 = 0x1000, .cr4 = 0x20, .efer = 0xd00 };
	uint64_t gpa, entry;
	uint32_t error;
	struct ram r;

	g_assert_true(ram_init_anon(&r, 1 << 20, NULL));
	put(&r, 0x1000, 0x2000 | P | W | U);
	put(&r, 0x2000, 0x3000 | P | W | U);
	put(&r, 0x2008, 0x40000000 | P | W | PS);               /* 1 GiB */
	put(&r, 0x3000, 0x4000 | P | W | U);
	put(&r, 0x3008, 0x200000 | P | U | PS);                 /* 2 MiB, read-only */
	put(&r, 0x4000, 0x7000 | P | W | U | NX);
	put(&r, 0x4008, 0x8000 | P);
	put(&r, 0x1000 + 8 * 511, 0x2000 | P | W | U);

	g_assert_true(paging_walk(&r, &s, 0x123, PAGING_USER | PAGING_WRITE, &gpa, &error));
	g_assert_cmphex(gpa, ==, 0x7123);
	g_assert_true(paging_walk(&r, &s, 0xffffff8000000123, PAGING_USER, &gpa, &error));
	g_assert_cmphex(gpa, ==, 0x7123);
	g_assert_false(paging_walk(&r, &s, 0x123, PAGING_USER | PAGING_FETCH, &gpa, &error));
	g_assert_cmphex(error, ==, PF_PRESENT | PF_USER | PF_FETCH);
	g_assert_false(paging_walk(&r, &s, 0x1000, PAGING_USER, &gpa, &error));
	g_assert_cmphex(error, ==, PF_PRESENT | PF_USER);
	g_assert_true(paging_walk(&r, &s, 0x1000, 0, &gpa, &error));
	g_assert_false(paging_walk(&r, &s, 0x1000, PAGING_WRITE, &gpa, &error));
	g_assert_cmphex(error, ==, PF_PRESENT | PF_WRITE);
	s.cr0 &= ~0x10000ull;
	g_assert_true(paging_walk(&r, &s, 0x1000, PAGING_WRITE, &gpa, &error));
	g_assert_true(paging_walk(&r, &s, 0x200000 + 0x1234, PAGING_USER, &gpa, &error));
	g_assert_cmphex(gpa, ==, 0x201234);
	g_assert_true(paging_walk(&r, &s, 0x40000000 + 0x12345678, 0, &gpa, &error));
	g_assert_cmphex(gpa, ==, 0x52345678);
	g_assert_false(paging_walk(&r, &s, 0x2000, 0, &gpa, &error));
	g_assert_cmphex(error, ==, 0);
	/* SMAP and SMEP */
	s.cr4 |= 3 << 20;
	g_assert_false(paging_walk(&r, &s, 0x123, 0, &gpa, &error));
	g_assert_true(paging_walk(&r, &s, 0x123, PAGING_AC, &gpa, &error));
	g_assert_false(paging_walk(&r, &s, 0x200000, PAGING_FETCH, &gpa, &error));
	s.cr4 = 0x20;
	/* accessed and dirty */
	g_assert_true(paging_walk(&r, &s, 0x123, PAGING_WRITE | PAGING_MARK, &gpa, &error));
	g_assert_true(ram_read(&r, 0x4000, &entry, 8));
	g_assert_cmphex(entry & 0x60, ==, 0x60);
	g_assert_true(ram_read(&r, 0x3000, &entry, 8));
	g_assert_cmphex(entry & 0x60, ==, 0x20);
	/* a table outside of memory is no page */
	s.cr3 = 0x80000000;
	g_assert_false(paging_walk(&r, &s, 0x123, 0, &gpa, &error));
	/* 32-bit: two levels, 4 MiB pages; none */
	s = (struct kvm_sregs){ .cr0 = 0x80000001, .cr3 = 0x9000, .cr4 = 0x10 };
	g_assert_true(ram_write(&r, 0x9000 + 4, &(uint32_t){ 0x00c00083 }, 4));
	g_assert_true(paging_walk(&r, &s, 0x400123, 0, &gpa, &error));
	g_assert_cmphex(gpa, ==, 0xc00123);
	s.cr0 = 1;
	g_assert_true(paging_walk(&r, &s, 0x1ffffffffull, 0, &gpa, &error));
	g_assert_cmphex(gpa, ==, 0xffffffff);
	ram_finish(&r);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/regs/cpu", test_cpu);
	g_test_add_func("/regs/damaged", test_damaged);
	g_test_add_func("/regs/chips", test_chips);
	g_test_add_func("/regs/msrs", test_msrs);
	g_test_add_func("/regs/host", test_host);
	g_test_add_func("/regs/walk", test_walk);
	return g_test_run();
}
