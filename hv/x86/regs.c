/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Field tables of processor and chip state: see the header. Names are the manuals'. */
#include "hv/x86/regs.h"

#include "domain/error.h"

#define R_MAX(T, m) (F_SIZE(T, m) == 8 ? UINT64_MAX : (1ull << 8 * (F_SIZE(T, m) % 8)) - 1)
/* A register under its own name or under another. */
#define R(T, m, text) { .name = #m, .kind = &kind_hex, .off = offsetof(T, m), .size = F_SIZE(T, m), .max = R_MAX(T, m), .doc = text }
#define RN(T, m, nm, text) { .name = nm, .kind = &kind_hex, .off = offsetof(T, m), .size = F_SIZE(T, m), .max = R_MAX(T, m), .doc = text }
#define SUB(T, m, nm, s, text) { .name = nm, .kind = &kind_struct, .off = offsetof(T, m), .size = F_SIZE(T, m), .sub = &s, .doc = text }
#define SCHEMA(var, nm, T, rows, text) \
	static const struct schema var = { .name = nm, .doc = text, .version = 1, .size = sizeof(T), .fields = rows }

#define G(m) R(struct kvm_regs, m, "general register")
static const struct field regs_fields[] = {
	G(rax), G(rbx), G(rcx), G(rdx), G(rsi), G(rdi), G(rsp), G(rbp), G(r8), G(r9), G(r10), G(r11), G(r12), G(r13), G(r14), G(r15),
	R(struct kvm_regs, rip, "instruction pointer"),
	R(struct kvm_regs, rflags, "flags"),
	END
};
SCHEMA(regs_schema, "regs", struct kvm_regs, regs_fields, "general registers");

#define S(m, text) R(struct kvm_segment, m, text)
static const struct field segment_fields[] = {
	S(base, "base address"), S(limit, "limit in bytes"), S(selector, "selector"), S(type, "type"), S(present, "present"),
	S(dpl, "privilege level"), S(db, "default size"), S(s, "code or data"), S(l, "64-bit code"), S(g, "limit was in pages"),
	S(avl, "available bit"), S(unusable, "holds nothing"),
	END
};
SCHEMA(segment_schema, "segment", struct kvm_segment, segment_fields, "segment register");

static const struct field dtable_fields[] = {
	R(struct kvm_dtable, base, "base address"),
	R(struct kvm_dtable, limit, "limit in bytes"),
	END
};
SCHEMA(dtable_schema, "dtable", struct kvm_dtable, dtable_fields, "descriptor table register");

#define SEG(m) SUB(struct kvm_sregs, m, #m, segment_schema, "segment register")
#define CR(m, text) R(struct kvm_sregs, m, text)
static const struct field sregs_fields[] = {
	SEG(cs), SEG(ds), SEG(es), SEG(fs), SEG(gs), SEG(ss), SEG(tr), SEG(ldt),
	SUB(struct kvm_sregs, gdt, "gdt", dtable_schema, "global descriptor table"),
	SUB(struct kvm_sregs, idt, "idt", dtable_schema, "interrupt descriptor table"),
	CR(cr0, "control register 0"), CR(cr2, "page fault address"), CR(cr3, "page table root"), CR(cr4, "control register 4"),
	CR(cr8, "task priority"), CR(efer, "extended features enabled"), CR(apic_base, "address and state of the local APIC"),
	END
};
SCHEMA(sregs_schema, "sregs", struct kvm_sregs, sregs_fields, "system registers");

#define D(m, nm) RN(struct kvm_debugregs, m, nm, "debug register")
static const struct field debugregs_fields[] = { D(db[0], "dr0"), D(db[1], "dr1"), D(db[2], "dr2"), D(db[3], "dr3"), D(dr6, "dr6"),
	D(dr7, "dr7"), END };
SCHEMA(debugregs_schema, "debugregs", struct kvm_debugregs, debugregs_fields, "debug registers");

