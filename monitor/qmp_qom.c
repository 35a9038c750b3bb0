/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "monitor/qom.h"

/* Commands about the object tree. */

static const char *argument(const struct qmp_call *call, const char *name)
{
	const struct json_value *value = json_get(call->arguments, name);

	return value ? value->string.bytes : NULL;
}

static int find(struct qmp_call *call, bool tell_ambiguous, struct qom_object *object)
{
	if (qom_find(call->monitor, argument(call, "path"), tell_ambiguous, object,
		     &call->error) == 0)
		return 0;
	if (call->error.code == ENODEV)
		call->error_class = QMP_DEVICE_NOT_FOUND;
	return -1;
}

static void write_property(struct json_writer *w, const char *name, const char *type,
			   const char *description)
{
	json_write_object(w, NULL);
	json_write_string(w, "name", name);
	if (description)
		json_write_string(w, "description", description);
	json_write_string(w, "type", type);
	json_write_object_end(w);
}

int qmp_qom_list(struct qmp_call *call)
{
	struct json_writer *w = call->reply;
	struct qom_object object, child;
	struct qom_property property;
	char type[80];

	if (find(call, true, &object) < 0)
		return -1;
	json_write_array(w, "return");
	for (unsigned int n = 0; qom_type_property(object.type, n, &property); n++)
		write_property(w, property.name, property.type, NULL);
	for (unsigned int n = 0; qom_child(call->monitor, &object, n, &child); n++) {
		snprintf(type, sizeof(type), "child<%s>", child.type);
		write_property(w, child.name, type, NULL);
	}
	json_write_array_end(w);
	return 0;
}

int qmp_qom_get(struct qmp_call *call)
{
	struct qom_object object;

	if (find(call, false, &object) < 0)
		return -1;
	return qom_get(call->monitor, &object, argument(call, "property"), call->reply,
		       "return", &call->error);
}

int qmp_qom_set(struct qmp_call *call)
{
	struct qom_object object;

	if (find(call, false, &object) < 0)
		return -1;
	return qom_set(call->monitor, &object, argument(call, "property"), &call->error);
}

int qmp_qom_list_types(struct qmp_call *call)
{
	const struct json_value *abstract = json_get(call->arguments, "abstract");
	const char *implements = argument(call, "implements");
	struct json_writer *w = call->reply;
	struct qom_type type;

	json_write_array(w, "return");
	for (unsigned int n = 0; qom_type_at(n, &type); n++) {
		if ((type.abstract && !(abstract && abstract->boolean)) ||
		    (implements && !qom_is_a(type.name, implements)))
			continue;
		json_write_object(w, NULL);
		json_write_string(w, "name", type.name);
		if (type.abstract)
			json_write_bool(w, "abstract", true);
		if (type.parent)
			json_write_string(w, "parent", type.parent);
		json_write_object_end(w);
	}
	json_write_array_end(w);
	return 0;
}

/* `except` names a type: what its objects have is left out. */
static void list_properties(struct json_writer *w, const char *type, const char *except)
{
	struct qom_property property, other;
	unsigned int first = 0;

	/* Those of ancestors come first. */
	while (except && qom_type_property(except, first, &other))
		first++;
	json_write_array(w, "return");
	for (unsigned int n = first; qom_type_property(type, n, &property); n++)
		write_property(w, property.name, property.type, property.description);
	json_write_array_end(w);
}

/* The type that "typename" names; the error calls it a `kind`. */
static int find_type(struct qmp_call *call, const char *kind, struct qom_type *type)
{
	const char *name = argument(call, "typename");

	if (qom_find_type(name, type))
		return 0;
	call->error_class = QMP_DEVICE_NOT_FOUND;
	return error_set(&call->error, ENODEV, "%s '%s' not found", kind, name);
}

int qmp_qom_list_properties(struct qmp_call *call)
{
	struct qom_type type;

	if (find_type(call, "Class", &type) < 0)
		return -1;
	list_properties(call->reply, type.name, NULL);
	return 0;
}

int qmp_device_list_properties(struct qmp_call *call)
{
	struct qom_type type;

	if (find_type(call, "Device", &type) < 0)
		return -1;
	if (type.abstract || !qom_is_a(type.name, "device"))
		return error_set(&call->error, EINVAL,
				 "Parameter 'typename' expects a non-abstract device type");
	list_properties(call->reply, type.name, "device");
	return 0;
}
