/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "monitor/hmp.h"
#include "tests/unit/suites.h"
#include "tests/unit/vm_fixture.h"
#include "tests/unit/wire_fixture.h"
#include "vmm/log.h"

/* The PDPTRs of PAE paging: shown, set, loaded from memory when a processor would. */

#define PG    0x80000000u
#define PAE   0x20u
#define TABLE 0x3000            /* in memory: entries 0x11001, 0x12001, 0x13001, 0 */
#define OTHER 0x5020            /* 0x21001, 0x22001, 0, 0x24001 */
#define BAD   0x6000            /* its third entry has a reserved bit */

static const uint64_t table[4] = { 0x11001, 0x12001, 0x13001, 0 };
static const uint64_t other[4] = { 0x21001, 0x22001, 0, 0x24001 };
static const uint64_t bad[4] = { 1, 1, 0x13003, 1 };
static const uint64_t held[4] = { 0xa1001, 0xa2001, 0xa3001, 0xa4001 };

static struct wire wire;
static struct peer peer;
static unsigned int warnings;

static void on_log(enum log_level level, const char *text)
{
	if (level == LOG_LEVEL_WARNING && strstr(text, "PDPTRs"))
		warnings++;
}

/* In long mode, in PAE paging, or out of paging. */
enum mode { LONG, IN_PAE, FLAT };

static void enter(enum mode mode)
{
	struct fake_vcpu *v = machine_model(0);

	v->sregs.cr0 = mode == FLAT ? 0x11 : PG | 0x11;
	v->sregs.cr4 = mode == FLAT ? 0 : PAE;
	v->sregs.efer = mode == LONG ? 0x500 : 0;
	v->sregs.cs.l = mode == LONG;
	v->sregs.cr3 = v->wanted_cr3 = TABLE;
	memcpy(v->sregs.pdptrs, held, sizeof(held));
	/* Addresses of 40 bits. */
	for (uint32_t i = 0; i < v->cpuid->nent; i++)
		if (v->cpuid->entries[i].function == 0x80000008)
			v->cpuid->entries[i].eax = 0x3028;
}

static void start(enum mode mode)
{
	machine_start(1);
	ck_assert(memory_write(&machine.vm->memory, TABLE, table, sizeof(table)));
	ck_assert(memory_write(&machine.vm->memory, OTHER, other, sizeof(other)));
	ck_assert(memory_write(&machine.vm->memory, BAD, bad, sizeof(bad)));
	enter(mode);
	wire_open_vm(&wire, machine.vm);
	peer = wire_connect_ready(&wire);
	warnings = 0;
	log_set_sink(on_log, LOG_LEVEL_WARNING);
}

static void setup(void)
{
	machine_host();
}

static void end(void)
{
	log_set_sink(NULL, LOG_LEVEL_INFO);
	wire_close(&wire);
	machine_stop();
}

/* set-vcpu-registers. */
static void set(const char *registers, const char *expected)
{
	char request[512];

	snprintf(request, sizeof(request), "{\"execute\": \"set-vcpu-registers\", \"arguments\": "
		 "{\"cpu-index\": 0, \"registers\": {%s}}}", registers);
	wire_expect(&wire, &peer, request, expected);
}

/* What readers see, and after cont what the kernel has. */
static void expect(const uint64_t pdptrs[4])
{
	struct error err = { .code = 0 };
	const struct kvm_sregs2 *sregs;

	ck_assert_int_eq(vm_inspect_begin(machine.vm, 0, &err), 0);
	sregs = vcpu_state_sregs(&machine.vm->vcpu[0].state, &err);
	ck_assert_uint_eq(sregs->flags, pdptrs ? KVM_SREGS2_FLAGS_PDPTRS_VALID : 0);
	if (pdptrs)
		ck_assert_mem_eq(sregs->pdptrs, pdptrs, sizeof(sregs->pdptrs));
	vm_inspect_end(machine.vm);
	machine_run_all();
	vm_stop(machine.vm);
	if (pdptrs)
		ck_assert_mem_eq(machine_model(0)->sregs.pdptrs, pdptrs, sizeof(sregs->pdptrs));
}

