/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/boot_images.h"
#include "tests/unit/suites.h"
#include "vmm/boot/boot.h"

/* Images, files and machines that do not fit: refused with one clear line, never a crash. */

#define MIB             (1u << 20)
#define RAM_LOW         (4 * MIB)

/* One line, that starts with what is wrong and where. */
static void assert_message(const struct error *err, const char *part)
{
	ck_assert_int_ne(err->code, 0);
	ck_assert_msg(strstr(err->text, part), "\"%s\" should speak of \"%s\"", err->text, part);
	ck_assert_ptr_null(strchr(err->text, '\n'));
}

static void assert_not_opened(const struct boot_config *config, const char *part)
{
	struct error err = { 0 };

	ck_assert_ptr_null(boot_open(config, &err));
	assert_message(&err, part);
}

static void assert_not_loaded(const struct boot_config *config, uint64_t low, const char *part)
{
	const struct boot_entry untouched = { .rip = 0x1234 };
	struct boot_entry entry = untouched;
	struct error err = { 0 };
	struct memory ram;
	struct boot *boot = boot_open(config, &err);

	ck_assert_msg(boot, "%s", err.text);
	ram_init(&ram, low, 0);
	ck_assert_int_eq(boot_load(boot, &ram, &one_cpu, &entry, &err), -1);
	assert_message(&err, part);
	ck_assert_mem_eq(&entry, &untouched, sizeof(entry));
	boot_close(boot);
	ram_destroy(&ram);
}

static void assert_kernel_refused(const void *image, size_t len, const char *part)
{
	struct boot_config config = { .kernel = dir_write(0, "kernel", image, len) };

	assert_not_opened(&config, config.kernel);
	assert_not_opened(&config, part);
}

/* `field` of a fresh image gets `value`, and the image is refused. */
#define REFUSED(type, make, field, value, part) do { \
	struct type changed; \
	make(&changed); \
	changed.field = (value); \
	assert_kernel_refused(&changed, sizeof(changed), part); \
} while (0)
#define ELF64_REFUSED(field, value, part) REFUSED(elf64_image, make_elf64, field, value, part)
#define PVH_REFUSED(field, value, part) REFUSED(elf64_image, make_pvh, field, value, part)
#define ELF32_REFUSED(field, value, part) \
	REFUSED(elf32_image, make_multiboot_elf, field, value, part)
#define ADDRESSES_REFUSED(field, value, part) \
	REFUSED(address_image, make_multiboot_addresses, field, value, part)

START_TEST(test_elf)
{
	static const uint8_t head[sizeof(Elf64_Ehdr) - 1] = {
		0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB
	};

	assert_kernel_refused(head, 4, "ELF header is cut short");
	assert_kernel_refused(head, sizeof(head), "ELF header is cut short");
	ELF64_REFUSED(ehdr.e_ident[EI_CLASS], 3, "neither 32 nor 64 bit");
	ELF64_REFUSED(ehdr.e_ident[EI_DATA], ELFDATA2MSB, "byte order");
	ELF64_REFUSED(ehdr.e_machine, EM_AARCH64, "another machine (183, 64 bit)");
	ELF64_REFUSED(ehdr.e_machine, EM_386, "another machine");
	ELF32_REFUSED(ehdr.e_machine, EM_X86_64, "another machine (62, 32 bit)");
	ELF64_REFUSED(ehdr.e_type, ET_REL, "no executable");
	ELF64_REFUSED(ehdr.e_phnum, 0, "no program headers");
	ELF64_REFUSED(ehdr.e_phnum, 65, "65 program headers");
	ELF64_REFUSED(ehdr.e_phnum, PN_XNUM, "65535 program headers");
	ELF64_REFUSED(ehdr.e_phentsize, sizeof(Elf64_Phdr) + 8, "should have 56");
	ELF32_REFUSED(ehdr.e_phentsize, sizeof(Elf64_Phdr), "should have 32");
	ELF64_REFUSED(ehdr.e_phoff, sizeof(struct elf64_image), "cut short");
	ELF64_REFUSED(ehdr.e_phoff, UINT64_MAX, "cut short");
	ELF32_REFUSED(ehdr.e_phoff, UINT32_MAX, "cut short");
	ELF64_REFUSED(phdr[0].p_filesz, TEXT_SIZE + 1, "more bytes in the file");
	ELF64_REFUSED(phdr[0].p_memsz, 0, "more bytes in the file");
	ELF64_REFUSED(phdr[1].p_filesz, DATA_SIZE + 1, "runs over the end of the file");
	ELF64_REFUSED(phdr[1].p_offset, sizeof(struct elf64_image) - DATA_SIZE + 1,
		      "runs over the end of the file");
	ELF64_REFUSED(phdr[1].p_offset, UINT64_MAX, "runs over the end of the file");
	ELF64_REFUSED(phdr[1].p_paddr, UINT64_MAX - DATA_MEMSZ + 1, "over the end of memory");
	ELF64_REFUSED(phdr[1].p_memsz, UINT64_MAX, "over the end of memory");
	ELF64_REFUSED(ehdr.e_entry, TEXT_GPA - 1, "entry point");
	ELF64_REFUSED(ehdr.e_entry, TEXT_GPA + TEXT_SIZE, "entry point");
	/* In bss: loaded, but with nothing to run. */
	ELF64_REFUSED(ehdr.e_entry, DATA_GPA + DATA_SIZE, "entry point");
}
END_TEST

