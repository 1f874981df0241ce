/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kill -9 of kvmd while a machine has a command: for each command of the tables that changes a running machine, the next kvmd finds its
 * result in the journal. A command that is added later and is not here fails.
 */
#include <signal.h>
#include <string.h>

#include "daemon/wire.h"
#include "daemon/worker_journal.h"
#include "tests/daemon/host.h"

#define CARD_MAC "52:54:00:00:00:07"
#define VM_UUID "11111111-1111-4111-8111-111111111111"
#define RNG "<rng model='virtio'><backend model='random'>/dev/urandom</backend>"

/* A command with arguments that the machine takes; @ stands for the folder of the test, ' for ". */
static const struct { const char *command, *args, *done; } commands[] = {
	{ "setvcpus", "{'count':2}", "setvcpus" },
	{ "setvcpus", "{'count':1,'guest':true}", "setvcpus" },
	{ "setvcpu", "{'vcpulist':'2-3','enable':true}", "setvcpus" },
	{ "blkdeviotune", "{'device':'vda','total_iops_sec':500}", "blkdeviotune" },
	{ "blockresize", "{'device':'vda','size':2097152}", "blockresize" },
	{ "domif-setlink", "{'interface':'" CARD_MAC "','state':'down'}", "domif-setlink" },
	{ "domiftune", "{'interface':'" CARD_MAC "','inbound':'100'}", "domiftune" },
	{ "setmem", "{'size':16777216}", "setmem" },
	{ "update-memory-device", "{'requested_size':2097152}", "update-memory-device" },
	{ "dommemstat", "{'period':5}", "dommemstat" },
	{ "attach-device", "{'xml':'<disk type=\"file\"><source file=\"@/b.img\"/><target dev=\"vdb\" bus=\"virtio\"/></disk>'}", "attach-device" },
	{ "attach-device", "{'xml':'<interface type=\"user\"><model type=\"virtio\"/></interface>'}", "attach-device" },
	{ "attach-device", "{'xml':'<rng model=\"virtio\"><backend model=\"random\">/dev/urandom</backend></rng>'}", "attach-device" },
	{ "attach-device", "{'xml':'<channel type=\"unix\"><source mode=\"bind\" path=\"@/c.sock\"/><target type=\"virtio\" name=\"org.kvmd.two\"/></channel>'}", "attach-device" },
	{ "attach-device", "{'xml':'<memory model=\"virtio-mem\"><target><size unit=\"MiB\">64</size><node>0</node><block unit=\"MiB\">2</block><requested unit=\"MiB\">4</requested></target></memory>'}", "attach-device" },
	{ "detach-device", "{'xml':'<disk type=\"file\"><source file=\"@/a.img\"/><target dev=\"vda\" bus=\"virtio\"/></disk>'}", "detach-device" },
	{ "detach-device", "{'xml':'<interface type=\"user\"><mac address=\"" CARD_MAC "\"/></interface>'}", "detach-device" },
	{ "detach-device-alias", "{'alias':'rng0'}", "detach-device" },
	{ "detach-device-alias", "{'alias':'channel0'}", "detach-device" },
	{ "update-device", "{'xml':'<interface type=\"user\"><mac address=\"" CARD_MAC "\"/><link state=\"down\"/></interface>'}", "update-device" },
	{ "attach-disk", "{'source':'@/b.img','target':'vdb'}", "attach-device" },
	{ "detach-disk", "{'target':'vda'}", "detach-device" },
	{ "attach-interface", "{'type':'user'}", "attach-device" },
	{ "detach-interface", "{'type':'user','mac':'" CARD_MAC "'}", "detach-device" },
	{ "change-media", "{'target':'sda','eject':true}", "update-device" },
	{ "balloon", "{'value':16777216}", "balloon" },
	{ "qom-set", "{'path':'/machine/peripheral/balloon0','property':'guest-stats-polling-interval','value':2}", "qom-set" },
	{ "device_add", "{'driver':'virtio-rng-pci'}", "device_add" },
	{ "device_del", "{'id':'rng0'}", "device_del" },
	{ "dump-guest-memory", "{'paging':false,'protocol':'fd:x'}", "dump-guest-memory" },
	{ "human-monitor-command", "{'command-line':'info status'}", "human-monitor-command" },
	{ "screendump", "{'filename':'/dev/null'}", "screendump" },
	{ "block_resize", "{'device':'virtio-disk0','size':2097152}", "blockresize" },
	{ "block_set_io_throttle", "{'id':'virtio-disk0','bps':0,'bps_rd':0,'bps_wr':0,'iops':9,'iops_rd':0,'iops_wr':0}", "blkdeviotune" },
	{ "calc-dirty-rate", "{'calc-time':1}", "domdirtyrate-calc" },
	{ "set_link", "{'name':'net0','up':false}", "domif-setlink" },
	{ "announce-self", "{'initial':50,'max':550,'rounds':5,'step':50}", "announce-self" },
	{ "migrate-set-capabilities", "{'capabilities':[]}", "migrate-set-capabilities" },
	{ "migrate-continue", "{'state':'pre-switchover'}", "migrate-continue" },
	{ "migrate-recover", "{'uri':'tcp:[::1]:1'}", "migrate-recover" },
	{ "migrate", "{'uri':'tcp:[::1]:1'}", "migrate" },
	{ "migrate-incoming", "{'uri':'tcp:[::1]:1'}", "migrate-incoming" },
	{ "blockdev-add", "{'node-name':'n','driver':'raw'}", "blockdev-add" },
	{ "blockdev-add", "{'node-name':'m','driver':'raw','file':{'driver':'file','filename':'@/b.img'}}", "blockdev-add" },
	{ "blockdev-del", "{'node-name':'n'}", "blockdev-del" },
	{ "netdev_add", "{'type':'user','id':'n'}", "netdev_add" },
	{ "netdev_del", "{'id':'n'}", "netdev_del" },
	{ "qemu-agent-command", "{'command':'x'}", "qemu-agent-command" },
	{ "blockdev-change-medium", "{'device':'sda','filename':'@/b.img'}", "update-device" },
	{ "chardev-change", "{'id':'channel0','backend':{'type':'null','data':{}}}", "chardev-change" },
	{ "chardev-add", "{'id':'new','backend':{'type':'null','data':{}}}", "chardev-add" },
	{ "chardev-remove", "{'id':'new'}", "chardev-remove" },
	{ "ringbuf-write", "{'device':'channel0','data':'x'}", "ringbuf-write" },
};

