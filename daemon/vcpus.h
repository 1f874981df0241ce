/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between vcpus.c and vcpus_each.c. */
#pragma once
#include "domain/machine.h"

/* Makes <vcpus> mention each vCPU, as it is now. */
void vcpus_mention(struct machine *);
