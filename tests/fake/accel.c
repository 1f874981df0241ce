/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The accelerator that only counts. */
#include <errno.h>
#include <unistd.h>

#include "hv/vcpu.h"
#include "tests/fake/fake.h"

static struct fake *fake_of(struct vm *vm)
{
	return vm->accel_data;
}

static bool fake_open(struct vm *vm, struct fdset *fds, GError **err)
{
	return true;
}

static void fake_close(struct vm *vm)
{
}

static int fake_map(struct vm *vm, const struct slot *slot)
{
	return 0;
}

static int fake_irq(struct vm *vm, unsigned gsi, int level)
{
	struct fake *f = fake_of(vm);

	g_assert(gsi < IRQ_LINES);
	if (level && !f->level[gsi]) {
		f->irqs++;
		f->rises[gsi]++;
	}
	f->level[gsi] = level;
	return 0;
}

static int fake_msi(struct vm *vm, uint64_t addr, uint32_t data)
{
	struct fake *f = fake_of(vm);

	/* signalled from loops' threads too */
	__atomic_add_fetch(&f->msis, 1, __ATOMIC_SEQ_CST);
	__atomic_store_n(&f->msi_addr, addr, __ATOMIC_RELAXED);
	__atomic_store_n(&f->msi_data, data, __ATOMIC_RELAXED);
	__atomic_add_fetch(&f->msis_of[data >> 8 & 0xff][data & 15], 1, __ATOMIC_SEQ_CST);
	return 0;
}

static bool take(int fd)
{
	uint64_t count;

	return read(fd, &count, sizeof(count)) == sizeof(count);
}

static int end_irqfd(struct fake *f, unsigned gsi, int fd)
{
	bool others = false;
	unsigned at = f->irqfds_n;

	for (unsigned i = 0; i < f->irqfds_n; i++) {
		if (f->irqfds[i].fd == fd && f->irqfds[i].gsi == gsi)
			at = i;
		else
			others |= f->irqfds[i].gsi == gsi;
	}
	if (at == f->irqfds_n)
		return -ENOENT;
	(void)take(fd);         /* what was on its way is over */
	f->irqfds[at] = f->irqfds[--f->irqfds_n];
	f->raised[gsi] &= others;
	return 0;
}

static int fake_irq_fd(struct vm *vm, unsigned gsi, int fd, int resample, bool on)
{
	struct fake *f = fake_of(vm);

	if (!f->resamples || (on && resample < 0))
		return -ENOTSUP;
	g_assert(gsi < IRQ_LINES);
	f->irqfd_changes++;
	if (!on)
		return end_irqfd(f, gsi, fd);
	if (f->irqfds_n == (f->irqfds_most ? f->irqfds_most : G_N_ELEMENTS(f->irqfds)))
		return -EMFILE;
	f->irqfds[f->irqfds_n].gsi = gsi;
	f->irqfds[f->irqfds_n].fd = fd;
	f->irqfds[f->irqfds_n++].resample = resample;
	return 0;
}

bool fake_line(struct fake *f, unsigned gsi)
{
	for (unsigned i = 0; i < f->irqfds_n; i++)
		if (take(f->irqfds[i].fd))
			f->raised[f->irqfds[i].gsi] = true;
	return f->level[gsi] || f->raised[gsi];
}

void fake_eoi(struct fake *f, unsigned gsi)
{
	uint64_t one = 1;

	f->raised[gsi] = false;
	for (unsigned i = 0; i < f->irqfds_n; i++)
		if (f->irqfds[i].gsi == gsi)
			g_assert_cmpint(write(f->irqfds[i].resample, &one, sizeof(one)), ==, sizeof(one));
}

static int fake_routes(struct vm *vm, const struct kvm_irq_routing_entry *routes, unsigned n)
{
	return 0;
}

static int fake_kick_fd(struct vm *vm, const struct kick *kick, bool on)
{
	return -ENOTSUP;        /* so that the bus calls the device */
}

static int fake_dirty_log(struct vm *vm, const struct slot *slot, unsigned long *bits)
{
	return 0;
}

static bool fake_accel_save(struct vm *vm, GByteArray *out, GError **err)
{
	return true;
}

static bool fake_accel_load(struct vm *vm, const uint8_t **data, size_t *len, GError **err)
{
	return true;
}

static int fake_reset(struct vm *vm)
{
	return 0;
}

static bool fake_vcpu_open(struct vcpu *v, GError **err)
{
	v->run = g_malloc0(2 * 4096);
	return true;
}

static void fake_vcpu_close(struct vcpu *v)
{
	g_clear_pointer(&v->run, g_free);
}

static int fake_vcpu_reset(struct vcpu *v)
{
	return 0;
}

static int fake_run(struct vcpu *v)
{
	return -EINTR;
}

static void fake_kick(struct vcpu *v)
{
}

static bool fake_vcpu_save(struct vcpu *v, GByteArray *out, GError **err)
{
	return true;
}

static bool fake_vcpu_load(struct vcpu *v, const uint8_t **data, size_t *len, GError **err)
{
	return true;
}

static int fake_nmi(struct vcpu *v)
{
	return 0;
}

const struct accel_ops accel_fake = {
	.name = "fake",
	.open = fake_open,
	.close = fake_close,
	.map = fake_map,
	.irq = fake_irq,
	.msi = fake_msi,
	.irq_fd = fake_irq_fd,
	.routes = fake_routes,
	.kick_fd = fake_kick_fd,
	.dirty = fake_dirty_log,
	.save = fake_accel_save,
	.load = fake_accel_load,
	.reset = fake_reset,
	.vcpu_open = fake_vcpu_open,
	.vcpu_close = fake_vcpu_close,
	.vcpu_reset = fake_vcpu_reset,
	.run = fake_run,
	.kick = fake_kick,
	.vcpu_save = fake_vcpu_save,
	.vcpu_load = fake_vcpu_load,
	.nmi = fake_nmi,
};