/* What has no result to be found: it is about the definition, or the machine's end and begin, which have events of their own. */
static const char *const others[] = { "undefine", "start", "destroy", "console", "autostart", "setmaxmem", NULL };

static char *filled(const struct host *h, const char *args)
{
	g_auto(GStrv) at = g_strsplit(args, "@", -1);
	g_autofree char *with = g_strjoinv(h->root, at), *quoted = NULL;
	g_auto(GStrv) parts = NULL;

	parts = g_strsplit(with, "\"", -1);
	quoted = g_strjoinv("\\\"", parts);
	return g_strdelimit(g_steal_pointer(&quoted), "'", '"');
}

static struct host *with_machine(void)
{
	struct host *h = host_new(NULL);
	g_autofree char *base = domain_xml(h, "v", VM_UUID, "hold", NULL), *devices = NULL, *xml = NULL, *image = NULL;
	static char zero[1 << 20];

	for (const char *const *name = (const char *const []){ "a.img", "b.img", "cd.img", NULL }; *name; name++) {
		g_autofree char *path = host_path(h, *name);

		g_assert_true(g_file_set_contents(path, zero, sizeof zero, NULL));
	}
	devices = g_strdup_printf("<maxMemory slots='4' unit='MiB'>512</maxMemory><memory unit='MiB'>272</memory>@<vcpu current='1'>4</vcpu>@"
		"<disk type='file'><source file='%s/a.img'/><target dev='vda' bus='virtio'/></disk>"
		"<disk type='file' device='cdrom'><source file='%s/cd.img'/><target dev='sda' bus='sata'/></disk>"
		"<interface type='user'><mac address='" CARD_MAC "'/></interface>" RNG "</rng><memballoon model='virtio'/>"
		"<channel type='unix'><source mode='bind' path='%s/one.sock'/><target type='virtio' name='org.kvmd.one'/></channel>"
		"<memory model='virtio-mem'><target><size unit='MiB'>64</size><block unit='MiB'>2</block><requested unit='MiB'>0</requested></target></memory>"
		"</devices>", h->root, h->root, h->root);
	g_auto(GStrv) parts = g_strsplit(devices, "@", 3);
	GString *s = g_string_new(base);

	g_string_replace(s, "<memory unit='MiB'>16</memory>", parts[0], 1);
	g_string_replace(s, "<vcpu>1</vcpu>", parts[1], 1);
	g_string_replace(s, "</devices>", parts[2], 1);
	xml = g_string_free(s, FALSE);
	define(h, xml);
	ask_ok(h, "start", "v", "{}");
	return h;
}

static json_object *request(const char *execute, const char *args)
{
	json_object *m = json_object_new_object();

	json_object_object_add(m, "execute", json_object_new_string(execute));
	json_object_object_add(m, "vm", json_object_new_string("v"));
	if (args) {
		json_object *a = json_tokener_parse(args);

		if (!a)
			g_error("%s: no JSON: %s", execute, args);
		json_object_object_add(m, "arguments", a);
	}
	return m;
}

