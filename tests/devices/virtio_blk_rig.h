/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A virtio-blk with a disk in memory, fault injection above it, and a driver in plain memory that asks it. One thread. */
#pragma once
#include "devices/block_fault.h"
#include "devices/virtio.h"
#include "devices/virtio_blk.h"
#include "domain/disk.h"
#include "tests/fake/virtio_driver.h"

#include "tests/fake/virtio_driver.h"
#include "tests/fake/virtio_hostile.h"

#define F_RO (1ull << 5)
#define F_FLUSH (1ull << 9)
#define F_WCE (1ull << 11)
#define F_MQ (1ull << 12)
#define F_DISCARD (1ull << 13)
#define F_ZEROES (1ull << 14)
#define ALL (0x3fffull << 1 | VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC)
enum { IN, OUT, FLUSH = 4, GET_ID = 8, DISCARD = 11, ZEROES = 13 };
enum { OK, IOERR, UNSUPP, UNTOUCHED = 0xee };

#define DISK (1u << 20)
#define HEADER 0x80000
#define STATUS 0x80100
#define DATA 0x81000

struct place {
	struct fake *f;
	struct block_host *host, *hosts[1];
	struct disk config;
	struct block_fault fault;
	struct block *chain;
	struct device *dev;
	struct vdrv d;
	uint8_t image[DISK];
	unsigned tag;
};

void pattern(uint8_t *p, size_t n, unsigned seed);
/* can_grow: to twice its size. */
struct place *place_new(const struct disk *config, const struct block_options *options, bool can_grow);
/* Of as many queues as it is configured with. */
void open_driver(struct place *p, uint64_t features);
/* A disk by default, its driver open, which has accepted everything. */
struct place *simple(void);
void place_free(struct place *p);
/* The guest's memory; STATUS of a slot; HEADER of a slot, whose STATUS is UNTOUCHED then. */
void put(struct place *p, uint64_t at, const void *data, size_t n);
uint8_t status(struct place *p, unsigned slot);
void header(struct place *p, unsigned slot, uint32_t type, uint64_t sector);
/* Queues one; slot: which header and status byte. */
void begin(struct place *p, unsigned queue, unsigned slot, uint32_t type, uint64_t sector, uint64_t at, uint32_t n);
/* Takes one that has ended; len: what the device says it wrote, may be NULL. */
bool ended(struct place *p, unsigned queue, uint32_t *len);
/* One that ends at once; its status. */
uint8_t ask(struct place *p, uint32_t type, uint64_t sector, uint64_t at, uint32_t n);
/* What the disk holds now. */
const uint8_t *disk(struct place *p);
/* The i-th range at DATA, of a discard or of writing zeroes. */
void range(struct place *p, unsigned i, uint64_t sector, uint32_t n, uint32_t flags);
/* The next `times` of these fail. */
void fail(struct place *p, enum block_op op, int error, uint64_t times);
