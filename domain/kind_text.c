/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The kinds that are text, bytes or things of the host: checks, canonical forms, random legal values. */
#include <inttypes.h>
#include <string.h>

#include "domain/field.h"
#include "domain/kind.h"

#define CPUS_MAX 8192

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
			return kind_not_a(f, "a uuid such as 6ba7b810-9dad-11d1-80b4-00c04fd430c8", text, false, err);
		if (n == 8 || n == 13 || n == 18 || n == 23)
			out[n++] = '-';
		out[n++] = g_ascii_tolower(*s);
	}
	if (n != 36 || *skip_space(s))
		return kind_not_a(f, "a uuid such as 6ba7b810-9dad-11d1-80b4-00c04fd430c8", text, false, err);
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
		kind_digits(out + 3 * i + 2, byte, 16, 2);
		out[3 * i + 2] = i < 5 ? ':' : 0;
		if (!n || (i < 5 && *s++ != ':'))
			return kind_not_a(f, "a MAC address such as 52:54:00:12:34:56", text, false, err);
	}
	if (*skip_space(s))
		return kind_not_a(f, "a MAC address such as 52:54:00:12:34:56", text, false, err);
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
		if (!kind_number(&s, 10, &lo, &over))
			return kind_not_a(f, "a list of CPUs such as 0-3,^2,8", text, over, err);
		hi = lo;
		if (*s == '-' && (s++, !kind_number(&s, 10, &hi, &over)))
			return kind_not_a(f, "a list of CPUs such as 0-3,^2,8", text, over, err);
		if (hi < lo)
			return kind_not_a(f, "a list of CPUs: a range goes upwards", text, false, err);
		if (hi > f->max)
			return kerr_set(err, KERR_ARGS, "'%s': CPU %" PRIu64 " is outside 0..%" PRIu64, f->name, hi, f->max);
		for (uint64_t i = lo; i <= hi; i++)
			set[i / 8] = (uint8_t)(not ? set[i / 8] & ~(1u << i % 8) : set[i / 8] | 1u << i % 8);
		s = skip_space(s);
		if (!*s)
			break;
		if (*s++ != ',')
			return kind_not_a(f, "a list of CPUs such as 0-3,^2,8", text, false, err);
		s = skip_space(s);
	}
	for (unsigned i = 0; i < sizeof(set) && !any; i++)
		any = set[i];
	if (!any)
		return kind_not_a(f, "a list with at least one CPU", text, false, err);
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
	*to = random_text(f, r, 0);
	/* an element's text can't be there and empty, nor only space when there are elements beside it */
	if (f->path && !strchr(f->path, '@') && !*skip_space(*to)) {
		g_free(*to);
		*to = g_strnfill(MAX(f->min, 1), 'x');
	}
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
		uint64_t at = g_rand_int(r) % (f->max + 1), end = at + g_rand_int(r) % 5;

		for (end = MIN(f->max, end); at <= end; at++)           /* MIN() looks twice: no dice inside */
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
		return kind_not_a(f, "an even number of hex digits", text, false, err);
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
	uint64_t n = MAX(f->min, 1) + g_rand_int(r) % 32;
	GByteArray **to = member;

	g_clear_pointer(to, g_byte_array_unref);
	*to = g_byte_array_new();
	for (n = MIN(f->max, n); n; n--) {
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

/* --- any JSON value, as text --- */
static void json_random(const struct field *f, void *member, GRand *r)
{
	static const char *const values[] = { "true", "17", "\"x\"", "[1,\"y\"]", "{\"a\":{\"b\":[]}}" };
	char **to = member;

	g_free(*to);
	*to = g_strdup(values[g_rand_int_range(r, 0, G_N_ELEMENTS(values))]);
}

#define TEXT(id, title, reader, fill) \
	const struct kind kind_##id = { title, SHAPE_TEXT, reader, text_to_text, text_equal, text_copy, text_clear, fill }
TEXT(str, "string", str_from_text, str_random);
TEXT(uuid, "uuid", uuid_from_text, uuid_random);
TEXT(mac, "mac", mac_from_text, mac_random);
TEXT(cpuset, "cpuset", cpuset_from_text, cpuset_random);
TEXT(json, "JSON", str_from_text, json_random);
const struct kind kind_bytes = { "bytes", SHAPE_TEXT, bytes_from_text, bytes_to_text, bytes_equal, bytes_copy, bytes_clear,
	bytes_random };
const struct kind kind_resource = { "resource", SHAPE_TEXT, resource_from_text, resource_to_text, resource_equal,
	resource_copy, resource_clear, resource_random };
