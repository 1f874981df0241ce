/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The few paths of QEMU's tree of objects that scripts use: /machine, /machine/peripheral, /machine/unattached and what is
 * in them; and the PCI functions as the guest's configuration space shows them.
 */
#include <string.h>

#include "daemon/worker_qmp.h"
#include "daemon/worker_vcpus.h"
#include "devices/pci.h"
#include "domain/commands_qmp_memory.h"
#include "domain/json.h"
#include "hv/vcpu.h"
#include "hv/x86/ports.h"

/* --- objects --- */

enum object_kind { OBJ_NONE, OBJ_ROOT, OBJ_MACHINE, OBJ_FOLDER, OBJ_VCPU, OBJ_DEVICE };
struct object {
	enum object_kind kind;
	bool named;             /* folder: peripheral, else unattached */
	bool empty;             /* folder: peripheral-anon; what has no id from its definition gets one here */
	unsigned slot;
	struct device *device;
};

/* What scripts look for; others have the same name here and there, or none in QEMU. */
static const struct { const char *name, *qemu; } types[] = {
	{ "virtio-blk", "virtio-blk-pci" }, { "virtio-net", "virtio-net-pci" }, { "virtio-rng", "virtio-rng-pci" },
	{ "virtio-balloon", "virtio-balloon-pci" }, { "virtio-mem", "virtio-mem-pci" }, { "virtio-console", "virtio-serial-pci" },
	{ "serial", "isa-serial" }, { "rtc", "mc146818rtc" },
};

static const char *qom_type(const struct device *d)
{
	for (size_t i = 0; i < G_N_ELEMENTS(types); i++)
		if (!strcmp(types[i].name, d->ops->name))
			return types[i].qemu;
	return d->ops->name;
}

static char *device_path(const struct device *d)
{
	return g_strdup_printf("/machine/peripheral/%s", d->id);
}

/* What its definition calls it ("balloon0"), the name that libvirt's clients ask for; NULL: nothing. */
static struct object find(struct worker *w, const char *path)
{
	int slot = vcpu_by_name(w, path);

	if (!strcmp(path, "/"))
		return (struct object){ OBJ_ROOT };
	if (!strcmp(path, "/machine"))
		return (struct object){ OBJ_MACHINE };
	if (!strcmp(path, "/machine/peripheral") || !strcmp(path, "/machine/unattached"))
		return (struct object){ OBJ_FOLDER, .named = strcmp(path, "/machine/unattached") };
	if (!strcmp(path, "/machine/peripheral-anon"))
		return (struct object){ OBJ_FOLDER, .empty = true };
	if (slot >= 0)
		return (struct object){ OBJ_VCPU, .slot = (unsigned)slot };
	for (unsigned i = 0; i < w->vm.devices->len; i++) {
		struct device *d = w->vm.devices->pdata[i];
		g_autofree char *at = device_path(d);

		if (!strcmp(at, path) || !strcmp(d->id, path) || (worker_alias_of(d) && (!strcmp(worker_alias_of(d), path) ||
		    (g_str_has_prefix(path, "/machine/peripheral/") && !strcmp(strrchr(path, '/') + 1, worker_alias_of(d))))))
			return (struct object){ OBJ_DEVICE, .device = d };
	}
	return (struct object){ OBJ_NONE };
}

static bool missing(const char *path, GError **err)
{
	return kerr_set(err, KERR_NO_DEVICE, "there is no object '%s'", path);
}

static void add_property(json_object *list, const char *name, const char *type)
{
	struct qmp_property p = { (char *)name, (char *)type };

	json_object_array_add(list, json_from_struct(&qmp_property_schema, &p, JSON_ALL));
}

static void list_folder(struct worker *w, bool named, json_object *list)
{
	g_autofree char *type = vcpu_type(w), *child = g_strdup_printf("child<%s>", type);

	for (unsigned i = 0; i < w->vm.vcpus->len; i++) {
		const struct vcpu *v = w->vm.vcpus->pdata[i];
		g_autofree char *path = vcpu_path(w, v->index);

		if (!v->unplugged && named == !!vcpu_qid(w, v->index))
			add_property(list, strrchr(path, '/') + 1, child);
	}
	for (unsigned i = 0; named && i < w->vm.devices->len; i++) {
		const struct device *d = w->vm.devices->pdata[i];
		g_autofree char *what = g_strdup_printf("child<%s>", qom_type(d));

		add_property(list, d->id, what);
	}
}

