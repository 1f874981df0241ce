/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The PCI hot-plug block, with a guest that does what the DSDT's methods do, and with one that does anything. */
#include "devices/pcihp.h"
#include "domain/error.h"
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

static void rig_init(struct rig *r)
{
	*r = (struct rig){ .f = fake_vm() };
	r->d = fake_add(r->f, "pcihp", NULL);
	pcihp_listen(r->d, posted, r);
}

static uint32_t reg(struct rig *r, unsigned at)
{
	return (uint32_t)drv_in(r->f, (uint16_t)(PORT_PCIHP + at), 4);
}

static void put(struct rig *r, unsigned at, uint32_t v)
{
	drv_out(r->f, (uint16_t)(PORT_PCIHP + at), 4, v);
}

static void ost(struct rig *r, uint32_t slot, uint32_t event, uint32_t status)
{
	put(r, PCIHP_OST_SLOT, slot);
	put(r, PCIHP_OST_EVENT, event);
	put(r, PCIHP_OST_STATUS, status);
}

static void test_come(void)
{
	struct pcihp_report got;
	struct rig r;

	rig_init(&r);
	g_assert_cmphex(reg(&r, PCIHP_UP), ==, 0);
	pcihp_insert(r.d, 5);
	pcihp_insert(r.d, 31);
	g_assert_cmphex(reg(&r, PCIHP_UP), ==, 1u << 5 | 1u << 31);
	put(&r, PCIHP_UP, 1u << 5 | 1u << 6);   /* one that is not there */
	g_assert_cmphex(reg(&r, PCIHP_UP), ==, 1u << 31);
	ost(&r, 5, 1, 0x80);
	ost(&r, 5, 1, 0);
	g_assert_cmpuint(r.posts, ==, 1);       /* however much it says */
	g_assert_true(pcihp_take(r.d, &got));
	g_assert_true(got.slot == 5 && got.seen && got.told && !got.ejected && got.event == 1 && got.status == 0);
	g_assert_false(pcihp_take(r.d, &got));
	ost(&r, 5, 1, 7);
	g_assert_cmpuint(r.posts, ==, 2);
	fake_free(r.f);
}

static void test_go(void)
{
	struct pcihp_report got;
	struct rig r;

	rig_init(&r);
	pcihp_remove(r.d, 3);
	g_assert_cmphex(reg(&r, PCIHP_DOWN), ==, 1u << 3);
	put(&r, PCIHP_DOWN, 1u << 3);
	put(&r, PCIHP_EJECT, 1u << 3);
	ost(&r, 3, 3, 0);
	g_assert_true(pcihp_take(r.d, &got));
	g_assert_true(got.slot == 3 && got.seen && got.ejected && got.told && got.event == 3);
	/* without being asked; the request that crosses it is void */
	pcihp_remove(r.d, 4);
	put(&r, PCIHP_EJECT, 1u << 4);
	g_assert_cmphex(reg(&r, PCIHP_DOWN), ==, 0);
	g_assert_true(pcihp_take(r.d, &got));
	g_assert_true(got.slot == 4 && got.ejected && !got.seen);
	fake_free(r.f);
}

static void test_withdraw(void)
{
	struct rig r;

	rig_init(&r);
	pcihp_insert(r.d, 7);
	g_assert_true(pcihp_withdraw(r.d, 7));
	g_assert_cmphex(reg(&r, PCIHP_UP), ==, 0);
	pcihp_insert(r.d, 7);
	put(&r, PCIHP_UP, 1u << 7);
	g_assert_false(pcihp_withdraw(r.d, 7));
	pcihp_remove(r.d, 7);
	pcihp_insert(r.d, 7);                   /* the later one counts */
	g_assert_cmphex(reg(&r, PCIHP_DOWN), ==, 0);
	fake_free(r.f);
}

/* Any access does no harm and queues no more than a report per slot. */
static void test_hostile(void)
{
	struct pcihp_report got;
	unsigned n = 0;
	struct rig r;

	rig_init(&r);
	put(&r, PCIHP_EJECT, 1);                /* the host bridge stays */
	g_assert_false(pcihp_take(r.d, &got));
	g_assert_cmpuint(r.d->guest_errors, ==, 1);
	ost(&r, 32, 1, 0);
	ost(&r, UINT32_MAX, 1, 0);
	g_assert_false(pcihp_take(r.d, &got));
	for (unsigned i = 0; i < 1000; i++)
		put(&r, PCIHP_EJECT, UINT32_MAX);
	for (unsigned size = 1; size <= 4; size *= 2)
		for (unsigned at = 0; at < PORT_PCIHP_LEN; at++) {
			(void)drv_in(r.f, (uint16_t)(PORT_PCIHP + at), size);
			drv_out(r.f, (uint16_t)(PORT_PCIHP + at), size, UINT32_MAX);
		}
	while (pcihp_take(r.d, &got)) {
		g_assert_cmpuint(got.slot, >=, 1);
		g_assert_cmpuint(got.slot, <, PCIHP_SLOTS);
		n++;
	}
	g_assert_cmpuint(n, ==, 31);
	fake_free(r.f);
}

static void test_move(void)
{
	struct pcihp_report got;
	struct rig a, b;
	GByteArray *saved;
	GError *err = NULL;

	rig_init(&a);
	rig_init(&b);
	g_assert_cmphex(pcihp_slots(a.d), ==, PCIHP_ALL);
	g_assert_cmphex(a.d->vm->plug_slots, ==, PCIHP_ALL);
	pcihp_limit(a.d, 0x3fe);
	device_reset(a.d);
	g_assert_cmphex(a.d->vm->plug_slots, ==, 0x3fe);
	pcihp_insert(a.d, 2);
	pcihp_remove(a.d, 9);
	put(&a, PCIHP_OST_SLOT, 9);
	put(&a, PCIHP_OST_EVENT, 3);
	fake_pause(a.f);
	saved = fake_save(a.d);
	(void)fake_load(b.d, saved, &err);
	g_assert_no_error(err);
	g_assert_cmphex(reg(&b, PCIHP_UP), ==, 1u << 2);
	g_assert_cmphex(reg(&b, PCIHP_DOWN), ==, 1u << 9);
	g_assert_cmphex(b.d->vm->plug_slots, ==, 0x3fe);        /* the tables it finds name these */
	put(&b, PCIHP_OST_STATUS, 0x84);
	g_assert_true(pcihp_take(b.d, &got));
	g_assert_true(got.slot == 9 && got.event == 3 && got.status == 0x84);
	device_reset(b.d);
	g_assert_cmphex(reg(&b, PCIHP_UP) | reg(&b, PCIHP_DOWN), ==, 0);
	g_byte_array_unref(saved);
	fake_free(a.f);
	fake_free(b.f);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/pcihp/come", test_come);
	g_test_add_func("/pcihp/go", test_go);
	g_test_add_func("/pcihp/withdraw", test_withdraw);
	g_test_add_func("/pcihp/hostile", test_hostile);
	g_test_add_func("/pcihp/move", test_move);
	return g_test_run();
}
