/* SPDX-License-Identifier: MIT */
#ifndef MONITOR_SHELL_PROGRESS_H
#define MONITOR_SHELL_PROGRESS_H

#include "monitor/shell/print.h"

/* Work that goes on behind a command's return, and how far it is. */

enum work_kind { WORK_MIGRATION, WORK_DUMP, WORK_JOB };

struct work {
	const char *command;
	enum work_kind kind;
	const char *cancel;             /* the command for it; NULL: there is none */
};

struct progress {
	enum { PROGRESS_NONE, PROGRESS_RUNNING, PROGRESS_DONE, PROGRESS_FAILED } state;
	char status[32], reason[256];   /* the server's words, not escaped */
	uint64_t done, total;           /* bytes, or what a job counts; total 0: not known */
	uint64_t moved;                 /* bytes sent: more than `done` if some are sent again */
	double rate;                    /* of `moved` per second, smoothed */
	uint64_t looked_ms;             /* when; 0: not yet */
};

/*
 * Takes what query-migrate, query-dump or query-jobs has returned; `job` is the job's id.  Nothing
 * that the server says is taken for granted.
 */
void progress_read(struct progress *p, enum work_kind kind, const struct json_value *returned,
		   const char *job, uint64_t now_ms);

/* The same of an event's data: DUMP_COMPLETED, or JOB_STATUS_CHANGE. */
void progress_read_event(struct progress *p, enum work_kind kind, const struct json_value *data,
			 const char *job);

/* A line without LF that fits the screen: bar, bytes, rate and time left. */
void progress_print_bar(struct text *out, const struct style *style, const char *name,
			const struct progress *p);

#endif
