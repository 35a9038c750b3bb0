/* SPDX-License-Identifier: MIT */
#include "monitor/shell/shell.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "monitor/shell/escape.h"
#include "monitor/shell/shell_internal.h"
#include "monitor/shell/target.h"
#include "monitor/shell/values.h"

#define CONNECT_MS      5000
#define COMPLETE_MS     2000

/* ---- what is known of the server ---- */

static void forget_server(struct shell *sh)
{
	schema_free(sh->schema);
	sh->schema = NULL;
	candidates_free(&sh->hmp[0]);
	candidates_free(&sh->hmp[1]);
	sh->schema_asked = sh->hmp_asked[0] = sh->hmp_asked[1] = false;
	*sh->state = '\0';
}

int shell_need_schema(struct shell *sh)
{
	struct json_value returned;
	struct error err;
	int rc;

	if (sh->schema_asked)
		return SHELL_DONE;
	rc = shell_call_simple(sh, "query-qmp-schema", NULL, NULL, true, &returned);
	if (rc != SHELL_DONE) {
		sh->schema_asked = rc == SHELL_FAILED && sh->server;
		return rc;
	}
	sh->schema_asked = true;
	sh->schema = schema_new(&returned, &err);
	if (!sh->schema)
		shell_complain(sh, "%s", err.text);
	return SHELL_DONE;
}

const struct candidates *shell_hmp(void *shell, bool info)
{
	struct shell *sh = shell;
	struct json_value returned;

	if (!sh->hmp_asked[info] &&
	    shell_call_simple(sh, "human-monitor-command", "command-line",
			      info ? "help info" : "help", true, &returned) == SHELL_DONE) {
		if (returned.type == JSON_STRING)
			candidates_parse_help(&sh->hmp[info], returned.string.bytes, info);
		sh->hmp_asked[info] = true;
		json_clear(&returned);
	}
	return &sh->hmp[info];
}

static void take_state(void *shell, const struct json_value *returned)
{
	struct shell *sh = shell;
	const char *state = value_string(returned, "status");

	if (!state || !strncmp(sh->state, state, sizeof(sh->state)))
		return;
	snprintf(sh->state, sizeof(sh->state), "%s", state);
	if (sh->line)
		line_refresh(sh->line);
}

void shell_ask_state(struct shell *sh)
{
	struct json_writer w;

	if (!sh->server)
		return;
	server_begin(sh->server, &w, "query-status", false);
	server_post(sh->server, &w, take_state);
}

/* For the prompt. */
static void ask_name(struct shell *sh)
{
	struct json_value returned;
	const char *name = NULL;

	free(sh->name);
	sh->name = NULL;
	if (shell_call_simple(sh, "query-name", NULL, NULL, true, &returned) == SHELL_DONE)
		name = value_string(&returned, "name");
	sh->name = name ? strdup(name) : target_name(sh->path);
	json_clear(&returned);
}

uint64_t shell_deadline(const struct shell *sh)
{
	return sh->timeout_ms ? loop_now_ms() + sh->timeout_ms : UINT64_MAX;
}

int shell_connect(struct shell *sh, struct error *err)
{
	unsigned int timeout = sh->timeout_ms;

	server_free(sh->server);
	sh->server = NULL;
	forget_server(sh);
	if (!timeout || timeout > CONNECT_MS)
		timeout = CONNECT_MS;
	sh->server = server_connect(sh->path, &sh->loop, shell_event, sh, timeout, err);
	if (!sh->server)
		return -1;
	if (sh->interactive)
		ask_name(sh);
	return 0;
}

/* ---- a session with somebody ---- */

static int hook_socket(void *opaque, bool *write)
{
	struct shell *sh = opaque;

	*write = sh->server && server_wants_write(sh->server);
	return sh->server ? server_fd(sh->server) : -1;
}

static void hook_socket_ready(void *opaque)
{
	struct shell *sh = opaque;
	struct text text = { 0 };
	struct error err;

	if (!sh->server || server_process(sh->server, &err) == 0)
		return;
	/* Above the line: what is printed directly would mix with it. */
	sh->capture = &text;
	sh->quitting = false;
	shell_lost(sh, &err);
	sh->capture = NULL;
	if (text.len)
		line_show(sh->line, text.bytes, text.len);
	text_free(&text);
}

