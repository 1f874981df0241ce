/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Saved state over field tables. All numbers are big endian:
 *
 *   struct  u8 length, name; u32 version; u32 bytes of fields; fields; u32 crc32 of all before it
 *   field   u8 length, name; u8 kind; u32 bytes of value; value
 *   value   u, i: 8 bytes        b: 1 byte (1)     s: text (enums and what has a text form)
 *           x: bytes             r: two texts, each u32 length and bytes, 0xffffffff for none
 *           S: one struct        L: u32 number, structs
 *           K: kept XML: u32 number, then each at, after (texts as in r), u32 nth, xml
 *
 * The outermost checksum is compared before anything is read, so damage is told as damage. A reader
 * keeps within the bytes of the part it reads, and makes no room for more than is there.
 */
#include "domain/state.h"

#include <inttypes.h>
#include <string.h>

#define MAX_DEPTH 32u
#define NO_TEXT UINT32_MAX

struct input {
	const uint8_t *p;
	size_t n;
};

static uint32_t crc32_of(const uint8_t *p, size_t n)
{
	static const uint32_t nibbles[16] = {
		0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
		0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
	};
	uint32_t crc = UINT32_MAX;

	for (; n; n--, p++) {
		crc ^= *p;
		crc = crc >> 4 ^ nibbles[crc & 15];
		crc = crc >> 4 ^ nibbles[crc & 15];
	}
	return ~crc;
}

/* --- out --- */
static void put_u32(GByteArray *out, uint32_t v)
{
	v = GUINT32_TO_BE(v);
	g_byte_array_append(out, (const guint8 *)&v, 4);
}

static void put_u8(GByteArray *out, uint8_t v)
{
	g_byte_array_append(out, &v, 1);
}

static void put_name(GByteArray *out, const char *name)
{
	size_t n = strlen(name);

	g_assert(n && n <= 255);
	put_u8(out, (uint8_t)n);
	g_byte_array_append(out, (const guint8 *)name, (guint)n);
}

static void put_text(GByteArray *out, const char *text)
{
	put_u32(out, text ? (uint32_t)strlen(text) : NO_TEXT);
	if (text)
		g_byte_array_append(out, (const guint8 *)text, (guint)strlen(text));
}

/* Room for a length that is known later; filled by put_len with what came since. */
static guint put_room(GByteArray *out)
{
	put_u32(out, 0);
	return out->len;
}

static void put_len(GByteArray *out, guint from)
{
	uint32_t v = GUINT32_TO_BE(out->len - from);

	memcpy(out->data + from - 4, &v, 4);
}

static char letter_of(const struct field *f)
{
	switch (f->kind->shape) {
	case SHAPE_NUM:
		return f->kind == &kind_enum ? 's' : f->kind == &kind_int ? 'i' : 'u';
	case SHAPE_BOOL:
		return 'b';
	case SHAPE_TEXT:
		return f->kind == &kind_bytes ? 'x' : f->kind == &kind_resource ? 'r' : 's';
	case SHAPE_STRUCT:
	case SHAPE_OPT:
		return 'S';
	case SHAPE_LIST:
		return 'L';
	case SHAPE_EXTRAS:
		return 'K';
	case SHAPE_NONE:
		break;
	}
	return 0;
}

static void put_value(const struct field *f, const void *obj, GByteArray *out)
{
	const void *member = field_at(f, obj);
	const struct resource *r = member;
	const GPtrArray *list = f->kind->shape == SHAPE_LIST ? *(GPtrArray *const *)member : NULL;
	const GByteArray *bytes = f->kind == &kind_bytes ? *(GByteArray *const *)member : NULL;
	const struct extras *x = member;
	g_autofree char *text = NULL;
	uint64_t v;

	switch (letter_of(f)) {
	case 'u':
	case 'i':
		v = GUINT64_TO_BE(field_num(f, obj));
		g_byte_array_append(out, (const guint8 *)&v, 8);
		return;
	case 'b':
		put_u8(out, field_num(f, obj) != 0);
		return;
	case 'x':
		g_byte_array_append(out, bytes->data, bytes->len);
		return;
	case 'r':
		put_text(out, r->path);
		put_text(out, r->fd);
		return;
	case 'S':
		state_save(f->sub, f->kind->shape == SHAPE_OPT ? *(void *const *)member : member, out);
		return;
	case 'L':
		put_u32(out, list->len);
		for (unsigned i = 0; i < list->len; i++)
			state_save(f->sub, list->pdata[i], out);
		return;
	case 'K':
		put_u32(out, x->list->len);
		for (unsigned i = 0; i < x->list->len; i++) {
			const struct extra *p = x->list->pdata[i];

			put_text(out, p->at);
			put_text(out, p->after);
			put_u32(out, p->nth);
			put_text(out, p->xml);
		}
		return;
	}
	text = field_text(f, obj);
	if (text)
		g_byte_array_append(out, (const guint8 *)text, (guint)strlen(text));
}

