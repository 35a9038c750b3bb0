/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdlib.h>

#include "monitor/hmp_internal.h"
#include "vmm/nested.h"
#include "vmm/vcpu_space.h"

#define APICBASE_X2APIC (1ULL << 10)

/* What info registers shows, as of one moment. */
struct registers_copy {
	struct kvm_regs regs;
	struct kvm_sregs2 sregs;
	struct kvm_debugregs debugregs;
	struct kvm_fpu fpu;
	struct hmp_vectors vectors;
	bool halted, smm, inhibit_irq, has_debugregs, has_vectors;
};

#define REGISTERS_MASK \
	(1u << SUBSTATE_REGS | 1u << SUBSTATE_SREGS | 1u << SUBSTATE_XCRS | 1u << SUBSTATE_XSAVE | \
	 1u << SUBSTATE_EVENTS | 1u << SUBSTATE_MP_STATE | 1u << SUBSTATE_DEBUGREGS)

static uint64_t xcr0(const struct kvm_xcrs *xcrs)
{
	for (unsigned int i = 0; i < xcrs->nr_xcrs && i < KVM_MAX_XCRS; i++)
		if (xcrs->xcrs[i].xcr == 0)
			return xcrs->xcrs[i].value;
	return 0;
}

/* Copies what REGISTERS_MASK has fetched; where the host lacks a substate its part stays zero. */
static int copy_registers(struct vm *vm, int index, struct registers_copy *copy, struct error *err)
{
	struct vcpu_state *s = &vm->vcpu[index].state;
	const struct kvm_vcpu_events *events;
	const struct kvm_mp_state *mp_state;
	const struct kvm_debugregs *debugregs;
	const struct kvm_xsave *xsave;
	const struct kvm_xcrs *xcrs;
	const struct kvm_cpuid2 *supported;

	copy->regs = *vcpu_state_regs(s, NULL);
	copy->sregs = *vcpu_state_sregs(s, NULL);
	if (vcpu_state_fpu(s, &copy->fpu, err) == -1)
		return -1;
	events = vcpu_state_events(s, NULL);
	if (events) {
		copy->smm = events->smi.smm;
		copy->inhibit_irq = events->interrupt.shadow;
	}
	mp_state = vcpu_state_mp_state(s, NULL);
	copy->halted = mp_state && mp_state->mp_state == KVM_MP_STATE_HALTED;
	debugregs = vcpu_state_debugregs(s, NULL);
	if (debugregs) {
		copy->debugregs = *debugregs;
		copy->has_debugregs = true;
	}
	xcrs = vcpu_state_xcrs(s, NULL);
	xsave = vcpu_state_xsave(s, NULL);
	if (xcrs && xsave) {
		supported = kvm_supported_cpuid(vm->kvm, err);
		if (!supported)
			return -1;
		hmp_vectors_init(&copy->vectors, xcr0(xcrs), xsave,
				 vm->kvm->caps.xsave_size ? vm->kvm->caps.xsave_size :
							    sizeof(*xsave),
				 supported);
		copy->has_vectors = true;
	}
	return 0;
}

static void print_copy(struct text *out, int cpu, const struct registers_copy *copy)
{
	struct hmp_registers r = {
		.regs = &copy->regs,
		.sregs = &copy->sregs,
		.debugregs = copy->has_debugregs ? &copy->debugregs : NULL,
		.fpu = &copy->fpu,
		.vectors = copy->has_vectors ? &copy->vectors : NULL,
		.halted = copy->halted,
		.smm = copy->smm,
		.inhibit_irq = copy->inhibit_irq,
	};

	hmp_print_registers(out, cpu, &r);
}

/* All vCPUs of a request are parked together, and shown as they were at that moment. */
static void print_registers(struct hmp *hmp, int index)
{
	unsigned int first = index < 0 ? 0 : index, n = index < 0 ? hmp->vm->nr_vcpus : 1, i;
	struct registers_copy *copy = calloc(n, sizeof(*copy));
	struct error err;
	int ret = 0;

	if (!copy) {
		text_printf(hmp->out, "Error: no memory for the registers of %u vCPUs\n", n);
		return;
	}
	if (hmp_inspect_begin(hmp, index, REGISTERS_MASK) == -1)
		goto out;
	for (i = 0; i < n && ret == 0; i++)
		ret = copy_registers(hmp->vm, first + i, &copy[i], &err);
	vm_inspect_end(hmp->vm);
	if (ret == -1)
		hmp_print_error(hmp, &err);
	for (i = 0; i < n && ret == 0; i++)
		print_copy(hmp->out, first + i, &copy[i]);
out:
	free(copy);
}

