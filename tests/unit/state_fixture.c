/* SPDX-License-Identifier: MIT */
#include "tests/unit/state_fixture.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct fixture fix;

#define APIC_LVTT_TSC_DEADLINE (2U << 17)

static void *must_alloc(size_t size)
{
	void *p = calloc(1, size);

	ck_assert_ptr_nonnull(p);
	return p;
}

static struct msr_table *default_table(void)
{
	static const struct msr_info rows[FIXTURE_MSRS] = {
		[FIXTURE_RUNTIME_MSR] = { 0x174, VCPU_LEVEL_RUNTIME, MSR_GROUP_PLAIN, true, 0 },
		[FIXTURE_RUNTIME_MSR_2] = { 0x175, VCPU_LEVEL_RUNTIME, MSR_GROUP_PLAIN, true, 0 },
		[FIXTURE_RUNTIME_MSR_3] = { 0xc0000102, VCPU_LEVEL_RUNTIME, MSR_GROUP_PLAIN, true,
					    0 },
		[FIXTURE_RESET_MSR] = { 0x2ff, VCPU_LEVEL_RESET, MSR_GROUP_PLAIN, true, 0 },
		[FIXTURE_RESET_MSR_2] = { 0x4b564d01, VCPU_LEVEL_RESET, MSR_GROUP_PLAIN, true, 0 },
		[FIXTURE_FULL_MSR] = { 0x8b, VCPU_LEVEL_FULL, MSR_GROUP_PLAIN, false, 0 },
		[FIXTURE_TSC] = { MSR_IA32_TSC, VCPU_LEVEL_RESET, MSR_GROUP_TSC, true, 0 },
		[FIXTURE_DEADLINE] = { MSR_IA32_TSC_DEADLINE, VCPU_LEVEL_RESET, MSR_GROUP_DEADLINE,
				       true, 0 },
	};
	struct msr_table *table = must_alloc(sizeof(*table) + sizeof(rows));

	table->count = FIXTURE_MSRS;
	memcpy(table->msr, rows, sizeof(rows));
	return table;
}

void fixture_host(void)
{
	memset(&fix, 0, sizeof(fix));
	fix.fake = fake_kvm_new();
	fix.table = default_table();
}

void fixture_use_table(struct msr_table *table)
{
	free(fix.table);
	fix.table = table;
}

static void start_vcpu(unsigned int i)
{
	uint32_t lvtt = APIC_LVTT_TSC_DEADLINE;
	struct error err = { .code = 0 };
	int fd;

	fd = kvm_call(&fix.vm, KVM_REQ_CREATE_VCPU, kvm_int_arg(i), &err);
	ck_assert_msg(fd >= 0, "%s", err.text);
	kvm_handle_init(&fix.vcpu[i], &fix.kvm, fd);
	fix.run[i] = kvm_map_run(&fix.vcpu[i], &err);
	ck_assert_ptr_nonnull(fix.run[i]);
	fix.run[i]->kvm_valid_regs = fix.kvm.caps.sync_regs;
	fix.model[i] = fake_kvm_vcpu(fix.fake, 0, (int)i);
	/* A vCPU in use: not in its reset state, x87 and SSE neither; its timer takes deadlines. */
	fix.model[i]->xsave[512] = 3;
	fix.model[i]->mp_state = KVM_MP_STATE_RUNNABLE;
	fix.model[i]->regs.rip = 0x1000;
	memcpy(fix.model[i]->lapic.regs + 0x320, &lvtt, sizeof(lvtt));
	vcpu_state_init(&fix.state[i], &fix.vcpu[i], fix.table, (int)i);
}

