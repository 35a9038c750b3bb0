/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/options_internal.h"
#include "monitor/monitor.h"
#include "tests/unit/suites.h"

/* Every test runs in a directory of its own, so that messages can be told exactly. */
static char directory[] = "/tmp/vmond-options-XXXXXX";
static char *old_directory;

static void setup(void)
{
	strcpy(strrchr(directory, '-') + 1, "XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	old_directory = getcwd(NULL, 0);
	ck_assert_int_eq(chdir(directory), 0);
}

static void teardown(void)
{
	unlink("vm.json");
	ck_assert_int_eq(chdir(old_directory), 0);
	free(old_directory);
	ck_assert_int_eq(rmdir(directory), 0);
}

static enum options_result parse(struct options *options, const char *const *args,
				 struct error *err)
{
	int argc;

	for (argc = 0; args[argc]; argc++)
		;
	return options_parse(options, argc, (char *const *)args, err);
}

#define ARGS(...) ((const char *const []){ __VA_ARGS__ __VA_OPT__(,) NULL })

static void write_config(const char *text, size_t len)
{
	FILE *file = fopen("vm.json", "w");

	ck_assert_ptr_nonnull(file);
	ck_assert_uint_eq(fwrite(text, 1, len, file), len);
	ck_assert_int_eq(fclose(file), 0);
}

static void check_defaults(const struct options *o)
{
	ck_assert_ptr_null(o->name);
	ck_assert_ptr_null(o->uuid);
	ck_assert_uint_eq(o->cpus, 1);
	ck_assert_uint_eq(o->memory, 128 << 20);
	ck_assert_ptr_null(o->kernel);
	ck_assert_ptr_null(o->append);
	ck_assert_uint_eq(o->initrd.count, 0);
	ck_assert_uint_eq(o->monitor.count, 0);
	ck_assert_ptr_null(o->serial);
	ck_assert_ptr_null(o->pidfile);
	ck_assert_ptr_null(o->config);
	ck_assert_int_eq(o->log_level, LOG_LEVEL_WARNING);
	ck_assert(!o->paused && !o->no_shutdown && !o->no_reboot && !o->daemonize);
}

START_TEST(test_defaults)
{
	struct options o;

	ck_assert_int_eq(parse(&o, ARGS(), NULL), OPTIONS_OK);
	check_defaults(&o);
	options_free(&o);
	write_config("{}", 2);
	ck_assert_int_eq(parse(&o, ARGS("--config", "vm.json"), NULL), OPTIONS_OK);
	free(o.config);
	o.config = NULL;
	check_defaults(&o);
	options_free(&o);
}
END_TEST

static void check_all(const struct options *o)
{
	ck_assert_str_eq(o->name, "web 1");
	ck_assert_str_eq(o->uuid, "01234567-89ab-cdef-0123-456789abcdef");
	ck_assert_uint_eq(o->cpus, 1024);
	ck_assert_uint_eq(o->memory, 3ULL << 40);
	ck_assert_str_eq(o->kernel, "k=1");
	ck_assert_str_eq(o->append, "");
	ck_assert_uint_eq(o->initrd.count, 2);
	ck_assert_str_eq(o->initrd.item[0], "a");
	ck_assert_str_eq(o->initrd.item[1], "b");
	ck_assert_uint_eq(o->monitor.count, 2);
	ck_assert_str_eq(o->monitor.item[0], "unix:m");
	ck_assert_str_eq(o->monitor.item[1], "unix:n,pretty=on");
	ck_assert_str_eq(o->serial, "file:s");
	ck_assert_str_eq(o->serial_id, "c");
	ck_assert_str_eq(o->pidfile, "p");
	ck_assert_int_eq(o->log_level, LOG_LEVEL_DEBUG);
	ck_assert(o->paused && o->no_shutdown && o->no_reboot && o->daemonize);
}

START_TEST(test_every_option)
{
	static const char *const line[] = {
		"--name", "web 1", "--uuid=01234567-89AB-CDEF-0123-456789abcdef", "--cpus=1024",
		"--memory", "3t", "--kernel=k=1", "--append=", "--initrd", "a", "--initrd=b",
		"--monitor", "unix:m", "--monitor", "unix:n,pretty=on", "--serial", "file:s",
		"--serial-id", "c", "--paused", "--no-shutdown", "--no-reboot=on",
		"--pidfile", "p", "--daemonize",
		"--log-level", "debug", NULL
	};
	static const char config[] =
		"{ \"name\": \"web 1\", \"uuid\": \"01234567-89AB-cdef-0123-456789ABCDEF\",\n"
		"  \"cpus\": 1024, \"memory\": 3298534883328, \"kernel\": \"k=1\",\n"
		"  \"append\": \"\",\n"
		"  \"initrd\": [\"a\", \"b\"], \"monitor\": [\"unix:m\", \"unix:n,pretty=on\"],\n"
		"  \"serial\": \"file:s\", \"serial-id\": \"c\", \"paused\": true,\n"
		"  \"no-shutdown\": true,\n"
		"  \"no-reboot\": true, \"pidfile\": \"p\", \"daemonize\": true,\n"
		"  \"log-level\": \"debug\" }\n";
	struct options o;

	ck_assert_int_eq(parse(&o, line, NULL), OPTIONS_OK);
	check_all(&o);
	options_free(&o);

	write_config(config, strlen(config));
	ck_assert_int_eq(parse(&o, ARGS("--config=vm.json"), NULL), OPTIONS_OK);
	check_all(&o);
	options_free(&o);
}
END_TEST

START_TEST(test_sizes)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} sizes[] = {
		{ "4096", 4096 }, { "4k", 4096 }, { "4K", 4096 }, { "00012K", 12288 },
		{ "1m", 1 << 20 }, { "513M", 513ULL << 20 }, { "7G", 7ULL << 30 },
		{ "16777215T", 16777215ULL << 40 }, { "18446744073709547520", -4096ULL },
	};
	struct options o;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		ck_assert_int_eq(parse(&o, ARGS("--memory", sizes[i].text), NULL), OPTIONS_OK);
		ck_assert_uint_eq(o.memory, sizes[i].bytes);
		options_free(&o);
	}
}
END_TEST

