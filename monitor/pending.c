/* SPDX-License-Identifier: MIT */
#include "monitor/monitor_internal.h"

#include <errno.h>
#include <stdlib.h>

#include "monitor/hmp.h"

/* Replies that come later.  A client has at most one: its other requests wait behind it. */

static struct qmp_pending *pending_new(struct monitor_client *client, qmp_gone_fn *gone,
				       void *opaque)
{
	struct qmp_pending *pending = calloc(1, sizeof(*pending));

	if (!pending)
		return NULL;
	pending->monitor = client->monitor;
	pending->client = client;
	pending->gone = gone;
	pending->opaque = opaque;
	json_writer_init(&pending->reply, client->options.pretty);
	client->pending = pending;
	return pending;
}

static void pending_free(struct qmp_pending *pending)
{
	if (pending->client)
		pending->client->pending = NULL;
	else
		TAILQ_REMOVE(&pending->monitor->orphans, pending, link);
	if (pending->call)
		pending->call->pending = NULL;
	json_clear(&pending->request);
	json_writer_free(&pending->reply);
	text_free(&pending->text);
	free(pending);
}

/* An event that could not be queued may have closed it. */
static bool can_wait(const struct monitor_client *client)
{
	return client && client->fd >= 0 && !client->pending;
}

struct qmp_pending *qmp_defer(struct qmp_call *call, qmp_gone_fn *gone, void *opaque)
{
	struct qmp_pending *pending;

	if (!can_wait(call->client) || call->out_of_band) {
		error_set(&call->error, ENOTSUP, "The reply to this command can not be waited for");
		return NULL;
	}
	pending = pending_new(call->client, gone, opaque);
	if (!pending) {
		error_set(&call->error, ENOMEM, "out of memory for a reply");
		return NULL;
	}
	pending->call = call;
	pending->id = call->id;
	call->pending = pending;
	call->deferred = true;
	request_begin_reply(&pending->reply);
	return pending;
}

struct qmp_pending *hmp_defer(struct hmp *hmp, qmp_gone_fn *gone, void *opaque)
{
	struct qmp_pending *pending = NULL;

	if (hmp->call)
		pending = qmp_defer(hmp->call, gone, opaque);
	else if (can_wait(hmp->client))
		pending = pending_new(hmp->client, gone, opaque);
	if (!pending) {
		/* Not to be taken for the end of what has begun. */
		if (hmp->client)
			text_printf(hmp->out, "Warning: no memory to wait for the end\n");
		return NULL;
	}
	hmp->deferred = true;
	/* What is printed from here on goes behind what has been. */
	pending->is_text = true;
	pending->text = *hmp->out;
	*hmp->out = (struct text){ 0 };
	hmp->out = &pending->text;
	return pending;
}

struct json_writer *qmp_pending_reply(struct qmp_pending *pending)
{
	return &pending->reply;
}

struct text *qmp_pending_text(struct qmp_pending *pending)
{
	return &pending->text;
}

/* The reply, written as a whole, goes to whoever is waiting for it. */
static void answer(struct qmp_pending *pending)
{
	struct monitor_client *client = pending->client;
	struct json_writer reply = pending->reply;

	json_writer_init(&pending->reply, false);
	pending_free(pending);
	if (client)
		client_answer(client, &reply);
	json_writer_free(&reply);
}

static void answer_terminal(struct qmp_pending *pending)
{
	struct monitor_client *client = pending->client;
	bool outer = client_begin(client);
	struct text out = pending->text;

	pending->text = (struct text){ 0 };
	pending_free(pending);
	terminal_answer(client, &out);
	text_free(&out);
	client_end(client, outer);
}

void qmp_pending_return(struct qmp_pending *pending)
{
	struct json_writer *w = &pending->reply;

	if (pending->client && pending->client->terminal) {
		answer_terminal(pending);
		return;
	}
	if (pending->is_text)
		request_write_text(w, &pending->text);
	request_end_reply(w, pending->id);
	if (w->failed)
		request_write_failure(w, pending->id);
	answer(pending);
}

void qmp_pending_error(struct qmp_pending *pending, enum qmp_error_class class,
		       const struct error *err)
{
	if (pending->is_text) {
		text_printf(&pending->text, "Error: %s\n", err->text);
		qmp_pending_return(pending);
		return;
	}
	request_write_error(&pending->reply, pending->id, class, err->text);
	answer(pending);
}

void pending_keep_request(struct qmp_pending *pending, struct json_value *request)
{
	pending->call = NULL;
	pending->request = *request;
	request->type = JSON_NULL;
}

void pending_abandon(struct qmp_pending *pending)
{
	pending_free(pending);
}

void pending_lose_client(struct qmp_pending *pending)
{
	struct monitor *monitor = pending->monitor;

	pending->client->pending = NULL;
	pending->client = NULL;
	TAILQ_INSERT_TAIL(&monitor->orphans, pending, link);
	monitor_want_turn(monitor);
}

void monitor_drop_orphans(struct monitor *monitor)
{
	struct qmp_pending *pending;

	while ((pending = TAILQ_FIRST(&monitor->orphans))) {
		qmp_gone_fn *gone = pending->gone;
		void *opaque = pending->opaque;

		pending_free(pending);
		gone(opaque);
	}
}
