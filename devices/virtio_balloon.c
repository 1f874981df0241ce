/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-balloon (virtio 1.2, 5.5): the guest names pages it does not use, by inflating or by free page reporting, and the
 * host takes them back: holes are punched into guest memory, in ranges as long as the guest's pages lie together, never
 * page by page. Deflating needs nothing: a touched page comes back as zeroes.
 *
 * Which queue is which depends on what was negotiated: the statistics queue exists with its feature only, and the one for
 * reporting follows. The driver's statistics buffer is held until it is wanted again; giving it back is the question.
 */
#include "devices/virtio_balloon.h"

#include <string.h>
#include <sys/mman.h>

#include "devices/list.h"
#include "devices/virtio.h"
#include "domain/balloon.h"
#include "domain/error.h"
#include "domain/machine.h"
#include "hv/stats.h"

#define F_STATS (1ull << 1)
#define F_DEFLATE_ON_OOM (1ull << 2)
#define F_PAGE_POISON (1ull << 4)
#define F_REPORTING (1ull << 5)
#define PAGE 4096ull
#define PAGES_AT_ONCE 1024
#define TARGET_MIN (1ull << 20)
#define SECOND 1000000000ll
#define STATS_BYTES_MAX 4096

enum { Q_INFLATE, Q_DEFLATE, Q_STATS, Q_REPORTING, Q_N };

struct balloon_space {
	uint32_t num_pages, actual, free_page_hint, poison;     /* little endian, as this machine */
};

struct balloon_device {
	struct virtio virtio;
	struct loop_timer timer;        /* next question for statistics, guest time */
	bool timed;
	struct chain stats_chain;       /* the driver's buffer; .q NULL: not here. Loop */
	uint32_t period;                /* s; loop */
	bool ask;                       /* the buffer goes back as soon as it comes; loop */
	uint64_t ram;                   /* bytes of the machine's memory */
	uint64_t *page;                 /* slot of the statistics page; NULL: none */
	int64_t stats_at;               /* lock, as the next three */
	uint64_t stats[BALLOON_STATS];
	uint64_t reported;
	uint32_t asked_period;          /* as period, for main */
	void (*watch)(void *, uint64_t);        /* main */
	void *watch_arg;
	struct change_post *change;

	/* state; the guest's registers: lock */
	struct balloon_space space;
};

/* A word to main that outlives the device. */
struct change_post {
	struct balloon_device *b;       /* NULL: gone; main */
	int refs, queued;               /* atomic */
};

const char *const balloon_stat_names[] = { "stat-swap-in", "stat-swap-out", "stat-major-faults", "stat-minor-faults",
	"stat-free-memory", "stat-total-memory", "stat-available-memory", "stat-disk-caches", "stat-htlb-pgalloc", "stat-htlb-pgfail" };
G_STATIC_ASSERT(G_N_ELEMENTS(balloon_stat_names) == BALLOON_STATS);
G_STATIC_ASSERT(STAT_BALLOON_STATS + BALLOON_STATS == (int)STAT_BALLOON_AT && BALLOON_NO_STAT == STAT_UNKNOWN);

static struct balloon_device *balloon_of(struct virtio *v)
{
	return (struct balloon_device *)v;
}

static GMutex *lock_of(struct balloon_device *b)
{
	return &b->virtio.head.dev.lock;
}

/* What changed goes to the statistics page. Lock held, or nobody else is there. */
static void publish(struct balloon_device *b)
{
	uint64_t *to = b->page;

	if (!to)
		return;
	__atomic_store_n(&to[STAT_BALLOON_ACTUAL], b->ram - MIN(b->space.actual * PAGE, b->ram), __ATOMIC_RELAXED);
	__atomic_store_n(&to[STAT_BALLOON_TARGET], b->ram - MIN(b->space.num_pages * PAGE, b->ram), __ATOMIC_RELAXED);
	for (unsigned i = 0; i < BALLOON_STATS; i++)
		__atomic_store_n(&to[STAT_BALLOON_STATS + i], b->stats_at ? b->stats[i] : STAT_UNKNOWN, __ATOMIC_RELAXED);
	__atomic_store_n(&to[STAT_BALLOON_AT], b->stats_at ? (uint64_t)(b->stats_at / SECOND) : STAT_UNKNOWN, __ATOMIC_RELAXED);
	__atomic_store_n(&to[STAT_BALLOON_REPORTED], b->reported, __ATOMIC_RELAXED);
}