static const struct {
	enum mode mode;
	const char *registers;
	const uint64_t *pdptrs;
} taken[] = {
	/* Nothing that concerns them. */
	{ IN_PAE, "\"cs\": 8", held },
	{ IN_PAE, "\"cr2\": 4096", held },
	{ IN_PAE, "\"rax\": 4096", held },
	{ IN_PAE, "\"cr8\": 1, \"fs-base\": 77", held },
	{ IN_PAE, "\"cr0\": 2147483665", held },                /* as it is */
	{ IN_PAE, "\"cr0\": 2147483667", held },                /* CR0.MP */
	{ IN_PAE, "\"cr4\": 544", held },                       /* CR4.OSFXSR */
	/* Themselves. */
	{ IN_PAE, "\"pdptr0\": 549755813889",                    /* bit 39 is an address's */
	  (const uint64_t[]){ 0x8000000001, 0xa2001, 0xa3001, 0xa4001 } },
	{ IN_PAE, "\"pdptr0\": 1", (const uint64_t[]){ 1, 0xa2001, 0xa3001, 0xa4001 } },
	{ IN_PAE, "\"pdptr3\": 0, \"pdptr1\": 135169",
	  (const uint64_t[]){ 0xa1001, 0x21001, 0xa3001, 0 } },
	/* One that is not present may have anything in it. */
	{ IN_PAE, "\"pdptr2\": 18446744073709551614",
	  (const uint64_t[]){ 0xa1001, 0xa2001, 0xfffffffffffffffe, 0xa4001 } },
	/* As MOV CR3 does, to the same value or another. */
	{ IN_PAE, "\"cr3\": 12288", table },
	{ IN_PAE, "\"cr3\": 20512", other },
	{ IN_PAE, "\"cr3\": 20543", other },                    /* the low 5 bits do not count */
	{ IN_PAE, "\"cr3\": 20512, \"pdptr1\": 1", (const uint64_t[]){ 0x21001, 1, 0, 0x24001 } },
	{ IN_PAE, "\"cr3\": 4294963200, \"pdptr0\": 0, \"pdptr1\": 0, \"pdptr2\": 0, \"pdptr3\": 1",
	  (const uint64_t[]){ 0, 0, 0, 1 } },
	{ IN_PAE, "\"cr3\": 24576, \"pdptr2\": 1", (const uint64_t[]){ 1, 1, 1, 1 } },
	/* As MOV CR0 and MOV CR4. */
	{ IN_PAE, "\"cr0\": 3221225489", table },               /* CR0.CD */
	{ IN_PAE, "\"cr4\": 160", table },                      /* CR4.PGE */
	{ FLAT, "\"cr0\": 2147483665, \"cr4\": 32", table },
	{ FLAT, "\"cr0\": 2147483665, \"cr4\": 32, \"cr3\": 20512, \"pdptr3\": 7168",
	  (const uint64_t[]){ 0x21001, 0x22001, 0, 0x1c00 } },
	{ LONG, "\"cr2\": 17, \"cr3\": 12288", NULL },
	/* And out of it. */
	{ IN_PAE, "\"cr0\": 17", NULL },
	{ IN_PAE, "\"cr4\": 0", NULL },
};

START_TEST(edits_that_are_taken)
{
	uint64_t mark;

	start(taken[_i].mode);
	mark = fake_kvm_mark(machine.fake);
	set(taken[_i].registers, OK);
	ck_assert_uint_eq(machine_sets(mark), 0);
	expect(taken[_i].pdptrs);
	ck_assert_uint_eq(warnings, 0);
	end();
}
END_TEST

