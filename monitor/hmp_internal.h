/* SPDX-License-Identifier: MIT */
#ifndef MONITOR_HMP_INTERNAL_H
#define MONITOR_HMP_INTERNAL_H

#include <limits.h>

#include "monitor/hmp.h"

/*
 * What the files of the human monitor share: the description of a command, its arguments, and the
 * handlers that the tables in hmp.c refer to.
 */

enum hmp_arg {
	HMP_ARG_NONE,           /* ends the list */
	HMP_ARG_FORMAT,         /* "/8xb", right behind the command's name; optional */
	HMP_ARG_INDEX,          /* an expression of 32 bits */
	HMP_ARG_INDEX_OPTIONAL,
	HMP_ARG_NUMBER,         /* an expression of 64 bits */
	HMP_ARG_STRING,         /* a word, or "a quoted string" */
	HMP_ARG_WORD,           /* the same, short: a name or a value */
	HMP_ARG_ON_OFF,         /* "on" or "off" */
	HMP_ARG_REST,           /* the rest of the line, whatever it is */
	HMP_ARG_FLAG,           /* HMP_FLAG('a'): "-a", optional */
};
#define HMP_FLAG(letter)        ((enum hmp_arg)(HMP_ARG_FLAG + (letter)))

#define HMP_ARGS_MAX    5

struct hmp_args {
	char format;            /* o, x, u, d, c or i */
	unsigned long count;
	unsigned int size;      /* of an item, in bytes */
	uint32_t flags;         /* bit 0: -a */
	bool has_index;
	uint32_t index;
	unsigned int nr_numbers;
	uint64_t number[HMP_ARGS_MAX];
	char string[PATH_MAX];
	char word[256];
	bool on;
	const char *rest;
};

bool hmp_has_flag(const struct hmp_args *args, char letter);

struct hmp_command {
	const char *names;                      /* "stop|s"; NULL ends a table */
	enum hmp_arg args[HMP_ARGS_MAX];
	const char *params;                     /* as help shows them */
	const char *help;
	void (*run)(struct hmp *hmp, const struct hmp_args *args);
	const struct hmp_command *sub;          /* subcommands, or NULL */
};

/*
 * Parses the arguments of a command, which begin at `p`.  Returns -1 when they are wrong and the
 * reason has been printed.
 */
int hmp_parse_args(struct hmp *hmp, const struct hmp_command *command, const char *p,
		   struct hmp_args *args);

/*
 * Takes a word or a quoted string off *p into buf.  Returns -1 when there is none, or a wrong one,
 * about which it prints a line.
 */
int hmp_parse_string(struct hmp *hmp, const char **p, char *buf, size_t size);

const char *hmp_skip_spaces(const char *p);

/*
 * Evaluates the expression at *p: numbers, 'c', $register, parentheses, ~ + - * / % & | ^, and
 * leaves *p behind it.  Returns -1 when it is wrong and the reason has been printed.
 */
int hmp_eval(struct hmp *hmp, const char **p, uint64_t *value);

/*
 * vm_inspect_begin() for a command: parks vCPU `index` (-1: all) and fetches the substates of
 * `mask` (bit per enum vcpu_substate).  Returns -1 when it failed, the reason has been printed, and
 * there is nothing to end.
 */
int hmp_inspect_begin(struct hmp *hmp, int index, uint32_t mask);
void hmp_inspect_end(struct hmp *hmp);

/* "Error: <text>", as QEMU prints what a QMP command has to say. */
void hmp_print_error(struct hmp *hmp, const struct error *err);

/* hmp_cpuid.c */
void hmp_info_cpuid(struct hmp *hmp, const struct hmp_args *args);

/* hmp_control.c */
void hmp_stop(struct hmp *hmp, const struct hmp_args *args);
void hmp_cont(struct hmp *hmp, const struct hmp_args *args);
void hmp_system_reset(struct hmp *hmp, const struct hmp_args *args);
void hmp_system_powerdown(struct hmp *hmp, const struct hmp_args *args);
void hmp_quit(struct hmp *hmp, const struct hmp_args *args);
void hmp_nmi(struct hmp *hmp, const struct hmp_args *args);
void hmp_cpu(struct hmp *hmp, const struct hmp_args *args);

/* hmp_memory.c */
void hmp_x(struct hmp *hmp, const struct hmp_args *args);
void hmp_xp(struct hmp *hmp, const struct hmp_args *args);
void hmp_memsave(struct hmp *hmp, const struct hmp_args *args);
void hmp_pmemsave(struct hmp *hmp, const struct hmp_args *args);

/* hmp_info.c */
void hmp_info_cpus(struct hmp *hmp, const struct hmp_args *args);
void hmp_info_kvm(struct hmp *hmp, const struct hmp_args *args);
void hmp_info_name(struct hmp *hmp, const struct hmp_args *args);
void hmp_info_status(struct hmp *hmp, const struct hmp_args *args);
void hmp_info_uuid(struct hmp *hmp, const struct hmp_args *args);
void hmp_info_vcpu_sync(struct hmp *hmp, const struct hmp_args *args);
void hmp_info_version(struct hmp *hmp, const struct hmp_args *args);

/* hmp_inspect.c */
void hmp_info_lapic(struct hmp *hmp, const struct hmp_args *args);
void hmp_info_mem(struct hmp *hmp, const struct hmp_args *args);
void hmp_info_nested(struct hmp *hmp, const struct hmp_args *args);
void hmp_info_registers(struct hmp *hmp, const struct hmp_args *args);
void hmp_info_tlb(struct hmp *hmp, const struct hmp_args *args);

/* hmp_migrate.c */
void hmp_migrate(struct hmp *hmp, const struct hmp_args *args);
void hmp_migrate_cancel(struct hmp *hmp, const struct hmp_args *args);
void hmp_migrate_incoming(struct hmp *hmp, const struct hmp_args *args);
void hmp_migrate_set_capability(struct hmp *hmp, const struct hmp_args *args);
void hmp_migrate_set_parameter(struct hmp *hmp, const struct hmp_args *args);
void hmp_snapshot_save(struct hmp *hmp, const struct hmp_args *args);
void hmp_getfd(struct hmp *hmp, const struct hmp_args *args);
void hmp_closefd(struct hmp *hmp, const struct hmp_args *args);
void hmp_info_migrate(struct hmp *hmp, const struct hmp_args *args);
void hmp_info_migrate_capabilities(struct hmp *hmp, const struct hmp_args *args);
void hmp_info_migrate_parameters(struct hmp *hmp, const struct hmp_args *args);

/* hmp_mtree.c */
void hmp_info_mtree(struct hmp *hmp, const struct hmp_args *args);

/* hmp_xen.c */
void hmp_info_xen(struct hmp *hmp, const struct hmp_args *args);

#endif
