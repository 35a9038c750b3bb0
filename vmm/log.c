/* SPDX-License-Identifier: MIT */
#include "vmm/log.h"

#include <stdarg.h>
#include <stdio.h>

static log_sink *log_sink_fn;
static enum log_level log_max = LOG_LEVEL_INFO;

void log_set_sink(log_sink *sink, enum log_level max)
{
	log_sink_fn = sink;
	log_max = max;
}

void log_line(enum log_level level, const char *fmt, ...)
{
	char line[1024];
	va_list ap;

	if (!log_sink_fn || level > log_max)
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	log_sink_fn(level, line);
}
