/* SPDX-License-Identifier: MIT */
#include "vmm/vm_internal.h"

#include <errno.h>
#include <stdlib.h>

#include "vmm/cpuid.h"
#include "vmm/feature_msrs.h"

/* The processor that the vCPUs of a machine show, and what KVM makes of it. */

int vm_tsc_khz(struct vm *vm, uint32_t *khz, struct error *err)
{
	int rc;

	*khz = 0;
	if (!vm->kvm->caps.get_tsc_khz)
		return 0;
	rc = kvm_call(&vm->vcpu[0].kvm, KVM_REQ_GET_TSC_KHZ, NULL, err);
	if (rc < 0)
		return -1;
	*khz = (uint32_t)rc;
	return 0;
}

/* RAM that the guest could not address would be lost to it, or worse. */
static int check_addresses(const struct vm *vm, struct error *err)
{
	const struct memory_part *last = &vm->memory.part[vm->memory.nr_parts - 1];
	uint64_t end = last->gpa + last->size;

	if ((end - 1) >> vm->cpu.phys_bits == 0)
		return 0;
	return error_set(err, EINVAL, "the processor has physical addresses of %u bits, too few for "
			 "%llu MiB of memory; --cpu takes phys-bits and host-phys-bits",
			 vm->cpu.phys_bits, (unsigned long long)vm->memory.size >> 20);
}

int vm_cpu_resolve(struct vm *vm, struct error *err)
{
	struct cpu_config host;
	const struct cpu_config *config = vm->config.cpu;

	if (!config && cpu_config_init(&host, "host", err) < 0)
		return -1;
	if (cpu_resolve(config ? config : &host, vm->kvm, &vm->cpu, err) < 0 ||
	    cpu_check(&vm->cpu, err) < 0)
		return -1;
	return check_addresses(vm, err);
}

/* How fast the guest's TSC is to run, where that is to be known; `*set` when KVM must be told. */
static int choose_tsc_khz(struct vm *vm, uint32_t *khz, bool *set, struct error *err)
{
	uint32_t wanted = (uint32_t)(vm->cpu.config.tsc_frequency / 1000), host;

	*khz = 0;
	*set = false;
	if (!wanted && !cpuid_wants_tsc_khz(&vm->cpu))
		return 0;
	if (vm_tsc_khz(vm, &host, err) < 0)
		return -1;
	*khz = wanted ? wanted : host;
	if (!wanted || wanted == host)
		return 0;
	if (!vcpu_state_offers(&vm->vcpu[0].state, SUBSTATE_TSC_KHZ))
		return error_set(err, ENOTSUP, "tsc-frequency: the host's TSC runs at %u kHz, and its "
				 "KVM can not change that (KVM_CAP_TSC_CONTROL)", host);
	*set = true;
	vm->host_tsc_khz = host;
	return 0;
}

int vm_cpu_edit_tsc(struct vm *vm, uint32_t *khz, struct error *err)
{
	bool set;

	if (choose_tsc_khz(vm, khz, &set, err) < 0)
		return -1;
	for (unsigned int i = 0; set && i < vm->nr_vcpus; i++) {
		uint32_t *edited = vcpu_state_tsc_khz_edit(&vm->vcpu[i].state, err);

		if (!edited)
			return -1;
		*edited = *khz;
	}
	return 0;
}

int vm_cpu_compare(struct vm *vm, unsigned int vcpu, const struct kvm_cpuid2 *set,
		   struct cpuid_changes *told, struct error *err)
{
	const struct kvm_cpuid2 *now = vcpu_state_cpuid(&vm->vcpu[vcpu].state, err);
	const struct cpu_config *config = &vm->cpu.config;
	bool particular;

	if (!now)
		return -1;
	/* Who asks for all that this KVM has, and nothing in particular, has got that. */
	particular = config->model->kind == CPU_MODEL_BASELINE ||
		     !cpu_features_empty(&config->plus) || !cpu_features_empty(&config->minus);
	cpuid_log_changes(vcpu, set, now, particular ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO, told);
	return 0;
}

int vm_cpu_init_msrs(struct vm *vm, unsigned int vcpu, struct error *err)
{
	const struct feature_msrs *host = kvm_feature_msrs(vm->kvm, err);

	return host ? feature_msrs_apply(&vm->vcpu[vcpu].state, host,
					 vm->cpu.config.model->kind != CPU_MODEL_BASELINE, err) : -1;
}
