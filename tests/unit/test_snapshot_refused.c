/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/snapshot_machine.h"
#include "tests/unit/state_fixture.h"
#include "tests/unit/suites.h"

/* State that can not be loaded: broken, or of a host that has what this one lacks. */

static struct sections first;
static uint64_t seed = 42;
static void saved(unsigned int nr_vcpus)
{
	machine_host();
	saved_elsewhere(&first, nr_vcpus, FILL_LONG);
}

static void end(void)
{
	machine_stop();
	sections_free(&first);
}

/* ---- Another machine ---- */

START_TEST(another_number_of_vcpus)
{
	saved(3);
	machine_start(2);
	refused(&first, true, "the state is of a machine with 3 vCPUs, and this one has 2: "
		"start it with --cpus 3");
	end();
}
END_TEST

START_TEST(another_size_of_memory)
{
	saved(1);
	machine.config.memory = 4 << 20;
	machine_start(1);
	refused(&first, true, "the snapshot is of a machine with 2097152 bytes of memory, and this "
		"one has 4194304");
	end();
}
END_TEST

static void remove_section(const char *name)
{
	struct section *s = section_named(&first, name);

	bytes_out_free(&s->content);
	*s = first.section[--first.nr];
}

START_TEST(a_section_is_missing)
{
	static const char *const names[] = { "machine", "irqchip", "vcpu/1" };
	char text[64];

	saved(2);
	machine_start(2);
	remove_section(names[_i]);
	snprintf(text, sizeof(text), "the snapshot has no section \"%s\"", names[_i]);
	refused(&first, true, text);
	end();
}
END_TEST

START_TEST(a_required_section_is_unknown)
{
	struct error err = { .code = 0 };

	saved(1);
	machine_start(1);
	bytes_put_u8(sections_add(&first, "flux-capacitor", 1, true, &err), 1);
	refused(&first, true, "flux-capacitor");
	section_named(&first, "flux-capacitor")->required = false;
	load_into(machine.vm, &first);
	end();
}
END_TEST

START_TEST(a_section_is_newer)
{
	static const char *const names[] = { "machine", "irqchip", "pit", "clock", "vcpu/0" };

	saved(1);
	machine_start(1);
	section_named(&first, names[_i])->version = 2;
	refused(&first, true, names[_i]);
	end();
}
END_TEST

/* ---- Broken ---- */

/* Cut short at any byte: refused, or (behind a whole item that is not needed) harmless. */
START_TEST(a_section_is_cut_short)
{
	static const char *const names[] = { "machine", "irqchip", "pit", "clock" };
	struct section *s;
	size_t len;

	saved(1);
	machine_start(1);
	s = section_named(&first, names[_i]);
	for (len = s->content.len; s->content.len-- > 0;)
		refused(&first, true, "");
	s->content.len = len;
	bytes_put_u8(&s->content, 0);
	refused(&first, true, names[_i]);
	end();
}
END_TEST

START_TEST(a_vcpu_is_cut_short)
{
	struct section *s;
	size_t needed, len;

	saved(1);
	machine_start(1);
	s = section_named(&first, "vcpu/0");
	/* The last item that must be there. */
	needed = (size_t)(item_data(&first, SNAPSHOT_MSRS, &len) - s->content.data) + len;
	for (s->content.len = needed; s->content.len-- > 0;)
		refused(&first, true, "section \"vcpu/0\": ");
	end();
}
END_TEST

/* Any bit may be wrong: an error, or state that the kernel judges; no crash. */
START_TEST(bits_are_flipped)
{
	static const struct vm_callbacks callbacks = { .event = NULL };
	struct section *s;
	struct vm *vm;
	uint64_t at;

	saved(1);
	machine_start(1);
	s = section_named(&first, "vcpu/0");
	for (int i = 0; i < 400; i++) {
		struct error err = { .code = 0 };

		at = fixture_random(&seed) % (i < 100 ? 2048 : s->content.len);
		s->content.data[at] ^= (uint8_t)(1U << i % 8);
		ck_assert_int_eq(vm_create(&vm, &machine.kvm, &machine.config, &callbacks, &err), 0);
		ck_assert_int_eq(snapshot_apply(vm, &first, i & 1, &err) == 0, err.code == 0);
		vm_destroy(vm);
		s->content.data[at] ^= (uint8_t)(1U << i % 8);
		for (unsigned int j = 0; j < first.nr; j++)
			first.section[j].claimed = false;
	}
	end();
}
END_TEST

