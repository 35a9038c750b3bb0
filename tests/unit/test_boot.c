/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/boot_loaded.h"
#include "tests/unit/suites.h"

/* What each format puts where, at the first load and at one over a RAM full of rubbish. */

/* In conventional memory, clear of page 0 and of the firmware area. */
static void assert_conventional(uint64_t gpa, uint64_t len)
{
	ck_assert_uint_ge(gpa, 0x1000);
	ck_assert_uint_le(gpa + len, FIRMWARE_START);
}

static void assert_gdt(uint64_t code)
{
	/* Linux wants code and data at 0x10 and 0x18. */
	const uint64_t gdt[] = { 0, 0, code, 0x00cf93000000ffff, 0x00008b0000000067, 0 };

	assert_conventional(entry.gdt, sizeof(gdt));
	ck_assert_uint_eq(entry.gdt_limit, sizeof(gdt) - 1);
	assert_bytes(entry.gdt, gdt, sizeof(gdt));
}

START_TEST(test_flat)
{
	uint8_t image[700];
	struct boot_config config = { 0 };

	memset(image, 0xcc, sizeof(image));
	config.kernel = dir_write(0, "flat", image, sizeof(image));
	load(&config, 0, "flat", _i);
	assert_bytes(0x7c00, image, sizeof(image));
	ck_assert_uint_eq(entry.mode, BOOT_REAL);
	ck_assert_uint_eq(entry.rip, 0x7c00);
	ck_assert_uint_eq(entry.rsp, 0x7c00);
	ck_assert_uint_eq(entry.rdx, 0x80);
	ck_assert_uint_eq(entry.gdt, 0);
	if (_i == 1) {
		assert_zero(0, 0x7c00);
		assert_zero(0x7c00 + sizeof(image), 0x10000);
	}
	unload();
}
END_TEST

START_TEST(test_flat_largest)
{
	const size_t size = 0xa0000 - 0x7c00;
	uint8_t *image = malloc(size);
	struct boot_config config = { 0 };

	ck_assert_ptr_nonnull(image);
	memset(image, 0x90, size);
	config.kernel = dir_write(0, "flat", image, size);
	load(&config, 0, "flat", 1);
	assert_bytes(0x7c00, image, size);
	assert_zero(0xa0000, 0x1000);
	free(image);
	unload();
}
END_TEST

/* Nothing to boot: hlt, and a loop around it. */
START_TEST(test_none)
{
	static const uint8_t code[] = { 0xf4, 0xeb, 0xfd, 0xcf };
	static const uint16_t vector[] = { 0x7c03, 0 };
	struct boot_config config = { 0 };

	load(&config, 0, "none", 2);
	ck_assert_uint_eq(entry.mode, BOOT_REAL);
	assert_bytes(entry.rip, code, sizeof(code));
	assert_bytes(8, vector, sizeof(vector));
	unload();
}
END_TEST

