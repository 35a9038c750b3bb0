/* SPDX-License-Identifier: MIT */
#include "monitor/migrate_channel.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FDSET_PREFIX "/dev/fdset/"

/* The transfer's thread, once it has begun. */
struct file_end {
	int fd;
	char *name;             /* for messages, and with `temporary` the file's in the end */
	char *temporary;        /* its name until then; NULL: written in place */
};

static void file_end_free(struct file_end *end)
{
	if (end) {
		free(end->name);
		free(end->temporary);
	}
	free(end);
}

/* A name is safe when its directory has been flushed. */
static int flush_directory(const char *path, struct error *err)
{
	const char *slash = strrchr(path, '/');
	char directory[PATH_MAX] = ".";
	int fd, ret = 0;

	if (slash)
		snprintf(directory, sizeof(directory), "%.*s", (int)(slash - path + 1), path);
	fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* A directory may be open to writing and closed to reading. */
	if (fd < 0)
		return 0;
	if (fsync(fd) < 0 && errno != EINVAL)
		ret = error_errno(err, errno, "'%s'", path);
	close(fd);
	return ret;
}

/* Flushes what can be flushed.  Pipes and sockets are no concern of fsync(2). */
static int flush(const struct file_end *end, struct error *err)
{
	if (fsync(end->fd) == 0 || errno == EINVAL || errno == EROFS)
		return 0;
	return error_errno(err, errno, "'%s' can not be flushed", end->name);
}

static int put_in_place(const struct file_end *end, const _Atomic bool *cancelled,
			struct error *err)
{
	if (*cancelled)
		return error_set(err, ECANCELED, "cancelled");
	if (rename(end->temporary, end->name) < 0)
		return error_errno(err, errno, "'%s' can not be given its name", end->name);
	return flush_directory(end->name, err);
}

static int finish_file(void *opaque, bool complete, const _Atomic bool *cancelled,
		       struct error *err)
{
	struct file_end *end = opaque;
	int ret = complete ? flush(end, err) : -1;

	/* Some file systems keep an error for close(2). */
	if (close(end->fd) < 0 && ret == 0)
		ret = error_errno(err, errno, "'%s'", end->name);
	if (end->temporary) {
		if (ret == 0)
			ret = put_in_place(end, cancelled, err);
		/* After the renaming there is none of that name. */
		if (ret < 0)
			unlink(end->temporary);
	}
	file_end_free(end);
	return ret;
}

/* `fd` belongs to the channel, or is closed. */
static int write_in_place(int fd, const char *name, struct migration_channel *channel,
			  struct error *err)
{
	struct file_end *end = calloc(1, sizeof(*end));

	if (end)
		end->name = strdup(name);
	if (!end || !end->name) {
		file_end_free(end);
		close(fd);
		return error_set(err, ENOMEM, "out of memory for a migration");
	}
	end->fd = fd;
	*channel = (struct migration_channel){ .fd = fd, .finish = finish_file, .opaque = end };
	return 0;
}

static int write_beside(const char *path, struct migration_channel *channel, struct error *err)
{
	struct file_end *end = calloc(1, sizeof(*end));
	int code = ENOMEM;

	if (!end)
		goto fail;
	/* The file that a link leads to is replaced, not the link. */
	end->name = realpath(path, NULL);
	if (!end->name)
		end->name = strdup(path);
	if (!end->name)
		goto fail;
	if (asprintf(&end->temporary, "%s.XXXXXX", end->name) < 0) {
		end->temporary = NULL;
		goto fail;
	}
	end->fd = mkostemp(end->temporary, O_CLOEXEC);
	if (end->fd < 0) {
		code = errno;
		goto fail;
	}
	*channel = (struct migration_channel){ .fd = end->fd, .finish = finish_file,
					       .opaque = end };
	return 0;

fail:
	file_end_free(end);
	return error_errno(err, code, "Could not open '%s'", path);
}

/*
 * -2 when `path` is no descriptor of a set, -1 on error.  A wrong number is an error, and never
 * the name of a file.
 */
static int open_fdset(const char *path, const struct fdsets *sets, int access, struct error *err)
{
	const char *number = path + strlen(FDSET_PREFIX);
	char *end;
	long long id;

	if (strncmp(path, FDSET_PREFIX, strlen(FDSET_PREFIX)) != 0)
		return -2;
	errno = 0;
	id = strtoll(number, &end, 10);
	if (*number < '0' || *number > '9' || *end || errno)
		return error_set(err, EINVAL, "'%s' names no set of file descriptors", path);
	return fdsets_open(sets, id, access, err);
}

