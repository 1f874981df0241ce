/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Start of a flat guest: from PVH's 32-bit entry to C at privilege level 3 in as few supervisor instructions as can be,
 * because some hosts interpret those (0.6 us each) while user code runs on the processor everywhere. All tables are static
 * data; what needs computing (IDT, other processors' tasks) is done by C at level 3, for all pages are user pages.
 *
 * Way into level 0: int3 with a function in rax; it runs there and returns. Interrupts count in irq_counts.
 */
#define LAPIC_EOI 0x7fe000b0		/* alias: an address below 2 GiB fits into an instruction */
#define KCODE 0x10
#define UDATA 0x2b
#define UCODE 0x33
#define TSS0 0x40
#define TSS_LIMIT 0x2068
#define CPUS 16
#define TRAMPOLINE 0x8000

	.section .note.Xen, "a"
	.long 4, 4, 18			/* XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz "Xen"
	.long pvh_start

	.text
	.code32
	.globl pvh_start
pvh_start:
	cli
	movl %ebx, start_info
	lgdt gdt_pointer
	movl $pml4, %eax
	movl %eax, %cr3
	movl $0x620, %eax		/* PAE, OSFXSR, OSXMMEXCPT */
	movl %eax, %cr4
	movl $0xc0000080, %ecx		/* EFER: LME */
	movl $0x100, %eax
	xorl %edx, %edx
	wrmsr
	movl $0x80000033, %eax		/* PG, NE, ET, MP, PE */
	movl %eax, %cr0
	movl $tss, %eax			/* the task descriptor's base, which the assembler cannot cut up */
	movw %ax, gdt + TSS0 + 2
	shrl $16, %eax
	movb %al, gdt + TSS0 + 4
	movb %ah, gdt + TSS0 + 7
	ljmp $KCODE, $1f
	.code64
1:	lidt idt_pointer(%rip)
	movl $TSS0, %eax
	ltr %ax
	movl $kstack_top, %esp
	pushq $UDATA
	pushq $stack_top
	pushq $0x202
	pushq $UCODE
	pushq $main_user
	iretq

main_user:
	andq $-16, %rsp
	call flat_main
2:	call idle
	jmp 2b

/* An instruction at level 0 for C: rax = function, which ends with ret and keeps to rdi, rsi, rax, rcx, rdx. */
on_int3:
	call *%rax
	iretq

	.globl k_syscall_entry
k_syscall_entry:	/* the least a kernel does: count, and back; no stack of its own */
	incq syscalls
	sysretq

	.globl k_hlt, k_wait, k_rdmsr, k_wrmsr, k_load_idt, k_ud, k_nop, k_cpuid
k_wait:	/* rdi: counter, rsi: its value when the caller last looked; interrupts are off here, so none slips through */
	cmpq %rsi, (%rdi)
	jne k_nop
k_hlt:	sti
	hlt
k_nop:	ret
k_rdmsr:	/* edi: index; rax: value */
	movl %edi, %ecx
	rdmsr
	shlq $32, %rdx
	orq %rdx, %rax
	ret
k_wrmsr:	/* edi: index, rsi: value */
	movl %edi, %ecx
	movq %rsi, %rax
	movq %rsi, %rdx
	shrq $32, %rdx
	wrmsr
	ret
k_load_idt:	/* rdi: pointer */
	lidt (%rdi)
	ret
k_ud:	ud2
	ret
k_cpuid:	/* edi: leaf, rsi: where to put the registers */
	pushq %rbx
	movl %edi, %eax
	movl %edx, %ecx
	cpuid
	movl %eax, (%rsi)
	movl %ebx, 4(%rsi)
	movl %ecx, 8(%rsi)
	movl %edx, 12(%rsi)
	popq %rbx
	ret

	.globl idle
idle:	movl $k_hlt, %eax
	int3
	ret
	.globl at_level0
at_level0:	/* rdi: function, rsi, rdx, rcx: its arguments */
	movq %rdi, %rax
	movq %rsi, %rdi
	movq %rdx, %rsi
	movq %rcx, %rdx
	int3
	ret

/* Interrupt stubs, 32 bytes each, vectors 0x20 to 0x2f; the last is the spurious one and gets no EOI. */
	.balign 32
	.globl irq_stubs
irq_stubs:
	n = 0
	.rept 16
	.balign 32
	lock incq irq_counts + 8 * n
	.if n != 15
	movl $0, LAPIC_EOI
	.endif
	iretq
	n = n + 1
	.endr

/* Exceptions, 32 bytes each: into C at level 3, which reports and gives up. Those with an error code drop it into place. */
	.balign 32
	.globl exception_stubs
exception_stubs:
	n = 0
	.rept 32
	.balign 32
	.if (n != 8) && ((n < 10) || (n > 14)) && (n != 17) && (n != 21) && (n != 29) && (n != 30)
	pushq $0
	.endif
	pushq $n
	jmp exception_common
	n = n + 1
	.endr
exception_common:
	popq %rdi
	popq %rsi
	popq %rdx			/* rip */
	movq %cr2, %rcx
	movq $UCODE, (%rsp)		/* cs, then flags, rsp, ss */
	movq $UDATA, 24(%rsp)
	movl $exception_stack_top, %eax
	movq %rax, 16(%rsp)
	movl $flat_exception, %eax
	pushq %rax
	iretq

	.globl int3_stub
int3_stub = on_int3

/* The other processors: real mode at TRAMPOLINE, copied there by C. */
	.globl trampoline, trampoline_end
trampoline:
	.code16
	cli
	xorw %ax, %ax
	movw %ax, %ds
	lgdtl TRAMPOLINE + (trampoline_gdt - trampoline)
	movl $pml4, %eax
	movl %eax, %cr3
	movl $0x620, %eax
	movl %eax, %cr4
	movl $0xc0000080, %ecx
	movl $0x100, %eax
	xorl %edx, %edx
	wrmsr
	movl $0x80000033, %eax
	movl %eax, %cr0
	ljmpl $KCODE, $ap_start
	.balign 8
trampoline_gdt:
	.word gdt_end - gdt - 1
	.long gdt
trampoline_end:
	.code64
ap_start:
	lidt idt_pointer(%rip)
	movl $1, %edi			/* number of this processor, from 1 */
	lock xaddl %edi, ap_next(%rip)
	cmpl $CPUS, %edi
	jae 1f
	movl %edi, %eax
	shll $4, %eax
	addl $TSS0, %eax
	ltr %ax
	movl %edi, %ecx			/* its level 3 stack: 4 KiB */
	shll $12, %ecx
	addl $ap_stacks + 4096 - 16, %ecx
	movl %ecx, %esp
	pushq $UDATA
	pushq %rcx
	pushq $0x202
	pushq $UCODE
	pushq $ap_user
	iretq
1:	hlt
	jmp 1b
ap_user:
	call flat_ap
2:	call idle
	jmp 2b

	.data
	.balign 4096
pml4:	.quad pdpt + 7
	.fill 511, 8, 0
pdpt:	.quad pd0 + 7, pd0 + 0x1007, pd0 + 0x2007, pd0 + 0x3007
	.fill 508, 8, 0
pd0:	n = 0
	.rept 2048			/* 4 GiB one to one, 2 MiB pages; from 3 GiB on uncached */
	.if n == 1023
	.quad 0xfee00000 + 0x9f
	.elseif n < 1536
	.quad (n << 21) + 0x87
	.else
	.quad (n << 21) + 0x9f
	.endif
	n = n + 1
	.endr

	.globl idt, gdt, tss
idt:	.fill 512, 8, 0
gdt:	.quad 0, 0x00cf9b000000ffff, 0x00af9b000000ffff, 0x00cf93000000ffff, 0
	.quad 0x00cff3000000ffff, 0x00affb000000ffff, 0
	/* task descriptors; the limit covers the I/O bitmap and its terminator */
	.word TSS_LIMIT, 0
	.byte 0, 0x89, 0, 0
	.quad 0
	.fill 2 * (CPUS - 1), 8, 0
gdt_end:
	.balign 8
gdt_pointer:
	.word gdt_end - gdt - 1
	.long gdt, 0
	.balign 8
idt_pointer:
	.word 4095
	.quad idt
	.globl ap_next, start_info
ap_next: .long 1
start_info: .long 0

	.balign 64
tss:	.long 0
	.quad kstack_top
	.fill 102 - 12, 1, 0
	.word 104
	.fill 8192, 1, 0
	.byte 0xff
	.balign 64

	.bss
	.balign 4096
	.skip 16384
stack_top:
	.globl stack_top, kstack_top, kstacks, ap_stacks
kstacks: .skip 4096 * CPUS
kstack_top = kstacks + 4096
	.skip 4096
exception_stack_top:
ap_stacks: .skip 4096 * CPUS
