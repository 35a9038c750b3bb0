/* SPDX-License-Identifier: MIT */
#ifndef MONITOR_SHELL_OPTIONS_H
#define MONITOR_SHELL_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "vmm/error.h"

/* The command line of vmonsh.  Strings are those of argv. */
struct shell_options {
	const char *target;             /* -s; NULL: see target.h */
	bool json;                      /* -j */
	bool events;                    /* --events */
	bool keep_going;                /* -k */
	bool wait;                      /* --wait */
	const char **command;           /* -c, each */
	size_t commands;
	const char *file;               /* -f */
	const char *wait_event;         /* --wait-event */
	unsigned int timeout_ms;        /* --timeout; 0: for ever */
	const char *complete;           /* --complete, for the completion of other shells */
	char *const *word;              /* what stands behind the options: one command */
	int words;
};

enum shell_options_result {
	SHELL_OPTIONS_OK, SHELL_OPTIONS_HELP, SHELL_OPTIONS_VERSION,
	SHELL_OPTIONS_USAGE             /* *err says what is wrong */
};

enum shell_options_result shell_options_parse(struct shell_options *options, int argc, char **argv,
					      struct error *err);
void shell_options_free(struct shell_options *options);
void shell_options_print_help(FILE *out);

#endif
