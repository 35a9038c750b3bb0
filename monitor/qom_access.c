/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "monitor/qom.h"

int qom_find(struct monitor *monitor, const char *path, bool tell_ambiguous,
	     struct qom_object *object, struct error *err)
{
	bool ambiguous;

	if (qom_resolve(monitor, path, object, &ambiguous))
		return 0;
	if (ambiguous && tell_ambiguous)
		return error_set(err, EINVAL, "Path '%s' is ambiguous", path);
	return error_set(err, ENODEV, "Device '%s' not found", path);
}

static int no_property(const struct qom_object *object, const char *name, struct error *err)
{
	return error_set(err, ENOENT, "Property '%s.%s' not found", object->type, name);
}

static int write_path(const struct qom_object *object, struct json_writer *w, const char *name,
		      struct error *err)
{
	struct text path = { 0 };

	qom_print_path(&path, object);
	if (path.failed) {
		text_free(&path);
		return error_set(err, ENOMEM, "out of memory");
	}
	json_write_string(w, name, path.bytes);
	text_free(&path);
	return 0;
}

static bool find_child(struct monitor *monitor, const struct qom_object *object, const char *name,
		       struct qom_object *child)
{
	for (unsigned int n = 0; qom_child(monitor, object, n, child); n++)
		if (strcmp(child->name, name) == 0)
			return true;
	return false;
}

int qom_get(struct monitor *monitor, const struct qom_object *object, const char *name,
	    struct json_writer *w, const char *as, struct error *err)
{
	struct qom_property property;
	const struct qom_question question = { monitor, object, &property, w, as };
	struct qom_object other;

	if (!qom_find_property(object, name, &property)) {
		if (!find_child(monitor, object, name, &other))
			return no_property(object, name, err);
		return write_path(&other, w, as, err);
	}
	if (property.get)
		return property.get(&question, err);
	if (property.target) {
		if (property.target(monitor, object, &other))
			return write_path(&other, w, as, err);
		json_write_string(w, as, "");
	} else if (strcmp(property.type, "bool") == 0) {
		json_write_bool(w, as, property.constant);
	} else {
		json_write_uint(w, as, property.constant);
	}
	return 0;
}

int qom_set(struct monitor *monitor, const struct qom_object *object, const char *name,
	    struct error *err)
{
	struct qom_property property;
	struct qom_object child;

	if (qom_find_property(object, name, &property)) {
		if (property.fixed)
			return error_set(err, EPERM, "Attempt to set property '%s' on anonymous "
					 "device (type '%s') after it was realized", name,
					 object->type);
	} else if (!find_child(monitor, object, name, &child)) {
		return no_property(object, name, err);
	}
	return error_set(err, EPERM, "Property '%s.%s' is not writable", object->type, name);
}
