/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Taps: one descriptor per pair of queues, with a virtio-net header of 12 bytes. Those that kvmd makes are not persistent:
 * they vanish with the last descriptor, which is the worker's.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "daemon/net.h"
#include "domain/error.h"

#define HEADER 12       /* struct virtio_net_hdr_v1 */
#define NAMES 10        /* tries for a free name */

bool net_tap_is_auto(const char *name)
{
	if (strncmp(name, "vnet", 4) || !name[4])
		return false;
	return strspn(name + 4, "0123456789") == strlen(name + 4);
}

static bool refuse(const struct net_tap *t, const char *name, int error, GError **err)
{
	switch (error) {
	case EPERM:
	case EACCES:
		return kerr_set(err, KERR_ACCESS, "kvmd may not use tap '%s' (it needs root or CAP_NET_ADMIN): run kvmd as root, or write <interface type='user'>", name);
	case EBUSY:
		return t->existing ? kerr_set(err, KERR_BUSY, "tap '%s' is in use by another process", name) :
			kerr_set(err, KERR_EXISTS, "interface '%s' is there already: write <target dev='%s' managed='no'/> to use it, or another name", name, name);
	case EINVAL:
		return kerr_set(err, KERR_ARGS, "'%s' cannot be used as a tap with %u pair(s) of queues: it is another kind of interface, or was made %s multi_queue",
			name, t->queues, t->queues > 1 ? "without" : "with");
	default:
		return kerr_errno(err, error, "tap '%s'", name);
	}
}

/* -1 and *error. */
static int open_queue(const char *name, int flags, char made[IFNAMSIZ], int *error)
{
	struct ifreq ifr = { .ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | flags) };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);

	*error = errno;
	if (fd < 0)
		return -1;
	g_strlcpy(ifr.ifr_name, name, IFNAMSIZ);
	if (ioctl(fd, TUNSETIFF, &ifr) < 0) {
		*error = errno;
		close(fd);
		return -1;
	}
	g_strlcpy(made, ifr.ifr_name, IFNAMSIZ);
	return fd;
}

static bool set_up(int fd, uint32_t sndbuf, const char *name, GError **err)
{
	int header = HEADER, bytes = (int)MIN(sndbuf, INT32_MAX);

	if (ioctl(fd, TUNSETVNETHDRSZ, &header) < 0)
		return kerr_errno(err, errno, "tap '%s': size of the header", name);
	if (sndbuf && ioctl(fd, TUNSETSNDBUF, &bytes) < 0)
		return kerr_errno(err, errno, "tap '%s': send buffer", name);
	return true;
}

bool net_tap_open(const struct net_tap *t, int *fds, char made[IFNAMSIZ], GError **err)
{
	const char *name = t->name ? t->name : NET_TAP_AUTO;
	int flags = t->queues > 1 ? IFF_MULTI_QUEUE : 0, error = 0;
	unsigned n = 0;

	if (access("/dev/net/tun", F_OK) < 0)
		return kerr_set(err, KERR_HOST, "this host has no /dev/net/tun: load the module (modprobe tun), or write <interface type='user'>");
	if (t->existing && !if_nametoindex(name))
		return kerr_set(err, KERR_NO_DEVICE, "there is no tap '%s' on this host: make it (ip tuntap add %s mode tap), or leave out managed='no'", name, name);
	/* "vnet%d" is made into a free name by the kernel; two who ask at once may get the same */
	for (int i = 0; i < NAMES && !n; i++) {
		fds[0] = open_queue(name, flags | (t->existing ? 0 : IFF_TUN_EXCL), made, &error);
		if (fds[0] >= 0)
			n = 1;
		else if (t->name || error != EBUSY)
			break;
	}
	/* a persistent tap may have been made for several queues though one is enough */
	if (!n && t->existing && error == EINVAL && t->queues == 1 && (fds[0] = open_queue(name, IFF_MULTI_QUEUE, made, &error)) >= 0) {
		flags = IFF_MULTI_QUEUE;
		n = 1;
	}
	for (; n && n < t->queues; n++) {
		fds[n] = open_queue(made, flags, made, &error);
		if (fds[n] < 0)
			break;
	}
	if (n == t->queues && set_up(fds[0], t->sndbuf, made, err))
		return true;
	if (n < t->queues)
		refuse(t, name, error, err);
	while (n)
		close(fds[--n]);
	return false;
}
