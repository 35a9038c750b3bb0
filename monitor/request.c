/* SPDX-License-Identifier: MIT */
#include "monitor/monitor_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The writer's buffer is not kept for the next reply when it has grown beyond this. */
#define WRITER_KEEP 65536

static const char *class_name(enum qmp_error_class class)
{
	switch (class) {
	case QMP_GENERIC_ERROR:         return "GenericError";
	case QMP_COMMAND_NOT_FOUND:     return "CommandNotFound";
	case QMP_DEVICE_NOT_ACTIVE:     return "DeviceNotActive";
	case QMP_DEVICE_NOT_FOUND:      return "DeviceNotFound";
	case QMP_KVM_MISSING_CAP:       return "KVMMissingCap";
	}
	return "GenericError";
}

static void write_error(struct json_writer *w, const struct json_value *id,
			enum qmp_error_class class, const char *description)
{
	json_write_object(w, NULL);
	if (id)
		json_write_value(w, "id", id);
	json_write_object(w, "error");
	json_write_string(w, "class", class_name(class));
	json_write_string(w, "desc", description);
	json_write_object_end(w);
	json_write_object_end(w);
	json_write_line_end(w);
}

/* An empty writer that goes on using the buffer of the one before. */
static struct json_writer *fresh_writer(struct monitor *monitor, bool pretty)
{
	struct json_writer *w = &monitor->writer, old = *w;

	if (old.size > WRITER_KEEP)
		json_writer_free(&old);
	json_writer_init(w, pretty);
	w->text = old.text;
	w->size = old.size;
	return w;
}

/* The members of a request.  Returns the name of the command, or NULL with the error filled. */
static const char *check_members(const struct json_value *request, struct error *err)
{
	const char *command = NULL;
	size_t i;

	if (request->type != JSON_OBJECT) {
		error_set(err, EINVAL, "QMP input must be a JSON object");
		return NULL;
	}
	for (i = 0; i < request->object.count; i++) {
		const char *name = request->object.member[i].name;
		const struct json_value *value = &request->object.member[i].value;

		if (!strcmp(name, "execute")) {
			if (value->type != JSON_STRING) {
				error_set(err, EINVAL,
					  "QMP input member 'execute' must be a string");
				return NULL;
			}
			command = value->string.bytes;
		} else if (!strcmp(name, "arguments")) {
			if (value->type != JSON_OBJECT) {
				error_set(err, EINVAL,
					  "QMP input member 'arguments' must be an object");
				return NULL;
			}
		} else if (strcmp(name, "id")) {
			/* exec-oob too, as long as nobody can enable out-of-band execution. */
			error_set(err, EINVAL, "QMP input member '%s' is unexpected", name);
			return NULL;
		}
	}
	if (!command)
		error_set(err, EINVAL, "QMP input lacks member 'execute'");
	return command;
}

/* Checks a request, in QEMU's order.  Returns its command, or NULL with the call's error filled. */
static const struct qmp_command *check_request(const struct json_value *request,
					       struct qmp_call *call)
{
	static const struct json_value no_arguments = { .type = JSON_OBJECT };
	const char *name = check_members(request, &call->error);
	const struct qmp_command *command;

	if (!name)
		return NULL;
	command = qmp_find_command(name);
	if (!call->client->negotiated &&
	    (!command || command->handler != qmp_qmp_capabilities)) {
		call->error_class = QMP_COMMAND_NOT_FOUND;
		error_set(&call->error, EPROTO,
			  "Expecting capabilities negotiation with 'qmp_capabilities'");
		return NULL;
	}
	if (!command) {
		call->error_class = QMP_COMMAND_NOT_FOUND;
		error_set(&call->error, ENOENT, "The command %s has not been found", name);
		return NULL;
	}
	call->arguments = json_get(request, "arguments");
	if (!call->arguments)
		call->arguments = &no_arguments;
	if (qmp_check_arguments(command->arguments, call->arguments, &call->error) < 0)
		return NULL;
	return command;
}

/* Carries out a request and writes the reply. */
static void execute(struct monitor_client *client, struct json_writer *w,
		    const struct json_value *request)
{
	struct qmp_call call = {
		.monitor = client->monitor,
		.client = client,
		.reply = w,
	};
	const struct json_value *id = json_get(request, "id");
	const struct qmp_command *command = check_request(request, &call);
	size_t start;

	json_write_object(w, NULL);
	start = w->len;
	if (command && !command->handler(&call)) {
		if (w->len == start) {
			json_write_object(w, "return");
			json_write_object_end(w);
		}
		if (id)
			json_write_value(w, "id", id);
		json_write_object_end(w);
		json_write_line_end(w);
		if (!w->failed)
			return;
		call.error_class = QMP_GENERIC_ERROR;
		error_set(&call.error, ENOMEM,
			  "Out of memory for the reply; the command has been carried out");
	}
	/* Whatever there is of a reply is nothing worth. */
	w = fresh_writer(client->monitor, client->pretty);
	write_error(w, id, call.error_class, call.error.text);
}

/*
 * Malformed input is answered in runs, since one bad byte may make many errors and none of them is
 * a command; the queue bounds the run.
 */
static void answer_errors(struct monitor_client *client, struct json_writer *w,
			  struct request *request)
{
	for (;;) {
		write_error(w, NULL, QMP_GENERIC_ERROR, request->error);
		free(request->error);
		if (!client->queued || !client->queue[client->queue_first].error)
			return;
		client_take_request(client, request);
	}
}

void client_execute(struct monitor_client *client)
{
	struct json_writer *w = fresh_writer(client->monitor, client->pretty);
	struct vm *vm = client->monitor->config.vm;
	struct request request;

	if (vm)
		vm_hold_back(vm);
	/* The client may be closed from here on, but not freed. */
	client->executing = true;
	client_take_request(client, &request);
	if (request.error) {
		answer_errors(client, w, &request);
	} else {
		execute(client, w, &request.value);
		json_clear(&request.value);
	}
	if (client->fd >= 0)
		client_send(client, w);
	if (vm)
		vm_let_go(vm);
	client->executing = false;
	if (client->fd >= 0)
		client_update(client);
	else
		client_release(client);
}

/* The command that begins every session.  There are no capabilities to enable yet. */
int qmp_qmp_capabilities(struct qmp_call *call)
{
	const struct json_value *enable = json_get(call->arguments, "enable");

	if (!call->client || call->client->negotiated) {
		call->error_class = QMP_COMMAND_NOT_FOUND;
		return error_set(&call->error, EALREADY, "Capabilities negotiation is already "
				 "complete, command ignored");
	}
	if (enable && enable->array.count)
		return error_set(&call->error, EINVAL, "Capability %s not available",
				 enable->array.item[0].string.bytes);
	call->client->negotiated = true;
	return 0;
}
