/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The loop of an I/O thread: stepped, and with its thread. */
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "hv/loop.h"

struct test {
	struct clock *clock;
	struct loop *loop;
	GString *log;
};

static void set_up(struct test *t)
{
	t->clock = clock_new_manual();
	t->loop = loop_new("test", t->clock);
	t->log = g_string_new(NULL);
}

static void tear_down(struct test *t)
{
	loop_free(t->loop);
	clock_free(t->clock);
	g_string_free(t->log, TRUE);
}

struct item {
	struct test *t;
	char name;
	struct loop_timer timer;
};

static void note(void *arg)
{
	struct item *i = arg;

	g_assert_true(loop_current() == i->t->loop);
	g_string_append_c(i->t->log, i->name);
}

static void test_posts(void)
{
	struct test t;
	struct item a = { &t, 'a' }, b = { &t, 'b' };

	set_up(&t);
	loop_post(t.loop, note, &a);
	loop_post(t.loop, note, &b);
	g_assert_cmpstr(t.log->str, ==, "");
	g_assert_true(loop_step(t.loop, 0));
	g_assert_cmpstr(t.log->str, ==, "ab");
	g_assert_false(loop_step(t.loop, 0));
	g_assert_null(loop_current());
	tear_down(&t);
}

/* What was posted before the loop goes is run: it may own something. */
static void free_it(void *arg)
{
	g_free(arg);
}

static void test_posts_of_dead(void)
{
	struct test t;

	set_up(&t);
	loop_post(t.loop, free_it, g_malloc(16));
	tear_down(&t);
}

static void test_timers(void)
{
	struct test t;
	struct item items[5];

	set_up(&t);
	for (int i = 0; i < 5; i++) {
		items[i] = (struct item){ &t, (char)('0' + i) };
		loop_timer_init(&items[i].timer, t.loop, CLOCK_GUEST, note, &items[i]);
	}
	loop_timer_set(&items[3].timer, 300);
	loop_timer_set(&items[1].timer, 100);
	loop_timer_set(&items[4].timer, 400);
	loop_timer_set(&items[2].timer, 200);
	loop_timer_set(&items[0].timer, 500);
	loop_timer_set(&items[0].timer, 50);    /* moved */
	loop_timer_cancel(&items[2].timer);
	loop_timer_cancel(&items[2].timer);
	clock_step(t.clock, 49);
	g_assert_false(loop_step(t.loop, 0));
	clock_step(t.clock, 251);
	g_assert_true(loop_step(t.loop, 0));
	g_assert_cmpstr(t.log->str, ==, "013");
	/* guest time stands: nothing of it is due */
	clock_stop(t.clock);
	clock_step(t.clock, 1000);
	g_assert_false(loop_step(t.loop, 0));
	clock_set_guest(t.clock, 5000);
	g_assert_false(loop_step(t.loop, 0));
	clock_go(t.clock);
	g_assert_true(loop_step(t.loop, 0));
	g_assert_cmpstr(t.log->str, ==, "0134");
	tear_down(&t);
}

static void test_many_timers(void)
{
	struct test t;
	struct item *items = g_new0(struct item, 1000);
	GRand *r = g_rand_new_with_seed(7);

	set_up(&t);
	for (int i = 0; i < 1000; i++) {
		items[i] = (struct item){ &t, 'x' };
		loop_timer_init(&items[i].timer, t.loop, CLOCK_HOST, note, &items[i]);
	}
	for (int i = 0; i < 5000; i++) {
		struct loop_timer *timer = &items[g_rand_int_range(r, 0, 1000)].timer;

		if (g_rand_int_range(r, 0, 4))
			loop_timer_set(timer, g_rand_int_range(r, 0, 100000));
		else
			loop_timer_cancel(timer);
	}
	for (int now = 0; now < 100000; now += 1000) {
		unsigned due = 0, before = (unsigned)t.log->len;

		for (int i = 0; i < 1000; i++)
			due += items[i].timer.place && items[i].timer.at <= now;
		loop_step(t.loop, 0);
		g_assert_cmpuint(t.log->len - before, ==, due);
		clock_step(t.clock, 1000);
	}
	g_rand_free(r);
	tear_down(&t);
	g_free(items);
}

static void set_again(void *arg)
{
	struct item *i = arg;

	note(i);
	loop_timer_set(&i->timer, 0);
}

