/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/alloc_fail.h"
#include "tests/unit/core_file.h"
#include "tests/unit/suites.h"
#include "vmm/dump/dump_internal.h"
#include "vmm/pagewalk.h"

/* The file of a dump, without a machine around it. */

#define PAGE    4096u
#define RAM     (8u << 20)
#define LONG    { .cr0 = 0x80000011, .cr4 = 0x20, .efer = 0x500 }

static struct memory memory;
static struct dump_cpu cpu[3];
static struct dump_job job;
static struct error err;
static unsigned int told;
static int fd;
static uint8_t buf[RAM];

static void on_progress(void *opaque)
{
	ck_assert_ptr_eq(opaque, &job);
	told++;
}

static void setup(void)
{
	memset(&err, 0, sizeof(err));
	ck_assert_int_eq(memory_init(&memory, RAM, &err), 0);
	memset(cpu, 0, sizeof(cpu));
	for (unsigned int i = 0; i < 3; i++)
		cpu[i].space = (struct page_space){ .memory = &memory, .sregs = &cpu[i].sregs };
	job = (struct dump_job) {
		.memory = &memory, .nr_cpus = 2, .cpu = cpu, .progress = on_progress,
		.opaque = &job,
	};
	told = 0;
	fd = memfd_create("core", MFD_CLOEXEC);
	ck_assert_int_ge(fd, 0);
}

static void teardown(void)
{
	dump_map_free(&job.map);
	memory_destroy(&memory);
	close(fd);
}

/* What the thread of a dump does. */
static int dump(void)
{
	dump_map_free(&job.map);
	memset(&err, 0, sizeof(err));
	if (dump_map_blocks(&job.map, &memory, &job.config, &err) < 0)
		return -1;
	job.transfer.total = job.transfer.remaining = dump_map_total(&job.map);
	if (dump_map_loads(&job, &err) < 0)
		return -1;
	return dump_write(&job, fd, &err);
}

static void open_core(struct core_file *core)
{
	ck_assert_msg(dump() == 0, "%s", err.text);
	ck_assert_uint_eq(job.transfer.remaining, 0);
	core_file_open(core, fd);
}

/* At `va` is what RAM has from `gpa` on. */
static void check_content(const struct core_file *core, uint64_t va, uint64_t gpa, size_t len)
{
	ck_assert_msg(core_file_read(core, va, buf, len), "no 0x%" PRIx64, va);
	ck_assert_msg(memcmp(buf, memory.host + gpa, len) == 0, "at 0x%" PRIx64, va);
}

static void put_entry(uint64_t gpa, uint64_t entry)
{
	ck_assert(memory_write(&memory, gpa, &entry, sizeof(entry)));
}

/* A vCPU in long mode, whose tables are at `root`. */
static void set_paging(unsigned int i, uint64_t root)
{
	cpu[i].sregs = (struct kvm_sregs2)LONG;
	cpu[i].sregs.cr3 = root;
}

/* A page of tables at `root` with 4-level paging, whose 2 MiB pages start at va 0: those of `leaf`. */
static void put_tables(uint64_t root, unsigned int nr, const uint64_t *leaf)
{
	put_entry(root, (root + PAGE) | 3);
	put_entry(root + PAGE, (root + 2 * PAGE) | 3);
	for (unsigned int i = 0; i < nr; i++)
		put_entry(root + 2 * PAGE + i * 8, leaf[i]);
}

static void put_number(uint8_t *at, uint64_t value)
{
	memcpy(at, &value, sizeof(value));
}

