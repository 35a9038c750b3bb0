/* SPDX-License-Identifier: MIT */
#include "vmm/snapshot/snapshot_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/dev/machine_devices.h"
#include "vmm/log.h"
#include "vmm/vm_internal.h"

#define MACHINE_VERSION 1
#define VCPU_VERSION    1
#define TOPOLOGY_VERSION 1

/*
 * Section "machine": KVM features in effect, which the meaning of events depends on; and that one
 * was missing which there was a need of.
 */
#define FEATURE_EXCEPTION_PAYLOAD (1U << 0)
#define FEATURE_TRIPLE_FAULT      (1U << 1)
#define FEATURE_WITHOUT_PDPTRS    (1U << 2)
#define FEATURES (FEATURE_EXCEPTION_PAYLOAD | FEATURE_TRIPLE_FAULT | FEATURE_WITHOUT_PDPTRS)

/* Section "machine": run states as they are saved. */
static const enum run_state saved_states[] = {
	RUN_STATE_PAUSED, RUN_STATE_RUNNING, RUN_STATE_PRELAUNCH, RUN_STATE_SHUTDOWN,
	RUN_STATE_SUSPENDED, RUN_STATE_WATCHDOG, RUN_STATE_GUEST_PANICKED,
	RUN_STATE_INTERNAL_ERROR, RUN_STATE_IO_ERROR,
};

#define SAVED_STATES (sizeof(saved_states) / sizeof(saved_states[0]))

/* By how much a TSC may be off without being scaled: KVM's own tolerance, in millionths. */
#define TSC_TOLERANCE_PPM 250

/* ---- The section "machine" ---- */

/* Paused, for those that say nothing about the machine but that it has been saved before. */
static uint8_t state_to_save(enum run_state state)
{
	for (uint8_t i = 0; i < SAVED_STATES; i++)
		if (saved_states[i] == state)
			return i;
	return 0;
}

/* Whether there are PDPTRs, of vCPUs in PAE paging, which this host's KVM does not tell. */
static int find_missing_pdptrs(struct vm *vm, bool *missing, struct error *err)
{
	*missing = false;
	for (unsigned int i = 0; i < vm->nr_vcpus && !*missing; i++) {
		const struct kvm_sregs2 *sregs = vcpu_state_sregs(&vm->vcpu[i].state, err);

		if (!sregs)
			return -1;
		*missing = vcpu_sregs_use_pdptrs(sregs) &&
			   !(sregs->flags & KVM_SREGS2_FLAGS_PDPTRS_VALID);
	}
	if (*missing && !vm->pdptrs_warned)
		log_warning("vCPUs are in PAE paging, and this host's KVM does not tell their "
			    "PDPTRs (KVM_CAP_SREGS2): snapshots have them as guest memory does");
	vm->pdptrs_warned |= *missing;
	return 0;
}

static int save_machine(struct vm *vm, enum run_state state, struct sections *sections,
			struct error *err)
{
	const struct kvm_caps *caps = &vm->kvm->caps;
	struct bytes_out *out = sections_add(sections, "machine", MACHINE_VERSION, true, err);
	bool without_pdptrs;
	uint32_t khz;

	if (!out || vm_tsc_khz(vm, &khz, err) < 0 ||
	    find_missing_pdptrs(vm, &without_pdptrs, err) < 0)
		return -1;
	bytes_put_u32(out, vm->nr_vcpus);
	bytes_put_u64(out, vm->memory.size);
	bytes_put_u8(out, state_to_save(state));
	bytes_put_u64(out, khz);
	bytes_put_u32(out, (caps->exception_payload ? FEATURE_EXCEPTION_PAYLOAD : 0) |
			   (caps->triple_fault_event ? FEATURE_TRIPLE_FAULT : 0) |
			   (without_pdptrs ? FEATURE_WITHOUT_PDPTRS : 0));
	return 0;
}

/*
 * Left out where it is what a reader takes it to be then; where it is not, nobody can do without,
 * because APIC ids come of it.
 */
static int save_topology(const struct vm *vm, struct sections *sections, struct error *err)
{
	const struct cpu_topology *topology = &vm->topology;
	const struct cpu_topology default_topology = cpu_topology_of_cores(vm->nr_vcpus);
	struct bytes_out *out;

	if (cpu_topology_equal(topology, &default_topology))
		return 0;
	out = sections_add(sections, "topology", TOPOLOGY_VERSION, true, err);
	if (!out)
		return -1;
	bytes_put_u32(out, topology->sockets);
	bytes_put_u32(out, topology->dies);
	bytes_put_u32(out, topology->cores);
	bytes_put_u32(out, topology->threads);
	return 0;
}

