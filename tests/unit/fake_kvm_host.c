/* SPDX-License-Identifier: MIT */
#include "tests/unit/fake_kvm.h"

#include <errno.h>
#include <stdlib.h>

#include "tests/unit/fake_kvm_internal.h"

void *fake_alloc(size_t size)
{
	void *p = calloc(1, size ? size : 1);

	if (!p)
		abort();
	return p;
}

static const struct {
	unsigned int cap;
	int value;
} default_caps[] = {
	{ KVM_CAP_IRQCHIP, 1 }, { KVM_CAP_USER_MEMORY, 1 }, { KVM_CAP_SET_TSS_ADDR, 1 },
	{ KVM_CAP_EXT_CPUID, 1 }, { KVM_CAP_EXT_EMUL_CPUID, 1 },
	 { KVM_CAP_NR_VCPUS, 2 }, { KVM_CAP_NR_MEMSLOTS, FAKE_MAX_SLOTS },
	{ KVM_CAP_MP_STATE, 1 }, { KVM_CAP_USER_NMI, 1 }, { KVM_CAP_SET_GUEST_DEBUG, 1 },
	{ KVM_CAP_MCE, 32 }, { KVM_CAP_PIT2, 1 }, { KVM_CAP_SET_BOOT_CPU_ID, 1 },
	{ KVM_CAP_PIT_STATE2, 1 }, { KVM_CAP_SET_IDENTITY_MAP_ADDR, 1 },
	{ KVM_CAP_ADJUST_CLOCK, 1 }, { KVM_CAP_VCPU_EVENTS, 1 }, { KVM_CAP_DEBUGREGS, 1 },
	{ KVM_CAP_XSAVE, 1 }, { KVM_CAP_XCRS, 1 }, { KVM_CAP_TSC_CONTROL, 1 },
	{ KVM_CAP_GET_TSC_KHZ, 1 },
	{ KVM_CAP_MAX_VCPUS, 1024 }, { KVM_CAP_TSC_DEADLINE_TIMER, 1 }, { KVM_CAP_SYNC_REGS, 7 },
	{ KVM_CAP_KVMCLOCK_CTRL, 1 }, { KVM_CAP_MAX_VCPU_ID, 4096 }, { KVM_CAP_IMMEDIATE_EXIT, 1 },
	{ KVM_CAP_NESTED_STATE, 128 + 2 * 4096 }, { KVM_CAP_EXCEPTION_PAYLOAD, 1 },
	{ KVM_CAP_VCPU_ATTRIBUTES, 1 }, { KVM_CAP_SREGS2, 1 }, { KVM_CAP_XSAVE2, 4096 }, { KVM_CAP_X86_TRIPLE_FAULT_EVENT, 1 },
	{ KVM_CAP_X2APIC_API, 3 }, { KVM_CAP_GET_MSR_FEATURES, 1 },
	{ KVM_CAP_X86_USER_SPACE_MSR, 1 }, { KVM_CAP_X86_MSR_FILTER, 1 },
};

/* Linux's list on a machine of today, shortened. */
static const uint32_t listed_msrs[] = {
	0x174, 0x175, 0x176, 0x10, 0x3a, 0x3b, 0x48, 0xe1, 0x122, 0x1a0, 0x1d9, 0x277, 0x6e0, 0x6e1,
	0xda0, 0x1c4, 0x1c5, 0x34, 0x9e, 0x140, 0x17a, 0x17b, 0xce, 0x10a, 0x345, 0x38d, 0x38e,
	0x38f, 0x390, 0xc1, 0xc2, 0x186, 0x187, 0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084,
	0xc0000102, 0xc0000103, 0x4b564d00, 0x4b564d01, 0x4b564d02, 0x4b564d03, 0x4b564d04, 0x8b,
};

struct fake_kvm *fake_kvm_new(void)
{
	struct fake_kvm *fake = fake_alloc(sizeof(*fake));

