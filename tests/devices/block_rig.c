/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "block_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "domain/error.h"

void rig_init(struct rig *r, bool manual_clock, bool ring)
{
	GError *err = NULL;

	*r = (struct rig){ 0 };
	r->clock = manual_clock ? clock_new_manual() : clock_new();
	r->loop = loop_new("disk", r->clock);
	g_assert_nonnull(r->loop);
	if (ring && !ring_init(&r->ring, 256, 64, &err)) {
		g_test_message("no io_uring: %s", err->message);
		g_clear_error(&err);
	}
	r->host = block_host_new(r->loop, r->ring.files ? &r->ring : NULL, r->clock, NULL);
	r->fds = fdset_new();
}

void rig_finish(struct rig *r)
{
	while (loop_step(r->loop, 0))
		;
	block_host_free(r->host);
	loop_free(r->loop);
	clock_free(r->clock);
	fdset_free(r->fds);
	ring_finish(&r->ring);
	if (r->folder) {
		GDir *d = g_dir_open(r->folder, 0, NULL);
		const char *name;

		while (d && (name = g_dir_read_name(d))) {
			g_autofree char *path = g_build_filename(r->folder, name, NULL);

			g_unlink(path);
		}
		if (d)
			g_dir_close(d);
		g_rmdir(r->folder);
		g_free(r->folder);
	}
}

void rig_run(struct rig *r, const unsigned *pending)
{
	for (unsigned idle = 0; *pending;) {
		idle = loop_step(r->loop, idle ? 20 : 0) ? 0 : idle + 1;
		if (idle > 1000)
			g_error("a request never ended");
	}
}

static void io_done(struct block_req *req, int64_t result)
{
	int64_t *out = req->arg;

	out[0] = result;
	((unsigned *)(out + 1))[0] = 0;
}

int64_t rig_io(struct rig *r, struct block *b, enum block_op op, unsigned flags, uint64_t off,
	void *buf, uint64_t len)
{
	struct { int64_t result; unsigned pending; } end = { 0, 1 };
	struct iovec iov = { buf, len };
	struct block_req req = { .op = op,
		.flags = flags,
		.offset = off,
		.bytes = op == BLOCK_RESIZE ? 0 : len,
		.iov = &iov,
		.iov_n = 1,
		.done = io_done,
		.arg = &end };

	block_plug(b);
	block_submit(b, &req);
	block_unplug(b);
	rig_run(r, &end.pending);
	return end.result;
}

static void drained(struct done *d, int result)
{
	*(unsigned *)d->arg = 0;
}

void rig_drain(struct rig *r, struct block *b)
{
	unsigned pending = 1;
	struct done done = { .fn = drained, .arg = &pending };

	done_begin(&done);
	block_drain(b, &done);
	done_end(&done, 0);
	for (unsigned i = 0; pending; i++) {
		loop_step(r->loop, 0);
		g_main_context_iteration(NULL, FALSE);
		if (i > 10000000)
			g_error("drain never ended");
	}
}

bool rig_close(struct rig *r, struct block *b, bool may_fail)
{
	GError *err = NULL;
	bool ok;

	rig_drain(r, b);
	ok = block_close(b, &err);
	if (!may_fail)
		g_assert_no_error(err);
	g_clear_error(&err);
	return ok;
}

struct block *rig_open(struct rig *r, const struct block_row *rows, unsigned n,
	const struct block_options *options)
{
	static const struct block_options none = { .align = 1 };
	GError *err = NULL;
	struct block *b = block_open(r->host, rows, n, options ? options : &none, r->fds, &err);

	g_assert_no_error(err);
	return b;
}

char *rig_path(struct rig *r, const char *name)
{
	if (!r->folder)
		r->folder = g_dir_make_tmp("kvmd-block-XXXXXX", NULL);
	g_assert_nonnull(r->folder);
	return g_build_filename(r->folder, name, NULL);
}

void rig_save(const char *path, const void *data, uint64_t n)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	g_assert_cmpint(fd, >=, 0);
	for (uint64_t at = 0; at < n;) {        /* sparse: whole MiB of zeroes are holes */
		uint64_t part = MIN(n - at, 65536);
		const char *p = (const char *)data + at;

		if (p[0] || memcmp(p, p + 1, part - 1))
			g_assert_cmpint(pwrite(fd, p, part, (off_t)at), ==, part);
		at += part;
	}
	g_assert_cmpint(ftruncate(fd, (off_t)n), ==, 0);
	close(fd);
}

int rig_command(char **out, const char *first, ...)
{
	g_autoptr(GPtrArray) argv = g_ptr_array_new();
	g_autofree char *text = NULL, *errors = NULL;
	GError *err = NULL;
	int status;
	va_list ap;

	va_start(ap, first);
	for (const char *a = first; a; a = va_arg(ap, const char *))
		g_ptr_array_add(argv, (gpointer)a);
	va_end(ap);
	g_ptr_array_add(argv, NULL);
	if (!g_spawn_sync(NULL, (char **)argv->pdata, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, &text,
		    &errors, &status, &err)) {
		g_clear_error(&err);
		return -1;
	}
	if (out)
		*out = g_strconcat(text, errors, NULL);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

bool rig_has_qemu_img(void)
{
	static int has = -1;

	if (has < 0)
		has = rig_command(NULL, "qemu-img", "--version", NULL) == 0;
	return has;
}

int rig_check(const char *path, int worst)
{
	g_autofree char *out = NULL;
	int rc = rig_command(&out, "qemu-img", "check", "-f", "qcow2", path, NULL);

	if (rc && !(rc == 3 && worst == 3))
		g_printerr("qemu-img check %s: exit %d\n%s\n", path, rc, out);
	return rc;
}

uint64_t rig_count(const char *variable, uint64_t normal, uint64_t full)
{
	const char *own = g_getenv(variable), *all = g_getenv("KVMD_LONG");

	return own ? g_ascii_strtoull(own, NULL, 10) : all && *all == '1' ? full : normal;
}