static void rename_item(enum snapshot_item tag, uint16_t to, uint16_t flags)
{
	size_t len;
	uint8_t *data = item_data(&first, tag, &len);

	memcpy(data - 8, &to, sizeof(to));
	memcpy(data - 6, &flags, sizeof(flags));
}

START_TEST(an_item_is_unknown)
{
	saved(1);
	machine_start(1);
	rename_item(SNAPSHOT_DEBUGREGS, 99, 0);
	refused(&first, true,
		"section \"vcpu/0\": item 99 is of a kind that this vmond does not know");
	rename_item((enum snapshot_item)99, 99, SNAPSHOT_ITEM_OPTIONAL | 2);
	refused(&first, true,
		"section \"vcpu/0\": item 99 has flags that this vmond does not know: 0x3");
	rename_item((enum snapshot_item)99, 99, SNAPSHOT_ITEM_OPTIONAL);
	load_into(machine.vm, &first);
	end();
}
END_TEST

START_TEST(an_item_is_there_twice)
{
	saved(1);
	machine_start(1);
	rename_item(SNAPSHOT_MP_STATE, SNAPSHOT_TSC_KHZ, 0);
	refused(&first, true, "item \"tsc-khz\" is there twice");
	end();
}
END_TEST

START_TEST(an_item_is_missing)
{
	static const struct {
		enum snapshot_item tag;
		const char *text;
	} needed[] = {
		{ SNAPSHOT_CPUID, "item \"cpuid\" is not there" },
		{ SNAPSHOT_REGS, "item \"regs\" is not there" },
		{ SNAPSHOT_SREGS, "item \"sregs\" is not there" },
		{ SNAPSHOT_XSAVE, "either an item \"xsave\" or one \"fpu\"" },
		{ SNAPSHOT_LAPIC, "item \"lapic\" is not there" },
		{ SNAPSHOT_TSC, "item \"tsc\" is not there" },
		{ SNAPSHOT_MSRS, "item \"msrs\" is not there" },
	};

	saved(1);
	machine_start(1);
	replace_item(&first, needed[_i].tag, NULL, 0);
	refused(&first, true, needed[_i].text);
	end();
}
END_TEST

START_TEST(an_item_has_another_length)
{
	static const uint8_t bytes[8192];
	static const struct {
		enum snapshot_item tag;
		size_t len;
		const char *text;
	} wrong[] = {
		{ SNAPSHOT_REGS, 143, "item \"regs\" has 143 bytes instead of 144" },
		{ SNAPSHOT_SREGS, 312, "item \"sregs\" has 312 bytes instead of 320" },
		{ SNAPSHOT_LAPIC, 4096, "item \"lapic\" has 4096 bytes instead of 1024" },
		{ SNAPSHOT_EVENTS, 0, "item \"events\" has 0 bytes instead of 64" },
		{ SNAPSHOT_CPUID, 27, "item \"cpuid\" has 27 bytes" },
		{ SNAPSHOT_CPUID, 28 * 257, "item \"cpuid\" has 7196 bytes" },
		{ SNAPSHOT_MSRS, 13, "item \"msrs\" has 13 bytes, no multiple of 12" },
		{ SNAPSHOT_XSAVE, 575, "an XSAVE area has at least 576" },
		{ SNAPSHOT_NESTED, 127, "item \"nested\" has 127 bytes; its header has 128" },
		{ SNAPSHOT_NESTED, 128, "the nested state has 128 bytes, and says that it has 0" },
		{ SNAPSHOT_TSC, 4, "item \"tsc\" has 4 bytes instead of 8" },
	};

	saved(1);
	machine_start(1);
	replace_item(&first, wrong[_i].tag, bytes, wrong[_i].len);
	refused(&first, true, wrong[_i].text);
	end();
}
END_TEST

/* ---- A host that lacks something ---- */

static const struct lack {
	unsigned int cap[2];
	const char *text;
	bool forced;            /* `force` helps */
} lacks[] = {
	{ { KVM_CAP_XCRS }, "this host's KVM can not set \"xcrs\" of a vCPU", false },
	{ { KVM_CAP_DEBUGREGS }, "this host's KVM can not set \"debugregs\" of a vCPU", false },
	{ { KVM_CAP_VCPU_EVENTS }, "this host's KVM can not set \"events\" of a vCPU", false },
	{ { KVM_CAP_MP_STATE }, "this host's KVM can not set \"mp-state\" of a vCPU", false },
	{ { KVM_CAP_XSAVE, KVM_CAP_XSAVE2 }, "the guest has XSAVE, and this host's KVM has not",
	  false },
	{ { KVM_CAP_EXCEPTION_PAYLOAD },
	  "an exception is pending, and this host's KVM can not take one",
	  false },
	{ { KVM_CAP_PIT_STATE2 }, "a machine with a PIT, whose state this host's KVM can not set",
	  false },
	{ { KVM_CAP_ADJUST_CLOCK }, "this host's KVM can not set a guest's clock", true },
};

