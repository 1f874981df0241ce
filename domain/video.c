/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rows of <video>. */
#include "domain/video.h"

#include "domain/rows.h"

NAMES(video_type_names, VIDEO_TYPE_N, "vga", "cirrus", "vmvga", "xen", "vbox", "qxl", "virtio", "gop", "none", "bochs", "ramfb");

static const struct field video_model_schema_fields[] = {
	ENUM(struct video_model, type, "@type", video_type_names, GUEST, "the card"),
	U32(struct video_model, ram, "@ram", 0, UINT32_MAX, GUEST, "KiB of memory (qxl)"),
	U32(struct video_model, vram, "@vram", 0, UINT32_MAX, GUEST, "KiB of video memory"),
	U32(struct video_model, vram64, "@vram64", 0, UINT32_MAX, GUEST, "KiB of video memory above 4 GiB (qxl)"),
	U32(struct video_model, vgamem, "@vgamem", 0, UINT32_MAX, GUEST, "KiB for the VGA mode (qxl)"),
	U32(struct video_model, heads, "@heads", 0, 64, GUEST, "number of screens"),
	ENUM(struct video_model, primary, "@primary", yesno_names, GUEST, "the card that shows the boot"),
	KEEP_SILENT("@blob"),
	KEEP_SILENT("@edid"),
	KEEP_SILENT("acceleration"),
	U32(struct video_model, x, "resolution/@x", 0, 65535, GUEST, "width of the screen"),
	U32(struct video_model, y, "resolution/@y", 0, 65535, GUEST, "height of the screen"),
	EXTRAS(struct video_model, extras), END
};
static SCHEMA(video_model_schema, struct video_model, "model", "the graphics card");

static const struct field video_schema_fields[] = {
	KEEP_SILENT("driver"),
	STRUCT(struct video, model, "model", video_model_schema, GUEST, "the graphics card"),
	DEVICE_ROWS(struct video)
};
SCHEMA(video_schema, struct video, "video", "a graphics card");
