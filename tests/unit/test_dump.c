/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "monitor/migrate_channel.h"
#include "tests/unit/alloc_fail.h"
#include "tests/unit/call_fail.h"
#include "tests/unit/core_file.h"
#include "tests/unit/migration_fixture.h"
#include "tests/unit/suites.h"
#include "vmm/dump/dump.h"

/* Dumps of a machine: run states, events, refusals, failures; the file itself is test_dump_elf.c. */

#define RAM     (2u << 20)

static const struct dump_config physical = { .paging = false };
static const struct dump_config virtual = { .paging = true };
static struct far_end end;
static struct error err;
static uint8_t buf[RAM];

static int dump_to(const struct migration_channel *channel, const struct dump_config *config)
{
	memset(&err, 0, sizeof(err));
	return vm_dump(machine.vm, config, channel, &err);
}

static struct dump_info info(void)
{
	struct dump_info info;

	vm_dump_info(machine.vm, &info);
	return info;
}

static enum dump_status await(void)
{
	while (info().status == DUMP_ACTIVE)
		machine_dispatch();
	return info().status;
}

START_TEST(of_a_running_machine)
{
	struct migration_channel channel = to_memory(&end);
	uint64_t mark;

	ck_assert_int_eq(info().status, DUMP_NONE);
	ck_assert_str_eq(dump_status_name(DUMP_NONE), "none");
	machine_run_all();
	mark = fake_kvm_mark(machine.fake);
	ck_assert_int_eq(dump_to(&channel, &physical), 0);
	ck_assert_int_eq(machine.vm->state, RUN_STATE_SAVE_VM);
	ck_assert_uint_eq(info().total, RAM);
	ck_assert_str_eq(machine_events(), "RESUME STOP");
	ck_assert_int_eq(await(), DUMP_COMPLETED);
	ck_assert_str_eq(machine_events(), "DUMP_COMPLETED RESUME DUMP_OVER");
	ck_assert(vm_is_running(machine.vm));
	ck_assert(end.finished == 1 && end.complete && !end.cancelled);
	ck_assert_uint_eq(info().completed, RAM);
	ck_assert_ptr_null(info().error);
	/* Not one substate was written back for it. */
	ck_assert_uint_eq(machine_sets(mark), 0);
	far_end_close(&end);
}
END_TEST

START_TEST(of_one_that_does_not_run)
{
	struct migration_channel channel = to_memory(&end);

	ck_assert_int_eq(dump_to(&channel, &physical), 0);
	ck_assert_int_eq(machine.vm->state, RUN_STATE_PRELAUNCH);
	ck_assert_int_eq(await(), DUMP_COMPLETED);
	ck_assert_int_eq(machine.vm->state, RUN_STATE_PRELAUNCH);
	ck_assert_str_eq(machine_events(), "DUMP_COMPLETED DUMP_OVER");
	ck_assert_uint_eq(machine.vm->vcpu[0].state.dirty, 0);
	far_end_close(&end);
}
END_TEST

/* Registers and memory, as they were when the machine stopped. */
START_TEST(content)
{
	struct migration_channel channel = to_memory(&end);
	struct core_file core;
	uint64_t word;

	machine_long_mode(0);
	ck_assert_int_eq(dump_to(&channel, &virtual), 0);
	ck_assert_int_eq(await(), DUMP_COMPLETED);
	core_file_open(&core, end.fd);
	ck_assert(core.is64);
	memcpy(&word, core_file_note(&core, "CORE", NT_PRSTATUS, 0, 336) + 112 + 16 * 8, 8);
	ck_assert_uint_eq(word, machine_model(0)->regs.rip);
	memcpy(&word, core_file_note(&core, "QEMU", 0, 1, 440) + 8, 8);
	ck_assert_uint_eq(word, machine_model(1)->regs.rax);
	memcpy(&word, core_file_note(&core, "QEMU", 0, 0, 440) + 432, 8);
	ck_assert_uint_eq(word, fake_vcpu_msr(machine_model(0), 0xc0000102)->value);
	ck_assert(core_file_read(&core, 0x80000000, buf, RAM));
	ck_assert_int_eq(memcmp(buf, machine.vm->memory.host, RAM), 0);
	ck_assert(core_file_read(&core, 0x40000ffe, buf, 4));
	ck_assert_int_eq(memcmp(buf, machine.vm->memory.host + 0x3ffe, 2), 0);
	ck_assert_int_eq(memcmp(buf + 2, machine.vm->memory.host + 0x2000, 2), 0);
	core_file_close(&core);
	far_end_close(&end);
}
END_TEST

