/* SPDX-License-Identifier: MIT */
/*
 * `launch [-s SOCKET | -c SOCKET | -m TEXT]... PROGRAM [ARGUMENT]...` measures how long a program
 * takes from execve() to the mark on its standard output that the guest of hello.S makes, with -m
 * to TEXT there, and to the next TEXT behind it, or with -s to the greeting that it sends to one
 * who connects to SOCKET; with -c to the answer there that a machine's state has come in and it is
 * paused, and then from asking for cont to the mark.  Kills the program, and prints nanoseconds of
 * each, then microseconds of processor time of the program's whole life.  In C, as an interpreter's
 * fork takes as long as what is measured.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "monitor_client.h"

#define MARK            "\2"    /* as in hello.S */
#define GREETING        "{"
#define TIMEOUT         60      /* seconds without a byte */
#define MAX_MARKS       8

static pid_t child;

static void die(const char *what)
{
	int code = errno;

	if (child > 0)
		kill(child, SIGKILL);
	fprintf(stderr, "launch: %s: %s\n", what, strerror(code));
	exit(EXIT_FAILURE);
}

static void on_alarm(int signal)
{
	static const char text[] = "launch: the program sends nothing\n";

	(void)signal;
	kill(child, SIGKILL);
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

/* Reads up to `mark`; what came together with it is for the next call. */
static void await_mark(int fd, const char *mark)
{
	static char bytes[4096];
	static size_t len;
	size_t wanted = strlen(mark);
	ssize_t more;
	char *found;

	while (!(found = memmem(bytes, len, mark, wanted))) {
		/* Its beginning may be at the end. */
		if (len >= wanted) {
			memmove(bytes, bytes + len - wanted + 1, wanted - 1);
			len = wanted - 1;
		}
		alarm(TIMEOUT);
		more = read(fd, bytes + len, sizeof(bytes) - len);
		if (more <= 0)
			die(more < 0 ? "read" : "the program ended too early");
		len += (size_t)more;
	}
	len -= (size_t)(found + wanted - bytes);
	memmove(bytes, found + wanted, len);
}

/* Sets nanoseconds until it was paused, and from cont to the mark. */
static void resume(int socket, int out, int64_t start, int64_t took[2])
{
	struct monitor monitor = { .fd = socket };
	int64_t asked;

	await_paused(&monitor);
	took[0] = now() - start;
	asked = now();
	request(&monitor, "{\"execute\": \"cont\"}\r\n");
	await_mark(out, MARK);
	took[1] = now() - asked;
}

/*
 * `in` is a pipe that nothing comes from: QEMU asks an input that is at its end again and again,
 * and takes a whole processor for it.
 */
static void run(char **argv, int64_t *start, int in, int out)
{
	if (out < 0)
		out = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0)
		_exit(127);
	*start = now();
	execv(argv[0], argv);
	fprintf(stderr, "launch: %s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

int main(int argc, char **argv)
{
	const char *path = NULL, *mark[MAX_MARKS] = { MARK };
	int nr_marks = 0, watch_fd = -1, socket = -1, option, in[2], out[2];
	int64_t *start, took[MAX_MARKS];
	bool clone = false;
	struct rusage usage;

	while ((option = getopt(argc, argv, "+s:c:m:")) != -1) {
		if (option == 's' || option == 'c') {
			path = optarg;
			clone = option == 'c';
			mark[0] = GREETING;
		} else if (option == 'm' && *optarg && strlen(optarg) < 256 &&
			   nr_marks < MAX_MARKS) {
			mark[nr_marks++] = optarg;
		} else {
			optind = argc;
		}
	}
	if (optind >= argc || (path && nr_marks)) {
		fprintf(stderr, "Usage: launch [-s SOCKET | -c SOCKET | -m TEXT]... "
			"PROGRAM [ARGUMENT]...\n");
		return 2;
	}
	if (!nr_marks)
		nr_marks = clone ? 2 : 1;
	if (path)
		watch_fd = watch(path);
	start = mmap(NULL, sizeof(*start), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	if (start == MAP_FAILED || pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0)
		die("pipe");
	child = fork();
	if (child < 0)
		die("fork");
	if (child == 0)
		run(argv + optind, start, in[0], path && !clone ? -1 : out[1]);
	close(out[1]);
	signal(SIGALRM, on_alarm);
	alarm(TIMEOUT);
	if (path)
		socket = connect_to(path, watch_fd);
	if (clone)
		resume(socket, out[0], *start, took);
	for (int i = 0; i < nr_marks && !clone; i++) {
		await_mark(path ? socket : out[0], mark[i]);
		took[i] = now() - *start;
	}
	kill(child, SIGKILL);
	if (wait4(child, NULL, 0, &usage) < 0)
		die("wait4");
	for (int i = 0; i < nr_marks; i++)
		printf("%" PRId64 " ", took[i]);
	printf("%ld\n", (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000L +
	       usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
	return 0;
}
