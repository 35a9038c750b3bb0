/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <string.h>

#include "monitor/hmp.h"
#include "tests/unit/suites.h"

/*
 * What is expected here is what QEMU 7.2 printed (-M pc, KVM; TCG where the paging mode or the
 * vector registers asked for it) for guests with these values in their registers and tables.
 */

static struct text out;

static void setup(void)
{
	memset(&out, 0, sizeof(out));
}

static void teardown(void)
{
	text_free(&out);
}

static const char *printed(void)
{
	ck_assert(!out.failed);
	return out.bytes ? out.bytes : "";
}

/* ---- Registers ---- */

/* Attributes as in a descriptor's second word, which is how QEMU shows them. */
static struct kvm_segment segment(uint16_t selector, uint64_t base, uint32_t limit, uint32_t flags)
{
	return (struct kvm_segment){
		.base = base, .limit = limit, .selector = selector,
		.type = flags >> 8 & 15, .s = flags >> 12 & 1, .dpl = flags >> 13 & 3,
		.present = flags >> 15 & 1, .avl = flags >> 20 & 1, .l = flags >> 21 & 1,
		.db = flags >> 22 & 1, .g = flags >> 23 & 1, .unusable = !(flags >> 15 & 1),
	};
}

static struct kvm_debugregs debugregs = { .dr6 = 0xffff0ff0, .dr7 = 0x400 };
static struct kvm_fpu fpu;
static struct kvm_regs regs;
static struct kvm_sregs2 sregs;
static struct hmp_registers r;

static void reset_registers(void)
{
	memset(&regs, 0, sizeof(regs));
	memset(&sregs, 0, sizeof(sregs));
	memset(&fpu, 0, sizeof(fpu));
	fpu.fcw = 0x37f;
	fpu.mxcsr = 0x1f80;
	r = (struct hmp_registers){
		.regs = &regs, .sregs = &sregs, .debugregs = &debugregs, .fpu = &fpu,
	};
}

#define NO_X87 \
	"FPR0=0000000000000000 0000 FPR1=0000000000000000 0000\n" \
	"FPR2=0000000000000000 0000 FPR3=0000000000000000 0000\n" \
	"FPR4=0000000000000000 0000 FPR5=0000000000000000 0000\n" \
	"FPR6=0000000000000000 0000 FPR7=0000000000000000 0000\n"
#define NO_XMM \
	"XMM00=0000000000000000 0000000000000000 XMM01=0000000000000000 0000000000000000\n" \
	"XMM02=0000000000000000 0000000000000000 XMM03=0000000000000000 0000000000000000\n" \
	"XMM04=0000000000000000 0000000000000000 XMM05=0000000000000000 0000000000000000\n" \
	"XMM06=0000000000000000 0000000000000000 XMM07=0000000000000000 0000000000000000\n"
#define NO_XMM_64 \
	"XMM08=0000000000000000 0000000000000000 XMM09=0000000000000000 0000000000000000\n" \
	"XMM10=0000000000000000 0000000000000000 XMM11=0000000000000000 0000000000000000\n" \
	"XMM12=0000000000000000 0000000000000000 XMM13=0000000000000000 0000000000000000\n" \
	"XMM14=0000000000000000 0000000000000000 XMM15=0000000000000000 0000000000000000\n"
#define NO_DR \
	"DR0=0000000000000000 DR1=0000000000000000 DR2=0000000000000000 " \
	"DR3=0000000000000000 \nDR6=00000000ffff0ff0 DR7=0000000000000400\n"
#define FPU_RESET "FCW=037f FSW=0000 [ST=0] FTW=00 MXCSR=00001f80\n" NO_X87