void state_save(const struct schema *s, const void *obj, GByteArray *out)
{
	guint start = out->len, fields;

	if (s->pre_save)
		s->pre_save((void *)(uintptr_t)obj);
	put_name(out, s->name);
	put_u32(out, s->version);
	fields = put_room(out);
	for (const struct field *f = s->fields; f->name; f++) {
		guint value;

		if (f->kind->shape == SHAPE_NONE || field_is_default(f, obj))
			continue;
		put_name(out, f->name);
		put_u8(out, (uint8_t)letter_of(f));
		value = put_room(out);
		put_value(f, obj, out);
		put_len(out, value);
	}
	put_len(out, fields);
	put_u32(out, crc32_of(out->data + start, out->len - start));
}

/* --- in --- */
static bool take(struct input *in, size_t n, const uint8_t **p)
{
	if (in->n < n)
		return false;
	*p = in->p;
	in->p += n;
	in->n -= n;
	return true;
}

static bool take_u32(struct input *in, uint32_t *v)
{
	const uint8_t *p;

	if (!take(in, 4, &p))
		return false;
	memcpy(v, p, 4);
	*v = GUINT32_FROM_BE(*v);
	return true;
}

/* A part with its length before it. */
static bool take_part(struct input *in, struct input *part)
{
	uint32_t n;

	if (!take_u32(in, &n) || !take(in, n, &part->p))
		return false;
	part->n = n;
	return true;
}

static bool take_name(struct input *in, char name[256])
{
	const uint8_t *n, *p;

	if (!take(in, 1, &n) || !*n || !take(in, *n, &p))
		return false;
	for (unsigned i = 0; i < *n; i++)
		if (p[i] <= ' ' || p[i] >= 0x7f)
			return false;
	memcpy(name, p, *n);
	name[*n] = 0;
	return true;
}

static bool take_text(struct input *in, char **text)
{
	struct input part;
	uint32_t n;

	if (in->n >= 4 && (memcpy(&n, in->p, 4), n == NO_TEXT)) {
		*text = NULL;
		return take_u32(in, &n);
	}
	if (!take_part(in, &part) || memchr(part.p, 0, part.n))
		return false;
	*text = g_strndup((const char *)part.p, part.n);
	return true;
}

/* Name, version and fields of one struct, its checksum compared. */
static bool take_struct(struct input *in, char name[256], uint32_t *version, struct input *fields, GError **err)
{
	const uint8_t *start = in->p;
	size_t n;
	uint32_t crc;

	if (take_name(in, name) && take_u32(in, version) && take_part(in, fields)) {
		n = (size_t)(in->p - start);
		if (take_u32(in, &crc) && crc == crc32_of(start, n))
			return true;
	}
	return kerr_set(err, KERR_STATE_DATA, "the state is damaged or cut short");
}

static bool bad(GError **err, const struct field *f)
{
	return kerr_set(err, KERR_STATE_DATA, "'%s': damaged value", f->name);
}

static bool load(const struct schema *s, void *obj, struct input *in, unsigned depth, GError **err);

static bool load_list(const struct field *f, GPtrArray **list, struct input *v, unsigned depth, GError **err)
{
	uint32_t n;

	if (!take_u32(v, &n))
		return bad(err, f);
	if (n > f->max)
		return kerr_set(err, KERR_STATE_DATA, "'%s': %u entries, at most %" PRIu64 " are possible", f->name, n, f->max);
	f->kind->clear(f, list);
	for (uint32_t i = 0; i < n; i++) {
		void *item = schema_new(f->sub);

		if (!*list)
			*list = g_ptr_array_new();
		g_ptr_array_add(*list, item);
		if (!load(f->sub, item, v, depth, err)) {
			g_prefix_error(err, "%s[%u].", f->name, i);
			return false;
		}
	}
	return true;
}

static bool load_extras(const struct field *f, struct extras *x, struct input *v, GError **err)
{
	uint32_t n, nth;

	if (!take_u32(v, &n) || n > EXTRAS_MAX)
		return bad(err, f);
	f->kind->clear(f, x);
	for (uint32_t i = 0; i < n; i++) {
		g_autofree char *at = NULL, *after = NULL, *xml = NULL;

		if (!take_text(v, &at) || !take_text(v, &after) || !take_u32(v, &nth) || !take_text(v, &xml) || !at || !xml ||
		    !extras_add(x, at, after, nth, xml))
			return bad(err, f);
	}
	return extras_ok(x, err);
}

