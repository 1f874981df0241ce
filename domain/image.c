/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the first bytes of an image say: the qcow2 header and its extensions. */
#include "domain/image.h"

#include <string.h>

#include "domain/error.h"

#define MAGIC 0x514649fbu       /* "QFI\xfb" */
#define HEADER_V2 72u
#define HEADER_V3 104u
#define HEADER_MAX 4096u        /* longer ones would be of a much later version */
#define EXTENSIONS_MAX 64
#define L1_MAX (32u << 20)      /* bytes */
#define REFT_MAX (8u << 20)
#define SNAPSHOTS_MAX 65536u
#define OFFSET_MAX (1ull << 56)

enum { EXT_END = 0, EXT_BACKING_FORMAT = 0xe2792acau, EXT_FEATURE_NAMES = 0x6803f857u };

static uint32_t be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint64_t be64(const uint8_t *p)
{
	return (uint64_t)be32(p) << 32 | be32(p + 4);
}

struct probe {
	const uint8_t *bytes;
	size_t n, need;
	struct image_info *out;
	GError **err;
};

static bool damaged(struct probe *p, const char *what)
{
	return kerr_set(p->err, KERR_STATE_DATA, "damaged qcow2 image: %s", what);
}

/* Are bytes [off, off + len) there? Else *need is told. len and off are below 2^32. */
static bool have(struct probe *p, uint64_t off, uint64_t len)
{
	if (off + len <= p->n)
		return true;
	if (off + len <= IMAGE_PROBE_MAX)
		p->need = (size_t)(off + len);
	return false;
}

/* Name of an incompatible feature from the image's own table, for the error. */
static char *feature_name(const uint8_t *table, size_t len, unsigned bit)
{
	static const char *const known[] = { "dirty", "corrupt", "external data file",
		"compression type", "extended L2 entries" };

	for (size_t at = 0; at + 48 <= len; at += 48)
		if (table[at] == 0 && table[at + 1] == bit) {
			g_autofree char *name = g_strndup((const char *)table + at + 2, 46);

			return g_utf8_make_valid(name, -1);
		}
	return bit < G_N_ELEMENTS(known) ? g_strdup(known[bit]) : g_strdup_printf("number %u", bit);
}

static int format_of(const char *name, size_t len)
{
	for (int i = FORMAT_RAW; i < FORMAT_N; i++)
		if (strlen(disk_format_names[i]) == len && !memcmp(disk_format_names[i], name, len))
			return i;
	return FORMAT_N;
}

/* Extensions: the backing file's format, and names of features. */
static bool read_extensions(struct probe *p, uint64_t end, const uint8_t **names, size_t *names_n)
{
	uint64_t at = p->out->header_length;

	for (unsigned i = 0; at + 8 <= end; i++) {
		uint32_t type, len;

		if (i == EXTENSIONS_MAX)
			return damaged(p, "too many header extensions");
		if (!have(p, at, 8))
			return damaged(p, "a header extension is cut off");
		type = be32(p->bytes + at);
		len = be32(p->bytes + at + 4);
		at += 8;
		if (type == EXT_END)
			return true;
		if (len > end - at)
			return damaged(p, "a header extension is too long");
		if (!have(p, at, len))
			return damaged(p, "a header extension is cut off");
		if (type == EXT_BACKING_FORMAT) {
			p->out->backing_format = format_of((const char *)p->bytes + at, len);
			if (p->out->backing_format == FORMAT_N)
				return kerr_set(p->err, KERR_UNSUPPORTED,
					"the backing image is of an unknown format");
		} else if (type == EXT_FEATURE_NAMES) {
			*names = p->bytes + at;
			*names_n = len;
		}
		at += ((uint64_t)len + 7) & ~7ull;
	}
	return true;
}

static bool check_features(struct probe *p, const uint8_t *names, size_t names_n)
{
	const uint64_t fine = IMAGE_DIRTY | IMAGE_CORRUPT | IMAGE_COMPRESSION;
	uint64_t bad = p->out->incompatible & ~fine;
	g_autofree char *name = NULL;

	if (!bad)
		return true;
	name = feature_name(names, names_n, (unsigned)__builtin_ctzll(bad));
	return kerr_set(p->err, KERR_UNSUPPORTED,
		"the qcow2 image uses '%s', which kvmd can't: 'qemu-img convert' or"
		" 'qemu-img amend' makes one without",
		name);
}

static bool is_table(const struct image_info *i, uint64_t off)
{
	return off && off < OFFSET_MAX && !(off & ((1ull << i->cluster_bits) - 1));
}

static bool check_tables(struct probe *p)
{
	const struct image_info *i = p->out;
	uint64_t l2_bytes = 1ull << (2 * i->cluster_bits - 3);  /* of the disk, by one L1 entry */
	uint64_t l1_need = i->size / l2_bytes + (i->size % l2_bytes != 0);

	if (i->size > (1ull << 62))
		return damaged(p, "the disk's size is absurd");
	if (i->l1_size > L1_MAX / 8)
		return damaged(p, "the L1 table is longer than 32 MiB");
	if (l1_need > i->l1_size)
		return damaged(p, "the L1 table is too short for the disk's size");
	if (i->l1_size && !is_table(i, i->l1_offset))
		return damaged(p, "the L1 table's place");
	if (!i->reft_clusters || ((uint64_t)i->reft_clusters << i->cluster_bits) > REFT_MAX)
		return damaged(p, "the size of the table of reference counts");
	if (!is_table(i, i->reft_offset))
		return damaged(p, "the place of the table of reference counts");
	if (i->snapshots > SNAPSHOTS_MAX || (i->snapshots && !is_table(i, i->snapshots_offset)))
		return damaged(p, "the table of snapshots");
	return true;
}

