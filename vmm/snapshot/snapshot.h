/* SPDX-License-Identifier: MIT */
#ifndef VMM_SNAPSHOT_SNAPSHOT_H
#define VMM_SNAPSHOT_SNAPSHOT_H

#include "vmm/snapshot/sections.h"
#include "vmm/vm.h"

/*
 * The state of a machine, but its RAM, as sections, and back.
 *
 * Threads: the owner's, while the machine does not run.
 */

/* What a machine must be like to take the state: sections "machine" and "topology". */
struct snapshot_machine {
	unsigned int cpus;
	struct cpu_topology topology;   /* of so many */
	uint64_t memory;                /* in bytes */
	/*
	 * What it was in when it was saved; running, if it was stopped only to be saved.  Else one
	 * that may follow inmigrate, and says why it does not run.
	 */
	enum run_state state;
	uint64_t tsc_khz;               /* 0: the host that saved it could not say */
	bool without_pdptrs;            /* of vCPUs in PAE paging: that host did not tell */
};
int snapshot_machine(struct sections *sections, struct snapshot_machine *machine,
		     struct error *err);
/* An error that says which option to use where a machine is another one in that. */
int snapshot_check_vcpus(const struct vm *vm, const struct snapshot_machine *machine,
			 struct error *err);

/*
 * Collects everything that a machine has: vCPUs, interrupt controllers, PIT, clock, devices.  No
 * state is set in the kernel, but that a PIT in use stops ticking until the machine goes on; and
 * saving the same stopped machine twice gives the same bytes, for what the kernel moves meanwhile
 * is taken as of the stop (of a machine that has never run, as of its first save: its clock stands
 * still from there on).  vCPUs whose APIC timer may have expired
 * unseen go through KVM_RUN for a moment, without their guests being entered (vcpu_settle()).
 * `state` goes into the section "machine"; one that speaks of the saving itself is taken for paused.
 */
int snapshot_collect(struct vm *vm, enum run_state state, struct sections *sections,
		     struct error *err);

/*
 * Puts state into a machine that has never run, of the same topology and the same memory.
 * RAM must be there already: the kernel looks into it when it is given vCPUs.
 *
 * Loads edit, then one hook per vCPU writes it (vcpu_state_after_load()).  All sections of the
 * machine itself are checked before anything is set anywhere, and refused are also required ones
 * that nobody knows; a failure after that leaves a machine that can only be destroyed.  Clock and
 * PIT are set when the machine first goes on, so that they stand still until then.
 *
 * `force`: what the guest saw and this host lacks is a warning instead of an error, as far as one
 * can do without: processor features, MSRs, the TSC's frequency, the clock.
 */
int snapshot_apply(struct vm *vm, struct sections *sections, bool force, struct error *err);

#endif
