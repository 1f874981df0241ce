/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A virtio device of the tests' own, an echo: what its queues bring goes back in the writable part, at once, when the test says
 * so (.lazy) or when it is drained. A machine with one, and a driver that sends it something. One thread.
 */
#pragma once
#include "devices/virtio.h"
#include "tests/fake/virtio_driver.h"

#define F_ECHO (1ull << 3)
#define F_PART (1ull << 4)              /* goes with F_ECHO only */
#define HELD 256

struct echo_config {
	int model;                      /* as all have: offset 0 means none */
	struct virtio_driver driver;
	struct address address;
};
extern struct echo_config echo_packed, echo_paged;    /* offers packed rings; has a page per queue, too */

struct echo {
	struct virtio virtio;
	uint32_t space[2];
	bool lazy, drains;
	struct chain *held[HELD];
	unsigned served, resets;
};

/* Ends one, or all that are held. */
void echo_finish(struct echo *, struct virtq *, struct chain *);
void echo_finish_held(struct echo *);
/* config NULL: echo_packed. Its id is "echo". */
struct fake *echo_machine(struct echo **, struct echo_config *config);

extern int echo_tokens[512];            /* of requests, by their number */
/* 100 bytes at `at`, of request i; they come back at `at` + 128. */
void echo_send(struct vdrv *, unsigned q, unsigned i, uint64_t at);
void echo_expect(struct vdrv *, unsigned q, unsigned i, uint64_t at);
/* A driver with both queues, which runs. */
void echo_open(struct vdrv *, struct fake *, struct echo *, uint64_t features, bool msix);
