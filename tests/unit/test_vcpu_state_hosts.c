/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/state_fixture.h"
#include "tests/unit/suites.h"

/* The state cache on hosts that lack something, and on hosts where requests fail. */

static const uint32_t all = (1U << SUBSTATE_COUNT) - 1;

static uint32_t bit(enum vcpu_substate sub)
{
	return 1U << sub;
}

/* ---- Capabilities that are missing ---- */

static const struct lacking {
	unsigned int cap[2];
	uint32_t missing;               /* substates that are not offered then */
	const char *set, *instead;      /* a SET that must not come, and what takes its place */
} lacking[] = {
	{ { KVM_CAP_SREGS2 }, 0, "SET_SREGS2", "SET_SREGS" },
	{ { KVM_CAP_XSAVE2 }, 0, "SET_FPU", "SET_XSAVE" },
	{ { KVM_CAP_XSAVE, KVM_CAP_XSAVE2 }, 0, "SET_XSAVE", "SET_FPU" },
	{ { KVM_CAP_XCRS }, 1U << SUBSTATE_XCRS, "SET_XCRS", NULL },
	{ { KVM_CAP_DEBUGREGS }, 1U << SUBSTATE_DEBUGREGS, "SET_DEBUGREGS", NULL },
	{ { KVM_CAP_VCPU_EVENTS }, 1U << SUBSTATE_EVENTS | 1U << SUBSTATE_LATCHED_EVENTS,
	  "SET_VCPU_EVENTS", NULL },
	{ { KVM_CAP_MP_STATE }, 1U << SUBSTATE_MP_STATE, "SET_MP_STATE", NULL },
	{ { KVM_CAP_NESTED_STATE }, 1U << SUBSTATE_NESTED, "SET_NESTED_STATE", NULL },
	{ { KVM_CAP_TSC_CONTROL, KVM_CAP_GET_TSC_KHZ }, 1U << SUBSTATE_TSC_KHZ,
	  "SET_TSC_KHZ", NULL },
	{ { KVM_CAP_VCPU_ATTRIBUTES }, 1U << SUBSTATE_TSC_OFFSET, "SET_DEVICE_ATTR", NULL },
	{ { KVM_CAP_SET_GUEST_DEBUG }, 1U << SUBSTATE_GUEST_DEBUG, "SET_GUEST_DEBUG", NULL },
	{ { KVM_CAP_SYNC_REGS }, 0, "nothing", NULL },
	{ { KVM_CAP_EXCEPTION_PAYLOAD, KVM_CAP_X86_TRIPLE_FAULT_EVENT }, 0, "nothing", NULL },
};

#define NR_LACKING ((int)(sizeof(lacking) / sizeof(lacking[0])))

/* Whether `word` is one of the words of `text`. */
static bool has_word(const char *text, const char *word)
{
	size_t len = strlen(word);

	for (const char *p = strstr(text, word); p; p = strstr(p + 1, word))
		if ((p == text || p[-1] == ' ') && (p[len] == ' ' || !p[len]))
			return true;
	return false;
}

START_TEST(what_the_host_lacks_is_passed_over)
{
	const struct lacking *host = &lacking[_i];
	struct error err = { .code = 0 };
	struct vcpu_state *s;
	uint64_t mark;

	fixture_host();
	for (int i = 0; i < 2; i++)
		if (host->cap[i])
			fake_kvm_set_cap(fix.fake, host->cap[i], 0);
	fixture_start(1);
	s = &fix.state[0];
	ck_assert_uint_eq(s->offered, all & ~host->missing);
	mark = fake_kvm_mark(fix.fake);
	ck_assert_msg(vcpu_state_fetch(s, all, &err) == 0, "%s", err.text);
	for (int sub = 0; sub < SUBSTATE_COUNT; sub++) {
		const struct substate_case *c = &substate_cases[sub];
		bool offered = vcpu_state_offers(s, c->substate);

		err.code = 0;
		if (c->get)
			ck_assert_int_eq(c->read(s, &err), offered);
		ck_assert_int_eq(c->edit(s, 0x5555, &err), offered);
		ck_assert_int_eq(err.code == 0, offered);
		if (offered)
			ck_assert_uint_eq(c->seen(s), c->fit(0x5555));
	}
	ck_assert_uint_eq(s->dirty, all & ~host->missing);
	ck_assert_msg(vcpu_state_after_load(s, &err) == 0, "%s", err.text);
	ck_assert(!has_word(fixture_sets(mark, 0), host->set));
	if (host->instead)
		ck_assert(has_word(fixture_sets(mark, 0), host->instead));
	for (int sub = 0; sub < SUBSTATE_COUNT; sub++)
		if (vcpu_state_offers(s, (enum vcpu_substate)sub))
			ck_assert_uint_eq(substate_cases[sub].held(fix.model[0]),
					  substate_cases[sub].fit(0x5555));
	fix.model[0]->mp_state = KVM_MP_STATE_RUNNABLE; /* halted by the edit */
	fixture_run(0, NULL);
	ck_assert_pstr_eq(fixture_difference(0), NULL);
	fixture_stop();
}
END_TEST

