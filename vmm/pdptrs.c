/* SPDX-License-Identifier: MIT */
#include "vmm/pdptrs.h"

#include <errno.h>
#include <string.h>

#include "vmm/cpuid.h"

#define NR_PDPTRS 4
#define ALL       ((1u << NR_PDPTRS) - 1)

#define PDPT_ADDRESS  0xffffffe0ULL     /* of CR3 */
#define ENTRY_PRESENT (1ULL << 0)
#define ENTRY_ZEROS   0x1e6ULL          /* bits 2:1 and 8:5 of a present one: SDM table 4-8 */

/* Bits whose change loads the PDPTRs: CD, NW and PG; PSE, PAE, PGE and SMEP. */
#define CR0_LOADS (1ULL << 30 | 1ULL << 29 | 1ULL << 31)
#define CR4_LOADS (1ULL << 4 | 1ULL << 5 | 1ULL << 7 | 1ULL << 20)

/* Which bits of an entry have to be 0.  Addresses have 36 bits where CPUID does not say. */
static uint64_t reserved_bits(const struct kvm_cpuid2 *cpuid)
{
	const struct kvm_cpuid_entry2 *entry = cpuid_find(cpuid, 0x80000008, 0);
	unsigned int bits = entry && entry->eax & 0xff ? entry->eax & 0xff : 36;

	return (bits < 64 ? ~0ULL << bits : 0) | ENTRY_ZEROS;
}

static uint64_t wrong_bits(uint64_t entry, uint64_t reserved)
{
	return entry & ENTRY_PRESENT ? entry & reserved : 0;
}

static bool loads(const struct kvm_sregs2 *before, const struct kvm_sregs2 *after, bool cr3_written)
{
	return cr3_written || !vcpu_sregs_use_pdptrs(before) ||
	       (before->cr0 ^ after->cr0) & CR0_LOADS || (before->cr4 ^ after->cr4) & CR4_LOADS;
}

/* From memory, but those of `set`. */
static int load(const struct page_space *space, uint64_t reserved, struct kvm_sregs2 *after,
		unsigned int set, struct error *err)
{
	unsigned long long at = after->cr3 & PDPT_ADDRESS;
	uint64_t entries[NR_PDPTRS];

	if (set == ALL)
		return 0;
	if (!page_space_read_physical(space, at, entries, sizeof(entries)))
		return error_set(err, EINVAL, "The PDPTRs can not be loaded from 0x%llx, where CR3 "
				 "points to: there is no memory", at);
	for (unsigned int i = 0; i < NR_PDPTRS; i++) {
		if (set >> i & 1)
			continue;
		if (wrong_bits(entries[i], reserved))
			return error_set(err, EINVAL, "The PDPTRs can not be loaded from 0x%llx, "
					 "where CR3 points to: entry %u is 0x%llx, which has "
					 "reserved bits set", at, i,
					 (unsigned long long)entries[i]);
		after->pdptrs[i] = entries[i];
	}
	return 0;
}

static int check_set(const struct kvm_sregs2 *after, uint64_t reserved, unsigned int set,
		     bool host_has_sregs2, struct error *err)
{
	unsigned long long wrong;

	for (unsigned int i = 0; i < NR_PDPTRS; i++) {
		if (!(set >> i & 1))
			continue;
		if (!host_has_sregs2)
			return error_set(err, ENOTSUP, "Register 'pdptr%u' can not be set: this "
					 "host's KVM does not give access to it "
					 "(KVM_CAP_SREGS2)", i);
		if (!vcpu_sregs_use_pdptrs(after))
			return error_set(err, EINVAL, "Register 'pdptr%u' can not be set: the vCPU "
					 "is not in PAE paging", i);
		wrong = wrong_bits(after->pdptrs[i], reserved);
		if (wrong)
			return error_set(err, EINVAL, "Register 'pdptr%u' can not be 0x%llx: bits "
					 "0x%llx are reserved", i,
					 (unsigned long long)after->pdptrs[i], wrong);
	}
	return 0;
}

int pdptrs_after_edit(const struct page_space *space, const struct kvm_cpuid2 *cpuid,
		      bool host_has_sregs2, struct kvm_sregs2 *after, unsigned int set,
		      bool cr3_written, struct error *err)
{
	uint64_t reserved = reserved_bits(cpuid);

	if (check_set(after, reserved, set, host_has_sregs2, err) < 0)
		return -1;
	if (!host_has_sregs2)
		return 0;
	if (!vcpu_sregs_use_pdptrs(after)) {
		after->flags &= ~(__u64)KVM_SREGS2_FLAGS_PDPTRS_VALID;
		memset(after->pdptrs, 0, sizeof(after->pdptrs));
		return 0;
	}
	if (loads(space->sregs, after, cr3_written) && load(space, reserved, after, set, err) < 0)
		return -1;
	after->flags |= KVM_SREGS2_FLAGS_PDPTRS_VALID;
	return 0;
}
