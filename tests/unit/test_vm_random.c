/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/state_fixture.h"
#include "tests/unit/suites.h"
#include "tests/unit/vm_fixture.h"

/*
 * Random commands to a machine whose guest does random things: stop, cont, looks, edits, resets,
 * NMIs.  Whenever all vCPUs are parked every reader agrees with the kernel, and a cont writes
 * exactly what was edited.  A failure names the seed; VMOND_TEST_SEED repeats the commands (not the
 * timing).
 */
#define STEPS   400
#define VCPUS   4

static uint64_t seed, dice, guest_dice[VCPUS];
static unsigned int step;
static struct {
	uint32_t dirty;
	uint64_t value[SUBSTATE_COUNT];
} edited[VCPUS];

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

/* ---- The guest.  The fake kernel's lock is held, so that vCPUs may reach for each other. ---- */

static void init_a_sibling(struct fake_vcpu *v, uint64_t *mine)
{
	struct fake_vcpu *other = v->vm->vcpu[fixture_random(mine) % VCPUS];

	other->pending_init = true;
	other->pending_sipi = true;
	other->sipi_vector = 0x12;
	if (write(other->wake_fd, &(uint64_t) { 1 }, sizeof(uint64_t)) < 0)
		abort();
}

static void wild_guest(void *opaque, struct fake_vcpu *v, struct fake_step *next)
{
	static const uint64_t ports[] = { 0x80, 0xe9, 0x3fd, 0x61 };
	uint64_t *mine = &((uint64_t *)opaque)[v->index];

	for (int sub = 0; sub < SUBSTATE_COUNT; sub++)
		if (sub != SUBSTATE_MSRS && substate_cases[sub].change &&
		    fixture_random(mine) % 4 == 0)
			substate_cases[sub].change(v, fixture_random(mine));
	fake_vcpu_msr(v, MSR_IA32_TSC)->value += 1 + fixture_random(mine) % 1000;
	next->size = 1;
	next->advance = 2;
	switch (fixture_random(mine) % 16) {
	case 0: case 1:
		next->action = FAKE_IN;
		next->address = ports[fixture_random(mine) % 4];
		break;
	case 2:
		next->action = FAKE_OUT;
		next->address = 0x80;
		break;
	case 3:
		next->action = FAKE_MMIO_READ;
		next->address = 0xd0000000;
		next->size = 1U << fixture_random(mine) % 6;
		break;
	case 4:
		next->action = FAKE_EINTR;
		break;
	case 5:
		next->action = FAKE_EAGAIN;
		break;
	case 6:
		next->action = FAKE_HLT;
		break;
	case 7:
		init_a_sibling(v, mine);
		next->action = FAKE_GO_ON;
		break;
	case 8:
		next->action = fixture_random(mine) % 8 ? FAKE_SPIN : FAKE_SHUTDOWN;
		break;
	case 9: case 10:
		next->action = FAKE_SPIN;
		break;
	default:
		next->action = FAKE_GO_ON;
		break;
	}
}

/* ---- The commands ---- */

static void look(void)
{
	const char *difference = machine_look();
	struct error err;

	if (difference)
		ck_abort_msg("seed %llu, step %u: %s is not the kernel's", (unsigned long long)seed,
			     step, difference);
	REQUIRE(vm_inspect_begin(machine.vm, -1, &err) == 0);
	for (unsigned int i = 0; i < VCPUS; i++) {
		struct vcpu_state *s = &machine.vm->vcpu[i].state;

		REQUIRE(s->dirty == edited[i].dirty);
		for (int sub = 0; sub < SUBSTATE_COUNT; sub++)
			if (edited[i].dirty >> sub & 1)
				REQUIRE(substate_cases[sub].seen(s) == edited[i].value[sub]);
	}
	vm_inspect_end(machine.vm);
}

static void edit(void)
{
	unsigned int i = (unsigned int)random_below(VCPUS);
	int sub = (int)random_below(SUBSTATE_COUNT);
	const struct substate_case *c = &substate_cases[sub];
	uint64_t value = fixture_random(&dice);
	struct error err;

	if (vm_is_running(machine.vm) || sub == SUBSTATE_MSRS || c->level == VCPU_LEVEL_FULL)
		return;
	REQUIRE(c->edit(&machine.vm->vcpu[i].state, value, &err));
	edited[i].dirty |= 1U << sub;
	edited[i].value[sub] = c->fit(value);
}

