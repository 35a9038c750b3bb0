/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "monitor/hmp_internal.h"
#include "monitor/qom.h"

/* The object tree, for people. */

static int find(struct hmp *hmp, const char *path, bool tell_ambiguous, struct qom_object *object)
{
	struct error err;

	if (qom_find(hmp->monitor, path, tell_ambiguous, object, &err) == 0)
		return 0;
	hmp_print_error(hmp, &err);
	return -1;
}

void hmp_qom_list(struct hmp *hmp, const struct hmp_args *args)
{
	struct qom_object object, child;
	struct qom_property property;

	if (!*args->string) {
		text_printf(hmp->out, "/\n");
		return;
	}
	if (find(hmp, args->string, true, &object) < 0)
		return;
	for (unsigned int n = 0; qom_type_property(object.type, n, &property); n++)
		text_printf(hmp->out, "%s (%s)\n", property.name, property.type);
	for (unsigned int n = 0; qom_child(hmp->monitor, &object, n, &child); n++)
		text_printf(hmp->out, "%s (child<%s>)\n", child.name, child.type);
}

/* A value as JSON, its lines ended as those of this monitor are. */
static int print_value(struct hmp *hmp, const struct qom_object *object, const char *property,
		       bool pretty)
{
	struct json_writer w;
	struct error err;
	int rc;

	json_writer_init(&w, pretty);
	rc = qom_get(hmp->monitor, object, property, &w, NULL, &err);
	if (rc < 0)
		hmp_print_error(hmp, &err);
	else if (w.failed)
		text_printf(hmp->out, "Error: out of memory\n");
	else
		for (size_t i = 0; i < w.len; i++)
			if (w.text[i] != '\r')
				text_append(hmp->out, w.text + i, 1);
	json_writer_free(&w);
	return rc;
}

void hmp_qom_get(struct hmp *hmp, const struct hmp_args *args)
{
	struct qom_object object;

	if (find(hmp, args->string, false, &object) == 0 &&
	    print_value(hmp, &object, args->word, true) == 0)
		text_printf(hmp->out, "\n");
}

void hmp_qom_set(struct hmp *hmp, const struct hmp_args *args)
{
	struct qom_object object;
	struct error err;

	if (!*hmp_skip_spaces(args->rest))
		text_printf(hmp->out, "qom-set: string expected\n");
	else if (find(hmp, args->string, false, &object) == 0 &&
		 qom_set(hmp->monitor, &object, args->word, &err) < 0)
		hmp_print_error(hmp, &err);
}

/* ---- info qom-tree ---- */

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct qom_object *)a)->name, ((const struct qom_object *)b)->name);
}

static void print_tree(struct hmp *hmp, const struct qom_object *object, int indent);

/* In QEMU's order, that of the names' bytes: device[10] stands before device[2]. */
static void print_children(struct hmp *hmp, const struct qom_object *object, int indent)
{
	struct qom_object one, *children;
	unsigned int count = 0;

	while (qom_child(hmp->monitor, object, count, &one))
		count++;
	if (!count)
		return;
	children = calloc(count, sizeof(*children));
	if (!children) {
		text_printf(hmp->out, "%*s(out of memory for %u children)\n", indent, "", count);
		return;
	}
	for (unsigned int n = 0; n < count; n++)
		qom_child(hmp->monitor, object, n, &children[n]);
	qsort(children, count, sizeof(*children), by_name);
	for (unsigned int n = 0; n < count; n++)
		print_tree(hmp, &children[n], indent);
	free(children);
}

static void print_tree(struct hmp *hmp, const struct qom_object *object, int indent)
{
	text_printf(hmp->out, "%*s/%s (%s)\n", indent, "", object->name, object->type);
	print_children(hmp, object, indent + 2);
}

void hmp_info_qom_tree(struct hmp *hmp, const struct hmp_args *args)
{
	const char *path = *args->string ? args->string : "/machine";
	struct qom_object object;
	bool ambiguous;

	if (!qom_resolve(hmp->monitor, path, &object, &ambiguous))
		text_printf(hmp->out, ambiguous ? "Path '%s' is ambiguous.\n" :
						  "Path '%s' could not be resolved.\n", path);
	else
		print_tree(hmp, &object, 0);
}

/* ---- info qtree ---- */

static void print_device(struct hmp *hmp, const struct qom_object *device)
{
	struct qom_property property;

	text_printf(hmp->out, "  dev: %s, id \"\"\n", device->type);
	for (unsigned int n = 0; qom_type_property(device->type, n, &property); n++) {
		if (!property.fixed || !qom_find_property(device, property.name, &property))
			continue;
		text_printf(hmp->out, "    %s = ", property.name);
		print_value(hmp, device, property.name, false);
		if (!property.get && !property.target && strcmp(property.type, "bool") != 0)
			text_printf(hmp->out, " (0x%x)", property.constant);
		text_printf(hmp->out, "\n");
	}
}

void hmp_info_qtree(struct hmp *hmp, const struct hmp_args *args)
{
	static const struct {
		enum device_place place;
		const char *name, *type;
	} buses[] = {
		{ DEVICE_ON_SYSTEM, "main-system-bus", "System" },
		{ DEVICE_ON_ISA, "isa.0", "ISA" },
	};
	struct qom_object unattached, child;

	(void)args;
	qom_at(QOM_UNATTACHED, &unattached);
	for (unsigned int i = 0; i < sizeof(buses) / sizeof(buses[0]); i++) {
		text_printf(hmp->out, "bus: %s\n  type %s\n", buses[i].name, buses[i].type);
		for (unsigned int n = 0; qom_child(hmp->monitor, &unattached, n, &child); n++)
			if (child.place == QOM_DEVICE &&
			    device_infos[child.index].place == buses[i].place)
				print_device(hmp, &child);
	}
}
