/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where the screen is shown: <graphics>. Kept; there is no screen yet. */
#pragma once
#include "domain/field.h"

enum graphics_type { GRAPHICS_ABSENT, GRAPHICS_SDL, GRAPHICS_VNC, GRAPHICS_RDP, GRAPHICS_DESKTOP, GRAPHICS_SPICE,
	GRAPHICS_EGL_HEADLESS, GRAPHICS_DBUS, GRAPHICS_TYPE_N };
enum graphics_listen_type { LISTEN_ABSENT, LISTEN_ADDRESS, LISTEN_NETWORK, LISTEN_SOCKET, LISTEN_NONE, LISTEN_N };

struct graphics_listen {
	int type;
	char *address, *network, *socket;
	struct extras extras;
};
struct graphics {
	int type;
	int32_t port, tls_port, websocket;      /* -1: automatic; 0: not given */
	int autoport;                   /* YESNO */
	char *listen;                   /* old spelling of the first <listen type='address'> */
	char *socket, *passwd, *keymap;
	GPtrArray *listens;             /* struct graphics_listen */
	struct extras extras;           /* and what belongs to one kind of screen only */
};
extern const struct schema graphics_schema;
