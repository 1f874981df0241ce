/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From struct vm to the plain descriptions that acpi.c and smbios.c build tables from. */
#include "hv/x86/tables.h"

#include <string.h>

#include "domain/error.h"
#include "hv/vcpu.h"
#include "hv/vm.h"
#include "hv/x86/acpi.h"
#include "hv/x86/ports.h"

static bool has_device(const struct vm *vm, const char *type)
{
	for (unsigned i = 0; i < vm->devices->len; i++) {
		const struct device *d = g_ptr_array_index(vm->devices, i);

		if (!strcmp(d->ops->name, type))
			return true;
	}
	return false;
}

bool tables_place(struct vm *vm, uint64_t *rsdp, GError **err)
{
	unsigned n = vm->vcpus->len;
	g_autofree uint32_t *ids = g_new(uint32_t, n);
	g_autoptr(GByteArray) blob = NULL;
	struct acpi_params p = { .cpus = n, .max_cpus = n, .apic_ids = ids };

	*rsdp = 0;
	if (!vm->def->features.acpi)
		return true;
	for (unsigned i = 0; i < n; i++)
		ids[i] = ((struct vcpu *)g_ptr_array_index(vm->vcpus, i))->id;
	p.com[0] = has_device(vm, "serial");
	p.rtc = has_device(vm, "rtc");
	p.pm_timer = has_device(vm, "acpi-pm");
	p.pvpanic = has_device(vm, "pvpanic");
	blob = acpi_build(&p, TABLES_BASE, TABLES_SMBIOS, rsdp, err);
	if (!blob)
		return false;
	if (!ram_write(&vm->ram, TABLES_BASE, blob->data, blob->len))
		return kerr_set(err, KERR_NO_MEMORY, "the machine has no memory for its ACPI tables");
	return true;
}