static int read_topology(struct sections *sections, struct snapshot_machine *machine,
			 struct error *err)
{
	struct cpu_topology *topology = &machine->topology;
	const uint32_t max = CPU_TOPOLOGY_MAX_CPUS;
	struct bytes_in in;
	int version = sections_claim(sections, "topology", TOPOLOGY_VERSION, &in, err);

	if (version < 0)
		return -1;
	if (version == 0) {
		*topology = cpu_topology_of_cores(machine->cpus);
		return 0;
	}
	topology->sockets = bytes_get_u32(&in);
	topology->dies = bytes_get_u32(&in);
	topology->cores = bytes_get_u32(&in);
	topology->threads = bytes_get_u32(&in);
	if (bytes_in_end(&in, "section \"topology\"", err) < 0)
		return -1;
	/* So that their product can be formed. */
	if (topology->sockets > max || topology->dies > max || topology->cores > max ||
	    topology->threads > max ||
	    (uint64_t)topology->sockets * topology->dies * topology->cores * topology->threads !=
	    machine->cpus)
		return error_set(err, EINVAL, "section \"topology\" has not the %u vCPUs of the "
				 "machine", machine->cpus);
	return 0;
}

int snapshot_machine(struct sections *sections, struct snapshot_machine *machine,
		     struct error *err)
{
	struct bytes_in in;
	int version = sections_claim(sections, "machine", MACHINE_VERSION, &in, err);
	uint32_t features;
	uint8_t state;

	if (version < 0)
		return -1;
	if (version == 0)
		return error_set(err, EINVAL, "the snapshot has no section \"machine\"");
	machine->cpus = bytes_get_u32(&in);
	machine->memory = bytes_get_u64(&in);
	state = bytes_get_u8(&in);
	machine->tsc_khz = bytes_get_u64(&in);
	features = bytes_get_u32(&in);
	if (bytes_in_end(&in, "section \"machine\"", err) < 0)
		return -1;
	if (state >= SAVED_STATES)
		return error_set(err, ENOTSUP, "the snapshot is of a machine in a run state that "
				 "this vmond does not know: %u", state);
	machine->state = saved_states[state];
	machine->without_pdptrs = features & FEATURE_WITHOUT_PDPTRS;
	if (features & ~FEATURES)
		return error_set(err, ENOTSUP, "the snapshot is of a machine with KVM features "
				 "that this vmond does not know: 0x%" PRIx32, features);
	return read_topology(sections, machine, err);
}

int snapshot_check_vcpus(const struct vm *vm, const struct snapshot_machine *machine,
			 struct error *err)
{
	char text[CPU_TOPOLOGY_TEXT], own[CPU_TOPOLOGY_TEXT];
	const struct cpu_topology of_cores = cpu_topology_of_cores(machine->cpus);

	if (cpu_topology_equal(&machine->topology, &vm->topology))
		return 0;
	if (cpu_topology_equal(&machine->topology, &of_cores) && machine->cpus != vm->nr_vcpus)
		return error_set(err, EINVAL, "the state is of a machine with %u vCPUs, and this one "
				 "has %u: start it with --cpus %u", machine->cpus, vm->nr_vcpus,
				 machine->cpus);
	return error_set(err, EINVAL, "the state is of a machine with --smp %s, and this one has %s: "
			 "start it with the former",
			 cpu_topology_text(&machine->topology, text),
			 cpu_topology_text(&vm->topology, own));
}

static int check_machine(const struct vm *vm, const struct snapshot_machine *machine,
			 struct error *err)
{
	if (snapshot_check_vcpus(vm, machine, err) < 0)
		return -1;
	if (machine->memory != vm->memory.size)
		return error_set(err, EINVAL, "the snapshot is of a machine with %" PRIu64 " bytes "
				 "of memory, and this one has %" PRIu64, machine->memory,
				 vm->memory.size);
	return 0;
}

/* ---- Collecting ---- */

static int save_vcpus(struct vm *vm, struct sections *sections, struct error *err)
{
	for (unsigned int i = 0; i < vm->nr_vcpus; i++) {
		char name[SECTION_NAME_MAX + 1];
		struct bytes_out *out;

		snprintf(name, sizeof(name), "vcpu/%u", i);
		out = sections_add(sections, name, VCPU_VERSION, true, err);
		if (!out || snapshot_save_vcpu(&vm->vcpu[i], out, err) < 0)
			return -1;
	}
	return 0;
}

