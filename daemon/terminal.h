/* SPDX-License-Identifier: MIT */
#ifndef DAEMON_TERMINAL_H
#define DAEMON_TERMINAL_H

#include <stdbool.h>

/*
 * The terminal that vmond was started from, in raw mode while a guest or the text monitor has it.
 * Its former modes come back at terminal_release(), at exit(3), and when the process dies of a
 * signal that it can catch.
 *
 * There is one such terminal per process.  Main thread only.
 */

/*
 * Takes `fd` when it is a terminal, so that terminal_grab() may follow.  Returns whether it is one.
 * `fd` must stay open until terminal_release().  With `signals`, ^C and the like go on sending them.
 */
bool terminal_take(int fd, bool signals);

/*
 * Puts the terminal into raw mode: every key arrives; output is still processed, so that
 * log lines and guests that print bare line feeds look right.  A background job leaves the terminal
 * alone.  Returns whether this process may read from the terminal now.  Call it again after
 * SIGCONT.
 */
bool terminal_grab(void);

void terminal_release(void);

#endif
