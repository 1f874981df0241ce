/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What KVM on this host can do. */
#include "daemon/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <json-c/json.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/kvmd.h"
#include "daemon/log.h"
#include "daemon/spawn.h"
#include "daemon/wire.h"
#include "domain/error.h"

#define ANSWER_MAX (4u << 20)
#define PROBE_SECONDS 30

struct asker {
	void (*fn)(void *, const char *, const GError *);
	void *arg;
};

struct probe {
	struct kvmd *kvmd;
	char *device;
	char *text;                     /* the answer, or */
	GError *err;                    /* why there is none */
	bool busy;
	GQueue askers;
	struct asking *asking;
};

struct asking {                         /* belongs to the thread until done */
	struct probe *probe;            /* main thread only; NULL: no one waits */
	char *device, *program, *text;
	int null_fd;
	GError *err;
};

/* The cure depends on whose the device is: udev gives it to the group kvm, a bare system leaves it to root. */
static void refused(const char *device, GError **err)
{
	struct group *g = NULL;
	struct stat st;

	if (!stat(device, &st) && st.st_gid && (st.st_mode & 0060) == 0060)
		g = getgrgid(st.st_gid);
	if (g)
		kerr_set(err, KERR_ACCESS, "no permission for %s: add the user to the group %s (usermod -aG %s %s) and log in again", device, g->gr_name,
			g->gr_name, g_get_user_name());
	else
		kerr_set(err, KERR_ACCESS, "no permission for %s: only its owner may open it; as root, give it to a group of yours, "
			"chgrp kvm %s && chmod 660 %s, and add the user to that (usermod -aG kvm %s), or run kvmd as root", device, device, device,
			g_get_user_name());
}

int probe_open_kvm(const char *device, GError **err)
{
	int fd = open(device, O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	switch (errno) {
	case ENOENT:
		kerr_set(err, KERR_HOST, "there is no %s: load kvm_intel or kvm_amd (modprobe), or switch virtualisation on in the firmware; "
			"in a virtual machine, its host must allow nesting", device);
		break;
	case EACCES:
	case EPERM:
		refused(device, err);
		break;
	default:
		kerr_errno(err, errno, "open %s", device);
	}
	return -1;
}

static char *read_all(int fd, GError **err)
{
	GString *s = g_string_new(NULL);
	gint64 end = g_get_monotonic_time() + PROBE_SECONDS * G_USEC_PER_SEC;
	char buf[4096];

	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		gint64 left = (end - g_get_monotonic_time()) / 1000;
		ssize_t n;

		if (left <= 0 || poll(&p, 1, (int)left) == 0) {
			kerr_set(err, KERR_TIMEOUT, "the look at KVM did not end within %d s", PROBE_SECONDS);
			break;
		}
		n = read(fd, buf, sizeof buf);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return g_string_free(s, FALSE);
		g_string_append_len(s, buf, n);
		if (s->len > ANSWER_MAX) {
			kerr_set(err, KERR_LIMIT, "the look at KVM answered more than %u bytes", ANSWER_MAX);
			break;
		}
	}
	g_string_free(s, TRUE);
	return NULL;
}

static void run_probe(void *arg)
{
	struct asking *a = arg;
	char *argv[] = { a->program, (char *)"--probe", NULL };
	int out[2], pidfd, kvm = probe_open_kvm(a->device, &a->err);
	g_autofree char *text = NULL;
	json_object *o;
	pid_t pid;
	bool ok;

	if (kvm < 0)
		return;
	if (pipe2(out, O_CLOEXEC) < 0) {
		kerr_errno(&a->err, errno, "pipe");
		close(kvm);
		return;
	}
	ok = spawn_process(&(struct spawn){ .argv = argv, .in = a->null_fd, .out = out[1], .fd3 = kvm, .cgroup = -1 }, &pid, &pidfd, &a->err);
	close(kvm);
	close(out[1]);
	if (ok)
		text = read_all(out[0], &a->err);
	close(out[0]);
	if (!ok)
		return;
	if (!text)
		(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
	close(pidfd);
	if (!text)
		return;
	/* stderr went the same way: the answer is the last line */
	g_strchomp(text);
	char *line = strrchr(text, '\n');

	line = line ? line + 1 : text;
	o = json_tokener_parse(line);
	if (!json_object_is_type(o, json_type_object))
		kerr_set(&a->err, KERR_HOST, "the look at KVM failed: %s", *text ? text : "no answer");
	else if (wire_check(o, &a->err))
		a->text = g_strdup(line);
	json_object_put(o);
}

static void probe_done(void *arg)
{
	struct asking *a = arg;
	struct probe *p = a->probe;
	struct asker *w;

	if (p) {
		p->busy = false;
		p->asking = NULL;
		g_clear_error(&p->err);
		g_free(p->text);
		p->text = g_steal_pointer(&a->text);
		p->err = g_steal_pointer(&a->err);
		if (p->err)
			log_warning("%s", p->err->message);
		while ((w = g_queue_pop_head(&p->askers))) {
			w->fn(w->arg, p->text, p->err);
			g_free(w);
		}
	}
	g_clear_error(&a->err);
	g_free(a->device);
	g_free(a->program);
	g_free(a->text);
	g_free(a);
}

static void probe_start(struct probe *p)
{
	struct asking *a = g_new0(struct asking, 1);

	p->busy = true;
	p->asking = a;
	*a = (struct asking){ .probe = p, .device = g_strdup(p->device), .program = g_strdup(p->kvmd->worker), .null_fd = p->kvmd->null_fd };
	work_run(p->kvmd->work, run_probe, probe_done, a);
}

void probe_ask(struct probe *p, bool again, void (*fn)(void *, const char *, const GError *), void *arg)
{
	struct asker *w;

	if (p->text || (p->err && !again && !p->busy)) {
		fn(arg, p->text, p->err);
		return;
	}
	w = g_new(struct asker, 1);
	*w = (struct asker){ fn, arg };
	g_queue_push_tail(&p->askers, w);
	if (!p->busy)
		probe_start(p);
}

const char *probe_text(const struct probe *p)
{
	return p->text;
}

const char *probe_device(const struct probe *p)
{
	return p->device;
}

struct probe *probe_new(struct kvmd *k, const char *device)
{
	struct probe *p = g_new0(struct probe, 1);

	p->kvmd = k;
	p->device = g_strdup(device);
	g_queue_init(&p->askers);
	return p;
}

void probe_free(struct probe *p)
{
	if (!p)
		return;
	if (p->asking)
		p->asking->probe = NULL;
	g_queue_clear_full(&p->askers, g_free);
	g_clear_error(&p->err);
	g_free(p->text);
	g_free(p->device);
	g_free(p);
}
