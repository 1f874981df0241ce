/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sockets of machines: those that nobody has any more are found and removed, and nothing else is. */
#include <errno.h>
#include <glib/gstdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/sockets.h"
#include "daemon/unix.h"

struct place { char *dir, *run; };

static void place_init(struct place *p)
{
	p->dir = g_dir_make_tmp("kvmd-test-XXXXXX", NULL);
	p->run = g_build_filename(p->dir, "run", NULL);
	g_assert_cmpint(g_mkdir(p->run, 0700), ==, 0);
}

static void place_finish(struct place *p)
{
	g_assert_cmpint(g_rmdir(p->run), ==, 0);        /* so no note is left */
	g_assert_cmpint(g_rmdir(p->dir), ==, 0);
	g_free(p->run);
	g_free(p->dir);
}

static char *at(const struct place *p, const char *name)
{
	return g_build_filename(p->dir, name, NULL);
}

static int listening(const struct place *p, const char *path)
{
	g_autoptr(GError) err = NULL;
	int fd;

	g_assert_true(socket_note(p->run, path, &err));
	fd = listen_unix(path, 0600, 4, &err);
	g_assert_no_error(err);
	return fd;
}

static struct machine *machine_at(const char *path)
{
	struct machine *m = machine_new();
	struct chardev *c = schema_new(&channel_schema);

	c->type = CHARDEV_UNIX;
	c->source.mode = CHARDEV_BIND;
	c->source.path.path = g_strdup(path);
	m->devices.channels = g_ptr_array_new();
	g_ptr_array_add(m->devices.channels, c);
	return m;
}

static bool is_there(const char *path)
{
	return !access(path, F_OK);
}

static void test_tidy(void)
{
	struct place p;

	place_init(&p);
	g_autofree char *had = at(&p, "had"), *has = at(&p, "has"), *never = at(&p, "never"), *other = at(&p, "other"), *file = at(&p, "file");
	struct machine *m = machine_at(has);
	int fd = listening(&p, other);

	close(listening(&p, had));
	close(listening(&p, has));
	g_assert_true(socket_note(p.run, never, NULL));         /* kvmd died before it made it */
	close(listening(&p, file));
	g_assert_cmpint(g_unlink(file), ==, 0);
	g_assert_true(g_file_set_contents(file, "precious", -1, NULL));
	sockets_tidy(p.run, m);
	g_assert_false(is_there(had));
	g_assert_true(is_there(has) && is_there(other) && is_there(file));
	/* it has ended; the other socket is another machine's by now */
	sockets_tidy(p.run, NULL);
	g_assert_false(is_there(has));
	g_assert_true(is_there(other) && is_there(file));
	close(fd);
	sockets_tidy(p.run, NULL);
	g_assert_true(is_there(other));
	g_assert_cmpint(g_unlink(other), ==, 0);
	g_assert_cmpint(g_unlink(file), ==, 0);
	machine_free(m);
	place_finish(&p);
}

static void test_changed(void)
{
	struct place p;

	place_init(&p);
	g_autofree char *one = at(&p, "one"), *two = at(&p, "two");
	struct machine *was = machine_at(one), *is = machine_at(two);
	int a = listening(&p, one), b = listening(&p, two);

	sockets_changed(p.run, was, was);
	g_assert_true(is_there(one) && is_there(two));
	sockets_changed(p.run, was, is);
	g_assert_false(is_there(one));
	g_assert_true(is_there(two));
	sockets_changed(p.run, is, was);
	g_assert_false(is_there(two));
	close(a);
	close(b);
	machine_free(was);
	machine_free(is);
	place_finish(&p);
}

/* Noted twice is noted; what cannot be noted is not made. */
static void test_note(void)
{
	struct place p;
	g_autoptr(GError) err = NULL;

	place_init(&p);
	g_autofree char *one = at(&p, "one"), *nowhere = at(&p, "nowhere");

	g_assert_true(socket_note(p.run, one, &err) && socket_note(p.run, one, &err));
	g_assert_false(socket_note(nowhere, one, &err));
	g_assert_true(strstr(err->message, one));
	socket_drop(p.run, one);
	socket_drop(p.run, one);
	place_finish(&p);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/sockets/tidy", test_tidy);
	g_test_add_func("/sockets/changed", test_changed);
	g_test_add_func("/sockets/note", test_note);
	return g_test_run();
}