/* A timer that is always due does not keep the loop from the rest. */
static void test_always_due(void)
{
	struct test t;
	struct item a = { &t, 'a' }, b = { &t, 'b' };

	set_up(&t);
	loop_timer_init(&a.timer, t.loop, CLOCK_HOST, set_again, &a);
	loop_timer_set(&a.timer, 0);
	loop_step(t.loop, 0);
	loop_post(t.loop, note, &b);
	loop_step(t.loop, 0);
	g_assert_nonnull(strchr(t.log->str, 'b'));
	g_assert_cmpuint(t.log->len, <, 8);
	tear_down(&t);
}

struct pair {
	struct loop_fd a, b;
	int calls;
};

static void remove_both(void *arg, uint32_t events)
{
	struct pair *p = arg;

	p->calls++;
	loop_fd_remove(&p->a);
	loop_fd_remove(&p->b);
}

/* Both ready in one batch; the first one removes the other, which must not be called any more. */
static void test_remove_in_batch(void)
{
	struct pair p = { 0 };
	struct test t;

	set_up(&t);
	p.a = (struct loop_fd){ .fd = eventfd(1, EFD_NONBLOCK), .events = EPOLLIN, .fn = remove_both, .arg = &p };
	p.b = (struct loop_fd){ .fd = eventfd(1, EFD_NONBLOCK), .events = EPOLLIN, .fn = remove_both, .arg = &p };
	g_assert_true(loop_fd_add(t.loop, &p.a, NULL));
	g_assert_true(loop_fd_add(t.loop, &p.b, NULL));
	while (loop_step(t.loop, 0))
		;
	g_assert_cmpint(p.calls, ==, 1);
	loop_fd_remove(&p.a);
	close(p.a.fd);
	close(p.b.fd);
	p.a.loop = NULL;
	g_assert_false(loop_fd_add(t.loop, &p.a, NULL));        /* a closed descriptor is an error, not a crash */
	tear_down(&t);
}

/* --- with a thread --- */

static void count(void *arg)
{
	g_atomic_int_inc((int *)arg);
}

static void add_one(void *arg)
{
	++*(int *)arg;
}

struct poster {
	struct loop *loop;
	int *counter;
};

static void *post_many(void *arg)
{
	struct poster *p = arg;

	for (int i = 0; i < 10000; i++)
		loop_post(p->loop, count, p->counter);
	return NULL;
}

static void test_thread(void)
{
	struct clock *clock = clock_new();
	struct loop *l = loop_new("threaded", clock);
	struct poster p = { l, NULL };
	int counter = 0, plain = 0;
	GThread *threads[3];

	p.counter = &counter;
	g_assert_true(loop_start(l, NULL));
	for (int i = 0; i < 3; i++)
		threads[i] = g_thread_new("post", post_many, &p);
	for (int i = 0; i < 1000; i++)
		loop_call(l, add_one, &plain);          /* waits, so it needs no atomics */
	g_assert_cmpint(plain, ==, 1000);
	for (int i = 0; i < 3; i++)
		g_thread_join(threads[i]);
	loop_call(l, add_one, &plain);
	g_assert_cmpint(g_atomic_int_get(&counter), ==, 30000);
	loop_stop(l);
	loop_call(l, add_one, &plain);                  /* not started: at once */
	g_assert_cmpint(plain, ==, 1002);
	g_assert_true(loop_start(l, NULL));
	loop_call(l, add_one, &plain);
	g_assert_cmpint(plain, ==, 1003);
	loop_free(l);
	clock_free(clock);
}

struct ring {
	GMutex lock;
	GCond rang;
	int times;
};

static void ring_bell(void *arg)
{
	struct ring *r = arg;

	g_mutex_lock(&r->lock);
	r->times++;
	g_cond_signal(&r->rang);
	g_mutex_unlock(&r->lock);
}

static void wait_for(struct ring *r, int times)
{
	gint64 end = g_get_monotonic_time() + 10 * G_TIME_SPAN_SECOND;

	g_mutex_lock(&r->lock);
	while (r->times < times)
		g_assert_true(g_cond_wait_until(&r->rang, &r->lock, end));
	g_mutex_unlock(&r->lock);
}

