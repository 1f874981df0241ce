/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest is asked to go down: which way, in which order, and what is said when none of them reaches it. */
#include <string.h>

#include "daemon/worker_agent_calls.h"
#include "daemon/worker_powerdown.h"
#include "domain/commands_agent.h"
#include "domain/json.h"
#include "hv/x86/ports.h"
#include "tests/fake/driver.h"

#define EN (PORT_PM1_EVT + 2)
#define PWRBTN 0x0100

static struct rig {
	struct fake *f;
	struct device *pm;
	struct worker w;
	struct client c;
	bool connected;
	unsigned presses, waiters;
	/* the agent's call under way */
	agent_told_fn *fn;
	void *arg;
	char *mode;
	/* what came of the command */
	char *said, *error;
	int code;
} rig;

/* --- what the command stands on --- */

struct device *device_by_type(struct worker *w, const char *type)
{
	return rig.pm;
}

void worker_event(struct worker *w, const char *event, json_object *data)
{
	g_assert_cmpstr(event, ==, "POWERDOWN");
	rig.presses++;
}

struct waiter *waiter_new(struct client *c)
{
	rig.waiters++;
	return g_new0(struct waiter, 1);
}

void waiter_drop(struct waiter *x)
{
	rig.waiters--;
	g_free(x);
}

static void came(json_object *reply, const GError *err)
{
	g_assert_true(!reply != !err);
	g_assert_true(!rig.said && !rig.error);
	rig.said = reply ? g_strdup(json_object_to_json_string_ext(reply, JSON_C_TO_STRING_PLAIN)) : NULL;
	rig.error = err ? g_strdup(err->message) : NULL;
	rig.code = err ? err->code : -1;
	json_object_put(reply);
}

void waiter_answer(struct waiter *x, json_object *value, const GError *err)
{
	waiter_drop(x);
	came(value, err);
}

bool agent_is_connected(const struct agent *a)
{
	return rig.connected;
}

bool agent_ask(struct worker *w, enum agent_ask what, json_object *args, unsigned timeout_ms, agent_told_fn *fn, void *arg, GError **err)
{
	json_object *mode = NULL;

	g_assert_cmpint(what, ==, AGENT_SHUTDOWN);
	g_assert_cmpuint(timeout_ms, ==, 7000);
	json_object_object_get_ex(args, "mode", &mode);
	rig.mode = g_strdup(json_object_get_string(mode));
	json_object_put(args);
	rig.fn = fn;
	rig.arg = arg;
	return rig.connected || kerr_set(err, KERR_STATE, "no agent");
}

static void agent_says(enum kerr code, const char *error)
{
	g_autoptr(GError) err = NULL;

	if (error)
		kerr_set(&err, code, "%s", error);
	rig.fn(&rig.w, &(struct agent_told){ .number = 0 }, err, rig.arg);
}

/* --- the rig --- */

static void forget(void)
{
	g_clear_pointer(&rig.said, g_free);
	g_clear_pointer(&rig.error, g_free);
	g_clear_pointer(&rig.mode, g_free);
	rig.presses = 0;
}

static void set_up(bool connected, bool listens)
{
	rig = (struct rig){ .f = fake_vm(), .connected = connected };
	rig.pm = fake_add(rig.f, "acpi-pm", NULL);
	rig.c.worker = &rig.w;
	rig.w.vm.state = VM_RUNNING;
	if (listens)
		drv_out(rig.f, EN, 2, PWRBTN);
}

static void tear_down(void)
{
	g_assert_cmpuint(rig.waiters, ==, 0);
	forget();
	fake_free(rig.f);
}

static void run(const char *name, const char *mode)
{
	struct ask_powerdown a = { .mode = (char *)mode, .timeout = 7 };
	const struct worker_binding *b = powerdown_bindings;
	g_autoptr(GError) err = NULL;
	json_object *reply = NULL;
	enum run_result result;

	forget();
	while (strcmp(b->name, name))
		b++;
	result = b->run(&rig.c, NULL, &a, &reply, &err);
	if (result != RUN_LATER)
		came(reply, err);
	g_assert_cmpint(result == RUN_FAILED, ==, err != NULL);
}

#define SAID(mode) "{\"mode\":\"" mode "\"}"
#define expect(what, button) do { g_assert_cmpstr(rig.error, ==, NULL); g_assert_cmpstr(rig.said, ==, what); \
	g_assert_cmpuint(rig.presses, ==, button); } while (0)
#define expect_error(kind, what) do { g_assert_cmpstr(rig.error, ==, what); g_assert_cmpint(rig.code, ==, kind); \
	g_assert_cmpuint(rig.presses, ==, 0); } while (0)