/* Every field of both notes, each with another value. */
START_TEST(notes64)
{
	static const uint64_t order[] = {
		15, 14, 13, 12, 5, 1, 11, 10, 9, 8, 0, 2, 3, 6, 7,
	};
	struct core_file core;
	const uint8_t *note;
	uint64_t *gpr = (uint64_t *)&cpu[1].regs, word;
	struct kvm_segment *segment = &cpu[1].sregs.cs;
	uint32_t pid, half[3];

	/* struct kvm_regs: rax rbx rcx rdx rsi rdi rsp rbp r8 ... r15 rip rflags. */
	for (unsigned int i = 0; i < 18; i++)
		gpr[i] = 0x1000 + i;
	cpu[1].sregs = (struct kvm_sregs2)LONG;
	cpu[1].sregs.cr2 = 0xc2;
	cpu[1].sregs.cr3 = 0xc3;
	for (unsigned int i = 0; i < 8; i++)
		segment[i] = (struct kvm_segment) {
			.base = 0x2000 + i, .limit = 0x3000 + i, .selector = (uint16_t)(0x40 + i),
			.type = 0xb, .present = 1, .dpl = 3, .s = 1, .l = 1, .g = 1,
		};
	cpu[1].sregs.gdt = (struct kvm_dtable) { .base = 0x51, .limit = 0x52 };
	cpu[1].sregs.idt = (struct kvm_dtable) { .base = 0x53, .limit = 0x54 };
	cpu[1].kernel_gs_base = 0x99;
	open_core(&core);
	ck_assert_int_eq(core.header.e_machine, EM_X86_64);
	ck_assert(core.is64);

	note = core_file_note(&core, "CORE", NT_PRSTATUS, 1, 336);
	memcpy(&pid, note + 32, 4);
	ck_assert_uint_eq(pid, 2);
	for (unsigned int i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		/* rbp and rsp of struct kvm_regs stand behind rdi. */
		static const unsigned int place[] = {
			0, 1, 2, 3, 0, 7, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15,
		};

		memcpy(&word, note + 112 + i * 8, 8);
		ck_assert_uint_eq(word, 0x1000 + place[order[i]]);
	}
	/* rip cs eflags rsp ss fs_base gs_base ds es fs gs; segments of KVM: cs ds es fs gs ss. */
	{
		const uint64_t rest[] = {
			0, 0x1010, 0x40, 0x1011, 0x1006, 0x45, 0x2003, 0x2004, 0x41, 0x42, 0x43, 0x44,
		};

		for (unsigned int i = 0; i < sizeof(rest) / sizeof(rest[0]); i++) {
			memcpy(&word, note + 112 + (15 + i) * 8, 8);
			ck_assert_uint_eq(word, rest[i]);
		}
	}

	note = core_file_note(&core, "QEMU", 0, 1, 440);
	memcpy(half, note, 8);
	ck_assert_uint_eq(half[0], 1);
	ck_assert_uint_eq(half[1], 440);
	ck_assert_int_eq(memcmp(note + 8, &cpu[1].regs, 18 * 8), 0);
	for (unsigned int i = 0; i < 10; i++) {
		/* cs ds es fs gs ss ldt tr; KVM has tr first. */
		static const unsigned int from[] = { 0, 1, 2, 3, 4, 5, 7, 6 };
		const uint8_t *at = note + 152 + i * 24;

		memcpy(half, at, 12);
		memcpy(&word, at + 16, 8);
		ck_assert_uint_eq(half[0], i < 8 ? 0x40 + from[i] : 0);
		ck_assert_uint_eq(half[1], i < 8 ? 0x3000 + from[i] : i == 8 ? 0x52 : 0x54);
		ck_assert_uint_eq(half[2], i < 8 ? 0xa0fb00 : 0);
		ck_assert_uint_eq(word, i < 8 ? 0x2000 + from[i] : i == 8 ? 0x51 : 0x53);
	}
	put_number(buf, 0x80000011);
	put_number(buf + 8, 0);
	put_number(buf + 16, 0xc2);
	put_number(buf + 24, 0xc3);
	put_number(buf + 32, 0x20);
	put_number(buf + 40, 0x99);
	ck_assert_int_eq(memcmp(note + 392, buf, 48), 0);
	core_file_close(&core);
}
END_TEST

