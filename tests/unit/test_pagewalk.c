/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <string.h>

#include "tests/unit/suites.h"
#include "vmm/pagewalk.h"

#define P       0x01ULL
#define W       0x02ULL
#define U       0x04ULL
#define A       0x20ULL
#define PS      0x80ULL
#define NX      (1ULL << 63)

#define CR0_PG          0x80000000ULL
#define CR4_PSE         0x10ULL
#define CR4_PAE         0x20ULL
#define CR4_LA57        0x1000ULL
#define EFER_LMA        0x400ULL
#define EFER_NXE        0x800ULL

/* RAM in two parts: 512 KiB at 0 and as much at 4 GiB. */
#define PART    0x80000u
static uint8_t ram[2 * PART] __attribute__((aligned(4096)));
static const struct memory memory = {
	.host = ram, .size = sizeof(ram), .nr_parts = 2,
	.part = { { 0, PART, ram }, { MEMORY_HIGH, PART, ram + PART } },
};

#define SEEN_MAX        4096
static struct page_mapping seen[SEEN_MAX];
static size_t nr_seen, seen_max;

static void reset(void)
{
	memset(ram, 0, sizeof(ram));
	memset(seen, 0, sizeof(seen));
	nr_seen = 0;
	seen_max = SEEN_MAX;
}

static void put64(uint64_t table, unsigned int index, uint64_t entry)
{
	ck_assert(memory_write(&memory, table + index * 8, &entry, sizeof(entry)));
}

static void put32(uint64_t table, unsigned int index, uint32_t entry)
{
	ck_assert(memory_write(&memory, table + index * 4, &entry, sizeof(entry)));
}

static bool collect(void *opaque, const struct page_mapping *mapping)
{
	ck_assert_ptr_eq(opaque, seen);
	ck_assert_uint_lt(nr_seen, SEEN_MAX);
	seen[nr_seen++] = *mapping;
	return nr_seen < seen_max;
}

/* Of a vCPU that is in no inner guest. */
static const struct page_space *space(const struct kvm_sregs2 *sregs)
{
	static struct page_space of;

	of = (struct page_space){ .memory = &memory, .sregs = sregs };
	return &of;
}

/* Walks, and checks that translating each page's first and last byte says the same. */
static bool walk(const struct kvm_sregs2 *sregs)
{
	struct page_mapping m;
	bool complete;

	nr_seen = 0;
	complete = page_space_each(space(sregs), collect, seen);
	for (size_t i = 0; i < nr_seen; i++) {
		for (int last = 0; last < 2; last++) {
			ck_assert(page_space_translate(space(sregs),
						       seen[i].va + last * (seen[i].size - 1), &m));
			ck_assert_uint_eq(m.va, seen[i].va);
			ck_assert_uint_eq(m.pa, seen[i].pa);
			ck_assert_uint_eq(m.size, seen[i].size);
			ck_assert_uint_eq(m.entry, seen[i].entry);
			ck_assert_int_eq(m.user, seen[i].user);
			ck_assert_int_eq(m.writable, seen[i].writable);
			ck_assert_int_eq(m.executable, seen[i].executable);
		}
		if (i > 0)
			ck_assert_uint_ge(seen[i].va, seen[i - 1].va + seen[i - 1].size);
	}
	return complete;
}

static void check_page(size_t i, uint64_t va, uint64_t pa, uint64_t size, const char *rights)
{
	ck_assert_uint_lt(i, nr_seen);
	ck_assert_uint_eq(seen[i].va, va);
	ck_assert_uint_eq(seen[i].pa, pa);
	ck_assert_uint_eq(seen[i].size, size);
	ck_assert_int_eq(seen[i].user, rights[0] == 'u');
	ck_assert_int_eq(seen[i].writable, rights[1] == 'w');
	ck_assert_int_eq(seen[i].executable, rights[2] == 'x');
}

static const struct kvm_sregs2 long_mode = {
	.cr0 = CR0_PG, .cr3 = 0x1000, .cr4 = CR4_PAE, .efer = EFER_LMA | EFER_NXE,
};