START_TEST(the_host_lacks)
{
	const struct lack *lack = &lacks[_i];
	struct error err = { .code = 0 };

	saved(1);
	for (int i = 0; i < 2; i++)
		if (lack->cap[i])
			fake_kvm_set_cap(machine.fake, lack->cap[i], 0);
	machine_start(1);
	refused(&first, false, lack->text);
	if (lack->forced)
		ck_assert_msg(snapshot_apply(machine.vm, &first, true, &err) == 0, "%s", err.text);
	else
		refused(&first, true, lack->text);
	end();
}
END_TEST

START_TEST(the_host_has_no_nested_guests)
{
	machine_host();
	saved_elsewhere(&first, 1, _i ? FILL_NESTED_VMX : FILL_LONG);
	fake_kvm_set_cap(machine.fake, KVM_CAP_NESTED_STATE, 0);
	machine_start(1);
	if (!_i) {
		/* The guest has made no use of it (VMXON region: none). */
		size_t len;
		uint8_t *nested = item_data(&first, SNAPSHOT_NESTED, &len);

		memset(nested + 8, 0xff, 8);
		load_into(machine.vm, &first);
	} else {
		refused(&first, false, "the guest has guests of its own");
	}
	end();
}
END_TEST

START_TEST(pdptrs_that_can_not_be_set)
{
	uint64_t pdptrs[4];
	struct kvm_sregs2 sregs;
	size_t len;

	machine_host();
	saved_elsewhere(&first, 1, FILL_PAE);
	fake_kvm_set_cap(machine.fake, KVM_CAP_SREGS2, 0);
	machine_start(1);
	refused(&first, false, "the guest's PDPTRs are not those in its memory");
	memcpy(&sregs, item_data(&first, SNAPSHOT_SREGS, &len), sizeof(sregs));
	memcpy(pdptrs, sregs.pdptrs, sizeof(pdptrs));
	ck_assert(memory_write(&machine.vm->memory, 0x3000, pdptrs, sizeof(pdptrs)));
	load_into(machine.vm, &first);
	ck_assert_mem_eq(machine_model(0)->sregs.pdptrs, pdptrs, sizeof(pdptrs));
	end();
}
END_TEST

/* More extended state than this host keeps: of no account while it is not used. */
START_TEST(a_larger_xsave_area)
{
	uint8_t *area, large[8192] = { 0 };
	size_t len;

	saved(1);
	machine_start(1);
	area = item_data(&first, SNAPSHOT_XSAVE, &len);
	memcpy(large, area, 4096);
	large[5000] = 1;
	replace_item(&first, SNAPSHOT_XSAVE, large, sizeof(large));
	refused(&first, true, "the guest uses 8192 bytes of extended processor state, and this "
		"host's KVM keeps 4096");
	end();
}
END_TEST

START_TEST(a_larger_xsave_area_in_no_use)
{
	uint8_t *area, large[8192] = { 0 };
	size_t len;

	saved(1);
	machine_start(1);
	area = item_data(&first, SNAPSHOT_XSAVE, &len);
	memcpy(large, area, 4096);
	replace_item(&first, SNAPSHOT_XSAVE, large, _i ? sizeof(large) : 832);
	load_into(machine.vm, &first);
	ck_assert_mem_eq(machine_model(0)->xsave, large, 832);
	end();
}
END_TEST

START_TEST(an_msr_that_the_host_does_not_have)
{
	struct error err = { .code = 0 };

	saved(1);
	machine_start(1);
	add_msr(&first, 0x570, 0);
	load_into(machine.vm, &first);
	machine_stop();
	machine_host();
	machine_start(1);
	for (unsigned int i = 0; i < first.nr; i++)
		first.section[i].claimed = false;
	add_msr(&first, 0xd90, 0x1234);
	refused(&first, false, "section \"vcpu/0\": the guest's MSR 0xd90 (IA32_BNDCFGS) is "
		"0x1234, and this host's KVM does not have it");
	ck_assert_msg(snapshot_apply(machine.vm, &first, true, &err) == 0, "%s", err.text);
	end();
}
END_TEST