START_TEST(registers_after_reset)
{
	reset_registers();
	regs.rip = 0xfff0;
	regs.rflags = 2;
	regs.rdx = 0xc06f2;
	sregs.cs = segment(0xf000, 0xffff0000, 0xffff, 0x9b00);
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = segment(0, 0, 0xffff, 0x9300);
	sregs.ldt = segment(0, 0, 0xffff, 0x8200);
	sregs.tr = segment(0, 0, 0xffff, 0x8b00);
	sregs.gdt.limit = sregs.idt.limit = 0xffff;
	sregs.cr0 = 0x60000010;
	hmp_print_registers(&out, 1, &r);
	ck_assert_str_eq(printed(),
		"\nCPU#1\n"
		"EAX=00000000 EBX=00000000 ECX=00000000 EDX=000c06f2\n"
		"ESI=00000000 EDI=00000000 EBP=00000000 ESP=00000000\n"
		"EIP=0000fff0 EFL=00000002 [-------] CPL=0 II=0 A20=1 SMM=0 HLT=0\n"
		"ES =0000 00000000 0000ffff 00009300\n"
		"CS =f000 ffff0000 0000ffff 00009b00\n"
		"SS =0000 00000000 0000ffff 00009300\n"
		"DS =0000 00000000 0000ffff 00009300\n"
		"FS =0000 00000000 0000ffff 00009300\n"
		"GS =0000 00000000 0000ffff 00009300\n"
		"LDT=0000 00000000 0000ffff 00008200\n"
		"TR =0000 00000000 0000ffff 00008b00\n"
		"GDT=     00000000 0000ffff\n"
		"IDT=     00000000 0000ffff\n"
		"CR0=60000010 CR2=00000000 CR3=00000000 CR4=00000000\n"
		NO_DR "EFER=0000000000000000\n" FPU_RESET NO_XMM);
}
END_TEST

START_TEST(registers_long_mode)
{
	reset_registers();
	regs.rax = 0xfee000f0;
	regs.rbx = ~0ULL;
	regs.rcx = 1;
	regs.rdi = 0x14000;
	regs.rsp = 0x9000;
	regs.r15 = 0x123456789abcdef0;
	regs.rip = 0x7d6a;
	regs.rflags = 0x46;
	sregs.es = sregs.ss = sregs.ds = sregs.fs = segment(0x10, 0, 0xffffffff, 0xc09300);
	sregs.cs = segment(0x20, 0, 0xffffffff, 0xa09b00);
	sregs.ldt = segment(0, 0, 0xffff, 0x8200);
	sregs.tr = segment(0x28, 0x500, 0x67, 0x8b00);
	sregs.gdt.base = 0x7d70;
	sregs.gdt.limit = 0x37;
	sregs.idt.base = 0x6000;
	sregs.idt.limit = 0x7ff;
	sregs.cr0 = 0x80010011;
	sregs.cr3 = 0x10000;
	sregs.cr4 = 0x6a0;
	sregs.efer = 0xd00;
	r.halted = true;
	hmp_print_registers(&out, 0, &r);
	ck_assert_str_eq(printed(),
		"\nCPU#0\n"
		"RAX=00000000fee000f0 RBX=ffffffffffffffff RCX=0000000000000001 "
		"RDX=0000000000000000\n"
		"RSI=0000000000000000 RDI=0000000000014000 RBP=0000000000000000 "
		"RSP=0000000000009000\n"
		"R8 =0000000000000000 R9 =0000000000000000 R10=0000000000000000 "
		"R11=0000000000000000\n"
		"R12=0000000000000000 R13=0000000000000000 R14=0000000000000000 "
		"R15=123456789abcdef0\n"
		"RIP=0000000000007d6a RFL=00000046 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=1\n"
		"ES =0010 0000000000000000 ffffffff 00c09300 DPL=0 DS   [-WA]\n"
		"CS =0020 0000000000000000 ffffffff 00a09b00 DPL=0 CS64 [-RA]\n"
		"SS =0010 0000000000000000 ffffffff 00c09300 DPL=0 DS   [-WA]\n"
		"DS =0010 0000000000000000 ffffffff 00c09300 DPL=0 DS   [-WA]\n"
		"FS =0010 0000000000000000 ffffffff 00c09300 DPL=0 DS   [-WA]\n"
		"GS =0000 0000000000000000 00000000 00000000\n"
		"LDT=0000 0000000000000000 0000ffff 00008200 DPL=0 LDT\n"
		"TR =0028 0000000000000500 00000067 00008b00 DPL=0 TSS64-busy\n"
		"GDT=     0000000000007d70 00000037\n"
		"IDT=     0000000000006000 000007ff\n"
		"CR0=80010011 CR2=0000000000000000 CR3=0000000000010000 CR4=000006a0\n"
		NO_DR "EFER=0000000000000d00\n" FPU_RESET NO_XMM NO_XMM_64);
}
END_TEST