START_TEST(notes32)
{
	static const uint32_t expected[] = {
		0x1001, 0x1002, 0x1003, 0x1004, 0x1005, 0x1007, 0x1000, 0x41, 0x42, 0x43, 0x44, 0,
		0x1010, 0x40, 0x1011, 0x1006, 0x45,
	};
	uint64_t *gpr = (uint64_t *)&cpu[0].regs;
	struct kvm_segment *segment = &cpu[0].sregs.cs;
	struct core_file core;
	const uint8_t *note;
	uint32_t pid;

	for (unsigned int i = 0; i < 18; i++)
		gpr[i] = 0xffffffff00001000 + i;
	for (unsigned int i = 0; i < 6; i++)
		segment[i].selector = (uint16_t)(0x40 + i);
	open_core(&core);
	ck_assert(!core.is64);
	ck_assert_int_eq(core.header.e_machine, EM_386);
	note = core_file_note(&core, "CORE", NT_PRSTATUS, 0, 144);
	memcpy(&pid, note + 24, 4);
	ck_assert_uint_eq(pid, 1);
	ck_assert_int_eq(memcmp(note + 72, expected, sizeof(expected)), 0);
	ck_assert_ptr_nonnull(core_file_note(&core, "QEMU", 0, 1, 440));
	ck_assert_ptr_null(core_file_note(&core, "CORE", NT_PRSTATUS, 2, 144));
	core_file_close(&core);
}
END_TEST

/* 32-bit vCPUs, but memory above 4 GiB. */
START_TEST(class_of_much_memory)
{
	struct core_file core;

	memory.nr_parts = 2;
	memory.part[0].size = 4 << 20;
	memory.part[1] = (struct memory_part){ 4ULL << 30, 4 << 20, memory.host + (4 << 20) };
	memset(memory.host + (5 << 20), 7, PAGE);
	open_core(&core);
	ck_assert(core.is64);
	ck_assert_int_eq(core.header.e_machine, EM_386);
	ck_assert_uint_eq(core.nr, 3);
	ck_assert_uint_eq(core.phdr[2].p_paddr, 4ULL << 30);
	ck_assert_ptr_nonnull(core_file_note(&core, "CORE", NT_PRSTATUS, 0, 144));
	ck_assert(core_file_read(&core, (4ULL << 30) + (1 << 20), buf, PAGE));
	ck_assert_uint_eq(buf[0], 7);
	core_file_close(&core);
}
END_TEST

/* Only what there is takes room, at the end too. */
START_TEST(holes)
{
	struct core_file core;
	struct stat st;

	memset(memory.host + 0x101000, 1, PAGE);
	memset(memory.host + 0x103000, 2, 16);
	open_core(&core);
	ck_assert_int_eq(fstat(fd, &st), 0);
	ck_assert_int_eq(st.st_size, PAGE + RAM);
	ck_assert_int_le(st.st_blocks * 512, 16 * PAGE);
	check_content(&core, 0, 0, RAM);
	core_file_close(&core);
}
END_TEST

/* All kinds of runs: single pages, with gaps that are worth a hole and some that are not. */
START_TEST(runs)
{
	uint64_t random = 42;
	struct core_file core;

	for (unsigned int page = 0; page < RAM / PAGE; page++) {
		random = random * 6364136223846793005ULL + 1;
		if (page % 97 < 50 ? random >> 63 : page % 97 < 70)
			memset(memory.host + page * PAGE, 1 + (random >> 40) % 255, PAGE);
	}
	open_core(&core);
	check_content(&core, 0, 0, RAM);
	core_file_close(&core);
}
END_TEST

/* No holes over what a file had before, nor where nothing can be passed over. */
START_TEST(no_holes)
{
	struct core_file core;

	for (unsigned int i = 0; i < 4; i++) {
		memset(buf, 0xee, sizeof(buf));
		ck_assert_int_eq(write(fd, buf, sizeof(buf)), sizeof(buf));
	}
	lseek(fd, 0, SEEK_SET);
	memset(memory.host + 0x300000, 1, PAGE);
	open_core(&core);
	check_content(&core, 0, 0, RAM);
	core_file_close(&core);
	/* Written behind what is there. */
	ck_assert_int_eq(ftruncate(fd, 0), 0);
	lseek(fd, 0, SEEK_SET);
	ck_assert_int_eq(fcntl(fd, F_SETFL, O_APPEND), 0);
	open_core(&core);
	check_content(&core, 0, 0, RAM);
	core_file_close(&core);
}
END_TEST

