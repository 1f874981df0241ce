/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where things are. */
#include "daemon/paths.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "domain/error.h"

#ifndef KVMD_LIBEXEC
#define KVMD_LIBEXEC "/usr/libexec/kvmd"
#endif

static void paths_set(struct paths *p, char *etc, char *lib, char *run, char *log)
{
	p->etc = etc;
	p->lib = lib;
	p->run = run;
	p->log = log;
	p->conf = g_build_filename(etc, "kvmd.conf", NULL);
	p->control = g_build_filename(run, "control.sock", NULL);
	p->domains = g_build_filename(lib, "domains", NULL);
	p->autostart = g_build_filename(lib, "autostart", NULL);
	p->vms = g_build_filename(run, "vm", NULL);
	p->events = g_build_filename(lib, "events.jsonl", NULL);
}

/* XDG_…, else a folder under home. */
static char *xdg(const char *variable, const char *home, const char *under, const char *tail)
{
	const char *base = g_getenv(variable);

	if (base && g_path_is_absolute(base))
		return g_build_filename(base, "kvmd", tail, NULL);
	return g_build_filename(home, under, "kvmd", tail, NULL);
}

struct paths *paths_new(const char *root, GError **err)
{
	struct paths *p = g_new0(struct paths, 1);

	if (!root)
		root = g_getenv("KVMD_ROOT");
	if (root && *root) {
		p->root = g_canonicalize_filename(root, NULL);
		paths_set(p, g_build_filename(p->root, "etc/kvmd", NULL), g_build_filename(p->root, "var/lib/kvmd", NULL),
			g_build_filename(p->root, "run/kvmd", NULL), g_build_filename(p->root, "var/log/kvmd", NULL));
	} else if (geteuid() == 0) {
		paths_set(p, g_strdup("/etc/kvmd"), g_strdup("/var/lib/kvmd"), g_strdup("/run/kvmd"), g_strdup("/var/log/kvmd"));
	} else {
		const char *home = g_get_home_dir();

		if (!home || !g_path_is_absolute(home)) {
			g_free(p);
			kerr_set(err, KERR_ARGS, "no home folder: set HOME, or give --root DIR");
			return NULL;
		}
		paths_set(p, xdg("XDG_CONFIG_HOME", home, ".config", NULL), xdg("XDG_DATA_HOME", home, ".local/share", NULL),
			xdg("XDG_RUNTIME_DIR", home, ".cache/run", NULL), xdg("XDG_STATE_HOME", home, ".local/state", "log"));
	}
	return p;
}

void paths_free(struct paths *p)
{
	if (!p)
		return;
	char *all[] = { p->root, p->etc, p->lib, p->run, p->log, p->conf, p->control, p->domains, p->autostart, p->vms, p->events };

	for (size_t i = 0; i < G_N_ELEMENTS(all); i++)
		g_free(all[i]);
	g_free(p);
}

/* A new folder survives a power cut when its parent is synced. */
static bool make_folder(const char *path, mode_t mode, GError **err)
{
	g_autofree char *parent = g_path_get_dirname(path);
	bool there = !access(path, F_OK), synced;
	int fd;

	if (g_mkdir_with_parents(path, (int)mode) < 0)
		return kerr_errno(err, errno, "make folder '%s'", path);
	if (there)
		return true;
	fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	synced = fd >= 0 && !fsync(fd);
	if (!synced)
		kerr_errno(err, errno, "sync folder '%s'", parent);
	if (fd >= 0)
		close(fd);
	return synced;
}

bool paths_make(const struct paths *p, GError **err)
{
	const struct { const char *path; mode_t mode; } dirs[] = {
		{ p->lib, 0700 }, { p->domains, 0700 }, { p->autostart, 0700 }, { p->run, 0755 }, { p->vms, 0755 }, { p->log, 0750 },
	};

	/* passt, as another user, reaches its file below run; what is secret has folders of its own */
	if (p->root && !make_folder(p->root, 0755, err))
		return false;
	for (size_t i = 0; i < G_N_ELEMENTS(dirs); i++)
		if (!make_folder(dirs[i].path, dirs[i].mode, err))
			return false;
	return true;
}

char *paths_program(const char *name)
{
	g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
	g_autofree char *dir = self ? g_path_get_dirname(self) : NULL;
	g_autofree char *beside = dir ? g_build_filename(dir, name, NULL) : NULL;

	if (beside && !access(beside, X_OK))
		return g_steal_pointer(&beside);
	/* tools/ and daemon/ are neighbours in a build folder, bin/ and libexec/ in an installed tree */
	for (const char *const *near = (const char *const []){ "../daemon", "../libexec/kvmd", NULL }; dir && *near; near++) {
		g_autofree char *path = g_build_filename(dir, *near, name, NULL);

		if (!access(path, X_OK))
			return g_steal_pointer(&path);
	}
	return g_build_filename(KVMD_LIBEXEC, name, NULL);
}
