/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A character device between a front end in memory and back ends on real descriptors. One thread. */
#pragma once
#include "devices/chr.h"
#include "tests/fake/fake.h"

/* A front end that takes what it is told to. */
struct sink {
	struct device dev;
	size_t room;
	GString *got;
};

struct test {
	struct fake *f;
	struct sink sink;
	struct chr *chr;
};

/* room: how much the front end takes. */
void set_up(struct test *, size_t room);
void tear_down(struct test *);
/* Lets timers and descriptors have their turns. */
void pass(struct test *);
/* What the guest writes. */
void put_text(struct test *, const char *text);
/* What there is to be read. Overwritten by the next call. */
char *get_text(int fd);
/* A console, and its other end. */
int attach(struct test *, unsigned flags, const char *name, unsigned *id);
