/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The statistics page of a machine: run/vm/UUID/stats, made by kvmd, mapped and written by the worker, read by kvmd whenever it is
 * asked, without asking the worker.
 *
 * A header says where the slots of each kind are; a slot is a state, two names and 64-bit counters, of which stat_counters[] is the
 * only description. Counters are only ever added at the end, so a kvmd and a worker of different versions understand each other:
 * what one of them does not know is not there. Each counter is one aligned word, written relaxed; a reader may see two of them
 * one event apart.
 *
 * The worker closes the file when it has mapped it, before a guest runs: from then on it can neither shrink nor grow it. kvmd
 * nevertheless never maps it, it reads a copy, and takes nothing in it for true: statpage_parse() bounds every number.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum stat_kind { STAT_VM, STAT_VCPU, STAT_BLOCK, STAT_NET, STAT_BALLOON, STAT_KINDS };

#define STAT_MAGIC "kvmdstat"
#define STAT_VERSION 1u                 /* of the header and of slots' frames, not of the counters */
#define STAT_BYTES_MAX (4u << 20)       /* of a page */
#define STAT_UNKNOWN UINT64_MAX         /* nobody has said: the counter is left out */
#define STAT_HIST 32                    /* bucket i: latency < 2^(i + 9) ns; the last takes the rest */

/* Words of a slot, by kind. */
enum { STAT_VM_GUEST_ERRORS, STAT_VM_FENCE, STAT_VM_LOST, STAT_VM_DIRTY_STATUS, STAT_VM_DIRTY_START, STAT_VM_DIRTY_PERIOD,
	STAT_VM_DIRTY_RATE, STAT_VM_WORDS };
enum { STAT_VCPU_COUNTS /* enum vcpu_stat: 9 of them */, STAT_VCPU_INDEX = 9, STAT_VCPU_TID, STAT_VCPU_KVM, STAT_VCPU_WORDS };
enum { STAT_OP_REQS, STAT_OP_BYTES, STAT_OP_ERRORS, STAT_OP_TIME, STAT_OP_REFUSED, STAT_OP_HIST, STAT_OP_WORDS = STAT_OP_HIST + STAT_HIST };
enum { STAT_BLOCK_OPS = 6 /* enum block_op */, STAT_BLOCK_BAD = STAT_BLOCK_OPS * STAT_OP_WORDS, STAT_BLOCK_HIGHEST,
	STAT_BLOCK_INFLIGHT, STAT_BLOCK_THROTTLED, STAT_BLOCK_SIZE, STAT_BLOCK_WORDS };
enum { STAT_NET_RX_PKTS, STAT_NET_RX_BYTES, STAT_NET_RX_DROP, STAT_NET_TX_PKTS, STAT_NET_TX_BYTES, STAT_NET_TX_DROP, STAT_NET_RX_ERRS,
	STAT_NET_TX_ERRS, STAT_NET_WORDS };
enum { STAT_BALLOON_ACTUAL, STAT_BALLOON_TARGET, STAT_BALLOON_STATS /* enum balloon_stat: 10 of them */, STAT_BALLOON_AT = 12,
	STAT_BALLOON_REPORTED, STAT_BALLOON_WORDS };

struct stat_counter {
	const char *name;               /* key after the slot's, as virsh domstats has it ("rd.reqs"); NULL: not shown */
	unsigned at, words;             /* place in the slot; words > 1: a histogram */
	unsigned shift;                 /* shown divided by 2^shift */
	const char *unit, *doc;
};
/* Every counter there is; each table ends with a row without a doc. */
extern const struct stat_counter *const stat_counters[STAT_KINDS];
extern const unsigned stat_words[STAT_KINDS];
/* Most slots of a kind that a page may have. */
extern const unsigned stat_slots_max[STAT_KINDS];
extern const char *const stat_kind_names[STAT_KINDS];

/* --- making (kvmd) and writing (worker) --- */
struct machine;
/* Slots for what the machine has and for what may be plugged later. */
void statpage_plan(const struct machine *, unsigned slots[STAT_KINDS]);
size_t statpage_size(const unsigned slots[STAT_KINDS]);
/* page: statpage_size() bytes of zeroes, aligned to 8. */
void statpage_format(void *page, const unsigned slots[STAT_KINDS]);
/* A free slot gets these names (cut where they are too long) and becomes visible, with counters 0. Its words, or NULL when none is
 * free. One thread at a time. */
uint64_t *statpage_take(void *page, enum stat_kind, const char *alias, const char *label);
void statpage_give(void *page, uint64_t *words);        /* NULL is fine */
/* Whether a page that another made has room for all counters of ours, each at its place. *err: STATE. */
bool statpage_may_write(const void *page, size_t len, GError **err);
/* Words of the n-th slot whatever its state; NULL: there is none. */
uint64_t *statpage_words(void *page, enum stat_kind, unsigned n);

/* --- reading (kvmd): nothing in it is to be believed --- */
struct statpage {
	const uint8_t *data;
	struct { uint32_t offset, stride, slots; } kind[STAT_KINDS];
};
struct stat_slot {
	char alias[64], label[32];      /* printable UTF-8 */
	const uint8_t *words;           /* may be unaligned */
	unsigned n;                     /* counters that are there */
};
/* data stays the caller's and must outlive the page. *err: STATE, saying what is wrong with it. */
bool statpage_parse(struct statpage *, const void *data, size_t len, GError **err);
/* false: not in use, or there is none of that number. */
bool statpage_slot(const struct statpage *, enum stat_kind, unsigned i, struct stat_slot *out);
/* STAT_UNKNOWN when the writer did not know of this counter. */
uint64_t stat_slot_word(const struct stat_slot *, unsigned at);
