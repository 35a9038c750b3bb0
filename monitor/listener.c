/* SPDX-License-Identifier: MIT */
#include "monitor/monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "monitor/monitor-internal.h"
#include "vmm/log.h"

#define BACKLOG 128

/* How long accept() rests when descriptors or memory have run out. */
static const struct timeval accept_rest = { 0, 250 * 1000 };

/* Splits "unix:PATH[,pretty=on]". */
static int parse_address(const char *address, struct sockaddr_un *addr, bool *pretty,
			 struct error *err)
{
	const char *path = address + strlen("unix:"), *option;
	size_t len;

	if (strncmp(address, "unix:", strlen("unix:")))
		return error_set(err, EINVAL, "monitor '%s': give it as unix:PATH", address);
	option = strchrnul(path, ',');
	len = (size_t)(option - path);
	if (!len)
		return error_set(err, EINVAL, "monitor '%s': the path is empty", address);
	if (len >= sizeof(addr->sun_path))
		return error_set(err, ENAMETOOLONG,
				 "monitor socket '%.*s': the path is %zu bytes long, "
				 "the system takes %zu; choose a shorter one", (int)len, path, len,
				 sizeof(addr->sun_path) - 1);

	memset(addr, 0, sizeof(*addr));
	addr->sun_family = AF_UNIX;
	memcpy(addr->sun_path, path, len);

	*pretty = false;
	if (!strcmp(option, ",pretty=on"))
		*pretty = true;
	else if (*option && strcmp(option, ",pretty=off"))
		return error_set(err, EINVAL, "monitor '%s': unknown option '%s'; "
				 "there is pretty=on and pretty=off", address, option + 1);
	return 0;
}

/*
 * bind() has found something at the path.  Removes it if it is a socket that nobody listens on any
 * more, which is what a process leaves behind that was killed.
 */
static int remove_stale(const struct sockaddr_un *addr, struct error *err)
{
	const char *path = addr->sun_path;
	struct stat before, now;
	int fd, ret, code;

	if (lstat(path, &before) < 0)
		return error_errno(err, errno, "monitor socket '%s'", path);
	if (!S_ISSOCK(before.st_mode))
		return error_set(err, EEXIST, "monitor socket '%s': the path exists and is no "
				 "socket; remove it or choose another", path);

	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return error_errno(err, errno, "socket for monitor '%s'", path);
	ret = connect(fd, (const struct sockaddr *)addr, sizeof(*addr));
	code = errno;
	close(fd);
	/* EAGAIN: someone listens and is behind in accepting.  EPROTOTYPE: with another protocol. */
	if (!ret || code == EAGAIN || code == EPROTOTYPE)
		return error_set(err, EADDRINUSE, "monitor socket '%s' is in use by another process; "
				 "stop that or choose another path", path);
	if (code != ECONNREFUSED)
		return error_errno(err, code, "can not tell whether monitor socket '%s' is in use",
				   path);

	/* Another process may have taken it over in the meantime. */
	if (lstat(path, &now) < 0 || now.st_dev != before.st_dev || now.st_ino != before.st_ino)
		return error_set(err, EADDRINUSE, "monitor socket '%s' is in use by another process; "
				 "stop that or choose another path", path);
	if (unlink(path) < 0)
		return error_errno(err, errno, "can not remove stale monitor socket '%s'", path);
	return 0;
}

