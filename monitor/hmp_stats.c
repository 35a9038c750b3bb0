/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <string.h>

#include "monitor/hmp_internal.h"
#include "vmm/stats.h"

/* "n" for 10^-9, "Ki" for 2^10; NULL where there is no prefix for it. */
static const char *prefix(const struct stats_desc *desc)
{
	static const char *const decimal[] = {
		"a", "f", "p", "n", "u", "m", "", "K", "M", "G", "T", "P", "E",
	};
	static const char *const binary[] = { "", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei" };
	int exponent = desc->exponent;

	if (desc->base == 10 && exponent >= -18 && exponent <= 18 && exponent % 3 == 0)
		return decimal[exponent / 3 + 6];
	if (desc->base == 2 && exponent >= 0 && exponent <= 60 && exponent % 10 == 0)
		return binary[exponent / 10];
	return NULL;
}

/* "(cumulative, ns)", "(peak, * 2^12 bytes)" */
static void print_unit(struct text *out, const struct stats_desc *desc)
{
	const char *unit = desc->unit == STATS_UNIT_SECONDS ? "s" :
			   desc->unit == STATS_UNIT_BYTES ? "B" : NULL;

	if (desc->unit == STATS_UNIT_NONE && !desc->exponent)
		return;
	text_printf(out, ", ");
	if (unit && prefix(desc)) {
		text_printf(out, "%s%s", prefix(desc), unit);
		return;
	}
	if (desc->exponent)
		text_printf(out, "* %u^%d%s", desc->base, desc->exponent,
			    desc->unit == STATS_UNIT_NONE ? "" : " ");
	if (desc->unit != STATS_UNIT_NONE)
		text_printf(out, "%s", stats_unit_name(desc->unit));
}

static void print_stat(struct text *out, const struct stats_desc *desc, const uint8_t *bytes)
{
	text_printf(out, "    %s (%s", desc->name, stats_type_name(desc->type));
	print_unit(out, desc);
	if (desc->type == STATS_LINEAR_HISTOGRAM)
		text_printf(out, ", bucket size=%u", desc->bucket_size);
	text_printf(out, "):");
	if (desc->nr > 1) {
		text_printf(out, " ");
		for (unsigned int i = 0; i < desc->nr; i++)
			text_printf(out, "[%u]=%" PRIu64 " ", i + 1, stats_value(desc, bytes, i));
		text_printf(out, "\n");
	} else if (desc->unit == STATS_UNIT_BOOLEAN) {
		text_printf(out, " %s\n", stats_value(desc, bytes, 0) ? "yes" : "no");
	} else {
		text_printf(out, " %" PRIu64 "\n", stats_value(desc, bytes, 0));
	}
}

/* Whether "a,b,c", or "*", has a name. */
static bool lists(const char *list, const char *name)
{
	size_t len = strlen(name);

	if (strcmp(list, "*") == 0)
		return true;
	for (const char *end; ; list = end + 1) {
		end = strchrnul(list, ',');
		if ((size_t)(end - list) == len && memcmp(list, name, len) == 0)
			return true;
		if (!*end)
			return false;
	}
}

/* The words: target, which must be there, and names and provider, which may. */
static int parse(struct hmp *hmp, const char *p, enum stats_target *target, char *names, size_t size,
		 bool *provider_given)
{
	char word[64];

	if (hmp_parse_string(hmp, &p, word, sizeof(word)) == -1) {
		text_printf(hmp->out, "stats: string expected\n"
			    "Try \"help info stats\" for more information\n");
		return -1;
	}
	*target = strcmp(word, "vm") == 0 ? STATS_VM : STATS_VCPU;
	if (*target == STATS_VCPU && strcmp(word, "vcpu") != 0) {
		text_printf(hmp->out, "invalid stats target %s\n", word);
		return -1;
	}
	strcpy(names, "*");
	if (*hmp_skip_spaces(p) && hmp_parse_string(hmp, &p, names, size) == -1)
		return -1;
	*provider_given = *hmp_skip_spaces(p);
	if (*provider_given) {
		if (hmp_parse_string(hmp, &p, word, sizeof(word)) == -1)
			return -1;
		if (strcmp(word, "kvm") != 0) {
			text_printf(hmp->out, "invalid stats provider %s\n", word);
			return -1;
		}
	}
	if (!*hmp_skip_spaces(p))
		return 0;
	text_printf(hmp->out, "stats: extraneous characters at the end of line\n"
		    "Try \"help info stats\" for more information\n");
	return -1;
}

void hmp_info_stats(struct hmp *hmp, const struct hmp_args *args)
{
	const struct stats_schema *schema;
	enum stats_target target;
	const uint8_t *bytes;
	char names[1024];
	bool quiet;
	struct error err;

	if (parse(hmp, args->rest, &target, names, sizeof(names), &quiet) == -1)
		return;
	schema = vm_stats_schema(hmp->vm, target, &err);
	bytes = schema ? vm_stats_read(hmp->vm, target, (unsigned int)hmp->cpu, &err) : NULL;
	if (!bytes) {
		hmp_print_error(hmp, &err);
		return;
	}
	for (unsigned int i = 0; i < schema->nr; i++) {
		if (!lists(names, schema->desc[i].name))
			continue;
		/* Whose they are, once, unless somebody has just said it. */
		if (!quiet)
			text_printf(hmp->out, "provider: kvm\n");
		quiet = true;
		print_stat(hmp->out, &schema->desc[i], bytes);
	}
}