static bool read_backing(struct probe *p, uint64_t at, uint32_t len)
{
	if (!at)
		return true;
	if (len > IMAGE_NAME_MAX || at > 1u << p->out->cluster_bits ||
		at + len > 1u << p->out->cluster_bits)
		return damaged(p, "the backing file's name");
	if (!len)
		return true;
	if (!have(p, at, len))
		return damaged(p, "the backing file's name is cut off");
	if (memchr(p->bytes + at, 0, len) ||
		!g_utf8_validate((const char *)p->bytes + at, len, NULL))
		return damaged(p, "the backing file's name is no text");
	p->out->backing = g_strndup((const char *)p->bytes + at, len);
	return true;
}

static bool read_header(struct probe *p)
{
	struct image_info *i = p->out;
	const uint8_t *h = p->bytes, *names = NULL;
	uint64_t backing, end;
	size_t names_n = 0;

	if (!have(p, 0, HEADER_V2) || be32(h) != MAGIC)
		return kerr_set(p->err, KERR_STATE_DATA, "this is not a qcow2 image; if it is raw, write type='raw'");
	i->version = be32(h + 4);
	if (i->version != 2 && i->version != 3)
		return kerr_set(p->err, KERR_UNSUPPORTED, "qcow2 images of version %u", i->version);
	backing = be64(h + 8);
	i->cluster_bits = be32(h + 20);
	if (i->cluster_bits < 9 || i->cluster_bits > 21)
		return damaged(p, "clusters are not of 512 bytes to 2 MiB");
	i->size = be64(h + 24);
	i->l1_size = be32(h + 36);
	i->l1_offset = be64(h + 40);
	i->reft_offset = be64(h + 48);
	i->reft_clusters = be32(h + 56);
	i->snapshots = be32(h + 60);
	i->snapshots_offset = be64(h + 64);
	i->refcount_order = 4;
	i->header_length = HEADER_V2;
	if (i->version == 3) {
		if (!have(p, 0, HEADER_V3))
			return damaged(p, "the header is cut off");
		i->incompatible = be64(h + 72);
		i->compatible = be64(h + 80);
		i->autoclear = be64(h + 88);
		i->refcount_order = be32(h + 96);
		i->header_length = be32(h + 100);
		if (i->header_length < HEADER_V3 || i->header_length > HEADER_MAX ||
			i->header_length % 8 || i->header_length > 1u << i->cluster_bits)
			return damaged(p, "the header's length");
		if (!have(p, 0, i->header_length))
			return damaged(p, "the header is cut off");
		if (i->header_length > HEADER_V3)
			i->compression = h[HEADER_V3];
	}
	end = backing && backing < 1u << i->cluster_bits ? backing : 1u << i->cluster_bits;
	if (!read_extensions(p, end, &names, &names_n) || !check_features(p, names, names_n))
		return false;
	if (be32(h + 32))
		return kerr_set(p->err, KERR_UNSUPPORTED,
			"encrypted qcow2 images: decrypt it with 'qemu-img convert', or encrypt"
			" inside the guest");
	if (i->refcount_order > 6)
		return damaged(p, "reference counts of more than 64 bits");
	if (!!(i->incompatible & IMAGE_COMPRESSION) != (i->compression != IMAGE_ZLIB))
		return damaged(p, "the compression type");
	if (i->compression > IMAGE_ZSTD)
		return kerr_set(p->err, KERR_UNSUPPORTED,
			"a qcow2 image with compression of type %d", i->compression);
	return check_tables(p) && read_backing(p, backing, be32(h + 16));
}

bool image_probe(const uint8_t *bytes, size_t n, uint64_t file_size, int format,
	struct image_info *out, size_t *need, GError **err)
{
	struct image_info found = { .format = format };
	struct probe p = { .bytes = bytes, .n = n, .out = &found, .err = err };
	bool ok;

	if (need)
		*need = 0;
	if (format == FORMAT_RAW || format == FORMAT_ABSENT) {
		*out = (struct image_info){ .format = FORMAT_RAW, .size = file_size };
		return true;
	}
	if (format != FORMAT_QCOW2)
		return kerr_set(err, KERR_UNSUPPORTED,
			"images of format '%s': convert it with 'qemu-img convert -O qcow2'",
			format > 0 && format < FORMAT_N ? disk_format_names[format] : "?");
	ok = read_header(&p);
	if (!ok) {
		if (need && p.need > n && p.need <= file_size)
			*need = p.need;
		image_info_clear(&found);
		return false;
	}
	*out = found;
	return true;
}

void image_info_clear(struct image_info *i)
{
	g_free(i->backing);
	*i = (struct image_info){ 0 };
}

char *image_backing_path(const char *path, const char *backing, GError **err)
{
	const char *colon = strchr(backing, ':'), *slash = strchr(backing, '/');
	g_autofree char *folder = NULL;

	if (g_str_has_prefix(backing, "file:")) {
		backing += strlen("file:");
		if (g_str_has_prefix(backing, "///"))
			backing += 2;
	} else if (colon && (!slash || colon < slash)) {
		kerr_set(err, KERR_UNSUPPORTED,
			"the backing image '%s' is not a file: 'qemu-img rebase -u' can name it by "
			"a path",
			backing);
		return NULL;
	}
	if (!*backing) {
		kerr_set(err, KERR_STATE_DATA, "the image names an empty backing file");
		return NULL;
	}
	if (backing[0] == '/')
		return g_strdup(backing);
	folder = g_path_get_dirname(path);
	return g_build_filename(folder, backing, NULL);
}
