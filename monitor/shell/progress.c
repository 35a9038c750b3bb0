/* SPDX-License-Identifier: MIT */
#include "monitor/shell/progress.h"

#include <errno.h>
#include <string.h>

#include "monitor/shell/escape.h"
#include "monitor/shell/shell_internal.h"
#include "monitor/shell/values.h"

#define FIRST_LOOK_MS   50      /* much of it is over at once */
#define LOOK_MS         500
#define EVENT_MS        1000

static const struct work works[] = {
	{ "migrate", WORK_MIGRATION, "migrate_cancel" },
	{ "migrate-incoming", WORK_MIGRATION, "quit" },
	{ "migrate_incoming", WORK_MIGRATION, "quit" },
	{ "snapshot-save", WORK_MIGRATION, "migrate_cancel" },
	{ "snapshot_save", WORK_MIGRATION, "migrate_cancel" },
	{ "dump-guest-memory", WORK_DUMP, NULL },
};

static const struct work job_work = { "job", WORK_JOB, "job-cancel" };

static const char *const queries[] = {
	[WORK_MIGRATION] = "query-migrate", [WORK_DUMP] = "query-dump", [WORK_JOB] = "query-jobs",
};

static void print_size(struct text *out, double bytes)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB" };
	size_t i = 0;

	while (bytes >= 1024 && i + 1 < sizeof(units) / sizeof(units[0])) {
		bytes /= 1024;
		i++;
	}
	text_printf(out, i ? "%.1f %s" : "%.0f %s", bytes, units[i]);
}

static void print_time(struct text *out, double seconds)
{
	unsigned int s = seconds < 360000 ? (unsigned int)seconds : 360000;

	if (s >= 3600)
		text_printf(out, "%u:%02u:%02u", s / 3600, s / 60 % 60, s % 60);
	else
		text_printf(out, "%u:%02u", s / 60, s % 60);
}

void progress_print_bar(struct text *out, const struct style *style, const char *name,
			const struct progress *p)
{
	struct text numbers = { 0 };
	unsigned int width = style->width ? style->width : 80, room, full, i;
	double part = p->total ? (double)p->done / (double)p->total : 0;

	text_printf(out, "%s: ", name);
	if (!p->total) {
		escape_line(out, p->status, strlen(p->status));
		return;
	}
	text_printf(&numbers, " %3.0f%%  ", part * 100);
	print_size(&numbers, (double)p->done);
	text_printf(&numbers, " of ");
	print_size(&numbers, (double)p->total);
	if (p->rate > 0) {
		text_printf(&numbers, "  ");
		print_size(&numbers, p->rate);
		text_printf(&numbers, "/s  ");
		print_time(&numbers, (double)(p->total - p->done) / p->rate);
		text_printf(&numbers, " left");
	}
	room = width > out->len + numbers.len + 3 ? width - out->len - numbers.len - 3 : 0;
	room = room > 40 ? 40 : room;
	full = (unsigned int)(part * room);
	if (room >= 8) {
		text_printf(out, "[%s", paint_begin(style, PAINT_GOOD));
		for (i = 0; i < room; i++)
			text_printf(out, "%s", i < full ? "#" : i == full ? ">" : ".");
		text_printf(out, "%s]", paint_end(style));
	}
	text_printf(out, "%s", numbers.bytes ? numbers.bytes : "");
	text_free(&numbers);
}

static void note_status(struct progress *p, const char *status)
{
	snprintf(p->status, sizeof(p->status), "%s", status);
	p->state = PROGRESS_RUNNING;
	if (!strcmp(status, "completed"))
		p->state = PROGRESS_DONE;
	else if (!strcmp(status, "failed") || !strcmp(status, "cancelled"))
		p->state = PROGRESS_FAILED;
	else if (!strcmp(status, "none"))
		p->state = PROGRESS_NONE;
}

static void note_reason(struct progress *p, const char *reason)
{
	snprintf(p->reason, sizeof(p->reason), "%s", reason ? reason : p->status);
}

static void read_migration(struct progress *p, const struct json_value *returned)
{
	const struct json_value *ram = json_get(returned, "ram");
	const char *status = value_string(returned, "status");
	uint64_t left;

	note_status(p, status ? status : "none");
	note_reason(p, value_string(returned, "error-desc"));
	p->total = value_uint(ram, "total", 0);
	left = value_uint(ram, "remaining", 0);
	p->done = left < p->total ? p->total - left : 0;
	p->moved = value_uint(ram, "transferred", 0);
}

