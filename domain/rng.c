/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rows of <rng>. */
#include "domain/rng.h"

#include "domain/rows.h"

NAMES(rng_backend_names, RNG_BACKEND_N, "random", "egd", "builtin");

static const struct field rng_backend_schema_fields[] = {
	ENUM(struct rng_backend, model, "@model", rng_backend_names, REQUIRED, "where the entropy comes from"),
	RESOURCE(struct rng_backend, path, ".", RES_READ, 0, "device to read it from"),
	ENUM(struct rng_backend, type, "@type", chardev_type_names, 0, "connection to an entropy daemon"),
	STRUCT(struct rng_backend, source, "source", chardev_source_schema, 0, "where that daemon is"),
	ENUM(struct rng_backend, protocol, "protocol/@type", chardev_protocol_names, 0, "what is spoken there"),
	KEEP_SILENT("log"),
	EXTRAS(struct rng_backend, extras), END
};
static SCHEMA(rng_backend_schema, struct rng_backend, "backend", "where the entropy comes from");

static const struct field rng_schema_fields[] = {
	ENUM(struct rng, model, "@model", virtio_model_names, GUEST | REQUIRED, "generation of the virtio device"),
	U32(struct rng, rate_bytes, "rate/@bytes", 0, UINT32_MAX, LIVE, "bytes the guest may take per period"),
	U32(struct rng, rate_period, "rate/@period", 0, UINT32_MAX, LIVE, "ms of a period; none: 1000"),
	STRUCT(struct rng, backend, "backend", rng_backend_schema, REQUIRED, "where the entropy comes from"),
	STRUCT(struct rng, driver, "driver", virtio_driver_schema, 0, "how it is served"),
	DEVICE_ROWS(struct rng)
};
SCHEMA(rng_schema, struct rng, "rng", "entropy for the guest");
