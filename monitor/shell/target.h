/* SPDX-License-Identifier: MIT */
#ifndef MONITOR_SHELL_TARGET_H
#define MONITOR_SHELL_TARGET_H

#include "vmm/error.h"

/*
 * Finds the socket that `target` means: a path, which has a slash in it (or "unix:" in front), or
 * the name of a VM, whose socket is NAME.sock in $XDG_RUNTIME_DIR/vmond or /run/vmond, or NAME in
 * the working directory.  NULL means $VMOND_SOCKET, which can be either, and without that the only
 * VM that has a socket there.  Returns the path, to be freed; NULL on error.
 */
char *target_find(const char *target, struct error *err);

/* What to call the VM whose socket is at `path`: the file's name, without ".sock".  To be freed. */
char *target_name(const char *path);

#endif
