/* SPDX-License-Identifier: MIT */
#include "daemon/cpuid_command.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/cpu_print.h"
#include "vmm/cpuid.h"
#include "vmm/feature_msrs.h"
#include "vmm/msr.h"

/* Where the names of features begin, and of those that a model has to do without. */
#define INDENT       17
#define MODEL_INDENT 22

struct arguments {
	bool help, json;
	const char *cpu, *smp;          /* NULL for none */
};

/* ---- what both kinds of output show ---- */

/* A set of features as registers of CPUID, which is how they are printed. */
static struct kvm_cpuid_entry2 entry_of_word(const struct cpu_features *set, enum cpu_word word)
{
	struct kvm_cpuid_entry2 entry = {
		.function = cpu_words[word].leaf, .index = cpu_words[word].subleaf,
	};

	*cpuid_reg(&entry, cpu_words[word].reg) = set->word[word];
	return entry;
}

static void print_features(struct text *out, const struct cpu_features *set)
{
	for (int i = 0; i < CPU_WORD_COUNT; i++) {
		const struct cpu_word_info *info = &cpu_words[i];
		struct kvm_cpuid_entry2 entry = entry_of_word(set, (enum cpu_word)i);
		char subleaf[16] = "", label[48];

		if (info->subleaf)
			snprintf(subleaf, sizeof(subleaf), ".%" PRIu32, info->subleaf);
		snprintf(label, sizeof(label), "  0x%" PRIx32 "%s %s", info->leaf, subleaf,
			 cpuid_reg_name(info->reg));
		cpu_print_register(out, label, INDENT, &entry, info->reg);
	}
}

static void print_processor(struct text *out, const struct cpu *cpu)
{
	text_printf(out, "%s family %u model %u stepping %u, %u bits of physical addresses\n%s\n",
		    cpu->vendor, cpu->family, cpu->model_number, cpu->stepping, cpu->phys_bits,
		    cpu->model_id);
}

static void write_processor(struct json_writer *w, const struct cpu *cpu)
{
	json_write_object(w, "processor");
	json_write_string(w, "vendor", cpu->vendor);
	json_write_uint(w, "family", cpu->family);
	json_write_uint(w, "model", cpu->model_number);
	json_write_uint(w, "stepping", cpu->stepping);
	json_write_string(w, "model-id", cpu->model_id);
	json_write_uint(w, "phys-bits", cpu->phys_bits);
	json_write_object_end(w);
}

/* ---- the host ---- */

struct host {
	struct cpu cpu;
	struct cpu_features supported, emulated;        /* emulated: and not supported */
	const struct kvm_cpuid2 *table;
	const struct feature_msrs *msrs;
};

static int look_at_host(struct kvm *kvm, struct host *host, struct error *err)
{
	struct cpu_config config;

	if (cpu_config_init(&config, "host", err) < 0 ||
	    cpu_resolve(&config, kvm, &host->cpu, err) < 0 ||
	    cpu_host_features(kvm, false, &host->supported, err) < 0 ||
	    cpu_host_features(kvm, true, &host->emulated, err) < 0)
		return -1;
	for (int i = 0; i < CPU_WORD_COUNT; i++)
		host->emulated.word[i] &= ~host->supported.word[i];
	host->table = kvm_supported_cpuid(kvm, err);
	host->msrs = host->table ? kvm_feature_msrs(kvm, err) : NULL;
	return host->msrs ? 0 : -1;
}

static void print_msrs(struct text *out, const struct feature_msrs *msrs)
{
	if (!msrs->count)
		return;
	text_printf(out, "\nMSRs that go with it:\n");
	for (unsigned int i = 0; i < msrs->count; i++) {
		const char *name = msr_name(msrs->msr[i].index);

		text_printf(out, "  0x%08" PRIx32 "  0x%016" PRIx64 "  %s\n", msrs->msr[i].index,
			    msrs->msr[i].value, name ? name : "");
	}
}

/* What this host lacks of a model. */
static int lacks(struct kvm *kvm, const struct cpu_model *model, struct cpu_features *missing,
		 struct error *err)
{
	struct cpu_config config;
	struct cpu cpu;

	if (cpu_config_init(&config, model->name, err) < 0 ||
	    cpu_resolve(&config, kvm, &cpu, err) < 0)
		return -1;
	*missing = cpu.missing;
	return 0;
}

