/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdlib.h>

#include "config.h"
#include "monitor/hmp_internal.h"
#include "monitor/monitor_internal.h"

/* As QEMU had it before 6.0: where each vCPU stands, and whether it is halted. */
void hmp_info_cpus(struct hmp *hmp, const struct hmp_args *args)
{
	const uint32_t mask = 1u << SUBSTATE_REGS | 1u << SUBSTATE_SREGS | 1u << SUBSTATE_MP_STATE;
	unsigned int n = hmp->vm->nr_vcpus, i;
	struct { uint64_t pc; bool halted; } *at = calloc(n, sizeof(*at));

	(void)args;
	if (!at) {
		text_printf(hmp->out, "Error: no memory for the state of %u vCPUs\n", n);
		return;
	}
	if (hmp_inspect_begin(hmp, -1, mask) == -1)
		goto out;
	for (i = 0; i < n; i++) {
		struct vcpu_state *s = &hmp->vm->vcpu[i].state;
		const struct kvm_mp_state *mp_state = vcpu_state_mp_state(s, NULL);

		at[i].pc = vcpu_state_regs(s, NULL)->rip + vcpu_state_sregs(s, NULL)->cs.base;
		at[i].halted = mp_state && mp_state->mp_state == KVM_MP_STATE_HALTED;
	}
	vm_inspect_end(hmp->vm);
	for (i = 0; i < n; i++)
		text_printf(hmp->out, "%c CPU #%u: pc=0x%016" PRIx64 "%s thread_id=%d\n",
			    (int)i == hmp->cpu ? '*' : ' ', i, at[i].pc,
			    at[i].halted ? " (halted)" : "", (int)hmp->vm->vcpu[i].tid);
out:
	free(at);
}

void hmp_info_kvm(struct hmp *hmp, const struct hmp_args *args)
{
	(void)args;
	text_printf(hmp->out, "kvm support: enabled\n");
}

void hmp_info_name(struct hmp *hmp, const struct hmp_args *args)
{
	const char *name = monitor_name(hmp->monitor);

	(void)args;
	if (name)
		text_printf(hmp->out, "%s\n", name);
}

void hmp_info_uuid(struct hmp *hmp, const struct hmp_args *args)
{
	(void)args;
	text_printf(hmp->out, "%s\n", monitor_uuid(hmp->monitor));
}

void hmp_info_status(struct hmp *hmp, const struct hmp_args *args)
{
	enum run_state state = hmp->vm->state;

	(void)args;
	if (vm_is_running(hmp->vm))
		text_printf(hmp->out, "VM status: running\n");
	else if (state == RUN_STATE_PAUSED)
		text_printf(hmp->out, "VM status: paused\n");
	else
		text_printf(hmp->out, "VM status: paused (%s)\n", run_state_name(state));
}

void hmp_info_version(struct hmp *hmp, const struct hmp_args *args)
{
	(void)args;
	text_printf(hmp->out, "%d.%d.%dvmond-" PACKAGE_VERSION "\n", QEMU_VERSION_MAJOR,
		    QEMU_VERSION_MINOR, QEMU_VERSION_MICRO);
}

static const char *yes(uint32_t bits, unsigned int bit)
{
	return bits >> bit & 1 ? "yes" : "-";
}

static void print_substate(struct text *out, const struct vcpu *vcpu, enum vcpu_substate sub)
{
	struct vcpu_sync_counts counts = vcpu_sync_counts(vcpu, sub);

	text_printf(out, "%3d  %-15s  %-7s  %-5s %10" PRIu64 " %8" PRIu64 " %10" PRIu64 " %8" PRIu64
		    "\n", vcpu->index, vcpu_substate_name(sub), yes(vcpu->state.fetched, sub),
		    yes(vcpu->state.dirty, sub), counts.gets, counts.sets, counts.gets_since_stop,
		    counts.sets_since_stop);
}

/* Looks at the bookkeeping only: nothing is fetched, and no vCPU is parked for it. */
void hmp_info_vcpu_sync(struct hmp *hmp, const struct hmp_args *args)
{
	const struct vm *vm = hmp->vm;
	struct vm_sync_counts counts;

	(void)args;
	text_printf(hmp->out, "%55s  %18s\n%s\n", "since start", "since last stop",
		    "CPU  substate         fetched  dirty       gets     sets       gets     sets");
	for (unsigned int i = 0; i < vm->nr_vcpus; i++)
		for (unsigned int sub = 0; sub < SUBSTATE_COUNT; sub++)
			if (vcpu_state_offers(&vm->vcpu[i].state, sub))
				print_substate(hmp->out, &vm->vcpu[i], sub);
	vm_sync_counts(vm, &counts);
	text_printf(hmp->out, "KVM_SET calls since the last stop: %" PRIu64 " (vCPU), %" PRIu64
		    " (VM); clock policy: %" PRIu64 "\n", counts.vcpu_sets, counts.vm_sets,
		    counts.policy);
}
