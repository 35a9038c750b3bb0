/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/hmp.h"
#include "tests/unit/state_fixture.h"
#include "tests/unit/suites.h"
#include "vmm/nested.h"
#include "vmm/vcpu_reset.h"
#include "vmm/vcpu_space.h"

/* Guests of guests: what their state says, where it is written, and that a reset ends them. */

#define VMX KVM_STATE_NESTED_FORMAT_VMX
#define SVM KVM_STATE_NESTED_FORMAT_SVM
#define NONE UINT64_MAX
#define SVME 0x1000
#define VMXE 0x2000

/* What a vCPU is in. */
enum mode { OUT, ROOT, GUEST };

/* A nested state with its data. */
static union {
	struct kvm_nested_state state;
	uint8_t bytes[sizeof(struct kvm_nested_state) + 2 * 4096];
} n;

static void put_data(size_t offset, uint64_t value, size_t size)
{
	memcpy(n.bytes + sizeof(n.state) + offset, &value, size);
}

static void make(uint16_t format, enum mode mode)
{
	memset(&n, 0, sizeof(n));
	nested_turn_off(&n.state, format);
	if (mode == OUT)
		return;
	if (format == SVM)
		n.state.flags = 0;      /* ROOT: in the outer guest with GIF clear */
	else
		n.state.hdr.vmx.vmxon_pa = 0x5000;
	if (mode == ROOT)
		return;
	n.state.flags |= KVM_STATE_NESTED_GUEST_MODE;
	n.state.size += 4096;
	if (format == SVM)
		n.state.hdr.svm.vmcb_pa = 0x6000;
	else
		n.state.hdr.vmx.vmcs12_pa = 0x6000;
}

/* ---- What is wrong with one ---- */

START_TEST(what_kvm_gives_is_right)
{
	static const enum mode modes[] = { OUT, ROOT, GUEST };
	struct error err = { .code = 0 };
	uint16_t format = _i / 3 ? SVM : VMX;

	make(format, modes[_i % 3]);
	ck_assert_msg(nested_check(&n.state, n.state.size, SVME, &err) == 0, "%s", err.text);
	ck_assert_int_eq(nested_is_off(&n.state), _i % 3 == 0);
	n.state.size++;
	ck_assert(!nested_is_off(&n.state));
	n.state.size--;
	/* Out of it all EFER.SVME may be clear, and nothing else. */
	ck_assert_int_eq(nested_check(&n.state, n.state.size, 0, NULL),
			 format == SVM && _i % 3 ? -1 : 0);
}
END_TEST

