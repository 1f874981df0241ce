/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Arithmetic on iovecs. Ranges must lie within the vector; the caller has checked. Any thread. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

size_t iov_bytes(const struct iovec *, unsigned n);
void iov_fill(const struct iovec *, unsigned n, size_t off, int byte, size_t len);
void iov_to_buf(const struct iovec *, unsigned n, size_t off, void *buf, size_t len);
void iov_from_buf(const struct iovec *, unsigned n, size_t off, const void *buf, size_t len);
/* The pieces of [off, off + len) into out (room for n). Number of pieces. */
unsigned iov_slice(const struct iovec *, unsigned n, size_t off, size_t len, struct iovec *out);
bool iov_is_zero(const struct iovec *, unsigned n, size_t off, size_t len);
bool iov_is_aligned(const struct iovec *, unsigned n, size_t align);    /* addresses and lengths */
bool buf_is_zero(const void *, size_t);
