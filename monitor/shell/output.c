/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "monitor/shell/escape.h"
#include "monitor/shell/shell_internal.h"
#include "monitor/shell/values.h"

#define PAGER "less -FRX"

unsigned int shell_measure(struct shell *sh)
{
	struct winsize size;

	sh->style.width = 0;
	if (!sh->terminal || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0)
		return 0;
	sh->style.width = size.ws_col;
	return size.ws_row;
}

void shell_wipe_bar(struct shell *sh)
{
	if (sh->bar)
		fputs("\r\033[K", stdout);
	sh->bar = false;
}

static void run_pager(struct shell *sh, int fd)
{
	const char *pager = getenv("PAGER");

	loop_child(&sh->loop);
	signal(SIGINT, SIG_DFL);
	if (dup2(fd, STDIN_FILENO) < 0)
		_exit(127);
	setenv("LESS", "FRX", 0);
	execl("/bin/sh", "sh", "-c", pager && *pager ? pager : PAGER, (char *)NULL);
	_exit(127);
}

/* Feeds the pager and waits for its end; the server's messages are taken meanwhile. */
static void feed_pager(struct shell *sh, pid_t child, int fd, const struct text *text)
{
	size_t done = 0;
	unsigned int what;
	ssize_t n;
	int server;

	while (waitpid(child, NULL, WNOHANG) == 0) {
		if (fd >= 0) {
			n = write(fd, text->bytes + done, text->len - done);
			done += n > 0 ? (size_t)n : 0;
			if (done == text->len || (n < 0 && errno != EAGAIN && errno != EINTR)) {
				close(fd);
				fd = -1;
			}
		}
		if (sh->server)
			server_process(sh->server, NULL);
		server = sh->server ? server_fd(sh->server) : -1;
		/*
		 * The pipe is looked at again in a moment: a pager reads when its user says so.
		 * Its end wakes a session; a single command looks for it.
		 */
		what = loop_wait(&sh->loop, server, false, -1,
				 fd >= 0 || !sh->interactive ? 20 : 500);
		if (what & LOOP_END) {
			kill(child, SIGTERM);
			waitpid(child, NULL, 0);
			break;
		}
		/* The pager has stopped itself: whoever sends one on sends both. */
		if (what & LOOP_SUSPEND)
			loop_suspend();
	}
	if (fd >= 0)
		close(fd);
}

static bool page(struct shell *sh, const struct text *text)
{
	const char *pager = getenv("PAGER");
	int fd[2];
	pid_t child;

	if (pager && strcmp(pager, "cat") == 0)
		return false;
	if (pipe2(fd, O_CLOEXEC) < 0)
		return false;
	fflush(stdout);
	child = fork();
	if (child == 0)
		run_pager(sh, fd[0]);
	close(fd[0]);
	if (child < 0) {
		close(fd[1]);
		return false;
	}
	fcntl(fd[1], F_SETFL, O_NONBLOCK);
	if (sh->line)
		line_hold(sh->line);
	/* Control-C is the pager's; a session's loop takes it anyway. */
	if (!sh->interactive) {
		signal(SIGPIPE, SIG_IGN);
		signal(SIGINT, SIG_IGN);
	}
	feed_pager(sh, child, fd[1], text);
	if (!sh->interactive)
		signal(SIGINT, SIG_DFL);
	if (sh->line)
		line_flush(sh->line);
	return true;
}

static bool is_long(struct shell *sh, const struct text *text)
{
	unsigned int rows = shell_measure(sh), lines = 0, columns;
	const char *p = text->bytes, *end;

	if (!sh->pages || sh->sourcing || !rows)
		return false;
	columns = sh->style.width ? sh->style.width : 80;
	for (; (end = strchr(p, '\n')); p = end + 1)
		lines += 1 + (unsigned int)(end - p) / (columns + 1);
	return lines >= rows;
}

void shell_output(struct shell *sh, struct text *text)
{
	if (text->failed) {
		/* Not by shell_complain(), which would put a text together and come back here. */
		shell_wipe_bar(sh);
		fflush(stdout);
		fputs("vmonsh: out of memory for what is to be shown\n", stderr);
	} else if (sh->capture && text->len) {
		text_append(sh->capture, text->bytes, text->len);
	} else if (text->len && !(is_long(sh, text) && page(sh, text))) {
		shell_wipe_bar(sh);
		fwrite(text->bytes, 1, text->len, stdout);
		fflush(stdout);
	}
	text_free(text);
}

