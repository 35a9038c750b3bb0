/* SPDX-License-Identifier: MIT */
#include "monitor/hmp.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

#include "monitor/hmp_internal.h"

static void hmp_help(struct hmp *hmp, const struct hmp_args *args);
static void hmp_info(struct hmp *hmp, const struct hmp_args *args);

/* Sorted by name, as help lists them. */
static const struct hmp_command info_commands[] = {
	{ "cpuid", { HMP_ARG_INDEX_OPTIONAL }, "[vcpu]",
	  "show what the guest sees of the processor on the current vCPU, or on another",
	  hmp_info_cpuid, NULL },
	{ "cpus", {}, "", "list the vCPUs: where each stands, its thread", hmp_info_cpus, NULL },
	{ "kvm", {}, "", "tell whether KVM is in use", hmp_info_kvm, NULL },
	{ "lapic", { HMP_ARG_INDEX_OPTIONAL }, "[apic-id]",
	  "show a local APIC (default: that of the current vCPU)", hmp_info_lapic, NULL },
	{ "mem", {}, "", "show the ranges of virtual memory that are mapped", hmp_info_mem, NULL },
	{ "migrate", {}, "", "show how far a migration or a snapshot is, or how it ended",
	  hmp_info_migrate, NULL },
	{ "migrate_capabilities", {}, "", "show what migrate_set_capability sets",
	  hmp_info_migrate_capabilities, NULL },
	{ "migrate_parameters", {}, "", "show what migrate_set_parameter sets",
	  hmp_info_migrate_parameters, NULL },
	{ "mtree", {}, "", "show what lies where in memory and I/O space", hmp_info_mtree, NULL },
	{ "name", {}, "", "show the VM's name", hmp_info_name, NULL },
	{ "nested", { HMP_FLAG('a'), HMP_ARG_INDEX_OPTIONAL }, "[-a|vcpu]",
	  "show whether the current vCPU, another, or (-a) each runs a guest of its own",
	  hmp_info_nested, NULL },
	{ "registers", { HMP_FLAG('a'), HMP_ARG_INDEX_OPTIONAL }, "[-a|vcpu]",
	  "show the registers of the current vCPU, of another, or (-a) of all",
	  hmp_info_registers, NULL },
	{ "status", {}, "", "show whether the VM is running", hmp_info_status, NULL },
	{ "tlb", {}, "", "show the mapping of every page of virtual memory", hmp_info_tlb, NULL },
	{ "uuid", {}, "", "show the VM's UUID", hmp_info_uuid, NULL },
	{ "vcpu-sync", {}, "", "show what of the vCPUs' state was read from KVM, what is to be "
	  "written back, and how often either has happened", hmp_info_vcpu_sync, NULL },
	{ "version", {}, "", "show the version", hmp_info_version, NULL },
	{ "xen", {}, "", "show Xen's hypercall pages: the blobs, and where pages were written",
	  hmp_info_xen, NULL },
	{ 0 }
};

static const struct hmp_command commands[] = {
	{ "closefd", { HMP_ARG_WORD }, "name", "close a file descriptor that getfd has named",
	  hmp_closefd, NULL },
	{ "cont|c", {}, "", "let the VM run", hmp_cont, NULL },
	{ "cpu", { HMP_ARG_INDEX }, "index", "make a vCPU the current one", hmp_cpu, NULL },
	{ "getfd", { HMP_ARG_WORD }, "name", "name the file descriptor that comes with the command",
	  hmp_getfd, NULL },
	{ "help|?", { HMP_ARG_REST }, "[cmd]", "list the commands, or show one", hmp_help, NULL },
	{ "info", { HMP_ARG_REST }, "[subcommand]", "show things about the VM", hmp_info,
	  info_commands },
	{ "memsave", { HMP_ARG_NUMBER, HMP_ARG_NUMBER, HMP_ARG_STRING }, "addr size file",
	  "save 'size' bytes of virtual memory from 'addr' on to a file", hmp_memsave, NULL },
	{ "migrate", { HMP_FLAG('d'), HMP_FLAG('b'), HMP_FLAG('i'), HMP_FLAG('r'), HMP_ARG_STRING },
	  "[-d] uri", "send the VM to file:, unix:, tcp:, exec: or fd:; does not wait for the end, "
	  "with -d or without", hmp_migrate, NULL },
	{ "migrate_cancel", {}, "", "cancel a migration or a snapshot", hmp_migrate_cancel, NULL },
	{ "migrate_incoming", { HMP_ARG_STRING }, "uri",
	  "receive the VM, which --incoming defer has left waiting", hmp_migrate_incoming, NULL },
	{ "migrate_set_capability", { HMP_ARG_WORD, HMP_ARG_ON_OFF }, "capability state",
	  "switch a capability on or off", hmp_migrate_set_capability, NULL },
	{ "migrate_set_parameter", { HMP_ARG_WORD, HMP_ARG_STRING }, "parameter value",
	  "set a parameter for migrations from here on", hmp_migrate_set_parameter, NULL },
	{ "nmi", {}, "", "send every vCPU an NMI", hmp_nmi, NULL },
	{ "pmemsave", { HMP_ARG_NUMBER, HMP_ARG_NUMBER, HMP_ARG_STRING }, "addr size file",
	  "save 'size' bytes of physical memory from 'addr' on to a file", hmp_pmemsave, NULL },
	{ "quit|q", {}, "", "end the VM and its process", hmp_quit, NULL },
	{ "snapshot_save", { HMP_FLAG('s'), HMP_ARG_STRING }, "[-s] file",
	  "save the VM to a file that it can be cloned from (-s: and let it stay paused)",
	  hmp_snapshot_save, NULL },
	{ "stop|s", {}, "", "pause the VM", hmp_stop, NULL },
	{ "system_powerdown", {}, "", "press the power button", hmp_system_powerdown, NULL },
	{ "system_reset", {}, "", "reset the VM", hmp_system_reset, NULL },
	{ "x", { HMP_ARG_FORMAT, HMP_ARG_NUMBER }, "/fmt addr",
	  "dump virtual memory from 'addr' on", hmp_x, NULL },
	{ "xp", { HMP_ARG_FORMAT, HMP_ARG_NUMBER }, "/fmt addr",
	  "dump physical memory from 'addr' on", hmp_xp, NULL },
	{ 0 }
};

