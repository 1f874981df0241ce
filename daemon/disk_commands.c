/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The code behind the rows of domain/commands_disk.c: disks of a domain, looked at and changed. */
#include <string.h>

#include "daemon/change.h"
#include "daemon/commands.h"
#include "daemon/disk_look.h"
#include "daemon/kvmd.h"
#include "daemon/link.h"
#include "daemon/supervise.h"
#include "domain/commands_disk.h"
#include "domain/commands_qmp_block.h"
#include "domain/json.h"

static bool no_disk(const char *name, GError **err)
{
	return kerr_set(err, KERR_NO_DEVICE, "it has no disk '%s': domblklist names them", name);
}

/* --- blkdeviotune --- */

/* What is left out of a kind that is given becomes 0; other kinds stay. */
enum tune_kind { TUNE_BYTES, TUNE_IOPS, TUNE_BYTES_MAX, TUNE_IOPS_MAX, TUNE_BYTES_LENGTH, TUNE_IOPS_LENGTH, TUNE_SIZE, TUNE_KINDS };
#define THREE(unit, more, kind) \
	{ offsetof(struct iotune, total_##unit##_sec##more), kind }, { offsetof(struct iotune, read_##unit##_sec##more), kind }, \
	{ offsetof(struct iotune, write_##unit##_sec##more), kind }
static const struct { size_t off; enum tune_kind kind; } tune_rows[] = {
	THREE(bytes, , TUNE_BYTES), THREE(iops, , TUNE_IOPS), THREE(bytes, _max, TUNE_BYTES_MAX), THREE(iops, _max, TUNE_IOPS_MAX),
	THREE(bytes, _max_length, TUNE_BYTES_LENGTH), THREE(iops, _max_length, TUNE_IOPS_LENGTH), { offsetof(struct iotune, size_iops_sec), TUNE_SIZE },
};

static uint64_t *tune_at(const struct iotune *t, unsigned row)
{
	return (uint64_t *)((char *)(uintptr_t)t + tune_rows[row].off);
}

static bool tune_given(const struct iotune *t)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(tune_rows); i++)
		if (*tune_at(t, i) != TUNE_SAME)
			return true;
	return t->group_name != NULL;
}

static bool any_of(const struct iotune *t, enum tune_kind kind)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(tune_rows); i++)
		if (tune_rows[i].kind == kind && *tune_at(t, i))
			return true;
	return false;
}

static void clear_kind(struct iotune *t, enum tune_kind kind)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(tune_rows); i++)
		if (tune_rows[i].kind == kind)
			*tune_at(t, i) = 0;
}

/* *out borrows its text. */
static void tune_merge(const struct iotune *old, const struct iotune *given, struct iotune *out)
{
	bool kinds[TUNE_KINDS] = { false };
	static const enum tune_kind needs[][2] = { { TUNE_BYTES_MAX, TUNE_BYTES }, { TUNE_IOPS_MAX, TUNE_IOPS }, { TUNE_BYTES_LENGTH, TUNE_BYTES_MAX },
		{ TUNE_IOPS_LENGTH, TUNE_IOPS_MAX }, { TUNE_SIZE, TUNE_IOPS } };

	for (unsigned i = 0; i < G_N_ELEMENTS(tune_rows); i++)
		kinds[tune_rows[i].kind] |= *tune_at(given, i) != TUNE_SAME;
	*out = (struct iotune){ .group_name = given->group_name ? given->group_name : old->group_name };
	for (unsigned i = 0; i < G_N_ELEMENTS(tune_rows); i++) {
		uint64_t now = *tune_at(given, i);

		*tune_at(out, i) = !kinds[tune_rows[i].kind] ? *tune_at(old, i) : now == TUNE_SAME ? 0 : now;
	}
	/* what stood on a limit that is gone goes with it, unless it was just asked for */
	for (unsigned i = 0; i < G_N_ELEMENTS(needs); i++)
		if (!kinds[needs[i][0]] && !any_of(out, needs[i][1]))
			clear_kind(out, needs[i][0]);
}