/* "[-a|vcpu]": the current one, another, or all of them. */
static void with_vcpus(struct hmp *hmp, const struct hmp_args *args,
		       void (*print)(struct hmp *hmp, int index))
{
	if (hmp_has_flag(args, 'a'))
		print(hmp, -1);
	else if (!args->has_index)
		print(hmp, hmp->cpu);
	else if (args->index < hmp->vm->nr_vcpus)
		print(hmp, args->index);
	else
		text_printf(hmp->out, "CPU#%d not available\n", (int)args->index);
}

void hmp_info_registers(struct hmp *hmp, const struct hmp_args *args)
{
	with_vcpus(hmp, args, print_registers);
}

void hmp_print_nested(struct text *out, int cpu, const struct kvm_nested_state *nested)
{
	const char *format = nested_format_name(nested->format);
	struct nested_summary n;

	nested_summarize(nested, &n);
	text_printf(out, "CPU#%d %s guest-mode=%d run-pending=%d nested-paging=%d", cpu,
		    format ? format : "unknown", n.guest_mode, n.run_pending, n.nested_paging);
	if (nested->format == KVM_STATE_NESTED_FORMAT_SVM)
		text_printf(out, " GIF=%d", n.gif);
	if (n.mtf_pending || n.smm_vmxon)
		text_printf(out, " MTF=%d SMM-VMXON=%d SMM-guest-mode=%d", n.mtf_pending,
			    n.smm_vmxon, n.smm_guest_mode);
	if (n.has_vmxon)
		text_printf(out, " VMXON=%016" PRIx64, n.vmxon_pa);
	if (n.has_control_block)
		text_printf(out, " %s=%016" PRIx64,
			    n.format == KVM_STATE_NESTED_FORMAT_SVM ? "VMCB" : "VMCS12",
			    n.control_block_pa);
	text_printf(out, "\n");
}

static void print_nested(struct hmp *hmp, int index)
{
	int first = index < 0 ? 0 : index;
	int end = index < 0 ? (int)hmp->vm->nr_vcpus : index + 1;

	if (!vcpu_state_offers(&hmp->vm->vcpu[first].state, SUBSTATE_NESTED)) {
		text_printf(hmp->out, "this host's KVM does not let guests have guests\n");
		return;
	}
	if (hmp_inspect_begin(hmp, index, 1u << SUBSTATE_NESTED) == -1)
		return;
	for (int i = first; i < end; i++)
		hmp_print_nested(hmp->out, i, vcpu_state_nested(&hmp->vm->vcpu[i].state, NULL));
	vm_inspect_end(hmp->vm);
}

void hmp_info_nested(struct hmp *hmp, const struct hmp_args *args)
{
	with_vcpus(hmp, args, print_nested);
}

/* The tables are walked with the vCPU parked, while CR3 is what it goes by. */
static void with_page_space(struct hmp *hmp,
			    void (*print)(struct text *out, const struct page_space *space))
{
	struct page_space space;

	if (hmp_inspect_begin(hmp, hmp->cpu, VCPU_PAGE_SPACE) == -1)
		return;
	vcpu_page_space(&hmp->vm->vcpu[hmp->cpu].state, &hmp->vm->memory, &space, NULL);
	print(hmp->out, &space);
	vm_inspect_end(hmp->vm);
}

void hmp_info_tlb(struct hmp *hmp, const struct hmp_args *args)
{
	(void)args;
	with_page_space(hmp, hmp_print_tlb);
}

void hmp_info_mem(struct hmp *hmp, const struct hmp_args *args)
{
	(void)args;
	with_page_space(hmp, hmp_print_mem);
}

void hmp_info_lapic(struct hmp *hmp, const struct hmp_args *args)
{
	int index = args->has_index ? (int)args->index : hmp->cpu;
	const struct kvm_lapic_state *regs;
	struct kvm_lapic_state lapic;
	struct vcpu_state *s;
	struct error err;
	bool x2apic;

	if (args->has_index && args->index >= hmp->vm->nr_vcpus) {
		text_printf(hmp->out, "No CPU available\n");
		return;
	}
	if (hmp_inspect_begin(hmp, index, 1u << SUBSTATE_LAPIC | 1u << SUBSTATE_SREGS) == -1)
		return;
	s = &hmp->vm->vcpu[index].state;
	x2apic = vcpu_state_sregs(s, NULL)->apic_base & APICBASE_X2APIC;
	regs = vcpu_state_lapic(s, &err);
	if (regs)
		lapic = *regs;
	vm_inspect_end(hmp->vm);
	if (regs)
		hmp_print_lapic(hmp->out, index, &lapic, x2apic);
	else
		hmp_print_error(hmp, &err);
}
