/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Arguments of the commands about character devices (domain/commands_chardev.c has the rows). */
#pragma once
#include "domain/command.h"

struct args_chardev_change { char *id, *backend /* JSON: domain/chardev_backend.h */; };
enum ringbuf_format { RINGBUF_ABSENT, RINGBUF_UTF8, RINGBUF_BASE64, RINGBUF_N };
#define RINGBUF_READ_MAX (4u << 20)     /* bytes of one answer */
struct args_ringbuf_write { char *device, *data; int format; /* enum ringbuf_format */ };
struct args_ringbuf_read { char *device; uint64_t size; int format; };
/* kvmd to the machine */
struct args_chardev_update { char *id, *device; GPtrArray *names; /* struct device_fd */ };
