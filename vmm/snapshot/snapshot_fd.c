/* SPDX-License-Identifier: MIT */
#include "vmm/snapshot/snapshot_io_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "vmm/clock.h"

/* How long a cancellation may go unnoticed. */
#define STEP_MS         50
#define STEP_NS         (STEP_MS * 1000000ULL)
#define SECOND_NS       1000000000ULL

/* What is handed to the kernel at once: large enough that the call costs nothing beside it. */
#define WRITE_MAX       (1u << 20)
#define WRITE_MIN       4096u

static uint64_t now(void)
{
	return (uint64_t)clock_ns(CLOCK_MONOTONIC);
}

int snapshot_check_cancelled(const struct snapshot_transfer *transfer, struct error *err)
{
	if (atomic_load_explicit(&transfer->cancelled, memory_order_relaxed))
		return error_set(err, ECANCELED, "the transfer was cancelled");
	return 0;
}

void snapshot_pace_begin(struct snapshot_pace *pace, struct snapshot_transfer *transfer)
{
	*pace = (struct snapshot_pace){ .transfer = transfer, .started = now() };
}

size_t snapshot_pace_chunk(const struct snapshot_pace *pace, size_t max)
{
	uint64_t step = pace->transfer->max_bandwidth / (1000 / STEP_MS);

	if (!pace->transfer->max_bandwidth || step > max)
		return max;
	return step > WRITE_MIN ? (size_t)step & -(size_t)WRITE_MIN : WRITE_MIN;
}

void snapshot_pace_count(struct snapshot_pace *pace, size_t bytes)
{
	pace->bytes += bytes;
	atomic_fetch_add_explicit(&pace->transfer->transferred, bytes, memory_order_relaxed);
}

int snapshot_pace_wait(const struct snapshot_pace *pace, struct error *err)
{
	const struct snapshot_transfer *transfer = pace->transfer;
	unsigned __int128 due;
	uint64_t time, rest;

	for (;;) {
		if (snapshot_check_cancelled(transfer, err) == -1)
			return -1;
		if (!transfer->max_bandwidth)
			return 0;
		due = (unsigned __int128)pace->bytes * SECOND_NS / transfer->max_bandwidth;
		time = now() - pace->started;
		if (time >= due)
			return 0;
		rest = due - time < STEP_NS ? (uint64_t)(due - time) : STEP_NS;
		nanosleep(&(struct timespec){ .tv_nsec = (long)rest }, NULL);
	}
}

/*
 * Reading from what poll() calls ready returns with what there is, but writing to a pipe waits
 * until all has gone, so that needs O_NONBLOCK.  Sockets are told with each call.
 */
int snapshot_fd_begin(struct snapshot_fd *fd, int number, bool writing,
		      struct snapshot_transfer *transfer, struct error *err)
{
	struct stat st;
	int flags;

	*fd = (struct snapshot_fd){ .fd = number, .flags = -1 };
	snapshot_pace_begin(&fd->pace, transfer);
	if (fstat(number, &st) == -1)
		return error_errno(err, errno, "descriptor %d", number);
	fd->kind = S_ISREG(st.st_mode) || S_ISBLK(st.st_mode) ? SNAPSHOT_FD_DISK :
		   S_ISSOCK(st.st_mode) ? SNAPSHOT_FD_SOCKET : SNAPSHOT_FD_OTHER;
	if (fd->kind != SNAPSHOT_FD_OTHER || !writing)
		return 0;
	flags = fcntl(number, F_GETFL);
	if (flags == -1 || (!(flags & O_NONBLOCK) &&
			    fcntl(number, F_SETFL, flags | O_NONBLOCK) == -1))
		return error_errno(err, errno, "descriptor %d", number);
	if (!(flags & O_NONBLOCK))
		fd->flags = flags;
	return 0;
}

void snapshot_fd_end(struct snapshot_fd *fd)
{
	if (fd->flags != -1)
		fcntl(fd->fd, F_SETFL, fd->flags);
	fd->flags = -1;
}

