/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio over PCI (virtio 1.2, section 4.1): where its structures lie in BAR 0. Tests and virtio_pci.c take it from here.
 */
#pragma once

#define VIRTIO_PCI_VENDOR 0x1af4
#define VIRTIO_PCI_DEVICE 0x1040        /* + virtio device id */

/* vendor capabilities: cfg_type */
enum { VIRTIO_CAP_COMMON = 1, VIRTIO_CAP_NOTIFY, VIRTIO_CAP_ISR, VIRTIO_CAP_DEVICE, VIRTIO_CAP_WINDOW };

/* BAR 0 */
#define VIRTIO_BAR_COMMON 0x0000
#define VIRTIO_BAR_ISR 0x0800
#define VIRTIO_BAR_DEVICE 0x1000
#define VIRTIO_BAR_MSIX 0x2000
#define VIRTIO_BAR_NOTIFY 0x3000
#define VIRTIO_BAR_SIZE 0x4000          /* larger where each queue has a page of its own */
#define VIRTIO_BAR_DEVICE_LEN 0x1000

/* common configuration */
enum {
	COMMON_OFFERED_SELECT = 0x00, COMMON_OFFERED = 0x04, COMMON_ACCEPTED_SELECT = 0x08, COMMON_ACCEPTED = 0x0c,
	COMMON_CONFIG_VECTOR = 0x10, COMMON_QUEUES = 0x12, COMMON_STATUS = 0x14, COMMON_GENERATION = 0x15, COMMON_QUEUE_SELECT = 0x16,
	COMMON_QUEUE_SIZE = 0x18, COMMON_QUEUE_VECTOR = 0x1a, COMMON_QUEUE_ENABLE = 0x1c, COMMON_QUEUE_NOTIFY = 0x1e,
	COMMON_QUEUE_DESC = 0x20, COMMON_QUEUE_DRIVER = 0x28, COMMON_QUEUE_DEVICE = 0x30, COMMON_QUEUE_DATA = 0x38,
	COMMON_QUEUE_RESET = 0x3a, COMMON_LEN = 0x3c,
};
