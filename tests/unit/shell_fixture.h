/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_SHELL_FIXTURE_H
#define TESTS_UNIT_SHELL_FIXTURE_H

#include "monitor/json.h"
#include "monitor/shell/schema.h"

/* vmond's own schema, as a client sees it. */
struct schema *shell_fixture_schema(void);

/* A schema with what vmond's has not: alternates, unions, names of types hidden, itself inside. */
struct schema *shell_fixture_odd_schema(void);

/* A value out of its text; fails the test if it is none. */
struct json_value shell_fixture_value(const char *text);

#endif