static const struct {
	uint16_t format;
	enum mode mode;
	enum { FLAGS, FORMAT, SIZE, LEN, VMXON, VMCS, SMM, HDR_FLAGS, VMCB } what;
	uint64_t value;
	const char *text;
} wrong[] = {
	{ VMX, OUT, LEN, 129, "has 129 bytes, and says that it has 128" },
	{ VMX, OUT, LEN, 0, "has 0 bytes, and says that it has 128" },
	{ VMX, OUT, FORMAT, 2, "a format that this vmond does not know: 2" },
	{ VMX, OUT, FLAGS, 0x100, "flags that this vmond does not know for vmx: 0x100" },
	{ SVM, OUT, FLAGS, 0x108, "flags that this vmond does not know for svm: 0x108" },
	{ SVM, GUEST, FLAGS, 0x8000, "flags that this vmond does not know for svm: 0x8000" },
	{ SVM, OUT, FLAGS, 0x102, "pending for a guest that is not entered: flags 0x102" },
	{ VMX, ROOT, FLAGS, 0x8, "pending for a guest that is not entered: flags 0x8" },
	{ VMX, OUT, VMCS, 0x6000, "a VMCS or a guest, and no VMXON region" },
	{ VMX, OUT, FLAGS, 0x1, "a VMCS or a guest, and no VMXON region" },
	{ VMX, ROOT, VMXON, 0x5001, "VMXON region is at 0x5001, which is not the address" },
	{ VMX, ROOT, VMXON, 1ULL << 52, "VMXON region is at 0x10000000000000" },
	{ VMX, GUEST, VMCS, 0x6800, "VMCS is at 0x6800" },
	{ VMX, GUEST, VMCS, 0x5000, "its VMCS and its VMXON region both at 0x5000" },
	{ VMX, GUEST, VMCS, NONE, "a guest, or 4096 bytes of one, and no VMCS" },
	{ VMX, GUEST, SIZE, 128, "0 bytes for a VMCS and its shadow" },
	{ VMX, GUEST, SIZE, 128 + 4095, "4095 bytes for a VMCS and its shadow" },
	{ VMX, ROOT, SIZE, 128 + 4096, "a guest, or 4096 bytes of one, and no VMCS" },
	{ VMX, ROOT, FLAGS, 0x4, "an enlightened VMCS" },
	{ VMX, ROOT, SMM, 0x1, "and can not be restored: flags 0x1 for SMM" },
	{ VMX, OUT, SMM, 0x8002, "flags 0x8002 for SMM" },
	{ VMX, GUEST, HDR_FLAGS, 2, "flags for VMX that this vmond does not know: 0x2" },
	{ SVM, OUT, SIZE, 128 + 4096, "4096 bytes for the VMCB of no guest" },
	{ SVM, GUEST, SIZE, 128, "0 bytes for the VMCB of its guest" },
	{ SVM, GUEST, VMCB, 0x6008, "VMCB is at 0x6008" },
};

START_TEST(what_is_wrong_is_said)
{
	struct error err = { .code = 0 };
	uint64_t value = wrong[_i].value;
	size_t len;

	make(wrong[_i].format, wrong[_i].mode);
	switch (wrong[_i].what) {
	case FLAGS:
		n.state.flags = (uint16_t)value;
		break;
	case FORMAT:
		n.state.format = (uint16_t)value;
		break;
	case SIZE:
		n.state.size = (uint32_t)value;
		break;
	case VMXON:
		n.state.hdr.vmx.vmxon_pa = value;
		break;
	case VMCS:
		n.state.hdr.vmx.vmcs12_pa = value;
		break;
	case SMM:
		n.state.hdr.vmx.smm.flags = (uint16_t)value;
		break;
	case HDR_FLAGS:
		n.state.hdr.vmx.flags = (uint32_t)value;
		break;
	case VMCB:
		n.state.hdr.svm.vmcb_pa = value;
		break;
	case LEN:
		break;
	}
	len = wrong[_i].what == LEN ? value : n.state.size;
	ck_assert_int_eq(nested_check(&n.state, len, SVME, &err), -1);
	ck_assert_msg(strstr(err.text, wrong[_i].text), "%s", err.text);
	ck_assert_int_ne(err.code, 0);
}
END_TEST

/* ---- What it says ---- */

static const struct {
	uint16_t format;
	enum mode mode;
	uint16_t flags;         /* besides */
	bool paging;
	const char *text;
} lines[] = {
	{ VMX, OUT, 0, false, "CPU#3 vmx guest-mode=0 run-pending=0 nested-paging=0\n" },
	{ VMX, ROOT, 0, false,
	  "CPU#3 vmx guest-mode=0 run-pending=0 nested-paging=0 VMXON=0000000000005000\n" },
	{ VMX, GUEST, 0xa, true,
	  "CPU#3 vmx guest-mode=1 run-pending=1 nested-paging=1 MTF=1 SMM-VMXON=0 SMM-guest-mode=0 "
	  "VMXON=0000000000005000 VMCS12=0000000000006000\n" },
	{ SVM, OUT, 0, false, "CPU#3 svm guest-mode=0 run-pending=0 nested-paging=0 GIF=1\n" },
	{ SVM, ROOT, 0, true, "CPU#3 svm guest-mode=0 run-pending=0 nested-paging=0 GIF=0\n" },
	{ SVM, GUEST, 0x100, false,
	  "CPU#3 svm guest-mode=1 run-pending=0 nested-paging=0 GIF=1 VMCB=0000000000006000\n" },
	{ SVM, GUEST, 0x2, true,
	  "CPU#3 svm guest-mode=1 run-pending=1 nested-paging=1 GIF=0 VMCB=0000000000006000\n" },
	{ 7, OUT, 0, false, "CPU#3 unknown guest-mode=0 run-pending=0 nested-paging=0\n" },
};

