/* SPDX-License-Identifier: MIT */
#include "daemon/options_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/monitor.h"

#define FIELD(member) offsetof(struct options, member)
#define HELP_COLUMN 24

const struct option_spec option_specs[] = {
	{ "name", OPTION_STRING, "NAME", "name of the machine, for log lines and clients",
	  FIELD(name), option_check_name },
	{ "uuid", OPTION_STRING, "UUID", "identity of the machine, for clients",
	  FIELD(uuid), option_check_uuid },
	{ "cpus", OPTION_CPUS, "N", "number of vCPUs, 1 to 1024 (default 1)",
	  FIELD(cpus), NULL },
	{ "smp", OPTION_STRING, "N[,sockets=S][,dies=D][,cores=C][,threads=T]",
	  "number of vCPUs, and how they are arranged",
	  FIELD(smp), option_check_smp },
	{ "cpu", OPTION_STRING, "MODEL[,+FEATURE][,-FEATURE][,KEY=VALUE]",
	  "processor that the guest sees (default host)",
	  FIELD(cpu), option_check_cpu },
	{ "memory", OPTION_SIZE, "SIZE", "guest memory; suffixes K, M, G, T (default 128M)",
	  FIELD(memory), NULL },
	{ "kernel", OPTION_STRING, "FILE", "image to boot: bzImage, ELF, multiboot or flat",
	  FIELD(kernel), option_check_file },
	{ "append", OPTION_STRING, "STRING", "command line of the kernel",
	  FIELD(append), NULL },
	{ "initrd", OPTION_LIST, "FILE", "module for the kernel",
	  FIELD(initrd), option_check_file },
	{ "monitor", OPTION_LIST,
	  "unix:PATH|tcp:IP:PORT|fd:N|systemd[:NAME]|stdio[,OPTION]...",
	  "serve the monitor there",
	  FIELD(monitor), option_check_monitor },
	{ "monitor-allow", OPTION_LIST, "uid:N|gid:N|user:NAME|group:NAME",
	  "let others connect, too",
	  FIELD(monitor_allow), option_check_monitor_allow },
	{ "serial", OPTION_STRING, "stdio|file:PATH|unix:PATH|pty|null",
	  "other end of the serial port (default null)",
	  FIELD(serial), option_check_serial },
	{ "serial-id", OPTION_STRING, "NAME",
	  "name of that end, for clients (default serial0)",
	  FIELD(serial_id), option_check_serial_id },
	{ "paused", OPTION_FLAG, NULL, "do not start the vCPUs; a client says cont",
	  FIELD(paused), NULL },
	{ "incoming", OPTION_STRING, "URI|defer",
	  "start with state that comes from there",
	  FIELD(incoming), option_check_file },
	{ "clone", OPTION_STRING, "FILE", "start from a snapshot, whose memory is mapped",
	  FIELD(clone), option_check_file },
	{ "generation-id", OPTION_STRING, "UUID|auto",
	  "tell the guest that it is a new one; auto: random",
	  FIELD(generation_id), option_check_generation_id },
	{ "allow-missing-features", OPTION_FLAG, NULL,
	  "start with state that this processor is short of",
	  FIELD(allow_missing_features), NULL },
	{ "xen-hvm", OPTION_STRING,
	  "blob32=FILE,blob64=FILE[,msr=N][,version=N.N][,path=PATH]",
	  "for Xen PV-on-HVM guests: their hypercall pages",
	  FIELD(xen_hvm), option_check_xen_hvm },
	{ "no-shutdown", OPTION_FLAG, NULL, "keep the machine when its guest shuts down",
	  FIELD(no_shutdown), NULL },
	{ "no-reboot", OPTION_FLAG, NULL, "shut down when the guest asks for a reset",
	  FIELD(no_reboot), NULL },
	{ "pidfile", OPTION_STRING, "FILE", "write the process id to FILE",
	  FIELD(pidfile), option_check_file },
	{ "daemonize", OPTION_FLAG, NULL, "go to the background once the machine is there",
	  FIELD(daemonize), NULL },
	{ "log-level", OPTION_LEVEL, "LEVEL", "error, warning, info or debug (default warning)",
	  FIELD(log_level), NULL },
	{ "config", OPTION_STRING, "FILE", "read options from a JSON file",
	  FIELD(config), option_check_file },
	{ .name = NULL },
};

