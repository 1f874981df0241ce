/* SPDX-License-Identifier: GPL-2.0-or-later */
/* host: what virtualisation this host has, and what to do about each problem. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "daemon/cgroup.h"
#include "daemon/commands.h"
#include "daemon/kvmd.h"
#include "daemon/probe.h"
#include "domain/commands_kvmd.h"
#include "domain/cpu_models.h"
#include "domain/json.h"

static void check(struct tell_host *t, const char *name, enum check_result result, const char *found, const char *cure)
{
	struct tell_check *c = g_new0(struct tell_check, 1);

	*c = (struct tell_check){ .name = g_strdup(name), .result = (int)result, .found = g_strdup(found), .cure = g_strdup(cure) };
	g_ptr_array_add(t->checks, c);
}

/* The value of the first "key : value" line of /proc/cpuinfo. New, or NULL. */
static char *cpuinfo(const char *text, const char *key)
{
	g_autofree char *begin = g_strconcat("\n", key, NULL);
	const char *at = g_str_has_prefix(text, key) ? text : strstr(text, begin);
	const char *colon = at ? strchr(at, ':') : NULL, *end = colon ? strchr(colon, '\n') : NULL;

	return end ? g_strstrip(g_strndup(colon + 1, (gsize)(end - colon - 1))) : NULL;
}

static uint64_t meminfo(const char *key)
{
	g_autofree char *text = NULL;
	char *at;

	if (!g_file_get_contents("/proc/meminfo", &text, NULL, NULL) || !(at = strstr(text, key)))
		return 0;
	return strtoull(at + strlen(key), NULL, 10) << 10;
}

static void look_at_cpu(struct tell_host *t)
{
	g_autofree char *text = NULL, *flags = NULL;

	if (!g_file_get_contents("/proc/cpuinfo", &text, NULL, NULL))
		text = g_strdup("");
	t->cpu_model = cpuinfo(text, "model name");
	flags = cpuinfo(text, "flags");
	g_auto(GStrv) list = g_strsplit(flags ? flags : "", " ", -1);

	t->virtualisation = g_strdup(g_strv_contains((const char *const *)list, "vmx") ? "vmx" :
		g_strv_contains((const char *const *)list, "svm") ? "svm" : "none");
	if (strcmp(t->virtualisation, "none"))
		check(t, "processor", CHECK_OK, t->virtualisation, NULL);
	else
		check(t, "processor", CHECK_WARNING, "neither vmx nor svm in /proc/cpuinfo",
			"on a machine of your own: switch virtualisation on in the firmware; in a virtual machine: ask for nested virtualisation. "
			"Guests run also without, when /dev/kvm is there, but their kernel code is emulated");
}

static void look_at_kvm(struct tell_host *t, const char *device)
{
	g_autoptr(GError) err = NULL;
	int fd = probe_open_kvm(device, &err);

	if (fd >= 0) {
		close(fd);
		t->kvm = g_strdup("ok");
		check(t, device, CHECK_OK, "can be opened", NULL);
		return;
	}
	/* "problem: cure" */
	char *colon = strchr(err->message, ':');

	t->kvm = g_strdup(err->message);
	if (colon)
		*colon = '\0';
	check(t, device, CHECK_FAILED, err->message, colon ? colon + 2 : NULL);
}

static void look_at_modules(struct tell_host *t)
{
	g_autofree char *text = NULL;

	if (!g_file_get_contents("/proc/modules", &text, NULL, NULL))
		return;
	for (const char *const *m = (const char *const []){ "kvm_intel", "kvm_amd", "kvm_pvm", NULL }; *m; m++) {
		g_autofree char *line = g_strconcat("\n", *m, " ", NULL);

		if (strstr(text, line) || g_str_has_prefix(text, line + 1))
			check(t, "module", CHECK_OK, *m, NULL);
	}
}

static void look_at_class(struct tell_host *t, json_object *caps, const GError *err)
{
	json_object *v;
	const char *class = caps && json_object_object_get_ex(caps, "class", &v) ? json_object_get_string(v) : "unknown";

	t->guest_kernel_code = g_strdup(class);
	if (err)
		check(t, "test of KVM", CHECK_FAILED, err->message, "see the other lines; `kvmd-vm --probe 3<>/dev/kvm` repeats the test");
	else if (!strcmp(class, "emulated"))
		check(t, "guest kernel code", CHECK_WARNING, "KVM emulates it: boots take longer, kernel-heavy work is slow",
			"run kvmd on a host with VMX or SVM where speed matters");
	else
		check(t, "guest kernel code", !strcmp(class, "native") ? CHECK_OK : CHECK_WARNING, class, NULL);
}

static void look_at_memory(struct tell_host *t)
{
	t->memory = meminfo("MemTotal:");
	t->memory_available = meminfo("MemAvailable:");
	if (t->memory_available < t->memory / 20) {
		g_autofree char *found = g_strdup_printf("%" G_GUINT64_FORMAT " MiB left", t->memory_available >> 20);

		check(t, "memory", CHECK_WARNING, found, "end some machines, or add memory or swap");
	}
}

static json_object *cpu_models(void)
{
	json_object *list = json_object_new_array();

	for (unsigned i = 0; i < cpu_model_rows_n; i++)
		json_object_array_add(list, json_object_new_string(cpu_model_rows[i].name));
	return list;
}

static void probed(void *arg, const char *text, const GError *err)
{
	struct request *r = arg;
	struct kvmd *k = r->kvmd;
	struct tell_host *t = schema_new(&tell_host_schema);
	json_object *caps = text ? json_tokener_parse(text) : NULL, *reply;
	struct utsname u;

	t->checks = g_ptr_array_new();
	if (!uname(&u)) {
		t->hostname = g_strdup(u.nodename);
		t->kernel = g_strdup(u.release);
	}
	t->cpus = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN);
	look_at_cpu(t);
	look_at_modules(t);
	look_at_kvm(t, probe_device(k->probe));
	look_at_class(t, caps, err);
	look_at_memory(t);
	check(t, "machines' groups", strcmp(cgroups_describe(k->cgroups), "none") ? CHECK_OK : CHECK_WARNING, cgroups_describe(k->cgroups), NULL);
	check(t, "machines' users", k->privileged ? CHECK_OK : CHECK_WARNING, k->privileged ? "each machine has its own" : "all are yours",
		k->privileged ? NULL : "run kvmd as root to give each machine a user of its own");
	check(t, "huge pages", k->ram_fs >= 0 ? CHECK_OK : CHECK_WARNING, k->ram_fs >= 0 ? "guest memory may use them" : "as the host's shmem_enabled has it", NULL);
	reply = json_from_struct(&tell_host_schema, t, JSON_ALL);
	json_object_object_add(reply, "cpu_models", cpu_models());
	if (caps)
		json_object_object_add(reply, "capabilities", caps);
	request_reply_json(r, reply, NULL, 0);
	schema_free(&tell_host_schema, t);
}

void cmd_host(struct request *r)
{
	probe_ask(r->kvmd->probe, true, probed, r);
}
