/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Serial ports, parallel ports, consoles and channels: where their bytes go on the host and what the guest sees. */
#pragma once
#include "domain/address.h"
#include "domain/field.h"

enum chardev_type { CHARDEV_ABSENT, CHARDEV_NULL, CHARDEV_VC, CHARDEV_PTY, CHARDEV_DEV, CHARDEV_FILE, CHARDEV_PIPE,
	CHARDEV_STDIO, CHARDEV_UDP, CHARDEV_TCP, CHARDEV_UNIX, CHARDEV_SPICEVMC, CHARDEV_SPICEPORT, CHARDEV_NMDM,
	CHARDEV_QEMU_VDAGENT, CHARDEV_DBUS, CHARDEV_N };
enum chardev_mode { CHARDEV_MODE_ABSENT, CHARDEV_CONNECT, CHARDEV_BIND, CHARDEV_MODE_N };
enum chardev_protocol { CHARDEV_PROTOCOL_ABSENT, CHARDEV_RAW, CHARDEV_TELNET, CHARDEV_TELNETS, CHARDEV_TLS, CHARDEV_PROTOCOL_N };
enum chardev_state { CHARDEV_STATE_ABSENT, CHARDEV_CONNECTED, CHARDEV_DISCONNECTED, CHARDEV_STATE_N };

#define CHARDEV_PORT_NONE UINT32_MAX
#define CHARDEV_AGENT "org.qemu.guest_agent.0"  /* the port where qemu-guest-agent listens */

struct chardev_source {
	struct resource path;           /* pty (known while running), unix, file, dev, pipe */
	int mode;                       /* enum chardev_mode: unix, tcp, udp */
	char *host, *service;           /* tcp, udp */
	char *channel;                  /* spiceport, dbus */
	int append;                     /* ONOFF: file */
	int tls;                        /* YESNO: tcp */
	int reconnect;                  /* YESNO: unix, tcp with mode connect */
	uint32_t reconnect_timeout;     /* s */
	bool lost;                      /* not connected just now, and to be connected again */
	uint32_t ring;                  /* null: bytes of output that ringbuf-read finds; 0: none */
	struct extras extras;
};
struct chardev_log {                    /* a copy of all output */
	struct resource file;
	int append;                     /* ONOFF */
	struct extras extras;
};
struct chardev_target {
	char *type;                     /* "isa-serial", "serial", "virtio", "guestfwd"… */
	char *name;                     /* channel: "org.qemu.guest_agent.0" */
	char *host;                     /* guestfwd: address */
	uint32_t port;                  /* CHARDEV_PORT_NONE: not given (fill sets it) */
	int state;                      /* enum chardev_state, known while running */
	char *model;                    /* "isa-serial", "16550a" */
	struct extras extras;
};
struct chardev {
	int type;                       /* enum chardev_type */
	char *tty;                      /* console: old spelling of source.path, known while running */
	struct chardev_source source;
	GPtrArray *others;              /* struct chardev_source: udp's other one (bind and connect) */
	char *made;                     /* what chardev-add called it; NULL: it is no such */
	int protocol;
	struct chardev_target target;
	struct chardev_log log;
	DEVICE_MEMBERS;
};

extern const struct schema serial_schema, parallel_schema, console_schema, channel_schema;
#define CHARDEV_RING_MAX (64u << 20)

extern const struct schema chardev_source_schema, chardev_log_schema;
extern const char *const chardev_type_names[CHARDEV_N], *const chardev_protocol_names[CHARDEV_PROTOCOL_N];

/* How the launcher opens source.path of such a chardev; RES_NONE when there is nothing to open. */
enum resource_use chardev_use(int type, int mode);
/* Of udp: where it sends to (CHARDEV_CONNECT), where it listens (CHARDEV_BIND); NULL: not said. */
const struct chardev_source *chardev_udp(const struct chardev *, int mode);
/* Does it connect again when the other side has gone? */
bool chardev_reconnects(const struct chardev *);
/* The host side of `to` (type, protocol, sources) becomes a copy of from's; logs stay. */
void chardev_copy_host(struct chardev *to, const struct chardev *from);
void chardev_swap_host(struct chardev *a, struct chardev *b);
/* Do both have the same host side, but for what a running machine has of its own? */
bool chardev_same_host(const struct chardev *a, const struct chardev *b);
/* As QMP's query-chardev shows it. New. */
char *chardev_filename(const struct chardev *);
/* Is it the channel by which the machine's own process speaks with the guest's agent? With mode='connect' it is not: then
 * whoever listens at the path does. */
bool chardev_is_agent(const struct chardev *);
/* Is it the <console> that only says again what the first <serial> says? Then it has no host side of its own. */
struct devices;
bool chardev_is_serial_console(const struct devices *, const struct chardev *console);
