/* SPDX-License-Identifier: MIT */
#ifndef VMM_VM_INTERNAL_H
#define VMM_VM_INTERNAL_H

#include "vmm/vm.h"

/* What vm.c (creation) and vm_run.c (running) share. */

/* Loads the boot images and edits the boot processor's state into their entry. */
int vm_boot(struct vm *vm, struct error *err);

/* vm_cpu.c */

struct cpuid_changes;

/* vm->cpu, of what config.cpu asks for; says what of that can not be had. */
int vm_cpu_resolve(struct vm *vm, struct error *err);
/* How fast the TSC of the first vCPU runs, in kHz; 0 when KVM can not say. */
int vm_tsc_khz(struct vm *vm, uint32_t *khz, struct error *err);
/*
 * Before the first run: gives all vCPUs the frequency that was asked for, if any.  `*khz` is what the
 * CPUID table is to say, 0 where it needs to say nothing.
 */
int vm_cpu_edit_tsc(struct vm *vm, uint32_t *khz, struct error *err);
/* Reads the table of a vCPU back, and logs what KVM has made of the one it was given. */
int vm_cpu_compare(struct vm *vm, unsigned int vcpu, const struct kvm_cpuid2 *set,
		   struct cpuid_changes *told, struct error *err);
/* A new vCPU that has its table gets the MSRs that belong to it: feature_msrs.h. */
int vm_cpu_init_msrs(struct vm *vm, unsigned int vcpu, struct error *err);

/* clone.c */

struct clone;

/* A clone's RAM is the file's from here on. */
int clone_map_ram(struct clone *clone, struct memory *memory, struct error *err);

/* vm_run.c */

void vm_emit(struct vm *vm, struct vm_event event);
void vm_enter_state(struct vm *vm, enum run_state state);
/* Stops a running machine, with the event; does nothing when it is not running. */
void vm_stop_in_state(struct vm *vm, enum run_state state);

/*
 * Carries out what the guest has asked for with its last instructions (a reset, its end) and nobody
 * has seen yet: of that there is nothing in any state that could be saved.  vCPUs of a machine that
 * runs are left parked, to be stopped by vm_stop_in_state().
 */
void vm_catch_up(struct vm *vm);

/* migration.c */

/* VM_REQUEST_MIGRATION has been posted: the thread has nothing more to do. */
void vm_migration_dispatch(struct vm *vm);
/* Bytes are being moved: RAM is not the owner's. */
bool vm_migration_moving(const struct vm *vm);
/* Somebody has said stop, or cont, to a machine that is on its way: so be it at its end. */
void vm_migration_keep_stopped(struct vm *vm, bool stopped);
/*
 * State has been applied: the guest is told of config.generation_id, if there is one, and goes on
 * if it was running, and is to.  When it can not, it is paused.
 */
int vm_arrive(struct vm *vm, enum run_state saved, struct error *err);
/* Ends what is under way, without a word, and frees all of it. */
void vm_migration_end(struct vm *vm);

/* vm_clock.c */

/*
 * The machine has stopped: its vCPUs have parked, or never run.  What it can not read it warns of
 * and lets go on.
 */
void vm_time_stop(struct vm *vm);
/* Its vCPUs are about to go; all is as at the stop when this fails. */
int vm_time_go_on(struct vm *vm, struct error *err);
/*
 * A machine that has never run gets the time of another, as of now: its vCPUs have been given what
 * they had when the host's TSC was `host_tsc`.  NULL leaves clock and PIT as they are.  The PIT is as
 * vm_pit_with_ages() gives it.
 */
void vm_time_load(struct vm *vm, uint64_t host_tsc, const struct kvm_clock_data *clock,
		  const struct kvm_pit_state2 *pit);
/*
 * Of a stopped machine: the kernel's PIT would go on to tick, once, and what it has ticked is in the
 * interrupt controllers.  From here on it does not, until the machine goes on.
 */
int vm_pit_halt(struct vm *vm, struct error *err);
/* The PIT as of the stop, with count_load_time as how long ago that was, in ns. */
void vm_pit_with_ages(const struct vm *vm, struct kvm_pit_state2 *pit);
/* A stopped machine has been reset. */
void vm_time_reset(struct vm *vm);

/* The counts of this moment become the ones that "since the last stop" starts from. */
void vm_mark_stop(struct vm *vm);

#endif
