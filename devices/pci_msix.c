/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * MSI-X (PCI 3.0, 6.8.2): a table of messages in a BAR, each with a mask; a vector that must not be sent becomes pending
 * and is sent when it may be.
 *
 * Vectors are signalled from any thread without a lock: the sender looks at .silent, and if it has to leave the vector
 * pending looks once more; who lifts .silent looks at the pending bit afterwards. So one of both sees the other, and the
 * message goes out once.
 */
#include <string.h>

#include "devices/pci.h"
#include "domain/error.h"
#include "hv/vm.h"

#define PBA_BEHIND 2048u                /* of the table's start: PCI_VECTORS_MAX entries of 16 bytes */
#define CONTROL_ENABLE 0x8000u
#define CONTROL_MASK 0x4000u
#define VECTOR_MASKED 1u
#define SAVED_ONE 17u                   /* four words, pending */

G_STATIC_ASSERT(PCI_VECTORS_MAX * 16 == PBA_BEHIND);

void pci_add_msix(struct pci *p, unsigned vectors, unsigned bar, uint32_t offset)
{
	struct pci_msix *m = &p->msix;
	uint32_t words[2] = { offset | bar, (offset + PBA_BEHIND) | bar };
	uint8_t body[10] = { (uint8_t)(vectors - 1), (uint8_t)((vectors - 1) >> 8) };

	g_assert(vectors >= 1 && vectors <= PCI_VECTORS_MAX && !(offset & 7));
	for (unsigned i = 0; i < 8; i++)
		body[2 + i] = (uint8_t)(words[i / 4] >> 8 * (i % 4));
	m->cap = pci_add_cap(p, PCI_CAP_MSIX, body, sizeof(body));
	p->write[m->cap + 3] = (CONTROL_ENABLE | CONTROL_MASK) >> 8;
	m->n = vectors;
	m->bar = bar;
	m->table = offset;
	m->pba = offset + PBA_BEHIND;
	m->vectors = g_new0(struct pci_vector, vectors);
	m->pending = g_new0(int, vectors);
	for (unsigned i = 0; i < vectors; i++) {
		msi_init(&m->vectors[i].msi, p->dev->vm);
		m->vectors[i].control = VECTOR_MASKED;
		m->vectors[i].silent = 1;
	}
}

void pci_msix_finish(struct pci *p)
{
	for (unsigned i = 0; i < p->msix.n; i++)
		msi_finish(&p->msix.vectors[i].msi);
	g_free(p->msix.vectors);
	g_free(p->msix.pending);
	p->msix = (struct pci_msix){ 0 };
}

bool pci_msix_on(const struct pci *p)
{
	return __atomic_load_n(&p->msix.on, __ATOMIC_SEQ_CST);
}

void pci_msix_signal(struct pci *p, unsigned vector)
{
	struct pci_msix *m = &p->msix;
	struct pci_vector *v;

	if (vector >= m->n)
		return;
	v = &m->vectors[vector];
	if (__atomic_load_n(&v->silent, __ATOMIC_SEQ_CST)) {
		__atomic_store_n(&m->pending[vector], 1, __ATOMIC_SEQ_CST);
		if (__atomic_load_n(&v->silent, __ATOMIC_SEQ_CST) || !__atomic_exchange_n(&m->pending[vector], 0, __ATOMIC_SEQ_CST))
			return;
	}
	msi_signal(&v->msi);
}

static void update_vector(struct pci *p, unsigned i, bool may)
{
	struct pci_msix *m = &p->msix;
	struct pci_vector *v = &m->vectors[i];
	bool silent = !may || v->control & VECTOR_MASKED;

	if (!silent)
		msi_set(&v->msi, (uint64_t)v->addr_hi << 32 | v->addr_lo, v->data);
	__atomic_store_n(&v->silent, silent, __ATOMIC_SEQ_CST);
	if (!silent && __atomic_exchange_n(&m->pending[i], 0, __ATOMIC_SEQ_CST))
		msi_signal(&v->msi);
}

static bool may_send(const struct pci *p)
{
	unsigned control = (unsigned)p->config[p->msix.cap + 3] << 8;

	return (control & (CONTROL_ENABLE | CONTROL_MASK)) == CONTROL_ENABLE && pci_is_master(p);
}

void pci_msix_update(struct pci *p)
{
	struct pci_msix *m = &p->msix;
	bool on, may;

	if (!m->n)
		return;
	on = p->config[m->cap + 3] & CONTROL_ENABLE >> 8;
	may = may_send(p);
	__atomic_store_n(&m->on, on, __ATOMIC_SEQ_CST);
	for (unsigned i = 0; i < m->n; i++) {
		if (!on)
			__atomic_store_n(&m->pending[i], 0, __ATOMIC_SEQ_CST);
		update_vector(p, i, may);
	}
}

