/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <string.h>

#include "monitor/hmp.h"
#include "vmm/pagewalk.h"
#include "vmm/segment.h"

#define CR0_PE          (1ULL << 0)
#define EFER_LMA        (1ULL << 10)

#define XCR0_AVX        (1ULL << 2)
#define XCR0_OPMASK     (1ULL << 5)
#define XCR0_ZMM_HI256  (1ULL << 6)     /* upper halves of ZMM0 to ZMM15 */
#define XCR0_HI16_ZMM   (1ULL << 7)     /* ZMM16 to ZMM31 */
#define XCR0_AVX512     (XCR0_OPMASK | XCR0_ZMM_HI256 | XCR0_HI16_ZMM)

/* What has a fixed place in the XSAVE area (SDM vol. 1, 13.4). */
#define XSAVE_XMM       160
#define XSAVE_XSTATE_BV 512
#define XSTATE_SSE      (1ULL << 1)

/* Types of code and data segments. */
#define TYPE_CODE       (1u << 3)
#define TYPE_CONFORMING (1u << 2)       /* of data: expands down */
#define TYPE_READABLE   (1u << 1)       /* of data: writable */
#define TYPE_ACCESSED   (1u << 0)

/* Which of QEMU's forms applies: widths go by the code segment, some names by long mode. */
struct form {
	bool protected_mode, lma, cs64;
};

static bool bit(uint64_t value, unsigned int n)
{
	return value >> n & 1;
}

static void print_general(struct text *out, const struct kvm_regs *r, const struct form *form)
{
	if (form->cs64)
		text_printf(out, "RAX=%016llx RBX=%016llx RCX=%016llx RDX=%016llx\n"
			    "RSI=%016llx RDI=%016llx RBP=%016llx RSP=%016llx\n"
			    "R8 =%016llx R9 =%016llx R10=%016llx R11=%016llx\n"
			    "R12=%016llx R13=%016llx R14=%016llx R15=%016llx\n",
			    r->rax, r->rbx, r->rcx, r->rdx, r->rsi, r->rdi, r->rbp, r->rsp,
			    r->r8, r->r9, r->r10, r->r11, r->r12, r->r13, r->r14, r->r15);
	else
		text_printf(out, "EAX=%08x EBX=%08x ECX=%08x EDX=%08x\n"
			    "ESI=%08x EDI=%08x EBP=%08x ESP=%08x\n",
			    (uint32_t)r->rax, (uint32_t)r->rbx, (uint32_t)r->rcx, (uint32_t)r->rdx,
			    (uint32_t)r->rsi, (uint32_t)r->rdi, (uint32_t)r->rbp, (uint32_t)r->rsp);
}

static void print_flags(struct text *out, const struct hmp_registers *r, const struct form *form)
{
	uint64_t flags = r->regs->rflags;

	if (form->cs64)
		text_printf(out, "RIP=%016llx RFL=%08x", r->regs->rip, (uint32_t)flags);
	else
		text_printf(out, "EIP=%08x EFL=%08x", (uint32_t)r->regs->rip, (uint32_t)flags);
	/* A20 is a matter of the chipset; here it is always open. */
	text_printf(out, " [%c%c%c%c%c%c%c] CPL=%d II=%d A20=1 SMM=%d HLT=%d\n",
		    bit(flags, 10) ? 'D' : '-', bit(flags, 11) ? 'O' : '-',
		    bit(flags, 7) ? 'S' : '-', bit(flags, 6) ? 'Z' : '-',
		    bit(flags, 4) ? 'A' : '-', bit(flags, 2) ? 'P' : '-',
		    bit(flags, 0) ? 'C' : '-', r->sregs->ss.dpl & 3, r->inhibit_irq, r->smm,
		    r->halted);
}

static const char *system_type(unsigned int type, bool lma)
{
	static const char *const names[2][16] = {
		{ "Reserved", "TSS16-avl", "LDT", "TSS16-busy", "CallGate16", "TaskGate",
		  "IntGate16", "TrapGate16", "Reserved", "TSS32-avl", "Reserved", "TSS32-busy",
		  "CallGate32", "Reserved", "IntGate32", "TrapGate32" },
		{ "<hiword>", "Reserved", "LDT", "Reserved", "Reserved", "Reserved", "Reserved",
		  "Reserved", "Reserved", "TSS64-avl", "Reserved", "TSS64-busy", "CallGate64",
		  "Reserved", "IntGate64", "TrapGate64" },
	};

	return names[lma][type & 0xf];
}

