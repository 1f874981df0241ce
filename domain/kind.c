/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The kinds that are numbers: text both ways with bounds, comparing, copying, clearing, random legal values. */
#include <inttypes.h>
#include <string.h>

#include "domain/field.h"
#include "domain/kind.h"

const char *const yesno_names[3] = { "", "yes", "no" };
const char *const onoff_names[3] = { "", "on", "off" };

/* What a person typed, short enough for a message and always UTF-8. Caller frees. */
static char *shown(const struct field *f, const char *text)
{
	g_autofree char *valid = NULL;

	if (f->flags & SECRET)
		return g_strdup("***");
	valid = g_utf8_make_valid(text, (gssize)strnlen(text, 120));
	return strlen(text) > 120 ? g_strconcat(valid, "…", NULL) : g_steal_pointer(&valid);
}

/* --- numbers --- */
static bool is_signed(const struct field *f)
{
	return f->kind == &kind_int || f->kind == &kind_enum;
}

static uint64_t num_load(const struct field *f, const void *p)
{
	switch (f->size) {
	case 1:
		return f->kind == &kind_flag ? *(const bool *)p : *(const uint8_t *)p;
	case 2:
		return *(const uint16_t *)p;
	case 4:
		return is_signed(f) ? (uint64_t)(int64_t)*(const int32_t *)p : *(const uint32_t *)p;
	case 8:
		return *(const uint64_t *)p;
	}
	g_assert_not_reached();
}

static void num_store(const struct field *f, void *p, uint64_t v)
{
	switch (f->size) {
	case 1:
		if (f->kind == &kind_flag)
			*(bool *)p = v != 0;
		else
			*(uint8_t *)p = (uint8_t)v;
		return;
	case 2:
		*(uint16_t *)p = (uint16_t)v;
		return;
	case 4:
		*(uint32_t *)p = (uint32_t)v;
		return;
	case 8:
		*(uint64_t *)p = v;
		return;
	}
	g_assert_not_reached();
}

static bool in_bounds(const struct field *f, uint64_t v)
{
	if (is_signed(f))
		return (int64_t)v >= (int64_t)f->min && (int64_t)v <= (int64_t)f->max;
	return v >= f->min && v <= f->max;
}

/* Writes a number before `end`; returns its first character. At least `width` digits. */
char *kind_digits(char *end, uint64_t v, unsigned base, unsigned width)
{
	for (; v || width; v /= base) {
		*--end = "0123456789abcdef"[v % base];
		width -= width > 0;
	}
	return end;
}

/* Text of a number: in buf, or an enum's name. */
static const char *num_print(const struct field *f, uint64_t v, char buf[FIELD_TEXT])
{
	char *end = buf + FIELD_TEXT - 1;
	bool minus = f->kind == &kind_int && (int64_t)v < 0;
	unsigned width = 1;

	*end = 0;
	if (f->kind == &kind_flag)
		return v ? "yes" : "no";
	if (f->kind == &kind_enum && in_bounds(f, v) && f->names[v])
		return f->names[v];
	if (f->kind == &kind_size) {
		const char *unit = v % 1024 ? " bytes" : " KiB";

		end -= strlen(unit);
		memcpy(end, unit, strlen(unit));
		return kind_digits(end, v % 1024 ? v : v / 1024, 10, 1);
	}
	if (f->kind == &kind_hex) {
		for (uint64_t m = f->max >> 4; m && f->max <= 0xffff; m >>= 4)
			width++;
		end = kind_digits(end, v, 16, width);
		*--end = 'x';
		*--end = '0';
		return end;
	}
	end = kind_digits(end, minus ? 0 - v : v, 10, 1);
	if (minus)
		*--end = '-';
	return end;
}

static char *num_text(const struct field *f, uint64_t v)
{
	char buf[FIELD_TEXT];

	return g_strdup(num_print(f, v, buf));
}

static char *num_to_text(const struct field *f, const void *member);

const char *field_peek(const struct field *f, const void *obj, char buf[FIELD_TEXT])
{
	const void *member = field_at(f, obj);

	g_assert(f->kind != &kind_bytes);
	if (f->kind == &kind_resource)
		return ((const struct resource *)member)->path;
	if (f->kind->shape == SHAPE_TEXT)
		return *(char *const *)member;
	if (f->kind->to_text != num_to_text) {
		/* a kind with functions of its own (address.c) */
		g_autofree char *text = f->kind->to_text(f, member);

		g_strlcpy(buf, text, FIELD_TEXT);
		return buf;
	}
	return num_print(f, num_load(f, member), buf);
}

