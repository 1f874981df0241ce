/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The host's side of network cards: passt's arguments; taps, bridges, addresses and passt itself where root may make them. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/net.h"
#include "domain/json.h"

static struct iface *iface(const char *json)
{
	json_object *o = json_tokener_parse(json);
	struct iface *i = schema_new(&iface_schema);
	GError *err = NULL;

	g_assert_nonnull(o);
	json_to_struct(&iface_schema, i, o, &err);
	g_assert_no_error(err);
	json_object_put(o);
	return i;
}

static void args_are(const char *json, const char *want)
{
	struct iface *i = iface(json);
	g_auto(GStrv) argv = net_passt_args(&(struct net_passt){ .iface = i, .pid_file = "/p" }, "passt");
	g_autofree char *line = g_strjoinv(" ", argv), *all = g_strconcat("passt --fd 3 --quiet --stderr --pid /p", want, NULL);

	g_assert_cmpstr(line, ==, all);
	schema_free(&iface_schema, i);
}

static void test_args(void)
{
	args_are("{'type':'user'}", "");
	args_are("{'type':'user','mtu':65520,'source':{'dev':'eth1'}}", " --interface eth1 --mtu 65520");
	args_are("{'type':'user','backend_log':{'path':'/var/log/p'}}", " --log-file /var/log/p");
	args_are("{'type':'user','ips':[{'address':'192.0.2.9','family':'ipv4','prefix':24},{'address':'2001:db8::9','prefix':64}]}",
		" --address 192.0.2.9 --netmask 24 --address 2001:db8::9");
	args_are("{'type':'user','forwards':[{'proto':'tcp'},{'proto':'udp','address':'192.0.2.1','dev':'eth0',"
		"'ranges':[{'start':53,'to':5353},{'start':80,'end':90,'to':8080},{'start':85,'exclude':'yes'}]},"
		"{'proto':'tcp','dev':'lo','ranges':[{'start':22}]}]}",
		" --tcp-ports all --udp-ports 192.0.2.1%eth0/53:5353,80-90:8080-8090,~85 --tcp-ports %lo/22");
}

static void test_names(void)
{
	g_assert_true(net_tap_is_auto("vnet0") && net_tap_is_auto("vnet123"));
	g_assert_false(net_tap_is_auto("vnet") || net_tap_is_auto("vnet1a") || net_tap_is_auto("tap0") || net_tap_is_auto("vnet%d"));
}

static bool may(void)
{
	if (geteuid() || unshare(CLONE_NEWNET) || access("/dev/net/tun", F_OK)) {
		g_test_skip("needs root, a network namespace and /dev/net/tun");
		return false;
	}
	return true;
}

static short flags_of(const char *name)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq ifr = { 0 };

	g_strlcpy(ifr.ifr_name, name, IFNAMSIZ);
	g_assert_cmpint(ioctl(fd, SIOCGIFFLAGS, &ifr), ==, 0);
	close(fd);
	return ifr.ifr_flags;
}

static void test_tap(void)
{
	struct net_tap tap = { .queues = 1 }, four = { .queues = 4, .name = "mine" }, there = { .queues = 1, .existing = true, .name = "mine" };
	char name[IFNAMSIZ], other[IFNAMSIZ];
	g_autoptr(GError) err = NULL;
	int a, b, fds[4], more[4], header = 0;

	if (!may())
		return;
	g_assert_true(net_tap_open(&tap, &a, name, &err));
	g_assert_true(net_tap_open(&tap, &b, other, &err));
	g_assert_true(net_tap_is_auto(name) && net_tap_is_auto(other) && strcmp(name, other));
	g_assert_cmpint(ioctl(a, TUNGETVNETHDRSZ, &header), ==, 0);
	g_assert_cmpint(header, ==, 12);
	g_assert_true(net_link_set(&(struct net_link){ .name = name, .mtu = 9000, .mac = (const uint8_t *)"\xfe\x54\0\1\2\3", .up = true }, &err));
	g_assert_cmpuint(net_link_mtu(name), ==, 9000);
	g_assert_true(flags_of(name) & IFF_UP);
	close(b);
	g_assert_cmpuint(if_nametoindex(other), ==, 0);
	/* several queues; the same name again; as one that is there */
	g_assert_true(net_tap_open(&four, fds, name, &err));
	g_assert_cmpstr(name, ==, "mine");
	g_assert_false(net_tap_open(&four, more, other, &err));
	g_assert_error(err, kerr_quark(), KERR_EXISTS);
	g_clear_error(&err);
	g_assert_true(net_tap_open(&there, &b, other, &err));
	close(b);
	for (int i = 0; i < 4; i++)
		close(fds[i]);
	g_assert_false(net_tap_open(&there, &b, other, &err));
	g_assert_error(err, kerr_quark(), KERR_NO_DEVICE);
	g_clear_error(&err);
	g_assert_false(net_tap_open(&(struct net_tap){ .queues = 1, .name = "lo" }, &b, other, &err));
	g_assert_nonnull(err);
	close(a);
}