static void read_dump(struct progress *p, const struct json_value *returned)
{
	const char *status = value_string(returned, "status");

	note_status(p, status ? status : "none");
	note_reason(p, NULL);
	p->total = value_uint(returned, "total", 0);
	p->done = p->moved = value_uint(returned, "completed", 0);
}

static void read_job(struct progress *p, const struct json_value *returned, const char *id)
{
	const struct json_value *job = NULL;
	const char *status, *is;
	size_t i;

	for (i = 0; returned->type == JSON_ARRAY && i < returned->array.count && !job; i++) {
		is = value_string(&returned->array.item[i], "id");
		if (is && strcmp(is, id) == 0)
			job = &returned->array.item[i];
	}
	status = value_string(job, "status");
	/* A job that is over goes by itself, if it was told so. */
	note_status(p, status ? status : "completed");
	note_reason(p, value_string(job, "error"));
	/* What waits for job-complete or job-finalize gets no further by itself. */
	if (!strcmp(p->status, "ready") || !strcmp(p->status, "pending"))
		p->state = PROGRESS_DONE;
	if (!strcmp(p->status, "concluded") || !strcmp(p->status, "null"))
		p->state = value_string(job, "error") ? PROGRESS_FAILED : PROGRESS_DONE;
	p->total = value_uint(job, "total-progress", 0);
	p->done = p->moved = value_uint(job, "current-progress", 0);
}

void progress_read(struct progress *p, enum work_kind kind, const struct json_value *returned,
		   const char *job, uint64_t now_ms)
{
	uint64_t before = p->moved;
	double seconds, rate;

	if (kind == WORK_MIGRATION)
		read_migration(p, returned);
	else if (kind == WORK_DUMP)
		read_dump(p, returned);
	else
		read_job(p, returned, job);
	if (p->done > p->total)
		p->done = p->total;
	seconds = p->looked_ms ? (double)(now_ms - p->looked_ms) / 1000 : 0;
	if (seconds > 0 && p->moved >= before) {
		rate = (double)(p->moved - before) / seconds;
		p->rate = p->rate > 0 ? 0.7 * p->rate + 0.3 * rate : rate;
	}
	p->looked_ms = now_ms;
}

void progress_read_event(struct progress *p, enum work_kind kind, const struct json_value *data,
			 const char *job)
{
	const char *id = value_string(data, "id"), *status = value_string(data, "status");

	if (kind == WORK_DUMP && p->state == PROGRESS_FAILED && value_string(data, "error"))
		note_reason(p, value_string(data, "error"));
	if (kind == WORK_JOB && p->state == PROGRESS_DONE && id && job && !strcmp(id, job) &&
	    status && !strcmp(status, "aborting")) {
		note_status(p, "failed");
		note_reason(p, NULL);
	}
}

/* The work that a command begins; NULL when it is none of these. */
static const struct work *find_work(const char *command, const char *job)
{
	size_t i;

	if (job)
		return &job_work;
	for (i = 0; i < sizeof(works) / sizeof(works[0]); i++)
		if (strcmp(command, works[i].command) == 0)
			return &works[i];
	return NULL;
}

static bool follows(const struct shell *sh)
{
	return !sh->capture && (sh->interactive || sh->options->wait);
}

/* Else the reply comes at the end, and until then the server answers nothing. */
bool progress_detaches(const struct shell *sh, const struct json_value *entry,
		       const struct words *words)
{
	const struct json_value *type = schema_reference(sh->schema, entry, "arg-type");
	const struct json_value *member = schema_member(sh->schema, type, "detach");
	const struct work *work = find_work(words->word[0].text, NULL);
	size_t i;

	for (i = 1; i < words->count; i++)
		if (word_names(&words->word[i], "detach"))
			return false;
	return follows(sh) && work && work->kind == WORK_DUMP &&
	       schema_kind(schema_reference(sh->schema, member, "type")) == SCHEMA_BOOL;
}

