/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Manuals, bash completion and the sample configuration, printed from domain/'s tables at build time. */
#include <stdio.h>
#include <string.h>

#include "domain/commands_kvmd.h"
#include "domain/config.h"
#include "domain/doc.h"
#include "domain/event_names.h"
#include "domain/machine.h"
#include "domain/kvmstat.h"
#include "domain/statpage.h"
#include "tools/kvmctl.h"

/* Text as roff: no line of ours may look like a request, no hyphen become a dash. */
static void roff(const char *s)
{
	bool begin = true;

	for (; *s; s++) {
		if (begin && (*s == '.' || *s == '\''))
			fputs("\\&", stdout);
		if (*s == '\\')
			fputs("\\e", stdout);
		else if (*s == '-')
			fputs("\\-", stdout);
		else
			putchar(*s);
		begin = *s == '\n';
	}
}

static void head(const char *name, const char *section, const char *what)
{
	printf(".TH %s %s \"\" \"kvmd " KVMD_VERSION "\"\n.SH NAME\n%s \\- %s\n", name, section, name, what);
}

static bool about_vm(const struct command *c)
{
	return (c->flags & CMD_VM) || c->where == IN_WORKER;
}

static char *upper(const char *s)
{
	return g_strdelimit(g_ascii_strup(s, -1), "_", '-');
}

/* --- kvmctl(1) --- */

static void verb(const struct command *c)
{
	printf(".SS \"%s", c->verb);
	if (about_vm(c))
		printf(" DOMAIN");
	for (const struct field *f = c->args ? c->args->fields : NULL; f && f->name; f++) {
		g_autofree char *name = upper(f->name);

		if (f->flags & POSITIONAL)
			printf(f->flags & REQUIRED ? " %s" : " [%s]", f->flags & FILE_TEXT ? "FILE" : name);
	}
	printf("%s\"\n%c", c->where == IN_CLIENT && !(c->flags & CMD_VM) && c->args->fields->flags & POSITIONAL ? "…" : "", g_ascii_toupper(c->doc[0]));
	roff(c->doc + 1);
	puts(".");
	if (c->more) {
		puts(".PP");
		roff(c->more);
		putchar('\n');
	}
	for (const struct field *f = c->args ? c->args->fields : NULL; f && f->name; f++) {
		g_autofree char *option = option_name(f), *name = upper(f->name), *type = doc_type(f);

		if (f->flags & POSITIONAL)
			printf(".TP\n.I %s\n", f->flags & FILE_TEXT ? "FILE" : name);
		else if (f->kind->shape == SHAPE_BOOL)
			printf(".TP\n.B \\-\\-%s\n", option);
		else
			printf(".TP\n.BI \\-\\-%s= %s\n", option, name);
		roff(f->doc);
		if (!(f->flags & POSITIONAL) && f->kind->shape != SHAPE_BOOL) {
			fputs(" (", stdout);
			roff(type);
			putchar(')');
		}
		putchar('\n');
	}
	if (c->example) {
		puts(".PP\n.nf");
		roff(c->example);
		puts("\n.fi");
	}
}

static void events(void)
{
	puts(".SH EVENTS\nof \\fBkvmctl event\\fR, beside which machine it was, when, and its number:");
	for (const struct event_row *e = event_next(NULL); e; e = event_next(e)) {
		printf(".TP\n.B %s\n", e->name);
		roff(e->doc);
		putchar('\n');
	}
}

static void exit_codes(void)
{
	puts(".SH \"EXIT STATUS\"\n.TP\n.B 0\ndone");
	for (int n = 1; n < 256; n++)
		for (int code = 0; code < KERR_N; code++) {
			const struct kerr_row *row = kerr_row(code);

			if (row->exit != n)
				continue;
			printf(".TP\n.B %d %s\n", n, row->code);
			roff(row->text);
			putchar('\n');
		}
}

