/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Running one instruction on the host's processor: assist_native.h has the theory.
 */
#include "hv/x86/assist_native.h"
#include "hv/x86/assist.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#define PAGE 4096
#define RFLAGS_ARITH 0x8d5u

/* Known to the assembly below by offset. */
struct frame {
	uint64_t rax, rcx, rdx, rbx, rflags;        /* 0 8 16 24 32 */
	uint64_t mem, guest, host, components;      /* 40 48 56 64 */
	uint64_t code, rsp;                         /* 72 80 */
};
_Static_assert(offsetof(struct frame, rsp) == 80, "assembly");

struct assist_native {
	uint8_t *writable, *executable;
	pthread_mutex_t lock;       /* vCPUs may share an object */
	struct frame frame;
	volatile int signal;        /* set by the handler on this thread */
	_Alignas(64) uint8_t host[ASSIST_XSAVE_MAX];
};

/* The signal handler must find the object of its thread; there is no other way to hand it one. */
static __thread struct assist_native *volatile running;

static const int signals[] = { SIGILL, SIGFPE, SIGSEGV };
#define SIGNALS (sizeof signals / sizeof signals[0])
static struct sigaction previous[SIGNALS];  /* written once, before other threads exist */

void assist_native_enter(struct frame *frame);
extern const char assist_native_resume[], assist_native_back[];

__asm__(".text\n"
	".global assist_native_enter\n"
	".hidden assist_native_enter\n"
	".type assist_native_enter, @function\n"
	"assist_native_enter:\n"
	"	push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
	"	mov %rdi, %r12\n"
	"	mov 64(%r12), %eax; mov 68(%r12), %edx\n"
	"	mov 56(%r12), %rsi; xsave64 (%rsi)\n"
	"	mov 48(%r12), %rsi; xrstor64 (%rsi)\n"
	"	mov %rsp, 80(%r12)\n"
	"	mov 40(%r12), %rdi\n"
	"	mov %ss, %eax; push %rax\n"
	"	push 80(%r12)\n"
	"	push 32(%r12)\n"
	"	mov %cs, %eax; push %rax\n"
	"	push 72(%r12)\n"
	"	mov 0(%r12), %rax; mov 8(%r12), %rcx; mov 16(%r12), %rdx; mov 24(%r12), %rbx\n"
	"	iretq\n"
	".global assist_native_back\n"
	".hidden assist_native_back\n"
	"assist_native_back:\n"
	"	mov %rax, 0(%r12); mov %rcx, 8(%r12); mov %rdx, 16(%r12); mov %rbx, 24(%r12)\n"
	"	pushfq; pop 32(%r12)\n"
	".global assist_native_resume\n"
	".hidden assist_native_resume\n"
	"assist_native_resume:\n"
	"	cld\n"
	"	mov 64(%r12), %eax; mov 68(%r12), %edx\n"
	"	mov 48(%r12), %rsi; xsave64 (%rsi)\n"
	"	mov 56(%r12), %rsi; xrstor64 (%rsi)\n"
	"	pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
	"	ret\n"
	".size assist_native_enter, . - assist_native_enter\n");

static void handle(int sig, siginfo_t *info, void *context)
{
	greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
	struct assist_native *n = running;
	uint64_t rip = (uint64_t)regs[REG_RIP];

	if (n && rip >= n->frame.code && rip < n->frame.code + 16) {
		n->signal = sig;
		regs[REG_RIP] = (greg_t)(uintptr_t)assist_native_resume;
		regs[REG_RSP] = (greg_t)n->frame.rsp;
		return;
	}
	for (size_t i = 0; i < SIGNALS; i++) {      /* not ours: happens again, with the old handler */
		if (signals[i] == sig)
			(void)sigaction(sig, &previous[i], NULL);
	}
}

int assist_native_signals(void)
{
	struct sigaction action = { .sa_flags = SA_SIGINFO };

	action.sa_sigaction = handle;
	sigemptyset(&action.sa_mask);
	for (size_t i = 0; i < SIGNALS; i++) {
		if (sigaction(signals[i], &action, &previous[i]))
			return -errno;
	}
	return 0;
}

int assist_native_new(struct assist_native **native)
{
	struct assist_native *n = NULL;
	int fd, error;

	if (posix_memalign((void **)&n, 64, sizeof *n))
		return -ENOMEM;
	memset(n, 0, sizeof *n);
	pthread_mutex_init(&n->lock, NULL);
	n->writable = n->executable = MAP_FAILED;
	fd = memfd_create("kvmd-assist", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, PAGE))
		goto fail;
	n->writable = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	n->executable = mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	if (n->writable == MAP_FAILED || n->executable == MAP_FAILED)
		goto fail;
	close(fd);
	*native = n;
	return 0;
fail:
	error = errno;
	if (fd >= 0)
		close(fd);
	assist_native_free(n);
	return -error;
}

void assist_native_free(struct assist_native *n)
{
	if (!n)
		return;
	if (n->writable != MAP_FAILED)
		munmap(n->writable, PAGE);
	if (n->executable != MAP_FAILED)
		munmap(n->executable, PAGE);
	free(n);
}

int assist_native_run(struct assist_native *n, struct assist_native_call *call)
{
	static const uint8_t jump[6] = { 0xff, 0x25, 0, 0, 0, 0 };  /* jmp *0(%rip) */
	uint64_t back = (uint64_t)(uintptr_t)assist_native_back;
	struct frame *f = &n->frame;

	int sig;

	if (call->code_len > sizeof call->code)
		return SIGILL;
	pthread_mutex_lock(&n->lock);
	memcpy(n->writable, call->code, call->code_len);
	memcpy(n->writable + call->code_len, jump, sizeof jump);
	memcpy(n->writable + call->code_len + sizeof jump, &back, sizeof back);
	*f = (struct frame){
		.rax = call->rax, .rcx = call->rcx, .rdx = call->rdx, .rbx = call->rbx,
		.rflags = 0x202 | (call->rflags & RFLAGS_ARITH),
		.mem = (uint64_t)(uintptr_t)call->mem, .guest = (uint64_t)(uintptr_t)call->xsave,
		.host = (uint64_t)(uintptr_t)n->host, .components = call->components,
		.code = (uint64_t)(uintptr_t)n->executable,
	};
	call->address = f->code;
	n->signal = 0;
	running = n;
	assist_native_enter(f);
	running = NULL;
	sig = n->signal;
	if (!sig) {
		call->rax = f->rax;
		call->rcx = f->rcx;
		call->rdx = f->rdx;
		call->rbx = f->rbx;
		call->rflags = f->rflags & RFLAGS_ARITH;
	}
	pthread_mutex_unlock(&n->lock);
	return sig;
}
