/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A restricted io_uring: made disabled, restricted, then enabled for good. */
#include "hv/ring.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "domain/error.h"

static const uint8_t allowed_ops[] = {
	IORING_OP_NOP, IORING_OP_READ, IORING_OP_WRITE, IORING_OP_READV, IORING_OP_WRITEV, IORING_OP_FSYNC,
	IORING_OP_FALLOCATE, IORING_OP_ASYNC_CANCEL,
};

/* liburing declares the two calls we need here, but Debian's library does not export them. */
static int ring_register(struct ring *r, unsigned op, const void *arg, unsigned n)
{
	return syscall(SYS_io_uring_register, r->uring.ring_fd, op, arg, n) < 0 ? -errno : 0;
}

bool ring_init(struct ring *r, unsigned entries, unsigned files, GError **err)
{
	struct io_uring_params p = { .flags = IORING_SETUP_R_DISABLED | IORING_SETUP_CLAMP };
	struct io_uring_restriction rule[G_N_ELEMENTS(allowed_ops) + 2];
	g_autofree int *none = g_new(int, files);
	unsigned n = 0;
	int rc;

	/* No interrupt of our thread for each completion: it takes them when it calls next, or sleeps. Before Linux 5.19: as ever. */
	p.flags |= IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG;
	rc = io_uring_queue_init_params(entries, &r->uring, &p);
	if (rc == -EINVAL) {
		p = (struct io_uring_params){ .flags = IORING_SETUP_R_DISABLED | IORING_SETUP_CLAMP };
		rc = io_uring_queue_init_params(entries, &r->uring, &p);
	}
	if (rc < 0)
		return kerr_errno(err, -rc, "make an I/O ring (kernel.io_uring_disabled?)");
	memset(rule, 0, sizeof rule);
	memset(none, 0xff, sizeof(int) * files);
	for (; n < G_N_ELEMENTS(allowed_ops); n++) {
		rule[n].opcode = IORING_RESTRICTION_SQE_OP;
		rule[n].sqe_op = allowed_ops[n];
	}
	rule[n].opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED;
	rule[n++].sqe_flags = IOSQE_FIXED_FILE;
	rule[n].opcode = IORING_RESTRICTION_REGISTER_OP;
	rule[n++].register_op = IORING_REGISTER_FILES_UPDATE;
	rc = io_uring_register_files(&r->uring, none, files);
	if (rc >= 0)
		rc = ring_register(r, IORING_REGISTER_RESTRICTIONS, rule, n);
	if (rc >= 0)
		rc = ring_register(r, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
	if (rc < 0) {
		io_uring_queue_exit(&r->uring);
		return kerr_errno(err, -rc, "restrict an I/O ring");
	}
	r->files = files;
	return true;
}

void ring_finish(struct ring *r)
{
	if (r->files)
		io_uring_queue_exit(&r->uring);
	r->files = 0;
}

int ring_set_file(struct ring *r, unsigned slot, int fd)
{
	int rc;

	if (slot >= r->files)
		return -EINVAL;
	rc = io_uring_register_files_update(&r->uring, slot, &fd, 1);
	return rc < 0 ? rc : 0;
}
