/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory that is a device: <memory model='virtio-mem'> and its kin. */
#pragma once
#include "domain/address.h"

enum memdev_model { MEMDEV_ABSENT, MEMDEV_DIMM, MEMDEV_NVDIMM, MEMDEV_VIRTIO_PMEM, MEMDEV_VIRTIO_MEM, MEMDEV_SGX_EPC, MEMDEV_N };

struct memdev_source {
	uint64_t pagesize;              /* bytes; 0: as the machine */
	char *nodemask;                 /* host nodes */
	struct resource path;           /* nvdimm, virtio-pmem */
	uint64_t alignsize;
	bool pmem;
	struct extras extras;
};
struct memdev_target {
	uint64_t size;                  /* bytes, like all here */
	uint32_t node;                  /* guest node; UINT32_MAX: not given */
	uint64_t block;                 /* virtio-mem: grain; 0: 2 MiB */
	uint64_t requested;             /* virtio-mem: what the guest shall use */
	uint64_t current;               /* virtio-mem: what it uses, known while running */
	uint64_t label;                 /* nvdimm */
	bool readonly;
	struct extras extras;
};
struct memdev {
	int model, access;              /* enum memdev_model, memory_access */
	int discard;                    /* YESNO */
	char *uuid;
	struct memdev_source source;
	struct memdev_target target;
	DEVICE_MEMBERS;
};
extern const struct schema memdev_schema;