static void turn_paging_on(uint16_t format)
{
	if (format == SVM) {
		put_data(0x090, 1, 8);
		put_data(0x0b0, 0x7000, 8);
		put_data(0x548, 0x20, 8);
		put_data(0x4d0, 0x1500, 8);
		return;
	}
	put_data(748, 1u << 31, 4);
	put_data(804, 1u << 1, 4);
	put_data(120, 0x7000 | 3 << 3 | 6, 8);
}

START_TEST(shown_in_a_line)
{
	struct text out = { 0 };

	make(lines[_i].format, lines[_i].mode);
	n.state.flags |= lines[_i].flags;
	if (lines[_i].paging)
		turn_paging_on(lines[_i].format);
	hmp_print_nested(&out, 3, &n.state);
	ck_assert_str_eq(out.bytes, lines[_i].text);
	text_free(&out);
}
END_TEST

START_TEST(tables_of_the_outer_guest)
{
	struct kvm_sregs2 outer;
	bool ept;

	for (int vmx = 0; vmx < 2; vmx++) {
		make(vmx ? VMX : SVM, GUEST);
		ck_assert(!nested_tables(&n.state, &ept, &outer));
		turn_paging_on(n.state.format);
		ck_assert(nested_tables(&n.state, &ept, &outer));
		ck_assert_int_eq(ept, vmx);
		ck_assert_uint_eq(outer.cr3 & ~0xfffULL, 0x7000);
		ck_assert_int_eq(paging_mode(&outer), PAGING_4LEVEL);
		n.state.flags &= (uint16_t)~KVM_STATE_NESTED_GUEST_MODE;
		ck_assert(!nested_tables(&n.state, &ept, &outer));
	}
	make(VMX, GUEST);
	turn_paging_on(VMX);
	put_data(120, 0x7000 | 4 << 3, 8);
	ck_assert(nested_tables(&n.state, &ept, &outer));
	ck_assert_int_eq(paging_mode(&outer), PAGING_5LEVEL);
	/* Secondary controls that are not activated do not count. */
	put_data(748, 0, 4);
	ck_assert(!nested_tables(&n.state, &ept, &outer));
}
END_TEST

/* ---- On a host ---- */

#define SYSENTER_EIP 0x176
#define VMX_BASIC    0x480

static void host(uint16_t format)
{
	struct msr_table *table = calloc(1, sizeof(*table) + 2 * sizeof(table->msr[0]));

	fixture_host();
	fake_kvm_set_nested_format(fix.fake, format);
	fake_kvm_add_msr(fix.fake, VMX_BASIC, 0x1234, true);
	table->count = 2;
	table->msr[0] = (struct msr_info){ .index = SYSENTER_EIP, .level = VCPU_LEVEL_RUNTIME,
					   .resets = true };
	table->msr[1] = (struct msr_info){ .index = VMX_BASIC, .level = VCPU_LEVEL_FULL };
	fixture_use_table(table);
	fixture_start(1);
}

/* The vCPU in the kernel, in that mode. */
static void enter(uint16_t format, enum mode mode)
{
	struct fake_vcpu *v = fix.model[0];

	make(format, mode);
	memcpy(v->nested, &n, n.state.size);
	v->sregs.cr0 = 0x80000011;
	v->sregs.cr4 = 0x20 | (format == VMX ? VMXE : 0);
	v->sregs.efer = 0x500 | (format == SVM ? SVME : 0);
	v->sregs.cs.l = 1;
	v->regs.rip = 0x4444;
	v->regs.rflags = 0x246;
	v->sregs.idt.base = v->sregs.gdt.base = 0x9000;
}

