/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Network cards: <interface>. */
#pragma once
#include "domain/address.h"
#include "domain/field.h"
#include "domain/hostdev.h"

enum iface_type { IFACE_ABSENT, IFACE_USER, IFACE_ETHERNET, IFACE_VHOSTUSER, IFACE_SERVER, IFACE_CLIENT, IFACE_MCAST,
	IFACE_NETWORK, IFACE_BRIDGE, IFACE_INTERNAL, IFACE_DIRECT, IFACE_HOSTDEV, IFACE_UDP, IFACE_VDPA, IFACE_NULL, IFACE_VDS,
	IFACE_TYPE_N };
enum iface_mode { IFACE_MODE_ABSENT, IFACE_VEPA, IFACE_MODE_BRIDGE, IFACE_PRIVATE, IFACE_MODE_PASSTHROUGH, IFACE_MODE_SERVER,
	IFACE_MODE_CLIENT, IFACE_MODE_N };
enum iface_link { LINK_ABSENT, LINK_UP, LINK_DOWN, LINK_N };
enum iface_mac_type { MAC_TYPE_ABSENT, MAC_GENERATED, MAC_STATIC, MAC_TYPE_N };
enum iface_family { FAMILY_ABSENT, FAMILY_IPV4, FAMILY_IPV6, FAMILY_N };
enum iface_backend { BACKEND_ABSENT, BACKEND_PASST, BACKEND_N };
enum iface_driver_name { IFACE_DRIVER_ABSENT, IFACE_DRIVER_VHOST, IFACE_DRIVER_QEMU, IFACE_DRIVER_KVM, IFACE_DRIVER_VFIO,
	IFACE_DRIVER_XEN, IFACE_DRIVER_N };
enum iface_txmode { TXMODE_ABSENT, TXMODE_IOTHREAD, TXMODE_TIMER, TXMODE_N };

struct iface_ip {
	int family;
	char *address;
	uint32_t prefix;                /* 0: by class */
	char *peer;
	struct extras extras;
};
struct iface_route {
	int family;
	char *address, *netmask;
	uint32_t prefix;
	char *gateway;
	uint32_t metric;
	struct extras extras;
};
struct iface_source {
	char *network, *portgroup, *portid;     /* network */
	char *bridge;
	int mac_table_manager;          /* 1 kernel, 2 libvirt */
	char *dev;                      /* direct, user, vdpa: host interface or device */
	int mode;                       /* direct, vhostuser */
	char *name;                     /* internal */
	char *address;                  /* server, client, mcast, udp */
	uint32_t port;
	char *local_address;
	uint32_t local_port;
	char *type;                     /* vhostuser: "unix" */
	struct resource path;           /* vhostuser */
	int reconnect;                  /* YESNO */
	uint32_t reconnect_timeout;
	GPtrArray *ips;                 /* struct iface_ip: of the host's side */
	GPtrArray *routes;              /* struct iface_route */
	struct address host_address;    /* hostdev */
	struct extras extras;
};
struct iface_range {
	uint32_t start, end, to;        /* ports; 0: not given */
	int exclude;                    /* YESNO */
	struct extras extras;
};
struct iface_forward {
	int proto;                      /* 1 tcp, 2 udp */
	char *address, *dev;
	GPtrArray *ranges;              /* struct iface_range */
	struct extras extras;
};
struct iface_offloads {                 /* ONOFF: may the peer use it */
	int csum, gso, tso4, tso6, ecn, ufo, mrg_rxbuf;
	struct extras extras;
};
struct iface_driver {
	int name;
	int txmode;
	int ioeventfd, event_idx;       /* ONOFF */
	uint32_t queues, rx_queue_size, tx_queue_size;  /* 0: default */
	int rss, rss_hash_report;       /* ONOFF */
	VIRTIO_MEMBERS;
	struct iface_offloads host, guest;
	struct extras extras;
};
struct bandwidth_side {
	uint32_t average, peak, floor;  /* KiB per second; 0: none */
	uint32_t burst;                 /* KiB */
	struct extras extras;
};
struct bandwidth {
	struct bandwidth_side inbound, outbound;
	struct extras extras;
};
struct iface {
	int type;
	int managed;                    /* YESNO: hostdev */
	int trust_guest_rx_filters;     /* YESNO */
	char *mac;                      /* fill gives one */
	int mac_type;
	int mac_check;                  /* YESNO */
	struct iface_source source;
	struct bandwidth bandwidth;
	int isolated;                   /* YESNO: bridge port */
	GPtrArray *ips;                 /* struct iface_ip: of the guest's side */
	GPtrArray *routes;
	GPtrArray *forwards;            /* struct iface_forward: user */
	char *script, *downscript;      /* refused unless empty: kvmd runs no scripts */
	char *target;                   /* the tap's name; NULL: made while running */
	int target_managed;             /* YESNO: ethernet; no: the tap is there already */
	char *model;                    /* "virtio" */
	int backend;                    /* enum iface_backend */
	char *backend_tap, *backend_vhost;
	struct resource backend_log;    /* passt's log */
	struct iface_driver driver;
	int link;                       /* enum iface_link */
	uint32_t sndbuf;
	uint32_t mtu;                   /* 0: 1500 */
	uint32_t coalesce_max;          /* rx frames */
	struct rom rom;
	uint32_t boot_order;
	DEVICE_MEMBERS;
};

/* Name of the descriptor of a card's queue pair (alias, number), between launcher and worker. */
#define IFACE_FD_NAME "net/%s/%u"

extern const struct schema iface_schema, bandwidth_schema;
extern const char *const iface_type_names[IFACE_TYPE_N];
