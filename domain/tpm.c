/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rows of <tpm>. */
#include "domain/tpm.h"

#include "domain/rows.h"

NAMES(tpm_model_names, TPM_MODEL_N, "tpm-tis", "tpm-crb", "tpm-spapr", "spapr-tpm-proxy");
NAMES(tpm_backend_names, TPM_BACKEND_N, "passthrough", "emulator", "external");
NAMES(tpm_version_names, TPM_VERSION_N, "1.2", "2.0");
static const char *const source_names[] = { "", "unix", "dir", "file" };
static const char *const connect_names[] = { "", "connect" };

static const struct field tpm_backend_schema_fields[] = {
	ENUM(struct tpm_backend, type, "@type", tpm_backend_names, REQUIRED, "the host's TPM, swtpm, or another's swtpm"),
	ENUM(struct tpm_backend, version, "@version", tpm_version_names, GUEST, "version of the standard"),
	ENUM(struct tpm_backend, persistent_state, "@persistent_state", yesno_names, 0, "keep its state when the machine is undefined"),
	RESOURCE(struct tpm_backend, device, "device/@path", RES_DEVICE, 0, "the host's TPM"),
	ENUM(struct tpm_backend, source_type, "source/@type", source_names, 0, "a socket, or where its state lies"),
	RESOURCE(struct tpm_backend, source, "source/@path", RES_SOCKET_CONNECT, 0, "socket of swtpm, or where its state lies"),
	ENUM(struct tpm_backend, source_mode, "source/@mode", connect_names, 0, "connect"),
	UUID(struct tpm_backend, encryption, "encryption/@secret", 0, "secret that its state is encrypted with"),
	FLAG(struct tpm_backend, sha1, "active_pcr_banks/sha1", GUEST, "SHA-1 bank is on"),
	FLAG(struct tpm_backend, sha256, "active_pcr_banks/sha256", GUEST, "SHA-256 bank is on"),
	FLAG(struct tpm_backend, sha384, "active_pcr_banks/sha384", GUEST, "SHA-384 bank is on"),
	FLAG(struct tpm_backend, sha512, "active_pcr_banks/sha512", GUEST, "SHA-512 bank is on"),
	KEEP_SILENT("@debug"),
	KEEP_SILENT("profile"),
	EXTRAS(struct tpm_backend, extras), END
};
static SCHEMA(tpm_backend_schema, struct tpm_backend, "backend", "what does the TPM's work");

static const struct field tpm_schema_fields[] = {
	ENUM(struct tpm, model, "@model", tpm_model_names, GUEST, "the interface the guest sees"),
	STRUCT(struct tpm, backend, "backend", tpm_backend_schema, 0, "what does the work"),
	DEVICE_ROWS(struct tpm)
};
SCHEMA(tpm_schema, struct tpm, "tpm", "a trusted platform module");
