/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rows of <interface>. */
#include "domain/iface.h"

#include "domain/rows.h"

NAMES_SHARED(iface_type_names, IFACE_TYPE_N, "user", "ethernet", "vhostuser", "server", "client", "mcast", "network", "bridge",
	"internal", "direct", "hostdev", "udp", "vdpa", "null", "vds");
NAMES(iface_mode_names, IFACE_MODE_N, "vepa", "bridge", "private", "passthrough", "server", "client");
NAMES(link_names, LINK_N, "up", "down");
NAMES(mac_type_names, MAC_TYPE_N, "generated", "static");
NAMES(family_names, FAMILY_N, "ipv4", "ipv6");
NAMES(backend_names, BACKEND_N, "passt");
NAMES(driver_names, IFACE_DRIVER_N, "vhost", "qemu", "kvm", "vfio", "xen");
NAMES(txmode_names, TXMODE_N, "iothread", "timer");
static const char *const mac_table_names[] = { "", "kernel", "libvirt" };
static const char *const proto_names[] = { "", "tcp", "udp" };

static const struct field iface_ip_schema_fields[] = {
	STR(struct iface_ip, address, "@address", REQUIRED, "the address"),
	ENUM(struct iface_ip, family, "@family", family_names, 0, "ipv4 or ipv6"),
	U32(struct iface_ip, prefix, "@prefix", 0, 128, 0, "bits of the network"),
	STR(struct iface_ip, peer, "@peer", 0, "the other end's address"),
	EXTRAS(struct iface_ip, extras), END
};
static SCHEMA(iface_ip_schema, struct iface_ip, "ip", "an address of the card");

static const struct field iface_route_schema_fields[] = {
	ENUM(struct iface_route, family, "@family", family_names, 0, "ipv4 or ipv6"),
	STR(struct iface_route, address, "@address", REQUIRED, "the network"),
	STR(struct iface_route, netmask, "@netmask", 0, "its mask"),
	U32(struct iface_route, prefix, "@prefix", 0, 128, 0, "its bits"),
	STR(struct iface_route, gateway, "@gateway", REQUIRED, "who forwards"),
	U32(struct iface_route, metric, "@metric", 0, UINT32_MAX, 0, "cost"),
	EXTRAS(struct iface_route, extras), END
};
static SCHEMA(iface_route_schema, struct iface_route, "route", "a route over the card");

#define NO_VDS "VMware's distributed switch: write type='bridge'"
static const struct field iface_source_schema_fields[] = {
	STR(struct iface_source, network, "@network", LIVE, "libvirt's network"),
	STR(struct iface_source, portgroup, "@portgroup", LIVE, "group of ports of that network"),
	UUID(struct iface_source, portid, "@portid", RUNTIME, "port that the network gave"),
	STR(struct iface_source, bridge, "@bridge", LIVE, "bridge of the host"),
	ENUM(struct iface_source, mac_table_manager, "@macTableManager", mac_table_names, NOT_YET, "who fills the bridge's table", .lacks = 1 << 2),
	STR(struct iface_source, dev, "@dev", LIVE, "interface of the host"),
	ENUM(struct iface_source, mode, "@mode", iface_mode_names, 0, "direct: how frames pass; vhostuser: who connects"),
	STR(struct iface_source, name, "@name", 0, "internal network"),
	STR(struct iface_source, address, "@address", 0, "address of a socket"),
	U32(struct iface_source, port, "@port", 0, 65535, 0, "port of a socket"),
	STR(struct iface_source, local_address, "local/@address", 0, "own address (udp)"),
	U32(struct iface_source, local_port, "local/@port", 0, 65535, 0, "own port (udp)"),
	STR(struct iface_source, type, "@type", 0, "vhostuser: unix"),
	RESOURCE(struct iface_source, path, "@path", RES_SOCKET_CONNECT, 0, "socket of a vhost-user switch"),
	ENUM(struct iface_source, reconnect, "reconnect/@enabled", yesno_names, 0, "connect again when the switch went away"),
	U32(struct iface_source, reconnect_timeout, "reconnect/@timeout", 0, UINT32_MAX, 0, "seconds between tries"),
	LIST(struct iface_source, ips, "ip", iface_ip_schema, 16, 0, "addresses of the host's side"),
	LIST(struct iface_source, routes, "route", iface_route_schema, 64, 0, "routes of the host's side"),
	STRUCT(struct iface_source, host_address, "address", address_schema, 0, "the device's place on the host (hostdev)"),
	KEEP_SILENT("@missing"),
	KEEP_SILENT("vendor"),
	KEEP_SILENT("product"),
	REFUSE("@switchid", NO_VDS),
	REFUSE("@portgroupid", NO_VDS),
	REFUSE("@connectionid", NO_VDS),
	EXTRAS(struct iface_source, extras), END
};
static SCHEMA(iface_source_schema, struct iface_source, "source", "where the frames go on the host");