/* Listed for the host, but the vCPU refuses it: named, or left out. */
START_TEST(an_msr_that_the_vcpu_does_not_have)
{
	struct error err = { .code = 0 };

	saved(1);
	machine_start(1);
	fake_kvm_fail_msr(machine.fake, 0xc0000082, true, true);
	if (_i) {
		ck_assert_msg(snapshot_apply(machine.vm, &first, true, &err) == 0, "%s", err.text);
	} else {
		ck_assert_int_eq(snapshot_apply(machine.vm, &first, false, &err), -1);
		ck_assert_ptr_nonnull(strstr(err.text, "KVM_SET_MSRS refuses MSR 0xc0000082 = 0x"));
	}
	end();
}
END_TEST

START_TEST(a_frequency_that_can_not_be_had)
{
	struct error err = { .code = 0 };
	uint32_t khz = 2600000;

	saved(1);
	fake_kvm_set_cap(machine.fake, KVM_CAP_TSC_CONTROL, 0);
	machine_start(1);
	replace_item(&first, SNAPSHOT_TSC_KHZ, &khz, sizeof(khz));
	refused(&first, false, "the guest's TSC runs at 2600000 kHz, this host's at 2000000 kHz");
	ck_assert_msg(snapshot_apply(machine.vm, &first, true, &err) == 0, "%s", err.text);
	end();
}
END_TEST

START_TEST(a_frequency_that_is_close_enough)
{
	uint32_t khz = 2000400;

	saved(1);
	fake_kvm_set_cap(machine.fake, KVM_CAP_TSC_CONTROL, 0);
	machine_start(1);
	replace_item(&first, SNAPSHOT_TSC_KHZ, &khz, sizeof(khz));
	load_into(machine.vm, &first);
	end();
}
END_TEST

/* ---- Processor features ---- */

static void put_leaf(uint32_t leaf, uint32_t subleaf, uint32_t eax, uint32_t ebx, uint32_t ecx,
		     uint32_t edx)
{
	const uint32_t entry[7] = { leaf, subleaf, subleaf || leaf == 7 || leaf == 0xd, eax, ebx, ecx,
				    edx };
	struct bytes_out made = { 0 };
	size_t len;
	const uint8_t *old = item_data(&first, SNAPSHOT_CPUID, &len);

	bytes_put(&made, entry, sizeof(entry));
	bytes_put(&made, old, len);
	replace_item(&first, SNAPSHOT_CPUID, made.data, made.len);
	bytes_out_free(&made);
}

/* The fake host's leaf n has 0x1000 + n in EBX, 0x2000 + n in ECX and 0x3000 + n in EDX. */
START_TEST(features_that_the_host_lacks)
{
	static const struct {
		uint32_t leaf, subleaf, value[4];
		const char *text;
	} cases[] = {
		{ 1, 0, { 0, 0, 0x2001 | 1 << 28, 0x3001 }, "lacks: avx" },
		{ 7, 0, { 0, 0x1007 | 1 << 5 | 1 << 16, 0x2007, 0x3007 }, "lacks: avx2, avx512f" },
		{ 7, 1, { 1 << 4, 1 << 5, 0, 0 }, "lacks: avx-vnni, 0x7.1 EBX bit 5" },
		{ 7, 1, { 1 << 31, 0, 0, 0 }, "lacks: 0x7.1 EAX bit 31" },
		{ 0xd, 0, { 1 << 2, 0, 0, 0 }, "lacks: 0xd.0 EAX bit 2" },
		{ 0x80000001, 0, { 0, 0, 0, 1 << 29 }, "lacks: lm" },
		{ 0xd, 1, { 1 << 3, 0, 0, 0 }, "lacks: xsaves" },
		{ 6, 0, { 1 << 20, 0, 0, 0 }, "lacks: 0x6 EAX bit 20" },
		{ 0x80000008, 0, { 255, 0, 0, 0 }, "lacks: physical addresses of 255 bits instead of" },
	};
	struct error err = { .code = 0 };

	saved(1);
	machine_start(1);
	put_leaf(cases[_i].leaf, cases[_i].subleaf, cases[_i].value[0], cases[_i].value[1],
		 cases[_i].value[2], cases[_i].value[3]);
	refused(&first, false, cases[_i].text);
	ck_assert_msg(snapshot_apply(machine.vm, &first, true, &err) == 0, "%s", err.text);
	end();
}
END_TEST

START_TEST(many_features_that_the_host_lacks)
{
	saved(1);
	machine_start(1);
	put_leaf(7, 0, 0, UINT32_MAX, UINT32_MAX, UINT32_MAX);
	put_leaf(0x80000001, 0, 0, 0, UINT32_MAX, UINT32_MAX);
	refused(&first, false, " more");
	end();
}
END_TEST

