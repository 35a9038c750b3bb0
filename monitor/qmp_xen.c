/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "monitor/monitor.h"
#include "vmm/snapshot/crc32c.h"

static void write_blob(struct json_writer *w, const char *name, const struct xen_hvm_blob *blob)
{
	if (!blob->pages)
		return;
	json_write_object(w, name);
	if (blob->file)
		json_write_string(w, "file", blob->file);
	json_write_uint(w, "pages", blob->pages);
	json_write_uint(w, "crc32c", crc32c(0, blob->data, (size_t)blob->pages * XEN_HVM_PAGE));
	json_write_object_end(w);
}

static void write_written(struct json_writer *w, const struct xen_hvm_written *written)
{
	json_write_array(w, "written");
	for (unsigned int i = 0; i < written->nr; i++) {
		const struct xen_hvm_page *page = &written->page[i];

		json_write_object(w, NULL);
		json_write_uint(w, "gpa", page->gpa);
		json_write_uint(w, "mode", page->long_mode ? 64 : 32);
		json_write_uint(w, "index", page->index);
		json_write_uint(w, "cpu-index", page->vcpu);
		json_write_uint(w, "count", page->count);
		json_write_object_end(w);
	}
	json_write_array_end(w);
	json_write_bool(w, "complete", written->complete);
	json_write_uint(w, "unlisted", written->unlisted);
	json_write_uint(w, "refused", written->refused);
}

static void write_xen(struct json_writer *w, struct xen_hvm *xen)
{
	struct xen_hvm_written written;
	char version[16];

	xen_hvm_get_written(xen, &written);
	snprintf(version, sizeof(version), "%u.%u", xen->version >> 16, xen->version & 0xffff);
	json_write_string(w, "path", xen_hvm_path_name(xen->path));
	json_write_uint(w, "msr", xen->msr);
	if (xen->cpuid_base)
		json_write_uint(w, "cpuid-base", xen->cpuid_base);
	json_write_string(w, "version", version);
	write_blob(w, "blob32", &xen->blob[false]);
	write_blob(w, "blob64", &xen->blob[true]);
	write_written(w, &written);
}

/* Looks at our own books only: no vCPU is disturbed. */
int qmp_query_xen(struct qmp_call *call)
{
	struct xen_hvm *xen = monitor_vm(call->monitor)->xen;
	struct json_writer *w = call->reply;

	json_write_object(w, "return");
	json_write_bool(w, "enabled", xen);
	if (xen)
		write_xen(w, xen);
	json_write_object_end(w);
	return 0;
}
