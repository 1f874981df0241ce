/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Telnet (RFC 854) on a character device: like QEMU it offers to echo, to suppress go-ahead and to be binary both ways,
 * refuses all else, and takes the peer's commands out of what he types. One thread.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TELNET_SAY 64

struct telnet {
	uint8_t say[TELNET_SAY];        /* to be sent before anything else; answers that find no room are not given */
	size_t say_n;
	unsigned state;
	uint8_t verb;
	bool binary;                    /* the peer has agreed to be */
	bool ahead;                     /* we have agreed that he suppresses go-ahead */
	bool cr;                        /* the last byte was one: a NUL belongs to it */
};

void telnet_begin(struct telnet *);
/* Takes commands out of data; how many bytes are left. */
size_t telnet_read(struct telnet *, uint8_t *data, size_t n);
size_t telnet_plain(const uint8_t *data, size_t n);     /* bytes that go out as they are; 0: the first needs telnet_escape */
void telnet_escape(struct telnet *);                    /* one such byte; only while nothing is to be said */
void telnet_said(struct telnet *, size_t n);            /* n bytes of .say are out */
