/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A machine from XML and back. Apart from machine.c so that the worker, which never sees XML, does not load libxml2. */
#include "domain/machine.h"

#include <string.h>

#include "domain/xml.h"

/* A pty's path is known while running; its row is also that of paths the operator gives. */
static bool forget_ptys(const struct machine *m, bool really)
{
	GPtrArray *lists[] = { m->devices.serials, m->devices.parallels, m->devices.consoles, m->devices.channels };
	bool any = false;

	for (size_t n = 0; n < G_N_ELEMENTS(lists); n++)
		list_each(chardev, c, lists[n])
			if (c->type == CHARDEV_PTY && c->source.path.path) {
				any = true;
				if (really)
					g_clear_pointer(&c->source.path.path, g_free);
			}
	return any;
}

/* Their defaults are nothing. */
void machine_forget(const struct schema *s, void *obj)
{
	for (const struct field *f = s->fields; f->name; f++) {
		void *member = field_at(f, obj);

		if (f->flags & RUNTIME || (f->made && f->made(member)))
			f->kind->clear(f, member);
		else if (f->kind->shape == SHAPE_STRUCT)
			machine_forget(f->sub, member);
		else if (f->kind->shape == SHAPE_OPT && *(void **)member)
			machine_forget(f->sub, *(void **)member);
		for (unsigned i = 0; f->kind->shape == SHAPE_LIST && i < list_len(*(GPtrArray **)member); i++)
			machine_forget(f->sub, g_ptr_array_index(*(GPtrArray **)member, i));
	}
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
		if (r->live)
			machine_forget(&machine_schema, m);
		forget_ptys(m, true);
		machine_unused(m, r);
		/* bounds were checked while reading, and fill gives legal values only */
		if (machine_fill(m, r))
			machine_check(m, r);
	}
	return report_ok(r, err) ? g_steal_pointer(&m) : NULL;
}

char *machine_to_xml(const struct machine *m, unsigned flags)
{
	AUTO(machine) copy = NULL;

	if (flags & XML_INACTIVE && forget_ptys(m, false)) {
		copy = machine_dup(m);
		forget_ptys(copy, true);
	}
	return xml_format(&machine_schema, copy ? copy : m, "domain", flags);
}
