/* SPDX-License-Identifier: MIT */
#include "daemon/chardev_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/terminal.h"

/*
 * A descriptor of our own for fd 0 or 1, which does not block.  O_NONBLOCK belongs to the open file
 * description, which is shared with whoever started vmond and whatever else runs on the terminal;
 * so the file is opened anew where that can be done.  Where not (a socket, somebody else's
 * terminal), the shared one is changed, and changed back at the end.  A regular file keeps its
 * shared offset and never blocks anyway.
 */
static int open_own(struct chardev *c, int std, int access, struct error *err)
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
		c->restore_flags[std] = flags;
	return fd;
}

int chardev_stdio_open(struct chardev *c, struct error *err)
{
	int fd;

	fd = open_own(c, STDOUT_FILENO, O_WRONLY, err);
	if (fd < 0 || chardev_output_open(c, fd, err) < 0)
		return -1;
	c->terminal = terminal_take(STDIN_FILENO);
	fd = open_own(c, STDIN_FILENO, O_RDONLY, err);
	if (fd < 0)
		return -1;
	return chardev_input_open(c, fd, err);
}

void chardev_stdio_close(struct chardev *c)
{
	int std;

	if (c->terminal)
		terminal_release();
	for (std = STDIN_FILENO; std <= STDOUT_FILENO; std++)
		if (c->restore_flags[std] >= 0)
			fcntl(std, F_SETFL, c->restore_flags[std]);
}