static void draw(struct shell *sh, const char *name, const struct progress *p)
{
	struct text line = { 0 };

	if (!sh->terminal)
		return;
	shell_measure(sh);
	progress_print_bar(&line, &sh->style, name, p);
	if (!line.failed)
		printf("\r%s\033[K", line.bytes);
	fflush(stdout);
	sh->bar = true;
	text_free(&line);
}

static bool never(void *opaque)
{
	(void)opaque;
	return false;
}

static int end(struct shell *sh, const char *name, const struct progress *p, double seconds)
{
	struct text line = { 0 };

	if (p->state == PROGRESS_FAILED)
		return shell_complain(sh, "%s: %s%s%s", name, p->status,
				      strcmp(p->reason, p->status) ? ": " : "",
				      strcmp(p->reason, p->status) ? p->reason : "");
	if (p->state == PROGRESS_NONE || !sh->terminal)
		return SHELL_DONE;
	text_printf(&line, "%s: %s", name, p->status);
	if (p->total) {
		text_printf(&line, ", ");
		print_size(&line, (double)p->moved);
	}
	text_printf(&line, ", %.1f s\n", seconds);
	shell_output(sh, &line);
	return SHELL_DONE;
}

static int detach(struct shell *sh, const struct work *work)
{
	struct text line = { 0 };

	text_printf(&line, "it goes on; %s shows how it is", queries[work->kind]);
	if (work->cancel)
		text_printf(&line, ", %s ends it", work->cancel);
	text_printf(&line, "\n");
	shell_output(sh, &line);
	return SHELL_DONE;
}

static bool has_ended(void *opaque)
{
	struct shell *sh = opaque;
	size_t at = 0;

	return notes_find(&sh->notes, "DUMP_COMPLETED", &at);
}

/* What only an event tells: why a dump has failed, and that a job which is gone has. */
static void read_events(struct shell *sh, const struct work *work, const char *job,
			struct progress *p)
{
	const char *name = work->kind == WORK_DUMP ? "DUMP_COMPLETED" : "JOB_STATUS_CHANGE";
	struct json_value event;
	const char *json;
	size_t at = 0;

	if (work->kind == WORK_MIGRATION)
		return;
	/* The status is there a moment before the event. */
	if (work->kind == WORK_DUMP && p->state == PROGRESS_FAILED)
		server_wait(sh->server, has_ended, sh, loop_now_ms() + EVENT_MS, NULL);
	while ((json = notes_find(&sh->notes, name, &at))) {
		if (!value_parse(&event, json, strlen(json)))
			continue;
		progress_read_event(p, work->kind, json_get(&event, "data"), job);
		json_clear(&event);
	}
}

static int follow(struct shell *sh, const struct work *work, const char *name, const char *job)
{
	uint64_t begin = loop_now_ms(), deadline = shell_deadline(sh), now;
	struct progress p = { 0 };
	struct json_value returned;
	struct error err = { 0 };
	unsigned int pause = FIRST_LOOK_MS;
	int rc;

	for (;;) {
		rc = shell_call_simple(sh, queries[work->kind], NULL, NULL, true, &returned);
		if (rc != SHELL_DONE)
			return rc == SHELL_FAILED && !sh->options->wait ? SHELL_DONE : rc;
		now = loop_now_ms();
		progress_read(&p, work->kind, &returned, job, now);
		json_clear(&returned);
		if (p.state != PROGRESS_RUNNING) {
			read_events(sh, work, job, &p);
			return end(sh, name, &p, (double)(now - begin) / 1000);
		}
		draw(sh, name, &p);
		if (now >= deadline)
			return shell_complain(sh, "%s: not at its end in time", name);
		server_wait(sh->server, never, NULL, now + pause, &err);
		pause = pause * 2 < LOOK_MS ? pause * 2 : LOOK_MS;
		if (err.code == ECANCELED)
			return detach(sh, work);
		if (err.code == EINTR)
			return SHELL_FAILED;
		if (err.code != ETIMEDOUT)
			return shell_lost(sh, &err);
	}
}

int progress_follow(struct shell *sh, const char *command, const char *job)
{
	const struct work *work = find_work(command, job);
	int rc;

	if (!work || !follows(sh))
		return SHELL_DONE;
	sh->following = true;
	rc = follow(sh, work, command, job);
	sh->following = false;
	return rc;
}