/* Bytes of a range that begins and ends in the middle of pages, in any part. */
START_TEST(filter)
{
	static const uint64_t ranges[][2] = {
		{ 0x1001, 0x3001 }, { 0x1fff, 1 }, { RAM - 1, 1 }, { RAM - 5000, UINT64_MAX },
		{ 0xfffff, 2 }, { 0, RAM }, { 0x100000, 0x100000 },
	};
	struct core_file core;
	struct stat st;

	for (unsigned int i = 0; i < RAM; i++)
		memory.host[i] = (uint8_t)(i * 7 + (i >> 11));
	memset(memory.host + 0x2000, 0, PAGE);
	for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
		uint64_t begin = ranges[i][0], len = ranges[i][1];

		job.config = (struct dump_config) { .filter = true, .begin = begin, .length = len };
		if (len > RAM - begin)
			len = RAM - begin;
		ck_assert_int_eq(ftruncate(fd, 0), 0);
		lseek(fd, 0, SEEK_SET);
		open_core(&core);
		ck_assert_uint_eq(core.nr, 2);
		ck_assert_uint_eq(core.phdr[1].p_paddr, begin);
		ck_assert_uint_eq(core.phdr[1].p_vaddr, begin);
		ck_assert_uint_eq(core.phdr[1].p_filesz, len);
		ck_assert_uint_eq(job.transfer.total, len);
		ck_assert_int_eq(fstat(fd, &st), 0);
		ck_assert_uint_eq((uint64_t)st.st_size, core.phdr[1].p_offset + len);
		check_content(&core, begin, begin, len);
		core_file_close(&core);
	}
	job.config.begin = RAM;
	ck_assert_int_eq(dump(), -1);
	ck_assert_str_eq(err.text, "dump: no guest memory to dump");
}
END_TEST

/* ---- virtual addresses ---- */

#define LEAF(gpa)       ((gpa) | 0x83)

START_TEST(paging)
{
	/* 0: 2 MiB at 0x200000 and the next at 0x400000, which is one piece; a gap; 0 again. */
	static const uint64_t leaf[] = {
		LEAF(0x200000), LEAF(0x400000), 0, LEAF(0), LEAF(0x40000000), LEAF(0x600000),
	};
	struct core_file core;

	for (unsigned int i = 0; i < RAM; i += PAGE)
		put_number(memory.host + i + 8, i);
	put_tables(0x10000, 6, leaf);
	set_paging(0, 0x10000);
	job.config.paging = true;
	open_core(&core);
	/* The page outside of RAM is not there. */
	ck_assert_uint_eq(core.nr, 4);
	ck_assert_uint_eq(core.phdr[1].p_vaddr, 0);
	ck_assert_uint_eq(core.phdr[1].p_paddr, 0x200000);
	ck_assert_uint_eq(core.phdr[1].p_filesz, 0x400000);
	ck_assert_uint_eq(core.phdr[2].p_vaddr, 0x600000);
	ck_assert_uint_eq(core.phdr[2].p_paddr, 0);
	ck_assert_uint_eq(core.phdr[3].p_vaddr, 0xa00000);
	check_content(&core, 0x1ff000, 0x3ff000, 2 * PAGE);
	ck_assert(!core_file_read(&core, 0x3ff000, buf, 2 * PAGE));
	core_file_close(&core);
}
END_TEST

