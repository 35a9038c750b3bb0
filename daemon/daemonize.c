/* SPDX-License-Identifier: MIT */
#include "daemon/daemonize.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* The background process's end of the pipe that the foreground one waits on. */
static int ready_fd = -1;

/* What came before the end of the pipe. */
static size_t read_up_to(int fd, void *bytes, size_t len)
{
	ssize_t n;

	do
		n = read(fd, bytes, len);
	while (n < 0 && errno == EINTR);
	return n > 0 ? (size_t)n : 0;
}

/* Ends this process as that one has ended, unless that was well. */
static void await_end(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			_exit(1);
	if (WIFSIGNALED(status)) {
		dprintf(STDERR_FILENO, "vmond: --daemonize: the background process died before it "
			"was ready: %s\n", strsignal(WTERMSIG(status)));
		_exit(1);
	}
	if (WEXITSTATUS(status))
		_exit(WEXITSTATUS(status));
}

/*
 * The foreground process.  Through the pipe comes who the background process is, and then a byte,
 * which means ready; or the end without one: it has ended.  It has said why itself, unless a signal
 * took it.  There may be other children, of a script that has become vmond, say: they may live on
 * and are not waited for.
 */
static void __attribute__((noreturn)) await_ready(int fd, pid_t intermediate)
{
	pid_t background;
	char byte;

	await_end(intermediate);
	if (read_up_to(fd, &background, sizeof(background)) == sizeof(background)) {
		if (read_up_to(fd, &byte, 1) == 1)
			_exit(0);
		await_end(background);
	}
	_exit(1);
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
		await_ready(fds[0], pid);
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
	/* Nobody to read it any more is no reason to end: see daemonize_ready(). */
	signal(SIGPIPE, SIG_IGN);
	pid = getpid();
	(void)!write(ready_fd, &pid, sizeof(pid));
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
