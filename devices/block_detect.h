/* SPDX-License-Identifier: GPL-2.0-or-later */
/* <driver detect_zeroes='on|unmap'>: writes of nothing but zeroes become write-zeroes. */
#pragma once
#include "devices/block.h"

struct block_detect_config { bool unmap; };
