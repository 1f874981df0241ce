/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Arithmetic on iovecs. */
#include "devices/block_iov.h"

#include <glib.h>
#include <string.h>

size_t iov_bytes(const struct iovec *iov, unsigned n)
{
	size_t sum = 0;

	for (unsigned i = 0; i < n; i++)
		sum += iov[i].iov_len;
	return sum;
}

unsigned iov_slice(const struct iovec *iov, unsigned n, size_t off, size_t len, struct iovec *out)
{
	unsigned count = 0;

	for (unsigned i = 0; i < n && len; i++) {
		size_t part;

		if (off >= iov[i].iov_len) {
			off -= iov[i].iov_len;
			continue;
		}
		part = MIN(iov[i].iov_len - off, len);
		out[count++] = (struct iovec){ (char *)iov[i].iov_base + off, part };
		len -= part;
		off = 0;
	}
	return count;
}

enum walk { WALK_FILL, WALK_TO, WALK_FROM };

static void walk(const struct iovec *iov, unsigned n, size_t off, size_t len, enum walk what,
	char *buf, int byte)
{
	for (unsigned i = 0; i < n && len; i++) {
		char *at;
		size_t part;

		if (off >= iov[i].iov_len) {
			off -= iov[i].iov_len;
			continue;
		}
		at = (char *)iov[i].iov_base + off;
		part = MIN(iov[i].iov_len - off, len);
		if (what == WALK_FILL)
			memset(at, byte, part);
		else if (what == WALK_TO)
			memcpy(buf, at, part);
		else
			memcpy(at, buf, part);
		if (buf)
			buf += part;
		len -= part;
		off = 0;
	}
}

void iov_fill(const struct iovec *iov, unsigned n, size_t off, int byte, size_t len)
{
	walk(iov, n, off, len, WALK_FILL, NULL, byte);
}

void iov_to_buf(const struct iovec *iov, unsigned n, size_t off, void *buf, size_t len)
{
	walk(iov, n, off, len, WALK_TO, buf, 0);
}

void iov_from_buf(const struct iovec *iov, unsigned n, size_t off, const void *buf, size_t len)
{
	walk(iov, n, off, len, WALK_FROM, (char *)buf, 0);
}

bool buf_is_zero(const void *buf, size_t len)
{
	const char *p = buf;
	size_t head = MIN(len, 16);

	for (size_t i = 0; i < head; i++)
		if (p[i])
			return false;
	return len <= 16 || !memcmp(p, p + 16, len - 16);
}

bool iov_is_zero(const struct iovec *iov, unsigned n, size_t off, size_t len)
{
	for (unsigned i = 0; i < n && len; i++) {
		size_t part;

		if (off >= iov[i].iov_len) {
			off -= iov[i].iov_len;
			continue;
		}
		part = MIN(iov[i].iov_len - off, len);
		if (!buf_is_zero((char *)iov[i].iov_base + off, part))
			return false;
		len -= part;
		off = 0;
	}
	return true;
}

bool iov_is_aligned(const struct iovec *iov, unsigned n, size_t align)
{
	for (unsigned i = 0; i < n; i++)
		if (((uintptr_t)iov[i].iov_base | iov[i].iov_len) & (align - 1))
			return false;
	return true;
}
