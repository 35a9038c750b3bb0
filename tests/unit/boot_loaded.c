/* SPDX-License-Identifier: MIT */
#include "tests/unit/boot_loaded.h"

#include <check.h>
#include <string.h>

struct memory ram;
struct boot_entry entry;
static struct boot *boot;
static struct error err;

void load(const struct boot_config *config, uint64_t high, const char *format, int times)
{
	ram_init(&ram, RAM_LOW, high);
	boot = boot_open(config, &err);
	ck_assert_msg(boot, "%s", err.text);
	ck_assert_str_eq(boot_format_name(boot), format);
	for (int i = 0; i < times; i++) {
		if (i > 0)
			memset(ram.host, 0xa5, ram.size);
		ck_assert_msg(boot_load(boot, &ram, &one_cpu, &entry, &err) == 0, "%s", err.text);
	}
}

void unload(void)
{
	boot_close(boot);
	ram_destroy(&ram);
}

const void *at(uint64_t gpa, uint64_t len)
{
	const void *host = memory_at(&ram, gpa, len);

	ck_assert_msg(host, "0x%llx is not RAM", (unsigned long long)gpa);
	return host;
}

void assert_bytes(uint64_t gpa, const void *want, size_t len)
{
	ck_assert_mem_eq(at(gpa, len), want, len);
}

void assert_zero(uint64_t gpa, size_t len)
{
	const uint8_t *host = at(gpa, len);
	size_t zeros = 0;

	/* Check writes a mark for every assertion, so one for all. */
	while (zeros < len && host[zeros] == 0)
		zeros++;
	ck_assert_msg(zeros == len, "byte at 0x%llx", (unsigned long long)gpa + zeros);
}

uint32_t u32(uint64_t gpa)
{
	uint32_t value;

	memcpy(&value, at(gpa, sizeof(value)), sizeof(value));
	return value;
}

uint64_t u64(uint64_t gpa)
{
	return u32(gpa) | (uint64_t)u32(gpa + 4) << 32;
}

void assert_elf64_segments(const struct elf64_image *image)
{
	assert_bytes(TEXT_GPA, image->text, TEXT_SIZE);
	assert_bytes(DATA_GPA, image->data, DATA_SIZE);
	assert_zero(DATA_GPA + DATA_SIZE, DATA_MEMSZ - DATA_SIZE);
}

uint64_t walk(uint64_t gpa)
{
	uint64_t table = entry.cr3, e;

	for (int shift = 39; shift >= 21; shift -= 9) {
		if (!memory_read(&ram, table + 8 * (gpa >> shift & 511), &e, sizeof(e)) ||
		    (e & 0x23) != 0x23 || (e >> 7 & 1) != (shift == 21))
			return UINT64_MAX;
		table = e & ~0xfffULL;
	}
	return table | (gpa & 0x1fffff);
}
