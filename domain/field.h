/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One row per datum. A struct is described by a schema, a table of fields; the codecs (xml.c,
 * json.c, state.c, doc.c) and the visitors (walk.c, diff.c) read nothing else. A row gives the
 * datum its one name, its place in the XML, type, bounds, default and documentation, and every way
 * into the struct checks the bounds.
 *
 * Rules:
 *  - A member equal to its default is not written (XML, JSON, state); a missing one loads its
 *    default; an unknown one is refused by name. So new fields do not break old readers.
 *  - Enum value 0 is "not given" unless .def says otherwise; names[0] may be "" for it.
 *    XML booleans are three things: presence (FLAG), yes/no and on/off (ENUM with yesno_names or
 *    onoff_names: YESNO_ABSENT/YES/NO), so that a dump says what the operator wrote.
 *  - Paths: "@attr", "child", "child/@attr", "a/b/@attr", "." (own text). A LIST's path names the
 *    repeated element ("disk", "vcpus/vcpu").
 *  - A STRUCT whose path is "." has its rows in the same XML element as its parent (a character
 *    device inside <serial>, say).
 *  - A REQUIRED member is always written, even at its default.
 *  - A row with no member documents what is kept or refused: KEEP and REFUSE below. A KEEP row whose
 *    element has rows of its own too keeps the rest of that element.
 *  - A step "prefix:name" stands for an element of a namespace in domain/xml.h's list.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "domain/error.h"

struct field;
struct schema;
struct report;

enum shape {                    /* what a codec must know of a kind */
	SHAPE_NUM,              /* number of .size bytes; text by kind */
	SHAPE_BOOL,             /* C bool */
	SHAPE_TEXT,             /* scalar with a text form */
	SHAPE_STRUCT,           /* embedded struct, .sub */
	SHAPE_OPT,              /* pointer to struct or NULL, .sub */
	SHAPE_LIST,             /* GPtrArray of pointers to struct (NULL: empty), .sub */
	SHAPE_EXTRAS,           /* struct extras: XML that kvmd only keeps */
	SHAPE_NONE,             /* KEEP, REFUSE: no member */
};

struct kind {
	const char *name;       /* as the reference and query-qmp-schema say it */
	enum shape shape;
	/* Scalars only. from_text checks bounds, sets *err and leaves the member untouched on failure. */
	bool (*from_text)(const struct field *, void *member, const char *text, GError **err);
	char *(*to_text)(const struct field *, const void *member);
	bool (*equal)(const struct field *, const void *a, const void *b);
	void (*copy)(const struct field *, void *to, const void *from);   /* to: cleared before */
	void (*clear)(const struct field *, void *member);                /* frees; leaves zeroes */
	void (*random)(const struct field *, void *member, GRand *);      /* a legal value */
};

extern const struct kind kind_uint, kind_int, kind_hex, kind_size, kind_flag, kind_enum, kind_str,
	kind_uuid, kind_mac, kind_bytes, kind_cpuset, kind_resource, kind_struct, kind_opt, kind_list,
	kind_extras, kind_json, kind_none;

enum field_flags {
	REQUIRED = 1 << 0,      /* must be given */
	LIVE = 1 << 1,          /* may change while the machine runs */
	SECRET = 1 << 2,        /* not in logs nor in dumps without --security-info */
	GUEST = 1 << 3,         /* part of the guest's ABI: pinned by machine version */
	POSITIONAL = 1 << 4,    /* command arguments: kvmctl takes it by place, in row order */
	FILE_TEXT = 1 << 5,     /* command arguments: kvmctl reads the named file (or -) and sends its text */
	RUNTIME = 1 << 6,       /* known only while running (pty path, ids): not in inactive dumps */
	KEEP_XML = 1 << 7,      /* row of KEEP */
	REFUSE_XML = 1 << 8,    /* row of REFUSE */
	OPTIONAL_DEVICE = 1 << 9, /* a refusal becomes a warning under --lenient */
	UNSAID = 1 << 10,       /* replies: left out at its default, also where the others are told */
	NOT_YET = 1 << 11,      /* XML: kept, nothing acts on it yet; unused.c warns of what says more than its default */
};

