/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rows of <vsock>. */
#include "domain/vsock.h"

#include "domain/rows.h"

static const struct field vsock_schema_fields[] = {
	ENUM(struct vsock, model, "@model", virtio_model_names, GUEST, "generation of the virtio device"),
	ENUM(struct vsock, cid_auto, "cid/@auto", yesno_names, 0, "find a free number at start"),
	U32(struct vsock, cid, "cid/@address", 0, UINT32_MAX, GUEST, "the guest's number, from 3"),
	STRUCT(struct vsock, driver, "driver", virtio_driver_schema, 0, "how it is served"),
	DEVICE_ROWS(struct vsock)
};
SCHEMA(vsock_schema, struct vsock, "vsock", "sockets between host and guest");