static const struct {
	enum mode mode;
	bool without_sregs2;
	const char *registers, *text;
} refusals[] = {
	{ LONG, false, "\"rax\": 1, \"pdptr0\": 1",
	  "Register 'pdptr0' can not be set: the vCPU is not in PAE paging" },
	{ FLAT, false, "\"pdptr3\": 0",
	  "Register 'pdptr3' can not be set: the vCPU is not in PAE paging" },
	{ IN_PAE, false, "\"pdptr2\": 1, \"cr0\": 17",
	  "Register 'pdptr2' can not be set: the vCPU is not in PAE paging" },
	{ IN_PAE, true, "\"rax\": 1, \"pdptr1\": 1",
	  "Register 'pdptr1' can not be set: this host's KVM does not give access to it "
	  "(KVM_CAP_SREGS2)" },
	{ IN_PAE, false, "\"pdptr0\": 3, \"rax\": 1",
	  "Register 'pdptr0' can not be 0x3: bits 0x2 are reserved" },
	{ IN_PAE, false, "\"pdptr0\": 1, \"pdptr1\": 481, \"rax\": 1",
	  "Register 'pdptr1' can not be 0x1e1: bits 0x1e0 are reserved" },
	{ IN_PAE, false, "\"pdptr0\": 9223372036854775809",
	  "Register 'pdptr0' can not be 0x8000000000000001: bits 0x8000000000000000 are reserved" },
	{ IN_PAE, false, "\"pdptr0\": 2199023255553",
	  "Register 'pdptr0' can not be 0x20000000001: bits 0x20000000000 are reserved" },
	{ IN_PAE, false, "\"cr3\": 4294963200, \"rax\": 1",
	  "The PDPTRs can not be loaded from 0xfffff000, where CR3 points to: there is no memory" },
	{ IN_PAE, false, "\"cr3\": 24576",
	  "The PDPTRs can not be loaded from 0x6000, where CR3 points to: entry 2 is 0x13003, "
	  "which has reserved bits set" },
	{ IN_PAE, false, "\"cr3\": 24576, \"pdptr1\": 1, \"dr0\": 1",
	  "The PDPTRs can not be loaded from 0x6000, where CR3 points to: entry 2 is 0x13003, "
	  "which has reserved bits set" },
};

/* Of what is refused nothing is changed, not even what would have been taken. */
START_TEST(edits_that_are_refused)
{
	char expected[256];
	struct kvm_sregs2 before;
	struct kvm_regs regs;

	if (refusals[_i].without_sregs2)
		fake_kvm_set_cap(machine.fake, KVM_CAP_SREGS2, 0);
	start(refusals[_i].mode);
	before = machine_model(0)->sregs;
	regs = machine_model(0)->regs;
	snprintf(expected, sizeof(expected), ERROR("%s"), refusals[_i].text);
	set(refusals[_i].registers, expected);
	ck_assert_uint_eq(machine.vm->vcpu[0].state.dirty, 0);
	ck_assert_pstr_eq(machine_look(), NULL);
	ck_assert_mem_eq(&machine_model(0)->sregs, &before, sizeof(before));
	ck_assert_mem_eq(&machine_model(0)->regs, &regs, sizeof(regs));
	end();
}
END_TEST

/* What it is made of can not be read: no edit either. */
START_TEST(reads_that_fail)
{
	static const unsigned long requests[] = {
		KVM_GET_SREGS2, KVM_GET_NESTED_STATE, KVM_GET_MP_STATE,
	};
	char expected[128];

	start(IN_PAE);
	vcpu_state_settled(&machine.vm->vcpu[0].state);
	fake_kvm_fail(machine.fake, (struct fake_fault) { requests[_i], .vcpu = 0, .error = EIO,
							  .times = 1 });
	snprintf(expected, sizeof(expected), ERROR("vCPU 0: KVM_%s: Input/output error"),
		 _i == 0 ? "GET_SREGS2" : _i == 1 ? "GET_NESTED_STATE" : "GET_MP_STATE");
	set("\"cr3\": 12288", expected);
	ck_assert_uint_eq(machine.vm->vcpu[0].state.dirty, 0);
	set("\"cr3\": 12288", OK);
	expect(table);
	end();
}
END_TEST

/*
 * Without KVM_CAP_SREGS2 nobody knows them; KVM loads them when special registers are written, and
 * the log says so.
 */
