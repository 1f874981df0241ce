/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Interfaces of the host by rtnetlink: one request, one answer. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/net.h"
#include "domain/error.h"

#define MESSAGE 1024

struct request {
	union {
		struct nlmsghdr head;
		uint8_t bytes[MESSAGE];
	};
};

static void begin(struct request *r, uint16_t type, uint16_t flags, const void *body, size_t n)
{
	memset(r, 0, sizeof *r);
	r->head.nlmsg_type = type;
	r->head.nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | flags);
	memcpy(NLMSG_DATA(&r->head), body, n);
	r->head.nlmsg_len = (uint32_t)NLMSG_LENGTH(n);
}

static struct rtattr *add(struct request *r, uint16_t type, const void *data, size_t n)
{
	size_t at = NLMSG_ALIGN(r->head.nlmsg_len);
	struct rtattr *a = (struct rtattr *)(void *)(r->bytes + at);

	g_assert(at + RTA_SPACE(n) <= MESSAGE);
	a->rta_type = type;
	a->rta_len = (uint16_t)RTA_LENGTH(n);
	if (n)
		memcpy(RTA_DATA(a), data, n);
	r->head.nlmsg_len = (uint32_t)(at + RTA_SPACE(n));
	return a;
}

static void end_nest(struct request *r, struct rtattr *a)
{
	a->rta_len = (uint16_t)(r->bytes + r->head.nlmsg_len - (uint8_t *)a);
}

/* 0 or an errno. */
static int ask(struct request *r)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	union { struct nlmsghdr head; uint8_t bytes[8192]; } answer;
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), rc = EIO;
	ssize_t n;

	if (fd < 0)
		return errno;
	if (sendto(fd, r, r->head.nlmsg_len, 0, (struct sockaddr *)&kernel, sizeof kernel) < 0) {
		rc = errno;
	} else {
		n = recv(fd, &answer, sizeof answer, 0);
		if (n < 0)
			rc = errno;
		else if ((size_t)n >= NLMSG_LENGTH(sizeof(struct nlmsgerr)) && answer.head.nlmsg_type == NLMSG_ERROR)
			rc = -((const struct nlmsgerr *)NLMSG_DATA(&answer.head))->error;
	}
	close(fd);
	return rc;
}

static bool index_of(const char *name, int *index, GError **err)
{
	*index = (int)if_nametoindex(name);
	return *index || kerr_set(err, KERR_NO_DEVICE, "there is no interface '%s' on this host", name);
}

bool net_link_set(const struct net_link *l, GError **err)
{
	struct ifinfomsg info = { .ifi_family = AF_UNSPEC, .ifi_change = IFF_UP, .ifi_flags = l->up ? IFF_UP : 0 };
	struct request r;
	int bridge = 0, rc;

	if (!index_of(l->name, &info.ifi_index, err))
		return false;
	if (l->bridge && !(bridge = (int)if_nametoindex(l->bridge)))
		return kerr_set(err, KERR_NO_DEVICE, "there is no bridge '%s' on this host: make it (ip link add %s type bridge), or name another",
			l->bridge, l->bridge);
	begin(&r, RTM_NEWLINK, 0, &info, sizeof info);
	if (l->mac)
		add(&r, IFLA_ADDRESS, l->mac, 6);
	if (l->mtu)
		add(&r, IFLA_MTU, &l->mtu, 4);
	if (bridge)
		add(&r, IFLA_MASTER, &bridge, 4);
	rc = ask(&r);
	if (rc && bridge && (rc == EOPNOTSUPP || rc == EINVAL || rc == ELOOP))
		return kerr_set(err, KERR_ARGS, "interface '%s' cannot join '%s': is that a bridge? (%s)", l->name, l->bridge, g_strerror(rc));
	return !rc || kerr_errno(err, rc, "set interface '%s' up%s%s", l->name, l->bridge ? " in bridge " : "", l->bridge ? l->bridge : "");
}

