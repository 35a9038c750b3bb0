/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_VM_FIXTURE_H
#define TESTS_UNIT_VM_FIXTURE_H

#include <semaphore.h>
#include <stdint.h>

#include "tests/unit/fake_kvm.h"
#include "vmm/vm.h"

/*
 * A whole machine, threads and all, over the fake kernel:
 *
 *     machine_host();                  a fake host, to be changed as the test wants
 *     machine_start(4);                a VM with four vCPUs, all of which the guest has started
 *     ...
 *     machine_stop();                  checks that no rule was broken and nothing left behind
 */
struct machine {
	struct fake_kvm *fake;
	struct kvm kvm;
	struct vm *vm;
	struct vm_config config;        /* of machine_start() */
	char events[1024];              /* "RESUME STOP SHUTDOWN(guest-reset) EXIT(7)" */
	sem_t woken;                    /* one per call of the wake callback */
};
extern struct machine machine;

void machine_host(void);
void machine_start(unsigned int nr_vcpus);
/* The same, but the VM waits for incoming state. */
void machine_wait(unsigned int nr_vcpus);
void machine_stop(void);

/* kvm_open() and vm_create(), which may fail. */
int machine_try(unsigned int nr_vcpus, struct error *err);

struct fake_vcpu *machine_model(unsigned int vcpu);

/*
 * A vCPU pages, by tables at 0x10000 to 0x14fff: at 0x40000000 are the pages 0x3000 and 0x2000 and
 * then nothing, at 0x80000000 all of RAM, as one page of 2 MiB.
 */
void machine_long_mode(unsigned int vcpu);

/* vm_cont(); and that, and waiting until every vCPU has been entered once more. */
void machine_cont(void);
void machine_run_all(void);

/* Waits until a vCPU has posted something, and carries it out. */
void machine_dispatch(void);

/* What happened since the last question. */
const char *machine_events(void);

/*
 * Looks at all vCPUs with every reader: the name of the first substate that is not as the kernel
 * has it, or NULL.
 */
const char *machine_look(void);

/* SETs of all vCPUs and of the VM since a mark. */
unsigned int machine_sets(uint64_t since);

#endif
