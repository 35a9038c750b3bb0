/* SPDX-License-Identifier: MIT */
#include "daemon/activation.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FIRST_FD 3

static long parse_number(const char *text)
{
	char *end;
	long value;

	errno = 0;
	value = strtol(text, &end, 10);
	return *text >= '0' && *text <= '9' && !*end && !errno ? value : -1;
}

/* The variables as they stand: -1 with the reason if they name no sockets of this process. */
static int check(const char *pid, const char *fds, long *count, struct error *err)
{
	if (!pid || !fds)
		return error_set(err, ENOENT, "LISTEN_PID and LISTEN_FDS are not set; a service "
				 "gets them that belongs to a .socket unit");
	if (parse_number(pid) != getpid())
		return error_set(err, ENOENT, "LISTEN_PID is %.32s, and this is process %ld: they "
				 "are somebody else's", pid, (long)getpid());
	*count = parse_number(fds);
	if (*count < 1 || *count > ACTIVATION_MAX)
		return error_set(err, EINVAL, "LISTEN_FDS is %.32s, and must be from 1 to %d", fds,
				 ACTIVATION_MAX);
	return 0;
}

static int take(struct activation *a, const char *names, long count, struct error *err)
{
	char *rest = a->names;

	if ((size_t)snprintf(a->names, sizeof(a->names), "%s", names ? names : "") >=
	    sizeof(a->names))
		return error_set(err, E2BIG, "LISTEN_FDNAMES is too long");
	for (int i = 0; i < count; i++) {
		const char *name = strsep(&rest, ":");

		if (fcntl(FIRST_FD + i, F_SETFD, FD_CLOEXEC) < 0)
			return error_set(err, errno, "LISTEN_FDS is %ld, and descriptor %d is not "
					 "open", count, FIRST_FD + i);
		/* As sd_listen_fds_with_names() has it. */
		a->passed[i] = (struct passed_socket){
			.fd = FIRST_FD + i, .name = name && *name ? name : "unknown",
		};
	}
	a->count = (size_t)count;
	return 0;
}

void activation_take(struct activation *a)
{
	long count = 0;

	a->count = 0;
	if (check(getenv("LISTEN_PID"), getenv("LISTEN_FDS"), &count, &a->why_none) == 0)
		take(a, getenv("LISTEN_FDNAMES"), count, &a->why_none);
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
}
