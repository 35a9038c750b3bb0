/* SPDX-License-Identifier: MIT */
#include "monitor/monitor_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "monitor/dump.h"
#include "vmm/log.h"

/* An event as it goes over the wire, shared by all clients that have yet to read it. */
struct event_text {
	unsigned int refs;
	enum qmp_event event;
	struct json_writer w;
};

static struct event_text *event_text_new(enum qmp_event event, bool pretty)
{
	struct event_text *text = calloc(1, sizeof(*text));

	if (!text)
		return NULL;
	text->refs = 1;
	text->event = event;
	json_writer_init(&text->w, pretty);
	return text;
}

static void event_text_put(struct event_text *text)
{
	if (!text || --text->refs)
		return;
	json_writer_free(&text->w);
	free(text);
}

/* evbuffer_ref_cleanup_cb */
static void release_event(const void *bytes, size_t len, void *opaque)
{
	(void)bytes;
	(void)len;
	event_text_put(opaque);
}

static struct event_text *write_event(enum qmp_event event, const char *data)
{
	struct event_text *text = event_text_new(event, false);
	struct timespec now;

	if (!text)
		return NULL;
	if (clock_gettime(CLOCK_REALTIME, &now) < 0)
		now = (struct timespec){ -1, -1000 };
	json_write_object(&text->w, NULL);
	json_write_object(&text->w, "timestamp");
	json_write_int(&text->w, "seconds", now.tv_sec);
	json_write_int(&text->w, "microseconds", now.tv_nsec / 1000);
	json_write_object_end(&text->w);
	json_write_string(&text->w, "event", qmp_events[event].name);
	if (data)
		json_write_raw(&text->w, "data", data, strlen(data));
	json_write_object_end(&text->w);
	json_write_line_end(&text->w);
	if (text->w.failed) {
		event_text_put(text);
		return NULL;
	}
	return text;
}

/* The same event in lines. */
static struct event_text *write_pretty_event(const struct event_text *compact)
{
	struct event_text *text = event_text_new(compact->event, true);

	if (!text)
		return NULL;
	json_write_raw(&text->w, NULL, compact->w.text, compact->w.len - strlen("\r\n"));
	json_write_line_end(&text->w);
	if (text->w.failed) {
		event_text_put(text);
		return NULL;
	}
	return text;
}

static void broadcast(struct monitor *monitor, struct event_text *compact)
{
	struct monitor_client *client, *next;
	struct event_text *pretty = NULL;

	for (client = TAILQ_FIRST(&monitor->clients); client; client = next) {
		struct event_text *text = compact;

		/* Queueing may close this client, and no other. */
		next = TAILQ_NEXT(client, link);
		if (!client->negotiated)
			continue;
		if (client->options.pretty) {
			if (!pretty)
				pretty = write_pretty_event(compact);
			text = pretty;
		}
		if (!text) {
			client_close(client, "out of memory for an event");
			continue;
		}
		text->refs++;
		client_queue_event(client, text->w.text, text->w.len, release_event, text);
	}
	event_text_put(pretty);
}

static void start_limit(struct event_limit *limit)
{
	struct timeval interval = {
		.tv_sec = limit->interval_ms / 1000,
		.tv_usec = limit->interval_ms % 1000 * 1000,
	};

	evtimer_add(limit->timer, &interval);
}

static void on_limit(evutil_socket_t fd, short what, void *opaque)
{
	struct event_limit *limit = opaque;
	struct event_text *text = limit->waiting;

	(void)fd;
	(void)what;
	if (!text)
		return;
	limit->waiting = NULL;
	start_limit(limit);
	broadcast(limit->monitor, text);
	event_text_put(text);
}

void monitor_emit_limited(struct monitor *monitor, enum qmp_event event, const char *data,
			  unsigned int interval_ms)
{
	struct event_limit *limit = &monitor->limit[event];
	struct event_text *text = write_event(event, data);

	if (!text) {
		log_error("out of memory: monitor clients miss an event %s",
			  qmp_events[event].name);
		return;
	}
	if (interval_ms && !limit->timer) {
		limit->monitor = monitor;
		limit->timer = evtimer_new(monitor->config.base, on_limit, limit);
	}
	/* Without memory for the timer, events come unlimited, which is better than none. */
	if (interval_ms && limit->timer) {
		limit->interval_ms = interval_ms;
		if (evtimer_pending(limit->timer, NULL)) {
			event_text_put(limit->waiting);
			limit->waiting = text;
			return;
		}
		start_limit(limit);
	}
	broadcast(monitor, text);
	event_text_put(text);
}

void monitor_emit(struct monitor *monitor, enum qmp_event event, const char *data)
{
	monitor_emit_limited(monitor, event, data, qmp_events[event].rate_limit_ms);
}

void monitor_drop_event(struct monitor *monitor, enum qmp_event event)
{
	event_text_put(monitor->limit[event].waiting);
	monitor->limit[event].waiting = NULL;
}

void monitor_free_events(struct monitor *monitor)
{
	size_t i;

	for (i = 0; i < QMP_EVENT_COUNT; i++) {
		if (monitor->limit[i].timer)
			event_free(monitor->limit[i].timer);
		event_text_put(monitor->limit[i].waiting);
	}
}

void monitor_vm_event(struct monitor *monitor, const struct vm_event *event)
{
	char data[96], panic[32];

	snprintf(panic, sizeof(panic), "{\"action\": \"%s\"}",
		 guest_panic_action_name(event->action));
	snprintf(data, sizeof(data), "{\"guest\": %s, \"reason\": \"%s\"}",
		 shutdown_cause_is_guest(event->cause) ? "true" : "false",
		 shutdown_cause_name(event->cause));
	switch (event->type) {
	case VM_EVENT_STOP:
		monitor_emit(monitor, QMP_EVENT_STOP, NULL);
		break;
	case VM_EVENT_RESUME:
		monitor_emit(monitor, QMP_EVENT_RESUME, NULL);
		break;
	case VM_EVENT_RESET:
		monitor_emit(monitor, QMP_EVENT_RESET, data);
		break;
	case VM_EVENT_SHUTDOWN:
		monitor_emit(monitor, QMP_EVENT_SHUTDOWN, data);
		break;
	case VM_EVENT_POWERDOWN:
		monitor_emit(monitor, QMP_EVENT_POWERDOWN, NULL);
		break;
	case VM_EVENT_GUEST_PANICKED:
		monitor_emit(monitor, QMP_EVENT_GUEST_PANICKED, panic);
		break;
	case VM_EVENT_GUEST_CRASHLOADED:
		monitor_emit(monitor, QMP_EVENT_GUEST_CRASHLOADED, panic);
		break;
	case VM_EVENT_MIGRATION:
		snprintf(data, sizeof(data), "{\"status\": \"%s\"}",
			 migration_status_name(event->migration));
		if (monitor->migrate.events)
			monitor_emit(monitor, QMP_EVENT_MIGRATION, data);
		migrate_on_status(&monitor->migrate, event->migration);
		break;
	case VM_EVENT_DUMP_PROGRESS:
		dump_progress(monitor);
		break;
	case VM_EVENT_DUMP_COMPLETED:
		dump_completed(monitor);
		break;
	case VM_EVENT_DUMP_OVER:
		dump_over(monitor);
		break;
	case VM_EVENT_EXIT:
		break;
	}
}
