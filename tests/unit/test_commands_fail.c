/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

#include "monitor/monitor_internal.h"
#include "tests/unit/alloc_fail.h"
#include "tests/unit/call_fail.h"
#include "tests/unit/json_oracle.h"
#include "tests/unit/leftovers.h"
#include "tests/unit/migrate_fixture.h"
#include "tests/unit/suites.h"
#include "tests/unit/vm_fixture.h"

/*
 * Commands about the machine, when memory or the kernel lets them down at each place in turn: one
 * reply, which is an error or that of every other time, and the machine goes on as before.
 */

#define VCPUS   2

static struct wire wire;
static struct peer peer;

static void setup(void)
{
	machine_host();
	machine_start(VCPUS);
	machine_long_mode(0);
	wire_open_vm(&wire, machine.vm);
	peer = wire_connect_ready(&wire);
}

static void teardown(void)
{
	peer_close(&peer);
	wire_close(&wire);
	machine_stop();
}

/* `stopped`: while the machine is, and else while it runs. */
static const struct {
	const char *command;
	bool stopped;
} commands[] = {
	{ COMMAND("query-vcpu-state", "\"msrs\":true,\"fpu\":true"), false },
	{ COMMAND("query-vcpu-state", "\"cpu-index\":1"), false },
	{ COMMAND("query-vcpu-sync", "\"cpu-index\":1"), false },
	{ EXECUTE("query-cpus-fast"), false },
	{ COMMAND("set-vcpu-registers", "\"cpu-index\":0,\"registers\":{\"rax\":1,\"cr3\":65536,"
		  "\"dr0\":2}"), true },
	{ COMMAND("read-memory", "\"address\":0,\"size\":65536"), false },
	{ COMMAND("read-memory", "\"address\":2147483648,\"size\":8,\"space\":\"virtual\""),
	  false },
	{ COMMAND("write-memory", "\"address\":0,\"data\":\"AAAA\""), true },
	{ COMMAND("qom-get", "\"path\":\"/machine/unattached/device[0]\",\"property\":\"vendor\""),
	  false },
	{ COMMAND("qom-get", "\"path\":\"/machine/unattached/device[0]\",\"property\":\"family\""),
	  false },
	{ COMMAND("qom-get", "\"path\":\"/machine/unattached/device[0]\","
		  "\"property\":\"model-id\""),
	  false },
	{ COMMAND("query-stats", "\"target\":\"vm\""), false },
	{ HMP("info cpus"), false }, { HMP("info registers -a"), false },
	{ HMP("info lapic"), false }, { HMP("info nested -a"), false }, { HMP("info mem"), false },
	{ HMP("info tlb"), false }, { HMP("info cpuid"), false }, { HMP("info pic"), false },
	{ HMP("info stats vcpu"), false }, { HMP("x/2xg 0x80000000"), false },
	{ HMP("xp/2000xg 0"), false }, { HMP("p $rax + $cs.base"), false }, { HMP("p $pc"), false },
	{ HMP("gva2gpa 0x80000000"), false }, { HMP("sum 0 65536"), false },
	{ HMP("set $rax=$rbx+1"), true }, { HMP("info qom-tree"), false }, { HMP("help"), false },
};

static bool allocation_failed;

/* Carries the command out on a machine whose state nobody has seen yet.  The one reply. */
static void run_command(int i, unsigned int allocation)
{
	machine_run_all();
	if (commands[i].stopped)
		vm_stop(machine.vm);
	wire_send(&wire, &peer, commands[i].command, strlen(commands[i].command));
	alloc_fail_at(allocation);
	for (int turn = 0; turn < 4; turn++)
		wire_turn(&wire);
	allocation_failed = alloc_has_failed();
	alloc_fail_at(0);
	wire_settle(&wire, &peer);
	ck_assert(peer.eof || peer_count(&peer, "\r\n") == 1);
	if (!peer.eof)
		ck_assert(oracle_accepts(peer.text, peer.len));
	ck_assert_int_eq(vm_is_running(machine.vm), !commands[i].stopped);
	/* None is left parked. */
	for (int v = 0; v < VCPUS && !commands[i].stopped; v++)
		ck_assert(!machine.vm->vcpu[v].parked);
	vm_stop(machine.vm);
}