static const struct {
	uint16_t format;
	enum mode mode;
	const char *reset, *full;
} orders[] = {
	{ VMX, OUT, "SET_NESTED_STATE SET_REGS SET_SREGS2 SET_MSRS",
	  "SET_NESTED_STATE SET_REGS SET_SREGS2 SET_MSRS" },
	{ VMX, ROOT, "SET_REGS SET_SREGS2 SET_NESTED_STATE SET_MSRS",
	  "SET_REGS SET_SREGS2 SET_MSRS SET_NESTED_STATE SET_MSRS" },
	{ VMX, GUEST, "SET_SREGS2 SET_NESTED_STATE SET_REGS SET_MSRS",
	  "SET_SREGS2 SET_MSRS SET_NESTED_STATE SET_REGS SET_MSRS" },
	{ SVM, OUT, "SET_NESTED_STATE SET_REGS SET_SREGS2 SET_MSRS",
	  "SET_NESTED_STATE SET_REGS SET_SREGS2 SET_MSRS" },
	{ SVM, ROOT, "SET_REGS SET_SREGS2 SET_NESTED_STATE SET_MSRS",
	  "SET_REGS SET_SREGS2 SET_NESTED_STATE SET_MSRS" },
	{ SVM, GUEST, "SET_REGS SET_SREGS2 SET_NESTED_STATE SET_MSRS",
	  "SET_REGS SET_SREGS2 SET_NESTED_STATE SET_MSRS" },
};

#define ORDERS (int)(sizeof(orders) / sizeof(orders[0]))

START_TEST(written_where_it_is_taken)
{
	uint16_t format = orders[_i % ORDERS].format;
	bool full = _i >= ORDERS;
	struct error err = { .code = 0 };
	struct kvm_nested_state *nested;
	struct kvm_sregs2 *sregs;
	struct vcpu_state *s;
	uint64_t mark;

	host(format);
	s = &fix.state[0];
	make(format, orders[_i % ORDERS].mode);
	vcpu_state_regs_edit(s, &err)->rip = 0x1111;
	sregs = vcpu_state_sregs_edit(s, &err);
	sregs->cr4 = VMXE;
	sregs->efer = format == SVM ? SVME : 0;
	nested = vcpu_state_nested_edit(s, &err);
	memcpy(nested, &n, n.state.size);
	for (unsigned int i = 0; i < 2; i++)
		ck_assert_int_eq(vcpu_state_msr_edit(s, i, 0x77, &err), 0);
	mark = fake_kvm_mark(fix.fake);
	ck_assert_msg(full ? vcpu_state_after_load(s, &err) == 0 :
			     vcpu_state_after_reset(s, &err) == 0, "%s", err.text);
	ck_assert_str_eq(fixture_sets(mark, 0), full ? orders[_i % ORDERS].full :
						       orders[_i % ORDERS].reset);
	ck_assert_mem_eq(fix.model[0]->nested, &n, n.state.size);
	ck_assert_uint_eq(fix.model[0]->regs.rip, 0x1111);
	ck_assert_uint_eq(fake_vcpu_msr(fix.model[0], VMX_BASIC)->value, full ? 0x77 : 0x1234);
	ck_assert_uint_eq(fake_vcpu_msr(fix.model[0], SYSENTER_EIP)->value, 0x77);
	ck_assert_uint_eq(s->dirty, full ? 0 : 1u << SUBSTATE_MSRS);
	fixture_stop();
}
END_TEST

