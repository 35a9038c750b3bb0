/* SPDX-License-Identifier: MIT */
#include "monitor/shell/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

enum { OPTION_EVENTS = 256, OPTION_WAIT, OPTION_WAIT_EVENT, OPTION_TIMEOUT, OPTION_COMPLETE };

static const struct option long_options[] = {
	{ "socket", required_argument, NULL, 's' },
	{ "json", no_argument, NULL, 'j' },
	{ "command", required_argument, NULL, 'c' },
	{ "file", required_argument, NULL, 'f' },
	{ "keep-going", no_argument, NULL, 'k' },
	{ "events", no_argument, NULL, OPTION_EVENTS },
	{ "wait", no_argument, NULL, OPTION_WAIT },
	{ "wait-event", required_argument, NULL, OPTION_WAIT_EVENT },
	{ "timeout", required_argument, NULL, OPTION_TIMEOUT },
	{ "complete", required_argument, NULL, OPTION_COMPLETE },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ 0 }
};

void shell_options_print_help(FILE *out)
{
	fputs("Usage: vmonsh [-s SOCKET|VM] [OPTION]... [COMMAND [ARGUMENT]...]\n"
	      "The monitor shell of vmond, for any QMP server; interactive if it gets no command.\n"
	      "\n"
	      "  -s, --socket SOCKET|VM  the server: the path of its socket, or the VM's name\n"
	      "                          (default $VMOND_SOCKET, else the only VM there is)\n"
	      "  -c, --command COMMAND   carry out COMMAND (may be repeated)\n"
	      "  -f, --file FILE         carry out the commands of FILE (- is standard input)\n"
	      "  -k, --keep-going        go on after a command that has failed\n"
	      "  -j, --json              print JSON, one message a line\n"
	      "      --events            print events, too\n"
	      "      --wait              wait for the end of migrations, snapshots and dumps\n"
	      "      --wait-event NAME   at the end wait for this event, and print its data\n"
	      "      --timeout SECONDS   wait for nothing longer than this\n"
	      "  -h, --help              print this\n"
	      "  -V, --version           print the version\n"
	      "\n"
	      "Exit status: 0, 1 if a command has failed, 2 without a connection; vmonsh(1).\n",
	      out);
}

static int add_command(struct shell_options *options, const char *command, struct error *err)
{
	const char **grown = realloc(options->command, (options->commands + 1) * sizeof(*grown));

	if (!grown)
		return error_set(err, ENOMEM, "out of memory for the command line");
	options->command = grown;
	options->command[options->commands++] = command;
	return 0;
}

static int parse_timeout(struct shell_options *options, const char *text, struct error *err)
{
	char *end;
	double seconds = strtod(text, &end);

	if (end == text || *end || !(seconds >= 0.001 && seconds <= 1e6))
		return error_set(err, EINVAL, "--timeout %s: not a number of seconds from 0.001 to "
				 "1000000", text);
	options->timeout_ms = (unsigned int)(seconds * 1000);
	return 0;
}

static int take_option(struct shell_options *options, int option, char *argument, struct error *err)
{
	switch (option) {
	case 's':               options->target = argument; break;
	case 'j':               options->json = true; break;
	case 'k':               options->keep_going = true; break;
	case OPTION_EVENTS:     options->events = true; break;
	case OPTION_WAIT:       options->wait = true; break;
	case OPTION_WAIT_EVENT: options->wait_event = argument; break;
	case OPTION_COMPLETE:   options->complete = argument; break;
	case OPTION_TIMEOUT:    return parse_timeout(options, argument, err);
	case 'c':               return add_command(options, argument, err);
	case 'f':
		if (options->file)
			return error_set(err, EINVAL, "-f %s: given twice", argument);
		options->file = argument;
		break;
	}
	return 0;
}

enum shell_options_result shell_options_parse(struct shell_options *options, int argc, char **argv,
					      struct error *err)
{
	int option;

	memset(options, 0, sizeof(*options));
	opterr = 0;
	optind = 0;             /* from the beginning: tests parse more than one line */
	/* "+": what follows the command's name belongs to the command. */
	while ((option = getopt_long(argc, argv, "+:s:c:f:jkhV", long_options, NULL)) != -1) {
		if (option == 'h')
			return SHELL_OPTIONS_HELP;
		if (option == 'V')
			return SHELL_OPTIONS_VERSION;
		if (option == ':') {
			error_set(err, EINVAL, "%s: needs a value; see vmonsh --help",
				  argv[optind - 1]);
			return SHELL_OPTIONS_USAGE;
		}
		if (option == '?') {
			if (optopt && optopt < 256)
				error_set(err, EINVAL, "-%c: unknown option; see vmonsh --help",
					  optopt);
			else
				error_set(err, EINVAL, "%s: unknown option, or one that takes no "
					  "value; see vmonsh --help", argv[optind - 1]);
			return SHELL_OPTIONS_USAGE;
		}
		if (take_option(options, option, optarg, err) < 0)
			return SHELL_OPTIONS_USAGE;
	}
	options->word = argv + optind;
	options->words = argc - optind;
	return SHELL_OPTIONS_OK;
}

void shell_options_free(struct shell_options *options)
{
	free(options->command);
	memset(options, 0, sizeof(*options));
}
