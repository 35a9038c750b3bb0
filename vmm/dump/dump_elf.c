/* SPDX-License-Identifier: MIT */
#include "vmm/dump/dump_internal.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

#include "vmm/segment.h"

/*
 * The core file: header, program headers (the notes' first), if there are too many for the header
 * to count a section header that does, notes, memory.  System V ABI, and elf(5).
 */

#define EFER_LMA        (1ULL << 10)

/* Version of the note that describes a whole vCPU, and its size in bytes. */
#define QEMU_NOTE_VERSION 1
#define QEMU_NOTE_SIZE  440

/* struct elf_prstatus of Linux: what comes in front of the registers, and how long all of it is. */
#define PRSTATUS64_PID  32
#define PRSTATUS64_REGS 112
#define PRSTATUS64_SIZE 336
#define PRSTATUS32_PID  24
#define PRSTATUS32_REGS 72
#define PRSTATUS32_SIZE 144

enum dump_class dump_class(const struct dump_job *job)
{
	const struct memory *memory = job->memory;
	const struct memory_part *last = &memory->part[memory->nr_parts - 1];

	for (unsigned int i = 0; i < job->nr_cpus; i++)
		if (job->cpu[i].sregs.efer & EFER_LMA)
			return DUMP_ELF64;
	return last->gpa + last->size > 1ULL << 32 ? DUMP_ELF64_386 : DUMP_ELF32;
}

static void put_zeros(struct bytes_out *out, size_t len)
{
	static const uint8_t zeros[PRSTATUS64_SIZE];

	bytes_put(out, zeros, len);
}

/* ---- notes ---- */

/* Names of four letters alone, so that nothing needs to be filled up but the zero at their end. */
static void put_note(struct bytes_out *out, const char name[5], uint32_t type, uint32_t size)
{
	bytes_put_u32(out, 5);
	bytes_put_u32(out, size);
	bytes_put_u32(out, type);
	bytes_put(out, name, 5);
	put_zeros(out, 3);
}

/* struct user_regs_struct of x86-64. */
static void put_prstatus64(struct bytes_out *out, unsigned int index, const struct dump_cpu *cpu)
{
	const struct kvm_regs *r = &cpu->regs;
	const struct kvm_sregs2 *s = &cpu->sregs;
	const uint64_t regs[] = {
		r->r15, r->r14, r->r13, r->r12, r->rbp, r->rbx, r->r11, r->r10, r->r9, r->r8,
		r->rax, r->rcx, r->rdx, r->rsi, r->rdi, 0 /* orig_rax */, r->rip, s->cs.selector,
		r->rflags, r->rsp, s->ss.selector, s->fs.base, s->gs.base, s->ds.selector,
		s->es.selector, s->fs.selector, s->gs.selector,
	};

	put_note(out, "CORE", NT_PRSTATUS, PRSTATUS64_SIZE);
	put_zeros(out, PRSTATUS64_PID);
	bytes_put_u32(out, index + 1);
	put_zeros(out, PRSTATUS64_REGS - PRSTATUS64_PID - 4);
	for (size_t i = 0; i < sizeof(regs) / sizeof(regs[0]); i++)
		bytes_put_u64(out, regs[i]);
	put_zeros(out, PRSTATUS64_SIZE - PRSTATUS64_REGS - sizeof(regs));
}

/* struct user_regs_struct of i386. */
static void put_prstatus32(struct bytes_out *out, unsigned int index, const struct dump_cpu *cpu)
{
	const struct kvm_regs *r = &cpu->regs;
	const struct kvm_sregs2 *s = &cpu->sregs;
	const uint32_t regs[] = {
		(uint32_t)r->rbx, (uint32_t)r->rcx, (uint32_t)r->rdx, (uint32_t)r->rsi,
		(uint32_t)r->rdi, (uint32_t)r->rbp, (uint32_t)r->rax, s->ds.selector,
		s->es.selector, s->fs.selector, s->gs.selector, 0 /* orig_eax */,
		(uint32_t)r->rip, s->cs.selector, (uint32_t)r->rflags, (uint32_t)r->rsp,
		s->ss.selector,
	};

	put_note(out, "CORE", NT_PRSTATUS, PRSTATUS32_SIZE);
	put_zeros(out, PRSTATUS32_PID);
	bytes_put_u32(out, index + 1);
	put_zeros(out, PRSTATUS32_REGS - PRSTATUS32_PID - 4);
	for (size_t i = 0; i < sizeof(regs) / sizeof(regs[0]); i++)
		bytes_put_u32(out, regs[i]);
	put_zeros(out, PRSTATUS32_SIZE - PRSTATUS32_REGS - sizeof(regs));
}

