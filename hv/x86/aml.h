/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * AML byte-code builder (ACPI 6.5 chapter 20): a stream writer. AML is prefix code, so terms are
 * written in the order they appear in the grammar: an operator, then its operands.
 *
 *	aml_op(a, AML_STORE);  aml_int(a, 1);  aml_path(a, "CSEL");	// CSEL = 1
 *
 * What has a length in front of it (Device, Method, If, Package, ...) is opened by its function and
 * closed by aml_close(), innermost first; lengths are filled in on closing and integers take their
 * shortest form, so the bytes are those iasl makes from the same source.
 *
 * The caller is trusted code with constant input: wrong names, or blocks left open, are bugs and
 * assert. Only sizes and numbers may come from a configuration. One thread at a time per builder.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define AML_DEPTH_MAX 16

/* opcodes that take their operands as the terms that follow; 0x5bxx are the two-byte ones */
enum aml_opcode {
	AML_ZERO = 0x00,		/* as a target: result not wanted */
	AML_NAME = 0x08,
	AML_LOCAL0 = 0x60,		/* + n */
	AML_ARG0 = 0x68,		/* + n */
	AML_STORE = 0x70,		/* source target */
	AML_INCREMENT = 0x75,		/* target */
	AML_AND = 0x7b,			/* a b target */
	AML_NOTIFY = 0x86,		/* object value */
	AML_LNOT = 0x92,		/* a */
	AML_LEQUAL = 0x93,		/* a b */
	AML_LLESS = 0x95,		/* a b */
	AML_RETURN = 0xa4,		/* value */
	AML_RELEASE = 0x5b27,		/* mutex */
};

/* field access width and what happens to the bits a write does not name */
enum aml_access { AML_ACC_ANY, AML_ACC_BYTE, AML_ACC_WORD, AML_ACC_DWORD };
enum aml_update { AML_PRESERVE, AML_WRITE_ONES, AML_WRITE_ZEROS };

/* address spaces of a resource descriptor */
enum aml_space { AML_MEM, AML_IO, AML_BUS };

struct aml {
	GByteArray *out;		/* the caller's; terms are appended */
	unsigned depth;
	struct { guint at; bool resource; } open[AML_DEPTH_MAX];
};

void aml_init(struct aml *a, GByteArray *out);
/* Assert that every block was closed. */
void aml_finish(struct aml *a);

/* --- terms --- */
void aml_op(struct aml *a, enum aml_opcode op);
void aml_local(struct aml *a, unsigned n);
void aml_arg(struct aml *a, unsigned n);
/* A name: "CPEN", "\\_SB.PCI0", "^CPUS.C000"; segments of 1 to 4 of A-Z 0-9 _, not digit first. */
void aml_path(struct aml *a, const char *path);
void aml_int(struct aml *a, uint64_t v);
void aml_string(struct aml *a, const char *s);
/* An EISA id such as "PNP0501" as the integer it stands for. */
void aml_eisaid(struct aml *a, const char *id);
void aml_buffer(struct aml *a, const void *p, size_t len);

/* --- declarations; the value of aml_name() is the term that follows --- */
void aml_name(struct aml *a, const char *path);
void aml_name_int(struct aml *a, const char *path, uint64_t v);
void aml_name_string(struct aml *a, const char *path, const char *s);
void aml_name_eisaid(struct aml *a, const char *path, const char *id);
void aml_mutex(struct aml *a, const char *path);
void aml_acquire(struct aml *a, const char *path);	/* waits for ever */
void aml_release(struct aml *a, const char *path);
void aml_io_region(struct aml *a, const char *path, uint64_t port, uint64_t len);

/* --- blocks, each ended by aml_close() --- */
void aml_scope(struct aml *a, const char *path);
void aml_device(struct aml *a, const char *path);
void aml_method(struct aml *a, const char *path, unsigned args, bool serialized);
void aml_package(struct aml *a, unsigned elements);
void aml_field(struct aml *a, const char *region, enum aml_access access, enum aml_update update);
/* A unit of the open field; @name NULL skips the bits. */
void aml_field_bits(struct aml *a, const char *name, unsigned bits);
void aml_if(struct aml *a);		/* the predicate follows */
void aml_while(struct aml *a);		/* the predicate follows */
void aml_close(struct aml *a);

/* --- resource template (ACPI 6.5 section 6.4): a Buffer; closed by aml_close() too --- */
void aml_resources(struct aml *a);
void aml_res_io(struct aml *a, uint16_t port, uint8_t len);
void aml_res_irq(struct aml *a, unsigned irq);		/* ISA line 0..15, edge, active high */
void aml_res_mem32(struct aml *a, uint32_t base, uint32_t len);
/*
 * A window that a bridge passes on (@producer) or a device decodes: @base, @len > 0, its end
 * not beyond 64 bits. @width is 2, 4 or 8 bytes and must hold base and end.
 */
void aml_res_window(struct aml *a, enum aml_space space, unsigned width, bool producer,
		    uint64_t base, uint64_t len);
