/* SPDX-License-Identifier: MIT */
#include "vmm/vm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/boot/boot_state.h"
#include "vmm/cpuid.h"
#include "vmm/dev/machine_devices.h"
#include "vmm/vm_internal.h"

/*
 * Three pages for real-mode emulation on old Intel processors, and one for its identity map: high
 * in the hole, where neither RAM nor a device is (api.rst 4.38, 4.43).
 */
#define IDENTITY_MAP_ADDRESS 0xfffbc000ULL
#define TSS_ADDRESS          0xfffbd000UL

/* A higher one does not fit into 8 bits, or is the broadcast: see enable_x2apic_api(). */
#define XAPIC_ID_MAX 254
#define X2APIC_API (KVM_X2APIC_API_USE_32BIT_IDS | KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK)

static int create_kvm_vm(struct vm *vm, struct error *err)
{
	int fd;

	/* Creation can be interrupted by a signal, and then just has to be done again. */
	do
		fd = kvm_ioctl(&vm->kvm->sys, KVM_REQ_CREATE_VM, NULL);
	while (fd < 0 && errno == EINTR);
	if (fd < 0)
		return error_errno(err, errno, "KVM_CREATE_VM");
	kvm_handle_init(&vm->handle, vm->kvm, fd);
	return 0;
}

/*
 * APIC ids of 32 bits, in messages of interrupts as in the LAPIC's state, among which 255 is one as
 * any other.
 */
static int enable_x2apic_api(struct vm *vm, struct error *err)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_X2APIC_API, .args[0] = X2APIC_API };

	if (cpu_topology_max_apic_id(&vm->topology) > XAPIC_ID_MAX &&
	    kvm_call(&vm->handle, KVM_REQ_ENABLE_CAP, &cap, err) < 0)
		return error_prefix(err, "KVM_CAP_X2APIC_API");
	return 0;
}

/* Optional behaviour that makes vCPU events whole: payloads kept apart, triple faults visible. */
static int enable_caps(struct vm *vm, struct error *err)
{
	const struct kvm_caps *caps = &vm->kvm->caps;
	struct kvm_enable_cap payload = { .cap = KVM_CAP_EXCEPTION_PAYLOAD, .args[0] = 1 };
	struct kvm_enable_cap triple = { .cap = KVM_CAP_X86_TRIPLE_FAULT_EVENT, .args[0] = 1 };

	if (caps->exception_payload && kvm_call(&vm->handle, KVM_REQ_ENABLE_CAP, &payload, err) < 0)
		return error_prefix(err, "KVM_CAP_EXCEPTION_PAYLOAD");
	if (caps->triple_fault_event && kvm_call(&vm->handle, KVM_REQ_ENABLE_CAP, &triple, err) < 0)
		return error_prefix(err, "KVM_CAP_X86_TRIPLE_FAULT_EVENT");
	return 0;
}

static int set_special_pages(struct vm *vm, struct error *err)
{
	uint64_t identity_map = IDENTITY_MAP_ADDRESS;

	if (vm->kvm->caps.identity_map &&
	    kvm_call(&vm->handle, KVM_REQ_SET_IDENTITY_MAP_ADDR, &identity_map, err) < 0)
		return -1;
	if (vm->kvm->caps.tss_addr &&
	    kvm_call(&vm->handle, KVM_REQ_SET_TSS_ADDR, kvm_int_arg(TSS_ADDRESS), err) < 0)
		return -1;
	return 0;
}

static int create_memory(struct vm *vm, struct error *err)
{
	if (memory_init(&vm->memory, vm->config.memory, err) < 0)
		return -1;
	/* Now: what KVM has a slot for takes it time to see go, the more the larger it is. */
	if (vm->config.clone && clone_map_ram(vm->config.clone, &vm->memory, err) < 0)
		return -1;
	vm->config.clone = NULL;
	for (unsigned int i = 0; i < vm->memory.nr_parts; i++) {
		const struct memory_part *part = &vm->memory.part[i];
		struct kvm_userspace_memory_region region = {
			.slot = i,
			.guest_phys_addr = part->gpa,
			.memory_size = part->size,
			.userspace_addr = (uintptr_t)part->host,
		};

		if (kvm_call(&vm->handle, KVM_REQ_SET_USER_MEMORY_REGION, &region, err) < 0)
			return error_prefix(err, "%llu MiB of guest memory at 0x%llx",
					    (unsigned long long)part->size >> 20,
					    (unsigned long long)part->gpa);
	}
	return 0;
}

