/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <string.h>

#include "monitor/hmp.h"
#include "tests/unit/suites.h"

/*
 * What is expected here is what QEMU 7.2 printed for guests with these page tables and these
 * registers of the local APIC (-M pc, KVM; TCG for the paging modes that KVM had not).
 */

static uint8_t ram[1 << 20] __attribute__((aligned(4096)));
static const struct memory memory = {
	.host = ram, .size = sizeof(ram), .nr_parts = 1, .part = { { 0, sizeof(ram), ram } },
};
static struct text out;

static void setup(void)
{
	memset(ram, 0, sizeof(ram));
	memset(&out, 0, sizeof(out));
}

static void teardown(void)
{
	text_free(&out);
}

static void put32(uint32_t address, uint32_t value)
{
	memcpy(ram + address, &value, sizeof(value));
}

/* A table of 4 KiB pages that maps memory from 0 on, and its first pages in one way each. */
static void page_table(uint32_t table, unsigned int entries)
{
	unsigned int size = 4096 / entries;

	for (unsigned int i = 0; i < entries; i++)
		put32(table + i * size, i << 12 | 3);
	put32(table + 1 * size, 0x1107);
	put32(table + 2 * size, 0x2005);
	put32(table + 3 * size, 0);
}

static const char *mem(const struct kvm_sregs2 *sregs)
{
	text_free(&out);
	hmp_print_mem(&out, &(struct page_space){ .memory = &memory, .sregs = sregs });
	ck_assert(!out.failed);
	return out.bytes ? out.bytes : "";
}

static const char *tlb(const struct kvm_sregs2 *sregs)
{
	text_free(&out);
	hmp_print_tlb(&out, &(struct page_space){ .memory = &memory, .sregs = sregs });
	ck_assert(!out.failed);
	return out.bytes ? out.bytes : "";
}

START_TEST(paging_off)
{
	struct kvm_sregs2 s = { .cr0 = 1 };

	ck_assert_str_eq(mem(&s), "PG disabled\n");
	ck_assert_str_eq(tlb(&s), "PG disabled\n");
}
END_TEST

START_TEST(paging_32bit)
{
	struct kvm_sregs2 s = { .cr0 = 0x80010011, .cr3 = 0x10000, .cr4 = 0x90 };

	put32(0x10000, 0x11007);
	put32(0x10004, 0x00400083);
	put32(0x10008, 0x008001e7);
	put32(0x1000c, 0x00000085);
	put32(0x10ff8, 0x00012007);
	put32(0x10ffc, 0x00010003);
	page_table(0x11000, 1024);
	put32(0x11010, 0x4065);
	put32(0x11014, 0x50ff);
	put32(0x12000, 0x000b8005);
	put32(0x12ffc, 0x000b801f);
	ck_assert_str_eq(mem(&s),
		"0000000000000000-0000000000001000 0000000000001000 -rw\n"
		"0000000000001000-0000000000002000 0000000000001000 urw\n"
		"0000000000002000-0000000000003000 0000000000001000 ur-\n"
		"0000000000004000-0000000000005000 0000000000001000 ur-\n"
		"0000000000005000-0000000000006000 0000000000001000 urw\n"
		"0000000000006000-0000000000800000 00000000007fa000 -rw\n"
		"0000000000800000-0000000000c00000 0000000000400000 urw\n"
		"0000000000c00000-0000000001000000 0000000000400000 ur-\n"
		"00000000ff800000-00000000ff801000 0000000000001000 ur-\n"
		"00000000ffbff000-00000000ffc00000 0000000000001000 urw\n"
		"00000000ffc00000-00000000ffc03000 0000000000003000 -rw\n"
		"00000000ffc03000-00000000ffc04000 0000000000001000 -r-\n"
		"00000000ffffe000-0000000100000000 0000000000002000 -rw\n");
	ck_assert_ptr_nonnull(strstr(tlb(&s),
		"00000000003ff000: 00000000003ff000 --------W\n"
		"0000000000400000: 0000000000400000 --P-----W\n"
		"0000000000800000: 0000000000800000 -GPDA--UW\n"
		"0000000000c00000: 0000000000000000 --P----U-\n"
		"00000000ff800000: 00000000000b8000 -------U-\n"
		"00000000ffbff000: 00000000000b8000 -----CTUW\n"));
	/* Here QEMU shows bits of the entry that are no part of the address. */
	put32(0x1000c, 0x00c06085);
	ck_assert_ptr_nonnull(strstr(tlb(&s), "0000000000c00000: 0000000300c00000 --P----U-\n"));
}
END_TEST

