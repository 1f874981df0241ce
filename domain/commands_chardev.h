/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Arguments of the commands about character devices (domain/commands_chardev.c has the rows). */
#pragma once
#include "domain/command.h"

struct args_chardev_change { char *id, *backend /* JSON: domain/chardev_backend.h */; };
/* kvmd to the machine */
struct args_chardev_update { char *id, *device; GPtrArray *names; /* struct device_fd */ };
