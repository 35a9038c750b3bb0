/* SPDX-License-Identifier: MIT */
#include "vmm/boot/boot_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/boot/acpi.h"

struct boot_loader {
	const char *name;
	int (*load)(struct boot_loading *ld, struct boot_entry *entry, struct error *err);
};

static const struct boot_loader boot_loaders[] = {
	[BOOT_FORMAT_NONE] = { "none", boot_none_load },
	[BOOT_FORMAT_FLAT] = { "flat", boot_flat_load },
	[BOOT_FORMAT_PVH] = { "PVH", boot_pvh_load },
	[BOOT_FORMAT_ELF64] = { "ELF64", boot_elf64_load },
	[BOOT_FORMAT_MULTIBOOT] = { "multiboot", boot_multiboot_load },
	[BOOT_FORMAT_BZIMAGE] = { "bzImage", boot_bzimage_load },
};

static int open_elf(struct boot *boot, const uint8_t *head, size_t len, struct error *err)
{
	long multiboot = boot_multiboot_find(head, len);
	struct boot_elf elf;

	if (boot_elf_parse(boot, head, len, &elf, err) < 0)
		return -1;
	if (elf.has_pvh) {
		boot->format = BOOT_FORMAT_PVH;
		return boot_pvh_open(boot, &elf, err);
	}
	if (multiboot >= 0) {
		boot->format = BOOT_FORMAT_MULTIBOOT;
		return boot_multiboot_open(boot, head, multiboot, &elf, err);
	}
	if (!elf.is64)
		return error_set(err, ENOEXEC, "%s: a 32-bit ELF image needs a multiboot header or "
				 "a PVH entry note, and it has neither", boot->kernel.label);
	boot->format = BOOT_FORMAT_ELF64;
	return boot_elf64_open(boot, &elf, err);
}

/* Finds out the format of the kernel, and lets its loader decide what is loaded where. */
static int open_format(struct boot *boot, struct error *err)
{
	uint8_t head[BOOT_HEAD_SIZE];
	size_t len = boot->kernel.size < sizeof(head) ? boot->kernel.size : sizeof(head);
	long multiboot;

	if (boot_image_read(&boot->kernel, 0, head, len, err) < 0)
		return -1;
	if (boot_elf_is(head, len))
		return open_elf(boot, head, len, err);
	if (boot_bzimage_is(head, len)) {
		boot->format = BOOT_FORMAT_BZIMAGE;
		return boot_bzimage_open(boot, head, err);
	}
	multiboot = boot_multiboot_find(head, len);
	if (multiboot >= 0) {
		boot->format = BOOT_FORMAT_MULTIBOOT;
		return boot_multiboot_open(boot, head, multiboot, NULL, err);
	}
	boot->format = BOOT_FORMAT_FLAT;
	return boot_flat_open(boot, err);
}

static int open_all(struct boot *boot, const struct boot_config *config, struct error *err)
{
	const char *append = config->append ? config->append : "";

	if (!config->kernel && (config->nr_initrd || *append))
		return error_set(err, EINVAL, "%s without a kernel to give it to; name a kernel "
				 "too", config->nr_initrd ? "an initrd" : "a command line");
	if (strlen(append) > BOOT_MAX_APPEND)
		return error_set(err, EINVAL, "the kernel command line has %zu bytes; at most %d "
				 "are possible", strlen(append), BOOT_MAX_APPEND);
	if (config->nr_initrd > BOOT_MAX_INITRD)
		return error_set(err, EINVAL, "%u initrd files; at most %d are possible",
				 config->nr_initrd, BOOT_MAX_INITRD);
	boot->append = strdup(append);
	if (!boot->append)
		return error_errno(err, ENOMEM, "the kernel command line");
	if (!config->kernel)
		return 0;
	if (boot_image_open(&boot->kernel, "kernel", config->kernel, err) < 0)
		return -1;
	while (boot->nr_initrd < config->nr_initrd) {
		if (boot_image_open(&boot->initrd[boot->nr_initrd], "initrd",
				    config->initrd[boot->nr_initrd], err) < 0)
			return -1;
		boot->nr_initrd++;
	}
	return open_format(boot, err);
}

struct boot *boot_open(const struct boot_config *config, struct error *err)
{
	struct boot *boot = calloc(1, sizeof(*boot));

	if (!boot) {
		error_errno(err, ENOMEM, "opening the boot images");
		return NULL;
	}
	boot->kernel.fd = -1;
	boot->format = BOOT_FORMAT_NONE;
	if (open_all(boot, config, err) < 0) {
		boot_close(boot);
		return NULL;
	}
	return boot;
}

void boot_close(struct boot *boot)
{
	if (!boot)
		return;
	boot_image_close(&boot->kernel);
	for (unsigned int i = 0; i < boot->nr_initrd; i++)
		boot_image_close(&boot->initrd[i]);
	free(boot->append);
	free(boot);
}

/* What is not of any format is 16-bit code, which has no use for ACPI. */
static bool has_tables(enum boot_format format)
{
	return format != BOOT_FORMAT_NONE && format != BOOT_FORMAT_FLAT;
}

int boot_load(struct boot *boot, const struct memory *memory, const struct cpu_topology *topology,
	      struct boot_entry *entry, struct error *err)
{
	struct boot_loading ld = {
		.boot = boot,
		.memory = memory,
		.zero = boot->ram_written,
	};
	struct boot_entry result = { 0 };

	boot->ram_written = true;
	if (boot_loaders[boot->format].load(&ld, &result, err) < 0)
		return -1;
	if (has_tables(boot->format) && acpi_write_tables(memory, topology, err) < 0)
		return -1;
	*entry = result;
	return 0;
}

void boot_ram_filled(struct boot *boot)
{
	boot->ram_written = true;
}

const char *boot_format_name(const struct boot *boot)
{
	return boot_loaders[boot->format].name;
}
