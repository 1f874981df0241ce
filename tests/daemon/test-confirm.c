/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Changes that the guest must confirm: its words, deadlines, patience, two at once. */
#include <string.h>

#include "daemon/worker.h"
#include "daemon/worker_confirm.h"

#define QUICK 40                /* ms */

struct rig {
	struct worker w;
	GString *log;           /* "undo KEY;" "ended ERROR;" */
	bool after_all;         /* undo finds that the guest has done it */
};

static bool undo(struct worker *w, const char *key, void *arg)
{
	struct rig *r = arg;

	g_string_append_printf(r->log, "undo %s;", key);
	return r->after_all;
}

static void ended(struct worker *w, const GError *err, void *arg)
{
	struct rig *r = arg;

	if (err)
		g_assert_cmpint(err->code, ==, KERR_GUEST);
	g_string_append_printf(r->log, "ended %s;", err ? err->message : "well");
}

static const struct confirm_ops ops = { undo, ended };

static struct rig *rig_new(void)
{
	struct rig *r = g_new0(struct rig, 1);

	r->w.vm.state = VM_RUNNING;
	r->log = g_string_new(NULL);
	return r;
}

static void rig_free(struct rig *r)
{
	if (r->w.confirms) {
		g_assert_cmpuint(r->w.confirms->len, ==, 0);
		g_ptr_array_unref(r->w.confirms);
	}
	g_string_free(r->log, TRUE);
	g_free(r);
}

static struct confirm *begin(struct rig *r, const char *a, const char *b)
{
	struct confirm *c = confirm_new(&r->w, QUICK, &ops, r);

	g_assert_true(confirm_part(c, a, NULL));
	g_assert_true(!b || confirm_part(c, b, NULL));
	return c;
}

static gboolean tick(gpointer data)
{
	*(bool *)data = true;
	return G_SOURCE_REMOVE;
}

static void pass(unsigned ms)
{
	bool over = false;

	g_timeout_add(ms, tick, &over);
	while (!over)
		g_main_context_iteration(NULL, TRUE);
}

static void test_done(void)
{
	struct rig *r = rig_new();

	g_assert_false(confirm_told(&r->w, "a", CONFIRM_DONE, NULL));   /* nobody waits */
	confirm_start(begin(r, "a", "b"));
	g_assert_true(confirm_waits(&r->w, "a"));
	g_assert_true(confirm_told(&r->w, "a", CONFIRM_DONE, NULL));
	g_assert_false(confirm_told(&r->w, "a", CONFIRM_REFUSED, "no"));        /* too late */
	g_assert_cmpstr(r->log->str, ==, "");
	confirm_told(&r->w, "b", CONFIRM_DONE, NULL);
	g_assert_cmpstr(r->log->str, ==, "ended well;");
	g_assert_false(confirm_waits(&r->w, "a"));
	/* all was done before it began; and nothing was to be done */
	g_string_truncate(r->log, 0);
	begin(r, "a", NULL);
	confirm_told(&r->w, "a", CONFIRM_DONE, NULL);
	g_assert_cmpstr(r->log->str, ==, "");
	confirm_start(r->w.confirms->pdata[0]);
	confirm_start(confirm_new(&r->w, QUICK, &ops, r));
	g_assert_cmpstr(r->log->str, ==, "ended well;ended well;");
	rig_free(r);
}

static void test_refused(void)
{
	struct rig *r = rig_new();

	confirm_start(begin(r, "a", "b"));
	confirm_told(&r->w, "a", CONFIRM_PROGRESS, "wait");
	confirm_told(&r->w, "a", CONFIRM_REFUSED, "busy");
	confirm_told(&r->w, "b", CONFIRM_DONE, NULL);
	g_assert_cmpstr(r->log->str, ==, "undo a;ended a: the guest refused: busy;");
	g_string_truncate(r->log, 0);
	begin(r, "a", NULL);
	confirm_told(&r->w, "a", CONFIRM_FAILED, "the host has none left");
	confirm_start(r->w.confirms->pdata[0]);
	g_assert_cmpstr(r->log->str, ==, "undo a;ended the host has none left;");
	rig_free(r);
}

static void test_silence(void)
{
	struct rig *r = rig_new();

	confirm_start(begin(r, "a", "b"));
	confirm_told(&r->w, "b", CONFIRM_PROGRESS, "soon");
	pass(3 * QUICK);
	g_assert_true(g_str_has_prefix(r->log->str, "undo a;undo b;ended a: no answer from the guest within"));
	g_assert_nonnull(strstr(r->log->str, "b: the guest has not done it within 0 s; the last it said was: soon"));
	/* it turns out that it has */
	g_string_truncate(r->log, 0);
	r->after_all = true;
	confirm_start(begin(r, "a", NULL));
	pass(3 * QUICK);
	g_assert_cmpstr(r->log->str, ==, "undo a;ended well;");
	rig_free(r);
}

/* Progress gives more time, but not for ever; a suspended machine's time does not count. */
static void test_patience(void)
{
	struct rig *r = rig_new();

	confirm_start(begin(r, "a", NULL));
	for (unsigned i = 0; i < 5; i++) {
		pass(QUICK / 2);
		confirm_told(&r->w, "a", CONFIRM_PROGRESS, NULL);
	}
	g_assert_cmpstr(r->log->str, ==, "");
	for (unsigned i = 0; i < 4 * CONFIRM_PATIENCE && !r->log->len; i++) {
		pass(QUICK / 2);
		confirm_told(&r->w, "a", CONFIRM_PROGRESS, NULL);
	}
	g_assert_true(g_str_has_prefix(r->log->str, "undo a;ended a: "));
	g_string_truncate(r->log, 0);
	confirm_start(begin(r, "a", NULL));
	r->w.vm.state = VM_PAUSED;
	pass(4 * QUICK);
	g_assert_cmpstr(r->log->str, ==, "");
	r->w.vm.state = VM_RUNNING;
	pass(3 * QUICK);
	g_assert_true(g_str_has_prefix(r->log->str, "undo a;"));
	rig_free(r);
}

static void test_twice(void)
{
	struct rig *r = rig_new();
	struct confirm *c;
	GError *err = NULL;

	confirm_start(begin(r, "a", NULL));
	c = confirm_new(&r->w, QUICK, &ops, r);
	g_assert_true(confirm_part(c, "b", NULL));
	g_assert_false(confirm_part(c, "a", &err));
	g_assert_error(err, kerr_quark(), KERR_BUSY);
	g_error_free(err);
	confirm_cancel(c);
	g_assert_false(confirm_waits(&r->w, "b"));
	g_assert_cmpstr(r->log->str, ==, "");
	confirm_told(&r->w, "a", CONFIRM_DONE, NULL);
	g_assert_cmpstr(r->log->str, ==, "ended well;");
	rig_free(r);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/confirm/done", test_done);
	g_test_add_func("/confirm/refused", test_refused);
	g_test_add_func("/confirm/silence", test_silence);
	g_test_add_func("/confirm/patience", test_patience);
	g_test_add_func("/confirm/twice", test_twice);
	return g_test_run();
}
