/* SPDX-License-Identifier: MIT */
#ifndef MONITOR_QOM_INTERNAL_H
#define MONITOR_QOM_INTERNAL_H

#include "monitor/qom.h"

/* Between the files that implement monitor/qom.h. */

/* qom_properties.c: what objects of a type have and those of its parent have not; or NULL. */
const struct qom_property *qom_properties_of(const char *type);

#endif
