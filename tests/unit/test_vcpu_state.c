/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/state_fixture.h"
#include "tests/unit/suites.h"

/* The rules of the state cache: what reading, editing and the hooks do, substate by substate. */

static const enum vcpu_level hook_levels[] = {
	VCPU_LEVEL_RUNTIME, VCPU_LEVEL_RESET, VCPU_LEVEL_FULL, VCPU_LEVEL_FULL,
};

#define HOOKS 4

/* Before a run that does not come about: the vCPU is parked again, and may be looked at. */
static int hook(unsigned int which, struct vcpu_state *s, struct error *err)
{
	switch (which) {
	case 0:
		if (vcpu_state_before_run(s, err) < 0)
			return -1;
		fixture_park(0);
		return 0;
	case 1:
		return vcpu_state_after_reset(s, err);
	case 2:
		return vcpu_state_after_init(s, err);
	default:
		return vcpu_state_after_load(s, err);
	}
}

static void setup(void)
{
	fixture_host();
	fixture_start(1);
}

static uint32_t bit(enum vcpu_substate sub)
{
	return 1U << sub;
}

static const uint32_t all = (1U << SUBSTATE_COUNT) - 1;

START_TEST(a_new_state_issues_no_ioctl)
{
	uint64_t mark = fake_kvm_mark(fix.fake);
	struct vcpu_state s;

	vcpu_state_init(&s, &fix.vcpu[0], fix.table, 0);
	ck_assert_uint_eq(s.dirty, 0);
	ck_assert_uint_eq(s.offered, all);
	vcpu_state_destroy(&s);
	ck_assert_uint_eq(fake_kvm_count(fix.fake, fake_filter(mark, 0, FAKE_ANY)), 0);
}
END_TEST

/*
 * One GET the first time, none the second, and nothing to write at any hook.  (After MP_STATE, regs
 * that came from the run page are read once more, to see whether an INIT was accepted.)
 */
START_TEST(reading_never_dirties)
{
	const struct substate_case *c = &substate_cases[_i];
	struct vcpu_state *s = &fix.state[0];
	struct error err = { .code = 0 };
	uint64_t mark;

	for (unsigned int h = 0; h < HOOKS; h++) {
		bool at_hand = s->fetched & bit(c->substate);   /* from the run page */
		bool verify = c->substate == SUBSTATE_MP_STATE && (s->fetched & bit(SUBSTATE_REGS));

		mark = fake_kvm_mark(fix.fake);
		ck_assert_msg(c->read(s, &err), "%s", err.text);
		ck_assert(c->read(s, &err));
		ck_assert_uint_eq(fake_kvm_count(fix.fake, fake_filter(mark, 0, KVM_CLASS_GET)),
				  c->get && !at_hand ? 1 + verify : 0);
		if (c->get && !at_hand)
			ck_assert_uint_eq(fake_kvm_count_request(fix.fake, mark, 0, c->get), 1);
		ck_assert_uint_eq(s->dirty, 0);
		ck_assert_int_eq(hook(h, s, &err), 0);
		ck_assert_uint_eq(fake_kvm_count(fix.fake, fake_filter(mark, 0, KVM_CLASS_SET)), 0);
		fixture_run(0, NULL);
		ck_assert_uint_eq(fake_kvm_count(fix.fake, fake_filter(mark, 0, KVM_CLASS_SET)), 0);
	}
}
END_TEST

START_TEST(reading_everything_writes_nothing)
{
	struct error err = { .code = 0 };
	uint64_t mark = fake_kvm_mark(fix.fake);

	for (unsigned int h = 0; h < HOOKS; h++) {
		ck_assert_int_eq(vcpu_state_fetch(&fix.state[0], all, &err), 0);
		ck_assert_pstr_eq(fixture_difference(0), NULL);
		ck_assert_uint_eq(fix.state[0].dirty, 0);
		ck_assert_int_eq(hook(h, &fix.state[0], &err), 0);
		fixture_run(0, NULL);
	}
	ck_assert_str_eq(fixture_sets(mark, 0), "");
}
END_TEST

START_TEST(what_was_fetched_is_forgotten_when_the_vcpu_runs)
{
	const struct substate_case *c = &substate_cases[_i];
	struct vcpu_state *s = &fix.state[0];
	uint64_t old = c->seen(s);

	if (!c->change)
		return;
	ck_assert_int_eq(vcpu_state_before_run(s, NULL), 0);
	ck_assert_uint_eq(s->fetched & bit(c->substate), 0);
	c->change(fix.model[0], old + 0x11);
	fixture_park(0);
	ck_assert_uint_eq(c->seen(s), c->fit(old + 0x11));
}
END_TEST

