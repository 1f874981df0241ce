/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The worker's side of the statistics page: what counts in it, and who gets and leaves a slot. */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "devices/virtio_balloon.h"
#include "domain/error.h"
#include "hv/stats.h"
#include "hv/vcpu.h"
#include "hv/vm.h"
#include "tests/fake/fake.h"

static const unsigned few[STAT_KINDS] = { 1, 2, 1, 3, 1 };
static uint8_t *seen;           /* the page as another process sees it */
static size_t seen_len;

static int file(const void *data, size_t len)
{
	int fd = memfd_create("stats", MFD_CLOEXEC);

	g_assert_true(fd >= 0 && write(fd, data, len) == (ssize_t)len);
	return fd;
}

static struct fake *machine(void)
{
	struct fake *f = fake_vm();
	g_autofree void *page = g_malloc0(seen_len = statpage_size(few));
	int fd;

	statpage_format(page, few);
	fd = file(page, seen_len);
	seen = mmap(NULL, seen_len, PROT_READ, MAP_SHARED, fd, 0);
	g_assert_true(seen != MAP_FAILED);
	g_assert_true(stats_open(&f->vm, fd, NULL));
	g_assert_cmpint(fcntl(fd, F_GETFD), ==, -1);    /* nobody can change its size any more */
	return f;
}

static void done(struct fake *f)
{
	fake_free(f);
	munmap(seen, seen_len);
}

static bool slot(enum stat_kind k, unsigned i, struct stat_slot *s)
{
	struct statpage p;

	g_assert_true(statpage_parse(&p, seen, seen_len, NULL));
	return statpage_slot(&p, k, i, s);
}

static uint64_t vm_word(unsigned word)
{
	struct stat_slot s;

	g_assert_true(slot(STAT_VM, 0, &s));
	return stat_slot_word(&s, word);
}

static void test_balloon(void)
{
	struct fake *f = machine();
	struct stat_slot s;
	struct device *d;

	fake_add(f, "pci-host", NULL);
	g_assert_false(slot(STAT_BALLOON, 0, &s));
	d = fake_add(f, "virtio-balloon", "{'model':'virtio','alias':'balloon0'}");
	g_assert_true(slot(STAT_BALLOON, 0, &s));
	g_assert_cmpstr(s.alias, ==, "balloon0");
	g_assert_cmpuint(stat_slot_word(&s, STAT_BALLOON_ACTUAL), ==, f->vm.ram.size);
	g_assert_true(stat_slot_word(&s, STAT_BALLOON_STATS) == STAT_UNKNOWN);
	/* 1 MiB is the least, and all there is */
	g_assert_true(balloon_set_target(d, f->vm.ram.size, NULL));
	g_assert_cmpuint(stat_slot_word(&s, STAT_BALLOON_TARGET), ==, f->vm.ram.size);
	guest_error(d, "a rule");
	guest_error(d, "another");
	g_assert_cmpuint(vm_word(STAT_VM_GUEST_ERRORS), ==, 2);
	device_free(d);
	g_assert_false(slot(STAT_BALLOON, 0, &s));
	done(f);
}

/* A card takes a slot per pair of queues, or none; a third finds none and is counted as such. */
static void test_cards(void)
{
	struct fake *f = machine();
	struct device *two, *more;
	struct stat_slot s;

	fake_add(f, "pci-host", NULL);
	two = fake_add(f, "virtio-net", "{'type':'null','alias':'net0','mac':'52:54:00:00:00:01','target':'vnet7','driver':{'queues':2}}");
	g_assert_true(slot(STAT_NET, 0, &s) && slot(STAT_NET, 1, &s) && !slot(STAT_NET, 2, &s));
	g_assert_cmpstr(s.alias, ==, "net0");
	g_assert_cmpstr(s.label, ==, "vnet7");
	g_assert_cmpuint(vm_word(STAT_VM_LOST), ==, 0);
	more = fake_add(f, "virtio-net", "{'type':'null','alias':'net1','mac':'52:54:00:00:00:02','driver':{'queues':2}}");
	g_assert_cmpuint(vm_word(STAT_VM_LOST), ==, 1);
	g_assert_false(slot(STAT_NET, 2, &s));
	device_free(more);
	device_free(two);
	g_assert_false(slot(STAT_NET, 0, &s) || slot(STAT_NET, 1, &s));
	fake_add(f, "virtio-net", "{'type':'null','alias':'net2','mac':'52:54:00:00:00:03'}");
	g_assert_true(slot(STAT_NET, 0, &s));
	g_assert_cmpstr(s.alias, ==, "net2");
	done(f);
}

static void refused(const void *data, size_t len, const char *part)
{
	struct fake *f = fake_vm();
	g_autoptr(GError) err = NULL;

	g_assert_false(stats_open(&f->vm, file(data, len), &err));
	g_assert_nonnull(strstr(err->message, part));
	/* all goes on without */
	g_assert_null(stats_take(&f->vm, STAT_NET, "a", "b"));
	stats_give(&f->vm, NULL);
	stats_vm_add(&f->vm, STAT_VM_FENCE, 1);
	fake_free(f);
}

static void test_unfit(void)
{
	size_t len = statpage_size(few);
	g_autofree uint8_t *page = g_malloc0(len), *large = g_malloc0(STAT_BYTES_MAX + 4096);

	refused("", 0, "size is wrong");
	refused(large, STAT_BYTES_MAX + 4096, "size is wrong");
	refused(page, len, "not a statistics page");
	statpage_format(page, few);
	refused(page, len - 8, "outside");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/stats/balloon", test_balloon);
	g_test_add_func("/stats/cards", test_cards);
	g_test_add_func("/stats/unfit", test_unfit);
	return g_test_run();
}
