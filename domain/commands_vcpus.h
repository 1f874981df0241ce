/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Arguments of the commands about single vCPUs. */
#pragma once
#include "domain/command.h"

struct ask_setvcpu { char *vcpulist; bool enable, disable; struct ask_scope scope; uint32_t timeout; };
