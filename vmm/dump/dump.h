/* SPDX-License-Identifier: MIT */
#ifndef VMM_DUMP_DUMP_H
#define VMM_DUMP_DUMP_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/error.h"

struct vm;
struct migration_channel;

/*
 * The guest's memory and the registers of its vCPUs as an ELF core file, which gdb and crash read.
 *
 *      dump.c          the machine's side: stopping it, the thread, what has come of it
 *      dump_map.c      which memory is in the file, and at which addresses it is seen
 *      dump_elf.c      headers and notes
 *      dump_file.c     memory
 *
 * A machine that runs is stopped meanwhile (run state save-vm), and goes on when the dump is over,
 * however it ends; one that does not run stays as it is.  A thread writes the file, so that the
 * monitor stays answered.  A dump and a transfer (vmm/migration.h) exclude each other, since either
 * needs a machine that stands still.
 *
 * Threads: the owner's, every call.
 */
enum dump_status {
	DUMP_NONE,                      /* there has never been one */
	DUMP_ACTIVE,
	DUMP_COMPLETED,
	DUMP_FAILED,
};
/* "completed": DumpStatus of QMP. */
const char *dump_status_name(enum dump_status status);

struct dump_config {
	/*
	 * Memory is seen at the virtual addresses that the page tables of the vCPUs give it; without
	 * it, or when no vCPU pages, at the physical ones.
	 */
	bool paging;
	/* Only what physical memory of [begin, begin + length) there is. */
	bool filter;
	uint64_t begin, length;
};

struct dump_info {
	enum dump_status status;
	uint64_t completed, total;      /* bytes of memory */
	const char *error;              /* NULL unless failed; valid until the next */
};

/*
 * Whether a dump could be made now, in QEMU's words if not: "There is a dump in process, please
 * wait.", "Dump not allowed during incoming migration.", "dump: no guest memory to dump", ...
 * To be asked before anything is opened for it.
 */
int vm_dump_check(const struct vm *vm, const struct dump_config *config, struct error *err);

/*
 * Starts it; what vm_dump_check() refuses is refused here, too.  The channel is the dump's from here
 * on; on error it is still the caller's, and nothing has happened that would not have been undone.
 * At the end VM_EVENT_DUMP_COMPLETED comes, then, when the machine is as it was before,
 * VM_EVENT_DUMP_OVER; meanwhile VM_EVENT_DUMP_PROGRESS a few times a second at most.
 */
int vm_dump(struct vm *vm, const struct dump_config *config,
	    const struct migration_channel *channel, struct error *err);

/*
 * -1 with "There is a dump in process, please wait." while there is: for those who would stop,
 * continue or change the machine.
 */
int vm_dump_refuse(const struct vm *vm, struct error *err);

void vm_dump_info(const struct vm *vm, struct dump_info *info);

#endif
