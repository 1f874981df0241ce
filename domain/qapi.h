/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What query-qmp-schema answers: the worker's commands and events in QEMU's SchemaInfo, made from the tables. Pure. */
#pragma once
#include <json-c/json.h>

json_object *qapi_describe(void);
