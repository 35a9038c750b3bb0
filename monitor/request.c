/* SPDX-License-Identifier: MIT */
#include "monitor/monitor_internal.h"
#include "vmm/clock.h"

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

/* Begins anew, with the buffer that there is. */
static void empty_writer(struct json_writer *w, bool pretty)
{
	struct json_writer old = *w;

	if (old.size > WRITER_KEEP)
		json_writer_free(&old);
	json_writer_init(w, pretty);
	w->text = old.text;
	w->size = old.size;
}

/*
 * The members of a request.  Returns the name of the command, or NULL with the error filled.
 * `oob`: the client has enabled exec-oob.
 */
static const char *check_members(const struct json_value *request, bool oob, struct error *err)
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

		if (!strcmp(name, "execute") || (oob && !strcmp(name, "exec-oob"))) {
			if (value->type != JSON_STRING) {
				error_set(err, EINVAL,
					  "QMP input member '%s' must be a string", name);
				return NULL;
			}
			if (command) {
				/* In this order, whichever comes first. */
				error_set(err, EINVAL, "QMP input member 'execute' clashes with "
					  "'exec-oob'");
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
			error_set(err, EINVAL, "QMP input member '%s' is unexpected", name);
			return NULL;
		}
	}
	if (!command)
		error_set(err, EINVAL, "QMP input lacks member 'execute'");
	return command;
}

int request_only_observes(struct error *err)
{
	return error_set(err, EPERM, "This monitor only observes: it takes query-... commands, and "
			 "of human-monitor-command those that change nothing");
}

bool command_is_allowed(const struct monitor_client *client, const struct qmp_command *command)
{
	return client->options.mode != MONITOR_OBSERVE ||
	       !strncmp(command->name, "query-", strlen("query-")) ||
	       command->handler == qmp_qmp_capabilities ||
	       command->handler == qmp_human_monitor_command;
}

/* Checks a request, in QEMU's order.  Returns its command, or NULL with the call's error filled. */
static const struct qmp_command *check_request(const struct json_value *request,
					       struct qmp_call *call)
{
	static const struct json_value no_arguments = { .type = JSON_OBJECT };
	const char *name = check_members(request, call->client->oob, &call->error);
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
	if (!command_is_allowed(call->client, command)) {
		request_only_observes(&call->error);
		return NULL;
	}
	if (call->out_of_band && !command->allow_oob) {
		error_set(&call->error, ENOTSUP, "The command %s does not support OOB", name);
		return NULL;
	}
	call->arguments = json_get(request, "arguments");
	if (!call->arguments)
		call->arguments = &no_arguments;
	if (qmp_check_arguments(command->arguments, call->arguments, &call->error) < 0)
		return NULL;
	return command;
}

void request_begin_reply(struct json_writer *w)
{
	json_write_object(w, NULL);
}

void request_end_reply(struct json_writer *w, const struct json_value *id)
{
	/* "{" alone, in either form, means that the handler has written nothing. */
	if (!w->need_comma) {
		json_write_object(w, "return");
		json_write_object_end(w);
	}
	if (id)
		json_write_value(w, "id", id);
	json_write_object_end(w);
	json_write_line_end(w);
}

void request_write_error(struct json_writer *w, const struct json_value *id,
			 enum qmp_error_class class, const char *description)
{
	empty_writer(w, w->pretty);
	write_error(w, id, class, description);
}

void request_write_failure(struct json_writer *w, const struct json_value *id)
{
	request_write_error(w, id, QMP_GENERIC_ERROR,
			    "Out of memory for the reply; the command has been carried out");
}

void request_write_text(struct json_writer *w, const struct text *out)
{
	struct text crlf = { 0 };

	text_append_crlf(&crlf, out);
	json_write_string_len(w, "return", crlf.len ? crlf.bytes : "", crlf.len);
	w->failed |= crlf.failed;
	text_free(&crlf);
}

/* Carries out a request and writes the reply.  False if there is none yet. */
static bool execute(struct monitor_client *client, struct json_writer *w,
		    struct json_value *request, bool urgent)
{
	struct qmp_call call = {
		.monitor = client->monitor,
		.client = client,
		.reply = w,
		.out_of_band = urgent,
		.id = json_get(request, "id"),
	};
	const struct qmp_command *command = check_request(request, &call);

	request_begin_reply(w);
	if (!command || command->handler(&call) < 0) {
		if (call.pending)
			pending_abandon(call.pending);
		request_write_error(w, call.id, call.error_class, call.error.text);
		return true;
	}
	if (call.pending)
		pending_keep_request(call.pending, request);
	if (call.deferred)
		return false;
	request_end_reply(w, call.id);
	if (w->failed)
		request_write_failure(w, call.id);
	return true;
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
		if (!client->queued || !client->queue[client->queue_first].error)
			return;
		request_free(request);
		client_take_request(client, request);
	}
}

/* Carries out one request, if there is one.  Returns whether there is a reply now, in `w`. */
static bool execute_next(struct monitor_client *client, struct json_writer *w)
{
	struct request request;
	bool answered = true;

	empty_writer(w, client->options.pretty);
	if (!client_next_request(client, &request))
		return false;
	if (request.line) {
		terminal_execute(client, request.line);
		answered = false;
	} else if (request.error) {
		answer_errors(client, w, &request);
	} else {
		answered = execute(client, w, &request.value, request.urgent);
	}
	request_free(&request);
	return answered;
}

/*
 * Whether the batch may go on.  Not with vCPUs held back that are to go: they might have to stop for
 * the next command, and can not while they are held.
 */
static bool goes_on(const struct monitor_client *client, int64_t end)
{
	const struct vm *vm = client->monitor->config.vm;

	return client_has_request(client) && !(vm && vm->go_pending) &&
	       evbuffer_get_length(client->output) <= OUTPUT_HIGH && clock_ns(CLOCK_MONOTONIC) < end;
}

void client_execute(struct monitor_client *client, int64_t end)
{
	struct json_writer *w = &client->monitor->writer;
	struct vm *vm = client->monitor->config.vm;
	bool outer = client_begin(client), answered, more;
	unsigned int count = 0;

	if (vm)
		vm_hold_back(vm);
	do {
		answered = execute_next(client, w);
		more = ++count < QUEUE_LENGTH && goes_on(client, end);
		if (client->fd < 0)
			break;
		if (answered && more)
			client_put(client, w);
		else if (answered)
			client_send(client, w);
		else if (!more && evbuffer_get_length(client->output))
			client_flush(client);
	} while (more && client->fd >= 0);
	if (vm)
		vm_let_go(vm);
	client_end(client, outer);
}

void client_answer(struct monitor_client *client, struct json_writer *w)
{
	bool outer = client_begin(client);

	client_send(client, w);
	client_end(client, outer);
}

/* The command that begins every session.  There is one capability to enable. */
int qmp_qmp_capabilities(struct qmp_call *call)
{
	const struct json_value *enable = json_get(call->arguments, "enable");

	if (!call->client || call->client->negotiated) {
		call->error_class = QMP_COMMAND_NOT_FOUND;
		return error_set(&call->error, EALREADY, "Capabilities negotiation is already "
				 "complete, command ignored");
	}
	call->client->oob = enable && enable->array.count;
	call->client->negotiated = true;
	return 0;
}