static void tune_set(struct iotune *to, const struct iotune *from)
{
	struct extras kept = to->extras;

	to->extras = (struct extras){ 0 };
	schema_clear(&iotune_schema, to);
	schema_copy(&iotune_schema, to, from);
	to->extras = kept;
}

static bool tune_edit(struct machine *m, void *arg, GError **err)
{
	const struct ask_blkdeviotune *a = arg;
	struct disk *d = disk_find(m, a->device);
	g_autofree char *group = NULL;
	struct iotune now;

	if (!d)
		return no_disk(a->device, err);
	tune_merge(&d->iotune, &a->tune, &now);
	group = g_strdup(now.group_name);
	now.group_name = group && *group ? group : NULL;
	if (!iotune_check(&now, err))
		return false;
	tune_set(&d->iotune, &now);
	list_each(disk, other, m->devices.disks)
		if (other != d && now.group_name && !g_strcmp0(other->iotune.group_name, now.group_name))
			tune_set(&other->iotune, &now);
	return true;
}

static void tune_apply(struct change *c, struct dom *d, void *arg)
{
	const struct ask_blkdeviotune *a = arg;
	const struct disk *disk = disk_find(d->live, a->device);
	struct args_io_throttle throttle = { 0 };
	g_autoptr(GError) err = NULL;

	if (!disk) {
		no_disk(a->device, &err);
	} else {
		tune_merge(&disk->iotune, &a->tune, &throttle.tune);
		iotune_check(&throttle.tune, &err);
	}
	if (err) {
		change_done(c, err);
		return;
	}
	throttle.id = disk->target.dev;
	change_ask(c, "block_set_io_throttle", json_from_struct(&args_io_throttle_schema, &throttle, 0));
}

static void tune_show(struct request *r, const struct machine *m, const GError *bad)
{
	const struct ask_blkdeviotune *a = r->args;
	const struct disk *d = m ? disk_find(m, a->device) : NULL;
	g_autoptr(GError) err = bad ? g_error_copy(bad) : NULL;

	if (!err && !d)
		no_disk(a->device, &err);
	if (err)
		request_fail(r, err);
	else
		request_reply(r, &(struct tell_blkdeviotune){ d->iotune });
}

static void cmd_blkdeviotune(struct request *r)
{
	static const struct change_ops ops = { .edit = tune_edit, .apply = tune_apply };
	const struct ask_blkdeviotune *a = r->args;

	if (tune_given(&a->tune))
		change(r, &a->scope, &ops, r->args);
	else
		change_look(r, &a->scope, tune_show);
}

/* --- blockresize --- */

static void resized(void *arg, json_object *reply, const GError *err)
{
	struct request *r = arg;
	struct tell_blockresize *t = r->data;

	if (err)
		request_fail(r, err);
	else
		request_reply(r, t);
	g_free(t->target);
	g_free(t);
}

static void cmd_blockresize(struct request *r)
{
	const struct ask_blockresize *a = r->args;
	g_autoptr(GError) err = NULL;
	const struct disk *d = NULL;
	struct tell_blockresize *t;
	json_object *args;
	uint64_t unit;

	if (!dom_is_active(r->dom)) {
		kerr_set(&err, KERR_STATE, "the domain is not running: 'qemu-img resize' changes its image");
	} else if (dom_can_ask(r->dom, &err)) {
		d = r->dom->live ? disk_find(r->dom->live, a->device) : NULL;
		if (!d)
			no_disk(a->device, &err);
	}
	if (!d) {
		request_fail(r, err);
		return;
	}
	unit = d->logical_block_size ? d->logical_block_size : 512;
	t = g_new(struct tell_blockresize, 1);
	*t = (struct tell_blockresize){ g_strdup(d->target.dev), (a->size + unit - 1) / unit * unit };
	r->data = t;
	args = json_object_new_object();
	json_object_object_add(args, "device", json_object_new_string(t->target));
	json_object_object_add(args, "size", json_object_new_uint64(t->size));
	link_call(r->dom->link, "block_resize", args, NULL, 0, r->kvmd->config->answer_timeout, resized, r);
}

