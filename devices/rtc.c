/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Real-time clock: MC146818 with 128 bytes of CMOS RAM at ports 0x70 and 0x71, IRQ 8.
 *
 * The time is the wall clock plus an offset that changes when the guest sets the clock. While the
 * guest has stopped it (SET, or the divider held in reset) the ten time registers are plain bytes;
 * when it goes again, the offset is made from them. Otherwise they are computed when read.
 *
 * Nothing ticks: flags in register C are brought up to date when the guest looks (catch_up), and a
 * loop timer is armed only for the next event whose interrupt is enabled. Update and alarm follow
 * the wall clock, the periodic interrupt guest time, so that it neither races nor stalls when the
 * host's clock is set.
 */
#include <string.h>

#include "devices/list.h"
#include "devices/rtc.h"
#include "domain/clock.h"
#include "domain/error.h"
#include "hv/vm.h"
#include "hv/x86/ports.h"

#define SECOND 1000000000ll
#define TIME_MAX 9000000000ll   /* s from 1970, either way: what 64 bits of ns hold, 1684 to 2255 */
#define UPDATE_NS 244000        /* UIP is seen so long before a second ends */

enum { SEC, SEC_ALARM, MINUTE, MINUTE_ALARM, HOUR, HOUR_ALARM, WEEKDAY, MDAY, MONTH, YEAR, REG_A, REG_B, REG_C, REG_D };
#define CENTURY 0x32
#define CMOS_BYTES 128

#define A_RATE 0x0f
#define A_DIVIDER 0x70
#define A_DIVIDER_RUN 0x20      /* 32.768 kHz crystal, the only setting in which it goes */
#define A_UIP 0x80
#define B_24H 0x02
#define B_BINARY 0x04
#define B_UIE 0x10
#define B_AIE 0x20
#define B_PIE 0x40
#define B_SET 0x80
#define C_UF 0x10
#define C_AF 0x20
#define C_PF 0x40
#define C_IRQF 0x80
#define D_VALID 0x80
#define ALARM_ANY 0xc0
#define A_RESET (A_DIVIDER_RUN | 6)
#define B_RESET B_24H

struct rtc {
	struct device dev;
	struct region region;
	struct irq irq;
	struct loop_timer wall, periodic;

	/* state */
	uint8_t index;          /* port 0x70, with the NMI mask in bit 7 */
	int64_t offset;         /* of the guest's clock from the wall clock, ns; at first as <clock> has it */
	int64_t seen;           /* the guest's clock when the flags were last brought up to date */
	uint64_t ticks_seen;    /* periods of guest time, likewise */
	GByteArray *saved;      /* cmos while saved */

	uint8_t cmos[CMOS_BYTES];
	int64_t alarm_at;       /* the guest's clock; cached, valid while alarm_from <= now < alarm_at */
};

static struct rtc *rtc_of(struct device *d)
{
	return (struct rtc *)d;
}

/* --- the calendar: days of the Gregorian calendar since 1970-01-01, leap seconds do not exist --- */