static struct hmp_vectors vectors;

START_TEST(registers_protected_mode)
{
	reset_registers();
	regs.rax = 0x12345678;
	regs.rsp = 0x7c00;
	regs.rip = 0x7c51;
	regs.rflags = 0x46;
	sregs.es = sregs.ss = sregs.ds = segment(0x10, 0, 0xffffffff, 0xcf9300 & ~0xf0000);
	sregs.cs = segment(0x8, 0, 0xffffffff, 0xc09a00);
	sregs.fs = sregs.gs = segment(0, 0, 0xffff, 0x9300);
	sregs.ldt = segment(0, 0, 0xffff, 0x8200);
	sregs.tr = segment(0, 0, 0xffff, 0x8b00);
	sregs.gdt.base = 0x7c58;
	sregs.gdt.limit = 0x17;
	sregs.idt.limit = 0x3ff;
	sregs.cr0 = 0x13;
	sregs.cr4 = 0x40600;
	r.halted = true;
	/* Two values on the x87 stack: pi and 1. */
	fpu.fsw = 0x3000;
	fpu.ftwx = 0xc0;
	memcpy(fpu.fpr[6], "\x35\xc2\x68\x21\xa2\xda\x0f\xc9\x00\x40", 10);
	memcpy(fpu.fpr[7], "\0\0\0\0\0\0\0\x80\xff\x3f", 10);
	vectors = (struct hmp_vectors){ .xcr0 = 7 };
	vectors.zmm[2][0] = vectors.zmm[2][1] = 0x1234567812345678;
	vectors.zmm[3][0] = 0x12345678;
	r.vectors = &vectors;
	hmp_print_registers(&out, 0, &r);
	ck_assert_str_eq(printed(),
		"\nCPU#0\n"
		"EAX=12345678 EBX=00000000 ECX=00000000 EDX=00000000\n"
		"ESI=00000000 EDI=00000000 EBP=00000000 ESP=00007c00\n"
		"EIP=00007c51 EFL=00000046 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=1\n"
		"ES =0010 00000000 ffffffff 00c09300 DPL=0 DS   [-WA]\n"
		"CS =0008 00000000 ffffffff 00c09a00 DPL=0 CS32 [-R-]\n"
		"SS =0010 00000000 ffffffff 00c09300 DPL=0 DS   [-WA]\n"
		"DS =0010 00000000 ffffffff 00c09300 DPL=0 DS   [-WA]\n"
		"FS =0000 00000000 0000ffff 00009300 DPL=0 DS16 [-WA]\n"
		"GS =0000 00000000 0000ffff 00009300 DPL=0 DS16 [-WA]\n"
		"LDT=0000 00000000 0000ffff 00008200 DPL=0 LDT\n"
		"TR =0000 00000000 0000ffff 00008b00 DPL=0 TSS32-busy\n"
		"GDT=     00007c58 00000017\n"
		"IDT=     00000000 000003ff\n"
		"CR0=00000013 CR2=00000000 CR3=00000000 CR4=00040600\n"
		NO_DR "EFER=0000000000000000\n"
		"FCW=037f FSW=3000 [ST=6] FTW=c0 MXCSR=00001f80\n"
		"FPR0=0000000000000000 0000 FPR1=0000000000000000 0000\n"
		"FPR2=0000000000000000 0000 FPR3=0000000000000000 0000\n"
		"FPR4=0000000000000000 0000 FPR5=0000000000000000 0000\n"
		"FPR6=c90fdaa22168c235 4000 FPR7=8000000000000000 3fff\n"
		"YMM00=0000000000000000 0000000000000000 0000000000000000 0000000000000000\n"
		"YMM01=0000000000000000 0000000000000000 0000000000000000 0000000000000000\n"
		"YMM02=0000000000000000 0000000000000000 1234567812345678 1234567812345678\n"
		"YMM03=0000000000000000 0000000000000000 0000000000000000 0000000012345678\n"
		"YMM04=0000000000000000 0000000000000000 0000000000000000 0000000000000000\n"
		"YMM05=0000000000000000 0000000000000000 0000000000000000 0000000000000000\n"
		"YMM06=0000000000000000 0000000000000000 0000000000000000 0000000000000000\n"
		"YMM07=0000000000000000 0000000000000000 0000000000000000 0000000000000000\n");
}
END_TEST