static int create_irqchips(struct vm *vm, struct error *err)
{
	struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };

	if (kvm_call(&vm->handle, KVM_REQ_CREATE_IRQCHIP, NULL, err) < 0)
		return -1;
	if (vm->kvm->caps.pit2 && kvm_call(&vm->handle, KVM_REQ_CREATE_PIT2, &pit, err) < 0)
		return -1;
	for (uint32_t i = 0; i < 3; i++) {
		vm->pristine.irqchip[i].chip_id = i;
		if (kvm_call(&vm->handle, KVM_REQ_GET_IRQCHIP, &vm->pristine.irqchip[i], err) < 0)
			return -1;
	}
	if (vm->kvm->caps.pit_state2 &&
	    kvm_call(&vm->handle, KVM_REQ_GET_PIT2, &vm->pristine.pit, err) < 0)
		return -1;
	return 0;
}

static int create_vcpus(struct vm *vm, struct error *err)
{
	vm->vcpu = calloc(vm->config.cpus, sizeof(vm->vcpu[0]));
	if (!vm->vcpu)
		return error_errno(err, ENOMEM, "%u vCPUs", vm->config.cpus);
	while (vm->nr_vcpus < vm->config.cpus) {
		if (vcpu_create(&vm->vcpu[vm->nr_vcpus], vm, (int)vm->nr_vcpus, err) < 0)
			return -1;
		vm->nr_vcpus++;
	}
	return 0;
}

static int create_xen(struct vm *vm, struct error *err)
{
	if (!vm->config.xen)
		return 0;
	vm->xen = xen_hvm_new(vm->kvm, vm->config.xen, err);
	if (!vm->xen)
		return error_prefix(err, "Xen PV-on-HVM");
	/* What comes in brings along where it is in CPUID, and which pages have been written. */
	if (vm->config.incoming)
		return 0;
	return xen_hvm_enable(vm->xen, &vm->handle, vm->msr_table, err);
}

/* Behind all else that is in the table, for its place depends on that.  `khz`: as cpuid_new() got it. */
static int add_xen_cpuid(struct vm *vm, struct kvm_cpuid2 **cpuid, uint32_t khz,
			 struct error *err)
{
	if (!vm->xen)
		return 0;
	if (!khz && vm_tsc_khz(vm, &khz, err) < 0)
		return -1;
	return xen_hvm_add_cpuid(vm->xen, cpuid, khz, err);
}

/*
 * The state in which the machine starts.  Of a fresh vCPU the kernel has already reset everything,
 * so all that is edited is what differs: CPUID, and the boot processor's entry into the image.
 */
static int init_vcpus(struct vm *vm, struct error *err)
{
	struct cpuid_changes told = { .nr = 0 };
	struct kvm_cpuid2 *cpuid;
	uint32_t tsc_khz;
	int rc;

	/* What comes in brings all of it along. */
	if (vm->config.incoming)
		return 0;
	if (vm_cpu_resolve(vm, err) < 0 || vm_cpu_edit_tsc(vm, &tsc_khz, err) < 0)
		return -1;
	cpuid = cpuid_new(vm->kvm, &vm->cpu, &vm->topology, tsc_khz, err);
	rc = cpuid ? add_xen_cpuid(vm, &cpuid, tsc_khz, err) : -1;

	for (unsigned int i = 0; rc == 0 && i < vm->nr_vcpus; i++) {
		struct vcpu_state *state = &vm->vcpu[i].state;

		cpuid_set_vcpu(cpuid, &vm->cpu, &vm->topology, i);
		if (vm->xen)
			xen_hvm_set_vcpu_id(vm->xen, cpuid, i);
		rc = vcpu_state_cpuid_edit(state, cpuid, err);
		if (rc == 0 && i == 0)
			rc = vm_boot(vm, err);
		if (rc == 0)
			rc = vcpu_state_after_init(state, err);
		if (rc == 0)
			rc = vm_cpu_compare(vm, i, cpuid, &told, err);
		if (rc == 0)
			rc = vm_cpu_init_msrs(vm, i, err);
	}
	free(cpuid);
	return rc;
}

int vm_boot(struct vm *vm, struct error *err)
{
	struct boot_entry entry;

	if (boot_load(vm->boot, &vm->memory, &vm->topology, &entry, err) < 0)
		return -1;
	vm_devices_boot(vm->devices);
	return boot_state_edit(&vm->vcpu[0].state, &entry, err);
}

static struct cpu_topology topology_of(const struct vm_config *config)
{
	return cpu_topology_cpus(&config->topology) ? config->topology :
	       cpu_topology_of_cores(config->cpus);
}

