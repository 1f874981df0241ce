/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * <iotune>.
 *
 * Limits belong to a group of disks on one loop (a disk without group_name is alone in its own). Six limits: bytes and
 * operations × total, read, write. Each has two buckets: `avg` fills at the limit; where a _max is given, avg holds
 * (max − limit) × length, which is exactly what a disk may run ahead at the rate max for the given seconds, and `burst`
 * keeps it to the rate max meanwhile. Without a _max, avg holds a tenth of a second.
 *
 * Fairness: each disk has a virtual time, the time its requests took of the scarcest limit. The waiting disk with the
 * least goes next; one that was idle starts at the group's present time, so that nobody saves up. Order within a disk and
 * direction is kept; reads and writes take turns. A request that is blocked by a total limit stops all behind it (else big
 * requests starve), one blocked by a read limit only stops reads.
 */
#include "devices/block_throttle.h"

#include <string.h>

#include "devices/block_driver.h"
#include "domain/error.h"

#define SECOND 1000000000ll
#define CAP_MAX (1ull << 62)
#define WAIT_MAX (3600 * SECOND)        /* look again at least so often */

enum direction { DIR_READ, DIR_WRITE, DIRS };
enum limit { LIMIT_BYTES, LIMIT_OPS, LIMITS };
enum scope { SCOPE_TOTAL, SCOPE_READ, SCOPE_WRITE, SCOPES };
enum layer { LAYER_AVG, LAYER_BURST, LAYERS };

struct member;
struct group {
	struct block_shared shared;
	struct block_host *host;
	struct loop_timer timer;
	struct bucket buckets[LIMITS][SCOPES][LAYERS];
	uint64_t size_iops; /* bytes that count as one operation; 0: any request is one */
	int64_t filled;                 /* host time of the last refill */
	uint64_t vtime;                 /* of the member served last */
	GPtrArray *members;
	bool any;                       /* is there a limit at all? */
};
struct member {                         /* a disk */
	struct block block;
	struct group *group;
	uint64_t vtime;                 /* ns */
	enum direction turn;
	struct queue { struct block_req *first, **end; } queue[DIRS];
	bool open;                      /* draining: nothing waits */
};

/* --- buckets --- */

static __int128 full(const struct bucket *b)
{
	return (__int128)b->cap * SECOND;
}

void bucket_init(struct bucket *b, uint64_t rate, uint64_t cap)
{
	*b = (struct bucket){ .rate = rate, .cap = MIN(MAX(cap, 1), CAP_MAX) };
	b->level = full(b);
}

void bucket_set(struct bucket *b, uint64_t rate, uint64_t cap)
{
	struct bucket old = *b;

	bucket_init(b, rate, cap);
	if (!old.rate || !rate)
		return;
	if (old.level < 0) { /* owed: no more tokens and no more time to pay back than before */
		__int128 ns = -old.level / old.rate, same_time = MIN(ns, (__int128)WAIT_MAX) * rate;

		b->level = -MIN(same_time, -old.level);
	} else { /* saved: the same part of the bucket, to one token in 2^20 */
		b->level = full(b) / (1 << 20) * (old.level / (full(&old) / (1 << 20) + 1));
	}
}

void bucket_refill(struct bucket *b, int64_t ns)
{
	__int128 level = b->level + (__int128)b->rate * ns;

	b->level = MIN(level, full(b));
}

/* What must be there before a request of that cost goes. */
static __int128 needed(const struct bucket *b, uint64_t cost)
{
	return (__int128)MIN(cost, b->cap) * SECOND;
}

int64_t bucket_wait(const struct bucket *b, uint64_t cost)
{
	__int128 lack = needed(b, cost) - b->level, ns;

	if (!b->rate || !cost || lack <= 0)
		return 0;
	ns = (lack + b->rate - 1) / b->rate;
	return ns > WAIT_MAX ? WAIT_MAX : (int64_t)ns;
}

