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

struct stream { struct backend addr; bool server, wait, nodelay, telnet, tn3270, websocket; uint32_t reconnect; char *creds, *authz; };
#define T struct stream
static const struct field stream_schema_fields[] = { STRUCT(T, addr, NULL, backend_schema, REQUIRED, "where: inet, unix or fd"),
	FLAG(T, server, NULL, 0, "listen there", .def = 1), FLAG(T, wait, NULL, 0, "not used: nothing waits for a client"),
	FLAG(T, nodelay, NULL, 0, "it is always so"), FLAG(T, telnet, NULL, 0, "inet: speak telnet"), FLAG(T, tn3270, NULL, 0, "not there"),
	FLAG(T, websocket, NULL, 0, "not there"), U32(T, reconnect, NULL, 0, 86400, 0, "connect again so many s after the other side has gone; 0: not"),
	STR(T, creds, NULL, 0, "not there: TLS is not spoken", .name = "tls-creds"), STR(T, authz, NULL, 0, "not there", .name = "tls-authz"), END };
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

struct inet_address { char *host, *port; bool numeric, ipv4, ipv6, keep_alive; uint32_t to; };
#define T struct inet_address
static const struct field inet_schema_fields[] = { STR(T, host, NULL, REQUIRED, "host name or address"), STR(T, port, NULL, REQUIRED, "port; 0: any that is free"),
	FLAG(T, numeric, NULL, 0, "the host is an address: not asked for"), FLAG(T, ipv4, NULL, 0, "not there: write an address"), FLAG(T, ipv6, NULL, 0, "not there: write an address"),
	FLAG(T, keep_alive, NULL, 0, "it is always so", .name = "keep-alive"), U32(T, to, NULL, 0, 65535, 0, "not there: one port"), END };
S(inet_schema, T, "InetSocketAddress", "an address of the network");
#undef T

struct datagrams { struct backend remote, *local; };
#define T struct datagrams
static const struct field datagrams_schema_fields[] = { STRUCT(T, remote, NULL, backend_schema, REQUIRED, "where they are sent to: inet"),
	OPT(T, local, NULL, backend_schema, 0, "where they come to: inet"), END };
S(datagrams_schema, T, "ChardevUdp", "datagrams");
#undef T

struct ring { uint32_t size; };
#define T struct ring
static const struct field ring_schema_fields[] = { U32(T, size, NULL, 1, CHARDEV_RING_MAX, 0, "bytes, a power of two", .def = 65536), END };
S(ring_schema, T, "ChardevRingbuf", "the last bytes, for ringbuf-read");
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

static bool take_inet(const struct backend *where, char **host, char **port, GError **err)
{
	struct inet_address *a;
	bool ok;

	if (strcmp(where->type, "inet"))
		return kerr_set(err, KERR_UNSUPPORTED, "addresses of type '%s' are not there for it: inet", where->type);
	a = read_data(&inet_schema, where->data, err);
	if (!a)
		return false;
	ok = (!a->to && !a->ipv4 && !a->ipv6) || kerr_set(err, KERR_UNSUPPORTED, "'to', 'ipv4' and 'ipv6' are not there: write one port, and an address as the host");
	if (ok) {
		*host = *a->host ? g_strdup(a->host) : NULL;
		*port = g_strdup(a->port);
	}
	schema_free(&inet_schema, a);
	return ok;
}

/* What QEMU has and we have not, by its name. */
static bool may_stream(const struct stream *s, GError **err)
{
	bool inet = !strcmp(s->addr.type, "inet");

	if (s->creds || s->authz)
		return kerr_set(err, KERR_UNSUPPORTED, "'%s': TLS is not spoken: leave it out, and bind to 127.0.0.1 behind a tunnel", s->creds ? "tls-creds" : "tls-authz");
	if (s->websocket || s->tn3270)
		return kerr_set(err, KERR_UNSUPPORTED, "'%s' is not there: leave it out", s->websocket ? "websocket" : "tn3270");
	if (s->telnet && !inet)
		return kerr_set(err, KERR_UNSUPPORTED, "'telnet' is for sockets of type inet");
	if (s->reconnect && s->server)
		return kerr_set(err, KERR_ARGS, "'reconnect' option is incompatible with socket in server listen mode");
	if (s->reconnect && !strcmp(s->addr.type, "fd"))
		return kerr_set(err, KERR_ARGS, "'reconnect' option is incompatible with 'fd'");
	return true;
}

static bool take_udp(const void *data, struct chardev *out, GError **err)
{
	const struct datagrams *d = data;
	struct chardev_source *local;

	out->source.mode = CHARDEV_CONNECT;
	if (!take_inet(&d->remote, &out->source.host, &out->source.service, err))
		return false;
	if (!d->local)
		return true;
	local = schema_new(&chardev_source_schema);
	local->mode = CHARDEV_BIND;
	out->others = g_ptr_array_new();
	g_ptr_array_add(out->others, local);
	return take_inet(d->local, &local->host, &local->service, err);
}

static bool take_ring(const void *data, struct chardev *out, GError **err)
{
	uint32_t size = ((const struct ring *)data)->size;

	if (size & (size - 1))
		return kerr_set(err, KERR_ARGS, "size of ringbuf chardev must be power of two");
	out->source.ring = size;
	return true;
}

static bool take_socket(const void *data, struct chardev *out, GError **err)
{
	const struct stream *s = data;
	void *where;

	if (!may_stream(s, err))
		return false;
	out->source.mode = s->server ? CHARDEV_BIND : CHARDEV_CONNECT;
	out->source.reconnect = s->reconnect ? YESNO_YES : YESNO_ABSENT;
	out->source.reconnect_timeout = s->reconnect;
	if (!strcmp(s->addr.type, "inet")) {
		out->type = CHARDEV_TCP;
		out->protocol = s->telnet ? CHARDEV_TELNET : CHARDEV_RAW;
		return take_inet(&s->addr, &out->source.host, &out->source.service, err);
	}
	if (strcmp(s->addr.type, "unix") && strcmp(s->addr.type, "fd"))
		return kerr_set(err, KERR_UNSUPPORTED, "sockets of type '%s' are not there: inet, unix, or fd with a descriptor of getfd", s->addr.type);
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
	{ "udp", CHARDEV_UDP, &datagrams_schema, take_udp },
	{ "pipe", CHARDEV_PIPE, &hostdev_schema, take_hostdev },
	{ "ringbuf", CHARDEV_NULL, &ring_schema, take_ring },
	{ "memory", CHARDEV_NULL, &ring_schema, take_ring },
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
		kerr_set(err, KERR_UNSUPPORTED, "back ends of type '%s' are not there: null, pty, file, serial, pipe, socket, udp or ringbuf", b->type);
	ok = data && (!k->take || k->take(data, out, err));
	if (ok && !out->type)
		out->type = k->type;
	if (data)
		schema_free(k->data, data);
	schema_free(&backend_schema, b);
	return ok;
}