START_TEST(test_help)
{
	struct options o;

	ck_assert_int_eq(parse(&o, ARGS("--cpus", "2", "--help", "--nonsense"), NULL),
			 OPTIONS_HELP);
	options_free(&o);
	ck_assert_int_eq(parse(&o, ARGS("-h"), NULL), OPTIONS_HELP);
	options_free(&o);
	/* A value is a value. */
	ck_assert_int_eq(parse(&o, ARGS("--name", "--help"), NULL), OPTIONS_OK);
	ck_assert_str_eq(o.name, "--help");
	options_free(&o);
}
END_TEST

START_TEST(test_help_text)
{
	char *text = NULL, *line;
	size_t len, options = 0;
	FILE *out = open_memstream(&text, &len);

	options_print_help(out);
	ck_assert_int_eq(fclose(out), 0);
	ck_assert_ptr_nonnull(strstr(text, "  --cpus N              number of vCPUs"));
	ck_assert_ptr_nonnull(strstr(text, "  --initrd FILE         module for the kernel (may"));
	for (line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		ck_assert_uint_le(strlen(line), 79);
		options += strncmp(line, "  --", 4) == 0;
	}
	ck_assert_uint_eq(options, 25);
	free(text);
}
END_TEST

static const struct {
	const char *args[6];
	const char *error;
} bad_lines[] = {
	{ { "--cp", "2" }, "--cp: unknown option; see vmond run --help" },
	{ { "--cpuss=2" }, "--cpuss: unknown option; see vmond run --help" },
	{ { "--" }, "--: unknown option; see vmond run --help" },
	{ { "--=x" }, "--: unknown option; see vmond run --help" },
	{ { "-m", "1G" }, "-m: unknown option; see vmond run --help" },
	{ { "cpus", "2" }, "cpus: unknown argument; see vmond run --help" },
	{ { "" }, ": unknown argument; see vmond run --help" },
	{ { "--cpus" }, "--cpus: needs a value: N" },
	{ { "--cpus", "2", "--smp", "2" }, "--cpus: not possible with --smp" },
	{ { "--smp", "3,threads=2" }, "--smp 3,threads=2: sockets (1) * dies (1) * cores (1) * "
	  "threads (2) make 2 vCPUs, not 3" },
	{ { "--cpu", "hosd" }, "--cpu hosd: 'hosd' is no model; there are host, max, base, "
	  "x86-64-v1, x86-64-v2, x86-64-v3, x86-64-v4" },
	{ { "--cpu", "host,+avx3" }, "--cpu host,+avx3: 'avx3' is neither a feature nor a "
	  "property; did you mean avx?" },
	{ { "--clone", "x", "--incoming", "defer" }, "--clone: not possible with --incoming" },
	{ { "--allow-missing-features" },
	  "--allow-missing-features: needs --clone or --incoming" },
	{ { "--generation-id", "automatic" }, "--generation-id automatic: must be auto, or have "
	  "the form of a UUID" },
	{ { "--cpu", "max", "--clone", "x" },
	  "--cpu: not possible with --clone, which brings the processor along" },
	{ { "--incoming", "defer", "--cpu", "host" },
	  "--cpu: not possible with --incoming, which brings the processor along" },
	{ { "--cpus", "0" }, "--cpus 0: must be a number from 1 to 1024" },
	{ { "--cpus", "1025" }, "--cpus 1025: must be a number from 1 to 1024" },
	{ { "--cpus", "-1" }, "--cpus -1: must be a number from 1 to 1024" },
	{ { "--cpus", "+1" }, "--cpus +1: must be a number from 1 to 1024" },
	{ { "--cpus", " 1" }, "--cpus  1: must be a number from 1 to 1024" },
	{ { "--cpus=" }, "--cpus : must be a number from 1 to 1024" },
	{ { "--cpus", "2x" }, "--cpus 2x: must be a number from 1 to 1024" },
	{ { "--cpus", "0x2" }, "--cpus 0x2: must be a number from 1 to 1024" },
	{ { "--cpus", "4294967297" }, "--cpus 4294967297: must be a number from 1 to 1024" },
	{ { "--cpus", "18446744073709551617" },
	  "--cpus 18446744073709551617: must be a number from 1 to 1024" },
	{ { "--cpus", "1", "--cpus", "1" }, "--cpus: given twice" },
	{ { "--paused", "--paused=on" }, "--paused: given twice" },
	{ { "--paused=yes" }, "--paused yes: must be on or off" },
	{ { "--memory", "" },
	  "--memory : must be a number, with a suffix K, M, G or T if not in bytes" },
	{ { "--memory", "M" },
	  "--memory M: must be a number, with a suffix K, M, G or T if not in bytes" },
	{ { "--memory", "1MB" },
	  "--memory 1MB: must be a number, with a suffix K, M, G or T if not in bytes" },
	{ { "--memory", "1P" },
	  "--memory 1P: must be a number, with a suffix K, M, G or T if not in bytes" },
	{ { "--memory", "-4K" },
	  "--memory -4K: must be a number, with a suffix K, M, G or T if not in bytes" },
	{ { "--memory", "0" },
	  "--memory 0: must be a multiple of 4K above 0 (without a suffix it is in bytes)" },
	{ { "--memory", "512" },
	  "--memory 512: must be a multiple of 4K above 0 (without a suffix it is in bytes)" },
	{ { "--memory", "0G" }, "--memory 0G: must be a multiple of 4K above 0" },
	{ { "--memory", "5K" }, "--memory 5K: must be a multiple of 4K above 0" },
	{ { "--memory", "16777216T" }, "--memory 16777216T: is too large" },
	{ { "--memory", "18446744073709551616" }, "--memory 18446744073709551616: is too large" },
	{ { "--uuid", "0123456789abcdef0123456789abcdef" },
	  "--uuid 0123456789abcdef0123456789abcdef: "
	  "must have the form xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx, in hexadecimal" },
	{ { "--uuid", "g1234567-89ab-cdef-0123-456789abcdef" },
	  "--uuid g1234567-89ab-cdef-0123-456789abcdef: "
	  "must have the form xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx, in hexadecimal" },
	{ { "--uuid", "01234567-89ab-cdef-0123-456789abcdef0" },
	  "--uuid 01234567-89ab-cdef-0123-456789abcdef0: "
	  "must have the form xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx, in hexadecimal" },
	{ { "--uuid", "01234567-89ab-cdef-0123-456789abcde" },
	  "--uuid 01234567-89ab-cdef-0123-456789abcde: "
	  "must have the form xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx, in hexadecimal" },
	{ { "--name=" }, "--name : must have 1 to 255 bytes and no control characters" },
	{ { "--name", "a\nb" }, "--name a\nb: must have 1 to 255 bytes and no control characters" },
	{ { "--kernel=" }, "--kernel : must name a file" },
	{ { "--initrd", "" }, "--initrd : must name a file" },
	{ { "--pidfile=" }, "--pidfile : must name a file" },
	{ { "--config=" }, "--config : must name a file" },
	{ { "--monitor", "tcp:1" }, "--monitor tcp:1: error parsing address '1'" },
	{ { "--monitor", "unix:" }, "--monitor unix:: the path is empty" },
	{ { "--monitor", "pipe:x" }, "--monitor pipe:x: must be unix:PATH, tcp:ADDRESS:PORT, fd:N, "
	  "systemd[:NAME] or stdio" },
	{ { "--monitor-allow", "root" }, "--monitor-allow root: must have the form uid:N, gid:N, "
	  "user:NAME or group:NAME" },
	{ { "--monitor", "stdio", "--daemonize" },
	  "--monitor stdio: not possible with --daemonize" },
	{ { "--monitor", "stdio,mode=readline", "--serial", "stdio" },
	  "--monitor stdio: not possible with --serial stdio" },
	{ { "--monitor", "stdio", "--monitor", "stdio,pretty=on" },
	  "--monitor stdio: given twice" },
	{ { "--serial-id", "" },
	  "--serial-id : must have 1 to 127 bytes, and no control characters or slashes" },
	{ { "--serial-id", "a/b" },
	  "--serial-id a/b: must have 1 to 127 bytes, and no control characters or slashes" },
	{ { "--serial-id", "compat_monitor0" }, "--serial-id compat_monitor0: names that begin "
	  "with compat_monitor are those of monitors" },
	{ { "--serial", "tty" }, "--serial tty: must be stdio, file:PATH, unix:PATH, pty or null" },
	{ { "--serial", "stdio:" },
	  "--serial stdio:: must be stdio, file:PATH, unix:PATH, pty or null" },
	{ { "--serial", "file:" }, "--serial file:: needs a path after 'file:'" },
	{ { "--log-level", "loud" }, "--log-level loud: must be error, warning, info or debug" },
	{ { "--append", "x" }, "--append: needs --kernel" },
	{ { "--initrd", "x" }, "--initrd: needs --kernel" },
	{ { "--serial", "stdio", "--daemonize" }, "--serial stdio: not possible with --daemonize" },
};

