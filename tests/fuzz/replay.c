/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * main() for fuzz targets without libFuzzer: runs each named file, or each file of each named
 * folder, once. Exit 77 when there was nothing to run.
 */
#include <glib.h>
#include <stdint.h>
#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static unsigned run(const char *path)
{
	g_autofree char *text = NULL;
	g_autofree uint8_t *exact = NULL;
	g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
	g_autoptr(GError) e = NULL;
	unsigned n = 0;
	gsize len;

	if (dir) {
		for (const char *name; (name = g_dir_read_name(dir));) {
			g_autofree char *file = g_build_filename(path, name, NULL);

			n += run(file);
		}
		return n;
	}
	if (!g_file_get_contents(path, &text, &len, &e)) {
		fprintf(stderr, "%s\n", e->message);
		return 0;
	}
	/* no byte behind the end, so that a sanitizer sees a read there */
	exact = g_memdup2(text, len);
	LLVMFuzzerTestOneInput(exact, len);
	return 1;
}

int main(int argc, char **argv)
{
	unsigned n = 0;

	for (int i = 1; i < argc; i++)
		n += run(argv[i]);
	printf("%u inputs\n", n);
	return n ? 0 : 77;
}
