/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dump-guest-memory: an ELF core of the guest, by physical address, as gdb, readelf and crash read it.
 *
 * The machine is paused first (STOP, and RESUME afterwards when it ran), then a thread of its own writes: main never waits
 * for a file. While w->dump is set nothing lets the machine run or resets it. Notes: NT_PRSTATUS of each vCPU, and
 * QEMU's own note of its system registers, by which crash finds the guest kernel.
 */
#include <elf.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/procfs.h>
#include <unistd.h>

#include "daemon/worker_qmp.h"
#include "daemon/worker_serve.h"
#include "devices/virtio_mem.h"
#include "domain/json.h"
#include "hv/accel.h"
#include "hv/vcpu.h"

#define PIECE (1u << 20)        /* written at once */
#define RANGES_MAX 60000        /* headers of an ELF file */

/* QEMU's note, name "QEMU", type 0: version 1. */
struct qemu_segment {
	uint32_t selector, limit, flags, pad;
	uint64_t base;
};
struct qemu_note {
	uint32_t version, size;
	uint64_t rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp, r8, r9, r10, r11, r12, r13, r14, r15, rip, rflags;
	struct qemu_segment cs, ds, es, fs, gs, ss, ldt, tr, gdt, idt;
	uint64_t cr[5];
	uint64_t kernel_gs_base;
};

struct dump_range { uint64_t gpa, size; const uint8_t *host; };
struct dump {
	struct worker *worker;
	struct waiter *waiter;          /* NULL: it was answered at once */
	GThread *thread;                /* NULL: the machine is still being paused */
	bool resume;
	int fd;
	uint64_t begin, length;
	/* the thread's */
	GByteArray *head;
	struct dump_range *ranges;
	unsigned ranges_n;
	uint64_t total;
	uint64_t done;                  /* atomic */
	int error;                      /* -errno; 0: written */
};

/* --- the file's head --- */

static void put_note(GByteArray *out, const char *name, uint32_t type, const void *data, uint32_t size)
{
	static const uint8_t zeroes[4];
	uint32_t name_size = (uint32_t)strlen(name) + 1;
	Elf64_Nhdr n = { .n_namesz = name_size, .n_descsz = size, .n_type = type };

	g_byte_array_append(out, (const guint8 *)&n, sizeof(n));
	g_byte_array_append(out, (const guint8 *)name, name_size);
	g_byte_array_append(out, zeroes, -name_size & 3);
	g_byte_array_append(out, data, size);
	g_byte_array_append(out, zeroes, -size & 3);
}

static struct qemu_segment segment(const struct kvm_segment *s)
{
	return (struct qemu_segment){ .selector = s->selector, .limit = s->limit, .base = s->base,
		.flags = (uint32_t)(s->type | s->s << 4 | s->dpl << 5 | s->present << 7 | s->avl << 12 | s->l << 13 | s->db << 14 | s->g << 15) << 8 };
}

static void put_vcpu(GByteArray *out, struct vcpu *v, const struct kvm_regs *r, const struct kvm_sregs *s)
{
	struct elf_prstatus p = { .pr_pid = (int)v->index + 1 };
	struct qemu_note q = { .version = 1, .size = sizeof(q), .rax = r->rax, .rbx = r->rbx, .rcx = r->rcx, .rdx = r->rdx, .rsi = r->rsi,
		.rdi = r->rdi, .rsp = r->rsp, .rbp = r->rbp, .r8 = r->r8, .r9 = r->r9, .r10 = r->r10, .r11 = r->r11, .r12 = r->r12,
		.r13 = r->r13, .r14 = r->r14, .r15 = r->r15, .rip = r->rip, .rflags = r->rflags, .cs = segment(&s->cs), .ds = segment(&s->ds),
		.es = segment(&s->es), .fs = segment(&s->fs), .gs = segment(&s->gs), .ss = segment(&s->ss), .ldt = segment(&s->ldt),
		.tr = segment(&s->tr), .gdt = { .limit = s->gdt.limit, .base = s->gdt.base }, .idt = { .limit = s->idt.limit, .base = s->idt.base },
		.cr = { s->cr0, 0, s->cr2, s->cr3, s->cr4 } };
	/* the order of struct user_regs_struct */
	const uint64_t regs[] = { r->r15, r->r14, r->r13, r->r12, r->rbp, r->rbx, r->r11, r->r10, r->r9, r->r8, r->rax, r->rcx, r->rdx, r->rsi,
		r->rdi, r->rax, r->rip, s->cs.selector, r->rflags, r->rsp, s->ss.selector, s->fs.base, s->gs.base, s->ds.selector,
		s->es.selector, s->fs.selector, s->gs.selector };

	G_STATIC_ASSERT(sizeof(regs) == sizeof(p.pr_reg));
	memcpy(p.pr_reg, regs, sizeof(regs));
	put_note(out, "CORE", NT_PRSTATUS, &p, sizeof(p));
	put_note(out, "QEMU", 0, &q, sizeof(q));
}

