/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_STATE_FIXTURE_H
#define TESTS_UNIT_STATE_FIXTURE_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/unit/fake_kvm.h"
#include "vmm/kvm.h"
#include "vmm/vcpu_state.h"

/*
 * vCPU states over the fake kernel, without threads: what the tests of the state cache share.
 *
 *     fixture_host();                  a fake host, to be changed as the test wants
 *     fixture_start(2);                a VM with an irqchip, memory and two vCPUs
 *     ...
 *     fixture_stop();                  checks that nobody broke a rule or left something open
 */
#define FIXTURE_VCPUS 4

struct fixture {
	struct fake_kvm *fake;
	struct kvm kvm;
	struct kvm_handle vm;
	unsigned int nr;
	struct kvm_handle vcpu[FIXTURE_VCPUS];
	struct kvm_run *run[FIXTURE_VCPUS];
	struct vcpu_state state[FIXTURE_VCPUS];
	struct fake_vcpu *model[FIXTURE_VCPUS];
	struct msr_table *table;
	uint8_t *memory;                /* guest-physical address 0 */
};
extern struct fixture fix;

#define FIXTURE_MEMORY 65536

/* MSRs of the fixture's table by position: levels and groups of every kind. */
enum fixture_msr {
	FIXTURE_RUNTIME_MSR,            /* IA32_SYSENTER_CS and so on: written at RUNTIME */
	FIXTURE_RUNTIME_MSR_2,
	FIXTURE_RUNTIME_MSR_3,
	FIXTURE_RESET_MSR,              /* from RESET up */
	FIXTURE_RESET_MSR_2,
	FIXTURE_FULL_MSR,               /* only at FULL */
	FIXTURE_TSC,                    /* RESET */
	FIXTURE_DEADLINE,               /* RESET, last */
	FIXTURE_MSRS
};

void fixture_host(void);
/* Gives the host an MSR table of its own before the start; it is freed with the fixture. */
void fixture_use_table(struct msr_table *table);
void fixture_start(unsigned int nr_vcpus);
void fixture_stop(void);
/* The same without looking at what the fake kernel has to complain about. */
void fixture_abandon(void);

/* before_run (which must succeed), one stay in the guest that `step` describes, and parking. */
void fixture_run(unsigned int vcpu, const struct fake_step *step);
/* Parks a vCPU: commits I/O, hands over what the host can in the run page. */
void fixture_park(unsigned int vcpu);

/* The vCPU in 64-bit mode, in PAE paging, or nested in a guest of VMX, as the kernel has it. */
void fixture_enter_long_mode(unsigned int vcpu, uint64_t cr3);
void fixture_enter_pae(unsigned int vcpu, uint64_t cr3);

/*
 * The name of the first substate of which a reader sees something else than the kernel has, byte by
 * byte; NULL when all agree.  What is dirty is passed over.
 */
const char *fixture_difference(unsigned int vcpu);
const char *state_difference(struct vcpu_state *s, struct fake_vcpu *v);

/*
 * A substate as a number: one field stands for it, so that one test can go through all of them.
 * Values are made to fit by `fit`, which keeps them acceptable to the kernel.
 */
struct substate_case {
	enum vcpu_substate substate;
	enum vcpu_level level;
	unsigned long get, set;         /* 0: there is none */
	bool (*read)(struct vcpu_state *s, struct error *err);
	bool (*edit)(struct vcpu_state *s, uint64_t value, struct error *err);
	uint64_t (*seen)(struct vcpu_state *s);                 /* as the reader shows it */
	uint64_t (*held)(struct fake_vcpu *v);                  /* as the kernel has it */
	void (*change)(struct fake_vcpu *v, uint64_t value);    /* in the kernel; NULL: never */
	uint64_t (*fit)(uint64_t value);
};

/* By enum vcpu_substate.  That of the MSRs is FIXTURE_RUNTIME_MSR. */
extern const struct substate_case substate_cases[SUBSTATE_COUNT];

/* SETs in order, a run of the same request told once: "SET_REGS SET_MSRS". */
const char *fixture_sets(uint64_t since, int vcpu);

/* Numbers that are the same in every run with the same seed (xorshift64*). */
uint64_t fixture_random(uint64_t *state);

#endif
