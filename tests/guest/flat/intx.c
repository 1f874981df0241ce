/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Two virtio-rng functions on one INTx line, as a driver without MSI-X has them: the handler reads both interrupt status
 * registers, and a function's queue is looked at only when its status said so. A lost interrupt stops this guest for ever; a
 * handler that found nothing to do is counted.
 *
 * again=1: at the end it makes one more request of each, leaves their interrupts pending, and resets the machine; what it takes
 * in its next life before it has asked for anything is told.
 *
 * n=N requests in all (10000), qd=N in flight on each (1), pin=N of the I/O APIC (16), bytes=N of each request (64);
 * pace=N cycles at most between two requests of one function, mixed (0: none). ring's parameters: see virtio.h; event_idx=0.
 */
#include "virtio.h"

#define RNG_ID 4
#define VECTOR 14
#define DEVICES 2
#define QD_MAX 16

volatile uint64_t intx_said[DEVICES], intx_taken, intx_nothing;       /* by the handler */
volatile uint8_t *intx_isr[DEVICES];
extern uint8_t intx_stub[];

/* Level 0, on some hosts interpreted: short. The interrupt is ended last, as by Linux: the line must be low by then. */
__asm__(
	".globl intx_stub\n"
	"intx_stub:\n"
	"	push %rax\n"
	"	push %rdx\n"
	"	incq intx_taken\n"
	"	movq intx_isr, %rdx\n"
	"	movzbl (%rdx), %eax\n"
	"	addq %rax, intx_said\n"
	"	movq intx_isr + 8, %rdx\n"
	"	movzbl (%rdx), %edx\n"
	"	addq %rdx, intx_said + 8\n"
	"	orl %edx, %eax\n"
	"	jnz 1f\n"
	"	incq intx_nothing\n"
	"1:	movl $0, 0x7fe000b0\n"
	"	pop %rdx\n"
	"	pop %rax\n"
	"	iretq\n");

static struct virtio_fn fns[DEVICES];
static struct ring rings[DEVICES];
static uint64_t seen[DEVICES], ended[DEVICES], begun, most, pace, random_state = 88172645463325252ull;

static uint64_t mixed(uint64_t below)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state % below;
}

static void ask(unsigned i, uint16_t head)
{
	for (uint64_t until = rdtsc() + (pace ? mixed(pace) : 0); pace && rdtsc() < until;)
		__builtin_ia32_pause();
	ring_add(&rings[i], head);
	begun++;
}

/* What a function's own handler would do. */
static void serve(unsigned i)
{
	uint64_t said = intx_said[i];
	uint32_t len;
	int head;

	if (said == seen[i])
		return;
	seen[i] = said;
	while ((head = ring_used(&rings[i], &len)) >= 0) {
		ended[i]++;
		if (!len)
			give_up("a request came back empty");
		if (begun < most)
			ask(i, (uint16_t)head);
	}
	ring_kick(&rings[i]);
}

/* Both functions want the line, and nobody has looked. */
static void leave_up(void)
{
	uint32_t len;

	ioapic_route((unsigned)param("pin", 16), FLAT_VECTOR(VECTOR) | 0x18000);
	for (unsigned i = 0; i < DEVICES; i++) {
		ask(i, 0);
		ring_kick(&rings[i]);
		while (ring_used(&rings[i], &len) < 0)
			__builtin_ia32_pause();
	}
	reset();
}

static void open_one(unsigned i, unsigned qd, uint32_t bytes)
{
	virtio_find_nth(&fns[i], RNG_ID, i, 0);
	ring_make(&fns[i], &rings[i], 0);
	rings[i].avail[0] = 0;          /* interrupts, please */
	intx_isr[i] = fns[i].isr;
	for (unsigned d = 0; d < qd; d++)
		rings[i].desc[d] = (struct desc){ (uint64_t)pages(4096), bytes, DESC_WRITE, 0 };
}

void flat_main(void)
{
	unsigned qd = (unsigned)param("qd", 1), pin = (unsigned)param("pin", 16);
	uint64_t start, taken;

	most = param("n", 10000);
	pace = param("pace", 0);
	if (!qd || qd > QD_MAX)
		give_up("qd is 1 to 16");
	interrupts_init();
	gate(FLAT_VECTOR(VECTOR), intx_stub, 0);
	for (unsigned i = 0; i < DEVICES; i++)
		open_one(i, qd, (uint32_t)param("bytes", 64));
	ioapic_route(pin, FLAT_VECTOR(VECTOR) | 0x8000);
	for (unsigned i = 0; i < DEVICES; i++)
		virtio_go(&fns[i]);
	for (start = rdtsc(); rdtsc() - start < 10000000;)
		__builtin_ia32_pause();
	print("interrupts at the start %lu\ngo\n", intx_taken);
	start = rdtsc();
	for (unsigned i = 0; i < DEVICES; i++) {
		for (unsigned d = 0; d < qd; d++)
			ask(i, (uint16_t)d);
		ring_kick(&rings[i]);
	}
	for (;;) {
		taken = intx_taken;
		for (unsigned i = 0; i < DEVICES; i++)
			serve(i);
		if (ended[0] + ended[1] >= begun)
			break;
		if (taken == intx_taken)
			at_level0(k_wait, (uint64_t)&intx_taken, taken, 0);
	}
	print("requests %lu + %lu interrupts %lu for nothing %lu cycles %lu\n", ended[0], ended[1], intx_taken, intx_nothing, rdtsc() - start);
	puts_("done\n");
	if (param("again", 0))
		leave_up();
	poweroff();
}
