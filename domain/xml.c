/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From text to a tree, by libxml2's SAX interface (its only home). The tree is ours because each
 * element must know where its start tag begins and which bytes it covers, so that it can be kept
 * word by word. libxml2 calls back with its cursor inside a start tag or just behind an element; a
 * start tag's '<' is the nearest one before, since attribute values hold none.
 *
 * A scan before the parser refuses what it would be slow or generous with: DOCTYPE, other
 * encodings, elements with very many attributes (libxml2 compares them pairwise). The scan and
 * the parser see the same tags up to the first syntax error, where the parser stops.
 */
#include "domain/xml.h"

#include <libxml/parser.h>
#include <libxml/parserInternals.h>
#include <string.h>

#include "domain/xml_tree.h"

#define BLOCK_BYTES 65536u

struct arena_block {
	struct arena_block *next;
	size_t used, size;
};

void *arena_alloc(struct arena *a, size_t n)
{
	struct arena_block *b = a->blocks;
	const size_t head = (sizeof(*b) + 15) & ~(size_t)15;

	n = (n + 15) & ~(size_t)15;
	if (!b || b->size - b->used < n) {
		size_t size = MAX(n + head, BLOCK_BYTES);

		b = g_malloc(size);
		b->size = size;
		b->used = head;
		b->next = a->blocks;
		a->blocks = b;
	}
	b->used += n;
	return memset((char *)b + b->used - n, 0, n);
}

char *arena_text(struct arena *a, const char *s, size_t n)
{
	return memcpy(arena_alloc(a, n + 1), s, n);
}

void arena_finish(struct arena *a)
{
	while (a->blocks) {
		struct arena_block *b = a->blocks;

		a->blocks = b->next;
		g_free(b);
	}
}

static const struct {
	const char *prefix, *uri;
	bool ours;              /* what no row knows is an error */
} namespaces[] = {
	{ "kvmd", XMLNS_KVMD, true },
	{ "qemu", XMLNS_QEMU, false },
};

const char *xml_known_uri(const char *name, size_t *prefix_len)
{
	const char *colon = strchr(name, ':');

	for (unsigned i = 0; colon && i < G_N_ELEMENTS(namespaces); i++) {
		*prefix_len = strlen(namespaces[i].prefix);
		if (*prefix_len == (size_t)(colon - name) && !strncmp(name, namespaces[i].prefix, *prefix_len))
			return namespaces[i].uri;
	}
	return NULL;
}

/* --- the parser's callbacks --- */
struct build {
	xmlParserCtxt *ctxt;
	struct arena *arena;
	struct report *report;
	const char *text;
	size_t len;
	size_t at;                              /* line and column belong to this byte */
	unsigned line, column;
	struct xnode *root, *open[XML_MAX_DEPTH];
	GString *chars[XML_MAX_DEPTH];
	unsigned depth, elements;
	bool failed;
};

static void move_to(struct build *b, size_t to)
{
	for (const char *nl; b->at < to && (nl = memchr(b->text + b->at, '\n', to - b->at));) {
		b->line++;
		b->column = 1;
		b->at = (size_t)(nl - b->text) + 1;
	}
	for (; b->at < to; b->at++)
		b->column += ((unsigned char)b->text[b->at] & 0xc0) != 0x80;
}

static void stop(struct build *b, enum kerr code, const char *text)
{
	if (!b->failed)
		report_at(b->report, FINDING_ERROR, code, NULL, b->line, b->column, NULL, text);
	b->failed = true;
	if (b->ctxt)
		xmlStopParser(b->ctxt);
}

static const char *join(struct build *b, const char *prefix, const char *local)
{
	size_t n = strlen(prefix) + strlen(local) + 2;
	char *name = arena_alloc(b->arena, n);

	g_snprintf(name, n, "%s:%s", prefix, local);
	return name;
}

/* Name by which rows know it. */
static const char *known_name(struct build *b, const char *local, const char *prefix, const char *uri, bool *foreign)
{
	const char *as = prefix;

	*foreign = false;
	if (!uri)
		return arena_text(b->arena, local, strlen(local));
	*foreign = true;
	for (unsigned i = 0; i < G_N_ELEMENTS(namespaces); i++)
		if (!strcmp(uri, namespaces[i].uri)) {
			as = namespaces[i].prefix;
			*foreign = !namespaces[i].ours;
		}
	return as ? join(b, as, local) : arena_text(b->arena, local, strlen(local));
}

/* Whether a namespace declaration follows from the element's names, so that it need not be kept. */
static bool writer_declares(const struct xnode *n, const char *prefix, const char *uri)
{
	size_t len;
	bool uses = false;

	for (unsigned i = 0; i < G_N_ELEMENTS(namespaces) && prefix && uri; i++) {
		if (strcmp(prefix, namespaces[i].prefix) || strcmp(uri, namespaces[i].uri))
			continue;
		uses = xml_known_uri(n->name, &len) == namespaces[i].uri;
		for (unsigned k = 0; k < n->attrs_n && !uses; k++)
			uses = xml_known_uri(n->attrs[k].name, &len) == namespaces[i].uri;
	}
	return uses;
}

