/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The scalar kinds: text both ways with bounds, comparing, copying, clearing, random legal values. */
#include "domain/field.h"

#include <inttypes.h>
#include <string.h>

const char *const yesno_names[3] = { "", "yes", "no" };
const char *const onoff_names[3] = { "", "on", "off" };

#define CPUS_MAX 8192

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
static char *put_digits(char *end, uint64_t v, unsigned base, unsigned width)
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
		return put_digits(end, v % 1024 ? v : v / 1024, 10, 1);
	}
	if (f->kind == &kind_hex) {
		for (uint64_t m = f->max >> 4; m && f->max <= 0xffff; m >>= 4)
			width++;
		end = put_digits(end, v, 16, width);
		*--end = 'x';
		*--end = '0';
		return end;
	}
	end = put_digits(end, minus ? 0 - v : v, 10, 1);
	if (minus)
		*--end = '-';
	return end;
}

static char *num_text(const struct field *f, uint64_t v)
{
	char buf[FIELD_TEXT];

	return g_strdup(num_print(f, v, buf));
}

const char *field_peek(const struct field *f, const void *obj, char buf[FIELD_TEXT])
{
	const void *member = field_at(f, obj);

	g_assert(f->kind != &kind_bytes);
	if (f->kind == &kind_resource)
		return ((const struct resource *)member)->path;
	if (f->kind->shape == SHAPE_TEXT)
		return *(char *const *)member;
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
static bool digits(const char **s, unsigned base, uint64_t *v, bool *over)
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

static const char *skip_space(const char *s)
{
	while (g_ascii_isspace(*s))
		s++;
	return s;
}

static bool not_a(const struct field *f, const char *what, const char *text, bool over, GError **err)
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

	if (!digits(&s, 10, &v, &over) || *skip_space(s))
		return not_a(f, "a whole number", text, over, err);
	return num_set(f, member, v, err);
}

static bool int_from_text(const struct field *f, void *member, const char *text, GError **err)
{
	const char *s = skip_space(text);
	bool minus = *s == '-', over;
	uint64_t v;

	s += minus;
	if (!digits(&s, 10, &v, &over) || *skip_space(s))
		return not_a(f, "a whole number", text, over, err);
	if (v > (uint64_t)INT64_MAX + minus)
		return not_a(f, NULL, text, true, err);
	return num_set(f, member, minus ? 0 - v : v, err);
}

static bool hex_from_text(const struct field *f, void *member, const char *text, GError **err)
{
	const char *s = skip_space(text), *from = s;
	bool hex = s[0] == '0' && (s[1] == 'x' || s[1] == 'X'), over;
	uint64_t v;

	s += hex ? 2 : 0;
	if (!digits(&s, hex ? 16 : 10, &v, &over) || *skip_space(s))
		return not_a(f, "a number such as 0x1f or 31", text, over, err);
	/* libvirt reads such a number as octal; nobody who writes one means that. */
	if (!hex && *from == '0' && v > 7)
		return not_a(f, "clear: write 0x… or leave out the leading zeros", text, false, err);
	return num_set(f, member, v, err);
}

/* Bytes per unit as libvirt names them, 0: no such unit. KiB when there is none. */
static uint64_t unit_scale(const char *unit, size_t len)
{
	static const char letters[] = "kmgtpe";
	const char *letter;
	uint64_t base, v = 1;

	if (!len)
		return 1024;
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

	if (!digits(&s, 10, &v, &over))
		return not_a(f, "a size such as 4096 or '4 GiB'", text, over, err);
	s = skip_space(s);
	for (len = 0; s[len] && !g_ascii_isspace(s[len]);)
		len++;
	scale = unit_scale(s, len);
	if (!scale || *skip_space(s + len)) {
		g_autofree char *unit = shown(f, s);

		return kerr_set(err, KERR_ARGS, "'%s': '%s' is not a unit; write bytes, KiB, MiB, GiB, TiB, PiB, EiB, KB, MB, "
			"GB, TB, PB or EB", f->name, unit);
	}
	if (__builtin_mul_overflow(v, scale, &v))
		return not_a(f, NULL, text, true, err);
	return num_set(f, member, v, err);
}

