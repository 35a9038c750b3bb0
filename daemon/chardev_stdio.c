/* SPDX-License-Identifier: MIT */
#include "daemon/chardev_internal.h"

#include <fcntl.h>
#include <unistd.h>

#include "daemon/stdio.h"
#include "daemon/terminal.h"

int chardev_stdio_open(struct chardev *c, struct error *err)
{
	int fd;

	fd = stdio_open(STDOUT_FILENO, O_WRONLY, err);
	if (fd < 0 || chardev_output_open(c, fd, err) < 0)
		return -1;
	c->terminal = terminal_take(STDIN_FILENO, false);
	fd = stdio_open(STDIN_FILENO, O_RDONLY, err);
	if (fd < 0)
		return -1;
	return chardev_input_open(c, fd, err);
}

void chardev_stdio_close(struct chardev *c)
{
	if (c->terminal)
		terminal_release();
	stdio_restore();
}
