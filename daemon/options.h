/* SPDX-License-Identifier: MIT */
#ifndef DAEMON_OPTIONS_H
#define DAEMON_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "vmm/error.h"
#include "vmm/log.h"
#include "vmm/xen_hvm.h"

/*
 * The options of `vmond run`, from the command line and from a JSON file.  One table in options.c
 * drives both, and the text of --help.
 */

struct monitor_option;

struct option_list {
	char **item;
	unsigned int count;
};

struct options {
	char *name;                     /* NULL for none */
	char *uuid;                     /* 36 characters, lower case; NULL for none */
	unsigned int cpus;              /* 0 where smp says it */
	char *smp;                      /* see cpu_topology_parse(); NULL for none */
	char *cpu;                      /* see cpu_model_parse(); NULL for the default */
	uint64_t memory;                /* bytes, a multiple of 4096 */
	char *kernel, *append;          /* NULL for none */
	struct option_list initrd;
	struct option_list monitor;     /* for monitor_address_parse() */
	struct option_list monitor_allow;       /* for access_add() */
	char *serial;                   /* an address for chardev_new(); NULL for the default */
	char *serial_id;                /* its name for clients; NULL for the default */
	char *incoming;                 /* a URI, or "defer"; NULL for none */
	char *clone;                    /* NULL for none */
	char *generation_id;            /* as uuid, or "auto"; NULL for none */
	char *xen_hvm;                  /* for option_parse_xen_hvm(); NULL for none */
	char *pidfile;                  /* NULL for none */
	char *config;                   /* NULL for none */
	enum log_level log_level;
	bool paused, no_shutdown, no_reboot, daemonize, allow_missing_features;
};

enum options_result {
	OPTIONS_OK,
	OPTIONS_HELP,           /* --help was asked for, and nothing else matters */
	OPTIONS_USAGE,          /* the user has to write something else */
	OPTIONS_FAILURE,        /* the configuration file can not be read, or no memory */
};

/*
 * Parses arguments (argv[0] is the first of them, not the program's name).  *options is filled with
 * defaults first; options_free() is due whatever is returned.
 *
 * An option that may be given once only is refused the second time.  What stands on the command
 * line beats the file; a list there replaces the file's.
 */
enum options_result options_parse(struct options *options, int argc, char *const *argv,
				  struct error *err);
void options_free(struct options *options);

/*
 * The value of --xen-hvm, in which names of files may be any but that a comma in them stands twice.
 * Cuts `text` into pieces, which *config then refers to.
 */
int option_parse_xen_hvm(char *text, struct xen_hvm_config *config, struct error *err);

/* Number n of the table, for clients; false when there are no more. */
bool options_describe(unsigned int n, struct monitor_option *option);

/* The table as text, a line or more per option. */
void options_print_help(FILE *out);

#endif
