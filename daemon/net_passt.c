/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * passt, the user-mode network: a process of its own that fences itself (own user, namespaces, seccomp) and speaks
 * length-prefixed frames over a socket that it is given. It goes to the background when it is ready, which is how a start
 * that failed is told from one that worked; it ends when the socket closes.
 *
 * What we can't mend: passt of March 2023 (Debian 12's) resets a connection that the guest made when the other side says
 * nothing for some 20 s from its start on, however much the guest sends. It was mended there soon after.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/net.h"
#include "daemon/spawn.h"
#include "domain/error.h"

#define READY_MS 10000
#define WINDOW (4 << 20)        /* bytes that may be on their way to the guest */
#define WORDS 2000              /* bytes of its messages that are told */

char *net_passt_file(const char *dir, const char *alias)
{
	return g_strdup_printf("%s/passt-%s.pid", dir, alias);
}

static void arg(GPtrArray *a, const char *option, const char *value)
{
	g_ptr_array_add(a, g_strdup(option));
	if (value)
		g_ptr_array_add(a, g_strdup(value));
}

/* "192.0.2.1%eth0/80-90:8080-8090,~85", in passt's own words. */
static char *forward(const struct iface_forward *f)
{
	GString *s = g_string_new(NULL);
	const char *comma = "";

	if (f->address)
		g_string_append(s, f->address);
	if (f->dev)
		g_string_append_printf(s, "%%%s", f->dev);
	if (s->len)
		g_string_append_c(s, '/');
	if (!list_len(f->ranges))
		g_string_append(s, "all");
	list_each(iface_range, r, f->ranges) {
		uint32_t last = r->end ? r->end : r->start;

		g_string_append_printf(s, "%s%s%u", comma, r->exclude == YESNO_YES ? "~" : "", r->start);
		if (last > r->start)
			g_string_append_printf(s, "-%u", last);
		if (r->to) {
			g_string_append_printf(s, ":%u", r->to);
			if (last > r->start)
				g_string_append_printf(s, "-%u", r->to + (last - r->start));
		}
		comma = ",";
	}
	return g_string_free(s, FALSE);
}

char **net_passt_args(const struct net_passt *p, const char *program)
{
	const struct iface *i = p->iface;
	GPtrArray *a = g_ptr_array_new();
	g_autofree char *mtu = i->mtu ? g_strdup_printf("%u", i->mtu) : NULL;

	arg(a, program, NULL);
	arg(a, "--fd", "3");
	arg(a, "--quiet", NULL);
	arg(a, "--stderr", NULL);
	arg(a, "--pid", p->pid_file);
	if (i->backend_log.path)
		arg(a, "--log-file", i->backend_log.path);
	if (i->source.dev)
		arg(a, "--interface", i->source.dev);
	if (mtu)
		arg(a, "--mtu", mtu);
	list_each(iface_ip, ip, i->ips) {
		bool v6 = strchr(ip->address, ':');
		g_autofree char *prefix = ip->prefix ? g_strdup_printf("%u", ip->prefix) : NULL;

		arg(a, "--address", ip->address);
		if (prefix && !v6)
			arg(a, "--netmask", prefix);
	}
	list_each(iface_forward, f, i->forwards) {
		g_autofree char *spec = forward(f);

		arg(a, f->proto == 2 ? "--udp-ports" : "--tcp-ports", spec);
	}
	g_ptr_array_add(a, NULL);
	return (char **)g_ptr_array_free(a, FALSE);
}

/* Its words, on one line. New. */
static char *words(int fd)
{
	static const char *const idle[] = { "Failed to send ", "Don't run as root" };
	GString *all = g_string_new(NULL);
	char text[WORDS + 1];
	ssize_t n = pread(fd, text, WORDS, 0);
	g_auto(GStrv) lines = NULL;

	text[MAX(n, 0)] = '\0';
	for (char *c = text; *c; c++)           /* what another program wrote goes to people's terminals */
		if ((unsigned char)*c < ' ' && *c != '\n')
			*c = ' ';
	lines = g_strsplit(text, "\n", -1);
	for (char **l = lines; *l; l++) {
		bool of_use = *g_strstrip(*l);

		for (size_t i = 0; i < G_N_ELEMENTS(idle); i++)
			of_use = of_use && !g_str_has_prefix(*l, idle[i]);
		if (of_use)
			g_string_append_printf(all, "%s%s", all->len ? "; " : "", *l);
	}
	if (!all->len)
		g_string_append(all, "it said nothing");
	return g_string_free(all, FALSE);
}

