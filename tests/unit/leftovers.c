/* SPDX-License-Identifier: MIT */
#include "tests/unit/leftovers.h"

#include <check.h>
#include <dirent.h>

unsigned int count_entries(const char *directory)
{
	DIR *dir = opendir(directory);
	const struct dirent *entry;
	unsigned int count = 0;

	ck_assert_msg(dir, "%s", directory);
	while ((entry = readdir(dir)))
		count += entry->d_name[0] != '.';
	closedir(dir);
	return count;
}

unsigned int open_descriptors(void)
{
	return count_entries("/proc/self/fd");
}

unsigned int running_threads(void)
{
	return count_entries("/proc/self/task");
}
