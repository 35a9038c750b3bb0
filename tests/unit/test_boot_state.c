/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/fake_kvm.h"
#include "tests/unit/suites.h"
#include "vmm/boot/boot_state.h"
#include "vmm/kvm.h"

/* The boot processor's registers at entry, whatever they were before. */

static struct fake_kvm *fake;
static struct kvm kvm;
static struct kvm_handle vm, vcpu;
static struct msr_table *msrs;
static struct vcpu_state state;
static struct kvm_regs old_regs;
static struct kvm_sregs2 old_sregs;
static struct error err;

static const struct kvm_regs *regs;
static const struct kvm_sregs2 *sregs;

static int create(struct kvm_handle *h, enum kvm_request request)
{
	int fd = kvm_ioctl(h, request, NULL);

	ck_assert_int_ge(fd, 0);
	return fd;
}

static void setup(void)
{
	fake = fake_kvm_new();
	ck_assert_ptr_nonnull(fake);
	ck_assert_msg(kvm_open(&kvm, &fake_kvm_ops, fake, &err) == 0, "%s", err.text);
	kvm_handle_init(&vm, &kvm, create(&kvm.sys, KVM_REQ_CREATE_VM));
	kvm_handle_init(&vcpu, &kvm, create(&vm, KVM_REQ_CREATE_VCPU));
	msrs = msr_table_new(&kvm, &err);
	ck_assert_ptr_nonnull(msrs);
	vcpu_state_init(&state, &vcpu, msrs, 0);
}

static void teardown(void)
{
	vcpu_state_destroy(&state);
	free(msrs);
	kvm_handle_close(&vcpu);
	kvm_handle_close(&vm);
	kvm_close(&kvm);
	fake_kvm_free(fake);
}

static void edit(const struct boot_entry *entry)
{
	struct kvm_regs *r = vcpu_state_regs_edit(&state, &err);
	struct kvm_sregs2 *s = vcpu_state_sregs_edit(&state, &err);

	ck_assert_ptr_nonnull(r);
	ck_assert_ptr_nonnull(s);
	memset(r, 0xa5, sizeof(*r));
	memset(s, 0xa5, sizeof(*s));
	old_regs = *r;
	old_sregs = *s;
	state.dirty = 0;
	ck_assert_msg(boot_state_edit(&state, entry, &err) == 0, "%s", err.text);
	/* These two and no other. */
	ck_assert_uint_eq(state.dirty, 1u << SUBSTATE_REGS | 1u << SUBSTATE_SREGS);
	regs = vcpu_state_regs(&state, &err);
	sregs = vcpu_state_sregs(&state, &err);
	ck_assert_uint_eq(regs->rip, entry->rip);
	ck_assert_uint_eq(regs->rsp, entry->rsp);
	ck_assert_uint_eq(regs->rax, entry->rax);
	ck_assert_uint_eq(regs->rbx, entry->rbx);
	ck_assert_uint_eq(regs->rsi, entry->rsi);
	ck_assert_uint_eq(regs->rdx, entry->rdx);
	ck_assert_uint_eq(regs->rflags, 2);
	/* The rest is the reset state's business. */
	ck_assert_uint_eq(regs->rcx, old_regs.rcx);
	ck_assert_uint_eq(regs->r15, old_regs.r15);
	ck_assert_mem_eq(&sregs->ldt, &old_sregs.ldt, sizeof(sregs->ldt));
	ck_assert_uint_eq(sregs->apic_base, old_sregs.apic_base);
	ck_assert_uint_eq(sregs->flags & KVM_SREGS2_FLAGS_PDPTRS_VALID, 0);
}

/* What VM entry checks of every usable segment: Intel SDM vol. 3C, 26.3.1.2. */
static void assert_consistent(const struct kvm_segment *seg)
{
	ck_assert_uint_eq(seg->present, 1);
	ck_assert_uint_eq(seg->unusable, 0);
	ck_assert_uint_eq(seg->dpl, seg->selector & 3);
	ck_assert_uint_eq(seg->padding, 0);
	if ((seg->limit & 0xfff) != 0xfff)
		ck_assert_uint_eq(seg->g, 0);
	if (seg->limit >> 20)
		ck_assert_uint_eq(seg->g, 1);
	if (seg->s)
		ck_assert_uint_eq(seg->type & 1, 1);
}