static void put_segment(struct bytes_out *out, uint32_t selector, uint32_t limit,
			uint32_t attributes, uint64_t base)
{
	bytes_put_u32(out, selector);
	bytes_put_u32(out, limit);
	bytes_put_u32(out, attributes);
	bytes_put_u32(out, 0);
	bytes_put_u64(out, base);
}

/* QEMU's own note: what of a vCPU the other has no place for.  crash(8) goes by it. */
static void put_qemu(struct bytes_out *out, const struct dump_cpu *cpu)
{
	const struct kvm_regs *r = &cpu->regs;
	const struct kvm_sregs2 *s = &cpu->sregs;
	const uint64_t regs[] = {
		r->rax, r->rbx, r->rcx, r->rdx, r->rsi, r->rdi, r->rsp, r->rbp,
		r->r8, r->r9, r->r10, r->r11, r->r12, r->r13, r->r14, r->r15, r->rip, r->rflags,
	};
	const struct kvm_segment *segments[] = {
		&s->cs, &s->ds, &s->es, &s->fs, &s->gs, &s->ss, &s->ldt, &s->tr,
	};
	const uint64_t cr[] = { s->cr0, 0 /* there is no CR1 */, s->cr2, s->cr3, s->cr4 };

	put_note(out, "QEMU", 0, QEMU_NOTE_SIZE);
	bytes_put_u32(out, QEMU_NOTE_VERSION);
	bytes_put_u32(out, QEMU_NOTE_SIZE);
	for (size_t i = 0; i < sizeof(regs) / sizeof(regs[0]); i++)
		bytes_put_u64(out, regs[i]);
	for (size_t i = 0; i < sizeof(segments) / sizeof(segments[0]); i++)
		put_segment(out, segments[i]->selector, segments[i]->limit,
			    segment_attributes(segments[i]), segments[i]->base);
	put_segment(out, 0, s->gdt.limit, 0, s->gdt.base);
	put_segment(out, 0, s->idt.limit, 0, s->idt.base);
	for (size_t i = 0; i < sizeof(cr) / sizeof(cr[0]); i++)
		bytes_put_u64(out, cr[i]);
	bytes_put_u64(out, cpu->kernel_gs_base);
}

/* All of one kind first, which is where readers look for threads. */
static void put_notes(struct bytes_out *out, const struct dump_job *job, enum dump_class class)
{
	for (unsigned int i = 0; i < job->nr_cpus; i++)
		if (class == DUMP_ELF64)
			put_prstatus64(out, i, &job->cpu[i]);
		else
			put_prstatus32(out, i, &job->cpu[i]);
	for (unsigned int i = 0; i < job->nr_cpus; i++)
		put_qemu(out, &job->cpu[i]);
}

/* ---- headers ---- */

/* Sizes of what comes in front of memory. */
struct layout {
	enum dump_class class;
	uint64_t phnum;
	uint64_t ehdr, phdr, shdr;      /* bytes of one */
	uint64_t phdrs_at, shdrs_at, notes_at, notes, end;
};

static struct layout lay_out(const struct dump_job *job, uint64_t notes)
{
	struct layout l = { .class = dump_class(job), .notes = notes };

	l.phnum = job->map.nr_loads + 1;
	l.ehdr = l.class == DUMP_ELF32 ? sizeof(Elf32_Ehdr) : sizeof(Elf64_Ehdr);
	l.phdr = l.class == DUMP_ELF32 ? sizeof(Elf32_Phdr) : sizeof(Elf64_Phdr);
	l.shdr = l.class == DUMP_ELF32 ? sizeof(Elf32_Shdr) : sizeof(Elf64_Shdr);
	l.phdrs_at = l.ehdr;
	l.shdrs_at = l.phdrs_at + l.phnum * l.phdr;
	l.notes_at = l.shdrs_at + (l.phnum >= PN_XNUM ? l.shdr : 0);
	l.end = l.notes_at + notes;
	return l;
}