/* Switches of the operating system, and what our own table adds, are no features of the host. */
START_TEST(bits_that_are_no_features)
{
	saved(1);
	machine_start(1);
	put_leaf(1, 0, 0, 0, 0x2001 | 1U << 31 | 1U << 27 | 1U << 24, 0x3001 | 1U << 28 | 1U << 9);
	put_leaf(7, 0, 0, 0x1007, 0x2007 | 1U << 4, 0x3007);
	load_into(machine.vm, &first);
	end();
}
END_TEST

/* What the host has was what it has when it was saved there: KVM is not even asked. */
START_TEST(the_same_host)
{
	machine_host();
	fake_kvm_set_host_id(machine.fake, 1);
	saved_elsewhere(&first, 1, FILL_LONG);
	fake_kvm_set_host_id(machine.fake, 1);
	machine.config.incoming = true;
	machine_start(1);
	put_leaf(0x80000001, 0, 0, 0, 0, 1 << 29);
	load_into(machine.vm, &first);
	ck_assert_ptr_null(machine.kvm.supported_cpuid);
	end();
}
END_TEST

/* Another one, one that is not known, and one where the guest was let in with what it lacks. */
START_TEST(not_the_same_host)
{
	machine_host();
	fake_kvm_set_host_id(machine.fake, 1);
	machine.config.force_cpuid = _i == 2;
	saved_elsewhere(&first, 1, FILL_LONG);
	fake_kvm_set_host_id(machine.fake, _i == 0 ? 2 : _i == 1 ? 0 : 1);
	machine_start(1);
	put_leaf(0x80000001, 0, 0, 0, 0, 1 << 29);
	refused(&first, false, "lacks: lm");
	end();
}
END_TEST

START_TEST(a_host_of_another_length)
{
	machine_host();
	fake_kvm_set_host_id(machine.fake, 1);
	saved_elsewhere(&first, 1, FILL_LONG);
	fake_kvm_set_host_id(machine.fake, 1);
	machine_start(1);
	bytes_put_u8(&section_named(&first, "host")->content, 1);
	refused(&first, false, "host");
	end();
}
END_TEST

Suite *snapshot_refused_suite(void)
{
	Suite *suite = suite_create("snapshot_refused");
	TCase *another = tcase_create("another machine"), *broken = tcase_create("broken");
	TCase *host = tcase_create("host"), *cpuid = tcase_create("cpuid");

	tcase_add_test(another, another_number_of_vcpus);
	tcase_add_test(another, another_size_of_memory);
	tcase_add_loop_test(another, a_section_is_missing, 0, 3);
	tcase_add_test(another, a_required_section_is_unknown);
	tcase_add_loop_test(another, a_section_is_newer, 0, 5);
	suite_add_tcase(suite, another);
	tcase_add_loop_test(broken, a_section_is_cut_short, 0, 4);
	tcase_add_test(broken, a_vcpu_is_cut_short);
	tcase_add_test(broken, bits_are_flipped);
	tcase_add_test(broken, an_item_is_unknown);
	tcase_add_test(broken, an_item_is_there_twice);
	tcase_add_loop_test(broken, an_item_is_missing, 0, 7);
	tcase_add_loop_test(broken, an_item_has_another_length, 0, 11);
	suite_add_tcase(suite, broken);
	tcase_add_loop_test(host, the_host_lacks, 0, (int)(sizeof(lacks) / sizeof(lacks[0])));
	tcase_add_loop_test(host, the_host_has_no_nested_guests, 0, 2);
	tcase_add_test(host, pdptrs_that_can_not_be_set);
	tcase_add_test(host, a_larger_xsave_area);
	tcase_add_loop_test(host, a_larger_xsave_area_in_no_use, 0, 2);
	tcase_add_test(host, an_msr_that_the_host_does_not_have);
	tcase_add_loop_test(host, an_msr_that_the_vcpu_does_not_have, 0, 2);
	tcase_add_test(host, a_frequency_that_can_not_be_had);
	tcase_add_test(host, a_frequency_that_is_close_enough);
	suite_add_tcase(suite, host);
	tcase_add_loop_test(cpuid, features_that_the_host_lacks, 0, 9);
	tcase_add_test(cpuid, many_features_that_the_host_lacks);
	tcase_add_test(cpuid, bits_that_are_no_features);
	tcase_add_test(cpuid, the_same_host);
	tcase_add_loop_test(cpuid, not_the_same_host, 0, 3);
	tcase_add_test(cpuid, a_host_of_another_length);
	suite_add_tcase(suite, cpuid);
	return suite;
}
