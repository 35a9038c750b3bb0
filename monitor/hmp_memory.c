/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/hmp_internal.h"
#include "monitor/memsave.h"
#include "vmm/vcpu_space.h"

/* One dump's bytes: in its widest format that is as much text as HMP_OUTPUT_MAX. */
#define DUMP_MAX        (1u << 20)

static uint64_t load(const uint8_t *bytes, unsigned int size)
{
	uint64_t value = 0;

	memcpy(&value, bytes, size);            /* little endian, the host as the guest */
	return value;
}

void hmp_print_character(struct text *out, uint8_t c)
{
	switch (c) {
	case '\'':
		text_printf(out, "'\\''");
		break;
	case '\\':
		text_printf(out, "'\\\\'");
		break;
	case '\n':
		text_printf(out, "'\\n'");
		break;
	case '\r':
		text_printf(out, "'\\r'");
		break;
	default:
		text_printf(out, c >= 0x20 && c < 0x7f ? "'%c'" : "'\\x%02x'", c);
		break;
	}
}

/* Widths are those of the largest number of a size.  As in QEMU, d extends no sign. */
static void print_item(struct text *out, const struct hmp_args *format, uint64_t value)
{
	int bits = format->size * 8;

	switch (format->format) {
	case 'o':
		text_printf(out, " %#*" PRIo64, (bits + 2) / 3, value);
		break;
	case 'x':
		text_printf(out, " 0x%0*" PRIx64, bits / 4, value);
		break;
	case 'u':
		text_printf(out, " %*" PRIu64, (bits * 10 + 32) / 33, value);
		break;
	case 'd':
		text_printf(out, " %*" PRId64, (bits * 10 + 32) / 33, (int64_t)value);
		break;
	}
}

/*
 * `len` bytes wanted from `addr` on, of which the first `got` could be read.  A line is shown as a
 * whole or not at all.
 */
static void print_dump(struct text *out, const struct hmp_args *format, uint64_t addr,
		       const uint8_t *bytes, size_t len, size_t got)
{
	unsigned int line = format->size == 1 ? 8 : 16;
	unsigned int step = format->format == 'c' ? 1 : format->size;
	size_t done, n, i;

	for (done = 0; done < len; done += n) {
		n = len - done < line ? len - done : line;
		text_printf(out, "%016" PRIx64 ":", addr + done);
		if (done + n > got) {
			text_printf(out, " Cannot access memory\n");
			return;
		}
		for (i = 0; i < n; i += step)
			if (format->format == 'c') {
				text_printf(out, " ");
				hmp_print_character(out, bytes[done + i]);
			} else {
				print_item(out, format, load(bytes + done + i, format->size));
			}
		text_printf(out, "\n");
	}
}

static int read_virtual(struct hmp *hmp, uint64_t addr, uint8_t *buf, size_t len, size_t *got)
{
	struct page_space space;

	if (hmp_inspect_begin(hmp, hmp->cpu, VCPU_PAGE_SPACE) == -1)
		return -1;
	vcpu_page_space(&hmp->vm->vcpu[hmp->cpu].state, &hmp->vm->memory, &space, NULL);
	*got = page_space_read(&space, addr, buf, len);
	vm_inspect_end(hmp->vm);
	return 0;
}

/* How many bytes from `addr` on are RAM. */
static size_t read_physical(const struct memory *memory, uint64_t addr, uint8_t *buf, size_t len)
{
	size_t done, n;
	uint8_t *host;

	for (done = 0; done < len; done += n) {
		n = memory_run(memory, addr + done, len - done, &host);
		if (!n)
			break;
		memcpy(buf + done, host, n);
	}
	return done;
}

static void dump(struct hmp *hmp, const struct hmp_args *args, bool physical)
{
	bool cut = args->count > DUMP_MAX / args->size;
	size_t len = cut ? DUMP_MAX : args->count * args->size, got;
	uint64_t addr = args->number[0];
	uint8_t *buf;

	if (args->format == 'i') {
		text_printf(hmp->out, "vmond has no disassembler: dump bytes (x%s/64xb), or save "
			    "them for one (%smemsave)\n", physical ? "p" : "",
			    physical ? "p" : "");
		return;
	}
	if (len == 0)
		return;
	buf = malloc(len);
	if (!buf) {
		text_printf(hmp->out, "Error: no memory for a dump of %zu bytes\n", len);
		return;
	}
	if (physical)
		got = read_physical(&hmp->vm->memory, addr, buf, len);
	else if (read_virtual(hmp, addr, buf, len, &got) == -1)
		goto out;
	print_dump(hmp->out, args, addr, buf, len, got);
	if (cut && got == len)
		text_printf(hmp->out, "The dump ends here, after %u bytes; %smemsave saves more to "
			    "a file\n", DUMP_MAX, physical ? "p" : "");
out:
	free(buf);
}

void hmp_x(struct hmp *hmp, const struct hmp_args *args)
{
	dump(hmp, args, false);
}

void hmp_xp(struct hmp *hmp, const struct hmp_args *args)
{
	dump(hmp, args, true);
}

static void save(struct hmp *hmp, const struct hmp_args *args, int cpu)
{
	struct error err;
	struct memsave *save = memsave_start(hmp->monitor, cpu, args->number[0], args->number[1],
					     args->string, &err);

	if (save)
		memsave_await(save, hmp_defer(hmp, memsave_forget, save));
	else
		hmp_print_error(hmp, &err);
}

void hmp_memsave(struct hmp *hmp, const struct hmp_args *args)
{
	save(hmp, args, hmp->cpu);
}

void hmp_pmemsave(struct hmp *hmp, const struct hmp_args *args)
{
	save(hmp, args, MEMSAVE_PHYSICAL);
}