/* 32-bit code under a 64-bit kernel: narrow registers, but descriptors and tables of long mode. */
START_TEST(registers_compatibility_mode)
{
	reset_registers();
	regs.rip = 0x100000080;
	sregs.cr0 = 0x80000001;
	sregs.cr3 = 0x123456789000;
	sregs.efer = 0x500;
	sregs.cs = segment(0x23, 0, 0xffffffff, 0xc0fb00);
	sregs.ds = segment(0x2b, 0, 0xffff, 0xf300);
	sregs.tr = segment(0x40, 0xfffffe0000003000, 0x206f, 0x8b00);
	sregs.gdt.base = 0xfffffe0000001000;
	hmp_print_registers(&out, 0, &r);
	ck_assert_ptr_nonnull(strstr(printed(), "\nEIP=00000080 EFL="));
	ck_assert_ptr_nonnull(strstr(printed(),
		"\nCS =0023 00000000 ffffffff 00c0fb00 DPL=3 CS32 [-RA]\n"));
	ck_assert_ptr_nonnull(strstr(printed(),
		"\nDS =002b 00000000 0000ffff 0000f300 DPL=3 DS   [-WA]\n"));
	ck_assert_ptr_nonnull(strstr(printed(),
		"\nTR =0040 00003000 0000206f 00008b00 DPL=0 TSS64-busy\n"
		"GDT=     fffffe0000001000 00000000\n"));
	ck_assert_ptr_nonnull(strstr(printed(), " CR3=0000123456789000 "));
	ck_assert_ptr_null(strstr(printed(), "XMM08"));
}
END_TEST

START_TEST(registers_odd_states)
{
	reset_registers();
	regs.rflags = 0xfd5;
	sregs.cr0 = 0x80000001;
	sregs.cr4 = 0x20;
	sregs.ss = segment(0x2b, 0, 0xffffffff, 0xcf7000 & ~0xf0000);  /* not present */
	sregs.ss.dpl = 3;
	sregs.cs = segment(0x33, 0, 0xffff, 0xfe00);                    /* conforming, 16 bits */
	sregs.ds = segment(0x3b, 0, 0xffff, 0xf400);                    /* expands down */
	sregs.es = segment(0x3b, 0, 0xffff, 0xf300);                    /* says KVM: unusable */
	sregs.es.unusable = 1;
	sregs.flags = KVM_SREGS2_FLAGS_PDPTRS_VALID;
	sregs.pdptrs[3] = 0x12001;
	r.inhibit_irq = r.smm = true;
	r.debugregs = NULL;
	hmp_print_registers(&out, 12, &r);
	ck_assert_ptr_nonnull(strstr(printed(), "\nCPU#12\n"));
	ck_assert_ptr_nonnull(strstr(printed(), "EFL=00000fd5 [DOSZAPC] CPL=3 II=1 A20=1 SMM=1"));
	ck_assert_ptr_nonnull(strstr(printed(), "\nSS =002b 00000000 ffffffff 00c07000\n"));
	ck_assert_ptr_nonnull(strstr(printed(), "\nES =003b 00000000 0000ffff 00007300\n"));
	ck_assert_ptr_nonnull(strstr(printed(), "0000fe00 DPL=3 CS16 [CR-]\n"));
	ck_assert_ptr_nonnull(strstr(printed(), "0000f400 DPL=3 DS16 [E--]\n"));
	ck_assert_ptr_nonnull(strstr(printed(),
		"CR4=00000020\nPDPTR0=0000000000000000 PDPTR1=0000000000000000 "
		"PDPTR2=0000000000000000 PDPTR3=0000000000012001\nEFER="));
}
END_TEST

