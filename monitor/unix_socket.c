/* SPDX-License-Identifier: MIT */
#include "monitor/unix_socket.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static int in_use(struct error *err)
{
	return error_set(err, EADDRINUSE,
			 "in use by another process; stop that or choose another path");
}

static bool same_file(const char *path, dev_t dev, ino_t ino)
{
	struct stat st;

	return lstat(path, &st) == 0 && st.st_dev == dev && st.st_ino == ino;
}

/*
 * bind(2) has found something at the path.  Removes it if it is a socket that nobody listens on any
 * more, which is what a process leaves behind that was killed.
 */
static int remove_stale(const struct sockaddr_un *addr, struct error *err)
{
	struct stat st;
	int fd, rc, code;

	if (lstat(addr->sun_path, &st) < 0)
		return error_errno(err, errno, "can not be looked at");
	if (!S_ISSOCK(st.st_mode))
		return error_set(err, EEXIST,
				 "the path exists and is no socket; remove it or choose another");
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return error_errno(err, errno, "socket");
	rc = connect(fd, (const struct sockaddr *)addr, sizeof(*addr));
	code = errno;
	close(fd);
	/* EAGAIN: somebody listens and is behind in accepting.  EPROTOTYPE: no stream socket. */
	if (rc == 0 || code == EAGAIN || code == EPROTOTYPE)
		return in_use(err);
	if (code != ECONNREFUSED)
		return error_errno(err, code, "can not tell whether it is in use");
	/* Another process may have taken it over meanwhile. */
	if (!same_file(addr->sun_path, st.st_dev, st.st_ino))
		return in_use(err);
	if (unlink(addr->sun_path) < 0)
		return error_errno(err, errno, "a stale socket can not be removed");
	return 0;
}

/*
 * On Linux the file gets the mode of the socket less the umask, and the umask belongs to all
 * threads and is left alone.  Where it has taken too much, or where the socket's mode does not
 * count, the file's is put right; until listen(2) nobody can connect in any case.
 */
static int bind_with_mode(struct unix_socket *sock, const struct sockaddr_un *addr, mode_t mode,
			  struct error *err)
{
	const struct sockaddr *any = (const struct sockaddr *)addr;
	struct stat st;
	int rc;

	if (fchmod(sock->fd, mode) < 0)
		return error_errno(err, errno, "mode");
	rc = bind(sock->fd, any, sizeof(*addr));
	if (rc < 0 && errno == EADDRINUSE) {
		if (remove_stale(addr, err) < 0)
			return -1;
		rc = bind(sock->fd, any, sizeof(*addr));
	}
	if (rc < 0)
		return error_errno(err, errno, "can not be created");
	if (lstat(addr->sun_path, &st) < 0) {
		error_errno(err, errno, "can not be looked at");
		/* It has been made just now. */
		unlink(addr->sun_path);
		return -1;
	}
	sock->dev = st.st_dev;
	sock->ino = st.st_ino;
	strcpy(sock->path, addr->sun_path);
	if ((st.st_mode & 07777) != mode && chmod(addr->sun_path, mode) < 0)
		return error_errno(err, errno, "mode");
	return 0;
}

int unix_socket_open(struct unix_socket *sock, const char *path, mode_t mode, int backlog,
		     struct error *err)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	size_t len = strlen(path);

	*sock = UNIX_SOCKET_CLOSED;
	if (len >= sizeof(addr.sun_path))
		return error_set(err, ENAMETOOLONG, "the path is %zu bytes long, the system takes "
				 "%zu; choose a shorter one", len, sizeof(addr.sun_path) - 1);
	memcpy(addr.sun_path, path, len);
	sock->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (sock->fd < 0)
		return error_errno(err, errno, "socket");
	if (bind_with_mode(sock, &addr, mode, err) == 0) {
		if (listen(sock->fd, backlog) == 0)
			return 0;
		error_errno(err, errno, "listen");
	}
	unix_socket_close(sock);
	return -1;
}

void unix_socket_close(struct unix_socket *sock)
{
	if (sock->fd < 0)
		return;
	/* While the socket is open no other file can have its inode number. */
	if (*sock->path && same_file(sock->path, sock->dev, sock->ino))
		unlink(sock->path);
	close(sock->fd);
	*sock = UNIX_SOCKET_CLOSED;
}