/* Until it is ready, or has an error that the next call will report. */
static int wait_ready(struct snapshot_fd *fd, short events, struct error *err)
{
	struct pollfd poll_fd = { .fd = fd->fd, .events = events };
	int n;

	for (;;) {
		if (snapshot_check_cancelled(fd->pace.transfer, err) == -1)
			return -1;
		if (fd->kind == SNAPSHOT_FD_DISK)
			return 0;
		n = poll(&poll_fd, 1, STEP_MS);
		if (n > 0)
			return 0;
		if (n == -1 && errno != EINTR)
			return error_errno(err, errno, "poll");
	}
}

static ssize_t send_some(struct snapshot_fd *fd, struct iovec *iov, int nr)
{
	struct msghdr message = { .msg_iov = iov, .msg_iovlen = (size_t)nr };

	if (fd->kind == SNAPSHOT_FD_SOCKET)
		return sendmsg(fd->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
	return writev(fd->fd, iov, nr);
}

static ssize_t receive_some(struct snapshot_fd *fd, struct iovec *iov, int nr)
{
	struct msghdr message = { .msg_iov = iov, .msg_iovlen = (size_t)nr };

	if (fd->kind == SNAPSHOT_FD_SOCKET)
		return recvmsg(fd->fd, &message, MSG_DONTWAIT);
	return readv(fd->fd, iov, nr);
}

static void advance(struct iovec **iov, int *nr, size_t len)
{
	for (; *nr && len >= (*iov)->iov_len; (*iov)++, (*nr)--)
		len -= (*iov)->iov_len;
	if (len) {
		(*iov)->iov_base = (char *)(*iov)->iov_base + len;
		(*iov)->iov_len -= len;
	}
}

static bool again(int code)
{
	return code == EAGAIN || code == EINTR;
}

/* No more than `max` bytes of it. */
static ssize_t send_at_most(struct snapshot_fd *fd, struct iovec *iov, int nr, size_t max)
{
	size_t whole;
	ssize_t n;
	int i;

	for (i = 0; i < nr && max > iov[i].iov_len; i++)
		max -= iov[i].iov_len;
	if (i == nr)
		return send_some(fd, iov, nr);
	whole = iov[i].iov_len;
	iov[i].iov_len = max;
	n = send_some(fd, iov, i + 1);
	iov[i].iov_len = whole;
	return n;
}

int snapshot_fd_write(struct snapshot_fd *fd, struct iovec *iov, int nr, struct error *err)
{
	size_t max = snapshot_pace_chunk(&fd->pace, WRITE_MAX);
	ssize_t n;

	advance(&iov, &nr, 0);
	while (nr) {
		/* Never behind the last byte: the other side may have acted on it already. */
		if (snapshot_pace_wait(&fd->pace, err) == -1 ||
		    wait_ready(fd, POLLOUT, err) == -1)
			return -1;
		n = send_at_most(fd, iov, nr, max);
		if (n == -1 && again(errno))
			continue;
		if (n == -1 && (errno == EPIPE || errno == ECONNRESET))
			return error_errno(err, errno, "the other side of the transfer has gone");
		if (n == -1)
			return error_errno(err, errno, "cannot write the snapshot");
		advance(&iov, &nr, (size_t)n);
		snapshot_pace_count(&fd->pace, (size_t)n);
	}
	return 0;
}

int snapshot_fd_read(struct snapshot_fd *fd, struct iovec *iov, int nr, struct error *err)
{
	ssize_t n;

	advance(&iov, &nr, 0);
	while (nr) {
		if (wait_ready(fd, POLLIN, err) == -1)
			return -1;
		n = receive_some(fd, iov, nr);
		if (n == -1 && again(errno))
			continue;
		if (n == -1)
			return error_errno(err, errno, "cannot read the snapshot");
		if (!n)
			return error_set(err, ENODATA, "the snapshot ends too early: it was cut "
					 "short, or the side that sends it has gone");
		advance(&iov, &nr, (size_t)n);
		snapshot_pace_count(&fd->pace, (size_t)n);
	}
	return 0;
}