START_TEST(test_elf_without_segments)
{
	struct elf64_image image;

	make_elf64(&image);
	image.phdr[0].p_type = PT_NULL;
	image.phdr[1].p_memsz = image.phdr[1].p_filesz = 0;
	assert_kernel_refused(&image, sizeof(image), "no segment to load");
}
END_TEST

START_TEST(test_pvh)
{
	struct elf64_image image;

	PVH_REFUSED(note.entry, TEXT_GPA - 1, "PVH entry point 0xfffff");
	PVH_REFUSED(note.entry, TEXT_GPA + TEXT_SIZE, "PVH entry point");
	PVH_REFUSED(note.nhdr.n_descsz, 3, "3 bytes");
	PVH_REFUSED(note.nhdr.n_descsz, 5, "cut short");
	PVH_REFUSED(note.nhdr.n_descsz, UINT32_MAX, "cut short");
	PVH_REFUSED(note.nhdr.n_namesz, UINT32_MAX, "cut short");
	PVH_REFUSED(phdr[2].p_offset, UINT64_MAX, "cut short");
	PVH_REFUSED(phdr[2].p_filesz, (1 << 20) + 1, "at most 0x100000");
	/* Eight bytes, of which the upper four are not zero: they are the kernel's first. */
	make_pvh(&image);
	image.note.nhdr.n_descsz = 8;
	image.phdr[2].p_filesz += 4;
	assert_kernel_refused(&image, sizeof(image), "not a 32-bit address");
}
END_TEST

START_TEST(test_multiboot)
{
	struct elf32_image elf;
	uint32_t flat[64] = { 0 };

	ELF32_REFUSED(multiboot[2], 0, "needs a multiboot header or a PVH entry note");
	make_multiboot_elf(&elf);
	make_multiboot_header(elf.multiboot, 1 << 2);
	assert_kernel_refused(&elf, sizeof(elf), "video mode");
	make_multiboot_header(elf.multiboot, 1 << 15 | 1 << 17);
	assert_kernel_refused(&elf, sizeof(elf), "flags 0x8000");
	ELF32_REFUSED(ehdr.e_entry, 0, "entry point");

	make_multiboot_header(flat, 0);
	assert_kernel_refused(flat, sizeof(flat), "flag bit 16");

	ADDRESSES_REFUSED(header[4], changed.header[3] + 1, "before the file");
	ADDRESSES_REFUSED(header[4], TEXT_GPA - 1, "before the file");
	ADDRESSES_REFUSED(header[5], TEXT_GPA - 1, "before it starts");
	ADDRESSES_REFUSED(header[5], TEXT_GPA + sizeof(changed) + 1, "cut short");
	ADDRESSES_REFUSED(header[6], TEXT_GPA + sizeof(changed) - 1, "bss ends");
	ADDRESSES_REFUSED(header[7], TEXT_GPA + sizeof(changed), "entry point");
	ADDRESSES_REFUSED(header[7], 0, "entry point");
	ADDRESSES_REFUSED(header[5], TEXT_GPA, "entry point");
}
END_TEST

START_TEST(test_flat_too_big)
{
	const size_t too_big = 0xa0000 - 0x7c00 + 1;
	uint8_t *image = calloc(1, too_big);

	ck_assert_ptr_nonnull(image);
	assert_kernel_refused(image, too_big, "too big for a flat");
	free(image);
}
END_TEST

/* Nothing here may block or wait: the test would time out. */
START_TEST(test_files)
{
	struct boot_config config = { .kernel = dir_path(0, "missing") };
	char path[600], name[400];
	struct error err = { 0 };

	assert_not_opened(&config, "No such file");
	assert_not_opened(&config, config.kernel);
	config.kernel = dir_path(0, ".");
	assert_not_opened(&config, "a directory");
	config.kernel = dir_path(0, "fifo");
	ck_assert_int_eq(mkfifo(config.kernel, 0600), 0);
	assert_not_opened(&config, "a FIFO");
	config.kernel = "/dev/zero";
	assert_not_opened(&config, "a device");
	config.kernel = "";
	assert_not_opened(&config, "No such file");
	config.kernel = dir_write(0, "kernel", "", 0);
	assert_not_opened(&config, "empty");

	/* The message stays one line and keeps its reason. */
	config.kernel = "/nowhere/a\nb\033c";
	assert_not_opened(&config, "a?b?c: can not open it: No such file");
	memset(name, 'x', sizeof(name));
	snprintf(path, sizeof(path), "/nowhere/%.300s/\303\244%.199s", name, name);
	config.kernel = path;
	ck_assert_ptr_null(boot_open(&config, &err));
	ck_assert_int_eq(strncmp(err.text, "kernel ...xxx", 13), 0);
	assert_message(&err, "xxx: can not open it: ");
}
END_TEST

