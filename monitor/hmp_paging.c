/* SPDX-License-Identifier: MIT */
#include <inttypes.h>

#include "monitor/hmp.h"
#include "vmm/pagewalk.h"

#define ENTRY_PS        (1ULL << 7)

/* Bits of a leaf entry, with the letters that info tlb shows for them, in its order. */
static const struct {
	uint64_t bit;
	char letter;
} entry_flags[] = {
	{ 1ULL << 63, 'X' }, { 1ULL << 8, 'G' }, { ENTRY_PS, 'P' }, { 1ULL << 6, 'D' },
	{ 1ULL << 5, 'A' }, { 1ULL << 4, 'C' }, { 1ULL << 3, 'T' }, { 1ULL << 2, 'U' },
	{ 1ULL << 1, 'W' },
};
#define NR_FLAGS        (sizeof(entry_flags) / sizeof(entry_flags[0]))

struct tlb {
	struct text *out;
	size_t limit;                   /* of out->len */
};

struct mem {
	struct text *out;
	size_t limit;
	unsigned int va_bits;
	/* The range that is being put together, as addresses without sign; end == start: none. */
	uint64_t start, end;
	bool user, writable;
};

static char *put_hex(char *p, uint64_t value)
{
	for (int shift = 60; shift >= 0; shift -= 4)
		*p++ = "0123456789abcdef"[value >> shift & 0xf];
	return p;
}

/* By hand: there may be many thousands of these lines, and the vCPU waits. */
static bool print_page(void *opaque, const struct page_mapping *m)
{
	struct tlb *tlb = opaque;
	/* In the entry of a 4 KiB page bit 7 is part of PAT, and no P. */
	uint64_t entry = m->size > 4096 ? m->entry : m->entry & ~ENTRY_PS;
	char line[16 + 2 + 16 + 1 + NR_FLAGS + 1], *p = line;

	p = put_hex(p, m->va);
	*p++ = ':';
	*p++ = ' ';
	p = put_hex(p, m->pa);
	*p++ = ' ';
	for (unsigned int i = 0; i < NR_FLAGS; i++)
		*p++ = entry & entry_flags[i].bit ? entry_flags[i].letter : '-';
	*p++ = '\n';
	text_append(tlb->out, line, p - line);
	return !tlb->out->failed && tlb->out->len < tlb->limit;
}

/* Why a list is not complete; `limit` is that of its text. */
static void print_cut(struct text *out, size_t limit)
{
	if (out->len >= limit)
		text_printf(out, "The list ends here, after %u MiB\n", HMP_OUTPUT_MAX >> 20);
	else
		text_printf(out, "The list ends here: the page tables refer to each other over "
			    "and over, or there are more than %u\n", PAGEWALK_MAX_TABLES);
}

void hmp_print_tlb(struct text *out, const struct page_space *space)
{
	struct tlb tlb = { .out = out, .limit = out->len + HMP_OUTPUT_MAX };

	if (paging_mode(space->sregs) == PAGING_NONE)
		text_printf(out, "PG disabled\n");
	else if (!page_space_each(space, print_page, &tlb))
		print_cut(out, tlb.limit);
}

/*
 * Ranges are put together without regard to the gap between the halves of a 4-level or 5-level
 * address space, and shown with the sign bit of such an address spread, their ends too; that is
 * QEMU's way.
 */
static uint64_t canonical(const struct mem *mem, uint64_t va)
{
	if (mem->va_bits == 32)
		return va;
	return va >> (mem->va_bits - 1) & 1 ? va | ~0ULL << mem->va_bits : va;
}

static void print_range(struct mem *mem)
{
	if (mem->end != mem->start)
		text_printf(mem->out, "%016" PRIx64 "-%016" PRIx64 " %016" PRIx64 " %cr%c\n",
			    canonical(mem, mem->start), canonical(mem, mem->end),
			    mem->end - mem->start, mem->user ? 'u' : '-',
			    mem->writable ? 'w' : '-');
}

static bool merge_page(void *opaque, const struct page_mapping *m)
{
	struct mem *mem = opaque;
	uint64_t va = m->va & ((1ULL << mem->va_bits) - 1);

	if (va != mem->end || m->user != mem->user || m->writable != mem->writable) {
		print_range(mem);
		mem->start = va;
		mem->user = m->user;
		mem->writable = m->writable;
	}
	mem->end = va + m->size;
	return !mem->out->failed && mem->out->len < mem->limit;
}

void hmp_print_mem(struct text *out, const struct page_space *space)
{
	enum paging_mode mode = paging_mode(space->sregs);
	struct mem mem = {
		.out = out,
		.limit = out->len + HMP_OUTPUT_MAX,
		.va_bits = mode == PAGING_5LEVEL ? 57 : mode == PAGING_4LEVEL ? 48 : 32,
	};
	bool complete;

	if (mode == PAGING_NONE) {
		text_printf(out, "PG disabled\n");
		return;
	}
	complete = page_space_each(space, merge_page, &mem);
	print_range(&mem);
	if (!complete)
		print_cut(out, mem.limit);
}