START_TEST(modes)
{
	struct kvm_sregs2 s = { .cr4 = CR4_PAE | CR4_LA57, .efer = EFER_LMA };

	ck_assert_int_eq(paging_mode(&s), PAGING_NONE);
	s.cr0 = CR0_PG;
	ck_assert_int_eq(paging_mode(&s), PAGING_5LEVEL);
	s.cr4 = CR4_PAE;
	ck_assert_int_eq(paging_mode(&s), PAGING_4LEVEL);
	s.efer = EFER_NXE;
	ck_assert_int_eq(paging_mode(&s), PAGING_PAE);
	s.cr4 = CR4_PSE | CR4_LA57;
	ck_assert_int_eq(paging_mode(&s), PAGING_32BIT);
}
END_TEST

START_TEST(no_paging)
{
	struct kvm_sregs2 s = { .cr3 = 0x1000 };
	struct page_mapping m;
	uint8_t buf[8];

	reset();
	put64(0x1000, 0, 0x2000 | P);
	ck_assert(walk(&s));
	ck_assert_uint_eq(nr_seen, 0);
	ck_assert(page_space_translate(space(&s), 0x123456789a, &m));
	ck_assert_uint_eq(m.pa + (0x123456789a - m.va), 0x123456789a);
	ck_assert(m.user && m.writable && m.executable);
	memcpy(ram + PART, "above4g", 8);
	ck_assert_uint_eq(page_space_read(space(&s), MEMORY_HIGH, buf, 8), 8);
	ck_assert_mem_eq(buf, "above4g", 8);
}
END_TEST

START_TEST(two_levels)
{
	struct kvm_sregs2 s = { .cr0 = CR0_PG, .cr3 = 0x1018, .cr4 = CR4_PSE };
	struct page_mapping m;

	reset();
	put32(0x1000, 0, 0x2000 | P | W | U);
	put32(0x1000, 1, 0x00c00000 | P | PS | U);              /* 4 MiB */
	put32(0x1000, 2, 0x80000000 | 0x00006000 | P | PS | W); /* PSE-36: bits 33 and 32 */
	put32(0x1000, 1023, 0x3000 | P | W);
	put32(0x2000, 0, 0x5000 | P | W);
	put32(0x2000, 5, 0x7000 | P | U);
	put32(0x2000, 1023, 0xfffff000 | P | W | U);            /* leaves may lie anywhere */
	put32(0x3000, 1023, 0x9000 | P | W | U | PS);           /* bit 7 is PAT there */
	ck_assert(walk(&s));
	ck_assert_uint_eq(nr_seen, 6);
	check_page(0, 0, 0x5000, 4096, "-wx");
	check_page(1, 0x5000, 0x7000, 4096, "u-x");
	check_page(2, 0x3ff000, 0xfffff000, 4096, "uwx");
	check_page(3, 0x400000, 0xc00000, 4 << 20, "u-x");
	check_page(4, 0x800000, 0x380000000, 4 << 20, "-wx");
	check_page(5, 0xfffff000, 0x9000, 4096, "-wx");
	ck_assert_uint_eq(seen[3].entry, 0x00c00000 | P | PS | U);
	/* Bits above 31 of an address do not count. */
	ck_assert(page_space_translate(space(&s), 0xfffffffffffffff8, &m));
	ck_assert_uint_eq(m.pa, 0x9000);
	ck_assert(!page_space_translate(space(&s), 0x6000, &m));

	/* Without PSE the same entries are tables, and those are not in RAM. */
	s.cr4 = 0;
	ck_assert(walk(&s));
	ck_assert_uint_eq(nr_seen, 4);
}
END_TEST