START_TEST(test_pvh)
{
	struct elf64_image image;
	uint8_t initrd[5000];
	const char *initrds[2];
	struct boot_config config = { .append = "console=ttyS0 quiet", .initrd = initrds,
				      .nr_initrd = 2 };
	const uint64_t map[][3] = {
		{ 0, FIRMWARE_START, 1 },
		{ FIRMWARE_START, MIB - FIRMWARE_START, 2 },
		{ MIB, RAM_LOW - MIB, 1 },
		{ MEMORY_HIGH, 2 * MIB, 1 },
	};
	uint64_t info, list, module;

	make_pvh(&image);
	memset(initrd, 0x3c, sizeof(initrd));
	config.kernel = dir_write(0, "kernel", &image, sizeof(image));
	initrds[0] = dir_write(1, "initrd0", initrd, sizeof(initrd));
	initrds[1] = dir_write(2, "initrd1", "short", 5);
	load(&config, 2 * MIB, "PVH", _i);

	assert_elf64_segments(&image);
	ck_assert_uint_eq(entry.mode, BOOT_PROTECTED);
	ck_assert_uint_eq(entry.rip, TEXT_GPA + 16);
	assert_gdt(0x00cf9b000000ffff);

	info = entry.rbx;
	assert_conventional(info, 56);
	ck_assert_uint_eq(u32(info), 0x336ec578);
	ck_assert_uint_eq(u32(info + 4), 1);
	ck_assert_uint_eq(u32(info + 8), 0);
	ck_assert_uint_eq(u32(info + 12), 2);
	ck_assert_str_eq(at(u64(info + 24), 1), config.append);
	ck_assert_uint_eq(u64(info + 32), 0xe0000);
	assert_bytes(0xe0000, "RSD PTR ", 8);
	ck_assert_uint_eq(u32(info + 48), 4);
	ck_assert_uint_eq(u32(info + 52), 0);
	for (unsigned int i = 0; i < 4; i++) {
		ck_assert_uint_eq(u64(u64(info + 40) + 24 * i), map[i][0]);
		ck_assert_uint_eq(u64(u64(info + 40) + 24 * i + 8), map[i][1]);
		ck_assert_uint_eq(u64(u64(info + 40) + 24 * i + 16), map[i][2]);
	}
	list = u64(info + 16);
	module = u64(list);
	/* As high as they go, rounded up to whole pages. */
	ck_assert_uint_eq(module, RAM_LOW - 8192);
	ck_assert_uint_eq(u64(list + 8), sizeof(initrd));
	assert_zero(list + 16, 16);
	assert_bytes(module, initrd, sizeof(initrd));
	assert_zero(module + sizeof(initrd), 8192 - sizeof(initrd));
	module = u64(list + 32);
	ck_assert_uint_eq(module, RAM_LOW - 3 * 4096);
	ck_assert_uint_eq(u64(list + 40), 5);
	assert_bytes(module, "short", 5);
	unload();
}
END_TEST

START_TEST(test_pvh_without_extras)
{
	struct elf64_image image;
	struct boot_config config = { 0 };

	make_pvh(&image);
	/* The wide form of the note, with another one in front of it, and alignment 8. */
	struct {
		Elf64_Nhdr nhdr;
		char name[4];
		uint8_t desc[8];
		struct xen_note xen;
		uint32_t high;
	} notes = { .nhdr = { 4, 3, 18 }, .name = "GNU", .xen = image.note };

	notes.xen.nhdr.n_descsz = 8;
	image.phdr[2].p_offset = sizeof(image);
	image.phdr[2].p_filesz = sizeof(notes);
	image.phdr[2].p_align = 8;

	uint8_t file[sizeof(image) + sizeof(notes)];

	memcpy(file, &image, sizeof(image));
	memcpy(file + sizeof(image), &notes, sizeof(notes));
	config.kernel = dir_write(0, "kernel", file, sizeof(file));
	load(&config, 0, "PVH", 2);
	ck_assert_uint_eq(entry.rip, TEXT_GPA + 16);
	ck_assert_uint_eq(u32(entry.rbx + 12), 0);
	ck_assert_uint_eq(u64(entry.rbx + 16), 0);
	ck_assert_str_eq(at(u64(entry.rbx + 24), 1), "");
	ck_assert_uint_eq(u32(entry.rbx + 48), 3);
	unload();
}
END_TEST

