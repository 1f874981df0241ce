/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Message signalled interrupts. KVM takes its routes only as one whole table, which also holds the legacy lines; so the
 * machine's table lies here and is handed over at each change. A guest changes messages while it sets devices up, not
 * while they work.
 */
#include "hv/msi.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "hv/accel.h"
#include "hv/vm.h"

#define PIC_LINES 16
#define PIC_PINS 8

struct msis {
	GMutex lock;
	bool no_fds;                    /* the accelerator has no irqfd */
	struct msi *of[MSI_MAX];        /* by GSI - IRQ_LINES */
};

static struct msis *table_of(struct vm *vm)
{
	if (!vm->msis) {
		vm->msis = g_new0(struct msis, 1);
		g_mutex_init(&vm->msis->lock);
	}
	return vm->msis;
}

void msis_free(struct vm *vm)
{
	if (!vm->msis)
		return;
	g_mutex_clear(&vm->msis->lock);
	g_clear_pointer(&vm->msis, g_free);
}

/* The lines as KVM has them by itself: each pin of the I/O APIC, and of the PICs where there is one. */
static unsigned add_lines(struct kvm_irq_routing_entry *e)
{
	unsigned n = 0;

	for (unsigned i = 0; i < IRQ_LINES; i++) {
		e[n++] = (struct kvm_irq_routing_entry){ .gsi = i, .type = KVM_IRQ_ROUTING_IRQCHIP,
			.u.irqchip = { .irqchip = KVM_IRQCHIP_IOAPIC, .pin = i } };
		if (i < PIC_LINES)
			e[n++] = (struct kvm_irq_routing_entry){ .gsi = i, .type = KVM_IRQ_ROUTING_IRQCHIP, .u.irqchip = {
				.irqchip = i < PIC_PINS ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE, .pin = i % PIC_PINS } };
	}
	return n;
}

/* Lock held. */
static int tell(struct vm *vm)
{
	g_autofree struct kvm_irq_routing_entry *e = g_new0(struct kvm_irq_routing_entry, IRQ_LINES + PIC_LINES + MSI_MAX);
	unsigned n = add_lines(e);

	for (unsigned i = 0; i < MSI_MAX; i++) {
		const struct msi *m = vm->msis->of[i];

		if (!m || !m->set)
			continue;
		e[n].gsi = IRQ_LINES + i;
		e[n].type = KVM_IRQ_ROUTING_MSI;
		e[n].u.msi.address_lo = (uint32_t)m->addr;
		e[n].u.msi.address_hi = (uint32_t)(m->addr >> 32);
		e[n++].u.msi.data = m->data;
	}
	return vm->accel->routes(vm, e, n);
}

/* Lock held. */
static void drop_fd(struct msi *m)
{
	if (m->fd < 0)
		return;
	(void)m->vm->accel->irq_fd(m->vm, (unsigned)m->gsi, m->fd, -1, false);  /* closing it has the same effect */
	close(m->fd);
	m->fd = -1;
}

void msi_init(struct msi *m, struct vm *vm)
{
	struct msis *t = table_of(vm);

	*m = (struct msi){ .vm = vm, .gsi = -1, .fd = -1 };
	g_mutex_lock(&t->lock);
	for (int i = 0; i < MSI_MAX && m->gsi < 0; i++) {
		if (t->of[i])
			continue;
		t->of[i] = m;
		m->gsi = IRQ_LINES + i;
	}
	if (m->gsi >= 0 && !t->no_fds) {
		int r;

		m->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		r = m->fd < 0 ? 0 : vm->accel->irq_fd(vm, (unsigned)m->gsi, m->fd, -1, true);
		if (r < 0) {
			t->no_fds = r == -ENOTSUP;
			close(m->fd);
			m->fd = -1;
		}
	}
	g_mutex_unlock(&t->lock);
}

void msi_finish(struct msi *m)
{
	struct vm *vm = m->vm;

	if (!vm)
		return;
	g_mutex_lock(&vm->msis->lock);
	drop_fd(m);
	if (m->gsi >= 0)
		vm->msis->of[m->gsi - IRQ_LINES] = NULL;        /* its route goes at the next change: nobody signals it */
	g_mutex_unlock(&vm->msis->lock);
	*m = (struct msi){ .gsi = -1, .fd = -1 };
}

void msi_set(struct msi *m, uint64_t addr, uint32_t data)
{
	int r = 0;

	g_mutex_lock(&m->vm->msis->lock);
	if (!m->set || m->addr != addr || m->data != data) {
		m->addr = addr;
		m->data = data;
		m->set = true;
		if (m->fd >= 0)
			r = tell(m->vm);
	}
	g_mutex_unlock(&m->vm->msis->lock);
	if (r < 0)
		g_debug("msi: route %d: %s", m->gsi, g_strerror(-r));
}

void msi_signal(struct msi *m)
{
	uint64_t addr, one = 1;
	uint32_t data;
	bool set;
	int r;

	if (m->fd >= 0) {
		/* EAGAIN: the counter is full, so KVM is told anyway */
		while (write(m->fd, &one, sizeof(one)) < 0 && errno == EINTR)
			;
		return;
	}
	g_mutex_lock(&m->vm->msis->lock);
	addr = m->addr;
	data = m->data;
	set = m->set;
	g_mutex_unlock(&m->vm->msis->lock);
	r = set ? m->vm->accel->msi(m->vm, addr, data) : 0;
	if (r < 0)
		g_debug("msi: %s", g_strerror(-r));
}