static bool put_notes(struct worker *w, GByteArray *out, GError **err)
{
	for (unsigned i = 0; i < w->vm.vcpus->len; i++) {
		struct vcpu *v = w->vm.vcpus->pdata[i];
		struct kvm_sregs sregs;
		struct kvm_regs regs;
		int rc;

		if (v->unplugged)
			continue;
		rc = w->vm.accel->regs(v, &regs, &sregs, false);
		if (rc)
			return kerr_errno(err, -rc, "vcpu %u: read its registers", v->index);
		put_vcpu(out, v, &regs, &sregs);
	}
	return true;
}

/* [from, to) of a piece, without the blocks that the guest does not use of a memory device: looking there would make pages. */
static void add_range(struct dump *d, const struct ram_piece *p, uint64_t from, uint64_t to)
{
	struct vm *vm = &d->worker->vm;

	while (from < to) {
		uint64_t next = to, end;
		bool hole = false;

		for (unsigned i = 0; i < vm->devices->len && d->ranges_n < RANGES_MAX - 1; i++) {
			struct device *v = vm->devices->pdata[i];

			if (!strcmp(v->ops->name, "virtio-mem") && virtio_mem_is_hole(v, from, to, &end))
				hole = true;
			else if (strcmp(v->ops->name, "virtio-mem"))
				continue;
			next = MIN(next, end);
		}
		if (!hole && d->ranges_n < RANGES_MAX) {
			d->ranges = g_renew(struct dump_range, d->ranges, d->ranges_n + 1);
			d->ranges[d->ranges_n++] = (struct dump_range){ from, next - from, p->host + (from - p->gpa) };
			d->total += next - from;
		}
		from = next;
	}
}

static void choose_ranges(struct dump *d)
{
	const struct ram *ram = &d->worker->vm.ram;
	uint64_t last = d->length && d->length < UINT64_MAX - d->begin ? d->begin + d->length : UINT64_MAX;

	for (unsigned i = 0; i < G_N_ELEMENTS(ram->pieces); i++) {
		const struct ram_piece *p = &ram->pieces[i];
		uint64_t from = MAX(p->gpa, d->begin), to = MIN(p->gpa + p->size, last);

		if (p->host && from < to)
			add_range(d, p, from, to);
	}
}

static bool make_head(struct dump *d, GError **err)
{
	g_autoptr(GByteArray) notes = g_byte_array_new();
	Elf64_Ehdr e = { .e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT }, .e_type = ET_CORE,
		.e_machine = EM_X86_64, .e_version = EV_CURRENT, .e_phoff = sizeof(e), .e_ehsize = sizeof(e), .e_phentsize = sizeof(Elf64_Phdr) };
	Elf64_Phdr p = { .p_type = PT_NOTE };
	uint64_t at;

	choose_ranges(d);
	if (!d->total)
		return kerr_set(err, KERR_ARGS, "the guest has no memory at 0x%" G_GINT64_MODIFIER "x", d->begin);
	if (!put_notes(d->worker, notes, err))
		return false;
	e.e_phnum = (Elf64_Half)(1 + d->ranges_n);
	p.p_offset = sizeof(e) + e.e_phnum * sizeof(p);
	p.p_filesz = p.p_memsz = notes->len;
	at = p.p_offset + notes->len;
	d->head = g_byte_array_new();
	g_byte_array_append(d->head, (guint8 *)&e, sizeof(e));
	g_byte_array_append(d->head, (guint8 *)&p, sizeof(p));
	for (unsigned i = 0; i < d->ranges_n; i++) {
		const struct dump_range *r = &d->ranges[i];

		p = (Elf64_Phdr){ .p_type = PT_LOAD, .p_flags = PF_R | PF_W | PF_X, .p_offset = at, .p_vaddr = r->gpa, .p_paddr = r->gpa,
			.p_filesz = r->size, .p_memsz = r->size };
		at += r->size;
		g_byte_array_append(d->head, (guint8 *)&p, sizeof(p));
	}
	g_byte_array_append(d->head, notes->data, notes->len);
	return true;
}

/* --- writing --- */

static int put(int fd, const uint8_t *data, uint64_t n)
{
	while (n) {
		ssize_t done = write(fd, data, MIN(n, PIECE));

		if (done < 0 && errno == EAGAIN) {
			struct pollfd p = { .fd = fd, .events = POLLOUT };

			poll(&p, 1, -1);
		} else if (done < 0 && errno != EINTR) {
			return -errno;
		} else if (done > 0) {
			data += done;
			n -= (uint64_t)done;
		}
	}
	return 0;
}

static gboolean written(gpointer data);

