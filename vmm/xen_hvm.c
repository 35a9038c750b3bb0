/* SPDX-License-Identifier: MIT */
#include "vmm/xen_hvm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/boot/image.h"

/* MSRs that KVM gives to guests: Documentation/virt/kvm/x86/msr.rst. */
#define KVM_MSR_FIRST   0x4b564d00u
#define KVM_MSR_LAST    0x4b564dffu
/*
 * Those of Hyper-V, which KVM lists whether the guest sees Hyper-V or not; ours never does (Hyper-V
 * TLFS, appendix F).  For guests that see both, Xen's begins behind them.
 */
#define HYPERV_MSR_LAST 0x400001ffu

static const char *const blob_names[] = { "blob32", "blob64" };

const char *xen_hvm_path_name(enum xen_hvm_path path)
{
	return path == XEN_HVM_PATH_KERNEL ? "kernel" : "user-space";
}

int xen_hvm_check_msr(uint32_t msr, struct error *err)
{
	if (msr < XEN_HVM_MSR_MIN || msr > XEN_HVM_MSR_MAX)
		return error_set(err, EINVAL, "MSR 0x%x is not one of those that hypervisors make "
				 "up, 0x%x to 0x%x", msr, XEN_HVM_MSR_MIN, XEN_HVM_MSR_MAX);
	if (msr >= KVM_MSR_FIRST && msr <= KVM_MSR_LAST)
		return error_set(err, EINVAL, "MSR 0x%x is one of KVM's own", msr);
	return 0;
}

int xen_hvm_check_config(const struct xen_hvm_config *config, struct error *err)
{
	if (xen_hvm_check_msr(config->msr, err) < 0)
		return -1;
	if (!config->blob[false] && !config->blob[true])
		return error_set(err, EINVAL, "needs blob32, blob64 or both");
	return 0;
}

/* ---- The host ---- */

static int choose_path(struct xen_hvm *xen, const struct kvm *kvm, enum xen_hvm_path wanted,
		       struct error *err)
{
	const struct kvm_caps *caps = &kvm->caps;
	bool kernel = caps->xen_hvm & KVM_XEN_HVM_CONFIG_HYPERCALL_MSR;
	bool user_space = caps->user_space_msr && caps->msr_filter;

	if (wanted == XEN_HVM_PATH_KERNEL && !kernel)
		return error_set(err, ENOTSUP, "this host's KVM can not write Xen's hypercall "
				 "pages (KVM_CAP_XEN_HVM); leave out path=kernel");
	if (wanted == XEN_HVM_PATH_USER_SPACE && !user_space)
		return error_set(err, ENOTSUP, "this host's KVM can not pass on the write of an "
				 "MSR (KVM_CAP_X86_USER_SPACE_MSR, KVM_CAP_X86_MSR_FILTER); leave "
				 "out path=user-space");
	if (!kernel && !user_space)
		return error_set(err, ENOTSUP, "this host's KVM can neither write Xen's hypercall "
				 "pages (KVM_CAP_XEN_HVM) nor pass on the write of an MSR "
				 "(KVM_CAP_X86_USER_SPACE_MSR, KVM_CAP_X86_MSR_FILTER); Linux 5.10 "
				 "can");
	xen->path = kernel && wanted != XEN_HVM_PATH_USER_SPACE ? XEN_HVM_PATH_KERNEL :
								  XEN_HVM_PATH_USER_SPACE;
	return 0;
}

static int check_host_msr(const struct kvm *kvm, uint32_t msr, struct error *err)
{
	if (msr <= HYPERV_MSR_LAST)
		return 0;
	for (uint32_t i = 0; i < kvm->msr_list->nmsrs; i++)
		if (kvm->msr_list->indices[i] == msr)
			return error_set(err, EINVAL, "MSR 0x%x is one that this host's KVM has "
					 "itself; choose another", msr);
	return 0;
}

struct xen_hvm *xen_hvm_new_saved(const struct kvm *kvm, uint32_t msr, uint32_t version,
				  enum xen_hvm_path wanted, struct error *err)
{
	struct xen_hvm *xen = calloc(1, sizeof(*xen));

	if (!xen) {
		error_errno(err, ENOMEM, "Xen's hypercall pages");
		return NULL;
	}
	xen->msr = msr;
	xen->version = version;
	pthread_mutex_init(&xen->lock, NULL);
	if (check_host_msr(kvm, msr, err) < 0 || choose_path(xen, kvm, wanted, err) < 0) {
		xen_hvm_free(xen);
		return NULL;
	}
	xen->written.complete = xen->path == XEN_HVM_PATH_USER_SPACE;
	return xen;
}

/* ---- Blobs ---- */

static int read_blob(struct xen_hvm_blob *blob, const struct boot_image *image, struct error *err)
{
	uint64_t pages = (image->size + XEN_HVM_PAGE - 1) / XEN_HVM_PAGE;

	if (image->size > XEN_HVM_BLOB_PAGES * XEN_HVM_PAGE)
		return error_set(err, EFBIG, "%s: has more than %d pages of %u bytes",
				 image->label, XEN_HVM_BLOB_PAGES, XEN_HVM_PAGE);
	blob->data = calloc(pages, XEN_HVM_PAGE);
	if (!blob->data)
		return error_errno(err, ENOMEM, "%s", image->label);
	blob->pages = (unsigned int)pages;
	return boot_image_read(image, 0, blob->data, image->size, err);
}

static int load_blob(struct xen_hvm_blob *blob, const char *what, const char *path,
		     struct error *err)
{
	struct boot_image image;
	int rc;

