/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is on a wire as text: where a message ends, and what it says. */
#pragma once
#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>

/* Where a message ends: the state between two looks at input that grows. All zero: in front of a message. */
struct wire_frame {
	size_t scanned;                 /* bytes looked at; what they left open: */
	unsigned depth;
	char quote;                     /* of the string that is open; 0: none */
	bool escaped;
};

/*
 * Looks on in the input for the end of a message, as QEMU does: where its outermost brace closes (its own Python client sends no
 * newline), so that a message may have several lines and a line several messages. A newline ends what has no brace open. A byte
 * that is never in JSON (a control character, 0xfe, 0xff) ends anything: with it a client gets the reader out of a message
 * that it has not ended. So does one brace too many. What lies between *end and *next is the newline.
 */
bool wire_frame_next(struct wire_frame *, const char *data, size_t len, size_t *end, size_t *next);

bool wire_is_blank(const char *, size_t n);

/*
 * The message as an object, new; NULL and *why. Strict JSON, with one exception: strings may be quoted by ' too, when `single`
 * says so, and have \' in them, as QEMU's own and much that is written by hand.
 */
json_object *wire_parse(const char *text, size_t len, bool single, const char **why);
