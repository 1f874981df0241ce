/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The flat guests' library: see flat.h. */
#include "flat.h"

#define PORT_PM1_CNT 0x604
#define SLP_S5 (5u << 10 | 1u << 13)
#define PORT_RESET 0x606
#define TRAMPOLINE 0x8000u

struct start_info {
	uint32_t magic, version, flags, nr_modules;
	uint64_t modlist, cmdline, rsdp, memmap;
	uint32_t memmap_entries, reserved;
};
struct memmap { uint64_t base, size; uint32_t type, reserved; };
struct tss { uint8_t bytes[0x2080]; };

extern uint32_t start_info;
extern uint64_t idt[512], gdt[];
extern uint8_t irq_stubs[], exception_stubs[], int3_stub[], kstacks[], trampoline[], trampoline_end[];
void flat_exception(uint64_t vector, uint64_t error, uint64_t rip, uint64_t cr2);

uint64_t irq_counts[16];
volatile uint64_t syscalls;
volatile uint32_t aps_up;
static struct tss ap_tss[FLAT_CPUS - 1];

static const struct start_info *info(void)
{
	return (const struct start_info *)(uint64_t)start_info;
}

void *memset(void *p, int c, size_t n)
{
	void *at = p;

	__asm__ volatile("rep stosb" : "+D"(at), "+c"(n) : "a"(c) : "memory");
	return p;
}

void *memcpy(void *to, const void *from, size_t n)
{
	void *at = to;

	__asm__ volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(n) :: "memory");
	return to;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const uint8_t *x = a, *y = b;

	for (; n; n--, x++, y++)
		if (*x != *y)
			return *x - *y;
	return 0;
}