static void cont(void)
{
	unsigned int expected[VCPUS][SUBSTATE_COUNT] = { { 0 } };
	uint64_t mark = fake_kvm_mark(machine.fake);
	struct error err;

	if (vm_is_running(machine.vm))
		return;
	for (unsigned int i = 0; i < VCPUS; i++) {
		for (int sub = 0; sub < SUBSTATE_COUNT; sub++) {
			if (!(edited[i].dirty >> sub & 1) ||
			    substate_cases[sub].level > VCPU_LEVEL_RUNTIME)
				continue;
			expected[i][sub] = 1;
			edited[i].dirty &= ~(1U << sub);
		}
	}
	REQUIRE(vm_cont(machine.vm, &err) == 0);
	for (unsigned int i = 0; i < VCPUS; i++) {
		unsigned int sum = 0;

		for (int sub = 0; sub < SUBSTATE_COUNT; sub++) {
			/* Latched events share the request of the others. */
			if (sub == SUBSTATE_LATCHED_EVENTS)
				continue;
			REQUIRE(fake_kvm_count_request(machine.fake, mark, (int)i,
						       substate_cases[sub].set) ==
				expected[i][sub]);
			sum += expected[i][sub];
		}
		REQUIRE(fake_kvm_count(machine.fake, fake_filter(mark, (int)i, KVM_CLASS_SET)) ==
			sum);
	}
}

static void reset(void)
{
	struct error err;

	if (vm_system_reset(machine.vm, SHUTDOWN_CAUSE_HOST_QMP_SYSTEM_RESET, &err) < 0)
		ck_abort_msg("seed %llu, step %u: %s", (unsigned long long)seed, step, err.text);
}

/* Stopping and inspecting write nothing at all. */
static void stop_or_look(void)
{
	uint64_t mark = fake_kvm_mark(machine.fake);

	if (random_below(2))
		vm_stop(machine.vm);
	look();
	REQUIRE(machine_sets(mark) == 0);
}

static void inspect_one(void)
{
	int i = (int)random_below(VCPUS);
	struct error err;

	REQUIRE(vm_inspect_begin(machine.vm, i, &err) == 0);
	REQUIRE(vcpu_state_fetch(&machine.vm->vcpu[i].state,
				 (uint32_t)random_below(1U << SUBSTATE_COUNT), &err) == 0);
	vm_inspect_end(machine.vm);
}

/* What guests asked for; and a reset, theirs or ours, writes what was dirty or makes it void. */
static void follow_events(void)
{
	while (sem_trywait(&machine.woken) == 0)
		vm_dispatch(machine.vm);
	if (strstr(machine_events(), "RESET")) {
		for (unsigned int i = 0; i < VCPUS; i++)
			REQUIRE(!(machine.vm->vcpu[i].state.dirty & ~edited[i].dirty));
		memset(edited, 0, sizeof(edited));
	}
}

static void one_step(void)
{
	struct error err;

	switch (random_below(12)) {
	case 0: case 1:
		cont();
		break;
	case 2: case 3: case 4:
		stop_or_look();
		break;
	case 5: case 6:
		inspect_one();
		break;
	case 7: case 8: case 9:
		edit();
		break;
	case 10:
		REQUIRE(vm_inject_nmi(machine.vm, &err) == 0);
		break;
	default:
		if (!random_below(3))
			reset();
		break;
	}
	follow_events();
}

START_TEST(machine_and_kernel_agree)
{
	const char *given = getenv("VMOND_TEST_SEED");

	seed = given ? strtoull(given, NULL, 0) :
	       _i < 3 ? (uint64_t)_i + 1 : (uint64_t)time(NULL) << 16 ^ (uint64_t)getpid();
	dice = seed | 1ULL << 63;
	memset(edited, 0, sizeof(edited));
	machine_host();
	machine_start(VCPUS);
	for (unsigned int i = 0; i < VCPUS; i++)
		guest_dice[i] = fixture_random(&dice) | 1;
	for (unsigned int i = 0; i < VCPUS; i++)
		fake_vcpu_guest(machine_model(i), wild_guest, guest_dice);
	machine_cont();
	for (step = 0; step < STEPS; step++)
		one_step();
	vm_stop(machine.vm);
	follow_events();
	look();
	machine_stop();
}
END_TEST

Suite *vm_random_suite(void)
{
	Suite *s = suite_create("vm_random");
	TCase *t = tcase_create("random");

	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, machine_and_kernel_agree, 0, 4);
	suite_add_tcase(s, t);
	return s;
}
