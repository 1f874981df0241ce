/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/wire_fds.h"

#include <string.h>
#include <unistd.h>

void wire_fds_close(int *fds, unsigned *n)
{
	for (unsigned i = 0; i < *n; i++)
		close(fds[i]);
	*n = 0;
}

void wire_fds_drop(struct wire_fds *w)
{
	wire_fds_close(w->fds, &w->n);
}

bool wire_fds_take(struct wire_fds *w, struct msghdr *m, const GByteArray *in)
{
	bool ok = !(m->msg_flags & MSG_CTRUNC);
	size_t at = in->len;

	while (at && strchr(" \t\r\n", in->data[at - 1]))
		at--;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
			if (w->n < WIRE_FDS_MAX) {
				w->at[w->n] = at ? at - 1 : 0;
				w->fds[w->n++] = fd;
			} else {
				close(fd);
				ok = false;
			}
		}
	}
	return ok;
}

unsigned wire_fds_of(struct wire_fds *w, size_t next, int fds[WIRE_FDS_MAX])
{
	unsigned n = 0, left = 0;

	for (unsigned i = 0; i < w->n; i++) {
		if (w->at[i] < next) {
			fds[n++] = w->fds[i];
		} else {
			w->fds[left] = w->fds[i];
			w->at[left++] = w->at[i];
		}
	}
	w->n = left;
	return n;
}

void wire_fds_move(struct wire_fds *w, size_t gone)
{
	for (unsigned i = 0; i < w->n; i++)
		w->at[i] -= MIN(w->at[i], gone);
}