START_TEST(test_elf64)
{
	const uint64_t high = 3 * MIB, end = MEMORY_HIGH + high;
	uint64_t gpa;
	struct elf64_image image;
	struct boot_config config = { .append = "" };

	make_elf64(&image);
	config.kernel = dir_write(0, "kernel", &image, sizeof(image));
	load(&config, high, "ELF64", _i);
	assert_elf64_segments(&image);
	ck_assert_uint_eq(entry.mode, BOOT_LONG);
	ck_assert_uint_eq(entry.rip, TEXT_GPA + 8);
	assert_gdt(0x00af9b000000ffff);
	ck_assert_uint_eq(entry.rsp % 4096, 0);
	assert_conventional(entry.rsp - 4096, 4096);
	/* 1 + 1 + 5 tables: five directories, for what lies above 4 GiB is in the fifth. */
	assert_conventional(entry.cr3, 7 * 4096);
	for (gpa = 0x123; gpa < end && walk(gpa) == gpa; gpa += 2 * MIB)
		continue;
	ck_assert_uint_ge(gpa, end);
	ck_assert_uint_eq(walk(end - 1), end - 1);
	/* And not further. */
	ck_assert_uint_eq(u64(entry.cr3 + 6 * 4096 + 8 * 2), 0);
	ck_assert_uint_eq(u64(entry.cr3 + 4096 + 8 * 5), 0);
	ck_assert_uint_eq(u64(entry.cr3 + 8), 0);
	unload();
}
END_TEST

/* A kernel that is linked high, and one whose segment is in RAM above 4 GiB. */
START_TEST(test_elf64_addresses)
{
	struct elf64_image image;
	struct boot_config config = { 0 };

	make_elf64(&image);
	image.phdr[0].p_vaddr = 0xffffffff80000000;
	image.phdr[1].p_paddr = MEMORY_HIGH + 0x1000;
	image.ehdr.e_entry = 0xffffffff80000020;
	config.kernel = dir_write(0, "kernel", &image, sizeof(image));
	load(&config, 2 * MIB, "ELF64", 2);
	ck_assert_uint_eq(entry.rip, TEXT_GPA + 0x20);
	assert_bytes(TEXT_GPA, image.text, TEXT_SIZE);
	assert_bytes(MEMORY_HIGH + 0x1000, image.data, DATA_SIZE);
	assert_zero(MEMORY_HIGH + 0x1000 + DATA_SIZE, DATA_MEMSZ - DATA_SIZE);
	unload();

	/* Physical, and at the same time in the virtual range of another segment. */
	image.phdr[1].p_vaddr = TEXT_GPA;
	image.ehdr.e_entry = TEXT_GPA;
	dir_write(0, "kernel", &image, sizeof(image));
	load(&config, 2 * MIB, "ELF64", 1);
	ck_assert_uint_eq(entry.rip, TEXT_GPA);
	unload();
}
END_TEST

static void assert_multiboot(const char *append, unsigned int nr_modules, unsigned int nr_map)
{
	uint64_t info = entry.rbx;

	ck_assert_uint_eq(entry.mode, BOOT_PROTECTED);
	ck_assert_uint_eq(entry.rax, 0x2badb002);
	assert_gdt(0x00cf9b000000ffff);
	assert_conventional(info, 116);
	/* Memory, command line, modules, memory map, loader name. */
	ck_assert_uint_eq(u32(info), 1 << 0 | 1 << 2 | 1 << 3 | 1 << 6 | 1 << 9);
	ck_assert_uint_eq(u32(info + 4), 639);
	ck_assert_uint_eq(u32(info + 8), (RAM_LOW - MIB) / 1024);
	ck_assert_str_eq(at(u32(info + 16), 1), append);
	ck_assert_uint_eq(u32(info + 20), nr_modules);
	ck_assert_uint_eq(u32(info + 44), 24 * nr_map);
	ck_assert_str_eq(at(u32(info + 64), 1), "vmond");
}

