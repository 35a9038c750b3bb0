/* SPDX-License-Identifier: MIT */
#include "tests/unit/call_fail.h"

#include <check.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/poll.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/alloc_fail.h"

/* Any thread's. */
static const char *_Atomic which;
static _Atomic unsigned int countdown;
static _Atomic int with;
static _Atomic bool failed;

#define CALLS(X)                                                                               \
	X(int, open, (const char *path, int flags, mode_t mode), path, flags, mode)           \
	X(int, fcntl, (int fd, int cmd, long arg), fd, cmd, arg)                              \
	X(int, stat, (const char *path, struct stat *st), path, st)                           \
	X(int, fstat, (int fd, struct stat *st), fd, st)                                      \
	X(int, lstat, (const char *path, struct stat *st), path, st)                          \
	X(ssize_t, read, (int fd, void *buf, size_t len), fd, buf, len)                       \
	X(ssize_t, pread, (int fd, void *buf, size_t len, off_t at), fd, buf, len, at)        \
	X(ssize_t, write, (int fd, const void *buf, size_t len), fd, buf, len)                \
	X(ssize_t, pwrite, (int fd, const void *buf, size_t len, off_t at), fd, buf, len, at) \
	X(ssize_t, readv, (int fd, const struct iovec *iov, int n), fd, iov, n)               \
	X(ssize_t, writev, (int fd, const struct iovec *iov, int n), fd, iov, n)              \
	X(ssize_t, recvmsg, (int fd, struct msghdr *msg, int flags), fd, msg, flags)          \
	X(ssize_t, sendmsg, (int fd, const struct msghdr *msg, int flags), fd, msg, flags)    \
	X(ssize_t, send, (int fd, const void *buf, size_t len, int flags), fd, buf, len, flags) \
	X(off_t, lseek, (int fd, off_t at, int whence), fd, at, whence)                       \
	X(int, ftruncate, (int fd, off_t size), fd, size)                                     \
	X(int, fsync, (int fd), fd)                                                           \
	X(int, flock, (int fd, int operation), fd, operation)                                 \
	X(int, chmod, (const char *path, mode_t mode), path, mode)                            \
	X(int, fchmod, (int fd, mode_t mode), fd, mode)                                       \
	X(int, unlink, (const char *path), path)                                              \
	X(int, rename, (const char *from, const char *to), from, to)                          \
	X(int, mkostemp, (char *template, int flags), template, flags)                        \
	X(int, eventfd, (unsigned int value, int flags), value, flags)                        \
	X(int, signalfd, (int fd, const sigset_t *mask, int flags), fd, mask, flags)          \
	X(int, timerfd_create, (int clock, int flags), clock, flags)                          \
	X(int, timerfd_settime, (int fd, int flags, const struct itimerspec *now,             \
	  struct itimerspec *then), fd, flags, now, then)                                     \
	X(int, pipe2, (int fds[2], int flags), fds, flags)                                    \
	X(int, dup2, (int from, int to), from, to)                                            \
	X(int, poll, (struct pollfd *fds, nfds_t n, int timeout), fds, n, timeout)            \
	X(int, socket, (int domain, int type, int protocol), domain, type, protocol)          \
	X(int, bind, (int fd, const struct sockaddr *addr, socklen_t len), fd, addr, len)     \
	X(int, listen, (int fd, int backlog), fd, backlog)                                    \
	X(int, connect, (int fd, const struct sockaddr *addr, socklen_t len), fd, addr, len)  \
	X(int, accept4, (int fd, struct sockaddr *addr, socklen_t *len, int flags), fd, addr, \
	  len, flags)                                                                         \
	X(int, getsockopt, (int fd, int level, int name, void *value, socklen_t *len), fd,    \
	  level, name, value, len)                                                            \
	X(int, setsockopt, (int fd, int level, int name, const void *value, socklen_t len),   \
	  fd, level, name, value, len)                                                        \
	X(int, getsockname, (int fd, struct sockaddr *addr, socklen_t *len), fd, addr, len)   \
	X(int, munmap, (void *addr, size_t len), addr, len)                                   \
	X(int, madvise, (void *addr, size_t len, int advice), addr, len, advice)              \
	X(ssize_t, getrandom, (void *buf, size_t len, unsigned int flags), buf, len, flags)   \
	X(pid_t, fork, (void), )                                                              \
	X(pid_t, waitpid, (pid_t pid, int *status, int options), pid, status, options)        \
	X(int, tcgetattr, (int fd, struct termios *modes), fd, modes)                         \
	X(int, tcsetattr, (int fd, int when, const struct termios *modes), fd, when, modes)   \
	X(int, posix_openpt, (int flags), flags)                                              \
	X(int, event_add, (struct event *event, const struct timeval *time), event, time)     \
	X(int, evbuffer_add, (struct evbuffer *buf, const void *data, size_t len), buf, data, \
	  len)                                                                                \
	X(int, evbuffer_add_reference, (struct evbuffer *buf, const void *data, size_t len,   \
	  evbuffer_ref_cleanup_cb release, void *arg), buf, data, len, release, arg)          \
	X(int, epoll_create1, (int flags), flags)                                             \
	X(int, getpeername, (int fd, struct sockaddr *addr, socklen_t *len), fd, addr, len)   \
	X(int, clock_gettime, (clockid_t clock, struct timespec *time), clock, time)          \
	X(int, pidfd_open, (pid_t pid, unsigned int flags), pid, flags)                       \
	X(int, waitid, (idtype_t type, id_t id, siginfo_t *info, int options), type, id, info, \
	  options)

