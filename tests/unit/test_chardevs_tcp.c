/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "monitor/monitor_internal.h"
#include "tests/unit/call_fail.h"
#include "tests/unit/suites.h"
#include "tests/unit/wire_fixture.h"

/* Monitors on TCP, as character devices: texts of addresses are QEMU's. */

static struct wire wire;

static void setup(void)
{
	wire_open(&wire);
}

static void teardown(void)
{
	wire_close(&wire);
}

static unsigned int port_of(int fd)
{
	struct sockaddr_storage addr;
	socklen_t len = sizeof(addr);

	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
	/* Both families have it in the same place. */
	return ntohs(((struct sockaddr_in *)&addr)->sin_port);
}

static const char *filename(unsigned int n)
{
	static struct chardev_info info;

	ck_assert(monitor_chardev(wire.monitor, n, &info));
	return info.filename;
}

static const struct {
	sa_family_t family;
	const char *bare, *host;
} families[] = { { AF_INET, "127.0.0.1", "127.0.0.1" }, { AF_INET6, "::1", "[::1]" } };

/* One that listens, with and without a client, and one that is a single connection. */
START_TEST(test_addresses)
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} addr = { .v6 = { .sin6_family = families[_i].family } };
	const char *host = families[_i].host;
	socklen_t len = sizeof(addr);
	int listening, dialled[2], accepted;
	char expected[128], text[32];
	struct error err;

	if (families[_i].family == AF_INET)
		addr.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else
		addr.v6.sin6_addr = in6addr_loopback;
	listening = socket(families[_i].family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	/* A host without IPv6 has nothing to show here. */
	if (listening < 0 || bind(listening, &addr.any, sizeof(addr)) < 0) {
		ck_assert_int_eq(families[_i].family, AF_INET6);
		close(listening);
		return;
	}
	ck_assert_int_eq(listen(listening, 2), 0);
	ck_assert_int_eq(getsockname(listening, &addr.any, &len), 0);
	for (int i = 0; i < 2; i++) {
		dialled[i] = socket(families[_i].family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		ck_assert_int_eq(connect(dialled[i], &addr.any, len), 0);
	}
	accepted = accept(listening, NULL, NULL);
	snprintf(text, sizeof(text), "fd:%d", listening);
	ck_assert_int_eq(monitor_listen(wire.monitor, text, &err), 0);
	snprintf(text, sizeof(text), "fd:%d", accepted);

	snprintf(expected, sizeof(expected), "disconnected:tcp:%s:%u,server=on",
		 families[_i].bare, port_of(listening));
	ck_assert_str_eq(filename(0), expected);
	ck_assert_int_eq(monitor_listen(wire.monitor, text, &err), 0);
	while (wire_clients(&wire) < 2)
		wire_turn(&wire);
	snprintf(expected, sizeof(expected), "tcp:%s:%u,server=on", host, port_of(listening));
	ck_assert_str_eq(filename(0), expected);
	snprintf(expected, sizeof(expected), "tcp:%s:%u <-> %s:%u", host, port_of(listening), host,
		 port_of(dialled[0]));
	ck_assert_str_eq(filename(1), expected);

	/* The peer has just gone. */
	call_fail("getpeername", 1, ENOTCONN);
	snprintf(expected, sizeof(expected), "disconnected:fd:%d", accepted);
	ck_assert_str_eq(filename(1), expected);
	close(dialled[0]);
	close(dialled[1]);
}
END_TEST

Suite *chardevs_tcp_suite(void)
{
	Suite *suite = suite_create("chardevs tcp");
	TCase *tc = tcase_create("tcp");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, test_addresses, 0, sizeof(families) / sizeof(families[0]));
	suite_add_tcase(suite, tc);
	return suite;
}
