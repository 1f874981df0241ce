/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Arguments and replies of the commands about devices that come, go and change (domain/commands_devices.c has the rows). */
#pragma once
#include "domain/command.h"

/* What a change is of. persistent: as config, and live too if it runs. */
#define ASK_WHERE struct ask_scope scope; bool persistent

/* --- kvmctl to kvmd --- */
struct ask_attach_device { char *xml; ASK_WHERE; uint32_t timeout; };
struct ask_update_device { char *xml; ASK_WHERE; };
struct ask_detach_device { char *xml; ASK_WHERE; uint32_t timeout; bool force; };
struct ask_detach_alias { char *alias; ASK_WHERE; uint32_t timeout; bool force; };
struct ask_attach_disk {
	char *source, *target, *targetbus, *driver, *subdriver, *type, *cache, *io, *mode, *sourcetype, *serial, *alias, *address;
	uint32_t iothread;
	ASK_WHERE;
	uint32_t timeout;
};
struct ask_detach_disk { char *target; ASK_WHERE; uint32_t timeout; bool force; };
struct ask_attach_interface {
	char *type, *source, *target, *mac, *model, *alias, *inbound, *outbound;
	ASK_WHERE;
	uint32_t timeout;
};
struct ask_detach_interface { char *type, *mac; ASK_WHERE; uint32_t timeout; bool force; };
struct device_note { char *text; };
struct tell_device { char *alias; GPtrArray *notes; /* struct device_note */ };

/* --- kvmd to the machine --- */
struct device_fd { char *name; };
struct args_device_attach { char *kind, *device, *controller, *id; GPtrArray *names; /* struct device_fd */ uint32_t timeout; };
struct args_device_update { char *kind, *device; GPtrArray *names; /* struct device_fd */ };
struct args_device_detach { char *alias, *id; uint32_t timeout; bool force; };

/* --- QMP --- */
struct node_cache { bool direct, no_flush; };
struct args_blockdev_add {
	char *driver, *node, *filename, *file;
	bool readonly, auto_readonly;
	struct node_cache cache;
	int discard, detect_zeroes, aio, locking;
};
/* What the nodes of a chain say of the disk that stands on them: members of struct disk_driver. */
struct node_options { int cache, discard, detect_zeroes, io; };
struct node_options node_options(const struct args_blockdev_add *);
struct node_options node_options_both(struct node_options, struct node_options);        /* of a node and the one below */
struct disk;
void node_options_set(struct node_options, struct disk *);
struct node_options node_options_of(const struct disk *);
struct args_node { char *node; };
/* kvmd to the machine: blockdev-add of what kvmd has opened */
struct args_blockdev_made { char *node, *below, *device; bool bare; GPtrArray *names; };
struct args_netdev_add { char *type, *id, *fd, *ifname, *script, *downscript; };
struct args_netdev_del { char *id; };

extern const struct schema device_fd_schema, args_netdev_del_schema, args_blockdev_file_schema, tell_device_schema, ask_attach_device_schema, ask_update_device_schema, ask_detach_device_schema, ask_detach_alias_schema,
	ask_attach_disk_schema, ask_detach_disk_schema, ask_attach_interface_schema, ask_detach_interface_schema;
