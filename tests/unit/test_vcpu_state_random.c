/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/state_fixture.h"
#include "tests/unit/suites.h"

/*
 * Thousands of random operations on some vCPUs, against a plain model of what the cache should
 * know: which substates are dirty and with which value.  All else must be as the kernel has it.
 * What each hook writes is counted.  A failure names the seed; VMOND_TEST_SEED repeats it.
 */
#define STEPS 5000

static const uint32_t all = (1U << SUBSTATE_COUNT) - 1;

struct shadow {
	uint32_t dirty;                         /* without SUBSTATE_MSRS */
	uint64_t value[SUBSTATE_COUNT];
	bool msr_dirty[FIXTURE_MSRS];
	uint64_t msr_value[FIXTURE_MSRS];
};

static struct shadow shadow[FIXTURE_VCPUS];
static uint64_t seed, dice;
static unsigned int step;
static bool faults;
static unsigned int faults_fired;

#define REQUIRE(condition) \
	do { \
		if (!(condition)) \
			ck_abort_msg("seed %llu, step %u: %s", (unsigned long long)seed, step, \
				     #condition); \
	} while (0)

static uint64_t random_below(uint64_t n)
{
	return fixture_random(&dice) % n;
}

static uint32_t bit(unsigned int sub)
{
	return 1U << sub;
}

static int sometimes(void *opaque, unsigned long request, int vcpu)
{
	(void)opaque;
	(void)vcpu;
	if (!faults || request == KVM_RUN || request == KVM_NMI || random_below(10))
		return 0;
	faults_fired++;
	return EIO;
}

/* ---- What must hold ---- */

static bool any_msr_dirty(unsigned int i)
{
	for (unsigned int m = 0; m < FIXTURE_MSRS; m++)
		if (shadow[i].msr_dirty[m])
			return true;
	return false;
}

static void check_dirty(unsigned int i)
{
	REQUIRE(fix.state[i].dirty == (shadow[i].dirty |
				       (any_msr_dirty(i) ? bit(SUBSTATE_MSRS) : 0)));
}

static uint64_t held_msr(unsigned int i, unsigned int m)
{
	return fake_vcpu_msr(fix.model[i], fix.table->msr[m].index)->value;
}

static void check_read(unsigned int i, unsigned int sub)
{
	const struct substate_case *c = &substate_cases[sub];
	struct error err = { .code = 0 };
	uint64_t seen;

	faults_fired = 0;
	if (!c->read(&fix.state[i], &err)) {
		REQUIRE(faults_fired && err.code == EIO);
		return;
	}
	if (sub == SUBSTATE_MSRS)
		return;
	seen = c->seen(&fix.state[i]);
	REQUIRE(seen == (shadow[i].dirty & bit(sub) ? shadow[i].value[sub] :
						      c->held(fix.model[i])));
}

static void check_read_msr(unsigned int i, unsigned int m)
{
	uint64_t value;

	faults_fired = 0;
	if (vcpu_state_msr(&fix.state[i], m, &value, NULL) < 0) {
		REQUIRE(faults_fired);
		return;
	}
	REQUIRE(value == (shadow[i].msr_dirty[m] ? shadow[i].msr_value[m] : held_msr(i, m)));
}

/* Every byte of every substate, when nothing stands in the way. */
static void check_all(unsigned int i)
{
	const char *difference;
	bool were = faults;

	faults = false;
	difference = fixture_difference(i);
	if (difference)
		ck_abort_msg("seed %llu, step %u: %s of vCPU %u is not the kernel's",
			     (unsigned long long)seed, step, difference, i);
	for (unsigned int sub = 0; sub < SUBSTATE_COUNT; sub++)
		check_read(i, sub);
	for (unsigned int m = 0; m < FIXTURE_MSRS; m++)
		check_read_msr(i, m);
	check_dirty(i);
	faults = were;
}

/* ---- Editing ---- */

static void edit(unsigned int i)
{
	unsigned int sub = (unsigned int)random_below(SUBSTATE_COUNT);
	const struct substate_case *c = &substate_cases[sub];
	uint64_t value = fixture_random(&dice);
	struct error err = { .code = 0 };

	if (sub == SUBSTATE_MSRS)
		return;
	faults_fired = 0;
	if (c->edit(&fix.state[i], value, &err)) {
		REQUIRE(sub != SUBSTATE_CPUID || !fix.state[i].has_run);
		shadow[i].dirty |= bit(sub);
		shadow[i].value[sub] = c->fit(value);
	} else if (sub == SUBSTATE_CPUID) {
		REQUIRE(err.code == EBUSY && fix.state[i].has_run);
	} else {
		REQUIRE(faults_fired && err.code == EIO);
	}
}

static void edit_msr(unsigned int i)
{
	unsigned int m = (unsigned int)random_below(FIXTURE_MSRS);
	uint64_t value = fixture_random(&dice);

	faults_fired = 0;
	if (vcpu_state_msr_edit(&fix.state[i], m, value, NULL) == 0) {
		shadow[i].msr_dirty[m] = true;
		shadow[i].msr_value[m] = value;
	} else {
		REQUIRE(faults_fired);
	}
}

/* ---- Writing back ---- */

/* How often a hook of this level has to issue a request for what is dirty. */
static unsigned int expected_sets(unsigned int i, enum vcpu_level level, unsigned long request)
{
	unsigned int count = 0;
	bool events = false, msrs = false;

	for (unsigned int sub = 0; sub < SUBSTATE_COUNT; sub++) {
		const struct substate_case *c = &substate_cases[sub];

		if (!(shadow[i].dirty & bit(sub)) || c->level > level || c->set != request)
			continue;
		if (request == KVM_SET_VCPU_EVENTS)
			events = true;          /* one call for both substates */
		else
			count++;
	}
	for (unsigned int m = 0; m < FIXTURE_MSRS; m++)
		if (shadow[i].msr_dirty[m] && fix.table->msr[m].level <= level)
			msrs = request == KVM_SET_MSRS;
	return count + events + msrs;
}

static void check_written(unsigned int i, enum vcpu_level level, bool whole)
{
	struct vcpu_state *s = &fix.state[i];

	for (unsigned int sub = 0; sub < SUBSTATE_COUNT; sub++) {
		const struct substate_case *c = &substate_cases[sub];

		if (!(shadow[i].dirty & bit(sub)))
			continue;
		if (s->dirty & bit(sub)) {
			REQUIRE(!whole || c->level > level);
			continue;
		}
		REQUIRE(c->level <= level);
		REQUIRE(c->held(fix.model[i]) == shadow[i].value[sub]);
		shadow[i].dirty &= ~bit(sub);
	}
	for (unsigned int m = 0; m < FIXTURE_MSRS; m++) {
		if (!shadow[i].msr_dirty[m])
			continue;
		if (s->dirty & bit(SUBSTATE_MSRS) && s->msr_dirty[m]) {
			REQUIRE(!whole || fix.table->msr[m].level > level);
			continue;
		}
		REQUIRE(fix.table->msr[m].level <= level);
		REQUIRE(held_msr(i, m) == shadow[i].msr_value[m]);
		shadow[i].msr_dirty[m] = false;
	}
}

static bool write_back(unsigned int i, enum vcpu_level level)
{
	unsigned int expected[SUBSTATE_COUNT], sum = 0;
	uint64_t mark = fake_kvm_mark(fix.fake);
	struct error err = { .code = 0 };
	int rc;

	for (unsigned int sub = 0; sub < SUBSTATE_COUNT; sub++)
		expected[sub] = expected_sets(i, level, substate_cases[sub].set);
	faults_fired = 0;
	rc = level == VCPU_LEVEL_RUNTIME ? vcpu_state_before_run(&fix.state[i], &err) :
	     level == VCPU_LEVEL_RESET ? vcpu_state_after_reset(&fix.state[i], &err) :
	     random_below(2) ? vcpu_state_after_init(&fix.state[i], &err) :
			       vcpu_state_after_load(&fix.state[i], &err);
	check_written(i, level, rc == 0);
	if (rc < 0 && !(faults_fired && err.code == EIO))
		ck_abort_msg("seed %llu, step %u: %s", (unsigned long long)seed, step, err.text);
	if (rc < 0)
		return false;
	for (unsigned int sub = 0; sub < SUBSTATE_COUNT; sub++) {
		REQUIRE(fake_kvm_count_request(fix.fake, mark, (int)i, substate_cases[sub].set) ==
			expected[sub]);
		/* Requests that two substates share are in the sum once. */
		if (sub != SUBSTATE_LATCHED_EVENTS && sub != SUBSTATE_FEATURE_CONTROL)
			sum += expected[sub];
	}
	REQUIRE(fake_kvm_count(fix.fake, fake_filter(mark, FAKE_ANY, KVM_CLASS_SET)) == sum);
	return true;
}

/* ---- Running ---- */

/* What guest and kernel do to a vCPU that runs: anything. */
static void run_wild(struct fake_vcpu *v, void *opaque)
{
	(void)opaque;
	for (unsigned int sub = 0; sub < SUBSTATE_COUNT; sub++)
		if (substate_cases[sub].change && random_below(2))
			substate_cases[sub].change(v, fixture_random(&dice));
	for (unsigned int m = 0; m < FIXTURE_MSRS; m++)
		if (random_below(2))
			fake_vcpu_msr(v, fix.table->msr[m].index)->value = fixture_random(&dice);
	v->regs.rip = random_below(4) ? fixture_random(&dice) : 0xfff0;
	v->events.exception.pending = (uint8_t)random_below(2);
	v->events.exception.nr = PF_VECTOR;
	v->events.interrupt.injected = (uint8_t)random_below(2);
	v->sregs.cr0 = 0x80000011;
	v->sregs.cr4 = random_below(3) ? 0x20 : 0;
	v->sregs.efer = v->sregs.cr4 && random_below(2) ? 0x500 : 0;
	v->sregs.cs.l = v->sregs.efer != 0;
	for (int p = 0; p < 4; p++)
		v->sregs.pdptrs[p] = fixture_random(&dice);
	v->mp_state = random_below(4) ? KVM_MP_STATE_RUNNABLE : KVM_MP_STATE_HALTED;
	v->lapic.regs[0x322] = 4;       /* the timer stays in deadline mode */
	if (!random_below(8))
		v->pending_init = true; /* latched when the vCPU parks */
}

static void run(unsigned int i, bool enter)
{
	static const enum fake_action actions[] = {
		FAKE_EINTR, FAKE_IN, FAKE_OUT, FAKE_MMIO_READ, FAKE_MMIO_WRITE,
	};
	const struct fake_step go = {
		.action = actions[random_below(5)], .address = 0x3f8, .advance = 2,
		.size = 1U << random_below(4), .before = run_wild,
	};
	struct fake_vcpu *v = fix.model[i];

	/* CPUID can only be written before the first run, and only at FULL. */
	if (shadow[i].dirty & bit(SUBSTATE_CPUID) && !write_back(i, VCPU_LEVEL_FULL))
		return;
	if (!write_back(i, VCPU_LEVEL_RUNTIME))
		return;
	if (enter) {
		/* Whatever it waited for has come. */
		if (v->pending_init || v->mp_state == KVM_MP_STATE_INIT_RECEIVED)
			v->pending_sipi = true;
		else
			v->mp_state = KVM_MP_STATE_RUNNABLE;
		fake_vcpu_script(v, &go, 1);
		kvm_ioctl(&fix.vcpu[i], KVM_REQ_RUN, NULL);
	}
	fixture_park(i);
}

/* Time and other vCPUs do not stop for one that is parked. */
static void move_behind_its_back(unsigned int i)
{
	switch (random_below(4)) {
	case 0:
		fake_vcpu_msr(fix.model[i], MSR_IA32_TSC)->value += 1000;
		fix.model[i]->lapic.regs[0x390]++;
		vcpu_state_refresh(&fix.state[i]);
		break;
	case 1:
		REQUIRE(kvm_ioctl(&fix.vcpu[i], KVM_REQ_NMI, NULL) == 0);
		vcpu_state_events_moved(&fix.state[i]);
		break;
	case 2:
		/* Also where all that is known of the vCPU came from the run page. */
		fake_vcpu_send_init(fix.model[i]);
		if (random_below(2))
			fake_vcpu_send_sipi(fix.model[i], 0x10);
		check_read(i, SUBSTATE_MP_STATE);
		break;
	default:
		if (fix.model[i]->mp_state == KVM_MP_STATE_INIT_RECEIVED)
			fake_vcpu_send_sipi(fix.model[i], 0x20);
		break;
	}
}

static void one_step(unsigned int i)
{
	uint32_t mask = (uint32_t)fixture_random(&dice) & all;

	switch (random_below(16)) {
	case 0: case 1: case 2:
		check_read(i, (unsigned int)random_below(SUBSTATE_COUNT));
		break;
	case 3:
		check_read_msr(i, (unsigned int)random_below(FIXTURE_MSRS));
		break;
	case 4:
		faults_fired = 0;
		REQUIRE(vcpu_state_fetch(&fix.state[i], mask, NULL) == 0 || faults_fired);
		break;
	case 5: case 6: case 7:
		edit(i);
		break;
	case 8:
		edit_msr(i);
		break;
	case 9:
		write_back(i, random_below(2) ? VCPU_LEVEL_RESET : VCPU_LEVEL_FULL);
		break;
	case 10: case 11: case 12:
		run(i, true);
		break;
	case 13:
		run(i, false);
		break;
	case 14:
		move_behind_its_back(i);
		break;
	default:
		check_all(i);
		break;
	}
	check_dirty(i);
}

static void choose_seed(int i)
{
	const char *given = getenv("VMOND_TEST_SEED");

	seed = given ? strtoull(given, NULL, 0) :
	       i < 4 ? (uint64_t)i + 1 : (uint64_t)time(NULL) << 16 ^ (uint64_t)getpid();
	dice = seed | 1ULL << 63;
}

static void random_walk(int i)
{
	choose_seed(i);
	memset(shadow, 0, sizeof(shadow));
	fixture_host();
	if (random_below(2))
		fake_kvm_set_cap(fix.fake, KVM_CAP_SYNC_REGS, (int)random_below(8));
	if (random_below(2))
		fake_kvm_set_cap(fix.fake, KVM_CAP_XSAVE2, 8192);
	fixture_start(1 + (unsigned int)random_below(FIXTURE_VCPUS));
	fake_kvm_fail_by(fix.fake, sometimes, NULL);
	for (step = 0; step < STEPS; step++)
		one_step((unsigned int)random_below(fix.nr));
	for (unsigned int v = 0; v < fix.nr; v++)
		check_all(v);
	faults = false;
	fixture_stop();
}

START_TEST(cache_and_kernel_agree)
{
	faults = false;
	random_walk(_i);
}
END_TEST

START_TEST(cache_and_kernel_agree_when_requests_fail)
{
	faults = true;
	random_walk(_i);
}
END_TEST

Suite *vcpu_state_random_suite(void)
{
	Suite *s = suite_create("vcpu_state_random");
	TCase *t = tcase_create("random");

	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, cache_and_kernel_agree, 0, 5);
	tcase_add_loop_test(t, cache_and_kernel_agree_when_requests_fail, 0, 5);
	suite_add_tcase(s, t);
	return s;
}
