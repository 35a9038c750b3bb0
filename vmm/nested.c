/* SPDX-License-Identifier: MIT */
#include "vmm/nested.h"

#include <errno.h>
#include <string.h>

#define EFER_SVME  (1ULL << 12)
#define NO_ADDRESS UINT64_MAX           /* what VMX has for a region that is not there */
#define PAGE_SIZE  4096
#define PHYS_BITS_MAX 52                /* Intel SDM vol. 3A, 4.1.4; AMD APM vol. 2, 5.1 */

#define VMX_FLAGS (KVM_STATE_NESTED_GUEST_MODE | KVM_STATE_NESTED_RUN_PENDING |                   \
		   KVM_STATE_NESTED_EVMCS | KVM_STATE_NESTED_MTF_PENDING)
#define SVM_FLAGS (KVM_STATE_NESTED_GUEST_MODE | KVM_STATE_NESTED_RUN_PENDING |                   \
		   KVM_STATE_NESTED_GIF_SET)
#define SMM_FLAGS (KVM_STATE_NESTED_SMM_GUEST_MODE | KVM_STATE_NESTED_SMM_VMXON)

const char *nested_format_name(uint16_t format)
{
	switch (format) {
	case KVM_STATE_NESTED_FORMAT_VMX:
		return "vmx";
	case KVM_STATE_NESTED_FORMAT_SVM:
		return "svm";
	default:
		return NULL;
	}
}

bool nested_is_off(const struct kvm_nested_state *nested)
{
	if (nested->size > sizeof(*nested))
		return false;
	if (nested->format == KVM_STATE_NESTED_FORMAT_VMX)
		return nested->hdr.vmx.vmxon_pa == NO_ADDRESS;
	return nested->flags == KVM_STATE_NESTED_GIF_SET;
}

void nested_turn_off(struct kvm_nested_state *nested, uint16_t format)
{
	memset(nested, 0, sizeof(*nested));
	nested->format = format;
	nested->size = sizeof(*nested);
	if (format == KVM_STATE_NESTED_FORMAT_VMX) {
		nested->hdr.vmx.vmxon_pa = NO_ADDRESS;
		nested->hdr.vmx.vmcs12_pa = NO_ADDRESS;
	} else {
		nested->flags = KVM_STATE_NESTED_GIF_SET;
	}
}

static int check_page(const char *name, uint64_t address, struct error *err)
{
	if (address % PAGE_SIZE || address >> PHYS_BITS_MAX)
		return error_set(err, EINVAL, "the nested state's %s is at 0x%llx, which is not the "
				 "address of a page", name, (unsigned long long)address);
	return 0;
}

static int check_vmx(const struct kvm_nested_state *nested, struct error *err)
{
	const struct kvm_vmx_nested_state_hdr *vmx = &nested->hdr.vmx;
	bool guest_mode = nested->flags & KVM_STATE_NESTED_GUEST_MODE;
	size_t data = nested->size - sizeof(*nested);

	if (vmx->smm.flags & ~SMM_FLAGS || vmx->flags & ~KVM_STATE_VMX_PREEMPTION_TIMER_DEADLINE)
		return error_set(err, ENOTSUP, "the nested state has flags for VMX that this vmond "
				 "does not know: 0x%x, and 0x%x for SMM", vmx->flags, vmx->smm.flags);
	if (nested->flags & KVM_STATE_NESTED_EVMCS && vmx->vmxon_pa != NO_ADDRESS)
		return error_set(err, ENOTSUP, "the nested state is in an enlightened VMCS, which "
				 "vmond does not enable");
	if (vmx->vmxon_pa == NO_ADDRESS) {
		if (guest_mode || vmx->smm.flags || vmx->vmcs12_pa != NO_ADDRESS)
			return error_set(err, EINVAL, "the nested state has a VMCS or a guest, and "
					 "no VMXON region");
		return 0;
	}
	if (check_page("VMXON region", vmx->vmxon_pa, err) < 0)
		return -1;
	if (vmx->smm.flags == KVM_STATE_NESTED_SMM_GUEST_MODE ||
	    (guest_mode && vmx->smm.flags & KVM_STATE_NESTED_SMM_GUEST_MODE))
		return error_set(err, EINVAL, "the nested state contradicts itself about SMM: flags "
				 "0x%x, and 0x%x for SMM", nested->flags, vmx->smm.flags);
	if (vmx->vmcs12_pa == NO_ADDRESS) {
		if (guest_mode || data)
			return error_set(err, EINVAL, "the nested state has a guest, or %zu bytes "
					 "of one, and no VMCS", data);
		return 0;
	}
	if (check_page("VMCS", vmx->vmcs12_pa, err) < 0)
		return -1;
	if (vmx->vmcs12_pa == vmx->vmxon_pa)
		return error_set(err, EINVAL, "the nested state has its VMCS and its VMXON region "
				 "both at 0x%llx", (unsigned long long)vmx->vmcs12_pa);
	if (data != KVM_STATE_NESTED_VMX_VMCS_SIZE && data != 2 * KVM_STATE_NESTED_VMX_VMCS_SIZE)
		return error_set(err, EINVAL, "the nested state has %zu bytes for a VMCS and its "
				 "shadow, of %d each", data, KVM_STATE_NESTED_VMX_VMCS_SIZE);
	return 0;
}

static int check_svm(const struct kvm_nested_state *nested, uint64_t efer, struct error *err)
{
	bool guest_mode = nested->flags & KVM_STATE_NESTED_GUEST_MODE;
	size_t data = nested->size - sizeof(*nested);

	if (!(efer & EFER_SVME) && nested->flags != KVM_STATE_NESTED_GIF_SET)
		return error_set(err, EINVAL, "the nested state has flags 0x%x, and EFER.SVME is "
				 "clear", nested->flags);
	if (data != (guest_mode ? KVM_STATE_NESTED_SVM_VMCB_SIZE : 0))
		return error_set(err, EINVAL, "the nested state has %zu bytes for the VMCB of %s",
				 data, guest_mode ? "its guest" : "no guest");
	return guest_mode ? check_page("VMCB", nested->hdr.svm.vmcb_pa, err) : 0;
}

int nested_check(const struct kvm_nested_state *nested, size_t len, uint64_t efer,
		 struct error *err)
{
	bool vmx = nested->format == KVM_STATE_NESTED_FORMAT_VMX;
	unsigned int known = vmx ? VMX_FLAGS : SVM_FLAGS;

	if (nested->size != len)
		return error_set(err, EINVAL, "the nested state has %zu bytes, and says that it has "
				 "%u", len, nested->size);
	if (!nested_format_name(nested->format))
		return error_set(err, ENOTSUP, "the nested state has a format that this vmond does "
				 "not know: %u", nested->format);
	if (nested->flags & ~known)
		return error_set(err, ENOTSUP, "the nested state has flags that this vmond does not "
				 "know for %s: 0x%x", nested_format_name(nested->format),
				 nested->flags);
	if (nested->flags & (KVM_STATE_NESTED_RUN_PENDING | KVM_STATE_NESTED_MTF_PENDING) &&
	    !(nested->flags & KVM_STATE_NESTED_GUEST_MODE))
		return error_set(err, EINVAL, "the nested state has something pending for a guest "
				 "that is not entered: flags 0x%x", nested->flags);
	return vmx ? check_vmx(nested, err) : check_svm(nested, efer, err);
}
