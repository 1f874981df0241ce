/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What flat guests share. All C runs at privilege level 3, on the processor itself even on hosts that emulate guest kernel
 * code; level 0 is a few instructions of assembly (start.S). The machine is kvmd's: serial port at 0x3f8, ACPI ports, PVH.
 */
#pragma once
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FLAT_CPUS 16
#define FLAT_COM1 0x3f8
#define FLAT_IRQ_COM1 4
#define FLAT_LAPIC 0xfee00000ull
#define FLAT_IOAPIC 0xfec00000ull
#define FLAT_VECTOR(n) (0x20 + (n))     /* n: 0..15; 15 is the spurious one */

/* Each guest's own. */
void flat_main(void);                   /* returning idles for ever */
void flat_ap(void);                     /* other processors; a default that idles is in lib.c */

/* --- start.S --- */
extern uint64_t irq_counts[16];         /* interrupts taken, by FLAT_VECTOR number */
void idle(void);                        /* sti; hlt */
uint64_t at_level0(void (*fn)(void), uint64_t a, uint64_t b, uint64_t c);
void k_hlt(void), k_wait(void), k_rdmsr(void), k_wrmsr(void), k_load_idt(void), k_ud(void), k_nop(void), k_cpuid(void);

/* --- lib.c --- */
void puts_(const char *);
void print(const char *fmt, ...) __attribute__((format(printf, 1, 2)));         /* %s %c %u %x %lu %lx %d */
int getc_(uint64_t until_tsc);          /* waits for input by interrupt; -1: the time has come; 0 for ever */
void console_input(void);               /* turns the receive interrupt on */
const char *cmdline(void);
uint64_t param(const char *name, uint64_t def);         /* "name=123" of the command line */
bool param_is(const char *name, const char *value);
void poweroff(void) __attribute__((noreturn));
void reset(void) __attribute__((noreturn));
uint64_t memory_size(void);             /* bytes of RAM in the start information's map */
unsigned cpus(void);                    /* processors in ACPI's MADT; 1 without ACPI */
uint64_t tsc_hz(void);                  /* measured against the PIT */
void interrupts_init(void);             /* IDT, PICs masked, local APIC on */
void gate(unsigned vector, const void *handler, unsigned dpl);
void ioapic_route(unsigned pin, unsigned vector);       /* vector | 0x8000: level triggered; | 0x10000: masked */
void lapic_timer(unsigned vector, uint32_t count, bool periodic);       /* bus cycles, divided by 1 */
void start_aps(void);                   /* INIT, SIPI to all others */
extern volatile uint32_t aps_up;
extern volatile uint64_t syscalls;      /* counted by start.S' k_syscall_entry */

void *memset(void *, int, size_t);
void *memcpy(void *, const void *, size_t);
int memcmp(const void *, const void *, size_t);

static inline void outb(uint16_t port, uint8_t v) { __asm__ volatile("outb %0, %1" :: "a"(v), "Nd"(port)); }
static inline void outw(uint16_t port, uint16_t v) { __asm__ volatile("outw %0, %1" :: "a"(v), "Nd"(port)); }
static inline void outl(uint16_t port, uint32_t v) { __asm__ volatile("outl %0, %1" :: "a"(v), "Nd"(port)); }
static inline uint8_t inb(uint16_t port) { uint8_t v; __asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port)); return v; }
static inline uint64_t rdtsc(void) { uint32_t a, d; __asm__ volatile("rdtsc" : "=a"(a), "=d"(d)); return a | (uint64_t)d << 32; }
static inline volatile uint32_t *lapic(unsigned reg) { return (volatile uint32_t *)(FLAT_LAPIC + reg); }
