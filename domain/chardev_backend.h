/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP's words for what stands behind a character device: {"type": "file", "data": {"out": "/path"}}. Pure. */
#pragma once
#include "domain/chardev.h"

/*
 * What `backend` (JSON text) means, as type, protocol and source of out, which are empty before; what is opened is named by
 * path. Of a socket whose address is of type "fd", and of a file "/dev/fdset/N", that name is the path. *err: ARGS what is no
 * such description, UNSUPPORTED what there is not, with what there is.
 */
bool chardev_of_backend(const char *backend, struct chardev *out, GError **err);
