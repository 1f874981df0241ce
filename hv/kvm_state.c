/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * State into and out of KVM. Power-on state is what KVM gives a new vCPU and new chips: it is read once, before the guest
 * runs, and put back at each reset. Order of setting: system registers before XCR0 and XSAVE (XCR0 needs CR4), the local
 * APIC after its base address and before the TSC deadline, events before the multiprocessing state.
 */
#include "hv/kvm_priv.h"

#include <errno.h>
#include <string.h>

#include "domain/error.h"
#include "domain/state.h"
#include "hv/x86/msr.h"
#include "hv/x86/regs.h"

#define MSR_BATCH 128
#define EFER_SVME (1ull << 12)
#define CR4_VMXE (1ull << 13)

struct msr_batch { struct kvm_msrs head; struct kvm_msr_entry entries[MSR_BATCH]; };

static void free_msr(void *p)
{
	g_free(p);
}

static struct cpu_state *cpu_state_new(void)
{
	struct cpu_state *s = schema_new(&cpu_state_schema);

	s->msrs = g_ptr_array_new_with_free_func(free_msr);
	return s;
}

static void cpu_state_free(struct cpu_state *s)
{
	schema_free(&cpu_state_schema, s);
}

/* --- MSRs --- */

/* Reads those of `list` that can be read; KVM stops at the first it does not know. */
static int read_msrs(int fd, const uint32_t *list, unsigned n, GPtrArray *out)
{
	for (unsigned at = 0; at < n;) {
		struct msr_batch b = { .head.nmsrs = MIN(n - at, MSR_BATCH) };
		int r;

		for (unsigned i = 0; i < b.head.nmsrs; i++)
			b.entries[i].index = list[at + i];
		r = kvm_ioctl(fd, KVM_GET_MSRS, &b);
		if (r < 0)
			return r;
		for (int i = 0; i < r; i++) {
			struct msr_state *m = g_new(struct msr_state, 1);

			*m = (struct msr_state){ b.entries[i].index, b.entries[i].data };
			g_ptr_array_add(out, m);
		}
		at += (unsigned)r;
		if ((unsigned)r < b.head.nmsrs)
			at++;           /* this one cannot be read here */
	}
	return 0;
}

struct msr_refused { uint32_t index; uint64_t value; bool any; };

/* Sets all in order; the first that KVM refuses, and that matters, is told in *refused while the others are still set. */
static int write_msrs(int fd, const GPtrArray *msrs, bool reset, struct msr_refused *refused)
{
	g_autofree struct kvm_msr_entry *todo = g_new0(struct kvm_msr_entry, MAX(msrs->len, 1));
	unsigned n = 0;

	refused->any = false;
	for (unsigned i = 0; i < msrs->len; i++) {
		const struct msr_state *m = g_ptr_array_index(msrs, i);
		unsigned flags = msr_flags(m->index);

		if (flags & MSR_SKIP || (reset && flags & MSR_KEEP))
			continue;
		todo[n++] = (struct kvm_msr_entry){ .index = m->index, .data = reset && flags & MSR_ZERO ? 0 : m->value };
	}
	for (unsigned at = 0; at < n;) {
		struct msr_batch b = { .head.nmsrs = MIN(n - at, MSR_BATCH) };
		int r;

		memcpy(b.entries, todo + at, b.head.nmsrs * sizeof(b.entries[0]));
		r = kvm_ioctl(fd, KVM_SET_MSRS, &b);
		if (r < 0)
			return r;
		at += (unsigned)r;
		if ((unsigned)r < b.head.nmsrs) {
			if (!refused->any && !(msr_flags(todo[at].index) & MSR_LOOSE))
				*refused = (struct msr_refused){ todo[at].index, todo[at].data, true };
			at++;
		}
	}
	return 0;
}

/* --- a vCPU --- */

static int read_xsave(struct vcpu *v, GByteArray **out)
{
	struct kvm_vm *k = kvm_vm(v->vm);
	GByteArray *x = g_byte_array_sized_new((guint)k->xsave_size);
	int r;

	g_byte_array_set_size(x, (guint)k->xsave_size);
	memset(x->data, 0, x->len);
	r = kvm_ioctl(kvm_vcpu(v)->fd, k->has_xsave2 ? KVM_GET_XSAVE2 : KVM_GET_XSAVE, x->data);
	*out = x;
	return r;
}