static int check_config(const struct kvm *kvm, const struct vm_config *config, struct error *err)
{
	const struct kvm_caps *caps = &kvm->caps;
	struct cpu_topology topology = topology_of(config);
	unsigned int max = caps->max_vcpus < CPU_TOPOLOGY_MAX_CPUS ? caps->max_vcpus :
			   CPU_TOPOLOGY_MAX_CPUS;
	uint32_t id;

	if (config->cpus < 1 || config->cpus > max)
		return error_set(err, EINVAL, "%u vCPUs: this host's KVM can have 1 to %u",
				 config->cpus, max);
	if (cpu_topology_cpus(&topology) != config->cpus)
		return error_set(err, EINVAL, "%u vCPUs: their topology is one of %u", config->cpus,
				 cpu_topology_cpus(&topology));
	id = cpu_topology_max_apic_id(&topology);
	if (id >= caps->max_vcpu_id)
		return error_set(err, EINVAL, "%u vCPUs of this topology have APIC ids up to %u, and "
				 "this host's KVM takes them below %u (KVM_CAP_MAX_VCPU_ID)",
				 config->cpus, id, caps->max_vcpu_id);
	if (id > XAPIC_ID_MAX && (caps->x2apic_api & X2APIC_API) != X2APIC_API)
		return error_set(err, ENOTSUP, "%u vCPUs of this topology have APIC ids up to %u; those "
				 "above %u need KVM_CAP_X2APIC_API, which this host's KVM lacks",
				 config->cpus, id, XAPIC_ID_MAX);
	return 0;
}

static int build(struct vm *vm, struct error *err)
{
	vm->boot = boot_open(&vm->config.boot, err);
	if (!vm->boot)
		return -1;
	if (create_kvm_vm(vm, err) < 0 || enable_caps(vm, err) < 0 ||
	    enable_x2apic_api(vm, err) < 0 || set_special_pages(vm, err) < 0 ||
	    create_memory(vm, err) < 0 ||
	    create_irqchips(vm, err) < 0)
		return -1;
	vm->devices = vm_devices_new(vm, err);
	if (!vm->devices)
		return -1;
	vm->msr_table = msr_table_new(vm->kvm, err);
	if (!vm->msr_table)
		return -1;
	if (create_xen(vm, err) < 0 || create_vcpus(vm, err) < 0 || init_vcpus(vm, err) < 0)
		return -1;
	for (unsigned int i = 0; i < vm->nr_vcpus; i++)
		if (vcpu_start(&vm->vcpu[i], err) < 0)
			return -1;
	return 0;
}

int vm_create(struct vm **out, struct kvm *kvm, const struct vm_config *config,
	      const struct vm_callbacks *callbacks, struct error *err)
{
	struct vm *vm;

	*out = NULL;
	if (check_config(kvm, config, err) < 0)
		return -1;
	vm = calloc(1, sizeof(*vm));
	if (!vm)
		return error_errno(err, ENOMEM, "the machine");
	vm->kvm = kvm;
	vm->callbacks = *callbacks;
	vm->config = *config;
	vm->topology = topology_of(config);
	vm->actions = config->actions;
	vm->handle.fd = -1;
	vm->state = config->incoming ? RUN_STATE_INMIGRATE : RUN_STATE_PRELAUNCH;
	vm->autostart = config->start_running;
	bus_init(&vm->pio, "I/O");
	bus_init(&vm->mmio, "memory");
	if (build(vm, err) < 0) {
		vm_destroy(vm);
		return -1;
	}
	vm_mark_stop(vm);
	*out = vm;
	return 0;
}

void vm_destroy(struct vm *vm)
{
	if (!vm)
		return;
	vm_migration_end(vm);
	for (unsigned int i = 0; i < vm->nr_vcpus; i++)
		if (vm->vcpu[i].thread_started)
			vcpu_kick(&vm->vcpu[i]);
	vcpus_await(vm);
	for (unsigned int i = 0; i < vm->nr_vcpus; i++)
		vcpu_destroy(&vm->vcpu[i]);
	free(vm->vcpu);
	vm_devices_free(vm->devices);
	bus_destroy(&vm->pio);
	bus_destroy(&vm->mmio);
	if (vm->handle.fd >= 0)
		kvm_handle_close(&vm->handle);
	memory_destroy(&vm->memory);
	/* Not before the VM, whose kernel may read its blobs. */
	xen_hvm_free(vm->xen);
	free(vm->msr_table);
	boot_close(vm->boot);
	free(vm);
}

void vm_irq_line(struct vm *vm, unsigned int gsi, bool level)
{
	struct kvm_irq_level line = { .irq = gsi, .level = level };

	/* Fails only for a GSI that does not exist, and those are fixed in this program. */
	kvm_ioctl(&vm->handle, KVM_REQ_IRQ_LINE, &line);
}

size_t vm_serial_receive(struct vm *vm, const uint8_t *bytes, size_t len)
{
	return vm_devices_serial_receive(vm->devices, bytes, len);
}