/* What vCPUs share is there once; what they see differently, for each; no tables twice. */
START_TEST(paging_of_several)
{
	static const uint64_t leaf[2][3] = {
		{ LEAF(0x200000), LEAF(0x400000), LEAF(0x600000) },
		{ LEAF(0x200000), LEAF(0x600000), 0 },
	};
	struct core_file core;

	job.nr_cpus = 3;
	for (unsigned int i = 0; i < 2; i++) {
		put_tables(0x10000 + i * 0x10000, 3, leaf[i]);
		set_paging(i, 0x10000 + i * 0x10000);
	}
	cpu[2].sregs = cpu[0].sregs;
	job.config.paging = true;
	open_core(&core);
	ck_assert_uint_eq(core.nr, 3);
	ck_assert_uint_eq(core.phdr[1].p_vaddr, 0);
	ck_assert_uint_eq(core.phdr[1].p_filesz, 0x600000);
	ck_assert_uint_eq(core.phdr[2].p_vaddr, 0x200000);
	ck_assert_uint_eq(core.phdr[2].p_paddr, 0x600000);
	ck_assert_uint_eq(core.phdr[2].p_filesz, 0x200000);
	core_file_close(&core);
	/* One that does not page has no say. */
	cpu[0].sregs = (struct kvm_sregs2) { 0 };
	cpu[2].sregs = (struct kvm_sregs2) { 0 };
	lseek(fd, 0, SEEK_SET);
	open_core(&core);
	ck_assert_uint_eq(core.nr, 3);
	ck_assert_uint_eq(core.phdr[1].p_filesz, 0x200000);
	core_file_close(&core);
	/* When nobody does, memory is where it is. */
	cpu[1].sregs = (struct kvm_sregs2) { 0 };
	lseek(fd, 0, SEEK_SET);
	open_core(&core);
	ck_assert_uint_eq(core.nr, 2);
	ck_assert_uint_eq(core.phdr[1].p_filesz, RAM);
	core_file_close(&core);
}
END_TEST

/* An inner guest's virtual addresses lead, through both sets of tables, to RAM. */
START_TEST(inner_guest)
{
	static const uint64_t inner[] = { LEAF(0x400000) }, outer[] = { 0, 0, 0x14003 };
	struct core_file core;

	/* The inner guest's tables are at 1 MiB to it, where RAM's tables of the outer one are. */
	put_tables(0x20000, 1, inner);
	put_tables(0x10000, 3, outer);
	for (unsigned int i = 0; i < 512; i++)
		if (i != 1)
			put_entry(0x14000 + i * 8, (0x100000 + (uint64_t)(i ^ 2) * PAGE) | 3);
	put_entry(0x12000, LEAF(0));
	set_paging(0, 0x20000);
	cpu[0].space.nested = true;
	cpu[0].space.outer = (struct kvm_sregs2)LONG;
	cpu[0].space.outer.cr3 = 0x10000;
	job.config.paging = true;
	job.nr_cpus = 1;
	put_number(memory.host + 0x102000, 0x1234);
	open_core(&core);
	ck_assert_uint_eq(core.phdr[1].p_vaddr, 0);
	ck_assert_uint_eq(core.phdr[1].p_paddr, 0x102000);
	ck_assert_uint_eq(core.phdr[1].p_filesz, PAGE);
	ck_assert_uint_eq(core.phdr[2].p_vaddr, 2 * PAGE);
	ck_assert_uint_eq(core.phdr[2].p_paddr, 0x100000);
	check_content(&core, 0, 0x102000, PAGE);
	ck_assert(!core_file_read(&core, PAGE, buf, 1));
	core_file_close(&core);
}
END_TEST

/* A page of 1 GiB is more than RAM, and has both its parts, or what the filter leaves of it. */
START_TEST(huge_page)
{
	struct core_file core;

	put_entry(0x10000, 0x11003);
	put_entry(0x11000 + 8, LEAF(0));
	set_paging(0, 0x10000);
	job.config = (struct dump_config) {
		.paging = true, .filter = true, .begin = 0x1800, .length = 0x10000,
	};
	memory.nr_parts = 2;
	memory.part[0].size = 0x3000;
	memory.part[1] = (struct memory_part){ 0x10000, RAM - 0x10000, memory.host + 0x10000 };
	open_core(&core);
	ck_assert_uint_eq(core.nr, 3);
	ck_assert_uint_eq(core.phdr[1].p_vaddr, 0x40001800);
	ck_assert_uint_eq(core.phdr[1].p_filesz, 0x1800);
	ck_assert_uint_eq(core.phdr[2].p_vaddr, 0x40010000);
	ck_assert_uint_eq(core.phdr[2].p_filesz, 0x1800);
	check_content(&core, 0x40010000, 0x10000, 0x1800);
	core_file_close(&core);
}
END_TEST