static int64_t days_from_date(int64_t year, unsigned month, unsigned day)
{
	int64_t era;
	unsigned of_era, of_year;

	year -= month <= 2;
	era = (year >= 0 ? year : year - 399) / 400;
	of_era = (unsigned)(year - era * 400);
	of_year = (153 * (month + (month > 2 ? -3u : 9u)) + 2) / 5 + day - 1;
	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static void date_from_days(int64_t days, int64_t *year, unsigned *month, unsigned *day)
{
	int64_t era;
	unsigned of_era, year_of_era, of_year, m;

	days += 719468;
	era = (days >= 0 ? days : days - 146096) / 146097;
	of_era = (unsigned)(days - era * 146097);
	year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	m = (5 * of_year + 2) / 153;
	*day = of_year - (153 * m + 2) / 5 + 1;
	*month = m < 10 ? m + 3 : m - 9;
	*year = year_of_era + era * 400 + (*month <= 2);
}

static int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

/* --- registers as numbers --- */

static unsigned decode(const struct rtc *r, uint8_t v)
{
	return r->cmos[REG_B] & B_BINARY ? v : (v >> 4) * 10u + (v & 15);
}

static uint8_t encode(const struct rtc *r, unsigned v)
{
	return (uint8_t)(r->cmos[REG_B] & B_BINARY ? v : v / 10 << 4 | v % 10);
}

static unsigned decode_hour(const struct rtc *r, uint8_t v)
{
	unsigned h = decode(r, v & 0x7f);

	if (r->cmos[REG_B] & B_24H)
		return decode(r, v);
	return h % 12 + (v & 0x80 ? 12 : 0);
}

static uint8_t encode_hour(const struct rtc *r, unsigned h)
{
	if (r->cmos[REG_B] & B_24H)
		return encode(r, h);
	return (uint8_t)(encode(r, h % 12 ? h % 12 : 12) | (h >= 12 ? 0x80 : 0));
}

/* --- the clock --- */

static bool is_stopped(const struct rtc *r)
{
	return r->cmos[REG_B] & B_SET || (r->cmos[REG_A] & A_DIVIDER) != A_DIVIDER_RUN;
}

/* a + b or what is nearest to it within the clock's range */
static int64_t add(int64_t a, int64_t b)
{
	__int128 sum = (__int128)a + b;

	return (int64_t)CLAMP(sum, -(__int128)TIME_MAX * SECOND, (__int128)TIME_MAX * SECOND);
}

static int64_t guest_now(const struct rtc *r)
{
	return add(clock_now(r->dev.vm->clock, CLOCK_WALL), r->offset);
}

static void time_to_regs(struct rtc *r, int64_t now)
{
	int64_t secs = floor_div(now, SECOND), days = floor_div(secs, 86400), year;
	unsigned rest = (unsigned)(secs - days * 86400), month, day;

	date_from_days(days, &year, &month, &day);
	r->cmos[SEC] = encode(r, rest % 60);
	r->cmos[MINUTE] = encode(r, rest / 60 % 60);
	r->cmos[HOUR] = encode_hour(r, rest / 3600);
	r->cmos[WEEKDAY] = encode(r, (unsigned)(((days + 4) % 7 + 7) % 7) + 1);
	r->cmos[MDAY] = encode(r, day);
	r->cmos[MONTH] = encode(r, month);
	r->cmos[YEAR] = encode(r, (unsigned)((year % 100 + 100) % 100));
	r->cmos[CENTURY] = (uint8_t)((year / 100 % 100) / 10 << 4 | year / 100 % 10);   /* always BCD */
}

/* What the guest wrote need not be a date: each part is brought into its range. */
static int64_t time_from_regs(const struct rtc *r)
{
	unsigned century = (r->cmos[CENTURY] >> 4) * 10u + (r->cmos[CENTURY] & 15);
	unsigned month = CLAMP(decode(r, r->cmos[MONTH]), 1, 12), day = CLAMP(decode(r, r->cmos[MDAY]), 1, 31);
	int64_t year = (int64_t)CLAMP(century, 16, 99) * 100 + decode(r, r->cmos[YEAR]) % 100;
	int64_t secs = days_from_date(year, month, day) * 86400;

	secs += decode_hour(r, r->cmos[HOUR]) % 24 * 3600 + decode(r, r->cmos[MINUTE]) % 60 * 60 + decode(r, r->cmos[SEC]) % 60;
	return CLAMP(secs, -TIME_MAX, TIME_MAX) * SECOND;
}

static void start_from_regs(struct rtc *r)
{
	r->offset = add(time_from_regs(r), -clock_now(r->dev.vm->clock, CLOCK_WALL));
	r->seen = guest_now(r);
	vm_request(r->dev.vm, VM_REQ_CLOCK, 0, NULL);
}

/* --- alarm, update, period --- */

static bool alarm_part(const struct rtc *r, int reg, unsigned value)
{
	uint8_t want = r->cmos[reg];

	if ((want & ALARM_ANY) == ALARM_ANY)
		return true;
	return (reg == HOUR_ALARM ? decode_hour(r, want) : decode(r, want)) == value;
}

/* The first moment after `from` at which the alarm rings; INT64_MAX: never. At most 24 + 60 + 60 steps. */
static int64_t next_alarm(const struct rtc *r, int64_t from)
{
	int64_t first = floor_div(from, SECOND) + 1, day = floor_div(first, 86400) * 86400;

	for (unsigned h = 0; h < 48; h++) {
		if (!alarm_part(r, HOUR_ALARM, h % 24) || day + (h + 1) * 3600 <= first)
			continue;
		for (unsigned m = 0; m < 60; m++) {
			int64_t minute = day + h * 3600 + m * 60;

			if (!alarm_part(r, MINUTE_ALARM, m) || minute + 60 <= first)
				continue;
			for (unsigned s = 0; s < 60; s++)
				if (alarm_part(r, SEC_ALARM, s) && minute + s >= first)
					return (minute + s) * SECOND;
		}
	}
	return INT64_MAX;
}

/* Nanoseconds between periodic interrupts, times 2^15; 0: off. */
static uint64_t period(const struct rtc *r)
{
	unsigned rate = r->cmos[REG_A] & A_RATE;

	if (!rate || (r->cmos[REG_A] & A_DIVIDER) != A_DIVIDER_RUN)
		return 0;
	return 1000000000ull << (rate <= 2 ? rate + 6 : rate - 1);
}

static uint64_t periods(const struct rtc *r)
{
	uint64_t p = period(r);

	return p ? (uint64_t)(((unsigned __int128)clock_now(r->dev.vm->clock, CLOCK_GUEST) << 15) / p) : 0;
}

/* Sets the flags of what has happened since the last time. */
static void catch_up(struct rtc *r)
{
	uint64_t n = periods(r);

	if (n != r->ticks_seen && period(r))
		r->cmos[REG_C] |= C_PF;
	r->ticks_seen = n;
	if (!is_stopped(r)) {
		int64_t now = guest_now(r);

		if (now < r->seen)      /* the host's clock was set back */
			r->seen = now, r->alarm_at = 0;
		if (floor_div(now, SECOND) != floor_div(r->seen, SECOND)) {
			r->cmos[REG_C] |= C_UF;
			if (r->alarm_at <= r->seen)
				r->alarm_at = next_alarm(r, r->seen);
			if (r->alarm_at <= now) {
				r->cmos[REG_C] |= C_AF;
				r->alarm_at = 0;
			}
		}
		r->seen = now;
	}
}

/* The interrupt line, and timers for the next event that is to interrupt. After catch_up. */
static void update(struct rtc *r)
{
	uint8_t on = r->cmos[REG_B], due = r->cmos[REG_C] & on & (C_UF | C_AF | C_PF);
	int64_t next = INT64_MAX;

	r->cmos[REG_C] = (uint8_t)((r->cmos[REG_C] & ~C_IRQF) | (due ? C_IRQF : 0));
	irq_set(&r->irq, due != 0);
	if (!is_stopped(r)) {
		if (on & B_UIE && !(due & C_UF))
			next = (floor_div(r->seen, SECOND) + 1) * SECOND;
		if (on & B_AIE && !(due & C_AF)) {
			if (r->alarm_at <= r->seen)
				r->alarm_at = next_alarm(r, r->seen);
			next = MIN(next, r->alarm_at);
		}
	}
	if (next <= TIME_MAX * SECOND)  /* beyond it the clock stands, and what it never reaches must not be due for ever */
		loop_timer_set(&r->wall, add(next, -r->offset));
	else
		loop_timer_cancel(&r->wall);
	if (on & B_PIE && !(due & C_PF) && period(r))
		loop_timer_set(&r->periodic,
			(int64_t)((((unsigned __int128)r->ticks_seen + 1) * period(r) >> 15) + 1));
	else
		loop_timer_cancel(&r->periodic);
}

static void timer_due(void *arg)
{
	struct rtc *r = arg;

	g_mutex_lock(&r->dev.lock);
	catch_up(r);
	update(r);
	g_mutex_unlock(&r->dev.lock);
}

/* --- registers --- */

static bool is_time(unsigned reg)
{
	return reg == SEC || reg == MINUTE || (reg >= HOUR && reg <= YEAR && reg != HOUR_ALARM) || reg == CENTURY;
}

static uint8_t read_a(const struct rtc *r)
{
	int64_t now = guest_now(r), in_second = now - floor_div(now, SECOND) * SECOND;

	return r->cmos[REG_A] | (!is_stopped(r) && in_second >= SECOND - UPDATE_NS ? A_UIP : 0);
}

static uint8_t read_cmos(struct rtc *r, unsigned reg)
{
	uint8_t value;

	if (is_time(reg) && !is_stopped(r))
		time_to_regs(r, guest_now(r));
	switch (reg) {
	case REG_A:
		return read_a(r);
	case REG_C:
		value = r->cmos[REG_C];
		r->cmos[REG_C] = 0;
		return value;
	default:
		return r->cmos[reg];
	}
}

/* A or B changed: the clock may stop, with the time as bytes in the old format, or go on. */
static void set_control(struct rtc *r, unsigned reg, uint8_t value)
{
	bool was_stopped = is_stopped(r);

	if (!was_stopped)
		time_to_regs(r, guest_now(r));
	r->cmos[reg] = value;
	r->ticks_seen = periods(r);
	if (!was_stopped || is_stopped(r))
		return;
	start_from_regs(r);
	if (reg == REG_A)       /* out of the divider's reset the first second is half as long */
		r->offset = add(r->offset, SECOND / 2);
	r->seen = guest_now(r);
}

static void write_cmos(struct rtc *r, unsigned reg, uint8_t value)
{
	switch (reg) {
	case REG_A:
		set_control(r, REG_A, value & ~A_UIP);
		break;
	case REG_B:
		set_control(r, REG_B, value & B_SET ? value & ~B_UIE : value);
		break;
	case REG_C:
	case REG_D:
		return;         /* read only */
	default:
		if (is_time(reg) && !is_stopped(r)) {
			time_to_regs(r, guest_now(r));
			r->cmos[reg] = value;
			start_from_regs(r);
		} else {
			r->cmos[reg] = value;
		}
	}
	r->alarm_at = 0;
}

static uint64_t rtc_read(struct device *d, uint64_t offset, unsigned size)
{
	struct rtc *r = rtc_of(d);
	uint8_t value;

	if (!offset)
		return 0xff;    /* the index cannot be read back */
	catch_up(r);
	value = read_cmos(r, r->index & 0x7f);
	update(r);
	return value;
}

static void rtc_write(struct device *d, uint64_t offset, unsigned size, uint64_t value)
{
	struct rtc *r = rtc_of(d);

	if (!offset) {
		r->index = (uint8_t)value;
		return;
	}
	catch_up(r);
	write_cmos(r, r->index & 0x7f, (uint8_t)value);
	update(r);
}

static const struct region_ops rtc_regs = { .read = rtc_read, .write = rtc_write, .min = 1, .max = 1 };

static int64_t first_offset(const struct rtc *r)
{
	const struct clock_config *c = r->dev.config;

	return c ? add(0, c->ahead * SECOND) : 0;
}

int64_t rtc_moved(struct device *d)
{
	struct rtc *r = rtc_of(d);
	int64_t ns;

	g_mutex_lock(&d->lock);
	ns = r->offset - first_offset(r);
	g_mutex_unlock(&d->lock);
	return floor_div(ns + SECOND / 2, SECOND);
}

/* --- lifecycle --- */

static void put16(uint8_t *at, uint64_t value)
{
	value = MIN(value, 0xffff);
	at[0] = (uint8_t)value;
	at[1] = (uint8_t)(value >> 8);
}

/* Where firmware and old kernels look for the size of memory. */
static void put_memory(struct rtc *r)
{
	uint64_t below = r->dev.vm->ram.pieces[0].size, above = r->dev.vm->ram.pieces[1].size;
	uint64_t extended = below > 1 << 20 ? below - (1 << 20) : 0, beyond_16m = below > 16 << 20 ? below - (16 << 20) : 0;

	put16(&r->cmos[0x15], 640);
	put16(&r->cmos[0x17], extended >> 10);
	put16(&r->cmos[0x30], extended >> 10);
	put16(&r->cmos[0x34], beyond_16m >> 16);
	for (unsigned i = 0; i < 3; i++)
		r->cmos[0x5b + i] = (uint8_t)(MIN(above >> 16, 0xffffff) >> 8 * i);
}

static void rtc_reset(struct device *d)
{
	struct rtc *r = rtc_of(d);

	if (r->cmos[REG_D] && is_stopped(r))
		start_from_regs(r);     /* the battery keeps the time, also one that was just being set */
	memset(r->cmos, 0, sizeof(r->cmos));
	r->index = 0;
	r->cmos[REG_A] = A_RESET;
	r->cmos[REG_B] = B_RESET;
	r->cmos[REG_D] = D_VALID;
	r->cmos[0x14] = 0x02;   /* equipment: a coprocessor, no floppies, no display */
	put_memory(r);
	r->seen = guest_now(r);
	time_to_regs(r, r->seen);
	r->ticks_seen = periods(r);
	r->alarm_at = 0;
	update(r);
}

static bool rtc_realize(struct device *d, struct fdset *fds, GError **err)
{
	struct rtc *r = rtc_of(d);

	r->offset = first_offset(r);
	loop_timer_init(&r->wall, d->vm->loops[0], CLOCK_WALL, timer_due, r);
	loop_timer_init(&r->periodic, d->vm->loops[0], CLOCK_GUEST, timer_due, r);
	return irq_init(&r->irq, d->vm, IRQ_RTC, err) &&
		device_map_pio(d, &r->region, &rtc_regs, "rtc", PORT_RTC, PORT_RTC_LEN, err);
}

static void cancel_timers(void *arg)
{
	struct rtc *r = arg;

	loop_timer_cancel(&r->wall);
	loop_timer_cancel(&r->periodic);
}

static void rtc_unrealize(struct device *d)
{
	struct rtc *r = rtc_of(d);

	bus_unmap(&r->region);
	if (r->wall.loop)
		loop_call(r->wall.loop, cancel_timers, r);
	irq_finish(&r->irq);
	g_clear_pointer(&r->saved, g_byte_array_unref);
}

/* --- state --- */

static void rtc_pre_save(void *obj)
{
	struct rtc *r = obj;

	catch_up(r);
	g_clear_pointer(&r->saved, g_byte_array_unref);
	r->saved = g_byte_array_append(g_byte_array_new(), r->cmos, CMOS_BYTES);
	for (unsigned reg = 0; reg < CMOS_BYTES && !is_stopped(r); reg++)
		if (is_time(reg))
			r->saved->data[reg] = 0;        /* follows from the offset */
}

static bool rtc_post_load(void *obj, GError **err)
{
	struct rtc *r = obj;

	if (!r->saved)
		return kerr_set(err, KERR_STATE_DATA, "the CMOS RAM is missing");
	memcpy(r->cmos, r->saved->data, CMOS_BYTES);
	g_clear_pointer(&r->saved, g_byte_array_unref);
	r->cmos[REG_A] &= (uint8_t)~A_UIP;
	r->cmos[REG_C] &= C_UF | C_AF | C_PF | C_IRQF;
	r->cmos[REG_D] = D_VALID;
	r->alarm_at = 0;
	update(r);
	return true;
}

#define LIMIT (TIME_MAX * SECOND)
static const struct field state_fields[] = {
	U8(struct rtc, index, NULL, 0, 0xff, 0, "port 0x70"),
	I64(struct rtc, offset, NULL, -LIMIT, LIMIT, 0, "of the guest's clock from the wall clock, ns"),
	I64(struct rtc, seen, NULL, -LIMIT, LIMIT, 0, "the guest's clock when flags were brought up to date, ns"),
	U64(struct rtc, ticks_seen, NULL, 0, UINT64_MAX, 0, "periods of guest time, likewise"),
	BYTES(struct rtc, saved, NULL, CMOS_BYTES, 0, "registers and CMOS RAM", .min = CMOS_BYTES),
	END
};
static const struct schema state_schema = { .name = "rtc", .doc = "real-time clock", .version = 1,
	.size = sizeof(struct rtc), .fields = state_fields, .pre_save = rtc_pre_save, .post_load = rtc_post_load };

const struct device_ops rtc_ops = {
	.name = "rtc",
	.doc = "real-time clock with CMOS RAM",
	.size = sizeof(struct rtc),
	.config = &clock_schema,
	.state = &state_schema,
	.realize = rtc_realize,
	.unrealize = rtc_unrealize,
	.reset = rtc_reset,
};