/* Those that do not say by -1 that they have failed, or have done their work when they do. */
#define OTHER_CALLS(X) X(mmap) X(pthread_create) X(fopen) X(posix_spawn) X(close)

#define NAME(type, name, ...) #name,
#define OTHER_NAME(name) #name,
static const char *const names[] = { CALLS(NAME) OTHER_CALLS(OTHER_NAME) };

void call_fail(const char *name, unsigned int n, int code)
{
	size_t i = 0;

	while (i < sizeof(names) / sizeof(names[0]) && strcmp(names[i], name))
		i++;
	ck_assert_msg(i < sizeof(names) / sizeof(names[0]), "%s() is not wrapped", name);
	countdown = 0;
	failed = false;
	with = code;
	which = names[i];
	countdown = n;
}

bool call_has_failed(void)
{
	return failed;
}

void fail_at(const char *name, unsigned int n, int code)
{
	if (name)
		call_fail(name, n, code);
	else
		alloc_fail_at(n);
}

bool fail_end(void)
{
	bool has_failed = failed || alloc_has_failed();

	countdown = 0;
	failed = false;
	alloc_fail_at(0);
	return has_failed;
}

static bool fails_now(const char *name)
{
	unsigned int left = countdown;
	int code = with;

	if (!left || alloc_is_exempt() || strcmp(which, name))
		return false;
	while (!atomic_compare_exchange_weak(&countdown, &left, left - 1))
		if (!left)
			return false;
	if (left != 1)
		return false;
	failed = true;
	errno = code;
	return true;
}

#define WRAP(type, name, parameters, ...)                                     \
	type __real_##name parameters;                                        \
	type __wrap_##name parameters;                                        \
	type __wrap_##name parameters                                         \
	{                                                                     \
		return fails_now(#name) ? -1 : __real_##name(__VA_ARGS__);    \
	}
CALLS(WRAP)

void *__real_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t at);
void *__wrap_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t at);

void *__wrap_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t at)
{
	return fails_now("mmap") ? MAP_FAILED : __real_mmap(addr, len, prot, flags, fd, at);
}

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *),
			  void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *),
			  void *arg);

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *),
			  void *arg)
{
	return fails_now("pthread_create") ? with : __real_pthread_create(thread, attr, fn, arg);
}

static const char *_Atomic fopen_directory;

void call_fopen_in(const char *directory)
{
	fopen_directory = directory;
}

FILE *__real_fopen(const char *path, const char *mode);
FILE *__wrap_fopen(const char *path, const char *mode);

FILE *__wrap_fopen(const char *path, const char *mode)
{
	const char *name = strrchr(path, '/');
	char other[256];
	FILE *f = NULL;

	if (fails_now("fopen"))
		return NULL;
	if (fopen_directory && name) {
		snprintf(other, sizeof(other), "%s%s", fopen_directory, name);
		f = __real_fopen(other, mode);
	}
	return f ? f : __real_fopen(path, mode);
}

int __real_posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
		       const posix_spawnattr_t *attr, char *const argv[], char *const envp[]);
int __wrap_posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
		       const posix_spawnattr_t *attr, char *const argv[], char *const envp[]);

int __wrap_posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
		       const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
{
	return fails_now("posix_spawn") ? with :
	       __real_posix_spawn(pid, path, actions, attr, argv, envp);
}

/* Linux closes the descriptor whatever it says. */
int __real_close(int fd);
int __wrap_close(int fd);

int __wrap_close(int fd)
{
	int ret = __real_close(fd);

	return fails_now("close") ? -1 : ret;
}
