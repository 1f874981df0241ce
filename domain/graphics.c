/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rows of <graphics>. */
#include "domain/graphics.h"

#include "domain/rows.h"

NAMES(graphics_type_names, GRAPHICS_TYPE_N, "sdl", "vnc", "rdp", "desktop", "spice", "egl-headless", "dbus");
NAMES(listen_type_names, LISTEN_N, "address", "network", "socket", "none");

static const struct field graphics_listen_schema_fields[] = {
	ENUM(struct graphics_listen, type, "@type", listen_type_names, REQUIRED, "kind of place to listen on"),
	STR(struct graphics_listen, address, "@address", 0, "address"),
	STR(struct graphics_listen, network, "@network", 0, "libvirt's network"),
	STR(struct graphics_listen, socket, "@socket", 0, "unix socket"),
	EXTRAS(struct graphics_listen, extras), END
};
static SCHEMA(graphics_listen_schema, struct graphics_listen, "listen", "where the screen is offered");

static const struct field graphics_schema_fields[] = {
	ENUM(struct graphics, type, "@type", graphics_type_names, REQUIRED, "how the screen is shown"),
	I32(struct graphics, port, "@port", -1, 65535, 0, "TCP port; -1: any free one"),
	I32(struct graphics, tls_port, "@tlsPort", -1, 65535, 0, "TCP port with encryption"),
	ENUM(struct graphics, autoport, "@autoport", yesno_names, 0, "take any free port"),
	I32(struct graphics, websocket, "@websocket", -1, 65535, 0, "TCP port for browsers"),
	STR(struct graphics, socket, "@socket", 0, "unix socket"),
	STR(struct graphics, listen, "@listen", 0, "address to listen on"),
	STR(struct graphics, keymap, "@keymap", 0, "keyboard layout"),
	STR(struct graphics, passwd, "@passwd", SECRET, "password"),
	KEEP_SILENT("@passwdValidTo"),
	KEEP_SILENT("@connected"),
	KEEP_SILENT("@sharePolicy"),
	KEEP_SILENT("@powerControl"),
	KEEP_SILENT("@defaultMode"),
	KEEP_SILENT("@display"),
	KEEP_SILENT("@xauth"),
	KEEP_SILENT("@fullscreen"),
	KEEP_SILENT("@replaceUser"),
	KEEP_SILENT("@multiUser"),
	KEEP_SILENT("@address"),
	KEEP_SILENT("@p2p"),
	LIST(struct graphics, listens, "listen", graphics_listen_schema, 16, 0, "where the screen is offered"),
	KEEP_SILENT("channel"),
	KEEP_SILENT("image"),
	KEEP_SILENT("jpeg"),
	KEEP_SILENT("zlib"),
	KEEP_SILENT("playback"),
	KEEP_SILENT("streaming"),
	KEEP_SILENT("clipboard"),
	KEEP_SILENT("mouse"),
	KEEP_SILENT("filetransfer"),
	KEEP_SILENT("gl"),
	KEEP_SILENT("audio"),
	EXTRAS(struct graphics, extras), END
};
SCHEMA(graphics_schema, struct graphics, "graphics", "where the screen is shown");