QMP(qom_list)
{
	static const struct { const char *name, *type; } vcpu[] = { { "apic-id", "uint32" }, { "socket-id", "int32" }, { "die-id", "int32" },
		{ "core-id", "int32" }, { "thread-id", "int32" }, { "hotpluggable", "bool" } };
	const struct args_qom *a = args;
	struct object o = find(c->worker, a->path);

	if (!o.kind)
		return missing(a->path, err), RUN_FAILED;
	*reply = json_object_new_array();
	add_property(*reply, "type", "string");
	switch (o.kind) {
	case OBJ_ROOT:
		add_property(*reply, "machine", "child<machine>");
		break;
	case OBJ_MACHINE:
		add_property(*reply, "peripheral", "child<container>");
		add_property(*reply, "peripheral-anon", "child<container>");
		add_property(*reply, "unattached", "child<container>");
		break;
	case OBJ_FOLDER:
		if (!o.empty)
			list_folder(c->worker, o.named, *reply);
		break;
	case OBJ_VCPU:
		for (size_t i = 0; i < G_N_ELEMENTS(vcpu); i++)
			add_property(*reply, vcpu[i].name, vcpu[i].type);
		break;
	default:
		memory_properties(o.device, add_property, *reply);
	}
	return RUN_DONE;
}

static json_object *vcpu_property(const struct worker *w, unsigned slot, const char *name)
{
	struct cpu_props p;

	vcpu_props(w, slot, &p);
	if (!strcmp(name, "apic-id"))
		return json_object_new_int64(vm_vcpu(&w->vm, slot)->id);
	if (!strcmp(name, "socket-id"))
		return json_object_new_int64(p.socket);
	if (!strcmp(name, "die-id"))
		return json_object_new_int64(p.die);
	if (!strcmp(name, "core-id"))
		return json_object_new_int64(p.core);
	if (!strcmp(name, "thread-id"))
		return json_object_new_int64(p.thread);
	if (!strcmp(name, "hotpluggable"))
		return json_object_new_boolean(w->hotplug && machine_vcpu_hotpluggable(w->machine, slot));
	return NULL;
}

static char *type_of(const struct worker *w, const struct object *o)
{
	switch (o->kind) {
	case OBJ_MACHINE:
		return g_strdup_printf("%s-machine", w->machine->os.machine ? w->machine->os.machine : MACHINE_VERSION);
	case OBJ_VCPU:
		return vcpu_type(w);
	case OBJ_DEVICE:
		return g_strdup(qom_type(o->device));
	default:
		return g_strdup("container");
	}
}

QMP(qom_get)
{
	const struct args_qom *a = args;
	struct worker *w = c->worker;
	struct object o = find(w, a->path);
	g_autofree char *type = NULL;

	if (!o.kind)
		return missing(a->path, err), RUN_FAILED;
	type = type_of(w, &o);
	if (!strcmp(a->property, "type"))
		*reply = json_object_new_string(type);
	else if (o.kind == OBJ_VCPU)
		*reply = vcpu_property(w, o.slot, a->property);
	else if (o.kind == OBJ_DEVICE)
		*reply = memory_property(o.device, a->property);
	return *reply ? RUN_DONE : (kerr_set(err, KERR_ARGS, "'%s' of type '%s' has no property '%s'", a->path, type, a->property), RUN_FAILED);
}

QMP(qom_set)
{
	const struct args_qom_set *a = args;
	struct object o = find(c->worker, a->path);
	json_object *value = NULL;
	bool ok;

	if (!o.kind)
		return missing(a->path, err), RUN_FAILED;
	if (o.kind != OBJ_DEVICE)
		return kerr_set(err, KERR_ARGS, "the properties of '%s' cannot be changed", a->path), RUN_FAILED;
	json_object_object_get_ex(raw, "value", &value);
	ok = memory_property_set(c->worker, o.device, a->property, value, err);
	return ok ? RUN_DONE : RUN_FAILED;
}

