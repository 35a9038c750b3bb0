/* SPDX-License-Identifier: MIT */
#include "monitor/descriptors.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- received ---- */

bool fd_queue_receive(struct fd_queue *queue, const struct msghdr *msg)
{
	bool whole = !(msg->msg_flags & MSG_CTRUNC);
	size_t before = queue->count;

	/* CMSG_NXTHDR() takes a pointer that is not to const, and changes nothing. */
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR((struct msghdr *)msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t at = 0; CMSG_LEN(at + sizeof(int)) <= c->cmsg_len; at += sizeof(int)) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + at, sizeof(fd));
			if (whole && queue->count < FD_QUEUE_MAX) {
				queue->fd[queue->count++] = fd;
			} else {
				whole = false;
				close(fd);
			}
		}
	}
	while (!whole && queue->count > before)
		close(queue->fd[--queue->count]);
	return whole;
}

int fd_queue_take(struct fd_queue *queue, struct error *err)
{
	int fd;

	if (!queue->count)
		return error_set(err, EBADF, "No file descriptor supplied via SCM_RIGHTS");
	fd = queue->fd[0];
	queue->count--;
	memmove(queue->fd, queue->fd + 1, queue->count * sizeof(queue->fd[0]));
	return fd;
}

void fd_queue_clear(struct fd_queue *queue)
{
	while (queue->count)
		close(queue->fd[--queue->count]);
}

/* ---- named ---- */

struct named_fd {
	LIST_ENTRY(named_fd) link;
	int fd;
	char *name;
};

static struct named_fd *find_name(const struct fd_names *names, const char *name)
{
	struct named_fd *entry;

	LIST_FOREACH(entry, &names->list, link)
		if (!strcmp(entry->name, name))
			return entry;
	return NULL;
}

int fd_names_put(struct fd_names *names, const char *name, int fd, struct error *err)
{
	struct named_fd *entry = find_name(names, name);

	if (name[0] >= '0' && name[0] <= '9') {
		close(fd);
		return error_set(err, EINVAL,
				 "Parameter 'fdname' expects a name not starting with a digit");
	}
	if (entry) {
		close(entry->fd);
		entry->fd = fd;
		return 0;
	}
	if (names->count == FD_NAMES_MAX) {
		close(fd);
		return error_set(err, EMFILE, "%d file descriptors have a name already; close one "
				 "with closefd", FD_NAMES_MAX);
	}
	entry = calloc(1, sizeof(*entry));
	if (entry)
		entry->name = strdup(name);
	if (!entry || !entry->name) {
		free(entry);
		close(fd);
		return error_set(err, ENOMEM, "out of memory for a file descriptor's name");
	}
	entry->fd = fd;
	LIST_INSERT_HEAD(&names->list, entry, link);
	names->count++;
	return 0;
}

int fd_names_take(struct fd_names *names, const char *name)
{
	struct named_fd *entry = find_name(names, name);
	int fd;

	if (!entry)
		return -1;
	fd = entry->fd;
	LIST_REMOVE(entry, link);
	names->count--;
	free(entry->name);
	free(entry);
	return fd;
}

int fd_names_receive(struct fd_names *names, const char *name, struct fd_queue *from,
		     struct error *err)
{
	int fd = fd_queue_take(from, err);

	return fd < 0 ? -1 : fd_names_put(names, name, fd, err);
}

int fd_names_close(struct fd_names *names, const char *name, struct error *err)
{
	int fd = fd_names_take(names, name);

	if (fd < 0)
		return error_set(err, ENOENT, "File descriptor named '%s' not found", name);
	close(fd);
	return 0;
}

void fd_names_clear(struct fd_names *names)
{
	while (!LIST_EMPTY(&names->list))
		close(fd_names_take(names, LIST_FIRST(&names->list)->name));
}

/* ---- sets ---- */

void fdsets_init(struct fdsets *sets)
{
	TAILQ_INIT(&sets->list);
	sets->nr_fds = 0;
}

static struct fdset *find_set(const struct fdsets *sets, int64_t id)
{
	struct fdset *set;

	TAILQ_FOREACH(set, &sets->list, link)
		if (set->id == id)
			return set;
	return NULL;
}

/* The set of that id, made if there is none; NULL without memory. */
static struct fdset *get_set(struct fdsets *sets, int64_t id)
{
	struct fdset *set, *behind;

