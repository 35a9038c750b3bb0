/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "monitor/monitor_internal.h"

/*
 * Connections that hang, and can be broken off so that what waits for them fails.  Of those that
 * QEMU has we have one: the migration's.
 */

int qmp_query_yank(struct qmp_call *call)
{
	struct json_writer *w = call->reply;

	json_write_array(w, "return");
	if (monitor_vm(call->monitor) && migrate_can_yank(&call->monitor->migrate)) {
		json_write_object(w, NULL);
		json_write_string(w, "type", "migration");
		json_write_object_end(w);
	}
	json_write_array_end(w);
	return 0;
}

/* What the type of an instance goes with, by QEMU's rules and in its words. */
static int check_members(const struct json_value *instance, size_t index, struct error *err)
{
	static const struct {
		const char *type, *name;
	} needs[] = { { "chardev", "id" }, { "block-node", "node-name" } };
	const char *type = json_get(instance, "type")->string.bytes;

	for (size_t i = 0; i < sizeof(needs) / sizeof(needs[0]); i++) {
		bool needed = !strcmp(type, needs[i].type);

		if (needed != !!json_get(instance, needs[i].name))
			return error_set(err, EINVAL, "Parameter 'instances[%zu].%s' is %s", index,
					 needs[i].name, needed ? "missing" : "unexpected");
	}
	return 0;
}

/* All of them are there, or nothing is done. */
int qmp_yank(struct qmp_call *call)
{
	const struct json_value *instances = json_get(call->arguments, "instances");
	struct migrate *migrate = &call->monitor->migrate;
	bool there = monitor_vm(call->monitor) && migrate_can_yank(migrate);
	size_t i;

	for (i = 0; i < instances->array.count; i++)
		if (check_members(&instances->array.item[i], i, &call->error) < 0)
			return -1;
	for (i = 0; i < instances->array.count; i++) {
		if (there && !strcmp(json_get(&instances->array.item[i], "type")->string.bytes,
				     "migration"))
			continue;
		call->error_class = QMP_DEVICE_NOT_FOUND;
		return error_set(&call->error, ENOENT, "Instance not found");
	}
	if (i)
		migrate_yank(migrate);
	return 0;
}
