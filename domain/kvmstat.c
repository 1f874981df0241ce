/* SPDX-License-Identifier: GPL-2.0-or-later */
/* KVM's counters: which there are, and finding them in the kernel's file. */
#include "domain/kvmstat.h"

#include <glib.h>
#include <string.h>

#include "domain/statpage.h"

const struct kvmstat_row kvmstat_rows[KVMSTAT_N] = {
	[KVMSTAT_EXITS] = { "exits", false, "all times that the guest was left, also those that the kernel dealt with" },
	[KVMSTAT_IO] = { "io_exits", false, "port accesses" },
	[KVMSTAT_MMIO] = { "mmio_exits", false, "memory-mapped accesses" },
	[KVMSTAT_SIGNAL] = { "signal_exits", false, "kicks" },
	[KVMSTAT_HALT] = { "halt_exits", false, "halts" },
	[KVMSTAT_HALT_WAIT] = { "halt_wait_ns", true, "time it was halted and its thread slept" },
	[KVMSTAT_HALT_POLL_GOOD] = { "halt_poll_success_ns", true, "time the kernel looked for work instead of sleeping, and found some" },
	[KVMSTAT_HALT_POLL_BAD] = { "halt_poll_fail_ns", true, "the same, in vain" },
	[KVMSTAT_HALT_POLLS] = { "halt_attempted_poll", false, "halts at which the kernel looked for work first" },
	[KVMSTAT_HALT_POLLED] = { "halt_successful_poll", false, "at which it found some" },
	[KVMSTAT_HALT_WAKEUP] = { "halt_wakeup", false, "sleeps that something ended" },
	[KVMSTAT_IRQ] = { "irq_exits", false, "interrupts of the host" },
	[KVMSTAT_IRQ_WINDOW] = { "irq_window_exits", false, "waits until the guest takes interrupts" },
	[KVMSTAT_IRQ_INJECTED] = { "irq_injections", false, "interrupts given to the guest" },
	[KVMSTAT_NMI_INJECTED] = { "nmi_injections", false, "NMIs given to the guest" },
	[KVMSTAT_HYPERCALLS] = { "hypercalls", false, "calls of the guest to KVM" },
	[KVMSTAT_FAULTS] = { "pf_taken", false, "page faults that KVM looked at" },
	[KVMSTAT_TLB_FLUSH] = { "tlb_flush", false, "flushes of the guest's translations" },
	[KVMSTAT_EMULATED] = { "insn_emulation", false, "instructions that KVM interpreted" },
};

/* The kernel's layout (Documentation/virt/kvm/api.rst, KVM_GET_STATS_FD): sizes of the header and of a row before its name. */
enum { HEAD = 24, HEAD_NAME = 4, HEAD_ROWS = 8, HEAD_ROWS_AT = 16, HEAD_DATA_AT = 20 };
enum { ROW = 16, ROW_FLAGS = 0, ROW_SIZE = 6, ROW_OFFSET = 8 };
#define TYPE(flags) ((flags) & 15)      /* 0: cumulative */
#define ROWS_MAX 1024u
#define NAME_MAX_BYTES 256u

static uint32_t u32(const uint8_t *at)
{
	uint32_t v;

	memcpy(&v, at, sizeof(v));
	return v;
}

static int row_of(const uint8_t *name, size_t n)
{
	for (int i = 0; i < KVMSTAT_N; i++) {
		size_t want = strlen(kvmstat_rows[i].name) + 1;

		if (want <= n && !memcmp(name, kvmstat_rows[i].name, want))
			return i;
	}
	return -1;
}

bool kvmstat_parse(const uint8_t *data, size_t len, uint64_t out[KVMSTAT_N])
{
	uint64_t step, rows_at, data_at;
	uint32_t name, rows;

	if (len < HEAD)
		return false;
	name = u32(data + HEAD_NAME);
	rows = u32(data + HEAD_ROWS);
	rows_at = u32(data + HEAD_ROWS_AT);
	data_at = u32(data + HEAD_DATA_AT);
	if (!name || name > NAME_MAX_BYTES || rows > ROWS_MAX)
		return false;
	for (unsigned i = 0; i < KVMSTAT_N; i++)
		out[i] = STAT_UNKNOWN;
	step = ROW + (uint64_t)name;
	for (uint32_t r = 0; r < rows && rows_at + (r + 1) * step <= len; r++) {
		const uint8_t *row = data + rows_at + r * step;
		uint64_t at = data_at + u32(row + ROW_OFFSET);
		uint16_t values;
		int i = row_of(row + ROW, name);

		memcpy(&values, row + ROW_SIZE, sizeof(values));
		if (i < 0 || values != 1 || TYPE(u32(row + ROW_FLAGS)) || at + sizeof(uint64_t) > len)
			continue;
		memcpy(&out[i], data + at, sizeof(uint64_t));
	}
	return true;
}
