/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/unit/boot_loaded.h"
#include "tests/unit/suites.h"

/*
 * Linux by the 64-bit entry of its boot protocol.  Offsets are those of boot.rst and zero-page.rst,
 * and not the loader's.
 */
#define SETUP           0x600u          /* boot sector and two sectors of setup */
#define BODY            0x640u          /* the protected-mode kernel */
#define HEADER_END      0x26cu
#define PREF            (2 * MIB)

static uint8_t image[SETUP + BODY];

static void set16(unsigned int offset, uint16_t value)
{
	memcpy(image + offset, &value, sizeof(value));
}

static void set32(unsigned int offset, uint32_t value)
{
	memcpy(image + offset, &value, sizeof(value));
}

static void set64(unsigned int offset, uint64_t value)
{
	memcpy(image + offset, &value, sizeof(value));
}

static void make_bzimage(void)
{
	for (unsigned int i = 0; i < sizeof(image); i++)
		image[i] = i < SETUP ? 0xcc : i * 7 + (i >> 8);
	memset(image + 0x1f1, 0, HEADER_END - 0x1f1);
	image[0x1f1] = 2;               /* setup_sects */
	set32(0x1f4, BODY / 16);        /* syssize */
	set16(0x1fa, 0xffff);           /* vid_mode */
	set16(0x1fe, 0xaa55);
	image[0x200] = 0xeb;            /* jump over the header */
	image[0x201] = HEADER_END - 0x202;
	memcpy(image + 0x202, "HdrS", 4);
	set16(0x206, 0x20f);            /* version */
	image[0x211] = 1;               /* loadflags: high */
	set32(0x22c, 0x7fffffff);       /* initrd_addr_max */
	set32(0x230, 0x200000);         /* kernel_alignment */
	image[0x234] = 1;               /* relocatable_kernel */
	set16(0x236, 0x7f);             /* xloadflags */
	set32(0x238, 2047);             /* cmdline_size */
	set64(0x258, PREF);
	set32(0x260, MIB);              /* init_size */
	set32(0x264, 0x190);            /* handover_offset */
	set32(0x268, 0x1234);           /* kernel_info_offset */
}

static const char *write_image(size_t len)
{
	return dir_write(0, "bzImage", image, len);
}

/* Byte for byte: boot_params is zero but for these. */
static void assert_params(const uint8_t *header, size_t header_len, const char *append,
			  uint64_t initrd, uint32_t initrd_size, uint64_t high)
{
	const uint64_t map[][3] = {
		{ 0, FIRMWARE_START, 1 },
		{ FIRMWARE_START, MIB - FIRMWARE_START, 2 },
		{ MIB, RAM_LOW - MIB, 1 },
		{ MEMORY_HIGH, high, 1 },
	};
	uint8_t want[4096] = { 0 };
	uint32_t command_line = u32(entry.rsi + 0x228);
	const uint64_t rsdp = 0xe0000;

	ck_assert_uint_eq(entry.rsi % 4096, 0);
	ck_assert_uint_le(entry.rsi + sizeof(want), FIRMWARE_START);
	ck_assert_uint_ge(command_line, 0x1000);
	ck_assert_uint_le(command_line + strlen(append) + 1, FIRMWARE_START);
	ck_assert_str_eq(at(command_line, strlen(append) + 1), append);

	memcpy(want + 0x1f1, header, header_len);
	want[0x210] = 0xff;
	memcpy(want + 0x218, &initrd, 4);
	memcpy(want + 0x21c, &initrd_size, 4);
	memcpy(want + 0x228, &command_line, 4);
	memcpy(want + 0x70, &rsdp, 8);
	want[0x1e8] = high ? 4 : 3;
	for (unsigned int i = 0; i < want[0x1e8]; i++)
		memcpy(want + 0x2d0 + 20 * i, map[i], 20);
	assert_bytes(entry.rsi, want, sizeof(want));
	assert_bytes(rsdp, "RSD PTR ", 8);
}

static void assert_machine(void)
{
	ck_assert_uint_eq(entry.mode, BOOT_LONG);
	/* "64-bit entry": __BOOT_CS and __BOOT_DS. */
	ck_assert_uint_ge(entry.gdt_limit, 0x1f);
	ck_assert_uint_eq(u64(entry.gdt + 0x10), 0x00af9b000000ffff);
	ck_assert_uint_eq(u64(entry.gdt + 0x18), 0x00cf93000000ffff);
	/* The image, boot_params and the command line are mapped. */
	ck_assert_uint_eq(walk(entry.rip), entry.rip);
	ck_assert_uint_eq(walk(entry.rsi), entry.rsi);
	ck_assert_uint_eq(walk(0xffffffff), 0xffffffff);
}