static void print_segment(struct text *out, const char *name, const struct kvm_segment *s,
			  const struct form *form)
{
	uint32_t flags = segment_attributes(s);
	bool code = s->type & TYPE_CODE;

	if (form->cs64)
		text_printf(out, "%-3s=%04x %016llx %08x %08x", name, s->selector, s->base,
			    s->limit, flags);
	else
		text_printf(out, "%-3s=%04x %08x %08x %08x", name, s->selector, (uint32_t)s->base,
			    s->limit, flags);
	if (!form->protected_mode || !(flags & SEGMENT_P)) {
		text_printf(out, "\n");
		return;
	}
	text_printf(out, " DPL=%d ", s->dpl & 3);
	if (!(flags & SEGMENT_S)) {
		text_printf(out, "%s\n", system_type(s->type, form->lma));
		return;
	}
	if (code)
		text_printf(out, "%s", flags & SEGMENT_L ? "CS64" : flags & SEGMENT_DB ? "CS32" : "CS16");
	else
		text_printf(out, "%s", flags & SEGMENT_DB || form->lma ? "DS  " : "DS16");
	text_printf(out, " [%c%c%c]\n",
		    s->type & TYPE_CONFORMING ? code ? 'C' : 'E' : '-',
		    s->type & TYPE_READABLE ? code ? 'R' : 'W' : '-',
		    s->type & TYPE_ACCESSED ? 'A' : '-');
}

static void print_segments(struct text *out, const struct kvm_sregs2 *s, const struct form *form)
{
	print_segment(out, "ES", &s->es, form);
	print_segment(out, "CS", &s->cs, form);
	print_segment(out, "SS", &s->ss, form);
	print_segment(out, "DS", &s->ds, form);
	print_segment(out, "FS", &s->fs, form);
	print_segment(out, "GS", &s->gs, form);
	print_segment(out, "LDT", &s->ldt, form);
	print_segment(out, "TR", &s->tr, form);
}

static void print_control(struct text *out, const struct kvm_sregs2 *s, const struct form *form)
{
	if (form->lma)
		text_printf(out, "GDT=     %016llx %08x\nIDT=     %016llx %08x\n"
			    "CR0=%08x CR2=%016llx CR3=%016llx CR4=%08x\n",
			    s->gdt.base, s->gdt.limit, s->idt.base, s->idt.limit,
			    (uint32_t)s->cr0, s->cr2, s->cr3, (uint32_t)s->cr4);
	else
		text_printf(out, "GDT=     %08x %08x\nIDT=     %08x %08x\n"
			    "CR0=%08x CR2=%08x CR3=%08x CR4=%08x\n",
			    (uint32_t)s->gdt.base, s->gdt.limit, (uint32_t)s->idt.base,
			    s->idt.limit, (uint32_t)s->cr0, (uint32_t)s->cr2, (uint32_t)s->cr3,
			    (uint32_t)s->cr4);
	if (paging_mode(s) == PAGING_PAE && (s->flags & KVM_SREGS2_FLAGS_PDPTRS_VALID))
		text_printf(out, "PDPTR0=%016llx PDPTR1=%016llx PDPTR2=%016llx PDPTR3=%016llx\n",
			    s->pdptrs[0], s->pdptrs[1], s->pdptrs[2], s->pdptrs[3]);
}

static void print_debug(struct text *out, const struct kvm_debugregs *d)
{
	for (int i = 0; i < 4; i++)
		text_printf(out, "DR%d=%016llx ", i, d->db[i]);
	text_printf(out, "\nDR6=%016llx DR7=%016llx\n", d->dr6, d->dr7);
}

static uint64_t load64(const uint8_t *bytes)
{
	uint64_t value;

	memcpy(&value, bytes, sizeof(value));
	return value;
}

static void print_x87(struct text *out, const struct kvm_fpu *fpu)
{
	text_printf(out, "FCW=%04x FSW=%04x [ST=%d] FTW=%02x MXCSR=%08x\n", fpu->fcw, fpu->fsw,
		    fpu->fsw >> 11 & 7, fpu->ftwx, fpu->mxcsr);
	for (int i = 0; i < 8; i++)
		text_printf(out, "FPR%d=%016" PRIx64 " %04x%c", i, load64(fpu->fpr[i]),
			    fpu->fpr[i][8] | fpu->fpr[i][9] << 8, i % 2 ? '\n' : ' ');
}

static void print_xmm(struct text *out, const struct kvm_fpu *fpu, const struct form *form)
{
	for (int i = 0; i < (form->cs64 ? 16 : 8); i++)
		text_printf(out, "XMM%02d=%016" PRIx64 " %016" PRIx64 "%c", i,
			    load64(fpu->xmm[i] + 8), load64(fpu->xmm[i]), i % 2 ? '\n' : ' ');
}

