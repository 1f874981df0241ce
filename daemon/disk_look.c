/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Images on the host. */
#include "daemon/disk_look.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/disk_open.h"
#include "domain/image.h"

void looked_image_free(gpointer p)
{
	struct looked_image *i = p;

	g_clear_error(&i->err);
	g_free(i->target);
	g_free(i->path);
	g_free(i);
}

struct disk *disk_find(const struct machine *m, const char *name)
{
	list_each(disk, d, m->devices.disks) {
		const struct resource *r = disk_source_resource(d->type, &d->source);

		if (!g_strcmp0(d->target.dev, name) || (r && !strcmp(r->path, name)))
			return d;
	}
	return NULL;
}

/* *size: what a guest sees. */
static bool read_size(struct looked_image *i, GError **err)
{
	g_autofree uint8_t *bytes = g_malloc0(IMAGE_PROBE_MAX);
	size_t n = IMAGE_PROBE_BYTES, need = 0, got;
	struct image_info info;
	GError *why = NULL;

	if (!disks_read_start(NULL, i->path, bytes, n, &got, &i->physical, err))
		return false;
	i->virtual = i->physical;
	if (i->format != FORMAT_QCOW2)
		return true;
	if (!image_probe(bytes, got, i->physical, i->format, &info, &need, &why)) {
		if (need <= got || need > IMAGE_PROBE_MAX) {
			g_propagate_error(err, why);
			return false;
		}
		g_clear_error(&why);
		if (!disks_read_start(NULL, i->path, bytes, need, &got, &i->physical, err) ||
			!image_probe(bytes, got, i->physical, i->format, &info, NULL, err))
			return false;
	}
	i->virtual = info.size;
	image_info_clear(&info);
	return true;
}

static void look(const struct disk *d, const struct resource *r, int format, unsigned depth, GPtrArray *out)
{
	struct looked_image *i = g_new0(struct looked_image, 1);
	struct stat st;

	*i = (struct looked_image){ .target = g_strdup(d->target.dev), .path = g_strdup(r->path), .format = format ? format : FORMAT_RAW, .depth = depth,
		.writable = !depth && !d->readonly && d->device != DISK_DEVICE_CDROM };
	g_ptr_array_add(out, i);
	if (!read_size(i, &i->err))
		return;
	if (stat(r->path, &st) < 0) {
		kerr_errno(&i->err, errno, "look at '%s'", r->path);
		return;
	}
	i->is_file = S_ISREG(st.st_mode);
	i->dev = i->is_file ? st.st_dev : st.st_rdev;
	i->ino = st.st_ino;
	i->allocated = i->is_file ? (uint64_t)st.st_blocks * 512 : i->physical;
}

void disk_look(const struct machine *m, const char *target, GPtrArray *out)
{
	struct image_reader reader = { disks_read_start };

	list_each(disk, d, m->devices.disks) {
		const struct resource *r = disk_source_resource(d->type, &d->source);
		struct disk *copy;
		g_autoptr(GError) err = NULL;
		unsigned depth = 0;

		if (!r || (target && g_strcmp0(target, d->target.dev)))
			continue;
		look(d, r, d->driver.format, depth++, out);
		copy = schema_dup(&disk_schema, d);
		if (image_chain(copy, &reader, &err))
			for (const struct disk_backing *b = copy->backing; b && b->type != DISK_TYPE_ABSENT; b = b->backing) {
				const struct resource *behind = disk_source_resource(b->type, (struct disk_source *)&b->source);

				if (behind)
					look(d, behind, b->format, depth++, out);
			}
		else if (!((struct looked_image *)out->pdata[out->len - 1])->err)
			((struct looked_image *)out->pdata[out->len - 1])->err = g_steal_pointer(&err);
		schema_free(&disk_schema, copy);
	}
}
