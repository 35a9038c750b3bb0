/* SPDX-License-Identifier: MIT */
#include "vmm/pagewalk.h"

#include <stddef.h>

#define CR0_PG          (1ULL << 31)
#define CR4_PSE         (1ULL << 4)
#define CR4_PAE         (1ULL << 5)
#define CR4_LA57        (1ULL << 12)
#define EFER_LMA        (1ULL << 10)
#define EFER_NXE        (1ULL << 11)

#define ENTRY_PRESENT   (1ULL << 0)
#define ENTRY_WRITABLE  (1ULL << 1)
#define ENTRY_USER      (1ULL << 2)
#define ENTRY_PS        (1ULL << 7)
#define ENTRY_NX        (1ULL << 63)

#define ADDRESS_64      0x000ffffffffff000ULL   /* bits 51:12 of entries and of CR3 */
#define ADDRESS_32      0xfffff000ULL
#define PDPT_ADDRESS    0xffffffe0ULL           /* of CR3 in PAE paging: 32-byte aligned */

#define PAGE_SIZE       4096ULL
#define LEVELS_MAX      5

/* One mode of paging as data.  Levels count from 0, the table whose entries map 4 KiB pages. */
struct paging {
	enum paging_mode mode;
	unsigned int levels;
	unsigned int bits;              /* that index a table */
	unsigned int va_bits;           /* of a linear address that are translated */
	unsigned int entry_size;        /* in bytes */
	unsigned int large_max;         /* highest level at which PS makes an entry a leaf */
	bool sign_extended;
	bool nx;                        /* EFER.NXE gives bit 63 its meaning */
	uint64_t present;               /* bits of which one makes an entry one */
	const struct kvm_sregs2 *sregs;
	const struct page_space *space;
};

struct rights {
	bool user, writable, executable;
};

enum paging_mode paging_mode(const struct kvm_sregs2 *sregs)
{
	if (!(sregs->cr0 & CR0_PG))
		return PAGING_NONE;
	if (!(sregs->cr4 & CR4_PAE))
		return PAGING_32BIT;
	if (!(sregs->efer & EFER_LMA))
		return PAGING_PAE;
	return sregs->cr4 & CR4_LA57 ? PAGING_5LEVEL : PAGING_4LEVEL;
}

static struct paging paging_of(const struct page_space *space)
{
	const struct kvm_sregs2 *sregs = space->sregs;
	struct paging p = {
		.mode = paging_mode(sregs),
		.bits = 9,
		.entry_size = 8,
		.nx = sregs->efer & EFER_NXE,
		/* Of EPT those for reading, writing and executing. */
		.present = space->ept && !space->nested ? 7 : ENTRY_PRESENT,
		.sregs = sregs,
		.space = space,
	};

	switch (p.mode) {
	case PAGING_NONE:
		break;
	case PAGING_32BIT:
		p.levels = 2;
		p.bits = 10;
		p.va_bits = 32;
		p.entry_size = 4;
		p.large_max = sregs->cr4 & CR4_PSE ? 1 : 0;
		break;
	case PAGING_PAE:
		p.levels = 3;
		p.va_bits = 32;
		p.large_max = 1;
		break;
	case PAGING_4LEVEL:
	case PAGING_5LEVEL:
		p.levels = p.mode == PAGING_5LEVEL ? 5 : 4;
		p.va_bits = p.mode == PAGING_5LEVEL ? 57 : 48;
		p.large_max = 2;
		p.sign_extended = true;
		break;
	}
	return p;
}

static unsigned int level_shift(const struct paging *p, unsigned int level)
{
	return 12 + level * p->bits;
}

/* The top table of PAE paging has 4 entries only. */
static unsigned int level_entries(const struct paging *p, unsigned int level)
{
	return p->mode == PAGING_PAE && level == 2 ? 4 : 1u << p->bits;
}

static uint64_t sign_extend(const struct paging *p, uint64_t va)
{
	if (!p->sign_extended)
		return va;
	return (uint64_t)((int64_t)(va << (64 - p->va_bits)) >> (64 - p->va_bits));
}

