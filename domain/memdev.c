/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rows of <memory model=…> among the devices. */
#include "domain/memdev.h"

#include "domain/memory.h"
#include "domain/rows.h"

NAMES(memdev_model_names, MEMDEV_N, "dimm", "nvdimm", "virtio-pmem", "virtio-mem", "sgx-epc");
NAMES(memdev_access_names, MEMACCESS_N, "shared", "private");

static const struct field memdev_source_schema_fields[] = {
	SIZE(struct memdev_source, pagesize, "pagesize", 0, MEMORY_MAX, NOT_YET, "size of the host's pages behind it"),
	CPUSET(struct memdev_source, nodemask, "nodemask", NOT_YET, "host nodes it comes from"),
	RESOURCE(struct memdev_source, path, "path", RES_WRITE, 0, "file behind it"),
	SIZE(struct memdev_source, alignsize, "alignsize", 0, MEMORY_MAX, NOT_YET, "alignment of the mapping"),
	FLAG(struct memdev_source, pmem, "pmem", NOT_YET, "the file lies on persistent memory"),
	EXTRAS(struct memdev_source, extras), END
};
static SCHEMA(memdev_source_schema, struct memdev_source, "source", "what stands behind it on the host");

static const struct field memdev_target_schema_fields[] = {
	SIZE(struct memdev_target, size, "size", 0, MEMORY_MAX, GUEST | REQUIRED, "how large it is"),
	U32(struct memdev_target, node, "node", 0, 127, GUEST, "guest node it belongs to", .def = UINT32_MAX),
	SIZE(struct memdev_target, label, "label/size", 0, MEMORY_MAX, GUEST, "room for an NVDIMM's labels"),
	SIZE(struct memdev_target, block, "block", 0, MEMORY_MAX, GUEST, "grain in which it grows and shrinks"),
	SIZE(struct memdev_target, requested, "requested", 0, MEMORY_MAX, LIVE, "what the guest shall use of it"),
	SIZE(struct memdev_target, current, "current", 0, MEMORY_MAX, RUNTIME, "what the guest uses of it"),
	FLAG(struct memdev_target, readonly, "readonly", GUEST, "the guest cannot write to it"),
	KEEP_SILENT("@dynamicMemslots"),
	KEEP_SILENT("address"),
	EXTRAS(struct memdev_target, extras), END
};
static SCHEMA(memdev_target_schema, struct memdev_target, "target", "what the guest sees");

static const struct field memdev_schema_fields[] = {
	ENUM(struct memdev, model, "@model", memdev_model_names, GUEST | REQUIRED, "kind of memory"),
	ENUM(struct memdev, access, "@access", memdev_access_names, 0, "may other processes map it"),
	ENUM(struct memdev, discard, "@discard", yesno_names, 0, "its contents are dropped at the end"),
	UUID(struct memdev, uuid, "uuid", GUEST, "an NVDIMM's uuid"),
	STRUCT(struct memdev, source, "source", memdev_source_schema, 0, "what stands behind it on the host"),
	STRUCT(struct memdev, target, "target", memdev_target_schema, REQUIRED, "what the guest sees"),
	DEVICE_ROWS(struct memdev)
};
SCHEMA(memdev_schema, struct memdev, "memory", "memory that is a device");
