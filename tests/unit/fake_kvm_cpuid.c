/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/fake_kvm_internal.h"

/* CPUID: what the host offers, and the tables of vCPUs. */

static size_t cpuid_size(uint32_t nent)
{
	return sizeof(struct kvm_cpuid2) + nent * sizeof(struct kvm_cpuid_entry2);
}

void fake_kvm_set_cpuid_leaves(struct fake_kvm *fake, unsigned int nr)
{
	pthread_mutex_lock(&fake->lock);
	fake->nr_leaves = nr;
	pthread_mutex_unlock(&fake->lock);
}

static void keep_table(struct fake_kvm *fake, struct kvm_cpuid2 **kept,
		       const struct kvm_cpuid_entry2 *entries, unsigned int nr)
{
	struct kvm_cpuid2 *table = fake_alloc(cpuid_size(nr));

	table->nent = nr;
	memcpy(table->entries, entries, nr * sizeof(entries[0]));
	pthread_mutex_lock(&fake->lock);
	free(*kept);
	*kept = table;
	pthread_mutex_unlock(&fake->lock);
}

void fake_kvm_set_cpuid(struct fake_kvm *fake, const struct kvm_cpuid_entry2 *entries,
			unsigned int nr)
{
	keep_table(fake, &fake->supported_cpuid, entries, nr);
}

void fake_kvm_set_emulated_cpuid(struct fake_kvm *fake, const struct kvm_cpuid_entry2 *entries,
				 unsigned int nr)
{
	keep_table(fake, &fake->emulated_cpuid, entries, nr);
}

void fake_kvm_alter_cpuid(struct fake_kvm *fake, fake_alter_fn *fn, void *opaque)
{
	pthread_mutex_lock(&fake->lock);
	fake->alter_cpuid = fn;
	fake->alter_opaque = opaque;
	pthread_mutex_unlock(&fake->lock);
}

static int copy_table(struct kvm_cpuid2 *to, const struct kvm_cpuid2 *from)
{
	if (to->nent < from->nent)
		return -E2BIG;
	memcpy(to->entries, from->entries, from->nent * sizeof(from->entries[0]));
	to->nent = from->nent;
	return 0;
}

int fake_get_supported_cpuid(const struct fake_object *o, void *arg)
{
	struct kvm_cpuid2 *table = arg;
	unsigned int nr = o->fake->nr_leaves;

	if (o->fake->supported_cpuid)
		return copy_table(table, o->fake->supported_cpuid);
	if (table->nent < nr)
		return -E2BIG;
	for (unsigned int i = 0; i < nr; i++) {
		table->entries[i] = (struct kvm_cpuid_entry2) {
			.function = i < nr / 2 ? i : 0x80000000 + i - nr / 2,
			.eax = i < nr / 2 ? nr / 2 - 1 : 0x80000000 + nr - nr / 2 - 1,
			.ebx = 0x1000 + i, .ecx = 0x2000 + i, .edx = 0x3000 + i,
		};
		if (table->entries[i].function == 0x80000008)
			table->entries[i].eax = 0x3028; /* sizes of addresses */
	}
	table->nent = nr;
	return 0;
}

int fake_get_emulated_cpuid(const struct fake_object *o, void *arg)
{
	static const struct kvm_cpuid2 none;

	return copy_table(arg, o->fake->emulated_cpuid ? o->fake->emulated_cpuid : &none);
}

int fake_get_cpuid2(const struct fake_object *o, void *arg)
{
	const struct kvm_cpuid2 *now = o->vcpu->cpuid;
	struct kvm_cpuid2 *table = arg;
	uint32_t nent = now ? now->nent : 0;

	if (table->nent < nent)
		return -E2BIG;          /* without telling how many there are */
	if (nent)
		memcpy(table->entries, now->entries, nent * sizeof(now->entries[0]));
	table->nent = nent;
	return 0;
}

bool fake_same_cpuid2(struct fake_vcpu *v, const void *arg)
{
	const struct kvm_cpuid2 *table = arg;

	return v->cpuid && v->cpuid->nent == table->nent &&
	       !memcmp(v->cpuid->entries, table->entries,
		       table->nent * sizeof(table->entries[0]));
}

/* What a guest has been told once cannot be taken back: after the first run only the same table. */
int fake_set_cpuid2(const struct fake_object *o, void *arg)
{
	const struct kvm_cpuid2 *table = arg;
	struct fake_vcpu *v = o->vcpu;

	if (table->nent > 256)
		return -E2BIG;
	if (v->has_run && !fake_same_cpuid2(v, arg)) {
		fake_violate(v->fake, FAKE_LATE_CPUID);
		return -EINVAL;
	}
	free(v->cpuid);
	v->cpuid = fake_alloc(cpuid_size(table->nent));
	memcpy(v->cpuid, table, cpuid_size(table->nent));
	for (uint32_t i = 0; v->fake->poison & FAKE_MORE_CPUID && i < table->nent; i++)
		if (v->cpuid->entries[i].function == 0x80000001)
			v->cpuid->entries[i].edx |= 1U << 29;
	if (v->fake->alter_cpuid)
		v->fake->alter_cpuid(v->fake->alter_opaque, v);
	return 0;
}