static void test_order(void)
{
	static const struct { const char *list; bool agent; int first, second; const char *error; } rows[] = {
		{ NULL, false, POWERDOWN_ACPI, -1 }, { "", true, POWERDOWN_AGENT, POWERDOWN_ACPI }, { "acpi", true, POWERDOWN_ACPI, -1 },
		{ "agent", false, POWERDOWN_AGENT, -1 }, { "acpi,agent", false, POWERDOWN_ACPI, POWERDOWN_AGENT },
		{ "agent,acpi", true, POWERDOWN_AGENT, POWERDOWN_ACPI },
		{ "signal", .error = "there is no mode 'signal'" }, { "agent,", .error = "there is no mode ''" }, { ",", .error = "there is no mode ''" },
		{ "Agent", .error = "there is no mode 'Agent'" }, { "acpi, agent", .error = "there is no mode ' agent'" },
		{ "acpi,acpi", .error = "mode 'acpi' is given twice" }, { "agent,acpi,agent", .error = "mode 'agent' is given twice" },
	};

	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		enum powerdown_mode modes[POWERDOWN_N];
		g_autoptr(GError) err = NULL;
		unsigned n = 77;
		bool ok = powerdown_order(rows[i].list, rows[i].agent, modes, &n, &err);

		if (rows[i].error) {
			g_assert_error(err, kerr_quark(), KERR_ARGS);
			g_assert_nonnull(strstr(err->message, rows[i].error));
			g_assert_true(!ok && n == 77);
			continue;
		}
		g_assert_no_error(err);
		g_assert_cmpuint(n, ==, rows[i].second < 0 ? 1 : 2);
		g_assert_cmpint((int)modes[0], ==, rows[i].first);
		if (n == 2)
			g_assert_cmpint((int)modes[1], ==, rows[i].second);
	}
}

static void test_button(void)
{
	set_up(false, false);
	run("shutdown", NULL);                  /* kept for a guest that listens later */
	expect(SAID("acpi"), 1);
	run("system_reboot", "acpi");
	expect(SAID("acpi"), 1);
	g_assert_true(rig.w.reboot);
	run("shutdown", "acpi,agent");          /* both fail */
	expect_error(KERR_STATE, "the guest does not listen to its power button; no agent");
	run("shutdown", "wrong");
	g_assert_cmpint(rig.code, ==, KERR_ARGS);
	rig.connected = true;
	run("shutdown", "acpi,agent");
	g_assert_cmpuint(rig.waiters, ==, 1);
	agent_says(0, NULL);
	expect(SAID("agent"), 0);
	g_assert_false(rig.w.reboot);           /* of the press before: it would begin anew */
	drv_out(rig.f, EN, 2, PWRBTN);
	run("shutdown", "acpi,agent");
	expect(SAID("acpi"), 1);
	g_assert_null(rig.mode);
	rig.w.vm.state = VM_PAUSED;
	run("shutdown", "acpi");
	g_assert_cmpint(rig.code, ==, KERR_STATE);
	tear_down();
}

static void test_agent(void)
{
	set_up(true, true);
	run("shutdown", NULL);
	g_assert_cmpstr(rig.mode, ==, "powerdown");
	agent_says(0, NULL);
	expect(SAID("agent"), 0);
	run("system_reboot", "agent");
	g_assert_cmpstr(rig.mode, ==, "reboot");
	agent_says(0, NULL);
	expect(SAID("agent"), 0);
	g_assert_false(rig.w.reboot);           /* the guest resets itself */
	run("shutdown", "agent");
	agent_says(KERR_TIMEOUT, "it does not answer");
	expect_error(KERR_TIMEOUT, "it does not answer");
	run("system_reboot", NULL);             /* and the button has to do */
	agent_says(KERR_TIMEOUT, "it does not answer");
	expect(SAID("acpi"), 1);
	g_assert_true(rig.w.reboot);
	run("shutdown", "agent,acpi");          /* it was suspended, or has gone, meanwhile */
	rig.w.vm.state = VM_PAUSED;
	agent_says(KERR_STATE, "it went away");
	g_assert_true(g_str_has_prefix(rig.error, "it went away; the guest does not run"));
	g_assert_cmpuint(rig.presses, ==, 0);
	rig.w.vm.state = VM_RUNNING;
	rig.connected = false;
	run("shutdown", "agent,acpi");
	expect(SAID("acpi"), 1);
	run("shutdown", "agent");
	expect_error(KERR_STATE, "no agent");
	tear_down();
}

/* QMP's own command knows no agent. */
static void test_qmp(void)
{
	set_up(true, false);
	rig.w.reboot = true;
	g_assert_cmpint(powerdown_bindings[0].run(&rig.c, NULL, NULL, NULL, NULL), ==, RUN_DONE);
	g_assert_cmpuint(rig.presses, ==, 1);
	g_assert_null(rig.mode);
	g_assert_false(rig.w.reboot);
	tear_down();
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/powerdown/order", test_order);
	g_test_add_func("/powerdown/button", test_button);
	g_test_add_func("/powerdown/agent", test_agent);
	g_test_add_func("/powerdown/qmp", test_qmp);
	return g_test_run();
}