static void on_start(void *data, const xmlChar *local, const xmlChar *prefix, const xmlChar *uri, int ns_n,
	const xmlChar **ns, int attrs_n, int defaulted, const xmlChar **attrs)
{
	struct build *b = data;
	long at = xmlByteConsumed(b->ctxt);
	struct xnode *n, *up;

	if (b->failed)
		return;
	if (at < 0 || (size_t)at > b->len || (size_t)at < b->at) {
		stop(b, KERR_INTERNAL, "the XML parser lost its place");
		return;
	}
	while (at > 0 && ((size_t)at == b->len || b->text[at] != '<'))
		at--;
	move_to(b, (size_t)at);
	if (b->depth == XML_MAX_DEPTH) {
		stop(b, KERR_LIMIT, "elements are nested too deeply");
		return;
	}
	if (++b->elements > XML_MAX_ELEMENTS) {
		stop(b, KERR_LIMIT, "there are too many elements");
		return;
	}
	n = arena_alloc(b->arena, sizeof(*n));
	n->name = known_name(b, (const char *)local, (const char *)prefix, (const char *)uri, &n->foreign);
	n->line = b->line;
	n->column = b->column;
	n->start = (size_t)at;
	n->attrs = arena_alloc(b->arena, (size_t)(ns_n + attrs_n) * sizeof(*n->attrs));
	for (int i = 0; i < attrs_n; i++, attrs += 5) {
		struct xattr *a = &n->attrs[n->attrs_n++];

		a->name = known_name(b, (const char *)attrs[0], (const char *)attrs[1], (const char *)attrs[2], &a->foreign);
		a->as_written = attrs[1] ? join(b, (const char *)attrs[1], (const char *)attrs[0]) : a->name;
		a->value = arena_text(b->arena, (const char *)attrs[3], (size_t)(attrs[4] - attrs[3]));
	}
	for (int i = 0; i < ns_n; i++, ns += 2) {
		struct xattr *a = &n->attrs[n->attrs_n];

		if (writer_declares(n, (const char *)ns[0], (const char *)ns[1]))
			continue;
		n->attrs_n++;
		a->foreign = true;
		a->name = a->as_written = ns[0] ? join(b, "xmlns", (const char *)ns[0]) : "xmlns";
		a->value = ns[1] ? arena_text(b->arena, (const char *)ns[1], strlen((const char *)ns[1])) : "";
	}
	if (b->depth) {
		up = b->open[b->depth - 1];
		if (up->last)
			up->last->next = n;
		else
			up->first = n;
		up->last = n;
	} else {
		b->root = n;
	}
	b->open[b->depth] = n;
	if (b->chars[b->depth])
		g_string_truncate(b->chars[b->depth], 0);
	else
		b->chars[b->depth] = g_string_new(NULL);
	b->depth++;
}

static bool is_space(const char *s)
{
	return !s[strspn(s, " \t\r\n")];
}

static void on_end(void *data, const xmlChar *local, const xmlChar *prefix, const xmlChar *uri)
{
	struct build *b = data;
	long at = xmlByteConsumed(b->ctxt);
	struct xnode *n;
	GString *s;

	if (b->failed || !b->depth)
		return;
	n = b->open[--b->depth];
	s = b->chars[b->depth];
	if (at < 0 || (size_t)at > b->len || (size_t)at <= n->start || b->text[n->start] != '<' || b->text[at - 1] != '>') {
		stop(b, KERR_INTERNAL, "the XML parser lost its place");
		return;
	}
	n->end = (size_t)at;
	if (s->len && !(n->first && is_space(s->str)))
		n->text = arena_text(b->arena, s->str, s->len);
}

static void on_chars(void *data, const xmlChar *text, int len)
{
	struct build *b = data;

	if (!b->failed && b->depth && len > 0)
		g_string_append_len(b->chars[b->depth - 1], (const char *)text, len);
}

static void on_doctype(void *data, const xmlChar *name, const xmlChar *id, const xmlChar *system)
{
	stop(data, KERR_XML, "a DOCTYPE is not allowed");
}

static void on_error(void *data, xmlError *e)
{
	struct build *b = data;
	g_autofree char *text = NULL;

	if (b->failed || !e || e->level < XML_ERR_ERROR)
		return;
	b->failed = true;
	text = g_utf8_make_valid(e->message ? e->message : "malformed XML", -1);
	g_strchomp(text);
	report_at(b->report, FINDING_ERROR, KERR_XML, NULL, e->line > 0 ? (unsigned)e->line : 1,
		e->int2 > 0 ? (unsigned)e->int2 : 1, NULL, text);
	xmlStopParser(b->ctxt);
}

/* --- before the parser --- */
static bool starts(const struct build *b, size_t i, const char *what)
{
	size_t n = strlen(what);

	return b->len - i >= n && !memcmp(b->text + i, what, n);
}

/* Where `what` ends at or behind i; the text's end when it never comes. */
static size_t behind(const struct build *b, size_t i, const char *what)
{
	size_t n = strlen(what);
	const char *p = memmem(b->text + i, b->len - i, what, n);

	return p ? (size_t)(p - b->text) + n : b->len;
}

