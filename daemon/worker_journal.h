/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What becomes of a command that changes the machine is told by the event COMMAND_DONE, so that it is in the journal also when kvmd,
 * which handed the command on, was killed before the answer came. Each row of the table that changes something is told, without any
 * code of its own: at once, or by COMMAND_BEGUN and COMMAND_DONE when it is answered later. Rows with CMD_TELLS tell more than that
 * by themselves; of these only a refusal is told here. Main thread.
 */
#pragma once
#include <json-c/json.h>

#include "domain/command.h"
#include "domain/error.h"

/* Does this row's result belong into the journal? */
bool journal_wants(const struct command *row);
/* New: the event's data, "command", "device" and "id" where the arguments (may be NULL) name them. */
json_object *journal_data(const struct command *row, json_object *args);
/* Adds the result. err NULL: it is done. */
void journal_result(json_object *data, const GError *err);