_Static_assert(sizeof(option_specs) / sizeof(option_specs[0]) <= OPTION_MAX, "OPTION_MAX");

int option_find(const char *name, size_t len)
{
	int i;

	for (i = 0; option_specs[i].name; i++)
		if (strncmp(option_specs[i].name, name, len) == 0 && !option_specs[i].name[len])
			return i;
	return -1;
}

bool options_describe(unsigned int n, struct monitor_option *option)
{
	static const char *const types[] = {
		[OPTION_FLAG] = "boolean", [OPTION_STRING] = "string", [OPTION_LIST] = "string",
		[OPTION_CPUS] = "number", [OPTION_SIZE] = "size", [OPTION_LEVEL] = "string",
	};

	if (n >= sizeof(option_specs) / sizeof(option_specs[0]) - 1)
		return false;
	option->name = option_specs[n].name;
	option->type = types[option_specs[n].type];
	option->help = option_specs[n].help;
	return true;
}

void options_print_help(FILE *out)
{
	const struct option_spec *spec;
	int width;

	for (spec = option_specs; spec->name; spec++) {
		width = fprintf(out, "  --%s%s%s", spec->name, spec->argument ? " " : "",
				spec->argument ? spec->argument : "");
		if (width >= HELP_COLUMN) {
			fputc('\n', out);
			width = 0;
		}
		fprintf(out, "%*s%s%s\n", HELP_COLUMN - width, "", spec->help,
			spec->type == OPTION_LIST ? " (may be repeated)" : "");
	}
}

/* argv[*at] is an option, and perhaps argv[*at + 1] its value. */
static enum options_result parse_one(struct options *options, bool *given, int argc,
				     char *const *argv, int *at, struct error *err)
{
	const char *arg = argv[*at], *value = strchr(arg, '=');
	int len = value ? value - arg : (int)strlen(arg);
	const struct option_spec *spec;
	struct error reason;
	int i;

	i = strncmp(arg, "--", 2) == 0 ? option_find(arg + 2, len - 2) : -1;
	if (i < 0) {
		error_set(err, EINVAL, "%.*s: unknown %s; see vmond run --help", len, arg,
			  *arg == '-' ? "option" : "argument");
		return OPTIONS_USAGE;
	}
	spec = &option_specs[i];
	if (given[i] && spec->type != OPTION_LIST) {
		error_set(err, EINVAL, "%.*s: given twice", len, arg);
		return OPTIONS_USAGE;
	}
	given[i] = true;
	if (value)
		value++;
	else if (spec->type == OPTION_FLAG)
		value = "on";
	else if (*at + 1 < argc)
		value = argv[++*at];
	else {
		error_set(err, EINVAL, "%s: needs a value: %s", arg, spec->argument);
		return OPTIONS_USAGE;
	}
	if (option_set(options, spec, value, &reason) == 0)
		return OPTIONS_OK;
	error_set(err, reason.code, "--%s %s: %s", spec->name, value, reason.text);
	return reason.code == ENOMEM ? OPTIONS_FAILURE : OPTIONS_USAGE;
}

static bool has_stdio(const char *address)
{
	size_t len = strlen("stdio");

	return address && strncmp(address, "stdio", len) == 0 &&
	       (!address[len] || address[len] == ',');
}

static unsigned int stdio_monitors(const struct options *options)
{
	unsigned int i, count = 0;

	for (i = 0; i < options->monitor.count; i++)
		count += has_stdio(options->monitor.item[i]);
	return count;
}