/* Only UTF-8 is read: another encoding's bytes would not be the places we report. */
static bool encoding_ok(const struct build *b, size_t end)
{
	g_autofree char *decl = g_strndup(b->text, end);
	const char *p = strstr(decl, "encoding");

	if (!p)
		return true;
	p += strlen("encoding");
	p += strspn(p, " \t\r\n=");
	return (*p == '"' || *p == '\'') && !g_ascii_strncasecmp(p + 1, "utf-8", 5) && p[6] == *p;
}

static bool is_ascii(const char *s, size_t n)
{
	uint64_t high = 0, word;

	for (; n >= 8; s += 8, n -= 8) {
		memcpy(&word, s, 8);
		high |= word;
	}
	for (; n; n--)
		high |= (unsigned char)*s++;
	return !(high & UINT64_C(0x8080808080808080));
}

/* Quotes opened in the tag that starts at i; *end: behind them, at its '>'. */
static unsigned count_quotes(const struct build *b, size_t i, size_t *end)
{
	const char *p = b->text + i, *stop = b->text + b->len;
	unsigned quotes = 0;

	for (; p < stop && *p != '>' && *p != '<'; p++) {
		if (*p != '"' && *p != '\'')
			continue;
		quotes++;
		p = memchr(p + 1, *p, (size_t)(stop - p - 1));
		if (!p)
			p = stop - 1;
	}
	*end = (size_t)(p - b->text);
	return quotes;
}

static bool scan(struct build *b)
{
	const char *bad, *nul = memchr(b->text, 0, b->len);
	size_t i = 0, end;

	if (b->len > XML_MAX_BYTES) {
		g_autofree char *text = g_strdup_printf("%zu bytes of XML, at most %u are read", b->len, XML_MAX_BYTES);

		stop(b, KERR_LIMIT, text);
		return false;
	}
	if (nul || (!is_ascii(b->text, b->len) && !g_utf8_validate(b->text, (gssize)b->len, &bad))) {
		move_to(b, (size_t)((nul ? nul : bad) - b->text));
		stop(b, KERR_XML, nul ? "the text contains a zero byte" : "the text is not valid UTF-8");
		return false;
	}
	while ((i = behind(b, i, "<")) < b->len) {
		if (starts(b, i, "!--")) {
			i = behind(b, i + 3, "-->");
		} else if (starts(b, i, "![CDATA[")) {
			i = behind(b, i, "]]>");
		} else if (b->text[i] == '?') {
			end = behind(b, i, "?>");
			if (i == 1 && starts(b, i, "?xml") && !encoding_ok(b, end)) {
				stop(b, KERR_XML, "only UTF-8 is read");
				return false;
			}
			i = end;
		} else if (b->text[i] == '!') {
			move_to(b, i - 1);
			stop(b, KERR_XML, "a DOCTYPE is not allowed");
			return false;
		} else {
			if (count_quotes(b, i, &end) > XML_MAX_ATTRS) {
				move_to(b, i - 1);
				stop(b, KERR_LIMIT, "an element has too many attributes");
				return false;
			}
			i = end;
		}
	}
	return true;
}

struct xnode *xml_tree(struct arena *arena, const char *text, size_t len, struct report *report)
{
	struct build b = { .arena = arena, .report = report, .text = text, .len = len, .line = 1, .column = 1 };
	int rc;

	if (!b.len) {
		stop(&b, KERR_XML, "the text is empty");
		return NULL;
	}
	if (!scan(&b))
		return NULL;
	b.ctxt = xmlCreateMemoryParserCtxt(b.text, (int)b.len);
	if (!b.ctxt) {
		stop(&b, KERR_NO_MEMORY, "no memory for the XML parser");
		return NULL;
	}
	memset(b.ctxt->sax, 0, sizeof(*b.ctxt->sax));
	b.ctxt->sax->initialized = XML_SAX2_MAGIC;
	b.ctxt->sax->startElementNs = on_start;
	b.ctxt->sax->endElementNs = on_end;
	b.ctxt->sax->characters = on_chars;
	b.ctxt->sax->ignorableWhitespace = on_chars;
	b.ctxt->sax->cdataBlock = on_chars;
	b.ctxt->sax->internalSubset = on_doctype;
	b.ctxt->sax->serror = on_error;
	b.ctxt->userData = &b;
	xmlCtxtUseOptions(b.ctxt, XML_PARSE_NONET | XML_PARSE_NOENT);
	rc = xmlParseDocument(b.ctxt);
	if ((rc || !b.ctxt->wellFormed || !b.root || b.depth) && !b.failed)
		stop(&b, KERR_XML, "malformed XML");
	if (b.ctxt->myDoc)
		xmlFreeDoc(b.ctxt->myDoc);
	xmlFreeParserCtxt(b.ctxt);
	for (unsigned i = 0; i < XML_MAX_DEPTH && b.chars[i]; i++)
		g_string_free(b.chars[i], TRUE);
	return b.failed ? NULL : b.root;
}