/* Dirty is what the editor's name says and nothing else; the kernel hears of it only in a hook. */
START_TEST(an_edit_marks_exactly_one)
{
	const struct substate_case *c = &substate_cases[_i];
	struct vcpu_state *s = &fix.state[0];
	struct error err = { .code = 0 };
	uint64_t mark = fake_kvm_mark(fix.fake), before = c->held(fix.model[0]);

	ck_assert_msg(c->edit(s, 0x5555, &err), "%s", err.text);
	ck_assert_uint_eq(s->dirty, bit(c->substate));
	ck_assert_uint_eq(c->seen(s), c->fit(0x5555));
	ck_assert_uint_eq(c->held(fix.model[0]), before);
	ck_assert_uint_eq(fake_kvm_count(fix.fake, fake_filter(mark, 0, KVM_CLASS_SET)), 0);
}
END_TEST

/* One dirty substate, one hook: written if the level reaches, else kept dirty and visible. */
START_TEST(a_hook_writes_its_rows)
{
	const struct substate_case *c = &substate_cases[_i / HOOKS];
	unsigned int h = (unsigned int)_i % HOOKS;
	bool reached = c->level <= hook_levels[h];
	struct vcpu_state *s = &fix.state[0];
	struct error err = { .code = 0 };
	uint64_t mark, before = c->held(fix.model[0]);

	ck_assert(c->edit(s, 0x5555, &err));
	mark = fake_kvm_mark(fix.fake);
	ck_assert_msg(hook(h, s, &err) == 0, "%s", err.text);
	ck_assert_uint_eq(fake_kvm_count(fix.fake, fake_filter(mark, 0, KVM_CLASS_SET)), reached);
	ck_assert_uint_eq(fake_kvm_count_request(fix.fake, mark, 0, c->set), reached);
	ck_assert_uint_eq(c->held(fix.model[0]), reached ? c->fit(0x5555) : before);
	ck_assert_uint_eq(s->dirty, reached ? 0 : bit(c->substate));
	/* A second time there is nothing left to write. */
	ck_assert_int_eq(hook(h, s, &err), 0);
	ck_assert_uint_eq(fake_kvm_count(fix.fake, fake_filter(mark, 0, KVM_CLASS_SET)), reached);
	ck_assert_uint_eq(c->seen(s), c->fit(0x5555));
	ck_assert_pstr_eq(fixture_difference(0), NULL);
}
END_TEST

/* What a hook does not reach waits, over any number of runs, for one that does. */
START_TEST(dirty_state_outlives_runs)
{
	const struct substate_case *c = &substate_cases[_i];
	struct vcpu_state *s = &fix.state[0];
	struct error err = { .code = 0 };
	uint64_t before = c->held(fix.model[0]), mark;

	if (c->level == VCPU_LEVEL_RUNTIME || c->substate == SUBSTATE_CPUID)
		return;         /* cpuid can not be written after the first run */
	ck_assert(c->edit(s, 0x5555, &err));
	mark = fake_kvm_mark(fix.fake);
	for (int i = 0; i < 3; i++) {
		fixture_run(0, NULL);
		ck_assert_uint_eq(s->dirty, bit(c->substate));
		ck_assert_uint_eq(c->seen(s), c->fit(0x5555));
	}
	if (c->change) {
		c->change(fix.model[0], 0x1234);
		before = c->fit(0x1234);
	}
	ck_assert_int_eq(vcpu_state_fetch(s, all, &err), 0);
	ck_assert_uint_eq(c->seen(s), c->fit(0x5555));
	ck_assert_uint_eq(c->held(fix.model[0]), before);
	ck_assert_str_eq(fixture_sets(mark, 0), "");
	ck_assert_int_eq(vcpu_state_after_load(s, &err), 0);
	ck_assert_uint_eq(c->held(fix.model[0]), c->fit(0x5555));
	ck_assert_uint_eq(s->dirty, 0);
}
END_TEST

static void edit_everything(struct vcpu_state *s)
{
	struct error err = { .code = 0 };

	for (int sub = 0; sub < SUBSTATE_COUNT; sub++)
		ck_assert_msg(substate_cases[sub].edit(s, 0x5555, &err), "%s", err.text);
	for (unsigned int m = 0; m < FIXTURE_MSRS; m++)
		ck_assert_int_eq(vcpu_state_msr_edit(s, m, 0x5555, &err), 0);
	ck_assert_uint_eq(s->dirty, all);
}

