/* SPDX-License-Identifier: GPL-2.0-or-later */
/* x-hold, x-eat N, x-serve WHAT: see fake_serve.c. What kvmd answers, the fake tells by the event SERVED. */
#pragma once
#include "daemon/wire.h"

struct fake_serve {
	struct wire *kvmd, *held;
	int qmp;                /* its listening socket */
	uint64_t made;
};
/* false: it is no such command. */
bool fake_serve(struct fake_serve *, const char *name, const char *text, struct wire *from);
