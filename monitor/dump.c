/* SPDX-License-Identifier: MIT */
#include "monitor/dump.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/migrate_channel.h"
#include "monitor/monitor_internal.h"
#include "vmm/log.h"

static int open_target(struct monitor *monitor, struct monitor_client *client,
		       const char *protocol, struct migration_channel *channel, struct error *err)
{
	if (strncmp(protocol, "fd:", 3) == 0)
		return migrate_fd_out(protocol + 3, client ? &client->names : NULL, channel, err);
	if (strncmp(protocol, "file:", 5) == 0)
		return migrate_file_out(protocol + 5, &monitor->fdsets, channel, err);
	return error_set(err, EINVAL, "Invalid parameter 'protocol'");
}

int dump_start(struct monitor *monitor, struct monitor_client *client, const char *protocol,
	       const struct dump_config *config, struct error *err)
{
	struct vm *vm = monitor_vm(monitor);
	struct migration_channel channel;

	if (vm_dump_check(vm, config, err) < 0 ||
	    open_target(monitor, client, protocol, &channel, err) < 0)
		return -1;
	if (vm_dump(vm, config, &channel, err) == 0)
		return 0;
	migrate_channel_close(&channel);
	return -1;
}

int dump_set_filter(struct dump_config *config, const int64_t *begin, const int64_t *length,
		    struct error *err)
{
	config->filter = begin || length;
	if (!config->filter)
		return 0;
	if (!begin || !length)
		return error_set(err, EINVAL, "Parameter '%s' is missing",
				 begin ? "length" : "begin");
	if (*begin < 0)
		return error_set(err, EINVAL, "Invalid parameter 'begin'");
	if (*length < 0)
		return error_set(err, EINVAL, "Invalid parameter 'length'");
	config->begin = (uint64_t)*begin;
	config->length = (uint64_t)*length;
	return 0;
}

void dump_await(struct monitor *monitor, struct qmp_pending *pending)
{
	monitor->dump_pending = pending;
}

void dump_forget(void *opaque)
{
	struct monitor *monitor = opaque;

	monitor->dump_pending = NULL;
}

/* ---- events ---- */

void dump_write_result(struct json_writer *w, const char *name, const struct dump_info *info)
{
	json_write_object(w, name);
	json_write_string(w, "status", dump_status_name(info->status));
	json_write_uint(w, "completed", info->completed);
	json_write_uint(w, "total", info->total);
	json_write_object_end(w);
}

/* Takes the writer's text. */
static void emit(struct monitor *monitor, enum qmp_event event, struct json_writer *w)
{
	char *data = w->failed ? NULL : strndup(w->text, w->len);

	if (data)
		monitor_emit(monitor, event, data);
	else
		log_error("out of memory: monitor clients miss an event %s",
			  qmp_events[event].name);
	free(data);
	json_writer_free(w);
}

void dump_progress(struct monitor *monitor)
{
	struct json_writer w;
	struct dump_info info;

	vm_dump_info(monitor_vm(monitor), &info);
	json_writer_init(&w, false);
	json_write_object(&w, NULL);
	json_write_uint(&w, "completed", info.completed);
	json_write_uint(&w, "total", info.total);
	json_write_object_end(&w);
	emit(monitor, QMP_EVENT_DUMP_PROGRESS, &w);
}

void dump_completed(struct monitor *monitor)
{
	struct json_writer w;
	struct dump_info info;

	/* What waits for its second to be over is old now. */
	monitor_drop_event(monitor, QMP_EVENT_DUMP_PROGRESS);
	vm_dump_info(monitor_vm(monitor), &info);
	json_writer_init(&w, false);
	json_write_object(&w, NULL);
	dump_write_result(&w, "result", &info);
	if (info.error)
		json_write_string(&w, "error", info.error);
	json_write_object_end(&w);
	emit(monitor, QMP_EVENT_DUMP_COMPLETED, &w);
}

void dump_over(struct monitor *monitor)
{
	struct qmp_pending *pending = monitor->dump_pending;
	struct dump_info info;
	struct error err;

	monitor->dump_pending = NULL;
	if (!pending)
		return;
	vm_dump_info(monitor_vm(monitor), &info);
	if (info.error) {
		error_set(&err, EIO, "%s", info.error);
		qmp_pending_error(pending, QMP_GENERIC_ERROR, &err);
	} else {
		qmp_pending_return(pending);
	}
}