	if (boot_image_open(&image, what, path, err) < 0)
		return -1;
	rc = read_blob(blob, &image, err);
	if (rc == 0) {
		blob->file = image.path;
		image.path = NULL;
	}
	boot_image_close(&image);
	return rc;
}

struct xen_hvm *xen_hvm_new(const struct kvm *kvm, const struct xen_hvm_config *config,
			    struct error *err)
{
	struct xen_hvm *xen;

	if (xen_hvm_check_config(config, err) < 0)
		return NULL;
	xen = xen_hvm_new_saved(kvm, config->msr, (uint32_t)config->major << 16 | config->minor,
				config->path, err);
	for (int i = 0; xen && i < 2; i++) {
		if (!config->blob[i] ||
		    load_blob(&xen->blob[i], blob_names[i], config->blob[i], err) == 0)
			continue;
		xen_hvm_free(xen);
		xen = NULL;
	}
	return xen;
}

void xen_hvm_free(struct xen_hvm *xen)
{
	if (!xen)
		return;
	for (int i = 0; i < 2; i++) {
		free(xen->blob[i].data);
		free(xen->blob[i].file);
	}
	pthread_mutex_destroy(&xen->lock);
	free(xen);
}

/* ---- KVM ---- */

static uint64_t address(const struct xen_hvm_blob *blob)
{
	return (uintptr_t)blob->data;
}

/*
 * No flags: with KVM_XEN_HVM_CONFIG_INTERCEPT_HCALL the kernel would make up pages of its own and
 * take none of ours.
 */
static int tell_kernel(const struct xen_hvm *xen, struct kvm_handle *vm, struct error *err)
{
	struct kvm_xen_hvm_config config = {
		.msr = xen->msr,
		.blob_addr_32 = address(&xen->blob[false]),
		.blob_addr_64 = address(&xen->blob[true]),
		.blob_size_32 = (uint8_t)xen->blob[false].pages,
		.blob_size_64 = (uint8_t)xen->blob[true].pages,
	};

	return kvm_call(vm, KVM_REQ_XEN_HVM_CONFIG, &config, err);
}

/*
 * Writes of this one MSR, and nothing else, leave KVM_RUN; reads of it stay the kernel's, which
 * refuses them.  The kernel reads bitmaps in words of 64 bits (kvm_add_msr_filter() in x86.c); a
 * bit that is clear denies.
 */
static int filter_writes(const struct xen_hvm *xen, struct kvm_handle *vm, struct error *err)
{
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_X86_USER_SPACE_MSR,
		.args[0] = KVM_MSR_EXIT_REASON_FILTER,
	};
	uint64_t bitmap = 0;
	struct kvm_msr_filter filter = {
		.flags = KVM_MSR_FILTER_DEFAULT_ALLOW,
		.ranges[0] = {
			.flags = KVM_MSR_FILTER_WRITE,
			.nmsrs = 1,
			.base = xen->msr,
			.bitmap = (uint8_t *)&bitmap,
		},
	};

	if (kvm_call(vm, KVM_REQ_ENABLE_CAP, &cap, err) < 0)
		return error_prefix(err, "KVM_CAP_X86_USER_SPACE_MSR");
	return kvm_call(vm, KVM_REQ_X86_SET_MSR_FILTER, &filter, err);
}

int xen_hvm_enable(struct xen_hvm *xen, struct kvm_handle *vm, struct msr_table *msrs,
		   struct error *err)
{
	msr_table_exclude(msrs, xen->msr);
	return xen->path == XEN_HVM_PATH_KERNEL ? tell_kernel(xen, vm, err) :
						  filter_writes(xen, vm, err);
}

/* ---- Running ---- */

static void note(struct xen_hvm_written *written, const struct xen_hvm_page *page)
{
	unsigned int i = 0;

	while (i < written->nr && written->page[i].gpa != page->gpa)
		i++;
	if (i == XEN_HVM_PAGES_LISTED) {
		written->unlisted++;
		return;
	}
	if (i == written->nr)
		written->page[written->nr++].count = 0;
	written->page[i] = (struct xen_hvm_page) {
		.gpa = page->gpa,
		.count = written->page[i].count + 1,
		.vcpu = page->vcpu,
		.index = page->index,
		.long_mode = page->long_mode,
	};
}

bool xen_hvm_write_page(struct xen_hvm *xen, const struct memory *memory, uint32_t vcpu,
			bool long_mode, uint64_t value)
{
	const struct xen_hvm_blob *blob = &xen->blob[long_mode];
	unsigned int index = value % XEN_HVM_PAGE;
	const struct xen_hvm_page page = {
		.gpa = value - index, .vcpu = vcpu, .index = (uint8_t)index, .long_mode = long_mode,
	};
	bool written = index < blob->pages &&
		       memory_write(memory, page.gpa, blob->data + (size_t)index * XEN_HVM_PAGE,
				    XEN_HVM_PAGE);

	pthread_mutex_lock(&xen->lock);
	if (written)
		note(&xen->written, &page);
	else
		xen->written.refused++;
	pthread_mutex_unlock(&xen->lock);
	return written;
}

void xen_hvm_get_written(struct xen_hvm *xen, struct xen_hvm_written *written)
{
	pthread_mutex_lock(&xen->lock);
	*written = xen->written;
	pthread_mutex_unlock(&xen->lock);
}

void xen_hvm_reset(struct xen_hvm *xen)
{
	pthread_mutex_lock(&xen->lock);
	xen->written = (struct xen_hvm_written) {
		.complete = xen->path == XEN_HVM_PATH_USER_SPACE,
	};
	pthread_mutex_unlock(&xen->lock);
}