START_TEST(paging_pae)
{
	struct kvm_sregs2 s = {
		.cr0 = 0x80010011, .cr3 = 0x10000, .cr4 = 0xb0, .efer = 0x800,
	};

	put32(0x10000, 0x11001);
	put32(0x10008, 0x13001);
	put32(0x10010, 0x13001);
	put32(0x10018, 0x12001);
	put32(0x11000, 0x14007);
	put32(0x11008, 0x002000e7);
	put32(0x11010, 0x004000e3);
	put32(0x11014, 0x80000000);
	put32(0x12ff8, 0x00000083);
	put32(0x13000, 0x00600085);
	page_table(0x14000, 512);
	put32(0x14024, 0x80000000);
	ck_assert_str_eq(mem(&s),
		"0000000000000000-0000000000001000 0000000000001000 -rw\n"
		"0000000000001000-0000000000002000 0000000000001000 urw\n"
		"0000000000002000-0000000000003000 0000000000001000 ur-\n"
		"0000000000004000-0000000000200000 00000000001fc000 -rw\n"
		"0000000000200000-0000000000400000 0000000000200000 urw\n"
		"0000000000400000-0000000000600000 0000000000200000 -rw\n"
		"0000000040000000-0000000040200000 0000000000200000 ur-\n"
		"0000000080000000-0000000080200000 0000000000200000 ur-\n"
		"00000000ffe00000-0000000100000000 0000000000200000 -rw\n");
	/* QEMU leaves bit 63 in the address. */
	ck_assert_ptr_nonnull(strstr(tlb(&s), "\n0000000000004000: 0000000000004000 X-------W\n"));
}
END_TEST

