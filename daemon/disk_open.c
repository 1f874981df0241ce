/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Images of disks.
 *
 * The image that the guest writes is locked for writing, unless the disk is shared; one that is only read (a disk that is
 * read-only, a backing image) is locked for reading: many may, as long as nobody writes. Locks (disk_lock.c) belong to the
 * open file description and last as long as the worker has it.
 */
#include "daemon/disk_open.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "daemon/disk_lock.h"
#include "daemon/launch.h"
#include "daemon/resources.h"
#include "domain/error.h"
#include "domain/image.h"
#include "domain/json.h"

#define BEHIND_MAX 1000         /* bytes of a note of what is behind an image */

struct image {
	const char *path;
	enum disk_use use;
	bool direct;
	bool writable;                  /* open for writing all the same */
};

static bool is_image(int fd, const char *path, GError **err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return kerr_errno(err, errno, "look at '%s'", path);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return kerr_set(err, KERR_ARGS, "'%s' is neither a file nor a block device", path);
	return true;
}

static int open_image(const struct image *i, GHashTable *machines, GError **err)
{
	bool writes = i->writable || i->use == DISK_USE_WRITE || i->use == DISK_USE_WRITE_SHARED;
	int fd = resource_open_file(i->path, writes ? O_RDWR : O_RDONLY, 0, err);

	if (fd < 0)
		return -1;
	/* afterwards: a file system that cannot do it fails open() in a way that says nothing */
	if (!is_image(fd, i->path, err) || !disk_lock(fd, i->path, i->use, machines, err))
		goto fail;
	if (i->direct && fcntl(fd, F_SETFL, O_DIRECT) < 0) {
		kerr_set(err, KERR_UNSUPPORTED, "'%s': its file system can't do without the page cache: write cache='writeback'", i->path);
		goto fail;
	}
	if (!i->direct && fcntl(fd, F_SETFL, 0) < 0) {
		kerr_errno(err, errno, "make '%s' blocking", i->path);
		goto fail;
	}
	return fd;
fail:
	close(fd);
	return -1;
}

static bool give(struct resource *r, const struct image *i, const struct disk *d, unsigned n, GPtrArray *fds, GHashTable *machines, GError **err)
{
	int fd = open_image(i, machines, err);
	struct launch_fd *f;

	if (fd < 0)
		return false;
	g_free(r->fd);
	r->fd = g_strdup_printf("disk-%s-%u", d->target.dev, n);
	f = g_new(struct launch_fd, 1);
	*f = (struct launch_fd){ g_strdup(r->fd), fd };
	g_ptr_array_add(fds, f);
	return true;
}

/* --- what stands on what --- */