static int print_models(struct text *out, struct kvm *kvm, struct error *err)
{
	const struct cpu_model *model;

	text_printf(out, "\nModels for --cpu:\n");
	for (unsigned int i = 0; (model = cpu_model_at(i)); i++) {
		struct cpu_features missing;

		if (lacks(kvm, model, &missing, err) < 0)
			return -1;
		text_printf(out, "  %-10s  %s\n", model->name, model->description);
		cpu_print_features(out, "              without:", MODEL_INDENT, &missing);
	}
	return 0;
}

static int print_host(struct text *out, struct kvm *kvm, const struct host *host,
		      struct error *err)
{
	print_processor(out, &host->cpu);
	text_printf(out, "\nWhat KVM can show a guest:\n");
	print_features(out, &host->supported);
	if (!cpu_features_empty(&host->emulated)) {
		text_printf(out, "\nWhat it emulates besides:\n");
		print_features(out, &host->emulated);
	}
	print_msrs(out, host->msrs);
	return print_models(out, kvm, err);
}

static void write_msrs(struct json_writer *w, const struct feature_msrs *msrs)
{
	json_write_array(w, "feature-msrs");
	for (unsigned int i = 0; i < msrs->count; i++) {
		const char *name = msr_name(msrs->msr[i].index);

		json_write_object(w, NULL);
		json_write_uint(w, "index", msrs->msr[i].index);
		if (name)
			json_write_string(w, "name", name);
		json_write_uint(w, "value", msrs->msr[i].value);
		json_write_object_end(w);
	}
	json_write_array_end(w);
}

static int write_models(struct json_writer *w, struct kvm *kvm, struct error *err)
{
	const struct cpu_model *model;

	json_write_array(w, "models");
	for (unsigned int i = 0; (model = cpu_model_at(i)); i++) {
		struct cpu_features missing;

		if (lacks(kvm, model, &missing, err) < 0)
			return -1;
		json_write_object(w, NULL);
		json_write_string(w, "name", model->name);
		json_write_string(w, "description", model->description);
		cpu_write_features(w, "unavailable-features", &missing);
		json_write_object_end(w);
	}
	json_write_array_end(w);
	return 0;
}

static int write_host(struct json_writer *w, struct kvm *kvm, const struct host *host,
		      struct error *err)
{
	json_write_object(w, NULL);
	write_processor(w, &host->cpu);
	cpu_write_features(w, "features", &host->supported);
	cpu_write_features(w, "emulated-features", &host->emulated);
	cpu_write_table(w, "entries", host->table);
	write_msrs(w, host->msrs);
	if (write_models(w, kvm, err) < 0)
		return -1;
	json_write_object_end(w);
	return 0;
}

/* ---- a guest ---- */

struct guest {
	struct cpu cpu;
	struct kvm_cpuid2 *table;       /* of its first vCPU */
};

static int look_at_guest(struct kvm *kvm, const struct cpu_config *config,
			 const struct cpu_topology *topology, struct guest *guest,
			 struct error *err)
{
	if (cpu_resolve(config, kvm, &guest->cpu, err) < 0 ||
	    (config->enforce && cpu_check(&guest->cpu, err) < 0))
		return -1;
	/* How fast a TSC runs is not known before there is one. */
	guest->table = cpuid_new(kvm, &guest->cpu, topology, 0, err);
	return guest->table ? 0 : -1;
}

static void print_guest(struct text *out, const struct guest *guest)
{
	print_processor(out, &guest->cpu);
	text_printf(out, "\n");
	print_features(out, &guest->cpu.on);
	cpu_print_features(out, "\nNot to be had on this host:\n ", 0, &guest->cpu.missing);
	cpu_print_features(out, "\nOff, because what they need is off:\n ", 0,
			   &guest->cpu.orphaned);
}

static void write_guest(struct json_writer *w, const struct guest *guest)
{
	json_write_object(w, NULL);
	json_write_string(w, "model", guest->cpu.config.model->name);
	write_processor(w, &guest->cpu);
	cpu_write_features(w, "features", &guest->cpu.on);
	cpu_write_features(w, "missing-features", &guest->cpu.missing);
	cpu_write_features(w, "orphaned-features", &guest->cpu.orphaned);
	cpu_write_table(w, "entries", guest->table);
	json_write_object_end(w);
}

/* ---- the command ---- */

/* The text as it is; JSON with plain line ends, instead of those of the wire. */
static int put_out(const struct text *text, struct json_writer *json, struct error *err)
{
	if (text->failed || json->failed)
		return error_errno(err, ENOMEM, "the output");
	if (text->len)
		fwrite(text->bytes, 1, text->len, stdout);
	for (size_t i = 0; i < json->len; i++)
		if (json->text[i] != '\r')
			putchar(json->text[i]);
	return 0;
}