START_TEST(paging_4level)
{
	struct kvm_sregs2 s = {
		.cr0 = 0x80010011, .cr3 = 0x10000, .cr4 = 0x6a0, .efer = 0xd00,
	};

	put32(0x10000, 0x11027);
	put32(0x10800, 0x11003);
	put32(0x10ff8, 0x10003);
	put32(0x11000, 0x12027);
	put32(0x11008, 0x40000087);
	put32(0x12000, 0x13027);
	put32(0x12008, 0x002000e7);
	put32(0x12010, 0x004000e3);
	put32(0x12014, 0x80000000);
	put32(0x12018, 0x006001e5);
	page_table(0x13000, 512);
	put32(0x13024, 0x80000000);
	put32(0x13000, 0x63);
	put32(0x13028, 0x50ff);
	ck_assert_str_eq(mem(&s),
		"0000000000000000-0000000000001000 0000000000001000 -rw\n"
		"0000000000001000-0000000000002000 0000000000001000 urw\n"
		"0000000000002000-0000000000003000 0000000000001000 ur-\n"
		"0000000000004000-0000000000005000 0000000000001000 -rw\n"
		"0000000000005000-0000000000006000 0000000000001000 urw\n"
		"0000000000006000-0000000000200000 00000000001fa000 -rw\n"
		"0000000000200000-0000000000400000 0000000000200000 urw\n"
		"0000000000400000-0000000000600000 0000000000200000 -rw\n"
		"0000000000600000-0000000000800000 0000000000200000 ur-\n"
		"0000000040000000-0000000080000000 0000000040000000 urw\n"
		"ffff800000000000-ffff800000002000 0000000000002000 -rw\n"
		"ffff800000002000-ffff800000003000 0000000000001000 -r-\n"
		"ffff800000004000-ffff800000600000 00000000005fc000 -rw\n"
		"ffff800000600000-ffff800000800000 0000000000200000 -r-\n"
		"ffff800040000000-ffff800080000000 0000000040000000 -rw\n"
		"ffffff8000000000-ffffff8000003000 0000000000003000 -rw\n"
		"ffffff8000003000-ffffff8000004000 0000000000001000 -r-\n"
		"ffffff8000200000-ffffff8000400000 0000000000200000 -rw\n"
		"ffffffc000000000-ffffffc000003000 0000000000003000 -rw\n"
		"ffffffc000003000-ffffffc000004000 0000000000001000 -r-\n"
		"ffffffc000200000-ffffffc000400000 0000000000200000 -rw\n"
		"ffffffffc0000000-ffffffffc0002000 0000000000002000 -rw\n"
		"ffffffffe0000000-ffffffffe0002000 0000000000002000 -rw\n"
		"ffffffffffe00000-ffffffffffe01000 0000000000001000 -rw\n"
		"fffffffffff00000-fffffffffff01000 0000000000001000 -rw\n"
		"fffffffffffff000-0001000000000000 0000000000001000 -rw\n");
	ck_assert_int_eq(strncmp(tlb(&s),
		"0000000000000000: 0000000000000000 ---DA---W\n"
		"0000000000001000: 0000000000001000 -G-----UW\n"
		"0000000000002000: 0000000000002000 -------U-\n"
		"0000000000004000: 0000000000004000 X-------W\n"
		"0000000000005000: 0000000000005000 ---DACTUW\n"
		"0000000000006000: 0000000000006000 --------W\n", 6 * 45), 0);
	ck_assert_ptr_nonnull(strstr(tlb(&s),
		"ffff8000001ff000: 00000000001ff000 --------W\n"
		"ffff800000200000: 0000000000200000 --PDA--UW\n"
		"ffff800000400000: 0000000000400000 X-PDA---W\n"
		"ffff800000600000: 0000000000600000 -GPDA--U-\n"
		"ffff800040000000: 0000000040000000 --P----UW\n"
		"ffffff8000000000: 0000000000013000 ----A--UW\n"
		"ffffff8000001000: 0000000000200000 ---DA--UW\n"
		"ffffff8000002000: 0000000000400000 X--DA---W\n"
		"ffffff8000003000: 0000000000600000 -G-DA--U-\n"
		"ffffff8000200000: 0000000040000000 --P----UW\n"
		"ffffffc000000000: 0000000000013000 ----A--UW\n"
		"ffffffc000001000: 0000000000200000 ---DA--UW\n"
		"ffffffc000002000: 0000000000400000 X--DA---W\n"
		"ffffffc000003000: 0000000000600000 -G-DA--U-\n"
		"ffffffc000200000: 0000000040000000 --P----UW\n"
		"ffffffffc0000000: 0000000000012000 ----A--UW\n"
		"ffffffffc0001000: 0000000040000000 -------UW\n"
		"ffffffffe0000000: 0000000000012000 ----A--UW\n"
		"ffffffffe0001000: 0000000040000000 -------UW\n"
		"ffffffffffe00000: 0000000000011000 ----A--UW\n"
		"fffffffffff00000: 0000000000011000 --------W\n"
		"fffffffffffff000: 0000000000010000 --------W\n"));
}
END_TEST

START_TEST(whole_halves)
{
	struct kvm_sregs2 s = { .cr0 = 1u << 31, .cr3 = 0x10000, .cr4 = 0x20, .efer = 0x500 };

	/* All of the address space in pages of 1 GiB; one hole in the upper half. */
	for (unsigned int i = 0; i < 512; i++) {
		put32(0x10000 + i * 8, 0x11003);
		put32(0x11000 + i * 8, 0x83);
	}
	ck_assert_str_eq(mem(&s), "0000000000000000-0001000000000000 0001000000000000 -rw\n");
	put32(0x10000 + 300 * 8, 0);
	ck_assert_str_eq(mem(&s), "0000000000000000-ffff960000000000 0000960000000000 -rw\n"
			 "ffff968000000000-0001000000000000 0000698000000000 -rw\n");
	s.cr4 |= 0x1000;
	for (unsigned int i = 0; i < 512; i++)
		put32(0x12000 + i * 8, 0x10003);
	put32(0x12000, 0);
	s.cr3 = 0x12000;
	ck_assert_int_eq(strncmp(mem(&s), "0001000000000000-0001960000000000 ", 34), 0);
}
END_TEST