START_TEST(test_bad_line)
{
	struct options o;
	struct error err;

	ck_assert_int_eq(parse(&o, bad_lines[_i].args, &err), OPTIONS_USAGE);
	ck_assert_str_eq(err.text, bad_lines[_i].error);
	options_free(&o);
}
END_TEST

/* The place and the beginning of what the JSON library says, whose wording is its own. */
static const struct {
	const char *text, *error;
} bad_syntax[] = {
	{ "", "vm.json:1:0: " },
	{ "3", "vm.json:1:1: " },
	{ "{\n  \"cpus\": 1,\n}", "vm.json:3:1: " },
	{ "{\"cpus\": 1} x", "vm.json:1:13: end of file expected" },
	{ "{\"cpus\": 1, \"cpus\": 2}", "vm.json:1:18: duplicate object key" },
	{ "{\"name\": \"a\\u0000b\"}", "vm.json:1:" },
	{ "{\"name\": \"a\xff\"}", "vm.json:1:" },
};

START_TEST(test_bad_syntax)
{
	const char *error = bad_syntax[_i].error;
	struct options o;
	struct error err;

	write_config(bad_syntax[_i].text, strlen(bad_syntax[_i].text));
	ck_assert_int_eq(parse(&o, ARGS("--config", "vm.json"), &err), OPTIONS_USAGE);
	ck_assert_msg(strncmp(err.text, error, strlen(error)) == 0, "%s", err.text);
	options_free(&o);
}
END_TEST

