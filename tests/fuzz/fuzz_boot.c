/* SPDX-License-Identifier: MIT */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "vmm/boot/boot.h"
#include "vmm/memory.h"

static const struct cpu_topology one_cpu = { 1, 1, 1, 1 };

/*
 * libFuzzer: the input is a kernel image.  It is opened, loaded, and loaded anew over RAM that has
 * been in use; RAM is on the heap, so that AddressSanitizer sees a write beside it.
 */
#define LOW     (2u << 20)
#define HIGH    (64u << 10)

/* What boot_load() promises of every entry. */
static void check_entry(const struct memory *ram, const struct boot_entry *entry)
{
	CHECK(memory_at(ram, entry->rip, 1));
	CHECK(memory_at(ram, entry->rsp, 0));
	CHECK(memory_at(ram, entry->rbx, 1));
	CHECK(!entry->gdt || memory_at(ram, entry->gdt, entry->gdt_limit + 1ULL));
	CHECK(entry->mode != BOOT_LONG || memory_at(ram, entry->cr3, 4096));
	CHECK(entry->mode != BOOT_LONG || memory_at(ram, entry->rsi, 4096));
	CHECK(entry->mode == BOOT_LONG || entry->rip <= UINT32_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char path[64];
	static struct memory ram;
	static int fd = -1;
	const char *initrd[] = { "/proc/self/exe" };
	struct boot_config config = { .kernel = path };
	struct boot_entry first, second;
	struct error err = { 0 };
	struct boot *boot;

	if (fd < 0) {
		fd = memfd_create("kernel", MFD_CLOEXEC);
		CHECK(fd >= 0);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		ram = (struct memory) { .size = LOW + HIGH, .nr_parts = 2 };
		ram.host = aligned_alloc(4096, ram.size);
		CHECK(ram.host);
		ram.part[0] = (struct memory_part) { 0, LOW, ram.host };
		ram.part[1] = (struct memory_part) { MEMORY_HIGH, HIGH, ram.host + LOW };
	}
	CHECK(ftruncate(fd, 0) == 0 && pwrite(fd, data, size, 0) == (ssize_t)size);
	/* The command line's tables are in every second run; an initrd this big never fits. */
	config.append = size % 2 ? "console=ttyS0" : NULL;
	config.initrd = initrd;
	config.nr_initrd = size % 8 == 7;

	boot = boot_open(&config, &err);
	if (boot && boot_load(boot, &ram, &one_cpu, &first, &err) == 0) {
		check_entry(&ram, &first);
		CHECK(boot_load(boot, &ram, &one_cpu, &second, &err) == 0);
		CHECK(memcmp(&first, &second, sizeof(first)) == 0);
		CHECK(err.code == 0);
	} else {
		CHECK(err.code != 0 && err.text[0] && !strchr(err.text, '\n'));
	}
	boot_close(boot);
	return 0;
}
