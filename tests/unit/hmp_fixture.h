/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_HMP_FIXTURE_H
#define TESTS_UNIT_HMP_FIXTURE_H

#include "monitor/hmp.h"
#include "tests/unit/vm_fixture.h"

/*
 * The human monitor of the machine of vm_fixture.h, whose name is "alpha".
 *
 *     machine_start(2);
 *     hmp_open();
 *     ck_assert_str_eq(run("info name"), "alpha\n");
 *     hmp_close();
 *     machine_stop();
 */

#define TRY(names)      "Try \"help " names "\" for more information\n"

/* What is typed, and what is then there to read. */
struct line {
	const char *line, *text;
};

/* Who types.  hmp.out has what the last line has led to; its bytes are NULL for nothing. */
extern struct hmp hmp;

void hmp_open(void);
void hmp_close(void);

/* Carries a line out, and waits for what it has begun; its text. */
const char *run(const char *line);

/* How often the monitor has been told to end the process, since hmp_open(). */
extern unsigned int hmp_quits;

#endif