static const struct {
	const char *text, *error;
} bad_configs[] = {
	{ "[]", "vm.json: must hold a JSON object" },
	{ "{\"cp\": 1}", "vm.json: cp: unknown key; see vmond run --help" },
	{ "{\"cpus\": 2, \"smp\": \"2\"}", "--cpus: not possible with --smp" },
	{ "{\"smp\": 2}", "vm.json: smp: must be a string" },
	{ "{\"\": 1}", "vm.json: : unknown key; see vmond run --help" },
	{ "{\"--cpus\": 1}", "vm.json: --cpus: unknown key; see vmond run --help" },
	{ "{\"config\": \"x\"}", "vm.json: config: unknown key; see vmond run --help" },
	{ "{\"cpus\": true}", "vm.json: cpus: must be a whole number" },
	{ "{\"cpus\": 1.0}", "vm.json: cpus: must be a whole number" },
	{ "{\"cpus\": null}", "vm.json: cpus: must be a whole number" },
	{ "{\"cpus\": [1]}", "vm.json: cpus: must be a whole number" },
	{ "{\"cpus\": -1}", "vm.json: cpus -1: must be a number from 1 to 1024" },
	{ "{\"cpus\": \"x\"}", "vm.json: cpus x: must be a number from 1 to 1024" },
	{ "{\"memory\": {}}", "vm.json: memory: must be a whole number or a string" },
	{ "{\"memory\": 512}",
	  "vm.json: memory 512: must be a multiple of 4K above 0 "
	  "(without a suffix it is in bytes)" },
	{ "{\"name\": 5}", "vm.json: name: must be a string" },
	{ "{\"log-level\": 1}", "vm.json: log-level: must be a string" },
	{ "{\"paused\": \"on\"}", "vm.json: paused: must be true or false" },
	{ "{\"paused\": 1}", "vm.json: paused: must be true or false" },
	{ "{\"monitor\": {}}", "vm.json: monitor: must be a string or an array of strings" },
	{ "{\"monitor\": [\"unix:a\", [\"unix:b\"]]}",
	  "vm.json: monitor: must be a string or an array of strings" },
	{ "{\"monitor\": [\"unix:a\", \"b\"]}",
	  "vm.json: monitor b: must be unix:PATH, tcp:ADDRESS:PORT, fd:N, systemd[:NAME] or stdio" },
	{ "{\"append\": \"x\"}", "--append: needs --kernel" },
};