/* passt becomes this user before it opens its pid file: so the file is there already, and is root's again afterwards. */
static bool pid_file_make(const char *path, GError **err)
{
	const struct passwd *nobody = geteuid() ? NULL : getpwnam("nobody");
	int fd;
	bool ok;

	(void)unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return kerr_errno(err, errno, "make '%s'", path);
	ok = !nobody || !fchown(fd, nobody->pw_uid, nobody->pw_gid);
	close(fd);
	return ok || kerr_errno(err, errno, "give '%s' to passt", path);
}

/* The process that was started ends when the one in the background is ready. */
static bool wait_ready(const struct net_passt *w, int pidfd, int out, GError **err)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };
	g_autofree char *text = NULL;
	siginfo_t si = { 0 };
	int n;

	do
		n = poll(&p, 1, READY_MS);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		(void)syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
	while (waitid(P_PIDFD, (id_t)pidfd, &si, WEXITED) < 0 && errno == EINTR)
		;
	if (n <= 0)
		return kerr_set(err, KERR_TIMEOUT, "passt was not ready within %d s", READY_MS / 1000);
	if (si.si_code == CLD_EXITED && !si.si_status)
		return true;
	text = words(out);
	if (!geteuid() && strstr(text, "PID file") && strstr(text, g_strerror(EACCES)))
		return kerr_set(err, KERR_HOST, "passt failed: %s: it runs as 'nobody', who must be let through to '%s': chmod o+x what he can't pass of the folders above",
			text, w->pid_file);
	return kerr_set(err, KERR_HOST, "passt failed: %s", text);
}

/* passt learns the guest's address from its frames; until then it would forward connections to nobody. So it is told by a
 * frame of a type that means nothing (0x88b5, local experimental). */
static bool introduce(const struct iface *i, int sock, GError **err)
{
	uint8_t frame[4 + 60] = { 0, 0, 0, 60, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	unsigned b[6];

	if (!i->mac || sscanf(i->mac, "%2x:%2x:%2x:%2x:%2x:%2x", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5]) != 6)
		return true;
	for (int n = 0; n < 6; n++)
		frame[10 + n] = (uint8_t)b[n];
	frame[16] = 0x88;
	frame[17] = 0xb5;
	return send(sock, frame, sizeof frame, MSG_NOSIGNAL | MSG_DONTWAIT) == sizeof frame || kerr_errno(err, errno, "passt");
}

/*
 * passt sends as much as the guest's TCP has a window for. Of what the socket does not take it waits for the rest of one frame
 * and drops the others; of these it hears by doubled acknowledgements, to each of which (Debian 12's) it repeats the lot, for
 * which the socket has no room either. So the socket takes a window, also in small frames, which count double and more.
 * Without the capability it is as large as the host lets anybody have it.
 */
static void make_room(int sock)
{
	const int bytes = WINDOW;

	if (setsockopt(sock, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes) < 0)
		(void)setsockopt(sock, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);    /* less is slower, not wrong */
}

bool net_passt_start(const struct net_passt *p, int *sock, GError **err)
{
	g_autofree char *found = p->program ? g_strdup(p->program) : g_find_program_in_path("passt");
	g_auto(GStrv) argv = NULL;
	int pair[2], out, pidfd;
	pid_t pid;
	bool ok;

	if (!found)
		return kerr_set(err, KERR_HOST, "there is no passt on this host, which is the user-mode network: apt-get install passt");
	argv = net_passt_args(p, found);
	out = memfd_create("passt", MFD_CLOEXEC);
	if (out < 0)
		return kerr_errno(err, errno, "start passt");
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
		kerr_errno(err, errno, "start passt");
		close(out);
		return false;
	}
	make_room(pair[1]);
	ok = pid_file_make(p->pid_file, err) && spawn_process(&(struct spawn){ .argv = argv, .in = p->null_fd, .out = out, .fd3 = pair[1], .cgroup = -1 }, &pid, &pidfd, err);
	close(pair[1]);
	if (ok) {
		ok = wait_ready(p, pidfd, out, err);
		close(pidfd);
		if (ok && !geteuid())
			(void)!chown(p->pid_file, 0, 0);
	}
	close(out);
	ok = ok && introduce(p->iface, pair[0], err);
	if (ok)
		*sock = pair[0];
	else
		close(pair[0]);
	return ok;
}
