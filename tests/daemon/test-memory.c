/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How much memory the guest has, seen from its process: sizes that are waited for, and given up; events at their rate. */
#include <string.h>

#include "daemon/worker_memory.h"
#include "devices/virtio_balloon.h"
#include "devices/virtio_mem.h"
#include "tests/fake/driver.h"
#include "tests/fake/virtio_driver.h"

#define MIB (1ull << 20)
#define QUICK 100               /* ms */
#define SLOW 1500               /* on a busy host too, what is to happen within it does */

struct rig {
	struct fake *f;
	struct worker w;
	struct client client;
	struct device *dev;
	struct vdrv d;
	GString *log;           /* names of events, and answers */
};
static struct rig *the, rigs[8];        /* with what lives as long as the process */
static unsigned rigs_n;

/* --- what worker.c has --- */

void worker_event(struct worker *w, const char *name, json_object *data)
{
	g_string_append_printf(the->log, "%s;", name);
	json_object_put(data);
}

void worker_changed(struct worker *w, const char *what, const char *device)
{
	worker_event(w, "KVMD_MACHINE", json_object_new_object());
}

struct waiter *waiter_new(struct client *c)
{
	return g_new0(struct waiter, 1);
}

void waiter_answer(struct waiter *x, json_object *value, const GError *err)
{
	g_string_append_printf(the->log, "%s;", err ? err->message : "answered");
	json_object_put(value);
	g_free(x);
}

struct device *device_by_type(struct worker *w, const char *type)
{
	for (unsigned i = 0; i < w->vm.devices->len; i++) {
		struct device *d = w->vm.devices->pdata[i];

		if (!strcmp(d->ops->name, type))
			return d;
	}
	return NULL;
}

/* --- */

static struct rig *rig_new(const char *type, const char *json, uint64_t features, bool driver)
{
	struct rig *r = the = &rigs[rigs_n++];

	r->f = fake_vm();
	(void)ram_track(&r->f->vm.ram, false, NULL);
	ram_finish(&r->f->vm.ram);
	g_assert_true(ram_init_anon(&r->f->vm.ram, 8 * MIB, NULL));
	fake_add(r->f, "pci-host", NULL);
	r->dev = fake_add(r->f, type, json);
	r->w.vm = r->f->vm;
	r->w.vm.state = VM_RUNNING;
	r->w.machine = machine_new();
	r->client.worker = &r->w;
	r->log = g_string_new(NULL);
	memory_listen(&r->w);
	if (driver) {
		vdrv_open(&r->d, r->f, r->dev, features, true);
		vdrv_queue(&r->d, 0, 16);
		if (!features)
			vdrv_queue(&r->d, 1, 16);
		vdrv_go(&r->d);
	}
	return r;
}

static gboolean over(gpointer data)
{
	*(bool *)data = true;
	return G_SOURCE_REMOVE;
}

static void pass(unsigned ms)
{
	bool done = false;

	g_timeout_add(ms, over, &done);
	while (!done)
		g_main_context_iteration(NULL, TRUE);
}

static void rig_free(struct rig *r)
{
	fake_free(r->f);
	machine_free(r->w.machine);
	g_string_free(r->log, TRUE);
	r->w.ending = true;     /* events' timers may still fire */
}

static struct rig *balloon(bool driver)
{
	return rig_new("virtio-balloon", "{'model':'virtio'}", 0, driver);
}

/* The guest says how much it gave. */
static void give(struct rig *r, uint64_t bytes)
{
	drv_mmio_write(r->f, r->d.space + 4, 4, (uint32_t)(bytes / 4096));
	fake_step(r->f);
}

static enum run_result set_within(struct rig *r, uint64_t bytes, unsigned ms, GError **err)
{
	return memory_wait(&r->client, r->dev, &(struct args_memory_set){ .size = bytes, .timeout = ms }, err);
}

static enum run_result set(struct rig *r, uint64_t bytes, GError **err)
{
	return set_within(r, bytes, QUICK, err);
}

static void until(struct rig *r, const char *text)
{
	while (!strstr(r->log->str, text))
		g_main_context_iteration(NULL, TRUE);
}

static uint64_t target(struct rig *r)
{
	struct balloon_info info;

	balloon_info(r->dev, &info);
	return info.target;
}

static void test_reached(void)
{
	struct rig *r = balloon(true);

	g_assert_cmpint(set_within(r, 6 * MIB, SLOW, NULL), ==, RUN_LATER);
	g_assert_cmpstr(r->log->str, ==, "COMMAND_BEGUN;");
	give(r, MIB);
	g_assert_cmpstr(r->log->str, ==, "COMMAND_BEGUN;BALLOON_CHANGE;");
	give(r, 2 * MIB);
	g_assert_cmpstr(r->log->str, ==, "COMMAND_BEGUN;BALLOON_CHANGE;COMMAND_DONE;answered;");
	g_assert_cmpuint(r->w.machine->memory.current, ==, 6 * MIB);
	/* it is there: nothing to wait for */
	g_string_truncate(r->log, 0);
	g_assert_cmpint(set(r, 6 * MIB, NULL), ==, RUN_LATER);
	g_assert_cmpstr(r->log->str, ==, "COMMAND_BEGUN;COMMAND_DONE;answered;");
	/* what was not told within the second is told at its end, once */
	g_string_truncate(r->log, 0);
	give(r, MIB);
	give(r, 0);
	until(r, "BALLOON_CHANGE;");
	g_assert_cmpstr(r->log->str, ==, "BALLOON_CHANGE;");
	g_assert_cmpuint(r->w.machine->memory.current, ==, 8 * MIB);
	rig_free(r);
}