START_TEST(a_host_without_the_feature_control_msr)
{
	struct error err = { .code = 0 };

	fixture_host();
	fake_kvm_remove_msr(fix.fake, MSR_IA32_FEATURE_CONTROL);
	fixture_start(1);
	ck_assert_uint_eq(fix.state[0].offered, all & ~bit(SUBSTATE_FEATURE_CONTROL));
	ck_assert_ptr_null(vcpu_state_feature_control(&fix.state[0], &err));
	ck_assert_int_ne(err.code, 0);
	ck_assert_int_eq(vcpu_state_fetch(&fix.state[0], all, &err), 0);
	fixture_stop();
}
END_TEST

/* The older SREGS also queues the interrupt that it tells of: once is enough. */
START_TEST(an_interrupt_is_not_queued_twice_without_sregs2)
{
	struct error err = { .code = 0 };
	struct vcpu_state *s;

	fixture_host();
	fake_kvm_set_cap(fix.fake, KVM_CAP_SREGS2, 0);
	fixture_start(1);
	s = &fix.state[0];
	fix.model[0]->events.interrupt.injected = 1;
	fix.model[0]->events.interrupt.nr = 0x31;
	if (_i)
		fixture_park(0);        /* from the run page, which has the bitmap too */
	vcpu_state_sregs_edit(s, &err)->cr2 = 1;
	vcpu_state_events_edit(s, &err)->interrupt.injected = 0;
	ck_assert_int_eq(vcpu_state_after_load(s, &err), 0);
	ck_assert_uint_eq(fix.model[0]->events.interrupt.injected, 0);
	ck_assert_uint_eq(fix.model[0]->sregs.cr2, 1);
	fixture_stop();
}
END_TEST

/* Without SREGS2 the PDPTRs of a PAE guest can not be had; its registers are shown nevertheless. */
START_TEST(pae_without_sregs2)
{
	struct error err = { .code = 0 };
	const struct kvm_sregs2 *sregs;

	fixture_host();
	fake_kvm_set_cap(fix.fake, KVM_CAP_SREGS2, 0);
	fixture_start(1);
	fixture_enter_pae(0, 0x2000);
	fixture_park(0);
	sregs = vcpu_state_sregs(&fix.state[0], &err);
	ck_assert_ptr_nonnull(sregs);
	ck_assert(vcpu_sregs_use_pdptrs(sregs));
	ck_assert_uint_eq(sregs->flags, 0);
	ck_assert_uint_eq(sregs->cr3, 0x2000);
	fixture_stop();
}
END_TEST

/* AMX makes the area larger than struct kvm_xsave; every byte of it counts. */
START_TEST(a_large_xsave_area)
{
	static const int sizes[] = { 4096, 4097, 8192, 11008, 65536 };
	size_t size = (size_t)sizes[_i];
	struct error err = { .code = 0 };
	struct vcpu_state *s;
	uint8_t *area;

	fixture_host();
	fake_kvm_set_cap(fix.fake, KVM_CAP_XSAVE2, sizes[_i]);
	fixture_start(1);
	s = &fix.state[0];
	ck_assert_int_eq(s->fpu_kind, VCPU_FPU_XSAVE2);
	fix.model[0]->xsave[size - 1] = 0x77;
	ck_assert_uint_eq(((const uint8_t *)vcpu_state_xsave(s, &err))[size - 1], 0x77);
	area = (uint8_t *)vcpu_state_xsave_edit(s, &err);
	area[size - 2] = 0x66;
	ck_assert_int_eq(vcpu_state_before_run(s, &err), 0);
	ck_assert_uint_eq(fix.model[0]->xsave[size - 1], 0x77);
	ck_assert_uint_eq(fix.model[0]->xsave[size - 2], 0x66);
	fixture_stop();
}
END_TEST

