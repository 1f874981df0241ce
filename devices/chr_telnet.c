/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Telnet, as far as a terminal at a guest's serial port needs it. */
#include "devices/chr_telnet.h"

#include <string.h>

enum { SE = 240, SB = 250, WILL = 251, WONT = 252, DO = 253, DONT = 254, IAC = 255 };
enum { BINARY = 0, ECHO = 1, GO_AHEAD = 3 };
enum { PLAIN, COMMAND, OPTION, INSIDE, INSIDE_COMMAND };

static void reply(struct telnet *t, uint8_t verb, uint8_t option)
{
	const uint8_t text[] = { IAC, verb, option };

	if (sizeof(t->say) - t->say_n < sizeof(text))
		return;
	memcpy(t->say + t->say_n, text, sizeof(text));
	t->say_n += sizeof(text);
}

void telnet_begin(struct telnet *t)
{
	*t = (struct telnet){ .state = PLAIN };
	reply(t, WILL, ECHO);
	reply(t, WILL, GO_AHEAD);
	reply(t, WILL, BINARY);
	reply(t, DO, BINARY);
}

/* What we offered needs no word more; all else is refused. */
static void negotiate(struct telnet *t, uint8_t option)
{
	if (t->verb == DO && option != BINARY && option != ECHO && option != GO_AHEAD)
		reply(t, WONT, option);
	if (t->verb == WILL && option == GO_AHEAD && !t->ahead) {
		t->ahead = true;
		reply(t, DO, option);
	} else if (t->verb == WILL && option != GO_AHEAD && option != BINARY) {
		reply(t, DONT, option);
	}
	if (option == BINARY && (t->verb == WILL || t->verb == WONT))
		t->binary = t->verb == WILL;
}

/* Is it a byte for the guest? */
static bool take(struct telnet *t, uint8_t c)
{
	bool cr = t->cr;

	switch (t->state) {
	case PLAIN:
		t->cr = c == '\r' && !t->binary;
		if (c == IAC)
			t->state = COMMAND;
		return c != IAC && !(cr && !c);
	case COMMAND:
		t->state = c == SB ? INSIDE : c >= WILL && c <= DONT ? OPTION : PLAIN;
		t->verb = c;
		return c == IAC;
	case OPTION:
		t->state = PLAIN;
		negotiate(t, c);
		return false;
	case INSIDE:
		if (c == IAC)
			t->state = INSIDE_COMMAND;
		return false;
	default:
		t->state = c == SE ? PLAIN : INSIDE;
		return false;
	}
}

size_t telnet_read(struct telnet *t, uint8_t *data, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++)
		if (take(t, data[i]))
			data[kept++] = data[i];
	return kept;
}

size_t telnet_plain(const uint8_t *data, size_t n)
{
	const uint8_t *iac = memchr(data, IAC, n);

	return iac ? (size_t)(iac - data) : n;
}

void telnet_escape(struct telnet *t)
{
	g_assert(!t->say_n);
	t->say[0] = t->say[1] = IAC;
	t->say_n = 2;
}

void telnet_said(struct telnet *t, size_t n)
{
	g_assert(n <= t->say_n);
	t->say_n -= n;
	memmove(t->say, t->say + n, t->say_n);
}
