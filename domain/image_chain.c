/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The images behind a disk, as far as its XML leaves them to the images themselves. */
#include <string.h>

#include "domain/error.h"
#include "domain/image.h"

struct link {                   /* an image, and where the next one goes */
	int type, format;
	struct disk_source *source;
	struct disk_backing **next;
};

static bool probe(struct image_reader *reader, const char *path, int format, struct image_info *info, GError **err)
{
	g_autofree uint8_t *buf = g_malloc(IMAGE_PROBE_BYTES);
	size_t got = 0, need = 0;
	uint64_t size = 0;
	GError *why = NULL;

	if (!reader->read(reader, path, buf, IMAGE_PROBE_BYTES, &got, &size, err))
		return false;
	if (image_probe(buf, got, size, format, info, &need, &why))
		return true;
	if (need > got) {
		g_clear_error(&why);
		buf = g_realloc(buf, need);
		if (!reader->read(reader, path, buf, need, &got, &size, err))
			return false;
		if (image_probe(buf, got, size, format, info, NULL, &why))
			return true;
	}
	g_propagate_prefixed_error(err, why, "image '%s': ", path);
	return false;
}

/* Adds what the image at l stands on; *end: it stands on nothing. */
static bool add_backing(const struct link *l, const char *path, struct image_reader *reader, bool *end, GError **err)
{
	struct image_info info = { 0 };
	g_autofree char *behind = NULL;
	struct disk_backing *b;
	bool ok;

	if (!probe(reader, path, l->format, &info, err))
		return false;
	*end = !info.backing;
	b = schema_new(&disk_backing_schema);
	if (info.backing) {
		behind = image_backing_path(path, info.backing, err);
		if (behind && info.backing_format == FORMAT_ABSENT) {
			kerr_set(err, KERR_UNSUPPORTED, "image '%s' doesn't say of which format its backing image '%s' is: 'qemu-img"
				" rebase -u -b %s -F raw' (or qcow2) writes it down", path, behind, info.backing);
			g_clear_pointer(&behind, g_free);
		}
		b->type = DISK_FILE;
		b->format = info.backing_format;
		b->source.file.path = g_strdup(behind);
	}
	ok = *end || behind;
	image_info_clear(&info);
	if (ok)
		*l->next = b;
	else
		schema_free(&disk_backing_schema, b);
	return ok;
}

bool image_chain(struct disk *d, struct image_reader *reader, GError **err)
{
	struct link l = { d->type, d->driver.format, &d->source, &d->backing };
	g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

	for (unsigned n = 0; n < IMAGE_CHAIN_MAX; n++) {
		struct resource *file = disk_source_resource(l.type, l.source);
		bool end = false;

		if (!file || l.format != FORMAT_QCOW2)
			return true;            /* nothing behind it that we could know of */
		if (!g_hash_table_add(seen, g_strdup(file->path)))
			return kerr_set(err, KERR_STATE_DATA, "image '%s' stands on itself", file->path);
		if (!*l.next && !add_backing(&l, file->path, reader, &end, err))
			return false;
		if (end || (*l.next)->type == DISK_TYPE_ABSENT)
			return true;
		l = (struct link){ (*l.next)->type, (*l.next)->format, &(*l.next)->source, &(*l.next)->backing };
	}
	return kerr_set(err, KERR_LIMIT, "more than %u images in a chain", IMAGE_CHAIN_MAX);
}