#define E(m, nm, text) RN(struct kvm_vcpu_events, m, nm, text)
static const struct field events_fields[] = {
	E(exception.injected, "exception_injected", "an exception is being delivered"),
	E(exception.nr, "exception_vector", "its vector"),
	E(exception.has_error_code, "exception_has_error", "it has an error code"),
	E(exception.pending, "exception_pending", "an exception waits"),
	E(exception.error_code, "exception_error", "its error code"),
	E(exception_has_payload, "exception_has_payload", "it has a payload"),
	E(exception_payload, "exception_payload", "CR2 or DR6 to come with it"),
	E(interrupt.injected, "interrupt_injected", "an interrupt is being delivered"),
	E(interrupt.nr, "interrupt_vector", "its vector"),
	E(interrupt.soft, "interrupt_soft", "it came from an instruction"),
	E(interrupt.shadow, "interrupt_shadow", "STI or MOV SS holds interrupts off"),
	E(nmi.injected, "nmi_injected", "an NMI is being delivered"),
	E(nmi.pending, "nmi_pending", "an NMI waits"),
	E(nmi.masked, "nmi_masked", "NMIs are held off until IRET"),
	E(sipi_vector, "sipi_vector", "start-up vector that came"),
	E(smi.smm, "smm", "in system management mode"),
	E(smi.pending, "smi_pending", "an SMI waits"),
	E(smi.smm_inside_nmi, "smm_inside_nmi", "it came within an NMI"),
	E(smi.latched_init, "latched_init", "an INIT waits for its end"),
	E(triple_fault.pending, "triple_fault", "a triple fault waits"),
	E(flags, "flags", "KVM_VCPUEVENT_VALID_*"),
	END
};
SCHEMA(events_schema, "events", struct kvm_vcpu_events, events_fields, "exceptions and interrupts under way");

static const struct field msr_fields[] = {
	HEX32(struct msr_state, index, NULL, 0, UINT32_MAX, 0, "the MSR's number"),
	HEX64(struct msr_state, value, NULL, 0, UINT64_MAX, 0, "its value"),
	END
};
const struct schema msr_state_schema = {
	.name = "msr", .doc = "model-specific register", .version = 1, .size = sizeof(struct msr_state), .fields = msr_fields,
};

static bool cpu_state_ok(void *obj, GError **err)
{
	const struct cpu_state *s = obj;

	if (!s->xsave || s->xsave->len < sizeof(struct kvm_xsave))
		return kerr_set(err, KERR_STATE_DATA, "processor state: vector registers of %u bytes", s->xsave ? s->xsave->len : 0);
	if (!s->lapic || s->lapic->len != KVM_APIC_REG_SIZE)
		return kerr_set(err, KERR_STATE_DATA, "processor state: local APIC of %u bytes", s->lapic ? s->lapic->len : 0);
	return true;
}

static const struct field cpu_state_fields[] = {
	STRUCT(struct cpu_state, regs, NULL, regs_schema, 0, "general registers"),
	STRUCT(struct cpu_state, sregs, NULL, sregs_schema, 0, "system registers"),
	STRUCT(struct cpu_state, debugregs, NULL, debugregs_schema, 0, "debug registers"),
	STRUCT(struct cpu_state, events, NULL, events_schema, 0, "exceptions and interrupts under way"),
	HEX64(struct cpu_state, xcr0, NULL, 0, UINT64_MAX, 0, "extended control register 0"),
	U32(struct cpu_state, mp_state, NULL, 0, 9, 0, "running, halted, waiting for INIT or SIPI (KVM_MP_STATE_*)"),
	U32(struct cpu_state, tsc_khz, NULL, 0, UINT32_MAX, 0, "frequency of the time stamp counter, kHz"),
	BYTES(struct cpu_state, xsave, NULL, REGS_XSAVE_MAX, 0, "x87, vector and other XSAVE state, standard format"),
	BYTES(struct cpu_state, lapic, NULL, KVM_APIC_REG_SIZE, 0, "local APIC, its register page's first KiB"),
	LIST(struct cpu_state, msrs, NULL, msr_state_schema, REGS_MSRS_MAX, 0, "model-specific registers"),
	END
};
const struct schema cpu_state_schema = {
	.name = "vcpu", .doc = "a processor's state", .version = 1, .size = sizeof(struct cpu_state), .fields = cpu_state_fields,
	.post_load = cpu_state_ok,
};

