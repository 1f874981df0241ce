/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * domstats: what machines have counted, without asking them.
 *
 * A machine's process counts in run/vm/UUID/stats (domain/statpage.h). It is opened, read and closed at each question: there is
 * nothing to keep, so nothing to find again when kvmd has begun anew, and a copy that is read can do no harm whatever is in it.
 * KVM's own counters are read through the descriptors that it holds for that (kvm_stats.h).
 * Times come from /proc: they go on being true while the process is stopped or hangs. Main thread; nothing here blocks.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/commands.h"
#include "daemon/dom.h"
#include "daemon/kvm_stats.h"
#include "daemon/kvmd.h"
#include "domain/commands_watch.h"
#include "domain/json.h"
#include "domain/statpage.h"

/* One question: its buffer serves all domains. */
struct reading {
	const struct ask_domstats *ask;
	bool all;                       /* no group was named */
	uint8_t *buf;
	size_t room;
	long tick, page;
};

/* One domain of it. */
struct usage { unsigned long long user, system, rss; };
struct subject {
	const struct dom *dom;
	json_object *out;
	bool has_page, has_usage;
	struct statpage page;
	struct usage usage;
};

/* --- output --- */

static void put(json_object *o, const char *key, uint64_t value)
{
	json_object_object_add_ex(o, key, json_object_new_uint64(value), JSON_C_OBJECT_ADD_KEY_IS_NEW);
}

static void put_str(json_object *o, const char *key, const char *value)
{
	if (value && *value)
		json_object_object_add(o, key, json_object_new_string(value));
}

#define KEY(fmt, ...) (snprintf(key, sizeof(key), fmt, __VA_ARGS__), key)

/* All counters of a slot: `prefix` and a counter's name is the key. */
static void put_counters(json_object *o, const char *prefix, enum stat_kind k, const struct stat_slot *s, bool histograms)
{
	char key[96];

	for (const struct stat_counter *c = stat_counters[k]; c->doc; c++) {
		uint64_t v = stat_slot_word(s, c->at);

		if (!c->name || v == STAT_UNKNOWN || (c->words > 1 && !histograms))
			continue;
		KEY("%s%s", prefix, c->name);
		if (c->words == 1) {
			put(o, key, v >> c->shift);
			continue;
		}
		json_object *list = json_object_new_array_ext((int)c->words);

		for (unsigned i = 0; i < c->words; i++)
			json_object_array_add(list, json_object_new_uint64(stat_slot_word(s, c->at + i)));
		json_object_object_add(o, key, list);
	}
}

/* --- /proc --- */

/* A small file's text in buf; false: it cannot be read. */
static bool read_small(const char *path, char *buf, size_t n)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd >= 0 ? read(fd, buf, n - 1) : -1;

	if (fd >= 0)
		close(fd);
	buf[MAX(got, 0)] = '\0';
	return got > 0;
}

