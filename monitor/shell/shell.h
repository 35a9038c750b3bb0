/* SPDX-License-Identifier: MIT */
#ifndef MONITOR_SHELL_SHELL_H
#define MONITOR_SHELL_SHELL_H

#include "monitor/shell/options.h"

/* Connects, and carries out what the options say, or what is typed.  Returns the exit status. */
int shell_run(const struct shell_options *options);

#endif
