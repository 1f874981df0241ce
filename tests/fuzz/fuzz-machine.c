/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Any bytes as a domain definition, the whole way: parse, fill, check, write; what is accepted reads again to the same text. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "domain/machine.h"
#include "domain/xml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static char *define(const char *text, size_t n, bool lenient)
{
	AUTO(report) r = report_new("f", false, lenient);
	AUTO(machine) m = machine_from_xml(text, n, r, NULL);

	return m ? machine_to_xml(m, XML_INACTIVE | XML_SECRETS) : NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	g_autofree char *once = define((const char *)data, n, n & 1), *twice = NULL;

	if (!once)
		return 0;
	twice = define(once, strlen(once), n & 1);
	g_assert_cmpstr(once, ==, twice);
	return 0;
}
