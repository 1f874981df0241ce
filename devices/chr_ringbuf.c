/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A character device without a host side but memory: the last bytes of its output, until a QMP client reads them. */
#include <string.h>

#include "devices/chr_core.h"
#include "domain/error.h"

struct ringbuf {
	struct chr_end end;
	uint8_t *data;
	size_t size;                    /* a power of two */
	uint64_t head, tail;            /* bytes put in, and taken out or lost */
};

static bool ringbuf_open(struct chr_end *e, const struct chardev *config, struct fdset *fds, GError **err)
{
	struct ringbuf *r = (struct ringbuf *)e;
	uint32_t size = config->source.ring;

	if (!size || size > CHARDEV_RING_MAX || size & (size - 1))
		return kerr_set(err, KERR_ARGS, "size of ringbuf chardev must be power of two");
	r->size = size;
	r->data = g_try_malloc(size);
	return r->data || kerr_set(err, KERR_LIMIT, "no memory for a ringbuf of %u bytes", size);
}

static void ringbuf_close(struct chr_end *e)
{
	g_free(((struct ringbuf *)e)->data);
}

/* n is at most the ring's size. */
static void copy_in(struct ringbuf *r, uint64_t at, const uint8_t *in, size_t n)
{
	size_t from = at & (r->size - 1), part = MIN(n, r->size - from);

	memcpy(r->data + from, in, part);
	memcpy(r->data, in + part, n - part);
}

static void copy_out(const struct ringbuf *r, uint64_t at, uint8_t *out, size_t n)
{
	size_t from = at & (r->size - 1), part = MIN(n, r->size - from);

	memcpy(out, r->data + from, part);
	memcpy(out + part, r->data, n - part);
}

static ssize_t ringbuf_write(struct chr_end *e, const uint8_t *data, size_t n)
{
	struct ringbuf *r = (struct ringbuf *)e;
	size_t skip = n > r->size ? n - r->size : 0;

	copy_in(r, r->head + skip, data + skip, n - skip);
	r->head += n;
	if (r->head - r->tail > r->size) {
		e->lost += r->head - r->tail - r->size;
		r->tail = r->head - r->size;
	}
	return (ssize_t)n;
}

const struct chr_ops chr_ringbuf = {
	.name = "ringbuf",
	.size = sizeof(struct ringbuf),
	.open = ringbuf_open,
	.close = ringbuf_close,
	.write = ringbuf_write,
};

/* --- for the commands --- */

struct access {
	struct chr *chr;
	GByteArray *out;
	const uint8_t *in;
	size_t n;
	bool ok;
};

static void access_on_loop(void *arg)
{
	struct access *a = arg;
	struct ringbuf *r;

	chr_flush(a->chr);
	if (!a->chr->backend || a->chr->backend->ops != &chr_ringbuf)
		return;
	a->ok = true;
	r = (struct ringbuf *)a->chr->backend;
	if (a->in) {
		(void)ringbuf_write(&r->end, a->in, a->n);
		return;
	}
	a->n = MIN(a->n, r->head - r->tail);
	g_byte_array_set_size(a->out, (guint)a->n);
	if (a->n)
		copy_out(r, r->tail, a->out->data, a->n);
	r->tail += a->n;
}

static bool access_ring(struct access *a, GError **err)
{
	loop_call(a->chr->loop, access_on_loop, a);
	return a->ok || kerr_set(err, KERR_ARGS, "it is not a ringbuf device");
}

bool chr_ringbuf_read(struct chr *c, size_t n, GByteArray *out, GError **err)
{
	return access_ring(&(struct access){ .chr = c, .out = out, .n = n }, err);
}

bool chr_ringbuf_write(struct chr *c, const uint8_t *data, size_t n, GError **err)
{
	return access_ring(&(struct access){ .chr = c, .in = data, .n = n }, err);
}
