/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio consoles and channels, for those who attach to them. Main thread. */
#pragma once
#include "devices/chr.h"

/* The host side of the port whose <console> or <channel> has that alias or target name; NULL name: of the first console.
 * NULL: the controller has none such. */
struct chr *virtio_console_chr(struct device *, const char *name);