/* The x87 and SSE registers look the same wherever they come from. */
START_TEST(fpu_is_shown_on_every_host)
{
	struct error err = { .code = 0 };
	struct kvm_fpu fpu, kernel;

	fixture_host();
	if (_i >= 1)
		fake_kvm_set_cap(fix.fake, KVM_CAP_XSAVE2, 0);
	if (_i >= 2)
		fake_kvm_set_cap(fix.fake, KVM_CAP_XSAVE, 0);
	fixture_start(1);
	for (unsigned int i = 0; i < 416; i++)
		if (i < 28 || i >= 32)          /* not the MXCSR mask */
			fix.model[0]->xsave[i] = (uint8_t)(i * 5 + 1);
	fix.model[0]->xsave[26] = fix.model[0]->xsave[27] = 0;
	fix.model[0]->xsave[5] = 0;
	ck_assert_int_eq(fake_kvm_ops.ioctl(fix.fake, fix.vcpu[0].fd, KVM_GET_FPU, &kernel), 0);
	ck_assert_int_eq(vcpu_state_fpu(&fix.state[0], &fpu, &err), 0);
	ck_assert_mem_eq(&fpu, &kernel, sizeof(fpu));
	ck_assert_int_eq(vcpu_state_xsave(&fix.state[0], &err) == NULL, _i == 2);
	ck_assert_int_eq(vcpu_state_xsave_edit(&fix.state[0], &err) == NULL, _i == 2);
	ck_assert_int_eq(vcpu_state_fpu_edit(&fix.state[0], &err) == NULL, _i != 2);
	fixture_stop();
}
END_TEST

/* ---- Requests that fail ---- */

static void setup(void)
{
	fixture_host();
	fixture_start(2);
}

static const int errnos[] = { EIO, ENOMEM, EFAULT };

/* The vCPU concerned is the second, so that "vCPU 1" in a message says something. */
START_TEST(a_get_that_fails)
{
	const struct substate_case *c = &substate_cases[_i / 3];
	int error = errnos[_i % 3];
	struct vcpu_state *s = &fix.state[1];
	struct error err = { .code = 0 };
	char request[64];

	if (!c->get)
		return;
	fake_kvm_fail(fix.fake, (struct fake_fault) { c->get, .vcpu = 1, .error = error });
	ck_assert(!c->read(s, &err));
	ck_assert_int_eq(err.code, error);
	snprintf(request, sizeof(request), "KVM_%s",
		 fake_kvm_last(fix.fake, fake_filter(0, 1, KVM_CLASS_GET))->name);
	ck_assert_msg(strstr(err.text, request), "%s", err.text);
	ck_assert_msg(strstr(err.text, "vCPU 1"), "%s", err.text);
	ck_assert_ptr_null(strchr(err.text, '\n'));
	ck_assert_uint_eq(s->fetched & bit(c->substate), 0);
	/* CPUID is replaced as a whole: there is nothing to read first. */
	if (c->substate != SUBSTATE_CPUID)
		ck_assert(!c->edit(s, 0x55, &err));
	ck_assert_int_eq(vcpu_state_fetch(s, all, &err), -1);
	if (c->substate != SUBSTATE_CPUID)
		ck_assert_uint_eq(s->dirty, 0);
	ck_assert_uint_eq(s->offered, all);
	/* The other vCPU knows nothing of it, and a second attempt succeeds. */
	ck_assert(c->read(&fix.state[0], &err));
	fake_kvm_heal(fix.fake);
	ck_assert_msg(c->edit(s, 0x55, &err), "%s", err.text);
	ck_assert_int_eq(vcpu_state_after_load(s, &err), 0);
	ck_assert_uint_eq(c->held(fix.model[1]), c->fit(0x55));
}
END_TEST

START_TEST(a_set_that_fails)
{
	const struct substate_case *c = &substate_cases[_i / 3];
	int error = errnos[_i % 3];
	struct vcpu_state *s = &fix.state[1];
	struct error err = { .code = 0 };
	uint64_t before = c->held(fix.model[1]);
	char request[64];

	fake_kvm_fail(fix.fake, (struct fake_fault) { c->set, .vcpu = 1, .times = 2,
						      .error = error });
	ck_assert(c->edit(s, 0x55, &err));
	for (int attempt = 0; attempt < 2; attempt++) {
		err.code = 0;
		ck_assert_int_eq(vcpu_state_after_load(s, &err), -1);
		ck_assert_int_eq(err.code, error);
		snprintf(request, sizeof(request), "KVM_%s",
			 fake_kvm_last(fix.fake, fake_filter(0, 1, KVM_CLASS_SET))->name);
		ck_assert_msg(strstr(err.text, request), "%s", err.text);
		ck_assert_msg(strstr(err.text, "vCPU 1"), "%s", err.text);
		ck_assert_uint_eq(s->dirty, bit(c->substate));
		ck_assert_uint_eq(c->seen(s), c->fit(0x55));
		ck_assert_uint_eq(c->held(fix.model[1]), before);
	}
	ck_assert_msg(vcpu_state_after_load(s, &err) == 0, "%s", err.text);
	ck_assert_uint_eq(s->dirty, 0);
	ck_assert_uint_eq(c->held(fix.model[1]), c->fit(0x55));
}
END_TEST

