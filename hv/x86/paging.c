/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Page-table walk: see the header. One loop over levels serves all modes; the mode only gives shifts and sizes. */
#include "hv/x86/paging.h"

#include <glib.h>

#define CR0_WP (1ull << 16)
#define CR0_PG (1ull << 31)
#define CR4_PSE (1ull << 4)
#define CR4_PAE (1ull << 5)
#define CR4_LA57 (1ull << 12)
#define CR4_SMEP (1ull << 20)
#define CR4_SMAP (1ull << 21)
#define EFER_LMA (1ull << 10)
#define EFER_NXE (1ull << 11)

#define PTE_P (1ull << 0)
#define PTE_W (1ull << 1)
#define PTE_U (1ull << 2)
#define PTE_A (1ull << 5)
#define PTE_D (1ull << 6)
#define PTE_PS (1ull << 7)
#define PTE_NX (1ull << 63)
#define MARK_TRIES 64           /* a guest that keeps changing its entry gets the walk without the mark */
#define ADDR_MASK 0x000ffffffffff000ull

struct mode { unsigned levels, bits, entry; };          /* index bits per level, bytes per entry */

static struct mode mode_of(const struct kvm_sregs *s)
{
	if (s->efer & EFER_LMA)
		return (struct mode){ s->cr4 & CR4_LA57 ? 5 : 4, 9, 8 };
	if (s->cr4 & CR4_PAE)
		return (struct mode){ 3, 9, 8 };
	return (struct mode){ 2, 10, 4 };
}

/* Atomically or-s bits into an entry whose other bits are as read; false: the guest has changed it meanwhile. */
static bool mark(struct ram *ram, uint64_t at, unsigned size, uint64_t old, uint64_t bits)
{
	void *host = ram_host(ram, at, size);
	bool ok;

	if ((old & bits) == bits)
		return true;
	if (!host)
		return false;
	if (size == 8) {
		ok = __atomic_compare_exchange_n((uint64_t *)host, &old, old | bits, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	} else {
		uint32_t old32 = (uint32_t)old;

		ok = __atomic_compare_exchange_n((uint32_t *)host, &old32, old32 | (uint32_t)bits, false, __ATOMIC_SEQ_CST,
			__ATOMIC_SEQ_CST);
	}
	ram_mark(ram, at, size);
	return ok;
}

/* Are the rights collected on the way enough? */
static bool allowed(const struct kvm_sregs *s, unsigned access, uint64_t rights, bool nx)
{
	bool user_page = rights & PTE_U;

	if (access & PAGING_USER) {
		if (!user_page)
			return false;
	} else if (user_page) {
		if (access & PAGING_FETCH ? s->cr4 & CR4_SMEP : s->cr4 & CR4_SMAP && !(access & PAGING_AC))
			return false;
	}
	if (access & PAGING_WRITE && !(rights & PTE_W) && (access & PAGING_USER || s->cr0 & CR0_WP))
		return false;
	return !(access & PAGING_FETCH && nx);
}

bool paging_walk(struct ram *ram, const struct kvm_sregs *s, uint64_t va, unsigned access, uint64_t *gpa, uint32_t *error)
{
	uint32_t fault = (access & PAGING_WRITE ? PF_WRITE : 0) | (access & PAGING_USER ? PF_USER : 0) |
		(access & PAGING_FETCH && s->efer & EFER_NXE ? PF_FETCH : 0);
	struct mode m = mode_of(s);
	uint64_t table, rights, entry, at;
	unsigned tries = 0;
	bool nx;

	if (!(s->cr0 & CR0_PG)) {
		*gpa = (uint32_t)va;
		return true;
	}
	if (!(s->efer & EFER_LMA))
		va = (uint32_t)va;
again:
	table = s->cr3 & (m.levels == 3 ? 0xffffffe0ull : ADDR_MASK);
	rights = PTE_U | PTE_W;
	nx = false;
	for (unsigned level = m.levels; level; level--) {
		unsigned shift = 12 + (level - 1) * m.bits;
		bool pdpt = m.levels == 3 && level == 3, large;

		at = table + ((va >> shift) & ((1u << (pdpt ? 2 : m.bits)) - 1)) * m.entry;
		entry = 0;
		if (!ram_read(ram, at, &entry, m.entry) || !(entry & PTE_P)) {
			*error = fault;
			return false;
		}
		if (!pdpt) {    /* PAE's top entries have no rights */
			rights &= entry;
			nx |= m.entry == 8 && s->efer & EFER_NXE && entry & PTE_NX;
		}
		large = entry & PTE_PS && !pdpt && (level == 2 || (level == 3 && m.levels >= 4)) &&
			(m.entry == 8 || s->cr4 & CR4_PSE);
		if (level == 1 || large) {
			uint64_t size = 1ull << shift, base = entry & ADDR_MASK & ~(size - 1);

			if (!allowed(s, access, rights, nx)) {
				*error = fault | PF_PRESENT;
				return false;
			}
			if (large && m.entry == 4)      /* PSE-36 */
				base = (entry & 0xffc00000u) | ((entry >> 13 & 0xff) << 32);
			if (access & PAGING_MARK && tries < MARK_TRIES &&
			    !mark(ram, at, m.entry, entry, PTE_A | (access & PAGING_WRITE ? PTE_D : 0))) {
				tries++;
				goto again;
			}
			*gpa = base | (va & (size - 1));
			return true;
		}
		if (access & PAGING_MARK && !pdpt && tries < MARK_TRIES && !mark(ram, at, m.entry, entry, PTE_A)) {
			tries++;
			goto again;
		}
		table = entry & ADDR_MASK;
	}
	g_assert_not_reached();
}