START_TEST(test_bzimage)
{
	const char *initrds[3];
	struct boot_config config = { .append = "console=ttyS0 quiet", .initrd = initrds,
				      .nr_initrd = 3 };
	const uint64_t initrd = RAM_LOW - 4096;

	make_bzimage();
	/* These are the loader's to fill, whatever the file has. */
	set32(0x218, 0x11111111);
	set32(0x228, 0x22222222);
	set64(0x250, 0x33333333);
	config.kernel = write_image(sizeof(image));
	initrds[0] = dir_write(1, "one", "abcde", 5);
	initrds[1] = dir_write(2, "two", "fghi", 4);
	initrds[2] = dir_write(3, "three", "j", 1);
	load(&config, 3 * MIB, "bzImage", _i);
	ck_assert_uint_eq(entry.rip, PREF + 0x200);
	assert_bytes(PREF, image + SETUP, BODY);
	assert_machine();
	assert_bytes(initrd, "abcde\0\0\0fghij\0\0\0", 16);
	set64(0x250, 0);
	assert_params(image + 0x1f1, HEADER_END - 0x1f1, config.append, initrd, 16, 3 * MIB);
	unload();
}
END_TEST

/* Neither initrd nor command line; a header that ends early, and a signature behind the kernel. */
START_TEST(test_bzimage_bare)
{
	struct boot_config config = { 0 };

	make_bzimage();
	image[0x201] = 0x264 - 0x202;
	set32(0x218, 0x11111111);
	set32(0x21c, 0x11111111);
	image[0x1f1] = 0;               /* means 4 */
	set32(0x1f4, 0x210 / 16);
	config.kernel = write_image(sizeof(image));
	load(&config, 0, "bzImage", _i);
	ck_assert_uint_eq(entry.rip, PREF + 0x200);
	assert_bytes(PREF, image + 5 * 512, 0x210);
	/* RAM behind the kernel is as it was. */
	ck_assert_int_eq(*(const uint8_t *)at(PREF + 0x210, 1), _i == 1 ? 0 : 0xa5);
	assert_machine();
	assert_params(image + 0x1f1, 0x264 - 0x1f1, "", 0, 0, 0);
	unload();
}
END_TEST

/* A vmlinux without a PVH note is told the same. */
START_TEST(test_vmlinux)
{
	uint8_t header[HEADER_END - 0x1f1] = { 0 };
	const char *initrds[1];
	struct boot_config config = { .append = "panic=1", .initrd = initrds, .nr_initrd = 1 };
	struct elf64_image elf;
	const uint16_t boot_flag = 0xaa55, version = 0x20c;

	make_elf64(&elf);
	config.kernel = dir_write(0, "vmlinux", &elf, sizeof(elf));
	initrds[0] = dir_write(1, "initrd", "cpio", 4);
	load(&config, 2 * MIB, "ELF64", _i);
	assert_elf64_segments(&elf);
	assert_machine();
	memcpy(header + 0x1fe - 0x1f1, &boot_flag, 2);
	memcpy(header + 0x202 - 0x1f1, "HdrS", 4);
	memcpy(header + 0x206 - 0x1f1, &version, 2);
	header[0x211 - 0x1f1] = 1;
	assert_params(header, sizeof(header), "panic=1", RAM_LOW - 4096, 4, 2 * MIB);
	assert_bytes(RAM_LOW - 4096, "cpio", 4);
	unload();
}
END_TEST

/* Conventional memory is full, so the tables are above it: beside kernel and initrd. */
START_TEST(test_vmlinux_low)
{
	const char *initrds[1];
	struct boot_config config = { .append = "x", .initrd = initrds, .nr_initrd = 1 };
	const uint64_t initrd = RAM_LOW - 4096;
	struct elf64_image elf;

	make_elf64(&elf);
	elf.phdr[1].p_paddr = 0;
	elf.phdr[1].p_memsz = FIRMWARE_START;
	config.kernel = dir_write(0, "vmlinux", &elf, sizeof(elf));
	initrds[0] = dir_write(1, "initrd", "cpio", 4);
	load(&config, 0, "ELF64", 2);
	assert_machine();
	assert_bytes(initrd, "cpio", 4);
	ck_assert_uint_eq(u32(entry.rsi + 0x218), initrd);
	ck_assert_uint_gt(entry.cr3, MIB);
	ck_assert_uint_le(entry.cr3 + 6 * 4096, initrd);
	ck_assert_uint_gt(entry.rsi, MIB);
	ck_assert_uint_le(entry.rsi + 4096, initrd);
	ck_assert_uint_gt(u32(entry.rsi + 0x228), MIB);
	unload();
}
END_TEST