START_TEST(a_host_that_does_not_tell)
{
	struct error err = { .code = 0 };
	const struct kvm_sregs2 *sregs;
	struct text out = { 0 };
	struct hmp hmp;

	fake_kvm_set_cap(machine.fake, KVM_CAP_SREGS2, 0);
	start(IN_PAE);
	sregs = vcpu_state_sregs(&machine.vm->vcpu[0].state, &err);
	ck_assert_uint_eq(sregs->flags, 0);
	hmp = (struct hmp){ .monitor = wire.monitor, .vm = machine.vm, .out = &out };
	hmp_execute(&hmp, "info registers");
	ck_assert_ptr_nonnull(strstr(out.bytes, "CR4=00000020\n"));
	ck_assert_ptr_null(strstr(out.bytes, "PDPTR"));
	text_free(&out);
	set("\"cr3\": 20512", OK);
	ck_assert_uint_eq(warnings, 1);
	set("\"rax\": 5", OK);
	ck_assert_uint_eq(warnings, 1);
	machine_run_all();
	vm_stop(machine.vm);
	ck_assert_mem_eq(machine_model(0)->sregs.pdptrs, other, sizeof(other));
	end();
}
END_TEST

START_TEST(shown_by_query_vcpu_state)
{
	static const struct {
		enum mode mode;
		const char *text;
	} shown[] = {
		{ IN_PAE, "\"pdptrs\": [659457, 663553, 667649, 671745]" },
		{ LONG, NULL }, { FLAT, NULL },
	};

	start(shown[_i].mode);
	wire_send(&wire, &peer, "{\"execute\": \"query-vcpu-state\"}", 31);
	wire_settle(&wire, &peer);
	ck_assert_int_eq(!strstr(peer.text, "pdptrs"), !shown[_i].text);
	if (shown[_i].text)
		ck_assert_ptr_nonnull(strstr(peer.text, shown[_i].text));
	/* And what it does with guests of its own: nothing. */
	ck_assert_ptr_nonnull(strstr(peer.text, "\"nested\": {\"format\": \"vmx\", "
				     "\"guest-mode\": false"));
	ck_assert_uint_eq(machine.vm->vcpu[0].state.dirty, 0);
	end();
}
END_TEST

/* A differing PDPTR survives whatever looks, and a stop and a cont. */
START_TEST(looking_does_not_touch_them)
{
	static const char *const lines[] = {
		"info registers", "info registers -a", "info tlb", "info mem", "info nested",
		"info nested -a", "x /1xg 0", "info cpus",
	};
	struct text out = { 0 };
	struct hmp hmp;
	uint64_t mark;

	start(IN_PAE);
	hmp = (struct hmp){ .monitor = wire.monitor, .vm = machine.vm, .out = &out };
	machine_run_all();
	for (int i = 0; i < 3; i++) {
		vm_stop(machine.vm);
		mark = fake_kvm_mark(machine.fake);
		for (size_t k = 0; k < sizeof(lines) / sizeof(lines[0]); k++)
			hmp_execute(&hmp, lines[k]);
		machine_run_all();
		ck_assert_uint_eq(machine_sets(mark), 0);
	}
	vm_stop(machine.vm);
	ck_assert_mem_eq(machine_model(0)->sregs.pdptrs, held, sizeof(held));
	ck_assert_ptr_nonnull(strstr(out.bytes, "\nPDPTR0=00000000000a1001 PDPTR1=00000000000a2001 "
				     "PDPTR2=00000000000a3001 PDPTR3=00000000000a4001\n"));
	ck_assert_ptr_nonnull(strstr(out.bytes, "CPU#0 vmx guest-mode=0 "));
	text_free(&out);
	end();
}
END_TEST

#define COUNT(array) (int)(sizeof(array) / sizeof(array[0]))

Suite *pdptrs_suite(void)
{
	Suite *suite = suite_create("pdptrs");
	TCase *t = tcase_create("pdptrs");

	tcase_add_checked_fixture(t, setup, NULL);
	tcase_add_loop_test(t, edits_that_are_taken, 0, COUNT(taken));
	tcase_add_loop_test(t, edits_that_are_refused, 0, COUNT(refusals));
	tcase_add_loop_test(t, reads_that_fail, 0, 3);
	tcase_add_test(t, a_host_that_does_not_tell);
	tcase_add_loop_test(t, shown_by_query_vcpu_state, 0, 3);
	tcase_add_test(t, looking_does_not_touch_them);
	suite_add_tcase(suite, t);
	return suite;
}