static void kvmctl_1(void)
{
	head("kvmctl", "1", "manage virtual machines through kvmd");
	puts(".SH SYNOPSIS\n.B kvmctl\n[\\fIOPTION\\fR…] \\fIVERB\\fR [\\fIARGUMENT\\fR…]\n.SH DESCRIPTION\n"
		"Each verb is one command of\n.BR kvmd (8).\n"
		"\\fIDOMAIN\\fR is a name, a uuid or, of a running machine, its number.\n.SH OPTIONS");
	puts(".TP\n.BR \\-o ,\\  \\-\\-output=\\fIFORMAT\\fR\n\\fBtext\\fR for people; \\fBjson\\fR, the reply as it is; \\fBjsonl\\fR, one line per entry. With the latter two, "
		"errors are JSON too, on standard error.\n"
		".TP\n.BR \\-c ,\\  \\-\\-connect=\\fISOCKET\\fR\npath of kvmd's control.sock\n"
		".TP\n.B \\-\\-root=\\fIDIR\\fR\nthe kvmd that was started with \\-\\-root \\fIDIR\\fR; the variable \\fBKVMD_ROOT\\fR says the same\n"
		".TP\n.BR \\-q ,\\  \\-\\-quiet\nsay nothing when all went well\n"
		".TP\n.BR \\-h ,\\  \\-\\-help\ntell about kvmctl or, after a verb, about that verb\n.SH VERBS");
	for (const struct command *c = command_next(NULL); c; c = command_next(c))
		if (c->verb)
			verb(c);
	events();
	exit_codes();
	puts(".SH ENVIRONMENT\n.TP\n.B KVMD_ROOT\nas \\-\\-root\n.TP\n.B NO_COLOR\nno colours on terminals\n.SH \"SEE ALSO\"\n.BR kvmd (8),\n.BR kvmd.conf (5)");
}

/* --- kvmd(8) --- */

static void kvmd_8(void)
{
	head("kvmd", "8", "virtual machines on KVM, described by libvirt's XML");
	puts(".SH SYNOPSIS\n.B kvmd\n[\\fB\\-\\-root\\fR \\fIDIR\\fR] [\\fB\\-c\\fR \\fIFILE\\fR] [\\fB\\-v\\fR]\n.SH DESCRIPTION\n"
		"kvmd keeps the definitions of domains, starts a fenced process \\fBkvmd\\-vm\\fR for each machine and watches it. Machines go on when kvmd ends, "
		"however it ends; a new kvmd finds them again. It runs in the foreground and logs to standard error, as\n.BR systemd (1)\nwants it.\n"
		".SH OPTIONS\n"
		".TP\n.B \\-\\-root=\\fIDIR\\fR\nput all files under DIR; several kvmd can run on one host so\n"
		".TP\n.BR \\-c ,\\  \\-\\-config=\\fIFILE\\fR\nread FILE instead of kvmd.conf\n"
		".TP\n.B \\-\\-worker=\\fIFILE\\fR\nthe program that runs a machine\n"
		".TP\n.B \\-\\-kvm=\\fIFILE\\fR\nthe KVM device, /dev/kvm if not given\n"
		".TP\n.BR \\-v ,\\  \\-\\-verbose\nlog details\n"
		".SH \"CONTROL SOCKET\"\n"
		"control.sock speaks QMP's framing: lines of JSON, {\"execute\": COMMAND, \"vm\": DOMAIN, \"arguments\": {…}, \"id\": …}, answered by {\"return\": …} or "
		"{\"error\": {\"class\", \"desc\", \"code\"}}. \\fBquery\\-schema\\fR returns all commands. Each running machine has a QMP socket of its own, "
		"run/vm/\\fINAME\\fR.qmp.\n.SH COMMANDS");
	for (const struct command *c = command_next(NULL); c; c = command_next(c)) {
		if ((c->flags & CMD_INTERNAL) || c->where == IN_CLIENT)
			continue;
		printf(".TP\n.B %s\n", c->name);
		roff(c->doc);
		if (c->verb) {
			fputs(" (kvmctl ", stdout);
			roff(c->verb);
			putchar(')');
		}
		putchar('\n');
	}
	puts(".SH FILES\n"
		".TP\n.I /etc/kvmd/kvmd.conf\nsettings\n"
		".TP\n.I /var/lib/kvmd/domains/UUID.xml\ndefinitions; change them by \\fBkvmctl define\\fR\n"
		".TP\n.I /var/lib/kvmd/events.jsonl\nthe event journal\n"
		".TP\n.I /run/kvmd/control.sock\nfor clients\n"
		".TP\n.I /run/kvmd/vm/NAME.qmp\nQMP socket of a machine\n"
		".TP\n.I /var/log/kvmd/NAME.log, NAME.console.log\nwhat a machine's process and its guest printed\n"
		".PP\nOrdinary users who may open /dev/kvm have the same under the XDG folders: ~/.config/kvmd, ~/.local/share/kvmd, $XDG_RUNTIME_DIR/kvmd, "
		"~/.local/state/kvmd/log.\n"
		".SH SIGNALS\nSIGTERM and SIGINT end kvmd; machines go on.\n.SH \"SEE ALSO\"\n.BR kvmctl (1),\n.BR kvmd.conf (5)");
}