/* One register a line, highest part first. */
static void print_wide(struct text *out, const char *name, int registers, int parts,
		       const struct hmp_vectors *v)
{
	for (int i = 0; i < registers; i++) {
		text_printf(out, "%s%02d=", name, i);
		for (int part = parts - 1; part >= 0; part--)
			text_printf(out, "%016" PRIx64 "%c", v->zmm[i][part], part ? ' ' : '\n');
	}
}

static void print_vectors(struct text *out, const struct hmp_registers *r, const struct form *form)
{
	const struct hmp_vectors *v = r->vectors;

	if (v && (v->xcr0 & XCR0_AVX512) == XCR0_AVX512) {
		for (int i = 0; i < 8; i++)
			text_printf(out, "Opmask%02d=%016" PRIx64 "%c", i, v->opmask[i],
				    i % 4 == 3 ? '\n' : ' ');
		print_wide(out, "ZMM", form->cs64 ? 32 : 8, 8, v);
	} else if (v && (v->xcr0 & XCR0_AVX)) {
		print_wide(out, "YMM", form->cs64 ? 16 : 8, 4, v);
	} else {
		print_xmm(out, r->fpu, form);
	}
}

void hmp_print_registers(struct text *out, int cpu, const struct hmp_registers *r)
{
	struct form form = {
		.protected_mode = r->sregs->cr0 & CR0_PE,
		.lma = r->sregs->efer & EFER_LMA,
		.cs64 = (r->sregs->efer & EFER_LMA) && r->sregs->cs.l,
	};

	text_printf(out, "\nCPU#%d\n", cpu);
	print_general(out, r->regs, &form);
	print_flags(out, r, &form);
	print_segments(out, r->sregs, &form);
	print_control(out, r->sregs, &form);
	if (r->debugregs)
		print_debug(out, r->debugregs);
	text_printf(out, "EFER=%016llx\n", r->sregs->efer);
	print_x87(out, r->fpu);
	print_vectors(out, r, &form);
}

/*
 * Copies one component out of an XSAVE area: `count` pieces of `piece` bytes, the n-th to
 * (uint8_t *)to + n * stride.  A component that XSTATE_BV does not name is in its initial state,
 * zero.
 */
struct component {
	unsigned int number;            /* bit of XCR0 and subleaf of CPUID leaf 0xd */
	unsigned int count, piece;
	void *to;
	size_t stride;
};

static void take_component(struct hmp_vectors *v, const struct component *c, const uint8_t *area,
			   size_t size, const struct kvm_cpuid2 *cpuid)
{
	size_t wanted = (size_t)c->count * c->piece;

	for (unsigned int i = 0; i < cpuid->nent; i++) {
		const struct kvm_cpuid_entry2 *entry = &cpuid->entries[i];

		if (entry->function != 0xd || entry->index != c->number)
			continue;
		if (entry->eax < wanted || entry->ebx > size || size - entry->ebx < wanted)
			continue;
		if (bit(load64(area + XSAVE_XSTATE_BV), c->number))
			for (unsigned int n = 0; n < c->count; n++)
				memcpy((uint8_t *)c->to + n * c->stride,
				       area + entry->ebx + n * c->piece, c->piece);
		return;
	}
	v->xcr0 &= ~(1ULL << c->number);
}

void hmp_vectors_init(struct hmp_vectors *v, uint64_t xcr0, const struct kvm_xsave *xsave,
		      size_t size, const struct kvm_cpuid2 *cpuid)
{
	const uint8_t *area = (const uint8_t *)xsave;
	const struct component components[] = {
		{ 2, 16, 16, &v->zmm[0][2], sizeof(v->zmm[0]) },        /* YMM upper halves */
		{ 5, 8, 8, &v->opmask[0], sizeof(v->opmask[0]) },
		{ 6, 16, 32, &v->zmm[0][4], sizeof(v->zmm[0]) },        /* ZMM upper halves */
		{ 7, 16, 64, &v->zmm[16][0], sizeof(v->zmm[0]) },       /* ZMM16 and up */
	};

	memset(v, 0, sizeof(*v));
	v->xcr0 = xcr0;
	if (load64(area + XSAVE_XSTATE_BV) & XSTATE_SSE)
		for (unsigned int i = 0; i < 16; i++)
			memcpy(v->zmm[i], area + XSAVE_XMM + i * 16, 16);
	for (unsigned int i = 0; i < sizeof(components) / sizeof(components[0]); i++)
		if (xcr0 & 1ULL << components[i].number)
			take_component(v, &components[i], area, size, cpuid);
}