/* Leaves in `tables` tables, every second page of which is there: no two are one piece. */
static void put_scattered(unsigned int tables)
{
	uint64_t table = 0x100000;

	put_entry(0x10000, 0x11003);
	put_entry(0x11000, 0x12003);
	for (unsigned int i = 0; i < tables; i++, table += PAGE) {
		put_entry(0x12000 + i * 8, table | 3);
		for (unsigned int n = 0; n < 512; n += 2)
			put_entry(table + n * 8, (n * PAGE) | 3);
	}
	set_paging(0, 0x10000);
	job.config.paging = true;
}

/* More than 16 bits can count, just as many, and one less. */
START_TEST(many_headers)
{
	struct core_file core;

	put_scattered(256);
	open_core(&core);
	ck_assert_uint_eq(core.header.e_phnum, PN_XNUM);
	ck_assert_uint_eq(core.nr, 256 * 256 + 1);
	ck_assert_uint_eq(core.phdr[65536].p_vaddr, 255 * 0x200000 + 510 * PAGE);
	core_file_close(&core);
	for (unsigned int less = 2; less <= 3; less++) {
		put_entry(0x100000 + (less - 2) * 16, 0);
		lseek(fd, 0, SEEK_SET);
		open_core(&core);
		ck_assert_uint_eq(core.nr, 256 * 256 + 1 - (less - 1));
		ck_assert_int_eq(core.header.e_shnum, core.nr >= PN_XNUM);
		ck_assert_ptr_nonnull(core_file_note(&core, "QEMU", 0, 1, 440));
		core_file_close(&core);
	}
}
END_TEST

/* The same in a file of 32 bits, where the number is at another place. */
START_TEST(many_headers_of_32_bits)
{
	struct core_file core;
	uint32_t entry;

	for (uint32_t n = 0; n < 1024; n += 2) {
		entry = n * PAGE | 3;
		ck_assert(memory_write(&memory, 0x11000 + n * 4, &entry, sizeof(entry)));
	}
	entry = 0x11003;
	for (uint32_t n = 0; n < 128; n++)
		ck_assert(memory_write(&memory, 0x10000 + n * 4, &entry, sizeof(entry)));
	cpu[0].sregs = (struct kvm_sregs2) { .cr0 = 0x80000011, .cr3 = 0x10000 };
	job.config.paging = true;
	open_core(&core);
	ck_assert(!core.is64);
	ck_assert_uint_eq(core.header.e_phnum, PN_XNUM);
	ck_assert_uint_eq(core.nr, 128 * 512 + 1);
	ck_assert_uint_eq(core.phdr[65536].p_vaddr, 127 * 0x400000 + 1022 * PAGE);
	core_file_close(&core);
}
END_TEST

/* Two vCPUs begin at the same place, and one of them goes on further, whichever it is. */
START_TEST(longer_on_another)
{
	static const uint64_t leaf[] = { LEAF(0x200000), LEAF(0x400000) };
	struct core_file core;

	for (unsigned int longer = 0; longer < 2; longer++) {
		for (unsigned int i = 0; i < 2; i++) {
			put_tables(0x10000 + i * 0x10000, 2, leaf);
			set_paging(i, 0x10000 + i * 0x10000);
		}
		put_entry(0x12008 + (longer ? 0 : 0x10000), 0);
		job.config.paging = true;
		lseek(fd, 0, SEEK_SET);
		open_core(&core);
		ck_assert_uint_eq(core.nr, 2);
		ck_assert_uint_eq(core.phdr[1].p_vaddr, 0);
		ck_assert_uint_eq(core.phdr[1].p_filesz, 0x400000);
		core_file_close(&core);
	}
}
END_TEST

