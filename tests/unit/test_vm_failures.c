/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <string.h>

#include "tests/unit/alloc_fail.h"
#include "tests/unit/boot_images.h"
#include "tests/unit/call_fail.h"
#include "tests/unit/leftovers.h"
#include "tests/unit/migration_fixture.h"
#include "tests/unit/snapshot_machine.h"
#include "tests/unit/suites.h"

/* Machines over the fake kernel of which any request, allocation or call fails, one at a time. */

#define CPUS 2

static struct error err;

/* ---- The n-th request ---- */

static unsigned int countdown;
static unsigned long failed;            /* the request, once it has; 0: none */

static int at_the_nth(void *opaque, unsigned long request, int vcpu)
{
	(void)opaque;
	(void)vcpu;
	if (request == KVM_RUN || !countdown || --countdown)
		return 0;
	failed = request;
	return EIO;
}

static void fail_nth(unsigned int n)
{
	countdown = n;
	failed = 0;
	fake_kvm_fail_by(machine.fake, at_the_nth, NULL);
}

/* The fake's lock makes that good for what another thread has counted. */
static bool has_failed(void)
{
	fake_kvm_heal(machine.fake);
	return failed;
}

static void one_line(int code)
{
	ck_assert_int_eq(err.code, code);
	ck_assert_uint_gt(strlen(err.text), 0);
	ck_assert_ptr_null(strchr(err.text, '\n'));
}

/* ---- Creation ---- */

/* A small kernel of each format; the first machine boots nothing. */
#define KERNELS 6

static void name_kernel(int format)
{
	static const uint8_t flat[] = { 0xf4 };
	static const char *initrd;
	struct address_image addresses;
	struct elf32_image elf32;
	struct elf64_image elf64;

	machine.config.memory = 8 << 20;
	if (format == 0)
		return;
	machine.config.boot.append = "quiet";
	initrd = dir_write(1, "initrd", "initrd", 6);
	machine.config.boot.initrd = &initrd;
	machine.config.boot.nr_initrd = 1;
	if (format == 1) {
		machine.config.boot.append = NULL;
		machine.config.boot.nr_initrd = 0;
		machine.config.boot.kernel = dir_write(0, "kernel", flat, sizeof(flat));
	} else if (format == 2) {
		make_pvh(&elf64);
		machine.config.boot.kernel = dir_write(0, "kernel", &elf64, sizeof(elf64));
	} else if (format == 3) {
		make_elf64(&elf64);
		machine.config.boot.kernel = dir_write(0, "kernel", &elf64, sizeof(elf64));
	} else if (format == 4) {
		make_multiboot_elf(&elf32);
		machine.config.boot.kernel = dir_write(0, "kernel", &elf32, sizeof(elf32));
	} else {
		make_multiboot_addresses(&addresses);
		machine.config.boot.kernel = dir_write(0, "kernel", &addresses, sizeof(addresses));
	}
}

/* A capability that can not be asked for is one that is not there. */
START_TEST(creation_with_any_request_failing)
{
	static const unsigned long all[] = {
#define X(name, class) KVM_##name,
		KVM_REQUESTS(X)
#undef X
	};
	bool there, beyond = false;

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++, beyond = false) {
		for (unsigned int n = 1; !beyond; n++) {
			machine_host();
			name_kernel(_i);
			fake_kvm_fail(machine.fake, (struct fake_fault) {
				.request = all[i], .vcpu = -1, .nth = n, .times = 1, .error = EIO });
			memset(&err, 0, sizeof(err));
			there = machine_try(CPUS, &err) == 0;
			ck_assert(there == (machine.vm != NULL));
			if (!there)
				one_line(all[i] == KVM_CHECK_EXTENSION ? err.code : EIO);
			beyond = fake_kvm_count_request(machine.fake, 0, FAKE_ANY, all[i]) < n;
			ck_assert(there || !beyond);
			machine_stop();
		}
	}
}
END_TEST