static const struct field iface_range_schema_fields[] = {
	U32(struct iface_range, start, "@start", 0, 65535, REQUIRED, "first port of the host"),
	U32(struct iface_range, end, "@end", 0, 65535, 0, "last one"),
	U32(struct iface_range, to, "@to", 0, 65535, 0, "first port of the guest, where it differs"),
	ENUM(struct iface_range, exclude, "@exclude", yesno_names, 0, "these are left out"),
	EXTRAS(struct iface_range, extras), END
};
static SCHEMA(iface_range_schema, struct iface_range, "range", "ports that are forwarded");

static const struct field iface_forward_schema_fields[] = {
	ENUM(struct iface_forward, proto, "@proto", proto_names, REQUIRED, "tcp or udp"),
	STR(struct iface_forward, address, "@address", 0, "address of the host to listen on"),
	STR(struct iface_forward, dev, "@dev", 0, "interface of the host to listen on"),
	LIST(struct iface_forward, ranges, "range", iface_range_schema, 256, 0, "which ports; none: all"),
	EXTRAS(struct iface_forward, extras), END
};
static SCHEMA(iface_forward_schema, struct iface_forward, "portForward", "ports of the host that lead into the guest");

#define OFFLOAD(m, text) ENUM(struct iface_offloads, m, "@" #m, onoff_names, GUEST, text)
static const struct field iface_offloads_schema_fields[] = {
	OFFLOAD(csum, "checksums"),
	OFFLOAD(gso, "any segmentation"),
	OFFLOAD(tso4, "TCP segmentation over IPv4"),
	OFFLOAD(tso6, "TCP segmentation over IPv6"),
	OFFLOAD(ecn, "segmentation with congestion marks"),
	OFFLOAD(ufo, "UDP fragmentation"),
	OFFLOAD(mrg_rxbuf, "one frame in several buffers"),
	EXTRAS(struct iface_offloads, extras), END
};
static SCHEMA(iface_offloads_schema, struct iface_offloads, "offloads", "what one side may leave to the other");

static const struct field iface_driver_schema_fields[] = {
	ENUM(struct iface_driver, name, "@name", driver_names, NOT_YET, "vhost: frames pass in the host's kernel", .lacks = 1 << IFACE_DRIVER_VHOST),
	ENUM(struct iface_driver, txmode, "@txmode", txmode_names, 0, "how sending is paced: kept"),
	ENUM(struct iface_driver, ioeventfd, "@ioeventfd", onoff_names, NOT_YET, "kicks without a trip through the vCPU's thread", .lacks = 1 << ONOFF_OFF),
	ENUM(struct iface_driver, event_idx, "@event_idx", onoff_names, GUEST, "offer fewer notifications"),
	U32(struct iface_driver, queues, "@queues", 0, 256, GUEST, "pairs of queues"),
	U32(struct iface_driver, rx_queue_size, "@rx_queue_size", 0, 32768, GUEST, "entries of a receive queue"),
	U32(struct iface_driver, tx_queue_size, "@tx_queue_size", 0, 32768, GUEST, "entries of a send queue"),
	ENUM(struct iface_driver, rss, "@rss", onoff_names, GUEST, "spread flows over the queues"),
	ENUM(struct iface_driver, rss_hash_report, "@rss_hash_report", onoff_names, GUEST, "tell the guest each frame's hash"),
	VIRTIO_ROWS(struct iface_driver),
	STRUCT(struct iface_driver, host, "host", iface_offloads_schema, GUEST, "what the host takes over"),
	STRUCT(struct iface_driver, guest, "guest", iface_offloads_schema, GUEST, "what the guest may be given"),
	EXTRAS(struct iface_driver, extras), END
};
static SCHEMA(iface_driver_schema, struct iface_driver, "driver", "how frames are carried");

static const struct field bandwidth_side_schema_fields[] = {
	U32(struct bandwidth_side, average, "@average", 0, UINT32_MAX, LIVE, "KiB per second on average"),
	U32(struct bandwidth_side, peak, "@peak", 0, UINT32_MAX, LIVE, "KiB per second at most"),
	U32(struct bandwidth_side, floor, "@floor", 0, UINT32_MAX, LIVE, "KiB per second that are promised"),
	U32(struct bandwidth_side, burst, "@burst", 0, UINT32_MAX, LIVE, "KiB that may go at peak speed"),
	EXTRAS(struct bandwidth_side, extras), END
};
static SCHEMA(bandwidth_side_schema, struct bandwidth_side, "inbound", "limits in one direction");

