/* SPDX-License-Identifier: MIT */
#include "vmm/snapshot/snapshot_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define XEN_VERSION     1

#define XEN_ALL_SEEN    1       /* flag: xen_hvm_written.complete */
#define PAGE_LONG_MODE  1       /* flag of a page */

/* ---- Saving ---- */

static void put_page(struct bytes_out *out, const struct xen_hvm_page *page)
{
	bytes_put_u64(out, page->gpa);
	bytes_put_u64(out, page->count);
	bytes_put_u32(out, page->vcpu);
	bytes_put_u8(out, page->index);
	bytes_put_u8(out, page->long_mode ? PAGE_LONG_MODE : 0);
}

int snapshot_save_xen(struct vm *vm, struct sections *sections, struct error *err)
{
	struct xen_hvm_written written;
	struct xen_hvm *xen = vm->xen;
	struct bytes_out *out;

	if (!xen)
		return 0;
	out = sections_add(sections, "xen-hvm", XEN_VERSION, true, err);
	if (!out)
		return -1;
	xen_hvm_get_written(xen, &written);
	bytes_put_u32(out, xen->msr);
	bytes_put_u32(out, xen->version);
	for (int i = 0; i < 2; i++) {
		bytes_put_u8(out, (uint8_t)xen->blob[i].pages);
		bytes_put(out, xen->blob[i].data, (size_t)xen->blob[i].pages * XEN_HVM_PAGE);
	}
	bytes_put_u8(out, written.complete ? XEN_ALL_SEEN : 0);
	bytes_put_u64(out, written.refused);
	bytes_put_u64(out, written.unlisted);
	bytes_put_u32(out, written.nr);
	for (unsigned int i = 0; i < written.nr; i++)
		put_page(out, &written.page[i]);
	return 0;
}

/* ---- Parsing ---- */

static int get_blob(struct bytes_in *in, struct xen_hvm_blob *blob, struct error *err)
{
	unsigned int pages = bytes_get_u8(in);
	const uint8_t *data = bytes_take(in, (size_t)pages * XEN_HVM_PAGE);

	if (!pages || !data)
		return 0;
	blob->data = calloc(pages, XEN_HVM_PAGE);
	if (!blob->data)
		return error_errno(err, ENOMEM, "Xen's hypercall pages");
	memcpy(blob->data, data, (size_t)pages * XEN_HVM_PAGE);
	blob->pages = pages;
	return 0;
}

static int bad_pages(struct error *err)
{
	return error_set(err, EINVAL, "section \"xen-hvm\" has hypercall pages in the guest that "
			 "can not be");
}

static int get_page(struct bytes_in *in, const struct vm *vm, const struct xen_hvm *xen,
		    struct xen_hvm_page *page, struct error *err)
{
	uint8_t flags;

	page->gpa = bytes_get_u64(in);
	page->count = bytes_get_u64(in);
	page->vcpu = bytes_get_u32(in);
	page->index = bytes_get_u8(in);
	flags = bytes_get_u8(in);
	page->long_mode = flags & PAGE_LONG_MODE;
	if (in->failed)
		return 0;
	if (flags & ~PAGE_LONG_MODE || page->vcpu >= vm->nr_vcpus ||
	    page->index >= xen->blob[page->long_mode].pages || page->gpa % XEN_HVM_PAGE ||
	    !memory_at(&vm->memory, page->gpa, XEN_HVM_PAGE))
		return bad_pages(err);
	return 0;
}

static int get_written(struct bytes_in *in, const struct vm *vm, struct xen_hvm *xen,
		       struct error *err)
{
	struct xen_hvm_written *written = &xen->written;
	uint8_t flags = bytes_get_u8(in);

