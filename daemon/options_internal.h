/* SPDX-License-Identifier: MIT */
#ifndef DAEMON_OPTIONS_IMPL_H
#define DAEMON_OPTIONS_IMPL_H

#include <stddef.h>

#include "daemon/options.h"

/* Between options.c (table, command line), options_value.c and options_config.c. */

enum option_type {
	OPTION_FLAG,            /* bool */
	OPTION_STRING,          /* char * */
	OPTION_LIST,            /* struct option_list */
	OPTION_CPUS,            /* unsigned int */
	OPTION_SIZE,            /* uint64_t */
	OPTION_LEVEL,           /* enum log_level */
};

struct option_spec {
	const char *name;       /* without the dashes; also the key in the file */
	enum option_type type;
	const char *argument;   /* NULL for a flag */
	const char *help;
	size_t field;           /* offset in struct options */
	/* For strings: checks the value, and may put it into canonical form.  NULL: all will do. */
	int (*check)(char *value, struct error *err);
};

#define OPTION_MAX 32

extern const struct option_spec option_specs[];         /* ends with name NULL */

/* Index into option_specs of a name of `len` bytes, -1 when there is none. */
int option_find(const char *name, size_t len);

/*
 * Parses a value into its field; a list grows.  The error's text is the reason alone; its code is
 * ENOMEM exactly when memory has run out.
 */
int option_set(struct options *options, const struct option_spec *spec, const char *value,
	       struct error *err);

int option_check_file(char *value, struct error *err);
int option_check_name(char *value, struct error *err);
int option_check_uuid(char *value, struct error *err);
int option_check_generation_id(char *value, struct error *err);
int option_check_monitor(char *value, struct error *err);
int option_check_monitor_allow(char *value, struct error *err);
int option_check_serial(char *value, struct error *err);
int option_check_serial_id(char *value, struct error *err);
int option_check_smp(char *value, struct error *err);
int option_check_cpu(char *value, struct error *err);
int option_check_xen_hvm(char *value, struct error *err);

/* Sets what the file at `path` says. */
enum options_result options_read_config(struct options *options, const char *path,
					struct error *err);

#endif
