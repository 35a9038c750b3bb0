/* SPDX-License-Identifier: MIT */
#include "daemon/daemonize.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* The background process's end of the pipe that the foreground one waits on. */
static int ready_fd = -1;

/*
 * The foreground process.  A byte means ready; the end of the pipe without one, that the background
 * process has ended.  It has said why itself, unless a signal took it.
 */
static void __attribute__((noreturn)) await_ready(int fd)
{
	int status, exit_status = 1;
	char byte;
	ssize_t n;

	do
		n = read(fd, &byte, 1);
	while (n < 0 && errno == EINTR);
	if (n == 1)
		_exit(0);
	/* The intermediate process is among these; it ended with 0. */
	for (;;) {
		if (waitpid(-1, &status, 0) < 0) {
			if (errno == EINTR)
				continue;
			_exit(exit_status);
		}
		if (WIFSIGNALED(status))
			dprintf(STDERR_FILENO, "vmond: --daemonize: the background process died "
				"before it was ready: %s\n", strsignal(WTERMSIG(status)));
		else if (WEXITSTATUS(status))
			exit_status = WEXITSTATUS(status);
	}
}

int daemonize_begin(struct error *err)
{
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return error_errno(err, errno, "--daemonize: pipe");
	/* So that the background process becomes our child, and we learn how it ends. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	pid = fork();
	if (pid > 0) {
		close(fds[1]);
		await_ready(fds[0]);
	}
	close(fds[0]);
	if (pid == 0) {
		setsid();
		pid = fork();
		if (pid > 0)
			_exit(0);
	}
	if (pid < 0) {
		error_errno(err, errno, "--daemonize: fork");
		close(fds[1]);
		return -1;
	}
	ready_fd = fds[1];
	return 0;
}

int daemonize_ready(struct error *err)
{
	int fd, std, rc;

	fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return error_errno(err, errno, "/dev/null");
	for (std = STDIN_FILENO; std <= STDERR_FILENO; std++) {
		if (dup2(fd, std) < 0) {
			error_errno(err, errno, "/dev/null");
			close(fd);
			return -1;
		}
	}
	close(fd);
	/* Somebody may have killed the foreground process: then nobody waits for an answer. */
	rc = write(ready_fd, "", 1) == 1 || errno == EPIPE ? 0 : -1;
	if (rc < 0)
		error_errno(err, errno, "--daemonize");
	close(ready_fd);
	ready_fd = -1;
	return rc;
}