static int show(struct kvm *kvm, const struct arguments *arguments,
		const struct cpu_config *config, const struct cpu_topology *topology,
		struct error *err)
{
	struct guest guest = { .table = NULL };
	struct text text = { 0 };
	struct json_writer json;
	struct host host;
	int rc;

	json_writer_init(&json, true);
	if (arguments->cpu)
		rc = look_at_guest(kvm, config, topology, &guest, err);
	else
		rc = look_at_host(kvm, &host, err);
	if (rc == 0 && arguments->cpu && arguments->json)
		write_guest(&json, &guest);
	else if (rc == 0 && arguments->cpu)
		print_guest(&text, &guest);
	else if (rc == 0 && arguments->json)
		rc = write_host(&json, kvm, &host, err);
	else if (rc == 0)
		rc = print_host(&text, kvm, &host, err);
	if (arguments->json)
		json_write_line_end(&json);
	if (rc == 0)
		rc = put_out(&text, &json, err);
	free(guest.table);
	text_free(&text);
	json_writer_free(&json);
	return rc;
}

static void print_help(void)
{
	printf("Usage: vmond cpuid [OPTION]...\n"
	       "Print what this host's KVM can show a guest of the processor.\n\n"
	       "  --cpu MODEL[,...]     what a guest would see with this --cpu of vmond run\n"
	       "  --smp N[,...]         and with this --smp (default 1)\n"
	       "  --json                print JSON\n\nSee vmond(8).\n");
}

/* An option with a value, which is the next argument or stands behind "="; *at moves on to it. */
static const char *value_of(const char *option, int argc, char *const *argv, int *at,
			    struct error *err)
{
	size_t len = strlen(option);

	if (argv[*at][len] == '=')
		return argv[*at] + len + 1;
	if (*at + 1 < argc)
		return argv[++*at];
	error_set(err, EINVAL, "%s: needs a value", option);
	return NULL;
}

static bool is_option(const char *arg, const char *option)
{
	size_t len = strlen(option);

	return strncmp(arg, option, len) == 0 && (!arg[len] || arg[len] == '=');
}

static int parse(struct arguments *arguments, int argc, char *const *argv, struct error *err)
{
	static const char *const names[] = { "--cpu", "--smp" };
	const char **const values[] = { &arguments->cpu, &arguments->smp };

	for (int i = 0; i < argc; i++) {
		unsigned int option = 0;

		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			arguments->help = true;
			return 0;
		}
		if (strcmp(argv[i], "--json") == 0) {
			arguments->json = true;
			continue;
		}
		while (option < 2 && !is_option(argv[i], names[option]))
			option++;
		if (option == 2)
			return error_set(err, EINVAL, "%s: unknown %s; see vmond cpuid --help", argv[i],
					 *argv[i] == '-' ? "option" : "argument");
		if (*values[option])
			return error_set(err, EINVAL, "%s: given twice", names[option]);
		*values[option] = value_of(names[option], argc, argv, &i, err);
		if (!*values[option])
			return -1;
	}
	if (arguments->smp && !arguments->cpu)
		return error_set(err, EINVAL, "--smp: needs --cpu");
	return 0;
}

enum cpuid_command_result cpuid_command(int argc, char *const *argv, struct error *err)
{
	struct cpu_topology topology = cpu_topology_of_cores(1);
	struct arguments arguments = { .help = false };
	struct cpu_config config;
	struct kvm kvm;
	int rc;

	if (parse(&arguments, argc, argv, err) < 0)
		return CPUID_COMMAND_USAGE;
	if (arguments.help) {
		print_help();
		return CPUID_COMMAND_OK;
	}
	if (arguments.cpu && cpu_model_parse(arguments.cpu, &config, err) < 0) {
		error_prefix(err, "--cpu %s", arguments.cpu);
		return CPUID_COMMAND_USAGE;
	}
	if (arguments.smp && cpu_topology_parse(arguments.smp, &topology, err) < 0) {
		error_prefix(err, "--smp %s", arguments.smp);
		return CPUID_COMMAND_USAGE;
	}
	if (kvm_open(&kvm, NULL, NULL, err) < 0)
		return CPUID_COMMAND_FAILURE;
	rc = show(&kvm, &arguments, &config, &topology, err);
	kvm_close(&kvm);
	return rc < 0 ? CPUID_COMMAND_FAILURE : CPUID_COMMAND_OK;
}
