/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The error table and its three ways of being filled. */
#include "domain/error.h"

#include <errno.h>
#include <string.h>

static const struct kerr_row rows[KERR_N] = {
#define E(id, wire, cls, num, ex, doc) \
	[KERR_##id] = { .code = wire, .qmp_class = cls, .text = doc, .virt = num, .exit = ex },
	KERRORS(E)
#undef E
};

static const struct {
	int errnum;
	enum kerr code;
} errnos[] = {
	{ ENOENT, KERR_NO_FILE },   { ENOTDIR, KERR_NO_FILE },    { EACCES, KERR_ACCESS },
	{ EPERM, KERR_ACCESS },     { EROFS, KERR_ACCESS },       { ENOSPC, KERR_NO_SPACE },
	{ EDQUOT, KERR_NO_SPACE },  { EBUSY, KERR_BUSY },         { EWOULDBLOCK, KERR_BUSY },
	{ ENOMEM, KERR_NO_MEMORY }, { EMFILE, KERR_LIMIT },       { ENFILE, KERR_LIMIT },
	{ ETIMEDOUT, KERR_TIMEOUT }, { ECONNREFUSED, KERR_CONNECT }, { EEXIST, KERR_EXISTS },
};

GQuark kerr_quark(void)
{
	return g_quark_from_static_string("kvmd-error");
}

const struct kerr_row *kerr_row(int code)
{
	return &rows[code >= 0 && code < KERR_N ? code : KERR_INTERNAL];
}

enum kerr kerr_from_wire(const char *wire)
{
	for (int i = 0; wire && i < KERR_N; i++)
		if (!strcmp(rows[i].code, wire))
			return (enum kerr)i;
	return KERR_INTERNAL;
}

bool kerr_set(GError **err, enum kerr code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (err)
		*err = g_error_new_valist(kerr_quark(), (int)code, fmt, ap);
	va_end(ap);
	return false;
}

bool kerr_errno(GError **err, int errnum, const char *fmt, ...)
{
	enum kerr code = KERR_IO;
	g_autofree char *what = NULL;
	va_list ap;

	for (size_t i = 0; i < G_N_ELEMENTS(errnos); i++)
		if (errnos[i].errnum == errnum)
			code = errnos[i].code;
	va_start(ap, fmt);
	what = g_strdup_vprintf(fmt, ap);
	va_end(ap);
	return kerr_set(err, code, "%s: %s", what, g_strerror(errnum));
}

const struct kerr_row *kerr_of(const GError *err)
{
	if (err && err->domain == kerr_quark())
		return kerr_row(err->code);
	return kerr_row(KERR_INTERNAL);
}