	TAILQ_FOREACH(behind, &sets->list, link)
		if (behind->id >= id)
			break;
	if (behind && behind->id == id)
		return behind;
	set = calloc(1, sizeof(*set));
	if (!set)
		return NULL;
	set->id = id;
	TAILQ_INIT(&set->fds);
	if (behind)
		TAILQ_INSERT_BEFORE(behind, set, link);
	else
		TAILQ_INSERT_TAIL(&sets->list, set, link);
	return set;
}

static int64_t lowest_free_id(const struct fdsets *sets)
{
	const struct fdset *set;
	int64_t id = 0;

	TAILQ_FOREACH(set, &sets->list, link) {
		if (set->id != id)
			break;
		id++;
	}
	return id;
}

static void drop_empty_set(struct fdsets *sets, struct fdset *set)
{
	if (!TAILQ_EMPTY(&set->fds))
		return;
	TAILQ_REMOVE(&sets->list, set, link);
	free(set);
}

static void drop_fd(struct fdsets *sets, struct fdset *set, struct fdset_fd *member)
{
	TAILQ_REMOVE(&set->fds, member, link);
	sets->nr_fds--;
	close(member->fd);
	free(member->opaque);
	free(member);
}

int fdsets_add(struct fdsets *sets, int fd, const char *opaque, int64_t *id, struct error *err)
{
	struct fdset_fd *member;
	struct fdset *set;

	if (sets->nr_fds == FDSETS_MAX_FDS) {
		close(fd);
		return error_set(err, EMFILE, "the sets hold %d file descriptors already; remove "
				 "some with remove-fd", FDSETS_MAX_FDS);
	}
	member = calloc(1, sizeof(*member));
	if (!member || (opaque && !(member->opaque = strdup(opaque))))
		goto fail;
	if (*id == -1)
		*id = lowest_free_id(sets);
	set = get_set(sets, *id);
	if (!set)
		goto fail;
	member->fd = fd;
	TAILQ_INSERT_TAIL(&set->fds, member, link);
	sets->nr_fds++;
	return 0;

fail:
	if (member)
		free(member->opaque);
	free(member);
	close(fd);
	return error_set(err, ENOMEM, "out of memory for a set of file descriptors");
}

int fdsets_remove(struct fdsets *sets, int64_t id, int64_t fd, struct error *err)
{
	struct fdset *set = find_set(sets, id);
	struct fdset_fd *member, *next;
	bool found = false;

	for (member = set ? TAILQ_FIRST(&set->fds) : NULL; member; member = next) {
		next = TAILQ_NEXT(member, link);
		if (fd != -1 && member->fd != fd)
			continue;
		drop_fd(sets, set, member);
		found = true;
	}
	if (found) {
		drop_empty_set(sets, set);
		return 0;
	}
	if (fd == -1)
		return error_set(err, ENOENT,
				 "File descriptor named 'fdset-id:%" PRId64 "' not found", id);
	return error_set(err, ENOENT, "File descriptor named 'fdset-id:%" PRId64 ", fd:%" PRId64
			 "' not found", id, fd);
}

int fdsets_open(const struct fdsets *sets, int64_t id, int access, struct error *err)
{
	const struct fdset *set = find_set(sets, id);
	const struct fdset_fd *member, *found = NULL;
	int fd;

	if (!set)
		return error_set(err, ENOENT, "there is no set of file descriptors %" PRId64
				 "; make it with add-fd", id);
	TAILQ_FOREACH(member, &set->fds, link) {
		int mode = fcntl(member->fd, F_GETFL) & O_ACCMODE;

		if (mode == access) {
			found = member;
			break;
		}
		if (mode == O_RDWR && !found)
			found = member;
	}
	if (!found)
		return error_set(err, EACCES, "no file descriptor of set %" PRId64
				 " is open for %s", id, access == O_RDONLY ? "reading" : "writing");
	fd = fcntl(found->fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return error_errno(err, errno, "file descriptor %d of set %" PRId64, found->fd, id);
	return fd;
}

void fdsets_clear(struct fdsets *sets)
{
	struct fdset *set;

	while ((set = TAILQ_FIRST(&sets->list)))
		fdsets_remove(sets, set->id, -1, NULL);
}