START_TEST(pae)
{
	struct kvm_sregs2 s = {
		.cr0 = CR0_PG, .cr3 = 0x1020, .cr4 = CR4_PAE, .efer = EFER_NXE,
	};
	struct page_mapping m;

	reset();
	put64(0x1020, 0, 0x2000 | P);           /* no rights in PDPTEs */
	put64(0x1020, 3, 0x3000 | P);
	put64(0x1020, 4, 0x2000 | P);           /* is no PDPTE any more */
	put64(0x2000, 0, 0x4000 | P | W | U);
	put64(0x2000, 1, 0x200000 | P | W | U | PS | NX);
	put64(0x3000, 511, 0x4000 | P | W | U | NX);
	put64(0x4000, 1, 0x5000 | P | U);
	put64(0x4000, 511, 0x000f123456789000 | P | W | U);
	ck_assert(walk(&s));
	ck_assert_uint_eq(nr_seen, 5);
	check_page(0, 0x1000, 0x5000, 4096, "u-x");
	check_page(1, 0x1ff000, 0x000f123456789000, 4096, "uwx");
	check_page(2, 0x200000, 0x200000, 2 << 20, "uw-");
	check_page(3, 0xffe01000, 0x5000, 4096, "u--");
	check_page(4, 0xfffff000, 0x000f123456789000, 4096, "uw-");

	/* The registers count, not what memory has become since. */
	s.flags = KVM_SREGS2_FLAGS_PDPTRS_VALID;
	s.pdptrs[1] = 0x3000 | P;
	ck_assert(walk(&s));
	ck_assert_uint_eq(nr_seen, 2);
	check_page(0, 0x7fe01000, 0x5000, 4096, "u--");
	ck_assert(page_space_translate(space(&s), 0x17fffffff, &m));
	ck_assert_uint_eq(m.va, 0x7ffff000);
	ck_assert(!page_space_translate(space(&s), 0x1000, &m));
}
END_TEST

START_TEST(four_levels)
{
	struct kvm_sregs2 s = long_mode;
	struct page_mapping m;

	s.cr3 |= 0x8000000000000fffULL & ~0x1000ULL;    /* PCID and its bit */
	reset();
	put64(0x1000, 0, 0x2000 | P | W | U);
	put64(0x1000, 255, 0x2000 | P | W);
	put64(0x1000, 256, 0x2000 | P | U);
	put64(0x1000, 511, 0x2000 | P | W | U | NX);
	put64(0x2000, 0, 0x3000 | P | W | U);
	put64(0x2000, 511, 0x40000000 | P | W | U | PS | A);
	put64(0x3000, 1, 0x200000 | 0x1000 | P | W | U | PS);   /* bit 12 is PAT */
	put64(0x3000, 2, 0x4000 | P | W | U);
	put64(0x4000, 511, 0x7000 | P | W | U | PS);
	ck_assert(walk(&s));
	ck_assert_uint_eq(nr_seen, 12);
	check_page(0, 0x200000, 0x200000, 2 << 20, "uwx");
	check_page(1, 0x5ff000, 0x7000, 4096, "uwx");
	check_page(2, 0x7fc0000000, 0x40000000, 1 << 30, "uwx");
	check_page(3, 0x7f8000200000, 0x200000, 2 << 20, "-wx");
	check_page(6, 0xffff800000200000, 0x200000, 2 << 20, "u-x");
	check_page(11, 0xffffffffc0000000, 0x40000000, 1 << 30, "uw-");
	ck_assert_uint_eq(seen[11].entry, 0x40000000 | P | W | U | PS | A);

	/* Not canonical, though bits 47:0 are mapped. */
	ck_assert(!page_space_translate(space(&s), 0x1000000200000, &m));
	ck_assert(!page_space_translate(space(&s), 0xffff000000200000, &m));
	ck_assert(!page_space_translate(space(&s), 0x800000200000, &m));

	/* Without NXE bit 63 takes nothing away. */
	s.efer = EFER_LMA;
	ck_assert(walk(&s));
	check_page(11, 0xffffffffc0000000, 0x40000000, 1 << 30, "uwx");
}
END_TEST

START_TEST(five_levels)
{
	struct kvm_sregs2 s = long_mode;
	struct page_mapping m;

	s.cr4 |= CR4_LA57;
	reset();
	put64(0x1000, 1, 0x2000 | P | W | U);
	put64(0x1000, 256, 0x2000 | P | W);
	put64(0x2000, 3, MEMORY_HIGH | 0x3000 | P | W | U);     /* tables above 4 GiB */
	put64(MEMORY_HIGH + 0x3000, 5, 0x4000 | P | U);
	put64(0x4000, 7, 0x5000 | P | W | U);
	put64(0x5000, 9, 0xa000 | P | W | U);
	ck_assert(walk(&s));
	ck_assert_uint_eq(nr_seen, 2);
	check_page(0, 1ULL << 48 | 3ULL << 39 | 5ULL << 30 | 7 << 21 | 9 << 12, 0xa000, 4096,
		   "u-x");
	check_page(1, 0xff00ULL << 48 | 3ULL << 39 | 5ULL << 30 | 7 << 21 | 9 << 12, 0xa000, 4096,
		   "--x");
	ck_assert(!page_space_translate(space(&s), seen[0].va | 1ULL << 58, &m));
	/* The tables of five levels are not those of four. */
	s.cr4 = CR4_PAE;
	ck_assert(!page_space_translate(space(&s), seen[0].va, &m));
}
END_TEST

