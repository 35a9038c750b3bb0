/* SPDX-License-Identifier: MIT */
#include "tests/unit/fake_kvm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "tests/unit/fake_kvm_internal.h"

/* Requests of the system and of a VM.  See api.rst under the requests' names. */

static unsigned long integer(const void *arg)
{
	return (uintptr_t)arg;
}

int fake_get_api_version(const struct fake_object *o, void *arg)
{
	(void)arg;
	return o->fake->api_version;
}

int fake_check_extension(const struct fake_object *o, void *arg)
{
	return integer(arg) < FAKE_MAX_CAPS ? o->fake->cap[integer(arg)] : 0;
}

int fake_get_mmap_size(const struct fake_object *o, void *arg)
{
	(void)o;
	(void)arg;
	return FAKE_RUN_SIZE;
}

/* The number is told even when the list does not fit. */
int fake_get_msr_index_list(const struct fake_object *o, void *arg)
{
	struct kvm_msr_list *list = arg;
	uint32_t room = list->nmsrs, nr = 0;

	for (unsigned int i = 0; i < o->fake->nr_msrs; i++) {
		if (!o->fake->listed[i])
			continue;
		if (nr < room)
			list->indices[nr] = o->fake->msr[i].index;
		nr++;
	}
	list->nmsrs = nr;
	return nr > room ? -E2BIG : 0;
}

int fake_get_msr_feature_index_list(const struct fake_object *o, void *arg)
{
	struct kvm_msr_list *list = arg;
	uint32_t room = list->nmsrs, nr = o->fake->nr_feature_msrs;

	for (uint32_t i = 0; i < nr && i < room; i++)
		list->indices[i] = o->fake->feature_msr[i].index;
	list->nmsrs = nr;
	return nr > room ? -E2BIG : 0;
}

/* Unlike the list of MSRs, this does not say how many leaves there are when they do not fit. */
int fake_create_vm(const struct fake_object *o, void *arg)
{
	struct fake_kvm *fake = o->fake;
	struct fake_vm *vm;

	if (integer(arg))
		return -EINVAL;
	vm = fake_alloc(sizeof(*vm));
	vm->index = (int)fake->nr_vms;
	for (uint32_t i = 0; i < KVM_NR_IRQCHIPS; i++)
		vm->irqchips[i].chip_id = i;
	fake->vm = realloc(fake->vm, (fake->nr_vms + 1) * sizeof(*fake->vm));
	if (!fake->vm)
		abort();
	fake->vm[fake->nr_vms++] = vm;
	vm->fd = fake_new_fd(fake, FAKE_FD_VM, vm, NULL);
	return vm->fd;
}

void fake_vm_free(struct fake_vm *vm)
{
	for (unsigned int i = 0; i < vm->nr_vcpus; i++) {
		struct fake_vcpu *v = vm->vcpu[i];

		close(v->wake_fd);
		free(v->xsave);
		free(v->cpuid);
		free(v->nested);
		free(v->script);
		free(v);
	}
	free(vm->vcpu);
	fake_vm_free_filter(vm);
	free(vm);
}

int fake_enable_cap(const struct fake_object *o, void *arg)
{
	const struct kvm_enable_cap *cap = arg;

	if (cap->flags || cap->cap >= FAKE_MAX_CAPS || !o->fake->cap[cap->cap])
		return -EINVAL;
	switch (cap->cap) {
	case KVM_CAP_EXCEPTION_PAYLOAD:
		o->vm->exception_payload = cap->args[0];
		return 0;
	case KVM_CAP_X2APIC_API:
		if (o->vm->nr_vcpus || cap->args[0] & ~(uint64_t)o->fake->cap[cap->cap])
			return -EINVAL;
		return 0;
	case KVM_CAP_X86_USER_SPACE_MSR:
		if (cap->args[0] & ~UINT64_C(7))
			return -EINVAL;
		o->vm->user_space_msr = cap->args[0];
		return 0;
	case KVM_CAP_X86_TRIPLE_FAULT_EVENT:
		o->vm->triple_fault_event = cap->args[0];
		return 0;
	default:
		return -EINVAL;
	}
}