static int read_cpu(struct vcpu *v, struct cpu_state *s)
{
	int fd = kvm_vcpu(v)->fd, r;
	struct kvm_mp_state mp;
	struct kvm_xcrs xcrs;
	struct kvm_vm *k = kvm_vm(v->vm);

	if ((r = kvm_ioctl(fd, KVM_GET_MP_STATE, &mp)) < 0 ||          /* first: it takes in INIT and SIPI that came */
	    (r = kvm_ioctl(fd, KVM_GET_REGS, &s->regs)) < 0 || (r = kvm_ioctl(fd, KVM_GET_SREGS, &s->sregs)) < 0 ||
	    (r = kvm_ioctl(fd, KVM_GET_DEBUGREGS, &s->debugregs)) < 0 || (r = kvm_ioctl(fd, KVM_GET_XCRS, &xcrs)) < 0 ||
	    (r = read_xsave(v, &s->xsave)) < 0)
		return r;
	s->mp_state = mp.mp_state;
	for (unsigned i = 0; i < xcrs.nr_xcrs && i < G_N_ELEMENTS(xcrs.xcrs); i++)
		if (xcrs.xcrs[i].xcr == 0)
			s->xcr0 = xcrs.xcrs[i].value;
	s->lapic = g_byte_array_new();
	g_byte_array_set_size(s->lapic, KVM_APIC_REG_SIZE);
	if ((r = kvm_ioctl(fd, KVM_GET_LAPIC, s->lapic->data)) < 0 ||
	    (r = read_msrs(fd, k->msrs, k->msrs_n, s->msrs)) < 0 ||
	    (r = kvm_ioctl(fd, KVM_GET_VCPU_EVENTS, &s->events)) < 0)
		return r;
	r = kvm_ioctl_num(fd, KVM_GET_TSC_KHZ, 0);
	s->tsc_khz = r > 0 ? (uint32_t)r : 0;
	return 0;
}

/* Sets all but MSRs that a reset keeps; *what names the step that failed. */
static int write_cpu(struct vcpu *v, struct cpu_state *s, bool reset, struct msr_refused *refused, const char **what)
{
	int fd = kvm_vcpu(v)->fd, r;
	struct kvm_mp_state mp = { .mp_state = s->mp_state };
	struct kvm_xcrs xcrs = { .nr_xcrs = 1, .xcrs = { { .xcr = 0, .value = s->xcr0 } } };

#define STEP(name, call) if (*what = name, (r = (call)) < 0) return r
	STEP("system registers", kvm_ioctl(fd, KVM_SET_SREGS, &s->sregs));
	if (s->xcr0)
		STEP("XCR0", kvm_ioctl(fd, KVM_SET_XCRS, &xcrs));
	STEP("vector registers", kvm_ioctl(fd, KVM_SET_XSAVE, s->xsave->data));
	STEP("general registers", kvm_ioctl(fd, KVM_SET_REGS, &s->regs));
	STEP("debug registers", kvm_ioctl(fd, KVM_SET_DEBUGREGS, &s->debugregs));
	STEP("local APIC", kvm_ioctl(fd, KVM_SET_LAPIC, s->lapic->data));
	STEP("model-specific registers", write_msrs(fd, s->msrs, reset, refused));
	STEP("events", kvm_ioctl(fd, KVM_SET_VCPU_EVENTS, &s->events));
	STEP("multiprocessing state", kvm_ioctl(fd, KVM_SET_MP_STATE, &mp));
#undef STEP
	return 0;
}

bool kvm_state_vcpu_open(struct vcpu *v, GError **err)
{
	struct kvm_vcpu *kv = kvm_vcpu(v);
	struct cpu_state *s = cpu_state_new();
	int r = read_cpu(v, s);

	kv->fresh = s;
	if (r >= 0)     /* a vCPU that comes while the machine runs gets INIT and SIPI only after this: KVM makes its map of APICs anew */
		r = kvm_ioctl(kv->fd, KVM_SET_LAPIC, s->lapic->data);
	return r >= 0 || kerr_errno(err, -r, "read its power-on state");
}

void kvm_state_vcpu_close(struct vcpu *v)
{
	cpu_state_free(kvm_vcpu(v)->fresh);
}

int kvm_state_vcpu_reset(struct vcpu *v)
{
	struct kvm_vcpu *kv = kvm_vcpu(v);
	struct msr_refused refused;
	const char *what;
	int r;

	if (!kv->ran)
		return 0;
	if (kv->assist)
		kvm_assist_vcpu_reset(v);
	r = write_cpu(v, kv->fresh, true, &refused, &what);
	kv->ran = r < 0;
	return r;
}

