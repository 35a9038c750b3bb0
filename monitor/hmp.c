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
	{ "balloon", {}, "", "show the size of the balloon: there is none", hmp_info_balloon, NULL },
	{ "block", {}, "", "show the disks: there are none", hmp_info_none, NULL },
	{ "block-jobs|jobs", {}, "", "show jobs about disks: there are none", hmp_info_block_jobs,
	  NULL },
	{ "blockstats", {}, "", "show what disks have done: there are none", hmp_info_none, NULL },
	{ "chardev", {}, "", "show the character devices", hmp_info_chardev, NULL },
	{ "cpuid", { HMP_ARG_INDEX_OPTIONAL }, "[vcpu]",
	  "show what the guest sees of the processor on the current vCPU, or on another",
	  hmp_info_cpuid, NULL },
	{ "cpus", {}, "", "list the vCPUs: where each stands, its thread", hmp_info_cpus, NULL },
	{ "dirty_rate", {}, "", "show what calc_dirty_rate has measured", hmp_info_dirty_rate, NULL },
	{ "dump", {}, "", "show how far a dump is, or how it ended", hmp_info_dump, NULL },
	{ "hotpluggable-cpus", {}, "", "show the places of vCPUs, and what is there",
	  hmp_info_hotpluggable_cpus, NULL },
	{ "iothreads", {}, "", "show threads that serve devices: there are none", hmp_info_none,
	  NULL },
	{ "kvm", {}, "", "tell whether KVM is in use", hmp_info_kvm, NULL },
	{ "lapic", { HMP_ARG_INDEX_OPTIONAL }, "[apic-id]",
	  "show a local APIC (default: that of the current vCPU)", hmp_info_lapic, NULL },
	{ "mem", {}, "", "show the ranges of virtual memory that are mapped", hmp_info_mem, NULL },
	{ "memdev", {}, "", "show what memory is made of on the host", hmp_info_memdev, NULL },
	{ "memory-devices", {}, "", "show devices that add memory: there are none", hmp_info_none,
	  NULL },
	{ "memory_size_summary", {}, "", "show how much memory the guest has",
	  hmp_info_memory_size_summary, NULL },
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
	{ "network", {}, "", "show networks: there are none", hmp_info_none, NULL },
	{ "pci", {}, "", "show PCI devices: there are none", hmp_info_none, NULL },
	{ "pic", {}, "", "show the interrupt controllers that all vCPUs share", hmp_info_pic, NULL },
	{ "qom-tree", { HMP_ARG_STRING_OPTIONAL }, "[path]",
	  "show the tree of objects below one (default: the machine)", hmp_info_qom_tree, NULL },
	{ "qtree", {}, "", "show the devices by what they are on", hmp_info_qtree, NULL },
	{ "registers", { HMP_FLAG('a'), HMP_ARG_INDEX_OPTIONAL }, "[-a|vcpu]",
	  "show the registers of the current vCPU, of another, or (-a) of all",
	  hmp_info_registers, NULL },
	{ "roms", {}, "", "show ROMs: there are none", hmp_info_none, NULL },
	{ "snapshots", {}, "", "tell where snapshots are", hmp_info_snapshots, NULL },
	{ "stats", { HMP_ARG_REST }, "target [names] [provider]", "show what KVM has counted of the "
	  "VM or the current vCPU (target vm or vcpu): all (*), or the names of a comma-separated "
	  "list", hmp_info_stats, NULL },
	{ "status", {}, "", "show whether the VM is running", hmp_info_status, NULL },
	{ "tlb", {}, "", "show the mapping of every page of virtual memory", hmp_info_tlb, NULL },
	{ "tpm", {}, "", "show trusted platform modules: there are none", hmp_info_none, NULL },
	{ "usernet", {}, "", "show connections of networks: there are none", hmp_info_none, NULL },
	{ "uuid", {}, "", "show the VM's UUID", hmp_info_uuid, NULL },
	{ "vcpu-sync", {}, "", "show what of the vCPUs' state was read from KVM, what is to be "
	  "written back, and how often either has happened", hmp_info_vcpu_sync, NULL },
	{ "version", {}, "", "show the version", hmp_info_version, NULL },
	{ "vm-generation-id", {}, "", "show the generation id that the guest is told",
	  hmp_info_vm_generation_id, NULL },
	{ "xen", {}, "", "show Xen's hypercall pages: the blobs, and where pages were written",
	  hmp_info_xen, NULL },
	{ 0 }
};