/* What queue q is, by what was negotiated. */
static unsigned role(const struct virtio *v, unsigned q)
{
	if (q < Q_STATS)
		return q;
	if (virtio_has(v, F_STATS))
		return q == Q_STATS ? Q_STATS : virtio_has(v, F_REPORTING) ? Q_REPORTING : Q_N;
	return q == Q_STATS && virtio_has(v, F_REPORTING) ? Q_REPORTING : Q_N;
}

/* --- memory back to the host --- */

static void give_back(struct balloon_device *b, void *host, uint64_t len)
{
	const struct ram *ram = &b->virtio.head.dev.vm->ram;

	/* fails for parts of huge pages, which then simply stay */
	(void)madvise(host, len, ram_discard_advice(ram));
}

static gint by_number(gconstpointer a, gconstpointer b, gpointer unused)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void inflate(struct balloon_device *b, uint32_t *pages, unsigned n)
{
	struct ram *ram = &b->virtio.head.dev.vm->ram;

	/* not qsort: that of glibc asks how much memory the host has, which the fence refuses */
	g_qsort_with_data(pages, (gint)n, sizeof(*pages), by_number, NULL);
	for (unsigned i = 0, len; i < n; i += len) {
		uint64_t at = pages[i] * PAGE;
		void *host;

		for (len = 1; i + len < n && pages[i + len] <= pages[i + len - 1] + 1ull; len++)
			;
		host = ram_host(ram, at, (pages[i + len - 1] - (uint64_t)pages[i] + 1) * PAGE);
		if (!host) {
			guest_error(&b->virtio.head.dev, "page 0x%x and following are not RAM", pages[i]);
			continue;
		}
		give_back(b, host, (pages[i + len - 1] - (uint64_t)pages[i] + 1) * PAGE);
		ram_mark(ram, at, (pages[i + len - 1] - (uint64_t)pages[i] + 1) * PAGE);
	}
}

static void take_pages(struct balloon_device *b, struct chain *c)
{
	uint32_t pages[PAGES_AT_ONCE];
	size_t n;

	while ((n = chain_read(c, pages, sizeof(pages)) / sizeof(*pages)) > 0)
		inflate(b, pages, (unsigned)n);
}

/* Free page reporting: the buffers themselves are what the guest does not use. */
static void take_buffers(struct balloon_device *b, struct chain *c)
{
	const struct iovec *v = chain_in(c);
	uint64_t total = 0;
	bool keep;

	g_mutex_lock(lock_of(b));
	keep = virtio_has(&b->virtio, F_PAGE_POISON) && b->space.poison;        /* they must read as poison, not as zero */
	g_mutex_unlock(lock_of(b));
	for (unsigned i = 0; i < c->in_n && !keep; i++) {
		uintptr_t from = ((uintptr_t)v[i].iov_base + PAGE - 1) & ~(PAGE - 1);
		uintptr_t to = ((uintptr_t)v[i].iov_base + v[i].iov_len) & ~(PAGE - 1);

		if (to <= from)
			continue;
		give_back(b, (void *)from, to - from);
		total += to - from;
	}
	g_mutex_lock(lock_of(b));
	b->reported += total;
	publish(b);
	g_mutex_unlock(lock_of(b));
}

/* --- statistics --- */

static void set_timer(struct balloon_device *b)
{
	if (b->period)
		loop_timer_set(&b->timer, clock_now(b->virtio.head.dev.vm->clock, CLOCK_GUEST) + b->period * SECOND);
}

static void read_stats(struct balloon_device *b, struct chain *c)
{
	struct { uint16_t tag; uint64_t value; } __attribute__((packed)) s;
	unsigned most = STATS_BYTES_MAX / sizeof(s);

	g_mutex_lock(lock_of(b));
	for (unsigned i = 0; i < BALLOON_STATS; i++)
		b->stats[i] = BALLOON_NO_STAT;
	while (most-- && chain_read(c, &s, sizeof(s)) == sizeof(s))
		if (s.tag < BALLOON_STATS)
			b->stats[s.tag] = s.value;
	b->stats_at = clock_now(b->virtio.head.dev.vm->clock, CLOCK_WALL);
	publish(b);
	g_mutex_unlock(lock_of(b));
}

static void stats_ready(struct balloon_device *b, struct virtq *q)
{
	if (b->stats_chain.q) {
		/* a second buffer is against the rules: the newer one counts */
		if (!virtq_has(q))
			return;
		virtq_push(q, &b->stats_chain, 0);
	}
	g_clear_pointer(&b->stats_chain.more, g_free);  /* of an orphan */
	while (virtq_pop(q, &b->stats_chain)) {
		read_stats(b, &b->stats_chain);
		if (!virtq_has(q))
			break;
		virtq_push(q, &b->stats_chain, 0);
	}
	set_timer(b);
}

