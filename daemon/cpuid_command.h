/* SPDX-License-Identifier: MIT */
#ifndef DAEMON_CPUID_COMMAND_H
#define DAEMON_CPUID_COMMAND_H

#include "vmm/error.h"

/*
 * `vmond cpuid`: prints what this host's KVM can show a guest of the processor, or, with --cpu, what
 * one guest would be shown.
 */
enum cpuid_command_result {
	CPUID_COMMAND_OK,
	CPUID_COMMAND_USAGE,            /* *err says what is wrong with the arguments */
	CPUID_COMMAND_FAILURE,          /* *err says what can not be done */
};

/* argv[0] is the first argument.  Prints to stdout; whether it got there is for the caller to see. */
enum cpuid_command_result cpuid_command(int argc, char *const *argv, struct error *err);

#endif