static void test_link(void)
{
	struct iface_ip ip = { .address = (char *)"192.0.2.1", .prefix = 24 }, bad = { .address = (char *)"300.1.1.1" }, v6 = { .address = (char *)"2001:db8::1" };
	struct iface_route route = { .address = (char *)"198.51.100.0", .netmask = (char *)"255.255.255.0", .gateway = (char *)"192.0.2.7" },
		nowhere = { .address = (char *)"0.0.0.0", .gateway = (char *)"203.0.113.1" };
	g_autoptr(GError) err = NULL;
	char name[IFNAMSIZ];
	int fd;

	if (!may())
		return;
	g_assert_true(net_tap_open(&(struct net_tap){ .queues = 1 }, &fd, name, &err));
	g_assert_true(net_link_set(&(struct net_link){ .name = name, .up = true }, &err));
	g_assert_true(net_link_add_address(name, &ip, &err));
	g_assert_true(net_link_add_address(name, &ip, &err));   /* twice is once */
	g_assert_true(net_link_add_address(name, &v6, &err));
	g_assert_no_error(err);
	g_assert_true(net_link_add_route(name, &route, &err));
	g_assert_no_error(err);
	g_assert_false(net_link_add_route(name, &nowhere, &err));
	g_clear_error(&err);
	g_assert_false(net_link_add_address(name, &bad, &err));
	g_assert_error(err, kerr_quark(), KERR_ARGS);
	g_clear_error(&err);
	g_assert_false(net_link_set(&(struct net_link){ .name = name, .bridge = "nobr", .up = true }, &err));
	g_assert_error(err, kerr_quark(), KERR_NO_DEVICE);
	g_clear_error(&err);
	g_assert_false(net_link_set(&(struct net_link){ .name = name, .bridge = "lo", .up = true }, &err));
	g_assert_nonnull(err);
	g_clear_error(&err);
	g_assert_false(net_link_set(&(struct net_link){ .name = "nosuch", .up = true }, &err));
	g_assert_error(err, kerr_quark(), KERR_NO_DEVICE);
	g_assert_cmpuint(net_link_mtu("nosuch"), ==, 0);
	close(fd);
}

/* --- passt: one that plays its part, so that each end of a start is seen --- */

static char *script(const char *dir, const char *text)
{
	char *path = g_build_filename(dir, "passt", NULL);

	g_assert_true(g_file_set_contents(path, text, -1, NULL));
	g_assert_cmpint(chmod(path, 0755), ==, 0);
	return path;
}

static bool try(const char *dir, const char *text, int *sock, GError **err)
{
	g_autofree char *program = script(dir, text), *file = net_passt_file(dir, "net0");
	struct iface *i = iface("{'type':'user'}");
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	bool ok = net_passt_start(&(struct net_passt){ .iface = i, .program = program, .pid_file = file, .null_fd = null }, sock, err);

	close(null);
	schema_free(&iface_schema, i);
	return ok;
}

/* May we give sockets more room than the host lets anybody have? */
static bool may_force(void)
{
	int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), bytes = 1 << 22;
	bool may = !setsockopt(sock, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes);

	close(sock);
	return may;
}

static void test_passt(void)
{
	g_autofree char *dir = g_dir_make_tmp("test-net-XXXXXX", NULL), *clean = g_strdup_printf("rm -r '%s'", dir);
	g_autoptr(GError) err = NULL;
	char word[6] = "";
	int sock = -1;

	g_assert_false(try(dir, "#!/bin/sh\necho 'Failed to send 3 bytes to syslog' >&2\nprintf 'no \\033route\\nat all' >&2\nexit 1\n", &sock, &err));
	g_assert_error(err, kerr_quark(), KERR_HOST);
	g_assert_cmpstr(err->message, ==, "passt failed: no  route; at all");
	g_clear_error(&err);
	g_assert_false(try(dir, "#!/bin/sh\nkill -9 $$\n", &sock, &err));
	g_assert_cmpstr(err->message, ==, "passt failed: it said nothing");
	g_clear_error(&err);
	g_assert_false(try(dir, "#!/bin/sh\necho 'PID file open: Permission denied' >&2\nexit 1\n", &sock, &err));
	g_assert_cmpint(!!strstr(err->message, "chmod o+x"), ==, !geteuid());   /* only root's passt becomes another */
	g_clear_error(&err);
	g_assert_cmpint(sock, ==, -1);
	/* one that goes to the background, with its end of the socket */
	g_assert_true(try(dir, "#!/bin/sh\n(printf hello >&3) &\nexit 0\n", &sock, &err));
	g_assert_cmpint(recv(sock, word, 5, MSG_WAITALL), ==, 5);
	g_assert_cmpstr(word, ==, "hello");
	g_assert_cmpint(recv(sock, word, 5, 0), ==, 0);
	close(sock);
	/* one that sends a guest's whole window before anybody reads: it need not wait (nor drop what it can't wait for) */
	if (may_force()) {
		(void)try(dir, "#!/bin/sh\nexec head -c 3000000 /dev/zero >&3\n", &sock, &err);
		g_assert_no_error(err);
		close(sock);
	}
	net_clean(dir, NULL);
	g_autofree char *file = net_passt_file(dir, "net0");

	g_assert_cmpint(access(file, F_OK), <, 0);
	g_assert_cmpint(system(clean), ==, 0);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/net/passt-args", test_args);
	g_test_add_func("/net/names", test_names);
	g_test_add_func("/net/passt", test_passt);
	g_test_add_func("/net/tap", test_tap);
	g_test_add_func("/net/link", test_link);
	return g_test_run();
}