static void assert_segment(const struct kvm_segment *seg, uint16_t selector, uint32_t limit,
			   uint8_t type, bool db, bool l)
{
	assert_consistent(seg);
	ck_assert_uint_eq(seg->base, 0);
	ck_assert_uint_eq(seg->selector, selector);
	ck_assert_uint_eq(seg->limit, limit);
	ck_assert_uint_eq(seg->s, 1);
	ck_assert_uint_eq(seg->type, type);
	ck_assert_uint_eq(seg->db, db);
	ck_assert_uint_eq(seg->l, l);
}

static void assert_data_segments(uint16_t selector, uint32_t limit, bool db)
{
	const struct kvm_segment *data[] = { &sregs->ds, &sregs->es, &sregs->fs, &sregs->gs,
					     &sregs->ss };

	for (size_t i = 0; i < sizeof(data) / sizeof(data[0]); i++)
		assert_segment(data[i], selector, limit, 3, db, false);
}

static void assert_tables(const struct boot_entry *entry)
{
	ck_assert_uint_eq(sregs->gdt.base, entry->gdt);
	ck_assert_uint_eq(sregs->gdt.limit, entry->gdt_limit);
	ck_assert_uint_eq(sregs->idt.limit, 0);
	/* Busy 32-bit TSS, or 64-bit: the same type. */
	assert_consistent(&sregs->tr);
	ck_assert_uint_eq(sregs->tr.s, 0);
	ck_assert_uint_eq(sregs->tr.type, 11);
	ck_assert_uint_eq(sregs->tr.base, 0);
	ck_assert_uint_eq(sregs->tr.limit, 0x67);
	ck_assert_uint_eq(sregs->tr.selector & 4, 0);
}

START_TEST(test_real)
{
	edit(&(struct boot_entry) { .mode = BOOT_REAL, .rip = 0x7c00, .rsp = 0x7c00, .rdx = 0x80 });
	ck_assert_uint_eq(sregs->cr0, 0x10);
	ck_assert_uint_eq(sregs->cr4, 0);
	ck_assert_uint_eq(sregs->efer, 0);
	assert_segment(&sregs->cs, 0, 0xffff, 11, false, false);
	assert_data_segments(0, 0xffff, false);
	ck_assert_mem_eq(&sregs->idt, &old_sregs.idt, sizeof(sregs->idt));
}
END_TEST

START_TEST(test_protected)
{
	const struct boot_entry entry = {
		.mode = BOOT_PROTECTED, .rip = 0x1000050, .rax = 0x2badb002, .rbx = 0x9f000,
		.rsi = 1, .gdt = 0x9e000, .gdt_limit = 47,
	};

	edit(&entry);
	ck_assert_uint_eq(sregs->cr0, 0x11);
	ck_assert_uint_eq(sregs->cr3, 0);
	ck_assert_uint_eq(sregs->cr4, 0);
	ck_assert_uint_eq(sregs->efer, 0);
	assert_segment(&sregs->cs, 0x10, 0xffffffff, 11, true, false);
	assert_data_segments(0x18, 0xffffffff, true);
	assert_tables(&entry);
}
END_TEST

START_TEST(test_long)
{
	const struct boot_entry entry = {
		.mode = BOOT_LONG, .rip = 0x100000, .rsp = 0x99000, .cr3 = 0x90000,
		.gdt = 0x9e000, .gdt_limit = 47,
	};

	edit(&entry);
	ck_assert_uint_eq(sregs->cr0, 0x80000011);
	ck_assert_uint_eq(sregs->cr3, 0x90000);
	ck_assert_uint_eq(sregs->cr4, 0x20);
	ck_assert_uint_eq(sregs->efer, 0x500);
	assert_segment(&sregs->cs, 0x10, 0xffffffff, 11, false, true);
	assert_data_segments(0x18, 0xffffffff, true);
	assert_tables(&entry);
}
END_TEST

START_TEST(test_refused)
{
	const struct boot_entry entry = { .mode = BOOT_REAL };

	fake_kvm_fail(fake, (struct fake_fault) { .request = KVM_GET_REGS, .vcpu = -1,
						  .error = EIO });
	ck_assert_int_eq(boot_state_edit(&state, &entry, &err), -1);
	ck_assert_ptr_nonnull(strstr(err.text, "KVM_GET_REGS"));
	ck_assert_uint_eq(state.dirty, 0);
}
END_TEST

Suite *boot_state_suite(void)
{
	Suite *s = suite_create("boot state");
	TCase *tc = tcase_create("registers");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_real);
	tcase_add_test(tc, test_protected);
	tcase_add_test(tc, test_long);
	tcase_add_test(tc, test_refused);
	suite_add_tcase(s, tc);
	return s;
}
