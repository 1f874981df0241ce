/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A machine without KVM for tests: 1 MiB of plain memory with dirty marks, interrupts are counters,
 * kicks call the bus, the clock is a number, the only loop is stepped by the test. One thread.
 */
#pragma once
#include <glib.h>

#include "hv/accel.h"
#include "hv/device.h"
#include "hv/vm.h"

#define FAKE_RAM (1u << 20)

struct fake {
	struct vm vm;
	struct clock *clock;            /* manual */
	struct loop *loop;              /* vm.loops[0], not started */
	struct fdset *fds;
	/* what the accelerator was told */
	unsigned irqs;                  /* times that a line rose */
	unsigned rises[IRQ_LINES];
	int level[IRQ_LINES];
	/* irqfds that are resampled, as KVM has them; not there unless the test says so before it adds devices */
	bool resamples;
	struct { unsigned gsi; int fd, resample; } irqfds[16];
	unsigned irqfds_n, irqfds_most /* 0: all there is room for */, irqfd_changes;
	bool raised[IRQ_LINES];         /* by them: a source of its own, which only an EOI lowers, and the last one's end */
	unsigned msis;
	uint64_t msi_addr;
	uint32_t msi_data;
	unsigned msis_of[256][16];      /* by data: first index bits 8 to 15, second the lowest four */
	/* what devices asked of the state driver */
	struct { enum vm_request what; unsigned value; } requests[64];
	unsigned requests_n;
	unsigned clock_sets;            /* of VM_REQ_CLOCK, which is not among them */
	/* inside */
	GPtrArray *configs;             /* struct config: what fake_add made */
	struct loop *loops[1];
	struct machine *machine;        /* vm.def */
};

extern const struct accel_ops accel_fake;

struct fake *fake_vm(void);
void fake_free(struct fake *);
/* New realized device; its config from JSON (single quotes will do; NULL: none is needed). The id is TYPE0, TYPE1, … */
struct device *fake_add(struct fake *, const char *type, const char *json);
/* The same with a config of the caller's, which may fail: NULL and *err. */
struct device *fake_try(struct fake *, const char *type, void *config, GError **err);
/* Runs posts, due timers and events of the loop and the main context until nothing is left. */
void fake_step(struct fake *);
/* Lets ns pass, in one go, and steps. */
void fake_pass(struct fake *, int64_t ns);
/* Pauses all devices and waits for them; lets them go on. */
void fake_pause(struct fake *);
void fake_resume(struct fake *);
/* What a machine has, devices and memory, to another one like it; both are paused. */
void fake_move(struct fake *from, struct fake *to);
/* The line as the interrupt controller has it, when it has carried out what was written to irqfds. */
bool fake_line(struct fake *, unsigned gsi);
/* The guest ends an interrupt of this line: those who share it are told, on the loop. */
void fake_eoi(struct fake *, unsigned gsi);
bool fake_dirty(struct fake *, uint64_t gpa);
/* Has the host memory for this page? */
bool fake_resident(struct fake *, uint64_t gpa);
/* State of one device as bytes. Caller frees. */
GByteArray *fake_save(struct device *);
/* Back from bytes, all of which it must take: false and *err. */
bool fake_load(struct device *, const GByteArray *, GError **err);
/* Text of it, without the lines of the fields named (names end with NULL). Caller frees. */
char *fake_state_text(struct device *, const char *const *but);