void bucket_take(struct bucket *b, uint64_t cost)
{
	if (b->rate)
		b->level -= (__int128)cost * SECOND;
}

/* --- what a request costs --- */

static enum direction direction(const struct block_req *r)
{
	return r->op == BLOCK_READ ? DIR_READ : DIR_WRITE;
}

static bool is_limited(const struct block_req *r)
{
	return r->op == BLOCK_READ || r->op == BLOCK_WRITE || r->op == BLOCK_DISCARD ||
	       r->op == BLOCK_ZERO;
}

/* Space given back moves no data: one operation, no bytes. */
static uint64_t cost(const struct group *g, const struct block_req *r, enum limit what)
{
	bool moves = r->op == BLOCK_READ || r->op == BLOCK_WRITE ||
		     (r->op == BLOCK_ZERO && !(r->flags & BLOCK_UNMAP));

	if (what == LIMIT_BYTES)
		return moves ? r->bytes : 0;
	return moves && g->size_iops && r->bytes > g->size_iops
		       ? (r->bytes + g->size_iops - 1) / g->size_iops
		       : 1;
}

static bool counts(enum scope s, enum direction d)
{
	return s == SCOPE_TOTAL || (s == SCOPE_READ) == (d == DIR_READ);
}

/* --- dispatch --- */

static void refill(struct group *g)
{
	int64_t now = clock_now(g->host->clock, CLOCK_HOST), ns = now - g->filled;

	if (ns <= 0)
		return;
	g->filled = now;
	for (int l = 0; l < LIMITS; l++)
		for (int s = 0; s < SCOPES; s++)
			for (int k = 0; k < LAYERS; k++)
				bucket_refill(&g->buckets[l][s][k], ns);
}

/* ns to wait, 0: may go. *total: a limit that both directions share is among what it waits for. */
static int64_t wait_of(const struct group *g, const struct block_req *r, bool *total)
{
	int64_t most = 0;

	*total = false;
	for (int l = 0; l < LIMITS; l++) {
		uint64_t c = cost(g, r, l);

		for (int s = 0; s < SCOPES; s++) {
			if (!counts(s, direction(r)))
				continue;
			for (int k = 0; k < LAYERS; k++) {
				int64_t ns = bucket_wait(&g->buckets[l][s][k], c);

				*total |= ns && s == SCOPE_TOTAL;
				most = MAX(most, ns);
			}
		}
	}
	return most;
}

static void charge(struct member *m, const struct block_req *r)
{
	struct group *g = m->group;
	uint64_t most = 0;

	for (int l = 0; l < LIMITS; l++) {
		uint64_t c = cost(g, r, l);

		for (int s = 0; s < SCOPES; s++) {
			struct bucket *b = g->buckets[l][s];

			if (!counts(s, direction(r)) || !b[LAYER_AVG].rate)
				continue;
			for (int k = 0; k < LAYERS; k++)
				bucket_take(&b[k], c);
			most = MAX(most, (uint64_t)((__int128)c * SECOND / b[LAYER_AVG].rate));
		}
	}
	m->vtime += most;
}

static struct block_req *pop(struct queue *q)
{
	struct block_req *r = q->first;

	q->first = r->next;
	if (!q->first)
		q->end = &q->first;
	return r;
}

static bool has_waiting(const struct member *m, const bool blocked[DIRS])
{
	return (m->queue[DIR_READ].first && !blocked[DIR_READ]) ||
	       (m->queue[DIR_WRITE].first && !blocked[DIR_WRITE]);
}

static struct member *least(struct group *g, const bool blocked[DIRS])
{
	struct member *best = NULL;

	for (unsigned i = 0; i < g->members->len; i++) {
		struct member *m = g->members->pdata[i];

		if (has_waiting(m, blocked) && (!best || m->vtime < best->vtime))
			best = m;
	}
	return best;
}