/* e_ident of both classes, and what follows it in each. */
static void put_header(struct bytes_out *out, const struct layout *l)
{
	bool many = l->phnum >= PN_XNUM;
	uint8_t ident[EI_NIDENT] = {
		ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3,
		l->class == DUMP_ELF32 ? ELFCLASS32 : ELFCLASS64, ELFDATA2LSB, EV_CURRENT,
	};
	Elf32_Ehdr h32 = {
		.e_type = ET_CORE, .e_machine = EM_386, .e_version = EV_CURRENT,
		.e_phoff = (uint32_t)l->phdrs_at, .e_shoff = many ? (uint32_t)l->shdrs_at : 0,
		.e_ehsize = sizeof(Elf32_Ehdr), .e_phentsize = sizeof(Elf32_Phdr),
		.e_phnum = many ? PN_XNUM : (uint16_t)l->phnum,
		.e_shentsize = sizeof(Elf32_Shdr), .e_shnum = many,
	};
	Elf64_Ehdr h64 = {
		.e_type = ET_CORE, .e_machine = l->class == DUMP_ELF64 ? EM_X86_64 : EM_386,
		.e_version = EV_CURRENT, .e_phoff = l->phdrs_at,
		.e_shoff = many ? l->shdrs_at : 0, .e_ehsize = sizeof(Elf64_Ehdr),
		.e_phentsize = sizeof(Elf64_Phdr), .e_phnum = many ? PN_XNUM : (uint16_t)l->phnum,
		.e_shentsize = sizeof(Elf64_Shdr), .e_shnum = many,
	};

	memcpy(h32.e_ident, ident, sizeof(ident));
	memcpy(h64.e_ident, ident, sizeof(ident));
	if (l->class == DUMP_ELF32)
		bytes_put(out, &h32, sizeof(h32));
	else
		bytes_put(out, &h64, sizeof(h64));
}

static void put_program_header(struct bytes_out *out, const struct layout *l, const Elf64_Phdr *p)
{
	Elf32_Phdr p32 = {
		.p_type = p->p_type, .p_offset = (uint32_t)p->p_offset,
		.p_vaddr = (uint32_t)p->p_vaddr, .p_paddr = (uint32_t)p->p_paddr,
		.p_filesz = (uint32_t)p->p_filesz, .p_memsz = (uint32_t)p->p_memsz,
		.p_flags = p->p_flags, .p_align = (uint32_t)p->p_align,
	};

	if (l->class == DUMP_ELF32)
		bytes_put(out, &p32, sizeof(p32));
	else
		bytes_put(out, p, sizeof(*p));
}

static void put_program_headers(struct bytes_out *out, const struct layout *l,
				const struct dump_job *job)
{
	put_program_header(out, l, &(Elf64_Phdr) {
		.p_type = PT_NOTE, .p_offset = l->notes_at, .p_filesz = l->notes,
		.p_memsz = l->notes, .p_align = 4,
	});
	for (size_t i = 0; i < job->map.nr_loads; i++) {
		const struct dump_load *load = &job->map.load[i];
		const struct dump_block *block = &job->map.block[load->block];

		/*
		 * No p_align, though offsets have one: by that crash(8) tells such a file from one
		 * of another kind of dump, as which it can not read it.
		 */
		put_program_header(out, l, &(Elf64_Phdr) {
			.p_type = PT_LOAD, .p_flags = PF_R | PF_W | PF_X,
			.p_offset = block->offset + (load->pa - block->pa),
			.p_vaddr = load->va, .p_paddr = load->pa,
			.p_filesz = load->size, .p_memsz = load->size,
		});
	}
}

/* The number of program headers, where the header has no room for it. */
static void put_section_header(struct bytes_out *out, const struct layout *l)
{
	Elf32_Shdr h32 = { .sh_info = (uint32_t)l->phnum };
	Elf64_Shdr h64 = { .sh_info = (uint32_t)l->phnum };

	if (l->phnum < PN_XNUM)
		return;
	if (l->class == DUMP_ELF32)
		bytes_put(out, &h32, sizeof(h32));
	else
		bytes_put(out, &h64, sizeof(h64));
}

int dump_elf(struct dump_job *job, struct bytes_out *out, struct error *err)
{
	struct bytes_out notes = { 0 };
	struct layout l;
	uint64_t end;

	put_notes(&notes, job, dump_class(job));
	l = lay_out(job, notes.len);
	end = l.end;
	for (unsigned int i = 0; i < job->map.nr_blocks; i++) {
		struct dump_block *block = &job->map.block[i];

		/* A page of the guest is a page of the file: holes, and mappings of it, are whole. */
		block->offset = ((end + MEMORY_PAGE - 1) & -MEMORY_PAGE) +
				(block->pa & (MEMORY_PAGE - 1));
		end = block->offset + block->size;
	}
	put_header(out, &l);
	put_program_headers(out, &l, job);
	put_section_header(out, &l);
	bytes_put(out, notes.data, notes.len);
	if (notes.failed)
		out->failed = true;
	bytes_out_free(&notes);
	if (out->failed)
		return error_errno(err, ENOMEM, "dump: headers and notes");
	return 0;
}
