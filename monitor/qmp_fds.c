/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <unistd.h>

#include "monitor/monitor_internal.h"

/* Commands about descriptors that come with their bytes.  Those are the client's. */

int qmp_getfd(struct qmp_call *call)
{
	return fd_names_receive(&call->client->names,
				json_get(call->arguments, "fdname")->string.bytes,
				&call->client->received, &call->error);
}

int qmp_closefd(struct qmp_call *call)
{
	return fd_names_close(&call->client->names,
			      json_get(call->arguments, "fdname")->string.bytes, &call->error);
}

int qmp_add_fd(struct qmp_call *call)
{
	const struct json_value *id = json_get(call->arguments, "fdset-id");
	const struct json_value *opaque = json_get(call->arguments, "opaque");
	int fd = fd_queue_take(&call->client->received, &call->error);
	struct json_writer *w = call->reply;
	int64_t set = id ? id->integer : -1;

	if (fd < 0)
		return -1;
	if (id && set < 0) {
		close(fd);
		return error_set(&call->error, EINVAL,
				 "Parameter 'fdset-id' expects a non-negative value");
	}
	if (fdsets_add(&call->monitor->fdsets, fd, opaque ? opaque->string.bytes : NULL, &set,
		       &call->error) < 0)
		return -1;
	json_write_object(w, "return");
	json_write_int(w, "fd", fd);
	json_write_int(w, "fdset-id", set);
	json_write_object_end(w);
	return 0;
}

int qmp_remove_fd(struct qmp_call *call)
{
	const struct json_value *fd = json_get(call->arguments, "fd");
	int64_t id = json_get(call->arguments, "fdset-id")->integer;

	if (fd && fd->integer < 0)
		return error_set(&call->error, EINVAL,
				 "Parameter 'fd' expects a non-negative value");
	return fdsets_remove(&call->monitor->fdsets, id, fd ? fd->integer : -1, &call->error);
}

int qmp_query_fdsets(struct qmp_call *call)
{
	const struct fdset_fd *member;
	const struct fdset *set;
	struct json_writer *w = call->reply;

	json_write_array(w, "return");
	TAILQ_FOREACH(set, &call->monitor->fdsets.list, link) {
		json_write_object(w, NULL);
		json_write_int(w, "fdset-id", set->id);
		json_write_array(w, "fds");
		TAILQ_FOREACH(member, &set->fds, link) {
			json_write_object(w, NULL);
			json_write_int(w, "fd", member->fd);
			if (member->opaque)
				json_write_string(w, "opaque", member->opaque);
			json_write_object_end(w);
		}
		json_write_array_end(w);
		json_write_object_end(w);
	}
	json_write_array_end(w);
	return 0;
}
