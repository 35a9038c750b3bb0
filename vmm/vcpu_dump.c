/* SPDX-License-Identifier: MIT */
#include "vmm/vcpu_dump.h"

#include <inttypes.h>
#include <stdio.h>

#include "vmm/log.h"
#include "vmm/vcpu_space.h"
#include "vmm/vm.h"

#define EFER_LMA (1ULL << 10)

/* "RAX=... RBX=..." is as people know it from oops reports and from `info registers`. */
#define REG64 "%016" PRIx64

static void dump_regs(int index, const struct kvm_regs *r)
{
	log_error("vCPU %d: RIP=" REG64 " RFLAGS=%08" PRIx64 " RSP=" REG64 " RBP=" REG64, index,
		  (uint64_t)r->rip, (uint64_t)r->rflags, (uint64_t)r->rsp, (uint64_t)r->rbp);
	log_error("vCPU %d: RAX=" REG64 " RBX=" REG64 " RCX=" REG64 " RDX=" REG64, index,
		  (uint64_t)r->rax, (uint64_t)r->rbx, (uint64_t)r->rcx, (uint64_t)r->rdx);
	log_error("vCPU %d: RSI=" REG64 " RDI=" REG64 " R8 =" REG64 " R9 =" REG64, index,
		  (uint64_t)r->rsi, (uint64_t)r->rdi, (uint64_t)r->r8, (uint64_t)r->r9);
	log_error("vCPU %d: R10=" REG64 " R11=" REG64 " R12=" REG64 " R13=" REG64, index,
		  (uint64_t)r->r10, (uint64_t)r->r11, (uint64_t)r->r12, (uint64_t)r->r13);
	log_error("vCPU %d: R14=" REG64 " R15=" REG64, index, (uint64_t)r->r14,
		  (uint64_t)r->r15);
}

static void dump_sregs(int index, const struct kvm_sregs2 *s)
{
	log_error("vCPU %d: CS=%04x base " REG64 " limit %08x %s, CR0=%08" PRIx64 " CR2=" REG64
		  " CR3=" REG64 " CR4=%08" PRIx64 " EFER=%" PRIx64, index, s->cs.selector,
		  (uint64_t)s->cs.base, s->cs.limit,
		  s->cs.l && s->efer & EFER_LMA ? "64 bit" : s->cs.db ? "32 bit" : "16 bit",
		  (uint64_t)s->cr0, (uint64_t)s->cr2, (uint64_t)s->cr3, (uint64_t)s->cr4,
		  (uint64_t)s->efer);
}

/* Where RIP points to: in 64-bit mode segments have no base, else linear addresses have 32 bits. */
static uint64_t linear_rip(const struct kvm_regs *regs, const struct kvm_sregs2 *sregs)
{
	if (sregs->cs.l && sregs->efer & EFER_LMA)
		return regs->rip;
	return (uint32_t)(sregs->cs.base + regs->rip);
}

static void dump_code(struct vcpu *vcpu, const struct kvm_regs *regs,
		      const struct kvm_sregs2 *sregs)
{
	uint64_t rip = linear_rip(regs, sregs);
	uint8_t memory[VCPU_INSN_MAX];
	const uint8_t *code = vcpu->failed_insn;
	size_t len = vcpu->failed_insn_len;
	char text[3 * VCPU_INSN_MAX + 1] = "";
	struct page_space space;

	if (!len) {
		code = memory;
		if (vcpu_page_space(&vcpu->state, &vcpu->vm->memory, &space, NULL) == 0)
			len = page_space_read(&space, rip, memory, sizeof(memory));
	}
	for (size_t i = 0; i < len; i++)
		snprintf(text + 3 * i, 4, " %02x", code[i]);
	log_error("vCPU %d: code at 0x%" PRIx64 ":%s", vcpu->index, rip,
		  len ? text : " no memory is there");
}

static void dump_all(struct vcpu *vcpu)
{
	const struct kvm_sregs2 *sregs;
	const struct kvm_regs *regs;
	struct error err;

	regs = vcpu_state_regs(&vcpu->state, &err);
	sregs = regs ? vcpu_state_sregs(&vcpu->state, &err) : NULL;
	if (regs)
		dump_regs(vcpu->index, regs);
	if (!sregs) {
		log_error("vCPU %d: its registers can not be read: %s", vcpu->index, err.text);
		return;
	}
	dump_sregs(vcpu->index, sregs);
	dump_code(vcpu, regs, sregs);
}

void vcpu_dump(struct vcpu *vcpu)
{
	dump_all(vcpu);
	vcpu->failed = false;
	vcpu->failed_insn_len = 0;
}