/* A guest that can give no more is left at what it has. */
static void test_given_up(void)
{
	struct rig *r = balloon(true);

	g_assert_cmpint(set_within(r, 2 * MIB, SLOW, NULL), ==, RUN_LATER);
	give(r, MIB);
	pass(SLOW * 2 / 3);
	g_assert_cmpint(memory_ask(&r->w, r->dev, MIB, NULL), ==, false);      /* busy */
	give(r, 2 * MIB);       /* progress: more time */
	pass(SLOW * 2 / 3);
	g_assert_null(strstr(r->log->str, "COMMAND_DONE"));
	give(r, 2 * MIB + 4096);        /* not worth the name */
	until(r, "COMMAND_DONE;the guest has 6140 KiB and was to have 2048 KiB");
	g_assert_cmpuint(target(r), ==, 6 * MIB - 4096);
	g_assert_true(memory_ask(&r->w, r->dev, 7 * MIB, NULL));
	rig_free(r);
}

/* Who does not run does not answer: that time does not count. */
static void test_paused(void)
{
	struct rig *r = balloon(true);

	g_assert_cmpint(set(r, 4 * MIB, NULL), ==, RUN_LATER);
	r->w.vm.state = VM_PAUSED;
	pass(QUICK * 3);
	g_assert_cmpstr(r->log->str, ==, "COMMAND_BEGUN;");
	r->w.vm.state = VM_RUNNING;
	until(r, "COMMAND_DONE;the guest has 8192 KiB");
	rig_free(r);
}

static void test_refused(void)
{
	struct rig *r = balloon(false);
	GError *err = NULL;

	g_assert_cmpint(set(r, 4 * MIB, &err), ==, RUN_FAILED);
	g_assert_error(err, kerr_quark(), KERR_GUEST);
	g_clear_error(&err);
	r->w.vm.state = VM_PAUSED;
	g_assert_cmpint(set(r, 4 * MIB, &err), ==, RUN_FAILED);
	g_assert_error(err, kerr_quark(), KERR_STATE);
	g_clear_error(&err);
	g_assert_false(memory_ask(&r->w, r->dev, 0, &err));
	g_assert_error(err, kerr_quark(), KERR_ARGS);
	g_clear_error(&err);
	g_assert_cmpuint(target(r), ==, 8 * MIB);
	g_assert_cmpstr(r->log->str, ==, "");
	rig_free(r);
}

static void plug(struct rig *r, uint64_t addr, uint16_t n, uint16_t type)
{
	struct { uint16_t type, pad[3]; uint64_t addr; uint16_t n, pad2[3]; } q = { .type = type, .addr = addr, .n = n };
	struct vseg s[] = { { 0x70000, sizeof(q) }, { 0x71000, 10 } };
	static int token;
	uint32_t len;

	g_assert_true(ram_write(&r->f->vm.ram, 0x70000, &q, sizeof(q)));
	g_assert_true(vring_add(&r->d.rings[0], s, 1, 1, &token));
	vdrv_kick(&r->d, 0);
	g_assert_true(vring_take(&r->d.rings[0], &len) == &token);
	fake_step(r->f);
}

static void test_blocks(void)
{
	struct rig *r = rig_new("virtio-mem", "{'model':'virtio-mem','alias':'virtiomem0','target':{'size':16777216,'block':1048576}}", 2, true);
	const struct memdev_target *t = &((const struct memdev *)r->dev->config)->target;

	g_assert_true(memory_device(&r->w, "virtiomem0") == r->dev);
	g_assert_null(memory_device(&r->w, "virtiomem1"));
	g_assert_cmpint(set_within(r, 4 * MIB, SLOW, NULL), ==, RUN_LATER);
	g_assert_cmpuint(t->requested, ==, 4 * MIB);
	plug(r, RAM_HOLE_END, 4, 0);
	g_assert_cmpstr(r->log->str, ==, "COMMAND_BEGUN;MEMORY_DEVICE_SIZE_CHANGE;COMMAND_DONE;answered;");
	g_assert_cmpuint(t->current, ==, 4 * MIB);
	g_assert_cmpuint(memory_plugged(&r->w), ==, 4 * MIB);
	g_assert_cmpuint(r->w.machine->memory.current, ==, 12 * MIB);
	/* it keeps half of what it was to give: that is what is asked for from now on */
	g_assert_cmpint(set_within(r, 0, SLOW, NULL), ==, RUN_LATER);
	plug(r, RAM_HOLE_END, 2, 1);
	until(r, "COMMAND_DONE;virtiomem0: the guest has 2048 KiB and was to have 0 KiB");
	g_assert_cmpuint(t->requested, ==, 2 * MIB);
	rig_free(r);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/memory/reached", test_reached);
	g_test_add_func("/memory/given-up", test_given_up);
	g_test_add_func("/memory/paused", test_paused);
	g_test_add_func("/memory/refused", test_refused);
	g_test_add_func("/memory/blocks", test_blocks);
	return g_test_run();
}
