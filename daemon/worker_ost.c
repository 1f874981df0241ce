/* SPDX-License-Identifier: GPL-2.0-or-later */
/* _OST in words, and as events. */
#include "daemon/worker_ost.h"

#include "daemon/worker.h"

/* status codes of those that go on */
enum { OST_INSERTING = 0x80, OST_EJECTING = 0x84 };

bool ost_is_leave(uint32_t event)
{
	return event == OST_EJECT_REQUEST || event == OST_EJECTION;
}

bool ost_goes_on(uint32_t event, uint32_t status)
{
	return event != OST_DEVICE_CHECK && status == (ost_is_leave(event) ? OST_EJECTING : OST_INSERTING);
}

char *ost_text(uint32_t event, uint32_t status)
{
	static const struct { uint32_t event, status; const char *text; } words[] = {
		{ OST_EJECT_REQUEST, 0x80, "it does not support ejection" }, { OST_EJECT_REQUEST, 0x81, "in use by an application" }, { OST_EJECT_REQUEST, 0x82, "busy" },
		{ OST_EJECT_REQUEST, 0x83, "something that depends on it is busy" }, { OST_EJECT_REQUEST, 0x84, "ejection is in progress" },
		{ OST_INSERTION, 0x80, "insertion is in progress" }, { OST_INSERTION, 0x81, "its driver could not be loaded" },
		{ OST_INSERTION, 0x82, "it does not support insertion" }, { OST_DEVICE_CHECK, 0x82, "it does not support insertion" },
	};
	const char *text = status == 1 ? "failed, for a reason it does not name" : status == 2 ? "it does not know the event" :
		"a status the standard does not know";

	for (size_t i = 0; i < G_N_ELEMENTS(words); i++)
		if (words[i].status == status && (words[i].event == event || (words[i].event == OST_EJECT_REQUEST && event == OST_EJECTION)))
			text = words[i].text;
	return g_strdup_printf("%s (_OST event 0x%x, status 0x%x)", text, event, status);
}

void ost_event(struct worker *w, struct ost_limit *l, const char *device, unsigned slot, const char *slot_type, uint32_t event, uint32_t status)
{
	gint64 second = g_get_monotonic_time() / G_USEC_PER_SEC;
	g_autofree char *number = g_strdup_printf("%u", slot);
	json_object *o, *info;

	if (second != l->second)
		l->events = 0;
	l->second = second;
	if (l->events++ >= OST_EVENTS_A_SECOND)
		return;
	o = json_object_new_object();
	info = json_object_new_object();
	if (device)
		json_object_object_add(info, "device", json_object_new_string(device));
	json_object_object_add(info, "slot", json_object_new_string(number));
	json_object_object_add(info, "slot-type", json_object_new_string(slot_type));
	json_object_object_add(info, "source", json_object_new_uint64(event));
	json_object_object_add(info, "status", json_object_new_uint64(status));
	json_object_object_add(o, "info", info);
	worker_event(w, "ACPI_DEVICE_OST", o);
}
