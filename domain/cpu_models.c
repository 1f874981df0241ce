/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The named CPU models. Each row names the earlier model that is nearest and what is added and
 * dropped, so a new model is one or two lines; test-check compares them with libvirt's own map
 * where that is installed.
 */
#include "domain/cpu_models.h"

#include <string.h>

#include "domain/field.h"

/* name, vendor, family, model, stepping, guest_only, parent, add, drop */
const struct cpu_model_row cpu_model_rows[] = {
	{ "486", NULL, 4, 8, 0, false, NULL, "fpu pse vme", NULL },
	{ "pentium", NULL, 5, 4, 3, false, "486", "cx8 de mce mmx msr tsc", NULL },
	{ "pentium2", NULL, 6, 5, 2, false, "pentium", "cmov fxsr mca mtrr pae pat pge pse36 sep", NULL },
	{ "pentium3", NULL, 6, 7, 3, false, "pentium2", "sse", NULL },
	{ "pentiumpro", NULL, 6, 1, 1, false, "pentium3", "apic sse2", "mca mtrr pse36 vme" },
	{ "coreduo", "Intel", 6, 14, 8, false, "pentiumpro", "clflush mca monitor mtrr nx pni vme", NULL },
	{ "n270", "Intel", 6, 28, 2, false, "coreduo", "ssse3", NULL },
	{ "core2duo", "Intel", 6, 15, 11, false, "n270", "lm pse36 syscall", NULL },
	{ "qemu32", NULL, 6, 6, 3, false, "pentiumpro", "pni", NULL },
	{ "kvm32", NULL, 15, 6, 1, false, "qemu32", "clflush mca mtrr pse36", NULL },
	{ "cpu64-rhel5", NULL, 6, 6, 3, true, "kvm32", "lm nx syscall", NULL },
	{ "cpu64-rhel6", NULL, 6, 13, 3, true, "cpu64-rhel5", "cx16 lahf_lm", NULL },
	{ "qemu64", NULL, 15, 107, 1, false, "cpu64-rhel5", "cx16 svm", NULL },
	{ "kvm64", NULL, 15, 6, 1, false, "cpu64-rhel5", "cx16", NULL },
	{ "Conroe", "Intel", 6, 15, 3, false, "cpu64-rhel5", "lahf_lm ssse3", NULL },
	{ "Penryn", "Intel", 6, 23, 3, false, "cpu64-rhel6", "sse4.1 ssse3", NULL },
	{ "Nehalem", "Intel", 6, 26, 3, false, "Penryn", "popcnt sse4.2", NULL },
	{ "Nehalem-IBRS", "Intel", 6, 26, 3, false, "Nehalem", "spec-ctrl", NULL },
	{ "Westmere", "Intel", 6, 44, 1, false, "Nehalem", "aes", NULL },
	{ "Westmere-IBRS", "Intel", 6, 44, 1, false, "Nehalem-IBRS", "aes", NULL },
	{ "SandyBridge", "Intel", 6, 42, 1, false, "Westmere", "avx pclmuldq rdtscp tsc-deadline x2apic xsave", NULL },
	{ "SandyBridge-IBRS", "Intel", 6, 42, 1, false, "SandyBridge", "spec-ctrl", NULL },
	{ "IvyBridge", "Intel", 6, 58, 9, false, "SandyBridge", "erms f16c fsgsbase rdrand smep vme", NULL },
	{ "IvyBridge-IBRS", "Intel", 6, 58, 9, false, "IvyBridge", "spec-ctrl", NULL },
	{ "Haswell-noTSX", "Intel", 6, 60, 1, false, "SandyBridge",
		"avx2 bmi1 bmi2 erms fma fsgsbase invpcid movbe pcid smep",
		NULL },
	{ "Haswell-noTSX-IBRS", "Intel", 6, 60, 1, false, "Haswell-noTSX", "spec-ctrl", NULL },
	{ "Haswell", "Intel", 6, 60, 4, false, "Haswell-noTSX", "hle rtm", NULL },
	{ "Haswell-IBRS", "Intel", 6, 60, 4, false, "Haswell", "spec-ctrl", NULL },
	{ "Broadwell-noTSX", "Intel", 6, 61, 2, false, "Haswell-noTSX", "3dnowprefetch adx rdseed smap", NULL },
	{ "Broadwell-noTSX-IBRS", "Intel", 6, 61, 2, false, "Broadwell-noTSX", "spec-ctrl", NULL },
	{ "Broadwell", "Intel", 6, 61, 2, false, "Broadwell-noTSX", "hle rtm", NULL },
	{ "Broadwell-IBRS", "Intel", 6, 61, 2, false, "Broadwell", "spec-ctrl", NULL },
	{ "Skylake-Client", "Intel", 6, 94, 3, false, "Broadwell",
		"abm arat f16c mpx rdrand vme xgetbv1 xsavec xsaveopt",
		NULL },
	{ "Skylake-Client-IBRS", "Intel", 6, 94, 3, false, "Skylake-Client", "spec-ctrl", NULL },
	{ "Skylake-Client-noTSX-IBRS", "Intel", 6, 94, 3, false, "Skylake-Client-IBRS", "", "hle rtm" },
	{ "Skylake-Server", "Intel", 6, 85, 4, false, "Skylake-Client",
		"avx512bw avx512cd avx512dq avx512f avx512vl clwb pdpe1gb",
		NULL },
	{ "Skylake-Server-IBRS", "Intel", 6, 85, 4, false, "Skylake-Server", "spec-ctrl", NULL },
	{ "Skylake-Server-noTSX-IBRS", "Intel", 6, 85, 4, false, "Skylake-Server-IBRS", "", "hle rtm" },
	{ "Cascadelake-Server", "Intel", 6, 85, 6, false, "Skylake-Server-IBRS", "avx512vnni clflushopt ssbd", NULL },
	{ "Cascadelake-Server-noTSX", "Intel", 6, 85, 6, false, "Skylake-Server-noTSX-IBRS",
		"avx512vnni clflushopt ssbd",
		NULL },
	{ "Icelake-Client", "Intel", 6, 126, 0, false, "Skylake-Client-IBRS",
		"avx512-vpopcntdq avx512bitalg avx512vbmi avx512vbmi2 avx512vnni gfni pku ssbd umip vaes "
		"vpclmulqdq wbnoinvd",
		NULL },
	{ "Icelake-Client-noTSX", "Intel", 6, 126, 0, false, "Icelake-Client", "", "hle rtm" },
	{ "Icelake-Server", "Intel", 6, 106, 0, false, "Icelake-Client",
		"avx512bw avx512cd avx512dq avx512f avx512vl clflushopt clwb la57 pdpe1gb",
		NULL },
	{ "Icelake-Server-noTSX", "Intel", 6, 106, 0, false, "Icelake-Server", "", "hle rtm" },
	{ "Cooperlake", "Intel", 6, 85, 10, false, "Cascadelake-Server",
		"arch-capabilities avx512-bf16 ibrs-all mds-no pku pschange-mc-no rdctl-no skip-l1dfl-vmentry "
		"stibp taa-no",
		"mpx" },
	{ "Snowridge", "Intel", 6, 134, 1, false, "IvyBridge-IBRS",
		"3dnowprefetch arat arch-capabilities cldemote clflushopt clwb core-capability gfni movbe "
		"movdir64b movdiri pdpe1gb rdseed sha-ni smap split-lock-detect ssbd umip xgetbv1 xsavec "
		"xsaveopt",
		"avx f16c" },
	{ "athlon", "AMD", 6, 2, 3, false, "pentiumpro", "3dnow 3dnowext mmxext mtrr pse36 vme", NULL },
	{ "phenom", "AMD", 16, 2, 3, false, "cpu64-rhel5", "3dnow 3dnowext fxsr_opt mmxext monitor svm", NULL },
	{ "Opteron_G1", "AMD", 15, 6, 1, false, "cpu64-rhel5", "", NULL },
	{ "Opteron_G2", "AMD", 15, 6, 1, false, "cpu64-rhel6", "rdtscp svm", NULL },
	{ "Opteron_G3", "AMD", 15, 6, 3, false, "Opteron_G2", "abm misalignsse popcnt sse4a", NULL },
	{ "Opteron_G4", "AMD", 21, 1, 2, false, "Opteron_G3",
		"3dnowprefetch aes avx fma4 pclmuldq pdpe1gb sse4.1 sse4.2 ssse3 xop xsave",
		NULL },
	{ "Opteron_G5", "AMD", 21, 2, 0, false, "Opteron_G4", "f16c fma tbm", NULL },
	{ "EPYC", "AMD", 23, 1, 2, false, "Skylake-Client-noTSX-IBRS",
		"clflushopt cr8legacy fxsr_opt misalignsse mmxext osvw pdpe1gb sha-ni sse4a svm",
		"erms invpcid mpx pcid spec-ctrl tsc-deadline x2apic" },
	{ "EPYC-IBPB", "AMD", 23, 1, 2, false, "EPYC", "ibpb", NULL },
	{ "EPYC-Rome", "AMD", 23, 49, 0, false, "EPYC-IBPB",
		"amd-stibp clwb clzero npt nrip-save perfctr_core rdpid umip wbnoinvd xsaveerptr",
		NULL },
	{ "EPYC-Milan", "AMD", 25, 1, 1, false, "EPYC-Rome",
		"amd-ssbd erms fsrm ibrs invpcid pcid pku svme-addr-chk xsaves",
		NULL },
	{ "Dhyana", "Hygon", 24, 0, 1, false, "EPYC-IBPB", "", "aes pclmuldq sha-ni" },
};
const unsigned cpu_model_rows_n = G_N_ELEMENTS(cpu_model_rows);

