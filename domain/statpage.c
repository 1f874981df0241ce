/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The statistics page: its one description, making it, slots, reading it. */
#include "domain/statpage.h"

#include <string.h>

#include "domain/error.h"
#include "domain/machine.h"

/* Room for what is plugged later. */
#define SPARE_DISKS 16u
#define SPARE_CARDS 8u

struct frame {                          /* of a slot; its words follow */
	uint32_t used, serial;          /* serial: how often it was taken */
	char alias[64], label[32];
};
G_STATIC_ASSERT(sizeof(struct frame) % sizeof(uint64_t) == 0);

struct header {
	char magic[8];
	uint32_t version, kinds;
	struct { uint32_t offset, stride, slots, zero; } kind[STAT_KINDS];
};
G_STATIC_ASSERT(sizeof(struct header) % sizeof(uint64_t) == 0);

const char *const stat_kind_names[STAT_KINDS] = { "vm", "vcpu", "block", "net", "balloon" };
const unsigned stat_words[STAT_KINDS] = { STAT_VM_WORDS, STAT_VCPU_WORDS, STAT_BLOCK_WORDS, STAT_NET_WORDS, STAT_BALLOON_WORDS };
const unsigned stat_slots_max[STAT_KINDS] = { 1, 1024, 1024, 1024, 1 };

/* --- the counters --- */

#define ROW(word, key, u, text, ...) { .name = key, .at = word, .words = 1, .unit = u, .doc = text, ##__VA_ARGS__ }

static const struct stat_counter vm_counters[] = {
	ROW(STAT_VM_GUEST_ERRORS, "guest.errors", "", "rules that the guest's drivers broke"),
	ROW(STAT_VM_FENCE, "fence.violations", "", "system calls that the fence of its process refused"),
	ROW(STAT_VM_LOST, "stats.without_slot", "", "devices that are counted but had no room in the statistics page"),
	ROW(STAT_VM_DIRTY_STATUS, "dirtyrate.calc_status", "", "0: never measured, 1: under way, 2: measured"),
	ROW(STAT_VM_DIRTY_START, "dirtyrate.calc_start_time", "s", "since the host was started"),
	ROW(STAT_VM_DIRTY_PERIOD, "dirtyrate.calc_period", "s", "how long it was measured"),
	ROW(STAT_VM_DIRTY_RATE, "dirtyrate.megabytes_per_second", "MiB/s", "memory that the guest changed"),
	{ 0 },
};

static const struct stat_counter vcpu_counters[] = {
	ROW(STAT_VCPU_COUNTS + 0, "exits.sum", "", "returns from KVM_RUN"),
	ROW(STAT_VCPU_COUNTS + 1, "io_exits.sum", "", "port accesses"),
	ROW(STAT_VCPU_COUNTS + 2, "mmio_exits.sum", "", "memory-mapped accesses"),
	ROW(STAT_VCPU_COUNTS + 3, "halt_exits.sum", "", "halts seen by the worker; KVM deals with most itself"),
	ROW(STAT_VCPU_COUNTS + 4, "signal_exits.sum", "", "kicks"),
	ROW(STAT_VCPU_COUNTS + 5, "insn_assists.sum", "", "instructions finished for KVM, where the host emulates guest kernel code"),
	ROW(STAT_VCPU_COUNTS + 6, "syscall_assists.sum", "", "system calls redirected for KVM"),
	ROW(STAT_VCPU_COUNTS + 7, "msr_exits.sum", "", "MSR accesses seen by the worker"),
	ROW(STAT_VCPU_COUNTS + 8, "other_exits.sum", "", "other exits"),
	ROW(STAT_VCPU_INDEX, NULL, "", "number of the vCPU"),
	ROW(STAT_VCPU_TID, NULL, "", "its thread: kvmd looks up time, delay and state in /proc"),
	ROW(STAT_VCPU_KVM, NULL, "", "its process' descriptor of KVM's own counters, plus 1; 0: there are none (domain/kvmstat.h)"),
	{ 0 },
};