int fake_set_tss_addr(const struct fake_object *o, void *arg)
{
	if (integer(arg) > UINT32_MAX - 3 * 4096)
		return -EINVAL;
	o->vm->tss_addr = integer(arg);
	return 0;
}

int fake_set_identity_map(const struct fake_object *o, void *arg)
{
	if (o->vm->nr_vcpus)
		return -EINVAL;
	memcpy(&o->vm->identity_map, arg, sizeof(o->vm->identity_map));
	return 0;
}

int fake_create_irqchip(const struct fake_object *o, void *arg)
{
	(void)arg;
	if (o->vm->irqchip)
		return -EEXIST;
	if (o->vm->nr_vcpus)
		return -EINVAL;
	o->vm->irqchip = true;
	return 0;
}

int fake_create_pit2(const struct fake_object *o, void *arg)
{
	(void)arg;
	if (o->vm->pit_created)
		return -EEXIST;
	if (!o->vm->irqchip)
		return -ENOENT;
	o->vm->pit_created = true;
	return 0;
}

int fake_set_memory_region(const struct fake_object *o, void *arg)
{
	const struct kvm_userspace_memory_region *region = arg;
	struct fake_slot *slot;

	if ((int)region->slot >= o->fake->cap[KVM_CAP_NR_MEMSLOTS] ||
	    region->slot >= FAKE_MAX_SLOTS)
		return -EINVAL;
	if ((region->guest_phys_addr | region->memory_size | region->userspace_addr) & 4095)
		return -EINVAL;
	slot = &o->vm->slot[region->slot];
	if (!region->memory_size && !slot->used)
		return -EINVAL;
	for (unsigned int i = 0; region->memory_size && i < FAKE_MAX_SLOTS; i++) {
		const struct kvm_userspace_memory_region *other = &o->vm->slot[i].region;

		if (o->vm->slot[i].used && i != region->slot &&
		    region->guest_phys_addr < other->guest_phys_addr + other->memory_size &&
		    other->guest_phys_addr < region->guest_phys_addr + region->memory_size)
			return -EEXIST;
	}
	slot->used = region->memory_size;
	slot->region = *region;
	return 0;
}

static uint8_t *guest_memory(const struct fake_vm *vm, uint64_t gpa, size_t len)
{
	for (unsigned int i = 0; i < FAKE_MAX_SLOTS; i++) {
		const struct kvm_userspace_memory_region *region = &vm->slot[i].region;

		if (vm->slot[i].used && gpa >= region->guest_phys_addr &&
		    gpa - region->guest_phys_addr <= region->memory_size - len)
			return (uint8_t *)(uintptr_t)region->userspace_addr +
			       (gpa - region->guest_phys_addr);
	}
	return NULL;
}

void fake_read_guest(const struct fake_vm *vm, uint64_t gpa, void *buf, size_t len, bool *ok)
{
	const uint8_t *memory = guest_memory(vm, gpa, len);

	*ok = memory;
	if (memory)
		memcpy(buf, memory, len);
}

void fake_write_guest(const struct fake_vm *vm, uint64_t gpa, const void *buf, size_t len)
{
	uint8_t *memory = guest_memory(vm, gpa, len);

	if (memory)
		memcpy(memory, buf, len);
}

int fake_set_boot_cpu_id(const struct fake_object *o, void *arg)
{
	if (o->vm->nr_vcpus)
		return -EBUSY;
	o->vm->boot_cpu_id = (uint32_t)integer(arg);
	return 0;
}

