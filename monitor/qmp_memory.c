/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/base64.h"
#include "monitor/monitor.h"
#include "vmm/guest_access.h"

/* Which addresses are meant: "space" and "cpu-index". */
static int space_argument(struct qmp_call *call, int *cpu)
{
	const struct json_value *space = json_get(call->arguments, "space");

	*cpu = GUEST_PHYSICAL;
	if (!space || strcmp(space->string.bytes, "physical") == 0)
		return json_get(call->arguments, "cpu-index") ?
		       error_set(&call->error, EINVAL,
				 "Parameter 'cpu-index' is unexpected: physical addresses are the "
				 "same for all vCPUs") : 0;
	if (qmp_cpu_argument(call, cpu) < 0)
		return -1;
	if (*cpu < 0)
		*cpu = 0;
	return 0;
}

static uint64_t address_argument(const struct qmp_call *call)
{
	/* INT and UINT have the same bits. */
	return json_get(call->arguments, "address")->uinteger;
}

int qmp_read_memory(struct qmp_call *call)
{
	int64_t size = json_get(call->arguments, "size")->integer;
	struct json_writer *w = call->reply;
	uint8_t *bytes;
	char *text;
	int cpu, rc = -1;

	if (space_argument(call, &cpu) < 0)
		return -1;
	if (size < 1 || size > (int64_t)GUEST_ACCESS_MAX)
		return error_set(&call->error, EINVAL,
				 "Parameter 'size' expects a value between 1 and %zu",
				 GUEST_ACCESS_MAX);
	bytes = malloc((size_t)size);
	text = malloc(base64_length((size_t)size));
	if (!bytes || !text) {
		error_errno(&call->error, ENOMEM, "%zu bytes of guest memory", (size_t)size);
		goto out;
	}
	rc = vm_memory_read(monitor_vm(call->monitor), cpu, address_argument(call), bytes,
			    (size_t)size, &call->error);
	if (rc < 0)
		goto out;
	base64_encode(bytes, (size_t)size, text);
	json_write_object(w, "return");
	json_write_string_len(w, "data", text, base64_length((size_t)size));
	json_write_object_end(w);
out:
	free(bytes);
	free(text);
	return rc;
}

int qmp_write_memory(struct qmp_call *call)
{
	const struct json_value *data = json_get(call->arguments, "data");
	uint8_t *bytes;
	size_t size;
	int cpu, rc;

	if (space_argument(call, &cpu) < 0)
		return -1;
	if (!data->string.len || data->string.len > base64_length(GUEST_ACCESS_MAX))
		return error_set(&call->error, EINVAL,
				 "Parameter 'data' expects 1 to %zu bytes in base64",
				 GUEST_ACCESS_MAX);
	bytes = malloc(data->string.len / 4 * 3 + 1);
	if (!bytes)
		return error_errno(&call->error, ENOMEM, "%zu bytes of base64", data->string.len);
	if (base64_decode(data->string.bytes, data->string.len, bytes, &size))
		rc = vm_memory_write(monitor_vm(call->monitor), cpu, address_argument(call), bytes,
				     size, &call->error);
	else
		rc = error_set(&call->error, EINVAL,
			       "Parameter 'data' is not base64 with its padding");
	free(bytes);
	return rc;
}
