/* SPDX-License-Identifier: MIT */
#include "tests/unit/fake_kvm_internal.h"

#include <errno.h>
#include <string.h>

#include "vmm/msr.h"

/*
 * A vCPU with guests of its own: x86.c, vmx/nested.c and svm/nested.c, as far as they have rules
 * about what is set, and in which order.
 */

#define NO_ADDRESS UINT64_MAX
#define MSR_IA32_SYSENTER_EIP 0x176

size_t fake_nested_size(const struct fake_kvm *fake)
{
	size_t size = (size_t)fake->cap[KVM_CAP_NESTED_STATE];

	return size > sizeof(struct kvm_nested_state) ? size : sizeof(struct kvm_nested_state);
}

static bool has_vmx(const struct fake_vcpu *v)
{
	return v->nested->format == KVM_STATE_NESTED_FORMAT_VMX;
}

/* In VMX operation, be it inside of a guest or not. */
static bool in_vmx(const struct fake_vcpu *v)
{
	return has_vmx(v) && v->nested->hdr.vmx.vmxon_pa != NO_ADDRESS;
}

static void turn_off(struct fake_vcpu *v)
{
	uint16_t format = v->nested->format;

	memset(v->nested, 0, fake_nested_size(v->fake));
	v->nested->size = sizeof(*v->nested);
	v->nested->format = format;
	if (has_vmx(v))
		v->nested->hdr.vmx.vmxon_pa = v->nested->hdr.vmx.vmcs12_pa = NO_ADDRESS;
	else
		v->nested->flags = KVM_STATE_NESTED_GIF_SET;
}

void fake_nested_power_on(struct fake_vcpu *v)
{
	v->nested = fake_alloc(fake_nested_size(v->fake));
	v->nested->format = v->fake->nested_format;
	turn_off(v);
}

/*
 * Out of an inner guest by force.  The outer one's state comes back: on VMX by a VM exit, which
 * loads what the control block has for the host; on SVM that which is kept in a control block at
 * all, and RIP and the like are not.
 */
static void leave_guest(struct fake_vcpu *v)
{
	struct fake_msr *msr = fake_vcpu_msr(v, MSR_IA32_SYSENTER_EIP);

	if (!(v->nested->flags & KVM_STATE_NESTED_GUEST_MODE))
		return;
	v->nested->flags &= (__u16)~KVM_STATE_NESTED_GUEST_MODE;
	v->sregs.gdt.base = v->sregs.idt.base = FAKE_OUTER;
	if (!has_vmx(v)) {
		v->regs.rflags = FAKE_OUTER | X86_RFLAGS_FIXED;
		return;
	}
	v->regs.rip = v->regs.rsp = v->sregs.cr3 = FAKE_OUTER;
	v->regs.rflags = X86_RFLAGS_FIXED;
	if (msr)
		msr->value = FAKE_OUTER;
}

/* vmx_is_valid_cr4() */
bool fake_nested_takes_cr4(const struct fake_vcpu *v, uint64_t cr4)
{
	return !in_vmx(v) || cr4 & X86_CR4_VMXE;
}

/* svm_set_efer(): in the middle of KVM_SET_SREGS, behind the descriptor tables. */
void fake_nested_efer_set(struct fake_vcpu *v)
{
	if (has_vmx(v) || v->sregs.efer & X86_EFER_SVME)
		return;
	leave_guest(v);
	turn_off(v);
}

/* vmx_set_vmx_msr() and what precedes it in x86.c; and IA32_FEATURE_CONTROL of vmx_set_msr(). */
bool fake_nested_takes_msr(struct fake_vcpu *v, const struct fake_msr *msr, uint64_t value)
{
	if (has_vmx(v) && msr->index == MSR_IA32_FEATURE_CONTROL && !value) {
		leave_guest(v);
		turn_off(v);
	}
	if (!msr_describes_vmx(msr->index) || (v->has_run && msr->value == value))
		return true;
	if (in_vmx(v))
		fake_violate(v->fake, FAKE_VMX_MSR_IN_VMX);
	return !in_vmx(v);
}

