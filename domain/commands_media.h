/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Arguments of the commands about media of drives (domain/commands_media.c has the rows). */
#pragma once
#include "domain/command.h"

struct ask_change_media { char *target, *source, *format; bool eject, insert, update, block, force; struct ask_scope scope; };

/* QMP */
enum medium_mode { MEDIUM_MODE_ABSENT, MEDIUM_RETAIN, MEDIUM_READ_ONLY, MEDIUM_READ_WRITE, MEDIUM_MODE_N };
struct args_eject { char *id, *device; bool force; };
struct args_change_medium { char *id, *device, *filename, *format; bool force; int mode; /* enum medium_mode */ };
struct event_tray { char *device, *id; bool open; };

extern const struct schema ask_change_media_schema, event_tray_schema;
