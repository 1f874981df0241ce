/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The graphics card: <video>. Kept; there is no screen yet. */
#pragma once
#include "domain/address.h"

enum video_type { VIDEO_ABSENT, VIDEO_VGA, VIDEO_CIRRUS, VIDEO_VMVGA, VIDEO_XEN, VIDEO_VBOX, VIDEO_QXL, VIDEO_VIRTIO,
	VIDEO_GOP, VIDEO_NONE, VIDEO_BOCHS, VIDEO_RAMFB, VIDEO_TYPE_N };

struct video_model {
	int type;
	uint32_t ram, vram, vram64, vgamem;     /* KiB */
	uint32_t heads;
	int primary;                    /* YESNO */
	uint32_t x, y;                  /* resolution */
	struct extras extras;
};
struct video {
	struct video_model model;
	DEVICE_MEMBERS;
};
extern const struct schema video_schema;