/* A KVM that has no MSR of that name: then it is 0, and all else is there. */
START_TEST(no_gs_base)
{
	struct migration_channel channel = to_memory(&end);
	struct core_file core;
	uint64_t word = 1;

	fake_kvm_fail_msr(machine.fake, 0xc0000102, true, false);
	ck_assert_int_eq(dump_to(&channel, &physical), 0);
	ck_assert_int_eq(await(), DUMP_COMPLETED);
	core_file_open(&core, end.fd);
	memcpy(&word, core_file_note(&core, "QEMU", 0, 0, 440) + 432, 8);
	ck_assert_uint_eq(word, 0);
	core_file_close(&core);
	far_end_close(&end);
}
END_TEST

/* Nobody gets in between, and afterwards everybody may. */
START_TEST(while_it_goes_on)
{
	struct migration_channel channel = to_nowhere(&end);
	const char *busy = "There is a dump in process, please wait.";

	machine_run_all();
	ck_assert_int_eq(dump_to(&channel, &physical), 0);
	ck_assert_int_eq(vm_cont(machine.vm, &err), -1);
	ck_assert_str_eq(err.text, busy);
	ck_assert_int_eq(vm_system_reset(machine.vm, SHUTDOWN_CAUSE_HOST_QMP_SYSTEM_RESET, &err), -1);
	ck_assert_str_eq(err.text, busy);
	ck_assert_int_eq(vm_dump_refuse(machine.vm, &err), -1);
	ck_assert_int_eq(dump_to(&channel, &physical), -1);
	ck_assert_str_eq(err.text, busy);
	ck_assert_int_eq(vm_migration_begin(machine.vm, MIGRATION_OUT, &err), -1);
	ck_assert_str_eq(err.text, "Live migration disabled: dump-guest-memory in progress");
	ck_assert_int_eq(vm_snapshot_save(machine.vm, file_named("snapshot"), false, &err), -1);
	ck_assert_str_eq(err.text, "Live migration disabled: dump-guest-memory in progress");
	ck_assert_str_eq(machine_events(), "RESUME STOP");
	/* Looking is allowed. */
	ck_assert_ptr_null(machine_look());
	/* The reader goes away. */
	fcntl(end.fd, F_SETFL, O_NONBLOCK);
	vm_destroy(machine.vm);
	machine.vm = NULL;
	ck_assert(end.finished == 1 && !end.complete && end.cancelled);
	ck_assert_str_eq(machine_events(), "");
	far_end_close(&end);
}
END_TEST

START_TEST(not_now)
{
	struct migration_channel channel = to_nowhere(&end), memory;
	const struct dump_config nowhere = { .filter = true, .begin = RAM, .length = 4096 };
	const struct dump_config nothing = { .filter = true, .begin = 0, .length = 0 };
	struct far_end other;

	memory = to_memory(&other);
	machine_run_all();
	machine_events();
	ck_assert_int_eq(dump_to(&memory, &nowhere), -1);
	ck_assert_str_eq(err.text, "dump: no guest memory to dump");
	ck_assert_int_eq(dump_to(&memory, &nothing), -1);
	ck_assert_str_eq(err.text, "Invalid parameter 'length'");
	/* Of these nobody hears. */
	ck_assert_str_eq(machine_events(), "");
	ck_assert_int_eq(info().status, DUMP_NONE);
	migrate_to(&channel);
	ck_assert_int_eq(dump_to(&memory, &physical), -1);
	ck_assert_str_eq(err.text, "disallowing migration blocker (migration/snapshot in progress) for: "
			 "Live migration disabled: dump-guest-memory in progress");
	vm_migrate_cancel(machine.vm);
	machine_dispatch();
	ck_assert_uint_eq(other.finished, 0);
	ck_assert_int_eq(dump_to(&memory, &physical), 0);
	ck_assert_int_eq(await(), DUMP_COMPLETED);
	far_end_close(&other);
	far_end_close(&end);
}
END_TEST

/* ---- failures ---- */

static void check_failed(const char *error)
{
	ck_assert_int_eq(await(), DUMP_FAILED);
	ck_assert_str_eq(info().error, error);
	ck_assert_str_eq(machine_events(), "STOP DUMP_COMPLETED RESUME DUMP_OVER");
	ck_assert(vm_is_running(machine.vm));
	ck_assert_ptr_nonnull(strstr(logged(), error));
}