static bool usage_of(const struct reading *r, int pid, struct usage *u)
{
	char path[64], text[1024], *at;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (pid <= 0 || !read_small(path, text, sizeof(text)) || !(at = strrchr(text, ')')) ||
	    sscanf(at, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d %*d %*d %*d %*u %*u %llu", &u->user, &u->system, &u->rss) != 3)
		return false;
	u->user *= 1000000000ull / (unsigned long long)r->tick;
	u->system *= 1000000000ull / (unsigned long long)r->tick;
	u->rss *= (unsigned long long)r->page;
	return true;
}

/* --- groups --- */

/* libvirt's numbers. */
static const uint8_t state_numbers[DOM_STATE_N] = {
	[DOM_SHUTOFF] = 5, [DOM_STARTING] = 0, [DOM_RUNNING] = 1, [DOM_PAUSED] = 3, [DOM_SHUTDOWN] = 4, [DOM_CRASHED] = 6, [DOM_ADOPTING] = 0, [DOM_UNKNOWN] = 0,
};
/* Its reasons, where it has one for ours; else 0, unknown. */
static const struct { enum dom_state state; const char *reason; unsigned number; } reasons[] = {
	{ DOM_RUNNING, "booted", 1 }, { DOM_RUNNING, "resumed", 5 },
	{ DOM_PAUSED, "by request", 1 }, { DOM_PAUSED, "migrating", 2 }, { DOM_PAUSED, "I/O error", 5 }, { DOM_PAUSED, "no space left for a disk", 5 },
	{ DOM_PAUSED, "not yet run", 11 },
	{ DOM_SHUTOFF, "shutdown", 1 }, { DOM_SHUTOFF, "reset", 1 }, { DOM_SHUTOFF, "test-exit", 1 }, { DOM_SHUTOFF, "destroyed", 2 },
	{ DOM_SHUTOFF, "ended by request", 2 }, { DOM_SHUTOFF, "crashed", 3 }, { DOM_SHUTOFF, "panicked", 3 }, { DOM_SHUTOFF, "error", 3 },
	{ DOM_SHUTOFF, "failed", 6 }, { DOM_CRASHED, "panicked", 1 },
};

static void put_state(struct reading *r, struct subject *s)
{
	unsigned reason = 0;

	for (size_t i = 0; i < G_N_ELEMENTS(reasons); i++)
		if (reasons[i].state == s->dom->state && !g_strcmp0(reasons[i].reason, s->dom->reason))
			reason = reasons[i].number;
	put(s->out, "state.state", state_numbers[s->dom->state]);
	put(s->out, "state.reason", reason);
}

static void put_cpu(struct reading *r, struct subject *s)
{
	if (!s->has_usage)
		return;
	put(s->out, "cpu.time", s->usage.user + s->usage.system);
	put(s->out, "cpu.user", s->usage.user);
	put(s->out, "cpu.system", s->usage.system);
}

static void put_balloon(struct reading *r, struct subject *s)
{
	const struct machine *m = s->dom->live;
	struct stat_slot slot;

	if (s->has_page && statpage_slot(&s->page, STAT_BALLOON, 0, &slot))
		put_counters(s->out, "balloon.", STAT_BALLOON, &slot, false);
	else if (m)
		put(s->out, "balloon.current", (m->memory.current ? m->memory.current : m->memory.size) >> 10);
	if (m)
		put(s->out, "balloon.maximum", m->memory.size >> 10);         /* <maxMemory> is room for devices to come */
	if (s->has_usage)
		put(s->out, "balloon.rss", s->usage.rss >> 10);
}

/* Of a thread of the machine's process: its time, and what it waited for a CPU, which is what the guest sees as stolen. */
static void put_thread(json_object *o, unsigned vcpu, int pid, uint64_t tid)
{
	char path[80], text[128], key[48];
	unsigned long long time, delay;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/schedstat", pid, (int)MIN(tid, (uint64_t)INT_MAX));
	if (!tid || pid <= 0 || !read_small(path, text, sizeof(text)) || sscanf(text, "%llu %llu", &time, &delay) != 2)
		return;
	put(o, KEY("vcpu.%u.time", vcpu), time);
	put(o, KEY("vcpu.%u.delay", vcpu), delay);
}

/* What only KVM knows. Of what both count the larger number is true: the machine's process sees a part of the exits, and a KVM that
 * emulates guest kernel code does not count what that does. */
static void put_kvm(json_object *o, unsigned vcpu, const struct dom *d, uint64_t fd)
{
	uint64_t values[KVMSTAT_N];
	json_object *ours;
	char key[64];

	if (!fd || fd > INT_MAX || !kvm_stats_read(d->pidfd, (int)fd - 1, values))
		return;
	for (unsigned i = 0; i < KVMSTAT_N; i++)
		if (values[i] != STAT_UNKNOWN && (!json_object_object_get_ex(o, KEY("vcpu.%u.%s.sum", vcpu, kvmstat_rows[i].name), &ours) ||
		    json_object_get_uint64(ours) < values[i]))
			json_object_object_add(o, key, json_object_new_uint64(values[i]));
}

static void put_vcpus(struct reading *r, struct subject *s)
{
	const struct machine *m = s->dom->live;
	char key[48];
	struct stat_slot slot;

	if (m) {                        /* else its process has not answered since kvmd began: the page says what it has */
		put(s->out, "vcpu.current", machine_vcpus(m));
		put(s->out, "vcpu.maximum", m->vcpu.max);
	}
	for (unsigned i = 0; s->has_page && i < s->page.kind[STAT_VCPU].slots; i++) {
		uint64_t index;

		if (!statpage_slot(&s->page, STAT_VCPU, i, &slot) || (index = stat_slot_word(&slot, STAT_VCPU_INDEX)) >= stat_slots_max[STAT_VCPU] ||
		    (m && (index >= m->vcpu.max || !machine_vcpu_enabled(m, (unsigned)index))))
			continue;
		KEY("vcpu.%u.state", (unsigned)index);
		if (json_object_object_get_ex(s->out, key, NULL))
			continue;               /* a page that lies */
		put(s->out, key, 1);
		put_thread(s->out, (unsigned)index, s->dom->pid, stat_slot_word(&slot, STAT_VCPU_TID));
		put_counters(s->out, KEY("vcpu.%u.", (unsigned)index), STAT_VCPU, &slot, false);
		put_kvm(s->out, (unsigned)index, s->dom, stat_slot_word(&slot, STAT_VCPU_KVM));
	}
}

static const struct iface *iface_of(const struct machine *m, const char *alias)
{
	list_each(iface, i, m ? m->devices.interfaces : NULL)
		if (!g_strcmp0(i->alias, alias))
			return i;
	return NULL;
}

static void put_cards(struct reading *r, struct subject *s)
{
	unsigned slots = s->has_page ? s->page.kind[STAT_NET].slots : 0, n = 0;
	char key[48];

	put(s->out, "net.count", 0);    /* its place; the number follows */
	for (unsigned i = 0; i < slots; i++) {
		uint64_t sum[STAT_NET_WORDS];
		struct stat_slot slot, more;
		const struct iface *iface;
		bool seen = false;

		if (!statpage_slot(&s->page, STAT_NET, i, &slot))
			continue;
		for (unsigned j = 0; j < i && !seen; j++)
			seen = statpage_slot(&s->page, STAT_NET, j, &more) && !strcmp(more.alias, slot.alias);
		if (seen)
			continue;
		for (unsigned w = 0; w < STAT_NET_WORDS; w++)
			sum[w] = stat_slot_word(&slot, w);
		for (unsigned j = i + 1; j < slots; j++)        /* the other queues of that card */
			if (statpage_slot(&s->page, STAT_NET, j, &more) && !strcmp(more.alias, slot.alias))
				for (unsigned w = 0; w < slot.n; w++)
					sum[w] += stat_slot_word(&more, w);
		slot.words = (const uint8_t *)sum;
		iface = iface_of(s->dom->live, slot.alias);
		put_str(s->out, KEY("net.%u.name", n), iface && iface->target ? iface->target : *slot.label ? slot.label : slot.alias);
		put_counters(s->out, KEY("net.%u.", n), STAT_NET, &slot, false);
		n++;
	}
	json_object_object_add(s->out, "net.count", json_object_new_uint64(n));
}

static const struct disk *disk_of(const struct machine *m, const char *alias)
{
	list_each(disk, d, m ? m->devices.disks : NULL)
		if (!g_strcmp0(d->alias, alias))
			return d;
	return NULL;
}

static void put_disks(struct reading *r, struct subject *s)
{
	unsigned n = 0;
	char key[48];

	put(s->out, "block.count", 0);
	for (unsigned i = 0; s->has_page && i < s->page.kind[STAT_BLOCK].slots; i++) {
		const struct resource *image;
		const struct disk *disk;
		struct stat_slot slot;
		uint64_t words[STAT_BLOCK_WORDS];

		if (!statpage_slot(&s->page, STAT_BLOCK, i, &slot))
			continue;
		for (unsigned w = 0; w < STAT_BLOCK_WORDS; w++)
			words[w] = stat_slot_word(&slot, w);
		for (unsigned w = 0; w < STAT_OP_WORDS; w++)    /* zeroes are writes, as QEMU counts them */
			words[STAT_OP_WORDS + w] += words[4 * STAT_OP_WORDS + w];
		slot.words = (const uint8_t *)words;
		disk = disk_of(s->dom->live, slot.alias);
		image = disk ? disk_source_resource(disk->type, (struct disk_source *)&disk->source) : NULL;
		put_str(s->out, KEY("block.%u.name", n), disk ? disk->target.dev : *slot.label ? slot.label : slot.alias);
		if (image)
			put_str(s->out, KEY("block.%u.path", n), image->path);
		put_counters(s->out, KEY("block.%u.", n), STAT_BLOCK, &slot, r->ask->latency);
		n++;
	}
	json_object_object_add(s->out, "block.count", json_object_new_uint64(n));
}

static void put_machine(struct reading *r, struct subject *s)
{
	struct stat_slot slot;

	if (s->has_page && statpage_slot(&s->page, STAT_VM, 0, &slot))
		put_counters(s->out, "", STAT_VM, &slot, false);
}

static const struct {
	size_t flag;                    /* of struct ask_domstats */
	bool running;                   /* nothing to say of those that are off */
	void (*put)(struct reading *, struct subject *);
} groups[] = {
	{ offsetof(struct ask_domstats, state), false, put_state },
	{ offsetof(struct ask_domstats, cpu_total), true, put_cpu },
	{ offsetof(struct ask_domstats, balloon), true, put_balloon },
	{ offsetof(struct ask_domstats, vcpu), true, put_vcpus },
	{ offsetof(struct ask_domstats, interface), true, put_cards },
	{ offsetof(struct ask_domstats, block), true, put_disks },
	{ offsetof(struct ask_domstats, vm), true, put_machine },
};

static bool is_wanted(const struct reading *r, size_t flag)
{
	return r->all || *(const bool *)((const char *)r->ask + flag) ||
		(flag == offsetof(struct ask_domstats, vm) && r->ask->dirtyrate);
}

/* --- reading --- */

/* false: the machine has no page (it is off, or was started by a kvmd without), or what is there is none. */
static bool read_page(struct reading *r, const struct dom *d, struct statpage *page)
{
	char path[4096];
	struct stat st;
	ssize_t n = -1;
	int fd;

	snprintf(path, sizeof(path), "%s/%s/stats", d->kvmd->paths->vms, d->uuid);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return false;
	if (!fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_size > 0) {
		size_t want = MIN((size_t)st.st_size, STAT_BYTES_MAX);

		if (want > r->room) {
			g_free(r->buf);
			r->buf = g_malloc(want);
			r->room = want;
		}
		n = pread(fd, r->buf, want, 0);
	}
	close(fd);
	return n > 0 && statpage_parse(page, r->buf, (size_t)n, NULL);
}

static json_object *stats_of(struct reading *r, const struct dom *d)
{
	struct subject s = { .dom = d, .out = json_object_new_object() };
	bool active = dom_is_active(d);

	s.has_page = active && read_page(r, d, &s.page);
	s.has_usage = active && (is_wanted(r, offsetof(struct ask_domstats, cpu_total)) || is_wanted(r, offsetof(struct ask_domstats, balloon))) &&
		usage_of(r, d->pid, &s.usage);
	for (size_t i = 0; i < G_N_ELEMENTS(groups); i++)
		if (is_wanted(r, groups[i].flag) && (active || !groups[i].running))
			groups[i].put(r, &s);
	return s.out;
}

static bool is_listed(const struct ask_domstats *a, const struct dom *d)
{
	if (!a->list_active && !a->list_inactive && !a->list_running && !a->list_paused && !a->list_shutoff)
		return true;
	return (a->list_active && dom_is_active(d)) || (a->list_inactive && !dom_is_active(d)) || (a->list_running && d->state == DOM_RUNNING) ||
		(a->list_paused && d->state == DOM_PAUSED) || (a->list_shutoff && d->state == DOM_SHUTOFF);
}

/* The domains asked for; NULL and *err when one of them is not there. */
static GPtrArray *chosen(const struct request *r, GError **err)
{
	const struct ask_domstats *a = r->args;
	GPtrArray *some;

	if (!a->domains || !a->domains->len)
		return doms_sorted(r->kvmd->doms);
	some = g_ptr_array_new();
	for (unsigned i = 0; i < a->domains->len; i++) {
		struct dom *d = doms_find(r->kvmd->doms, ((const struct watch_name *)a->domains->pdata[i])->name, err);

		if (!d) {
			g_ptr_array_unref(some);
			return NULL;
		}
		g_ptr_array_add(some, d);
	}
	return some;
}

static void cmd_domstats(struct request *r)
{
	const struct ask_domstats *a = r->args;
	struct reading reading = { .ask = a, .all = true, .tick = sysconf(_SC_CLK_TCK), .page = sysconf(_SC_PAGESIZE) };
	g_autoptr(GError) err = NULL;
	g_autoptr(GPtrArray) doms = chosen(r, &err);
	json_object *reply, *list;

	if (!doms) {
		request_fail(r, err);
		return;
	}
	for (size_t i = 0; i < G_N_ELEMENTS(groups); i++)
		reading.all &= !*(const bool *)((const char *)a + groups[i].flag);
	reading.all &= !a->dirtyrate;
	reply = json_object_new_object();
	list = json_object_new_array();
	json_object_object_add(reply, "domains", list);
	for (unsigned i = 0; i < doms->len; i++) {
		const struct dom *d = doms->pdata[i];
		json_object *row;

		if (!is_listed(a, d))
			continue;
		row = json_object_new_object();
		json_object_object_add(row, "name", json_object_new_string(d->name));
		json_object_object_add(row, "uuid", json_object_new_string(d->uuid));
		json_object_object_add(row, "stats", stats_of(&reading, d));
		json_object_array_add(list, row);
	}
	g_free(reading.buf);
	request_reply_json(r, reply, NULL, 0);
}

const struct command_binding watch_bindings[] = {
	{ "domstats", cmd_domstats },
	{ NULL },
};
