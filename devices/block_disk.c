/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The chain of a <disk>: which drivers stand on which, from what the XML says. */
#include <string.h>

#include "devices/block_detect.h"
#include "devices/block_file.h"
#include "devices/block_throttle.h"
#include "devices/qcow2_create.h"
#include "domain/disk.h"
#include "domain/error.h"

#define IMAGES_MAX 64u          /* in a chain */

struct rows {
	GArray *rows;           /* struct block_row */
	GPtrArray *configs;
	const struct disk *disk;
	struct block_host *host;
	unsigned images;
};

static void *add(struct rows *r, const char *driver, size_t size)
{
	struct block_row row = { driver, g_malloc0(MAX(size, 1)) };

	g_ptr_array_add(r->configs, (gpointer)row.config);
	g_array_append_val(r->rows, row);
	return (void *)row.config;
}

static bool discards(const struct disk *d)
{
	return d->driver.discard != DISCARD_IGNORE;     /* thin unless asked otherwise */
}

static bool add_image(
	struct rows *r, int type, const struct disk_source *source, int format, GError **err)
{
	const struct disk *d = r->disk;
	const struct resource *file = disk_source_resource(type, (struct disk_source *)source);
	bool threads = d->driver.io == DISK_IO_THREADS || !r->host->ring;
	struct block_file_config *leaf;

	if (++r->images > IMAGES_MAX)
		return kerr_set(err, KERR_LIMIT, "more than %u images in a chain", IMAGES_MAX);
	if (!file || !file->fd)
		return kerr_set(err, KERR_UNSUPPORTED,
			"disks of type '%s' can't be opened by this release",
			type > 0 && type < DISK_TYPE_N ? disk_type_names[type] : "none");
	if (format == FORMAT_QCOW2) {
		struct block_qcow2_config *c = add(r, "qcow2", sizeof(*c));

		c->cache = d->driver.metadata_cache;
		c->punch = discards(d);
	} else if (format != FORMAT_ABSENT && format != FORMAT_RAW && format != FORMAT_ISO) {
		return kerr_set(err, KERR_UNSUPPORTED,
			"images of format '%s': convert it with 'qemu-img convert -O qcow2'",
			disk_format_names[format]);
	}
	leaf = add(r, threads ? "threads" : "uring", sizeof(*leaf));
	leaf->fd = file->fd;
	leaf->flags = (format == FORMAT_QCOW2 ? BLOCK_FILE_GROWS : 0) |
		(d->driver.cache == CACHE_UNSAFE ? BLOCK_FILE_NO_SYNC : 0);
	if (source->slice) {
		leaf->offset = source->slice->offset;
		leaf->size = source->slice->size;
	}
	return true;
}

static bool add_all(struct rows *r, GError **err)
{
	const struct disk *d = r->disk;
	struct block_throttle_config *throttle = add(r, "throttle", sizeof(*throttle));

	throttle->limits = &d->iotune;
	if (disk_removable(d) && !disk_has_source(d)) {
		(void)add(r, "empty", 0);
		return true;
	}
	if (d->driver.detect_zeroes == ZEROES_ON || d->driver.detect_zeroes == ZEROES_UNMAP) {
		struct block_detect_config *c = add(r, "detect", sizeof(*c));

		c->unmap = d->driver.detect_zeroes == ZEROES_UNMAP && discards(d);
	}
	if (!add_image(r, d->type, &d->source, d->driver.format, err))
		return false;
	for (const struct disk_backing *b = d->backing; b && b->type != DISK_TYPE_ABSENT;
		b = b->backing)
		if (!add_image(r, b->type, &b->source, b->format, err))
			return false;
	return true;
}

struct block *block_open_disk(
	struct block_host *h, const struct disk *d, struct fdset *fds, GError **err)
{
	struct rows r = { .rows = g_array_new(FALSE, FALSE, sizeof(struct block_row)),
		.configs = g_ptr_array_new_with_free_func(g_free), .disk = d, .host = h };
	struct block_options options = {
		.readonly = (d->readonly || disk_removable(d)) && !d->source.writable,
		.writethrough = d->driver.cache == CACHE_WRITETHROUGH ||
				d->driver.cache == CACHE_DIRECTSYNC,
		.ignore_discard = !discards(d),
		.align = d->logical_block_size ? d->logical_block_size : 512,
	};
	struct block *root = NULL;

	if (add_all(&r, err))
		root = block_open(h, (struct block_row *)(void *)r.rows->data, r.rows->len,
			&options, fds, err);
	g_array_free(r.rows, TRUE);
	g_ptr_array_free(r.configs, TRUE);
	return root;
}