START_TEST(outside_ram)
{
	struct kvm_sregs2 s = long_mode;
	struct page_mapping m;

	reset();
	put64(0x1000, 0, PART | P | W | U);             /* right behind RAM */
	put64(0x1000, 1, (PART - 4096) | P | W | U);    /* its last page */
	put64(0x1000, 2, 0x000ffffffffff000 | P | W | U);
	put64(PART - 4096, 0, 0x40000000 | P | PS);
	ck_assert(walk(&s));
	ck_assert_uint_eq(nr_seen, 1);
	ck_assert_uint_eq(seen[0].va, 1ULL << 39);
	ck_assert(!page_space_translate(space(&s), 0, &m));

	s.cr3 = PART;
	ck_assert(walk(&s));
	ck_assert_uint_eq(nr_seen, 0);
	s.cr3 = PART - 32;
	s.efer = 0;                                     /* PAE: 32 bytes are a whole table */
	put64(PART - 32, 0, 0x4000 | P);
	put64(0x4000, 0, 0 | P | PS);
	ck_assert(walk(&s));
	ck_assert_uint_eq(nr_seen, 1);
}
END_TEST

START_TEST(self_reference)
{
	struct kvm_sregs2 s = long_mode;

	reset();
	put64(0x1000, 511, 0x1000 | P | W);
	ck_assert(walk(&s));
	ck_assert_uint_eq(nr_seen, 1);
	check_page(0, 0xfffffffffffff000, 0x1000, 4096, "-wx");
}
END_TEST

static bool count(void *opaque, const struct page_mapping *mapping)
{
	(void)mapping;
	++*(uint64_t *)opaque;
	return true;
}

START_TEST(endless)
{
	struct kvm_sregs2 s = long_mode;
	uint64_t pages = 0;

	/* 2^36 pages out of one. */
	reset();
	for (unsigned int i = 0; i < 512; i++)
		put64(0x1000, i, 0x1000 | P | W);
	ck_assert(!page_space_each(space(&s), count, &pages));
	ck_assert_uint_lt(pages, PAGEWALK_MAX_TABLES * 512ULL);
	/* 2 + 128 + 128 * 510 tables are just within the limit. */
	for (unsigned int i = 1; i < 512; i++)
		put64(0x1000, i, 0);
	put64(0x1000, 0, 0x2000 | P);
	for (unsigned int i = 0; i < 128; i++)
		put64(0x2000, i, 0x3000 | P);
	for (unsigned int i = 0; i < 510; i++)
		put64(0x3000, i, 0x4000 | P);
	put64(0x4000, 0, P);
	pages = 0;
	ck_assert(page_space_each(space(&s), count, &pages));
	ck_assert_uint_eq(pages, 128 * 510);
	put64(0x2000, 128, 0x3000 | P);
	pages = 0;
	ck_assert(!page_space_each(space(&s), count, &pages));
	ck_assert_uint_eq(pages, PAGEWALK_MAX_TABLES - 2 - 129);
}
END_TEST

START_TEST(ended_by_callback)
{
	struct kvm_sregs2 s = long_mode;

	reset();
	put64(0x1000, 0, 0x2000 | P);
	put64(0x2000, 0, P | PS);
	put64(0x2000, 1, P | PS);
	seen_max = 1;
	ck_assert(!walk(&s));
	ck_assert_uint_eq(nr_seen, 1);
}
END_TEST