START_TEST(full_disk)
{
	struct migration_channel channel = to_memory(&end);

	machine_run_all();
	machine_events();
	close(end.fd);
	channel.fd = end.fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
	ck_assert_int_eq(dump_to(&channel, &physical), 0);
	check_failed("dump: failed to write elf header: No space left on device");
	ck_assert(end.finished == 1 && !end.complete);
	far_end_close(&end);
}
END_TEST

START_TEST(far_end_fails)
{
	struct migration_channel channel = to_memory(&end);

	machine_run_all();
	machine_events();
	end.fails = "the disk has gone";
	ck_assert_int_eq(dump_to(&channel, &physical), 0);
	check_failed("the disk has gone");
	ck_assert(end.complete);
	far_end_close(&end);
}
END_TEST

static off_t size_of(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 ? st.st_size : -1;
}

/* Files in the directory of file_named(). */
static unsigned int files(void)
{
	DIR *d = opendir(file_named(""));
	struct dirent *entry;
	unsigned int n = 0;

	while ((entry = readdir(d)))
		n += entry->d_name[0] != '.';
	closedir(d);
	return n;
}

/* A file beside the old one: a dump that fails leaves nothing, and the old one as it was. */
START_TEST(file_limit)
{
	struct rlimit limit = { 1 << 20, RLIM_INFINITY }, before;
	const char *path = file_named("core");
	struct migration_channel channel;
	struct fdsets sets;
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	ck_assert_int_eq(write(fd, "old", 3), 3);
	close(fd);
	fdsets_init(&sets);
	machine_run_all();
	machine_events();
	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
	signal(SIGXFSZ, SIG_IGN);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	ck_assert_int_eq(migrate_file_out(path, &sets, &channel, &err), 0);
	ck_assert_int_eq(dump_to(&channel, &physical), 0);
	check_failed("dump: failed to save memory: File too large");
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
	signal(SIGXFSZ, SIG_DFL);
	ck_assert_int_eq(size_of(path), 3);
	ck_assert_uint_eq(files(), 1);
	ck_assert_int_eq(migrate_file_out(path, &sets, &channel, &err), 0);
	ck_assert_int_eq(dump_to(&channel, &physical), 0);
	ck_assert_int_eq(await(), DUMP_COMPLETED);
	ck_assert_int_gt(size_of(path), RAM);
}
END_TEST

/* What can not be read of a vCPU; the machine goes on. */
START_TEST(registers_can_not_be_read)
{
	static const unsigned long requests[] = { KVM_GET_REGS, KVM_GET_SREGS2, KVM_GET_MSRS };
	struct migration_channel channel = to_memory(&end);

	for (size_t i = 0; i < 3; i++) {
		fake_kvm_heal(machine.fake);
		fake_kvm_fail(machine.fake, (struct fake_fault) { .request = requests[i], .vcpu = 1,
								  .error = EIO });
		ck_assert_int_eq(dump_to(&channel, &physical), -1);
		ck_assert_ptr_nonnull(strstr(err.text, "Input/output error"));
		ck_assert_int_eq(info().status, DUMP_FAILED);
		ck_assert_str_eq(info().error, err.text);
		ck_assert_int_eq(machine.vm->state, RUN_STATE_PRELAUNCH);
	}
	fake_kvm_heal(machine.fake);
	/* The same of a machine that runs, which goes on. */
	machine_run_all();
	machine_events();
	fake_kvm_fail(machine.fake, (struct fake_fault) { .request = KVM_GET_MSRS, .vcpu = 1,
							  .error = EIO });
	ck_assert_int_eq(dump_to(&channel, &physical), -1);
	ck_assert_str_eq(machine_events(), "STOP RESUME");
	/* Who does not want to know why need not. */
	ck_assert_int_eq(vm_dump(machine.vm, &physical, &channel, NULL), -1);
	ck_assert_str_eq(info().error, err.text);
	ck_assert_uint_eq(end.finished, 0);
	far_end_close(&end);
}
END_TEST

START_TEST(no_memory)
{
	struct migration_channel channel = to_memory(&end);
	unsigned int n;

	for (n = 1; n < 20; n++) {
		alloc_fail_at(n);
		if (dump_to(&channel, &physical) == 0)
			break;
		ck_assert_int_eq(err.code, ENOMEM);
		ck_assert_uint_eq(end.finished, 0);
	}
	alloc_fail_at(0);
	ck_assert_uint_gt(n, 2);
	ck_assert_int_eq(await(), DUMP_COMPLETED);
	far_end_close(&end);
}
END_TEST

