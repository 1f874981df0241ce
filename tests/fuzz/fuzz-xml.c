/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Any bytes as XML: what is accepted is written and read again to the same text. The first byte
 * chooses strict or lenient.
 */
#include <string.h>

#include "domain/report.h"
#include "domain/xml.h"
#include "tests/domain/sample.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static char *round_trip(const char *text, size_t n, unsigned how)
{
	AUTO(report) r = report_new("f", how & 1, how & 2);
	struct sample *s = schema_new(&sample_schema);
	char *out = NULL;

	if (xml_parse(&sample_schema, s, "sample", text, n, r) && report_ok(r, NULL))
		out = xml_format(&sample_schema, s, "sample", XML_SECRETS);
	for (unsigned i = 0; i < r->findings->len; i++)
		g_free(finding_text(r, r->findings->pdata[i]));
	schema_free(&sample_schema, s);
	return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	g_autofree char *once = NULL, *twice = NULL;
	unsigned how = n ? data[0] % 4 : 0;

	if (!n)
		return 0;
	/* a space or a letter at the front must not make a corpus of plain XML files useless */
	if (data[0] == '<')
		how = 2;
	else
		data++, n--;
	once = round_trip((const char *)data, n, how);
	if (once) {
		/* our own text is never refused, but for kept parts that plain reading would not keep */
		twice = round_trip(once, strlen(once), 2);
		g_assert_cmpstr(once, ==, twice);
	}
	return 0;
}