enum resource_use { RES_NONE, RES_READ, RES_WRITE, RES_DISK, RES_LOG, RES_SOCKET_LISTEN, RES_SOCKET_CONNECT, RES_PTY, RES_DEVICE, RES_DIR,
	RES_PAIR /* both ends of a socket pair: FD and FD.peer */,
	RES_TCP_LISTEN, RES_TCP_CONNECT, RES_UDP, /* by host and service */ RES_PIPE /* FIFOs: FD to write to, FD.in if there is one to read from */ };

/* Something of the host that a machine needs: the launcher opens the path, the worker gets a descriptor. */
struct resource {
	char *path;             /* on the host; NULL: none */
	char *fd;               /* name of the descriptor in the worker's fdset; set by the launcher only */
};

struct field {
	const char *name;       /* one name everywhere: JSON key, state key, heading in the docs */
	const char *path;       /* place in the XML element; NULL: not in XML */
	const struct kind *kind;
	size_t off, size;       /* of the member */
	uint64_t min, max, def; /* numbers: bounds and default (INT kinds: as int64_t); strings: min, max length; lists: max entries */
	unsigned flags;
	const char *doc;
	const char *const *names;       /* enums: max + 1 names */
	const struct schema *sub;       /* struct, opt, list */
	const char *attr;               /* size: name of the unit attribute, NULL: "unit"; JSON: its type as QAPI names it, NULL: "any" */
	uint64_t unit;                  /* size: bytes of one where the text has no unit; 0: 1024 */
	enum resource_use use;          /* resources */
	uint64_t lacks;                 /* NOT_YET enums: bit n: value n has no effect; 0: any but the default */
	const char *text_def;           /* strings: default text; KEEP/REFUSE: unused */
	bool (*made)(const void *member);       /* is this value one that only a running machine has, as if the row were RUNTIME? */
	char letter;                    /* command arguments: kvmctl's one-letter option too; 0: none */
	const char *key;                /* JSON's spelling where QMP has another ("cpu-index"); NULL: name */
};

struct schema {
	const char *name;               /* of the element or struct */
	const char *doc;
	unsigned version;               /* of saved state */
	size_t size;
	const struct field *fields;     /* ends with a row without a name */
	/* Rules across fields; reports findings with report_error/report_warn (domain/report.h). May be NULL. */
	void (*check)(const void *obj, struct report *);
	void (*pre_save)(void *obj);                    /* before state is read from the struct */
	bool (*post_load)(void *obj, GError **err);     /* after state came in: check and rebuild what follows from it */
};

/* XML that is kept word by word: foreign attributes and elements, KEEP rows, comments inside <metadata>. */
struct extra {
	char *at;       /* "" or the path below this struct's element the piece belongs to: "driver", "vcpu[3]" (from 0) */
	char *after;    /* name of the known sibling element before it, "" for none; NULL for an attribute */
	unsigned nth;   /* which of those siblings, from 0 */
	char *xml;      /* the element's text, or name='value'; "": the element `at` was given although it says
	                 * nothing but defaults, so it is written */
};
#define EXTRAS_MAX 4096
struct extras { GPtrArray *list; /* of struct extra, NULL: none */ };