static void paint_prompt(struct text *out, const struct style *style, enum paint paint,
			 const char *s)
{
	if (style->colour)
		text_printf(out, "\1%s\1", paint_begin(style, paint));
	escape_line(out, s, strlen(s));
	if (style->colour)
		text_printf(out, "\1%s\1", paint_end(style));
}

static void hook_prompt(void *opaque, struct text *out)
{
	struct shell *sh = opaque;
	const char *state = sh->server ? sh->state : "disconnected";
	enum paint paint = strcmp(state, "running") == 0 ? PAINT_GOOD : PAINT_NUMBER;

	paint_prompt(out, &sh->style, PAINT_HEAD, sh->name ? sh->name : "vmonsh");
	if (sh->cpu >= 0)
		text_printf(out, " cpu %d", sh->cpu);
	if (*state) {
		text_printf(out, " (");
		paint_prompt(out, &sh->style, sh->server ? paint : PAINT_ERROR, state);
		text_printf(out, ")");
	}
	text_printf(out, "> ");
}

static bool source_ask(void *opaque, const char *command, const char *name, const char *value,
		       struct json_value *returned)
{
	struct shell *sh = opaque;

	returned->type = JSON_NULL;
	return schema_find_meta(sh->schema, command, "command") &&
	       shell_call_simple(sh, command, name, value, true, returned) == SHELL_DONE;
}

/* A server that does not answer holds the key up, but not for long. */
static void hook_complete(void *opaque, const char *line, size_t cursor,
			  struct completion *completion)
{
	struct shell *sh = opaque;
	unsigned int before = sh->timeout_ms;
	struct complete_source source = {
		.local = local_names(), .opaque = sh, .hmp = shell_hmp, .ask = source_ask,
	};
	struct text text = { 0 };

	sh->timeout_ms = COMPLETE_MS;
	if (sh->line)
		sh->capture = &text;
	if (sh->server)
		shell_need_schema(sh);
	source.schema = sh->schema;
	complete_line(completion, &source, line, cursor);
	sh->capture = NULL;
	sh->timeout_ms = before;
	if (text.len && sh->line)
		line_show(sh->line, text.bytes, text.len);
	text_free(&text);
}

static int interact(struct shell *sh)
{
	const struct line_hooks hooks = {
		.socket = hook_socket, .socket_ready = hook_socket_ready, .prompt = hook_prompt,
		.complete = hook_complete, .opaque = sh,
	};
	struct error err;
	char *line;

	sh->line = line_new(&sh->loop, &hooks, &sh->style, &err);
	if (!sh->line)
		return shell_complain(sh, "%s", err.text);
	while (!sh->leaving) {
		shell_ask_state(sh);
		line = line_read(sh->line);
		if (!line)
			break;
		shell_execute(sh, line, NULL);
		free(line);
		if (loop_wait(&sh->loop, -1, false, -1, 0) & LOOP_END)
			break;
	}
	if (!sh->leaving)
		printf("\n");
	line_free(sh->line);
	sh->line = NULL;
	return SHELL_DONE;
}

/* ---- a script ---- */

/* Keeps the first failure, except that a lost connection beats one. */
static bool go_on(struct shell *sh, int *status, int rc)
{
	if (rc > *status)
		*status = rc;
	return !sh->leaving && rc != SHELL_GONE && (rc == SHELL_DONE || sh->options->keep_going);
}

static int read_lines(struct shell *sh, const char *path, FILE *file)
{
	char *line = NULL;
	size_t size = 0;
	ssize_t len = 0;
	int status = SHELL_DONE;

	while ((len = getline(&line, &size, file)) >= 0) {
		if (len && line[len - 1] == '\n')
			line[len - 1] = '\0';
		if (!go_on(sh, &status, shell_execute(sh, line, NULL)))
			break;
	}
	/* Not all of it has been carried out. */
	if (len < 0 && !feof(file))
		status = shell_complain(sh, "%s: %s", path, strerror(errno));
	free(line);
	return status;
}

