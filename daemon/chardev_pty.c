/* SPDX-License-Identifier: MIT */
#include "daemon/chardev_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "vmm/log.h"

/*
 * The kernel tells the master side by a hangup that the last one who had the terminal open has
 * closed it, and takes the hangup back without telling when somebody opens it again.  A hangup
 * makes every poll return at once, so while there is one the descriptor is not watched but looked
 * at now and then.  What is written between a close and the hangup's being seen waits in the kernel
 * for the next one, before what is in the queue.
 */
static const struct timeval look_interval = { .tv_usec = 100000 };

static void look_later(struct chardev *c)
{
	if (event_add(c->retry_event, &look_interval) < 0)
		log_error("%s: can not be watched any more: %s", c->config.name,
			  strerror(errno));
}

/* A line that passes bytes as they are, echoes nothing and raises no signals. */
static int make_raw(int fd)
{
	struct termios modes;

	if (tcgetattr(fd, &modes) < 0)
		return -1;
	cfmakeraw(&modes);
	return tcsetattr(fd, TCSANOW, &modes);
}

void chardev_pty_gone(struct chardev *c)
{
	if (c->write_event)
		log_debug("%s: %s closed", c->config.name, c->pty_name);
	chardev_input_watch(c, false);
	chardev_output_close(c);
	/* Whoever had it open may have changed its modes, for the next one too. */
	if (make_raw(c->in_fd) < 0)
		log_warning("%s: terminal modes: %s", c->config.name, strerror(errno));
	look_later(c);
}

static int open_output(struct chardev *c)
{
	struct error err;
	int fd;

	if (c->write_event)
		return 0;
	fd = fcntl(c->in_fd, F_DUPFD_CLOEXEC, 3);
	if (fd < 0) {
		log_warning("%s: dup: %s", c->config.name, strerror(errno));
		return -1;
	}
	if (chardev_output_open(c, fd, &err) < 0) {
		log_warning("%s: %s", c->config.name, err.text);
		return -1;
	}
	log_debug("%s: %s opened", c->config.name, c->pty_name);
	return 0;
}

static void on_look(evutil_socket_t fd, short what, void *opaque)
{
	struct chardev *c = opaque;
	struct pollfd pfd = { .fd = c->in_fd, .events = POLLIN };
	bool hung_up;

	(void)fd;
	(void)what;
	if (poll(&pfd, 1, 0) < 0) {
		look_later(c);
		return;
	}
	hung_up = pfd.revents & POLLHUP;
	if (hung_up && c->write_event)
		chardev_pty_gone(c);
	/* Somebody may have come, said something, and be gone already. */
	if ((hung_up && !(pfd.revents & POLLIN)) || (!hung_up && open_output(c) < 0) ||
	    c->in_stalled) {
		look_later(c);
		return;
	}
	event_del(c->retry_event);
	chardev_input_watch(c, true);
}

void chardev_pty_watch_closed(struct chardev *c, bool on)
{
	if (on)
		look_later(c);
	else
		event_del(c->retry_event);
}

/* Opens and closes the terminal once: only a last close makes the hangup that tells of nobody. */
static int hang_up(struct chardev *c, struct error *err)
{
	int fd = open(c->pty_name, O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (fd < 0)
		return error_errno(err, errno, "%s can not be opened", c->pty_name);
	close(fd);
	return 0;
}

int chardev_pty_open(struct chardev *c, struct error *err)
{
	int fd = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return error_errno(err, errno, "no pseudo terminal can be opened");
	if (chardev_input_open(c, fd, err) < 0)
		return -1;
	if (grantpt(fd) < 0 || unlockpt(fd) < 0 ||
	    ptsname_r(fd, c->pty_name, sizeof(c->pty_name)) != 0 || make_raw(fd) < 0)
		return error_errno(err, errno, "the pseudo terminal can not be set up");
	c->retry_event = evtimer_new(c->config.base, on_look, c);
	if (!c->retry_event)
		return error_set(err, ENOMEM, "out of memory");
	return hang_up(c, err);
}

void chardev_pty_start(struct chardev *c)
{
	on_look(-1, 0, c);
}

void chardev_pty_close(struct chardev *c)
{
	if (c->retry_event)
		event_free(c->retry_event);
}