static bool load_resource(const struct field *f, struct resource *r, struct input *v, GError **err)
{
	g_autofree char *path = NULL, *fd = NULL;

	if (!take_text(v, &path) || !take_text(v, &fd) || (fd && (!*fd || !text_ok(fd, strlen(fd)))))
		return bad(err, f);
	f->kind->clear(f, r);
	if (path && !f->kind->from_text(f, r, path, err))
		return false;
	r->fd = g_steal_pointer(&fd);
	return true;
}

static bool load_text(const struct field *f, void *obj, struct input *v, GError **err)
{
	g_autofree char *text = NULL;

	if (memchr(v->p, 0, v->n))
		return bad(err, f);
	text = g_strndup((const char *)v->p, v->n);
	v->n = 0;
	return field_set_text(f, obj, text, err);
}

static bool load_value(const struct field *f, void *obj, struct input *v, unsigned depth, GError **err)
{
	void *member = field_at(f, obj);
	const uint8_t *p;
	uint64_t num;

	switch (letter_of(f)) {
	case 'u':
	case 'i':
		if (!take(v, 8, &p))
			return bad(err, f);
		memcpy(&num, p, 8);
		return field_set_num(f, obj, GUINT64_FROM_BE(num), err);
	case 'b':
		if (!take(v, 1, &p) || *p > 1)
			return bad(err, f);
		return field_set_num(f, obj, *p, err);
	case 'x':
		if (v->n < f->min || v->n > f->max)
			return bad(err, f);
		f->kind->clear(f, member);
		*(GByteArray **)member = g_byte_array_append(g_byte_array_sized_new((guint)v->n), v->p, (guint)v->n);
		v->n = 0;
		return true;
	case 'r':
		return load_resource(f, member, v, err);
	case 'S':
		if (f->kind->shape == SHAPE_OPT && !*(void **)member)
			*(void **)member = schema_new(f->sub);
		if (load(f->sub, f->kind->shape == SHAPE_OPT ? *(void **)member : member, v, depth, err))
			return true;
		g_prefix_error(err, "%s.", f->name);
		return false;
	case 'L':
		return load_list(f, member, v, depth, err);
	case 'K':
		return load_extras(f, member, v, err);
	case 's':
		return load_text(f, obj, v, err);
	}
	return bad(err, f);
}

static bool load(const struct schema *s, void *obj, struct input *in, unsigned depth, GError **err)
{
	struct input fields, value;
	uint32_t version;
	const uint8_t *letter;
	char name[256];
	g_autofree bool *seen = NULL;
	size_t rows = 0;

	if (depth == MAX_DEPTH)
		return kerr_set(err, KERR_STATE_DATA, "the state is nested too deeply");
	if (!take_struct(in, name, &version, &fields, err))
		return false;
	if (strcmp(name, s->name))
		return kerr_set(err, KERR_STATE_DATA, "the state is of '%s', '%s' is expected", name, s->name);
	if (version > s->version)
		return kerr_set(err, KERR_STATE_DATA, "the state of '%s' is of version %u, this kvmd knows up to %u", name, version,
			s->version);
	while (s->fields[rows].name)
		rows++;
	seen = g_new0(bool, rows + 1);
	while (fields.n) {
		const struct field *f;

		if (!take_name(&fields, name) || !take(&fields, 1, &letter) || !take_part(&fields, &value))
			return kerr_set(err, KERR_STATE_DATA, "'%s': damaged field", s->name);
		f = schema_field(s, name);
		if (!f || f->kind->shape == SHAPE_NONE)
			return kerr_set(err, KERR_STATE_DATA, "'%s' has no field '%s'", s->name, name);
		if (letter_of(f) != (char)*letter)
			return kerr_set(err, KERR_STATE_DATA, "'%s': the field is of another kind", name);
		if (seen[f - s->fields])
			return kerr_set(err, KERR_STATE_DATA, "'%s': the field is there twice", name);
		seen[f - s->fields] = true;
		if (!load_value(f, obj, &value, depth + 1, err))
			return false;
		if (value.n)
			return bad(err, f);
	}
	return !s->post_load || s->post_load(obj, err);
}

