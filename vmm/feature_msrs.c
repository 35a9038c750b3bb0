/* SPDX-License-Identifier: MIT */
#include "vmm/feature_msrs.h"

#include <errno.h>
#include <stdlib.h>

#include "vmm/cpu_features.h"
#include "vmm/log.h"

/* KVM_GET_MSRS takes fewer than this at once (MAX_IO_MSRS in arch/x86/kvm/x86.c). */
#define MSRS_MAX 255

/* Reads a run of MSRs into the end of *msrs; the kernel stops at the first that it can not read. */
static int read_some(struct kvm *kvm, struct kvm_msrs *batch, struct feature_msrs *msrs,
		     struct error *err)
{
	int rc = kvm_call(&kvm->sys, KVM_REQ_GET_MSRS, batch, err);

	if (rc < 0)
		return error_prefix(err, "what KVM supports");
	for (int i = 0; i < rc && (uint32_t)i < batch->nmsrs; i++)
		msrs->msr[msrs->count++] = (struct feature_msr) {
			batch->entries[i].index, batch->entries[i].data,
		};
	return rc;
}

static int read_values(struct kvm *kvm, const struct kvm_msr_list *list,
		       struct feature_msrs *msrs, struct error *err)
{
	struct kvm_msrs *batch = calloc(1, sizeof(*batch) + MSRS_MAX * sizeof(batch->entries[0]));
	uint32_t next = 0;
	int rc = 0;

	if (!batch)
		return error_errno(err, ENOMEM, "the values of feature MSRs");
	while (rc >= 0 && next < list->nmsrs) {
		uint32_t n = list->nmsrs - next;

		batch->nmsrs = n < MSRS_MAX ? n : MSRS_MAX;
		for (uint32_t i = 0; i < batch->nmsrs; i++)
			batch->entries[i] = (struct kvm_msr_entry) {
				.index = list->indices[next + i],
			};
		rc = read_some(kvm, batch, msrs, err);
		if (rc >= 0 && (uint32_t)rc < batch->nmsrs) {
			log_debug("KVM lists MSR 0x%x as a feature and does not read it",
				  batch->entries[rc].index);
			next++;
		}
		if (rc > 0)
			next += (uint32_t)rc;
	}
	free(batch);
	return rc < 0 ? -1 : 0;
}

const struct feature_msrs *kvm_feature_msrs(struct kvm *kvm, struct error *err)
{
	struct kvm_msr_list none = { .nmsrs = 0 }, *list = &none;
	struct feature_msrs *msrs;

	if (kvm->feature_msrs)
		return kvm->feature_msrs;
	if (kvm->caps.msr_features) {
		list = kvm_read_msr_list(kvm, KVM_REQ_GET_MSR_FEATURE_INDEX_LIST, err);
		if (!list)
			return NULL;
	}
	msrs = calloc(1, sizeof(*msrs) + list->nmsrs * sizeof(msrs->msr[0]));
	if (!msrs)
		error_errno(err, ENOMEM, "the table of feature MSRs");
	else if (read_values(kvm, list, msrs, err) == 0)
		kvm->feature_msrs = msrs;
	if (!kvm->feature_msrs)
		free(msrs);
	if (list != &none)
		free(list);
	return kvm->feature_msrs;
}

bool feature_msrs_find(const struct feature_msrs *msrs, uint32_t index, uint64_t *value)
{
	for (unsigned int i = 0; i < msrs->count; i++) {
		if (msrs->msr[i].index == index) {
			*value = msrs->msr[i].value;
			return true;
		}
	}
	return false;
}

/* What an MSR is to be, and where it is among those of the vCPU. */
struct change {
	unsigned int position;
	uint64_t value;
};

/* Adds one, where the vCPU, whose MSRs have been read, has such an MSR, and it is another value. */
static void want(struct vcpu_state *s, uint32_t index, uint64_t value, struct change *changes,
		 unsigned int *nr)
{
	int position = msr_table_find(s->msr_table, index);
	uint64_t now;

	if (position >= 0 && vcpu_state_msr(s, (unsigned int)position, &now, NULL) == 0 &&
	    now != value)
		changes[(*nr)++] = (struct change) { (unsigned int)position, value };
}

static int apply(struct vcpu_state *s, const struct change *change, struct error *err)
{
	struct error reason;

	if (vcpu_state_msr_edit(s, change->position, change->value, err) < 0)
		return -1;
	if (vcpu_state_after_init(s, &reason) == 0)
		return 0;
	if (reason.code != EINVAL) {
		*err = reason;
		return -1;
	}
	log_info("%s, though it supports that", reason.text);
	vcpu_state_msr_revert(s, change->position);
	return 0;
}

int feature_msrs_apply(struct vcpu_state *s, const struct feature_msrs *host, bool host_microcode,
		       struct error *err)
{
	/* As KVM has it, which may have changed what it was given. */
	const struct kvm_cpuid2 *table = vcpu_state_cpuid(s, err);
	struct cpu_features features;
	struct change changes[3];
	unsigned int nr = 0;
	bool arch_capabilities;
	uint64_t value;

	/* In reading order: an edit reads the MP state, and what was read before that is forgotten. */
	if (!table || vcpu_state_fetch(s, 1U << SUBSTATE_MP_STATE | 1U << SUBSTATE_MSRS, err) < 0)
		return -1;
	cpu_features_of_table(&features, table);
	arch_capabilities = cpu_features_has(&features, CPU_ARCH_CAPABILITIES);
	if (feature_msrs_find(host, MSR_IA32_ARCH_CAPABILITIES, &value))
		want(s, MSR_IA32_ARCH_CAPABILITIES, arch_capabilities ? value : 0, changes, &nr);
	if (feature_msrs_find(host, MSR_PLATFORM_INFO, &value))
		want(s, MSR_PLATFORM_INFO, value, changes, &nr);
	if (host_microcode && feature_msrs_find(host, MSR_IA32_UCODE_REV, &value))
		want(s, MSR_IA32_UCODE_REV, value, changes, &nr);
	/* Compared first, then written: each write makes all that was read old. */
	for (unsigned int i = 0; i < nr; i++)
		if (apply(s, &changes[i], err) < 0)
			return -1;
	return 0;
}