/* A sleeping loop notices an earlier timer and that guest time goes on. */
static void test_wakes_up(void)
{
	struct clock *clock = clock_new();
	struct loop *l = loop_new("sleeper", clock);
	struct loop_timer host, guest;
	struct ring r = { 0 };

	g_mutex_init(&r.lock);
	g_cond_init(&r.rang);
	loop_timer_init(&host, l, CLOCK_HOST, ring_bell, &r);
	loop_timer_init(&guest, l, CLOCK_GUEST, ring_bell, &r);
	g_assert_true(loop_start(l, NULL));
	loop_timer_set(&host, clock_now(clock, CLOCK_HOST) + 3600 * 1000000000ll);
	g_usleep(2000);
	loop_timer_set(&host, clock_now(clock, CLOCK_HOST) + 1000000);
	wait_for(&r, 1);
	loop_timer_set(&guest, 1000000);
	g_usleep(5000);
	g_mutex_lock(&r.lock);
	g_assert_cmpint(r.times, ==, 1);
	g_mutex_unlock(&r.lock);
	clock_go(clock);
	wait_for(&r, 2);
	loop_free(l);
	clock_free(clock);
	g_mutex_clear(&r.lock);
	g_cond_clear(&r.rang);
}

/* --- polling --- */

#define POLLED 30000

/* A queue whose producer notifies only when asked to, like a guest's. */
struct polled {
	struct loop *loop;
	struct loop_poll poll;
	struct loop_fd fd;
	int produced, quiet;    /* atomic */
	int consumed;           /* atomic; written by the loop */
	int quiets;             /* the loop's */
};

static bool consume(void *arg)
{
	struct polled *p = arg;
	int n = g_atomic_int_get(&p->produced);

	if (n == p->consumed)
		return false;
	g_atomic_int_set(&p->consumed, n);
	return true;
}

static void set_quiet(void *arg, bool on)
{
	struct polled *p = arg;

	g_assert_true(loop_current() == p->loop);
	p->quiets += on;
	g_atomic_int_set(&p->quiet, on);
}

static void on_notified(void *arg, uint32_t events)
{
	struct polled *p = arg;
	uint64_t n;

	g_assert_cmpint(read(p->fd.fd, &n, sizeof(n)), ==, sizeof(n));
	(void)consume(p);
}

static void produce(struct polled *p, unsigned pause_us)
{
	uint64_t one = 1;

	g_atomic_int_inc(&p->produced);
	if (!g_atomic_int_get(&p->quiet))
		g_assert_cmpint(write(p->fd.fd, &one, sizeof(one)), ==, sizeof(one));
	if (pause_us)
		g_usleep(pause_us);
}

static void begin_polled(void *arg)
{
	struct polled *p = arg;

	g_assert_true(loop_fd_add(p->loop, &p->fd, NULL));
	loop_poll_add(p->loop, &p->poll);
}

static void end_polled(void *arg)
{
	struct polled *p = arg;

	loop_poll_remove(&p->poll);
	loop_poll_remove(&p->poll);
	loop_fd_remove(&p->fd);
}

static void until_consumed(struct polled *p, int n)
{
	for (int i = 0; g_atomic_int_get(&p->consumed) != n; i++) {
		g_assert_cmpint(i, <, 100000);
		g_usleep(100);
	}
}

/* Nothing is lost where polling begins and ends; it begins when there is much to do, and not when there is little. */
static void test_polling(void)
{
	struct clock *clock = clock_new();
	struct polled p = { .loop = loop_new("polled", clock) };
	int64_t busy;
	int quiets;

	p.poll = (struct loop_poll){ .fn = consume, .quiet = set_quiet, .arg = &p };
	p.fd = (struct loop_fd){ .fd = eventfd(0, EFD_NONBLOCK), .events = EPOLLIN, .fn = on_notified, .arg = &p };
	loop_set_polling(p.loop, 1000000, 4, 2);
	g_assert_true(loop_start(p.loop, NULL));
	loop_call(p.loop, begin_polled, &p);
	for (int i = 0; i < POLLED; i++)
		produce(&p, i % 64 ? 0 : i % 256);
	until_consumed(&p, POLLED);
	loop_call(p.loop, end_polled, &p);
	quiets = p.quiets;
	g_test_message("polled %d times", quiets);
	g_assert_false(g_atomic_int_get(&p.quiet) && quiets == 0);
	/* rarely: a sleep is longer than what is polled at most, and it sleeps at once from then on */
	loop_stop(p.loop);
	loop_set_polling(p.loop, 1000, 0, 0);
	g_atomic_int_set(&p.quiet, 0);
	busy = p.quiets;
	g_assert_true(loop_start(p.loop, NULL));
	loop_call(p.loop, begin_polled, &p);
	for (int i = 0; i < 20; i++)
		produce(&p, 2000);
	until_consumed(&p, POLLED + 20);
	loop_call(p.loop, end_polled, &p);
	g_assert_cmpint(p.quiets - busy, <=, 2);
	loop_free(p.loop);
	close(p.fd.fd);
	clock_free(clock);
}

