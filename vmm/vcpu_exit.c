/* SPDX-License-Identifier: MIT */
#include "vmm/vcpu_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "vmm/log.h"
#include "vmm/vm.h"
#include "vmm/xen_hvm.h"

/* Exits of KVM_RUN, on the vCPU's thread. */

#define EFER_LMA        (1ULL << 10)

static enum after_exit handle_io(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	const struct bus *bus = &vcpu->vm->pio;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	unsigned int size = run->io.size;

	for (uint32_t i = 0; i < run->io.count; i++, data += size) {
		if (run->io.direction == KVM_EXIT_IO_IN) {
			uint64_t value = bus_read(bus, run->io.port, size);

			memcpy(data, &value, size);
		} else {
			uint64_t value = 0;

			memcpy(&value, data, size);
			bus_write(bus, run->io.port, value, size);
		}
	}
	return ENTER_AGAIN;
}

static enum after_exit handle_mmio(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	const struct bus *bus = &vcpu->vm->mmio;
	uint64_t value = 0;

	if (run->mmio.is_write) {
		memcpy(&value, run->mmio.data, run->mmio.len);
		bus_write(bus, run->mmio.phys_addr, value, run->mmio.len);
	} else {
		value = bus_read(bus, run->mmio.phys_addr, run->mmio.len);
		memcpy(run->mmio.data, &value, run->mmio.len);
	}
	return ENTER_AGAIN;
}

static enum after_exit handle_system_event(struct vcpu *vcpu)
{
	switch (vcpu->run->system_event.type) {
	case KVM_SYSTEM_EVENT_SHUTDOWN:
		vm_post(vcpu->vm, VM_REQUEST_SHUTDOWN);
		return HOLD;
	case KVM_SYSTEM_EVENT_RESET:
		vm_post(vcpu->vm, VM_REQUEST_RESET);
		return HOLD;
	default:
		log_warning("vCPU %d: unknown system event %" PRIu32 " is passed over", vcpu->index,
			    vcpu->run->system_event.type);
		return ENTER_AGAIN;
	}
}

static void note_internal_error(struct vcpu *vcpu)
{
	const struct kvm_run *run = vcpu->run;

	if (run->internal.suberror != KVM_INTERNAL_ERROR_EMULATION) {
		log_error("vCPU %d: KVM internal error, suberror %" PRIu32, vcpu->index,
			  run->internal.suberror);
		return;
	}
	log_error("vCPU %d: KVM can not emulate the instruction", vcpu->index);
	/* data[0] has the flags, and the bytes with their number begin in data[1]. */
	if (run->internal.ndata < 4 ||
	    !(run->emulation_failure.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES))
		return;
	vcpu->failed_insn_len = run->emulation_failure.insn_size;
	if (vcpu->failed_insn_len > VCPU_INSN_MAX)
		vcpu->failed_insn_len = VCPU_INSN_MAX;
	memcpy(vcpu->failed_insn, run->emulation_failure.insn_bytes, vcpu->failed_insn_len);
}

static enum after_exit fail(struct vcpu *vcpu)
{
	vcpu->failed = true;
	vm_post(vcpu->vm, VM_REQUEST_INTERNAL_ERROR);
	return HOLD;
}

enum after_exit vcpu_fail_run(struct vcpu *vcpu)
{
	log_error("vCPU %d: KVM_RUN: %s", vcpu->index, strerror(errno));
	return fail(vcpu);
}

/*
 * The MSR filter has Xen's MSR in it and nothing else.  Which mode the vCPU is in, only the kernel
 * knows now; no register is touched between this and the completion of the instruction.
 */
static enum after_exit handle_wrmsr(struct vcpu *vcpu)
{
	struct xen_hvm *xen = vcpu->vm->xen;
	struct kvm_run *run = vcpu->run;
	struct kvm_sregs sregs;

	run->msr.error = 1;             /* #GP, unless all goes well */
	if (!xen || run->msr.index != xen->msr)
		return ENTER_AGAIN;
	if (kvm_ioctl(&vcpu->kvm, KVM_REQ_GET_SREGS, &sregs) < 0) {
		log_error("vCPU %d: KVM_GET_SREGS: %s", vcpu->index, strerror(errno));
		return fail(vcpu);
	}
	run->msr.error = !xen_hvm_write_page(xen, &vcpu->vm->memory, (uint32_t)vcpu->index,
					     sregs.efer & EFER_LMA, run->msr.data);
	return ENTER_AGAIN;
}

enum after_exit vcpu_handle_exit(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;

	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		return handle_io(vcpu);
	case KVM_EXIT_MMIO:
		return handle_mmio(vcpu);
	case KVM_EXIT_X86_WRMSR:
		return handle_wrmsr(vcpu);
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		return ENTER_AGAIN;
	case KVM_EXIT_SHUTDOWN:
		log_info("vCPU %d: triple fault", vcpu->index);
		vm_post(vcpu->vm, VM_REQUEST_RESET);
		return HOLD;
	case KVM_EXIT_SYSTEM_EVENT:
		return handle_system_event(vcpu);
	case KVM_EXIT_INTERNAL_ERROR:
		note_internal_error(vcpu);
		return fail(vcpu);
	case KVM_EXIT_FAIL_ENTRY:
		log_error("vCPU %d: the processor refuses to enter the guest, hardware reason 0x%llx",
			  vcpu->index,
			  (unsigned long long)run->fail_entry.hardware_entry_failure_reason);
		return fail(vcpu);
	default:
		log_error("vCPU %d: KVM_RUN returned with exit reason %" PRIu32 ", which vmond does "
			  "not know", vcpu->index, run->exit_reason);
		return fail(vcpu);
	}
}