/* --- kvmd.conf(5), kvmd.conf --- */

static void kvmd_conf_5(void)
{
	head("kvmd.conf", "5", "settings of kvmd");
	puts(".SH DESCRIPTION\nLines \\fIkey\\fR = \\fIvalue\\fR; # begins a comment. An unknown key or a bad value keeps kvmd from starting, with its line.\n.SH SETTINGS");
	for (const struct field *f = config_schema.fields; f->name; f++) {
		g_autofree char *type = doc_type(f);

		printf(".TP\n.B %s\n", f->name);
		roff(f->doc);
		fputs(" (", stdout);
		roff(type);
		puts(")");
	}
	puts(".SH \"SEE ALSO\"\n.BR kvmd (8)");
}

static void kvmd_conf(void)
{
	struct config *c = config_new();

	puts("# Settings of kvmd, all at their defaults. See kvmd.conf(5).\n");
	for (const struct field *f = config_schema.fields; f->name; f++) {
		g_autofree char *text = field_text(f, c);

		printf("# %s\n#%s = %s\n\n", f->doc, f->name, text ? text : "");
	}
	config_free(c);
}

/* --- bash completion --- */

/* What an option's value can be, when that is one of some words. */
static void completion_values(const struct command *c)
{
	bool any = false;

	for (const struct field *f = c->args ? c->args->fields : NULL; f && f->name; f++) {
		g_autofree char *option = option_name(f);

		if ((f->flags & POSITIONAL) || !f->names || f->kind->shape == SHAPE_BOOL)
			continue;
		printf(any ? " --%s) values='" : "; case $opt in --%s) values='", option);
		for (uint64_t n = f->min; n <= f->max; n++)
			if (f->names[n] && *f->names[n])
				printf("%s ", f->names[n]);
		fputs("' ;;", stdout);
		any = true;
	}
	if (any)
		fputs(" esac", stdout);
}