int fake_get_nested(const struct fake_object *o, void *arg)
{
	const struct kvm_nested_state *now = o->vcpu->nested;
	struct kvm_nested_state *nested = arg;

	if (nested->size < now->size) {
		nested->size = now->size;
		return -E2BIG;
	}
	memcpy(nested, now, now->size);
	return 0;
}

bool fake_same_nested(struct fake_vcpu *v, const void *arg)
{
	const struct kvm_nested_state *nested = arg;

	return nested->size == v->nested->size && !memcmp(nested, v->nested, nested->size);
}

static bool is_page(uint64_t address)
{
	return address % 4096 == 0 && address >> 52 == 0;
}

static bool valid_vmx(const struct kvm_nested_state *nested)
{
	const struct kvm_vmx_nested_state_hdr *vmx = &nested->hdr.vmx;

	if (vmx->smm.flags || vmx->flags & ~1U || nested->flags & KVM_STATE_NESTED_EVMCS)
		return false;
	if (vmx->vmxon_pa == NO_ADDRESS)
		return vmx->vmcs12_pa == NO_ADDRESS && !nested->flags;
	if (!is_page(vmx->vmxon_pa))
		return false;
	if (nested->size < sizeof(*nested) + KVM_STATE_NESTED_VMX_VMCS_SIZE)
		return vmx->vmcs12_pa == NO_ADDRESS &&
		       !(nested->flags & KVM_STATE_NESTED_GUEST_MODE);
	return is_page(vmx->vmcs12_pa) && vmx->vmcs12_pa != vmx->vmxon_pa;
}

static bool valid_svm(const struct fake_vcpu *v, const struct kvm_nested_state *nested)
{
	const unsigned int known = KVM_STATE_NESTED_GUEST_MODE | KVM_STATE_NESTED_RUN_PENDING |
				   KVM_STATE_NESTED_GIF_SET;

	if (nested->flags & ~known)
		return false;
	if (!(v->sregs.efer & X86_EFER_SVME) && nested->flags != KVM_STATE_NESTED_GIF_SET)
		return false;
	return !(nested->flags & KVM_STATE_NESTED_GUEST_MODE) ||
	       (is_page(nested->hdr.svm.vmcb_pa) &&
		nested->size >= sizeof(*nested) + KVM_STATE_NESTED_SVM_VMCB_SIZE);
}

/*
 * Restoring a vCPU in guest mode on VMX loads RIP, RSP and RFLAGS from the inner guest's VMCS, as a
 * VM entry would: general registers set before are lost.
 */
int fake_set_nested(const struct fake_object *o, void *arg)
{
	const struct kvm_nested_state *nested = arg;
	struct fake_vcpu *v = o->vcpu;
	bool vmx = nested->format == KVM_STATE_NESTED_FORMAT_VMX;
	bool guest_mode = nested->flags & KVM_STATE_NESTED_GUEST_MODE;

	if (nested->size < sizeof(*nested) || nested->size > fake_nested_size(v->fake) ||
	    nested->format != v->nested->format ||
	    (nested->flags & KVM_STATE_NESTED_RUN_PENDING && !guest_mode))
		return -EINVAL;
	if (guest_mode && !(vmx ? v->sregs.cr4 & X86_CR4_VMXE : v->sregs.efer & X86_EFER_SVME)) {
		fake_violate(v->fake, FAKE_NESTED_BEFORE_SREGS);
		return -EINVAL;
	}
	if (vmx ? !valid_vmx(nested) : !valid_svm(v, nested))
		return -EINVAL;
	leave_guest(v);
	turn_off(v);
	memcpy(v->nested, nested, nested->size);
	if (guest_mode && vmx) {
		const uint8_t *vmcs12 = (const uint8_t *)nested + sizeof(*nested);

		memcpy(&v->regs.rsp, vmcs12 + FAKE_VMCS12_RSP, 8);
		memcpy(&v->regs.rip, vmcs12 + FAKE_VMCS12_RIP, 8);
		memcpy(&v->regs.rflags, vmcs12 + FAKE_VMCS12_RFLAGS, 8);
	}
	return 0;
}
