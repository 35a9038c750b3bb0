/* SPDX-License-Identifier: MIT */
#include "vmm/stats.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/vm_internal.h"

/* Far above what any kernel has; what a descriptor says is believed up to here. */
#define NAME_SIZE_MAX   1024u
#define DESCS_MAX       4096u
#define DATA_SIZE_MAX   (1u << 20)

/*
 * Each target has its own schema.  That of a vCPU is a table of the kernel's, the same for all, and
 * read from the first one's descriptor.
 */
struct stats {
	struct stats_schema schema[2];  /* without `desc` as long as it is not known */
	int vm_fd;                      /* -1: not open */
	int *vcpu_fd;                   /* nr_vcpus of them; NULL: none is open */
	uint8_t *bytes;                 /* room for the values of either */
	size_t room;
};

const char *stats_type_name(enum stats_type type)
{
	static const char *const names[] = {
		[STATS_CUMULATIVE] = "cumulative", [STATS_INSTANT] = "instant",
		[STATS_PEAK] = "peak", [STATS_LINEAR_HISTOGRAM] = "linear-histogram",
		[STATS_LOG2_HISTOGRAM] = "log2-histogram",
	};

	return names[type];
}

const char *stats_unit_name(enum stats_unit unit)
{
	static const char *const names[] = {
		[STATS_UNIT_NONE] = "none", [STATS_UNIT_BYTES] = "bytes",
		[STATS_UNIT_SECONDS] = "seconds", [STATS_UNIT_CYCLES] = "cycles",
		[STATS_UNIT_BOOLEAN] = "boolean",
	};

	return names[unit];
}

static int malformed(const char *what, struct error *err)
{
	return error_set(err, EPROTO, "KVM_GET_STATS_FD: the kernel's descriptor has %s", what);
}

/* All of it, or an error. */
static int read_all(struct vm *vm, int fd, void *buf, size_t len, uint64_t offset,
		    struct error *err)
{
	ssize_t n = kvm_stats_read(vm->kvm, fd, buf, len, (off_t)offset);

	if (n < 0)
		return error_errno(err, errno, "statistics of KVM");
	return (size_t)n == len ? 0 : malformed("an end too early", err);
}

/*
 * Takes one descriptor over; 1 when it is of a kind that is not known here.  Its name is `name_size`
 * bytes behind it, the last of which are zero.
 */
static int take_desc(const struct kvm_stats_desc *d, const char *name, size_t name_size,
		     struct stats_desc *desc, struct error *err)
{
	unsigned int type = (d->flags & KVM_STATS_TYPE_MASK) >> KVM_STATS_TYPE_SHIFT;
	unsigned int unit = (d->flags & KVM_STATS_UNIT_MASK) >> KVM_STATS_UNIT_SHIFT;
	unsigned int base = (d->flags & KVM_STATS_BASE_MASK) >> KVM_STATS_BASE_SHIFT;

	if (!*name || !memchr(name, '\0', name_size))
		return malformed("a name without an end, or an empty one", err);
	if (!d->size)
		return malformed("a statistic without values", err);
	if (d->offset > DATA_SIZE_MAX || d->size > (DATA_SIZE_MAX - d->offset) / sizeof(uint64_t))
		return malformed("values too far away", err);
	if (type > STATS_LOG2_HISTOGRAM || unit > STATS_UNIT_BOOLEAN ||
	    base > KVM_STATS_BASE_MAX >> KVM_STATS_BASE_SHIFT)
		return 1;
	/* The names here are in the kernel's order. */
	*desc = (struct stats_desc) {
		.name = name, .type = type, .unit = unit, .base = base ? 2 : 10,
		.exponent = d->exponent, .bucket_size = d->bucket_size, .nr = d->size,
		.at = d->offset,
	};
	return 0;
}

static void free_schema(struct stats_schema *schema)
{
	free(schema->desc);
	free(schema->text);
	*schema = (struct stats_schema) { 0 };
}

/* The descriptors, of which each is a structure and the bytes of its name. */
static int take_descs(struct stats_schema *schema, const struct kvm_stats_header *header,
		      struct error *err)
{
	size_t stride = sizeof(struct kvm_stats_desc) + header->name_size;

	for (uint32_t i = 0; i < header->num_desc; i++) {
		struct stats_desc *desc = &schema->desc[schema->nr];
		const char *at = schema->text + i * stride;
		struct kvm_stats_desc d;
		int rc;

		memcpy(&d, at, sizeof(d));
		rc = take_desc(&d, at + sizeof(d), header->name_size, desc, err);
		if (rc < 0)
			return -1;
		if (rc > 0)
			continue;
		schema->nr++;
		if (desc->at + desc->nr * sizeof(uint64_t) > schema->data_size)
			schema->data_size = desc->at + desc->nr * sizeof(uint64_t);
	}
	return 0;
}

static int read_schema(struct vm *vm, int fd, const struct kvm_stats_header *header,
		       struct stats_schema *schema, struct error *err)
{
	size_t size = header->num_desc * (sizeof(struct kvm_stats_desc) + header->name_size);

	schema->data_offset = header->data_offset;
	schema->desc = calloc(header->num_desc, sizeof(*schema->desc));
	schema->text = calloc(1, size);
	if (!schema->desc || !schema->text)
		return error_errno(err, ENOMEM, "statistics of KVM");
	if (read_all(vm, fd, schema->text, size, header->desc_offset, err) < 0)
		return -1;
	return take_descs(schema, header, err);
}