bool disks_read_start(struct image_reader *reader, const char *path, uint8_t *buf, size_t n, size_t *got, uint64_t *size, GError **err)
{
	struct stat st;
	int fd = -1;
	ssize_t len;
	off_t end;
	bool ok = false;

	/* opening some devices does something; a format's word leads anywhere */
	if (!stat(path, &st) && !S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return kerr_set(err, KERR_ARGS, "'%s' is neither a file nor a block device", path);
	fd = resource_open_file(path, O_RDONLY, 0, err);
	if (fd < 0)
		return false;
	if (!is_image(fd, path, err))
		goto out;
	len = pread(fd, buf, n, 0);
	end = len < 0 ? -1 : lseek(fd, 0, SEEK_END);
	if (len < 0 || end < 0) {
		kerr_errno(err, errno, "read '%s'", path);
		goto out;
	}
	*got = (size_t)len;
	*size = (uint64_t)end;
	ok = true;
out:
	close(fd);
	return ok;
}

void disk_doubt(struct disk *d, GPtrArray *notes)
{
	const struct resource *r = disk_source_resource(d->type, &d->source);
	uint8_t start[4];
	uint64_t size;
	size_t got;

	if (!r || !r->path || d->driver.format == FORMAT_QCOW2 || d->device == DISK_DEVICE_CDROM || !disk_runs(d) ||
	    !disks_read_start(NULL, r->path, start, sizeof start, &got, &size, NULL))
		return;                         /* opening it says what is wrong with it */
	if (got == sizeof start && !memcmp(start, "QFI\xfb", sizeof start))
		g_ptr_array_add(notes, g_strdup_printf("disk '%s': '%s' looks like a qcow2 image, but the guest gets the file as it is (raw): if that is not meant, "
			"destroy or detach before it writes, and give the driver type='qcow2' (--subdriver qcow2)", d->target.dev ? d->target.dev : "?", r->path));
}

/* --- startupPolicy --- */

static bool is_missing(const struct disk *d, GError **why)
{
	struct image_reader reader = { disks_read_start };
	struct disk *copy = schema_dup(&disk_schema, d);
	const struct resource *r = disk_source_resource(copy->type, &copy->source);
	int fd = r ? resource_open_file(r->path, O_RDONLY, 0, why) : -1;
	bool missing = false;

	if (fd >= 0) {
		close(fd);
		if (image_chain(copy, &reader, why))
			for (const struct disk_backing *b = copy->backing; b && b->type && !*why; b = b->backing) {
				const struct resource *behind = disk_source_resource(b->type, (struct disk_source *)&b->source);

				fd = behind ? resource_open_file(behind->path, O_RDONLY, 0, why) : -1;
				if (fd >= 0)
					close(fd);
			}
	}
	missing = g_error_matches(*why, kerr_quark(), KERR_NO_FILE);
	schema_free(&disk_schema, copy);
	return missing;
}

void disks_drop_missing(struct machine *m, GPtrArray *dropped)
{
	GPtrArray *all = m->devices.disks;

	for (unsigned i = all ? all->len : 0; i-- > 0;) {
		struct disk *d = all->pdata[i];
		const struct resource *r = disk_source_resource(d->type, &d->source);
		g_autoptr(GError) why = NULL;
		json_object *o;

		if (!r || d->source.startup_policy != STARTUP_OPTIONAL || !disk_runs(d) || !is_missing(d, &why))
			continue;
		o = json_object_new_object();
		json_object_object_add(o, "target", json_object_new_string(d->target.dev));
		json_object_object_add(o, "path", json_object_new_string(r->path));
		json_object_object_add(o, "reason", json_object_new_string(why->message));
		g_ptr_array_add(dropped, o);
		if (d->device == DISK_DEVICE_CDROM) {
			schema_clear(&disk_source_schema, &d->source);
			schema_free(&disk_backing_schema, d->backing);
			d->backing = NULL;
			continue;
		}
		schema_free(&disk_schema, d);
		g_ptr_array_remove_index(all, i);
	}
}

/* What a format keeps in memory is only right as long as nobody else writes: sharing is for raw images (check_disk.c). */
static enum disk_use use_of(const struct disk *d)
{
	bool shared = d->shareable && d->driver.format != FORMAT_QCOW2;

	/* a drive's guest only reads, also what is open for writing; a format may write of itself */
	if ((d->readonly || d->device == DISK_DEVICE_CDROM) && !(d->source.writable && d->driver.format == FORMAT_QCOW2))
		return shared ? DISK_USE_READ_SHARED : DISK_USE_READ;
	return shared ? DISK_USE_WRITE_SHARED : DISK_USE_WRITE;
}

#define BEHIND "trusted.kvmd.backing"   /* only root can write such an attribute of a file */

/* What is behind it, as it is noted: an image may move along with what stands in its folder. New. */
static char *behind_text(const char *path, const struct disk_backing *b)
{
	const struct resource *r = b && b->type ? disk_source_resource(b->type, (struct disk_source *)(uintptr_t)&b->source) : NULL;
	g_autofree char *folder = g_path_get_dirname(path), *slash = g_strconcat(folder, "/", NULL), *text = NULL;

	if (!r)
		return g_strdup("nothing");
	text = g_strdup_printf("%s %s", disk_format_names[b->format], g_str_has_prefix(r->path, slash) ? r->path + strlen(slash) : r->path);
	return strlen(text) <= BEHIND_MAX ? g_steal_pointer(&text) : g_compute_checksum_for_string(G_CHECKSUM_SHA256, text, -1);
}

/*
 * An image says itself what is behind it, and who may write the image can write that: a machine's process too, which would have kvmd
 * open any file for it at the next start. So what is behind an image is noted with it when a machine first gets it to write, and what
 * is another one later must be said by people: in the definition (said).
 */
static bool behind_is_known(int fd, const struct disk *d, const char *path, bool said, GError **err)
{
	g_autofree char *text = behind_text(path, d->backing);
	char was[BEHIND_MAX + 1];
	ssize_t n = said ? -1 : fgetxattr(fd, BEHIND, was, BEHIND_MAX);

	if (said || (n < 0 && errno == ENODATA))
		(void)fsetxattr(fd, BEHIND, text, strlen(text), 0);     /* not all file systems can note it */
	if (n < 0)
		return true;
	was[n] = '\0';
	return !strcmp(was, text) || kerr_set(err, KERR_ACCESS, "'%s' says that its backing image is '%s'; when a machine last had it that was '%s'. If it was you "
		"who changed it, say so in the definition (<backingStore type='file'><format type='…'/><source file='…'/><backingStore/></backingStore>, or just <backingStore/> for none) or by "
		"'setfattr -x " BEHIND "'", path, text, was);
}

static bool open_disk(struct disk *d, GPtrArray *fds, GHashTable *machines, GError **err)
{
	struct image_reader reader = { disks_read_start };
	struct resource *r = disk_source_resource(d->type, &d->source);
	bool direct = d->driver.cache == CACHE_NONE || d->driver.cache == CACHE_DIRECTSYNC;
	struct image top = { r ? r->path : NULL, use_of(d), direct, d->source.writable };
	bool said = d->backing;
	unsigned n = 0;

	if (!r)
		return kerr_set(err, KERR_UNSUPPORTED, "only files and block devices can be opened");
	if (!give(r, &top, d, n++, fds, machines, err) || !image_chain(d, &reader, err))
		return false;
	if (d->driver.format == FORMAT_QCOW2 && (top.writable || top.use == DISK_USE_WRITE) &&
		!behind_is_known(((const struct launch_fd *)fds->pdata[fds->len - 1])->fd, d, r->path, said, err))
		return false;
	for (struct disk_backing *b = d->backing; b && b->type != DISK_TYPE_ABSENT; b = b->backing) {
		struct resource *behind = disk_source_resource(b->type, &b->source);
		struct image image = { behind ? behind->path : NULL, DISK_USE_READ, direct };

		if (!behind)
			return kerr_set(err, KERR_UNSUPPORTED, "a backing image must be a file or a block device");
		if (!give(behind, &image, d, n++, fds, machines, err)) {
			g_prefix_error(err, "backing image: ");
			return false;
		}
	}
	return true;
}

bool disks_open(struct machine *m, GPtrArray *fds, GHashTable *machines, GError **err)
{
	list_each(disk, d, m->devices.disks) {
		if (!disk_runs(d) || !disk_has_source(d) || open_disk(d, fds, machines, err))
			continue;
		g_prefix_error(err, "disk '%s': ", d->target.dev ? d->target.dev : "?");
		return false;
	}
	return true;
}