/* What KVM holds may be ours; what the guest believes in is what travels. */
static void take_kept(struct vcpu *v, struct cpu_state *s)
{
	uint64_t aux;

	for (unsigned i = 0; i < s->msrs->len; i++) {
		struct msr_state *m = g_ptr_array_index(s->msrs, i);

		(void)kvm_assist_kept(v, m->index, &m->value);
	}
	if (kvm_assist_kept(v, MSR_TSC_AUX, &aux)) {
		struct msr_state *m = g_new(struct msr_state, 1);

		*m = (struct msr_state){ MSR_TSC_AUX, aux };
		g_ptr_array_add(s->msrs, m);
	}
}

bool kvm_state_vcpu_save(struct vcpu *v, GByteArray *out, GError **err)
{
	struct cpu_state *s = cpu_state_new();
	int r = read_cpu(v, s);

	if (r >= 0 && kvm_vcpu(v)->assist)
		take_kept(v, s);
	if (r >= 0 && (s->sregs.efer & EFER_SVME || s->sregs.cr4 & CR4_VMXE)) {
		cpu_state_free(s);
		return kerr_set(err, KERR_UNSUPPORTED, "vcpu %u: the guest has virtualisation of its own turned on, whose state "
			"cannot be saved yet; unload kvm in the guest", v->index);
	}
	if (r >= 0)
		state_save(&cpu_state_schema, s, out);
	cpu_state_free(s);
	return r >= 0 || kerr_errno(err, -r, "vcpu %u: read its state", v->index);
}

static int give_kept(struct vcpu *v, const struct cpu_state *s)
{
	int r = 0;

	for (unsigned i = 0; r >= 0 && kvm_vcpu(v)->assist && i < s->msrs->len; i++) {
		const struct msr_state *m = g_ptr_array_index(s->msrs, i);

		r = kvm_assist_load(v, m->index, m->value);
	}
	return r;
}

bool kvm_state_vcpu_load(struct vcpu *v, const uint8_t **data, size_t *len, GError **err)
{
	struct kvm_vm *k = kvm_vm(v->vm);
	struct cpu_state *s = schema_new(&cpu_state_schema);
	struct msr_refused refused = { 0 };
	const char *what = "state";
	bool ok = state_load(&cpu_state_schema, s, data, len, err);
	int r;

	if (ok && s->xsave->len > k->xsave_size)
		ok = kerr_set(err, KERR_HOST, "vcpu %u: its vector registers have %u bytes, this host's %zu", v->index, s->xsave->len,
			k->xsave_size);
	if (ok) {
		unsigned had = s->xsave->len;

		g_byte_array_set_size(s->xsave, (guint)k->xsave_size);
		memset(s->xsave->data + had, 0, k->xsave_size - had);
		if (!s->msrs)
			s->msrs = g_ptr_array_new_with_free_func(free_msr);
		kvm_vcpu(v)->ran = true;
		r = write_cpu(v, s, false, &refused, &what);
		if (r >= 0 && (r = give_kept(v, s)) < 0)
			what = "MSRs for system calls";
		if (r < 0)
			ok = kerr_errno(err, -r, "vcpu %u: set its %s", v->index, what);
		else if (refused.any)
			ok = kerr_set(err, KERR_HOST, "vcpu %u: this host's KVM refuses MSR %#x = %#" G_GINT64_MODIFIER "x", v->index,
				refused.index, refused.value);
	}
	schema_free(&cpu_state_schema, s);
	return ok;
}

/* --- the chips --- */

static int read_clock(struct kvm_vm *k, uint64_t *ns, uint64_t *realtime)
{
	struct kvm_clock_data clock = { 0 };
	int r = kvm_ioctl(k->fd, KVM_GET_CLOCK, &clock);

	if (r < 0)
		return r;
	*ns = clock.clock;
	*realtime = clock.flags & KVM_CLOCK_REALTIME ? clock.realtime : 0;
	return 0;
}

static int write_clock(struct kvm_vm *k, uint64_t ns)
{
	struct kvm_clock_data clock = { .clock = ns };

	return kvm_ioctl(k->fd, KVM_SET_CLOCK, &clock);
}

/* Guest time stops or goes on: main thread, all vCPUs parked. Failing would cost the guest a jump in time, no more. */
static void on_clock(void *arg)
{
	struct vm *vm = arg;
	struct kvm_vm *k = kvm_vm(vm);
	bool stands = !clock_goes(vm->clock);

	if (stands == k->stands)
		return;
	k->stands = stands;
	if (stands) {
		if (read_clock(k, &k->clock, &k->realtime) < 0)
			k->stands = false;
		return;
	}
	(void)write_clock(k, k->clock);
	for (unsigned i = 0; i < vm->vcpus->len; i++)   /* so that the guest's watchdogs know; EINVAL: it has no kvmclock */
		(void)kvm_ioctl_num(kvm_vcpu(g_ptr_array_index(vm->vcpus, i))->fd, KVM_KVMCLOCK_CTRL, 0);
}

