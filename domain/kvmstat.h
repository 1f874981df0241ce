/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * KVM's own counters of a vCPU, as the kernel shows them behind KVM_GET_STATS_FD (a binary file that describes itself). They know
 * what no process sees: halts, and exits that the kernel deals with. Reading them costs the guest nothing; nobody copies them
 * while it runs. Pure: bytes in, numbers out. Any thread.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum kvmstat {
	KVMSTAT_EXITS, KVMSTAT_IO, KVMSTAT_MMIO, KVMSTAT_SIGNAL, KVMSTAT_HALT, KVMSTAT_HALT_WAIT, KVMSTAT_HALT_POLL_GOOD, KVMSTAT_HALT_POLL_BAD,
	KVMSTAT_HALT_POLLS, KVMSTAT_HALT_POLLED, KVMSTAT_HALT_WAKEUP, KVMSTAT_IRQ, KVMSTAT_IRQ_WINDOW, KVMSTAT_IRQ_INJECTED, KVMSTAT_NMI_INJECTED,
	KVMSTAT_HYPERCALLS, KVMSTAT_FAULTS, KVMSTAT_TLB_FLUSH, KVMSTAT_EMULATED, KVMSTAT_N
};
struct kvmstat_row { const char *name; /* KVM's, and QEMU's and libvirt's */ bool ns; const char *doc; };
extern const struct kvmstat_row kvmstat_rows[KVMSTAT_N];

#define KVMSTAT_BYTES 16384             /* enough of such a file; a kernel that has more than that is read up to there */
#define KVMSTAT_LINK "anon_inode:kvm-vcpu-stats:"       /* what /proc/PID/fd says of one */

/* The first len bytes of the file. Counters that this kernel lacks become STAT_UNKNOWN; false: it is no such file. */
bool kvmstat_parse(const uint8_t *data, size_t len, uint64_t out[KVMSTAT_N]);
