/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The vCPU hot-plug block, with a guest that does what the DSDT's methods do. */
#include "devices/cpuhp.h"
#include "domain/error.h"
#include "domain/machine.h"
#include "hv/vcpu.h"
#include "hv/x86/ports.h"
#include "tests/fake/driver.h"

struct rig {
	struct fake *f;
	struct device *d;
	unsigned posts;
};

static void posted(void *arg)
{
	((struct rig *)arg)->posts++;
}

/* A machine of 8 slots, the first two filled. */
static void rig_init(struct rig *r)
{
	*r = (struct rig){ .f = fake_vm() };
	r->f->machine->vcpu.max = 8;
	r->f->machine->vcpu.current = 2;
	g_assert_true(vm_add_vcpus(&r->f->vm, NULL));
	r->d = fake_add(r->f, "cpuhp", NULL);
	cpuhp_listen(r->d, posted, r);
}

static void select_slot(struct rig *r, uint32_t slot)
{
	drv_out(r->f, PORT_CPUHP + CPUHP_SELECT, 4, slot);
}

static uint8_t state(struct rig *r, uint32_t slot)
{
	select_slot(r, slot);
	return drv_inb(r->f, PORT_CPUHP + CPUHP_STATE);
}

static void act(struct rig *r, uint32_t slot, uint8_t bits)
{
	select_slot(r, slot);
	drv_outb(r->f, PORT_CPUHP + CPUHP_STATE, bits);
}

static void ost(struct rig *r, uint32_t slot, uint32_t event, uint32_t status)
{
	select_slot(r, slot);
	drv_out(r->f, PORT_CPUHP + CPUHP_OST_EVENT, 4, event);
	drv_out(r->f, PORT_CPUHP + CPUHP_OST_STATUS, 4, status);
}

static void test_slots(void)
{
	struct rig r;

	rig_init(&r);
	for (unsigned i = 0; i < 8; i++)
		g_assert_cmphex(state(&r, i), ==, i < 2 ? CPUHP_PRESENT : 0);
	g_assert_cmphex(state(&r, 8), ==, 0);
	g_assert_cmphex(state(&r, UINT32_MAX), ==, 0);
	/* what does not exist does nothing */
	act(&r, 9, 0xff);
	ost(&r, UINT32_MAX, 1, 0);
	act(&r, 5, CPUHP_EJECT);
	g_assert_cmpuint(r.posts, ==, 0);
	fake_free(r.f);
}

static void test_add(void)
{
	struct cpuhp_report got;
	struct rig r;

	rig_init(&r);
	g_assert_nonnull(vm_add_vcpu(&r.f->vm, 5, NULL));
	cpuhp_insert(r.d, 5, true);
	g_assert_cmphex(state(&r, 5), ==, CPUHP_PRESENT | CPUHP_INSERT);
	g_assert_false(cpuhp_take(r.d, &got));
	act(&r, 5, CPUHP_REMOVE);               /* the other event: not this one */
	g_assert_cmphex(state(&r, 5), ==, CPUHP_PRESENT | CPUHP_INSERT);
	act(&r, 5, CPUHP_INSERT);
	g_assert_cmphex(state(&r, 5), ==, CPUHP_PRESENT);
	ost(&r, 5, 1, 0x80);
	ost(&r, 5, 1, 0);
	g_assert_cmpuint(r.posts, ==, 1);       /* however much it says */
	g_assert_true(cpuhp_take(r.d, &got));
	g_assert_cmpuint(got.slot, ==, 5);
	g_assert_true(got.seen && got.told && !got.ejected);
	g_assert_cmpuint(got.event, ==, 1);
	g_assert_cmpuint(got.status, ==, 0);
	g_assert_false(cpuhp_take(r.d, &got));
	ost(&r, 5, 1, 7);
	g_assert_cmpuint(r.posts, ==, 2);
	fake_free(r.f);
}

static void test_remove(void)
{
	struct cpuhp_report got;
	struct rig r;

	rig_init(&r);
	cpuhp_remove(r.d, 6);                   /* nothing there */
	g_assert_cmphex(state(&r, 6), ==, 0);
	cpuhp_remove(r.d, 1);
	g_assert_cmphex(state(&r, 1), ==, CPUHP_PRESENT | CPUHP_REMOVE);
	act(&r, 1, CPUHP_REMOVE);
	act(&r, 1, CPUHP_EJECT);
	g_assert_cmphex(state(&r, 1), ==, 0);
	ost(&r, 1, 3, 0);
	g_assert_true(cpuhp_take(r.d, &got));
	g_assert_true(got.slot == 1 && got.seen && got.ejected && got.told && got.event == 3);
	/* the first stays, whatever the guest tries */
	act(&r, 0, CPUHP_EJECT);
	g_assert_cmphex(state(&r, 0), ==, CPUHP_PRESENT);
	g_assert_cmpuint(r.d->guest_errors, ==, 1);
	g_assert_false(cpuhp_take(r.d, &got));
	fake_free(r.f);
}

