/* SPDX-License-Identifier: MIT */
#include "daemon/terminal.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

/* Written by the main thread; read by whichever thread a fatal signal hits. */
static volatile sig_atomic_t terminal_fd = -1, terminal_is_raw;
static struct termios terminal_modes;
static bool terminal_signals;

static const int fatal_signals[] = {
	SIGQUIT, SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGSYS, SIGALRM, SIGVTALRM,
	SIGPROF, SIGUSR1, SIGUSR2, SIGXCPU, SIGIO, SIGPWR,
};

/* Changing the modes of a terminal that another job has in front would stop this process. */
static bool in_background(int fd)
{
	pid_t front = tcgetpgrp(fd);

	return front >= 0 && front != getpgrp();
}

/* Safe in signal handlers: tcgetpgrp, getpgrp and tcsetattr are. */
static void restore(void)
{
	int fd = terminal_fd;

	if (fd >= 0 && terminal_is_raw && !in_background(fd)) {
		terminal_is_raw = 0;
		tcsetattr(fd, TCSANOW, &terminal_modes);
	}
}

/* SA_RESETHAND has put the default action back: it comes when this returns. */
static void on_fatal_signal(int sig)
{
	int saved_errno = errno;

	restore();
	raise(sig);
	errno = saved_errno;
}

static void install_exit_paths(void)
{
	static bool installed;
	struct sigaction sa = { .sa_handler = on_fatal_signal, .sa_flags = SA_RESETHAND }, now;
	size_t i;

	if (installed)
		return;
	installed = true;
	atexit(restore);
	/* A signal that somebody else has a use for does not end the process. */
	for (i = 0; i < sizeof(fatal_signals) / sizeof(fatal_signals[0]); i++)
		if (sigaction(fatal_signals[i], NULL, &now) == 0 && now.sa_handler == SIG_DFL)
			sigaction(fatal_signals[i], &sa, NULL);
}

bool terminal_take(int fd, bool signals)
{
	if (tcgetattr(fd, &terminal_modes) < 0)
		return false;
	terminal_fd = fd;
	terminal_signals = signals;
	install_exit_paths();
	return true;
}

bool terminal_grab(void)
{
	struct termios raw = terminal_modes;

	if (terminal_fd < 0 || in_background(terminal_fd))
		return false;
	raw.c_iflag &= ~(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
	raw.c_lflag &= ~(ECHO | ECHONL | ICANON | IEXTEN | (terminal_signals ? 0 : ISIG));
	raw.c_cflag &= ~(CSIZE | PARENB);
	raw.c_cflag |= CS8;
	raw.c_cc[VMIN] = 1;
	raw.c_cc[VTIME] = 0;
	terminal_is_raw = 1;
	return tcsetattr(terminal_fd, TCSANOW, &raw) == 0;
}

void terminal_release(void)
{
	restore();
	terminal_fd = -1;
}