static int read_header(struct vm *vm, int fd, struct kvm_stats_header *header, struct error *err)
{
	if (read_all(vm, fd, header, sizeof(*header), 0, err) < 0)
		return -1;
	if (header->name_size < 2 || header->name_size > NAME_SIZE_MAX)
		return malformed("names of no possible size", err);
	if (!header->num_desc || header->num_desc > DESCS_MAX)
		return malformed("no possible number of statistics", err);
	return 0;
}

static int learn(struct vm *vm, enum stats_target target, int fd, struct error *err)
{
	struct stats *stats = vm->stats;
	struct stats_schema *schema = &stats->schema[target];
	struct kvm_stats_header header;
	uint8_t *bytes;
	size_t room;

	if (schema->desc)
		return 0;
	if (read_header(vm, fd, &header, err) < 0 ||
	    read_schema(vm, fd, &header, schema, err) < 0) {
		free_schema(schema);
		return -1;
	}
	/* There may be nothing that is known here. */
	room = schema->data_size ? schema->data_size : 1;
	if (room > stats->room) {
		bytes = realloc(stats->bytes, room);
		if (!bytes) {
			free_schema(schema);
			return error_errno(err, ENOMEM, "statistics of KVM");
		}
		stats->bytes = bytes;
		stats->room = room;
	}
	return 0;
}

/* ---- descriptors ---- */

static int open_vm(struct vm *vm, struct error *err)
{
	struct stats *stats = vm->stats;

	if (stats->vm_fd < 0)
		stats->vm_fd = kvm_call(&vm->handle, KVM_REQ_GET_STATS_FD, NULL, err);
	return stats->vm_fd < 0 ? -1 : learn(vm, STATS_VM, stats->vm_fd, err);
}

static void close_vcpus(struct vm *vm, unsigned int nr)
{
	struct stats *stats = vm->stats;

	for (unsigned int i = 0; stats->vcpu_fd && i < nr; i++)
		kvm_stats_close(vm->kvm, stats->vcpu_fd[i]);
	free(stats->vcpu_fd);
	stats->vcpu_fd = NULL;
}

static int open_vcpus(struct vm *vm, struct error *err)
{
	struct stats *stats = vm->stats;
	unsigned int i;
	int fd = 0;

	if (!stats->vcpu_fd) {
		stats->vcpu_fd = calloc(vm->nr_vcpus, sizeof(*stats->vcpu_fd));
		if (!stats->vcpu_fd)
			return error_errno(err, ENOMEM, "statistics of %u vCPUs", vm->nr_vcpus);
		if (vm_inspect_begin(vm, -1, err) < 0) {
			close_vcpus(vm, 0);
			return -1;
		}
		for (i = 0; i < vm->nr_vcpus; i++) {
			fd = kvm_call(&vm->vcpu[i].kvm, KVM_REQ_GET_STATS_FD, NULL, err);
			if (fd < 0)
				break;
			stats->vcpu_fd[i] = fd;
		}
		vm_inspect_end(vm);
		if (fd < 0) {
			close_vcpus(vm, i);
			return error_prefix(err, "vCPU %u", i);
		}
	}
	return learn(vm, STATS_VCPU, stats->vcpu_fd[0], err);
}

static int prepare(struct vm *vm, enum stats_target target, struct error *err)
{
	if (!vm->kvm->caps.binary_stats)
		return error_set(err, ENOTSUP, "this host's KVM has no KVM_CAP_BINARY_STATS_FD");
	if (!vm->stats) {
		vm->stats = calloc(1, sizeof(*vm->stats));
		if (!vm->stats)
			return error_errno(err, ENOMEM, "statistics of KVM");
		vm->stats->vm_fd = -1;
	}
	return target == STATS_VM ? open_vm(vm, err) : open_vcpus(vm, err);
}

const struct stats_schema *vm_stats_schema(struct vm *vm, enum stats_target target,
					   struct error *err)
{
	return prepare(vm, target, err) < 0 ? NULL : &vm->stats->schema[target];
}

const uint8_t *vm_stats_read(struct vm *vm, enum stats_target target, unsigned int index,
			     struct error *err)
{
	const struct stats_schema *schema = vm_stats_schema(vm, target, err);
	struct stats *stats = vm->stats;
	int fd;

	if (!schema)
		return NULL;
	fd = target == STATS_VM ? stats->vm_fd : stats->vcpu_fd[index];
	return read_all(vm, fd, stats->bytes, schema->data_size, schema->data_offset, err) < 0 ?
	       NULL : stats->bytes;
}

uint64_t stats_value(const struct stats_desc *desc, const uint8_t *bytes, unsigned int n)
{
	uint64_t value;

	memcpy(&value, bytes + desc->at + n * sizeof(value), sizeof(value));
	return value;
}

void vm_stats_free(struct vm *vm)
{
	struct stats *stats = vm->stats;

	if (!stats)
		return;
	if (stats->vm_fd >= 0)
		kvm_stats_close(vm->kvm, stats->vm_fd);
	close_vcpus(vm, vm->nr_vcpus);
	free_schema(&stats->schema[STATS_VM]);
	free_schema(&stats->schema[STATS_VCPU]);
	free(stats->bytes);
	free(stats);
	vm->stats = NULL;
}