START_TEST(test_bad_config)
{
	struct options o;
	struct error err;

	write_config(bad_configs[_i].text, strlen(bad_configs[_i].text));
	ck_assert_int_eq(parse(&o, ARGS("--config", "vm.json"), &err), OPTIONS_USAGE);
	ck_assert_str_eq(err.text, bad_configs[_i].error);
	options_free(&o);
}
END_TEST

START_TEST(test_command_line_beats_config)
{
	static const char config[] = "{ \"cpus\": 2, \"memory\": \"1G\", \"paused\": true,"
				     "  \"monitor\": [\"unix:a\", \"unix:b\"], \"name\": \"file\","
				     "  \"serial\": \"null\", \"no-reboot\": true }";
	static const char wrong[] = "{ \"cpus\": 0 }";
	struct options o;
	struct error err;

	write_config(config, strlen(config));
	ck_assert_int_eq(parse(&o, ARGS("--cpus", "3", "--paused=off", "--config", "vm.json",
					"--monitor", "unix:c", "--name", "line"), NULL),
			 OPTIONS_OK);
	ck_assert_uint_eq(o.cpus, 3);
	ck_assert_uint_eq(o.memory, 1 << 30);
	ck_assert(!o.paused);
	ck_assert(o.no_reboot);
	ck_assert_uint_eq(o.monitor.count, 1);
	ck_assert_str_eq(o.monitor.item[0], "unix:c");
	ck_assert_str_eq(o.name, "line");
	ck_assert_str_eq(o.serial, "null");
	options_free(&o);

	/* Of the two ways to count vCPUs as of one. */
	write_config("{ \"cpus\": 2 }", 13);
	ck_assert_int_eq(parse(&o, ARGS("--smp", "4,sockets=2", "--config", "vm.json"), NULL),
			 OPTIONS_OK);
	ck_assert_str_eq(o.smp, "4,sockets=2");
	ck_assert_uint_eq(o.cpus, 0);
	options_free(&o);
	write_config("{ \"smp\": \"4\", \"cpu\": \"max\" }", 28);
	ck_assert_int_eq(parse(&o, ARGS("--cpus=2", "--config", "vm.json"), NULL), OPTIONS_OK);
	ck_assert_ptr_null(o.smp);
	ck_assert_uint_eq(o.cpus, 2);
	ck_assert_str_eq(o.cpu, "max");
	options_free(&o);

	/* What is overruled is still checked. */
	write_config(wrong, strlen(wrong));
	ck_assert_int_eq(parse(&o, ARGS("--cpus", "3", "--config", "vm.json"), &err),
			 OPTIONS_USAGE);
	ck_assert_str_eq(err.text, "vm.json: cpus 0: must be a number from 1 to 1024");
	options_free(&o);
}
END_TEST

