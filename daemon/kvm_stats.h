/* SPDX-License-Identifier: GPL-2.0-or-later */
/* KVM's counters of another process's vCPU. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "domain/kvmstat.h"

/*
 * Reads what is behind that process's descriptor, which it keeps open and nobody asks it for: it is not believed to be what it
 * should, and nothing but KVM's file is read. false: there is none, or this kvmd may not look (it takes CAP_SYS_PTRACE).
 */
bool kvm_stats_read(int pidfd, int fd, uint64_t out[KVMSTAT_N]);