/*
 * Through the nested tables, which are a space of their own with nothing behind it.  Its addresses
 * have no sign, and none above those that the tables have room for leads anywhere (Intel SDM vol. 3C,
 * 29.3.2; AMD APM vol. 2, 15.25.6).
 */
bool page_space_place(const struct page_space *space, uint64_t pa, uint64_t *gpa, uint64_t *size)
{
	const struct page_space tables = {
		.memory = space->memory, .sregs = &space->outer, .ept = space->ept,
	};
	struct page_mapping mapping;
	struct paging p;

	*gpa = pa;
	*size = UINT64_MAX - pa;
	if (!space->nested)
		return true;
	p = paging_of(&tables);
	if (pa >> p.va_bits || !page_space_translate(&tables, sign_extend(&p, pa), &mapping))
		return false;
	*gpa = mapping.pa | (pa & (mapping.size - 1));
	*size = mapping.size - (pa & (mapping.size - 1));
	return true;
}

/* Within a page. */
static const void *physical(const struct paging *p, uint64_t pa, size_t len)
{
	uint64_t gpa, size;

	return page_space_place(p->space, pa, &gpa, &size) ? memory_at(p->space->memory, gpa, len) :
							     NULL;
}

/* The table that an entry (or CR3) refers to; NULL when it is not in RAM. */
static const void *next_table(const struct paging *p, uint64_t entry)
{
	return physical(p, entry & (p->mode == PAGING_32BIT ? ADDRESS_32 : ADDRESS_64),
			PAGE_SIZE);
}

/*
 * The PDPTRs of a PAE guest are registers that were loaded from memory once; where they are known,
 * memory has no say any more.
 */
static const void *root_table(const struct paging *p)
{
	if (p->mode != PAGING_PAE)
		return next_table(p, p->sregs->cr3);
	if (p->sregs->flags & KVM_SREGS2_FLAGS_PDPTRS_VALID)
		return p->sregs->pdptrs;
	return physical(p, p->sregs->cr3 & PDPT_ADDRESS, sizeof(p->sregs->pdptrs));
}

/* Guest memory, and PDPTRs that came in a structure of the kernel's own types. */
typedef uint32_t __attribute__((may_alias)) entry32;
typedef uint64_t __attribute__((may_alias)) entry64;

/* One load each: other vCPUs may be changing the tables while we look at them. */
static uint64_t load_entry(const struct paging *p, const void *table, unsigned int index)
{
	if (p->entry_size == 4)
		return __atomic_load_n((const entry32 *)table + index, __ATOMIC_RELAXED);
	return __atomic_load_n((const entry64 *)table + index, __ATOMIC_RELAXED);
}

static bool is_leaf(const struct paging *p, unsigned int level, uint64_t entry)
{
	return level == 0 || (level <= p->large_max && (entry & ENTRY_PS));
}

/* PDPTEs of PAE paging have no rights: the bits are reserved there (SDM vol. 3A, table 4-8). */
static void restrict_rights(const struct paging *p, unsigned int level, uint64_t entry,
			    struct rights *rights)
{
	if (p->mode == PAGING_PAE && level == 2)
		return;
	rights->user = rights->user && (entry & ENTRY_USER);
	rights->writable = rights->writable && (entry & ENTRY_WRITABLE);
	rights->executable = rights->executable && !(p->nx && (entry & ENTRY_NX));
}

static void fill_mapping(const struct paging *p, unsigned int level, uint64_t entry, uint64_t va,
			 const struct rights *rights, struct page_mapping *m)
{
	m->size = 1ULL << level_shift(p, level);
	m->va = sign_extend(p, va & ~(m->size - 1));
	m->entry = entry;
	if (p->mode == PAGING_32BIT && level == 1)
		/* PSE-36: bits 20:13 are bits 39:32 of the address. */
		m->pa = (entry & 0xffc00000) | (entry >> 13 & 0xff) << 32;
	else
		m->pa = entry & ADDRESS_64 & ~(m->size - 1);
	m->user = rights->user;
	m->writable = rights->writable;
	m->executable = rights->executable;
}