#define P(m, text) R(struct kvm_pic_state, m, text)
static const struct field pic_fields[] = {
	P(last_irr, "lines at the last edge check"), P(irr, "requests"), P(imr, "mask"), P(isr, "in service"),
	P(priority_add, "highest priority"), P(irq_base, "vector of the first line"), P(read_reg_select, "register read next"),
	P(poll, "poll mode"), P(special_mask, "special mask mode"), P(init_state, "step of initialisation"), P(auto_eoi, "automatic EOI"),
	P(rotate_on_auto_eoi, "rotation at EOI"), P(special_fully_nested_mode, "special fully nested mode"), P(init4, "ICW4 is expected"),
	P(elcr, "level-triggered lines"), P(elcr_mask, "lines that may be level-triggered"),
	END
};
SCHEMA(pic_schema, "pic", struct kvm_pic_state, pic_fields, "8259A");

#define PIN(n) RN(struct kvm_ioapic_state, redirtbl[n].bits, "pin" #n, "redirection entry")
static const struct field ioapic_fields[] = {
	R(struct kvm_ioapic_state, base_address, "address"),
	R(struct kvm_ioapic_state, ioregsel, "register selected"),
	R(struct kvm_ioapic_state, id, "APIC id"),
	R(struct kvm_ioapic_state, irr, "requests"),
	PIN(0), PIN(1), PIN(2), PIN(3), PIN(4), PIN(5), PIN(6), PIN(7), PIN(8), PIN(9), PIN(10), PIN(11), PIN(12), PIN(13), PIN(14),
	PIN(15), PIN(16), PIN(17), PIN(18), PIN(19), PIN(20), PIN(21), PIN(22), PIN(23),
	END
};
SCHEMA(ioapic_schema, "ioapic", struct kvm_ioapic_state, ioapic_fields, "I/O APIC");

#define T(m, text) R(struct kvm_pit_channel_state, m, text)
static const struct field channel_fields[] = {
	T(count, "count loaded"), T(latched_count, "count latched"), T(count_latched, "a count is latched"),
	T(status_latched, "a status is latched"), T(status, "status latched"), T(read_state, "byte read next"),
	T(write_state, "byte written next"), T(write_latch, "low byte written"), T(rw_mode, "access mode"), T(mode, "counting mode"),
	T(bcd, "counts in BCD"), T(gate, "gate input"), T(count_load_time, "when the count was loaded, ns"),
	END
};
SCHEMA(channel_schema, "channel", struct kvm_pit_channel_state, channel_fields, "8254 channel");

static const struct field pit_fields[] = {
	SUB(struct kvm_pit_state2, channels[0], "channel0", channel_schema, "timer tick"),
	SUB(struct kvm_pit_state2, channels[1], "channel1", channel_schema, "refresh"),
	SUB(struct kvm_pit_state2, channels[2], "channel2", channel_schema, "speaker"),
	R(struct kvm_pit_state2, flags, "KVM_PIT_FLAGS_*"),
	END
};
SCHEMA(pit_schema, "pit", struct kvm_pit_state2, pit_fields, "8254");

static const struct field chips_state_fields[] = {
	SUB(struct chips_state, pic[0], "pic0", pic_schema, "first interrupt controller"),
	SUB(struct chips_state, pic[1], "pic1", pic_schema, "second interrupt controller"),
	STRUCT(struct chips_state, ioapic, NULL, ioapic_schema, 0, "I/O APIC"),
	STRUCT(struct chips_state, pit, NULL, pit_schema, 0, "interval timer"),
	U64(struct chips_state, clock, NULL, 0, UINT64_MAX, 0, "paravirtual clock, ns"),
	U64(struct chips_state, realtime, NULL, 0, UINT64_MAX, 0, "wall clock at that moment, ns; 0: unknown"),
	END
};
const struct schema chips_state_schema = {
	.name = "chips", .doc = "interrupt controllers, timer and clock in the kernel", .version = 1, .size = sizeof(struct chips_state),
	.fields = chips_state_fields,
};