static bool flag_from_text(const struct field *f, void *member, const char *text, GError **err)
{
	static const char *const words[] = { "no", "yes", "off", "on", "false", "true", "0", "1" };

	for (unsigned i = 0; i < G_N_ELEMENTS(words); i++)
		if (!strcmp(text, words[i]))
			return num_set(f, member, i & 1, err);
	return not_a(f, "yes or no", text, false, err);
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

/* --- text --- */
bool text_ok(const char *text, size_t len)
{
	if (len > G_MAXSSIZE || !g_utf8_validate(text, (gssize)len, NULL))
		return false;
	for (size_t i = 0; i < len; i++) {
		const unsigned char c = (unsigned char)text[i];

		if (c < 0x20 && c != '\t' && c != '\n' && c != '\r')
			return false;
		/* U+FFFE and U+FFFF: Unicode, but not XML */
		if (c == 0xef && (unsigned char)text[i + 1] == 0xbf && (unsigned char)text[i + 2] >= 0xbe)
			return false;
	}
	return true;
}

/* Checks what is common to all text, then stores a copy. */
static bool text_store(const struct field *f, char **member, const char *text, GError **err)
{
	size_t len = strlen(text);

	if (len < f->min || len > f->max)
		return kerr_set(err, KERR_ARGS, "'%s': %zu bytes long, must be %" PRIu64 "..%" PRIu64, f->name, len, f->min,
			f->max);
	if (!text_ok(text, len))
		return kerr_set(err, KERR_ARGS, "'%s': not valid UTF-8 or has control characters", f->name);
	g_free(*member);
	*member = g_strdup(text);
	return true;
}

static bool str_from_text(const struct field *f, void *member, const char *text, GError **err)
{
	return text_store(f, member, text, err);
}

static bool uuid_from_text(const struct field *f, void *member, const char *text, GError **err)
{
	char out[37];
	unsigned n = 0;
	const char *s = skip_space(text);

	/* libvirt takes hex digits with dashes anywhere between bytes */
	for (; *s && !g_ascii_isspace(*s); s++) {
		if (*s == '-' && n)
			continue;
		if (!g_ascii_isxdigit(*s) || n >= 36)
			return not_a(f, "a uuid such as 6ba7b810-9dad-11d1-80b4-00c04fd430c8", text, false, err);
		if (n == 8 || n == 13 || n == 18 || n == 23)
			out[n++] = '-';
		out[n++] = g_ascii_tolower(*s);
	}
	if (n != 36 || *skip_space(s))
		return not_a(f, "a uuid such as 6ba7b810-9dad-11d1-80b4-00c04fd430c8", text, false, err);
	out[n] = 0;
	return text_store(f, member, out, err);
}

static bool mac_from_text(const struct field *f, void *member, const char *text, GError **err)
{
	const char *s = skip_space(text);
	char out[18];

	for (int i = 0; i < 6; i++) {
		unsigned byte = 0;
		int n = 0;

		for (; n < 2 && g_ascii_isxdigit(*s); n++, s++)
			byte = byte << 4 | (unsigned)g_ascii_xdigit_value(*s);
		put_digits(out + 3 * i + 2, byte, 16, 2);
		out[3 * i + 2] = i < 5 ? ':' : 0;
		if (!n || (i < 5 && *s++ != ':'))
			return not_a(f, "a MAC address such as 52:54:00:12:34:56", text, false, err);
	}
	if (*skip_space(s))
		return not_a(f, "a MAC address such as 52:54:00:12:34:56", text, false, err);
	return text_store(f, member, out, err);
}

static bool cpu_set(const uint8_t *set, unsigned i)
{
	return i < CPUS_MAX && set[i / 8] >> i % 8 & 1;
}

static char *cpuset_text(const uint8_t *set)
{
	GString *s = g_string_new(NULL);

	for (unsigned i = 0; i < CPUS_MAX; i++) {
		unsigned from = i;

		if (!cpu_set(set, i))
			continue;
		while (cpu_set(set, i + 1))
			i++;
		g_string_append_printf(s, from == i ? "%s%u" : "%s%u-%u", s->len ? "," : "", from, i);
	}
	return g_string_free(s, FALSE);
}

static bool cpuset_from_text(const struct field *f, void *member, const char *text, GError **err)
{
	uint8_t set[CPUS_MAX / 8] = { 0 };
	const char *s = skip_space(text);
	char **to = member;
	bool over, any = false;

	g_assert(f->max < CPUS_MAX);
	for (;;) {
		bool not = *s == '^';
		uint64_t lo, hi;

		s = skip_space(s + not);
		if (!digits(&s, 10, &lo, &over))
			return not_a(f, "a list of CPUs such as 0-3,^2,8", text, over, err);
		hi = lo;
		if (*s == '-' && (s++, !digits(&s, 10, &hi, &over)))
			return not_a(f, "a list of CPUs such as 0-3,^2,8", text, over, err);
		if (hi < lo)
			return not_a(f, "a list of CPUs: a range goes upwards", text, false, err);
		if (hi > f->max)
			return kerr_set(err, KERR_ARGS, "'%s': CPU %" PRIu64 " is outside 0..%" PRIu64, f->name, hi, f->max);
		for (uint64_t i = lo; i <= hi; i++)
			set[i / 8] = (uint8_t)(not ? set[i / 8] & ~(1u << i % 8) : set[i / 8] | 1u << i % 8);
		s = skip_space(s);
		if (!*s)
			break;
		if (*s++ != ',')
			return not_a(f, "a list of CPUs such as 0-3,^2,8", text, false, err);
		s = skip_space(s);
	}
	for (unsigned i = 0; i < sizeof(set) && !any; i++)
		any = set[i];
	if (!any)
		return not_a(f, "a list with at least one CPU", text, false, err);
	g_free(*to);
	*to = cpuset_text(set);
	return true;
}

static char *text_to_text(const struct field *f, const void *member)
{
	return g_strdup(*(char *const *)member);
}

static bool text_equal(const struct field *f, const void *a, const void *b)
{
	return !g_strcmp0(*(char *const *)a, *(char *const *)b);
}

static void text_copy(const struct field *f, void *to, const void *from)
{
	*(char **)to = g_strdup(*(char *const *)from);
}

static void text_clear(const struct field *f, void *member)
{
	g_clear_pointer((char **)member, g_free);
}

static char *random_text(const struct field *f, GRand *r, uint64_t min)
{
	static const char *const atoms[] = { "a", "b", "Z", "0", "_", "-", "/", ".", " ", "<", ">", "&", "'", "\"", "\\",
		"\t", "\n", "\r", "é", "漢", "😀", "]]>", "%s", "=", ";", "--" };
	GString *s = g_string_new(NULL);
	uint64_t want = MAX(min, f->min), room = MIN(f->max, want + 24);

	if (room > want)
		want += g_rand_int(r) % (room - want + 1);
	while (s->len < want) {
		const char *a = atoms[g_rand_int_range(r, 0, G_N_ELEMENTS(atoms))];

		g_string_append(s, s->len + strlen(a) <= f->max ? a : "x");
	}
	return g_string_free(s, FALSE);
}

static void str_random(const struct field *f, void *member, GRand *r)
{
	char **to = member;

	g_free(*to);
	/* an element's text can't be there and empty */
	*to = random_text(f, r, f->path && !strchr(f->path, '@') ? 1 : 0);
}

static void uuid_random(const struct field *f, void *member, GRand *r)
{
	uint32_t a = g_rand_int(r), b = g_rand_int(r), c = g_rand_int(r), d = g_rand_int(r);
	char **to = member;

	g_free(*to);
	*to = g_strdup_printf("%08x-%04x-%04x-%04x-%04x%08x", a, b >> 16, b & 0xffff, c >> 16, c & 0xffff, d);
}

static void mac_random(const struct field *f, void *member, GRand *r)
{
	uint32_t a = g_rand_int(r);
	char **to = member;

	g_free(*to);
	*to = g_strdup_printf("52:54:00:%02x:%02x:%02x", a & 0xff, a >> 8 & 0xff, a >> 16 & 0xff);
}

static void cpuset_random(const struct field *f, void *member, GRand *r)
{
	uint8_t set[CPUS_MAX / 8] = { 0 };
	char **to = member;

	for (int i = g_rand_int_range(r, 1, 5); i; i--) {
		uint64_t at = g_rand_int(r) % (f->max + 1);

		for (uint64_t end = MIN(f->max, at + g_rand_int(r) % 5); at <= end; at++)
			set[at / 8] = (uint8_t)(set[at / 8] | 1u << at % 8);
	}
	g_free(*to);
	*to = cpuset_text(set);
}

/* --- bytes --- */
static bool bytes_from_text(const struct field *f, void *member, const char *text, GError **err)
{
	const char *s = skip_space(text);
	GByteArray **to = member;
	size_t len = strlen(s);

	while (len && g_ascii_isspace(s[len - 1]))
		len--;
	if (len % 2 || strspn(s, "0123456789abcdefABCDEF") < len)
		return not_a(f, "an even number of hex digits", text, false, err);
	if (len / 2 < f->min || len / 2 > f->max)
		return kerr_set(err, KERR_ARGS, "'%s': %zu bytes, must be %" PRIu64 "..%" PRIu64, f->name, len / 2, f->min, f->max);
	g_clear_pointer(to, g_byte_array_unref);
	if (!len)
		return true;
	*to = g_byte_array_sized_new((guint)(len / 2));
	for (size_t i = 0; i < len; i += 2) {
		uint8_t b = (uint8_t)(g_ascii_xdigit_value(s[i]) << 4 | g_ascii_xdigit_value(s[i + 1]));

		g_byte_array_append(*to, &b, 1);
	}
	return true;
}

static char *bytes_to_text(const struct field *f, const void *member)
{
	const GByteArray *b = *(GByteArray *const *)member;
	GString *s;

	if (!b)
		return NULL;
	s = g_string_sized_new(b->len * 2u);
	for (guint i = 0; i < b->len; i++)
		g_string_append_printf(s, "%02x", b->data[i]);
	return g_string_free(s, FALSE);
}

static bool bytes_equal(const struct field *f, const void *a, const void *b)
{
	const GByteArray *x = *(GByteArray *const *)a, *y = *(GByteArray *const *)b;
	guint n = x ? x->len : 0;

	return n == (y ? y->len : 0) && (!n || !memcmp(x->data, y->data, n));
}

static void bytes_copy(const struct field *f, void *to, const void *from)
{
	const GByteArray *b = *(GByteArray *const *)from;

	if (b)
		*(GByteArray **)to = g_byte_array_append(g_byte_array_sized_new(b->len), b->data, b->len);
}

static void bytes_clear(const struct field *f, void *member)
{
	g_clear_pointer((GByteArray **)member, g_byte_array_unref);
}

static void bytes_random(const struct field *f, void *member, GRand *r)
{
	uint64_t n = MIN(f->max, MAX(f->min, 1) + g_rand_int(r) % 32);
	GByteArray **to = member;

	g_clear_pointer(to, g_byte_array_unref);
	*to = g_byte_array_new();
	for (; n; n--) {
		uint8_t b = (uint8_t)g_rand_int(r);

		g_byte_array_append(*to, &b, 1);
	}
}

/* --- resources --- */
static bool resource_from_text(const struct field *f, void *member, const char *text, GError **err)
{
	struct resource *r = member;

	if (!*text) {
		g_clear_pointer(&r->path, g_free);
		return true;
	}
	if (!*skip_space(text))
		return kerr_set(err, KERR_ARGS, "'%s': a path is expected, not only space", f->name);
	return text_store(f, &r->path, text, err);
}

static char *resource_to_text(const struct field *f, const void *member)
{
	return g_strdup(((const struct resource *)member)->path);
}

static bool resource_equal(const struct field *f, const void *a, const void *b)
{
	const struct resource *x = a, *y = b;

	return !g_strcmp0(x->path, y->path) && !g_strcmp0(x->fd, y->fd);
}

static void resource_copy(const struct field *f, void *to, const void *from)
{
	const struct resource *r = from;

	*(struct resource *)to = (struct resource){ g_strdup(r->path), g_strdup(r->fd) };
}

static void resource_clear(const struct field *f, void *member)
{
	struct resource *r = member;

	g_clear_pointer(&r->path, g_free);
	g_clear_pointer(&r->fd, g_free);
}

static void resource_random(const struct field *f, void *member, GRand *r)
{
	struct resource *res = member;

	g_autofree char *name = random_text(f, r, 0);

	resource_clear(f, member);
	res->path = g_strconcat("/", name, NULL);
	if (strlen(res->path) > f->max)
		res->path[1] = 0;
}

#define NUM(id, title, form, reader) \
	const struct kind kind_##id = { title, form, reader, num_to_text, num_equal, num_copy, num_clear, num_random }
NUM(uint, "uint", SHAPE_NUM, uint_from_text);
NUM(int, "int", SHAPE_NUM, int_from_text);
NUM(hex, "hex", SHAPE_NUM, hex_from_text);
NUM(size, "size", SHAPE_NUM, size_from_text);
NUM(flag, "bool", SHAPE_BOOL, flag_from_text);
NUM(enum, "enum", SHAPE_NUM, enum_from_text);
#define TEXT(id, title, reader, fill) \
	const struct kind kind_##id = { title, SHAPE_TEXT, reader, text_to_text, text_equal, text_copy, text_clear, fill }
TEXT(str, "string", str_from_text, str_random);
TEXT(uuid, "uuid", uuid_from_text, uuid_random);
TEXT(mac, "mac", mac_from_text, mac_random);
TEXT(cpuset, "cpuset", cpuset_from_text, cpuset_random);
const struct kind kind_bytes = { "bytes", SHAPE_TEXT, bytes_from_text, bytes_to_text, bytes_equal, bytes_copy, bytes_clear,
	bytes_random };
const struct kind kind_resource = { "resource", SHAPE_TEXT, resource_from_text, resource_to_text, resource_equal,
	resource_copy, resource_clear, resource_random };
