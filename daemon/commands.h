/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands with a file of their own. Main thread; each answers its request once. */
#pragma once
#include "daemon/control.h"

/* Tables of kvmd_bindings[]. */
extern const struct command_binding devices_bindings[]; /* devices_commands.c */
extern const struct command_binding disk_bindings[];    /* disk_commands.c */
extern const struct command_binding media_bindings[], media_opening[];  /* media_commands.c */
extern const struct command_binding chardev_opening[], chardev_adding[];    /* devices_chardev.c, chardev_add.c */
extern const struct command_binding memory_bindings[];  /* memory.c */
extern const struct command_binding net_bindings[];     /* net_commands.c */
extern const struct command_binding vcpus_bindings[];   /* vcpus.c */
extern const struct command_binding vcpus_each_bindings[];      /* vcpus_each.c */
extern const struct command_binding watch_bindings[];   /* stats.c */

extern const struct command_binding blockdev_opening[], qmp_opening[]; /* blockdev_add.c, qmp_opening.c */

/* Single commands with a file of their own. */
void cmd_define(struct request *);      /* define.c */
void cmd_disk_usage(struct request *);  /* disk_usage.c */
void cmd_host(struct request *);        /* host.c */
