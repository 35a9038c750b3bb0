/* SPDX-License-Identifier: MIT */
#ifndef DAEMON_STDIO_H
#define DAEMON_STDIO_H

#include "vmm/error.h"

/*
 * A descriptor of our own for fd 0 or 1, which does not block, opened with `access`.  O_NONBLOCK
 * belongs to the open file description, which is shared with whoever started vmond and whatever
 * else runs on the terminal; so the file is opened anew where that can be done.  Where not (a
 * socket, somebody else's terminal), the shared one is changed; stdio_restore() changes it back.  A
 * regular file keeps its shared offset and never blocks anyway.
 */
int stdio_open(int std, int access, struct error *err);
/* What stdio_open() has changed is as it was. */
void stdio_restore(void);

#endif
