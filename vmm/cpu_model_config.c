/* SPDX-License-Identifier: MIT */
#include "vmm/cpu_model_internal.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The longest part between two commas, and the longest that an error repeats. */
#define PART_MAX  128
#define SHOWN_MAX 40

/* How far a name may be off for what it is near to be offered. */
#define NEAR 3

const struct cpu_property cpu_properties[CPU_PROPERTY_COUNT] = {
	[CPU_VENDOR] = { "vendor", CPU_PROPERTY_STRING, "12 characters", 0, 0 },
	[CPU_MODEL_ID] = { "model-id", CPU_PROPERTY_STRING, "name, up to 48 characters", 0, 0 },
	[CPU_FAMILY] = { "family", CPU_PROPERTY_NUMBER, "0 to 270", 0, 0xf + 0xff },
	[CPU_MODEL_NUMBER] = { "model", CPU_PROPERTY_NUMBER, "0 to 255", 0, 255 },
	[CPU_STEPPING] = { "stepping", CPU_PROPERTY_NUMBER, "0 to 15", 0, 15 },
	[CPU_PHYS_BITS] = { "phys-bits", CPU_PROPERTY_NUMBER, "of physical addresses, 32 to 52", 32,
			    52 },
	[CPU_HOST_PHYS_BITS] = { "host-phys-bits", CPU_PROPERTY_BOOL, "as many as the host has", 0, 0 },
	[CPU_LEVEL] = { "level", CPU_PROPERTY_NUMBER, "highest basic leaf", 1, 0xff },
	[CPU_XLEVEL] = { "xlevel", CPU_PROPERTY_NUMBER, "highest extended leaf", 0x80000000,
			 0x800000ff },
	/* KVM takes kHz in 32 bits. */
	[CPU_TSC_FREQUENCY] = { "tsc-frequency", CPU_PROPERTY_NUMBER, "in Hz", 1000000,
				UINT32_MAX * 1000ULL },
	[CPU_PMU] = { "pmu", CPU_PROPERTY_BOOL, "performance counters", 0, 0 },
	[CPU_KVM] = { "kvm", CPU_PROPERTY_BOOL, "KVM's own leaves and features", 0, 0 },
	[CPU_VMWARE_CPUID_FREQ] = { "vmware-cpuid-freq", CPU_PROPERTY_BOOL,
				    "frequencies in leaf 0x40000010", 0, 0 },
	[CPU_MIGRATABLE] = { "migratable", CPU_PROPERTY_BOOL, "nothing that can not migrate", 0, 0 },
	[CPU_ENFORCE] = { "enforce", CPU_PROPERTY_BOOL, "what can not be had is an error", 0, 0 },
};

const struct cpu_property *cpu_property_at(unsigned int i)
{
	return i < CPU_PROPERTY_COUNT ? &cpu_properties[i] : NULL;
}

static int find_property(const char *key)
{
	for (int i = 0; i < CPU_PROPERTY_COUNT; i++)
		if (cpu_same_name(cpu_properties[i].name, key))
			return i;
	return -1;
}

/* ---- values ---- */

static int parse_bool(const char *value, struct error *err)
{
	static const char *const on[] = { "on", "yes", "true", "y" };
	static const char *const off[] = { "off", "no", "false", "n" };

	for (size_t i = 0; i < sizeof(on) / sizeof(on[0]); i++) {
		if (strcmp(value, on[i]) == 0)
			return 1;
		if (strcmp(value, off[i]) == 0)
			return 0;
	}
	return error_set(err, EINVAL, "must be on or off, not '%.*s'", SHOWN_MAX, value);
}