static const char full_order[] =
	"SET_CPUID2 SET_TSC_KHZ SET_MSRS SET_NESTED_STATE SET_REGS SET_SREGS2 SET_XCRS SET_XSAVE "
	"SET_LAPIC SET_DEVICE_ATTR SET_MSRS SET_VCPU_EVENTS SET_MP_STATE SET_DEBUGREGS SET_GUEST_DEBUG";
static const char reset_order[] =
	"SET_MSRS SET_NESTED_STATE SET_REGS SET_SREGS2 SET_XCRS SET_XSAVE "
	"SET_LAPIC SET_MSRS SET_VCPU_EVENTS SET_MP_STATE SET_DEBUGREGS SET_GUEST_DEBUG";
static const char runtime_order[] =
	"SET_REGS SET_SREGS2 SET_XCRS SET_XSAVE SET_MSRS SET_VCPU_EVENTS SET_DEBUGREGS "
	"SET_GUEST_DEBUG";

/* In the order of the table, each once. */
START_TEST(everything_is_written_in_order)
{
	static const char *const orders[HOOKS] = {
		runtime_order, reset_order, full_order, full_order,
	};
	struct vcpu_state *s = &fix.state[0];
	struct error err = { .code = 0 };
	uint32_t left = 0;
	uint64_t mark;

	edit_everything(s);
	mark = fake_kvm_mark(fix.fake);
	ck_assert_msg(hook((unsigned int)_i, s, &err) == 0, "%s", err.text);
	ck_assert_str_eq(fixture_sets(mark, 0), orders[_i]);
	ck_assert_uint_eq(fake_kvm_count_request(fix.fake, mark, 0, KVM_SET_REGS), 1);
	ck_assert_uint_eq(fake_kvm_count_request(fix.fake, mark, 0, KVM_SET_SREGS2), 1);
	ck_assert_uint_eq(fake_kvm_count_request(fix.fake, mark, 0, KVM_SET_VCPU_EVENTS), 1);
	for (int sub = 0; sub < SUBSTATE_COUNT; sub++)
		if (substate_cases[sub].level > hook_levels[_i])
			left |= bit((enum vcpu_substate)sub);
	if (hook_levels[_i] < VCPU_LEVEL_FULL)
		left |= bit(SUBSTATE_MSRS);     /* those of a higher level */
	ck_assert_uint_eq(s->dirty, left);
	/* The rest comes with the next hook that reaches it, and only the rest. */
	mark = fake_kvm_mark(fix.fake);
	ck_assert_int_eq(vcpu_state_after_load(s, &err), 0);
	ck_assert_uint_eq(s->dirty, 0);
	ck_assert_uint_eq(fake_kvm_count_request(fix.fake, mark, 0, KVM_SET_REGS), 0);
	ck_assert_pstr_eq(fixture_difference(0), NULL);
	for (unsigned int m = 0; m < FIXTURE_MSRS; m++)
		ck_assert_uint_eq(fake_vcpu_msr(fix.model[0], fix.table->msr[m].index)->value,
				  0x5555);
	ck_assert_ptr_null(strstr(fixture_sets(mark, 0), "SREGS"));
}
END_TEST

START_TEST(names_and_levels)
{
	static const char *const names[SUBSTATE_COUNT] = {
		"cpuid", "tsc_khz", "feature_control", "regs", "sregs", "nested", "xcrs", "xsave",
		"lapic", "tsc_offset", "msrs", "events", "latched_events", "mp_state", "debugregs", "guest_debug",
	};

	for (int sub = 0; sub < SUBSTATE_COUNT; sub++) {
		/* Names are for people and programs: either way of writing two words will do. */
		char name[32];

		snprintf(name, sizeof(name), "%s", vcpu_substate_name((enum vcpu_substate)sub));
		for (char *c = name; *c; c++)
			if (*c == '-')
				*c = '_';
		ck_assert_str_eq(name, names[sub]);
		ck_assert_int_eq(vcpu_substate_level((enum vcpu_substate)sub),
				 substate_cases[sub].level);
	}
}
END_TEST

/* ---- Order of reading, and a look that changes things ---- */

