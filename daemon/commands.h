/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands with a file of their own. Main thread; each answers its request once. */
#pragma once
#include "daemon/control.h"

extern const struct command_binding disk_bindings[];    /* disk_commands.c */
extern const struct command_binding memory_bindings[];  /* memory.c */
void cmd_disk_usage(struct request *);  /* disk_usage.c */
extern const struct command_binding devices_bindings[];  /* devices.c */
void cmd_define(struct request *);      /* define.c */
void cmd_host(struct request *);        /* host.c */
void cmd_setvcpus(struct request *);    /* vcpus.c */
void cmd_vcpucount(struct request *);
void cmd_vcpuinfo(struct request *);
extern const struct command_binding watch_bindings[];   /* stats.c */
extern const struct command_binding net_bindings[];     /* net_commands.c */