START_TEST(too_much)
{
	struct kvm_sregs2 s = { .cr0 = 1u << 31, .cr3 = 0x10000, .cr4 = 0x20, .efer = 0x500 };
	static const char cut[] = "The list ends here, after 8 MiB\n";

	for (unsigned int i = 0; i < 512; i++)
		put32(0x10000 + i * 8, 0x10003);
	tlb(&s);
	ck_assert_uint_ge(out.len, HMP_OUTPUT_MAX);
	ck_assert_uint_lt(out.len, HMP_OUTPUT_MAX + 200);
	ck_assert_str_eq(out.bytes + out.len - strlen(cut), cut);
	ck_assert_ptr_nonnull(strstr(mem(&s), "-rw\nThe list ends here: the page tables refer"));
	/* Ranges that do not come together. */
	for (unsigned int i = 0; i < 512; i += 2)
		put32(0x10000 + i * 8, 0);
	mem(&s);
	ck_assert_uint_ge(out.len, HMP_OUTPUT_MAX);
	ck_assert_str_eq(out.bytes + out.len - strlen(cut), cut);
}
END_TEST

static struct kvm_lapic_state lapic;

static void set(unsigned int offset, uint32_t value)
{
	memcpy(lapic.regs + offset, &value, sizeof(value));
}

static const char *printed_lapic(bool x2apic)
{
	text_free(&out);
	hmp_print_lapic(&out, 0, &lapic, x2apic);
	ck_assert(!out.failed);
	return out.bytes;
}

/* What all guests below had in common. */
static void lapic_base(void)
{
	memset(&lapic, 0, sizeof(lapic));
	set(0x80, 0x20);
	set(0xe0, 0xffffffff);
	set(0xf0, 0x3ff);
	set(0x320, 0x30040);
	set(0x330, 0x10141);
	set(0x340, 0x10242);
	set(0x350, 0x1a743);
	set(0x360, 0x12544);
	set(0x370, 0x10045);
	set(0x3e0, 0xb);
}

START_TEST(lapic_timer)
{
	lapic_base();
	set(0x300, 0x44051);
	set(0x380, 4096);
	set(0x390, 960);
	set(0x220, 1 << (81 - 64));
	ck_assert_str_eq(printed_lapic(false),
		"dumping local APIC state for CPU 0 \n"
		"\n"
		"LVT0\t 0x0001a743 active-lo level masked                      ExtINT (vec 67)\n"
		"LVT1\t 0x00012544 active-lo edge  masked                      INIT   (vec 68)\n"
		"LVTPC\t 0x00010242 active-hi edge  masked                      SMI    (vec 66)\n"
		"LVTERR\t 0x00010045 active-hi edge  masked                      Fixed  (vec 69)\n"
		"LVTTHMR\t 0x00010141 active-hi edge  masked                      ...    (vec 65)\n"
		"LVTT\t 0x00030040 active-hi edge  masked         periodic     Fixed  (vec 64)\n"
		"Timer\t DCR=0xb (divide by 1) initial_count = 4096 current_count = 960\n"
		"SPIV\t 0x000003ff APIC enabled, focus=on, spurious vec 255\n"
		"ICR\t 0x00044051 physical edge assert self\n"
		"ICR2\t 0x00000000\n"
		"ESR\t 0x00000000\n"
		"ISR\t (none)\n"
		"IRR\t 81 \n"
		"\n"
		"APR 0x00 TPR 0x20 DFR 0x0f LDR 0x00 PPR 0x20\n");
	ck_assert_ptr_eq(strstr(printed_lapic(false), "(level)"), NULL);
}
END_TEST