int fake_create_vcpu(const struct fake_object *o, void *arg)
{
	struct fake_kvm *fake = o->fake;
	struct fake_vm *vm = o->vm;
	struct fake_vcpu *v;

	if (integer(arg) >= (unsigned long)fake->cap[KVM_CAP_MAX_VCPU_ID] ||
	    vm->nr_vcpus >= (unsigned int)fake->cap[KVM_CAP_MAX_VCPUS])
		return -EINVAL;
	for (unsigned int i = 0; i < vm->nr_vcpus; i++)
		if (vm->vcpu[i]->id == integer(arg))
			return -EEXIST;
	v = fake_alloc(sizeof(*v));
	v->fake = fake;
	v->vm = vm;
	v->index = (int)vm->nr_vcpus;
	v->id = (uint32_t)integer(arg);
	v->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (v->wake_fd < 0)
		abort();
	v->guest = fake->default_guest;
	v->guest_opaque = fake->default_opaque;
	fake_vcpu_power_on(v);
	vm->vcpu = realloc(vm->vcpu, (vm->nr_vcpus + 1) * sizeof(*vm->vcpu));
	if (!vm->vcpu)
		abort();
	vm->vcpu[vm->nr_vcpus++] = v;
	v->fd = fake_new_fd(fake, FAKE_FD_VCPU, vm, v);
	return v->fd;
}

int fake_irq_line(const struct fake_object *o, void *arg)
{
	const struct kvm_irq_level *level = arg;

	if (!o->vm->irqchip)
		return -ENXIO;
	if (level->irq >= KVM_IOAPIC_NUM_PINS)
		return -EINVAL;
	o->vm->line[level->irq] = level->level;
	return 0;
}

/* The clock goes on between two looks, which is what a VM that is frozen must not show. */
int fake_get_clock(const struct fake_object *o, void *arg)
{
	o->vm->clock.clock += 1000;
	o->vm->clock.flags = KVM_CLOCK_TSC_STABLE;
	memcpy(arg, &o->vm->clock, sizeof(o->vm->clock));
	return 0;
}

int fake_set_clock(const struct fake_object *o, void *arg)
{
	const uint32_t known = KVM_CLOCK_TSC_STABLE | KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC;
	const struct kvm_clock_data *clock = arg;

	/* Only REALTIME has a meaning here, but what GET_CLOCK gave may be given back. */
	if (clock->flags & ~known)
		return -EINVAL;
	o->vm->clock = *clock;
	return 0;
}

int fake_get_pit2(const struct fake_object *o, void *arg)
{
	if (!o->vm->pit_created)
		return -ENXIO;
	memcpy(arg, &o->vm->pit, sizeof(o->vm->pit));
	return 0;
}

int fake_set_pit2(const struct fake_object *o, void *arg)
{
	if (!o->vm->pit_created)
		return -ENXIO;
	memcpy(&o->vm->pit, arg, sizeof(o->vm->pit));
	return 0;
}

int fake_get_irqchip(const struct fake_object *o, void *arg)
{
	struct kvm_irqchip *chip = arg;

	if (!o->vm->irqchip)
		return -ENXIO;
	if (chip->chip_id >= KVM_NR_IRQCHIPS)
		return -EINVAL;
	*chip = o->vm->irqchips[chip->chip_id];
	return 0;
}

int fake_set_irqchip(const struct fake_object *o, void *arg)
{
	const struct kvm_irqchip *chip = arg;

	if (!o->vm->irqchip)
		return -ENXIO;
	if (chip->chip_id >= KVM_NR_IRQCHIPS)
		return -EINVAL;
	o->vm->irqchips[chip->chip_id] = *chip;
	return 0;
}

struct fake_vm *fake_kvm_vm(struct fake_kvm *fake, int vm)
{
	struct fake_vm *found;

	pthread_mutex_lock(&fake->lock);
	found = vm >= 0 && (unsigned int)vm < fake->nr_vms ? fake->vm[vm] : NULL;
	pthread_mutex_unlock(&fake->lock);
	return found;
}

struct fake_vcpu *fake_kvm_vcpu(struct fake_kvm *fake, int vm, int vcpu)
{
	struct fake_vm *of = fake_kvm_vm(fake, vm);
	struct fake_vcpu *found;

	if (!of)
		return NULL;
	pthread_mutex_lock(&fake->lock);
	found = vcpu >= 0 && (unsigned int)vcpu < of->nr_vcpus ? of->vcpu[vcpu] : NULL;
	pthread_mutex_unlock(&fake->lock);
	return found;
}