int snapshot_collect(struct vm *vm, enum run_state state, struct sections *sections,
		     struct error *err)
{
	if (vm_is_running(vm))
		return error_set(err, EBUSY, "the machine runs: its state can not be saved");
	vcpus_await(vm);
	/* One that has never run has had no stop: its time stands still from here on. */
	if (!vm->time_stopped)
		vm_time_stop(vm);
	if (vm_pit_halt(vm, err) < 0 || snapshot_freeze(vm, err) < 0 ||
	    save_machine(vm, state, sections, err) < 0 ||
	    save_topology(vm, sections, err) < 0 ||
	    snapshot_save_host(vm, sections, err) < 0 ||
	    snapshot_save_vm(vm, sections, err) < 0 || save_vcpus(vm, sections, err) < 0 ||
	    snapshot_save_xen(vm, sections, err) < 0 ||
	    vm_devices_save(vm->devices, sections, err) < 0)
		return -1;
	return sections_complete(sections, err);
}

/* ---- Applying ---- */

static int parse_vcpu(struct vm *vm, unsigned int i, struct sections *sections, bool same_host,
		      bool force, struct snapshot_vcpu *saved, struct error *err)
{
	char name[SECTION_NAME_MAX + 1];
	struct bytes_in in;
	int version;

	snprintf(name, sizeof(name), "vcpu/%u", i);
	version = sections_claim(sections, name, VCPU_VERSION, &in, err);
	if (version < 0)
		return -1;
	if (version == 0)
		return error_set(err, EINVAL, "the snapshot has no section \"%s\"", name);
	if (snapshot_parse_vcpu(&vm->vcpu[i], &in, force, saved, err) < 0 ||
	    snapshot_check_nested_format(&vm->vcpu[i], same_host, saved, err) < 0 ||
	    (!same_host &&
	     snapshot_check_cpuid(&vm->vcpu[i], saved->cpuid, force, err) < 0))
		return error_prefix(err, "section \"%s\"", name);
	return 0;
}

/*
 * Of vCPUs that are to have the host's own frequency nothing is written.  `*scaled` is set when some
 * are to have another.
 */
static int check_tsc_khz(struct vm *vm, const struct snapshot_machine *machine, bool force,
			 struct snapshot_vcpu *saved, bool *scaled, struct error *err)
{
	bool can_set = vm->kvm->caps.tsc_control;
	uint64_t host, off;
	uint32_t khz;

	*scaled = false;
	if (vm_tsc_khz(vm, &khz, err) < 0)
		return -1;
	host = khz;
	for (unsigned int i = 0; i < vm->nr_vcpus; i++) {
		uint64_t guest = saved[i].tsc_khz ? saved[i].tsc_khz : machine->tsc_khz;

		saved[i].tsc_khz = 0;
		if (!host || !guest || guest == host)
			continue;
		if (can_set && guest <= UINT32_MAX) {
			saved[i].tsc_khz = (uint32_t)guest;
			*scaled = true;
			continue;
		}
		off = guest > host ? guest - host : host - guest;
		if (off <= host / 1000000 * TSC_TOLERANCE_PPM)
			continue;
		if (!force)
			return error_set(err, ENOTSUP, "the guest's TSC runs at %" PRIu64 " kHz, "
					 "this host's at %" PRIu64 " kHz, and its KVM can not "
					 "change that (KVM_CAP_TSC_CONTROL)", guest, host);
		log_warning("vCPU %u: the TSC runs at %" PRIu64 " kHz from here on, not %" PRIu64, i,
			    host, guest);
	}
	if (*scaled)
		vm->host_tsc_khz = (uint32_t)host;
	return 0;
}

/*
 * The kernel writes the time to where the guest wants its wall clock as soon as the MSR is set, but
 * the guest, who reads it when it has asked for it, may have something else there by now.
 */
struct wall_clock {
	uint64_t gpa;
	uint8_t bytes[12];
	bool known;
};

static void keep_wall_clock(const struct vm *vm, const struct snapshot_vcpu *saved,
			    struct wall_clock *kept)
{
	kept->gpa = snapshot_wall_clock(saved);
	kept->known = kept->gpa && memory_read(&vm->memory, kept->gpa, kept->bytes,
					       sizeof(kept->bytes));
}

static void put_wall_clock_back(const struct vm *vm, const struct wall_clock *kept)
{
	if (kept->known)
		memory_write(&vm->memory, kept->gpa, kept->bytes, sizeof(kept->bytes));
}

/* What a TSC of offset 0 shows, at one moment for all, so that they keep their relations. */
static int read_tsc_base(struct vm *vm, uint64_t *base, uint64_t *host, struct error *err)
{
	struct vcpu_state *s = &vm->vcpu[0].state;

	/* Whether vCPUs have offsets is known once one was asked for. */
	if (vcpu_state_fetch(s, 1U << SUBSTATE_TSC_OFFSET, err) < 0)
		return -1;
	for (unsigned int i = 1; i < vm->nr_vcpus; i++)
		if (!vcpu_state_offers(s, SUBSTATE_TSC_OFFSET))
			vm->vcpu[i].state.offered &= ~(1U << SUBSTATE_TSC_OFFSET);
	return snapshot_tsc_base(&vm->vcpu[0], base, host, err);
}

