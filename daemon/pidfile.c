/* SPDX-License-Identifier: MIT */
#include "daemon/pidfile.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_our_file(int fd, const char *path)
{
	struct stat open_file, named;

	return fstat(fd, &open_file) == 0 && lstat(path, &named) == 0 &&
	       open_file.st_dev == named.st_dev && open_file.st_ino == named.st_ino;
}

/* Nothing at all, or digits and a newline: what a process wrote that has died, perhaps half-way. */
static bool holds_a_pid(const char *text, ssize_t len)
{
	ssize_t i;

	for (i = 0; i < len && isdigit((unsigned char)text[i]); i++)
		;
	return i == len || (i > 0 && i == len - 1 && text[i] == '\n');
}

/* Opens the file, or makes it; its former owner may be removing it just now. */
static int open_or_create(const char *path, bool *created)
{
	const int flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
	int fd;

	for (;;) {
		fd = open(path, flags | O_CREAT | O_EXCL, 0644);
		*created = fd >= 0;
		if (fd >= 0 || errno != EEXIST)
			return fd;
		fd = open(path, flags);
		if (fd >= 0 || errno != ENOENT)
			return fd;
	}
}

/* Opens and locks the file that `path` names. */
static int open_locked(const char *path, struct error *err)
{
	char old[32 + 1];
	struct stat st;
	bool created;
	ssize_t n;
	int fd;

	for (;;) {
		fd = open_or_create(path, &created);
		if (fd < 0)
			return error_errno(err, errno, "--pidfile %s", path);
		if (fstat(fd, &st) < 0) {
			error_errno(err, errno, "--pidfile %s", path);
			break;
		}
		if (!S_ISREG(st.st_mode)) {
			error_set(err, EINVAL, "--pidfile %s: not a regular file", path);
			break;
		}
		n = pread(fd, old, sizeof(old) - 1, 0);
		if (n < 0) {
			error_errno(err, errno, "--pidfile %s", path);
			break;
		}
		old[n] = '\0';
		if (!holds_a_pid(old, n)) {
			error_set(err, EEXIST,
				  "--pidfile %s: holds something other than a process id; "
				  "remove it or name another file", path);
			break;
		}
		if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
			if (errno != EWOULDBLOCK) {
				error_errno(err, errno, "--pidfile %s", path);
				break;
			}
			error_set(err, EBUSY, "--pidfile %s: in use by process %.*s", path,
				  (int)strspn(old, "0123456789"), old);
			created = false;        /* another process was faster: it is its own now */
			break;
		}
		if (is_our_file(fd, path))
			return fd;
		close(fd);
	}
	if (created)
		unlink(path);
	close(fd);
	return -1;
}

int pidfile_create(struct pidfile *pidfile, const char *path, struct error *err)
{
	char text[32];
	int len, fd;

	fd = open_locked(path, err);
	if (fd < 0)
		return -1;
	len = snprintf(text, sizeof(text), "%ld\n", (long)getpid());
	errno = ENOSPC;         /* what a short write means */
	if (ftruncate(fd, 0) < 0 || pwrite(fd, text, len, 0) != len) {
		error_errno(err, errno, "--pidfile %s", path);
		unlink(path);
		close(fd);
		return -1;
	}
	*pidfile = (struct pidfile){ .path = path, .fd = fd };
	return 0;
}

void pidfile_remove(struct pidfile *pidfile)
{
	if (pidfile->fd < 0)
		return;
	if (is_our_file(pidfile->fd, pidfile->path))
		unlink(pidfile->path);
	close(pidfile->fd);
	pidfile->fd = -1;
}
