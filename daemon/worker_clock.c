/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * RTC_CHANGE: the guest has set its clock. At most once a second, as from QEMU: the first is told at once, what follows within
 * the second at its end. With <clock offset='variable'> the description says from then on what was set.
 */
#include "daemon/worker_clock.h"

#include "daemon/worker.h"
#include "devices/rtc.h"

#define TELL_MS 1000

static void tell(struct worker *w);

static gboolean may_tell_again(gpointer arg)
{
	struct worker *w = arg;

	w->rtc.throttle = 0;
	if (w->rtc.pending)
		tell(w);
	return G_SOURCE_REMOVE;
}

static void tell(struct worker *w)
{
	struct device *rtc = device_by_type(w, "rtc");
	g_autofree char *path = NULL;
	json_object *o;
	int64_t moved;

	if (w->ending || !rtc)
		return;
	moved = rtc_moved(rtc);
	path = g_strdup_printf("/machine/peripheral/%s", rtc->id);
	o = json_object_new_object();
	json_object_object_add(o, "offset", json_object_new_int64(moved));
	json_object_object_add(o, "qom-path", json_object_new_string(path));
	clock_moved(&w->machine->clock, moved);
	worker_event(w, "RTC_CHANGE", o);
	w->rtc.pending = false;
	w->rtc.throttle = g_timeout_add(TELL_MS, may_tell_again, w);
}

void clock_was_set(struct worker *w)
{
	if (w->rtc.throttle)
		w->rtc.pending = true;
	else
		tell(w);
}