START_TEST(lapic_cluster)
{
	lapic_base();
	set(0xf0, 0x1ff);
	set(0xe0, 0x0fffffff);
	set(0xd0, 0x21000000);
	set(0x310, 0x31000000);
	set(0x300, 0x961);
	set(0x3e0, 3);
	ck_assert_str_eq(printed_lapic(false),
		"dumping local APIC state for CPU 0 \n"
		"\n"
		"LVT0\t 0x0001a743 active-lo level masked                      ExtINT (vec 67)\n"
		"LVT1\t 0x00012544 active-lo edge  masked                      INIT   (vec 68)\n"
		"LVTPC\t 0x00010242 active-hi edge  masked                      SMI    (vec 66)\n"
		"LVTERR\t 0x00010045 active-hi edge  masked                      Fixed  (vec 69)\n"
		"LVTTHMR\t 0x00010141 active-hi edge  masked                      ...    (vec 65)\n"
		"LVTT\t 0x00030040 active-hi edge  masked         periodic     Fixed  (vec 64)\n"
		"Timer\t DCR=0x3 (divide by 16) initial_count = 0 current_count = 0\n"
		"SPIV\t 0x000001ff APIC enabled, focus=off, spurious vec 255\n"
		"ICR\t 0x00000961 logical edge de-assert no-shorthand\n"
		"ICR2\t 0x31000000 cluster 3 mask 0001 (APIC ID)\n"
		"ESR\t 0x00000000\n"
		"ISR\t (none)\n"
		"IRR\t (none)\n"
		"\n"
		"APR 0x00 TPR 0x20 DFR 0x00 LDR 0x21(cluster 2: id 1) PPR 0x20\n");
}
END_TEST

START_TEST(lapic_flat)
{
	lapic_base();
	set(0xd0, 0x01000000);
	set(0x310, 0x83000000);
	set(0x300, 0x861);
	set(0x320, 0x50040);
	set(0x230, 1 << (97 - 96));
	ck_assert_str_eq(printed_lapic(false),
		"dumping local APIC state for CPU 0 \n"
		"\n"
		"LVT0\t 0x0001a743 active-lo level masked                      ExtINT (vec 67)\n"
		"LVT1\t 0x00012544 active-lo edge  masked                      INIT   (vec 68)\n"
		"LVTPC\t 0x00010242 active-hi edge  masked                      SMI    (vec 66)\n"
		"LVTERR\t 0x00010045 active-hi edge  masked                      Fixed  (vec 69)\n"
		"LVTTHMR\t 0x00010141 active-hi edge  masked                      ...    (vec 65)\n"
		"LVTT\t 0x00050040 active-hi edge  masked         tsc-deadline Fixed  (vec 64)\n"
		"Timer\t DCR=0xb (divide by 1) initial_count = 0 current_count = 0\n"
		"SPIV\t 0x000003ff APIC enabled, focus=on, spurious vec 255\n"
		"ICR\t 0x00000861 logical edge de-assert no-shorthand\n"
		"ICR2\t 0x83000000 mask 10000011 (APIC ID)\n"
		"ESR\t 0x00000000\n"
		"ISR\t (none)\n"
		"IRR\t 97 \n"
		"\n"
		"APR 0x00 TPR 0x20 DFR 0x0f LDR 0x01 PPR 0x20\n");
}
END_TEST

START_TEST(lapic_many_vectors)
{
	lapic_base();
	set(0x300, 0x80071);
	set(0x310, 0x01000000);
	set(0x380, 4294967295u);
	set(0x390, 4294802683u);
	set(0x220, 1 << (81 - 64));
	set(0x230, 1 << (113 - 96));
	set(0x240, 1 << (153 - 128));
	ck_assert_str_eq(printed_lapic(false),
		"dumping local APIC state for CPU 0 \n"
		"\n"
		"LVT0\t 0x0001a743 active-lo level masked                      ExtINT (vec 67)\n"
		"LVT1\t 0x00012544 active-lo edge  masked                      INIT   (vec 68)\n"
		"LVTPC\t 0x00010242 active-hi edge  masked                      SMI    (vec 66)\n"
		"LVTERR\t 0x00010045 active-hi edge  masked                      Fixed  (vec 69)\n"
		"LVTTHMR\t 0x00010141 active-hi edge  masked                      ...    (vec 65)\n"
		"LVTT\t 0x00030040 active-hi edge  masked         periodic     Fixed  (vec 64)\n"
		"Timer\t DCR=0xb (divide by 1) initial_count = 4294967295 "
		"current_count = 4294802683\n"
		"SPIV\t 0x000003ff APIC enabled, focus=on, spurious vec 255\n"
		"ICR\t 0x00080071 physical edge de-assert all-self\n"
		"ICR2\t 0x01000000\n"
		"ESR\t 0x00000000\n"
		"ISR\t (none)\n"
		"IRR\t 81 113 153 \n"
		"\n"
		"APR 0x00 TPR 0x20 DFR 0x0f LDR 0x00 PPR 0x20\n");
}
END_TEST

