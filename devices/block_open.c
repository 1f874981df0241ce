/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Opening and closing chains of disks, and what the main thread asks of them. */
#include "devices/block.h"

#include <string.h>

#include "devices/block_driver.h"
#include "domain/error.h"

const struct block_ops *const block_drivers[] = { &block_throttle_ops, &block_detect_ops,
	&block_qcow2_ops, &block_uring_ops, &block_threads_ops, &block_mem_ops, &block_fault_ops,
	&block_empty_ops, NULL };

static const struct block_ops *driver(const char *name)
{
	for (const struct block_ops *const *ops = block_drivers; *ops; ops++)
		if (!strcmp((*ops)->name, name))
			return *ops;
	return NULL;
}

int block_sync(struct block *b, enum block_op op, uint64_t off, void *buf, uint64_t n)
{
	while (!b->ops->sync)
		b = b->lower;
	return b->ops->sync(b, op, off, buf, n);
}

static int close_node(struct block *b)
{
	return b->ops->close ? b->ops->close(b) : 0;
}

/* From the root down: a format writes back through its lower nodes. */
static int close_nodes(struct block_chain *c)
{
	int rc = 0;

	for (unsigned i = 0; i < c->nodes->len; i++) {
		int one = c->nodes->pdata[i] ? close_node(c->nodes->pdata[i]) : 0;

		rc = rc < 0 ? rc : one;
	}
	for (unsigned i = 0; i < c->nodes->len; i++)
		g_free(c->nodes->pdata[i]);
	g_ptr_array_free(c->nodes, TRUE);
	g_ptr_array_free(c->drains, TRUE);
	block_chain_finish(c);
	g_free(c);
	return rc;
}

/* Which node row i stands on, and which backing image it has; false when the list makes no sense. */
static bool link_rows(struct block_chain *c, const struct block_row *rows, unsigned n, GError **err)
{
	struct block *format = NULL, *above = NULL;
	bool first = true;

	for (unsigned i = 0; i < n; i++) {
		const struct block_ops *ops = driver(rows[i].driver);
		struct block *b;

		if (!ops)
			return kerr_set(
				err, KERR_UNSUPPORTED, "no disk driver '%s'", rows[i].driver);
		b = g_malloc0(ops->size);
		*b = (struct block){ .ops = ops, .chain = c, .host = c->host, .loop = c->loop,
			.readonly = !first || c->options.readonly };
		g_ptr_array_add(c->nodes, b);
		if (above)
			above->lower = b;
		else if (i && !format)
			return kerr_set(err, KERR_ARGS,
				"'%s' has nothing above that could use a backing image",
				rows[i].driver);
		else if (i)
			format->backing = b;
		if (!above)
			format = NULL;
		if (ops->format && format)
			return kerr_set(
				err, KERR_ARGS, "'%s' on '%s'", format->ops->name, ops->name);
		if (ops->format)
			format = b;
		above = ops->leaf ? NULL : b;
		first = first && !ops->leaf;
	}
	if (above || !n)
		return kerr_set(err, KERR_ARGS, "a disk's chain ends without a file");
	return true;
}

static bool open_node(struct block *b, const struct block_row *row, struct fdset *fds, GError **err)
{
	if (b->lower) {
		b->size = b->lower->size;
		b->can = b->lower->can;
	}
	if (!b->ops->open(b, row->config, fds, err))
		return false;
	if (b->readonly)
		b->can &= ~(unsigned)(BLOCK_CAN_WRITE | BLOCK_CAN_DISCARD | BLOCK_CAN_ZERO |
				      BLOCK_CAN_RESIZE);
	return true;
}

struct block *block_open(struct block_host *h, const struct block_row *rows, unsigned n,
	const struct block_options *options, struct fdset *fds, GError **err)
{
	struct block_chain *c = g_new0(struct block_chain, 1);

	c->host = h;
	c->stats = &c->counted;
	c->loop = h->loop;
	c->nodes = g_ptr_array_new();
	c->drains = g_ptr_array_new();
	c->options = *options;
	c->options.align = MAX(c->options.align, 1);
	if (c->options.align & (c->options.align - 1) || c->options.align > 65536) {
		kerr_set(err, KERR_ARGS, "block size %u is not a power of two up to 64 KiB",
			c->options.align);
		close_nodes(c);
		return NULL;
	}
	if (!link_rows(c, rows, n, err)) {
		for (unsigned i = 0; i < c->nodes->len; i++)    /* none was opened */
			g_clear_pointer(&c->nodes->pdata[i], g_free);
		close_nodes(c);
		return NULL;
	}
	for (unsigned i = n; i-- > 0;) {
		if (open_node(c->nodes->pdata[i], &rows[i], fds, err))
			continue;
		for (unsigned k = 0; k < i; k++)                /* not opened */
			g_clear_pointer(&c->nodes->pdata[k], g_free);
		close_nodes(c);
		return NULL;
	}
	c->root = c->nodes->pdata[0];
	c->root->can &= c->options.ignore_discard ? ~(unsigned)BLOCK_CAN_DISCARD : ~0u;
	c->root->can &= c->options.writethrough ? ~(unsigned)BLOCK_CAN_CACHE : ~0u;
	return c->root;
}

