/* SPDX-License-Identifier: GPL-2.0-or-later */
/* kvmd.conf: lines `key = value`; the keys are the rows of config_schema. Pure, any thread. */
#pragma once
#include "domain/auto.h"
#include "domain/field.h"

struct config {
	int log_level;                  /* error, warning, info, debug */
	char *socket_group, *socket_mode;
	uint32_t connections_max, followers_max;
	uint32_t worker_uid_base, worker_uid_count;
	char *worker;                   /* program; NULL: the one beside kvmd */
	int fence;                      /* errno, kill, off */
	int huge_pages;                 /* YESNO */
	int systemd_scopes;             /* YESNO */
	uint32_t answer_timeout, start_timeout, destroy_timeout;        /* ms */
	uint32_t restart_delay, restart_delay_max, restart_steady;      /* ms */
	uint64_t events_size;           /* bytes per journal file */
	uint32_t disk_low_percent;      /* of a file system with images; 0: not watched */
	uint64_t disk_low_bytes;        /* the limit at most */
	uint32_t disk_low_interval;     /* ms */
};

extern const struct schema config_schema;
extern const char *const config_fence_names[3];

struct config *config_new(void);
/* Reads the text of a file; `name` for messages. Unknown keys and bad values are errors with their line. */
bool config_parse(struct config *, const char *text, const char *name, GError **err);
void config_free(struct config *);
AUTO_DEFINE(config, config_free)
