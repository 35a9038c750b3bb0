/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/unit/fake_kvm.h"
#include "tests/unit/suites.h"

/* The fake kernel itself: that it has the habits of KVM which the other tests rely on. */

static struct fake_kvm *fake;
static struct fake_vcpu *vcpu[2];
static struct kvm_run *run;
static int sys_fd, vm_fd, vcpu_fd[2];
static size_t run_size;

static int call(int fd, unsigned long request, void *arg)
{
	return fake_kvm_ops.ioctl(fake, fd, request, arg);
}

static int call_int(int fd, unsigned long request, unsigned long arg)
{
	return call(fd, request, (void *)arg);
}

/* A VM with an irqchip, a boot processor whose run page is mapped, and a second vCPU. */
static void setup(void)
{
	fake = fake_kvm_new();
	sys_fd = fake_kvm_ops.open(fake, "/dev/kvm", O_RDWR | O_CLOEXEC);
	ck_assert_int_ge(sys_fd, 0);
	vm_fd = call_int(sys_fd, KVM_CREATE_VM, 0);
	ck_assert_int_ge(vm_fd, 0);
	ck_assert_int_eq(call_int(vm_fd, KVM_CREATE_IRQCHIP, 0), 0);
	ck_assert_int_eq(call(vm_fd, KVM_ENABLE_CAP, &(struct kvm_enable_cap) {
			 .cap = KVM_CAP_EXCEPTION_PAYLOAD, .args = { 1 } }), 0);
	for (int i = 0; i < 2; i++) {
		vcpu_fd[i] = call_int(vm_fd, KVM_CREATE_VCPU, (unsigned long)i);
		ck_assert_int_ge(vcpu_fd[i], 0);
		vcpu[i] = fake_kvm_vcpu(fake, 0, i);
	}
	run_size = (size_t)call_int(sys_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	run = fake_kvm_ops.mmap(fake, run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu_fd[0], 0);
	ck_assert_ptr_ne(run, MAP_FAILED);
}

static void teardown(void)
{
	ck_assert_int_eq(fake_kvm_ops.munmap(fake, run, run_size), 0);
	fake_kvm_ops.close(fake, vcpu_fd[0]);
	fake_kvm_ops.close(fake, vcpu_fd[1]);
	fake_kvm_ops.close(fake, vm_fd);
	fake_kvm_ops.close(fake, sys_fd);
	ck_assert_str_eq(fake_kvm_leaks(fake), "");
	fake_kvm_free(fake);
}

static void script(const struct fake_step *steps, unsigned int nr)
{
	fake_vcpu_script(vcpu[0], steps, nr);
}

static int enter(void)
{
	run->immediate_exit = 0;
	return call(vcpu_fd[0], KVM_RUN, NULL);
}

/* What a vCPU thread does to commit I/O. */
static int commit(void)
{
	run->immediate_exit = 1;
	return call(vcpu_fd[0], KVM_RUN, NULL);
}

START_TEST(an_in_completes_at_the_next_entry)
{
	const struct fake_step in = { FAKE_IN, .address = 0x3fd, .size = 1, .advance = 1 };

	vcpu[0]->regs.rax = 0x1234;
	script(&in, 1);
	ck_assert_int_eq(enter(), 0);
	ck_assert_uint_eq(run->exit_reason, KVM_EXIT_IO);
	ck_assert_uint_eq(run->io.port, 0x3fd);
	((uint8_t *)run)[run->io.data_offset] = 0x60;
	ck_assert_uint_eq(vcpu[0]->regs.rax, 0x1234);
	ck_assert_uint_eq(vcpu[0]->regs.rip, 0xfff0);
	ck_assert_int_eq(commit(), -1);
	ck_assert_int_eq(errno, EINTR);
	ck_assert_uint_eq(vcpu[0]->regs.rax, 0x1260);
	ck_assert_uint_eq(vcpu[0]->regs.rip, 0xfff1);
	ck_assert_uint_eq(vcpu[0]->entries, 1);
}
END_TEST

START_TEST(set_regs_before_completion_drops_the_result)
{
	const struct fake_step in = { FAKE_IN, .address = 0x60, .size = 4, .advance = 1 };
	struct kvm_regs regs;

	script(&in, 1);
	enter();
	memset((uint8_t *)run + run->io.data_offset, 0x77, 4);
	ck_assert_int_eq(call(vcpu_fd[0], KVM_GET_REGS, &regs), 0);
	ck_assert_int_eq(call(vcpu_fd[0], KVM_SET_REGS, &regs), 0);
	commit();
	ck_assert_uint_eq(vcpu[0]->regs.rax, 0);
	ck_assert_uint_eq(vcpu[0]->results_dropped, 1);
	ck_assert_uint_eq(fake_kvm_violation(fake, FAKE_SET_BEFORE_COMPLETION), 1);
	ck_assert_uint_eq(fake_kvm_violation(fake, FAKE_GET_BEFORE_COMPLETION), 1);
}
END_TEST

START_TEST(wide_mmio_exits_more_than_once)
{
	const struct fake_step read = {
		FAKE_MMIO_READ, .address = 0xfed00000, .size = 16, .advance = 3,
	};

	script(&read, 1);
	ck_assert_int_eq(enter(), 0);
	ck_assert_uint_eq(run->mmio.len, 8);
	memset(run->mmio.data, 0x11, 8);
	/* The second half exits although immediate_exit is set. */
	ck_assert_int_eq(commit(), 0);
	ck_assert_uint_eq(run->exit_reason, KVM_EXIT_MMIO);
	ck_assert_uint_eq(run->mmio.phys_addr, 0xfed00008);
	memset(run->mmio.data, 0x22, 8);
	ck_assert_int_eq(commit(), -1);
	ck_assert_uint_eq(vcpu[0]->regs.rax, 0x1111111111111111);
	ck_assert_uint_eq(vcpu[0]->io.bytes[15], 0x22);
}
END_TEST

START_TEST(run_page_hands_over_registers)
{
	run->kvm_valid_regs = KVM_SYNC_X86_VALID_FIELDS;
	vcpu[0]->regs.rbx = 42;
	ck_assert_int_eq(commit(), -1);
	ck_assert_uint_eq(run->s.regs.regs.rbx, 42);
	ck_assert_uint_eq(run->s.regs.sregs.cs.base, 0xffff0000);
	ck_assert(run->s.regs.events.flags & KVM_VCPUEVENT_VALID_PAYLOAD);
	ck_assert_uint_eq(vcpu[0]->entries, 0);
	run->kvm_dirty_regs = KVM_SYNC_X86_REGS;
	run->s.regs.regs.rbx = 43;
	commit();
	ck_assert_uint_eq(vcpu[0]->regs.rbx, 43);
	ck_assert_uint_eq(fake_kvm_count_request(fake, 0, 0, KVM_SET_REGS), 1);
}
END_TEST

START_TEST(run_page_offers_only_what_the_host_has)
{
	fake_kvm_set_cap(fake, KVM_CAP_SYNC_REGS, KVM_SYNC_X86_REGS);
	run->kvm_valid_regs = KVM_SYNC_X86_SREGS;
	ck_assert_int_eq(commit(), -1);
	ck_assert_int_eq(errno, EINVAL);
}
END_TEST

START_TEST(looking_at_mp_state_takes_an_init)
{
	struct kvm_vcpu_events events;
	struct kvm_mp_state mp_state;

	vcpu[0]->regs.rip = 0x1000;
	fake_vcpu_send_init(vcpu[0]);
	ck_assert_int_eq(call(vcpu_fd[0], KVM_GET_VCPU_EVENTS, &events), 0);
	ck_assert_uint_eq(events.smi.latched_init, 1);
	ck_assert_int_eq(call(vcpu_fd[0], KVM_GET_MP_STATE, &mp_state), 0);
	ck_assert_uint_eq(vcpu[0]->regs.rip, 0xfff0);
	ck_assert_int_eq(call(vcpu_fd[0], KVM_GET_VCPU_EVENTS, &events), 0);
	ck_assert_uint_eq(events.smi.latched_init, 0);

	ck_assert_uint_eq(vcpu[1]->mp_state, KVM_MP_STATE_UNINITIALIZED);
	fake_vcpu_send_init(vcpu[1]);
	fake_vcpu_send_sipi(vcpu[1], 0x9a);
	ck_assert_int_eq(call(vcpu_fd[1], KVM_GET_MP_STATE, &mp_state), 0);
	ck_assert_uint_eq(mp_state.mp_state, KVM_MP_STATE_RUNNABLE);
	ck_assert_uint_eq(vcpu[1]->sregs.cs.base, 0x9a000);
}
END_TEST

START_TEST(writes_have_side_effects)
{
	struct kvm_regs regs = { .rip = 0xfff0 };
	struct kvm_sregs sregs;
	struct kvm_lapic_state lapic = { { 0 } };
	uint32_t count = 1000;

	vcpu[0]->events.exception.pending = 1;
	ck_assert_int_eq(call(vcpu_fd[0], KVM_SET_REGS, &regs), 0);
	ck_assert_uint_eq(vcpu[0]->events.exception.pending, 0);
	ck_assert_uint_eq(vcpu[0]->regs.rflags, 2);

	vcpu[0]->mp_state = KVM_MP_STATE_HALTED;
	vcpu[0]->events.interrupt.injected = 1;
	vcpu[0]->events.interrupt.nr = 0x31;
	call(vcpu_fd[0], KVM_GET_SREGS, &sregs);
	ck_assert_uint_eq(sregs.interrupt_bitmap[0], 1ULL << 0x31);
	vcpu[0]->events.interrupt.injected = 0;
	ck_assert_int_eq(call(vcpu_fd[0], KVM_SET_SREGS, &sregs), 0);
	ck_assert_uint_eq(vcpu[0]->mp_state, KVM_MP_STATE_RUNNABLE);
	ck_assert_uint_eq(vcpu[0]->events.interrupt.injected, 1);

	memcpy(lapic.regs + 0x380, &count, sizeof(count));
	vcpu[0]->timer_expired = true;
	ck_assert_int_eq(call(vcpu_fd[0], KVM_SET_LAPIC, &lapic), 0);
	ck_assert_uint_eq(vcpu[0]->spurious_ticks, 1);
}
END_TEST

START_TEST(pdptrs_are_reloaded_by_the_older_request)
{
	uint64_t *page = aligned_alloc(4096, 4096);
	struct kvm_userspace_memory_region region = {
		.memory_size = 4096, .userspace_addr = (uintptr_t)page,
	};
	struct kvm_sregs2 sregs2;
	struct kvm_sregs sregs;

	for (int i = 0; i < 512; i++)
		page[i] = 0x1001 + (uint64_t)i;
	ck_assert_int_eq(call(vm_fd, KVM_SET_USER_MEMORY_REGION, &region), 0);
	vcpu[0]->sregs.cr0 |= 0x80000001;
	vcpu[0]->sregs.cr4 |= 0x20;
	vcpu[0]->sregs.cr3 = 0x20;
	vcpu[0]->sregs.pdptrs[0] = 0x5001;
	call(vcpu_fd[0], KVM_GET_SREGS2, &sregs2);
	ck_assert_uint_eq(sregs2.flags, KVM_SREGS2_FLAGS_PDPTRS_VALID);
	ck_assert_int_eq(call(vcpu_fd[0], KVM_SET_SREGS2, &sregs2), 0);
	ck_assert_uint_eq(vcpu[0]->sregs.pdptrs[0], 0x5001);
	call(vcpu_fd[0], KVM_GET_SREGS, &sregs);
	ck_assert_int_eq(call(vcpu_fd[0], KVM_SET_SREGS, &sregs), 0);
	ck_assert_uint_eq(vcpu[0]->sregs.pdptrs[0], 0x1001 + 4);
	free(page);
}
END_TEST

START_TEST(msrs_stop_at_the_first_bad_one)
{
	struct kvm_msrs *msrs = calloc(1, sizeof(*msrs) + 256 * sizeof(msrs->entries[0]));

	ck_assert_ptr_nonnull(msrs);
	msrs->nmsrs = 3;
	for (uint32_t i = 0; i < 256; i++)
		msrs->entries[i].index = 0x174 + i % 3;
	ck_assert_int_eq(call(vcpu_fd[0], KVM_GET_MSRS, msrs), 3);
	fake_kvm_fail_msr(fake, 0x175, true, true);
	ck_assert_int_eq(call(vcpu_fd[0], KVM_GET_MSRS, msrs), 1);
	msrs->entries[0].data = 7;
	msrs->entries[2].data = 9;
	ck_assert_int_eq(call(vcpu_fd[0], KVM_SET_MSRS, msrs), 1);
	ck_assert_uint_eq(fake_vcpu_msr(vcpu[0], 0x174)->value, 7);
	ck_assert_uint_eq(fake_vcpu_msr(vcpu[0], 0x176)->value, 0);
	/* No more than 255 at once (MAX_IO_MSRS; probed on Linux 6.18 too). */
	fake_kvm_heal(fake);
	msrs->nmsrs = 255;
	ck_assert_int_eq(call(vcpu_fd[0], KVM_GET_MSRS, msrs), 255);
	msrs->nmsrs = 256;
	ck_assert_int_eq(call(vcpu_fd[0], KVM_GET_MSRS, msrs), -1);
	ck_assert_int_eq(errno, E2BIG);
	free(msrs);
}
END_TEST

START_TEST(cpuid_is_fixed_by_the_first_run)
{
	struct kvm_cpuid2 *table = calloc(1, sizeof(*table) + sizeof(table->entries[0]));
	const struct fake_step go = { FAKE_EINTR, .advance = 0 };

	ck_assert_ptr_nonnull(table);
	table->nent = 1;
	table->entries[0].function = 1;
	ck_assert_int_eq(call(vcpu_fd[0], KVM_SET_CPUID2, table), 0);
	script(&go, 1);
	enter();
	ck_assert_int_eq(call(vcpu_fd[0], KVM_SET_CPUID2, table), 0);
	table->entries[0].eax = 6;
	ck_assert_int_eq(call(vcpu_fd[0], KVM_SET_CPUID2, table), -1);
	ck_assert_int_eq(errno, EINVAL);
	ck_assert_uint_eq(fake_kvm_violation(fake, FAKE_LATE_CPUID), 1);
	free(table);
}
END_TEST

/* A guest in long mode, its paging as `cr3` says, and what the old kernel makes of writes to it. */
static void load_paging(void)
{
	struct kvm_sregs sregs;

	call(vcpu_fd[0], KVM_GET_SREGS, &sregs);
	sregs.cr0 = 0x80000001;
	sregs.cr4 = 0x20;
	sregs.cr3 = 0x4000;
	sregs.efer = 0x500;
	ck_assert_int_eq(call(vcpu_fd[0], KVM_SET_SREGS, &sregs), 0);
}

START_TEST(stale_cr3_in_both_readings)
{
	const struct fake_step go = { FAKE_EINTR, .advance = 0 };
	struct kvm_sregs sregs;
	struct kvm_regs regs;

	fake_kvm_poison(fake, _i ? FAKE_STALE_CR3_BY_REGS : FAKE_STALE_CR3_BY_SREGS);
	script(&go, 1);
	load_paging();
	call(vcpu_fd[0], KVM_GET_SREGS, &sregs);
	ck_assert_uint_eq(sregs.cr3, 0x4000);
	/* Only looked at, and written back: a second time with paging on. */
	call(vcpu_fd[0], KVM_GET_REGS, &regs);
	call(vcpu_fd[0], _i ? KVM_SET_REGS : KVM_SET_SREGS, _i ? (void *)&regs : (void *)&sregs);
	ck_assert_int_eq(enter(), 0);
	ck_assert_uint_eq(run->exit_reason, KVM_EXIT_SHUTDOWN);
}
END_TEST

START_TEST(stale_cr3_is_quiet_after_the_first_run)
{
	const struct fake_step go[2] = {
		{ FAKE_EINTR, .advance = 0 }, { FAKE_EINTR, .advance = 0 },
	};
	struct kvm_sregs sregs;
	struct kvm_regs regs;

	fake_kvm_poison(fake, FAKE_STALE_CR3_BY_REGS | FAKE_STALE_CR3_BY_SREGS);
	script(go, 2);
	load_paging();
	ck_assert_int_eq(enter(), -1);
	call(vcpu_fd[0], KVM_GET_SREGS, &sregs);
	call(vcpu_fd[0], KVM_SET_SREGS, &sregs);
	call(vcpu_fd[0], KVM_GET_REGS, &regs);
	call(vcpu_fd[0], KVM_SET_REGS, &regs);
	ck_assert_int_eq(enter(), -1);
	ck_assert_int_eq(errno, EINTR);
	ck_assert_uint_eq(fake_kvm_count(fake, (struct fake_filter) { .vm = FAKE_ANY, .vcpu = 0,
			  .class = KVM_CLASS_SET, .unmodified = true }), 2);
}
END_TEST

static void nothing(int sig)
{
	(void)sig;
}

static void *run_thread(void *arg)
{
	int *error = arg;

	*error = enter() < 0 ? errno : 0;
	return NULL;
}

START_TEST(a_spinning_guest_is_kicked_by_a_signal)
{
	struct sigaction action = { .sa_handler = nothing };
	struct kvm_regs regs;
	pthread_t thread;
	int error = 0;

	sigaction(SIGUSR1, &action, NULL);
	ck_assert_int_eq(pthread_create(&thread, NULL, run_thread, &error), 0);
	fake_vcpu_await_blocked(vcpu[0]);
	/* In the kernel this would wait until the vCPU comes out. */
	call(vcpu_fd[0], KVM_GET_REGS, &regs);
	ck_assert_uint_eq(fake_kvm_violation(fake, FAKE_BUSY_VCPU), 1);
	pthread_kill(thread, SIGUSR1);
	pthread_join(thread, NULL);
	ck_assert_int_eq(error, EINTR);
	ck_assert_uint_eq(run->exit_reason, KVM_EXIT_INTR);
	ck_assert_str_eq(fake_kvm_names(fake, fake_filter(0, 0, FAKE_ANY)), "RUN GET_REGS");
}
END_TEST

START_TEST(faults_come_when_they_are_due)
{
	struct kvm_debugregs debugregs;
	struct kvm_regs regs;

	fake_kvm_fail(fake, (struct fake_fault) { KVM_GET_REGS, .vcpu = 0, .nth = 2, .times = 1,
						  .error = EIO });
	ck_assert_int_eq(call(vcpu_fd[0], KVM_GET_REGS, &regs), 0);
	ck_assert_int_eq(call(vcpu_fd[0], KVM_GET_REGS, &regs), -1);
	ck_assert_int_eq(errno, EIO);
	ck_assert_int_eq(call(vcpu_fd[0], KVM_GET_REGS, &regs), 0);
	fake_kvm_set_cap(fake, KVM_CAP_DEBUGREGS, 0);
	ck_assert_int_eq(call(vcpu_fd[0], KVM_GET_DEBUGREGS, &debugregs), -1);
	ck_assert_int_eq(errno, ENOTTY);
	ck_assert_int_eq(call(-1, KVM_GET_REGS, &regs), -1);
	ck_assert_str_ne(fake_kvm_violations(fake), "");
}
END_TEST

Suite *fake_kvm_suite(void)
{
	Suite *s = suite_create("fake_kvm");
	TCase *t = tcase_create("fake_kvm");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, an_in_completes_at_the_next_entry);
	tcase_add_test(t, set_regs_before_completion_drops_the_result);
	tcase_add_test(t, wide_mmio_exits_more_than_once);
	tcase_add_test(t, run_page_hands_over_registers);
	tcase_add_test(t, run_page_offers_only_what_the_host_has);
	tcase_add_test(t, looking_at_mp_state_takes_an_init);
	tcase_add_test(t, writes_have_side_effects);
	tcase_add_test(t, pdptrs_are_reloaded_by_the_older_request);
	tcase_add_test(t, msrs_stop_at_the_first_bad_one);
	tcase_add_test(t, cpuid_is_fixed_by_the_first_run);
	tcase_add_loop_test(t, stale_cr3_in_both_readings, 0, 2);
	tcase_add_test(t, stale_cr3_is_quiet_after_the_first_run);
	tcase_add_test(t, a_spinning_guest_is_kicked_by_a_signal);
	tcase_add_test(t, faults_come_when_they_are_due);
	suite_add_tcase(s, t);
	return s;
}
