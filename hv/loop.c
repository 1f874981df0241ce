/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The epoll loop of an I/O thread. (A long file: posts, timers, descriptors and polling are parts of one turn, and all
 * work on struct loop, which nobody else sees.)
 *
 * One turn: posts, due timers, then epoll. Posts and timers are guarded by the loop's lock, so that
 * any thread may add them; whoever adds something that is due earlier than what the loop sleeps for
 * writes the wake-up eventfd, once per sleep. Descriptors belong to the loop's thread alone. A
 * descriptor removed in the middle of a batch is also struck out of the rest of that batch, so its
 * owner may free it at once.
 *
 * For how long it polls before epoll, hv/loop_spin.h says.
 */
#include "hv/loop.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "domain/error.h"
#include "hv/loop_spin.h"

#define BATCH 32
#define WALL_SLEEP_NS (10 * 1000000000ll)       /* the host's wall clock may be set: look again at least so often */
#define NEVER INT64_MAX
#define SPIN_TURN_NS 100000             /* polling with success: others on the loop get their turn so often */

struct post {
	void (*fn)(void *);
	void *arg;
};

struct loop {
	char *name;
	struct clock *clock;
	struct clock_watch watch;
	int epoll, wake;
	GThread *thread;
	int started;            /* atomic; main */
	int tid;                /* atomic; 0: the thread does not run yet */
	int stop;               /* atomic */
	GMutex lock;            /* the rest of this block */
	GCond called;           /* a loop_call has run */
	GArray *posts;          /* of struct post */
	GPtrArray *timers[CLOCK_KINDS]; /* heaps by .at; a timer's .place is its index + 1 */
	bool asleep;            /* nobody has written the eventfd since the loop last looked */
	int nudged;             /* atomic: something was added from outside */
	/* the loop's thread only */
	struct loop_poll *polls;
	struct loop_spin spin;  /* its limits are fixed before the start */
	bool quiet;             /* pollers need no notifications */
	GArray *running;        /* posts being run */
	struct epoll_event batch[BATCH];
	int batch_n;
	bool no_pwait2;
};

static __thread struct loop *current;

struct loop *loop_current(void)
{
	return current;
}

int loop_thread_id(const struct loop *l)
{
	return g_atomic_int_get(&l->tid);
}

static bool is_mine(struct loop *l)
{
	return current == l || !g_atomic_int_get(&l->started);
}

