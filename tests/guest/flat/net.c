/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a network card does, seen from its driver (the first virtio-net function, one pair of queues, by polling: virtio.h):
 * op=send keeps qd=N frames of bs=BYTES on their way for ms=N milliseconds; op=recv counts what comes; op=echo sends one
 * frame at a time and waits until it comes back. hz=N: TSC frequency, else it is measured.
 */
#include "virtio.h"

#define NET_ID 1
#define HEADER 12
#define BUFFER 2048
#define RX_MAX 256
#define TX_MAX 128
#define ETHERTYPE 0xb588                /* local experiments, as it lies in memory */
#define LOST_MS 100                     /* an echo that does not come back is sent again */

static struct virtio_fn fn;
static struct ring rx, tx;
static struct hist hist;
static uint8_t *rx_data, *tx_data;
static uint64_t bs, hz;

static void frame_make(uint8_t *at)
{
	memset(at, 0, HEADER + bs);
	memset(at + HEADER, 0xff, 6);
	memcpy(at + HEADER + 6, "\2\0\0\0\0\1", 6);
	*(uint16_t *)(at + HEADER + 12) = ETHERTYPE;
}

/* Gives all buffers that came back to the device again; how many frames of ours were in them. */
static unsigned receive(void)
{
	unsigned n = 0;
	uint32_t len;
	int head;

	while ((head = ring_used(&rx, &len)) >= 0) {
		const uint8_t *frame = rx_data + (uint64_t)head * BUFFER + HEADER;

		n += len == HEADER + bs && *(const volatile uint16_t *)(frame + 12) == ETHERTYPE;
		ring_add(&rx, (uint16_t)head);
	}
	ring_kick(&rx);
	return n;
}

static uint64_t send(uint64_t until, unsigned qd)
{
	uint64_t n = 0;
	uint32_t len;
	int head;

	for (unsigned i = 0; i < qd; i++)
		ring_add(&tx, (uint16_t)i);
	ring_kick(&tx);
	while (rdtsc() < until) {
		while ((head = ring_used(&tx, &len)) >= 0) {
			ring_add(&tx, (uint16_t)head);
			n++;
		}
		ring_kick(&tx);
		__builtin_ia32_pause();
	}
	return n;
}

static uint64_t count(uint64_t until)
{
	uint64_t n = 0;

	while (rdtsc() < until) {
		n += receive();
		__builtin_ia32_pause();
	}
	return n;
}

static uint64_t echo(uint64_t until)
{
	uint64_t n = 0, start = rdtsc(), now;
	uint32_t len;

	while (start < until) {
		bool back = false;

		ring_add(&tx, 0);
		ring_kick(&tx);
		do {
			back = receive();
			now = rdtsc();
			__builtin_ia32_pause();
		} while (!back && now - start < hz / 1000 * LOST_MS);
		while (ring_used(&tx, &len) < 0)
			;
		if (back) {
			hist_add(&hist, now - start);
			n++;
		}
		start = rdtsc();
	}
	return n;
}

void flat_main(void)
{
	uint64_t start, until, n, kicks, ms = param("ms", 1000);
	unsigned qd = (unsigned)param("qd", 64);

	hz = param("hz", 0);
	if (!hz)
		hz = tsc_hz();
	bs = param("bs", 60);
	if (bs < 14 || bs + HEADER > BUFFER || !qd || qd > TX_MAX)
		give_up("bs is 14 to 2036, qd 1 to 128");
	virtio_find(&fn, NET_ID, 0);
	ring_make(&fn, &rx, 0);
	ring_make(&fn, &tx, 1);
	rx_data = pages(RX_MAX * BUFFER);
	tx_data = pages(TX_MAX * BUFFER);
	for (unsigned i = 0; i < TX_MAX; i++) {
		frame_make(tx_data + i * BUFFER);
		tx.desc[i] = (struct desc){ (uint64_t)(tx_data + i * BUFFER), (uint32_t)(HEADER + bs), 0, 0 };
	}
	for (unsigned i = 0; i < RX_MAX && i < rx.size; i++) {
		memset(rx_data + i * BUFFER, 0, BUFFER);
		rx.desc[i] = (struct desc){ (uint64_t)(rx_data + i * BUFFER), BUFFER, DESC_WRITE, 0 };
		ring_add(&rx, (uint16_t)i);
	}
	virtio_go(&fn);
	ring_kick(&rx);
	(void)count(rdtsc() + hz / 1000 * param("warm", 50));
	kicks = rx.kicks + tx.kicks;
	puts_("go\n");
	start = rdtsc();
	until = start + hz / 1000 * ms;
	n = param_is("op", "recv") ? count(until) : param_is("op", "echo") ? echo(until) : send(until, qd);
	print("operations %lu cycles %lu p50 %lu p99 %lu kicks %lu errors 0\ndone\n", n, rdtsc() - start, hist_percentile(&hist, 50),
		hist_percentile(&hist, 99), rx.kicks + tx.kicks - kicks);
	for (;;)
		idle();
}