START_TEST(mp_state_is_read_first)
{
	struct error err = { .code = 0 };
	uint64_t mark = fake_kvm_mark(fix.fake);
	const char *names;

	ck_assert_int_eq(vcpu_state_fetch(&fix.state[0], all, &err), 0);
	names = fake_kvm_names(fix.fake, fake_filter(mark, 0, FAKE_ANY));
	ck_assert_msg(!strncmp(names, "GET_MP_STATE GET_VCPU_EVENTS ", 29), "%s", names);
	ck_assert_uint_eq(fake_kvm_count_request(fix.fake, mark, 0, KVM_GET_VCPU_EVENTS), 1);
	/* Again: all is there. */
	mark = fake_kvm_mark(fix.fake);
	ck_assert_int_eq(vcpu_state_fetch(&fix.state[0], all, &err), 0);
	ck_assert_uint_eq(fake_kvm_count(fix.fake, fake_filter(mark, 0, FAKE_ANY)), 0);
}
END_TEST

/* Another vCPU's INIT reaches a parked one; reading the MP state takes it, and registers move. */
START_TEST(an_init_taken_by_a_look_is_noticed)
{
	struct vcpu_state *s = &fix.state[0];
	struct error err = { .code = 0 };

	if (_i)
		fixture_park(0);        /* regs, sregs and events come from the run page */
	ck_assert_int_eq(vcpu_state_fetch(s, bit(SUBSTATE_REGS) | bit(SUBSTATE_SREGS) |
					  bit(SUBSTATE_EVENTS) | bit(SUBSTATE_LATCHED_EVENTS) |
					  bit(SUBSTATE_DEBUGREGS), &err), 0);
	ck_assert_uint_eq(vcpu_state_regs(s, &err)->rip, 0x1000);
	fake_vcpu_send_init(fix.model[0]);
	ck_assert_ptr_nonnull(vcpu_state_mp_state(s, &err));
	ck_assert_uint_eq(fix.model[0]->regs.rip, 0xfff0);
	ck_assert_uint_eq(vcpu_state_regs(s, &err)->rip, 0xfff0);
	ck_assert_pstr_eq(fixture_difference(0), NULL);
	ck_assert_uint_eq(s->dirty, 0);
}
END_TEST

START_TEST(an_init_was_pending_when_the_vcpu_parked)
{
	struct error err = { .code = 0 };

	fix.model[0]->debugregs.db[0] = 7;
	fake_vcpu_send_init(fix.model[0]);
	fixture_park(0);
	ck_assert_uint_eq(vcpu_state_events(&fix.state[0], &err)->smi.latched_init, 1);
	ck_assert_uint_eq(vcpu_state_debugregs(&fix.state[0], &err)->db[0], 7);
	ck_assert_ptr_nonnull(vcpu_state_mp_state(&fix.state[0], &err));
	ck_assert_pstr_eq(fixture_difference(0), NULL);
}
END_TEST

START_TEST(an_init_taken_by_a_look_spares_edits)
{
	struct vcpu_state *s = &fix.state[0];
	struct error err = { .code = 0 };
	struct kvm_regs *regs;

	fixture_park(0);
	regs = vcpu_state_regs_edit(s, &err);
	ck_assert_ptr_nonnull(regs);
	regs->rip = 0x7777;
	fake_vcpu_send_init(fix.model[0]);
	ck_assert_ptr_nonnull(vcpu_state_mp_state(s, &err));
	ck_assert_uint_eq(vcpu_state_regs(s, &err)->rip, 0x7777);
	ck_assert_uint_eq(s->dirty, bit(SUBSTATE_REGS));
	ck_assert_uint_eq(vcpu_state_sregs(s, &err)->cs.base, 0xffff0000);
	ck_assert_int_eq(vcpu_state_before_run(s, &err), 0);
	ck_assert_uint_eq(fix.model[0]->regs.rip, 0x7777);
}
END_TEST

/* ---- The run page ---- */