bool page_space_each(const struct page_space *space,
		     bool (*fn)(void *opaque, const struct page_mapping *mapping), void *opaque)
{
	struct paging p = paging_of(space);
	struct {
		const void *table;
		unsigned int index;
		uint64_t va;                    /* of the table's first entry */
		struct rights rights;           /* of the path to the table */
	} at[LEVELS_MAX];
	struct page_mapping mapping;
	unsigned int level, tables = 1;

	if (p.mode == PAGING_NONE)
		return true;
	level = p.levels - 1;
	at[level].table = root_table(&p);
	at[level].index = 0;
	at[level].va = 0;
	at[level].rights = (struct rights){ true, true, true };
	if (!at[level].table)
		return true;

	for (;;) {
		struct rights rights = at[level].rights;
		uint64_t entry, va;

		if (at[level].index == level_entries(&p, level)) {
			if (++level == p.levels)
				return true;
			continue;
		}
		va = at[level].va + ((uint64_t)at[level].index << level_shift(&p, level));
		entry = load_entry(&p, at[level].table, at[level].index++);
		if (!(entry & p.present))
			continue;
		restrict_rights(&p, level, entry, &rights);
		if (is_leaf(&p, level, entry)) {
			fill_mapping(&p, level, entry, va, &rights, &mapping);
			if (!fn(opaque, &mapping))
				return false;
			continue;
		}
		at[level - 1].table = next_table(&p, entry);
		if (!at[level - 1].table)
			continue;
		if (tables++ == PAGEWALK_MAX_TABLES)
			return false;
		level--;
		at[level].index = 0;
		at[level].va = va;
		at[level].rights = rights;
	}
}

bool page_space_translate(const struct page_space *space, uint64_t va,
			  struct page_mapping *mapping)
{
	struct paging p = paging_of(space);
	struct rights rights = { true, true, true };
	unsigned int level;
	const void *table;
	uint64_t entry;

	if (p.mode == PAGING_NONE) {
		*mapping = (struct page_mapping){
			.size = UINT64_MAX, .user = true, .writable = true, .executable = true,
		};
		return true;
	}
	if (!p.sign_extended)
		va &= UINT32_MAX;
	else if (sign_extend(&p, va) != va)
		return false;

	table = root_table(&p);
	for (level = p.levels - 1; table; level--) {
		entry = load_entry(&p, table, va >> level_shift(&p, level) &
				   (level_entries(&p, level) - 1));
		if (!(entry & p.present))
			return false;
		restrict_rights(&p, level, entry, &rights);
		if (is_leaf(&p, level, entry)) {
			fill_mapping(&p, level, entry, va, &rights, mapping);
			return true;
		}
		table = next_table(&p, entry);
	}
	return false;
}

bool page_space_read_physical(const struct page_space *space, uint64_t pa, void *buf, size_t len)
{
	uint64_t gpa, size;

	return page_space_place(space, pa, &gpa, &size) &&
	       memory_read(space->memory, gpa, buf, len);
}

bool page_space_locate(const struct page_space *space, uint64_t va, uint64_t *gpa)
{
	struct page_mapping mapping;
	uint64_t pa = va, size;

	if (paging_mode(space->sregs) != PAGING_NONE) {
		if (!page_space_translate(space, va, &mapping))
			return false;
		pa = mapping.pa | (va & (mapping.size - 1));
	}
	return page_space_place(space, pa, gpa, &size);
}

size_t page_space_read(const struct page_space *space, uint64_t va, void *buf, size_t len)
{
	size_t done = 0, chunk;
	uint64_t gpa;

	/*
	 * RAM begins and ends at multiples of 4 KiB, so a piece that does not cross one is RAM as a
	 * whole or not at all, whatever the size of the page around it.
	 */
	while (done < len) {
		chunk = PAGE_SIZE - (va & (PAGE_SIZE - 1));
		if (chunk > len - done)
			chunk = len - done;
		if (!page_space_locate(space, va, &gpa) ||
		    !memory_read(space->memory, gpa, (uint8_t *)buf + done, chunk))
			break;
		done += chunk;
		va += chunk;
	}
	return done;
}