/* Lock held. */
static void wake_locked(struct loop *l)
{
	uint64_t one = 1;

	if (current != l)
		g_atomic_int_set(&l->nudged, 1);
	if (!l->asleep || current == l)
		return;
	l->asleep = false;
	while (write(l->wake, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

static void clock_changed(void *arg)
{
	struct loop *l = arg;

	g_mutex_lock(&l->lock);
	wake_locked(l);
	g_mutex_unlock(&l->lock);
}

struct loop *loop_new(const char *name, struct clock *clock)
{
	struct loop *l = g_new0(struct loop, 1);
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = NULL };

	l->name = g_strdup(name);
	l->clock = clock;
	l->epoll = epoll_create1(EPOLL_CLOEXEC);
	l->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->epoll < 0 || l->wake < 0 || epoll_ctl(l->epoll, EPOLL_CTL_ADD, l->wake, &ev) < 0) {
		if (l->epoll >= 0)
			close(l->epoll);
		if (l->wake >= 0)
			close(l->wake);
		g_free(l->name);
		g_free(l);
		return NULL;
	}
	g_mutex_init(&l->lock);
	g_cond_init(&l->called);
	l->posts = g_array_new(FALSE, FALSE, sizeof(struct post));
	l->running = g_array_new(FALSE, FALSE, sizeof(struct post));
	for (int i = 0; i < CLOCK_KINDS; i++)
		l->timers[i] = g_ptr_array_new();
	l->watch = (struct clock_watch){ .fn = clock_changed, .arg = l };
	clock_watch_add(clock, &l->watch);
	return l;
}

/* --- timers: binary heaps, lock held --- */

static struct loop_timer *heap_at(GPtrArray *heap, unsigned i)
{
	return heap->pdata[i];
}

static void heap_put(GPtrArray *heap, unsigned i, struct loop_timer *t)
{
	heap->pdata[i] = t;
	t->place = i + 1;
}

static void heap_fix(GPtrArray *heap, unsigned i)
{
	struct loop_timer *t = heap_at(heap, i);

	while (i > 0 && heap_at(heap, (i - 1) / 2)->at > t->at) {
		heap_put(heap, i, heap_at(heap, (i - 1) / 2));
		i = (i - 1) / 2;
	}
	for (;;) {
		unsigned child = 2 * i + 1;

		if (child + 1 < heap->len && heap_at(heap, child + 1)->at < heap_at(heap, child)->at)
			child++;
		if (child >= heap->len || heap_at(heap, child)->at >= t->at)
			break;
		heap_put(heap, i, heap_at(heap, child));
		i = child;
	}
	heap_put(heap, i, t);
}

static void heap_remove(GPtrArray *heap, struct loop_timer *t)
{
	unsigned i = t->place - 1;
	struct loop_timer *last = heap_at(heap, heap->len - 1);

	g_ptr_array_set_size(heap, (int)heap->len - 1);
	t->place = 0;
	if (last != t) {
		heap_put(heap, i, last);
		heap_fix(heap, i);
	}
}

void loop_timer_init(struct loop_timer *t, struct loop *l, enum clock_kind kind, void (*fn)(void *), void *arg)
{
	*t = (struct loop_timer){ .loop = l, .kind = kind, .fn = fn, .arg = arg };
}

void loop_timer_set(struct loop_timer *t, int64_t at_ns)
{
	struct loop *l = t->loop;
	GPtrArray *heap = l->timers[t->kind];

	g_mutex_lock(&l->lock);
	t->at = at_ns;
	if (!t->place) {
		g_ptr_array_add(heap, t);
		t->place = heap->len;
	}
	heap_fix(heap, t->place - 1);
	if (t->place == 1)
		wake_locked(l);
	g_mutex_unlock(&l->lock);
}

void loop_timer_cancel(struct loop_timer *t)
{
	struct loop *l = t->loop;

	if (!l)
		return;
	g_mutex_lock(&l->lock);
	if (t->place)
		heap_remove(l->timers[t->kind], t);
	g_mutex_unlock(&l->lock);
}

/* --- one turn --- */

static bool run_posts(struct loop *l)
{
	GArray *mine;

	g_mutex_lock(&l->lock);
	mine = l->posts;
	l->posts = l->running;
	l->running = mine;
	g_mutex_unlock(&l->lock);
	if (!mine->len)
		return false;
	for (unsigned i = 0; i < mine->len; i++) {
		struct post p = g_array_index(mine, struct post, i);

		p.fn(p.arg);
	}
	g_array_set_size(mine, 0);
	return true;
}

/* Runs what is due; a timer that sets itself again to a past moment waits for the next turn. */
static bool run_timers(struct loop *l)
{
	bool any = false;

	for (int kind = 0; kind < CLOCK_KINDS; kind++) {
		GPtrArray *heap = l->timers[kind];
		unsigned most;
		int64_t now;

		g_mutex_lock(&l->lock);
		most = heap->len;
		g_mutex_unlock(&l->lock);
		if (!most || (kind == CLOCK_GUEST && !clock_goes(l->clock)))
			continue;
		now = clock_now(l->clock, kind);
		for (; most; most--) {
			struct loop_timer *t;

			g_mutex_lock(&l->lock);
			t = heap->len ? heap_at(heap, 0) : NULL;
			if (t && t->at <= now)
				heap_remove(heap, t);
			else
				t = NULL;
			g_mutex_unlock(&l->lock);
			if (!t)
				break;
			t->fn(t->arg);
			any = true;
		}
	}
	return any;
}

/* ns until the next timer, 0 when something waits already, NEVER. sleeps: the loop counts as asleep from now on. */
static int64_t due_in(struct loop *l, bool sleeps)
{
	int64_t least = NEVER, now[CLOCK_KINDS];
	bool goes = clock_goes(l->clock);

	for (int kind = 0; kind < CLOCK_KINDS; kind++)
		now[kind] = clock_now(l->clock, kind);
	g_mutex_lock(&l->lock);
	for (int kind = 0; kind < CLOCK_KINDS; kind++) {
		GPtrArray *heap = l->timers[kind];
		int64_t wait;

		if (!heap->len || (kind == CLOCK_GUEST && !goes))
			continue;
		wait = heap_at(heap, 0)->at > now[kind] ? heap_at(heap, 0)->at - now[kind] : 0;
		if (kind == CLOCK_WALL)
			wait = MIN(wait, WALL_SLEEP_NS);
		least = MIN(least, wait);
	}
	if (l->posts->len || g_atomic_int_get(&l->stop))
		least = 0;
	l->asleep |= sleeps;
	g_mutex_unlock(&l->lock);
	return least;
}

static int wait_events(struct loop *l, int64_t ns)
{
	int n;

	if (!l->no_pwait2) {
		struct timespec ts = { ns / 1000000000, ns % 1000000000 };

		n = epoll_pwait2(l->epoll, l->batch, BATCH, ns == NEVER ? NULL : &ts, NULL);
		if (n >= 0 || (errno != ENOSYS && errno != EPERM))
			return n;
		l->no_pwait2 = true;
	}
	return epoll_wait(l->epoll, l->batch, BATCH,
		ns == NEVER ? -1 : (int)MIN((ns + 999999) / 1000000, INT_MAX));
}

static bool run_events(struct loop *l, int64_t ns)
{
	bool any = false;
	int n = wait_events(l, ns);

	g_mutex_lock(&l->lock);
	l->asleep = false;
	g_mutex_unlock(&l->lock);
	l->batch_n = n > 0 ? n : 0;
	for (int i = 0; i < l->batch_n; i++) {
		struct loop_fd *f = l->batch[i].data.ptr;
		uint32_t events = l->batch[i].events;
		uint64_t count;

		if (f) {
			f->fn(f->arg, events);
			any = true;
		} else if (events && read(l->wake, &count, sizeof(count)) < 0 && errno != EAGAIN &&
			errno != EINTR) {
			g_debug("loop %s: eventfd: %s", l->name, g_strerror(errno));
		}
	}
	l->batch_n = 0;
	return any;
}

/* --- polling --- */

static void set_quiet(struct loop *l, bool on)
{
	if (l->quiet == on)
		return;
	l->quiet = on;
	for (struct loop_poll *p = l->polls; p; p = p->next)
		if (p->quiet)
			p->quiet(p->arg, on);
}

static bool poll_all(struct loop *l)
{
	bool any = false;

	for (struct loop_poll *p = l->polls, *next; p; p = next) {
		next = p->next;
		any |= p->fn(p->arg);
	}
	return any;
}

/* Looks until there was nothing for so many ns, or others' turn has come. false: nothing to do at all. */
static bool spin(struct loop *l, int64_t began, int64_t most)
{
	int64_t due = due_in(l, false), last = began, before = began, now = began;
	int64_t looks = 0;      /* each takes longer than 16 ns, also where a test holds the clock */
	bool any = false;

	set_quiet(l, true);
	do {
		looks++;
		if (poll_all(l)) {
			any = true;
			last = now = clock_now(l->clock, CLOCK_HOST);
		} else {
			__builtin_ia32_pause();
			now = clock_now(l->clock, CLOCK_HOST);
			spin_looked(&l->spin, before, now);
		}
		before = now;
	} while (!g_atomic_int_get(&l->nudged) && now - last < most && now - began < due && (!any || now - began < SPIN_TURN_NS) &&
		looks < MAX(most, SPIN_TURN_NS) / 16);
	spin_ended(&l->spin, last, now, most);
	return any;
}

static bool turn(struct loop *l, int64_t most_ns)
{
	bool any, polls = l->polls && l->spin.max;
	int64_t began = 0, most, wait;

	g_atomic_int_set(&l->nudged, 0);
	any = run_posts(l);
	any |= run_timers(l);
	if (polls && !any && most_ns) {
		began = clock_now(l->clock, CLOCK_HOST);
		most = spin_for(&l->spin, began);
		any = most && spin(l, began, most);
	}
	if (!any && l->quiet) {    /* it will sleep: what came before notifications were on again counts as found */
		set_quiet(l, false);
		any = poll_all(l);
	}
	wait = any ? 0 : MIN(due_in(l, true), most_ns);
	if (!run_events(l, wait))
		return any;
	if (wait && began)
		spin_slept(&l->spin, clock_now(l->clock, CLOCK_HOST) - began);
	return true;
}

void loop_poll_add(struct loop *l, struct loop_poll *p)
{
	g_assert(is_mine(l) && p->fn && !p->loop);
	p->loop = l;
	p->next = l->polls;
	l->polls = p;
	if (l->quiet && p->quiet)
		p->quiet(p->arg, true);
}

void loop_poll_remove(struct loop_poll *p)
{
	struct loop *l = p->loop;

	if (!l)
		return;
	g_assert(is_mine(l));
	for (struct loop_poll **at = &l->polls; *at; at = &(*at)->next)
		if (*at == p) {
			*at = p->next;
			break;
		}
	p->loop = NULL;
}

void loop_set_polling(struct loop *l, int64_t max_ns, unsigned grow, unsigned shrink)
{
	l->spin.max = max_ns;
	l->spin.grow = grow;
	l->spin.shrink = shrink;
}

int64_t loop_polling(const struct loop *l, unsigned *grow, unsigned *shrink)
{
	*grow = l->spin.grow;
	*shrink = l->spin.shrink;
	return l->spin.max;
}

bool loop_step(struct loop *l, int timeout_ms)
{
	struct loop *outer = current;
	bool any;

	g_assert(!g_atomic_int_get(&l->started));
	current = l;
	any = turn(l, timeout_ms < 0 ? NEVER : timeout_ms * 1000000ll);
	/* what the events and the time that passed made due */
	any |= run_posts(l);
	any |= run_timers(l);
	current = outer;
	return any;
}

static void *loop_main(void *arg)
{
	struct loop *l = arg;

	current = l;
	g_atomic_int_set(&l->tid, (int)gettid());
	while (!g_atomic_int_get(&l->stop))
		turn(l, NEVER);
	run_posts(l);
	current = NULL;
	return NULL;
}

bool loop_start(struct loop *l, GError **err)
{
	GError *why = NULL;

	g_assert(!l->thread);
	g_atomic_int_set(&l->stop, 0);
	g_atomic_int_set(&l->started, 1);
	l->thread = g_thread_try_new(l->name, loop_main, l, &why);
	if (!l->thread) {
		g_atomic_int_set(&l->started, 0);
		kerr_set(err, KERR_LIMIT, "start thread '%s': %s", l->name, why->message);
		g_error_free(why);
		return false;
	}
	return true;
}

void loop_stop(struct loop *l)
{
	g_assert(current != l);
	if (!l->thread)
		return;
	g_mutex_lock(&l->lock);
	g_atomic_int_set(&l->stop, 1);
	wake_locked(l);
	g_mutex_unlock(&l->lock);
	g_thread_join(l->thread);
	l->thread = NULL;
	g_mutex_lock(&l->lock);
	g_atomic_int_set(&l->started, 0);
	g_cond_broadcast(&l->called);
	g_mutex_unlock(&l->lock);
	run_posts(l);           /* posted after the thread's last look: callers still count on them */
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	loop_stop(l);
	clock_watch_remove(l->clock, &l->watch);
	while (run_posts(l))
		;
	for (int i = 0; i < CLOCK_KINDS; i++) {
		for (unsigned k = 0; k < l->timers[i]->len; k++)
			heap_at(l->timers[i], k)->place = 0;
		g_ptr_array_free(l->timers[i], TRUE);
	}
	g_array_free(l->posts, TRUE);
	g_array_free(l->running, TRUE);
	close(l->epoll);
	close(l->wake);
	g_mutex_clear(&l->lock);
	g_cond_clear(&l->called);
	g_free(l->name);
	g_free(l);
}

/* --- posts --- */

void loop_post(struct loop *l, void (*fn)(void *), void *arg)
{
	struct post p = { fn, arg };

	g_mutex_lock(&l->lock);
	g_array_append_val(l->posts, p);
	wake_locked(l);
	g_mutex_unlock(&l->lock);
}

struct call {
	struct loop *loop;
	void (*fn)(void *);
	void *arg;
	bool done;      /* under the loop's lock */
};

static void run_call(void *arg)
{
	struct call *c = arg;
	struct loop *l = c->loop;

	c->fn(c->arg);
	g_mutex_lock(&l->lock);
	c->done = true;
	g_cond_broadcast(&l->called);
	g_mutex_unlock(&l->lock);
}

void loop_call(struct loop *l, void (*fn)(void *), void *arg)
{
	struct call c = { .loop = l, .fn = fn, .arg = arg };
	struct post p = { run_call, &c };

	if (is_mine(l)) {
		fn(arg);
		return;
	}
	g_mutex_lock(&l->lock);
	g_array_append_val(l->posts, p);
	wake_locked(l);
	while (!c.done)
		g_cond_wait(&l->called, &l->lock);
	g_mutex_unlock(&l->lock);
}

/* --- descriptors --- */

bool loop_fd_add(struct loop *l, struct loop_fd *f, GError **err)
{
	struct epoll_event ev = { .events = f->events, .data.ptr = f };

	g_assert(is_mine(l) && f->fn && !f->loop);
	if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, f->fd, &ev) < 0)
		return kerr_errno(err, errno, "watch descriptor %d", f->fd);
	f->loop = l;
	return true;
}

void loop_fd_set(struct loop_fd *f, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = f };

	g_assert(f->loop && is_mine(f->loop));
	if (f->events == events)
		return;
	f->events = events;
	if (epoll_ctl(f->loop->epoll, EPOLL_CTL_MOD, f->fd, &ev) < 0)
		g_debug("loop %s: change descriptor %d: %s", f->loop->name, f->fd, g_strerror(errno));
}

void loop_fd_remove(struct loop_fd *f)
{
	struct loop *l = f->loop;

	if (!l)
		return;
	g_assert(is_mine(l));
	(void)epoll_ctl(l->epoll, EPOLL_CTL_DEL, f->fd, NULL);  /* fails only when the owner closed it: gone all the same */
	for (int i = 0; i < l->batch_n; i++)
		if (l->batch[i].data.ptr == f)
			l->batch[i] = (struct epoll_event){ 0 };
	f->loop = NULL;
}
