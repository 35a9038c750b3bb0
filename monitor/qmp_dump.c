/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "monitor/dump.h"
#include "monitor/monitor.h"

/* There is one format; QEMU's others it would say so of, too, if it were built without them. */
static int check_format(const struct qmp_call *call, const struct dump_config *config,
			struct error *err)
{
	const struct json_value *format = json_get(call->arguments, "format");
	const char *name = format ? format->string.bytes : "elf";

	if (strcmp(name, "elf") == 0)
		return 0;
	if (strncmp(name, "kdump-", 6) == 0 && (config->paging || config->filter))
		return error_set(err, EINVAL, "kdump-compressed format doesn't support paging or "
				 "filter");
	return error_set(err, ENOTSUP, "%s is not available now", name);
}

int qmp_dump_guest_memory(struct qmp_call *call)
{
	const struct json_value *begin = json_get(call->arguments, "begin");
	const struct json_value *length = json_get(call->arguments, "length");
	const struct json_value *detach = json_get(call->arguments, "detach");
	const char *protocol = json_get(call->arguments, "protocol")->string.bytes;
	struct dump_config config = { .paging = json_get(call->arguments, "paging")->boolean };
	struct qmp_pending *pending;

	if (dump_set_filter(&config, begin ? &begin->integer : NULL,
			    length ? &length->integer : NULL, &call->error) < 0 ||
	    check_format(call, &config, &call->error) < 0)
		return -1;
	if (detach && detach->boolean)
		return dump_start(call->monitor, call->client, protocol, &config, &call->error);
	pending = qmp_defer(call, dump_forget, call->monitor);
	if (!pending ||
	    dump_start(call->monitor, call->client, protocol, &config, &call->error) < 0)
		return -1;
	dump_await(call->monitor, pending);
	return QMP_LATER;
}

int qmp_query_dump(struct qmp_call *call)
{
	struct dump_info info;

	vm_dump_info(monitor_vm(call->monitor), &info);
	dump_write_result(call->reply, "return", &info);
	return 0;
}

int qmp_query_dump_guest_memory_capability(struct qmp_call *call)
{
	struct json_writer *w = call->reply;

	json_write_object(w, "return");
	json_write_array(w, "formats");
	json_write_string(w, NULL, "elf");
	json_write_array_end(w);
	json_write_object_end(w);
	return 0;
}
