/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_LEFTOVERS_H
#define TESTS_UNIT_LEFTOVERS_H

/* What a test compares with what there was before, to see that nothing has been left over. */

/* In the directory, without those whose names begin with a dot. */
unsigned int count_entries(const char *directory);

/* Of this process: descriptors, and one more; threads, with those of a sanitizer. */
unsigned int open_descriptors(void);
unsigned int running_threads(void);

#endif