#define OP(op, key, what) \
	ROW(op * STAT_OP_WORDS + STAT_OP_REQS, key ".reqs", "", what ": requests ended"), \
	ROW(op * STAT_OP_WORDS + STAT_OP_BYTES, key ".bytes", "bytes", what ": moved by those that succeeded"), \
	ROW(op * STAT_OP_WORDS + STAT_OP_ERRORS, key ".errors", "", what ": requests that failed"), \
	ROW(op * STAT_OP_WORDS + STAT_OP_TIME, key ".times", "ns", what ": sum of latencies"), \
	ROW(op * STAT_OP_WORDS + STAT_OP_REFUSED, key ".refused", "", what ": outside of the disk, or forbidden"), \
	{ .name = key ".latency", .at = op * STAT_OP_WORDS + STAT_OP_HIST, .words = STAT_HIST, .unit = "", \
	  .doc = what ": requests by latency, entry i below 2^(i + 9) ns" }

static const struct stat_counter block_counters[] = {
	OP(0, "rd", "reads"),
	OP(1, "wr", "writes"),
	OP(2, "fl", "flushes"),
	OP(3, "di", "discards"),
	OP(4, "wz", "zeroes"),
	OP(5, "rs", "changes of size"),
	ROW(STAT_BLOCK_BAD, "errors", "", "requests that were refused: outside of the disk, or forbidden"),
	ROW(STAT_BLOCK_HIGHEST, "wr.highest_offset", "bytes", "end of the furthest write"),
	ROW(STAT_BLOCK_INFLIGHT, "inflight", "", "requests under way now, the host's own included"),
	ROW(STAT_BLOCK_THROTTLED, "throttled.times", "ns", "time that requests waited for <iotune>"),
	ROW(STAT_BLOCK_SIZE, "capacity", "bytes", "size that the guest sees"),
	{ 0 },
};

static const struct stat_counter net_counters[] = {
	ROW(STAT_NET_RX_PKTS, "rx.pkts", "", "frames to the guest"),
	ROW(STAT_NET_RX_BYTES, "rx.bytes", "bytes", "of them"),
	ROW(STAT_NET_RX_DROP, "rx.drop", "", "frames to the guest that were dropped"),
	ROW(STAT_NET_TX_PKTS, "tx.pkts", "", "frames from the guest"),
	ROW(STAT_NET_TX_BYTES, "tx.bytes", "bytes", "of them"),
	ROW(STAT_NET_TX_DROP, "tx.drop", "", "frames from the guest that were dropped"),
	ROW(STAT_NET_RX_ERRS, "rx.errs", "", "receiving failed"),
	ROW(STAT_NET_TX_ERRS, "tx.errs", "", "of the dropped frames from the guest: sending failed"),
	{ 0 },
};

static const struct stat_counter balloon_counters[] = {
	ROW(STAT_BALLOON_ACTUAL, "current", "KiB", "memory the guest has, as its driver says", .shift = 10),
	ROW(STAT_BALLOON_TARGET, "target", "KiB", "memory the guest is to have", .shift = 10),
	ROW(STAT_BALLOON_STATS + 0, "swap_in", "KiB", "read from the guest's swap", .shift = 10),
	ROW(STAT_BALLOON_STATS + 1, "swap_out", "KiB", "written to the guest's swap", .shift = 10),
	ROW(STAT_BALLOON_STATS + 2, "major_fault", "", "page faults of the guest that needed its disk"),
	ROW(STAT_BALLOON_STATS + 3, "minor_fault", "", "its other page faults"),
	ROW(STAT_BALLOON_STATS + 4, "unused", "KiB", "memory the guest uses for nothing", .shift = 10),
	ROW(STAT_BALLOON_STATS + 5, "available", "KiB", "memory the guest knows of", .shift = 10),
	ROW(STAT_BALLOON_STATS + 6, "usable", "KiB", "memory programs in the guest could have", .shift = 10),
	ROW(STAT_BALLOON_STATS + 7, "disk_caches", "KiB", "memory that caches the guest's disks", .shift = 10),
	ROW(STAT_BALLOON_STATS + 8, "hugetlb_pgalloc", "", "huge pages the guest got"),
	ROW(STAT_BALLOON_STATS + 9, "hugetlb_pgfail", "", "huge pages the guest did not get"),
	ROW(STAT_BALLOON_AT, "last-update", "s", "when the guest said so, since 1970"),
	ROW(STAT_BALLOON_REPORTED, "reported", "KiB", "named by free page reporting so far", .shift = 10),
	{ 0 },
};

