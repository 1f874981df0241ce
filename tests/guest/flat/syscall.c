/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SYSCALL and SYSRET: n=N (10000) round trips, timed; the kernel's side must see level 0 and give back what it got. With
 * jump=1 it then jumps to the address that LSTAR really holds on hosts where system calls are redirected (slot 509): that
 * must be an ordinary page fault.
 */
#include "flat.h"

#define MSR_EFER 0xc0000080u
#define MSR_STAR 0xc0000081u
#define MSR_LSTAR 0xc0000082u
#define MSR_SFMASK 0xc0000084u

extern uint8_t k_syscall_entry[];

static uint64_t call(uint64_t rax)
{
	uint64_t rcx, r11;

	__asm__ volatile("syscall" : "+a"(rax), "=c"(rcx) :: "r11", "memory");
	__asm__ volatile("mov %%r11, %0" : "=r"(r11));
	(void)rcx;
	(void)r11;
	return rax;
}

void flat_main(void)
{
	uint64_t n = param("n", 10000), start, efer;

	interrupts_init();
	efer = at_level0(k_rdmsr, MSR_EFER, 0, 0);
	at_level0(k_wrmsr, MSR_EFER, efer | 1, 0);
	at_level0(k_wrmsr, MSR_STAR, 0x23ull << 48 | 0x10ull << 32, 0);
	at_level0(k_wrmsr, MSR_SFMASK, 0x257fd5, 0);
	at_level0(k_wrmsr, MSR_LSTAR, (uint64_t)k_syscall_entry, 0);
	print("lstar %s\n", at_level0(k_rdmsr, MSR_LSTAR, 0, 0) == (uint64_t)k_syscall_entry ? "right" : "WRONG");
	start = rdtsc();
	for (uint64_t i = 0; i < n; i++)
		if (call(i) != i) {
			puts_("rax lost\n");
			break;
		}
	start = rdtsc() - start;
	print("syscalls %lu of %lu, %lu cycles each\n", syscalls, n, start / n);
	if (param("jump", 0))
		__asm__ volatile("mov $-1, %%rcx\n jmp *%0" :: "r"(0xfffffe8000000000ull) : "rcx");
	poweroff();
}