#define CHAIN_MAX 64                    /* models between one and its first ancestor */

const struct cpu_model_row *cpu_model_find(const char *name)
{
	for (unsigned i = 0; name && i < cpu_model_rows_n; i++)
		if (!strcmp(cpu_model_rows[i].name, name))
			return &cpu_model_rows[i];
	return NULL;
}

const char *cpu_model_near(const char *name)
{
	struct nearest near = { .word = name };

	for (unsigned i = 0; i < cpu_model_rows_n; i++)
		nearest_try(&near, cpu_model_rows[i].name);
	return near.best;
}

const char *cpu_vendor_string(const char *vendor)
{
	static const char *const rows[][2] = { { "Intel", "GenuineIntel" }, { "AMD", "AuthenticAMD" }, { "Hygon", "HygonGenuine" } };

	for (size_t i = 0; vendor && i < G_N_ELEMENTS(rows); i++)
		if (!strcmp(rows[i][0], vendor))
			return rows[i][1];
	return NULL;
}

/* Is the word one of the blank-separated list? */
static bool in_words(const char *words, const char *word)
{
	size_t n = strlen(word);

	for (const char *s = words; s && *s; s += strspn(s, " ")) {
		size_t len = strcspn(s, " ");

		if (len == n && !memcmp(s, word, n))
			return true;
		s += len;
	}
	return false;
}

bool cpu_model_has(const struct cpu_model_row *m, const char *feature)
{
	for (; m; m = m->parent ? cpu_model_find(m->parent) : NULL) {
		if (in_words(m->add, feature))
			return true;
		if (in_words(m->drop, feature))
			return false;
	}
	return false;
}

void cpu_model_features(const struct cpu_model_row *model, void (*fn)(const char *feature, void *arg), void *arg)
{
	const struct cpu_model_row *chain[CHAIN_MAX];
	unsigned n = 0;

	for (const struct cpu_model_row *m = model; m && n < CHAIN_MAX; m = m->parent ? cpu_model_find(m->parent) : NULL)
		chain[n++] = m;
	while (n--) {
		g_auto(GStrv) words = g_strsplit(chain[n]->add, " ", -1);

		/* a feature that a later model drops and a still later one adds again belongs to the later row */
		for (char **w = words; *w; w++) {
			bool again = false;

			for (unsigned i = 0; i < n && !again; i++)
				again = in_words(chain[i]->add, *w);
			if (**w && !again && cpu_model_has(model, *w))
				fn(*w, arg);
		}
	}
}