/* The command is in the machine's hands, kvmd is killed, the machine does it. */
static void survive(struct host *h, const char *execute, const char *template, const char *done, GHashTable *reached)
{
	struct conn *events = conn_new(h), *c = conn_new(h);
	g_autofree char *args = template ? filled(h, template) : NULL, *since = NULL;
	json_object *m = request(execute, args), *o, *data, *ok;
	GPollFD p[2] = { { events->fd, G_IO_IN, 0 }, { c->fd, G_IO_IN, 0 } };

	json_object_put(conn_ask(events, "event", NULL, "{\"follow\":true,\"event\":\"HELD\"}"));
	g_assert_true(wire_write_sync(c->fd, m, NULL, 0, NULL));
	json_object_put(m);
	if (g_poll(p, 2, 20000) <= 0 || p[1].revents) {
		o = p[1].revents ? conn_read(c) : NULL;
		g_error("%s %s did not reach the machine: %s", execute, args, json_object_to_json_string(o));
	}
	o = conn_read(events);
	since = g_strdup_printf("{\"since\":%" G_GINT64_FORMAT ",\"follow\":true,\"event\":\"COMMAND_DONE\"}", num(o, "seq"));
	json_object_object_get_ex(o, "data", &data);
	g_hash_table_add(reached, g_strdup(str(data, "command")));
	json_object_put(o);
	conn_free(c);
	conn_free(events);
	host_kill(h, SIGKILL);
	host_start(h);
	c = conn_new(h);
	json_object_put(conn_ask(c, "event", NULL, since));
	o = conn_read(c);
	json_object_object_get_ex(o, "data", &data);
	if (strcmp(str(data, "command"), done) || strcmp(str(data, "vm"), "v") || !json_object_object_get_ex(data, "ok", &ok) || !json_object_get_boolean(ok))
		g_error("%s %s: the journal says %s", execute, args, json_object_to_json_string(o));
	json_object_put(o);
	conn_free(c);
}

static bool is_here(const char *name)
{
	for (size_t i = 0; i < G_N_ELEMENTS(commands); i++)
		if (!strcmp(commands[i].command, name))
			return true;
	return false;
}

static void test_killed(void)
{
	struct host *h = with_machine();
	g_autoptr(GHashTable) reached = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	g_autofree char *state = NULL;

	for (size_t i = 0; i < G_N_ELEMENTS(commands); i++)
		survive(h, commands[i].command, commands[i].args, commands[i].done, reached);
	for (const struct command *c = command_next(NULL); c; c = command_next(c)) {
		if (c->where == IN_KVMD && (c->flags & CMD_VM) && !(c->flags & CMD_READ) && !is_here(c->name) && !g_strv_contains(others, c->name))
			g_error("'%s' changes a machine: give this test its arguments", c->name);
		if (journal_wants(c) && !(c->flags & CMD_INTERNAL) && !is_here(c->name)) {
			json_object *data = journal_data(c, NULL);

			survive(h, c->name, NULL, str(data, "command"), reached);
			json_object_put(data);
		}
	}
	for (const struct command *c = command_next(NULL); c; c = command_next(c))
		if (journal_wants(c) && !g_hash_table_contains(reached, c->name) && !is_here(c->name))
			g_error("no command made kvmd ask the machine for '%s'", c->name);
	state = state_of(h, "v");
	g_assert_cmpstr(state, ==, "running");
	host_free(h);
}

static bool has_live(const struct command *c)
{
	for (const struct field *f = c->args ? c->args->fields : NULL; f && f->name; f++)
		if (!strcmp(f->name, "live"))
			return true;
	return false;
}

/* --live of a machine that is off is an error with every command that has it, and not a success that did nothing. */
static void test_stopped(void)
{
	static const struct { const char *command, *args; } looks[] = {
		{ "vcpucount", "{'live':true}" }, { "vcpucount", "{'live':true,'maximum':true}" }, { "vcpucount", "{'live':true,'active':true}" },
		{ "domif-getlink", "{'live':true,'interface':'" CARD_MAC "'}" }, { "dommemstat", "{'live':true}" },
		{ "blkdeviotune", "{'live':true,'device':'vda'}" }, { "domiftune", "{'live':true,'interface':'" CARD_MAC "'}" },
		{ "setmaxmem", "{'live':true,'size':16777216}" }, { "setvcpus", "{'live':true,'count':1}" },
	};
	struct host *h = with_machine();
	g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);

	ask_ok(h, "destroy", "v", NULL);
	for (size_t i = 0; i < G_N_ELEMENTS(looks); i++) {
		g_autofree char *args = filled(h, looks[i].args);

		ask_bad(h, looks[i].command, "v", args, "WrongState", "not running");
		g_hash_table_add(seen, (char *)looks[i].command);
	}
	for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
		const struct command *c = command_by_name(commands[i].command);
		g_autofree char *args = has_live(c) ? filled(h, commands[i].args) : NULL;
		g_autofree char *live = args ? g_strconcat("{\"live\":true,", args + 1, NULL) : NULL;

		if (live)
			ask_bad(h, c->name, "v", live, "WrongState", "not running");
		g_hash_table_add(seen, (char *)c->name);
	}
	for (const struct command *c = command_next(NULL); c; c = command_next(c))
		if (has_live(c) && !g_hash_table_contains(seen, c->name))
			g_error("'%s' has --live: give this test its arguments", c->name);
	host_free(h);
}

int main(int argc, char **argv)
{
	g_autofree char *dir = passt_new();
	int rc;

	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/journal/killed", test_killed);
	g_test_add_func("/journal/live-of-stopped", test_stopped);
	rc = g_test_run();
	passt_remove(dir);
	return rc;
}
