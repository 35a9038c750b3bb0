/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <inttypes.h>

#include "monitor/hmp_internal.h"
#include "vmm/guest_access.h"

/* What of memory one sum reads at most: more would hold up the others for too long. */
#define SUM_MAX         (32ULL << 20)

void hmp_print(struct hmp *hmp, const struct hmp_args *args)
{
	uint64_t value = args->number[0];

	switch (args->format) {
	case 'o':
		text_printf(hmp->out, "%#" PRIo64, value);
		break;
	case 'x':
		text_printf(hmp->out, "%#" PRIx64, value);
		break;
	case 'u':
		text_printf(hmp->out, "%" PRIu64, value);
		break;
	case 'c':
		hmp_print_character(hmp->out, (uint8_t)value);
		break;
	default:
		text_printf(hmp->out, "%" PRId64, (int64_t)value);
		break;
	}
	text_printf(hmp->out, "\n");
}

static void print_hva(struct hmp *hmp, uint64_t address, uint64_t gpa)
{
	void *host = memory_at(&hmp->vm->memory, gpa, 1);

	if (host)
		text_printf(hmp->out, "Host virtual address for 0x%" PRIx64 " (ram) is %p\n", address,
			    host);
	else
		text_printf(hmp->out, "No memory is mapped at address 0x%" PRIx64 "\n", address);
}

void hmp_gpa2hva(struct hmp *hmp, const struct hmp_args *args)
{
	print_hva(hmp, args->number[0], args->number[0]);
}

/* The physical address behind one of the current vCPU; -1 when it has been said that there is none. */
static int translate(struct hmp *hmp, uint64_t address, uint64_t *gpa)
{
	struct error err;

	if (vm_translate(hmp->vm, hmp->cpu, address, gpa, &err) == 0)
		return 0;
	if (err.code == ENOENT)
		text_printf(hmp->out, "Unmapped\n");
	else
		hmp_print_error(hmp, &err);
	return -1;
}

void hmp_gva2gpa(struct hmp *hmp, const struct hmp_args *args)
{
	uint64_t gpa;

	if (translate(hmp, args->number[0], &gpa) == 0)
		text_printf(hmp->out, "gpa: %#" PRIx64 "\n", gpa);
}

void hmp_gva2hva(struct hmp *hmp, const struct hmp_args *args)
{
	uint64_t gpa;

	if (translate(hmp, args->number[0], &gpa) == 0)
		print_hva(hmp, args->number[0], gpa);
}

/* The 16-bit checksum of sum(1) of BSD. */
static uint16_t add_to_sum(uint16_t sum, const uint8_t *bytes, uint64_t len)
{
	for (uint64_t i = 0; i < len; i++)
		sum = (uint16_t)((sum >> 1 | sum << 15) + bytes[i]);
	return sum;
}

void hmp_sum(struct hmp *hmp, const struct hmp_args *args)
{
	uint64_t address = args->number[0], left = args->number[1], n;
	uint8_t *bytes;
	uint16_t sum = 0;

	if (left > SUM_MAX) {
		text_printf(hmp->out, "sum: at most %llu bytes; save more with pmemsave\n", SUM_MAX);
		return;
	}
	for (; left > 0; address += n, left -= n) {
		n = memory_run(&hmp->vm->memory, address, left, &bytes);
		if (!n) {
			text_printf(hmp->out, "No memory is mapped at address 0x%" PRIx64 "\n",
				    address);
			return;
		}
		sum = add_to_sum(sum, bytes, n);
	}
	text_printf(hmp->out, "%05u\n", sum);
}