bool field_num_ok(const struct field *f, uint64_t v)
{
	return in_bounds(f, v) && (f->kind != &kind_enum || f->names[v]);
}

uint64_t field_num(const struct field *f, const void *obj)
{
	return num_load(f, field_at(f, obj));
}

static bool num_set(const struct field *f, void *member, uint64_t v, GError **err)
{
	g_autofree char *text = NULL, *lo = NULL, *hi = NULL;

	if (field_num_ok(f, v)) {
		num_store(f, member, v);
		return true;
	}
	text = f->flags & SECRET ? g_strdup("***") : num_text(f, v);
	lo = num_text(f, f->min);
	hi = num_text(f, f->max);
	if (f->kind == &kind_enum)
		return kerr_set(err, KERR_ARGS, "'%s': %s is not one of its values", f->name, text);
	return kerr_set(err, KERR_ARGS, "'%s': %s is outside %s..%s", f->name, text, lo, hi);
}

bool field_set_num(const struct field *f, void *obj, uint64_t v, GError **err)
{
	return num_set(f, field_at(f, obj), v, err);
}

/* Digits at *s in a base; moves *s behind them. false: none, or more than 64 bits (*over). */
bool kind_number(const char **s, unsigned base, uint64_t *v, bool *over)
{
	const char *p = *s;
	uint64_t n = 0;

	*over = false;
	for (int d; (d = g_ascii_xdigit_value(*p)) >= 0 && (unsigned)d < base; p++)
		if (__builtin_mul_overflow(n, (uint64_t)base, &n) || __builtin_add_overflow(n, (uint64_t)d, &n))
			*over = true;
	if (p == *s || *over)
		return false;
	*s = p;
	*v = n;
	return true;
}

bool kind_not_a(const struct field *f, const char *what, const char *text, bool over, GError **err)
{
	g_autofree char *t = shown(f, text), *hi = num_text(f, f->max);

	if (over)
		return kerr_set(err, KERR_ARGS, "'%s': %s is too large (at most %s)", f->name, t, hi);
	return kerr_set(err, KERR_ARGS, "'%s': '%s' is not %s", f->name, t, what);
}

static bool uint_from_text(const struct field *f, void *member, const char *text, GError **err)
{
	const char *s = skip_space(text);
	uint64_t v;
	bool over;

	if (!kind_number(&s, 10, &v, &over) || *skip_space(s))
		return kind_not_a(f, "a whole number", text, over, err);
	return num_set(f, member, v, err);
}

static bool int_from_text(const struct field *f, void *member, const char *text, GError **err)
{
	const char *s = skip_space(text);
	bool minus = *s == '-', over;
	uint64_t v;

	s += minus;
	if (!kind_number(&s, 10, &v, &over) || *skip_space(s))
		return kind_not_a(f, "a whole number", text, over, err);
	if (v > (uint64_t)INT64_MAX + minus)
		return kind_not_a(f, NULL, text, true, err);
	return num_set(f, member, minus ? 0 - v : v, err);
}

static bool hex_from_text(const struct field *f, void *member, const char *text, GError **err)
{
	const char *s = skip_space(text), *from = s;
	bool hex = s[0] == '0' && (s[1] == 'x' || s[1] == 'X'), over;
	uint64_t v;

	s += hex ? 2 : 0;
	if (!kind_number(&s, hex ? 16 : 10, &v, &over) || *skip_space(s))
		return kind_not_a(f, "a number such as 0x1f or 31", text, over, err);
	/* libvirt reads such a number as octal; nobody who writes one means that. */
	if (!hex && *from == '0' && v > 7)
		return kind_not_a(f, "clear: write 0x… or leave out the leading zeros", text, false, err);
	return num_set(f, member, v, err);
}

/* Bytes per unit as libvirt names them, 0: no such unit. */
static uint64_t unit_scale(const struct field *f, const char *unit, size_t len)
{
	static const char letters[] = "kmgtpe";
	const char *letter;
	uint64_t base, v = 1;

	if (!len)
		return f->unit ? f->unit : 1024;
	if ((len == 1 && g_ascii_tolower(*unit) == 'b') || (len == 4 && !g_ascii_strncasecmp(unit, "byte", 4)) ||
	    (len == 5 && !g_ascii_strncasecmp(unit, "bytes", 5)))
		return 1;
	letter = strchr(letters, g_ascii_tolower(*unit));
	if (!letter)
		return 0;
	if (len == 1 || (len == 3 && !g_ascii_strncasecmp(unit + 1, "ib", 2)))
		base = 1024;
	else if (len == 2 && g_ascii_tolower(unit[1]) == 'b')
		base = 1000;
	else
		return 0;
	for (const char *l = letters; l <= letter; l++)
		v *= base;
	return v;
}

