/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#include "tests/unit/alloc_fail.h"
#include "tests/unit/call_fail.h"
#include "tests/unit/migration_fixture.h"
#include "tests/unit/suites.h"
#include "vmm/dirty_rate.h"

/* Rates are compared with nothing: they depend on how long a millisecond takes. */

static struct error err;
static unsigned int logs;

static void setup(void)
{
	memset(&err, 0, sizeof(err));
	logs = 0;
	transfers_begin();
	machine_start(2);
}

static int start(enum dirty_rate_mode mode, unsigned int milliseconds)
{
	const struct dirty_rate_config config = { mode, milliseconds, 512 };

	memset(&err, 0, sizeof(err));
	return vm_dirty_rate_start(machine.vm, &config, &err);
}

static struct dirty_rate_info info(void)
{
	struct dirty_rate_info info;

	vm_dirty_rate_info(machine.vm, &info);
	return info;
}

static struct dirty_rate_info await(void)
{
	while (info().status == DIRTY_RATE_MEASURING)
		nanosleep(&(struct timespec) { .tv_nsec = 1000000 }, NULL);
	return info();
}

static uint32_t slot_flags(void)
{
	return fake_kvm_vm(machine.fake, 0)->slot[0].region.flags;
}

START_TEST(unstarted)
{
	struct dirty_rate_info i = info();

	ck_assert_int_eq(i.status, DIRTY_RATE_UNSTARTED);
	ck_assert_int_eq(i.rate, -1);
	ck_assert_uint_eq(i.config.milliseconds, 0);
	ck_assert_str_eq(dirty_rate_status_name(i.status), "unstarted");
	ck_assert_str_eq(dirty_rate_mode_name(i.config.mode), "page-sampling");
}
END_TEST

/* 2 MiB by 512 pages a GiB is a single sample, so all pages are written to. */
START_TEST(sampling)
{
	uint64_t mark = fake_kvm_mark(machine.fake);
	struct dirty_rate_info i;

	ck_assert_int_eq(start(DIRTY_RATE_PAGE_SAMPLING, 1), 0);
	i = await();
	ck_assert_int_eq(i.status, DIRTY_RATE_MEASURED);
	ck_assert_int_eq(i.rate, 0);
	ck_assert_int_gt(i.start_ms, 0);
	ck_assert_uint_eq(i.config.milliseconds, 1);
	ck_assert_uint_eq(i.config.sample_pages, 512);
	machine_run_all();
	ck_assert_int_eq(start(DIRTY_RATE_PAGE_SAMPLING, 20), 0);
	for (unsigned int n = 1; info().status == DIRTY_RATE_MEASURING; n++)
		for (size_t at = 0; at < machine.vm->memory.size; at += 4096)
			__atomic_store_n(machine.vm->memory.host + at, (uint8_t)n,
					 __ATOMIC_RELAXED);
	ck_assert_int_gt(info().rate, 0);
	ck_assert(vm_is_running(machine.vm));
	ck_assert_uint_eq(fake_kvm_count_request(machine.fake, mark, FAKE_ANY,
						 KVM_SET_USER_MEMORY_REGION), 0);
}
END_TEST

/* What the log has first does not count; what it has then does. */
static void on_log(void *opaque, struct fake_vm *vm)
{
	(void)opaque;
	for (uint64_t page = 0; page < (logs ? 256 : 512); page++)
		fake_vm_dirty(vm, page * 4096);
	logs++;
}