#define F_SIZE(T, m) sizeof(((T *)0)->m)
#define F_SAME(T, m, type) (0 * sizeof(char[1 - 2 * !__builtin_types_compatible_p(__typeof__(((T *)0)->m), type)]))
#define F_ROW(T, m, xml, k, fl, text, ...) \
	{ .name = #m, .path = xml, .kind = &k, .off = offsetof(T, m), .size = F_SIZE(T, m), .flags = fl, .doc = text, ##__VA_ARGS__ }
#define F_NUM(T, m, type, xml, k, lo, hi, fl, text, ...) \
	{ .name = #m, .path = xml, .kind = &k, .off = offsetof(T, m) + F_SAME(T, m, type), .size = F_SIZE(T, m), \
	  .min = (uint64_t)(lo), .max = (uint64_t)(hi), .flags = fl, .doc = text, ##__VA_ARGS__ }

/* T: struct; m: member; xml: path or NULL; fl: flags; text: doc; more: designated initialisers such as .def = 4 */
#define U8(T, m, xml, lo, hi, fl, text, ...)  F_NUM(T, m, uint8_t, xml, kind_uint, lo, hi, fl, text, ##__VA_ARGS__)
#define U16(T, m, xml, lo, hi, fl, text, ...) F_NUM(T, m, uint16_t, xml, kind_uint, lo, hi, fl, text, ##__VA_ARGS__)
#define U32(T, m, xml, lo, hi, fl, text, ...) F_NUM(T, m, uint32_t, xml, kind_uint, lo, hi, fl, text, ##__VA_ARGS__)
#define U64(T, m, xml, lo, hi, fl, text, ...) F_NUM(T, m, uint64_t, xml, kind_uint, lo, hi, fl, text, ##__VA_ARGS__)
#define I32(T, m, xml, lo, hi, fl, text, ...) F_NUM(T, m, int32_t, xml, kind_int, (int64_t)(lo), (int64_t)(hi), fl, text, ##__VA_ARGS__)
#define I64(T, m, xml, lo, hi, fl, text, ...) F_NUM(T, m, int64_t, xml, kind_int, (int64_t)(lo), (int64_t)(hi), fl, text, ##__VA_ARGS__)
/* 0x… in XML, accepts decimal too */
#define HEX16(T, m, xml, lo, hi, fl, text, ...) F_NUM(T, m, uint16_t, xml, kind_hex, lo, hi, fl, text, ##__VA_ARGS__)
#define HEX32(T, m, xml, lo, hi, fl, text, ...) F_NUM(T, m, uint32_t, xml, kind_hex, lo, hi, fl, text, ##__VA_ARGS__)
#define HEX64(T, m, xml, lo, hi, fl, text, ...) F_NUM(T, m, uint64_t, xml, kind_hex, lo, hi, fl, text, ##__VA_ARGS__)
/* bytes in C, JSON and state; <e unit='KiB'>n</e> in XML (KiB where the unit is missing, or .unit, as libvirt has it) */
#define SIZE(T, m, xml, lo, hi, fl, text, ...) F_NUM(T, m, uint64_t, xml, kind_size, lo, hi, fl, text, ##__VA_ARGS__)
/* true when the element is present */
#define FLAG(T, m, xml, fl, text, ...) F_NUM(T, m, bool, xml, kind_flag, 0, 1, fl, text, ##__VA_ARGS__)
/* member: int; tab: array of names, in the order of the C enum */
#define ENUM(T, m, xml, tab, fl, text, ...) F_NUM(T, m, int, xml, kind_enum, 0, G_N_ELEMENTS(tab) - 1, fl, text, .names = tab, ##__VA_ARGS__)
#define STR(T, m, xml, fl, text, ...) F_NUM(T, m, char *, xml, kind_str, 0, 4096, fl, text, ##__VA_ARGS__)
/* text of lo to hi bytes */
#define STRN(T, m, xml, lo, hi, fl, text, ...) F_NUM(T, m, char *, xml, kind_str, lo, hi, fl, text, ##__VA_ARGS__)
#define UUID(T, m, xml, fl, text, ...) F_NUM(T, m, char *, xml, kind_uuid, 0, 36, fl, text, ##__VA_ARGS__)
#define MAC(T, m, xml, fl, text, ...) F_NUM(T, m, char *, xml, kind_mac, 0, 17, fl, text, ##__VA_ARGS__)
/* GByteArray *; hex digits as text */
#define BYTES(T, m, xml, most, fl, text, ...) F_NUM(T, m, GByteArray *, xml, kind_bytes, 0, most, fl, text, ##__VA_ARGS__)
/* char *, canonical "0-3,^2" list checked against max */
#define CPUSET(T, m, xml, fl, text, ...) F_NUM(T, m, char *, xml, kind_cpuset, 0, 8191, fl, text, ##__VA_ARGS__)
/* char *, any JSON value as text: for messages whose shape no struct has. type: as QAPI names it ("any", "[str]") */
#define JSON(T, m, type, fl, text, ...) F_NUM(T, m, char *, NULL, kind_json, 0, 1 << 20, fl, text, .attr = type, ##__VA_ARGS__)
#define RESOURCE(T, m, xml, how, fl, text, ...) F_NUM(T, m, struct resource, xml, kind_resource, 0, 4095, fl, text, .use = how, ##__VA_ARGS__)
#define STRUCT(T, m, xml, s, fl, text, ...) F_ROW(T, m, xml, kind_struct, fl, text, .sub = &s, ##__VA_ARGS__)
#define OPT(T, m, xml, s, fl, text, ...) F_ROW(T, m, xml, kind_opt, fl, text, .sub = &s, ##__VA_ARGS__)
#define LIST(T, m, xml, s, most, fl, text, ...) F_NUM(T, m, GPtrArray *, xml, kind_list, 0, most, fl, text, .sub = &s, ##__VA_ARGS__)
#define EXTRAS(T, m) F_NUM(T, m, struct extras, NULL, kind_extras, 0, EXTRAS_MAX, 0, "XML that kvmd keeps word by word")
/* Known to libvirt, no use here: kept with a warning that gives `why` (NULL: kept silently). */
#define KEEP(xml, why) { .name = "-" xml, .path = xml, .kind = &kind_none, .flags = KEEP_XML, .doc = why }
/* Known to libvirt, refused: `why` says what to write instead. */
#define REFUSE(xml, why) { .name = "-" xml, .path = xml, .kind = &kind_none, .flags = REFUSE_XML, .doc = why }
/* The same for devices that a machine can do without: --lenient keeps them with a warning. */
#define REFUSE_DEVICE(xml, why) { .name = "-" xml, .path = xml, .kind = &kind_none, .flags = REFUSE_XML | OPTIONAL_DEVICE, .doc = why }
#define END { .name = NULL }

enum { YESNO_ABSENT, YESNO_YES, YESNO_NO };
enum { ONOFF_ABSENT, ONOFF_ON, ONOFF_OFF };
extern const char *const yesno_names[3], *const onoff_names[3];

/* --- whole structs; pure, any thread. obj is struct memory of schema->size bytes. --- */
void schema_init(const struct schema *, void *obj);                    /* zeroes, then defaults */
void *schema_new(const struct schema *);                               /* g_malloc + init */
void schema_clear(const struct schema *, void *obj);                   /* frees members; leaves defaults */
void schema_free(const struct schema *, void *obj);                    /* clear + g_free; NULL is fine */
bool schema_equal(const struct schema *, const void *a, const void *b);
void schema_copy(const struct schema *, void *to, const void *from);   /* deep; `to` is initialised */
void *schema_dup(const struct schema *, const void *obj);
void schema_random(const struct schema *, void *obj, GRand *, unsigned depth);
/* Field bounds, REQUIRED, sub-structs and each schema's check, recursively. */
bool schema_check(const struct schema *, const void *obj, GError **err);
/* The same, all findings into a report (places are known for structs that xml_parse filled with it). */
void schema_check_report(const struct schema *, const void *obj, struct report *);

const struct field *schema_field(const struct schema *, const char *name);
static inline void *field_at(const struct field *f, const void *obj) { return (char *)obj + f->off; }
bool field_is_default(const struct field *, const void *obj);
uint64_t field_num(const struct field *, const void *obj);             /* SHAPE_NUM, SHAPE_BOOL */
bool field_num_ok(const struct field *, uint64_t value);               /* within bounds, a value of the enum */
/* Bounds checked, *err names the field; the member is untouched on failure. */
bool field_set_num(const struct field *, void *obj, uint64_t value, GError **err);
bool field_set_text(const struct field *, void *obj, const char *text, GError **err);
char *field_text(const struct field *, const void *obj);
/* The same without a copy: valid until the member or buf changes. Not for bytes. NULL: none. */
#define FIELD_TEXT 40
const char *field_peek(const struct field *, const void *obj, char buf[FIELD_TEXT]);

/* Appends a copy of one piece to extras; false at EXTRAS_MAX. */
bool extras_add(struct extras *, const char *at, const char *after, unsigned nth, const char *xml);
/* Pieces that came by JSON or state: shape, characters and number. */
bool extras_ok(const struct extras *, GError **err);
/* Text that XML can carry: UTF-8, no control characters but tab, newline, return. */
bool text_ok(const char *text, size_t len);

/* "did you mean": start with { .word = … }, try each candidate, best is NULL when none is near. */
struct nearest { const char *word, *best; unsigned dist; };
void nearest_try(struct nearest *, const char *candidate);