void shell_json_line(struct shell *sh, const char *name, const struct json_value *value)
{
	struct text line = { 0 };
	struct json_writer w;

	json_writer_init(&w, false);
	if (name)
		json_write_object(&w, NULL);
	json_write_value(&w, name, value);
	if (name)
		json_write_object_end(&w);
	line.failed = w.failed;
	if (!w.failed)
		text_append(&line, w.text, w.len);
	text_append(&line, "\n", 1);
	json_writer_free(&w);
	shell_output(sh, &line);
}

void shell_output_return(struct shell *sh, const struct json_value *returned)
{
	struct text text = { 0 };

	if (sh->options->json) {
		shell_json_line(sh, "return", returned);
		return;
	}
	shell_measure(sh);
	if (sh->json)
		print_json(&text, &sh->style, returned);
	else
		print_value(&text, &sh->style, returned);
	shell_output(sh, &text);
}

static void complain_json(struct shell *sh, const char *class, const char *desc)
{
	struct text line = { 0 };
	struct json_writer w;

	json_writer_init(&w, false);
	json_write_object(&w, NULL);
	json_write_object(&w, "error");
	json_write_string(&w, "class", class);
	json_write_string(&w, "desc", desc);
	json_write_object_end(&w);
	json_write_object_end(&w);
	line.failed = w.failed;
	if (!w.failed)
		text_append(&line, w.text, w.len);
	text_append(&line, "\n", 1);
	json_writer_free(&w);
	shell_output(sh, &line);
}

/* `text` may hold anything. */
static int complain(struct shell *sh, const char *class, const char *text)
{
	struct style style = sh->style;
	struct text line = { 0 };

	if (sh->options->json) {
		complain_json(sh, class, text);
		return SHELL_FAILED;
	}
	if (!sh->interactive) {
		text_printf(&line, "vmonsh: ");
		style.colour = style.colour && isatty(STDERR_FILENO);
	}
	text_printf(&line, "%s", paint_begin(&style, PAINT_ERROR));
	escape_line(&line, text, strlen(text));
	text_printf(&line, "%s\n", paint_end(&style));
	if (sh->interactive) {
		shell_output(sh, &line);
		return SHELL_FAILED;
	}
	/* Behind what was printed before, where both go to one place. */
	shell_wipe_bar(sh);
	fflush(stdout);
	fputs(line.failed ? "vmonsh: out of memory\n" : line.bytes, stderr);
	text_free(&line);
	return SHELL_FAILED;
}

int shell_complain(struct shell *sh, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return complain(sh, "vmonsh", text);
}

int shell_complain_reply(struct shell *sh, const struct json_value *error)
{
	const char *class = value_string(error, "class"), *desc = value_string(error, "desc");

	return complain(sh, class ? class : "GenericError", desc ? desc : "unknown error");
}

int shell_lost(struct shell *sh, const struct error *err)
{
	if (!sh->server)
		return SHELL_GONE;
	server_free(sh->server);
	sh->server = NULL;
	*sh->state = '\0';
	if (sh->line)
		line_refresh(sh->line);
	if (!sh->quitting)
		shell_complain(sh, "%s%s", err->text,
			       sh->interactive ? "; reconnect tries again" : "");
	return SHELL_GONE;
}

void shell_after_interrupt(struct shell *sh, const struct error *err)
{
	if (err->code == ECANCELED && sh->interactive && !sh->capture)
		fputs("\n", stdout);
}

/* Asked in the terminal's own mode: a line is typed, and signals come through the loop. */
bool shell_confirm(struct shell *sh, const char *question)
{
	char answer[16] = "";
	unsigned int what;
	ssize_t n;

	if (!sh->interactive || sh->sourcing)
		return true;
	printf("%s [y/N] ", question);
	fflush(stdout);
	for (;;) {
		what = loop_wait(&sh->loop, -1, false, STDIN_FILENO, -1);
		if (what & (LOOP_INTERRUPT | LOOP_END)) {
			printf("\n");
			return false;
		}
		if (what & LOOP_SUSPEND)
			loop_suspend();
		if (!(what & LOOP_KEY))
			continue;
		n = read(STDIN_FILENO, answer, sizeof(answer) - 1);
		return n > 0 && (answer[0] == 'y' || answer[0] == 'Y');
	}
}