/* Tables that lead to one another can describe any number of pieces. */
START_TEST(too_much)
{
	/* Each of 512 tables, 32 times over, with 256 pieces each: 4 Mi. */
	put_scattered(512);
	for (unsigned int i = 1; i < 32; i++)
		put_entry(0x11000 + i * 8, 0x12003);
	ck_assert_int_eq(dump(), -1);
	ck_assert_int_eq(err.code, E2BIG);
	ck_assert_str_eq(err.text, "dump: the guest's page tables map memory in more than 1048576 "
			 "pieces; dump without paging");
	/* Tables without a leaf, without end. */
	for (unsigned int i = 0; i < 3 * 512; i++)
		put_entry(0x10000 + i * 8, (0x11000 + i / 512 * PAGE) | 3);
	memset(memory.host + 0x13000, 0, PAGE);
	ck_assert_int_eq(dump(), -1);
	ck_assert_str_eq(err.text, "dump: vCPU 0 has more than 65536 page tables; dump without paging");
}
END_TEST

/* ---- failures ---- */

START_TEST(cancelled)
{
	job.transfer.cancelled = true;
	ck_assert_int_eq(dump(), -1);
	ck_assert_int_eq(err.code, ECANCELED);
	put_scattered(2);
	ck_assert_int_eq(dump(), -1);
	ck_assert_int_eq(err.code, ECANCELED);
	ck_assert_uint_eq(job.map.nr_loads, 0);
}
END_TEST

START_TEST(no_memory)
{
	unsigned int n;

	put_scattered(2);
	for (n = 1; n < 100; n++) {
		lseek(fd, 0, SEEK_SET);
		alloc_fail_at(n);
		if (dump() == 0)
			break;
		ck_assert(alloc_has_failed());
		ck_assert_int_eq(err.code, ENOMEM);
	}
	ck_assert(!alloc_has_failed());
	alloc_fail_at(0);
	ck_assert_uint_gt(n, 5);
}
END_TEST

/* Each write, and each step over a hole, in its turn: the descriptor becomes one that can not. */
START_TEST(no_descriptor)
{
	int pipe_fds[2];

	close(fd);
	fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
	ck_assert_int_eq(dump(), -1);
	ck_assert_str_eq(err.text, "dump: failed to write elf header: No space left on device");
	close(fd);
	fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(dump(), -1);
	ck_assert_int_eq(err.code, EBADF);
	close(fd);
	ck_assert_int_eq(dump(), -1);
	ck_assert_int_eq(err.code, EBADF);
	/* A reader that goes away is no signal. */
	ck_assert_int_eq(pipe2(pipe_fds, O_CLOEXEC), 0);
	signal(SIGPIPE, SIG_IGN);
	close(pipe_fds[0]);
	fd = pipe_fds[1];
	ck_assert_int_eq(dump(), -1);
	ck_assert_int_eq(err.code, EPIPE);
}
END_TEST

Suite *dump_elf_suite(void)
{
	Suite *suite = suite_create("dump_elf");
	TCase *tc = tcase_create("dump_elf");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, notes64);
	tcase_add_test(tc, notes32);
	tcase_add_test(tc, class_of_much_memory);
	tcase_add_test(tc, holes);
	tcase_add_test(tc, runs);
	tcase_add_test(tc, no_holes);
	tcase_add_test(tc, filter);
	tcase_add_test(tc, paging);
	tcase_add_test(tc, paging_of_several);
	tcase_add_test(tc, inner_guest);
	tcase_add_test(tc, huge_page);
	tcase_add_test(tc, many_headers);
	tcase_add_test(tc, many_headers_of_32_bits);
	tcase_add_test(tc, longer_on_another);
	tcase_add_test(tc, too_much);
	tcase_add_test(tc, cancelled);
	tcase_add_test(tc, no_memory);
	tcase_add_test(tc, no_descriptor);
	suite_add_tcase(suite, tc);
	return suite;
}
