/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Keyboard controller without keyboard or mouse: guests use it to reset the machine (command 0xfe,
 * output port bit 0, fast reset at port 0x92) and to open the A20 gate, which is always open. The
 * FADT says that there is none; guests that probe all the same see a controller that passes its self
 * test and whose devices do not answer, and give up at once.
 */
#include "devices/list.h"
#include "hv/vm.h"
#include "hv/x86/ports.h"

#define PORT_FAST_A20 0x92

#define STR_OBF 0x01            /* a byte for the guest */
#define STR_SYS 0x04            /* self test passed */
#define STR_CMD 0x08            /* the last write was a command */
#define STR_KEYLOCK 0x10        /* not locked */
#define STR_AUX 0x20            /* the byte is the mouse's */
#define STR_TIMEOUT 0x40        /* the device did not answer */
#define CTR_KBD_INT 0x01
#define CTR_SYS 0x04
#define CTR_KBD_OFF 0x10
#define CTR_AUX_OFF 0x20
#define OUT_NO_RESET 0x01
#define OUT_A20 0x02
#define A20_RESET 0x01
#define A20_GATE 0x02
#define NO_ANSWER 0xfe

struct i8042 {
	struct device dev;
	struct region data, cmd, fast;
	struct irq irq;

	/* state */
	uint8_t ctr;            /* command byte */
	uint8_t str;            /* status */
	uint8_t out;            /* what STR_OBF announces */
	uint8_t waits;          /* command whose parameter comes next; 0: none */
	uint8_t fast_a20;
};

static struct i8042 *kbc_of(struct device *d)
{
	return (struct i8042 *)d;
}

static void update_irq(struct i8042 *k)
{
	irq_set(&k->irq, k->ctr & CTR_KBD_INT && (k->str & (STR_OBF | STR_AUX)) == STR_OBF);
}

static void answer(struct i8042 *k, uint8_t byte, uint8_t flags)
{
	k->out = byte;
	k->str = (uint8_t)((k->str & ~(STR_AUX | STR_TIMEOUT)) | STR_OBF | flags);
}

static void do_reset(struct i8042 *k)
{
	vm_request(k->dev.vm, VM_REQ_RESET, 0, NULL);
}

static void set_ctr(struct i8042 *k, uint8_t value)
{
	k->ctr = value;
	k->str = (uint8_t)((k->str & ~STR_SYS) | (value & CTR_SYS ? STR_SYS : 0));
}

static void command(struct i8042 *k, uint8_t cmd)
{
	k->waits = 0;
	switch (cmd) {
	case 0x20:
		answer(k, k->ctr, 0);
		break;
	case 0x60:              /* write the command byte */
	case 0xd1:              /* output port */
	case 0xd2:              /* answer as if the keyboard had */
	case 0xd3:              /* as if the mouse had */
	case 0xd4:              /* to the mouse */
		k->waits = cmd;
		break;
	case 0xa7:
		k->ctr |= CTR_AUX_OFF;
		break;
	case 0xa8:
		k->ctr &= (uint8_t)~CTR_AUX_OFF;
		break;
	case 0xa9:
		answer(k, 0x01, 0);     /* no mouse: its clock line is stuck */
		break;
	case 0xaa:
		set_ctr(k, k->ctr | CTR_SYS);
		answer(k, 0x55, 0);
		break;
	case 0xab:
		answer(k, 0x00, 0);
		break;
	case 0xad:
		k->ctr |= CTR_KBD_OFF;
		break;
	case 0xae:
		k->ctr &= (uint8_t)~CTR_KBD_OFF;
		break;
	case 0xc0:
		answer(k, 0x80, 0);     /* input port: keyboard not inhibited */
		break;
	case 0xd0:
		answer(k, OUT_NO_RESET | OUT_A20, 0);
		break;
	case 0xe0:
		answer(k, 0x00, 0);
		break;
	case 0xf0 ... 0xff:             /* pulses low the output bits that are 0 */
		if (!(cmd & OUT_NO_RESET))
			do_reset(k);
		break;
	default:
		guest_error(&k->dev, "unknown command 0x%02x", cmd);
	}
}

static void parameter(struct i8042 *k, uint8_t cmd, uint8_t value)
{
	switch (cmd) {
	case 0x60:
		set_ctr(k, value);
		break;
	case 0xd1:
		if (!(value & OUT_NO_RESET))
			do_reset(k);
		break;
	case 0xd2:
		answer(k, value, 0);
		break;
	case 0xd3:
		answer(k, value, STR_AUX);
		break;
	default:
		answer(k, NO_ANSWER, STR_AUX | STR_TIMEOUT);
	}
}

