/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Any bytes as a qcow2 image: it is refused, or read and written without a byte outside being touched, without a hang and
 * without a write over what is not ours. Opened for reading, then for writing.
 */
#include <string.h>

#include "devices/block_mem.h"
#include "devices/qcow2_create.h"
#include "domain/disk.h"
#include "domain/image.h"

#define FILE_MAX (8u << 20)     /* what the file may grow to */
#define TURNS 2000000           /* of the loop for one request: more is a hang */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct fuzz {
	struct clock *clock;
	struct loop *loop;
	struct block_host *host;
	struct fdset *fds;
	uint8_t buf[70000];
} f;

static void done(struct block_req *r, int64_t result)
{
	*(unsigned *)r->arg = 0;
}

static void io(struct block *b, enum block_op op, unsigned flags, uint64_t off, uint64_t len)
{
	unsigned pending = 1;
	struct iovec iov = { f.buf, MIN(len, sizeof(f.buf)) };
	struct block_req r = { .op = op,
		.flags = flags,
		.offset = off,
		.bytes = len,
		.iov = &iov,
		.iov_n = 1,
		.done = done,
		.arg = &pending };

	block_submit(b, &r);
	for (unsigned i = 0; pending; i++) {
		loop_step(f.loop, 0);
		if (i > TURNS)
			g_error("a request on a damaged image never ended");
	}
}

static void drained(struct done *d, int result)
{
	*(unsigned *)d->arg = 0;
}

static void use(const uint8_t *data, size_t n, bool readonly, bool backing)
{
	struct block_mem_config mem = { .size = n,
		.max = MAX(FILE_MAX, n + 1),
		.data = data,
		.data_n = n },
				base = { .size = 1 << 20 };
	struct block_qcow2_config config = { .cache = 1, .punch = true };
	struct block_row rows[] = { { "qcow2", &config }, { "mem", &mem }, { "mem", &base } };
	struct block_options options = { .align = 1, .readonly = readonly };
	struct block *b = block_open(f.host, rows, backing ? 3 : 2, &options, f.fds, NULL);
	unsigned pending = 1;
	struct done d = { .fn = drained, .arg = &pending };
	uint64_t size, at[8];

	if (!b)
		return;
	size = block_size(b);
	for (unsigned i = 0; i < G_N_ELEMENTS(at);
		i++) { /* from the input, so that a fuzzer can steer */
		memcpy(&at[i], data + (n >= 64 ? (i * 97 + 24) % (n - 8) : 0), MIN(n, 8));
		at[i] = i == 0 || !size ? 0
			: i == 1        ? size - 1
			: i < 5         ? (i * 65536ull) % size
					: at[i] % size;
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(at); i++) {
		uint64_t len = MIN(size - at[i], i % 2 ? 700 : sizeof(f.buf));

		io(b, BLOCK_READ, 0, at[i], len);
		if (readonly)
			continue;
		io(b, BLOCK_WRITE, i == 3 ? BLOCK_FUA : 0, at[i], len);
		io(b, i % 2 ? BLOCK_DISCARD : BLOCK_ZERO, i & 2 ? BLOCK_UNMAP : 0, at[(i + 3) % 8],
			MIN(size - at[(i + 3) % 8], 300000));
		if (i % 3 == 0)
			io(b, BLOCK_FLUSH, 0, 0, 0);
		if (i == 5 && size < 1ull << 40)
			io(b, BLOCK_RESIZE, 0, (size + (1 << 20)) & ~511ull, 0);
	}
	done_begin(&d);
	block_drain(b, &d);
	done_end(&d, 0);
	for (unsigned i = 0; pending; i++) {
		loop_step(f.loop, 0);
		g_main_context_iteration(NULL, FALSE);
		if (i > TURNS)
			g_error("a damaged image is never at rest");
	}
	block_close(b, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct image_info info;
	bool backing;

	if (n < 8 || n > 2 << 20 ||
		!image_probe(data, MIN(n, IMAGE_PROBE_BYTES), n, FORMAT_QCOW2, &info, NULL, NULL))
		return 0;
	backing = info.backing;
	image_info_clear(&info);
	if (!f.loop) {
		f.clock = clock_new_manual();
		f.loop = loop_new("disk", f.clock);
		f.host = block_host_new(f.loop, NULL, f.clock, NULL);
		f.fds = fdset_new();
	}
	use(data, n, true, backing);
	use(data, n, false, backing);
	return 0;
}
