/* SPDX-License-Identifier: MIT */
#ifndef MONITOR_SHELL_LOOP_H
#define MONITOR_SHELL_LOOP_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/error.h"

/*
 * What vmonsh waits for, all in one place: the server, a key, a signal, a time.  In an interactive
 * session signals come through here instead of handlers, so that the terminal is always left in
 * order; in a script they do what they do.
 */
struct loop {
	int signal_fd;          /* -1: signals are left alone */
	sigset_t before;        /* the signal mask of whoever started vmonsh */
};

/* What has happened; more than one bit may be set. */
enum {
	LOOP_SOCKET = 1, LOOP_KEY = 2, LOOP_TIMEOUT = 4,
	LOOP_INTERRUPT = 8,     /* SIGINT */
	LOOP_RESIZE = 16,       /* SIGWINCH, SIGCONT */
	LOOP_SUSPEND = 32,      /* SIGTSTP */
	LOOP_END = 64,          /* SIGTERM, SIGHUP; comes again at every wait */
};

int loop_init(struct loop *loop, bool interactive, struct error *err);
void loop_free(struct loop *loop);

/*
 * Waits for `socket` (-1: none), also to become writable if asked, for input on `key` (-1: none),
 * and at most `timeout_ms` (-1: for ever).
 */
unsigned int loop_wait(struct loop *loop, int socket, bool write, int key, int timeout_ms);

/* In a child process, before it runs another program. */
void loop_child(const struct loop *loop);

/* Stops the process, as SIGTSTP does; returns when it goes on. */
void loop_suspend(void);

/* Milliseconds of a clock that only goes on. */
uint64_t loop_now_ms(void);

/* What is left until `deadline` for loop_wait(); -1 for UINT64_MAX, which never comes. */
int loop_left_ms(uint64_t deadline);

#endif
