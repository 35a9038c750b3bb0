/* SPDX-License-Identifier: MIT */
#ifndef MONITOR_SHELL_WATCH_H
#define MONITOR_SHELL_WATCH_H

#include "monitor/shell/print.h"

/*
 * Lines of `now`, at most `rows`, each cut at the screen's width, with those words marked that
 * differ from the words at the same place in `before`.  `before` NULL: nothing is marked.
 */
void watch_mark(struct text *out, const struct style *style, const char *before, const char *now,
		unsigned int rows);

#endif