START_TEST(test_extras)
{
	const char *initrds[65];
	struct elf64_image image;
	struct boot_config config = { .append = "quiet" };
	char append[4097];

	assert_not_opened(&config, "without a kernel");
	config = (struct boot_config) { .initrd = initrds, .nr_initrd = 1 };
	initrds[0] = "/nowhere/initrd";
	assert_not_opened(&config, "without a kernel");

	make_elf64(&image);
	config.kernel = dir_write(0, "kernel", &image, sizeof(image));
	assert_not_opened(&config, "initrd /nowhere/initrd");
	initrds[0] = dir_write(1, "initrd", "", 0);
	assert_not_opened(&config, "empty");
	assert_not_opened(&config, initrds[0]);
	dir_write(1, "initrd", "x", 1);
	dir_write(0, "kernel", "flat", 4);
	assert_not_opened(&config, "can not be given an initrd");
	config.nr_initrd = 0;
	config.append = "quiet";
	assert_not_opened(&config, "can not be given a command line");

	make_pvh(&image);
	dir_write(0, "kernel", &image, sizeof(image));
	memset(append, 'a', sizeof(append));
	append[4096] = 0;
	config.append = append;
	assert_not_opened(&config, "4096 bytes; at most 4095");
	config.append = NULL;
	for (int i = 0; i < 65; i++)
		initrds[i] = initrds[0];
	config.nr_initrd = 65;
	assert_not_opened(&config, "at most 64");
}
END_TEST

START_TEST(test_ram)
{
	static const char rubbish[2 * MIB];
	const char *initrds[1];
	struct elf64_image image;
	struct boot_config config = { 0 };

	make_pvh(&image);
	image.phdr[1].p_paddr = RAM_LOW - DATA_MEMSZ + 1;
	config.kernel = dir_write(0, "kernel", &image, sizeof(image));
	assert_not_loaded(&config, RAM_LOW, "not all RAM");
	image.phdr[1].p_paddr = UINT64_MAX - DATA_MEMSZ;
	dir_write(0, "kernel", &image, sizeof(image));
	assert_not_loaded(&config, RAM_LOW, "not all RAM");
	/* The last byte of one is the first of the other. */
	image.phdr[1].p_paddr = TEXT_GPA + TEXT_SIZE - 1;
	dir_write(0, "kernel", &image, sizeof(image));
	assert_not_loaded(&config, RAM_LOW, "another segment");
	image.phdr[1].p_paddr = 0x9fc00 - DATA_MEMSZ + 1;
	dir_write(0, "kernel", &image, sizeof(image));
	assert_not_loaded(&config, RAM_LOW, "firmware area");
	assert_not_loaded(&config, RAM_LOW, config.kernel);

	/* All RAM is the kernel's. */
	image.phdr[0].p_memsz = RAM_LOW - TEXT_GPA;
	image.phdr[1].p_paddr = 0;
	image.phdr[1].p_memsz = 0x9fc00;
	dir_write(0, "kernel", &image, sizeof(image));
	assert_not_loaded(&config, RAM_LOW, "boot tables");

	make_pvh(&image);
	dir_write(0, "kernel", &image, sizeof(image));
	initrds[0] = dir_write(1, "initrd", rubbish, sizeof(rubbish));
	config.initrd = initrds;
	config.nr_initrd = 1;
	assert_not_loaded(&config, 2 * MIB, "give the VM more memory");
	assert_not_loaded(&config, 2 * MIB, initrds[0]);
}
END_TEST

/* A file that shrinks between two loads. */
START_TEST(test_shrunk)
{
	struct elf64_image image;
	struct boot_config config = { 0 };
	struct boot_entry entry;
	struct error err = { 0 };
	struct memory ram;
	struct boot *boot;

	make_pvh(&image);
	config.kernel = dir_write(0, "kernel", &image, sizeof(image));
	boot = boot_open(&config, &err);
	ck_assert_msg(boot, "%s", err.text);
	ram_init(&ram, RAM_LOW, 0);
	ck_assert_int_eq(boot_load(boot, &ram, &one_cpu, &entry, &err), 0);
	ck_assert_int_eq(truncate(config.kernel, sizeof(image) - 1), 0);
	ck_assert_int_eq(boot_load(boot, &ram, &one_cpu, &entry, &err), -1);
	assert_message(&err, "become shorter");
	/* Put back, it boots again. */
	dir_write(0, "kernel", &image, sizeof(image));
	ck_assert_int_eq(boot_load(boot, &ram, &one_cpu, &entry, &err), 0);
	boot_close(boot);
	ram_destroy(&ram);
}
END_TEST

