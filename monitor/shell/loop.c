/* SPDX-License-Identifier: MIT */
#include "monitor/shell/loop.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "vmm/clock.h"

static const int signals[] = {
	SIGINT, SIGTERM, SIGHUP, SIGTSTP, SIGWINCH, SIGCONT, SIGCHLD, SIGQUIT,
};

static bool ending;             /* a single thread's */

int loop_init(struct loop *loop, bool interactive, struct error *err)
{
	sigset_t set;
	size_t i;

	loop->signal_fd = -1;
	if (!interactive)
		return 0;
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	for (i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaddset(&set, signals[i]);
	loop->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (loop->signal_fd < 0 || sigprocmask(SIG_BLOCK, &set, &loop->before) < 0)
		return error_errno(err, errno, "signalfd");
	return 0;
}

void loop_free(struct loop *loop)
{
	if (loop->signal_fd < 0)
		return;
	close(loop->signal_fd);
	loop->signal_fd = -1;
	sigprocmask(SIG_SETMASK, &loop->before, NULL);
}

void loop_child(const struct loop *loop)
{
	signal(SIGPIPE, SIG_DFL);
	if (loop->signal_fd >= 0)
		sigprocmask(SIG_SETMASK, &loop->before, NULL);
}

void loop_suspend(void)
{
	sigset_t set, before;

	/* Not SIGSTOP: where no shell could send it on again, the kernel drops this one. */
	sigemptyset(&set);
	sigaddset(&set, SIGTSTP);
	raise(SIGTSTP);
	sigprocmask(SIG_UNBLOCK, &set, &before);
	sigprocmask(SIG_SETMASK, &before, NULL);
}

static unsigned int read_signals(struct loop *loop)
{
	struct signalfd_siginfo info;
	unsigned int what = 0;

	while (read(loop->signal_fd, &info, sizeof(info)) == sizeof(info)) {
		switch (info.ssi_signo) {
		case SIGINT:    what |= LOOP_INTERRUPT; break;
		case SIGWINCH:
		case SIGCONT:   what |= LOOP_RESIZE; break;
		case SIGTSTP:   what |= LOOP_SUSPEND; break;
		case SIGCHLD:   /* the wait is over: that is all */
		case SIGQUIT:   break;
		default:        ending = true; break;
		}
	}
	return what;
}

unsigned int loop_wait(struct loop *loop, int socket, bool write, int key, int timeout_ms)
{
	struct pollfd fd[] = {
		{ .fd = socket, .events = write ? POLLIN | POLLOUT : POLLIN },
		{ .fd = key, .events = POLLIN },
		{ .fd = loop->signal_fd, .events = POLLIN },
	};
	unsigned int what = 0;
	int n;

	if (ending)
		return LOOP_END;
	n = poll(fd, sizeof(fd) / sizeof(fd[0]), timeout_ms);
	if (n == 0)
		return LOOP_TIMEOUT;
	if (n < 0)
		return 0;
	if (fd[2].revents)
		what |= read_signals(loop);
	if (fd[0].revents)
		what |= LOOP_SOCKET;
	if (fd[1].revents)
		what |= LOOP_KEY;
	return ending ? what | LOOP_END : what;
}

uint64_t loop_now_ms(void)
{
	return (uint64_t)clock_ns(CLOCK_MONOTONIC) / 1000000;
}

int loop_left_ms(uint64_t deadline)
{
	uint64_t now = loop_now_ms();

	if (deadline == UINT64_MAX)
		return -1;
	if (deadline <= now)
		return 0;
	return deadline - now > INT_MAX ? INT_MAX : (int)(deadline - now);
}