START_TEST(parking_hands_over_registers)
{
	struct vcpu_state *s = &fix.state[0];
	struct error err = { .code = 0 };
	uint64_t mark;

	fixture_enter_long_mode(0, 0x4000);
	fix.model[0]->regs.rbx = 0x1122;
	fix.model[0]->sregs.cr2 = 0x3344;
	fix.model[0]->events.nmi.pending = 1;
	fixture_park(0);
	mark = fake_kvm_mark(fix.fake);
	ck_assert_uint_eq(vcpu_state_regs(s, &err)->rbx, 0x1122);
	ck_assert_uint_eq(vcpu_state_sregs(s, &err)->cr2, 0x3344);
	ck_assert_uint_eq(vcpu_state_latched_events(s, &err)->nmi_pending, 1);
	ck_assert_ptr_nonnull(vcpu_state_events(s, &err));
	ck_assert_uint_eq(fake_kvm_count(fix.fake, fake_filter(mark, 0, FAKE_ANY)), 0);
	ck_assert_uint_eq(s->dirty, 0);
	ck_assert_pstr_eq(fixture_difference(0), NULL);
	/* An edit of what was handed over writes it as a whole. */
	ck_assert_ptr_nonnull(vcpu_state_sregs_edit(s, &err));
	vcpu_state_sregs_edit(s, &err)->cr2 = 0x5566;
	fix.model[0]->regs.rcx = 9;
	ck_assert_int_eq(vcpu_state_before_run(s, &err), 0);
	ck_assert_str_eq(fixture_sets(mark, 0), "SET_SREGS2");
	ck_assert_uint_eq(fix.model[0]->sregs.cr2, 0x5566);
	ck_assert_uint_eq(fix.model[0]->sregs.cr3, 0x4000);
}
END_TEST

START_TEST(parking_hands_over_only_what_was_asked_for)
{
	struct vcpu_state *s = &fix.state[0];
	struct error err = { .code = 0 };
	uint64_t mark;

	fix.run[0]->s.regs.regs.rbx = 0x666;
	vcpu_state_parked(s, &fix.run[0]->s.regs, 0, false);
	mark = fake_kvm_mark(fix.fake);
	ck_assert_uint_eq(vcpu_state_regs(s, &err)->rbx, 0);
	ck_assert_uint_eq(fake_kvm_count_request(fix.fake, mark, 0, KVM_GET_REGS), 1);
	ck_assert_pstr_eq(fixture_difference(0), NULL);
}
END_TEST

/* The run page has no PDPTRs, and those of a guest in PAE paging are state of their own. */
START_TEST(pae_registers_are_not_taken_from_the_run_page)
{
	struct vcpu_state *s = &fix.state[0];
	struct error err = { .code = 0 };
	const struct kvm_sregs2 *sregs;

	fixture_enter_pae(0, 0x2000);
	fix.model[0]->sregs.pdptrs[2] = 0xabc001;
	fixture_park(0);
	sregs = vcpu_state_sregs(s, &err);
	ck_assert_ptr_nonnull(sregs);
	ck_assert(vcpu_sregs_use_pdptrs(sregs));
	ck_assert_uint_eq(sregs->flags, KVM_SREGS2_FLAGS_PDPTRS_VALID);
	ck_assert_uint_eq(sregs->pdptrs[2], 0xabc001);
	ck_assert_pstr_eq(fixture_difference(0), NULL);
	/* An edit of another register leaves them alone, whatever guest memory says. */
	vcpu_state_sregs_edit(s, &err)->cr2 = 1;
	ck_assert_int_eq(vcpu_state_before_run(s, &err), 0);
	ck_assert_uint_eq(fix.model[0]->sregs.pdptrs[2], 0xabc001);
}
END_TEST

START_TEST(which_guests_use_pdptrs)
{
	struct kvm_sregs2 sregs = { .cr0 = 0x80000001, .cr4 = 0x20 };

	ck_assert(vcpu_sregs_use_pdptrs(&sregs));
	sregs.efer = 0x500;
	ck_assert(!vcpu_sregs_use_pdptrs(&sregs));
	sregs.efer = 0;
	sregs.cr4 = 0;
	ck_assert(!vcpu_sregs_use_pdptrs(&sregs));
	sregs.cr4 = 0x20;
	sregs.cr0 = 1;
	ck_assert(!vcpu_sregs_use_pdptrs(&sregs));
}
END_TEST

START_TEST(parking_spares_what_is_dirty)
{
	struct vcpu_state *s = &fix.state[0];
	struct error err = { .code = 0 };

	vcpu_state_latched_events_edit(s, &err)->nmi_pending = 1;
	fixture_run(0, NULL);
	ck_assert_uint_eq(vcpu_state_latched_events(s, &err)->nmi_pending, 1);
	ck_assert_uint_eq(fix.model[0]->events.nmi.pending, 0);
	/* Registers that were edited before a vCPU parked for the first time. */
	vcpu_state_regs_edit(s, &err)->rbx = 5;
	fixture_park(0);
	ck_assert_uint_eq(vcpu_state_regs(s, &err)->rbx, 5);
	ck_assert_uint_eq(s->dirty, bit(SUBSTATE_LATCHED_EVENTS) | bit(SUBSTATE_REGS));
}
END_TEST