int shell_read_file(struct shell *sh, const char *path)
{
	FILE *file;
	int status;

	if (sh->sourcing == 16)
		return shell_complain(sh, "%s: files that read files, 16 deep", path);
	file = strcmp(path, "-") ? fopen(path, "re") : stdin;
	if (!file)
		return shell_complain(sh, "%s: %s", path, strerror(errno));
	sh->sourcing++;
	status = read_lines(sh, path, file);
	sh->sourcing--;
	if (file != stdin)
		fclose(file);
	return status;
}

/* One word is a line; several are words already, quoted for the shell that vmonsh came from. */
static int run_command_line(struct shell *sh)
{
	struct words words;
	struct error err;
	int rc;

	if (sh->options->words == 1)
		return shell_execute(sh, sh->options->word[0], NULL);
	if (words_from_argv(&words, sh->options->word, sh->options->words, &err) < 0)
		return shell_complain(sh, "%s", err.text);
	rc = shell_execute(sh, NULL, &words);
	words_free(&words);
	return rc;
}

static int run_script(struct shell *sh)
{
	const struct shell_options *options = sh->options;
	bool some = options->commands || options->words || options->wait_event;
	const char *file = options->file ? options->file : some ? NULL : "-";
	int status = SHELL_DONE;
	bool going = true;
	size_t i;

	for (i = 0; i < options->commands && going; i++)
		going = go_on(sh, &status, shell_execute(sh, options->command[i], NULL));
	if (file && going)
		going = go_on(sh, &status, shell_read_file(sh, file));
	if (options->words && going)
		going = go_on(sh, &status, run_command_line(sh));
	if (options->wait_event && (going || sh->leaving))
		go_on(sh, &status, shell_wait_event(sh, options->wait_event));
	return status;
}

/* Whole words, for the completion of the shell that vmonsh is called from. */
static int print_completion(struct shell *sh)
{
	const char *line = sh->options->complete;
	struct completion completion;
	struct text out = { 0 };
	size_t i, from;

	hook_complete(sh, line, strlen(line), &completion);
	for (from = completion.start; from && !strchr(" \t", line[from - 1]); from--)
		;
	for (i = 0; i < completion.list.count; i++) {
		const struct candidate *item = &completion.list.item[i];

		escape_line(&out, line + from, completion.start - from);
		escape_line(&out, item->text, strlen(item->text));
		if (item->after && item->after != ' ')
			text_append(&out, &item->after, 1);
		text_append(&out, "\n", 1);
	}
	shell_output(sh, &out);
	candidates_free(&completion.list);
	return SHELL_DONE;
}

static int run(struct shell *sh)
{
	struct error err;

	if (loop_init(&sh->loop, sh->interactive, &err) < 0 ||
	    (sh->path = target_find(sh->options->target, &err)) == NULL ||
	    shell_connect(sh, &err) < 0) {
		shell_complain(sh, "%s", err.text);
		return SHELL_GONE;
	}
	if (sh->options->complete)
		return print_completion(sh);
	return sh->interactive ? interact(sh) : run_script(sh);
}

/* Somebody who asks one thing, and gets nothing else. */
static bool is_one_command(const struct shell_options *options)
{
	return options->commands + (options->words > 0) == 1 && !options->file &&
	       !options->events && !options->wait_event;
}

int shell_run(const struct shell_options *options)
{
	struct shell sh = {
		.options = options, .timeout_ms = options->timeout_ms, .cpu = -1,
		.loop.signal_fd = -1,
	};
	const char *no_colour = getenv("NO_COLOR"), *term = getenv("TERM");
	bool script = options->commands || options->words || options->file || options->json ||
		      options->wait_event || options->complete;
	bool terminal = isatty(STDOUT_FILENO);
	int status;

	sh.interactive = !script && terminal && isatty(STDIN_FILENO);
	sh.terminal = terminal && !options->json && !options->complete;
	sh.pages = sh.interactive ||
		   (sh.terminal && isatty(STDIN_FILENO) && is_one_command(options));
	sh.style.colour = terminal && !(no_colour && *no_colour) && term && strcmp(term, "dumb");
	sh.notes.show_all = sh.interactive || options->events;
	sh.notes.awaited = options->wait_event;
	status = run(&sh);
	server_free(sh.server);
	forget_server(&sh);
	notes_free(&sh.notes);
	local_names_free();
	loop_free(&sh.loop);
	free(sh.path);
	free(sh.name);
	return status;
}