static size_t length(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

/* --- console --- */

/* One instruction for all of it: the machine gets strings as well as single bytes. */
void puts_(const char *s)
{
	size_t n = length(s);

	__asm__ volatile("rep outsb" : "+S"(s), "+c"(n) : "d"(FLAT_COM1) : "memory");
}

static void put_number(uint64_t v, unsigned base)
{
	char buf[24];
	unsigned at = sizeof(buf) - 1;

	buf[at] = 0;
	do {
		buf[--at] = "0123456789abcdef"[v % base];
		v /= base;
	} while (v);
	puts_(buf + at);
}

void print(const char *fmt, ...)
{
	char piece[128];
	unsigned n = 0;
	va_list ap;

	va_start(ap, fmt);
	for (; *fmt; fmt++) {
		bool wide;

		if (*fmt != '%' && n < sizeof(piece) - 1) {
			piece[n++] = *fmt;
			continue;
		}
		piece[n] = 0;
		puts_(piece);
		n = 0;
		if (*fmt != '%') {
			piece[n++] = *fmt;
			continue;
		}
		wide = *++fmt == 'l';
		fmt += wide;
		if (*fmt == 's') {
			puts_(va_arg(ap, const char *));
		} else if (*fmt == 'c') {
			char c[2] = { (char)va_arg(ap, int), 0 };

			puts_(c);
		} else {
			put_number(wide ? va_arg(ap, uint64_t) : va_arg(ap, unsigned), *fmt == 'x' ? 16 : 10);
		}
	}
	piece[n] = 0;
	puts_(piece);
	va_end(ap);
}

void console_input(void)
{
	outb(FLAT_COM1 + 3, 3);
	outb(FLAT_COM1 + 2, 1);                 /* FIFO on, interrupt at one byte */
	outb(FLAT_COM1 + 4, 0x0b);              /* DTR, RTS, OUT2: the interrupt leaves the chip */
	outb(FLAT_COM1 + 1, 1);
	ioapic_route(FLAT_IRQ_COM1, FLAT_VECTOR(FLAT_IRQ_COM1));
}

int getc_(uint64_t until_tsc)
{
	for (;;) {
		uint64_t seen = *(volatile uint64_t *)&irq_counts[FLAT_IRQ_COM1];

		if (inb(FLAT_COM1 + 5) & 1)
			return inb(FLAT_COM1);
		if (until_tsc && rdtsc() >= until_tsc)
			return -1;
		at_level0(k_wait, (uint64_t)&irq_counts[FLAT_IRQ_COM1], seen, 0);
	}
}

/* --- parameters --- */

const char *cmdline(void)
{
	return info()->cmdline ? (const char *)info()->cmdline : "";
}

static const char *find_param(const char *name)
{
	size_t n = length(name);

	for (const char *p = cmdline(); *p;) {
		if (!memcmp(p, name, n) && p[n] == '=')
			return p + n + 1;
		while (*p && *p != ' ')
			p++;
		while (*p == ' ')
			p++;
	}
	return NULL;
}

uint64_t param(const char *name, uint64_t def)
{
	const char *p = find_param(name);
	uint64_t v = 0;

	if (!p)
		return def;
	if (p[0] == '0' && p[1] == 'x') {
		for (p += 2;; p++) {
			if (*p >= '0' && *p <= '9')
				v = v * 16 + (uint64_t)(*p - '0');
			else if (*p >= 'a' && *p <= 'f')
				v = v * 16 + (uint64_t)(*p - 'a' + 10);
			else
				return v;
		}
	}
	for (; *p >= '0' && *p <= '9'; p++)
		v = v * 10 + (uint64_t)(*p - '0');
	return v;
}

bool param_is(const char *name, const char *value)
{
	const char *p = find_param(name);
	size_t n = length(value);

	return p && !memcmp(p, value, n) && (!p[n] || p[n] == ' ');
}

/* --- machine --- */

void poweroff(void)
{
	outw(PORT_PM1_CNT, SLP_S5);
	for (;;)
		idle();
}

void reset(void)
{
	outb(PORT_RESET, 1);
	for (;;)
		idle();
}

uint64_t memory_size(void)
{
	const struct memmap *m = (const struct memmap *)info()->memmap;
	uint64_t sum = 0;

	for (unsigned i = 0; i < info()->memmap_entries; i++)
		if (m[i].type == 1)
			sum += m[i].size;
	return sum;
}

static uint64_t read64(uint64_t at)
{
	uint64_t v;

	__builtin_memcpy(&v, (const void *)at, sizeof(v));
	return v;
}

static uint32_t read32(uint64_t at)
{
	uint32_t v;

	__builtin_memcpy(&v, (const void *)at, sizeof(v));
	return v;
}

unsigned cpus(void)
{
	uint64_t xsdt = info()->rsdp ? read64(info()->rsdp + 24) : 0;
	unsigned n = 0;

	for (uint64_t at = xsdt + 36; xsdt && at + 8 <= xsdt + read32(xsdt + 4); at += 8) {
		uint64_t madt = read64(at);

		if (memcmp((const void *)madt, "APIC", 4))
			continue;
		for (uint64_t e = madt + 44, end = madt + read32(madt + 4); e + 2 <= end; e += *(const uint8_t *)(e + 1)) {
			uint8_t type = *(const uint8_t *)e;

			if (*(const uint8_t *)(e + 1) < 2)
				break;
			if ((type == 0 && read32(e + 4) & 1) || (type == 9 && read32(e + 8) & 1))
				n++;
		}
	}
	return n ? n : 1;
}

/* PIT channel 2 counts down from 65535 at 1.193182 MHz; its output shows in port 0x61. */
uint64_t tsc_hz(void)
{
	const unsigned ticks = 11932;           /* 10 ms */
	uint64_t start, end;

	outb(0x61, (uint8_t)((inb(0x61) & ~2u) | 1));
	outb(0x43, 0xb0);
	outb(0x42, ticks & 0xff);
	outb(0x42, ticks >> 8);
	start = rdtsc();
	while (!(inb(0x61) & 0x20))
		;
	end = rdtsc();
	return (end - start) * 100;
}

/* --- interrupts --- */

void gate(unsigned vector, const void *handler, unsigned dpl)
{
	uint64_t h = (uint64_t)handler;

	idt[2 * vector] = (h & 0xffff) | 0x10ull << 16 | (0x8eull | dpl << 5) << 40 | (h >> 16 & 0xffff) << 48;
	idt[2 * vector + 1] = h >> 32;
}

void interrupts_init(void)
{
	for (unsigned i = 0; i < 32; i++)
		gate(i, exception_stubs + 32 * i, 0);
	for (unsigned i = 0; i < 16; i++)
		gate(0x20 + i, irq_stubs + 32 * i, 0);
	gate(3, int3_stub, 3);
	outb(0x21, 0xff);
	outb(0xa1, 0xff);
	*lapic(0xf0) = 0x100 | FLAT_VECTOR(15);
	*lapic(0x350) = 0x10000;                /* LINT0: the PICs' line */
}

void ioapic_route(unsigned pin, unsigned vector)
{
	volatile uint32_t *select = (volatile uint32_t *)FLAT_IOAPIC, *window = (volatile uint32_t *)(FLAT_IOAPIC + 0x10);

	*select = 0x11 + 2 * pin;
	*window = *lapic(0x20) & 0xff000000;
	*select = 0x10 + 2 * pin;
	*window = vector;
}

void lapic_timer(unsigned vector, uint32_t count, bool periodic)
{
	*lapic(0x3e0) = 0xb;
	*lapic(0x320) = vector | (periodic ? 0x20000 : 0);
	*lapic(0x380) = count;
}

void flat_exception(uint64_t vector, uint64_t error, uint64_t rip, uint64_t cr2)
{
	print("\nexception %lu, error %lx, at %lx, cr2 %lx\n", vector, error, rip, cr2);
	poweroff();
}

/* --- other processors --- */

__attribute__((weak)) void flat_ap(void)
{
	__atomic_add_fetch(&aps_up, 1, __ATOMIC_SEQ_CST);
}

static void ap_task(unsigned n)
{
	uint8_t *t = ap_tss[n - 1].bytes;
	uint64_t base = (uint64_t)t, rsp0 = (uint64_t)kstacks + 4096 * (n + 1);

	__builtin_memcpy(t + 4, &rsp0, 8);
	t[102] = 104;
	t[104 + 8192] = 0xff;
	gdt[8 + 2 * n] = 0x2068 | (base & 0xffffff) << 16 | 0x89ull << 40 | (base >> 24 & 0xff) << 56;
	gdt[9 + 2 * n] = base >> 32;
}

void start_aps(void)
{
	for (unsigned n = 1; n < FLAT_CPUS; n++)
		ap_task(n);
	memcpy((void *)(uint64_t)TRAMPOLINE, trampoline, (size_t)(trampoline_end - trampoline));
	*lapic(0x310) = 0;
	*lapic(0x300) = 0xc4500;                /* INIT to all but self */
	*lapic(0x300) = 0xc4600 | TRAMPOLINE >> 12;
}