const struct stat_counter *const stat_counters[STAT_KINDS] = { vm_counters, vcpu_counters, block_counters, net_counters, balloon_counters };

/* --- making --- */

static size_t stride(enum stat_kind k)
{
	return sizeof(struct frame) + stat_words[k] * sizeof(uint64_t);
}

void statpage_plan(const struct machine *m, unsigned slots[STAT_KINDS])
{
	unsigned n[STAT_KINDS] = { [STAT_VM] = 1, [STAT_VCPU] = MAX(m->vcpu.max, 1), [STAT_BLOCK] = list_len(m->devices.disks) + SPARE_DISKS,
		[STAT_NET] = SPARE_CARDS, [STAT_BALLOON] = 1 };

	list_each(iface, i, m->devices.interfaces)
		n[STAT_NET] += MAX(i->driver.queues, 1);
	for (unsigned k = 0; k < STAT_KINDS; k++)
		slots[k] = MIN(n[k], stat_slots_max[k]);
}

size_t statpage_size(const unsigned slots[STAT_KINDS])
{
	size_t n = sizeof(struct header);

	for (unsigned k = 0; k < STAT_KINDS; k++)
		n += slots[k] * stride(k);
	return n;
}

void statpage_format(void *page, const unsigned slots[STAT_KINDS])
{
	struct header *h = page;
	size_t at = sizeof(*h);

	memcpy(h->magic, STAT_MAGIC, sizeof(h->magic));
	h->version = STAT_VERSION;
	h->kinds = STAT_KINDS;
	for (unsigned k = 0; k < STAT_KINDS; k++) {
		h->kind[k].offset = (uint32_t)at;
		h->kind[k].stride = (uint32_t)stride(k);
		h->kind[k].slots = slots[k];
		at += slots[k] * stride(k);
	}
}

/* --- slots of one's own page --- */

static struct frame *frame_of(void *page, enum stat_kind k, unsigned i)
{
	const struct header *h = page;

	return i < h->kind[k].slots ? (struct frame *)((uint8_t *)page + h->kind[k].offset + (size_t)i * h->kind[k].stride) : NULL;
}

uint64_t *statpage_words(void *page, enum stat_kind k, unsigned i)
{
	struct frame *f = frame_of(page, k, i);

	return f ? (uint64_t *)(f + 1) : NULL;
}

uint64_t *statpage_take(void *page, enum stat_kind k, const char *alias, const char *label)
{
	struct frame *f;

	for (unsigned i = 0; (f = frame_of(page, k, i)); i++) {
		uint64_t *words = (uint64_t *)(f + 1);

		if (f->used)
			continue;
		for (unsigned w = 0; w < stat_words[k]; w++)
			__atomic_store_n(&words[w], 0, __ATOMIC_RELAXED);
		g_strlcpy(f->alias, alias ? alias : "", sizeof(f->alias));
		g_strlcpy(f->label, label ? label : "", sizeof(f->label));
		f->serial++;
		__atomic_store_n(&f->used, 1, __ATOMIC_RELEASE);
		return words;
	}
	return NULL;
}

void statpage_give(void *page, uint64_t *words)
{
	if (words)
		__atomic_store_n(&((struct frame *)words - 1)->used, 0, __ATOMIC_RELEASE);
}

/* --- reading another's --- */

static uint32_t u32(const uint8_t *at)
{
	uint32_t v;

	memcpy(&v, at, sizeof(v));
	return v;
}

