/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest is asked to go down. system_powerdown is QMP's: the power button and nothing else. shutdown and system_reboot have a list
 * of ways, tried until one of them has reached the guest. The agent's reaches it when the agent takes the command; the power
 * button when the guest listens to it, or when nothing else is left to try: the press is kept for a guest that enables it later.
 */
#include "daemon/worker_powerdown.h"

#include "daemon/worker_agent_calls.h"
#include "devices/acpi_pm.h"
#include "domain/commands_agent.h"
#include "domain/json.h"

struct powerdown {
	struct worker *worker;
	struct waiter *waiter;
	enum powerdown_mode modes[POWERDOWN_N];
	unsigned n, at;                 /* modes; the next to be tried */
	bool reboot;
	unsigned timeout;               /* ms, of the agent */
	GError *failed;                 /* what came of those before; NULL: nothing went wrong */
};

static bool press(struct worker *w, bool reboot, bool last, GError **err)
{
	struct device *pm = device_by_type(w, "acpi-pm");

	if (w->vm.state != VM_RUNNING)
		return kerr_set(err, KERR_STATE, "the guest does not run, so it cannot see the power button: resume it, or use destroy or reset");
	if (!last && !acpi_pm_hears_button(pm))
		return kerr_set(err, KERR_GUEST, "the guest does not listen to its power button");
	w->reboot = reboot;
	acpi_pm_button(pm);
	worker_event(w, "POWERDOWN", NULL);
	return true;
}

static void agent_took(struct worker *w, const struct agent_told *t, const GError *err, void *arg);

static bool ask_agent(struct powerdown *p, GError **err)
{
	json_object *args = json_object_new_object();

	json_object_object_add(args, "mode", json_object_new_string(p->reboot ? "reboot" : "powerdown"));
	if (!agent_ask(p->worker, AGENT_SHUTDOWN, args, p->timeout, agent_took, p, err))
		return false;
	p->worker->reboot = false;      /* an earlier press would make a reboot of this; for a reboot the guest resets itself */
	return true;
}

static enum run_result reached(enum powerdown_mode mode, json_object **reply)
{
	struct tell_powerdown t = { .mode = mode };

	*reply = json_from_struct(&tell_powerdown_schema, &t, JSON_ALL);
	return RUN_DONE;
}

/* bad is taken. */
static void note(struct powerdown *p, GError *bad)
{
	if (p->failed)
		g_prefix_error(&bad, "%s; ", p->failed->message);
	g_clear_error(&p->failed);
	p->failed = bad;
}

static enum run_result try_on(struct powerdown *p, json_object **reply, GError **err)
{
	while (p->at < p->n) {
		enum powerdown_mode mode = p->modes[p->at++];
		GError *bad = NULL;

		if (mode == POWERDOWN_AGENT ? ask_agent(p, &bad) : press(p->worker, p->reboot, p->at == p->n, &bad))
			return mode == POWERDOWN_AGENT ? RUN_LATER : reached(mode, reply);
		note(p, bad);
	}
	g_propagate_error(err, g_steal_pointer(&p->failed));
	return RUN_FAILED;
}

static void powerdown_free(struct powerdown *p)
{
	g_clear_error(&p->failed);
	g_free(p);
}

static void agent_took(struct worker *w, const struct agent_told *t, const GError *failed, void *arg)
{
	struct powerdown *p = arg;
	g_autoptr(GError) err = NULL;
	json_object *reply = NULL;
	enum run_result result;

	if (failed) {
		note(p, g_error_copy(failed));
		result = try_on(p, &reply, &err);
	} else {
		result = reached(POWERDOWN_AGENT, &reply);
	}
	if (result == RUN_LATER)
		return;
	waiter_answer(p->waiter, reply, err);
	powerdown_free(p);
}

static enum run_result go_down(struct client *c, const struct ask_powerdown *a, bool reboot, json_object **reply, GError **err)
{
	struct powerdown *p = g_new0(struct powerdown, 1);
	enum run_result result = RUN_FAILED;

	*p = (struct powerdown){ .worker = c->worker, .reboot = reboot, .timeout = a->timeout * 1000 };
	if (powerdown_order(a->mode, agent_is_connected(c->worker->agent), p->modes, &p->n, err)) {
		p->waiter = waiter_new(c);
		result = try_on(p, reply, err);
	}
	if (result == RUN_LATER)
		return result;
	if (p->waiter)
		waiter_drop(p->waiter);
	powerdown_free(p);
	return result;
}

static QMP(system_powerdown)
{
	return press(c->worker, false, true, err) ? RUN_DONE : RUN_FAILED;
}

static QMP(shutdown)
{
	return go_down(c, args, false, reply, err);
}

static QMP(system_reboot)
{
	return go_down(c, args, true, reply, err);
}

const struct worker_binding powerdown_bindings[] = {
	{ "system_powerdown", qmp_system_powerdown },
	{ "shutdown", qmp_shutdown },
	{ "system_reboot", qmp_system_reboot },
	{ NULL },
};
