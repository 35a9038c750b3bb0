/* SPDX-License-Identifier: MIT */
#include "vmm/boot/boot_state.h"

#include "vmm/boot/boot_internal.h"

/* Intel SDM vol. 3A, 2.3 and 2.5; vol. 4 for EFER. */
#define CR0_PE          (1ULL << 0)
#define CR0_ET          (1ULL << 4)
#define CR0_PG          (1ULL << 31)
#define CR4_PAE         (1ULL << 5)
#define EFER_LME        (1ULL << 8)
#define EFER_LMA        (1ULL << 10)
#define RFLAGS_FIXED    (1ULL << 1)

/* Types of code and data segments, accessed. */
#define TYPE_DATA       0x3
#define TYPE_CODE       0xb

static struct kvm_segment segment_of(unsigned int index, uint64_t descriptor)
{
	uint32_t limit = (descriptor & 0xffff) | (descriptor >> 32 & 0xf0000);
	bool in_pages = descriptor >> 55 & 1;

	return (struct kvm_segment) {
		.base = (descriptor >> 16 & 0xffffff) | (descriptor >> 32 & 0xff000000),
		.limit = in_pages ? limit << 12 | 0xfff : limit,
		.selector = index << 3,
		.type = descriptor >> 40 & 0xf,
		.s = descriptor >> 44 & 1,
		.dpl = descriptor >> 45 & 3,
		.present = descriptor >> 47 & 1,
		.avl = descriptor >> 52 & 1,
		.l = descriptor >> 53 & 1,
		.db = descriptor >> 54 & 1,
		.g = in_pages,
	};
}

static struct kvm_segment real_segment(uint8_t type)
{
	return (struct kvm_segment) { .limit = 0xffff, .type = type, .s = 1, .present = 1 };
}

static void set_data_segments(struct kvm_sregs2 *sregs, const struct kvm_segment *data)
{
	sregs->ds = *data;
	sregs->es = *data;
	sregs->fs = *data;
	sregs->gs = *data;
	sregs->ss = *data;
}

static void set_real(struct kvm_sregs2 *sregs)
{
	struct kvm_segment data = real_segment(TYPE_DATA);

	sregs->cs = real_segment(TYPE_CODE);
	set_data_segments(sregs, &data);
	sregs->cr0 = CR0_ET;
}

/*
 * 32-bit and 64-bit mode, with the segments of the table that the loader made.  There are no
 * interrupt handlers yet, so the interrupt table is empty: an early exception ends in a triple
 * fault at once, and not somewhere in low memory.
 */
static void set_protected(struct kvm_sregs2 *sregs, const struct boot_entry *entry)
{
	struct kvm_segment data = segment_of(BOOT_GDT_DATA, BOOT_DESC_DATA);

	sregs->cs = segment_of(BOOT_GDT_CODE, boot_code_descriptor(entry->mode));
	set_data_segments(sregs, &data);
	sregs->tr = segment_of(BOOT_GDT_TSS, BOOT_DESC_TSS);
	sregs->gdt = (struct kvm_dtable) { .base = entry->gdt, .limit = entry->gdt_limit };
	sregs->idt = (struct kvm_dtable) { 0 };
	sregs->cr0 = CR0_ET | CR0_PE;
}

int boot_state_edit(struct vcpu_state *s, const struct boot_entry *entry, struct error *err)
{
	struct kvm_regs *regs = vcpu_state_regs_edit(s, err);
	struct kvm_sregs2 *sregs = regs ? vcpu_state_sregs_edit(s, err) : NULL;

	if (!sregs)
		return -1;
	regs->rip = entry->rip;
	regs->rsp = entry->rsp;
	regs->rax = entry->rax;
	regs->rbx = entry->rbx;
	regs->rsi = entry->rsi;
	regs->rdx = entry->rdx;
	regs->rflags = RFLAGS_FIXED;

	/* Caches are on, as firmware leaves them, and no mode here is one with PDPTRs. */
	sregs->cr3 = 0;
	sregs->cr4 = 0;
	sregs->efer = 0;
	sregs->flags &= ~(uint64_t)KVM_SREGS2_FLAGS_PDPTRS_VALID;
	switch (entry->mode) {
	case BOOT_REAL:
		set_real(sregs);
		break;
	case BOOT_PROTECTED:
		set_protected(sregs, entry);
		break;
	case BOOT_LONG:
		set_protected(sregs, entry);
		sregs->cr0 |= CR0_PG;
		sregs->cr3 = entry->cr3;
		sregs->cr4 = CR4_PAE;
		sregs->efer = EFER_LME | EFER_LMA;
		break;
	}
	return 0;
}
