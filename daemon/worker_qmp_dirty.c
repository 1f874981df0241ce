/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How fast the guest changes its memory: KVM notes each page that is written for the time of the measurement, and guest RAM each that
 * a device writes (ram_track); a page counts once. Logging costs the guest a fault per page, and large pages until they are made again: so it is on for
 * that time only.
 */
#include <errno.h>

#include "daemon/worker_qmp.h"
#include "domain/commands_watch.h"
#include "domain/json.h"
#include "hv/accel.h"
#include "hv/stats.h"

#define PAGE 4096u
enum { UNSTARTED, MEASURING, MEASURED };

static struct {                 /* main thread; a worker is one machine */
	uint64_t status, start, seconds, rate;
	gint64 begun;           /* monotonic, µs */
	uint64_t sizes[RAM_PIECES];     /* of the pieces that are logged */
} dirty;

static void publish(struct vm *vm)
{
	stats_vm_set(vm, STAT_VM_DIRTY_START, dirty.start);
	stats_vm_set(vm, STAT_VM_DIRTY_PERIOD, dirty.seconds);
	stats_vm_set(vm, STAT_VM_DIRTY_RATE, dirty.status == MEASURED ? dirty.rate : STAT_UNKNOWN);
	stats_vm_set(vm, STAT_VM_DIRTY_STATUS, dirty.status);
}

static struct slot slot_of(const struct vm *vm, unsigned i, bool log)
{
	const struct ram_piece *p = &vm->ram.pieces[i];

	return (struct slot){ .id = i, .gpa = p->gpa, .size = p->host ? p->size : 0, .host = p->host, .log_dirty = log };
}

/* All pieces or none. 0 or -errno. */
static int log_pieces(struct vm *vm, bool on)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(vm->ram.pieces); i++) {
		struct slot s = slot_of(vm, i, on);
		int r = s.size ? vm->accel->map(vm, &s) : 0;

		if (r < 0 && on) {
			while (i--) {
				s = slot_of(vm, i, false);
				if (s.size)
					(void)vm->accel->map(vm, &s);   /* it was so before */
			}
			return r;
		}
		dirty.sizes[i] = s.size;
	}
	return 0;
}

static uint64_t dirty_pages(struct vm *vm)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < G_N_ELEMENTS(vm->ram.pieces); i++) {
		struct slot s = slot_of(vm, i, true);
		size_t words = (s.size / PAGE + 63) / 64;
		g_autofree unsigned long *bits = NULL;

		if (!words || s.size != dirty.sizes[i])
			continue;
		bits = g_new0(unsigned long, words);
		(void)vm->accel->dirty(vm, &s, bits);   /* what devices wrote counts all the same */
		ram_tracked(&vm->ram, i, bits);
		for (size_t w = 0; w < words; w++)
			n += (unsigned)__builtin_popcountl(bits[w]);
	}
	return n;
}

static gboolean measured(gpointer arg)
{
	struct vm *vm = &((struct worker *)arg)->vm;
	double seconds = (double)(g_get_monotonic_time() - dirty.begun) / G_USEC_PER_SEC;
	uint64_t pages = dirty_pages(vm);

	(void)log_pieces(vm, false);
	(void)ram_track(&vm->ram, false, NULL);
	dirty.rate = (uint64_t)((double)pages * PAGE / seconds) >> 20;
	dirty.status = MEASURED;
	publish(vm);
	return G_SOURCE_REMOVE;
}

static QMP(calc_dirty_rate)
{
	const struct ask_dirty_rate *a = args;
	struct worker *w = c->worker;
	int r;

	if (a->mode != DIRTY_BITMAP)
		return kerr_set(err, KERR_UNSUPPORTED, "calc-dirty-rate: kvmd counts with KVM's dirty bitmap: leave 'mode' out"), RUN_FAILED;
	if (dirty.status == MEASURING)
		return kerr_set(err, KERR_BUSY, "calc-dirty-rate: it is being measured already"), RUN_FAILED;
	if (!ram_track(&w->vm.ram, true, err))
		return RUN_FAILED;
	r = w->vm.accel->dirty ? log_pieces(&w->vm, true) : -ENOTSUP;
	if (r < 0)
		(void)ram_track(&w->vm.ram, false, NULL);
	if (r < 0)
		return kerr_errno(err, -r, "calc-dirty-rate: note which pages are written"), RUN_FAILED;
	dirty.status = MEASURING;
	dirty.begun = g_get_monotonic_time();
	dirty.start = (uint64_t)dirty.begun / G_USEC_PER_SEC;
	dirty.seconds = a->calc_time;
	publish(&w->vm);
	g_timeout_add_seconds(a->calc_time, measured, w);
	return RUN_DONE;
}

static QMP(query_dirty_rate)
{
	struct tell_dirty_rate t = { .dirty_rate = dirty.rate, .status = (int)dirty.status, .start_time = dirty.start, .calc_time = dirty.seconds,
		.mode = DIRTY_BITMAP };

	*reply = json_from_struct(&tell_dirty_rate_schema, &t, JSON_ALL);
	if (dirty.status != MEASURED)
		json_object_object_del(*reply, "dirty-rate");
	return RUN_DONE;
}

const struct worker_binding qmp_dirty_bindings[] = {
	{ "calc-dirty-rate", qmp_calc_dirty_rate },
	{ "query-dirty-rate", qmp_query_dirty_rate },
	{ NULL },
};