/* Where the kernel goes: where it was linked to, or up from there. */
START_TEST(test_relocation)
{
	static const struct {
		uint64_t pref;
		uint32_t align;
		bool relocatable;
		uint32_t init_size;
		uint64_t gpa;
	} tests[] = {
		{ 2 * MIB, 2 * MIB, true, MIB, 2 * MIB },
		{ 2 * MIB, 2 * MIB, true, 0, 2 * MIB },
		{ 2 * MIB, 2 * MIB, false, 6 * MIB, 2 * MIB },
		{ 2 * MIB, 2 * MIB, true, 6 * MIB, 2 * MIB },
		{ 0, 2 * MIB, true, MIB, 2 * MIB },
		{ 0, 0, true, MIB, MIB },
		{ 0x9fc00, 1, true, 7 * MIB, MIB },
		{ MIB + 1, 0, true, MIB, MIB + 4096 },
		{ MIB + 1, 1, true, MIB, MIB + 1 },
		{ MIB + 4096, 4 * MIB, true, MIB, 4 * MIB },
		{ MIB + 4096, 4 * MIB, false, MIB, MIB + 4096 },
		{ MIB, 1u << 31, false, MIB, MIB },
		{ RAM_LOW - BODY, 1, true, 0, RAM_LOW - BODY },
		{ MEMORY_HIGH, 2 * MIB, true, MIB, MEMORY_HIGH },
		{ 3 * (MEMORY_HIGH >> 2), 1u << 31, true, 2 * MIB, MEMORY_HIGH },
	};
	struct boot_config config = { 0 };

	make_bzimage();
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		set64(0x258, tests[i].pref);
		set32(0x230, tests[i].align);
		image[0x234] = tests[i].relocatable;
		set32(0x260, tests[i].init_size);
		config.kernel = write_image(sizeof(image));
		load(&config, 2 * MIB, "bzImage", 2);
		ck_assert_msg(entry.rip == tests[i].gpa + 0x200, "case %zu: entered at 0x%llx", i,
			      (unsigned long long)entry.rip);
		assert_bytes(tests[i].gpa, image + SETUP, BODY);
		assert_machine();
		unload();
	}
}
END_TEST

/* As high as RAM, the kernel's limit and the room that it unpacks itself in allow. */
START_TEST(test_initrd_place)
{
	static const struct {
		uint32_t max, init_size;
		uint64_t gpa;
	} tests[] = {
		{ 0x7fffffff, MIB, RAM_LOW - 8192 },
		{ RAM_LOW - 1, MIB, RAM_LOW - 8192 },
		{ RAM_LOW - 2, MIB, RAM_LOW - 12288 },
		{ RAM_LOW - 4096 - 1, MIB, RAM_LOW - 12288 },
		{ 0x7fffffff, RAM_LOW - PREF - 8192, RAM_LOW - 8192 },
		{ 0x7fffffff, RAM_LOW - PREF - 8191, PREF - 8192 },
		{ PREF + 4096, MIB, PREF - 8192 },
		{ MIB + 8191, MIB, MIB },
	};
	static uint8_t initrd[8192];
	const char *initrds[1];
	struct boot_config config = { .initrd = initrds, .nr_initrd = 1 };

	memset(initrd, 0x3c, sizeof(initrd));
	initrds[0] = dir_write(1, "initrd", initrd, sizeof(initrd));
	make_bzimage();
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		set32(0x22c, tests[i].max);
		set32(0x260, tests[i].init_size);
		config.kernel = write_image(sizeof(image));
		load(&config, 0, "bzImage", 2);
		ck_assert_msg(u32(entry.rsi + 0x218) == tests[i].gpa, "case %zu: 0x%x", i,
			      u32(entry.rsi + 0x218));
		ck_assert_uint_eq(u32(entry.rsi + 0x21c), sizeof(initrd));
		assert_bytes(tests[i].gpa, initrd, sizeof(initrd));
		unload();
	}
}
END_TEST