START_TEST(creation_without_memory)
{
	bool there = false;
	unsigned int n;

	for (n = 1; !there; n++) {
		machine_host();
		name_kernel(_i);
		memset(&err, 0, sizeof(err));
		alloc_fail_at(n);
		there = machine_try(CPUS, &err) == 0;
		ck_assert(there == !alloc_has_failed());
		ck_assert(there == (machine.vm != NULL));
		alloc_fail_at(0);
		if (!there)
			one_line(ENOMEM);
		machine_stop();
	}
	ck_assert_uint_gt(n, 20);
}
END_TEST

/* A machine comes of that nevertheless, or there is one line that says why not. */
START_TEST(creation_with_any_call_failing)
{
	static const char *const calls[] = {
		"open", "fstat", "pread", "mmap", "munmap", "madvise", "getrandom",
	};
	unsigned int before = open_descriptors(), refused = 0;
	bool over = false, there;

	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++, over = false) {
		for (unsigned int n = 1; !over; n++) {
			machine_host();
			name_kernel(_i);
			memset(&err, 0, sizeof(err));
			call_fail(calls[i], n, ENOMEM);
			there = machine_try(CPUS, &err) == 0;
			over = !call_has_failed();
			call_fail(calls[i], 0, 0);
			ck_assert(there == (machine.vm != NULL));
			ck_assert(there || !over);
			if (!there)
				one_line(ENOMEM);
			refused += !there;
			machine_stop();
			ck_assert_uint_eq(open_descriptors(), before);
		}
	}
	ck_assert_uint_ge(refused, _i ? 10 : 6);
}
END_TEST

static unsigned int nr_threads(void)
{
	unsigned int nr = 0;

	for (unsigned int i = 0; i < CPUS; i++)
		nr += machine.vm->vcpu[i].thread_started;
	return nr;
}

START_TEST(creation_without_threads)
{
	for (unsigned int n = 1; n <= CPUS; n++) {
		machine_host();
		call_fail("pthread_create", n, EAGAIN);
		ck_assert_int_eq(machine_try(CPUS, &err), -1);
		ck_assert(call_has_failed());
		one_line(EAGAIN);
		ck_assert_ptr_nonnull(strstr(err.text, n == 1 ? "the thread of vCPU 0: " :
							    "the thread of vCPU 1: "));
		machine_stop();
	}
	machine_host();
	ck_assert_int_eq(machine_try(CPUS, &err), 0);
	ck_assert_uint_eq(nr_threads(), CPUS);
	machine_stop();
}
END_TEST

/* ---- Reset ---- */

enum host { OF_TODAY, NESTED, WITHOUT_XSAVE, WITHOUT_OPTIONS, HOSTS };

static void host_of(enum host host)
{
	static const unsigned int options[] = {
		KVM_CAP_XCRS, KVM_CAP_VCPU_EVENTS, KVM_CAP_DEBUGREGS, KVM_CAP_MP_STATE,
		KVM_CAP_NESTED_STATE, KVM_CAP_PIT_STATE2,
	};

	transfers_begin();
	if (host == WITHOUT_XSAVE) {
		fake_kvm_set_cap(machine.fake, KVM_CAP_XSAVE2, 0);
		fake_kvm_set_cap(machine.fake, KVM_CAP_XSAVE, 0);
		fake_kvm_set_cap(machine.fake, KVM_CAP_SREGS2, 0);
	}
	for (size_t i = 0; host == WITHOUT_OPTIONS && i < sizeof(options) / sizeof(options[0]); i++)
		fake_kvm_set_cap(machine.fake, options[i], 0);
}