START_TEST(registers_avx512)
{
	static uint8_t area[4096];
	static union {                  /* room for the entries */
		struct kvm_cpuid2 table;
		uint8_t bytes[sizeof(struct kvm_cpuid2) + 4 * sizeof(struct kvm_cpuid_entry2)];
	} cpuid;
	/* Where this processor keeps them; the last leaf is AVX-512's opmask, at AMD's place. */
	static const struct kvm_cpuid_entry2 leaves[4] = {
		{ .function = 0xd, .index = 2, .eax = 256, .ebx = 576 },
		{ .function = 0xd, .index = 6, .eax = 512, .ebx = 896 },
		{ .function = 0xd, .index = 7, .eax = 1024, .ebx = 1408 },
		{ .function = 0xd, .index = 5, .eax = 64, .ebx = 832 },
	};
	uint64_t bv = 0xe6;

	for (unsigned int i = 0; i < sizeof(area); i++)
		area[i] = i / 16;
	memcpy(area + 512, &bv, sizeof(bv));
	cpuid.table.nent = 4;
	memcpy(cpuid.table.entries, leaves, sizeof(leaves));
	hmp_vectors_init(&vectors, 0xe7, (struct kvm_xsave *)area, sizeof(area), &cpuid.table);
	ck_assert_uint_eq(vectors.xcr0, 0xe7);

	reset_registers();
	sregs.cs.l = 1;
	sregs.efer = 0x400;
	r.vectors = &vectors;
	hmp_print_registers(&out, 0, &r);
	ck_assert_ptr_nonnull(strstr(printed(),
		"MXCSR=00001f80\n" NO_X87
		"Opmask00=3434343434343434 Opmask01=3434343434343434 "
		"Opmask02=3535353535353535 Opmask03=3535353535353535\n"
		"Opmask04=3636363636363636 Opmask05=3636363636363636 "
		"Opmask06=3737373737373737 Opmask07=3737373737373737\n"
		"ZMM00=3939393939393939 3939393939393939 3838383838383838 3838383838383838 "
		"2424242424242424 2424242424242424 0a0a0a0a0a0a0a0a 0a0a0a0a0a0a0a0a\n"));
	ck_assert_ptr_nonnull(strstr(printed(), "\nZMM31=9797979797979797 9797979797979797 "
		"9696969696969696 9696969696969696 9595959595959595 9595959595959595 "
		"9494949494949494 9494949494949494\n"));

	/* A component in its initial state is zero, whatever the area holds. */
	bv = 0x2;
	memcpy(area + 512, &bv, sizeof(bv));
	hmp_vectors_init(&vectors, 0xe7, (struct kvm_xsave *)area, sizeof(area), &cpuid.table);
	ck_assert_uint_eq(vectors.opmask[0], 0);
	ck_assert_uint_eq(vectors.zmm[0][0], 0x0a0a0a0a0a0a0a0a);
	ck_assert_uint_eq(vectors.zmm[0][2], 0);
	ck_assert_uint_eq(vectors.zmm[31][7], 0);

	/* One that does not fit, or that nobody can place, is not shown. */
	hmp_vectors_init(&vectors, 0xe7, (struct kvm_xsave *)area, 1408 + 1023, &cpuid.table);
	ck_assert_uint_eq(vectors.xcr0, 0x67);
	cpuid.table.nent = 0;
	hmp_vectors_init(&vectors, 0xe7, (struct kvm_xsave *)area, sizeof(area), &cpuid.table);
	ck_assert_uint_eq(vectors.xcr0, 0x3);
}
END_TEST

Suite *hmp_format_suite(void)
{
	Suite *suite = suite_create("hmp_format");
	TCase *tc = tcase_create("registers");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, registers_after_reset);
	tcase_add_test(tc, registers_long_mode);
	tcase_add_test(tc, registers_protected_mode);
	tcase_add_test(tc, registers_compatibility_mode);
	tcase_add_test(tc, registers_odd_states);
	tcase_add_test(tc, registers_avx512);
	suite_add_tcase(suite, tc);
	return suite;
}