void pci_msix_reset(struct pci *p)
{
	struct pci_msix *m = &p->msix;

	for (unsigned i = 0; i < m->n; i++) {
		struct pci_vector *v = &m->vectors[i];

		v->addr_lo = v->addr_hi = v->data = 0;
		v->control = VECTOR_MASKED;
	}
	pci_msix_update(p);
}

/* --- the table and the pending bits --- */

bool pci_msix_hit(const struct pci *p, unsigned bar, uint64_t offset)
{
	const struct pci_msix *m = &p->msix;

	return m->n && bar == m->bar && offset >= m->table && offset < m->pba + PCI_VECTORS_MAX / 8;
}

static uint32_t *word_at(struct pci_msix *m, uint64_t offset)
{
	unsigned i = (unsigned)(offset - m->table) / 16;
	struct pci_vector *v = &m->vectors[i];

	if (i >= m->n)
		return NULL;
	switch (offset / 4 % 4) {
	case 0: return &v->addr_lo;
	case 1: return &v->addr_hi;
	case 2: return &v->data;
	default: return &v->control;
	}
}

static uint32_t pending_word(const struct pci_msix *m, uint64_t offset)
{
	unsigned first = (unsigned)(offset - m->pba) * 8;
	uint32_t bits = 0;

	for (unsigned i = 0; i < 32 && first + i < m->n; i++)
		bits |= (uint32_t)__atomic_load_n(&m->pending[first + i], __ATOMIC_SEQ_CST) << i;
	return bits;
}

uint64_t pci_msix_read(struct pci *p, uint64_t offset, unsigned size)
{
	struct pci_msix *m = &p->msix;
	uint64_t at = offset & ~3ull;
	uint32_t word = 0, *w;

	if (at >= m->pba) {
		word = pending_word(m, at);
	} else {
		w = word_at(m, at);
		word = w ? *w : 0;
	}
	return word >> 8 * (offset & 3);
}

void pci_msix_write(struct pci *p, uint64_t offset, unsigned size, uint64_t value)
{
	struct pci_msix *m = &p->msix;
	uint32_t *w;

	if (size != 4 || offset & 3 || offset >= m->pba) {
		guest_error(p->dev, "MSI-X: %u bytes written at 0x%x", size, (unsigned)(offset - m->table));
		return;
	}
	w = word_at(m, offset);
	if (!w)
		return;
	if (offset / 4 % 4 == 3)
		value &= VECTOR_MASKED;
	else if (offset / 4 % 4 == 0)
		value &= ~3ull;
	*w = (uint32_t)value;
	update_vector(p, (unsigned)(offset - m->table) / 16, may_send(p));
}

/* --- state --- */

void pci_msix_pre_save(struct pci *p)
{
	struct pci_msix *m = &p->msix;

	if (!m->n)
		return;
	p->saved_msix = g_byte_array_sized_new(m->n * SAVED_ONE);
	for (unsigned i = 0; i < m->n; i++) {
		const struct pci_vector *v = &m->vectors[i];
		uint32_t words[4] = { GUINT32_TO_BE(v->addr_lo), GUINT32_TO_BE(v->addr_hi), GUINT32_TO_BE(v->data),
			GUINT32_TO_BE(v->control) };
		uint8_t pending = (uint8_t)__atomic_load_n(&m->pending[i], __ATOMIC_SEQ_CST);

		g_byte_array_append(p->saved_msix, (const uint8_t *)words, sizeof(words));
		g_byte_array_append(p->saved_msix, &pending, 1);
	}
}

bool pci_msix_post_load(struct pci *p, GError **err)
{
	struct pci_msix *m = &p->msix;

	if (p->saved_msix->len != m->n * SAVED_ONE)
		return kerr_set(err, KERR_STATE_DATA, "%u bytes of MSI-X vectors for a device with %u vectors", p->saved_msix->len, m->n);
	for (unsigned i = 0; i < m->n; i++) {
		struct pci_vector *v = &m->vectors[i];
		const uint8_t *at = p->saved_msix->data + i * SAVED_ONE;
		uint32_t words[4];

		memcpy(words, at, sizeof(words));
		v->addr_lo = GUINT32_FROM_BE(words[0]) & ~3u;
		v->addr_hi = GUINT32_FROM_BE(words[1]);
		v->data = GUINT32_FROM_BE(words[2]);
		v->control = GUINT32_FROM_BE(words[3]) & VECTOR_MASKED;
		__atomic_store_n(&m->pending[i], at[16] & 1, __ATOMIC_SEQ_CST);
	}
	return true;
}