int migrate_file_out(const char *path, const struct fdsets *sets,
		     struct migration_channel *channel, struct error *err)
{
	int fd = open_fdset(path, sets, O_WRONLY, err);
	struct stat st;
	bool exists;

	if (fd == -1)
		return -1;
	if (fd >= 0)
		return write_in_place(fd, path, channel, err);
	if (!*path)
		return error_errno(err, ENOENT, "Could not open ''");
	/* What can not be told from a device is not to be replaced by a file. */
	exists = stat(path, &st) == 0;
	if (!exists && errno != ENOENT)
		return error_errno(err, errno, "Could not open '%s'", path);
	if (!exists || S_ISREG(st.st_mode)) {
		/* What may not be written to is not to be replaced either. */
		if (faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) < 0 && errno != ENOENT)
			return error_errno(err, errno, "Could not open '%s'", path);
		return write_beside(path, channel, err);
	}
	/* O_NONBLOCK so that opening a FIFO does not wait for its reader. */
	fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return error_errno(err, errno, "Could not open '%s'", path);
	return write_in_place(fd, path, channel, err);
}

int migrate_file_in(const char *path, const struct fdsets *sets,
		    struct migration_channel *channel, struct error *err)
{
	int fd = open_fdset(path, sets, O_RDONLY, err);
	struct stat st;

	if (fd == -1)
		return -1;
	if (fd == -2)
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0) {
		error_errno(err, errno, "Could not open '%s'", path);
	} else if (S_ISDIR(st.st_mode)) {
		error_errno(err, EISDIR, "Could not open '%s'", path);
	} else if (S_ISFIFO(st.st_mode) && strncmp(path, FDSET_PREFIX, strlen(FDSET_PREFIX)) != 0) {
		/* It looks ended as long as it has no writer, and opening it may not wait. */
		error_set(err, EINVAL, "Could not open '%s': a FIFO; use exec:cat %s", path, path);
	} else {
		*channel = (struct migration_channel){ .fd = fd };
		return 0;
	}
	if (fd >= 0)
		close(fd);
	return -1;
}

/* ---- fd: ---- */

/*
 * All descriptors that vmond makes are closed on exec; those that it was given across exec can not
 * have been.  The three standard ones stay open, so that nothing else gets their numbers.
 */
static int take_inherited(const char *name, struct error *err)
{
	char *end;
	long number;
	int flags, fd;

	errno = 0;
	number = strtol(name, &end, 10);
	if (*end || errno || number > INT_MAX)
		return error_set(err, EINVAL, "File descriptor named '%s' has not been found",
				 name);
	fd = (int)number;
	flags = fcntl(fd, F_GETFD);
	if (flags < 0 || (flags & FD_CLOEXEC))
		return error_set(err, EBADF, "File descriptor named '%s' has not been found: "
				 "the process was not started with it", name);
	if (fd > STDERR_FILENO)
		return fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ?
		       error_errno(err, errno, "file descriptor %d", fd) : fd;
	fd = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	if (fd < 0)
		return error_errno(err, errno, "file descriptor %s", name);
	return fd;
}

static int take_fd(const char *name, struct fd_names *names, int access, struct error *err)
{
	int fd, mode;

	if (*name >= '0' && *name <= '9') {
		fd = take_inherited(name, err);
		if (fd < 0)
			return -1;
	} else {
		fd = names ? fd_names_take(names, name) : -1;
		if (fd < 0)
			return error_set(err, ENOENT,
					 "File descriptor named '%s' has not been found", name);
	}
	mode = fcntl(fd, F_GETFL) & O_ACCMODE;
	if (mode == access || mode == O_RDWR)
		return fd;
	close(fd);
	return error_set(err, EBADF, "File descriptor named '%s' is not open for %s", name,
			 access == O_RDONLY ? "reading" : "writing");
}

int migrate_fd_out(const char *name, struct fd_names *names, struct migration_channel *channel,
		   struct error *err)
{
	int fd = take_fd(name, names, O_WRONLY, err);

	return fd < 0 ? -1 : write_in_place(fd, name, channel, err);
}

int migrate_fd_in(const char *name, struct fd_names *names, struct migration_channel *channel,
		  struct error *err)
{
	int fd = take_fd(name, names, O_RDONLY, err);

	if (fd < 0)
		return -1;
	*channel = (struct migration_channel){ .fd = fd };
	return 0;
}
