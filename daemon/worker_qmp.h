/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The commands of domain/commands_qmp.c, by file. Each is a `run` of struct worker_binding. */
#pragma once
#include "daemon/worker.h"
#include "domain/commands_qmp.h"

#define QMP(name) enum run_result qmp_##name(struct client *c, json_object *raw, const void *args, json_object **reply, GError **err)

/* --- worker_qmp_cpus.c --- */
QMP(query_cpus_fast);
QMP(query_hotpluggable_cpus);
QMP(query_cpu_model_expansion);
QMP(query_acpi_ospm_status);
QMP(device_add);
QMP(device_del);
QMP(vcpus_set);
QMP(vcpus_list);

/* --- worker_qmp_objects.c --- */
QMP(qom_list);
QMP(qom_get);
QMP(qom_set);
QMP(query_pci);

/* --- worker_qmp_memory.c --- */
/* Properties of the balloon; nothing, NULL or an error for other devices. */
void memory_properties(struct device *, void (*add)(json_object *list, const char *name, const char *type), json_object *list);
json_object *memory_property(struct device *, const char *name);
bool memory_property_set(struct worker *, struct device *, const char *name, json_object *value, GError **err);

/* --- worker_qmp_fds.c --- */
QMP(getfd);
QMP(closefd);
QMP(add_fd);
QMP(remove_fd);
QMP(query_fdsets);
/* A copy of a descriptor of the set that "/dev/fdset/N" names, one that can be written unless readonly; -1 and *err. */
int qmp_fd_of_set(const struct worker *, const char *filename, bool readonly, GError **err);
/* A descriptor that getfd kept, now the caller's; -1 and *err when there is none of that name. */
int client_take_fd(struct client *, const char *name, GError **err);

/* --- worker_qmp_stats.c --- */
QMP(query_stats);
QMP(query_stats_schemas);

/* --- worker_dump.c --- */
QMP(dump_guest_memory);
QMP(query_dump);
QMP(query_dump_capability);
