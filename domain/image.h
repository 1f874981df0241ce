/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the first bytes of an image say. Pure: bytes in, struct out, for hostile bytes too. The launcher uses it to find the
 * backing chain, the worker to open the image; neither trusts what it says about sizes without bounds. Any thread.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "domain/disk.h"

#define IMAGE_PROBE_BYTES                                                                          \
	65536 /* enough for every image but those with much before the backing file's name */
#define IMAGE_PROBE_MAX (2u << 20)      /* and this for them */
#define IMAGE_NAME_MAX 1023

enum image_incompatible {
	IMAGE_DIRTY = 1 << 0,           /* reference counts are out of date */
	IMAGE_CORRUPT = 1 << 1,
	IMAGE_DATA_FILE = 1 << 2,
	IMAGE_COMPRESSION = 1 << 3,     /* compression type is not zlib */
	IMAGE_EXTENDED_L2 = 1 << 4,
};
#define IMAGE_LAZY_REFCOUNTS 1u         /* compatible feature */
enum image_compression { IMAGE_ZLIB, IMAGE_ZSTD };

struct image_info {
	int format;                     /* enum disk_format: FORMAT_RAW or FORMAT_QCOW2 */
	uint64_t size;                  /* what a guest sees, bytes */
	char *backing;                  /* as it stands in the image; NULL: none */
	int backing_format;             /* FORMAT_ABSENT: the image does not say */
	/* qcow2 */
	unsigned version;               /* 2, 3 */
	unsigned cluster_bits;          /* 9..21 */
	unsigned refcount_order;        /* 0..6: 2^order bits each */
	uint32_t l1_size, reft_clusters, snapshots;
	uint64_t l1_offset, reft_offset, snapshots_offset;
	uint64_t incompatible, compatible, autoclear;
	int compression;
	uint32_t header_length;
};

/*
 * Reads the first n bytes of a file of file_size bytes. format: what the image is said to be; FORMAT_RAW is never looked
 * into, because a guest writes there what it likes. *need (may be NULL): on failure, how many bytes it takes, 0 when more
 * would not help. *err: UNSUPPORTED names the feature; STATE_DATA for damage.
 */
bool image_probe(const uint8_t *bytes, size_t n, uint64_t file_size, int format,
	struct image_info *out, size_t *need, GError **err);
void image_info_clear(struct image_info *);

/* Path of the backing file that the image at `path` names: relative names are relative to the image's folder. NULL and *err
 * (UNSUPPORTED) when it is no file: "json:", a URL. Caller frees. */
char *image_backing_path(const char *path, const char *backing, GError **err);

/* Reads the first bytes of a file for image_chain; *got: how many, *size: the file's. The launcher's; errors are its own. */
struct image_reader {
	bool (*read)(struct image_reader *, const char *path, uint8_t *buf, size_t n, size_t *got, uint64_t *size, GError **err);
};
/*
 * Fills in the backing images of a disk that its XML leaves to the images themselves: afterwards disk->backing names every
 * image, down to one that stands on no other, and the launcher can open them all. What the XML does name stays, and what it
 * ends with <backingStore/> too. An image that does not say its backing image's format is refused: guessing it would let a
 * guest choose. *err also for loops and chains of more than IMAGE_CHAIN_MAX.
 */
#define IMAGE_CHAIN_MAX 64u
bool image_chain(struct disk *, struct image_reader *, GError **err);
