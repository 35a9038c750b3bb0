/* SPDX-License-Identifier: MIT */
#include "monitor/migrate_channel.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* How long a process that is to end has for it, and that one of an incoming transfer anyway. */
#define GRACE_MS        1000
/* How often a process that may take as long as it likes looks whether it still may. */
#define LOOK_MS         50
/* Fewer changes between the two ends. */
#define PIPE_SIZE       (1 << 20)

/* The transfer's thread, once it has begun. */
struct command_end {
	int fd;
	pid_t pid;
	int pidfd;
	bool out;
};

/* Whether the command ends within a time. */
static bool ends_within(const struct command_end *end, int ms)
{
	struct pollfd poll_fd = { .fd = end->pidfd, .events = POLLIN };
	int ret;

	/* No signal reaches this thread often enough to keep it here. */
	do
		ret = poll(&poll_fd, 1, ms);
	while (ret < 0 && errno == EINTR);
	return ret > 0;
}

/* While it has not been reaped nobody else can get its id, nor that of its group. */
static void stop_command(const struct command_end *end)
{
	kill(-end->pid, SIGTERM);
	ends_within(end, GRACE_MS);
	kill(-end->pid, SIGKILL);
}

static int reap(const struct command_end *end, struct error *err)
{
	siginfo_t info = { 0 };

	while (waitid(P_PIDFD, (id_t)end->pidfd, &info, WEXITED) < 0)
		if (errno != EINTR)
			return error_errno(err, errno, "the command of exec: can not be waited for");
	if (info.si_code != CLD_EXITED)
		return error_set(err, ECHILD, "the command of exec: was ended by signal %d",
				 info.si_status);
	if (info.si_status)
		return error_set(err, ECHILD, "the command of exec: has exited with status %d",
				 info.si_status);
	return 0;
}

static int finish_command(void *opaque, bool complete, const _Atomic bool *cancelled,
			  struct error *err)
{
	struct command_end *end = opaque;
	int ret;

	/* First, so that what came so far does not look like all of it. */
	if (!complete)
		stop_command(end);
	close(end->fd);
	if (complete && end->out)
		while (!*cancelled && !ends_within(end, LOOK_MS))
			;
	if (complete && !ends_within(end, end->out ? 0 : GRACE_MS))
		stop_command(end);
	ret = reap(end, err);
	close(end->pidfd);
	free(end);
	return complete ? ret : -1;
}

/*
 * `stream` becomes the command's standard input or output.  vmond blocks and ignores signals in
 * ways that a command does not expect, and prefers its event loop to what it runs.
 */
static int spawn(const char *command, int stream, bool out, pid_t *pid)
{
	char *const argv[] = { "sh", "-c", (char *)command, NULL };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t signals;
	int code;

	code = posix_spawn_file_actions_init(&actions);
	if (code)
		return code;
	code = posix_spawnattr_init(&attr);
	if (code) {
		posix_spawn_file_actions_destroy(&actions);
		return code;
	}
	code = posix_spawn_file_actions_adddup2(&actions, stream,
						out ? STDIN_FILENO : STDOUT_FILENO);
	if (!code)
		code = posix_spawn_file_actions_addopen(&actions,
							out ? STDOUT_FILENO : STDIN_FILENO,
							"/dev/null", O_RDWR, 0);
	if (!code)
		code = posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
				 POSIX_SPAWN_SETPGROUP);
	sigemptyset(&signals);
	posix_spawnattr_setsigmask(&attr, &signals);
	sigfillset(&signals);
	posix_spawnattr_setsigdefault(&attr, &signals);
	if (!code)
		code = posix_spawn(pid, "/bin/sh", &actions, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	if (!code && getpriority(PRIO_PROCESS, 0) < 0)
		setpriority(PRIO_PGRP, (id_t)*pid, 0);
	return code;
}

static int start(struct command_end *end, const char *command, struct error *err)
{
	int fds[2], ours, code;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return error_errno(err, errno, "exec: a pipe");
	ours = end->out ? 1 : 0;
	end->fd = fds[ours];
	fcntl(end->fd, F_SETPIPE_SZ, PIPE_SIZE);
	/* Only this end: the command's has flags of its own. */
	code = fcntl(end->fd, F_SETFL, O_NONBLOCK) < 0 ? errno :
	       spawn(command, fds[!ours], end->out, &end->pid);
	close(fds[!ours]);
	if (code) {
		close(end->fd);
		return error_errno(err, code, "exec: /bin/sh");
	}
	end->pidfd = pidfd_open(end->pid, 0);
	if (end->pidfd >= 0)
		return 0;
	error_errno(err, errno, "exec: the command");
	kill(-end->pid, SIGKILL);
	while (waitpid(end->pid, NULL, 0) < 0 && errno == EINTR)
		;
	close(end->fd);
	return -1;
}

static int open_command(const char *command, bool out, struct migration_channel *channel,
			struct error *err)
{
	struct command_end *end = calloc(1, sizeof(*end));

	if (!end)
		return error_set(err, ENOMEM, "out of memory for a migration");
	end->out = out;
	if (start(end, command, err) < 0) {
		free(end);
		return -1;
	}
	*channel = (struct migration_channel){ .fd = end->fd, .finish = finish_command,
					       .opaque = end };
	return 0;
}

int migrate_exec_out(const char *command, struct migration_channel *channel, struct error *err)
{
	return open_command(command, true, channel, err);
}

int migrate_exec_in(const char *command, struct migration_channel *channel, struct error *err)
{
	return open_command(command, false, channel, err);
}