START_TEST(logging)
{
	uint64_t mark = fake_kvm_mark(machine.fake);
	struct fake_filter filter = { .since = mark, .vm = FAKE_ANY, .vcpu = FAKE_ANY,
				      .class = KVM_CLASS_OTHER };
	struct dirty_rate_info i;

	fake_kvm_on_dirty_log(machine.fake, on_log, NULL);
	ck_assert_int_eq(start(DIRTY_RATE_DIRTY_BITMAP, 1), 0);
	i = await();
	ck_assert_int_eq(i.status, DIRTY_RATE_MEASURED);
	ck_assert_uint_eq(logs, 2);
	/* 1 MiB in 1 ms or, on a slow machine, some more. */
	ck_assert_int_gt(i.rate, 0);
	ck_assert_int_le(i.rate, 1000);
	ck_assert_uint_eq(slot_flags(), 0);
	ck_assert_str_eq(fake_kvm_names(machine.fake, filter),
			 "SET_USER_MEMORY_REGION GET_DIRTY_LOG GET_DIRTY_LOG "
			 "SET_USER_MEMORY_REGION");
	ck_assert_str_eq(dirty_rate_mode_name(i.config.mode), "dirty-bitmap");
}
END_TEST

/* One that is so small that not one page would be looked at: one is. */
START_TEST(samples_of_a_small_machine)
{
	const struct dirty_rate_config config = { DIRTY_RATE_PAGE_SAMPLING, 1, 128 };

	ck_assert_int_eq(vm_dirty_rate_start(machine.vm, &config, &err), 0);
	ck_assert_int_eq(await().rate, 0);
	ck_assert_int_eq(info().status, DIRTY_RATE_MEASURED);
}
END_TEST

START_TEST(one_at_a_time)
{
	bool sampling = _i;

	ck_assert_int_eq(start(sampling ? DIRTY_RATE_PAGE_SAMPLING : DIRTY_RATE_DIRTY_BITMAP, 60000),
			 0);
	ck_assert_uint_eq(slot_flags(), sampling ? 0 : KVM_MEM_LOG_DIRTY_PAGES);
	ck_assert_int_eq(info().status, DIRTY_RATE_MEASURING);
	ck_assert_int_eq(info().rate, -1);
	ck_assert_int_eq(start(DIRTY_RATE_PAGE_SAMPLING, 1), -1);
	ck_assert_str_eq(err.text, "the dirty rate is already being measured.");
	/* The machine's end does not wait for that of the minute. */
}
END_TEST

START_TEST(log_refused)
{
	fake_kvm_fail(machine.fake, (struct fake_fault) {
		.request = KVM_SET_USER_MEMORY_REGION, .vcpu = -1, .times = 1, .error = ENOMEM });
	ck_assert_int_eq(start(DIRTY_RATE_DIRTY_BITMAP, 1), -1);
	ck_assert_str_eq(err.text, "KVM_SET_USER_MEMORY_REGION: Cannot allocate memory");
	ck_assert_int_eq(info().status, DIRTY_RATE_UNSTARTED);
	for (unsigned int nth = 1; nth <= 2; nth++) {
		fake_kvm_heal(machine.fake);
		fake_kvm_fail(machine.fake, (struct fake_fault) {
			.request = KVM_GET_DIRTY_LOG, .vcpu = -1, .nth = nth, .times = 1,
			.error = EIO });
		ck_assert_int_eq(start(DIRTY_RATE_DIRTY_BITMAP, 1), 0);
		ck_assert_int_eq(await().rate, -1);
		ck_assert_int_eq(info().status, DIRTY_RATE_MEASURED);
		ck_assert_uint_eq(slot_flags(), 0);
		ck_assert_ptr_nonnull(strstr(logged(), "the dirty rate can not be measured: "
					     "KVM_GET_DIRTY_LOG: Input/output error"));
	}
}
END_TEST

/* Of two parts the second can not be logged: the first is not, either. */
START_TEST(log_refused_half_way)
{
	struct memory *memory = &machine.vm->memory;
	const struct memory whole = *memory;

	memory->nr_parts = 2;
	memory->part[0].size = 1 << 20;
	memory->part[1] = (struct memory_part){ 4ULL << 30, 1 << 20, memory->host + (1 << 20) };
	fake_kvm_fail(machine.fake, (struct fake_fault) {
		.request = KVM_SET_USER_MEMORY_REGION, .vcpu = -1, .nth = 2, .times = 1,
		.error = ENOMEM });
	ck_assert_int_eq(start(DIRTY_RATE_DIRTY_BITMAP, 1), -1);
	ck_assert_uint_eq(slot_flags(), 0);
	*memory = whole;
}
END_TEST

