/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The host's own limit: the I/O that flat-blk does, by one thread with io_uring on the file itself, one system call per
 * batch (new requests go in with the wait for old ones). Arguments as flat-blk's: FILE op=… bs=… qd=… ms=… warm=…; poll=1: it
 * looks at the completion queue until something is there and never sleeps, the least that a program on this host can reach.
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <x86intrin.h>

#define QD_MAX 256
#define SAMPLES (1 << 22)

struct one { void *data; uint64_t start; };

static struct one ones[QD_MAX];
static uint32_t *samples;
static uint64_t bs, blocks, at, errors, state = 88172645463325252ull;
static bool is_write, is_random, is_flush, polls;

static const char *text(char **argv, const char *name, const char *def)
{
	size_t n = strlen(name);

	for (; *argv; argv++)
		if (!strncmp(*argv, name, n) && (*argv)[n] == '=')
			return *argv + n + 1;
	return def;
}

static uint64_t number(char **argv, const char *name, const char *def)
{
	return strtoull(text(argv, name, def), NULL, 0);
}

static double cpu(void)
{
	struct rusage r;

	getrusage(RUSAGE_SELF, &r);     /* threads of the kernel that work for us, too */
	return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) + 1e-6 * (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec);
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void add(struct io_uring *ring, struct one *o)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
	uint64_t block;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	block = is_random ? (uint64_t)((unsigned __int128)state * blocks >> 64) : at++ % blocks;
	o->start = __rdtsc();
	if (is_flush)
		io_uring_prep_fsync(sqe, 0, IORING_FSYNC_DATASYNC);
	else if (is_write)
		io_uring_prep_write(sqe, 0, o->data, (unsigned)bs, block * bs);
	else
		io_uring_prep_read(sqe, 0, o->data, (unsigned)bs, block * bs);
	sqe->flags |= IOSQE_FIXED_FILE;
	io_uring_sqe_set_data(sqe, o);
}

static uint64_t drive(struct io_uring *ring, unsigned qd, double ms, bool counts)
{
	double until = seconds() + ms / 1000;
	uint64_t ended = 0;
	unsigned in_flight = 0;

	for (unsigned i = 0; i < qd; i++, in_flight++)
		add(ring, &ones[i]);
	while (in_flight) {
		struct io_uring_cqe *cqe;
		unsigned head, n = 0;
		bool goes = seconds() < until;

		if ((polls ? io_uring_submit(ring) : io_uring_submit_and_wait(ring, 1)) < 0 && errno != EINTR) {
			perror("io_uring");
			exit(1);
		}
		while (polls && io_uring_peek_cqe(ring, &cqe))
			__builtin_ia32_pause();
		io_uring_for_each_cqe(ring, head, cqe) {
			struct one *o = io_uring_cqe_get_data(cqe);

			n++;
			errors += cqe->res != (is_flush ? 0 : (int)bs);
			if (counts && ended < SAMPLES)
				samples[ended] = (uint32_t)(__rdtsc() - o->start);
			ended++;
			in_flight--;
			if (goes) {
				add(ring, o);
				in_flight++;
			}
		}
		io_uring_cq_advance(ring, n);
	}
	return ended;
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	struct io_uring ring;
	const char *op = text(argv, "op", "read");
	unsigned qd = (unsigned)number(argv, "qd", "1");
	uint64_t n, start, cycles, kept;
	struct stat st;
	double used;
	int fd;

	if (argc < 2 || qd < 1 || qd > QD_MAX) {
		fprintf(stderr, "usage: blkhost FILE op=… bs=… qd=1…%d ms=… warm=… poll=0|1\n", QD_MAX);
		return 2;
	}
	is_write = strstr(op, "write");
	is_random = !strncmp(op, "rand", 4);
	is_flush = !strcmp(op, "flush");
	polls = number(argv, "poll", "0");
	bs = number(argv, "bs", "4096");
	fd = open(argv[1], (is_write || is_flush ? O_RDWR : O_RDONLY) | O_DIRECT | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0) {
		perror(argv[1]);
		return 1;
	}
	blocks = number(argv, "size", "0");
	blocks = (blocks ? blocks : (uint64_t)st.st_size) / bs;
	samples = malloc(sizeof(*samples) * SAMPLES);
	memset(samples, 1, sizeof(*samples) * SAMPLES);
	for (unsigned i = 0; i < qd; i++) {
		if (posix_memalign(&ones[i].data, bs >= 1 << 21 ? 1 << 21 : 4096, bs))
			return 1;
		memset(ones[i].data, (int)i + 1, bs);
	}
	if (!blocks || io_uring_queue_init(QD_MAX, &ring, polls ? IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG : 0) < 0 || io_uring_register_files(&ring, &fd, 1) < 0) {
		perror("io_uring");
		return 1;
	}
	drive(&ring, qd, (double)number(argv, "warm", "0"), false);
	used = cpu();
	start = __rdtsc();
	n = drive(&ring, qd, (double)number(argv, "ms", "1000"), true);
	cycles = __rdtsc() - start;
	used = cpu() - used;
	kept = n < SAMPLES ? n : SAMPLES;
	qsort(samples, kept, sizeof(*samples), by_value);
	printf("operations %lu cycles %lu p50 %u p99 %u cpu_ns %.0f errors %lu\ndone\n", n, cycles, samples[kept / 2], samples[kept * 99 / 100],
		used * 1e9, errors);
	return 0;
}
