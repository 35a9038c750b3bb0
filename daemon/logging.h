/* SPDX-License-Identifier: MIT */
#ifndef DAEMON_LOGGING_H
#define DAEMON_LOGGING_H

#include <stddef.h>

#include "vmm/log.h"

/*
 * Where the lines of vmm/log.h go: to standard error as "vmond[NAME]: warning: TEXT", and from
 * logging_use_syslog() on to syslog(3), facility daemon.
 *
 * Lines may quote a guest, a client or a file, so what could command a terminal is escaped.  A line
 * is one write(2): threads do not interleave.  A reader of standard error that has stalled holds up
 * nobody: lines that it can not take are dropped, and the next one that gets through counts them.
 *
 * The two functions that set things up are for the main thread while there is no other.
 */

/* `name` is --name, or NULL; it is kept.  Lines above `max` in verbosity are dropped. */
void logging_init(const char *name, enum log_level max);

void logging_use_syslog(void);

/*
 * Copies `text` to `out` (`size` > 0 bytes, always terminated) with control characters, and bytes
 * that are not UTF-8, as \n, \t, \x1b and so on.  Backslashes stay: the result is for reading, not
 * for parsing.  What does not fit is cut off.  Returns the length of `out`.
 */
size_t logging_escape(char *out, size_t size, const char *text);

#endif
