/* SPDX-License-Identifier: MIT */
#include "vmm/guest_access.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "vmm/vcpu_space.h"
#include "vmm/vm_internal.h"

/* A range may begin and end in the middle of a page. */
#define PIECES_MAX      (GUEST_ACCESS_MAX / MEMORY_PAGE + 1)

/* Where the bytes of a range are, page by page. */
struct range {
	unsigned int nr;
	struct {
		uint8_t *host;
		size_t len;
	} piece[PIECES_MAX];
};

/* `space` NULL: the address is physical. */
static int translate(int cpu, const struct page_space *space, uint64_t address, uint64_t *gpa,
		     struct error *err)
{
	*gpa = address;
	if (space && !page_space_locate(space, address, gpa))
		return error_set(err, ENOENT, "virtual address 0x%" PRIx64 " is not mapped on vCPU %d",
				 address, cpu);
	return 0;
}

/* RAM begins and ends at multiples of a page: no piece is RAM in part. */
static int look_up(const struct vm *vm, int cpu, const struct page_space *space, uint64_t address,
		   size_t len, struct range *range, struct error *err)
{
	uint64_t gpa;
	size_t n;

	range->nr = 0;
	for (; len > 0; address += n, len -= n) {
		uint8_t *host;

		n = MEMORY_PAGE - (address & (MEMORY_PAGE - 1));
		if (n > len)
			n = len;
		if (translate(cpu, space, address, &gpa, err) < 0)
			return -1;
		host = memory_at(&vm->memory, gpa, n);
		if (!host)
			return space ? error_set(err, EFAULT, "virtual address 0x%" PRIx64 " of vCPU %d "
						 "is physical address 0x%" PRIx64 ", which is not RAM",
						 address, cpu, gpa) :
				       error_set(err, EFAULT, "physical address 0x%" PRIx64 " is not "
						 "RAM", gpa);
		range->piece[range->nr].host = host;
		range->piece[range->nr++].len = n;
	}
	return 0;
}

static int check_range(const struct vm *vm, int cpu, uint64_t address, size_t len,
		       struct error *err)
{
	if (len < 1 || len > GUEST_ACCESS_MAX)
		return error_set(err, EINVAL, "%zu bytes: one access has 1 to %zu of them", len,
				 GUEST_ACCESS_MAX);
	if (address + (len - 1) < address)
		return error_set(err, EINVAL, "%zu bytes from address 0x%" PRIx64 " on reach over the "
				 "end of all addresses", len, address);
	/* RAM is being replaced. */
	if (vm->state == RUN_STATE_INMIGRATE && vm_migration_moving(vm))
		return error_set(err, EBUSY, "the machine is being loaded; try again when that is "
				 "done");
	/* vm_inspect_begin() takes negative ones for all. */
	if (cpu < GUEST_PHYSICAL || (cpu >= 0 && (unsigned int)cpu >= vm->nr_vcpus))
		return error_set(err, EINVAL, "there is no vCPU %d; they are 0 to %u", cpu,
				 vm->nr_vcpus - 1);
	return 0;
}

/* Does something with the pieces of a range, while the vCPU is parked if there is one. */
static int with_range(struct vm *vm, int cpu, uint64_t address, size_t len, struct error *err,
		      void (*fn)(void *opaque, const struct range *range), void *opaque)
{
	struct page_space space;
	struct range range;
	int rc = 0;

	if (check_range(vm, cpu, address, len, err) < 0)
		return -1;
	if (cpu != GUEST_PHYSICAL) {
		if (vm_inspect_begin(vm, cpu, err) < 0)
			return -1;
		rc = vcpu_page_space(&vm->vcpu[cpu].state, &vm->memory, &space, err);
	}
	if (rc == 0)
		rc = look_up(vm, cpu, cpu == GUEST_PHYSICAL ? NULL : &space, address, len, &range,
			     err);
	if (rc == 0)
		fn(opaque, &range);
	if (cpu != GUEST_PHYSICAL)
		vm_inspect_end(vm);
	return rc;
}

static void copy_out(void *opaque, const struct range *range)
{
	uint8_t *to = opaque;

	for (unsigned int i = 0; i < range->nr; i++) {
		memcpy(to, range->piece[i].host, range->piece[i].len);
		to += range->piece[i].len;
	}
}

static void copy_in(void *opaque, const struct range *range)
{
	const uint8_t *from = opaque;

	for (unsigned int i = 0; i < range->nr; i++) {
		memcpy(range->piece[i].host, from, range->piece[i].len);
		from += range->piece[i].len;
	}
}

int vm_memory_read(struct vm *vm, int cpu, uint64_t address, void *buf, size_t len,
		   struct error *err)
{
	return with_range(vm, cpu, address, len, err, copy_out, buf);
}

int vm_memory_write(struct vm *vm, int cpu, uint64_t address, const void *buf, size_t len,
		    struct error *err)
{
	if (vm_dump_refuse(vm, err) < 0)
		return -1;
	/* What comes in leaves out what is zero, and counts on its being so. */
	if (vm->state == RUN_STATE_INMIGRATE)
		return error_set(err, EBUSY, "the machine waits for incoming state; write when that has "
				 "come");
	if (vm_migration_moving(vm))
		return error_set(err, EBUSY, "the machine is being saved; write when that is "
				 "done, or cancel that (migrate_cancel)");
	return with_range(vm, cpu, address, len, err, copy_in, (void *)buf);
}

int vm_translate(struct vm *vm, int cpu, uint64_t address, uint64_t *gpa, struct error *err)
{
	struct page_space space;
	int rc;

	if (vm_inspect_begin(vm, cpu, err) < 0)
		return -1;
	rc = vcpu_page_space(&vm->vcpu[cpu].state, &vm->memory, &space, err);
	if (rc == 0)
		rc = translate(cpu, &space, address, gpa, err);
	vm_inspect_end(vm);
	return rc;
}