START_TEST(test_multiboot_elf)
{
	struct elf32_image image;
	const char *initrds[2];
	struct boot_config config = { .append = "a b", .initrd = initrds, .nr_initrd = 2 };
	const uint64_t map[][3] = {
		{ 0, FIRMWARE_START, 1 },
		{ FIRMWARE_START, MIB - FIRMWARE_START, 2 },
		{ MIB, RAM_LOW - MIB, 1 },
		{ MEMORY_HIGH, MIB, 1 },
	};
	uint64_t at_map, modules;

	make_multiboot_elf(&image);
	config.kernel = dir_write(0, "kernel", &image, sizeof(image));
	initrds[0] = dir_write(1, "one", "first module", 12);
	initrds[1] = dir_write(2, "two", "second", 6);
	load(&config, MIB, "multiboot", _i);
	assert_multiboot("a b", 2, 4);
	ck_assert_uint_eq(entry.rip, TEXT_GPA + 12);
	assert_bytes(TEXT_GPA, image.text, TEXT_SIZE);
	assert_zero(TEXT_GPA + TEXT_SIZE, DATA_MEMSZ - TEXT_SIZE);
	at_map = u32(entry.rbx + 48);
	for (unsigned int i = 0; i < 4; i++) {
		ck_assert_uint_eq(u32(at_map + 24 * i), 20);
		ck_assert_uint_eq(u64(at_map + 24 * i + 4), map[i][0]);
		ck_assert_uint_eq(u64(at_map + 24 * i + 12), map[i][1]);
		ck_assert_uint_eq(u32(at_map + 24 * i + 20), map[i][2]);
	}
	modules = u32(entry.rbx + 24);
	ck_assert_uint_eq(u32(modules), RAM_LOW - 4096);
	ck_assert_uint_eq(u32(modules + 4), RAM_LOW - 4096 + 12);
	ck_assert_str_eq(at(u32(modules + 8), 1), initrds[0]);
	ck_assert_uint_eq(u32(modules + 12), 0);
	assert_bytes(u32(modules), "first module", 12);
	ck_assert_uint_eq(u32(modules + 16), RAM_LOW - 8192);
	ck_assert_str_eq(at(u32(modules + 24), 1), initrds[1]);
	assert_bytes(u32(modules + 16), "second", 6);
	unload();
}
END_TEST

START_TEST(test_multiboot_addresses)
{
	struct address_image image;
	struct boot_config config = { 0 };

	make_multiboot_addresses(&image);
	config.kernel = dir_write(0, "kernel", &image, sizeof(image));
	load(&config, 0, "multiboot", _i);
	assert_multiboot("", 0, 3);
	ck_assert_uint_eq(entry.rip, TEXT_GPA + offsetof(struct address_image, text));
	assert_bytes(TEXT_GPA, &image, sizeof(image));
	assert_zero(TEXT_GPA + sizeof(image), DATA_MEMSZ - sizeof(image));
	unload();

	/* From the header on, to the end of the file, without bss. */
	image.header[4] = image.header[3];
	image.header[5] = image.header[6] = 0;
	dir_write(0, "kernel", &image, sizeof(image));
	load(&config, 0, "multiboot", 1);
	assert_zero(TEXT_GPA, 16);
	assert_bytes(TEXT_GPA + 16, image.header, sizeof(image) - 16);
	unload();
}
END_TEST

Suite *boot_suite(void)
{
	Suite *s = suite_create("boot");
	TCase *tc = tcase_create("formats");

	tcase_add_unchecked_fixture(tc, dir_setup, dir_teardown);
	tcase_set_timeout(tc, 60);
	/* Once, and then again after a reset. */
	tcase_add_loop_test(tc, test_flat, 1, 3);
	tcase_add_test(tc, test_flat_largest);
	tcase_add_test(tc, test_none);
	tcase_add_loop_test(tc, test_pvh, 1, 3);
	tcase_add_test(tc, test_pvh_without_extras);
	tcase_add_loop_test(tc, test_elf64, 1, 3);
	tcase_add_test(tc, test_elf64_addresses);
	tcase_add_loop_test(tc, test_multiboot_elf, 1, 3);
	tcase_add_loop_test(tc, test_multiboot_addresses, 1, 3);
	suite_add_tcase(s, tc);
	return s;
}
