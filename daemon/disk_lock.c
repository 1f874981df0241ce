/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Locks on images, as QEMU and its tools take them, so that each sees the other's.
 *
 * There is a byte for each thing that can be done with an image. Who does it holds a read lock on «100 + thing», who does not want
 * others to do it one on «200 + thing». First one's own locks, then the question whether anybody holds what contradicts them: two
 * that come at once may both be refused, but never both let in. Of machines that come at once one shall be let in: a byte that QEMU
 * does not look at has a write lock of him who writes alone, and read locks of those whom he must not meet.
 */
#include "daemon/disk_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "daemon/resources.h"
#include "domain/error.h"

enum { THING_READ, THING_WRITE, THING_WRITE_SAME, THING_RESIZE, THINGS };
#define DOES 100
#define REFUSES 200
#define DOOR 300
#define BIT(thing) (1u << (thing))

static const struct {
	unsigned does, refuses;         /* bits of things */
	short door;
	const char *others;             /* what somebody else may be doing */
} uses[DISK_USE_N] = {
	[DISK_USE_WRITE] = { BIT(THING_READ) | BIT(THING_WRITE) | BIT(THING_RESIZE), BIT(THING_WRITE) | BIT(THING_RESIZE), F_WRLCK, "" },
	[DISK_USE_WRITE_SHARED] = { BIT(THING_READ) | BIT(THING_WRITE), 0, F_RDLCK, ", which does not share it" },
	[DISK_USE_READ] = { BIT(THING_READ), BIT(THING_WRITE) | BIT(THING_RESIZE), F_RDLCK, ", which may write to it" },
	[DISK_USE_READ_SHARED] = { BIT(THING_READ), 0, F_UNLCK, ", which does not share it" },
};

static struct flock byte_lock(short type, off_t at)
{
	return (struct flock){ .l_type = type, .l_whence = SEEK_SET, .l_start = at, .l_len = 1 };
}

static int take_door(int fd, short type)
{
	struct flock l = byte_lock(type, DOOR);

	return fcntl(fd, F_OFD_SETLK, &l) < 0 ? -errno : 0;
}

/* -errno of the first that fails. EAGAIN: somebody has a write lock there; QEMU never does. */
static int take(int fd, unsigned things, off_t base)
{
	for (unsigned i = 0; i < THINGS; i++) {
		struct flock l = byte_lock(F_RDLCK, base + i);

		if (things & BIT(i) && fcntl(fd, F_OFD_SETLK, &l) < 0)
			return -errno;
	}
	return 0;
}

/* -EAGAIN when somebody else holds one of the bytes. */
static int look(int fd, unsigned things, off_t base)
{
	for (unsigned i = 0; i < THINGS; i++) {
		struct flock l = byte_lock(F_WRLCK, base + i);

		if (!(things & BIT(i)))
			continue;
		if (fcntl(fd, F_OFD_GETLK, &l) < 0)
			return -errno;
		if (l.l_type != F_UNLCK)
			return -EAGAIN;
	}
	return 0;
}

bool disk_lock(int fd, const char *path, enum disk_use use, GHashTable *machines, GError **err)
{
	unsigned does = uses[use].does, refuses = uses[use].refuses;
	g_autofree char *holder = NULL;
	int rc = take_door(fd, uses[use].door);

	rc = rc < 0 ? rc : take(fd, does, DOES);
	rc = rc < 0 ? rc : take(fd, refuses, REFUSES);
	rc = rc < 0 ? rc : look(fd, does, REFUSES);
	rc = rc < 0 ? rc : look(fd, refuses, DOES);
	if (!rc)
		return true;
	if (rc != -EAGAIN && rc != -EACCES)
		return kerr_errno(err, -rc, "lock '%s'", path);
	holder = resource_holder(fd, machines);
	return kerr_set(err, KERR_BUSY, "'%s' is in use by %s%s", path, holder, uses[use].others);
}