static int read_chips(struct vm *vm, struct chips_state *s)
{
	struct kvm_vm *k = kvm_vm(vm);
	int fd = k->fd, r;
	struct kvm_irqchip chip = { .chip_id = KVM_IRQCHIP_PIC_MASTER };

	if ((r = kvm_ioctl(fd, KVM_GET_IRQCHIP, &chip)) < 0)
		return r;
	s->pic[0] = chip.chip.pic;
	chip.chip_id = KVM_IRQCHIP_PIC_SLAVE;
	if ((r = kvm_ioctl(fd, KVM_GET_IRQCHIP, &chip)) < 0)
		return r;
	s->pic[1] = chip.chip.pic;
	chip.chip_id = KVM_IRQCHIP_IOAPIC;
	if ((r = kvm_ioctl(fd, KVM_GET_IRQCHIP, &chip)) < 0)
		return r;
	s->ioapic = chip.chip.ioapic;
	if (k->has_pit && (r = kvm_ioctl(fd, KVM_GET_PIT2, &s->pit)) < 0)
		return r;
	if (!k->stands)
		return read_clock(k, &s->clock, &s->realtime);
	s->clock = k->clock;
	s->realtime = k->realtime;
	return 0;
}

static int write_chips(struct vm *vm, const struct chips_state *s)
{
	int fd = kvm_vm(vm)->fd, r;
	struct kvm_irqchip chip = { .chip_id = KVM_IRQCHIP_PIC_MASTER, .chip.pic = s->pic[0] };
	struct kvm_pit_state2 pit = s->pit;

	if ((r = kvm_ioctl(fd, KVM_SET_IRQCHIP, &chip)) < 0)
		return r;
	chip = (struct kvm_irqchip){ .chip_id = KVM_IRQCHIP_PIC_SLAVE, .chip.pic = s->pic[1] };
	if ((r = kvm_ioctl(fd, KVM_SET_IRQCHIP, &chip)) < 0)
		return r;
	chip = (struct kvm_irqchip){ .chip_id = KVM_IRQCHIP_IOAPIC, .chip.ioapic = s->ioapic };
	if ((r = kvm_ioctl(fd, KVM_SET_IRQCHIP, &chip)) < 0)
		return r;
	return kvm_vm(vm)->has_pit ? kvm_ioctl(fd, KVM_SET_PIT2, &pit) : 0;
}

bool kvm_state_open(struct vm *vm, GError **err)
{
	struct chips_state *s = schema_new(&chips_state_schema);
	int r = read_chips(vm, s);

	/* An 8259 that nobody has set up must not interrupt: with its vectors at 0 that would look like exceptions. */
	s->pic[0].imr = s->pic[1].imr = 0xff;
	kvm_vm(vm)->fresh = s;
	if (r >= 0)
		r = write_chips(vm, s);
	if (vm->clock) {
		kvm_vm(vm)->watch = (struct clock_watch){ .fn = on_clock, .arg = vm };
		clock_watch_add(vm->clock, &kvm_vm(vm)->watch);
	}
	return r >= 0 || kerr_errno(err, -r, "read the chips' power-on state");
}

void kvm_state_close(struct vm *vm)
{
	if (kvm_vm(vm)->watch.fn)
		clock_watch_remove(vm->clock, &kvm_vm(vm)->watch);
	schema_free(&chips_state_schema, kvm_vm(vm)->fresh);
}

int kvm_state_reset(struct vm *vm)
{
	return write_chips(vm, kvm_vm(vm)->fresh);
}

bool kvm_state_save(struct vm *vm, GByteArray *out, GError **err)
{
	struct chips_state *s = schema_new(&chips_state_schema);
	int r = read_chips(vm, s);

	if (r >= 0)
		state_save(&chips_state_schema, s, out);
	schema_free(&chips_state_schema, s);
	return r >= 0 || kerr_errno(err, -r, "read the chips' state");
}

bool kvm_state_load(struct vm *vm, const uint8_t **data, size_t *len, GError **err)
{
	struct chips_state *s = schema_new(&chips_state_schema);
	bool ok = state_load(&chips_state_schema, s, data, len, err);
	int r;

	if (ok) {
		kvm_vm(vm)->clock = s->clock;
		r = write_clock(kvm_vm(vm), s->clock);
		if (r >= 0)
			r = write_chips(vm, s);
		ok = r >= 0 || kerr_errno(err, -r, "set the chips' state");
	}
	schema_free(&chips_state_schema, s);
	return ok;
}