/* Looks take 1 us each; something is found when it is due. */
struct looked {
	struct clock *clock;
	struct loop *loop;
	struct loop_poll poll;
	struct loop_fd fd;
	int64_t due, period;
	int found, sleeps;
};

static bool look(void *arg)
{
	struct looked *p = arg;

	clock_step(p->clock, 1000);
	if (clock_now(p->clock, CLOCK_HOST) < p->due)
		return false;
	p->due = clock_now(p->clock, CLOCK_HOST) + p->period;
	p->found++;
	return true;
}

static void sleeps_or_wakes(void *arg, bool quiet)
{
	((struct looked *)arg)->sleeps += !quiet;
}

static void drain(void *arg, uint32_t events)
{
	uint64_t n;

	g_assert_cmpint(read(((struct looked *)arg)->fd.fd, &n, sizeof(n)), ==, sizeof(n));
}

/* One turn, in which a descriptor becomes ready as soon as the loop sleeps. The time it took. */
static int64_t step_woken(struct looked *p)
{
	int64_t began = clock_now(p->clock, CLOCK_HOST);
	uint64_t one = 1;

	g_assert_cmpint(write(p->fd.fd, &one, sizeof(one)), ==, sizeof(one));
	(void)loop_step(p->loop, 1);
	return clock_now(p->clock, CLOCK_HOST) - began;
}

static void test_polling_budget(void)
{
	struct clock *clock = clock_new_manual();
	struct looked p = { .clock = clock, .loop = loop_new("looked", clock), .due = INT64_MAX };
	int64_t longest = 0, all = 0, vain = 0;
	bool modest = false;

	clock_step(clock, 1);
	p.poll = (struct loop_poll){ .fn = look, .quiet = sleeps_or_wakes, .arg = &p };
	p.fd = (struct loop_fd){ .fd = eventfd(0, EFD_NONBLOCK), .events = EPOLLIN, .fn = drain, .arg = &p };
	loop_set_polling(p.loop, 100000, 4, 2);
	g_assert_true(loop_fd_add(p.loop, &p.fd, NULL));
	loop_poll_add(p.loop, &p.poll);
	for (int i = 0; i < 5; i++)
		longest = MAX(longest, step_woken(&p));
	g_assert_cmpint(longest, >=, 50000);
	/* what is found after 40 us each time: time was not spent in vain, it never sleeps */
	p.sleeps = 0;
	p.period = 40000;
	p.due = clock_now(clock, CLOCK_HOST) + p.period;
	for (int i = 0; i < 500; i++)
		(void)loop_step(p.loop, 1);
	g_assert_cmpint(p.sleeps, ==, 0);
	g_assert_cmpint(p.found, >, 500);
	/* in vain from here: less and less of it, and otherwise it looks for about 10 us */
	p.due = INT64_MAX;
	for (int i = 0; i < 5000; i++) {
		int64_t took = step_woken(&p);

		all += took;
		vain += took > 15000 ? took : 0;
		modest = took <= 15000;
	}
	g_assert_cmpint(vain, >=, 1000000);
	g_assert_cmpint(vain, <, all / 10);
	for (int i = 0; i < 1000 && !modest; i++)
		modest = step_woken(&p) <= 15000;
	g_assert_true(modest);
	/* which is enough for a guest that asks again at once */
	p.sleeps = p.found = 0;
	p.period = 5000;
	p.due = clock_now(clock, CLOCK_HOST) + p.period;
	for (int i = 0; i < 10; i++)
		(void)loop_step(p.loop, 1);
	g_assert_cmpint(p.sleeps, ==, 0);
	g_assert_cmpint(p.found, >, 10);
	/* when that is over, it is as before */
	p.due = INT64_MAX;
	clock_step(clock, 100000000);
	g_assert_cmpint(step_woken(&p), >, 20000);
	loop_poll_remove(&p.poll);
	loop_fd_remove(&p.fd);
	loop_free(p.loop);
	close(p.fd.fd);
	clock_free(clock);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/loop/posts", test_posts);
	g_test_add_func("/loop/posts-of-dead", test_posts_of_dead);
	g_test_add_func("/loop/timers", test_timers);
	g_test_add_func("/loop/many-timers", test_many_timers);
	g_test_add_func("/loop/always-due", test_always_due);
	g_test_add_func("/loop/remove-in-batch", test_remove_in_batch);
	g_test_add_func("/loop/thread", test_thread);
	g_test_add_func("/loop/wakes-up", test_wakes_up);
	g_test_add_func("/loop/polling", test_polling);
	g_test_add_func("/loop/polling-budget", test_polling_budget);
	return g_test_run();
}