static uint64_t data_read(struct device *d, uint64_t offset, unsigned size)
{
	struct i8042 *k = kbc_of(d);

	k->str &= (uint8_t)~(STR_OBF | STR_AUX | STR_TIMEOUT);
	update_irq(k);
	return k->out;
}

static void data_write(struct device *d, uint64_t offset, unsigned size, uint64_t value)
{
	struct i8042 *k = kbc_of(d);
	uint8_t cmd = k->waits;

	k->str &= (uint8_t)~STR_CMD;
	k->waits = 0;
	if (cmd)
		parameter(k, cmd, (uint8_t)value);
	else
		answer(k, NO_ANSWER, STR_TIMEOUT);      /* to a keyboard that is not there */
	update_irq(k);
}

static uint64_t cmd_read(struct device *d, uint64_t offset, unsigned size)
{
	return kbc_of(d)->str;
}

static void cmd_write(struct device *d, uint64_t offset, unsigned size, uint64_t value)
{
	struct i8042 *k = kbc_of(d);

	k->str |= STR_CMD;
	command(k, (uint8_t)value);
	update_irq(k);
}

static uint64_t fast_read(struct device *d, uint64_t offset, unsigned size)
{
	return kbc_of(d)->fast_a20;
}

static void fast_write(struct device *d, uint64_t offset, unsigned size, uint64_t value)
{
	struct i8042 *k = kbc_of(d);

	if (value & A20_RESET)
		do_reset(k);
	k->fast_a20 = (uint8_t)(value & A20_GATE);
}

static const struct region_ops data_ops = { .read = data_read, .write = data_write, .min = 1, .max = 1 };
static const struct region_ops cmd_ops = { .read = cmd_read, .write = cmd_write, .min = 1, .max = 1 };
static const struct region_ops fast_ops = { .read = fast_read, .write = fast_write, .min = 1, .max = 1 };

static void kbc_reset(struct device *d)
{
	struct i8042 *k = kbc_of(d);

	k->ctr = CTR_KBD_OFF | CTR_AUX_OFF;
	k->str = STR_KEYLOCK;
	k->out = k->waits = 0;
	k->fast_a20 = A20_GATE;
	update_irq(k);
}

static bool kbc_realize(struct device *d, struct fdset *fds, GError **err)
{
	struct i8042 *k = kbc_of(d);

	return irq_init(&k->irq, d->vm, IRQ_KEYBOARD, err) &&
		device_map_pio(d, &k->data, &data_ops, "i8042-data", PORT_I8042_DATA, 1, err) &&
		device_map_pio(d, &k->cmd, &cmd_ops, "i8042-command", PORT_I8042_CMD, 1, err) &&
		device_map_pio(d, &k->fast, &fast_ops, "fast-a20", PORT_FAST_A20, 1, err);
}

static void kbc_unrealize(struct device *d)
{
	struct i8042 *k = kbc_of(d);

	bus_unmap(&k->data);
	bus_unmap(&k->cmd);
	bus_unmap(&k->fast);
	irq_finish(&k->irq);
}

static bool kbc_post_load(void *obj, GError **err)
{
	struct i8042 *k = obj;

	update_irq(k);
	return true;
}

static const struct field state_fields[] = {
	U8(struct i8042, ctr, NULL, 0, 0xff, 0, "command byte", .def = CTR_KBD_OFF | CTR_AUX_OFF),
	U8(struct i8042, str, NULL, 0, 0xff, 0, "status", .def = STR_KEYLOCK),
	U8(struct i8042, out, NULL, 0, 0xff, 0, "output buffer"),
	U8(struct i8042, waits, NULL, 0, 0xff, 0, "command that waits for its parameter"),
	U8(struct i8042, fast_a20, NULL, 0, A20_GATE, 0, "port 0x92", .def = A20_GATE),
	END
};
static const struct schema state_schema = { .name = "i8042", .doc = "keyboard controller", .version = 1,
	.size = sizeof(struct i8042), .fields = state_fields, .post_load = kbc_post_load };

const struct device_ops i8042_ops = {
	.name = "i8042",
	.doc = "keyboard controller without keyboard: resets the machine",
	.size = sizeof(struct i8042),
	.state = &state_schema,
	.realize = kbc_realize,
	.unrealize = kbc_unrealize,
	.reset = kbc_reset,
};