/* --- PCI --- */

static uint32_t config(const struct worker *w, unsigned slot, unsigned function, unsigned offset, unsigned size)
{
	uint32_t v = 0;

	bus_read(w->vm.mmio, PCI_ECAM_BASE + (slot << 15 | function << 12) + offset, &v, size);
	return v;
}

/* What a base address register says; 0: there is none. The size is not asked for: that would need writes. */
static json_object *regions(const struct worker *w, unsigned slot, unsigned function)
{
	json_object *list = json_object_new_array();

	for (unsigned bar = 0; bar < PCI_BARS; bar++) {
		uint64_t v = config(w, slot, function, PCI_BAR + 4 * bar, 4);
		bool io = v & 1, wide = !io && (v & 6) == 4;
		json_object *o;
		unsigned n = bar;

		if (!v)
			continue;
		if (wide && bar + 1 < PCI_BARS)
			v |= (uint64_t)config(w, slot, function, PCI_BAR + 4 * ++bar, 4) << 32;
		o = json_object_new_object();
		json_object_object_add(o, "bar", json_object_new_int((int)n));
		json_object_object_add(o, "type", json_object_new_string(io ? "io" : "memory"));
		json_object_object_add(o, "address", json_object_new_uint64(v & ~(io ? 3ull : 15ull)));
		json_object_object_add(o, "size", json_object_new_int(0));
		if (!io) {
			json_object_object_add(o, "prefetch", json_object_new_boolean(v & 8));
			json_object_object_add(o, "mem_type_64", json_object_new_boolean(wide));
		}
		json_object_array_add(list, o);
	}
	return list;
}

static json_object *function_row(const struct worker *w, unsigned slot, unsigned function)
{
	json_object *o = json_object_new_object(), *class = json_object_new_object(), *id = json_object_new_object();
	unsigned pin = config(w, slot, function, PCI_INT_PIN, 1);

	json_object_object_add(o, "bus", json_object_new_int(0));
	json_object_object_add(o, "slot", json_object_new_int((int)slot));
	json_object_object_add(o, "function", json_object_new_int((int)function));
	json_object_object_add(class, "class", json_object_new_int((int)config(w, slot, function, PCI_CLASS + 1, 1) |
		(int)config(w, slot, function, PCI_CLASS + 2, 1) << 8));
	json_object_object_add(o, "class_info", class);
	json_object_object_add(id, "vendor", json_object_new_int((int)config(w, slot, function, PCI_VENDOR, 2)));
	json_object_object_add(id, "device", json_object_new_int((int)config(w, slot, function, PCI_DEVICE, 2)));
	json_object_object_add(id, "subsystem-vendor", json_object_new_int((int)config(w, slot, function, PCI_SUBVENDOR, 2)));
	json_object_object_add(id, "subsystem", json_object_new_int((int)config(w, slot, function, PCI_SUBDEVICE, 2)));
	json_object_object_add(o, "id", id);
	if (pin)
		json_object_object_add(o, "irq", json_object_new_int((int)config(w, slot, function, PCI_INT_LINE, 1)));
	json_object_object_add(o, "irq_pin", json_object_new_int((int)pin));
	json_object_object_add(o, "qdev_id", json_object_new_string(""));
	json_object_object_add(o, "regions", regions(w, slot, function));
	return o;
}

QMP(query_pci)
{
	struct worker *w = c->worker;
	json_object *bus, *list;

	*reply = json_object_new_array();
	if (!device_by_type(w, "pci-host"))
		return RUN_DONE;
	bus = json_object_new_object();
	list = json_object_new_array();
	for (unsigned slot = 0; slot < PCI_SLOTS; slot++)
		for (unsigned function = 0; function < PCI_FUNCTIONS; function++)
			if ((config(w, slot, function, PCI_VENDOR, 2) & 0xffff) != 0xffff)
				json_object_array_add(list, function_row(w, slot, function));
	json_object_object_add(bus, "bus", json_object_new_int(0));
	json_object_object_add(bus, "devices", list);
	json_object_array_add(*reply, bus);
	return RUN_DONE;
}
