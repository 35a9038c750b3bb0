/* SPDX-License-Identifier: MIT */
#ifndef VMM_PAGEWALK_H
#define VMM_PAGEWALK_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/memory.h"

/*
 * The guest's page tables, walked by us (KVM_TRANSLATE takes no permissions into account and the
 * vCPU's lock besides): Intel SDM vol. 3A, chapter 4.  Guest tables are untrusted: entries that
 * point outside RAM end that branch.  Reserved bits are not checked: what the processor would fault
 * on is shown as it stands.  Everything is const: walking never sets accessed bits.
 *
 * Physical addresses of mappings are as the tables have them: with nested paging the inner guest's.
 *
 * Threads: any; other vCPUs may run and change the tables meanwhile, each entry is read once.
 */
enum paging_mode { PAGING_NONE, PAGING_32BIT, PAGING_PAE, PAGING_4LEVEL, PAGING_5LEVEL };

enum paging_mode paging_mode(const struct kvm_sregs2 *sregs);

/*
 * Where a vCPU's virtual addresses lead, by its paging registers; vcpu_page_space() has that of a
 * vCPU.  Of one in an inner guest with nested paging these lead to what is physical memory to that
 * guest, and nested tables of the outer one's from there to RAM (Intel SDM vol. 3C, 28.3; AMD APM
 * vol. 2, 15.25).
 */
struct page_space {
	const struct memory *memory;
	const struct kvm_sregs2 *sregs;
	bool nested;
	bool ept;                       /* the nested tables have EPT's entries, else `outer`'s */
	struct kvm_sregs2 outer;        /* CR0, CR4, EFER, and as CR3 their root */
};

/* A leaf of the tables. */
struct page_mapping {
	uint64_t va;            /* canonical: sign-extended in 4- and 5-level paging */
	uint64_t pa;
	uint64_t size;          /* of the page, in bytes */
	uint64_t entry;         /* the leaf entry itself: G, D, A, PCD, PWT, U, W, P, NX in place */
	/* Rights of the whole path, every level taken together. */
	bool user, writable, executable;
};

/*
 * How many tables one page_space_each() enters at most.  Tables that refer to each other over and
 * over can describe 2^45 pages in a few KiB; this many tables of 4 KiB pages map 128 GiB, and take
 * a fraction of a second to walk.
 */
#define PAGEWALK_MAX_TABLES     (1u << 16)

/*
 * Calls `fn` for every present leaf in ascending order of address (lower half first) until it
 * returns false.  With PAGING_NONE nothing is called.  PDPTRs of a PAE guest are taken from `sregs`
 * where KVM_SREGS2_FLAGS_PDPTRS_VALID is set, else from memory.  Returns false when it did not get
 * to the end: `fn` ended it, or there were more than PAGEWALK_MAX_TABLES tables.
 */
bool page_space_each(const struct page_space *space,
		     bool (*fn)(void *opaque, const struct page_mapping *mapping), void *opaque);

/*
 * Translates one virtual address (a segment's base already added); mapping->va is where its page
 * begins.  With PAGING_NONE va is the address itself and the page everything.  In 32-bit and PAE
 * paging bits 63:32 of va do not count.  False when nothing is mapped there.
 */
bool page_space_translate(const struct page_space *space, uint64_t va,
			  struct page_mapping *mapping);

/*
 * Reads virtual memory across pages.  Returns the number of bytes read before the first gap, be it
 * a page that is not mapped or one that is mapped to something else than RAM.
 */
size_t page_space_read(const struct page_space *space, uint64_t va, void *buf, size_t len);

/*
 * Reads what is physical memory to the one whose paging registers `space` has, within a page of
 * 4 KiB.  False, and nothing is read, where there is no RAM.
 */
bool page_space_read_physical(const struct page_space *space, uint64_t pa, void *buf, size_t len);

#endif
