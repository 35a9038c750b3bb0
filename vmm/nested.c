/* SPDX-License-Identifier: MIT */
#include "vmm/nested.h"

#include <errno.h>
#include <string.h>

#define EFER_SVME  (1ULL << 12)
#define NO_ADDRESS UINT64_MAX           /* what VMX has for a region that is not there */
#define PAGE_SIZE  4096
#define PHYS_BITS_MAX 52                /* Intel SDM vol. 3A, 4.1.4; AMD APM vol. 2, 5.1 */

/* Of KVM's struct vmcs12, with a layout that is fixed (vmx_check_vmcs12_offsets()); SDM, 24.6. */
#define VMCS12_EPT_POINTER  120
#define VMCS12_CPU_BASED    748
#define VMCS12_SECONDARY    804
#define CPU_BASED_SECONDARY (1U << 31)
#define SECONDARY_EPT       (1U << 1)
#define EPTP_LEVELS(eptp)   (((eptp) >> 3 & 7) + 1)

/* Of a VMCB: AMD APM vol. 2, appendix B. */
#define VMCB_NP_ENABLE  0x090
#define VMCB_NESTED_CR3 0x0b0
#define VMCB_EFER       0x4d0
#define VMCB_CR4        0x548
#define NP_ENABLE       1

#define CR0_PG   (1ULL << 31)
#define CR4_PAE  (1ULL << 5)
#define CR4_LA57 (1ULL << 12)
#define EFER_LMA (1ULL << 10)

#define VMX_FLAGS (KVM_STATE_NESTED_GUEST_MODE | KVM_STATE_NESTED_RUN_PENDING |                   \
		   KVM_STATE_NESTED_EVMCS | KVM_STATE_NESTED_MTF_PENDING)
#define SVM_FLAGS (KVM_STATE_NESTED_GUEST_MODE | KVM_STATE_NESTED_RUN_PENDING |                   \
		   KVM_STATE_NESTED_GIF_SET)

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

/* A number in the data behind the header, 0 where that does not reach so far. */
static uint64_t data_at(const struct kvm_nested_state *nested, size_t offset, size_t size)
{
	uint64_t value = 0;

	if (nested->size >= sizeof(*nested) + offset + size)
		memcpy(&value, (const uint8_t *)nested + sizeof(*nested) + offset, size);
	return value;
}

/*
 * Of the outer guest's state KVM gives all of what VMRUN has saved (svm_get_nested_state()).  There
 * is no VMRUN without paging.
 */
static void svm_tables(const struct kvm_nested_state *nested, struct kvm_sregs2 *outer)
{
	outer->cr0 = CR0_PG;
	outer->cr4 = data_at(nested, VMCB_CR4, 8);
	outer->efer = data_at(nested, VMCB_EFER, 8);
	outer->cr3 = data_at(nested, VMCB_NESTED_CR3, 8);
}

/* An EPTP is like a CR3 of 4-level or 5-level paging, which it has a number for. */
static void vmx_tables(const struct kvm_nested_state *nested, struct kvm_sregs2 *outer)
{
	uint64_t eptp = data_at(nested, VMCS12_EPT_POINTER, 8);

	outer->cr0 = CR0_PG;
	outer->cr4 = CR4_PAE | (EPTP_LEVELS(eptp) == 5 ? CR4_LA57 : 0);
	outer->efer = EFER_LMA;
	outer->cr3 = eptp;
}

bool nested_tables(const struct kvm_nested_state *nested, bool *ept, struct kvm_sregs2 *outer)
{
	struct nested_summary summary;

	nested_summarize(nested, &summary);
	if (!summary.nested_paging)
		return false;
	memset(outer, 0, sizeof(*outer));
	*ept = nested->format == KVM_STATE_NESTED_FORMAT_VMX;
	if (*ept)
		vmx_tables(nested, outer);
	else
		svm_tables(nested, outer);
	return true;
}

static bool vmx_has_ept(const struct kvm_nested_state *nested)
{
	return data_at(nested, VMCS12_CPU_BASED, 4) & CPU_BASED_SECONDARY &&
	       data_at(nested, VMCS12_SECONDARY, 4) & SECONDARY_EPT;
}