/* "4096", "4 GiB", "1500MB" */
static bool size_from_text(const struct field *f, void *member, const char *text, GError **err)
{
	const char *s = skip_space(text);
	size_t len;
	uint64_t v, scale;
	bool over;

	if (!kind_number(&s, 10, &v, &over))
		return kind_not_a(f, "a size such as 4096 or '4 GiB'", text, over, err);
	s = skip_space(s);
	for (len = 0; s[len] && !g_ascii_isspace(s[len]);)
		len++;
	scale = unit_scale(f, s, len);
	if (!scale || *skip_space(s + len)) {
		g_autofree char *unit = shown(f, s);

		return kerr_set(err, KERR_ARGS, "'%s': '%s' is not a unit; write bytes, KiB, MiB, GiB, TiB, PiB, EiB, KB, MB, "
			"GB, TB, PB or EB", f->name, unit);
	}
	if (__builtin_mul_overflow(v, scale, &v))
		return kind_not_a(f, NULL, text, true, err);
	return num_set(f, member, v, err);
}

static bool flag_from_text(const struct field *f, void *member, const char *text, GError **err)
{
	static const char *const words[] = { "no", "yes", "off", "on", "false", "true", "0", "1" };

	for (unsigned i = 0; i < G_N_ELEMENTS(words); i++)
		if (!strcmp(text, words[i]))
			return num_set(f, member, i & 1, err);
	return kind_not_a(f, "yes or no", text, false, err);
}

static bool enum_from_text(const struct field *f, void *member, const char *text, GError **err)
{
	g_autofree char *word = NULL, *t = NULL;
	g_autoptr(GString) all = NULL;
	struct nearest near = { 0 };
	const char *from = skip_space(text);
	size_t len = strcspn(from, " \t\r\n");

	/* "" is a value only where something else is the default: else it stands for "not given". */
	for (unsigned i = 0; i <= f->max && !*skip_space(from + len); i++)
		if (f->names[i] && !strncmp(from, f->names[i], len) && !f->names[i][len] && (len || f->def))
			return num_set(f, member, i, err);
	near.word = word = g_strchomp(g_strdup(from));
	all = g_string_new(NULL);
	for (unsigned i = 0; i <= f->max; i++)
		if (f->names[i] && *f->names[i]) {
			nearest_try(&near, f->names[i]);
			g_string_append_printf(all, "%s%s", all->len ? ", " : "", f->names[i]);
		}
	t = shown(f, word);
	if (near.best)
		return kerr_set(err, KERR_ARGS, "'%s': unknown value '%s'; did you mean '%s'? (allowed: %s)", f->name, t,
			near.best, all->str);
	return kerr_set(err, KERR_ARGS, "'%s': unknown value '%s' (allowed: %s)", f->name, t, all->str);
}

static char *num_to_text(const struct field *f, const void *member)
{
	return num_text(f, num_load(f, member));
}

static bool num_equal(const struct field *f, const void *a, const void *b)
{
	return num_load(f, a) == num_load(f, b);
}

static void num_copy(const struct field *f, void *to, const void *from)
{
	num_store(f, to, num_load(f, from));
}

static void num_clear(const struct field *f, void *member)
{
	num_store(f, member, 0);
}

static void num_random(const struct field *f, void *member, GRand *r)
{
	uint64_t span = f->max - f->min, v = (uint64_t)g_rand_int(r) << 32 | g_rand_int(r);

	switch (g_rand_int_range(r, 0, 8)) {    /* the edges are where codecs break */
	case 0:
		v = f->min;
		break;
	case 1:
		v = f->max;
		break;
	default:
		v = f->min + (span == UINT64_MAX ? v : v % (span + 1));
	}
	if (f->kind == &kind_enum)
		while (!f->names[v] || (!*f->names[v] && !f->def && f->max))
			v = v == f->max ? f->min : v + 1;
	num_store(f, member, v);
}

#define NUM(id, title, form, reader) \
	const struct kind kind_##id = { title, form, reader, num_to_text, num_equal, num_copy, num_clear, num_random }
NUM(uint, "uint", SHAPE_NUM, uint_from_text);
NUM(int, "int", SHAPE_NUM, int_from_text);
NUM(hex, "hex", SHAPE_NUM, hex_from_text);
NUM(size, "size", SHAPE_NUM, size_from_text);
NUM(flag, "bool", SHAPE_BOOL, flag_from_text);
NUM(enum, "enum", SHAPE_NUM, enum_from_text);