START_TEST(no_memory)
{
	for (unsigned int n = 1; n < 10; n++) {
		alloc_fail_at((n + 1) / 2);
		if (start(n % 2 ? DIRTY_RATE_DIRTY_BITMAP : DIRTY_RATE_PAGE_SAMPLING, 1) < 0)
			ck_assert_int_eq(err.code, ENOMEM);
		else
			ck_assert(!alloc_has_failed());
		await();
		ck_assert_uint_eq(slot_flags(), 0);
	}
	alloc_fail_at(0);
}
END_TEST

/* Nothing is measured, and nothing noted; without random numbers some pages do as well as others. */
START_TEST(calls_fail)
{
	for (enum dirty_rate_mode mode = DIRTY_RATE_PAGE_SAMPLING; mode <= DIRTY_RATE_DIRTY_BITMAP;
	     mode++) {
		call_fail("pthread_create", 1, EAGAIN);
		ck_assert_int_eq(start(mode, 1), -1);
		ck_assert(call_has_failed());
		ck_assert_str_eq(err.text, "the thread that measures the dirty rate: Resource temporarily "
				 "unavailable");
		ck_assert_int_eq(info().status, DIRTY_RATE_UNSTARTED);
		ck_assert_uint_eq(slot_flags(), 0);
	}
	call_fail("getrandom", 1, EAGAIN);
	ck_assert_int_eq(start(DIRTY_RATE_PAGE_SAMPLING, 1), 0);
	ck_assert(call_has_failed());
	ck_assert_int_eq(await().rate, 0);
}
END_TEST

/* It costs the guest something from here on, but the figure is good. */
START_TEST(noted_on)
{
	fake_kvm_fail(machine.fake, (struct fake_fault) {
		.request = KVM_SET_USER_MEMORY_REGION, .vcpu = -1, .nth = 2, .times = 1,
		.error = ENOMEM });
	ck_assert_int_eq(start(DIRTY_RATE_DIRTY_BITMAP, 1), 0);
	ck_assert_int_eq(await().rate, 0);
	ck_assert_uint_eq(slot_flags(), KVM_MEM_LOG_DIRTY_PAGES);
	/* The next one puts that right. */
	ck_assert_int_eq(start(DIRTY_RATE_DIRTY_BITMAP, 1), 0);
	await();
	ck_assert_uint_eq(slot_flags(), 0);
}
END_TEST

START_TEST(not_before_it_has_come)
{
	ck_assert_int_eq(start(DIRTY_RATE_PAGE_SAMPLING, 1), -1);
	ck_assert_ptr_nonnull(strstr(err.text, "the machine waits for incoming state"));
}
END_TEST

Suite *dirty_rate_suite(void)
{
	Suite *suite = suite_create("dirty_rate");
	TCase *tc = tcase_create("dirty_rate"), *incoming = tcase_create("incoming");

	tcase_add_checked_fixture(tc, setup, teardown_machine);
	tcase_add_test(tc, unstarted);
	tcase_add_test(tc, sampling);
	tcase_add_test(tc, logging);
	tcase_add_loop_test(tc, one_at_a_time, 0, 2);
	tcase_add_test(tc, samples_of_a_small_machine);
	tcase_add_test(tc, log_refused);
	tcase_add_test(tc, log_refused_half_way);
	tcase_add_test(tc, no_memory);
	tcase_add_test(tc, calls_fail);
	tcase_add_test(tc, noted_on);
	suite_add_tcase(suite, tc);
	tcase_add_checked_fixture(incoming, setup_incoming, teardown_machine);
	tcase_add_test(incoming, not_before_it_has_come);
	suite_add_tcase(suite, incoming);
	return suite;
}
