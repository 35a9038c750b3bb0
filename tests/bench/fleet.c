/* SPDX-License-Identifier: MIT */
/*
 * `fleet COUNT SOCKET PROGRAM [ARGUMENT]...` starts so many of a program at once, each with the
 * first %d in SOCKET and in its arguments being its number, and waits until each says on its socket
 * that its machine's state has come in and it is paused.  Prints the nanoseconds from the first
 * fork() to the last answer, and their process ids; when its own input ends it kills them.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "monitor_client.h"

#define TIMEOUT         120     /* seconds for all of them */
#define COUNT_MAX       1024

static pid_t child[COUNT_MAX];

static void kill_all(void)
{
	for (int i = 0; i < COUNT_MAX && child[i]; i++)
		kill(child[i], SIGKILL);
}

static void die(const char *what)
{
	int code = errno;

	kill_all();
	fprintf(stderr, "fleet: %s: %s\n", what, strerror(code));
	exit(EXIT_FAILURE);
}

static void on_alarm(int signal)
{
	static const char text[] = "fleet: a program does not answer\n";

	(void)signal;
	kill_all();
	if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
		_exit(EXIT_FAILURE);
	_exit(EXIT_FAILURE);
}

static int64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

static char *numbered(const char *text, int number)
{
	const char *place = strstr(text, "%d");
	char *result;

	if (!place)
		return strdup(text);
	if (asprintf(&result, "%.*s%d%s", (int)(place - text), text, number, place + 2) < 0)
		die("memory");
	return result;
}

/* `in` is a pipe that nothing comes from: see launch.c. */
static void run(char **argv, int number, int in, int out)
{
	for (int i = 0; argv[i]; i++)
		argv[i] = numbered(argv[i], number);
	if (dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 ||
	    prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		_exit(127);
	execv(argv[0], argv);
	fprintf(stderr, "fleet: %s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

int main(int argc, char **argv)
{
	int count = argc > 3 ? atoi(argv[1]) : 0, in[2], out, watch_fd;
	int64_t start, end;
	char byte;

	if (count < 1 || count > COUNT_MAX) {
		fprintf(stderr, "Usage: fleet COUNT SOCKET PROGRAM [ARGUMENT]...\n");
		return 2;
	}
	out = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (out < 0 || pipe2(in, O_CLOEXEC) < 0)
		die("pipe");
	watch_fd = watch(argv[2]);
	signal(SIGALRM, on_alarm);
	alarm(TIMEOUT);
	start = now();
	for (int i = 0; i < count; i++) {
		child[i] = fork();
		if (child[i] < 0)
			die("fork");
		if (child[i] == 0)
			run(argv + 3, i, in[0], out);
	}
	for (int i = 0; i < count; i++) {
		char *path = numbered(argv[2], i);
		struct monitor monitor = { .fd = connect_to(path, watch_fd) };

		await_paused(&monitor);
		close(monitor.fd);
		free(path);
	}
	end = now();
	alarm(0);
	printf("%" PRId64, end - start);
	for (int i = 0; i < count; i++)
		printf(" %d", child[i]);
	printf("\n");
	fflush(stdout);
	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
	kill_all();
	while (wait(NULL) > 0)
		;
	return 0;
}