static gpointer dump_thread(gpointer data)
{
	struct dump *d = data;
	int rc = put(d->fd, d->head->data, d->head->len);

	for (unsigned i = 0; !rc && i < d->ranges_n; i++)
		for (uint64_t at = 0; !rc && at < d->ranges[i].size;) {
			uint64_t n = MIN(d->ranges[i].size - at, PIECE);

			rc = put(d->fd, d->ranges[i].host + at, n);
			at += n;
			__atomic_add_fetch(&d->done, n, __ATOMIC_RELAXED);
		}
	d->error = rc;
	g_idle_add(written, d);
	return NULL;
}

static void dump_end(struct dump *d, const GError *err)
{
	struct worker *w = d->worker;
	json_object *o = json_object_new_object(), *result;

	w->dumped = (struct tell_dump){ err ? DUMP_FAILED : DUMP_COMPLETED, d->done, d->total };
	w->dump = NULL;
	result = json_from_struct(&tell_dump_schema, &w->dumped, JSON_ALL);
	json_object_object_add(o, "result", result);
	if (err)
		json_object_object_add(o, "error", json_object_new_string(err->message));
	worker_event(w, "DUMP_COMPLETED", o);
	if (d->resume && w->vm.state == VM_PAUSED)
		(void)state_run(w, NULL);       /* it is paused: it can run */
	close(d->fd);
	if (d->head)
		g_byte_array_unref(d->head);
	g_free(d->ranges);
	if (d->waiter)
		waiter_answer(d->waiter, NULL, err);
	g_free(d);
}

static gboolean written(gpointer data)
{
	struct dump *d = data;
	g_autoptr(GError) err = NULL;

	g_thread_join(d->thread);
	if (d->error)
		kerr_errno(&err, -d->error, "write the dump");
	dump_end(d, err);
	return G_SOURCE_REMOVE;
}

void dump_stays(struct worker *w)
{
	if (w->dump)
		w->dump->resume = false;
}

void dump_on_pause(struct worker *w)
{
	struct dump *d = w->dump;
	g_autoptr(GError) err = NULL, why = NULL;

	if (!d || d->thread)
		return;
	if (make_head(d, &err)) {
		d->thread = g_thread_try_new("dump", dump_thread, d, &why);
		if (d->thread)
			return;
		kerr_set(&err, KERR_LIMIT, "thread for the dump: %s", why->message);
	}
	dump_end(d, err);
}

QMP(dump_guest_memory)
{
	const struct args_dump *a = args;
	struct worker *w = c->worker;
	struct dump *d;
	int fd;

	if (a->paging)
		return kerr_set(err, KERR_UNSUPPORTED, "dumps are by physical address: paging must be false"), RUN_FAILED;
	if (a->format && strcmp(a->format, "elf"))
		return kerr_set(err, KERR_UNSUPPORTED, "there is no format '%s': elf", a->format), RUN_FAILED;
	if (g_str_has_prefix(a->protocol, "file:"))
		return kerr_set(err, KERR_UNSUPPORTED, SERVE_NOT "start it, or give a descriptor by getfd and say fd:NAME"), RUN_FAILED;
	if (!g_str_has_prefix(a->protocol, "fd:"))
		return kerr_set(err, KERR_ARGS, "'%s' is neither file:PATH nor fd:NAME", a->protocol), RUN_FAILED;
	if (w->dump)
		return kerr_set(err, KERR_BUSY, "a dump is being written already"), RUN_FAILED;
	if (w->vm.state != VM_RUNNING && w->vm.state != VM_PAUSED && w->vm.state != VM_CRASHED && w->vm.state != VM_SHUTDOWN)
		return kerr_set(err, KERR_STATE, "the machine is just changing its state: try again"), RUN_FAILED;
	fd = client_take_fd(c, a->protocol + strlen("fd:"), err);
	if (fd < 0)
		return RUN_FAILED;
	if (c->internal && ftruncate(fd, 0) < 0 && errno != EINVAL) {   /* kvmd named a file; EINVAL: a device */
		kerr_errno(err, errno, "write the dump");
		close(fd);
		return RUN_FAILED;
	}
	d = g_new0(struct dump, 1);
	*d = (struct dump){ .worker = w, .fd = fd, .begin = a->begin, .length = a->length, .resume = w->vm.state == VM_RUNNING };
	d->waiter = a->detach ? NULL : waiter_new(c);
	w->dump = d;
	if (!d->resume)
		dump_on_pause(w);
	else if (!state_pause(w, NULL, err))
		g_assert_not_reached();         /* it runs */
	return a->detach ? RUN_DONE : RUN_LATER;
}

QMP(query_dump)
{
	struct worker *w = c->worker;
	struct tell_dump t = w->dumped;

	if (w->dump)
		t = (struct tell_dump){ DUMP_ACTIVE, __atomic_load_n(&w->dump->done, __ATOMIC_RELAXED), w->dump->total };
	*reply = json_from_struct(&tell_dump_schema, &t, JSON_ALL);
	return RUN_DONE;
}

QMP(query_dump_capability)
{
	*reply = json_tokener_parse("{\"formats\":[\"elf\"]}");
	return RUN_DONE;
}