void fixture_start(unsigned int nr_vcpus)
{
	struct kvm_enable_cap payload = { .cap = KVM_CAP_EXCEPTION_PAYLOAD, .args = { 1 } };
	struct kvm_enable_cap triple_fault = {
		.cap = KVM_CAP_X86_TRIPLE_FAULT_EVENT, .args = { 1 },
	};
	struct kvm_userspace_memory_region region = { .memory_size = FIXTURE_MEMORY };
	struct error err = { .code = 0 };
	int fd;

	ck_assert_msg(kvm_open(&fix.kvm, &fake_kvm_ops, fix.fake, &err) == 0, "%s", err.text);
	fd = kvm_call(&fix.kvm.sys, KVM_REQ_CREATE_VM, NULL, &err);
	ck_assert_msg(fd >= 0, "%s", err.text);
	kvm_handle_init(&fix.vm, &fix.kvm, fd);
	fix.memory = aligned_alloc(4096, FIXTURE_MEMORY);
	ck_assert_ptr_nonnull(fix.memory);
	memset(fix.memory, 0, FIXTURE_MEMORY);
	region.userspace_addr = (uintptr_t)fix.memory;
	ck_assert_int_eq(kvm_ioctl(&fix.vm, KVM_REQ_SET_USER_MEMORY_REGION, &region), 0);
	ck_assert_int_eq(kvm_ioctl(&fix.vm, KVM_REQ_CREATE_IRQCHIP, NULL), 0);
	if (fix.kvm.caps.exception_payload)
		ck_assert_int_eq(kvm_ioctl(&fix.vm, KVM_REQ_ENABLE_CAP, &payload), 0);
	if (fix.kvm.caps.triple_fault_event)
		ck_assert_int_eq(kvm_ioctl(&fix.vm, KVM_REQ_ENABLE_CAP, &triple_fault), 0);
	fix.nr = nr_vcpus;
	for (unsigned int i = 0; i < nr_vcpus; i++)
		start_vcpu(i);
}

void fixture_abandon(void)
{
	for (unsigned int i = 0; i < fix.nr; i++) {
		vcpu_state_destroy(&fix.state[i]);
		kvm_unmap_run(&fix.kvm, fix.run[i]);
		kvm_handle_close(&fix.vcpu[i]);
	}
	kvm_handle_close(&fix.vm);
	kvm_close(&fix.kvm);
	ck_assert_str_eq(fake_kvm_leaks(fix.fake), "");
	fake_kvm_free(fix.fake);
	free(fix.table);
	free(fix.memory);
}

void fixture_stop(void)
{
	ck_assert_str_eq(fake_kvm_violations(fix.fake), "");
	fixture_abandon();
}

void fixture_park(unsigned int i)
{
	int rc;

	do {
		fix.run[i]->immediate_exit = 1;
		rc = kvm_ioctl(&fix.vcpu[i], KVM_REQ_RUN, NULL);
	} while (rc == 0);
	ck_assert_int_eq(errno, EINTR);
	fix.run[i]->immediate_exit = 0;
	vcpu_state_parked(&fix.state[i], &fix.run[i]->s.regs, fix.kvm.caps.sync_regs,
			  fix.model[i]->has_run);
}

void fixture_run(unsigned int i, const struct fake_step *step)
{
	static const struct fake_step leave = { .action = FAKE_EINTR };
	struct error err = { .code = 0 };

	ck_assert_msg(vcpu_state_before_run(&fix.state[i], &err) == 0, "%s", err.text);
	fake_vcpu_script(fix.model[i], step ? step : &leave, 1);
	fix.run[i]->immediate_exit = 0;
	kvm_ioctl(&fix.vcpu[i], KVM_REQ_RUN, NULL);
	fixture_park(i);
}

void fixture_enter_long_mode(unsigned int i, uint64_t cr3)
{
	struct kvm_sregs2 *sregs = &fix.model[i]->sregs;

	sregs->cr0 = 0x80000011;
	sregs->cr3 = fix.model[i]->wanted_cr3 = cr3;
	sregs->cr4 = 0x20;
	sregs->efer = 0x500;
	sregs->cs.l = 1;
}

void fixture_enter_pae(unsigned int i, uint64_t cr3)
{
	struct kvm_sregs2 *sregs = &fix.model[i]->sregs;

	sregs->cr0 = 0x80000011;
	sregs->cr3 = fix.model[i]->wanted_cr3 = cr3;
	sregs->cr4 = 0x20;
	sregs->efer = 0;
	sregs->cs.l = 0;
}

const char *fixture_difference(unsigned int i)
{
	return state_difference(&fix.state[i], fix.model[i]);
}

const char *fixture_sets(uint64_t since, int vcpu)
{
	static char text[1024];
	char *copy = strdup(fake_kvm_names(fix.fake, fake_filter(since, vcpu, KVM_CLASS_SET)));
	const char *last = "";
	char *save = NULL;

	ck_assert_ptr_nonnull(copy);
	text[0] = '\0';
	for (char *name = strtok_r(copy, " ", &save); name; name = strtok_r(NULL, " ", &save)) {
		if (!strcmp(name, last))
			continue;
		ck_assert_uint_lt(strlen(text) + strlen(name) + 2, sizeof(text));
		if (text[0])
			strcat(text, " ");
		strcat(text, name);
		last = name;
	}
	free(copy);
	return text;
}

uint64_t fixture_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1dULL;
}
