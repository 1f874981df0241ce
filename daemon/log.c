/* SPDX-License-Identifier: GPL-2.0-or-later */
/* kvmd's own log. */
#include "daemon/log.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const struct { int journal; const char *name; } levels[LOG_LEVEL_N] = {
	[LOG_LEVEL_ERROR] = { 3, "error" },
	[LOG_LEVEL_WARNING] = { 4, "warning" },
	[LOG_LEVEL_INFO] = { 6, "info" },
	[LOG_LEVEL_DEBUG] = { 7, "debug" },
};
static enum log_level level = LOG_LEVEL_INFO;   /* the one global that house rules allow: set before threads begin */
static bool journal;

void log_init(enum log_level most)
{
	level = most;
	journal = g_getenv("JOURNAL_STREAM") != NULL;
}

void log_line(enum log_level at, const char *fmt, ...)
{
	g_autofree char *text = NULL, *line = NULL;
	va_list ap;

	if (at > level)
		return;
	va_start(ap, fmt);
	text = g_strdup_vprintf(fmt, ap);
	va_end(ap);
	for (char *c = text; *c; c++)           /* one line per event, whatever a peer put into a name */
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = ' ';
	if (journal) {
		line = g_strdup_printf("<%d>%s\n", levels[at].journal, text);
	} else {
		g_autoptr(GDateTime) now = g_date_time_new_now_local();
		g_autofree char *stamp = g_date_time_format(now, "%F %T");

		line = g_strdup_printf("%s.%03d kvmd %s: %s\n", stamp, g_date_time_get_microsecond(now) / 1000, levels[at].name, text);
	}
	(void)!write(STDERR_FILENO, line, strlen(line));        /* no one to tell when stderr is gone */
}