/* --- domblklist, domblkinfo --- */

static char *source_text(const struct disk *d)
{
	const struct disk_source *s = &d->source;
	const struct resource *r = disk_source_resource(d->type, (struct disk_source *)s);

	if (r)
		return r->path;
	return s->volume ? s->volume : s->name ? s->name : s->dir;
}

static void list(struct request *r, const struct machine *m, const GError *err)
{
	struct tell_domblklist t;

	if (err) {
		request_fail(r, err);
		return;
	}
	t.disks = g_ptr_array_new_with_free_func(g_free);
	list_each(disk, d, m->devices.disks) {
		struct tell_domblk *row = g_new(struct tell_domblk, 1);         /* borrows its texts */

		*row = (struct tell_domblk){ (char *)disk_type_names[d->type ? d->type : DISK_FILE], (char *)disk_device_names[d->device ? d->device : DISK_DEVICE_DISK],
			d->target.dev, source_text(d) };
		g_ptr_array_add(t.disks, row);
	}
	request_reply(r, &t);
	g_ptr_array_unref(t.disks);
}

static void cmd_domblklist(struct request *r)
{
	change_look(r, &(struct ask_scope){ .config = ((const struct ask_domblklist *)r->args)->inactive }, list);
}

struct looking {
	struct request *request;
	struct machine *machine;        /* a copy of its own */
	char *device;
	GPtrArray *found;
	GError *err;
};

static void look(void *arg)
{
	struct looking *l = arg;
	const struct disk *d = l->device ? disk_find(l->machine, l->device) : NULL;

	if (l->device && !d)
		no_disk(l->device, &l->err);
	else
		disk_look(l->machine, d ? d->target.dev : NULL, l->found);
}

static void looked(void *arg)
{
	struct looking *l = arg;
	struct tell_domblkinfo t = { g_ptr_array_new_with_free_func(g_free) };

	for (unsigned i = 0; i < l->found->len; i++) {
		const struct looked_image *f = l->found->pdata[i];
		struct tell_image *row = g_new(struct tell_image, 1);

		*row = (struct tell_image){ f->target, f->path, (char *)disk_format_names[f->format], f->virtual, f->allocated, f->physical, f->depth,
			f->err ? f->err->message : NULL };
		g_ptr_array_add(t.images, row);
	}
	if (l->err)
		request_fail(l->request, l->err);
	else
		request_reply(l->request, &t);
	g_ptr_array_unref(t.images);
	g_ptr_array_unref(l->found);
	g_clear_error(&l->err);
	machine_free(l->machine);
	g_free(l->device);
	g_free(l);
}

static void look_beside(struct request *r, const struct machine *m, const GError *err)
{
	const struct ask_domblk *a = r->args;
	struct looking *l;

	if (err) {
		request_fail(r, err);
		return;
	}
	l = g_new0(struct looking, 1);
	*l = (struct looking){ .request = r, .machine = schema_dup(&machine_schema, m), .device = g_strdup(a->device),
		.found = g_ptr_array_new_with_free_func(looked_image_free) };
	work_run(r->kvmd->work, look, looked, l);
}

static void cmd_domblkinfo(struct request *r)
{
	change_look(r, &(struct ask_scope){ 0 }, look_beside);
}

/* --- domblkstat, domblkerror --- */

static json_object *member(json_object *o, const char *key)
{
	json_object *v = NULL;

	return json_object_object_get_ex(o, key, &v) ? v : NULL;
}

static uint64_t number(json_object *o, const char *key)
{
	return json_object_get_uint64(member(o, key));
}

/* The machine's answer about a disk: which? Its chain's top is TARGET-0-format. NULL: not known any more. */
static const struct disk *disk_of(const struct dom *d, const char *node)
{
	list_each(disk, disk, d->live ? d->live->devices.disks : NULL) {
		g_autofree char *top = g_strdup_printf("%s-0-format", disk->target.dev);

		if (!g_strcmp0(top, node))
			return disk;
	}
	return NULL;
}

