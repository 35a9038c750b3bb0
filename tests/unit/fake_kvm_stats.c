/* SPDX-License-Identifier: MIT */
#include "tests/unit/fake_kvm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/alloc_fail.h"
#include "tests/unit/fake_kvm_internal.h"

/* KVM_GET_STATS_FD (api.rst 4.133) and KVM_GET_DIRTY_LOG (4.8). */

/* No read gives more than this at once, so that callers have to go on. */
#define READ_MAX        100
#define NAME_SIZE       48
#define ID_OFFSET       ((uint32_t)sizeof(struct kvm_stats_header))

#define TYPE(type, unit, base) \
	(KVM_STATS_TYPE_##type | KVM_STATS_UNIT_##unit | KVM_STATS_BASE_##base)

/* One of each kind. */
static const struct fake_stat default_stats[] = {
	{ "exits", TYPE(CUMULATIVE, NONE, POW10), 0, 1, 0, 0 },
	{ "pages", TYPE(INSTANT, NONE, POW10), 0, 1, 8, 0 },
	{ "longest_ns", TYPE(PEAK, SECONDS, POW10), -9, 1, 16, 0 },
	{ "cached", TYPE(INSTANT, BYTES, POW2), 20, 1, 24, 0 },
	{ "guest_mode", TYPE(INSTANT, BOOLEAN, POW10), 0, 1, 32, 0 },
	{ "steps", TYPE(CUMULATIVE, CYCLES, POW10), 2, 1, 40, 0 },
	{ "linear", TYPE(LINEAR_HIST, SECONDS, POW10), -6, 3, 48, 250 },
	{ "log2", TYPE(LOG_HIST, NONE, POW10), 0, 4, 72, 0 },
};
#define NR_STATS        (sizeof(default_stats) / sizeof(default_stats[0]))

size_t fake_stats_build(uint8_t *bytes, const struct fake_stat *stats, unsigned int nr)
{
	struct kvm_stats_header header = {
		.name_size = NAME_SIZE, .num_desc = nr, .id_offset = ID_OFFSET,
		.desc_offset = ID_OFFSET + NAME_SIZE,
	};
	size_t at = header.desc_offset, end = 0;

	for (unsigned int i = 0; i < nr; i++) {
		struct kvm_stats_desc desc = {
			.flags = stats[i].flags, .exponent = stats[i].exponent,
			.size = stats[i].size, .offset = stats[i].offset,
			.bucket_size = stats[i].bucket_size,
		};

		memcpy(bytes + at, &desc, sizeof(desc));
		memset(bytes + at + sizeof(desc), 0, NAME_SIZE);
		strncpy((char *)bytes + at + sizeof(desc), stats[i].name, NAME_SIZE - 1);
		at += sizeof(desc) + NAME_SIZE;
		if (stats[i].offset + stats[i].size * sizeof(uint64_t) > end)
			end = stats[i].offset + stats[i].size * sizeof(uint64_t);
	}
	header.data_offset = (uint32_t)at;
	memcpy(bytes, &header, sizeof(header));
	memset(bytes + ID_OFFSET, 0, NAME_SIZE);
	return at + end;
}

void fake_kvm_set_stats(struct fake_kvm *fake, const uint8_t *bytes, size_t len)
{
	pthread_mutex_lock(&fake->lock);
	free(fake->stats);
	fake->stats = fake_alloc(len);
	memcpy(fake->stats, bytes, len);
	fake->stats_len = len;
	pthread_mutex_unlock(&fake->lock);
}

/* Value n of the VM is 100 + n, of vCPU i it is 1000 * (i + 1) + n. */
static size_t default_file(const struct fake_object *o, uint8_t *bytes)
{
	size_t len = fake_stats_build(bytes, default_stats, NR_STATS);
	uint64_t base = o->vcpu ? 1000 * ((uint64_t)o->vcpu->index + 1) : 100;
	uint32_t data;

	memcpy(&data, bytes + offsetof(struct kvm_stats_header, data_offset), sizeof(data));
	for (uint64_t i = 0; data + i * 8 < len; i++) {
		uint64_t value = base + i;

		memcpy(bytes + data + i * 8, &value, sizeof(value));
	}
	return len;
}

int fake_get_stats_fd(const struct fake_object *o, void *arg)
{
	(void)arg;
	return fake_new_fd(o->fake, FAKE_FD_STATS, o->vm, o->vcpu);
}

ssize_t fake_pread(struct fake_kvm *fake, const struct fake_object *o, void *buf, size_t len,
		   off_t offset)
{
	uint8_t bytes[4096];
	const uint8_t *file = fake->stats ? fake->stats : bytes;
	size_t size = fake->stats ? fake->stats_len : default_file(o, bytes);
	int error = fake_fault_of(fake, FAKE_PREAD, o->vcpu ? o->vcpu->index : -1);

	if (error)
		return -error;
	if ((size_t)offset >= size)
		return 0;
	if (len > size - (size_t)offset)
		len = size - (size_t)offset;
	if (len > READ_MAX)
		len = READ_MAX;
	memcpy(buf, file + offset, len);
	return (ssize_t)len;
}

/* ---- the dirty log ---- */

static struct fake_slot *slot_of(struct fake_vm *vm, uint64_t gpa)
{
	for (unsigned int i = 0; i < FAKE_MAX_SLOTS; i++) {
		const struct kvm_userspace_memory_region *region = &vm->slot[i].region;

		if (vm->slot[i].used && gpa >= region->guest_phys_addr &&
		    gpa - region->guest_phys_addr < region->memory_size)
			return &vm->slot[i];
	}
	return NULL;
}

void fake_vm_dirty(struct fake_vm *vm, uint64_t gpa)
{
	struct fake_slot *slot = slot_of(vm, gpa);
	uint64_t page;

	if (!slot || !(slot->region.flags & KVM_MEM_LOG_DIRTY_PAGES))
		return;
	page = (gpa - slot->region.guest_phys_addr) / 4096;
	if (page < FAKE_DIRTY_PAGES)
		slot->dirty[page / 64] |= UINT64_C(1) << page % 64;
}

int fake_get_dirty_log(const struct fake_object *o, void *arg)
{
	const struct kvm_dirty_log *log = arg;
	struct fake_slot *slot;
	size_t words;

	if (log->slot >= FAKE_MAX_SLOTS)
		return -EINVAL;
	slot = &o->vm->slot[log->slot];
	if (!slot->used || !(slot->region.flags & KVM_MEM_LOG_DIRTY_PAGES))
		return -ENOENT;
	words = (slot->region.memory_size / 4096 + 63) / 64;
	if (words > FAKE_DIRTY_PAGES / 64)
		words = FAKE_DIRTY_PAGES / 64;
	if (o->fake->on_dirty_log)
		o->fake->on_dirty_log(o->fake->dirty_opaque, o->vm);
	memcpy(log->dirty_bitmap, slot->dirty, words * sizeof(slot->dirty[0]));
	memset(slot->dirty, 0, sizeof(slot->dirty));
	return 0;
}

void fake_kvm_on_dirty_log(struct fake_kvm *fake, fake_dirty_fn *fn, void *opaque)
{
	pthread_mutex_lock(&fake->lock);
	fake->on_dirty_log = fn;
	fake->dirty_opaque = opaque;
	pthread_mutex_unlock(&fake->lock);
}