/* On the loop: the buffer goes back, which asks the guest to fill it anew. */
static void ask_stats(void *arg)
{
	struct balloon_device *b = arg;
	struct virtq *q = &b->virtio.queues[Q_STATS].q;

	if (b->stats_chain.q && virtio_runs(&b->virtio, q)) {
		virtq_push(q, &b->stats_chain, 0);
		virtq_signal(q);
	} else {
		set_timer(b);
	}
}

static void balloon_ready(struct virtio *v, struct virtq *q)
{
	struct balloon_device *b = balloon_of(v);
	unsigned what = role(v, q->index);
	struct chain c;

	if (what == Q_STATS) {
		stats_ready(b, q);
		return;
	}
	while (what < Q_N && virtq_pop(q, &c)) {
		if (what == Q_INFLATE)
			take_pages(b, &c);
		else if (what == Q_REPORTING)
			take_buffers(b, &c);
		virtq_push(q, &c, 0);
	}
}

/* --- registers --- */

static void change_unref(struct change_post *p)
{
	if (g_atomic_int_dec_and_test(&p->refs))
		g_free(p);
}

static gboolean tell_change(gpointer arg)
{
	struct change_post *p = arg;
	struct balloon_device *b = p->b;

	__atomic_store_n(&p->queued, 0, __ATOMIC_SEQ_CST);
	if (b && b->watch) {
		struct balloon_info info;

		balloon_info(&b->virtio.head.dev, &info);
		b->watch(b->watch_arg, info.actual);
	}
	change_unref(p);
	return G_SOURCE_REMOVE;
}

/* dev->lock held. */
static void post_change(struct balloon_device *b)
{
	if (!b->watch || __atomic_exchange_n(&b->change->queued, 1, __ATOMIC_SEQ_CST))
		return;
	g_atomic_int_inc(&b->change->refs);
	g_idle_add(tell_change, b->change);
}

static bool balloon_write(struct virtio *v, unsigned offset, unsigned size, uint32_t value)
{
	struct balloon_device *b = balloon_of(v);

	if (size != 4 || offset % 4)
		return false;
	if (offset == offsetof(struct balloon_space, actual)) {
		bool news = b->space.actual != value;

		b->space.actual = value;
		publish(b);
		if (news)
			post_change(b);
		return true;
	}
	if (offset == offsetof(struct balloon_space, poison) && virtio_has(v, F_PAGE_POISON)) {
		b->space.poison = value;
		return true;
	}
	return false;
}

/* --- for others --- */

void balloon_info(struct device *d, struct balloon_info *out)
{
	struct balloon_device *b = (struct balloon_device *)d;

	g_mutex_lock(&d->lock);
	*out = (struct balloon_info){ .target = b->ram - MIN(b->space.num_pages * PAGE, b->ram),
		.actual = b->ram - MIN(b->space.actual * PAGE, b->ram), .driver = b->virtio.status & VIRTIO_DRIVER_OK,
		.stats_at = b->stats_at, .reported = b->reported, .period = b->asked_period };
	memcpy(out->stats, b->stats, sizeof(out->stats));
	g_mutex_unlock(&d->lock);
}

bool balloon_set_target(struct device *d, uint64_t bytes, GError **err)
{
	struct balloon_device *b = (struct balloon_device *)d;
	uint32_t pages;

	if (bytes < TARGET_MIN || bytes > b->ram)
		return kerr_set(err, KERR_ARGS, "a guest of %" G_GUINT64_FORMAT " MiB can be given 1 MiB up to all of that, not %"
			G_GUINT64_FORMAT " bytes", b->ram >> 20, bytes);
	pages = (uint32_t)MIN((b->ram - bytes) / PAGE, UINT32_MAX);
	g_mutex_lock(&d->lock);
	if (b->space.num_pages != pages) {
		b->space.num_pages = pages;
		publish(b);
		virtio_changed(&b->virtio);
	}
	g_mutex_unlock(&d->lock);
	return true;
}

struct period_call {
	struct balloon_device *b;
	uint32_t seconds;
};

static void set_period(void *arg)
{
	struct period_call *p = arg;

	p->b->period = p->seconds;
	loop_timer_cancel(&p->b->timer);
	if (p->seconds)
		ask_stats(p->b);
}

