/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "monitor/monitor_internal.h"

/* Commands about character devices. */

int qmp_query_chardev(struct qmp_call *call)
{
	struct json_writer *w = call->reply;
	struct chardev_info info;

	json_write_array(w, "return");
	for (unsigned int n = 0; monitor_chardev(call->monitor, n, &info); n++) {
		json_write_object(w, NULL);
		json_write_bool(w, "frontend-open", info.frontend_open);
		json_write_string(w, "filename", info.filename);
		json_write_string(w, "label", info.label);
		json_write_object_end(w);
	}
	json_write_array_end(w);
	return 0;
}

int qmp_query_chardev_backends(struct qmp_call *call)
{
	static const char *const names[] = { "file", "null", "pty", "socket", "stdio" };
	struct json_writer *w = call->reply;

	json_write_array(w, "return");
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		json_write_object(w, NULL);
		json_write_string(w, "name", names[i]);
		json_write_object_end(w);
	}
	json_write_array_end(w);
	return 0;
}

int monitor_chardev_add(struct monitor *monitor, const struct chardev_request *request,
			struct chardev_info *info, struct error *err)
{
	const struct monitor_chardevs *chardevs = monitor->config.chardevs;

	if (strlen(request->label) >= sizeof(info->label))
		return error_set(err, EINVAL, "The id of a chardev can have %zu bytes at most",
				 sizeof(info->label) - 1);
	if (monitor_find_chardev(monitor, request->label, info))
		return error_set(err, EEXIST, "Chardev with id '%s' already exists",
				 request->label);
	if (!chardevs)
		return error_set(err, ENOSYS, "Failed to add chardev '%s': nobody here has any",
				 request->label);
	return chardevs->add(chardevs->opaque, request, info, err);
}

int monitor_chardev_remove(struct monitor *monitor, const char *label, struct error *err)
{
	const struct monitor_chardevs *chardevs = monitor->config.chardevs;
	struct chardev_info info;

	if (!monitor_find_chardev(monitor, label, &info))
		return error_set(err, ENOENT, "Chardev '%s' not found", label);
	if (info.frontend_open)
		return error_set(err, EBUSY, "Chardev '%s' is busy", label);
	chardevs->remove(chardevs->opaque, label);
	return 0;
}

static bool flag(const struct json_value *data, const char *name, bool absent)
{
	const struct json_value *value = json_get(data, name);

	return value ? value->boolean : absent;
}

/* What the schema can not tell about a socket. */
static int check_socket(const struct json_value *data, const char *label, struct error *err)
{
	if (!flag(data, "server", true))
		return error_set(err, EINVAL, "Failed to add chardev '%s': a socket can only "
				 "listen here: 'server' must be true", label);
	if (flag(data, "wait", false))
		return error_set(err, EINVAL, "Failed to add chardev '%s': nobody is waited for: "
				 "'wait' must be false", label);
	return 0;
}

int qmp_chardev_add(struct qmp_call *call)
{
	const struct json_value *backend = json_get(call->arguments, "backend");
	const struct json_value *data = json_get(backend, "data");
	struct chardev_request request = {
		.label = json_get(call->arguments, "id")->string.bytes,
		.backend = json_get(backend, "type")->string.bytes,
		.append = flag(data, "append", false),
	};
	struct json_writer *w = call->reply;
	struct chardev_info info;

	if (strcmp(request.backend, "file") == 0) {
		request.path = json_get(data, "out")->string.bytes;
	} else if (strcmp(request.backend, "socket") == 0) {
		const struct json_value *address = json_get(json_get(data, "addr"), "data");

		if (check_socket(data, request.label, &call->error) < 0)
			return -1;
		request.path = json_get(address, "path")->string.bytes;
	}
	if (monitor_chardev_add(call->monitor, &request, &info, &call->error) < 0)
		return -1;
	json_write_object(w, "return");
	if (strncmp(info.filename, "pty:", 4) == 0)
		json_write_string(w, "pty", info.filename + 4);
	json_write_object_end(w);
	return 0;
}

int qmp_chardev_remove(struct qmp_call *call)
{
	return monitor_chardev_remove(call->monitor,
				      json_get(call->arguments, "id")->string.bytes, &call->error);
}