/* Before a run it stays dirty, and is what readers see. */
START_TEST(not_written_at_runtime)
{
	struct error err = { .code = 0 };
	uint64_t mark;

	host(SVM);
	vcpu_state_nested_edit(&fix.state[0], &err)->flags = 0;
	mark = fake_kvm_mark(fix.fake);
	ck_assert_int_eq(vcpu_state_before_run(&fix.state[0], &err), 0);
	ck_assert_str_eq(fixture_sets(mark, 0), "");
	ck_assert_uint_eq(vcpu_state_nested(&fix.state[0], &err)->flags, 0);
	fixture_abandon();
}
END_TEST

/* From wherever it was: nothing of the outer guest comes back over what a reset has set. */
START_TEST(a_reset_ends_it)
{
	uint16_t format = _i / 6 ? SVM : VMX;
	bool feature_control = _i / 3 % 2 == 0;
	struct error err = { .code = 0 };
	struct fake_vcpu *v;
	uint64_t mark;

	host(format);
	v = fix.model[0];
	enter(format, (enum mode)(_i % 3));
	/* Which leaves VMX operation by itself, where it is not 0 before. */
	fake_vcpu_msr(v, MSR_IA32_FEATURE_CONTROL)->value = feature_control ? 5 : 0;
	/* As an inner guest may have it: that it is 0 there does not mean anything. */
	fake_vcpu_msr(v, SYSENTER_EIP)->value = 0;
	mark = fake_kvm_mark(fix.fake);
	ck_assert_msg(vcpu_reset_edit(&fix.state[0], 0, true, &err) == 0, "%s", err.text);
	ck_assert_msg(vcpu_state_after_reset(&fix.state[0], &err) == 0, "%s", err.text);
	/* One that is out already needs nothing. */
	ck_assert_uint_eq(fake_kvm_count_request(fix.fake, mark, 0, KVM_SET_NESTED_STATE),
			  _i % 3 ? 1 : 0);
	ck_assert(nested_is_off(v->nested));
	ck_assert_uint_eq(v->regs.rip, 0xfff0);
	ck_assert_uint_eq(v->regs.rflags, 2);
	ck_assert_uint_eq(v->regs.rsp, 0);
	ck_assert_uint_eq(v->sregs.cr3, 0);
	ck_assert_uint_eq(v->sregs.cr4, 0);
	ck_assert_uint_eq(v->sregs.efer, 0);
	ck_assert_uint_eq(v->sregs.idt.base, 0);
	ck_assert_uint_eq(v->sregs.gdt.base, 0);
	ck_assert_uint_eq(fake_vcpu_msr(v, SYSENTER_EIP)->value, 0);
	ck_assert_uint_eq(fix.state[0].dirty, 0);
	fixture_stop();
}
END_TEST

/* ---- Sizes ---- */

START_TEST(as_much_as_the_host_says)
{
	static const int caps[] = { 128, 128 + 4096, 128 + 8192 };
	struct error err = { .code = 0 };
	const struct kvm_nested_state *nested;
	struct fake_filter filter;

	fixture_host();
	fake_kvm_set_cap(fix.fake, KVM_CAP_NESTED_STATE, caps[_i]);
	fixture_start(1);
	nested = vcpu_state_nested(&fix.state[0], &err);
	ck_assert_msg(nested, "%s", err.text);
	ck_assert_uint_eq(nested->size, sizeof(*nested));
	/* The whole room was offered. */
	filter = fake_filter(0, 0, KVM_CLASS_GET);
	filter.request = KVM_GET_NESTED_STATE;
	ck_assert_uint_eq(fake_kvm_last(fix.fake, filter)->size, (size_t)caps[_i]);
	fixture_stop();
}
END_TEST