static bool reply_is_good(void)
{
	return peer_count(&peer, "{\"return\": ") && !peer_count(&peer, "rror: ");
}

START_TEST(no_memory)
{
	bool failed = true;
	unsigned int n;
	size_t len;

	run_command(_i, 0);
	ck_assert_msg(reply_is_good(), "%s", peer.text);
	len = peer.len;
	peer_clear(&peer);
	for (n = 1; failed; n++) {
		run_command(_i, n);
		failed = allocation_failed;
		/* As a whole, though numbers may change, or not at all. */
		ck_assert_msg(failed ? peer.eof || peer_count(&peer, "emory") :
				       reply_is_good() && peer.len + 64 > len, "%s", peer.text);
		peer_close(&peer);
		wire_settle(&wire, NULL);
		peer = wire_connect_ready(&wire);
		ck_assert_uint_lt(n, 1000);
	}
	ck_assert_uint_gt(n, 2);
}
END_TEST

/* The n-th request that reads something of a vCPU fails. */
static unsigned int countdown;
static bool has_failed;

static int refuse(void *opaque, unsigned long request, int vcpu)
{
	(void)opaque;
	(void)vcpu;
	if (!(_IOC_DIR(request) & _IOC_READ) || !countdown || --countdown)
		return 0;
	has_failed = true;
	return EIO;
}

START_TEST(kernel_refuses)
{
	unsigned int n = 1;

	do {
		countdown = n;
		has_failed = false;
		fake_kvm_fail_by(machine.fake, refuse, NULL);
		run_command(_i, 0);
		fake_kvm_heal(machine.fake);
		if (has_failed)
			ck_assert_msg(peer_count(&peer, "Input/output error") == 1, "%s",
				      peer.text);
		else
			ck_assert_msg(reply_is_good(), "%s", peer.text);
		peer_clear(&peer);
		ck_assert_uint_lt(n++, 1000);
	} while (has_failed);
}
END_TEST

/* A dump whose thread can not be had leaves neither a file nor a stopped machine. */
START_TEST(no_thread_for_a_dump)
{
	char directory[] = "/tmp/vmond-commands-XXXXXX", path[64], command[256];
	unsigned int before = open_descriptors();

	ck_assert_ptr_nonnull(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/core", directory);
	snprintf(command, sizeof(command), COMMAND("dump-guest-memory", "\"paging\":false,"
						   "\"protocol\":\"file:%s\""), path);
	machine_run_all();
	call_fail("pthread_create", 1, EAGAIN);
	wire_send(&wire, &peer, command, strlen(command));
	wire_settle(&wire, &peer);
	ck_assert(call_has_failed());
	ck_assert_uint_eq(peer_count(&peer, "\"error\": "), 1);
	ck_assert_uint_eq(peer_count(&peer, "Resource temporarily unavailable"), 1);
	ck_assert(vm_is_running(machine.vm));
	ck_assert_uint_eq(open_descriptors(), before);
	/* Nothing of it is there. */
	ck_assert_int_eq(rmdir(directory), 0);
}
END_TEST

/* A text that would be longer than can be is none, and stays so; as is one that fails. */
START_TEST(endless_text)
{
	struct text text = { 0 };

	text_append(&text, "", SIZE_MAX - 1);
	ck_assert(text.failed);
	text_printf(&text, "x");
	ck_assert_uint_eq(text.len, 0);
	text_free(&text);
	/* What printf() can not do at all: a character that there is not. */
	text_printf(&text, "%lc", (wint_t)0x7fffffff);
	ck_assert(text.failed);
	ck_assert_uint_eq(text.len, 0);
	text_free(&text);
}
END_TEST

Suite *commands_fail_suite(void)
{
	Suite *suite = suite_create("commands fail");
	TCase *tc = tcase_create("commands");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, no_memory, 0, sizeof(commands) / sizeof(commands[0]));
	tcase_add_loop_test(tc, kernel_refuses, 0, sizeof(commands) / sizeof(commands[0]));
	tcase_add_test(tc, no_thread_for_a_dump);
	tcase_add_test(tc, endless_text);
	suite_add_tcase(suite, tc);
	return suite;
}