static const struct hmp_command commands[] = {
	{ "balloon", { HMP_ARG_NUMBER }, "megabytes", "ask the balloon for memory: there is none",
	  hmp_balloon, NULL },
	{ "calc_dirty_rate", { HMP_FLAG('r'), HMP_FLAG('b'), HMP_ARG_INDEX, HMP_ARG_NUMBER_OPTIONAL },
	  "[-r] [-b] second [sample_pages_per_GB]", "measure how fast the guest writes to its memory, "
	  "by samples or (-b) the kernel's bitmap; -r, by its rings, is not available",
	  hmp_calc_dirty_rate, NULL },
	{ "chardev-add", { HMP_ARG_STRING }, "args",
	  "make a character device: file, null, pty or socket, then ,id=NAME and ,path=PATH",
	  hmp_chardev_add, NULL },
	{ "chardev-remove", { HMP_ARG_STRING }, "id", "remove a character device",
	  hmp_chardev_remove, NULL },
	{ "closefd", { HMP_ARG_WORD }, "name", "close a file descriptor that getfd has named",
	  hmp_closefd, NULL },
	{ "cont|c", {}, "", "let the VM run", hmp_cont, NULL },
	{ "cpu", { HMP_ARG_INDEX }, "index", "make a vCPU the current one", hmp_cpu, NULL },
	{ "delvm", { HMP_ARG_STRING }, "file", "tell how a snapshot is deleted", hmp_delvm, NULL },
	{ "dump-guest-memory", { HMP_FLAG('p'), HMP_FLAG('d'), HMP_ARG_STRING,
				 HMP_ARG_NUMBER_OPTIONAL, HMP_ARG_NUMBER_OPTIONAL },
	  "[-p] [-d] file [begin length]", "write memory and registers to an ELF core file, memory at "
	  "virtual addresses (-p), without waiting for the end (-d), or only 'length' bytes of "
	  "physical memory from 'begin' on", hmp_dump_guest_memory, NULL },
	{ "getfd", { HMP_ARG_WORD }, "name", "name the file descriptor that comes with the command",
	  hmp_getfd, NULL },
	{ "gpa2hva", { HMP_ARG_NUMBER }, "addr",
	  "print the address in vmond's process of a guest physical address", hmp_gpa2hva, NULL },
	{ "gva2gpa", { HMP_ARG_NUMBER }, "addr",
	  "print the guest physical address of a virtual address of the current vCPU", hmp_gva2gpa,
	  NULL },
	{ "gva2hva", { HMP_ARG_NUMBER }, "addr",
	  "print the address in vmond's process of a virtual address of the current vCPU",
	  hmp_gva2hva, NULL },
	{ "help|?", { HMP_ARG_REST }, "[cmd]", "list the commands, or show one", hmp_help, NULL },
	{ "i", { HMP_ARG_FORMAT, HMP_ARG_INDEX }, "/fmt addr",
	  "read an I/O port, as the guest would: that may do something", hmp_i, NULL },
	{ "info", { HMP_ARG_REST }, "[subcommand]", "show things about the VM", hmp_info,
	  info_commands },
	{ "loadvm", { HMP_ARG_STRING }, "file", "tell how a snapshot is loaded", hmp_loadvm, NULL },
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
	{ "o", { HMP_ARG_FORMAT, HMP_ARG_INDEX, HMP_ARG_NUMBER }, "/fmt addr value",
	  "write to an I/O port, as the guest would", hmp_o, NULL },
	{ "pmemsave", { HMP_ARG_NUMBER, HMP_ARG_NUMBER, HMP_ARG_STRING }, "addr size file",
	  "save 'size' bytes of physical memory from 'addr' on to a file", hmp_pmemsave, NULL },
	{ "print|p", { HMP_ARG_FORMAT, HMP_ARG_NUMBER }, "/fmt expr",
	  "print the value of an expression ($reg: a register of the current vCPU)", hmp_print, NULL },
	{ "qom-get", { HMP_ARG_STRING, HMP_ARG_WORD }, "path property",
	  "show the value of an object's property", hmp_qom_get, NULL },
	{ "qom-list", { HMP_ARG_STRING_OPTIONAL }, "path", "list the properties of an object",
	  hmp_qom_list, NULL },
	{ "qom-set", { HMP_FLAG('j'), HMP_ARG_STRING, HMP_ARG_WORD, HMP_ARG_REST },
	  "[-j] path property value", "set an object's property, if that were possible",
	  hmp_qom_set, NULL },
	{ "quit|q", {}, "", "end the VM and its process", hmp_quit, NULL },
	{ "savevm", { HMP_ARG_STRING }, "file",
	  "save the VM to a file that it can be cloned from, and wait for the end", hmp_savevm, NULL },
	{ "set", { HMP_ARG_REST }, "$reg=expr [$reg=expr ...]",
	  "set registers of the current vCPU, by the names of set-vcpu-registers", hmp_set, NULL },
	{ "snapshot_save", { HMP_FLAG('s'), HMP_ARG_STRING }, "[-s] file",
	  "save the VM to a file that it can be cloned from (-s: and let it stay paused)",
	  hmp_snapshot_save, NULL },
	{ "stop|s", {}, "", "pause the VM", hmp_stop, NULL },
	{ "sum", { HMP_ARG_NUMBER, HMP_ARG_NUMBER }, "addr size",
	  "compute the checksum of physical memory", hmp_sum, NULL },
	{ "system_powerdown", {}, "", "press the power button", hmp_system_powerdown, NULL },
	{ "system_reset", {}, "", "reset the VM", hmp_system_reset, NULL },
	{ "watchdog_action", { HMP_ARG_WORD }, "[reset|shutdown|poweroff|pause|debug|none]",
	  "say what a watchdog would do: there is none", hmp_watchdog_action, NULL },
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

/*
 * Commands that change nothing of the machine, for monitors that only observe.  What is not named
 * here is taken to change something: reading a port does, too.  Where memory is in this process is
 * not for them either.
 */
static bool inspects(const struct hmp_command *command)
{
	static const char *const names[] = {
		"cpu", "gva2gpa", "help", "info", "print", "sum", "x", "xp",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (has_name(command->names, names[i], strlen(names[i])))
			return true;
	return false;
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
	if (command && hmp->observing && !inspects(command)) {
		hmp->refused = true;
		return;
	}
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

/* ---- completion ---- */

struct completion {
	const char *prefix;             /* what there is of the name */
	size_t len;
	char *more;                     /* what goes on with it, common to all so far */
	size_t size, common;
	unsigned int count;
	struct text *candidates;
};

static void consider(struct completion *c, const char *name, size_t len)
{
	size_t i, rest = len - c->len;

	if (len < c->len || memcmp(name, c->prefix, c->len))
		return;
	name += c->len;
	if (!c->count++) {
		c->common = rest < c->size - 1 ? rest : c->size - 1;
		memcpy(c->more, name, c->common);
	}
	for (i = 0; i < c->common && i < rest && name[i] == c->more[i]; i++)
		;
	c->common = i;
	text_append(c->candidates, name - c->len, len);
	text_append(c->candidates, "\n", 1);
}

static void consider_table(struct completion *c, const struct hmp_command *table)
{
	const char *names, *end;

	for (; table->names; table++) {
		for (names = table->names; ; names = end + 1) {
			end = strchrnul(names, '|');
			consider(c, names, (size_t)(end - names));
			if (!*end)
				break;
		}
	}
}

size_t hmp_complete(const char *line, size_t len, char *more, size_t size,
		    struct text *candidates)
{
	const struct hmp_command *table = commands, *command;
	struct completion c = { .more = more, .size = size, .candidates = candidates };
	const char *at = line, *end = line + len, *space;

	/* The names in front: help, and those that have subcommands. */
	for (;;) {
		while (at < end && *at == ' ')
			at++;
		space = memchr(at, ' ', (size_t)(end - at));
		if (!space)
			break;
		command = find(table, at, (size_t)(space - at));
		if (!command || (!command->sub && command->run != hmp_help))
			return 0;
		table = command->sub ? command->sub : commands;
		at = space;
	}
	c.prefix = at;
	c.len = (size_t)(end - at);
	consider_table(&c, table);
	if (c.count == 1 && c.common < size - 1)
		more[c.common++] = ' ';
	return c.common;
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