static void release(struct member *m, struct block_req *r)
{
	struct block_stats *s = m->block.chain->stats;

	if (r->top == m->block.chain->root)     /* else its start is not known */
		__atomic_store_n(&s->throttled, s->throttled + (uint64_t)MAX(m->group->filled - r->started, 0), __ATOMIC_RELAXED);
	charge(m, r);
	m->group->vtime = MAX(m->group->vtime, m->vtime);
	block_submit(m->block.lower, r);
}

static void dispatch(struct group *g)
{
	bool blocked[DIRS] = { false, false };
	int64_t wait = 0;
	struct member *m;

	refill(g);
	while ((m = least(g, blocked))) {
		enum direction d =
			m->queue[m->turn].first && !blocked[m->turn] ? m->turn : 1 - m->turn;
		bool total;
		int64_t ns = wait_of(g, m->queue[d].first, &total);

		if (!ns) {
			m->turn = 1 - d;
			release(m, pop(&m->queue[d]));
			continue;
		}
		wait = wait ? MIN(wait, ns) : ns;
		blocked[d] = true;
		if (total)
			break;
	}
	if (wait)
		loop_timer_set(&g->timer, clock_now(g->host->clock, CLOCK_HOST) + wait);
}

static void on_timer(void *arg)
{
	struct group *g = arg;

	block_host_plug(g->host);
	dispatch(g);
	block_host_unplug(g->host);
}

static void throttle_submit(struct block *b, struct block_req *r)
{
	struct member *m = (struct member *)b;
	struct group *g = m->group;
	static const bool none[DIRS];
	struct queue *q;

	if (!is_limited(r) || (!g->any && !has_waiting(m, none))) {
		block_submit(b->lower, r);
		return;
	}
	if (!has_waiting(m, none))
		m->vtime = MAX(m->vtime, g->vtime);
	if (m->open) {
		refill(g);
		release(m, r);
		return;
	}
	q = &m->queue[direction(r)];
	r->next = NULL;
	*q->end = r;
	q->end = &r->next;
	if (q->first == r)              /* else somebody waits already, and the timer runs */
		dispatch(g);
}

/* Draining lets everything through; what it cost is owed, so the average holds. */
static void throttle_quiet(struct block *b, bool on)
{
	struct member *m = (struct member *)b;

	m->open = on;
	if (!on)
		return;
	refill(m->group);
	for (int d = 0; d < DIRS; d++)
		while (m->queue[d].first)
			release(m, pop(&m->queue[d]));
}

/* --- limits --- */

static uint64_t product(uint64_t a, uint64_t b)
{
	unsigned __int128 p = (unsigned __int128)a * b;

	return p > CAP_MAX ? CAP_MAX : (uint64_t)p;
}

static void set_limit(struct bucket b[LAYERS], uint64_t rate, uint64_t max, uint64_t length)
{
	bool burst = rate && max > rate;

	bucket_set(&b[LAYER_AVG], rate, burst ? product(max - rate, MAX(length, 1)) : rate / 10);
	bucket_set(&b[LAYER_BURST], burst ? max : 0, max / 10);
}

static bool set_limits(struct group *g, const struct iotune *t, GError **err)
{
	static const struct iotune none;
	struct row { const char *name; uint64_t total, read, write; } rows[] = {
		{ "bytes", t ? t->total_bytes_sec : 0, t ? t->read_bytes_sec : 0, t ? t->write_bytes_sec : 0 },
		{ "iops", t ? t->total_iops_sec : 0, t ? t->read_iops_sec : 0, t ? t->write_iops_sec : 0 },
	};

	t = t ? t : &none;
	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++)
		if (rows[i].total && (rows[i].read || rows[i].write))
			return kerr_set(err, KERR_ARGS,
				"a total limit on %s excludes limits on reads and writes",
				rows[i].name);
	refill(g);
	g->size_iops = t->size_iops_sec;
	g->any = iotune_any(t);
