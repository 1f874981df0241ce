/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The other end of a tap, by a raw socket: nethost INTERFACE blast BYTES sends frames for ever, INTERFACE reflect sends back what
 * comes. Only frames of the type for local experiments. Ends with its parent, or by a signal. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define TYPE 0x88b5
#define BATCH 64
#define FRAME_MAX 2048

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void blast(int fd, unsigned bytes)
{
	static unsigned char frame[FRAME_MAX] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 2, TYPE >> 8, TYPE & 0xff };
	struct iovec iov = { frame, bytes };
	struct mmsghdr m[BATCH];

	memset(m, 0, sizeof(m));
	for (int i = 0; i < BATCH; i++)
		m[i].msg_hdr = (struct msghdr){ .msg_iov = &iov, .msg_iovlen = 1 };
	for (;;)
		if (sendmmsg(fd, m, BATCH, 0) < 0 && errno != ENOBUFS && errno != EINTR && errno != EAGAIN)
			fail("send");
}

static void reflect(int fd)
{
	unsigned char frame[FRAME_MAX];

	for (;;) {
		struct sockaddr_ll from;
		socklen_t len = sizeof(from);
		ssize_t n = recvfrom(fd, frame, sizeof(frame), 0, (struct sockaddr *)&from, &len);

		if (n < 0 && errno != EINTR)
			fail("receive");
		if (n > 0 && from.sll_pkttype != PACKET_OUTGOING && send(fd, frame, (size_t)n, 0) < 0 && errno != ENOBUFS)
			fail("send");
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_ll at = { .sll_family = AF_PACKET, .sll_protocol = htons(TYPE) };
	bool back = argc == 3 && !strcmp(argv[2], "reflect");
	unsigned bytes = argc == 4 ? (unsigned)atoi(argv[3]) : 60;
	int one = 1, fd;

	if (!back && (argc != 4 || strcmp(argv[2], "blast") || bytes < 14 || bytes > FRAME_MAX)) {
		fprintf(stderr, "usage: nethost INTERFACE blast BYTES | INTERFACE reflect\n");
		return 2;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, back ? htons(TYPE) : 0);
	if (fd < 0)
		fail("socket");
	if (!back)
		at.sll_protocol = 0;
	at.sll_ifindex = (int)if_nametoindex(argv[1]);
	if (!at.sll_ifindex || bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0)
		fail(argv[1]);
	(void)setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof(one));
	if (back)
		reflect(fd);
	blast(fd, bytes);
	return 0;
}
