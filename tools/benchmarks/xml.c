/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How quick domain/ is with a domain of 60 devices, 8.5 KB of XML: parse, fill, check and format, one after another.
 *   xml [SECONDS]    for so long (2) of this process' CPU time, so that a busy host does not count
 *   xml --print      the domain, as formatted
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "domain/machine.h"
#include "domain/xml.h"

#define DISKS 24
#define INTERFACES 16
#define CHANNELS 12             /* with serial, console, 2 controllers, input, rng, balloon, panic: 60 */

static char *sixty(void)
{
	GString *s = g_string_new("<domain type='kvm'><name>sixty</name><uuid>8f0d2f6e-6b3b-4f0c-9d9e-1f5a2b7c4d60</uuid><title>many devices</title>"
		"<memory unit='GiB'>4</memory><vcpu placement='static'>4</vcpu><os><type arch='x86_64' machine='q35'>hvm</type>"
		"<kernel>/boot/vmlinuz</kernel><initrd>/boot/initrd</initrd><cmdline>console=ttyS0 root=/dev/vda1</cmdline></os>"
		"<features><acpi/><apic/></features><cpu mode='host-passthrough'><topology sockets='1' cores='2' threads='2'/></cpu>"
		"<clock offset='utc'><timer name='rtc' tickpolicy='catchup'/></clock><on_poweroff>destroy</on_poweroff><on_reboot>restart</on_reboot>"
		"<on_crash>destroy</on_crash><devices><serial type='pty'><target port='0'/></serial><console type='pty'><target type='serial' port='0'/></console>"
		"<controller type='scsi' index='0' model='virtio-scsi'/><controller type='virtio-serial' index='0'/><input type='tablet' bus='virtio'/>"
		"<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng><memballoon model='virtio'/>"
		"<panic model='isa'/>");

	for (int i = 0; i < DISKS; i++)
		g_string_append_printf(s, "<disk type='file' device='disk'><driver name='qemu' type='raw' cache='none' io='io_uring' discard='unmap'/>"
			"<source file='/var/lib/images/sixty-%02d.img'/><target dev='vd%c' bus='virtio'/><iotune><total_iops_sec>%d</total_iops_sec></iotune>"
			"<serial>disk%02d</serial></disk>", i, 'a' + i, 1000 + i, i);
	for (int i = 0; i < INTERFACES; i++)
		g_string_append_printf(s, "<interface type='bridge'><mac address='52:54:00:12:34:%02x'/><source bridge='br%d'/><model type='virtio'/>"
			"<driver queues='2'/><mtu size='1500'/></interface>", i, i);
	for (int i = 0; i < CHANNELS; i++)
		g_string_append_printf(s, "<channel type='unix'><source mode='bind' path='/run/sixty/%d.sock'/><target type='virtio' name='org.example.port.%d'/>"
			"</channel>", i, i);
	g_string_append(s, "</devices></domain>");
	return g_string_free(s, FALSE);
}

static double cpu_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static struct machine *parse(const char *text, size_t len)
{
	AUTO(report) r = report_new("sixty.xml", false, false);
	g_autoptr(GError) err = NULL;
	struct machine *m = machine_from_xml(text, len, r, &err);

	if (!m) {
		fprintf(stderr, "%s\n", err->message);
		exit(1);
	}
	return m;
}

int main(int argc, char **argv)
{
	g_autofree char *given = sixty(), *text = NULL;
	double limit = argc > 1 ? atof(argv[1]) : 2, start, parsing = 0, formatting = 0, freeing = 0;
	struct machine *m = parse(given, strlen(given));
	unsigned n = 0;
	size_t len;

	text = machine_to_xml(m, XML_INACTIVE);         /* canonical: what kvmd stores, and reads when it starts */
	machine_free(m);
	if (argc > 1 && !strcmp(argv[1], "--print")) {
		fputs(text, stdout);
		return 0;
	}
	len = strlen(text);
	start = cpu_seconds();
	for (; parsing + formatting + freeing < limit; n++) {
		double a = cpu_seconds(), b, c;

		m = parse(text, len);
		b = cpu_seconds();
		parsing += b - a;
		g_free(machine_to_xml(m, XML_INACTIVE));
		c = cpu_seconds();
		formatting += c - b;
		machine_free(m);
		freeing += cpu_seconds() - c;
	}
	printf("all per second: %.1f\n", n / (cpu_seconds() - start));
	printf("parse, fill and check: %.1f\n", parsing / n * 1e6);
	printf("format: %.1f\n", formatting / n * 1e6);
	printf("free: %.1f\n", freeing / n * 1e6);
	return 0;
}