	written->refused = bytes_get_u64(in);
	written->unlisted = bytes_get_u64(in);
	written->nr = bytes_get_u32(in);
	if (flags & ~XEN_ALL_SEEN || written->nr > XEN_HVM_PAGES_LISTED)
		return bad_pages(err);
	/* Those that the kernel will write here are not seen. */
	written->complete = written->complete && flags & XEN_ALL_SEEN;
	for (unsigned int i = 0; i < written->nr; i++)
		if (get_page(in, vm, xen, &written->page[i], err) < 0)
			return -1;
	return 0;
}

static int parse(const struct vm *vm, struct bytes_in *in, struct xen_hvm *xen, struct error *err)
{
	for (int i = 0; i < 2; i++)
		if (get_blob(in, &xen->blob[i], err) < 0)
			return -1;
	if (get_written(in, vm, xen, err) < 0 || bytes_in_end(in, "section \"xen-hvm\"", err) < 0)
		return -1;
	if (!xen->blob[false].pages && !xen->blob[true].pages)
		return error_set(err, EINVAL, "section \"xen-hvm\" has no blob");
	return 0;
}

static bool same_blob(const struct xen_hvm_blob *a, const struct xen_hvm_blob *b)
{
	return a->pages == b->pages &&
	       (!a->pages || !memcmp(a->data, b->data, (size_t)a->pages * XEN_HVM_PAGE));
}

/* What the option says, where it was given. */
static int check_option(const struct xen_hvm *own, const struct xen_hvm *saved, struct error *err)
{
	const char *other = NULL;

	if (!own)
		return 0;
	if (own->msr != saved->msr)
		other = "MSR";
	else if (own->version != saved->version)
		other = "version";
	else if (!same_blob(&own->blob[false], &saved->blob[false]))
		other = "blob32";
	else if (!same_blob(&own->blob[true], &saved->blob[true]))
		other = "blob64";
	if (!other)
		return 0;
	return error_set(err, EINVAL, "the snapshot is of a machine with another %s in --xen-hvm; "
			 "it has its own, leave out the option", other);
}

int snapshot_parse_xen(const struct vm *vm, struct sections *sections,
		       const struct kvm_cpuid2 *cpuid, struct xen_hvm **saved, struct error *err)
{
	const struct xen_hvm_config *config = vm->config.xen;
	enum xen_hvm_path wanted = config ? config->path : XEN_HVM_PATH_ANY;
	struct bytes_in in;
	int version = sections_claim(sections, "xen-hvm", XEN_VERSION, &in, err);
	struct xen_hvm *xen;
	uint32_t msr;

	if (version < 0)
		return -1;
	if (version == 0 && vm->xen)
		return error_set(err, EINVAL, "the snapshot is of a machine without --xen-hvm; "
				 "leave out the option");
	if (version == 0)
		return 0;
	msr = bytes_get_u32(&in);
	if (xen_hvm_check_msr(msr, err) < 0)
		return error_prefix(err, "section \"xen-hvm\"");
	xen = xen_hvm_new_saved(vm->kvm, msr, bytes_get_u32(&in), wanted, err);
	if (!xen)
		return error_prefix(err, "the snapshot is of a machine with Xen PV-on-HVM");
	xen->cpuid_base = xen_hvm_find_cpuid(cpuid);
	if (parse(vm, &in, xen, err) < 0 || check_option(vm->xen, xen, err) < 0) {
		xen_hvm_free(xen);
		return -1;
	}
	*saved = xen;
	return 0;
}

int snapshot_load_xen(struct vm *vm, struct xen_hvm **saved, struct error *err)
{
	struct xen_hvm *own = vm->xen;

	if (!*saved)
		return 0;
	/* The blobs are the same; the option's can tell their files. */
	for (int i = 0; own && i < 2; i++) {
		(*saved)->blob[i].file = own->blob[i].file;
		own->blob[i].file = NULL;
	}
	xen_hvm_free(own);
	vm->xen = *saved;
	*saved = NULL;
	return xen_hvm_enable(vm->xen, &vm->handle, vm->msr_table, err);
}
