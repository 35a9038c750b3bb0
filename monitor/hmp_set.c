/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <inttypes.h>

#include "monitor/hmp_internal.h"
#include "monitor/registers.h"

/* More than there are registers, so that a line can name each. */
#define VALUES_MAX      64

/* "$rip = expr" at *p; -1 when it is wrong and the reason has been printed. */
static int parse_value(struct hmp *hmp, const char **p, struct register_value *value)
{
	const char *name = hmp_skip_spaces(*p), *end;
	size_t size;

	name += *name == '$';
	for (end = name; isalnum((unsigned char)*end) || *end == '-'; end++)
		;
	value->settable = settable_find(name, (size_t)(end - name));
	if (!value->settable) {
		text_printf(hmp->out, "unknown register\n");
		return -1;
	}
	*p = hmp_skip_spaces(end);
	if (**p != '=') {
		text_printf(hmp->out, "'=' expected\n");
		return -1;
	}
	++*p;
	if (hmp_eval(hmp, p, &value->value) == -1)
		return -1;
	size = settable_size(value->settable);
	if (size < 8 && value->value >> size * 8) {
		text_printf(hmp->out, "%s has %zu bits, too few for 0x%" PRIx64 "\n",
			    settable_name(value->settable), size * 8, value->value);
		return -1;
	}
	return 0;
}

/* All values are known before the first is set: expressions see the registers as they were. */
void hmp_set(struct hmp *hmp, const struct hmp_args *args)
{
	struct register_value values[VALUES_MAX];
	const char *p = args->rest;
	struct error err;
	size_t nr = 0;

	do {
		if (nr == VALUES_MAX) {
			text_printf(hmp->out, "set: at most %d registers\n", VALUES_MAX);
			return;
		}
		if (parse_value(hmp, &p, &values[nr++]) == -1) {
			text_printf(hmp->out, "Try \"help set\" for more information\n");
			return;
		}
		p = hmp_skip_spaces(p);
	} while (*p);
	if (registers_set(hmp->vm, hmp->cpu, values, nr, &err) == -1)
		hmp_print_error(hmp, &err);
}