/* What single options can not tell by themselves. */
static enum options_result check_together(const struct options *options, struct error *err)
{
	if (!options->kernel && options->append)
		error_set(err, EINVAL, "--append: needs --kernel");
	else if (!options->kernel && options->initrd.count)
		error_set(err, EINVAL, "--initrd: needs --kernel");
	else if (options->cpus && options->smp)
		error_set(err, EINVAL, "--cpus: not possible with --smp");
	else if (options->cpu && (options->clone || options->incoming))
		error_set(err, EINVAL, "--cpu: not possible with --%s, which brings the processor "
			  "along", options->clone ? "clone" : "incoming");
	else if (options->clone && options->incoming)
		error_set(err, EINVAL, "--clone: not possible with --incoming");
	else if (options->allow_missing_features && !options->clone && !options->incoming)
		error_set(err, EINVAL, "--allow-missing-features: needs --clone or --incoming");
	else if (options->daemonize && has_stdio(options->serial))
		error_set(err, EINVAL, "--serial stdio: not possible with --daemonize");
	else if (options->daemonize && stdio_monitors(options))
		error_set(err, EINVAL, "--monitor stdio: not possible with --daemonize");
	else if (has_stdio(options->serial) && stdio_monitors(options))
		error_set(err, EINVAL, "--monitor stdio: not possible with --serial stdio");
	else if (stdio_monitors(options) > 1)
		error_set(err, EINVAL, "--monitor stdio: given twice");
	else
		return OPTIONS_OK;
	return OPTIONS_USAGE;
}

static void set_defaults(struct options *options)
{
	*options = (struct options){
		.memory = 128 << 20, .log_level = LOG_LEVEL_WARNING,
	};
}

/* Exchanges one field of the two. */
static void swap_field(struct options *a, struct options *b, const struct option_spec *spec)
{
	static const size_t sizes[] = {
		[OPTION_FLAG] = sizeof(bool),
		[OPTION_STRING] = sizeof(char *),
		[OPTION_LIST] = sizeof(struct option_list),
		[OPTION_CPUS] = sizeof(unsigned int),
		[OPTION_SIZE] = sizeof(uint64_t),
		[OPTION_LEVEL] = sizeof(enum log_level),
	};
	char *fa = (char *)a + spec->field, *fb = (char *)b + spec->field;
	char tmp[sizeof(struct option_list)];

	memcpy(tmp, fa, sizes[spec->type]);
	memcpy(fa, fb, sizes[spec->type]);
	memcpy(fb, tmp, sizes[spec->type]);
}

/* The file is read into options of its own, so that all of it is checked, and `given` beats it. */
static enum options_result merge_config(struct options *options, const bool *given,
					struct error *err)
{
	/* Two ways to say the same: either of them beats both in the file. */
	bool counted = options->cpus || options->smp;
	enum options_result result;
	struct options file;
	int i;

	set_defaults(&file);
	result = options_read_config(&file, options->config, err);
	for (i = 0; result == OPTIONS_OK && option_specs[i].name; i++) {
		bool counts = option_specs[i].field == FIELD(cpus) ||
			      option_specs[i].field == FIELD(smp);

		if (!given[i] && !(counts && counted))
			swap_field(options, &file, &option_specs[i]);
	}
	options_free(&file);
	return result;
}

enum options_result options_parse(struct options *options, int argc, char *const *argv,
				  struct error *err)
{
	bool given[OPTION_MAX] = { false };
	enum options_result result;
	int i;

	set_defaults(options);
	for (i = 0; i < argc; i++) {
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
			return OPTIONS_HELP;
		result = parse_one(options, given, argc, argv, &i, err);
		if (result != OPTIONS_OK)
			return result;
	}
	if (options->config) {
		result = merge_config(options, given, err);
		if (result != OPTIONS_OK)
			return result;
	}
	result = check_together(options, err);
	if (!options->smp && !options->cpus)
		options->cpus = 1;
	return result;
}

void options_free(struct options *options)
{
	const struct option_spec *spec;

	for (spec = option_specs; spec->name; spec++) {
		void *field = (char *)options + spec->field;

		if (spec->type == OPTION_STRING) {
			free(*(char **)field);
		} else if (spec->type == OPTION_LIST) {
			struct option_list *list = field;

			while (list->count)
				free(list->item[--list->count]);
			free(list->item);
		}
	}
	memset(options, 0, sizeof(*options));
}