static void completion(void)
{
	puts("# bash completion for kvmctl; made from the command table\n"
		"_kvmctl()\n{\n"
		"\tlocal cur last= opt= value= verb= at=0 i\n"
		"\tlocal -a conn=() given=()\n"
		"\tCOMPREPLY=()\n"
		"\tcur=${COMP_WORDS[COMP_CWORD]}\n"
		"\tlocal n=$COMP_CWORD\n"
		"\t[[ $cur == = ]] && { cur=; ((n++)); }\n"
		"\tfor ((i = 1; i < n; i++)); do     # bash takes --option=value apart\n"
		"\t\tif [[ ( ${COMP_WORDS[i]} == = && $last == --* ) || $last == --*= ]]; then\n"
		"\t\t\tgiven[${#given[@]}-1]+=${COMP_WORDS[i]}\n"
		"\t\telse\n"
		"\t\t\tgiven+=(\"${COMP_WORDS[i]}\")\n"
		"\t\tfi\n"
		"\t\tlast=${given[${#given[@]}-1]}\n"
		"\tdone\n"
		"\tfor ((i = 0; i < ${#given[@]}; i++)); do\n"
		"\t\tcase ${given[i]} in\n"
		"\t\t--root|-c|--connect) conn+=(\"${given[i]}\" \"${given[i+1]}\"); ((i++)) ;;\n"
		"\t\t-o|--output) ((i++)) ;;\n"
		"\t\t--root=*|--connect=*) conn+=(\"${given[i]}\") ;;\n"
		"\t\t-*) ;;\n"
		"\t\t*) if [[ -z $verb ]]; then verb=${given[i]}; else ((at++)); fi ;;\n"
		"\t\tesac\n"
		"\tdone\n"
		"\t[[ $last == -* ]] && opt=${last%=}\n"
		"\t[[ $last == --*= ]] && value=1\n"
		"\tcase $opt in\n"
		"\t-o|--output) COMPREPLY=($(compgen -W 'text json jsonl' -- \"$cur\")); return ;;\n"
		"\t--root) COMPREPLY=($(compgen -d -- \"$cur\")); return ;;\n"
		"\t-c|--connect) COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n"
		"\tesac\n"
		"\tif [[ -z $verb ]]; then");
	fputs("\t\tCOMPREPLY=($(compgen -W 'help", stdout);
	for (const struct command *c = command_next(NULL); c; c = command_next(c))
		if (c->verb)
			printf(" %s", c->verb);
	puts(" --output --root --connect --quiet --help' -- \"$cur\")); return\n\tfi\n"
		"\tlocal options= domains=0 files=0 words= values=\n"
		"\tcase $verb in");
	for (const struct command *c = command_next(NULL); c; c = command_next(c)) {
		unsigned at = about_vm(c) ? 1 : 0;

		if (!c->verb)
			continue;
		printf("\t%s)", c->verb);
		if (about_vm(c))
			fputs(" domains=1;", stdout);
		fputs(" options='", stdout);
		for (const struct field *f = c->args ? c->args->fields : NULL; f && f->name; f++) {
			g_autofree char *option = option_name(f);

			if (!(f->flags & POSITIONAL))
				printf("--%s%s ", option, f->kind->shape == SHAPE_BOOL ? "" : "=");
		}
		putchar('\'');
		for (const struct field *f = c->args ? c->args->fields : NULL; f && f->name; f++) {
			if (!(f->flags & POSITIONAL))
				continue;
			if ((f->flags & FILE_TEXT) || !strcmp(c->name, "validate"))
				fputs("; files=1", stdout);
			if (f->names) {
				printf("; ((at == %u)) && words='", at);
				for (uint64_t n = f->min; n <= f->max; n++)
					printf("%s ", f->names[n]);
				putchar('\'');
			}
			at++;
		}
		completion_values(c);
		puts(" ;;");
	}
	puts("\thelp) COMPREPLY=($(compgen -W \"$(kvmctl --help | sed -n 's/^  \\([a-z-]*\\)  .*/\\1/p')\" -- \"$cur\")); return ;;\n"
		"\tesac\n"
		"\tif [[ -n $value || \" $options\" == *\" $opt= \"* ]]; then\n"
		"\t\tif [[ $opt == --domain ]]; then\n"
		"\t\t\tvalues=$(kvmctl \"${conn[@]}\" list --all --names 2>/dev/null)\n"
		"\t\tfi\n"
		"\t\tCOMPREPLY=($(compgen -W \"$values\" -- \"$cur\"))\n"
		"\telif [[ $cur == -* ]]; then\n"
		"\t\tCOMPREPLY=($(compgen -W \"$options --output --help --quiet\" -- \"$cur\"))\n"
		"\t\t[[ ${COMPREPLY[0]} == *= ]] && compopt -o nospace\n"
		"\telif ((domains && at == 0)); then\n"
		"\t\tlocal IFS=$'\\n'\n"
		"\t\tCOMPREPLY=($(compgen -W \"$(kvmctl \"${conn[@]}\" list --all --names 2>/dev/null)\" -- \"$cur\"))\n"
		"\telif [[ -n $words ]]; then\n"
		"\t\tCOMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
		"\telif ((files)); then\n"
		"\t\tcompopt -o filenames\n"
		"\t\tCOMPREPLY=($(compgen -f -- \"$cur\"))\n"
		"\tfi\n}\n"
		"complete -F _kvmctl kvmctl");
}