/* One line, with the file's name and what is wrong; at opening, or for want of RAM. */
static void assert_refused(const struct boot_config *config, uint64_t low, const char *part)
{
	struct error err = { 0 };
	struct boot_entry untouched = { .rip = 1 };
	struct boot *boot = boot_open(config, &err);

	if (low) {
		ck_assert_msg(boot, "%s", err.text);
		ram_init(&ram, low, 0);
		ck_assert_int_eq(boot_load(boot, &ram, &one_cpu, &untouched, &err), -1);
		ck_assert_uint_eq(untouched.rip, 1);
		ram_destroy(&ram);
		boot_close(boot);
	} else {
		ck_assert_ptr_null(boot);
	}
	ck_assert_int_ne(err.code, 0);
	ck_assert_msg(strstr(err.text, part), "\"%s\" should speak of \"%s\"", err.text, part);
	ck_assert_ptr_null(strchr(err.text, '\n'));
}

#define REFUSED(set, part) do { \
	struct boot_config bad = { 0 }; \
	make_bzimage(); \
	set; \
	bad.kernel = write_image(sizeof(image)); \
	assert_refused(&bad, 0, part); \
	assert_refused(&bad, 0, bad.kernel); \
} while (0)

#define NOT_LOADED(low, set, part) do { \
	struct boot_config bad = { 0 }; \
	make_bzimage(); \
	set; \
	bad.kernel = write_image(sizeof(image)); \
	assert_refused(&bad, low, part); \
	assert_refused(&bad, low, bad.kernel); \
} while (0)

START_TEST(test_refused)
{
	REFUSED(set16(0x206, 0x20b), "boot protocol 2.11) has no 64-bit entry");
	REFUSED(set16(0x236, 0x7e), "no 64-bit entry");
	REFUSED(image[0x211] = 0, "no 64-bit entry");
	/* The header ends before all that. */
	REFUSED(image[0x201] = 0x20, "no 64-bit entry");
	REFUSED(image[0x201] = 0, "no 64-bit entry");
	REFUSED(set32(0x1f4, BODY / 16 + 1), "cut short");
	REFUSED(set32(0x1f4, UINT32_MAX), "header promises 68719478256");
	REFUSED(image[0x1f1] = 255, "cut short");
	REFUSED(set32(0x1f4, 0), "before its 64-bit entry");
	REFUSED(set32(0x1f4, 0x20), "before its 64-bit entry");
	REFUSED(set32(0x230, 0x300000), "no power of two");
	REFUSED(set32(0x230, UINT32_MAX), "no power of two");
	REFUSED(set64(0x258, UINT64_MAX), "beyond what x86 has");
	REFUSED(set64(0x258, 1ULL << 52), "beyond what x86 has");
	REFUSED((image[0x234] = 0, set64(0x258, MIB - 1)), "first megabyte");
	REFUSED((image[0x234] = 0, set64(0x258, 0)), "first megabyte");

	NOT_LOADED(MIB, , "1 MiB of RAM at 0x200000");
	NOT_LOADED(RAM_LOW, set32(0x260, 6 * MIB + 1), "7 MiB of RAM at 0x200000");
	NOT_LOADED(RAM_LOW, set32(0x260, UINT32_MAX), "4096 MiB of RAM at 0x200000");
	NOT_LOADED(RAM_LOW, set64(0x258, RAM_LOW), "RAM at 0x800000");
	NOT_LOADED(RAM_LOW, set64(0x258, (1ULL << 52) - 1), "RAM at 0x10000000000000");
	NOT_LOADED(RAM_LOW, set64(0x258, MEMORY_HIGH), "RAM at 0x100000000");
	NOT_LOADED(RAM_LOW, set32(0x230, 1u << 31), "RAM at 0x80000000");
	NOT_LOADED(RAM_LOW, set64(0x258, RAM_LOW - MIB + 1), "RAM at 0x800000");
	/* Not to a place below the one it was linked to, for it would not stay there. */
	NOT_LOADED(4 * MIB, set64(0x258, 4 * MIB), "RAM at 0x400000");
}
END_TEST

START_TEST(test_command_line)
{
	char append[257];
	struct boot_config config = { .append = append };

	make_bzimage();
	memset(append, 'x', sizeof(append));
	append[11] = 0;
	set32(0x238, 10);
	config.kernel = write_image(sizeof(image));
	assert_refused(&config, 0, "command line has 11 bytes, and this kernel takes 10");
	append[10] = 0;
	load(&config, 0, "bzImage", 1);
	ck_assert_str_eq(at(u32(entry.rsi + 0x228), 11), append);
	unload();
	/* Before the header had a size. */
	memset(append, 'x', sizeof(append));
	append[256] = 0;
	set32(0x238, 0);
	write_image(sizeof(image));
	assert_refused(&config, 0, "takes 255");
	append[255] = 0;
	load(&config, 0, "bzImage", 1);
	unload();
}
END_TEST