bool net_link_isolate(const char *name, bool on, GError **err)
{
	struct ifinfomsg info = { .ifi_family = AF_BRIDGE };
	struct request r;
	struct rtattr *nest;
	uint8_t value = on;
	int rc;

	if (!index_of(name, &info.ifi_index, err))
		return false;
	begin(&r, RTM_SETLINK, 0, &info, sizeof info);
	nest = add(&r, IFLA_PROTINFO | NLA_F_NESTED, NULL, 0);
	add(&r, IFLA_BRPORT_ISOLATED, &value, 1);
	end_nest(&r, nest);
	rc = ask(&r);
	return !rc || kerr_errno(err, rc, "isolate bridge port '%s'", name);
}

struct ip { int family; uint8_t bytes[16]; size_t len; };

static bool parse(const char *text, struct ip *ip, GError **err)
{
	if (inet_pton(AF_INET, text, ip->bytes) == 1)
		ip->family = AF_INET, ip->len = 4;
	else if (inet_pton(AF_INET6, text, ip->bytes) == 1)
		ip->family = AF_INET6, ip->len = 16;
	else
		return kerr_set(err, KERR_ARGS, "'%s' is no IP address", text);
	return true;
}

/* By class where the prefix is not given. */
static uint8_t prefix_of(const struct ip *ip, uint32_t given)
{
	if (given)
		return (uint8_t)MIN(given, ip->len * 8);
	if (ip->family == AF_INET6)
		return 64;
	return ip->bytes[0] < 128 ? 8 : ip->bytes[0] < 192 ? 16 : 24;
}

bool net_link_add_address(const char *name, const struct iface_ip *i, GError **err)
{
	struct ip ip = { 0 }, peer = { 0 };
	struct ifaddrmsg body = { 0 };
	struct request r;
	int index, rc;

	if (!index_of(name, &index, err) || !parse(i->address, &ip, err) || (i->peer && !parse(i->peer, &peer, err)))
		return false;
	body = (struct ifaddrmsg){ .ifa_family = (uint8_t)ip.family, .ifa_prefixlen = prefix_of(&ip, i->prefix), .ifa_index = (uint32_t)index };
	begin(&r, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, &body, sizeof body);
	add(&r, IFA_LOCAL, ip.bytes, ip.len);
	add(&r, IFA_ADDRESS, i->peer ? peer.bytes : ip.bytes, i->peer ? peer.len : ip.len);
	rc = ask(&r);
	return !rc || kerr_errno(err, rc, "give interface '%s' address %s", name, i->address);
}

bool net_link_add_route(const char *name, const struct iface_route *i, GError **err)
{
	struct ip to = { 0 }, via = { 0 }, mask = { 0 };
	struct rtmsg body;
	struct request r;
	uint32_t prefix = i->prefix;
	int index, rc;

	if (!index_of(name, &index, err) || !parse(i->address, &to, err) || !parse(i->gateway, &via, err) ||
		(i->netmask && !parse(i->netmask, &mask, err)))
		return false;
	for (unsigned n = 0; i->netmask && n < mask.len * 8; n++)
		prefix += mask.bytes[n / 8] >> (7 - n % 8) & 1;
	body = (struct rtmsg){ .rtm_family = (uint8_t)to.family, .rtm_table = RT_TABLE_MAIN, .rtm_protocol = RTPROT_STATIC,
		.rtm_scope = RT_SCOPE_UNIVERSE, .rtm_type = RTN_UNICAST };
	for (size_t n = 0; n < to.len; n++)     /* all zeros is the default route */
		if (to.bytes[n])
			body.rtm_dst_len = prefix_of(&to, prefix);
	begin(&r, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &body, sizeof body);
	add(&r, RTA_DST, to.bytes, to.len);
	add(&r, RTA_GATEWAY, via.bytes, via.len);
	add(&r, RTA_OIF, &index, 4);
	if (i->metric)
		add(&r, RTA_PRIORITY, &i->metric, 4);
	rc = ask(&r);
	return !rc || kerr_errno(err, rc, "route to %s over interface '%s'", i->address, name);
}

unsigned net_link_mtu(const char *name)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq ifr = { 0 };
	unsigned mtu = 0;

	if (fd < 0)
		return 0;
	g_strlcpy(ifr.ifr_name, name, IFNAMSIZ);
	if (!ioctl(fd, SIOCGIFMTU, &ifr))
		mtu = (unsigned)ifr.ifr_mtu;
	close(fd);
	return mtu;
}
