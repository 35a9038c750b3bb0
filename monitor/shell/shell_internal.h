/* SPDX-License-Identifier: MIT */
#ifndef MONITOR_SHELL_SHELL_INTERNAL_H
#define MONITOR_SHELL_SHELL_INTERNAL_H

#include "monitor/shell/candidates.h"
#include "monitor/shell/line.h"
#include "monitor/shell/loop.h"
#include "monitor/shell/notes.h"
#include "monitor/shell/options.h"
#include "monitor/shell/print.h"
#include "monitor/shell/schema.h"
#include "monitor/shell/server.h"
#include "monitor/shell/words.h"

/* Shared by the files of the shell.  Everything here belongs to the one thread there is. */

/* How a command has ended; also the exit status. */
enum { SHELL_DONE = 0, SHELL_FAILED = 1, SHELL_GONE = 2 };

struct shell {
	const struct shell_options *options;
	unsigned int timeout_ms;        /* what is waited for a reply or an event; 0: for ever */
	struct loop loop;
	char *path, *name;              /* of the socket; of the VM, else the socket's file */
	struct server *server;          /* NULL once the connection is gone */
	struct schema *schema;          /* NULL: not asked for yet, or the server has none */
	bool schema_asked;
	struct candidates hmp[2];       /* the human monitor's commands, and its info's */
	bool hmp_asked[2];
	struct style style;
	bool interactive, json;
	bool terminal;                  /* output goes to one, and is for people */
	bool pages;                     /* what is long goes through a pager */
	int cpu;                        /* for lines of the human monitor; -1: the server's */
	bool leaving;                   /* exit, or end of the input */
	bool quitting;                  /* the server was told to end: it may go */
	unsigned int sourcing;          /* files that are being read */

	struct line *line;              /* interactive: the editor */
	struct notes notes;             /* events */
	struct text *capture;           /* output goes here instead; NULL: not */
	bool bar;                       /* a progress bar is on the line of the cursor */
	bool following;                 /* what goes on, and so events about how far are no news */
	char state[32];                 /* run state for the prompt; "" is not known */
};

/* shell.c */
int shell_connect(struct shell *sh, struct error *err);
/* The schema, fetched if need be.  Quiet when the server has none. */
int shell_need_schema(struct shell *sh);
const struct candidates *shell_hmp(void *shell, bool info);
/* Asks for the run state; the prompt shows it when it comes. */
void shell_ask_state(struct shell *sh);
int shell_read_file(struct shell *sh, const char *path);

/* Until when what begins now may take, by timeout_ms; see loop_left_ms(). */
uint64_t shell_deadline(const struct shell *sh);

/* execute.c: carries out a line; `words` NULL: it is split here. */
int shell_execute(struct shell *sh, const char *line, struct words *words);
/*
 * Carries out a QMP command with one string argument (or none: `name` NULL); what goes wrong is
 * said, except, if `quiet`, errors that the server replies with.  On SHELL_DONE *returned is to be
 * cleared.
 */
int shell_call_simple(struct shell *sh, const char *command, const char *name, const char *value,
		      bool quiet, struct json_value *returned);
int shell_hmp_line(struct shell *sh, const char *line);
/* The same with the words from `first` on as the line; there is one at least. */
int shell_hmp_words(struct shell *sh, const struct words *words, size_t first);

/* output.c */
/* Whatever is shown next begins on a line of its own. */
void shell_wipe_bar(struct shell *sh);
/* Shows text, through a pager if it is long and somebody sits there.  Frees it. */
void shell_output(struct shell *sh, struct text *text);
void shell_output_return(struct shell *sh, const struct json_value *returned);
/* What went wrong, one line.  Returns SHELL_FAILED. */
int shell_complain(struct shell *sh, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int shell_complain_reply(struct shell *sh, const struct json_value *error);
/* The connection is gone: says why.  Returns SHELL_GONE. */
int shell_lost(struct shell *sh, const struct error *err);
void shell_json_line(struct shell *sh, const char *name, const struct json_value *value);
/* The size of the screen that output goes to: the width into sh->style; returns its rows, or 0. */
unsigned int shell_measure(struct shell *sh);
/* After ECANCELED: behind the ^C that the terminal has shown. */
void shell_after_interrupt(struct shell *sh, const struct error *err);
bool shell_confirm(struct shell *sh, const char *question);

/* events.c */
void shell_event(void *shell, const struct json_value *event);
int shell_wait_event(struct shell *sh, const char *name);

/* local.c: a command of the shell itself; NULL when it is none. */
typedef int local_fn(struct shell *sh, const struct words *words, const char *line);
struct local_command {
	const char *name, *usage, *about;
	local_fn *fn;
};
const struct local_command *local_find(const char *name);
const struct local_command *local_at(size_t index);
const struct candidates *local_names(void);
void local_names_free(void);

local_fn events_command, help_command, watch_command;           /* in files of their own */

/*
 * progress.c: follows the work that a command has begun, if it is of that kind: with a bar when
 * somebody sits there, silently with --wait.  `job` is the job's id, NULL when it began none.
 */
int progress_follow(struct shell *sh, const char *command, const char *job);
/* The argument "detach=on" is missing without which nothing could be asked meanwhile. */
bool progress_detaches(const struct shell *sh, const struct json_value *entry,
		       const struct words *words);

#endif