bool state_load(const struct schema *s, void *obj, const uint8_t **data, size_t *len, GError **err)
{
	struct input in = { *data, MIN(*len, STATE_MAX_BYTES) };
	g_autoptr(GError) e = NULL;

	if (!load(s, obj, &in, 0, &e)) {
		if (e->domain == kerr_quark())
			e->code = KERR_STATE_DATA;
		g_propagate_prefixed_error(err, g_steal_pointer(&e), "%s: ", s->name);
		return false;
	}
	*len -= (size_t)(in.p - *data);
	*data = in.p;
	return true;
}

/* --- text of any state --- */
static bool dump_struct(struct input *in, GString *out, unsigned depth, GError **err);

static void dump_text(GString *out, const char *text, size_t n)
{
	g_autofree char *copy = g_strndup(text, n), *safe = g_strescape(copy, NULL);

	g_string_append_printf(out, "\"%s\"", safe);
}

static bool dump_pair(struct input *v, GString *out)
{
	char *text = NULL;

	if (!take_text(v, &text))
		return false;
	if (text)
		dump_text(out, text, strlen(text));
	else
		g_string_append(out, "none");
	g_free(text);
	return true;
}

static bool dump_value(char letter, struct input *v, GString *out, unsigned depth, GError **err)
{
	const uint8_t *p;
	uint64_t num;
	uint32_t n = 1, nth;

	switch (letter) {
	case 'u':
	case 'i':
		if (!take(v, 8, &p))
			return false;
		memcpy(&num, p, 8);
		num = GUINT64_FROM_BE(num);
		if (letter == 'i')
			g_string_append_printf(out, "%" PRId64, (int64_t)num);
		else
			g_string_append_printf(out, "%" PRIu64 " (0x%" PRIx64 ")", num, num);
		return true;
	case 'b':
		g_string_append(out, v->n == 1 && *v->p == 1 ? "yes" : "no");
		return take(v, 1, &p);
	case 's':
		dump_text(out, (const char *)v->p, v->n);
		return take(v, v->n, &p);
	case 'x':
		for (size_t i = 0; i < MIN(v->n, 64); i++)
			g_string_append_printf(out, "%02x", v->p[i]);
		if (v->n > 64)
			g_string_append_printf(out, "… (%zu bytes)", v->n);
		return take(v, v->n, &p);
	case 'r':
		if (!dump_pair(v, out))
			return false;
		g_string_append(out, " fd ");
		return dump_pair(v, out);
	case 'K':
		if (!take_u32(v, &n))
			return false;
		for (; n; n--) {
			g_string_append(out, " ");
			if (!dump_pair(v, out) || !dump_pair(v, out) || !take_u32(v, &nth) || !dump_pair(v, out))
				return false;
		}
		return true;
	case 'L':
		if (!take_u32(v, &n))
			return false;
		g_string_append_printf(out, "%u entries", n);
		/* fall through */
	case 'S':
		for (; n; n--) {
			g_string_append_c(out, '\n');
			if (!dump_struct(v, out, depth, err))
				return false;
		}
		return true;
	}
	return false;
}

static void indent(GString *out, unsigned depth)
{
	for (unsigned i = 0; i < depth; i++)
		g_string_append(out, "  ");
}

/* No newline at the end. */
static bool dump_struct(struct input *in, GString *out, unsigned depth, GError **err)
{
	struct input fields, value;
	char name[256];
	uint32_t version;
	const uint8_t *letter;

	if (depth >= 2 * MAX_DEPTH)
		return kerr_set(err, KERR_STATE_DATA, "the state is nested too deeply");
	if (!take_struct(in, name, &version, &fields, err))
		return false;
	indent(out, depth);
	g_string_append_printf(out, "%s version %u", name, version);
	while (fields.n) {
		GError *e = NULL;

		if (!take_name(&fields, name) || !take(&fields, 1, &letter) || !take_part(&fields, &value))
			return kerr_set(err, KERR_STATE_DATA, "damaged field");
		g_string_append_c(out, '\n');
		indent(out, depth + 1);
		g_string_append_printf(out, "%s = ", name);
		if (!dump_value((char)*letter, &value, out, depth + 2, &e) || value.n) {
			if (e)
				g_propagate_error(err, e);
			else
				kerr_set(err, KERR_STATE_DATA, "'%s': damaged value", name);
			return false;
		}
	}
	return true;
}

bool state_dump(const uint8_t *data, size_t len, GString *out, GError **err)
{
	struct input in = { data, len };

	while (in.n) {
		if (!dump_struct(&in, out, 0, err))
			return false;
		g_string_append_c(out, '\n');
	}
	return true;
}
