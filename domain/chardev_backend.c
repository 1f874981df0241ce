/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP's ChardevBackend: a row per type, whose data is a schema of QEMU's keys. */
#include "domain/chardev_backend.h"

#include <json-c/json.h>
#include <string.h>

#include "domain/error.h"
#include "domain/json.h"
#include "domain/rows.h"

#define S(id, T, what, text) static const struct schema id = { .name = what, .doc = text, .size = sizeof(T), .fields = id##_fields }

struct backend { char *type, *data; };
#define T struct backend
static const struct field backend_schema_fields[] = { STR(T, type, NULL, REQUIRED, "kind of back end"), JSON(T, data, "any", REQUIRED, "what only this kind has"), END };
S(backend_schema, T, "ChardevBackend", "what stands behind a character device");
#undef T

struct nothing { bool unused; };
static const struct field nothing_schema_fields[] = { END };
S(nothing_schema, struct nothing, "ChardevCommon", "nothing more is said");

struct file { char *out, *in; bool append; };
#define T struct file
static const struct field file_schema_fields[] = { STR(T, out, NULL, REQUIRED, "file that gets the output"), STR(T, in, NULL, 0, "file that input comes from: not there"),
	FLAG(T, append, NULL, 0, "keep what it holds"), END };
S(file_schema, T, "ChardevFile", "a file");
#undef T

struct hostdev { char *device; };
#define T struct hostdev
static const struct field hostdev_schema_fields[] = { STR(T, device, NULL, REQUIRED, "the host's device"), END };
S(hostdev_schema, T, "ChardevHostdev", "a device of the host");
#undef T

struct stream { struct backend addr; bool server, wait, nodelay; };
#define T struct stream
static const struct field stream_schema_fields[] = { STRUCT(T, addr, NULL, backend_schema, REQUIRED, "where: unix or fd"),
	FLAG(T, server, NULL, 0, "listen there", .def = 1), FLAG(T, wait, NULL, 0, "not used: nothing waits for a client"),
	FLAG(T, nodelay, NULL, 0, "not used: there is no TCP"), END };
S(stream_schema, T, "ChardevSocket", "a socket");
#undef T

struct unix_address { char *path; };
#define T struct unix_address
static const struct field unix_schema_fields[] = { STR(T, path, NULL, REQUIRED, "its path"), END };
S(unix_schema, T, "UnixSocketAddress", "a socket of the file system");
#undef T

struct fd_address { char *str; };
#define T struct fd_address
static const struct field fd_schema_fields[] = { STR(T, str, NULL, REQUIRED, "name of getfd"), END };
S(fd_schema, T, "String", "a descriptor");
#undef T

/* JSON text into a struct of that schema; NULL and *err. */
static void *read_data(const struct schema *s, const char *text, GError **err)
{
	json_object *o = json_tokener_parse(text ? text : "");
	void *data = schema_new(s);

	if (!json_object_is_type(o, json_type_object))
		kerr_set(err, KERR_ARGS, "'data' is an object");
	if (!json_object_is_type(o, json_type_object) || !json_to_struct(s, data, o, err)) {
		schema_free(s, data);
		data = NULL;
	}
	json_object_put(o);
	return data;
}

static bool take_file(const void *data, struct chardev *out, GError **err)
{
	const struct file *f = data;

	if (f->in)
		return kerr_set(err, KERR_UNSUPPORTED, "input from a file is not there: leave 'in' out");
	out->source.path.path = g_strdup(f->out);
	out->source.append = f->append ? ONOFF_ON : ONOFF_ABSENT;
	return true;
}

static bool take_hostdev(const void *data, struct chardev *out, GError **err)
{
	out->source.path.path = g_strdup(((const struct hostdev *)data)->device);
	return true;
}

static bool take_socket(const void *data, struct chardev *out, GError **err)
{
	const struct stream *s = data;
	void *where;

	out->source.mode = s->server ? CHARDEV_BIND : CHARDEV_CONNECT;
	if (strcmp(s->addr.type, "unix") && strcmp(s->addr.type, "fd"))
		return kerr_set(err, KERR_UNSUPPORTED, "sockets of type '%s' are not there: unix, or fd with a descriptor of getfd", s->addr.type);
	where = read_data(*s->addr.type == 'u' ? &unix_schema : &fd_schema, s->addr.data, err);
	if (!where)
		return false;
	out->source.path.path = *s->addr.type == 'u' ? g_strdup(((struct unix_address *)where)->path) :
		g_strdup_printf("fd:%s", ((struct fd_address *)where)->str);
	schema_free(*s->addr.type == 'u' ? &unix_schema : &fd_schema, where);
	return true;
}

static const struct kind_of_backend {
	const char *name;
	int type;
	const struct schema *data;
	bool (*take)(const void *data, struct chardev *, GError **err);         /* NULL: it has a name only */
} kinds[] = {
	{ "null", CHARDEV_NULL, &nothing_schema, NULL },
	{ "pty", CHARDEV_PTY, &nothing_schema, NULL },
	{ "file", CHARDEV_FILE, &file_schema, take_file },
	{ "serial", CHARDEV_DEV, &hostdev_schema, take_hostdev },
	{ "socket", CHARDEV_UNIX, &stream_schema, take_socket },
};

bool chardev_of_backend(const char *backend, struct chardev *out, GError **err)
{
	struct backend *b = read_data(&backend_schema, backend, err);
	const struct kind_of_backend *k = NULL;
	void *data;
	bool ok;

	if (!b)
		return false;
	for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++)
		if (!strcmp(kinds[i].name, b->type))
			k = &kinds[i];
	data = k ? read_data(k->data, b->data, err) : NULL;
	if (!k)
		kerr_set(err, KERR_UNSUPPORTED, "back ends of type '%s' are not there: null, pty, file, serial or socket (unix)", b->type);
	ok = data && (!k->take || k->take(data, out, err));
	if (ok)
		out->type = k->type;
	if (data)
		schema_free(k->data, data);
	schema_free(&backend_schema, b);
	return ok;
}
