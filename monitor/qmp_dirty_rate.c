/* SPDX-License-Identifier: MIT */
#include "monitor/dirty_rate.h"
#include "monitor/monitor.h"

int qmp_calc_dirty_rate(struct qmp_call *call)
{
	const struct json_value *pages = json_get(call->arguments, "sample-pages");
	const struct json_value *mode = json_get(call->arguments, "mode");

	return dirty_rate_start(monitor_vm(call->monitor),
				json_get(call->arguments, "calc-time")->integer,
				mode ? mode->string.bytes : "page-sampling",
				pages ? &pages->integer : NULL, &call->error);
}

int qmp_query_dirty_rate(struct qmp_call *call)
{
	struct json_writer *w = call->reply;
	struct dirty_rate_info info;

	vm_dirty_rate_info(monitor_vm(call->monitor), &info);
	json_write_object(w, "return");
	json_write_string(w, "status", dirty_rate_status_name(info.status));
	json_write_uint(w, "sample-pages", dirty_rate_sample_pages(&info));
	if (info.rate >= 0)
		json_write_int(w, "dirty-rate", info.rate);
	json_write_string(w, "mode", dirty_rate_mode_name(info.config.mode));
	json_write_int(w, "start-time", info.start_ms / 1000);
	json_write_uint(w, "calc-time", info.config.milliseconds / 1000);
	json_write_object_end(w);
	return 0;
}