/* <vcpus> says which may go. */
static void test_fixed(void)
{
	struct vcpu_entry entry = { .id = 1, .enabled = YESNO_YES, .hotpluggable = YESNO_NO };
	struct fake *f = fake_vm();
	struct rig r = { .f = f };

	f->machine->vcpu.max = 3;
	f->machine->vcpu.current = 2;
	f->machine->vcpu.list = g_ptr_array_new();
	g_ptr_array_add(f->machine->vcpu.list, &entry);
	g_assert_true(vm_add_vcpus(&f->vm, NULL));
	r.d = fake_add(f, "cpuhp", NULL);
	act(&r, 1, CPUHP_EJECT);
	g_assert_cmphex(state(&r, 1), ==, CPUHP_PRESENT);
	g_assert_true(machine_vcpu_hotpluggable(f->machine, 2));
	g_assert_false(machine_vcpu_hotpluggable(f->machine, 0));
	g_ptr_array_unref(f->machine->vcpu.list);
	f->machine->vcpu.list = NULL;
	fake_free(f);
}

static void test_withdraw(void)
{
	struct rig r;
	struct vcpu *v;

	rig_init(&r);
	v = vm_add_vcpu(&r.f->vm, 3, NULL);
	cpuhp_insert(r.d, 3, true);
	v->unplugged = true;
	g_assert_true(cpuhp_withdraw(r.d, 3));
	g_assert_cmphex(state(&r, 3), ==, 0);
	/* the guest had looked: it is told so, and empty all the same */
	v->unplugged = false;
	cpuhp_insert(r.d, 3, true);
	act(&r, 3, CPUHP_INSERT);
	v->unplugged = true;
	g_assert_false(cpuhp_withdraw(r.d, 3));
	g_assert_cmphex(state(&r, 3), ==, 0);
	cpuhp_remove(r.d, 1);
	g_assert_true(cpuhp_withdraw(r.d, 1));
	g_assert_cmphex(state(&r, 1), ==, CPUHP_PRESENT);
	/* ejected meanwhile: it stays so */
	cpuhp_remove(r.d, 1);
	act(&r, 1, CPUHP_REMOVE | CPUHP_EJECT);
	g_assert_false(cpuhp_withdraw(r.d, 1));
	g_assert_cmphex(state(&r, 1), ==, 0);
	fake_free(r.f);
}

static void test_reset(void)
{
	struct cpuhp_report got;
	struct rig r;

	rig_init(&r);
	act(&r, 1, CPUHP_EJECT);
	device_reset(r.d);                      /* nobody has taken the CPU away yet */
	g_assert_cmphex(state(&r, 1), ==, CPUHP_PRESENT);
	g_assert_false(cpuhp_take(r.d, &got));
	vm_vcpu(&r.f->vm, 1)->unplugged = true;
	device_reset(r.d);
	g_assert_cmphex(state(&r, 1), ==, 0);
	fake_free(r.f);
}

/* Between the event and the guest's look at it; and state that does not fit is refused. */
static void test_move(void)
{
	struct rig a, b;
	GByteArray *saved;
	GError *err = NULL;

	rig_init(&a);
	rig_init(&b);
	cpuhp_remove(a.d, 1);
	select_slot(&a, 1);
	drv_out(a.f, PORT_CPUHP + CPUHP_OST_EVENT, 4, 3);
	fake_pause(a.f);
	saved = fake_save(a.d);
	(void)fake_load(b.d, saved, &err);
	g_assert_no_error(err);
	g_assert_cmphex(drv_inb(b.f, PORT_CPUHP + CPUHP_STATE), ==, CPUHP_PRESENT | CPUHP_REMOVE);
	drv_out(b.f, PORT_CPUHP + CPUHP_OST_STATUS, 4, 0x84);
	{
		struct cpuhp_report got;

		g_assert_true(cpuhp_take(b.d, &got));
		g_assert_cmpuint(got.event, ==, 3);
		g_assert_cmphex(got.status, ==, 0x84);
	}
	vm_vcpu(&b.f->vm, 1)->unplugged = true;
	g_assert_false(fake_load(b.d, saved, &err));
	g_assert_error(err, kerr_quark(), KERR_STATE_DATA);
	g_clear_error(&err);
	g_byte_array_unref(saved);
	fake_free(a.f);
	fake_free(b.f);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/cpuhp/slots", test_slots);
	g_test_add_func("/cpuhp/add", test_add);
	g_test_add_func("/cpuhp/remove", test_remove);
	g_test_add_func("/cpuhp/fixed", test_fixed);
	g_test_add_func("/cpuhp/withdraw", test_withdraw);
	g_test_add_func("/cpuhp/reset", test_reset);
	g_test_add_func("/cpuhp/move", test_move);
	return g_test_run();
}