/* --- the protocol's reference --- */

/* What stands before a counter's name in domstats. */
static const char *const stat_prefixes[STAT_KINDS] = { "", "vcpu.N.", "block.N.", "net.N.", "balloon." };

static void statistics(GString *out)
{
	g_string_append(out, "\n# Keys of domstats\n\nCounted by the machine's process, in its statistics page:\n\n| key | unit | meaning |\n|---|---|---|\n");
	for (unsigned k = 0; k < STAT_KINDS; k++)
		for (const struct stat_counter *c = stat_counters[k]; c->doc; c++)
			if (c->name)
				g_string_append_printf(out, "| %s%s | %s | %s |\n", stat_prefixes[k], c->name, c->unit, c->doc);
	g_string_append(out, "\nCounted by KVM, where its kernel shows it (Linux 5.14) and kvmd may look (CAP_SYS_PTRACE). What the machine's process counts "
		"too is the larger of both:\n\n| key | unit | meaning |\n|---|---|---|\n");
	for (unsigned i = 0; i < KVMSTAT_N; i++)
		g_string_append_printf(out, "| vcpu.N.%s.sum | %s | %s |\n", kvmstat_rows[i].name, kvmstat_rows[i].ns ? "ns" : "", kvmstat_rows[i].doc);
	g_string_append(out, "\nFrom kvmd itself and from /proc: state.state and state.reason (libvirt's numbers), cpu.time, cpu.user and cpu.system (ns of the "
		"machine's process), balloon.maximum and balloon.rss (KiB), vcpu.current, vcpu.maximum, vcpu.N.state, vcpu.N.time and vcpu.N.delay (ns the "
		"vCPU ran, and waited for a CPU of the host: what the guest sees as stolen), net.count, net.N.name, block.count, block.N.name, "
		"block.N.path.\n");
}

static void reference(void)
{
	g_autoptr(GString) out = g_string_new("# Commands of control.sock and of machines' QMP sockets\n\nMade from the command table (`gendoc reference`).\n");

	for (const struct command *c = command_next(NULL); c; c = command_next(c)) {
		if ((c->flags & CMD_INTERNAL) || c->where == IN_CLIENT)
			continue;
		g_string_append_printf(out, "\n## %s\n\n%s.%s%s\n", c->name, c->doc, c->more ? " " : "", c->more ? c->more : "");
		if (about_vm(c))
			g_string_append(out, "\nOn control.sock it needs `\"vm\"`.\n");
		if (c->args) {
			g_string_append(out, "\nArguments:\n\n");
			doc_schema(c->args, DOC_MARKDOWN, out);
		}
		if (c->reply) {
			g_string_append(out, "\nReturns:\n\n");
			doc_schema(c->reply, DOC_MARKDOWN, out);
		}
	}
	statistics(out);
	fputs(out->str, stdout);
}

static void domain(void)
{
	g_autoptr(GString) out = g_string_new("# Definitions: libvirt's domain XML, as kvmd takes it\n\nMade from the field tables (`gendoc domain`). "
		"\"no effect yet\": it is kept and written back, and define warns of it. \"kept, not used\" and \"refused\" say why.\n");

	doc_schema(&machine_schema, DOC_MARKDOWN, out);
	fputs(out->str, stdout);
}

static const struct {
	const char *name;
	void (*print)(void);
} documents[] = {
	{ "kvmctl.1", kvmctl_1 },
	{ "kvmd.8", kvmd_8 },
	{ "kvmd.conf.5", kvmd_conf_5 },
	{ "kvmd.conf", kvmd_conf },
	{ "completion", completion },
	{ "reference", reference },
	{ "domain", domain },
};

int main(int argc, char **argv)
{
	for (size_t i = 0; argc == 2 && i < G_N_ELEMENTS(documents); i++)
		if (!strcmp(argv[1], documents[i].name)) {
			documents[i].print();
			return fflush(stdout) ? 1 : 0;
		}
	fputs("usage: gendoc kvmctl.1|kvmd.8|kvmd.conf.5|kvmd.conf|completion|reference|domain\n", stderr);
	return 2;
}
