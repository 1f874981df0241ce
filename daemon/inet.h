/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sockets of the network by host and service, as getaddrinfo knows them; host NULL: this machine's loopback. All are
 * non-blocking and close-on-exec; TCP's are without delay and find out that a peer has vanished. May block (names,
 * connecting): not on the main loop. -1 and *err on failure.
 */
#pragma once
#include <glib.h>

#define INET_CONNECT_S 5                /* seconds that connecting may take, all addresses of the host together */

int inet_listen(const char *host, const char *service, int backlog, GError **err);
int inet_connect(const char *host, const char *service, GError **err);
/* Sends to host and service only and hears from there only; own_service NULL: any port. */
int inet_udp(const char *host, const char *service, const char *own_host, const char *own_service, GError **err);
/* The port that the socket has. New. */
char *inet_port(int fd);
