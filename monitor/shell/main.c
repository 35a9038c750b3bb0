/* SPDX-License-Identifier: MIT */
#include <langinfo.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "monitor/shell/escape.h"
#include "monitor/shell/options.h"
#include "monitor/shell/shell.h"

int main(int argc, char **argv)
{
	enum { EXIT_USAGE = 2 };
	struct shell_options options;
	struct error err;
	int status = EXIT_SUCCESS;

	setlocale(LC_CTYPE, "");
	escape_use_utf8(strcmp(nl_langinfo(CODESET), "UTF-8") == 0);
	switch (shell_options_parse(&options, argc, argv, &err)) {
	case SHELL_OPTIONS_OK:
		status = shell_run(&options);
		break;
	case SHELL_OPTIONS_HELP:
		shell_options_print_help(stdout);
		break;
	case SHELL_OPTIONS_VERSION:
		printf("vmonsh %s\n", PACKAGE_VERSION);
		break;
	case SHELL_OPTIONS_USAGE:
		fprintf(stderr, "vmonsh: %s\n", err.text);
		status = EXIT_USAGE;
		break;
	}
	shell_options_free(&options);
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	fprintf(stderr, "vmonsh: standard output: can not be written\n");
	return status ? status : EXIT_FAILURE;
}
