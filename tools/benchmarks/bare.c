/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The floor that benchmarks compare with: the least KVM ioctls that run a flat guest (PVH ELF), in one loop.
 *   bare ELF MIB CMDLINE    the guest's serial output goes to standard output; ends when the guest powers off
 * One vCPU. Port 0x3f8 is printed, reads give 0xff (0x60 at the line status), MMIO reads give all ones, nothing else exists.
 */
#include <elf.h>
#include <err.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define INFO 0x6000
#define MAP 0x6100
#define CMDLINE 0x20000
#define NOTE_PHYS32_ENTRY 18

struct start_info {
	uint32_t magic, version, flags, modules;
	uint64_t module_list, cmdline, rsdp, map;
	uint32_t map_n, reserved;
};
struct map_entry { uint64_t base, size; uint32_t type, reserved; };

static uint8_t *ram;
static size_t size;

static void *need(void *p)
{
	if (p == MAP_FAILED)
		err(1, "mmap");
	return p;
}

static int must(int rc, const char *what)
{
	if (rc < 0)
		err(1, "%s", what);
	return rc;
}

static uint32_t load(const char *path)
{
	int fd = must(open(path, O_RDONLY), path);
	struct stat st;

	must(fstat(fd, &st), "fstat");
	const uint8_t *f = need(mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0));
	const Elf64_Ehdr *e = (const void *)f;
	const Elf64_Phdr *p = (const void *)(f + e->e_phoff);
	uint32_t entry = 0;

	for (int i = 0; i < e->e_phnum; i++) {
		if (p[i].p_type == PT_LOAD && p[i].p_paddr + p[i].p_memsz <= size)
			memcpy(ram + p[i].p_paddr, f + p[i].p_offset, p[i].p_filesz);
		if (p[i].p_type != PT_NOTE)
			continue;
		for (const uint8_t *n = f + p[i].p_offset, *end = n + p[i].p_filesz; n + 12 <= end;) {
			const Elf64_Nhdr *h = (const void *)n;
			const uint8_t *desc = n + 12 + ((h->n_namesz + 3) & ~3u);

			if (h->n_type == NOTE_PHYS32_ENTRY)
				memcpy(&entry, desc, 4);
			n = desc + ((h->n_descsz + 3) & ~3u);
		}
	}
	if (!entry)
		errx(1, "%s: no PVH entry", path);
	return entry;
}

int main(int argc, char **argv)
{
	if (argc != 4)
		errx(2, "usage: bare ELF MIB CMDLINE");
	size = (size_t)atol(argv[2]) << 20;
	int kvm = must(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
	int vm = must(ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
	struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };

	ram = need(mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
	struct kvm_userspace_memory_region r = { .memory_size = size, .userspace_addr = (uint64_t)ram };

	/* before the chips: after them it waits some ms for a grace period of KVM's */
	must(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &r), "KVM_SET_USER_MEMORY_REGION");
	must(ioctl(vm, KVM_SET_TSS_ADDR, 0xfffbd000ul), "KVM_SET_TSS_ADDR");
	must(ioctl(vm, KVM_CREATE_IRQCHIP, 0), "KVM_CREATE_IRQCHIP");
	must(ioctl(vm, KVM_CREATE_PIT2, &pit), "KVM_CREATE_PIT2");
	int vcpu = must(ioctl(vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
	struct { struct kvm_cpuid2 c; struct kvm_cpuid_entry2 e[128]; } id = { .c.nent = 128 };

	must(ioctl(kvm, KVM_GET_SUPPORTED_CPUID, &id), "KVM_GET_SUPPORTED_CPUID");
	must(ioctl(vcpu, KVM_SET_CPUID2, &id), "KVM_SET_CPUID2");
	struct kvm_run *run = need(mmap(NULL, (size_t)must(ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "mmap size"), PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0));
	struct start_info info = { .magic = 0x336ec578, .version = 1, .cmdline = CMDLINE, .map = MAP, .map_n = 2 };
	struct map_entry map[] = { { 0, 0x9fc00, 1, 0 }, { 0x100000, size - 0x100000, 1, 0 } };
	struct kvm_regs regs = { .rip = load(argv[1]), .rbx = INFO, .rflags = 2 };
	struct kvm_sregs s;

	memcpy(ram + INFO, &info, sizeof info);
	memcpy(ram + MAP, map, sizeof map);
	strncpy((char *)ram + CMDLINE, argv[3], 4096);
	must(ioctl(vcpu, KVM_GET_SREGS, &s), "KVM_GET_SREGS");
	struct kvm_segment seg = { .limit = 0xffffffff, .present = 1, .s = 1, .g = 1, .db = 1, .type = 11, .selector = 8 };

	s.cs = seg;
	seg.type = 3;
	seg.selector = 16;
	s.ds = s.es = s.ss = s.fs = s.gs = seg;
	s.cr0 = 0x11;
	must(ioctl(vcpu, KVM_SET_SREGS, &s), "KVM_SET_SREGS");
	must(ioctl(vcpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
	for (;;) {
		must(ioctl(vcpu, KVM_RUN, 0), "KVM_RUN");
		uint8_t *d = (uint8_t *)run + run->io.data_offset;

		switch (run->exit_reason) {
		case KVM_EXIT_IO:
			if (run->io.direction == KVM_EXIT_IO_OUT) {
				if (run->io.port == 0x3f8 && write(1, d, run->io.count) < 0)
					return 1;
				if (run->io.port == 0x604)
					return 0;
			} else {
				memset(d, run->io.port == 0x3fd ? 0x60 : 0xff, run->io.size * run->io.count);
			}
			break;
		case KVM_EXIT_MMIO:
			if (!run->mmio.is_write)
				memset(run->mmio.data, 0xff, 8);
			break;
		default:
			errx(1, "exit %u", run->exit_reason);
		}
	}
}
