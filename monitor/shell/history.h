/* SPDX-License-Identifier: MIT */
#ifndef MONITOR_SHELL_HISTORY_H
#define MONITOR_SHELL_HISTORY_H

/*
 * The file of lines entered, $XDG_STATE_HOME/vmonsh/history (else ~/.local/state/...): private to
 * its owner, one line each, added to at once, so that shells side by side and a killed one lose
 * nothing.  Where it can not be written there is none, silently: it is a convenience.
 */

#define HISTORY_LINES 1000      /* that are read; a file of twice as many is cut */

/* The path, to be freed; its directories are made.  NULL when there is no place. */
char *history_path(void);

/* Calls `fn` with the last lines of the file, oldest first. */
void history_load(const char *path, void (*fn)(void *opaque, const char *line), void *opaque);

/* A line that begins with a space is not kept. */
void history_append(const char *path, const char *line);

#endif
