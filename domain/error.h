/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The one error table. Every failure that reaches a person is a GError of kerr_quark() whose code
 * is a row below; the row fixes how each face of kvmd shows it (QMP class and `code`, libvirt's
 * number, kvmctl's exit status). The message says what failed, lower case, names in '…', no full
 * stop; each caller prefixes what only it knows.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>

/*      id            `code` on the wire     QMP class          virErrorNumber  kvmctl's exit   meaning */
#define KERRORS(E) \
	E(INTERNAL,    "InternalError",      "GenericError",     1,  1, "a bug in kvmd: please report it") \
	E(ARGS,        "BadArguments",       "GenericError",     8,  2, "an argument is missing, unknown or out of range") \
	E(XML,         "BadXml",             "GenericError",    35,  2, "the XML is malformed or breaks a rule") \
	E(JSON,        "BadMessage",         "GenericError",     8,  2, "a message is not valid JSON or not of the protocol") \
	E(STATE_DATA,  "BadState",           "GenericError",     9,  2, "saved state is damaged or of another version") \
	E(NO_COMMAND,  "CommandNotFound",    "CommandNotFound",  3,  2, "there is no such command") \
	E(NO_VM,       "VmNotFound",         "GenericError",    42,  3, "no domain has this name or uuid") \
	E(NO_DEVICE,   "DeviceNotFound",     "DeviceNotFound",  99,  3, "the domain has no such device") \
	E(NO_FILE,     "FileNotFound",       "GenericError",    38,  3, "a file that the domain needs is not there") \
	E(STATE,       "WrongState",         "GenericError",    55,  4, "not possible in the domain's present state") \
	E(EXISTS,      "AlreadyExists",      "GenericError",    12,  4, "the name or uuid is taken") \
	E(BUSY,        "ResourceBusy",       "GenericError",    87,  5, "something needed is in use by another") \
	E(UNSUPPORTED, "Unsupported",        "GenericError",    67,  6, "kvmd has no support for this") \
	E(HOST,        "HostLacks",          "KVMMissingCap",   67,  6, "this host lacks what is needed") \
	E(ACCESS,      "AccessDenied",       "GenericError",    88,  7, "permission is missing") \
	E(NO_MEMORY,   "NoMemory",           "GenericError",     2,  8, "the host has not enough memory") \
	E(NO_SPACE,    "NoSpace",            "GenericError",    38,  8, "a file system is full") \
	E(LIMIT,       "LimitReached",       "GenericError",    55,  8, "a limit of kvmd is reached") \
	E(TIMEOUT,     "Timeout",            "GenericError",    68,  9, "no answer within the deadline") \
	E(CONNECT,     "NoConnection",       "GenericError",    38, 10, "kvmd or the domain's process cannot be reached") \
	E(IO,          "IoError",            "GenericError",    38, 11, "an operation of the host failed") \
	E(INACTIVE,    "NotActive",          "DeviceNotActive", 55,  4, "the domain has nothing that could do this") \
	E(GUEST,       "GuestRefused",       "DeviceNotActive",  9, 12, "the guest did not do what was asked")

enum kerr {
#define E(id, wire, class, virt, exit, text) KERR_##id,
	KERRORS(E)
#undef E
	KERR_N
};

struct kerr_row {
	const char *code, *qmp_class, *text;
	int virt, exit;
};

/* The row of a code; codes outside the table give KERR_INTERNAL's row. Any thread. */
const struct kerr_row *kerr_row(int code);
/* The code whose wire name is given; KERR_INTERNAL when unknown. */
enum kerr kerr_from_wire(const char *wire);
GQuark kerr_quark(void);

/* Set *err (may be NULL) and return false, so that callers can `return kerr_set(…)`. */
bool kerr_set(GError **err, enum kerr code, const char *fmt, ...) G_GNUC_PRINTF(3, 4);
/* The same for an errno: the code follows from it (ENOENT: NO_FILE, EACCES: ACCESS, ENOSPC: NO_SPACE,
 * EBUSY: BUSY, ENOMEM: NO_MEMORY, else IO) and ": strerror" is appended to the message. */
bool kerr_errno(GError **err, int errnum, const char *fmt, ...) G_GNUC_PRINTF(3, 4);
/* The row of any GError: ours by its code, others INTERNAL. */
const struct kerr_row *kerr_of(const GError *err);
