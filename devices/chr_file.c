/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Character devices into files, and logs. A log that reaches its limit is copied into its backup
 * descriptor and starts anew, so that a guest cannot fill the host's disk, and no path is needed for
 * it. What a full disk does not take is dropped and counted.
 */
#include "devices/chr.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "domain/error.h"

struct log {
	struct chr_end end;
	int backup;             /* -1: none */
	uint64_t size;          /* of the file */
};

/* Not watched: a file is always ready. Closed with the end, as it is .watch.fd. */
static bool file_open(struct chr_end *e, const struct chardev *config, struct fdset *fds, GError **err)
{
	e->watch.fd = fdset_take(fds, config->source.path.fd, err);
	return e->watch.fd >= 0;
}

static ssize_t file_write(struct chr_end *e, const uint8_t *data, size_t n)
{
	size_t done = 0;

	while (done < n) {
		ssize_t put = write(e->watch.fd, data + done, n - done);

		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0) {
			e->lost += n - done;
			break;
		}
		done += (size_t)put;
	}
	return (ssize_t)n;
}

const struct chr_ops chr_file = {
	.name = "file",
	.size = sizeof(struct chr_end),
	.open = file_open,
	.write = file_write,
};

/* What cannot be copied is given up: the log must not grow. */
static void rotate(struct log *l)
{
	uint8_t buf[16384];
	off_t at = 0;
	ssize_t n;

	if (l->backup >= 0 && ftruncate(l->backup, 0) == 0) {
		while ((n = pread(l->end.watch.fd, buf, sizeof(buf), at)) > 0 &&
			pwrite(l->backup, buf, (size_t)n, at) == n)
			at += n;
	}
	if (ftruncate(l->end.watch.fd, 0) == 0) {
		(void)lseek(l->end.watch.fd, 0, SEEK_SET);      /* one opened for appending does not need it */
		l->size = 0;
	}
}

static ssize_t log_write(struct chr_end *e, const uint8_t *data, size_t n)
{
	struct log *l = (struct log *)e;

	if (l->size >= CHR_LOG_BYTES)
		rotate(l);
	if (l->size >= CHR_LOG_BYTES) {
		e->lost += n;
		return (ssize_t)n;
	}
	n = MIN(n, CHR_LOG_BYTES - l->size);
	l->size += n;
	return file_write(e, data, n);
}

static bool log_start(struct chr_end *e, GError **err)
{
	struct log *l = (struct log *)e;
	struct stat st;

	if (fstat(e->watch.fd, &st) < 0)
		return kerr_errno(err, errno, "console log");
	l->size = st.st_size > 0 ? (uint64_t)st.st_size : 0;
	(void)lseek(e->watch.fd, 0, SEEK_END);
	return true;
}

void chr_log_init(struct chr_end *e, int fd, int backup)
{
	struct log *l = (struct log *)e;

	e->watch.fd = fd;
	l->backup = backup;
}

static bool log_open(struct chr_end *e, const struct chardev *config, struct fdset *fds, GError **err)
{
	g_autofree char *name = g_strconcat(config->log.file.fd, ".backup", NULL);

	chr_log_init(e, -1, -1);
	e->watch.fd = fdset_take(fds, config->log.file.fd, err);
	if (e->watch.fd < 0)
		return false;
	if (fdset_has(fds, name))
		((struct log *)e)->backup = fdset_take(fds, name, NULL);
	return true;
}

static void log_close(struct chr_end *e)
{
	struct log *l = (struct log *)e;

	if (l->backup >= 0)
		close(l->backup);
}

const struct chr_ops chr_log = {
	.name = "log",
	.size = sizeof(struct log),
	.open = log_open,
	.start = log_start,
	.close = log_close,
	.write = log_write,
};
