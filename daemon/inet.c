/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sockets of the network: each of a host's addresses is tried until one will do. */
#include "daemon/inet.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "domain/error.h"

/* A peer that is not heard of for two minutes has gone. */
#define ALIVE_IDLE_S 60
#define ALIVE_EVERY_S 10
#define ALIVE_TIMES 6
/* Bytes that may wait for a guest: it gets them all before the next client is served, and a serial port is slow. */
#define WAITING 16384

static const char *named(const char *host)
{
	return host ? host : "the loopback";
}

static struct addrinfo *resolve(const char *host, const char *service, int type, int family, int flags, GError **err)
{
	struct addrinfo hints = { .ai_family = family, .ai_socktype = type, .ai_flags = flags }, *found = NULL;
	int rc = getaddrinfo(host, service, &hints, &found);

	if (!rc)
		return found;
	kerr_set(err, rc == EAI_AGAIN ? KERR_CONNECT : KERR_ARGS, "host '%s', port '%s': %s", named(host), service, rc == EAI_SYSTEM ? g_strerror(errno) : gai_strerror(rc));
	return NULL;
}

static int make(const struct addrinfo *a, GError **err)
{
	int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol);
	static const struct { int level, name, value; } options[] = { { SOL_SOCKET, SO_REUSEADDR, 1 }, { SOL_SOCKET, SO_KEEPALIVE, 1 },
		{ SOL_SOCKET, SO_RCVBUF, WAITING }, { IPPROTO_TCP, TCP_KEEPIDLE, ALIVE_IDLE_S },
		{ IPPROTO_TCP, TCP_KEEPINTVL, ALIVE_EVERY_S }, { IPPROTO_TCP, TCP_KEEPCNT, ALIVE_TIMES }, { IPPROTO_TCP, TCP_NODELAY, 1 } };

	if (fd < 0) {
		kerr_errno(err, errno, "socket");
		return -1;
	}
	/* what a listening socket has, the accepted ones have too; one that can't be had is none to fail for */
	for (size_t i = 0; a->ai_socktype == SOCK_STREAM && i < G_N_ELEMENTS(options); i++)
		(void)setsockopt(fd, options[i].level, options[i].name, &options[i].value, sizeof options[i].value);
	return fd;
}

static bool bind_to(int fd, const struct addrinfo *a, const char *host, const char *service, GError **err)
{
	if (!bind(fd, a->ai_addr, a->ai_addrlen))
		return true;
	if (errno == EADDRINUSE)
		return kerr_set(err, KERR_BUSY, "port %s of %s is in use by another process", service, named(host));
	if (errno == EADDRNOTAVAIL)
		return kerr_set(err, KERR_ARGS, "'%s' is no address of this host", named(host));
	if (errno == EACCES)
		return kerr_set(err, KERR_ACCESS, "no permission for port %s of %s", service, named(host));
	return kerr_errno(err, errno, "port %s of %s", service, named(host));
}

int inet_listen(const char *host, const char *service, int backlog, GError **err)
{
	struct addrinfo *all = resolve(host, service, SOCK_STREAM, AF_UNSPEC, AI_PASSIVE * !!host, err);
	g_autoptr(GError) last = NULL;
	int fd = -1;

	if (!all)
		return -1;
	for (const struct addrinfo *a = all; a && fd < 0; a = a->ai_next) {
		g_clear_error(&last);
		fd = make(a, &last);
		if (fd < 0)
			continue;
		if (bind_to(fd, a, host, service, &last) && (!listen(fd, backlog) || kerr_errno(&last, errno, "listen on port %s of %s", service, named(host))))
			break;
		close(fd);
		fd = -1;
	}
	freeaddrinfo(all);
	if (fd < 0)
		g_propagate_error(err, g_steal_pointer(&last));
	return fd;
}

/* until: monotonic, µs */
static bool reach(int fd, const struct addrinfo *a, gint64 until, const char *host, const char *service, GError **err)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	int error = 0, rc;
	socklen_t len = sizeof error;

	if (!connect(fd, a->ai_addr, a->ai_addrlen))
		return true;
	if (errno != EINPROGRESS && errno != EINTR)
		return kerr_set(err, KERR_CONNECT, "connect to port %s of %s: %s", service, named(host), g_strerror(errno));
	do
		rc = poll(&p, 1, (int)MAX(0, (until - g_get_monotonic_time()) / 1000));
	while (rc < 0 && errno == EINTR);
	if (!rc)
		error = ETIMEDOUT;
	else if (rc < 0 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		error = errno;
	return !error || kerr_set(err, KERR_CONNECT, "connect to port %s of %s: %s", service, named(host), g_strerror(error));
}

int inet_connect(const char *host, const char *service, GError **err)
{
	struct addrinfo *all = resolve(host, service, SOCK_STREAM, AF_UNSPEC, 0, err);
	gint64 until = g_get_monotonic_time() + INET_CONNECT_S * G_USEC_PER_SEC;
	g_autoptr(GError) last = NULL;
	int fd = -1;

	if (!all)
		return -1;
	for (const struct addrinfo *a = all; a && fd < 0; a = a->ai_next) {
		g_clear_error(&last);
		fd = make(a, &last);
		if (fd < 0 || reach(fd, a, until, host, service, &last))
			continue;
		close(fd);
		fd = -1;
	}
	freeaddrinfo(all);
	if (fd < 0)
		g_propagate_error(err, g_steal_pointer(&last));
	return fd;
}

/* Its own address, of the peer's family. */
static bool bind_own(int fd, int family, const char *host, const char *service, GError **err)
{
	struct addrinfo *own;
	bool ok;

	if (!host && !service)
		return true;
	own = resolve(host, service ? service : "0", SOCK_DGRAM, family, AI_PASSIVE * !!host, err);
	ok = own && bind_to(fd, own, host, service ? service : "0", err);
	if (own)
		freeaddrinfo(own);
	return ok;
}

int inet_udp(const char *host, const char *service, const char *own_host, const char *own_service, GError **err)
{
	struct addrinfo *all = resolve(host, service, SOCK_DGRAM, AF_UNSPEC, 0, err);
	g_autoptr(GError) last = NULL;
	int fd = -1;

	if (!all)
		return -1;
	for (const struct addrinfo *a = all; a && fd < 0; a = a->ai_next) {
		g_clear_error(&last);
		fd = make(a, &last);
		if (fd < 0)
			continue;
		if (bind_own(fd, a->ai_family, own_host, own_service, &last) && (!connect(fd, a->ai_addr, a->ai_addrlen) ||
			kerr_set(&last, KERR_CONNECT, "send to port %s of %s: %s", service, named(host), g_strerror(errno))))
			break;
		close(fd);
		fd = -1;
	}
	freeaddrinfo(all);
	if (fd < 0)
		g_propagate_error(err, g_steal_pointer(&last));
	return fd;
}

char *inet_port(int fd)
{
	struct sockaddr_storage sa = { 0 };
	socklen_t len = sizeof sa;
	char service[NI_MAXSERV];

	if (getsockname(fd, (struct sockaddr *)&sa, &len) < 0 || getnameinfo((struct sockaddr *)&sa, len, NULL, 0, service, sizeof service, NI_NUMERICSERV))
		return g_strdup("0");
	return g_strdup(service);
}
