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

	/* The wire's own. */
	const struct json_value *id;            /* of the request, or NULL */
	bool out_of_band;                       /* it overtakes others: see qmp_defer() */
	bool deferred;                          /* qmp_defer() has been called */
	struct qmp_pending *pending;            /* and this is still to be answered */
};

/*
 * Returns 0, or -1 with call->error (and error_class, if not generic) filled, or QMP_LATER after
 * qmp_defer().
 */
typedef int qmp_handler(struct qmp_call *call);
#define QMP_LATER 1

/*
 * Deferred replies (pending.c): what a command does goes on after its handler has returned, and the
 * reply comes later.  Until then the client's other requests wait, so that replies keep their
 * order; its input is read on, commands with exec-oob are carried out, and other clients do not
 * notice.
 *
 *      static void on_gone(void *opaque)
 *      {
 *              struct work *work = opaque;
 *
 *              work->pending = NULL;           // and, as you like, stop working
 *      }
 *
 *      int qmp_long_work(struct qmp_call *call)
 *      {
 *              work->pending = qmp_defer(call, on_gone, work);
 *              if (!work->pending || start(work, &call->error) < 0)
 *                      return -1;
 *              return QMP_LATER;
 *      }
 *
 *      static void on_end(struct work *work)   // on the event loop's thread
 *      {
 *              if (work->pending)
 *                      qmp_pending_return(work->pending);
 *              work->pending = NULL;
 *      }
 *
 * Threads: the event loop's.  Work on another thread posts its end to the loop.
 */
struct qmp_pending;
struct text;

/* The reply is not wanted any more.  `opaque` is what qmp_defer() was given. */
typedef void qmp_gone_fn(void *opaque);

/*
 * Called by a handler that will not answer at once.  What it needs of call->arguments and of the
 * client's descriptors it takes before it returns.  Then it returns QMP_LATER; or -1 with
 * call->error filled, as always, which ends the pending reply (it is not to be used any more, and
 * `gone` is not called).
 *
 * The pending reply belongs to the wire.  It is valid until exactly one of these happens:
 *
 *   - qmp_pending_return() or qmp_pending_error() is called; before the handler has returned, too;
 *   - the client has disconnected, or the monitor is being freed: `gone` is called, from the event
 *     loop or from monitor_free(), never from inside another function of the monitor's.  It may do
 *     what it likes to the work and may emit events; the machine still exists.
 *
 * A client that has only shut down its sending side still gets its reply.
 *
 * Returns NULL with call->error filled when there is no memory, and for commands that can not wait
 * because they are carried out of band (a command with allow-oob in the schema never defers).
 */
struct qmp_pending *qmp_defer(struct qmp_call *call, qmp_gone_fn *gone, void *opaque);

/*
 * Where the value of "return" is written, with the name "return", as in call->reply; at any time
 * until the answer.  Nothing written means {}.
 */
struct json_writer *qmp_pending_reply(struct qmp_pending *pending);

/*
 * Sends the reply, or an error, and lets the client's next request be carried out.  Events emitted
 * before come before it.  May be called from anywhere on the event loop's thread: from callbacks of
 * the machine, from other commands' handlers.
 */
void qmp_pending_return(struct qmp_pending *pending);
void qmp_pending_error(struct qmp_pending *pending, enum qmp_error_class class,
		       const struct error *err);

/* For a pending reply of hmp_defer() (monitor/hmp.h): where the text that comes later goes. */
struct text *qmp_pending_text(struct qmp_pending *pending);

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