/* The guest has been running and has made something of all that it has; it stands still. */
static void use(struct vm *vm, int index, enum host host)
{
	uint64_t seed = 7;

	for (unsigned int i = 0; i < CPUS; i++)
		fake_kvm_vcpu(machine.fake, index, (int)i)->mp_state = KVM_MP_STATE_RUNNABLE;
	ck_assert_msg(vm_cont(vm, &err) == 0, "%s", err.text);
	for (unsigned int i = 0; i < CPUS; i++)
		fake_vcpu_await_entries(fake_kvm_vcpu(machine.fake, index, (int)i), 1);
	vm_stop(vm);
	for (unsigned int i = 0; i < CPUS; i++) {
		struct fake_vcpu *v = fake_kvm_vcpu(machine.fake, index, (int)i);
		struct kvm_cpuid2 *cpuid = v->cpuid;

		v->cpuid = NULL;
		fill_vcpu(v, host == NESTED ? FILL_NESTED_VMX : FILL_LONG, &seed);
		v->cpuid = cpuid;
		memset(&v->events, 0, sizeof(v->events));
		v->mp_state = KVM_MP_STATE_RUNNABLE;
		vcpu_state_settled(&vm->vcpu[i].state);
	}
}

static int reset(struct vm *vm)
{
	memset(&err, 0, sizeof(err));
	return vm_system_reset(vm, SHUTDOWN_CAUSE_HOST_QMP_SYSTEM_RESET, &err);
}

/* Neither the old machine nor a new one: nothing but another reset gets it out of there. */
static void nothing_but_a_reset(bool was_running)
{
	struct error why = { .code = 0 };

	ck_assert_int_eq(strncmp(err.text, "the machine can not be reset: ", 30), 0);
	ck_assert_int_eq(machine.vm->state, RUN_STATE_INTERNAL_ERROR);
	ck_assert_str_eq(machine_events(), was_running ? "STOP" : "");
	ck_assert_int_eq(vm_cont(machine.vm, &why), -1);
	ck_assert_str_eq(why.text, "Resetting the Virtual Machine is required");
	ck_assert_str_eq(logged(), "");
	ck_assert_msg(reset(machine.vm) == 0, "%s", err.text);
	ck_assert_str_eq(machine_events(), "RESET(host-qmp-system-reset)");
	ck_assert_int_eq(machine.vm->state, RUN_STATE_PRELAUNCH);
}

/* As a machine that went through the same, and whose reset did not fail. */
static void check_reset(const struct vm *clean)
{
	for (unsigned int i = 0; i < CPUS; i++)
		ck_assert_pstr_eq(vcpu_difference(machine_model(i),
						  fake_kvm_vcpu(machine.fake, 1, (int)i)), NULL);
	ck_assert_pstr_eq(machine_look(), NULL);
	ck_assert_uint_eq(clean->vcpu[0].state.dirty, machine.vm->vcpu[0].state.dirty);
}

START_TEST(a_reset_that_fails_anywhere)
{
	enum host host = (enum host)(_i / 2);
	bool running = _i % 2;
	struct vm *clean;
	unsigned int n;

	host_of(host);
	machine_start(CPUS);
	clean = second_machine();
	use(clean, 1, host);
	ck_assert_int_eq(reset(clean), 0);
	for (n = 1;; n++) {
		use(machine.vm, 0, host);
		if (running)
			machine_cont();
		machine_events();
		fail_nth(n);
		if (reset(machine.vm) == 0)
			break;
		ck_assert(has_failed());
		one_line(EIO);
		nothing_but_a_reset(running);
		check_reset(clean);
	}
	ck_assert(!has_failed());
	ck_assert_uint_gt(n, 20);
	vm_destroy(clean);
	teardown_machine();
}
END_TEST

START_TEST(a_reset_of_controllers_that_fails)
{
	static const struct fake_fault faults[] = {
		{ KVM_SET_IRQCHIP, -1, 1, 1, EIO }, { KVM_SET_IRQCHIP, -1, 3, 1, EIO },
		{ KVM_SET_PIT2, -1, 1, 1, EIO },
	};

	host_of(OF_TODAY);
	machine_start(CPUS);
	use(machine.vm, 0, OF_TODAY);
	machine_events();
	fake_kvm_fail(machine.fake, faults[_i]);
	ck_assert_int_eq(reset(machine.vm), -1);
	one_line(EIO);
	nothing_but_a_reset(false);
	teardown_machine();
}
END_TEST

