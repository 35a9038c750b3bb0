/* SPDX-License-Identifier: MIT */
#ifndef TESTS_BENCH_KVM_CALLS_H
#define TESTS_BENCH_KVM_CALLS_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>

/* For the programs that only do what can not be left out: what fails ends them. */
static void die(const char *what)
{
	fprintf(stderr, "%s: ", program_invocation_short_name);
	perror(what);
	exit(EXIT_FAILURE);
}

static int call(int fd, unsigned long request, const char *name, unsigned long arg)
{
	int ret = ioctl(fd, request, arg);

	if (ret < 0)
		die(name);
	return ret;
}
#define CALL(fd, request, arg) call(fd, request, #request, (unsigned long)(arg))

#endif
