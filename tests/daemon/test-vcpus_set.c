/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A number of vCPUs as one change, with a guest's agent: what does not come online goes again, and what is said of it. */
#include <string.h>

#include "daemon/worker_agent_vcpus.h"
#include "daemon/worker_vcpus_priv.h"
#include "domain/json.h"
#include "domain/machine.h"
#include "hv/vcpu.h"

#define CPUS 4u

static struct rig {
	struct worker w;
	struct client c;
	struct machine m;
	struct hotplug h;
	struct vcpu vcpus[CPUS];
	unsigned asked_for;             /* bits: slots that the guest was asked for */
	bool agent;
	guest_vcpus_done *done;         /* the look for new ones, under way */
	void *arg;
	/* what came of the change */
	unsigned answers;
	char *said, *error, *event;
	int code;
} rig;

/* --- what it stands on --- */

void worker_event(struct worker *w, const char *event, json_object *data)
{
	g_free(rig.event);
	rig.event = g_strdup_printf("%s %s", event, json_object_to_json_string_ext(data, JSON_C_TO_STRING_PLAIN));
	json_object_put(data);
}

struct waiter *waiter_new(struct client *c)
{
	return g_new0(struct waiter, 1);
}

void waiter_answer(struct waiter *x, json_object *value, const GError *err)
{
	rig.answers++;
	g_assert_true(!value != !err);
	rig.said = value ? g_strdup(json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN)) : NULL;
	rig.error = err ? g_strdup(err->message) : NULL;
	rig.code = err ? err->code : -1;
	json_object_put(value);
	g_free(x);
}

const char *vcpu_key(unsigned slot, char key[KEY_SIZE])
{
	g_snprintf(key, KEY_SIZE, "vcpu%u", slot);
	return key;
}

bool vcpus_can_change(const struct worker *w, GError **err)
{
	return true;
}

void vcpus_tell_guest(struct worker *w)
{
}

bool vcpu_plug(struct worker *w, unsigned slot, const char *id, GError **err)
{
	rig.vcpus[slot].unplugged = false;
	return true;
}

void vcpu_ask_for(struct worker *w, unsigned slot)
{
	rig.asked_for |= 1u << slot;
}

bool vcpu_undo_insert(struct worker *w, const char *key, void *arg)
{
	return false;
}

bool vcpu_undo_remove(struct worker *w, const char *key, void *arg)
{
	return false;
}

bool agent_ask(struct worker *w, enum agent_ask what, json_object *args, unsigned timeout_ms, agent_told_fn *fn, void *arg, GError **err)
{
	g_autoptr(GPtrArray) none = g_ptr_array_new();

	if (rig.agent)
		fn(w, &(struct agent_told){ .list = none }, NULL, arg);
	return rig.agent || kerr_set(err, KERR_STATE, "no agent");
}

unsigned guest_vcpus_online(const GPtrArray *list)
{
	return list ? list->len : 0;
}

bool guest_vcpus_new(struct worker *w, GArray *ids, unsigned n, unsigned timeout_ms, guest_vcpus_done *done, void *arg, GError **err)
{
	g_array_unref(ids);
	rig.done = done;
	rig.arg = arg;
	return true;
}

/* --- the rig --- */

static void tear_down(void)
{
	g_clear_pointer(&rig.said, g_free);
	g_clear_pointer(&rig.error, g_free);
	g_clear_pointer(&rig.event, g_free);
	g_assert_null(rig.h.set);
	g_ptr_array_unref(rig.w.vm.vcpus);
	if (rig.w.confirms) {
		g_assert_cmpuint(rig.w.confirms->len, ==, 0);
		g_ptr_array_unref(rig.w.confirms);
	}
}

/* One vCPU of four; three are asked for, and the guest has taken two more. */
static void set_up(bool agent, unsigned timeout_ms)
{
	g_autoptr(GError) err = NULL;

	rig = (struct rig){ .agent = agent };
	rig.m.vcpu.max = CPUS;
	rig.m.vcpu.current = 1;
	rig.c.worker = &rig.w;
	rig.w.machine = &rig.m;
	rig.w.hotplug = &rig.h;
	rig.w.vm.state = VM_RUNNING;
	rig.w.vm.vcpus = g_ptr_array_new();
	for (unsigned i = 0; i < CPUS; i++) {
		rig.vcpus[i].index = i;
		rig.vcpus[i].unplugged = i > 0;
		g_ptr_array_add(rig.w.vm.vcpus, &rig.vcpus[i]);
	}
	g_assert_cmpint(vcpus_set(&rig.c, &(struct args_vcpus_set){ .count = 3, .timeout = timeout_ms }, &err), ==, RUN_LATER);
	g_assert_no_error(err);
	g_assert_true(confirm_told(&rig.w, "vcpu1", CONFIRM_DONE, NULL));
	g_assert_true(confirm_told(&rig.w, "vcpu2", CONFIRM_DONE, NULL));
	g_assert_cmpuint(vm_vcpus(&rig.w.vm), ==, 3);
}

