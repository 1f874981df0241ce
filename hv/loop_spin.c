/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How long a loop polls; the header says why. */
#include "hv/loop_spin.h"

#include <glib.h>

#define FIRST_NS 4000
#define WINDOW_NS 10000000
#define VAIN_NS 1000000         /* of a window */
#define LOST_NS 1000000         /* between two looks: the processor was somebody else's */
#define PENANCE_NS 1000000
#define PENANCE_MAX_NS 64000000
#define MODEST_NS 10000

int64_t spin_for(struct loop_spin *s, int64_t now)
{
	if (now - s->window >= WINDOW_NS) {
		s->window = now;
		s->vain = 0;
	}
	return now < s->modest_until ? MIN(s->now, MODEST_NS) : s->now;
}

static void be_modest(struct loop_spin *s, int64_t now)
{
	if (now < s->modest_until)
		return;
	/* soon after the last time: it goes on */
	s->penance = now - s->modest_until < 4 * s->penance ? MIN(2 * s->penance, PENANCE_MAX_NS) : PENANCE_NS;
	s->modest_until = now + s->penance;
}

void spin_looked(struct loop_spin *s, int64_t before, int64_t now)
{
	if (now - before > LOST_NS)
		be_modest(s, now);
}

void spin_ended(struct loop_spin *s, int64_t since, int64_t now, int64_t most)
{
	if (now - since >= most && most > MODEST_NS)
		s->vain += now - since;
	if (s->vain > VAIN_NS)
		be_modest(s, now);
}

void spin_slept(struct loop_spin *s, int64_t ns)
{
	if (ns > s->max)
		s->now = s->shrink ? s->now / s->shrink : 0;
	else if (s->now < s->max)
		s->now = MIN(s->max, s->now ? s->now * (s->grow ? s->grow : 2) : FIRST_NS);
}