START_TEST(lapic_x2apic)
{
	memset(&lapic, 0, sizeof(lapic));
	set(0xe0, 0xffffffff);
	set(0xf0, 0x1ff);
	set(0x320, 0x10000);
	set(0x330, 0x10000);
	set(0x340, 0x10000);
	set(0x350, 0x8700);
	set(0x360, 0x8400);
	set(0x370, 0x10000);
	set(0x300, 0x131);
	set(0x310, 5);
	ck_assert_str_eq(printed_lapic(true),
		"dumping local APIC state for CPU 0 \n"
		"\n"
		"LVT0\t 0x00008700 active-hi level                             ExtINT (vec 0)\n"
		"LVT1\t 0x00008400 active-hi level                             NMI   \n"
		"LVTPC\t 0x00010000 active-hi edge  masked                      Fixed  (vec 0)\n"
		"LVTERR\t 0x00010000 active-hi edge  masked                      Fixed  (vec 0)\n"
		"LVTTHMR\t 0x00010000 active-hi edge  masked                      Fixed  (vec 0)\n"
		"LVTT\t 0x00010000 active-hi edge  masked         one-shot     Fixed  (vec 0)\n"
		"Timer\t DCR=0x0 (divide by 2) initial_count = 0 current_count = 0\n"
		"SPIV\t 0x000001ff APIC enabled, focus=off, spurious vec 255\n"
		"ICR\t 0x00000131 physical edge de-assert no-shorthand\n"
		"ICR2\t 0x00000005 cpu 5 (X2APIC ID)\n"
		"ESR\t 0x00000000\n"
		"ISR\t (none)\n"
		"IRR\t (none)\n"
		"\n"
		"APR 0x00 TPR 0x00 DFR 0x0f LDR 0x00 PPR 0x00\n");
	/* Logical destinations of x2APIC mode: 16 bits of cluster, 16 of members. */
	set(0x300, 0x931);
	set(0x310, 0x00010003);
	ck_assert_ptr_nonnull(strstr(printed_lapic(true),
		"\nICR2\t 0x00010003 cluster 1 mask 0000000000000011 (X2APIC ID)\n"));
}
END_TEST

START_TEST(lapic_priority)
{
	lapic_base();
	set(0x110, 1 << 17);                    /* vector 49 in service, level-triggered */
	set(0x190, 1 << 17);
	set(0x170, 1u << 31);                   /* and 255 */
	ck_assert_ptr_nonnull(strstr(printed_lapic(false), "\nISR\t 49(level) 255 \n"));
	ck_assert_ptr_nonnull(strstr(printed_lapic(false),
				     " TPR 0x20 DFR 0x0f LDR 0x00 PPR 0xf0\n"));
	set(0x170, 0);
	ck_assert_ptr_nonnull(strstr(printed_lapic(false), " PPR 0x30\n"));
	/* Within one class the task counts, whichever number is higher. */
	set(0x110, 1u << 31);
	set(0x80, 0x35);
	ck_assert_ptr_nonnull(strstr(printed_lapic(false), " PPR 0x35\n"));
}
END_TEST

Suite *hmp_paging_suite(void)
{
	Suite *suite = suite_create("hmp_paging");
	TCase *tc = tcase_create("paging");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);      /* `too_much`, slow where sanitizers are in */
	tcase_add_test(tc, paging_off);
	tcase_add_test(tc, paging_32bit);
	tcase_add_test(tc, paging_pae);
	tcase_add_test(tc, paging_4level);
	tcase_add_test(tc, whole_halves);
	tcase_add_test(tc, too_much);
	suite_add_tcase(suite, tc);

	tc = tcase_create("lapic");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, lapic_timer);
	tcase_add_test(tc, lapic_cluster);
	tcase_add_test(tc, lapic_flat);
	tcase_add_test(tc, lapic_many_vectors);
	tcase_add_test(tc, lapic_x2apic);
	tcase_add_test(tc, lapic_priority);
	suite_add_tcase(suite, tc);
	return suite;
}
