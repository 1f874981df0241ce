/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Serial ports: a 16550A at COM1 to COM4 per <serial>. */
#pragma once
#include "devices/chr.h"

/* Its host side, for consoles and logs; NULL before realize. Main thread. */
struct chr *serial_chr(struct device *);
