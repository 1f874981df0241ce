/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An exit port for test guests: a byte written there ends the machine with that status. Off unless the XML asks for it. */
#include "devices/list.h"
#include "domain/error.h"
#include "domain/machine.h"
#include "hv/vm.h"

struct testexit {
	struct device dev;
	struct region region;
};

static uint64_t exit_read(struct device *d, uint64_t offset, unsigned size)
{
	return 0xff;
}

static void exit_write(struct device *d, uint64_t offset, unsigned size, uint64_t value)
{
	vm_request(d->vm, VM_REQ_TEST_EXIT, (unsigned)value, NULL);
}

static const struct region_ops exit_ops = { .read = exit_read, .write = exit_write, .min = 1, .max = 1 };

static bool exit_realize(struct device *d, struct fdset *fds, GError **err)
{
	const struct machine_test *config = d->config;

	if (!config || !config->exit_port)
		return kerr_set(err, KERR_ARGS, "no exit port is given");
	return device_map_pio(d, &((struct testexit *)d)->region, &exit_ops, "test-exit", config->exit_port, 1, err);
}

static void exit_unrealize(struct device *d)
{
	bus_unmap(&((struct testexit *)d)->region);
}

const struct device_ops testexit_ops = {
	.name = "test-exit",
	.doc = "a port by which test guests end the machine",
	.size = sizeof(struct testexit),
	.state = &no_state,
	.realize = exit_realize,
	.unrealize = exit_unrealize,
};