	pthread_mutex_init(&fake->lock, NULL);
	pthread_cond_init(&fake->progress, NULL);
	fake->api_version = KVM_API_VERSION;
	fake->nr_leaves = 20;
	fake->host_tsc = UINT64_C(1) << 40;
	for (size_t i = 0; i < sizeof(default_caps) / sizeof(default_caps[0]); i++)
		fake->cap[default_caps[i].cap] = default_caps[i].value;
	for (size_t i = 0; i < sizeof(listed_msrs) / sizeof(listed_msrs[0]); i++)
		fake_kvm_add_msr(fake, listed_msrs[i], 0, true);
	/* What the list omits: MTRRs and machine-check banks (api.rst 4.3). */
	for (uint32_t index = 0x200; index <= 0x20f; index++)
		fake_kvm_add_msr(fake, index, 0, false);
	for (uint32_t index = 0x268; index <= 0x26f; index++)
		fake_kvm_add_msr(fake, index, 0, false);
	fake_kvm_add_msr(fake, 0x250, 0, false);
	fake_kvm_add_msr(fake, 0x258, 0, false);
	fake_kvm_add_msr(fake, 0x259, 0, false);
	fake_kvm_add_msr(fake, 0x2ff, 0, false);
	for (uint32_t index = 0x400; index < 0x400 + 4 * 32; index++)
		fake_kvm_add_msr(fake, index, 0, false);
	fake_kvm_add_msr(fake, 0x277, 0x0007040600070406, true);
	/* Of the vCPUs' own only the platform's information is like the host's from the start. */
	fake_kvm_add_msr(fake, 0xce, 1U << 31, true);
	fake_kvm_add_feature_msr(fake, 0x8b, UINT64_C(0xde) << 32);
	fake_kvm_add_feature_msr(fake, 0xce, 1U << 31);
	fake_kvm_add_feature_msr(fake, 0x10a, 0x6b);
	fake_kvm_add_feature_msr(fake, 0x345, 0x32000);
	return fake;
}

void fake_kvm_free(struct fake_kvm *fake)
{
	for (unsigned int i = 0; i < fake->nr_vms; i++)
		fake_vm_free(fake->vm[i]);
	for (uint64_t i = 0; i < fake->nr_calls; i++) {
		free(fake->call[i]->in);
		free(fake->call[i]->out);
		free(fake->call[i]);
	}
	free(fake->vm);
	free(fake->object);
	free(fake->call);
	free(fake->text);
	free(fake->supported_cpuid);
	free(fake->emulated_cpuid);
	pthread_cond_destroy(&fake->progress);
	pthread_mutex_destroy(&fake->lock);
	free(fake);
}

void fake_kvm_set_cap(struct fake_kvm *fake, unsigned int cap, int value)
{
	if (cap >= FAKE_MAX_CAPS)
		abort();
	pthread_mutex_lock(&fake->lock);
	fake->cap[cap] = value;
	pthread_mutex_unlock(&fake->lock);
}

void fake_kvm_remove_msr(struct fake_kvm *fake, uint32_t index)
{
	pthread_mutex_lock(&fake->lock);
	for (unsigned int i = 0; i < fake->nr_msrs; i++) {
		if (fake->msr[i].index != index)
			continue;
		fake->nr_msrs--;
		fake->msr[i] = fake->msr[fake->nr_msrs];
		fake->listed[i] = fake->listed[fake->nr_msrs];
	}
	pthread_mutex_unlock(&fake->lock);
}

/* Adds it or changes it; returns where it is. */
static unsigned int put_msr(struct fake_msr *msrs, unsigned int *nr, uint32_t index, uint64_t value)
{
	unsigned int i = 0;

	while (i < *nr && msrs[i].index != index)
		i++;
	if (i == FAKE_MAX_MSRS)
		abort();
	if (i == *nr)
		++*nr;
	msrs[i] = (struct fake_msr) { index, value };
	return i;
}

void fake_kvm_add_msr(struct fake_kvm *fake, uint32_t index, uint64_t value, bool listed)
{
	pthread_mutex_lock(&fake->lock);
	fake->listed[put_msr(fake->msr, &fake->nr_msrs, index, value)] = listed;
	pthread_mutex_unlock(&fake->lock);
}

