/* SPDX-License-Identifier: MIT */
#include <inttypes.h>

#include "monitor/hmp_internal.h"
#include "monitor/monitor_internal.h"
#include "vmm/snapshot/crc32c.h"

static void print_blob(struct text *out, const char *name, const struct xen_hvm_blob *blob)
{
	if (!blob->pages)
		return;
	text_printf(out, "%s: %u page%s, crc32c 0x%08" PRIx32, name, blob->pages,
		    blob->pages == 1 ? "" : "s",
		    crc32c(0, blob->data, (size_t)blob->pages * XEN_HVM_PAGE));
	text_printf(out, blob->file ? ", %s\n" : "\n", blob->file);
}

static void print_written(struct text *out, const struct xen_hvm_written *written)
{
	for (unsigned int i = 0; i < written->nr; i++) {
		const struct xen_hvm_page *page = &written->page[i];

		text_printf(out, "%016" PRIx64 ": page %u of blob%d, by CPU %" PRIu32 ", count %"
			    PRIu64 "\n", page->gpa, page->index, page->long_mode ? 64 : 32,
			    page->vcpu, page->count);
	}
	if (written->unlisted)
		text_printf(out, "writes to further pages: %" PRIu64 "\n", written->unlisted);
	if (written->refused)
		text_printf(out, "writes refused: %" PRIu64 "\n", written->refused);
	if (!written->complete)
		text_printf(out, "the kernel writes pages, and does not tell which\n");
}

void hmp_info_xen(struct hmp *hmp, const struct hmp_args *args)
{
	struct xen_hvm_written written;
	struct xen_hvm *xen = hmp->vm->xen;

	(void)args;
	if (!xen) {
		text_printf(hmp->out, "Xen PV-on-HVM: disabled\n");
		return;
	}
	xen_hvm_get_written(xen, &written);
	text_printf(hmp->out, "Xen PV-on-HVM: enabled, path %s\n", xen_hvm_path_name(xen->path));
	text_printf(hmp->out, "MSR 0x%08" PRIx32 ", CPUID 0x%08" PRIx32 ", version %u.%u\n",
		    xen->msr, xen->cpuid_base, xen->version >> 16, xen->version & 0xffff);
	print_blob(hmp->out, "blob32", &xen->blob[false]);
	print_blob(hmp->out, "blob64", &xen->blob[true]);
	print_written(hmp->out, &written);
}
