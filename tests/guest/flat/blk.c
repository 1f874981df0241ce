/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a disk does, seen from its driver: keeps qd=N requests of bs=BYTES in flight on the first virtio-blk function, spread
 * over queues=N, for ms=N milliseconds or ops=N requests, and tells how many it were and how long each took. Everything
 * happens at level 3 by polling (virtio.h), so the device's side is what is measured.
 *
 * op=read|write|randread|randwrite|flush|scatter; scatter writes each block of the disk once in mixed order. hz=N: TSC
 * frequency, else it is measured. warm=MS before it counts; size=BYTES used of the disk; check=1: the first 8 bytes of each
 * block must be its number after a scatter.
 */
#include "virtio.h"

#define BLK_ID 2
#define BLK_F_FLUSH (1ull << 9)
#define BLK_F_MQ (1ull << 12)
#define QD_MAX 256
#define QUEUES_MAX 8
enum { BLK_IN = 0, BLK_OUT = 1, BLK_FLUSH = 4 };

struct req {
	struct desc table[4];           /* 16-aligned, within a page */
	uint32_t type, reserved;
	uint64_t sector;
	uint64_t start, block;
	volatile uint8_t status;
	uint8_t pad[15], *data;
	struct ring *ring;
};
_Static_assert(sizeof(struct req) % 16 == 0, "tables must be aligned");

static struct virtio_fn fn;
static struct ring rings[QUEUES_MAX];
static struct hist hist;
static struct req *reqs;
static uint64_t bs, blocks, at, errors, wrong, ended, random_state = 88172645463325252ull;
static uint32_t type;
static bool is_random, is_scatter, checks;

static uint64_t random_block(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint64_t)((unsigned __int128)random_state * blocks >> 64);
}

static void choose(struct req *r)
{
	if (is_random)
		r->block = random_block();
	else if (is_scatter)
		r->block = at++ * 2654435761u % blocks;         /* a prime: each once */
	else
		r->block = at++ % blocks;
	r->sector = type == BLK_FLUSH ? 0 : r->block * (bs / 512);
	if (is_scatter)
		*(uint64_t *)r->data = r->block;
}

static void add(struct req *r)
{
	choose(r);
	r->status = 0xff;
	r->start = rdtsc();
	ring_add(r->ring, (uint16_t)((r - reqs) * (fn.features & VIRTIO_F_INDIRECT ? 1 : 3)));
}

/* The descriptors never change: only header, data and status do. */
static void lay_out(struct req *r, unsigned n)
{
	bool indirect = fn.features & VIRTIO_F_INDIRECT;
	struct desc *d = indirect ? r->table : r->ring->desc + 3 * n;
	uint16_t base = indirect ? 0 : (uint16_t)(3 * n);
	unsigned used = 0;

	r->type = type;
	d[used] = (struct desc){ (uint64_t)&r->type, 16, DESC_NEXT, (uint16_t)(base + used + 1) };
	used++;
	if (type != BLK_FLUSH) {
		d[used] = (struct desc){ (uint64_t)r->data, (uint32_t)bs, DESC_NEXT | (type == BLK_IN ? DESC_WRITE : 0), (uint16_t)(base + used + 1) };
		used++;
	}
	d[used++] = (struct desc){ (uint64_t)&r->status, 1, DESC_WRITE, 0 };
	if (indirect)
		r->ring->desc[n] = (struct desc){ (uint64_t)r->table, 16 * used, DESC_INDIRECT, 0 };
}

/* Takes what is done and does it again, until `until`, or until `most` have been begun; then waits for the rest. */
static uint64_t drive(unsigned queues, unsigned qd, uint64_t until, uint64_t most)
{
	uint64_t begun = 0, in_flight = 0, now;
	unsigned step = fn.features & VIRTIO_F_INDIRECT ? 1 : 3;

	ended = 0;
	for (unsigned i = 0; i < qd && begun < most; i++, begun++, in_flight++)
		add(&reqs[i]);
	for (unsigned i = 0; i < queues; i++)
		ring_kick(&rings[i]);
	while (in_flight) {
		for (unsigned i = 0; i < queues; i++) {
			uint32_t len;
			int head;

			while ((head = ring_used(&rings[i], &len)) >= 0) {
				struct req *r = &reqs[(unsigned)head / step];

				now = rdtsc();
				hist_add(&hist, now - r->start);
				errors += r->status != 0;
				wrong += checks && *(uint64_t *)r->data != r->block;
				ended++;
				in_flight--;
				if (now >= until || begun >= most)
					continue;
				add(r);
				begun++;
				in_flight++;
			}
			ring_kick(&rings[i]);
		}
		__builtin_ia32_pause();
	}
	return ended;
}

static void choose_op(void)
{
	is_random = param_is("op", "randread") || param_is("op", "randwrite");
	is_scatter = param_is("op", "scatter");
	type = is_scatter || param_is("op", "write") || param_is("op", "randwrite") ? BLK_OUT : param_is("op", "flush") ? BLK_FLUSH : BLK_IN;
	checks = param("check", 0) && type == BLK_IN;
}

void flat_main(void)
{
	unsigned qd = (unsigned)param("qd", 1), queues = (unsigned)param("queues", 1);
	uint64_t hz = param("hz", 0), size, start, cycles, n, kicks = 0, most = param("ops", ~0ull);

	if (!hz)
		hz = tsc_hz();
	bs = param("bs", 4096);
	if (!qd || qd > QD_MAX || !queues || queues > QUEUES_MAX || !bs || bs % 512)
		give_up("qd is 1 to 256, queues 1 to 8, bs a multiple of 512");
	choose_op();
	virtio_find(&fn, BLK_ID, BLK_F_FLUSH | BLK_F_MQ);
	size = *(volatile uint32_t *)fn.config | (uint64_t)*(volatile uint32_t *)(fn.config + 4) << 32;
	size = param("size", size * 512);
	blocks = size / bs;
	if (!blocks)
		give_up("the disk is too small");
	for (unsigned i = 0; i < queues; i++)
		ring_make(&fn, &rings[i], i);
	if (qd * (fn.features & VIRTIO_F_INDIRECT ? 1 : 3) > rings[0].size)
		give_up("the ring is too small");
	reqs = pages(sizeof(struct req) * QD_MAX);
	for (unsigned i = 0; i < qd; i++) {
		reqs[i].ring = &rings[i % queues];
		reqs[i].data = pages(bs);
		lay_out(&reqs[i], i);
		memset(reqs[i].data, (int)i + 1, bs);   /* memory that was never touched is slow the first time */
	}
	virtio_go(&fn);
	if (param("warm", 0))
		drive(queues, qd, rdtsc() + hz / 1000 * param("warm", 0), ~0ull);
	hist = (struct hist){ 0 };
	for (unsigned i = 0; i < queues; i++)
		kicks -= rings[i].kicks;
	puts_("go\n");
	start = rdtsc();
	n = drive(queues, qd, start + hz / 1000 * param("ms", 1000), most);
	cycles = rdtsc() - start;
	for (unsigned i = 0; i < queues; i++)
		kicks += rings[i].kicks;
	print("operations %lu cycles %lu p50 %lu p99 %lu kicks %lu errors %lu wrong %lu\n", n, cycles, hist_percentile(&hist, 50),
		hist_percentile(&hist, 99), kicks, errors, wrong);
	puts_("done\n");
	poweroff();
}
