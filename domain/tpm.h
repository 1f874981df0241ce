/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A trusted platform module: <tpm>. Read and kept; a machine with one is refused until swtpm is driven. */
#pragma once
#include "domain/address.h"

enum tpm_model { TPM_ABSENT, TPM_TIS, TPM_CRB, TPM_SPAPR, TPM_SPAPR_PROXY, TPM_MODEL_N };
enum tpm_backend_type { TPM_BACKEND_ABSENT, TPM_PASSTHROUGH, TPM_EMULATOR, TPM_EXTERNAL, TPM_BACKEND_N };
enum tpm_version { TPM_VERSION_ABSENT, TPM_1_2, TPM_2_0, TPM_VERSION_N };

struct tpm_backend {
	int type, version;
	int persistent_state;           /* YESNO */
	struct resource device;         /* passthrough */
	int source_type;                /* external: 1 = unix */
	int source_mode;                /* external: 1 = connect */
	struct resource source;         /* external: socket */
	char *encryption;               /* secret's uuid */
	bool sha1, sha256, sha384, sha512;      /* banks that are on */
	struct extras extras;
};
struct tpm {
	int model;
	struct tpm_backend backend;
	DEVICE_MEMBERS;
};
extern const struct schema tpm_schema;