START_TEST(no_room_for_a_header)
{
	struct error err = { .code = 0 };
	struct page_space space;

	fixture_host();
	fake_kvm_set_cap(fix.fake, KVM_CAP_NESTED_STATE, _i ? 127 : 0);
	fixture_start(1);
	ck_assert(!vcpu_state_offers(&fix.state[0], SUBSTATE_NESTED));
	ck_assert_ptr_null(vcpu_state_nested(&fix.state[0], &err));
	ck_assert_int_eq(err.code, ENOTSUP);
	ck_assert_int_eq(vcpu_reset_edit(&fix.state[0], 0, true, &err), 0);
	ck_assert_int_eq(vcpu_page_space(&fix.state[0], NULL, &space, &err), 0);
	ck_assert(!space.nested);
	ck_assert_int_eq(vcpu_state_after_reset(&fix.state[0], &err), 0);
	fixture_stop();
}
END_TEST

/* A kernel that has more to say than it said at first: an error, and nothing behind the buffer. */
START_TEST(more_than_the_host_says)
{
	struct error err = { .code = 0 };

	fixture_host();
	fake_kvm_set_cap(fix.fake, KVM_CAP_NESTED_STATE, 128 + 8192);
	fixture_start(1);
	fix.model[0]->nested->size = 128 + 8192;
	fix.kvm.caps.nested_size = 128 + 4096;
	ck_assert_ptr_null(vcpu_state_nested(&fix.state[0], &err));
	ck_assert_int_eq(err.code, E2BIG);
	ck_assert_ptr_nonnull(strstr(err.text, "KVM_GET_NESTED_STATE"));
	fix.model[0]->nested->size = 128;
	fixture_stop();
}
END_TEST

START_TEST(the_space_of_an_inner_guest)
{
	struct error err = { .code = 0 };
	struct page_space space;

	host(SVM);
	enter(SVM, GUEST);
	ck_assert_int_eq(vcpu_page_space(&fix.state[0], NULL, &space, &err), 0);
	ck_assert(!space.nested);
	turn_paging_on(SVM);
	memcpy(fix.model[0]->nested, &n, n.state.size);
	vcpu_state_settled(&fix.state[0]);
	ck_assert_int_eq(vcpu_page_space(&fix.state[0], NULL, &space, &err), 0);
	ck_assert(space.nested);
	ck_assert(!space.ept);
	ck_assert_uint_eq(space.outer.cr3, 0x7000);
	ck_assert_ptr_eq(space.sregs, vcpu_state_sregs(&fix.state[0], &err));
	ck_assert_uint_eq(fix.state[0].dirty, 0);
	vcpu_state_settled(&fix.state[0]);
	fake_kvm_fail(fix.fake, (struct fake_fault) { KVM_GET_NESTED_STATE, .vcpu = 0,
						      .error = EIO });
	ck_assert_int_eq(vcpu_page_space(&fix.state[0], NULL, &space, &err), -1);
	ck_assert_int_eq(err.code, EIO);
	fixture_stop();
}
END_TEST

#define COUNT(array) (int)(sizeof(array) / sizeof(array[0]))

Suite *nested_suite(void)
{
	Suite *suite = suite_create("nested");
	TCase *t = tcase_create("state");

	tcase_add_loop_test(t, what_kvm_gives_is_right, 0, 6);
	tcase_add_loop_test(t, what_is_wrong_is_said, 0, COUNT(wrong));
	tcase_add_loop_test(t, shown_in_a_line, 0, COUNT(lines));
	tcase_add_test(t, tables_of_the_outer_guest);
	suite_add_tcase(suite, t);

	t = tcase_create("vcpu");
	tcase_add_loop_test(t, written_where_it_is_taken, 0, 2 * ORDERS);
	tcase_add_test(t, not_written_at_runtime);
	tcase_add_loop_test(t, a_reset_ends_it, 0, 12);
	tcase_add_loop_test(t, as_much_as_the_host_says, 0, 3);
	tcase_add_loop_test(t, no_room_for_a_header, 0, 2);
	tcase_add_test(t, more_than_the_host_says);
	tcase_add_test(t, the_space_of_an_inner_guest);
	suite_add_tcase(suite, t);
	return suite;
}
