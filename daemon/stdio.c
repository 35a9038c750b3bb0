/* SPDX-License-Identifier: MIT */
#include "daemon/stdio.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* What F_SETFL is to put back; -1 for nothing.  Main thread only. */
static int restore_flags[] = { -1, -1 };

int stdio_open(int std, int access, struct error *err)
{
	static const char *const names[] = { "standard input", "standard output" };
	char path[32];
	struct stat st;
	int fd = -1, flags;

	if (fstat(std, &st) < 0)
		return error_errno(err, errno, "%s", names[std]);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", std);
	if (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode))
		fd = open(path, access | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	fd = fcntl(std, F_DUPFD_CLOEXEC, 3);
	if (fd < 0)
		return error_errno(err, errno, "%s", names[std]);
	flags = fcntl(fd, F_GETFL);
	if (!S_ISREG(st.st_mode) && flags >= 0 && !(flags & O_NONBLOCK) &&
	    fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0)
		restore_flags[std] = flags;
	return fd;
}

void stdio_restore(void)
{
	for (int std = STDIN_FILENO; std <= STDOUT_FILENO; std++) {
		if (restore_flags[std] >= 0)
			fcntl(std, F_SETFL, restore_flags[std]);
		restore_flags[std] = -1;
	}
}