/* Whether `names` ("stop|s") has the name of `len` characters at `name`. */
static bool has_name(const char *names, const char *name, size_t len)
{
	const char *end;

	for (;; names = end + 1) {
		end = strchrnul(names, '|');
		if ((size_t)(end - names) == len && memcmp(names, name, len) == 0)
			return true;
		if (!*end)
			return false;
	}
}

static const struct hmp_command *find(const struct hmp_command *table, const char *name, size_t len)
{
	for (; table->names; table++)
		if (has_name(table->names, name, len))
			return table;
	return NULL;
}

/* "x/4xb": a slash ends a name, too. */
static const char *name_end(const char *p)
{
	while (*p && *p != '/' && !isspace((unsigned char)*p))
		p++;
	return p;
}

/* Takes a command's name off *p.  NULL, and a line about it, when the table does not have it. */
static const struct hmp_command *parse_name(struct hmp *hmp, const struct hmp_command *table,
					    const char *line, const char **p)
{
	const char *name = hmp_skip_spaces(*p), *end = name_end(name);
	const struct hmp_command *command = find(table, name, end - name);

	if (!command) {
		text_printf(hmp->out, "unknown command: '");
		text_append(hmp->out, line, end - line);
		text_printf(hmp->out, "'\n");
		return NULL;
	}
	*p = end;
	return command;
}

void hmp_execute(struct hmp *hmp, const char *line)
{
	const struct hmp_command *command;
	struct hmp_args args = { 0 };
	const char *p = line;

	if (!*hmp_skip_spaces(line))
		return;
	command = parse_name(hmp, commands, line, &p);
	if (command && command->sub && *hmp_skip_spaces(p))
		command = parse_name(hmp, command->sub, line, &p);
	if (!command)
		return;
	if (hmp_parse_args(hmp, command, p, &args) == -1) {
		text_printf(hmp->out, "Try \"help ");
		text_append(hmp->out, line, p - line);
		text_printf(hmp->out, "\" for more information\n");
		return;
	}
	command->run(hmp, &args);
}

static void print_help(struct text *out, const char *prefix, const struct hmp_command *command)
{
	text_printf(out, "%s%s %s -- %s\n", prefix, command->names, command->params, command->help);
}

static void print_help_table(struct text *out, const char *prefix, const struct hmp_command *table)
{
	for (; table->names; table++)
		print_help(out, prefix, table);
}

static void hmp_info(struct hmp *hmp, const struct hmp_args *args)
{
	(void)args;
	print_help_table(hmp->out, "info ", info_commands);
}

static void hmp_help(struct hmp *hmp, const struct hmp_args *args)
{
	char name[64], sub[64];
	const struct hmp_command *command;
	const char *p = hmp_skip_spaces(args->rest);

	if (!*p) {
		print_help_table(hmp->out, "", commands);
		return;
	}
	if (hmp_parse_string(hmp, &p, name, sizeof(name)) == -1)
		return;
	command = find(commands, name, strlen(name));
	if (!command) {
		text_printf(hmp->out, "unknown command: '%s'\n", name);
		return;
	}
	p = hmp_skip_spaces(p);
	if (!command->sub) {
		print_help(hmp->out, "", command);
		return;
	}
	if (!*p) {
		print_help_table(hmp->out, "info ", command->sub);
		return;
	}
	if (hmp_parse_string(hmp, &p, sub, sizeof(sub)) == -1)
		return;
	command = find(command->sub, sub, strlen(sub));
	if (!command) {
		text_printf(hmp->out, "unknown command: '%s %s'\n", name, sub);
		return;
	}
	print_help(hmp->out, "info ", command);
}

int hmp_inspect_begin(struct hmp *hmp, int index, uint32_t mask)
{
	unsigned int first = index < 0 ? 0 : index, end = index < 0 ? hmp->vm->nr_vcpus : first + 1;
	struct error err;

	if (vm_inspect_begin(hmp->vm, index, &err) == -1) {
		hmp_print_error(hmp, &err);
		return -1;
	}
	for (; first < end; first++)
		if (vcpu_state_fetch(&hmp->vm->vcpu[first].state, mask, &err) == -1) {
			vm_inspect_end(hmp->vm);
			hmp_print_error(hmp, &err);
			return -1;
		}
	return 0;
}

void hmp_print_error(struct hmp *hmp, const struct error *err)
{
	text_printf(hmp->out, "Error: %s\n", err->text);
}