static int load_vcpus(struct vm *vm, const struct snapshot_vcpu *saved, bool in_two_steps,
		      bool force, uint64_t *host_tsc, struct error *err)
{
	struct wall_clock kept;
	uint64_t base;

	for (unsigned int i = 0; i < vm->nr_vcpus; i++)
		if (snapshot_edit_processor(&vm->vcpu[i], &saved[i], err) < 0 ||
		    (in_two_steps && vcpu_state_after_load(&vm->vcpu[i].state, err) < 0))
			return -1;
	if (read_tsc_base(vm, &base, host_tsc, err) < 0)
		return -1;
	for (unsigned int i = 0; i < vm->nr_vcpus; i++) {
		struct vcpu *vcpu = &vm->vcpu[i];
		struct kvm_lapic_state lapic;
		uint64_t tsc;
		int rc;

		if (snapshot_edit_vcpu(vcpu, &saved[i], base, force, err) < 0)
			return -1;
		keep_wall_clock(vm, &saved[i], &kept);
		rc = vcpu_state_after_load(&vcpu->state, err);
		put_wall_clock_back(vm, &kept);
		if (rc < 0)
			return -1;
		memcpy(&lapic, saved[i].item[SNAPSHOT_LAPIC], sizeof(lapic));
		memcpy(&tsc, saved[i].item[SNAPSHOT_TSC], sizeof(tsc));
		snapshot_loaded_time(vcpu, tsc, &lapic);
	}
	return 0;
}

/*
 * Time and interrupt controllers first, and vCPUs last: what the controllers pass on to a LAPIC
 * when they are set is in the LAPIC's own saved state already, which then replaces it.
 */
static int load(struct vm *vm, struct sections *sections, bool force,
		const struct snapshot_vm *saved_vm, struct snapshot_vcpu *saved,
		struct xen_hvm **xen, bool scaled, struct error *err)
{
	uint64_t host_tsc;

	if (vm_devices_load(vm->devices, sections, err) < 0 || sections_all_known(sections, err) < 0)
		return -1;
	boot_ram_filled(vm->boot);
	if (snapshot_load_irqchips(vm, saved_vm, err) < 0 || snapshot_load_xen(vm, xen, err) < 0 ||
	    load_vcpus(vm, saved, scaled || force, force, &host_tsc, err) < 0)
		return -1;
	vm_time_load(vm, host_tsc, saved_vm->has_clock ? &saved_vm->clock : NULL,
		     saved_vm->has_pit ? &saved_vm->pit : NULL);
	vm_mark_stop(vm);
	return 0;
}

int snapshot_apply(struct vm *vm, struct sections *sections, bool force, struct error *err)
{
	struct snapshot_machine machine;
	struct snapshot_vm saved_vm;
	struct snapshot_vcpu *saved;
	struct xen_hvm *xen = NULL;
	int rc = 0, same_host;
	bool scaled;

	vcpus_await(vm);
	for (unsigned int i = 0; i < vm->nr_vcpus; i++)
		if (vm->vcpu[i].state.has_run || vm->vcpu[i].state.loaded)
			return error_set(err, EBUSY, "state can be loaded only into a machine that "
					 "has never run");
	if (snapshot_machine(sections, &machine, err) < 0 || check_machine(vm, &machine, err) < 0 ||
	    snapshot_parse_vm(vm, sections, force, &saved_vm, err) < 0)
		return -1;
	same_host = snapshot_same_host(vm, sections, err);
	if (same_host < 0)
		return -1;
	saved = calloc(vm->nr_vcpus, sizeof(*saved));
	if (!saved)
		return error_errno(err, ENOMEM, "the state of %u vCPUs", vm->nr_vcpus);
	for (unsigned int i = 0; rc == 0 && i < vm->nr_vcpus; i++)
		rc = parse_vcpu(vm, i, sections, same_host, force, &saved[i], err);
	if (rc == 0)
		rc = check_tsc_khz(vm, &machine, force, saved, &scaled, err);
	if (rc == 0)
		rc = snapshot_parse_xen(vm, sections, saved[0].cpuid, &xen, err);
	if (rc == 0)
		rc = load(vm, sections, force, &saved_vm, saved, &xen, scaled, err);
	xen_hvm_free(xen);
	if (rc == 0 && machine.without_pdptrs)
		log_warning("the snapshot is of a host whose KVM did not tell the PDPTRs of vCPUs "
			    "in PAE paging: they are those in guest memory now");
	for (unsigned int i = 0; i < vm->nr_vcpus; i++)
		snapshot_free_vcpu(&saved[i]);
	free(saved);
	return rc;
}
