/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ACPI fixed hardware (ACPI 6.5, section 4.8): PM1 event and control registers, the PM timer, the
 * reset register and GPE block 0. The machine is always in ACPI mode: SCI_EN reads as 1.
 *
 * The SCI is a level: high while any enabled status bit is set. Status bits are cleared by writing
 * ones. The timer counts guest time; its status bit is set whenever the top bit changes, which is
 * noticed when somebody looks, or by a loop timer when the guest enabled the interrupt for it.
 */
#include "devices/acpi_pm.h"

#include "devices/list.h"
#include "domain/error.h"
#include "hv/vm.h"
#include "hv/x86/ports.h"

#define STS_TMR 0x0001
#define STS_PWRBTN 0x0100
#define STS_ALL 0x8731          /* TMR BM GBL PWRBTN SLPBTN RTC WAK: what can be cleared */
#define EN_ALL 0x0721           /* TMR GBL PWRBTN SLPBTN RTC */
#define CNT_SCI_EN 0x0001
#define CNT_STORED 0x1c06       /* BM_RLD GBL_RLS SLP_TYP */
#define CNT_SLP_EN 0x2000
#define CNT_SLP_TYP(v) ((v) >> 10 & 7)
#define TMR_HALF (1u << 31)     /* the top bit changes every so many ticks */

struct acpi_pm {
	struct device dev;
	struct region evt, cnt, reset, tmr, gpe;
	struct irq sci;
	struct loop_timer overflow;     /* guest time: the next change of the timer's top bit, when enabled */

	/* state */
	uint16_t sts, en, ctl, gpe_sts, gpe_en;
	uint32_t tmr_seen;      /* changes of the timer's top bit so far, as of the last look */
};

static struct acpi_pm *pm_of(struct device *d)
{
	return (struct acpi_pm *)d;
}

/* --- timer --- */

static uint64_t ticks(const struct acpi_pm *p)
{
	return (uint64_t)((unsigned __int128)clock_now(p->dev.vm->clock, CLOCK_GUEST) * PM_TMR_HZ / 1000000000);
}

/* Sets TMR_STS when the top bit has changed since the last look, and arms the timer for the next change. */
static void look_at_timer(struct acpi_pm *p)
{
	uint32_t now = (uint32_t)(ticks(p) / TMR_HALF);

	if (now != p->tmr_seen) {
		p->tmr_seen = now;
		p->sts |= STS_TMR;
	}
	if (p->en & STS_TMR)
		loop_timer_set(&p->overflow,
			(int64_t)((unsigned __int128)(now + 1ull) * TMR_HALF * 1000000000 / PM_TMR_HZ) + 1);
}

static void update_sci(struct acpi_pm *p)
{
	irq_set(&p->sci, (p->sts & p->en) || (p->gpe_sts & p->gpe_en));
}

static void overflow_due(void *arg)
{
	struct acpi_pm *p = arg;

	g_mutex_lock(&p->dev.lock);
	if (p->en & STS_TMR) {
		look_at_timer(p);
		update_sci(p);
	}
	g_mutex_unlock(&p->dev.lock);
}

/* --- registers; a 16 bit register is written in parts of 1 or 2 bytes --- */

static uint16_t part_mask(uint64_t offset, unsigned size)
{
	return (uint16_t)(size == 2 ? 0xffff : 0xff << 8 * (offset & 1));
}

static uint16_t part_value(uint64_t offset, uint64_t value)
{
	return (uint16_t)(value << 8 * (offset & 1));
}

static uint64_t evt_read(struct device *d, uint64_t offset, unsigned size)
{
	struct acpi_pm *p = pm_of(d);

	look_at_timer(p);
	update_sci(p);
	return (offset < 2 ? p->sts : p->en) >> 8 * (offset & 1);
}

static void evt_write(struct device *d, uint64_t offset, unsigned size, uint64_t value)
{
	struct acpi_pm *p = pm_of(d);
	uint16_t mask = part_mask(offset, size), bits = part_value(offset, value) & mask;

	look_at_timer(p);
	if (offset < 2)
		p->sts &= (uint16_t)~bits;
	else
		p->en = (uint16_t)(((p->en & ~mask) | bits) & EN_ALL);
	look_at_timer(p);
	update_sci(p);
}

static uint64_t cnt_read(struct device *d, uint64_t offset, unsigned size)
{
	return (uint64_t)(pm_of(d)->ctl | CNT_SCI_EN) >> 8 * offset;
}

static void cnt_write(struct device *d, uint64_t offset, unsigned size, uint64_t value)
{
	struct acpi_pm *p = pm_of(d);
	uint16_t mask = part_mask(offset, size), bits = part_value(offset, value) & mask;

	p->ctl = (uint16_t)(((p->ctl & ~mask) | bits) & CNT_STORED);
	if (!(bits & CNT_SLP_EN))
		return;
	if (CNT_SLP_TYP(p->ctl) == PM1_SLP_TYP_S5)
		vm_request(d->vm, VM_REQ_POWEROFF, 0, NULL);
	else
		guest_error(d, "sleep type %u does not exist", CNT_SLP_TYP(p->ctl));
}

static uint64_t reset_read(struct device *d, uint64_t offset, unsigned size)
{
	return 0;
}

static void reset_write(struct device *d, uint64_t offset, unsigned size, uint64_t value)
{
	if (value == RESET_VALUE)
		vm_request(d->vm, VM_REQ_RESET, 0, NULL);
}

static uint64_t tmr_read(struct device *d, uint64_t offset, unsigned size)
{
	return ticks(pm_of(d)) & UINT32_MAX;
}

static void tmr_write(struct device *d, uint64_t offset, unsigned size, uint64_t value)
{
	guest_error(d, "the PM timer cannot be written");
}

