/* SPDX-License-Identifier: MIT */
/*
 * `launch [-s SOCKET] PROGRAM [ARGUMENT]...` measures how long a program takes from execve() to the
 * mark on its standard output that the guest of hello.S makes, or with -s to the first byte that it
 * sends to one who connects to SOCKET.  Kills the program, and prints nanoseconds of that, then
 * microseconds of processor time of the program's whole life.  In C, as an interpreter's fork takes
 * as long as what is measured.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MARK    2       /* as in hello.S */
#define TIMEOUT 60      /* seconds */

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

/* Reads up to `wanted`, or for -1 any byte. */
static void await_byte(int fd, int wanted)
{
	char bytes[256];
	ssize_t len;

	do {
		len = read(fd, bytes, sizeof(bytes));
		if (len <= 0)
			die(len < 0 ? "read" : "the program ended too early");
	} while (wanted >= 0 && !memchr(bytes, wanted, (size_t)len));
}

/* Watches the directory that the socket will be in. */
static int watch(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *directory = slash ? strndup(path, (size_t)(slash - path)) : strdup(".");
	int fd = inotify_init1(IN_CLOEXEC);

	if (!directory || fd < 0 || inotify_add_watch(fd, directory, IN_CREATE | IN_MOVED_TO) < 0)
		die(path);
	free(directory);
	return fd;
}

/* The name appears with bind(), and listen() follows. */
static int connect_to(const char *path, int watch_fd)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char event[4096];

	if (fd < 0 || strlen(path) >= sizeof(address.sun_path))
		die(path);
	strcpy(address.sun_path, path);
	while (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		if (errno == ENOENT) {
			if (read(watch_fd, event, sizeof(event)) < 0)
				die("inotify");
		} else if (errno != ECONNREFUSED) {
			die(path);
		}
	}
	return fd;
}

static void run(char **argv, int64_t *start, int out)
{
	int null = open("/dev/null", O_RDWR);

	if (null < 0 || dup2(null, STDIN_FILENO) < 0 ||
	    dup2(out < 0 ? null : out, STDOUT_FILENO) < 0)
		_exit(127);
	*start = now();
	execv(argv[0], argv);
	fprintf(stderr, "launch: %s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

int main(int argc, char **argv)
{
	const char *path = NULL;
	int64_t *start, end;
	int watch_fd = -1, out[2];
	struct rusage usage;

	if (argc > 3 && strcmp(argv[1], "-s") == 0) {
		path = argv[2];
		watch_fd = watch(path);
		argv += 2;
		argc -= 2;
	}
	if (argc < 2) {
		fprintf(stderr, "Usage: launch [-s SOCKET] PROGRAM [ARGUMENT]...\n");
		return 2;
	}
	start = mmap(NULL, sizeof(*start), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	if (start == MAP_FAILED || pipe2(out, O_CLOEXEC) < 0)
		die("pipe");
	child = fork();
	if (child < 0)
		die("fork");
	if (child == 0)
		run(argv + 1, start, path ? -1 : out[1]);
	close(out[1]);
	signal(SIGALRM, on_alarm);
	alarm(TIMEOUT);
	if (path)
		await_byte(connect_to(path, watch_fd), -1);
	else
		await_byte(out[0], MARK);
	end = now();
	kill(child, SIGKILL);
	if (wait4(child, NULL, 0, &usage) < 0)
		die("wait4");
	printf("%" PRId64 " %ld\n", end - *start,
	       (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000L +
	       usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
	return 0;
}