struct closing { struct block_chain *chain; int rc; };

static void close_chain(void *arg)
{
	struct closing *c = arg;

	g_assert(!c->chain->inflight);
	if (!c->chain->quiet)
		block_chain_quiet(c->chain, true);
	c->rc = close_nodes(c->chain);
}

bool block_close(struct block *root, GError **err)
{
	struct closing c = { root ? root->chain : NULL, 0 };

	if (!root)
		return true;
	loop_call(root->loop, close_chain, &c);
	return c.rc < 0 ? kerr_errno(err, -c.rc, "write back what a disk still held") : true;
}

uint64_t block_size(const struct block *b)
{
	return b->size;
}

unsigned block_can(const struct block *b)
{
	return b->can;
}

struct loop *block_loop(const struct block *b)
{
	return b->loop;
}

static void collect_info(void *arg)
{
	void **args = arg;
	struct block *root = args[0];
	struct block_info *out = args[1];

	*out = (struct block_info){ .driver = root->ops->name, .format = "raw", .size = root->size, .can = root->can };
	for (unsigned i = root->chain->nodes->len; i-- > 0;) {
		struct block *b = root->chain->nodes->pdata[i];

		out->images += b->ops->leaf;
		if (b->ops->info && !(b->readonly && !root->readonly))  /* of the top image only */
			b->ops->info(b, out);
	}
}

void block_info(struct block *root, struct block_info *out)
{
	void *args[] = { root, out };

	loop_call(root->loop, collect_info, args);
}

struct images { struct block *root; struct block_info *out; unsigned n, found; };

static void collect_images(void *arg)
{
	struct images *a = arg;
	GPtrArray *nodes = a->root->chain->nodes;
	unsigned first = 0;

	for (unsigned i = 0; i < nodes->len; i++) {     /* an image: what stands above a leaf, and the leaf */
		struct block *leaf = nodes->pdata[i], *top = NULL;
		struct block_info info;

		if (!leaf->ops->leaf)
			continue;
		for (unsigned k = first; k <= i && !top; k++)
			if (((struct block *)nodes->pdata[k])->ops->format || k == i)
				top = nodes->pdata[k];
		info = (struct block_info){ .driver = top->ops->name, .format = "raw", .size = top->size, .can = top->can, .images = 1,
			.leaf = leaf->ops->name, .readonly = top->readonly || !(top->can & BLOCK_CAN_WRITE), .file_size = leaf->size };
		for (unsigned k = i + 1; k-- > first;) {
			struct block *b = nodes->pdata[k];

			if (b->ops->info)
				b->ops->info(b, &info);
		}
		if (a->found < a->n)
			a->out[a->found] = info;
		a->found++;
		first = i + 1;
	}
}

unsigned block_images(struct block *root, struct block_info *out, unsigned n)
{
	struct images a = { root, out, n, 0 };

	loop_call(root->loop, collect_images, &a);
	return a.found;
}

struct update { struct block *node; const void *config; GError **err; bool ok; };

static void run_update(void *arg)
{
	struct update *u = arg;

	block_host_plug(u->node->host);
	u->ok = u->node->ops->update(u->node, u->config, u->err);
	block_host_unplug(u->node->host);
}

bool block_set_iotune(struct block *root, const struct iotune *limits, GError **err)
{
	struct update u = { .config = limits, .err = err };

	for (unsigned i = 0; i < root->chain->nodes->len && !u.node; i++)
		if (((struct block *)root->chain->nodes->pdata[i])->ops == &block_throttle_ops)
			u.node = root->chain->nodes->pdata[i];
	if (!u.node)
		return kerr_set(err, KERR_STATE, "this disk was opened without a throttle");
	loop_call(root->loop, run_update, &u);
	return u.ok;
}