START_TEST(test_unreadable_config)
{
	size_t size = (1 << 20) + 1;
	char *text = malloc(size);
	struct options o;
	struct error err;

	ck_assert_int_eq(parse(&o, ARGS("--config", "vm.json"), &err), OPTIONS_FAILURE);
	ck_assert_str_eq(err.text, "--config vm.json: No such file or directory");
	options_free(&o);
	ck_assert_int_eq(parse(&o, ARGS("--config", "."), &err), OPTIONS_FAILURE);
	ck_assert_str_eq(err.text, "--config .: Is a directory");
	options_free(&o);

	/* The largest file there may be, and one byte more. */
	memset(text, ' ', size);
	memcpy(text, "{}", 2);
	write_config(text, size - 1);
	ck_assert_int_eq(parse(&o, ARGS("--config", "vm.json"), &err), OPTIONS_OK);
	options_free(&o);
	write_config(text, size);
	ck_assert_int_eq(parse(&o, ARGS("--config", "vm.json"), &err), OPTIONS_FAILURE);
	ck_assert_str_eq(err.text, "--config vm.json: larger than 1 MiB");
	options_free(&o);
	free(text);
}
END_TEST

START_TEST(test_deep_config)
{
	size_t depth = 200000;
	char *text = malloc(depth);
	struct options o;
	struct error err;

	memset(text, '[', depth);
	write_config(text, depth);
	ck_assert_int_eq(parse(&o, ARGS("--config", "vm.json"), &err), OPTIONS_USAGE);
	ck_assert_ptr_nonnull(strstr(err.text, "maximum parsing depth reached"));
	options_free(&o);
	free(text);
}
END_TEST

/* For clients: all of the table, and nothing behind it. */
START_TEST(test_described)
{
	static const struct {
		const char *name, *type;
	} some[] = {
		{ "name", "string" }, { "cpus", "number" }, { "memory", "size" },
		{ "monitor", "string" }, { "paused", "boolean" }, { "log-level", "string" },
	};
	struct monitor_option option;
	unsigned int n, found = 0;

	for (n = 0; options_describe(n, &option); n++) {
		ck_assert_str_eq(option.name, option_specs[n].name);
		ck_assert_str_eq(option.help, option_specs[n].help);
		for (size_t i = 0; i < sizeof(some) / sizeof(some[0]); i++) {
			if (strcmp(some[i].name, option.name) != 0)
				continue;
			ck_assert_str_eq(option.type, some[i].type);
			found++;
		}
	}
	ck_assert_ptr_null(option_specs[n].name);
	ck_assert_uint_eq(found, sizeof(some) / sizeof(some[0]));
}
END_TEST

Suite *options_suite(void)
{
	Suite *suite = suite_create("options");
	TCase *tc = tcase_create("parsing");

	tcase_add_test(tc, test_described);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_defaults);
	tcase_add_test(tc, test_every_option);
	tcase_add_test(tc, test_sizes);
	tcase_add_test(tc, test_help);
	tcase_add_test(tc, test_help_text);
	tcase_add_loop_test(tc, test_bad_line, 0, sizeof(bad_lines) / sizeof(bad_lines[0]));
	tcase_add_loop_test(tc, test_bad_syntax, 0, sizeof(bad_syntax) / sizeof(bad_syntax[0]));
	tcase_add_loop_test(tc, test_bad_config, 0, sizeof(bad_configs) / sizeof(bad_configs[0]));
	tcase_add_test(tc, test_command_line_beats_config);
	tcase_add_test(tc, test_unreadable_config);
	tcase_add_test(tc, test_deep_config);
	suite_add_tcase(suite, tc);
	return suite;
}