START_TEST(a_reset_without_memory)
{
	unsigned int n;

	for (n = 1;; n++) {
		host_of(OF_TODAY);
		machine_start(CPUS);
		use(machine.vm, 0, OF_TODAY);
		machine_events();
		alloc_fail_at(n);
		if (reset(machine.vm) == 0)
			break;
		ck_assert(alloc_has_failed());
		alloc_fail_at(0);
		one_line(ENOMEM);
		nothing_but_a_reset(false);
		teardown_machine();
	}
	ck_assert(!alloc_has_failed());
	alloc_fail_at(0);
	ck_assert_uint_gt(n, 5);
	teardown_machine();
}
END_TEST

/* A guest that asks for a reset which fails: somebody has to hear of it. */
START_TEST(a_reset_for_the_guest_that_fails)
{
	const struct fake_step fault = { FAKE_SHUTDOWN, .address = 0 };

	host_of(OF_TODAY);
	machine_start(CPUS);
	fake_vcpu_script(machine_model(0), &fault, 1);
	machine_cont();
	fake_kvm_fail(machine.fake, (struct fake_fault) { .request = KVM_SET_LAPIC, .vcpu = 1,
							  .error = EIO });
	machine_dispatch();
	ck_assert_str_eq(logged(), "the machine can not be reset: vCPU 1: KVM_SET_LAPIC: "
			 "Input/output error");
	ck_assert_str_eq(machine_events(), "RESUME STOP");
	ck_assert_int_eq(machine.vm->state, RUN_STATE_INTERNAL_ERROR);
	teardown_machine();
}
END_TEST

/* The kernel is read anew; a signal meanwhile is no failure. */
START_TEST(a_reset_that_can_not_boot)
{
	bool over = false;
	unsigned int n;

	transfers_begin();
	name_kernel(_i);
	machine_start(CPUS);
	for (n = 1; !over; n++) {
		use(machine.vm, 0, OF_TODAY);
		machine_events();
		call_fail("pread", n, EIO);
		over = reset(machine.vm) == 0;
		ck_assert(over == !call_has_failed());
		call_fail("pread", 0, 0);
		if (!over) {
			one_line(EIO);
			nothing_but_a_reset(false);
		}
	}
	ck_assert_uint_gt(n, 2);
	use(machine.vm, 0, OF_TODAY);
	call_fail("pread", 1, EINTR);
	ck_assert_msg(reset(machine.vm) == 0, "%s", err.text);
	ck_assert(call_has_failed());
	teardown_machine();
}
END_TEST

Suite *vm_failures_suite(void)
{
	Suite *s = suite_create("vm_failures");
	TCase *creation = tcase_create("creation"), *t = tcase_create("reset");

	tcase_set_timeout(creation, 60);
	tcase_add_unchecked_fixture(creation, dir_setup, dir_teardown);
	tcase_add_loop_test(creation, creation_with_any_request_failing, 0, KERNELS);
	tcase_add_loop_test(creation, creation_without_memory, 0, KERNELS);
	tcase_add_loop_test(creation, creation_with_any_call_failing, 0, KERNELS);
	tcase_add_test(creation, creation_without_threads);
	suite_add_tcase(s, creation);
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, a_reset_that_fails_anywhere, 0, 2 * HOSTS);
	tcase_add_loop_test(t, a_reset_of_controllers_that_fails, 0, 3);
	tcase_add_test(t, a_reset_without_memory);
	tcase_add_test(t, a_reset_for_the_guest_that_fails);
	tcase_add_unchecked_fixture(t, dir_setup, dir_teardown);
	tcase_add_loop_test(t, a_reset_that_can_not_boot, 1, KERNELS);
	suite_add_tcase(s, t);
	return s;
}
