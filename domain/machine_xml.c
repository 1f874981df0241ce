/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A machine from XML and back. Apart from machine.c so that the worker, which never sees XML, does not load libxml2. */
#include "domain/machine.h"

#include <string.h>

#include "domain/xml.h"

/* Forgets names that only a running machine has; "ua-…" is the operator's. */
static bool forget_alias(const struct field *row, void *dev, void *arg)
{
	char **alias = device_alias(row, dev);

	(void)arg;
	if (alias && *alias && !g_str_has_prefix(*alias, "ua-"))
		g_clear_pointer(alias, g_free);
	return true;
}

static void forget_pty(struct chardev *c)
{
	if (c->type == CHARDEV_PTY)
		g_clear_pointer(&c->source.path.path, g_free);
}

/* RUNTIME rows, all the way down. Their defaults are nothing. */
static void forget_rows(const struct schema *s, void *obj)
{
	for (const struct field *f = s->fields; f->name; f++) {
		void *member = field_at(f, obj);

		if (f->flags & RUNTIME)
			f->kind->clear(f, member);
		else if (f->kind->shape == SHAPE_STRUCT)
			forget_rows(f->sub, member);
		else if (f->kind->shape == SHAPE_OPT && *(void **)member)
			forget_rows(f->sub, *(void **)member);
		for (unsigned i = 0; f->kind->shape == SHAPE_LIST && i < list_len(*(GPtrArray **)member); i++)
			forget_rows(f->sub, g_ptr_array_index(*(GPtrArray **)member, i));
	}
}

static void forget_runtime(struct machine *m)
{
	GPtrArray *lists[] = { m->devices.serials, m->devices.parallels, m->devices.consoles, m->devices.channels };

	for (size_t n = 0; n < G_N_ELEMENTS(lists); n++)
		list_each(chardev, c, lists[n])
			forget_pty(c);
	devices_each(&m->devices, forget_alias, NULL);
	list_each(iface, i, m->devices.interfaces)
		if (i->target && g_str_has_prefix(i->target, "vnet"))
			g_clear_pointer(&i->target, g_free);
	forget_rows(&machine_schema, m);
}

/* Nothing found but refusals: what was read is whole, so that looking further tells more. */
static bool sound(const struct report *r)
{
	if (r->findings->len > REPORT_MAX)
		return false;   /* not all are kept */
	for (unsigned i = 0; i < r->findings->len; i++) {
		const struct finding *f = g_ptr_array_index(r->findings, i);

		if (f->level == FINDING_ERROR && f->code != KERR_UNSUPPORTED)
			return false;
	}
	return true;
}

struct machine *machine_from_xml(const char *text, size_t len, struct report *r, GError **err)
{
	AUTO(machine) m = machine_new();

	if (xml_parse(&machine_schema, m, "domain", text, len, r) && sound(r)) {
		forget_runtime(m);
		/* bounds were checked while reading, and fill gives legal values only */
		if (machine_fill(m, r))
			machine_check(m, r);
	}
	return report_ok(r, err) ? g_steal_pointer(&m) : NULL;
}

char *machine_to_xml(const struct machine *m, unsigned flags)
{
	AUTO(machine) copy = NULL;

	if (flags & XML_INACTIVE) {
		copy = machine_dup(m);
		forget_runtime(copy);
	}
	return xml_format(&machine_schema, copy ? copy : m, "domain", flags);
}