void balloon_set_period(struct device *d, uint32_t seconds)
{
	struct period_call p = { (struct balloon_device *)d, seconds };

	g_mutex_lock(&d->lock);
	p.b->asked_period = seconds;
	g_mutex_unlock(&d->lock);
	loop_call(p.b->timer.loop, set_period, &p);
}

void balloon_set_watch(struct device *d, void (*fn)(void *, uint64_t), void *arg)
{
	struct balloon_device *b = (struct balloon_device *)d;

	g_mutex_lock(&d->lock);
	b->watch = fn;
	b->watch_arg = arg;
	g_mutex_unlock(&d->lock);
}

/* --- lifecycle --- */

static bool balloon_realize(struct virtio *v, struct fdset *fds, GError **err)
{
	struct balloon_device *b = balloon_of(v);
	const struct balloon *config = v->head.dev.config;
	struct vm *vm = v->head.dev.vm;

	b->ram = vm->ram.size;
	b->period = b->asked_period = config->stats_period;
	b->change = g_new0(struct change_post, 1);
	*b->change = (struct change_post){ .b = b, .refs = 1 };
	loop_timer_init(&b->timer, vm->loops[0], CLOCK_GUEST, ask_stats, b);
	b->timed = true;
	v->offered |= F_STATS;
	if (config->autodeflate == ONOFF_ON)
		v->offered |= F_DEFLATE_ON_OOM;
	if (config->free_page_reporting == ONOFF_ON)
		v->offered |= F_REPORTING | F_PAGE_POISON;
	if (vm->def->memory.current && vm->def->memory.current < b->ram)
		b->space.num_pages = (uint32_t)MIN((b->ram - vm->def->memory.current) / PAGE, UINT32_MAX);
	b->page = stats_take(vm, STAT_BALLOON, config->alias, NULL);
	publish(b);
	return virtio_set_queues(v, config->free_page_reporting == ONOFF_ON ? Q_N : Q_REPORTING, 0, vm->loops[0], err);
}

static void cancel_timer(void *arg)
{
	loop_timer_cancel(&((struct balloon_device *)arg)->timer);
}

static void balloon_unrealize(struct virtio *v)
{
	struct balloon_device *b = balloon_of(v);

	if (b->timed)
		loop_call(b->timer.loop, cancel_timer, b);
	g_clear_pointer(&b->stats_chain.more, g_free);
	b->stats_chain.q = NULL;
	if (b->change) {
		b->change->b = NULL;
		change_unref(b->change);
	}
	b->change = NULL;
	stats_give(v->head.dev.vm, g_steal_pointer(&b->page));
}

static void balloon_reset(struct virtio *v)
{
	struct balloon_device *b = balloon_of(v);

	/* its queue is stopped: an orphan */
	virtq_push(&v->queues[Q_STATS].q, &b->stats_chain, 0);
	if (b->space.actual)
		post_change(b);         /* a new driver begins with all of the memory */
	b->space.actual = b->space.poison = 0;
	b->stats_at = 0;
	for (unsigned i = 0; i < BALLOON_STATS; i++)
		b->stats[i] = BALLOON_NO_STAT;
	publish(b);
}

static bool balloon_update(struct virtio *v, const void *config, GError **err)
{
	balloon_set_period(&v->head.dev, ((const struct balloon *)config)->stats_period);
	return true;
}

static const struct virtio_ops ops = {
	.name = "balloon",
	.id = 5,
	.class = 0x00ff00,
	.address = offsetof(struct balloon, address),
	.driver = offsetof(struct balloon, driver),
	.space = offsetof(struct balloon_device, space),
	.space_len = sizeof(struct balloon_space),
	.realize = balloon_realize,
	.unrealize = balloon_unrealize,
	.ready = balloon_ready,
	.reset = balloon_reset,
	.write = balloon_write,
	.update = balloon_update,
};

VIRTIO_DEVICE(virtio_balloon, "virtio-balloon", struct balloon_device, &ops, &balloon_schema, "gives memory of the guest back",
	U32(struct balloon_device, space.num_pages, NULL, 0, UINT32_MAX, 0, "pages the guest is to give", .name = "num_pages"),
	U32(struct balloon_device, space.actual, NULL, 0, UINT32_MAX, 0, "pages it gave", .name = "actual"),
	U32(struct balloon_device, space.poison, NULL, 0, UINT32_MAX, 0, "what its free pages are filled with", .name = "poison"));