/* Of at most 18 digits, so that nothing overflows; a frequency also with a suffix K, M or G. */
static int parse_number(const char *value, enum cpu_property_id id, uint64_t min, uint64_t max,
			uint64_t *number, struct error *err)
{
	bool hex = value[0] == '0' && (value[1] | 0x20) == 'x';
	char *end = NULL;

	if (isxdigit((unsigned char)value[hex ? 2 : 0]) && strlen(value) <= 18)
		*number = strtoull(value, &end, hex ? 16 : 10);
	if (end && end != value && id == CPU_TSC_FREQUENCY && *end && !end[1]) {
		uint64_t factor = (*end | 0x20) == 'k' ? 1000 : (*end | 0x20) == 'm' ? 1000000 :
				  (*end | 0x20) == 'g' ? 1000000000 : 0;

		if (factor && *number <= max / factor) {
			*number *= factor;
			end++;
		}
	}
	if (end && end != value && !*end && *number >= min && *number <= max)
		return 0;
	if (id == CPU_LEVEL || id == CPU_XLEVEL)
		return error_set(err, EINVAL, "must be a number from 0x%llx to 0x%llx, not '%.*s'",
				 (unsigned long long)min, (unsigned long long)max, SHOWN_MAX, value);
	return error_set(err, EINVAL, "must be a number from %llu to %llu, not '%.*s'",
			 (unsigned long long)min, (unsigned long long)max, SHOWN_MAX, value);
}

/* What a guest prints and a log line repeats: ASCII, no control characters. */
static int check_text(const char *value, size_t min, size_t max, struct error *err)
{
	size_t i = 0;

	while (value[i] >= ' ' && value[i] <= '~')
		i++;
	if (value[i])
		return error_set(err, EINVAL, "must consist of printable ASCII characters");
	if (i < min || i > max) {
		if (min == max)
			return error_set(err, EINVAL, "must have %zu characters, not %zu", max, i);
		return error_set(err, EINVAL, "must have at most %zu characters, not %zu", max, i);
	}
	return 0;
}

static int set_number(struct cpu_config *config, enum cpu_property_id id, const char *value,
		      struct error *err)
{
	const struct cpu_property *property = &cpu_properties[id];
	uint64_t number = 0;

	if (parse_number(value, id, property->min, property->max, &number, err) < 0)
		return -1;
	switch (id) {
	case CPU_FAMILY:
		config->family = (int)number;
		break;
	case CPU_MODEL_NUMBER:
		config->model_number = (int)number;
		break;
	case CPU_STEPPING:
		config->stepping = (int)number;
		break;
	case CPU_PHYS_BITS:
		config->phys_bits = (unsigned int)number;
		break;
	case CPU_LEVEL:
		config->level = (uint32_t)number;
		break;
	case CPU_XLEVEL:
		config->xlevel = (uint32_t)number;
		break;
	default:
		config->tsc_frequency = number;
		break;
	}
	return 0;
}

static int set_property(struct cpu_config *config, enum cpu_property_id id, const char *value,
			struct error *err)
{
	int on;

	if (cpu_properties[id].type == CPU_PROPERTY_NUMBER)
		return set_number(config, id, value, err);
	if (id == CPU_VENDOR) {
		if (check_text(value, CPU_VENDOR_LEN, CPU_VENDOR_LEN, err) < 0)
			return -1;
		memcpy(config->vendor, value, CPU_VENDOR_LEN + 1);
		return 0;
	}
	if (id == CPU_MODEL_ID) {
		if (check_text(value, 0, CPU_MODEL_ID_LEN, err) < 0)
			return -1;
		strcpy(config->model_id, value);
		config->has_model_id = true;
		return 0;
	}
	on = parse_bool(value, err);
	if (on < 0)
		return -1;
	switch (id) {
	case CPU_HOST_PHYS_BITS:
		config->host_phys_bits = on;
		break;
	case CPU_PMU:
		config->pmu = on;
		break;
	case CPU_KVM:
		config->kvm = on;
		break;
	case CPU_VMWARE_CPUID_FREQ:
		config->vmware_cpuid_freq = on;
		break;
	case CPU_MIGRATABLE:
		config->migratable = on;
		break;
	default:
		config->enforce = on;
		break;
	}
	return 0;
}

