/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/migration_fixture.h"
#include "tests/unit/suites.h"
#include "vmm/dump/dump.h"
#include "vmm/guest_access.h"

#define RAM     (2u << 20)

static struct error err;
static uint8_t *ram, *before, buf[GUEST_ACCESS_MAX];

static void setup(void)
{
	memset(&err, 0, sizeof(err));
	transfers_begin();
	machine_start(2);
	ram = machine.vm->memory.host;
	for (unsigned int i = 0; i < RAM; i++)
		ram[i] = (uint8_t)((i >> 12) * 7 + i);
	machine_long_mode(0);
	before = malloc(RAM);
	memcpy(before, ram, RAM);
	for (unsigned int i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)(i * 3 + 1);
}

static void teardown(void)
{
	free(before);
	teardown_machine();
}

static int get(int cpu, uint64_t address, size_t len)
{
	memset(&err, 0, sizeof(err));
	return vm_memory_read(machine.vm, cpu, address, buf, len, &err);
}

static int put(int cpu, uint64_t address, size_t len)
{
	memset(&err, 0, sizeof(err));
	return vm_memory_write(machine.vm, cpu, address, buf, len, &err);
}

START_TEST(reading)
{
	ck_assert_int_eq(get(GUEST_PHYSICAL, 0x1ffd, 0x2005), 0);
	ck_assert_int_eq(memcmp(buf, ram + 0x1ffd, 0x2005), 0);
	ck_assert_int_eq(get(GUEST_PHYSICAL, RAM - GUEST_ACCESS_MAX, GUEST_ACCESS_MAX), 0);
	ck_assert_int_eq(memcmp(buf, ram + RAM - GUEST_ACCESS_MAX, GUEST_ACCESS_MAX), 0);
	/* Over the border of pages that lie elsewhere. */
	ck_assert_int_eq(get(0, 0x40000ffe, 4), 0);
	ck_assert_int_eq(memcmp(buf, ram + 0x3ffe, 2), 0);
	ck_assert_int_eq(memcmp(buf + 2, ram + 0x2000, 2), 0);
	/* Pieces at both ends, as many as there can be. */
	ck_assert_int_eq(get(0, 0x80000fff, GUEST_ACCESS_MAX), 0);
	ck_assert_int_eq(memcmp(buf, ram + 0xfff, GUEST_ACCESS_MAX), 0);
	/* The other one does not page. */
	ck_assert_int_eq(get(1, 0x5000, 16), 0);
	ck_assert_int_eq(memcmp(buf, ram + 0x5000, 16), 0);
	ck_assert_int_eq(memcmp(ram, before, RAM), 0);
}
END_TEST

START_TEST(writing)
{
	ck_assert_int_eq(put(GUEST_PHYSICAL, 0x1ffd, 0x2005), 0);
	memcpy(before + 0x1ffd, buf, 0x2005);
	ck_assert_int_eq(put(0, 0x40000ffe, 4), 0);
	memcpy(before + 0x3ffe, buf, 2);
	memcpy(before + 0x2000, buf + 2, 2);
	ck_assert_int_eq(memcmp(ram, before, RAM), 0);
}
END_TEST

struct bad {
	int cpu;
	uint64_t address;
	size_t len;
	const char *error;
};

static const struct bad bad_ranges[] = {
	{ GUEST_PHYSICAL, RAM - 1, 2, "physical address 0x200000 is not RAM" },
	{ GUEST_PHYSICAL, RAM, 1, "physical address 0x200000 is not RAM" },
	{ GUEST_PHYSICAL, 0xfee00020, 4, "physical address 0xfee00020 is not RAM" },
	{ GUEST_PHYSICAL, UINT64_MAX, 1, "physical address 0xffffffffffffffff is not RAM" },
	{ GUEST_PHYSICAL, UINT64_MAX, 2,
	  "2 bytes from address 0xffffffffffffffff on reach over the end of all addresses" },
	{ 0, 0x40001ff0, 17, "virtual address 0x40002000 is not mapped on vCPU 0" },
	{ 0, 0x1000, 1, "virtual address 0x1000 is not mapped on vCPU 0" },
	{ 0, 0x8000000000000000, 1, "virtual address 0x8000000000000000 is not mapped on vCPU 0" },
	{ 0, 0x80200000 - 1, 2, "virtual address 0x80200000 is not mapped on vCPU 0" },
	{ 0, UINT64_MAX, 4,
	  "4 bytes from address 0xffffffffffffffff on reach over the end of all addresses" },
	{ 1, RAM, 1, "virtual address 0x200000 of vCPU 1 is physical address 0x200000, which is not "
	  "RAM" },
	{ 2, 0, 1, "there is no vCPU 2; they are 0 to 1" },
	{ -2, 0, 1, "there is no vCPU -2; they are 0 to 1" },
	{ 0, 0, 0, "0 bytes: one access has 1 to 1048576 of them" },
	{ 0, 0, GUEST_ACCESS_MAX + 1, "1048577 bytes: one access has 1 to 1048576 of them" },
};

/* Not one byte is written where the last one can not be. */
START_TEST(refused)
{
	const struct bad *b = &bad_ranges[_i];

	ck_assert_int_eq(get(b->cpu, b->address, b->len), -1);
	ck_assert_str_eq(err.text, b->error);
	ck_assert_int_eq(put(b->cpu, b->address, b->len), -1);
	ck_assert_str_eq(err.text, b->error);
	ck_assert_int_eq(memcmp(ram, before, RAM), 0);
}
END_TEST

