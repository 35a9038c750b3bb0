/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <string.h>

#include "tests/unit/boot_loaded.h"
#include "tests/unit/suites.h"

/* Which format an image is taken for, and where things go when there is little room. */

/* A header counts where all of it is in the first 8 KiB, and 4-byte aligned. */
START_TEST(test_multiboot_place)
{
	static const struct {
		size_t at, len;
		const char *format;
	} tests[] = {
		{ 8192 - 32, 10000, "multiboot" }, { 8192 - 32, 8192, "multiboot" },
		{ 8192 - 28, 10000, "flat" }, { 8192 - 32, 8191, "flat" }, { 8192, 10000, "flat" },
		{ 100, 132, "multiboot" }, { 100, 131, "flat" }, { 102, 200, "flat" },
	};
	uint8_t file[10000];
	uint32_t header[8];
	struct boot_config config = { 0 };

	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		make_multiboot_header(header, 1 << 16);
		header[3] = TEXT_GPA + tests[i].at;
		header[4] = header[7] = TEXT_GPA;
		header[5] = header[6] = 0;
		memset(file, 0, sizeof(file));
		memcpy(file + tests[i].at, header, sizeof(header));
		config.kernel = dir_write(0, "kernel", file, tests[i].len);
		load(&config, 0, tests[i].format, 1);
		unload();
	}
}
END_TEST

/* What comes first where an image is of several formats. */
START_TEST(test_precedence)
{
	struct elf64_image image;
	struct elf32_image small;
	struct boot_config config = { 0 };

	make_elf64(&image);
	make_multiboot_header(image.multiboot, 0);
	config.kernel = dir_write(0, "kernel", &image, sizeof(image));
	load(&config, 0, "multiboot", 1);
	ck_assert_uint_eq(entry.rip, TEXT_GPA + 8);
	assert_elf64_segments(&image);
	unload();

	image.ehdr.e_phnum = 3;
	dir_write(0, "kernel", &image, sizeof(image));
	load(&config, 0, "PVH", 1);
	unload();

	/* A checksum that is wrong makes the header none. */
	image.ehdr.e_phnum = 2;
	image.multiboot[2]++;
	dir_write(0, "kernel", &image, sizeof(image));
	load(&config, 0, "ELF64", 1);
	unload();

	make_multiboot_elf(&small);
	small.ehdr.e_phnum = 2;
	dir_write(0, "kernel", &small, sizeof(small));
	load(&config, 0, "PVH", 1);
	ck_assert_uint_eq(entry.rip, TEXT_GPA + 16);
	unload();
}
END_TEST

/* Tables keep clear of a kernel that is where they would be, and give up when nothing is left. */
START_TEST(test_placement)
{
	struct elf64_image image;
	struct boot_config config = { 0 };
	const uint64_t stack = 16384;

	make_elf64(&image);
	image.phdr[1].p_paddr = 0x10000;
	image.phdr[1].p_memsz = FIRMWARE_START - 0x10000;
	config.kernel = dir_write(0, "kernel", &image, sizeof(image));
	load(&config, 0, "ELF64", 2);
	/* 24 KiB of page tables fit below the kernel, and the stack too; all stays below it. */
	ck_assert_uint_le(entry.cr3 + 6 * 4096, 0x10000);
	ck_assert_uint_le(entry.rsp, 0x10000);
	ck_assert_uint_le(entry.gdt + 40, 0x10000);
	ck_assert(entry.cr3 + 6 * 4096 <= entry.rsp - stack || entry.cr3 >= entry.rsp);
	ck_assert_uint_eq(walk(0x12345678), 0x12345678);
	assert_zero(0x10000 + DATA_SIZE, FIRMWARE_START - 0x10000 - DATA_SIZE);
	unload();

	/* Conventional memory is full: above it, then. */
	image.phdr[1].p_paddr = 0;
	image.phdr[1].p_memsz = FIRMWARE_START;
	dir_write(0, "kernel", &image, sizeof(image));
	load(&config, 0, "ELF64", 2);
	ck_assert_uint_eq(entry.cr3, RAM_LOW - 6 * 4096);
	ck_assert_uint_eq(walk(0x12345678), 0x12345678);
	ck_assert_uint_ge(entry.gdt, TEXT_GPA + TEXT_SIZE);
	unload();
}
END_TEST

/* As many segments and modules as are allowed, all in places of their own. */
START_TEST(test_most)
{
	enum { MOST = 64 };
	struct {
		struct elf64_image base;
		Elf64_Phdr phdr[MOST];
	} image;
	const char *initrds[MOST];
	struct boot_config config = { .initrd = initrds, .nr_initrd = MOST };
	uint64_t modules;

	memset(&image, 0, sizeof(image));
	make_elf64(&image.base);
	make_multiboot_header(image.base.multiboot, 0);
	image.base.ehdr.e_phoff = offsetof(typeof(image), phdr);
	image.base.ehdr.e_phnum = MOST;
	for (int i = 0; i < MOST; i++) {
		/* Every second page, from the top down. */
		image.phdr[i] = image.base.phdr[0];
		image.phdr[i].p_paddr += (MOST - 1 - i) * 8192;
		initrds[i] = dir_write(1, "initrd", "module", 6);
	}
	config.kernel = dir_write(0, "kernel", &image, sizeof(image));
	load(&config, 0, "multiboot", 2);
	for (int i = 0; i < MOST; i++)
		assert_bytes(image.phdr[i].p_paddr, image.base.text, TEXT_SIZE);
	ck_assert_uint_eq(u32(entry.rbx + 20), MOST);
	modules = u32(entry.rbx + 24);
	for (int i = 0; i < MOST; i++) {
		ck_assert_uint_eq(u32(modules + 16 * i), RAM_LOW - (i + 1) * 4096);
		assert_bytes(u32(modules + 16 * i), "module", 6);
		ck_assert_str_eq(at(u32(modules + 16 * i + 8), 1), initrds[0]);
	}
	unload();
}
END_TEST

Suite *boot_place_suite(void)
{
	Suite *s = suite_create("boot: places");
	TCase *tc = tcase_create("places");

	tcase_add_unchecked_fixture(tc, dir_setup, dir_teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_multiboot_place);
	tcase_add_test(tc, test_precedence);
	tcase_add_test(tc, test_placement);
	tcase_add_test(tc, test_most);
	suite_add_tcase(s, tc);
	return s;
}
