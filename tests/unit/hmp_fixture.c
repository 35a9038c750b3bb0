/* SPDX-License-Identifier: MIT */
#include "tests/unit/hmp_fixture.h"

#include <check.h>
#include <event2/event.h>

#include "monitor/monitor_internal.h"

struct hmp hmp;
unsigned int hmp_quits;

static struct event_base *base;
static struct text out;

static void quit(void *opaque)
{
	(void)opaque;
	hmp_quits++;
}

void hmp_open(void)
{
	static const char uuid[] = "00000000-0000-0000-0000-000000000000";
	struct monitor *monitor;
	struct error err;

	base = event_base_new();
	monitor = monitor_new(&(struct monitor_config){
		.base = base, .vm = machine.vm, .name = "alpha", .uuid = uuid, .quit = quit,
	}, &err);
	ck_assert_ptr_nonnull(monitor);
	hmp = (struct hmp){ .monitor = monitor, .vm = machine.vm, .out = &out };
	hmp_quits = 0;
}

void hmp_close(void)
{
	text_free(&out);
	monitor_free(hmp.monitor);
	event_base_free(base);
}

const char *run(const char *line)
{
	text_free(&out);
	hmp_execute(&hmp, line);
	/* A file is written on a thread, and here nobody waits for its end. */
	while (!TAILQ_EMPTY(&hmp.monitor->memsaves))
		event_base_loop(base, EVLOOP_ONCE);
	ck_assert(!out.failed);
	return out.bytes ? out.bytes : "";
}