/* Parked for a moment, of which nobody hears, and nothing becomes dirty. */
START_TEST(running)
{
	uint64_t mark;

	machine_run_all();
	mark = fake_kvm_mark(machine.fake);
	ck_assert_int_eq(get(0, 0x80000000, 16), 0);
	ck_assert_int_eq(put(0, 0x80000000, 16), 0);
	ck_assert_int_eq(put(GUEST_PHYSICAL, 0x8000, 16), 0);
	ck_assert(vm_is_running(machine.vm));
	vm_stop(machine.vm);
	for (unsigned int i = 0; i < 2; i++)
		ck_assert_uint_eq(machine.vm->vcpu[i].state.dirty, 0);
	ck_assert_uint_eq(machine_sets(mark), 0);
	ck_assert_str_eq(machine_events(), "RESUME STOP");
}
END_TEST

START_TEST(sregs_can_not_be_read)
{
	fake_kvm_fail(machine.fake, (struct fake_fault) { .request = KVM_GET_SREGS2, .vcpu = 0,
							  .error = EIO });
	ck_assert_int_eq(get(0, 0x80000000, 16), -1);
	ck_assert_ptr_nonnull(strstr(err.text, "KVM_GET_SREGS2"));
	ck_assert_int_eq(put(0, 0x80000000, 16), -1);
	ck_assert_int_eq(memcmp(ram, before, RAM), 0);
	ck_assert_int_eq(get(GUEST_PHYSICAL, 0, 16), 0);
}
END_TEST

START_TEST(while_others_read)
{
	struct far_end end;
	struct migration_channel channel = to_nowhere(&end);
	const struct dump_config config = { .paging = false };

	ck_assert_int_eq(vm_dump(machine.vm, &config, &channel, &err), 0);
	ck_assert_int_eq(put(GUEST_PHYSICAL, 0, 1), -1);
	ck_assert_str_eq(err.text, "There is a dump in process, please wait.");
	ck_assert_int_eq(get(GUEST_PHYSICAL, 0, 1), 0);
	vm_destroy(machine.vm);
	machine.vm = NULL;
	far_end_close(&end);
}
END_TEST

START_TEST(while_it_is_saved)
{
	struct far_end end;
	struct migration_channel channel = to_nowhere(&end);

	migrate_to(&channel);
	ck_assert_int_eq(put(GUEST_PHYSICAL, 0, 1), -1);
	ck_assert_ptr_nonnull(strstr(err.text, "the machine is being saved"));
	ck_assert_int_eq(get(GUEST_PHYSICAL, 0, 1), 0);
	vm_migrate_cancel(machine.vm);
	machine_dispatch();
	ck_assert_int_eq(put(GUEST_PHYSICAL, 0, 1), 0);
	far_end_close(&end);
}
END_TEST

START_TEST(translating)
{
	uint64_t gpa = 0;

	ck_assert_int_eq(vm_translate(machine.vm, 0, 0x40001234, &gpa, &err), 0);
	ck_assert_uint_eq(gpa, 0x2234);
	ck_assert_int_eq(vm_translate(machine.vm, 1, 0xfee00000, &gpa, &err), 0);
	ck_assert_uint_eq(gpa, 0xfee00000);
	ck_assert_int_eq(vm_translate(machine.vm, 0, 0x40002000, &gpa, &err), -1);
	ck_assert_int_eq(err.code, ENOENT);
}
END_TEST

/* What comes in leaves out zero pages, which must be zero then. */
START_TEST(before_it_has_come)
{
	ck_assert_int_eq(put(GUEST_PHYSICAL, 0, 1), -1);
	ck_assert_str_eq(err.text, "the machine waits for incoming state; write when that has come");
	ck_assert_int_eq(get(GUEST_PHYSICAL, 0, 1), 0);
	ck_assert_uint_eq(buf[0], 0);
}
END_TEST

/* RAM is being replaced by another thread then. */
START_TEST(while_it_comes)
{
	struct migration_channel channel;
	int fds[2];

	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	channel = (struct migration_channel){ .fd = fds[0] };
	migrate_from(&channel);
	ck_assert_int_eq(get(GUEST_PHYSICAL, 0, 1), -1);
	ck_assert_str_eq(err.text, "the machine is being loaded; try again when that is done");
	close(fds[1]);
	machine_dispatch();
	ck_assert_int_eq(status_now(), MIGRATION_FAILED);
	ck_assert_ptr_nonnull(strstr(logged(), "the snapshot ends too early"));
	ck_assert_int_eq(get(GUEST_PHYSICAL, 0, 1), 0);
}
END_TEST

Suite *guest_access_suite(void)
{
	Suite *suite = suite_create("guest_access");
	TCase *tc = tcase_create("guest_access"), *incoming = tcase_create("incoming");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, reading);
	tcase_add_test(tc, writing);
	tcase_add_loop_test(tc, refused, 0, sizeof(bad_ranges) / sizeof(bad_ranges[0]));
	tcase_add_test(tc, running);
	tcase_add_test(tc, sregs_can_not_be_read);
	tcase_add_test(tc, while_others_read);
	tcase_add_test(tc, while_it_is_saved);
	tcase_add_test(tc, translating);
	suite_add_tcase(suite, tc);
	tcase_add_checked_fixture(incoming, setup_incoming, teardown_machine);
	tcase_add_test(incoming, before_it_has_come);
	tcase_add_test(incoming, while_it_comes);
	suite_add_tcase(suite, incoming);
	return suite;
}