static const struct field bandwidth_schema_fields[] = {
	STRUCT(struct bandwidth, inbound, "inbound", bandwidth_side_schema, LIVE, "to the guest"),
	STRUCT(struct bandwidth, outbound, "outbound", bandwidth_side_schema, LIVE, "from the guest"),
	KEEP_SILENT("@classID"),
	EXTRAS(struct bandwidth, extras), END
};
SCHEMA(bandwidth_schema, struct bandwidth, "bandwidth", "how much a card may carry");

/* libvirt's and kvmd's names for taps of their own. */
static bool tap_is_made(const void *member)
{
	const char *name = *(char *const *)member;

	return name && g_str_has_prefix(name, "vnet");
}

#define NO_VPORT "virtual ports of switches aren't driven: use a Linux bridge, <interface type='bridge'> without it"
static const struct field iface_schema_fields[] = {
	ENUM(struct iface, type, "@type", iface_type_names, REQUIRED, "what the card is plugged into on the host"),
	ENUM(struct iface, managed, "@managed", yesno_names, 0, "detach the device from the host by itself (hostdev)"),
	ENUM(struct iface, trust_guest_rx_filters, "@trustGuestRxFilters", yesno_names, LIVE | NOT_YET, "the guest's receive filter rules the host's side", .lacks = 1 << YESNO_YES),
	MAC(struct iface, mac, "mac/@address", GUEST, "the card's address"),
	ENUM(struct iface, mac_type, "mac/@type", mac_type_names, 0, "where the address came from"),
	ENUM(struct iface, mac_check, "mac/@check", yesno_names, 0, "compare it with VMware's ranges: kept"),
	STRUCT(struct iface, source, "source", iface_source_schema, LIVE, "where the frames go on the host"),
	REFUSE_DEVICE("vlan", "VLAN tags aren't set by kvmd: attach to a bridge that is on the VLAN"),
	REFUSE_DEVICE("virtualport", NO_VPORT),
	STRUCT(struct iface, bandwidth, "bandwidth", bandwidth_schema, LIVE, "how much it may carry"),
	ENUM(struct iface, isolated, "port/@isolated", yesno_names, LIVE, "it does not see other isolated ports of the bridge"),
	LIST(struct iface, ips, "ip", iface_ip_schema, 16, 0, "addresses for the guest's side"),
	LIST(struct iface, routes, "route", iface_route_schema, 64, 0, "routes for the guest's side"),
	LIST(struct iface, forwards, "portForward", iface_forward_schema, 256, 0, "ports that lead into the guest (user)"),
	STR(struct iface, script, "script/@path", 0, "program that sets the card up"),
	STR(struct iface, downscript, "downscript/@path", 0, "program that takes it down"),
	KEEP("backenddomain", "for Xen guests"),
	STR(struct iface, target, "target/@dev", 0, "name of the tap", .made = tap_is_made),
	ENUM(struct iface, target_managed, "target/@managed", yesno_names, 0, "no: the tap is there already"),
	KEEP("guest", "for container guests"),
	STR(struct iface, model, "model/@type", GUEST, "the card the guest sees: virtio"),
	STRUCT(struct iface, driver, "driver", iface_driver_schema, 0, "how frames are carried"),
	ENUM(struct iface, backend, "backend/@type", backend_names, 0, "passt: the user-mode network"),
	STR(struct iface, backend_tap, "backend/@tap", 0, "tap device of the host"),
	STR(struct iface, backend_vhost, "backend/@vhost", 0, "vhost device of the host"),
	RESOURCE(struct iface, backend_log, "backend/@logFile", RES_LOG, 0, "passt's log"),
	KEEP("backend/@hostname", "passt isn't told the guest's name"),
	KEEP("backend/@fqdn", "passt isn't told the guest's name"),
	KEEP("teaming", "pairs of a virtio and a host card aren't made: the card stands alone"),
	KEEP("filterref", "packet filters aren't applied yet: filter with nftables on the host's bridge"),
	ENUM(struct iface, link, "link/@state", link_names, LIVE, "whether the cable is in"),
	U32(struct iface, sndbuf, "tune/sndbuf", 0, UINT32_MAX, 0, "bytes the tap holds before sending waits"),
	U32(struct iface, coalesce_max, "coalesce/rx/frames/@max", 0, UINT32_MAX, LIVE | NOT_YET, "frames received at once"),
	U32(struct iface, mtu, "mtu/@size", 68, 65535, GUEST, "largest frame"),
	U32(struct iface, boot_order, "boot/@order", 1, 65535, GUEST | NOT_YET, "place in the boot order, from 1"),
	KEEP_SILENT("boot/@loadparm"),
	STRUCT(struct iface, rom, "rom", rom_schema, GUEST | NOT_YET, "the card's boot code"),
	DEVICE_ROWS(struct iface)
};
SCHEMA(iface_schema, struct iface, "interface", "a network card");
