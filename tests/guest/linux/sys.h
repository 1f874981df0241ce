/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * System calls for the guest's own small programs, which have no libc: starting one costs a guest on an emulating
 * host a tenth of what a static glibc program costs, and nothing but the program's own code touches vector registers.
 *
 * All calls return what the kernel returns (-errno on failure). A program defines sys_main().
 */
#ifndef GUEST_SYS_H
#define GUEST_SYS_H

#include <asm/unistd_64.h>
#include <stddef.h>
#include <stdint.h>

static inline long sys6(long nr, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long ret;

	__asm__ volatile("syscall" : "=a"(ret) : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

static inline long sys3(long nr, long a, long b, long c) { return sys6(nr, a, b, c, 0, 0, 0); }

/* gcc may call these two even in freestanding code */
void *memset(void *to, int byte, size_t n)
{
	unsigned char *p = to;

	while (n--) {
		*p++ = (unsigned char)byte;
		__asm__ volatile("" : : : "memory");	/* or gcc makes this loop a call of memset */
	}
	return to;
}

void *memcpy(void *restrict to, const void *restrict from, size_t n)
{
	unsigned char *p = to;
	const unsigned char *q = from;

	while (n--) {
		*p++ = *q++;
		__asm__ volatile("" : : : "memory");
	}
	return to;
}

/* A line under construction; what does not fit is left out. */
struct line {
	char text[160];
	size_t len;
};

static inline void line_add(struct line *l, const char *text)
{
	while (*text && l->len < sizeof(l->text))
		l->text[l->len++] = *text++;
}

static inline void line_add_number(struct line *l, unsigned long n)
{
	char digits[21], *p = &digits[20];

	*p = '\0';
	do
		*--p = (char)('0' + n % 10);
	while (n /= 10);
	line_add(l, p);
}

static inline void line_write(const struct line *l, int fd)
{
	(void)sys3(__NR_write, fd, (long)l->text, (long)l->len);	/* nobody to tell if the console is gone */
}

/* "12" -> 12; what is no number from 1 to MAX gives DEFAULT. */
static inline unsigned long number_or(const char *text, unsigned long max, unsigned long or)
{
	unsigned long n = 0;

	if (!text || !*text)
		return or;
	for (; *text; text++) {
		if (*text < '0' || *text > '9' || n > max)
			return or;
		n = n * 10 + (unsigned long)(*text - '0');
	}
	return n >= 1 && n <= max ? n : or;
}

int sys_main(long argc, char **argv);

/* The kernel enters with argc and argv on the stack. */
__asm__(".globl _start\n"
	"_start:\n"
	"	xor %ebp, %ebp\n"
	"	mov (%rsp), %rdi\n"
	"	lea 8(%rsp), %rsi\n"
	"	and $-16, %rsp\n"
	"	call sys_main\n"
	"	mov %eax, %edi\n"
	"	mov $231, %eax\n"	/* exit_group */
	"	syscall\n");

#endif