START_TEST(test_initrd_refused)
{
	static const uint8_t rubbish[MIB + 4096];
	const char *initrds[3];
	struct boot_config config = { .initrd = initrds, .nr_initrd = 1 };
	char huge[64];
	int fd = memfd_create("huge", MFD_CLOEXEC);

	make_bzimage();
	config.kernel = write_image(sizeof(image));
	initrds[0] = dir_write(1, "initrd", rubbish, sizeof(rubbish));
	assert_refused(&config, 3 * MIB, "no room for 1052672 bytes of initrd below 0x300000");
	assert_refused(&config, 3 * MIB, initrds[0]);
	initrds[0] = dir_write(1, "initrd", rubbish, MIB / 2);
	initrds[1] = initrds[2] = initrds[0];
	config.nr_initrd = 3;
	assert_refused(&config, 3 * MIB, "no room for 1572864 bytes");
	config.nr_initrd = 1;
	set32(0x22c, 0);
	write_image(sizeof(image));
	assert_refused(&config, RAM_LOW, "below 0x1 ");
	set32(0x22c, MIB);
	write_image(sizeof(image));
	assert_refused(&config, RAM_LOW, "below 0x100001");

	/* Two halves of 2^64, which is 0. */
	make_bzimage();
	write_image(sizeof(image));
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, INT64_MAX), 0);
	snprintf(huge, sizeof(huge), "/proc/self/fd/%d", fd);
	initrds[0] = initrds[1] = huge;
	config.nr_initrd = 2;
	assert_refused(&config, RAM_LOW, "no room for 9223372036854775807 bytes");
	close(fd);
}
END_TEST

/* Cut short anywhere behind the magic number it is still a bzImage, and refused as one. */
START_TEST(test_truncated)
{
	struct boot_config config = { 0 };

	make_bzimage();
	for (size_t cut = 0x206; cut < sizeof(image); cut++) {
		config.kernel = write_image(cut);
		assert_refused(&config, 0, "the file is cut short");
	}
	write_image(0x205);
	load(&config, 0, "flat", 1);
	unload();
}
END_TEST

/* Rubbish in the header: refused in one line, or entered in RAM. */
START_TEST(test_flipped)
{
	struct boot_config config = { .append = "quiet" };
	struct error err;
	struct boot *boot;

	srandom(_i + 1);
	ram_init(&ram, 4 * MIB, MIB);
	for (int round = 0; round < 500; round++) {
		make_bzimage();
		for (int flips = random() % 4 + 1; flips > 0; flips--)
			image[0x1f1 + random() % (HEADER_END - 0x1f1)] ^= 1 << random() % 8;
		config.kernel = write_image(sizeof(image));
		err = (struct error) { 0 };
		boot = boot_open(&config, &err);
		if (boot && boot_load(boot, &ram, &one_cpu, &entry, &err) == 0) {
			at(entry.rip, 1);
			at(entry.rsi, entry.mode == BOOT_LONG ? 4096 : 1);
		} else {
			ck_assert_int_ne(err.code, 0);
			ck_assert_ptr_null(strchr(err.text, '\n'));
		}
		boot_close(boot);
	}
	ram_destroy(&ram);
}
END_TEST

Suite *boot_linux_suite(void)
{
	Suite *s = suite_create("boot: Linux");
	TCase *tc = tcase_create("Linux");

	tcase_add_unchecked_fixture(tc, dir_setup, dir_teardown);
	tcase_set_timeout(tc, 60);
	/* Once, and then again after a reset. */
	tcase_add_loop_test(tc, test_bzimage, 1, 3);
	tcase_add_loop_test(tc, test_bzimage_bare, 1, 3);
	tcase_add_loop_test(tc, test_vmlinux, 1, 3);
	tcase_add_test(tc, test_vmlinux_low);
	tcase_add_test(tc, test_relocation);
	tcase_add_test(tc, test_initrd_place);
	tcase_add_test(tc, test_refused);
	tcase_add_test(tc, test_command_line);
	tcase_add_test(tc, test_initrd_refused);
	tcase_add_test(tc, test_truncated);
	tcase_add_loop_test(tc, test_flipped, 0, 3);
	suite_add_tcase(s, tc);
	return s;
}