/* Opens and loads twice whatever comes: refused with a message, or entered somewhere in RAM. */
static void try_image(const void *image, size_t len, struct memory *ram)
{
	struct boot_config config = { .kernel = dir_write(0, "kernel", image, len) };
	struct error err = { 0 };
	struct boot_entry entry;
	struct boot *boot = boot_open(&config, &err);

	for (int i = 0; boot && i < 2; i++) {
		if (boot_load(boot, ram, &one_cpu, &entry, &err) < 0)
			break;
		ck_assert_ptr_nonnull(memory_at(ram, entry.rip, 1));
		ck_assert_ptr_nonnull(memory_at(ram, entry.rsp, 0));
		ck_assert_ptr_nonnull(memory_at(ram, entry.rbx, 4));
		ck_assert_ptr_nonnull(memory_at(ram, entry.gdt, entry.gdt_limit));
		ck_assert_ptr_nonnull(memory_at(ram, entry.cr3, 4096));
	}
	if (err.code)
		assert_message(&err, "kernel ");
	boot_close(boot);
}

static union {
	struct elf64_image elf64;
	struct elf32_image elf32;
	struct address_image addresses;
	uint8_t bytes[sizeof(struct elf64_image)];
} image;

static size_t make_image(int which)
{
	switch (which) {
	case 0:
		make_pvh(&image.elf64);
		return sizeof(image.elf64);
	case 1:
		make_elf64(&image.elf64);
		return sizeof(image.elf64);
	case 2:
		make_multiboot_elf(&image.elf32);
		return sizeof(image.elf32);
	default:
		make_multiboot_addresses(&image.addresses);
		return sizeof(image.addresses);
	}
}

START_TEST(test_truncated)
{
	size_t len = make_image(_i);
	struct memory ram;

	ram_init(&ram, 2 * MIB, MIB);
	for (size_t cut = 0; cut < len; cut++)
		try_image(&image, cut, &ram);
	ram_destroy(&ram);
}
END_TEST

START_TEST(test_flipped)
{
	struct memory ram;
	size_t len;

	srandom(_i + 1);
	ram_init(&ram, 2 * MIB, MIB);
	for (int round = 0; round < 400; round++) {
		len = make_image(_i);
		for (int flips = random() % 4 + 1; flips > 0; flips--)
			image.bytes[random() % len] ^= 1 << random() % 8;
		try_image(&image, len, &ram);
	}
	ram_destroy(&ram);
}
END_TEST

/* Whatever was refused above, nothing stays open. */
START_TEST(test_descriptors)
{
	const struct rlimit few = { 20, 20 };
	struct boot_config config = { 0 };
	struct elf64_image pvh;
	struct error err = { 0 };
	struct boot *boot;
	const char *initrds[2];

	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
	make_pvh(&pvh);
	config.kernel = dir_write(0, "kernel", &pvh, sizeof(pvh));
	initrds[0] = config.kernel;
	initrds[1] = "/nowhere/initrd";
	config.initrd = initrds;
	config.nr_initrd = 2;
	for (int i = 0; i < 40; i++)
		assert_not_opened(&config, "/nowhere/initrd");
	config.nr_initrd = 1;
	for (int i = 0; i < 40; i++) {
		boot = boot_open(&config, &err);
		ck_assert_msg(boot, "%s", err.text);
		boot_close(boot);
	}
	boot_close(NULL);
}
END_TEST

Suite *boot_bad_suite(void)
{
	Suite *s = suite_create("boot: bad input");
	TCase *tc = tcase_create("refused");

	tcase_add_unchecked_fixture(tc, dir_setup, dir_teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_elf);
	tcase_add_test(tc, test_elf_without_segments);
	tcase_add_test(tc, test_pvh);
	tcase_add_test(tc, test_multiboot);
	tcase_add_test(tc, test_flat_too_big);
	tcase_add_test(tc, test_files);
	tcase_add_test(tc, test_extras);
	tcase_add_test(tc, test_ram);
	tcase_add_test(tc, test_shrunk);
	tcase_add_test(tc, test_descriptors);
	suite_add_tcase(s, tc);

	tc = tcase_create("mangled");
	tcase_add_unchecked_fixture(tc, dir_setup, dir_teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, test_truncated, 0, 4);
	tcase_add_loop_test(tc, test_flipped, 0, 4);
	suite_add_tcase(s, tc);
	return s;
}
