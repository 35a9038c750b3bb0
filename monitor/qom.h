/* SPDX-License-Identifier: MIT */
#ifndef MONITOR_QOM_H
#define MONITOR_QOM_H

#include <stdbool.h>

#include "monitor/json.h"
#include "monitor/monitor.h"
#include "monitor/text.h"
#include "vmm/dev/device_info.h"

/*
 * The objects that a machine is made of, as a tree with the paths, types and properties that QEMU
 * has for such objects.  Nothing is kept: an object is a place in the tree and is good until the
 * next turn of the event loop.
 *
 *	/machine                                vmond-0.1-machine
 *	    /peripheral, /peripheral-anon       empty: every device is there from the beginning
 *	    /unattached
 *	        /device[0], ...                 the vCPUs, each with a child lapic
 *	        /device[n], ...                 the devices of vmm/dev/device_info.h
 *	        /isa.0, /sysbus                 what devices are on
 *	/objects/ram                            the guest's memory
 *	/chardevs/LABEL                         character devices
 *
 * Threads: the event loop's.
 */

/* Stands for all versions that have the same devices at the same places. */
#define QOM_MACHINE_NAME        "vmond-0.1"
#define QOM_MACHINE_TYPE        QOM_MACHINE_NAME "-machine"
/* Of a vCPU if nobody says anything else. */
#define QOM_CPU_TYPE            "host-x86_64-cpu"
#define QOM_RAM_ID              "ram"

enum qom_place {
	QOM_ROOT, QOM_MACHINE, QOM_PERIPHERAL, QOM_PERIPHERAL_ANON, QOM_UNATTACHED, QOM_OBJECTS,
	QOM_CHARDEVS, QOM_CPU, QOM_LAPIC, QOM_DEVICE, QOM_ISA_BUS, QOM_SYSTEM_BUS, QOM_RAM,
	QOM_CHARDEV,
};

#define QOM_TYPE_SIZE   64

struct qom_object {
	enum qom_place place;
	unsigned int index;             /* of a vCPU, a device among device_infos, a chardev */
	char name[CHARDEV_LABEL_SIZE];  /* among its parent's children; the root has none */
	char type[QOM_TYPE_SIZE];
};

struct qom_property;

/* Somebody asks after a value, and where it is to be written. */
struct qom_question {
	struct monitor *monitor;
	const struct qom_object *object;
	const struct qom_property *property;
	struct json_writer *w;
	const char *name;               /* of the value in what is written; or NULL */
};
typedef int qom_get_fn(const struct qom_question *q, struct error *err);
/* What a link refers to; false when that is nothing. */
typedef bool qom_target_fn(struct monitor *monitor, const struct qom_object *object,
			   struct qom_object *target);

/* A property that all objects of a type have.  One of get, target, and neither for a constant. */
struct qom_property {
	const char *name, *type;
	const char *description;        /* NULL for none */
	qom_get_fn *get;
	qom_target_fn *target;
	uint32_t constant;
	bool fixed;                     /* chosen before the device was there, as QEMU says */
};

/* ---- types (qom_types.c) ---- */

struct qom_type {
	const char *name;
	const char *parent;             /* NULL for "object" alone */
	bool abstract;
	const struct qom_property *properties;          /* its own; ended by name NULL; or NULL */
	const struct device_property *constants;        /* of a device, in the same way */
};

/* Number n of the types; false when there are no more. */
bool qom_type_at(unsigned int n, struct qom_type *type);
bool qom_find_type(const char *name, struct qom_type *type);
/* Whether one type is another, or derived from it. */
bool qom_is_a(const char *type, const char *ancestor);
/*
 * Number n of the properties that a type has of its own and by those it is derived from; false when
 * there are no more.  Constants are those of the first device of the type.
 */
bool qom_type_property(const char *type, unsigned int n, struct qom_property *property);
/* The link of a name of `len` characters that objects of a type have; NULL for none. */
qom_target_fn *qom_type_link(const char *type, const char *name, size_t len);

/* ---- objects (qom_tree.c) ---- */

/* Number n of an object's children; false when there are no more. */
bool qom_child(struct monitor *monitor, const struct qom_object *parent, unsigned int n,
	       struct qom_object *child);
/* What is at one of the places that there is one of, and one kind of thing. */
void qom_at(enum qom_place place, struct qom_object *object);
/* Memory, which is a file's in a clone. */
void qom_ram_at(const struct vm *vm, struct qom_object *object);
/* The object's own property of a name, children not among them. */
bool qom_find_property(const struct qom_object *object, const char *name,
		       struct qom_property *property);
/* The path from the root. */
void qom_print_path(struct text *out, const struct qom_object *object);
/*
 * Finds an object by path.  One that does not begin with "/" may begin anywhere; *ambiguous says
 * that more than one object was found, and the answer is false then.
 */
bool qom_resolve(struct monitor *monitor, const char *path, struct qom_object *object,
		 bool *ambiguous);

/* ---- what the commands of both monitors do (qom_access.c) ---- */

/* As above, with QEMU's error.  `tell_ambiguous`: as qom-list does, which has an error for that. */
int qom_find(struct monitor *monitor, const char *path, bool tell_ambiguous,
	     struct qom_object *object, struct error *err);
/* Writes the value under the name `as`, which is NULL at the top. */
int qom_get(struct monitor *monitor, const struct qom_object *object, const char *property,
	    struct json_writer *w, const char *as, struct error *err);
/* Always fails: nothing can be set. */
int qom_set(struct monitor *monitor, const struct qom_object *object, const char *property,
	    struct error *err);

/* The machine's generation id, in the notation of UUIDs; 37 bytes with the NUL. */
void qom_write_generation_id(const struct vm *vm, char text[37]);

/* Where vCPU `index` is in the tree. */
#define QOM_CPU_PATH_SIZE       64
void qom_cpu_path(unsigned int index, char path[QOM_CPU_PATH_SIZE]);
/*
 * The type of vCPUs: their model's.  State that came from elsewhere has tables of no known model,
 * and they are of the default type.
 */
void qom_cpu_type(const struct vm *vm, char type[QOM_TYPE_SIZE]);

/* What the guest's memory is, as query-memdev has it. */
struct qom_ram {
	uint64_t size;
	bool merge, dump, prealloc, share, reserve;
};
struct qom_ram qom_ram(const struct vm *vm);

#endif