#define SET(what, scope, name)                                                                     \
	set_limit(g->buckets[what][scope], t->name, t->name##_max, t->name##_max_length)
	SET(LIMIT_BYTES, SCOPE_TOTAL, total_bytes_sec);
	SET(LIMIT_BYTES, SCOPE_READ, read_bytes_sec);
	SET(LIMIT_BYTES, SCOPE_WRITE, write_bytes_sec);
	SET(LIMIT_OPS, SCOPE_TOTAL, total_iops_sec);
	SET(LIMIT_OPS, SCOPE_READ, read_iops_sec);
	SET(LIMIT_OPS, SCOPE_WRITE, write_iops_sec);
#undef SET
	loop_timer_cancel(&g->timer);
	dispatch(g);
	return true;
}

static void group_free(struct block_shared *s)
{
	struct group *g = (struct group *)s;

	g_ptr_array_free(g->members, TRUE);
	g_free(g);
}

static struct block_shared *group_make(struct block_host *h, GError **err)
{
	struct group *g = g_new0(struct group, 1);

	g->shared.free = group_free;
	g->host = h;
	g->members = g_ptr_array_new();
	g->filled = clock_now(h->clock, CLOCK_HOST);
	loop_timer_init(&g->timer, h->loop, CLOCK_HOST, on_timer, g);
	return &g->shared;
}

struct joining { struct member *member; const struct iotune *limits; GError **err; bool ok; };

/* The group may be at work already. The last to join sets the limits, as libvirt's groups have it. */
static void join(void *arg)
{
	struct joining *j = arg;
	struct member *m = j->member;

	j->ok = set_limits(m->group, j->limits, j->err);
	if (j->ok)
		g_ptr_array_add(m->group->members, m);
}

static char *group_name(const struct member *m, const struct iotune *t)
{
	return t && t->group_name && *t->group_name ? g_strdup_printf("throttle %s", t->group_name) :
		g_strdup_printf("throttle of %p", (const void *)m);
}

static bool throttle_open(struct block *b, const void *config, struct fdset *fds, GError **err)
{
	const struct block_throttle_config *c = config;
	struct member *m = (struct member *)b;
	g_autofree char *name = group_name(m, c->limits);
	struct joining j = { m, c->limits, err, false };

	for (int d = 0; d < DIRS; d++)
		m->queue[d].end = &m->queue[d].first;
	m->group = (struct group *)block_host_shared(b->host, name, group_make, err);
	if (!m->group)
		return false;
	loop_call(b->loop, join, &j);
	return j.ok;
}

static void leave(void *arg)
{
	struct member *m = arg;

	g_ptr_array_remove(m->group->members, m);
	if (m->group->members->len)
		dispatch(m->group);
	else
		loop_timer_cancel(&m->group->timer);
}

static int throttle_close(struct block *b)
{
	struct member *m = (struct member *)b;

	if (!m->group)
		return 0;
	loop_call(b->loop, leave, m);
	block_host_unshare(b->host, &m->group->shared);
	return 0;
}

/* On the loop, while main waits: so what is main's, the list of groups, may be used. What waits comes along. */
static bool throttle_update(struct block *b, const void *config, GError **err)
{
	struct member *m = (struct member *)b;
	struct group *old = m->group, *now;
	g_autofree char *name = group_name(m, config);

	if (!strcmp(name, old->shared.name))
		return set_limits(old, config, err);
	now = (struct group *)block_host_shared(b->host, name, group_make, err);
	if (!now)
		return false;
	if (!set_limits(now, config, err)) {
		block_host_unshare(b->host, &now->shared);
		return false;
	}
	leave(m);
	m->group = now;
	m->vtime = now->vtime;
	g_ptr_array_add(now->members, m);
	block_host_unshare(b->host, &old->shared);
	dispatch(now);
	return true;
}

const struct block_ops block_throttle_ops = {
	.name = "throttle",
	.size = sizeof(struct member),
	.open = throttle_open,
	.close = throttle_close,
	.submit = throttle_submit,
	.quiet = throttle_quiet,
	.update = throttle_update,
};
