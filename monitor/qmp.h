/* SPDX-License-Identifier: MIT */
#ifndef MONITOR_QMP_H
#define MONITOR_QMP_H

#include <stdbool.h>
#include <stddef.h>

#include "monitor/json.h"
#include "vmm/error.h"

/*
 * What the schema compiler (monitor/qmp-gen.py) makes of monitor/qmp-schema.json, and the
 * contract between the wire and the commands.
 */

struct monitor;
struct monitor_client;

enum qmp_error_class {
	QMP_GENERIC_ERROR,
	QMP_COMMAND_NOT_FOUND,
	QMP_DEVICE_NOT_ACTIVE,
	QMP_DEVICE_NOT_FOUND,
	QMP_KVM_MISSING_CAP,
};

/* One command being carried out. */
struct qmp_call {
	struct monitor *monitor;
	struct monitor_client *client;          /* who asked; NULL in tests */
	const struct json_value *arguments;     /* an object, already checked against the schema */
	/*
	 * The handler writes the value of "return" here as one JSON value with name "return".
	 * Writing nothing means {}.
	 */
	struct json_writer *reply;
	enum qmp_error_class error_class;
	struct error error;
};

/* Returns 0, or -1 with call->error (and error_class, if not generic) filled. */
typedef int qmp_handler(struct qmp_call *call);

/*
 * Types of arguments, as data.  Generated.  Of the integers, INT takes an int64_t (JSON_INT), UINT
 * a uint64_t (JSON_UINT above INT64_MAX; a negative JSON_INT stands for the same 64 bits, as in
 * QEMU, for clients whose integers have a sign), UINT16 what its name says.
 */
enum qmp_kind {
	QMP_KIND_STR, QMP_KIND_INT, QMP_KIND_UINT, QMP_KIND_UINT16, QMP_KIND_NUMBER, QMP_KIND_BOOL,
	QMP_KIND_NULL, QMP_KIND_ANY, QMP_KIND_ENUM, QMP_KIND_ARRAY, QMP_KIND_OBJECT,
	QMP_KIND_ALTERNATE,
};

struct qmp_type;

struct qmp_type_member {
	const char *name;
	const struct qmp_type *type;
	bool optional;
};

struct qmp_type {
	enum qmp_kind kind;
	const char *name;
	const char *const *values;              /* enum: NULL-terminated */
	const struct qmp_type *element;         /* array */
	const struct qmp_type_member *members;  /* object and alternate: ends with name NULL */
	/*
	 * Object: the member, an enum, by whose value it has others besides, and the object types that
	 * they are of, in the order of the enum's values; NULL for none.
	 */
	const struct qmp_type_member *tag;
	const struct qmp_type *const *variants;
};

struct qmp_command {
	const char *name;
	qmp_handler *handler;                   /* qmp_query_status for query-status */
	const struct qmp_type *arguments;       /* an object type, or NULL for none */
	bool allow_oob;
};

/* Sorted by name, ended by name NULL. */
extern const struct qmp_command qmp_commands[];

/* One complete JSON value: the array that query-qmp-schema returns. */
extern const char qmp_schema_json[];
extern const size_t qmp_schema_json_len;

/*
 * Generated: enum qmp_event (QMP_EVENT_STOP, ...), QMP_EVENT_COUNT, QMP_COMMAND_COUNT (without the
 * entry that ends the table), qmp_handler declarations.
 */
#include "monitor/qmp-generated.h"

struct qmp_event_info {
	const char *name;                       /* "STOP" */
	const struct qmp_type *data;            /* NULL for none */
	unsigned int rate_limit_ms;             /* at most one per so many; 0: no limit */
};
extern const struct qmp_event_info qmp_events[QMP_EVENT_COUNT];

/* NULL when there is none of that name. */
const struct qmp_command *qmp_find_command(const char *name);

/*
 * Checks an "arguments" object (NULL: absent) against a type (NULL: no arguments).  Returns -1 with
 * QEMU's text: "Parameter 'a' is unexpected", "Parameter 'size' is missing", "Invalid parameter
 * type for 'val', expected: integer", "Parameter 'action' does not accept value 'zzz'".  Nested
 * members are named by path, "model.name", "list[0].name", but for bad values of enums and integers
 * out of range, where QEMU has the last name alone ("null" for an element of an array).
 *
 * Of several faults the first counts: members in the order of the schema, depth first, those that a
 * tag adds after the others, then in each object the first of its unexpected ones.
 */
int qmp_check_arguments(const struct qmp_type *type, const struct json_value *arguments,
			struct error *err);

#endif