START_TEST(reading)
{
	struct kvm_sregs2 s = long_mode;
	uint8_t buf[3 * 4096], expected[3 * 4096];

	reset();
	put64(0x1000, 0, 0x2000 | P);
	put64(0x1000, 511, 0x2000 | P);
	put64(0x2000, 0, 0x3000 | P);
	put64(0x2000, 511, 0x3000 | P);
	put64(0x3000, 0, 0x4000 | P);
	put64(0x3000, 1, 0 | P | PS);           /* 2 MiB, of which 512 KiB are RAM */
	put64(0x3000, 511, 0x4000 | P);
	put64(0x4000, 0, (MEMORY_HIGH + 0x8000) | P);
	put64(0x4000, 1, 0x6000 | P);
	put64(0x4000, 511, 0x5000 | P);
	for (unsigned int i = 0; i < 4096; i++) {
		ram[PART + 0x8000 + i] = i * 3;
		ram[0x6000 + i] = i * 5;
		ram[0x5000 + i] = i * 7;
	}
	memcpy(expected, ram + PART + 0x8000, 4096);
	memcpy(expected + 4096, ram + 0x6000, 4096);
	ck_assert_uint_eq(page_space_read(space(&s), 0, buf, sizeof(buf)), 8192);
	ck_assert_mem_eq(buf, expected, 8192);
	ck_assert_uint_eq(page_space_read(space(&s), 4091, buf, 10), 10);
	ck_assert_mem_eq(buf, expected + 4091, 10);
	ck_assert_uint_eq(page_space_read(space(&s), 0x2000, buf, 1), 0);
	/* To the last byte that is RAM, within a page that goes on. */
	ck_assert_uint_eq(page_space_read(space(&s), 0x200000 + PART - 100, buf, 200), 100);
	/* Over the top to 0. */
	ck_assert_uint_eq(page_space_read(space(&s), 0xfffffffffffffffe, buf, 4), 4);
	ck_assert_mem_eq(buf, ram + 0x5ffe, 2);
	ck_assert_mem_eq(buf + 2, expected, 2);
	ck_assert_uint_eq(page_space_read(space(&s), 0, buf, 0), 0);
}
END_TEST

/* ---- An inner guest, whose physical memory nested tables map ---- */

/* Inner pages 1 to 5 are 0x11 to 0x15, and those of 2 MiB from 2 MiB on are RAM from 0 on. */
static struct page_space nested_space(const struct kvm_sregs2 *sregs, bool ept)
{
	const uint64_t rights = ept ? 4 : P | W | U;    /* EPT: may be executed, and not read */
	struct page_space space = {
		.memory = &memory, .sregs = sregs, .nested = true, .ept = ept,
		.outer = { .cr0 = CR0_PG, .cr3 = 0x40000 | (ept ? 0x1e : 0), .cr4 = CR4_PAE,
			   .efer = EFER_LMA },
	};

	reset();
	put64(0x40000, 0, 0x41000 | rights);
	put64(0x41000, 0, 0x42000 | rights);
	put64(0x42000, 0, 0x43000 | rights);
	put64(0x42000, 1, 0 | rights | PS);
	for (unsigned int page = 1; page <= 5; page++)
		put64(0x43000, page, 0x10000 | page << 12 | rights);
	return space;
}

START_TEST(an_inner_guest)
{
	struct page_space space = nested_space(&long_mode, _i);
	struct page_mapping m;
	uint64_t gpa, size;
	uint8_t buf[8];

	/* Its tables, at its pages 1 to 4: its page 5 at 0, a hole, and a large page. */
	put64(0x11000, 0, 0x2000 | P | W | U);
	put64(0x12000, 0, 0x3000 | P | W | U);
	put64(0x13000, 0, 0x4000 | P | W | U);
	put64(0x13000, 1, 0x200000 | P | W | PS);
	put64(0x14000, 0, 0x5000 | P | W);
	put64(0x14000, 1, 0x6000 | P | W);
	put64(0x14000, 2, 0x5000 | W);          /* not present, whatever EPT would say */
	/* What would be found where the tables are not. */
	put64(0x1000, 0, 0x9000 | P);
	put64(0x2000, 0, 0x9000 | P | PS);
	memcpy(ram + 0x15ffc, "inner", 4);
	memcpy(ram + 0x6123, "large", 5);

	nr_seen = 0;
	ck_assert(page_space_each(&space, collect, seen));
	ck_assert_uint_eq(nr_seen, 3);
	check_page(0, 0, 0x5000, 4096, "-wx");          /* as the tables have it */
	check_page(1, 0x1000, 0x6000, 4096, "-wx");
	check_page(2, 0x200000, 0x200000, 2 << 20, "-wx");
	ck_assert(page_space_translate(&space, 0xffc, &m));
	ck_assert_uint_eq(m.pa, 0x5000);
	ck_assert_uint_eq(page_space_read(&space, 0xffc, buf, 8), 4);   /* page 6 is not mapped */
	ck_assert_mem_eq(buf, "inne", 4);
	ck_assert_uint_eq(page_space_read(&space, 0x206123, buf, 5), 5);
	ck_assert_mem_eq(buf, "large", 5);
	ck_assert_uint_eq(page_space_read(&space, 0x1000, buf, 1), 0);
	ck_assert(page_space_read_physical(&space, 0x5ffc, buf, 4));
	ck_assert_mem_eq(buf, "inne", 4);
	ck_assert(!page_space_read_physical(&space, 0x6000, buf, 4));
	/* Its physical addresses have no sign, and end somewhere. */
	put64(0x40000, 256, 0x41000 | (_i ? 4 : P | W | U));
	ck_assert(page_space_place(&space, 1ULL << 47 | 0x5ffc, &gpa, &size));
	ck_assert_uint_eq(gpa, 0x15ffc);
	ck_assert_uint_eq(size, 4);
	ck_assert(!page_space_place(&space, 1ULL << 48 | 0x5000, &gpa, &size));
	ck_assert(!page_space_place(&space, 0xffff800000005000, &gpa, &size));
	/* Without EPT's meaning of its bits there is nothing. */
	space.ept = false;
	ck_assert_int_eq(page_space_translate(&space, 0xffc, &m), !_i);
}
END_TEST