/* ---- What moves while a vCPU is parked ---- */

START_TEST(refresh_looks_anew_at_what_the_kernel_moves)
{
	struct vcpu_state *s = &fix.state[0];
	struct error err = { .code = 0 };
	uint64_t value;

	ck_assert_int_eq(vcpu_state_fetch(s, all, &err), 0);
	fake_vcpu_msr(fix.model[0], MSR_IA32_TSC)->value = 0x9999;
	fix.model[0]->lapic.regs[0x200] = 4;
	vcpu_state_refresh(s);
	ck_assert_int_eq(vcpu_state_msr(s, FIXTURE_TSC, &value, &err), 0);
	ck_assert_uint_eq(value, 0x9999);
	ck_assert_int_eq(vcpu_state_lapic(s, &err)->regs[0x200], 4);
	/* But an edit stays. */
	ck_assert_int_eq(vcpu_state_msr_edit(s, FIXTURE_TSC, 0x1, &err), 0);
	vcpu_state_lapic_edit(s, &err)->regs[0x200] = 5;
	vcpu_state_refresh(s);
	ck_assert_int_eq(vcpu_state_msr(s, FIXTURE_TSC, &value, &err), 0);
	ck_assert_uint_eq(value, 0x1);
	ck_assert_int_eq(vcpu_state_lapic(s, &err)->regs[0x200], 5);
}
END_TEST

START_TEST(an_nmi_sent_to_a_parked_vcpu_is_seen_and_kept)
{
	struct vcpu_state *s = &fix.state[0];
	struct error err = { .code = 0 };

	fixture_park(0);
	ck_assert_uint_eq(vcpu_state_latched_events(s, &err)->nmi_pending, 0);
	if (_i)
		ck_assert_ptr_nonnull(vcpu_state_events_edit(s, &err));
	ck_assert_int_eq(kvm_ioctl(&fix.vcpu[0], KVM_REQ_NMI, NULL), 0);
	vcpu_state_events_moved(s);
	ck_assert_uint_eq(vcpu_state_latched_events(s, &err)->nmi_pending, 1);
	ck_assert_int_eq(_i == 2 ? vcpu_state_after_reset(s, &err) :
				   vcpu_state_before_run(s, &err), 0);
	ck_assert_uint_eq(fix.model[0]->events.nmi.pending, 1);
}
END_TEST

Suite *vcpu_state_suite(void)
{
	Suite *s = suite_create("vcpu_state");
	TCase *t = tcase_create("rules");

	tcase_add_checked_fixture(t, setup, fixture_stop);
	tcase_add_test(t, a_new_state_issues_no_ioctl);
	tcase_add_loop_test(t, reading_never_dirties, 0, SUBSTATE_COUNT);
	tcase_add_test(t, reading_everything_writes_nothing);
	tcase_add_loop_test(t, what_was_fetched_is_forgotten_when_the_vcpu_runs, 0, SUBSTATE_COUNT);
	tcase_add_loop_test(t, an_edit_marks_exactly_one, 0, SUBSTATE_COUNT);
	tcase_add_loop_test(t, a_hook_writes_its_rows, 0, SUBSTATE_COUNT * HOOKS);
	tcase_add_loop_test(t, dirty_state_outlives_runs, 0, SUBSTATE_COUNT);
	tcase_add_loop_test(t, everything_is_written_in_order, 0, HOOKS);
	tcase_add_test(t, names_and_levels);
	tcase_add_test(t, mp_state_is_read_first);
	tcase_add_loop_test(t, an_init_taken_by_a_look_is_noticed, 0, 2);
	tcase_add_test(t, an_init_was_pending_when_the_vcpu_parked);
	tcase_add_test(t, an_init_taken_by_a_look_spares_edits);
	tcase_add_test(t, parking_hands_over_registers);
	tcase_add_test(t, parking_hands_over_only_what_was_asked_for);
	tcase_add_test(t, pae_registers_are_not_taken_from_the_run_page);
	tcase_add_test(t, which_guests_use_pdptrs);
	tcase_add_test(t, parking_spares_what_is_dirty);
	tcase_add_test(t, refresh_looks_anew_at_what_the_kernel_moves);
	tcase_add_loop_test(t, an_nmi_sent_to_a_parked_vcpu_is_seen_and_kept, 0, 3);
	suite_add_tcase(s, t);
	return s;
}
