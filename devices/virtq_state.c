/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * State of a virtqueue: its indices, and outstanding chains with all their segments. Heads would not do: a packed ring's
 * entries are overwritten by those that were finished before.
 */
#include "devices/virtq.h"

#include "domain/error.h"
#include "domain/rows.h"

#define SEGMENTS_BYTES (VIRTQ_SEGMENTS_MAX * 12)

static const struct field saved_fields[] = {
	U16(struct virtq_saved, id, NULL, 0, UINT16_MAX, 0, "what its used entry will say"),
	U16(struct virtq_saved, count, NULL, 0, VIRTQ_SIZE_MAX, 0, "entries of the ring it took"),
	BYTES(struct virtq_saved, out, NULL, SEGMENTS_BYTES, 0, "segments the device reads: address, length"),
	BYTES(struct virtq_saved, in, NULL, SEGMENTS_BYTES, 0, "segments the device writes: address, length"),
	END
};
const struct schema virtq_saved_schema = { .name = "chain", .doc = "an outstanding request", .version = 1,
	.size = sizeof(struct virtq_saved), .fields = saved_fields };

static const struct field state_fields[] = {
	LIST(struct virtq_state, chains, NULL, virtq_saved_schema, VIRTQ_SIZE_MAX, 0, "outstanding requests, oldest first"),
	U16(struct virtq_state, size, NULL, 0, VIRTQ_SIZE_MAX, 0, "entries"),
	U16(struct virtq_state, vector, NULL, 0, UINT16_MAX, 0, "MSI-X vector; 65535: none", .def = UINT16_MAX),
	FLAG(struct virtq_state, enabled, NULL, 0, "in use"),
	U64(struct virtq_state, desc, NULL, 0, UINT64_MAX, 0, "address of the descriptor area"),
	U64(struct virtq_state, driver, NULL, 0, UINT64_MAX, 0, "address of the driver's area"),
	U64(struct virtq_state, device, NULL, 0, UINT64_MAX, 0, "address of the device's area"),
	U16(struct virtq_state, avail, NULL, 0, UINT16_MAX, 0, "next available entry"),
	U16(struct virtq_state, used, NULL, 0, UINT16_MAX, 0, "next used entry"),
	FLAG(struct virtq_state, avail_wrap, NULL, 0, "wrap counter of the next available entry (packed)"),
	FLAG(struct virtq_state, used_wrap, NULL, 0, "wrap counter of the next used entry (packed)"),
	END
};
const struct schema virtq_state_schema = { .name = "queue", .doc = "a virtqueue", .version = 1,
	.size = sizeof(struct virtq_state), .fields = state_fields };

static GByteArray *segments(const struct ram *ram, const struct iovec *v, unsigned n)
{
	GByteArray *b = n ? g_byte_array_sized_new(n * 12) : NULL;

	for (unsigned i = 0; i < n; i++) {
		uint64_t addr = GUINT64_TO_BE(virtq_gpa(ram, v[i].iov_base));
		uint32_t len = GUINT32_TO_BE((uint32_t)v[i].iov_len);

		g_byte_array_append(b, (const uint8_t *)&addr, 8);
		g_byte_array_append(b, (const uint8_t *)&len, 4);
	}
	return b;
}

static struct virtq_saved *saved_new(GPtrArray **list, uint16_t id, uint16_t count)
{
	struct virtq_saved *s = schema_new(&virtq_saved_schema);

	s->id = id;
	s->count = count;
	if (!*list)
		*list = g_ptr_array_new();
	g_ptr_array_add(*list, s);
	return s;
}

void virtq_save(struct virtq *q, struct virtq_state *s)
{
	s->avail = q->avail;
	s->used = q->used;
	s->avail_wrap = q->avail_wrap;
	s->used_wrap = q->used_wrap;
	for (struct chain *c = q->list.next; c != &q->list; c = c->next) {
		struct virtq_saved *to = saved_new(&s->chains, c->id, c->count);

		to->out = segments(q->ram, chain_iov(c), c->out_n);
		to->in = segments(q->ram, chain_in(c), c->in_n);
	}
	for (unsigned i = q->again_at; q->again && i < q->again->len; i++) {
		const struct virtq_saved *from = q->again->pdata[i];

		schema_copy(&virtq_saved_schema, saved_new(&s->chains, from->id, from->count), from);
	}
}

void virtq_unpop(struct virtq *q, struct chain *c)
{
	struct virtq_saved *s;
	GPtrArray *list = NULL;

	if (c->q) {
		s = saved_new(&list, c->id, c->count);
		s->out = segments(q->ram, chain_iov(c), c->out_n);
		s->in = segments(q->ram, chain_in(c), c->in_n);
		for (unsigned i = q->again_at; q->again && i < q->again->len; i++)
			g_ptr_array_add(list, q->again->pdata[i]);
		for (unsigned i = 0; q->again && i < q->again_at; i++)
			schema_free(&virtq_saved_schema, q->again->pdata[i]);
		if (q->again)
			g_ptr_array_unref(q->again);
		q->again = list;
		q->again_at = 0;
		virtq_unlink(q, c);
	}
	c->q = NULL;
	g_clear_pointer(&c->more, g_free);
}

bool virtq_load(struct virtq *q, struct virtq_state *s, GError **err)
{
	if (q->set.packed && (s->avail >= q->set.size || s->used >= q->set.size))
		return kerr_set(err, KERR_STATE_DATA, "queue %u: a position is outside the ring", q->index);
	if (s->chains && s->chains->len > q->set.size)
		return kerr_set(err, KERR_STATE_DATA, "queue %u: more requests than entries", q->index);
	for (unsigned i = 0; s->chains && i < s->chains->len; i++) {
		const struct virtq_saved *c = s->chains->pdata[i];

		if (c->count > q->set.size || (q->set.packed && !c->count))
			return kerr_set(err, KERR_STATE_DATA, "queue %u: impossible request", q->index);
	}
	q->avail = q->seen = s->avail;
	q->used = s->used;
	q->avail_wrap = s->avail_wrap;
	q->used_wrap = s->used_wrap;
	if (s->chains && s->chains->len)
		q->again = g_steal_pointer(&s->chains);
	return true;
}