void nested_summarize(const struct kvm_nested_state *nested, struct nested_summary *summary)
{
	const struct kvm_vmx_nested_state_hdr *vmx = &nested->hdr.vmx;
	bool guest_mode = nested->flags & KVM_STATE_NESTED_GUEST_MODE;

	*summary = (struct nested_summary) {
		.format = nested->format,
		.guest_mode = guest_mode,
		.run_pending = nested->flags & KVM_STATE_NESTED_RUN_PENDING,
	};
	if (nested->format == KVM_STATE_NESTED_FORMAT_VMX) {
		summary->nested_paging = guest_mode && vmx_has_ept(nested);
		summary->mtf_pending = nested->flags & KVM_STATE_NESTED_MTF_PENDING;
		summary->smm_vmxon = vmx->smm.flags & KVM_STATE_NESTED_SMM_VMXON;
		summary->smm_guest_mode = vmx->smm.flags & KVM_STATE_NESTED_SMM_GUEST_MODE;
		summary->has_vmxon = vmx->vmxon_pa != NO_ADDRESS;
		summary->vmxon_pa = vmx->vmxon_pa;
		summary->has_control_block = vmx->vmcs12_pa != NO_ADDRESS;
		summary->control_block_pa = vmx->vmcs12_pa;
	} else {
		summary->nested_paging = guest_mode &&
					 data_at(nested, VMCB_NP_ENABLE, 8) & NP_ENABLE;
		summary->gif = nested->flags & KVM_STATE_NESTED_GIF_SET;
		summary->has_control_block = guest_mode;
		summary->control_block_pa = nested->hdr.svm.vmcb_pa;
	}
}

static int check_page(const char *name, uint64_t address, struct error *err)
{
	if (address % PAGE_SIZE || address >> PHYS_BITS_MAX)
		return error_set(err, EINVAL, "the nested state's %s is at 0x%llx, which is not "
				 "the address of a page", name, (unsigned long long)address);
	return 0;
}

static int check_vmx(const struct kvm_nested_state *nested, struct error *err)
{
	const struct kvm_vmx_nested_state_hdr *vmx = &nested->hdr.vmx;
	bool guest_mode = nested->flags & KVM_STATE_NESTED_GUEST_MODE;
	size_t data = nested->size - sizeof(*nested);

	if (vmx->flags & ~KVM_STATE_VMX_PREEMPTION_TIMER_DEADLINE)
		return error_set(err, ENOTSUP, "the nested state has flags for VMX that this vmond "
				 "does not know: 0x%x", vmx->flags);
	/* KVM takes these of a vCPU in SMM, which it is told of only behind this. */
	if (vmx->smm.flags)
		return error_set(err, ENOTSUP, "the nested state is that of an SMI in VMX "
				 "operation, and can not be restored: flags 0x%x for SMM",
				 vmx->smm.flags);
	if (nested->flags & KVM_STATE_NESTED_EVMCS && vmx->vmxon_pa != NO_ADDRESS)
		return error_set(err, ENOTSUP, "the nested state is in an enlightened VMCS, which "
				 "vmond does not enable");
	if (vmx->vmxon_pa == NO_ADDRESS) {
		if (guest_mode || vmx->vmcs12_pa != NO_ADDRESS)
			return error_set(err, EINVAL, "the nested state has a VMCS or a guest, and "
					 "no VMXON region");
		return 0;
	}
	if (check_page("VMXON region", vmx->vmxon_pa, err) < 0)
		return -1;
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
		return error_set(err, EINVAL, "the nested state has %zu bytes, and says that it "
				 "has %u", len, nested->size);
	if (!nested_format_name(nested->format))
		return error_set(err, ENOTSUP, "the nested state has a format that this vmond does "
				 "not know: %u", nested->format);
	if (nested->flags & ~known)
		return error_set(err, ENOTSUP, "the nested state has flags that this vmond does "
				 "not know for %s: 0x%x", nested_format_name(nested->format),
				 nested->flags);
	if (nested->flags & (KVM_STATE_NESTED_RUN_PENDING | KVM_STATE_NESTED_MTF_PENDING) &&
	    !(nested->flags & KVM_STATE_NESTED_GUEST_MODE))
		return error_set(err, EINVAL, "the nested state has something pending for a guest "
				 "that is not entered: flags 0x%x", nested->flags);
	return vmx ? check_vmx(nested, err) : check_svm(nested, efer, err);
}
