/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * define: text → machine (beside the main loop) → rules across domains → disk → table. Also what kvmd does with the
 * definitions it finds at start.
 */
#include <string.h>

#include "daemon/commands.h"
#include "daemon/define.h"
#include "daemon/dom.h"
#include "daemon/kvmd.h"
#include "daemon/log.h"
#include "domain/xml.h"

struct defining {
	struct request *request;
	char *text;
	bool strict, lenient;
	/* the thread's answer */
	struct machine *machine;
	struct report *report;
	char *xml;
	bool no_uuid;           /* the XML had none: the one made up gives way to that of an old definition */
	GError *err;
	/* then */
	bool created;
};

static void defining_free(struct defining *x)
{
	machine_free(x->machine);
	report_free(x->report);
	g_clear_error(&x->err);
	g_free(x->text);
	g_free(x->xml);
	g_free(x);
}

static void fail(struct defining *x, const GError *err)
{
	request_fail(x->request, err);
	defining_free(x);
}

/* The name becomes part of file names. */
static bool name_fits(const char *name, GError **err)
{
	if (!name || !*name || *name == '.' || strlen(name) > 200 || strpbrk(name, "/\n\r"))
		return kerr_set(err, KERR_XML, "the name '%s' cannot be used: no '/', no line break, no '.' at its begin, at most 200 bytes", name ? name : "");
	return true;
}

static void parse(void *arg)
{
	struct defining *x = arg;

	x->report = report_new(NULL, x->strict, x->lenient);
	x->machine = machine_from_xml(x->text, strlen(x->text), x->report, &x->err);
	if (!x->machine || !name_fits(x->machine->name, &x->err))
		return;
	x->no_uuid = !strstr(x->text, "<uuid");
	x->xml = machine_to_xml(x->machine, XML_INACTIVE | XML_SECRETS);
}

static json_object *created_data(bool created)
{
	json_object *o = json_object_new_object();

	json_object_object_add(o, "created", json_object_new_boolean(created));
	return o;
}

static void answer(struct defining *x, struct dom *d)
{
	struct tell_define t = { .name = d->name, .uuid = d->uuid, .created = x->created };
	g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func(g_free);

	for (unsigned i = 0; i < x->report->findings->len; i++) {
		const struct finding *f = x->report->findings->pdata[i];
		struct tell_finding *w = g_new(struct tell_finding, 1);         /* borrows its strings */

		*w = (struct tell_finding){ .level = f->level == FINDING_ERROR, .path = f->path, .text = f->text, .cure = f->cure, .line = f->line,
			.column = f->column };
		g_ptr_array_add(list, w);
	}
	t.warnings = list;
	request_reply(x->request, &t);
}

static void stored(void *arg, const GError *err)
{
	struct defining *x = arg;
	struct kvmd *k = x->request->kvmd;
	struct dom *d = doms_by_uuid(k->doms, x->machine->uuid);

	d->writing = false;
	if (err) {
		if (x->created)
			doms_remove(d);         /* it was only a place held free */
		fail(x, err);
		return;
	}
	if (strcmp(d->name, x->machine->name))
		doms_rename(d, x->machine->name);
	dom_set_definition(d, x->xml, x->machine, NULL);
	d->placeholder = false;
	dom_event(d, "DEFINED", created_data(x->created));
	answer(x, d);
	defining_free(x);
}

static bool clashes(struct defining *x, struct dom **found, GError **err)
{
	struct doms *doms = x->request->kvmd->doms;
	struct machine *m = x->machine;
	struct dom *named = doms_by_name(doms, m->name), *known;

	if (named && x->no_uuid && strcmp(named->uuid, m->uuid)) {
		g_free(m->uuid);
		m->uuid = g_strdup(named->uuid);
		g_free(x->xml);
		x->xml = machine_to_xml(m, XML_INACTIVE | XML_SECRETS);
	}
	known = doms_by_uuid(doms, m->uuid);
	if (named && named != known)
		return !kerr_set(err, KERR_EXISTS, "the name '%s' is taken by the domain with uuid %s: give that uuid to replace its definition, or another name",
			m->name, named->uuid);
	if (known && !named && !known->trouble)
		return !kerr_set(err, KERR_EXISTS, "the uuid %s is that of domain '%s', and define does not rename: undefine that first, or leave <uuid> out",
			m->uuid, known->name);
	if (known && known->writing)
		return !kerr_set(err, KERR_BUSY, "another change of the definition of '%s' is being written: try again", m->name);
	*found = known;
	return false;
}

static void parsed(void *arg)
{
	struct defining *x = arg;
	struct kvmd *k = x->request->kvmd;
	g_autoptr(GError) err = NULL;
	struct dom *d = NULL;

	if (x->err) {
		err = g_error_copy(x->err);
		fail(x, err);
		return;
	}
	if (clashes(x, &d, &err)) {
		fail(x, err);
		return;
	}
	x->created = !d;
	if (!d) {
		d = doms_add(k->doms, x->machine->name, x->machine->uuid);
		d->placeholder = true;
	}
	d->writing = true;
	store_put(k->store, d->uuid, x->xml, stored, x);
}

void cmd_define(struct request *r)
{
	const struct ask_define *a = r->args;
	struct defining *x = g_new0(struct defining, 1);

	*x = (struct defining){ .request = r, .text = g_strdup(a->xml), .strict = a->strict, .lenient = a->lenient };
	work_run(r->kvmd->work, parse, parsed, x);
}

/* --- at start --- */

void define_loaded(void *arg, const char *uuid, const char *text, size_t len, bool autostart, const char *trouble)
{
	struct kvmd *k = arg;
	AUTO(report) report = report_new(NULL, false, true);
	AUTO(machine) m = NULL;
	g_autoptr(GError) err = NULL;
	g_autofree char *why = g_strdup(trouble);
	struct dom *d;

	if (text)
		m = machine_from_xml(text, len, report, &err);
	if (text && !m)
		why = g_strdup(err->message);
	if (m && g_ascii_strcasecmp(m->uuid, uuid))
		why = g_strdup_printf("it says uuid %s", m->uuid);
	if (m && !why && !name_fits(m->name, &err))
		why = g_strdup(err->message);
	if (m && !why && doms_by_name(k->doms, m->name))
		why = g_strdup_printf("the name '%s' is taken by the domain with uuid %s", m->name, doms_by_name(k->doms, m->name)->uuid);
	if (why)
		log_error("definition '%s/%s.xml' is damaged and left as it is: %s", k->paths->domains, uuid, why);
	d = doms_add(k->doms, why ? uuid : m->name, uuid);
	dom_set_definition(d, text ? text : "", why ? NULL : m, why);
	d->autostart = autostart;
}
