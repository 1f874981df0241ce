/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Any bytes as a guest's memory with a virtqueue in it: the first eight choose the kind of ring and where its areas lie, the
 * rest is laid over a small RAM from address 0 on. The device pops what it can, reads and writes every chain, holds some
 * back, gives others back, saves and loads in between. A copy of the pages around RAM shows stray writes to the sanitizer.
 */
#include <string.h>

#include "devices/virtq.h"
#include "domain/state.h"

#define RAM 65536u
#define HELD 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void nothing(struct virtq *q)
{
}

static void broken(struct virtq *q, const char *why)
{
	g_assert(why && *why);
	++*(unsigned *)q->arg;
}

static void use(struct virtq *q, struct chain *c)
{
	uint8_t buf[512];
	uint64_t sum = 0;
	size_t got;

	g_assert(c->out_n + c->in_n <= VIRTQ_SEGMENTS_MAX && c->out_len <= UINT32_MAX && c->in_len <= UINT32_MAX);
	for (unsigned i = 0; i < 64 && (got = chain_read(c, buf, sizeof(buf))) > 0; i++)
		sum += buf[0];
	memset(buf, (int)sum, sizeof(buf));
	for (unsigned i = 0; i < 64 && chain_write(c, buf, sizeof(buf)) > 0; i++)
		;
	virtq_push(q, c, c->written);
}

static void save_and_load(struct virtq *q, const struct virtq_setup *setup, struct chain *held)
{
	struct virtq_state *s = schema_new(&virtq_state_schema), *to = schema_new(&virtq_state_schema);
	GByteArray *bytes = g_byte_array_new();
	const uint8_t *p;
	size_t n;

	virtq_save(q, s);
	state_save(&virtq_state_schema, s, bytes);
	p = bytes->data;
	n = bytes->len;
	g_assert(state_load(&virtq_state_schema, to, &p, &n, NULL));
	g_assert(schema_equal(&virtq_state_schema, s, to));
	if (virtq_start(q, setup))
		g_assert(virtq_load(q, to, NULL));
	for (unsigned i = 0; i < HELD; i++)
		virtq_push(q, &held[i], 1);     /* orphans now, or never popped */
	schema_free(&virtq_state_schema, s);
	schema_free(&virtq_state_schema, to);
	g_byte_array_unref(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct ram ram = { .fd = -1 };
	struct chain held[HELD] = { 0 };
	unsigned breaks = 0, turns = 0;
	struct virtq q = { .ram = &ram, .interrupt = nothing, .broken = broken, .arg = &breaks };
	struct virtq_setup setup;

	if (n < 8)
		return 0;
	if (!ram.size) {
		g_assert(ram_init_anon(&ram, RAM, NULL));
		ram.dirty = g_new0(unsigned long, RAM / 4096 / (8 * sizeof(long)) + 1);
	}
	setup = (struct virtq_setup){ .size = (uint16_t)(data[1] + 1), .packed = data[0] & 1, .indirect = data[0] & 2,
		.event_idx = data[0] & 4, .desc = data[2] * 16, .driver = data[3] * 256 + data[4] * 4u, .device = data[5] * 256u };
	if (!setup.packed)
		setup.size = (uint16_t)(1u << (data[1] & 7));
	g_assert(ram_fill(&ram, 0, 0, RAM));
	g_assert(ram_write(&ram, 0, data + 8, MIN(n - 8, RAM)));
	virtq_init(&q);
	if (virtq_start(&q, &setup)) {
		for (; turns < 300 && !breaks; turns++) {
			struct chain *c = &held[turns % HELD];

			if (c->q)
				use(&q, c);
			if (!virtq_pop(&q, c))
				break;
			if (data[6] & 1 << turns % 8)
				use(&q, c);
			else if (data[7] && !(turns % data[7]))
				virtq_unpop(&q, c);
			virtq_signal(&q);
			if (data[6] & 0x80 && turns == 5)
				save_and_load(&q, &setup, held);
		}
	}
	g_assert(breaks <= 1 || turns > 5);
	virtq_stop(&q);
	for (unsigned i = 0; i < HELD; i++)
		virtq_push(&q, &held[i], 1);
	virtq_finish(&q);
	return 0;
}