static int bind_path(int fd, const struct sockaddr_un *addr, struct stat *st, struct error *err)
{
	const struct sockaddr *any = (const struct sockaddr *)addr;
	int ret;

	/*
	 * bind() makes the file with the mode of the socket, less the umask.  The umask itself is left
	 * alone, for it belongs to all threads of the process.
	 */
	if (fchmod(fd, 0600) < 0)
		return error_errno(err, errno, "mode of monitor socket '%s'", addr->sun_path);
	ret = bind(fd, any, sizeof(*addr));
	if (ret < 0 && errno == EADDRINUSE) {
		if (remove_stale(addr, err) < 0)
			return -1;
		ret = bind(fd, any, sizeof(*addr));
	}
	if (ret < 0)
		return error_errno(err, errno, "can not make monitor socket '%s'", addr->sun_path);

	/*
	 * A umask may have taken away what the owner needs, and kernels other than Linux' own may not
	 * care about the socket's mode.  Until listen() nobody can connect whatever the mode.
	 */
	if (lstat(addr->sun_path, st) < 0)
		return error_errno(err, errno, "monitor socket '%s'", addr->sun_path);
	if ((st->st_mode & 07777) != 0600 &&
	    fchmodat(AT_FDCWD, addr->sun_path, 0600, AT_SYMLINK_NOFOLLOW) < 0) {
		error_errno(err, errno, "mode of monitor socket '%s'", addr->sun_path);
		unlink(addr->sun_path);
		return -1;
	}
	return 0;
}

static void on_acceptable(evutil_socket_t fd, short what, void *opaque)
{
	struct listener *listener = opaque;
	int client = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct error err;

	(void)what;
	if (client >= 0) {
		listener->resting = false;
		if (monitor_add_client(listener->monitor, client, listener->pretty, &err) < 0)
			log_warning("%s", err.text);
		return;
	}
	if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
		return;
	/* The client stays in the backlog, and the socket acceptable: do not spin. */
	if (!listener->resting)
		log_warning("monitor socket '%s': can not accept clients for now: %s",
			    listener->path, strerror(errno));
	listener->resting = true;
	event_del(listener->acceptable);
	evtimer_add(listener->retry, &accept_rest);
}

static void on_retry(evutil_socket_t fd, short what, void *opaque)
{
	struct listener *listener = opaque;

	(void)fd;
	(void)what;
	event_add(listener->acceptable, NULL);
}

int monitor_listen(struct monitor *monitor, const char *address, struct error *err)
{
	struct event_base *base = monitor->config.base;
	struct listener *listener;
	struct sockaddr_un addr;
	struct stat st;
	bool pretty;

	if (parse_address(address, &addr, &pretty, err) < 0)
		return -1;
	listener = calloc(1, sizeof(*listener));
	if (!listener)
		return error_set(err, ENOMEM, "out of memory for monitor '%s'", address);
	listener->monitor = monitor;
	listener->pretty = pretty;
	TAILQ_INSERT_TAIL(&monitor->listeners, listener, link);

	listener->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (listener->fd < 0) {
		error_errno(err, errno, "socket for monitor '%s'", address);
		goto fail;
	}
	if (bind_path(listener->fd, &addr, &st, err) < 0)
		goto fail;
	listener->path = strdup(addr.sun_path);
	if (!listener->path) {
		unlink(addr.sun_path);
		goto no_memory;
	}
	listener->dev = st.st_dev;
	listener->ino = st.st_ino;

	listener->acceptable = event_new(base, listener->fd, EV_READ | EV_PERSIST, on_acceptable,
					 listener);
	listener->retry = evtimer_new(base, on_retry, listener);
	if (!listener->acceptable || !listener->retry)
		goto no_memory;
	if (listen(listener->fd, BACKLOG) < 0) {
		error_errno(err, errno, "can not listen on monitor socket '%s'", listener->path);
		goto fail;
	}
	if (event_add(listener->acceptable, NULL) < 0)
		goto no_memory;
	return 0;

no_memory:
	error_set(err, ENOMEM, "out of memory for monitor '%s'", address);
fail:
	listener_free(listener);
	return -1;
}

void listener_free(struct listener *listener)
{
	struct stat st;

	if (listener->acceptable)
		event_free(listener->acceptable);
	if (listener->retry)
		event_free(listener->retry);
	/* As long as the socket is open, no other file can have its inode number. */
	if (listener->path && !lstat(listener->path, &st) && S_ISSOCK(st.st_mode) &&
	    st.st_dev == listener->dev && st.st_ino == listener->ino)
		unlink(listener->path);
	if (listener->fd >= 0)
		close(listener->fd);
	free(listener->path);
	TAILQ_REMOVE(&listener->monitor->listeners, listener, link);
	free(listener);
}