/* One that does not page itself, and one whose PDPT is somewhere in its memory. */
START_TEST(an_inner_guest_of_another_mode)
{
	struct kvm_sregs2 s = { .cr0 = 0x11 };
	struct page_space space = nested_space(&s, _i);
	struct page_mapping m;
	uint64_t gpa, size;
	uint8_t buf[5];

	memcpy(ram + 0x15123, "inner", 5);
	ck_assert_uint_eq(page_space_read(&space, 0x5123, buf, 5), 5);
	ck_assert_mem_eq(buf, "inner", 5);
	ck_assert_uint_eq(page_space_read(&space, 0x6123, buf, 5), 0);

	s = (struct kvm_sregs2){ .cr0 = CR0_PG, .cr3 = 0x1020, .cr4 = CR4_PAE };
	put64(0x11000, 4, 0x2000 | P);
	put64(0x12000, 0, 0x3000 | P | W);
	put64(0x13000, 7, 0x5000 | P | W);
	ck_assert_uint_eq(page_space_read(&space, 0x7123, buf, 5), 5);
	ck_assert_mem_eq(buf, "inner", 5);
	s.flags = KVM_SREGS2_FLAGS_PDPTRS_VALID;
	ck_assert(!page_space_translate(&space, 0x7123, &m));
	s.pdptrs[1] = 0x2000 | P;
	ck_assert(page_space_translate(&space, 0x40007123, &m));

	/* Nested tables of 32 bits map 4 GiB, once. */
	space.ept = false;
	space.outer.efer = 0;
	space.outer.cr4 = 0;
	put64(0x40000, 0, 0x41000 | P);
	put64(0x41000, 2, 0x6000 | P);          /* its entry of 32 bits for page 4 */
	ck_assert(page_space_place(&space, 0x4abc, &gpa, &size));
	ck_assert_uint_eq(gpa, 0x6abc);
	ck_assert(!page_space_place(&space, 1ULL << 32 | 0x4abc, &gpa, &size));
}
END_TEST

Suite *pagewalk_suite(void)
{
	Suite *suite = suite_create("pagewalk");
	TCase *tc = tcase_create("pagewalk");

	tcase_set_timeout(tc, 60);      /* `endless`, slow where sanitizers are in */
	tcase_add_test(tc, modes);
	tcase_add_test(tc, no_paging);
	tcase_add_test(tc, two_levels);
	tcase_add_test(tc, pae);
	tcase_add_test(tc, four_levels);
	tcase_add_test(tc, five_levels);
	tcase_add_test(tc, outside_ram);
	tcase_add_test(tc, self_reference);
	tcase_add_test(tc, endless);
	tcase_add_test(tc, ended_by_callback);
	tcase_add_test(tc, reading);
	tcase_add_loop_test(tc, an_inner_guest, 0, 2);
	tcase_add_loop_test(tc, an_inner_guest_of_another_mode, 0, 2);
	suite_add_tcase(suite, tc);
	return suite;
}
