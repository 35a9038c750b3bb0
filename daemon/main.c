/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config.h"
#include "daemon/cpuid_command.h"
#include "daemon/logging.h"
#include "daemon/options.h"
#include "daemon/run.h"

enum { EXIT_USAGE = 2 };

/* One line, whatever bytes a path or a file has brought into it. */
static int complain(int status, const char *text)
{
	char line[2048];

	logging_escape(line, sizeof(line), text);
	fprintf(stderr, "vmond: %s\n", line);
	return status;
}

/* Output that did not get out is a failure. */
static int end_of_output(void)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return EXIT_SUCCESS;
	return complain(EXIT_FAILURE, "standard output: can not be written");
}

static int verb_run(int argc, char **argv)
{
	struct options options;
	struct error err;
	int status = EXIT_FAILURE;

	switch (options_parse(&options, argc, argv, &err)) {
	case OPTIONS_OK:
		status = run_vm(&options, &err);
		if (status < 0)
			status = complain(EXIT_FAILURE, err.text);
		break;
	case OPTIONS_HELP:
		printf("Usage: vmond run [OPTION]...\n"
		       "Run one virtual machine in this process.\n\n");
		options_print_help(stdout);
		printf("\nSee vmond(8).\n");
		status = end_of_output();
		break;
	case OPTIONS_USAGE:
		status = complain(EXIT_USAGE, err.text);
		break;
	case OPTIONS_FAILURE:
		status = complain(EXIT_FAILURE, err.text);
		break;
	}
	options_free(&options);
	return status;
}

static int verb_cpuid(int argc, char **argv)
{
	struct error err;

	switch (cpuid_command(argc, argv, &err)) {
	case CPUID_COMMAND_OK:
		break;
	case CPUID_COMMAND_USAGE:
		return complain(EXIT_USAGE, err.text);
	case CPUID_COMMAND_FAILURE:
		return complain(EXIT_FAILURE, err.text);
	}
	return end_of_output();
}

static int print_version(void)
{
	printf("vmond %s\n", PACKAGE_VERSION);
	return end_of_output();
}

static int print_help(void)
{
	printf("Usage: vmond run [OPTION]...   run one virtual machine in this process\n"
	       "       vmond run --help        list the options\n"
	       "       vmond cpuid [OPTION]... show what guests can see of the processor\n"
	       "       vmond --version         print the version\n"
	       "       vmond --help            print this\n");
	return end_of_output();
}

/* A descriptor that vmond opens must not become standard error, say, because that was closed. */
static void ensure_standard_descriptors(void)
{
	int fd;

	for (fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
			_exit(EXIT_FAILURE);
}

int main(int argc, char **argv)
{
	char text[512];

	ensure_standard_descriptors();
	if (argc < 2)
		return complain(EXIT_USAGE, "a command is missing; see vmond --help");
	if (strcmp(argv[1], "run") == 0)
		return verb_run(argc - 2, argv + 2);
	if (strcmp(argv[1], "cpuid") == 0)
		return verb_cpuid(argc - 2, argv + 2);
	if (strcmp(argv[1], "--version") == 0 && argc == 2)
		return print_version();
	if ((strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) && argc == 2)
		return print_help();
	snprintf(text, sizeof(text), "%s: unknown command; see vmond --help", argv[1]);
	return complain(EXIT_USAGE, text);
}
