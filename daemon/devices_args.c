/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The XML that attach-disk and attach-interface mean: each option is a row of the device's table, which checks it. */
#include "daemon/devices.h"

#include <stdio.h>
#include <string.h>

#include "daemon/net.h"
#include "domain/commands_devices.h"
#include "domain/device_xml.h"

/* Sets a member by its row's name; the option's name is in the error. */
static bool set(const struct schema *s, void *obj, const char *row, const char *option, const char *value, GError **err)
{
	if (!value || field_set_text(schema_field(s, row), obj, value, err))
		return true;
	g_prefix_error(err, "--%s: ", option);
	return false;
}

static char *finish(const struct schema *s, void *dev, bool ok)
{
	char *xml = ok ? device_to_xml(device_row(s), dev, 0) : NULL;

	schema_free(s, dev);
	return xml;
}

/* "pci:0000.00.0a.0", as virsh writes it. */
static bool set_address(struct address *a, const char *text, GError **err)
{
	unsigned domain, bus, slot, function;
	int end = 0;

	if (!text)
		return true;
	if (sscanf(text, "pci:%4x.%2x.%2x.%1x%n", &domain, &bus, &slot, &function, &end) != 4 || text[end])
		return kerr_set(err, KERR_ARGS, "--address: '%s' is no place on the PCI bus: write pci:0000.00.0a.0", text);
	a->type = ADDRESS_PCI;
	a->domain = domain;
	a->bus = bus;
	a->slot = slot;
	a->function = function;
	return true;
}

static bool set_mode(struct disk *d, const char *mode, GError **err)
{
	if (!mode)
		return true;
	d->readonly = !strcmp(mode, "readonly");
	d->shareable = !strcmp(mode, "shareable");
	return d->readonly || d->shareable || kerr_set(err, KERR_ARGS, "--mode: '%s' is neither readonly nor shareable", mode);
}

char *device_disk_xml(const struct ask_attach_disk *a, GError **err)
{
	const struct schema *driver = schema_field(&disk_schema, "driver")->sub, *target = schema_field(&disk_schema, "target")->sub;
	const char *type = a->sourcetype ? a->sourcetype : g_str_has_prefix(a->source, "/dev/") ? "block" : "file";
	struct disk *d = schema_new(&disk_schema);
	struct resource *source = !strcmp(type, "block") ? &d->source.dev : &d->source.file;
	bool ok = set(&disk_schema, d, "type", "sourcetype", type, err) && set(&disk_schema, d, "device", "type", a->type ? a->type : "disk", err) &&
		set(driver, &d->driver, "name", "driver", a->driver, err) && set(driver, &d->driver, "format", "subdriver", a->subdriver, err) &&
		set(driver, &d->driver, "cache", "cache", a->cache, err) && set(driver, &d->driver, "io", "io", a->io, err) &&
		set(target, &d->target, "dev", "target", a->target, err) && set(target, &d->target, "bus", "targetbus", a->targetbus, err) &&
		set(&disk_schema, d, "serial", "serial", a->serial, err) && set(&disk_schema, d, "alias", "alias", a->alias, err) &&
		set_mode(d, a->mode, err) && set_address(&d->address, a->address, err);

	if (ok && strcmp(type, "file") && strcmp(type, "block"))
		ok = kerr_set(err, KERR_UNSUPPORTED, "--sourcetype: only files and block devices can be attached, not '%s'", type);
	source->path = g_strdup(a->source);
	d->driver.iothread = a->iothread;
	return finish(&disk_schema, d, ok);
}

char *device_interface_xml(const struct ask_attach_interface *a, GError **err)
{
	struct iface *i = schema_new(&iface_schema);
	bool ok = set(&iface_schema, i, "type", "type", a->type, err) && set(&iface_schema, i, "mac", "mac", a->mac, err) &&
		set(&iface_schema, i, "target", "target", a->target, err) && set(&iface_schema, i, "model", "model", a->model, err) &&
		set(&iface_schema, i, "alias", "alias", a->alias, err) && net_limit_parse("inbound", a->inbound, &i->bandwidth.inbound, err) &&
		net_limit_parse("outbound", a->outbound, &i->bandwidth.outbound, err);

	if (ok && a->source && i->type == IFACE_BRIDGE)
		i->source.bridge = g_strdup(a->source);
	else if (ok && a->source && i->type == IFACE_NETWORK)
		i->source.network = g_strdup(a->source);
	else if (ok && a->source)
		i->source.dev = g_strdup(a->source);
	return finish(&iface_schema, i, ok);
}