static void have_stats(void *arg, json_object *reply, const GError *failed)
{
	struct request *r = arg;
	const struct ask_domblk *a = r->args;
	const struct disk *only = a->device && r->dom->live ? disk_find(r->dom->live, a->device) : NULL;
	g_autoptr(GError) err = failed ? g_error_copy(failed) : NULL;
	struct tell_domblkstat t;

	if (!err && a->device && !only)
		no_disk(a->device, &err);
	if (err) {
		request_fail(r, err);
		return;
	}
	t.disks = g_ptr_array_new_with_free_func(g_free);
	for (size_t i = 0; json_object_is_type(reply, json_type_array) && i < json_object_array_length(reply); i++) {
		json_object *o = json_object_array_get_idx(reply, i), *s = member(o, "stats");
		const struct disk *d = disk_of(r->dom, json_object_get_string(member(o, "node-name")));
		struct tell_domblkstat_row *row;

		if (!d || !s || (only && only != d))
			continue;
		row = g_new(struct tell_domblkstat_row, 1);
		*row = (struct tell_domblkstat_row){ .target = d->target.dev, .rd_req = number(s, "rd_operations"), .rd_bytes = number(s, "rd_bytes"),
			.wr_req = number(s, "wr_operations"), .wr_bytes = number(s, "wr_bytes"), .flush_req = number(s, "flush_operations"),
			.unmap_req = number(s, "unmap_operations"), .unmap_bytes = number(s, "unmap_bytes"),
			.errs = number(s, "failed_rd_operations") + number(s, "failed_wr_operations") + number(s, "failed_flush_operations") +
				number(s, "failed_unmap_operations"),
			.rd_total_times = number(s, "rd_total_time_ns"), .wr_total_times = number(s, "wr_total_time_ns"),
			.flush_total_times = number(s, "flush_total_time_ns") };
		g_ptr_array_add(t.disks, row);
	}
	request_reply(r, &t);
	g_ptr_array_unref(t.disks);
}

static void have_errors(void *arg, json_object *reply, const GError *err)
{
	struct request *r = arg;
	struct tell_domblkerror t;

	if (err) {
		request_fail(r, err);
		return;
	}
	t.disks = g_ptr_array_new_with_free_func(g_free);
	for (size_t i = 0; json_object_is_type(reply, json_type_array) && i < json_object_array_length(reply); i++) {
		json_object *o = json_object_array_get_idx(reply, i);
		const struct disk *d = disk_of(r->dom, json_object_get_string(member(member(o, "inserted"), "node-name")));
		const char *status = json_object_get_string(member(o, "io-status"));
		struct tell_domblkerror_row *row;

		if (!d || !status || !strcmp(status, "ok"))
			continue;
		row = g_new(struct tell_domblkerror_row, 1);
		*row = (struct tell_domblkerror_row){ d->target.dev, (char *)(!strcmp(status, "nospace") ? "no space" : "unspecified error") };
		g_ptr_array_add(t.disks, row);
	}
	request_reply(r, &t);
	g_ptr_array_unref(t.disks);
}

static void ask(struct request *r, const char *command, link_reply *done)
{
	g_autoptr(GError) err = NULL;

	if (dom_can_ask(r->dom, &err))
		link_call(r->dom->link, command, NULL, NULL, 0, r->kvmd->config->answer_timeout, done, r);
	else
		request_fail(r, err);
}

static void cmd_domblkstat(struct request *r)
{
	ask(r, "query-blockstats", have_stats);
}

static void cmd_domblkerror(struct request *r)
{
	ask(r, "query-block", have_errors);
}

const struct command_binding disk_bindings[] = {
	{ "blkdeviotune", cmd_blkdeviotune },
	{ "blockresize", cmd_blockresize },
	{ "domblklist", cmd_domblklist },
	{ "domblkinfo", cmd_domblkinfo },
	{ "domblkstat", cmd_domblkstat },
	{ "domblkerror", cmd_domblkerror },
	{ "disk-usage", cmd_disk_usage },
	{ NULL },
};