void fake_kvm_add_feature_msr(struct fake_kvm *fake, uint32_t index, uint64_t value)
{
	pthread_mutex_lock(&fake->lock);
	put_msr(fake->feature_msr, &fake->nr_feature_msrs, index, value);
	pthread_mutex_unlock(&fake->lock);
}

void fake_kvm_set_nested_format(struct fake_kvm *fake, uint16_t format)
{
	pthread_mutex_lock(&fake->lock);
	fake->nested_format = format;
	pthread_mutex_unlock(&fake->lock);
}

void fake_kvm_set_api_version(struct fake_kvm *fake, int version)
{
	pthread_mutex_lock(&fake->lock);
	fake->api_version = version;
	pthread_mutex_unlock(&fake->lock);
}

/* Misbehaviour. */

int fake_fault_of(struct fake_kvm *fake, unsigned long request, int vcpu)
{
	int error = 0;

	for (unsigned int i = 0; i < fake->nr_faults; i++) {
		struct fake_armed_fault *armed = &fake->fault[i];
		const struct fake_fault *f = &armed->fault;
		unsigned int first = f->nth ? f->nth : 1;

		if (f->request != request || (f->vcpu >= 0 && f->vcpu != vcpu))
			continue;
		armed->seen++;
		if (armed->seen >= first && (!f->times || armed->seen < first + f->times))
			error = f->error;
	}
	if (!error && fake->fault_fn && vcpu >= 0)
		error = fake->fault_fn(fake->fault_opaque, request, vcpu);
	return error;
}

bool fake_msr_fails(const struct fake_kvm *fake, uint32_t index, bool set)
{
	for (unsigned int i = 0; i < fake->nr_msr_faults; i++)
		if (fake->msr_fault[i].index == index)
			return set ? fake->msr_fault[i].set : fake->msr_fault[i].get;
	return false;
}

void fake_kvm_fail(struct fake_kvm *fake, struct fake_fault fault)
{
	pthread_mutex_lock(&fake->lock);
	if (fake->nr_faults == FAKE_MAX_FAULTS)
		abort();
	fake->fault[fake->nr_faults++] = (struct fake_armed_fault) { fault, 0 };
	pthread_mutex_unlock(&fake->lock);
}

void fake_kvm_fail_by(struct fake_kvm *fake, fake_fault_fn *fn, void *opaque)
{
	pthread_mutex_lock(&fake->lock);
	fake->fault_fn = fn;
	fake->fault_opaque = opaque;
	pthread_mutex_unlock(&fake->lock);
}

void fake_kvm_fail_msr(struct fake_kvm *fake, uint32_t index, bool get, bool set)
{
	unsigned int i;

	pthread_mutex_lock(&fake->lock);
	i = fake->nr_msr_faults++;
	if (i == FAKE_MAX_MSR_FAULTS)
		abort();
	fake->msr_fault[i].index = index;
	fake->msr_fault[i].get = get;
	fake->msr_fault[i].set = set;
	pthread_mutex_unlock(&fake->lock);
}

void fake_kvm_heal(struct fake_kvm *fake)
{
	pthread_mutex_lock(&fake->lock);
	fake->nr_faults = 0;
	fake->fault_fn = NULL;
	fake->nr_msr_faults = 0;
	pthread_mutex_unlock(&fake->lock);
}

void fake_kvm_set_host_id(struct fake_kvm *fake, uint8_t id)
{
	pthread_mutex_lock(&fake->lock);
	fake->host_id = id;
	pthread_mutex_unlock(&fake->lock);
}

void fake_kvm_poison(struct fake_kvm *fake, unsigned int poison)
{
	pthread_mutex_lock(&fake->lock);
	fake->poison = poison;
	pthread_mutex_unlock(&fake->lock);
}

void fake_kvm_windows(struct fake_kvm *fake, fake_window_fn *entry, fake_window_fn *exit,
		      void *opaque)
{
	pthread_mutex_lock(&fake->lock);
	fake->entry_window = entry;
	fake->exit_window = exit;
	fake->window_opaque = opaque;
	pthread_mutex_unlock(&fake->lock);
}