/* The feature or property whose name is nearest, if any is near: they have something in common. */
static const char *nearest(const char *key)
{
	unsigned int best = strlen(key) < NEAR ? (unsigned int)strlen(key) : NEAR, distance;
	const char *name = NULL;

	for (unsigned int i = 0; i < CPU_FEATURE_COUNT; i++) {
		distance = cpu_name_distance(cpu_feature_name(i), key, NEAR);
		if (distance < best) {
			best = distance;
			name = cpu_feature_name(i);
		}
	}
	for (unsigned int i = 0; i < CPU_PROPERTY_COUNT; i++) {
		distance = cpu_name_distance(cpu_properties[i].name, key, NEAR);
		if (distance < best) {
			best = distance;
			name = cpu_properties[i].name;
		}
	}
	return name;
}

static int unknown_key(const char *key, struct error *err)
{
	const char *near = nearest(key);

	return error_set(err, EINVAL, "'%.*s' is neither a feature nor a property%s%s%s", SHOWN_MAX,
			 key, near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
}

int cpu_config_set(struct cpu_config *config, const char *key, const char *value,
		   struct error *err)
{
	int property = find_property(key);
	enum cpu_feature feature;
	int on;

	if (property >= 0) {
		if (set_property(config, property, value, err) < 0)
			return error_prefix(err, "%s", cpu_properties[property].name);
		return 0;
	}
	feature = cpu_feature_find(key);
	if (feature == CPU_FEATURE_COUNT)
		return unknown_key(key, err);
	on = parse_bool(value, err);
	if (on < 0)
		return error_prefix(err, "%s", cpu_feature_name(feature));
	cpu_features_put(&config->plus, feature, on);
	cpu_features_put(&config->minus, feature, !on);
	return 0;
}

int cpu_config_init(struct cpu_config *config, const char *model, struct error *err)
{
	char names[200] = "";

	memset(config, 0, sizeof(*config));
	config->model = cpu_model_find(model);
	if (!config->model) {
		for (unsigned int i = 0; cpu_model_at(i); i++) {
			strcat(names, i ? ", " : "");
			strcat(names, cpu_model_at(i)->name);
		}
		return error_set(err, EINVAL, "'%.*s' is no model; there are %s", SHOWN_MAX, model,
				 names);
	}
	config->family = config->model_number = config->stepping = -1;
	config->host_phys_bits = config->pmu = -1;
	config->kvm = config->vmware_cpuid_freq = config->migratable = true;
	return 0;
}

/*
 * Copies what is in front of the next comma, and returns where the next part begins, NULL when this
 * was the last.  A comma that is meant stands twice.
 */
static const char *next_part(const char *text, char part[PART_MAX + 1], bool *fits)
{
	size_t len = 0;

	*fits = true;
	for (; *text && (*text != ',' || text[1] == ','); text++) {
		text += *text == ',';
		if (len < PART_MAX)
			part[len++] = *text;
		else
			*fits = false;
	}
	part[len] = '\0';
	return *text ? text + 1 : NULL;
}

/* A key by itself, or with a sign: what can be on or off. */
static int set_switch(struct cpu_config *config, const char *key, bool on, struct error *err)
{
	int property = find_property(key);

	if (property >= 0 && cpu_properties[property].type != CPU_PROPERTY_BOOL)
		return error_set(err, EINVAL, "%s: needs a value: %s", key,
				 cpu_properties[property].description);
	return cpu_config_set(config, key, on ? "on" : "off", err);
}

static int parse_part(struct cpu_config *config, char *part, struct error *err)
{
	char *equals = strchr(part, '=');

	if (*part == '+' || *part == '-')
		return set_switch(config, part + 1, *part == '+', err);
	if (!equals)
		return set_switch(config, part, true, err);
	*equals = '\0';
	return cpu_config_set(config, part, equals + 1, err);
}

int cpu_model_parse(const char *text, struct cpu_config *config, struct error *err)
{
	char part[PART_MAX + 1];
	bool fits;

	text = next_part(text, part, &fits);
	if (cpu_config_init(config, part, err) < 0)
		return -1;
	while (text) {
		text = next_part(text, part, &fits);
		if (!fits)
			return error_set(err, EINVAL, "'%.*s...' is too long", SHOWN_MAX, part);
		if (parse_part(config, part, err) < 0)
			return -1;
	}
	return 0;
}
