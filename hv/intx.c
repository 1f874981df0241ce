/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Level triggered interrupts by resampled irqfds.
 *
 * Why none is lost: the level is set before the eventfd is written, and KVM lowers a line before it tells of the EOI. Whoever
 * wants the line has it up, or his write is on its way to KVM, or the EOI's message is on its way to him. A raise that KVM
 * carries out after the guest has already looked is the handler that finds nothing to do.
 *
 * All resampled irqfds of a line are one source in KVM. Nobody but an EOI lowers it, and the end of the last irqfd; that is
 * how a reset gets rid of what a former life has raised.
 */
#include "hv/intx.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "domain/error.h"
#include "hv/accel.h"
#include "hv/vm.h"

static void raise_line(struct intx *x)
{
	uint64_t one = 1;

	__atomic_store_n(&x->used, 1, __ATOMIC_SEQ_CST);
	/* EAGAIN: the counter is full, so KVM is told anyway */
	while (write(x->fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

/* The guest has ended an interrupt of this line, which is low now. On loops[0]. */
static void on_eoi(void *arg, uint32_t events)
{
	struct intx *x = arg;
	uint64_t count;

	if (read(x->eoi.fd, &count, sizeof(count)) == sizeof(count) && __atomic_load_n(&x->level, __ATOMIC_SEQ_CST))
		raise_line(x);
}

struct watch_call {
	struct intx *x;
	bool ok;
	GError **err;
};

static void watch(void *arg)
{
	struct watch_call *c = arg;

	c->ok = loop_fd_add(c->x->vm->loops[0], &c->x->eoi, c->err);
}

static void unwatch(void *arg)
{
	loop_fd_remove(&((struct intx *)arg)->eoi);
}

static void close_fds(struct intx *x)
{
	if (x->eoi.loop)
		loop_call(x->eoi.loop, unwatch, x);
	if (x->eoi.fd >= 0)
		close(x->eoi.fd);
	if (x->fd >= 0)
		close(x->fd);
	x->fd = x->eoi.fd = -1;
}

static int tell(struct intx *x, bool on)
{
	return x->vm->accel->irq_fd(x->vm, x->gsi, x->fd, x->eoi.fd, on);
}

/* false without *err: the accelerator has none, or there are no descriptors left. */
static bool open_fds(struct intx *x, GError **err)
{
	struct watch_call c = { .x = x, .err = err };

	x->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	x->eoi.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (x->fd >= 0 && x->eoi.fd >= 0 && tell(x, true) >= 0) {
		loop_call(x->vm->loops[0], watch, &c);
		if (c.ok)
			return true;
		(void)tell(x, false);           /* closing it has the same effect */
	}
	close_fds(x);
	return false;
}

bool intx_init(struct intx *x, struct vm *vm, unsigned gsi, GError **err)
{
	GError *why = NULL;

	*x = (struct intx){ .vm = vm, .gsi = gsi, .fd = -1, .eoi = { .fd = -1, .events = EPOLLIN, .fn = on_eoi, .arg = x } };
	if (!open_fds(x, &why)) {
		if (why)
			g_debug("interrupt line %u: %s", gsi, why->message);
		g_clear_error(&why);
		if (!irq_init(&x->line, vm, gsi, err)) {
			x->vm = NULL;
			return false;
		}
	}
	x->next = vm->intxs;
	vm->intxs = x;
	return true;
}

void intx_finish(struct intx *x)
{
	if (!x->vm)
		return;
	for (struct intx **at = &x->vm->intxs; *at; at = &(*at)->next)
		if (*at == x) {
			*at = x->next;
			break;
		}
	if (x->fd >= 0)
		(void)tell(x, false);
	close_fds(x);
	irq_finish(&x->line);
	*x = (struct intx){ .fd = -1, .eoi.fd = -1 };
}

void intx_set(struct intx *x, bool level)
{
	if (x->level == level)
		return;
	__atomic_store_n(&x->level, level, __ATOMIC_SEQ_CST);
	if (x->line.vm)
		irq_set(&x->line, level);
	else if (level && x->fd >= 0)
		raise_line(x);
}

/* Some irqfd of the line was written since the line was certainly low. */
static bool line_used(const struct vm *vm, unsigned gsi)
{
	for (const struct intx *x = vm->intxs; x; x = x->next)
		if (x->gsi == gsi && x->fd >= 0 && __atomic_load_n(&x->used, __ATOMIC_SEQ_CST))
			return true;
	return false;
}

/* What it wants, to an accelerator that knows nothing of it. Without an irqfd, from now on by the line. */
static void renew(struct intx *x)
{
	bool level = __atomic_load_n(&x->level, __ATOMIC_SEQ_CST);
	GError *err = NULL;

	__atomic_store_n(&x->used, 0, __ATOMIC_SEQ_CST);
	if (tell(x, true) >= 0) {
		if (level)
			raise_line(x);
		return;
	}
	close_fds(x);
	if (irq_init(&x->line, x->vm, x->gsi, &err)) {
		irq_set(&x->line, level);
	} else {
		g_warning("interrupt line %u: a device cannot raise it any more: %s", x->gsi, err->message);
		g_error_free(err);
	}
}

void intxs_sync(struct vm *vm)
{
	for (unsigned gsi = 0; gsi < IRQ_LINES; gsi++) {
		if (!line_used(vm, gsi))
			continue;
		for (struct intx *x = vm->intxs; x; x = x->next)
			if (x->gsi == gsi && x->fd >= 0)
				(void)tell(x, false);           /* none fails that is there; the last one lowers */
		for (struct intx *x = vm->intxs; x; x = x->next)
			if (x->gsi == gsi && x->fd >= 0)
				renew(x);
	}
}
