/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/monitor.h"
#include "monitor/registers.h"

int qmp_set_vcpu_registers(struct qmp_call *call)
{
	const struct json_value *registers = json_get(call->arguments, "registers");
	size_t nr = registers->object.count;
	struct register_value *values = calloc(nr ? nr : 1, sizeof(*values));
	int rc;

	if (!values)
		return error_errno(&call->error, ENOMEM, "the values of registers");
	for (size_t i = 0; i < nr; i++) {
		const struct json_member *member = &registers->object.member[i];

		/* That they exist has been checked; INT and UINT have the same bits. */
		values[i].settable = settable_find(member->name, strlen(member->name));
		values[i].value = member->value.uinteger;
	}
	rc = registers_set(monitor_vm(call->monitor),
			   json_get(call->arguments, "cpu-index")->integer, values, nr,
			   &call->error);
	free(values);
	return rc;
}