static void agent_fails(enum kerr code, const char *why)
{
	g_autoptr(GError) err = NULL;

	kerr_set(&err, code, "%s", why);
	g_assert_cmpuint(rig.answers, ==, 0);
	rig.done(&rig.w, NULL, err, rig.arg);
}

static void ejects(unsigned slot)
{
	char key[KEY_SIZE];

	rig.vcpus[slot].unplugged = true;
	g_assert_true(confirm_told(&rig.w, vcpu_key(slot, key), CONFIRM_DONE, NULL));
}

#define TAKEN "the guest has taken them, but they are not online: "

static void test_well(void)
{
	g_autoptr(GPtrArray) three = g_ptr_array_new();

	set_up(false, 60000);
	g_assert_null(rig.done);
	g_assert_cmpuint(rig.answers, ==, 1);
	tear_down();
	set_up(true, 60000);
	for (unsigned i = 0; i < 3; i++)
		g_ptr_array_add(three, NULL);
	rig.done(&rig.w, three, NULL, rig.arg);
	g_assert_nonnull(strstr(rig.said, "\"online\":3"));
	tear_down();
	/* the agent went away: ACPI's word has to do */
	set_up(true, 60000);
	agent_fails(KERR_STATE, "gone");
	g_assert_nonnull(rig.said);
	g_assert_cmpuint(rig.asked_for, ==, 0);
	tear_down();
}

static void test_given_back(void)
{
	g_autoptr(GError) busy = NULL;

	set_up(true, 60000);
	agent_fails(KERR_GUEST, "1 of 3 stay off");
	g_assert_cmpuint(rig.asked_for, ==, 1u << 1 | 1u << 2);
	g_assert_cmpuint(rig.answers, ==, 0);
	g_assert_cmpint(vcpus_set(&rig.c, &(struct args_vcpus_set){ .count = 4 }, &busy), ==, RUN_FAILED);
	g_assert_cmpint(busy->code, ==, KERR_BUSY);
	ejects(2);
	g_assert_cmpuint(rig.answers, ==, 0);
	ejects(1);
	g_assert_cmpuint(rig.answers, ==, 1);
	g_assert_cmpstr(rig.error, ==, "3 vCPUs were asked for, there are 1: " TAKEN "1 of 3 stay off; it has given them back");
	g_assert_cmpint(rig.code, ==, KERR_GUEST);
	g_assert_nonnull(strstr(rig.event, "COMMAND_DONE"));
	g_assert_nonnull(strstr(rig.event, "\"vcpus\":1"));
	tear_down();
}

static void test_kept(void)
{
	set_up(true, 60000);
	agent_fails(KERR_TIMEOUT, "it has not answered");
	ejects(2);
	g_assert_true(confirm_told(&rig.w, "vcpu1", CONFIRM_REFUSED, "busy"));
	g_assert_cmpstr(rig.error, ==, "3 vCPUs were asked for, there are 2: " TAKEN
		"it has not answered; they were asked for again, but the guest keeps them: vcpu1: the guest refused: busy");
	g_assert_cmpint(rig.code, ==, KERR_TIMEOUT);
	tear_down();
	/* it says nothing at all */
	set_up(true, 40);
	agent_fails(KERR_TIMEOUT, "it has not answered");
	while (!rig.answers)
		g_main_context_iteration(NULL, TRUE);
	g_assert_nonnull(strstr(rig.error, "there are 3: "));
	g_assert_nonnull(strstr(rig.error, "keeps them: vcpu2: no answer from the guest"));
	tear_down();
}

/* One has gone meanwhile, another is just being unplugged by somebody else. */
static void test_meanwhile(void)
{
	static const struct confirm_ops none = { vcpu_undo_remove, NULL };
	struct confirm *other;

	set_up(true, 60000);
	other = confirm_new(&rig.w, 60000, &none, NULL);
	g_assert_true(confirm_part(other, "vcpu1", NULL));
	rig.vcpus[2].unplugged = true;
	agent_fails(KERR_GUEST, "1 of 3 stay off");
	g_assert_cmpuint(rig.asked_for, ==, 0);
	g_assert_cmpuint(rig.answers, ==, 1);
	confirm_cancel(other);
	tear_down();
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/vcpus-set/well", test_well);
	g_test_add_func("/vcpus-set/given-back", test_given_back);
	g_test_add_func("/vcpus-set/kept", test_kept);
	g_test_add_func("/vcpus-set/meanwhile", test_meanwhile);
	return g_test_run();
}
