/* SPDX-License-Identifier: MIT */
#ifndef TESTS_FUZZ_FUZZ_WIRE_H
#define TESTS_FUZZ_FUZZ_WIRE_H

#include <stdbool.h>

/* Of the commands that answer later: answers one, if any is pending.  Whether any is. */
void fuzz_answer(void);
bool fuzz_pending(void);

#endif
