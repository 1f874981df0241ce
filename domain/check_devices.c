/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rules on the other devices. */
#include <string.h>

#include "domain/check.h"

/* Those of other architectures and of containers. */
static void check_foreign(const struct devices *d, struct report *r)
{
	list_each(watchdog, w, d->watchdogs)
		if (w->model == WATCHDOG_DIAG288)
			report_refuse(r, w, "model", "write model='itco'", "the watchdog is of s390 guests");
	list_each(tpm, t, d->tpms)
		if (t->model > TPM_CRB)
			report_refuse(r, t, "model", "write model='tpm-crb'", "the TPM is of POWER guests");
	list_each(hostdev, h, d->hostdevs)
		if (h->mode == HOSTDEV_CAPABILITIES)
			report_refuse(r, h, "mode", "write mode='subsystem'", "it is for container guests");
}

static void check_screen(const struct devices *d, struct report *r)
{
	list_each(graphics, g, d->graphics)
		report_warn(r, g, NULL, NULL, "there is no screen yet: kept, nothing is shown");
	list_each(video, v, d->videos)
		if (v->model.type != VIDEO_NONE)
			report_warn(r, v, NULL, NULL,
				"there is no graphics card yet: kept, the guest will not find it");
	list_each(input, i, d->inputs)
		report_warn(r, i, NULL, NULL,
			"there is no screen yet: kept, the guest will not find it");
}

static void check_pci_controller(const struct controller *c, struct report *r)
{
	static const char *const roots[] = { "pcie-root", "pci-root" },
		*const bridges[] = { "pcie-root-port", "pci-bridge", "dmi-to-pci-bridge", "pcie-to-pci-bridge",
			"pcie-switch-upstream-port", "pcie-switch-downstream-port", "pci-expander-bus", "pcie-expander-bus" };
	const char *const *models = c->index ? bridges : roots;
	struct nearest near = { .word = c->model };
	g_autofree char *cure = NULL;

	if (!c->model && c->index)
		return;         /* any bridge will do */
	for (size_t i = 0; i < (c->index ? G_N_ELEMENTS(bridges) : G_N_ELEMENTS(roots)); i++) {
		if (!g_strcmp0(models[i], c->model))
			return;
		if (c->model)
			nearest_try(&near, models[i]);
	}
	if (!c->index) {
		BAD(c, "model", "write model='pcie-root'", "PCI controller 0 is the root");
		return;
	}
	if (near.best)
		cure = g_strdup_printf("did you mean '%s'?", near.best);
	BAD(c, "model", cure ? cure : "write model='pcie-root-port'", "there is no PCI bridge of model '%s'", c->model);
}

static void check_controllers(const struct machine *m, struct report *r)
{
	g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);
	const struct controller *bridge = NULL;
	unsigned bridges = 0;

	list_each(controller, c, m->devices.controllers) {
		const char *model = c->model ? c->model : "";

		/* companions of a USB controller have its number */
		if (c->type != CONTROLLER_USB && !g_hash_table_add(seen,
		    GUINT_TO_POINTER((unsigned)c->type << 16 | c->index)))
			BAD(c, "index", "number the controllers of each type from 0",
				"%s controller %u is given twice",
				controller_type_names[c->type], c->index);
		if (c->driver.iothread && !machine_has_iothread(m, c->driver.iothread))
			BAD(&c->driver, "iothread",
				"add <iothreads>1</iothreads>, or name an id of <iothreadids>",
				"there is no I/O thread %u",
				c->driver.iothread);
		switch (c->type) {
		case CONTROLLER_PCI:
			check_pci_controller(c, r);
			if (c->index && !bridges++)
				bridge = c;
			break;
		case CONTROLLER_VIRTIO_SERIAL:
			break;
		case CONTROLLER_USB:
			/* companions go with the one that has no port of its own */
			if (strcmp(model, "none") && c->master_startport == UINT32_MAX)
				report_warn(r, c, NULL, "write model='none'",
					"there is no USB yet: kept, the guest will not find it");
			break;
		case CONTROLLER_XENBUS:
			report_refuse(r, c, "type", "leave it out", "the bus is Xen's");
			break;
		case CONTROLLER_ISA:
			break;
		case CONTROLLER_IDE:
		case CONTROLLER_SATA:
		case CONTROLLER_SCSI:
			report_warn(r, c, NULL, NULL,
				"there is no %s controller yet: kept, its disks are shown as virtio", controller_type_names[c->type]);
			break;
		default:
			report_warn(r, c, NULL, NULL, "there is no %s controller: kept, the guest will not find it",
				controller_type_names[c->type]);
		}
	}
	if (bridge)
		report_warn(r, bridge, NULL, NULL,
			"the machine has one flat PCI bus: %u bridge%s kept, the devices behind are shown to the guest on bus 0",
			bridges, bridges == 1 ? " is" : "s are");
}

static void check_memdevs(const struct devices *d, struct report *r)
{
	list_each(memdev, mem, d->memdevs) {
		const struct memdev_target *t = &mem->target;

		if (mem->model == MEMDEV_DIMM)
			continue;       /* supported.c */
		if (mem->model != MEMDEV_VIRTIO_MEM) {
			report_refuse(r, mem, "model", "write <memory model='virtio-mem'>",
				"there is no such memory device yet");
			continue;
		}
		if (!power_of_two(t->block) || t->block < MEMORY_MIN)
			BAD(t, "block", "write <block unit='MiB'>2</block>",
				"blocks of %" PRIu64 " KiB are not possible", t->block / 1024);
		else if (!t->size || t->size % t->block)
			BAD(t, "size", "write a multiple of <block>",
				"%" PRIu64 " KiB are no whole number of blocks", t->size / 1024);
		else if (t->requested % t->block || t->requested > t->size)
			BAD(t, "requested", "write a multiple of <block>, at most <size>",
				"%" PRIu64 " KiB can't be given", t->requested / 1024);
	}
}

void check_devices(const struct machine *m, struct report *r)
{
	const struct devices *d = &m->devices;
	bool panic[PANIC_N] = { false };

	list_each(watchdog, w, d->watchdogs)
		report_warn(r, w, NULL, NULL, "there is no watchdog yet: kept, the guest will not find it");
	check_foreign(d, r);
	check_screen(d, r);
	check_controllers(m, r);
	check_memdevs(d, r);
	list_each(panic, p, d->panics) {
		if (p->model == PANIC_PVPANIC)
			report_warn(r, p, "model", "write <panic model='isa'/>", "there is no such PCI device yet: kept, the guest will not find it");
		if (p->model == PANIC_HYPERV)
			report_warn(r, p, "model", "write <panic model='isa'/>",
				"Hyper-V's interfaces aren't offered yet: kept, the guest can't report a crash in that way");
		else if (p->model != PANIC_ISA && p->model != PANIC_PVPANIC)
			report_refuse(r, p, "model", "write <panic model='isa'/>",
				"the guest can't report a crash in that way");
		else if (panic[p->model])
			BAD(p, "model", "leave one of them out", "the device is given twice");
		panic[p->model] = true;
	}
	list_each(rng, g, d->rngs) {
		if (g->rate_period && !g->rate_bytes)
			BAD(g, "rate_bytes", "write <rate bytes='1024' period='1000'/>",
				"a period needs a number of bytes");
	}
	if (d->memballoon && d->memballoon->model == BALLOON_XEN)
		report_refuse(r, d->memballoon, "model", "write model='virtio'",
			"the balloon is Xen's");
}