/* Of any call, one at a time: the machine goes on, and a dump that says that it is whole is whole. */
START_TEST(calls_fail)
{
	static const struct {
		const char *name;
		bool refused;           /* it does not come to a thread */
		bool passed_over;
	} calls[] = {
		{ "pthread_create", true, false }, { "fstat", false, true }, { "fcntl", false, true },
		{ "lseek", false, true }, { "writev", false, false }, { "ftruncate", false, false },
		{ "open", false, true }, { "pread", false, true },
	};
	unsigned int failed = 0, n;
	struct core_file core;
	bool over = false;

	/* A hole in the middle, and one at the end. */
	memset(machine.vm->memory.host + RAM / 4, 0, RAM / 4);
	memset(machine.vm->memory.host + RAM / 4 * 3, 0, RAM / 4);
	machine_run_all();
	for (n = 1; !over; n++) {
		struct migration_channel channel = to_memory(&end);
		int rc;

		machine_events();
		call_fail(calls[_i].name, n, EIO);
		rc = dump_to(&channel, &physical);
		ck_assert_int_eq(rc, calls[_i].refused && call_has_failed() ? -1 : 0);
		if (await() == DUMP_FAILED) {
			ck_assert_ptr_nonnull(strstr(info().error, "Input/output error"));
			ck_assert_ptr_null(strchr(info().error, '\n'));
			ck_assert_str_eq(logged(), rc < 0 ? "" : info().error);
			failed++;
		}
		over = !call_has_failed();
		call_fail(calls[_i].name, 0, 0);
		ck_assert_str_eq(machine_events(), rc < 0 ? "STOP RESUME" :
				 "STOP DUMP_COMPLETED RESUME DUMP_OVER");
		ck_assert(vm_is_running(machine.vm));
		ck_assert_uint_eq(end.finished, rc == 0);
		if (info().status == DUMP_COMPLETED) {
			core_file_open(&core, end.fd);
			ck_assert(core_file_read(&core, 0, buf, RAM));
			ck_assert_int_eq(memcmp(buf, machine.vm->memory.host, RAM), 0);
			core_file_close(&core);
		}
		far_end_close(&end);
	}
	ck_assert_uint_gt(n, 2);
	if (!calls[_i].passed_over)
		ck_assert_uint_eq(failed, n - 2);
}
END_TEST

START_TEST(dumped_and_not_sent_on)
{
	struct migration_channel channel = to_memory(&end);

	machine_run_all();
	machine_events();
	fake_kvm_fail(machine.fake, (struct fake_fault) { .request = KVM_SET_CLOCK, .vcpu = -1,
							  .error = EIO });
	ck_assert_int_eq(dump_to(&channel, &physical), 0);
	ck_assert_int_eq(await(), DUMP_COMPLETED);
	ck_assert_str_eq(logged(), "the machine can not go on after it was dumped: KVM_SET_CLOCK: "
			 "Input/output error");
	ck_assert_str_eq(machine_events(), "STOP DUMP_COMPLETED DUMP_OVER");
	ck_assert_int_eq(machine.vm->state, RUN_STATE_PAUSED);
	fake_kvm_heal(machine.fake);
	machine_run_all();
	far_end_close(&end);
}
END_TEST

START_TEST(nothing_there_yet)
{
	struct migration_channel channel = to_memory(&end);

	ck_assert_int_eq(dump_to(&channel, &physical), -1);
	ck_assert_str_eq(err.text, "Dump not allowed during incoming migration.");
	far_end_close(&end);
}
END_TEST

Suite *dump_suite(void)
{
	Suite *suite = suite_create("dump");
	TCase *tc = tcase_create("dump"), *incoming = tcase_create("incoming");

	tcase_add_checked_fixture(tc, setup_guest, teardown_machine);
	tcase_add_test(tc, of_a_running_machine);
	tcase_add_test(tc, of_one_that_does_not_run);
	tcase_add_test(tc, content);
	tcase_add_test(tc, no_gs_base);
	tcase_add_test(tc, while_it_goes_on);
	tcase_add_test(tc, not_now);
	tcase_add_test(tc, full_disk);
	tcase_add_test(tc, far_end_fails);
	tcase_add_test(tc, file_limit);
	tcase_add_test(tc, registers_can_not_be_read);
	tcase_add_test(tc, no_memory);
	tcase_add_loop_test(tc, calls_fail, 0, 8);
	tcase_add_test(tc, dumped_and_not_sent_on);
	suite_add_tcase(suite, tc);
	tcase_add_checked_fixture(incoming, setup_incoming, teardown_machine);
	tcase_add_test(incoming, nothing_there_yet);
	suite_add_tcase(suite, incoming);
	return suite;
}
