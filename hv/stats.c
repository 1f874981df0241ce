/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The worker's side of the statistics page: mapping, slots. */
#include "hv/stats.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "domain/error.h"
#include "hv/vm.h"

bool stats_open(struct vm *vm, int fd, GError **err)
{
	struct stat st;
	void *page = MAP_FAILED;
	size_t len = 0;

	if (!fstat(fd, &st) && st.st_size > 0 && st.st_size <= STAT_BYTES_MAX) {
		len = (size_t)st.st_size;
		page = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	}
	close(fd);              /* so that nobody who takes this process over can change its size */
	if (page == MAP_FAILED)
		return kerr_set(err, KERR_STATE, "the statistics page can't be mapped: %s", len ? g_strerror(errno) : "its size is wrong");
	if (!statpage_may_write(page, len, err)) {
		g_prefix_error(err, "the statistics page: ");
		munmap(page, len);
		return false;
	}
	vm->stats = page;
	vm->stats_len = len;
	(void)statpage_take(page, STAT_VM, NULL, NULL);
	for (unsigned word = STAT_VM_DIRTY_START; word <= STAT_VM_DIRTY_RATE; word++)
		stats_vm_set(vm, word, STAT_UNKNOWN);
	return true;
}

void stats_close(struct vm *vm)
{
	if (vm->stats)
		munmap(vm->stats, vm->stats_len);
	vm->stats = NULL;
}

uint64_t *stats_take(struct vm *vm, enum stat_kind k, const char *alias, const char *label)
{
	uint64_t *words = vm->stats ? statpage_take(vm->stats, k, alias, label) : NULL;

	if (vm->stats && !words) {
		g_debug("statistics: no room for %s '%s'", stat_kind_names[k], alias ? alias : "");
		stats_vm_add(vm, STAT_VM_LOST, 1);
	}
	return words;
}

void stats_give(struct vm *vm, uint64_t *words)
{
	if (vm->stats)
		statpage_give(vm->stats, words);
}

void stats_vm_add(struct vm *vm, unsigned word, uint64_t more)
{
	if (vm->stats)
		__atomic_add_fetch(&statpage_words(vm->stats, STAT_VM, 0)[word], more, __ATOMIC_RELAXED);
}

void stats_vm_set(struct vm *vm, unsigned word, uint64_t value)
{
	if (vm->stats)
		__atomic_store_n(&statpage_words(vm->stats, STAT_VM, 0)[word], value, __ATOMIC_RELAXED);
}