static uint64_t gpe_read(struct device *d, uint64_t offset, unsigned size)
{
	struct acpi_pm *p = pm_of(d);

	return (offset < 2 ? p->gpe_sts : p->gpe_en) >> 8 * (offset & 1);
}

static void gpe_write(struct device *d, uint64_t offset, unsigned size, uint64_t value)
{
	struct acpi_pm *p = pm_of(d);
	uint16_t mask = part_mask(offset, size), bits = part_value(offset, value) & mask;

	if (offset < 2)
		p->gpe_sts &= (uint16_t)~bits;
	else
		p->gpe_en = (uint16_t)((p->gpe_en & ~mask) | bits);
	update_sci(p);
}

static const struct region_ops evt_ops = { .read = evt_read, .write = evt_write, .min = 1, .max = 2 };
static const struct region_ops cnt_ops = { .read = cnt_read, .write = cnt_write, .min = 1, .max = 2 };
static const struct region_ops reset_ops = { .read = reset_read, .write = reset_write, .min = 1, .max = 1 };
static const struct region_ops tmr_ops = { .read = tmr_read, .write = tmr_write, .min = 4, .max = 4 };
static const struct region_ops gpe_ops = { .read = gpe_read, .write = gpe_write, .min = 1, .max = 2 };

/* --- events --- */

void acpi_pm_button(struct device *d)
{
	struct acpi_pm *p = pm_of(d);

	g_mutex_lock(&d->lock);
	p->sts |= STS_PWRBTN;
	update_sci(p);
	g_mutex_unlock(&d->lock);
}

bool acpi_pm_hears_button(struct device *d)
{
	bool on;

	g_mutex_lock(&d->lock);
	on = pm_of(d)->en & STS_PWRBTN;
	g_mutex_unlock(&d->lock);
	return on;
}

void gpe_raise(struct device *d, unsigned n)
{
	struct acpi_pm *p = pm_of(d);

	g_assert(n < 16);
	g_mutex_lock(&d->lock);
	p->gpe_sts |= (uint16_t)(1u << n);
	update_sci(p);
	g_mutex_unlock(&d->lock);
}

/* --- lifecycle --- */

static void pm_reset(struct device *d)
{
	struct acpi_pm *p = pm_of(d);

	p->sts = p->en = p->ctl = p->gpe_sts = p->gpe_en = 0;
	p->tmr_seen = (uint32_t)(ticks(p) / TMR_HALF);
	loop_timer_cancel(&p->overflow);
	update_sci(p);
}

static bool pm_realize(struct device *d, struct fdset *fds, GError **err)
{
	struct acpi_pm *p = pm_of(d);

	loop_timer_init(&p->overflow, d->vm->loops[0], CLOCK_GUEST, overflow_due, p);
	return irq_init(&p->sci, d->vm, IRQ_SCI, err) &&
		device_map_pio(d, &p->evt, &evt_ops, "pm1-event", PORT_PM1_EVT, PORT_PM1_EVT_LEN, err) &&
		device_map_pio(d, &p->cnt, &cnt_ops, "pm1-control", PORT_PM1_CNT, PORT_PM1_CNT_LEN, err) &&
		device_map_pio(d, &p->reset, &reset_ops, "reset", PORT_RESET, 1, err) &&
		device_map_pio(d, &p->tmr, &tmr_ops, "pm-timer", PORT_PM_TMR, PORT_PM_TMR_LEN, err) &&
		device_map_pio(d, &p->gpe, &gpe_ops, "gpe0", PORT_GPE0, PORT_GPE0_LEN, err);
}

static void cancel_overflow(void *arg)
{
	struct acpi_pm *p = arg;

	loop_timer_cancel(&p->overflow);
}

static void pm_unrealize(struct device *d)
{
	struct acpi_pm *p = pm_of(d);

	bus_unmap(&p->evt);
	bus_unmap(&p->cnt);
	bus_unmap(&p->reset);
	bus_unmap(&p->tmr);
	bus_unmap(&p->gpe);
	if (p->overflow.loop)
		loop_call(p->overflow.loop, cancel_overflow, p);
	irq_finish(&p->sci);
}

static bool pm_post_load(void *obj, GError **err)
{
	struct acpi_pm *p = obj;

	p->sts &= STS_ALL;
	p->en &= EN_ALL;
	p->ctl &= CNT_STORED;
	look_at_timer(p);
	update_sci(p);
	return true;
}

static const struct field state_fields[] = {
	U16(struct acpi_pm, sts, NULL, 0, 0xffff, 0, "PM1 status"),
	U16(struct acpi_pm, en, NULL, 0, 0xffff, 0, "PM1 enable"),
	U16(struct acpi_pm, ctl, NULL, 0, 0xffff, 0, "PM1 control"),
	U16(struct acpi_pm, gpe_sts, NULL, 0, 0xffff, 0, "GPE0 status"),
	U16(struct acpi_pm, gpe_en, NULL, 0, 0xffff, 0, "GPE0 enable"),
	U32(struct acpi_pm, tmr_seen, NULL, 0, UINT32_MAX, 0, "changes of the PM timer's top bit seen"),
	END
};
static const struct schema state_schema = { .name = "acpi-pm", .doc = "ACPI fixed hardware", .version = 1,
	.size = sizeof(struct acpi_pm), .fields = state_fields, .post_load = pm_post_load };

const struct device_ops acpi_pm_ops = {
	.name = "acpi-pm",
	.doc = "ACPI fixed hardware: power button, sleep, reset, PM timer, general purpose events",
	.size = sizeof(struct acpi_pm),
	.state = &state_schema,
	.realize = pm_realize,
	.unrealize = pm_unrealize,
	.reset = pm_reset,
};