bool statpage_parse(struct statpage *p, const void *data, size_t len, GError **err)
{
	const uint8_t *d = data;
	struct statpage out = { .data = d };
	uint32_t kinds;

	if (len < offsetof(struct header, kind) || memcmp(d, STAT_MAGIC, sizeof(STAT_MAGIC) - 1))
		return kerr_set(err, KERR_STATE, "it is not a statistics page");
	if (u32(d + offsetof(struct header, version)) != STAT_VERSION)
		return kerr_set(err, KERR_STATE, "it is of version %u, not %u", u32(d + offsetof(struct header, version)), STAT_VERSION);
	kinds = u32(d + offsetof(struct header, kinds));
	for (unsigned k = 0; k < MIN(kinds, STAT_KINDS); k++) {
		const uint8_t *row = d + offsetof(struct header, kind) + (size_t)k * sizeof(((struct header *)0)->kind[0]);
		uint32_t at, step, slots;

		if (offsetof(struct header, kind) + ((size_t)k + 1) * sizeof(((struct header *)0)->kind[0]) > len)
			return kerr_set(err, KERR_STATE, "its header is cut off");
		at = u32(row);
		step = u32(row + 4);
		slots = u32(row + 8);
		if (slots > stat_slots_max[k])
			return kerr_set(err, KERR_STATE, "it has %u slots of kind '%s', more than %u", slots, stat_kind_names[k], stat_slots_max[k]);
		if (slots && (step < sizeof(struct frame) || step > STAT_BYTES_MAX || at > len || (uint64_t)step * slots > len - at))
			return kerr_set(err, KERR_STATE, "its slots of kind '%s' are outside of it", stat_kind_names[k]);
		out.kind[k].offset = at;
		out.kind[k].stride = step;
		out.kind[k].slots = slots;
	}
	*p = out;
	return true;
}

/* A name of at most n - 1 bytes that a terminal and a JSON can bear. */
static void copy_name(char *to, const uint8_t *from, size_t n)
{
	memcpy(to, from, n);
	to[n - 1] = '\0';
	for (const char *bad; !g_utf8_validate(to, -1, &bad);)
		to[bad - to] = '?';
	for (char *c = to; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = '?';
}

bool statpage_slot(const struct statpage *p, enum stat_kind k, unsigned i, struct stat_slot *out)
{
	const uint8_t *f;

	if (i >= p->kind[k].slots)
		return false;
	f = p->data + p->kind[k].offset + (size_t)i * p->kind[k].stride;
	if (!u32(f + offsetof(struct frame, used)))
		return false;
	copy_name(out->alias, f + offsetof(struct frame, alias), sizeof(out->alias));
	copy_name(out->label, f + offsetof(struct frame, label), sizeof(out->label));
	out->words = f + sizeof(struct frame);
	out->n = (unsigned)MIN((p->kind[k].stride - sizeof(struct frame)) / sizeof(uint64_t), stat_words[k]);
	return true;
}

uint64_t stat_slot_word(const struct stat_slot *s, unsigned at)
{
	uint64_t v;

	if (at >= s->n)
		return STAT_UNKNOWN;
	memcpy(&v, s->words + at * sizeof(v), sizeof(v));
	return v;
}

bool statpage_may_write(const void *page, size_t len, GError **err)
{
	struct statpage p;

	if (!statpage_parse(&p, page, len, err))
		return false;
	for (unsigned k = 0; k < STAT_KINDS; k++) {
		if (!p.kind[k].slots)
			continue;
		if ((p.kind[k].offset | p.kind[k].stride) % sizeof(uint64_t))
			return kerr_set(err, KERR_STATE, "its slots of kind '%s' are not aligned", stat_kind_names[k]);
		if (p.kind[k].stride < stride(k))
			return kerr_set(err, KERR_STATE, "its slots of kind '%s' are too small: kvmd is older than the machine's program", stat_kind_names[k]);
	}
	return true;
}
