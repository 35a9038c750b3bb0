/* SPDX-License-Identifier: MIT */
#include "daemon/logging.h"

#include <limits.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

static const struct {
	const char *name;
	int priority;
} levels[] = {
	[LOG_LEVEL_ERROR] = { "error", LOG_ERR },
	[LOG_LEVEL_WARNING] = { "warning", LOG_WARNING },
	[LOG_LEVEL_INFO] = { "info", LOG_INFO },
	[LOG_LEVEL_DEBUG] = { "debug", LOG_DEBUG },
};

/* Constant once other threads exist. */
static const char *machine_name;
static enum log_level max_level;

/* Any thread. */
static atomic_uint lines_lost;

/*
 * Length of the printable UTF-8 character at `s`, 0 when there is none: RFC 3629's well-formed
 * sequences without the control characters of either half of Latin 1.
 */
static size_t printable_length(const unsigned char *s)
{
	static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };
	uint32_t c = s[0];
	size_t len, i;

	if (c < 0x80)
		return c >= 0x20 && c != 0x7f;
	if (c < 0xc2 || c > 0xf4)
		return 0;
	len = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
	c &= 0x7f >> len;
	for (i = 1; i < len; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3f);
	}
	if (c < smallest[len] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff) || c < 0xa0)
		return 0;
	return len;
}

size_t logging_escape(char *out, size_t size, const char *text)
{
	const unsigned char *s = (const unsigned char *)text;
	size_t used = 0;

	while (*s) {
		char code[8];
		const char *piece = (const char *)s;
		size_t len = printable_length(s), step = len;

		if (!len) {
			if (*s == '\n' || *s == '\t' || *s == '\r')
				len = snprintf(code, sizeof(code), "\\%c",
					       *s == '\n' ? 'n' : *s == '\t' ? 't' : 'r');
			else
				len = snprintf(code, sizeof(code), "\\x%02x", *s);
			piece = code;
			step = 1;
		}
		if (len >= size - used)
			break;
		memcpy(out + used, piece, len);
		used += len;
		s += step;
	}
	out[used] = '\0';
	return used;
}

/* A pipe takes up to PIPE_BUF bytes whole or not at all, and poll(2) says which. */
static void write_stderr(const char *line, size_t len)
{
	struct pollfd pfd = { .fd = STDERR_FILENO, .events = POLLOUT };
	char notice[64];
	unsigned int lost;

	if (poll(&pfd, 1, 0) == 0) {
		atomic_fetch_add(&lines_lost, 1);
		return;
	}
	if (write(STDERR_FILENO, line, len) < 0) {
		atomic_fetch_add(&lines_lost, 1);
		return;
	}
	if (atomic_load_explicit(&lines_lost, memory_order_relaxed) == 0)
		return;
	lost = atomic_exchange(&lines_lost, 0);
	if (lost) {
		int n = snprintf(notice, sizeof(notice),
				 "vmond: warning: %u earlier log lines were lost\n", lost);

		if (poll(&pfd, 1, 0) == 0 || write(STDERR_FILENO, notice, n) < 0)
			atomic_fetch_add(&lines_lost, lost);
	}
}

static void sink_stderr(enum log_level level, const char *text)
{
	char line[PIPE_BUF];
	size_t used;

	used = machine_name ? snprintf(line, sizeof(line), "vmond[%s]: %s: ", machine_name,
				       levels[level].name) :
			      snprintf(line, sizeof(line), "vmond: %s: ", levels[level].name);
	used += logging_escape(line + used, sizeof(line) - used - 1, text);
	line[used++] = '\n';
	write_stderr(line, used);
}

static void sink_syslog(enum log_level level, const char *text)
{
	char line[PIPE_BUF];

	logging_escape(line, sizeof(line), text);
	syslog(levels[level].priority, "%s%s%s", machine_name ? machine_name : "",
	       machine_name ? ": " : "", line);
}

void logging_init(const char *name, enum log_level max)
{
	machine_name = name;
	max_level = max;
	log_set_sink(sink_stderr, max);
}

void logging_use_syslog(void)
{
	openlog("vmond", LOG_PID, LOG_DAEMON);
	log_set_sink(sink_syslog, max_level);
}