/* Where a substate is written: in the order of the table, but nested, which is off, before regs. */
static int place(int sub)
{
	return sub == SUBSTATE_NESTED ? 2 * SUBSTATE_REGS - 1 : 2 * sub;
}

/* With all dirty, one request in the middle fails: clean before it, dirty from it on. */
START_TEST(a_hook_that_fails_goes_on_where_it_was)
{
	const struct substate_case *c = &substate_cases[_i];
	struct vcpu_state *s = &fix.state[1];
	struct error err = { .code = 0 };

	for (int sub = 0; sub < SUBSTATE_COUNT; sub++)
		ck_assert(substate_cases[sub].edit(s, 0x5555, &err));
	fake_kvm_fail(fix.fake, (struct fake_fault) { c->set, .vcpu = 1, .times = 1, .error = EIO,
		      .nth = c->substate == SUBSTATE_MSRS ? 2 : 1 });
	ck_assert_int_eq(vcpu_state_after_load(s, &err), -1);
	for (int sub = 0; sub < SUBSTATE_COUNT; sub++) {
		bool dirty = s->dirty >> sub & 1;

		if (place(sub) < place(c->substate) && c->substate != SUBSTATE_LATCHED_EVENTS)
			ck_assert(!dirty);
		if (place(sub) >= place(c->substate))
			ck_assert(dirty);
		ck_assert_uint_eq(substate_cases[sub].seen(s), substate_cases[sub].fit(0x5555));
	}
	ck_assert_int_eq(vcpu_state_after_load(s, &err), 0);
	ck_assert_uint_eq(s->dirty, 0);
	for (int sub = 0; sub < SUBSTATE_COUNT; sub++)
		ck_assert_uint_eq(substate_cases[sub].held(fix.model[1]),
				  substate_cases[sub].fit(0x5555));
}
END_TEST

/* Before a run that is refused, nothing is forgotten: the vCPU has not moved. */
START_TEST(a_run_that_does_not_come_about_forgets_nothing)
{
	struct vcpu_state *s = &fix.state[1];
	struct error err = { .code = 0 };
	uint64_t mark;

	ck_assert_int_eq(vcpu_state_fetch(s, all, &err), 0);
	vcpu_state_debugregs_edit(s, &err)->db[1] = 1;
	fake_kvm_fail(fix.fake, (struct fake_fault) { KVM_SET_DEBUGREGS, .vcpu = 1, .error = EIO });
	ck_assert_int_eq(vcpu_state_before_run(s, &err), -1);
	mark = fake_kvm_mark(fix.fake);
	ck_assert_ptr_nonnull(vcpu_state_regs(s, &err));
	ck_assert_uint_eq(vcpu_state_debugregs(s, &err)->db[1], 1);
	ck_assert_uint_le(fake_kvm_count(fix.fake, fake_filter(mark, 1, FAKE_ANY)), 1);
	fake_kvm_heal(fix.fake);
	ck_assert_int_eq(vcpu_state_before_run(s, &err), 0);
}
END_TEST

Suite *vcpu_state_hosts_suite(void)
{
	Suite *s = suite_create("vcpu_state_hosts");
	TCase *hosts = tcase_create("hosts"), *failures = tcase_create("failures");

	tcase_add_loop_test(hosts, what_the_host_lacks_is_passed_over, 0, NR_LACKING);
	tcase_add_test(hosts, a_host_without_the_feature_control_msr);
	tcase_add_loop_test(hosts, an_interrupt_is_not_queued_twice_without_sregs2, 0, 2);
	tcase_add_test(hosts, pae_without_sregs2);
	tcase_add_loop_test(hosts, a_large_xsave_area, 0, 5);
	tcase_add_loop_test(hosts, fpu_is_shown_on_every_host, 0, 3);
	suite_add_tcase(s, hosts);
	tcase_add_checked_fixture(failures, setup, fixture_stop);
	tcase_add_loop_test(failures, a_get_that_fails, 0, 3 * SUBSTATE_COUNT);
	tcase_add_loop_test(failures, a_set_that_fails, 0, 3 * SUBSTATE_COUNT);
	tcase_add_loop_test(failures, a_hook_that_fails_goes_on_where_it_was, 0, SUBSTATE_COUNT);
	tcase_add_test(failures, a_run_that_does_not_come_about_forgets_nothing);
	suite_add_tcase(s, failures);
	return s;
}
