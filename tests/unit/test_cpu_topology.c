/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/suites.h"
#include "vmm/cpu_topology.h"

/* How vCPUs are arranged: what --smp says, and APIC ids. */

static const struct {
	const char *text;
	struct cpu_topology topology;
} good[] = {
	{ "1", { 1, 1, 1, 1 } },
	{ "cpus=4", { 1, 1, 4, 1 } },
	{ "4,sockets=2", { 2, 1, 2, 1 } },
	{ "4,threads=2", { 1, 1, 2, 2 } },
	{ "8,cores=2", { 4, 1, 2, 1 } },
	{ "8,sockets=2,cores=2", { 2, 1, 2, 2 } },
	{ "12,sockets=2,dies=2", { 2, 2, 3, 1 } },
	{ "12,dies=2,cores=3", { 2, 2, 3, 1 } },
	{ "4,sockets=2,cores=1,threads=2", { 2, 1, 1, 2 } },
	{ "sockets=2,cores=3,threads=2", { 2, 1, 3, 2 } },
	{ "threads=2", { 1, 1, 1, 2 } },
	{ "dies=3", { 1, 3, 1, 1 } },
	{ "maxcpus=6", { 1, 1, 6, 1 } },
	{ "6,maxcpus=6,sockets=3", { 3, 1, 2, 1 } },
	{ "threads=2,cpus=4", { 1, 1, 2, 2 } },
	{ "1024", { 1, 1, 1024, 1 } },
	{ "1024,sockets=8,dies=2,cores=32,threads=2", { 8, 2, 32, 2 } },
};

START_TEST(what_is_left_out)
{
	char text[CPU_TOPOLOGY_TEXT];
	struct cpu_topology t, again;
	struct error err = { .text = "" };

	ck_assert_msg(cpu_topology_parse(good[_i].text, &t, &err) == 0, "%s: %s", good[_i].text,
		      err.text);
	ck_assert_msg(cpu_topology_equal(&t, &good[_i].topology), "%s: %s", good[_i].text,
		      cpu_topology_text(&t, text));
	/* What a message says to write is what is meant. */
	ck_assert_int_eq(cpu_topology_parse(cpu_topology_text(&t, text), &again, &err), 0);
	ck_assert(cpu_topology_equal(&t, &again));
}
END_TEST

static const struct {
	const char *text, *error;
} bad[] = {
	{ "", "must be a number from 1 to 1024" },
	{ "0", "must be a number from 1 to 1024" },
	{ "1025", "must be a number from 1 to 1024" },
	{ "99999999999999999999", "must be a number from 1 to 1024" },
	{ "-1", "must be a number from 1 to 1024" },
	{ "4x", "must be a number from 1 to 1024" },
	{ "x", "must be a number from 1 to 1024" },
	{ "4,", ": must be cpus, sockets, dies, cores, threads or maxcpus with a number" },
	{ "4,5", "5: must be cpus, sockets, dies, cores, threads or maxcpus with a number" },
	{ "4,core=2", "core=2: must be cpus, sockets, dies, cores, threads or maxcpus with a number" },
	{ "4,cores=0", "cores: must be a number from 1 to 1024" },
	{ "4,cores=", "cores: must be a number from 1 to 1024" },
	{ "4,cores=2,cores=2", "cores: given twice" },
	{ "4,cpus=4", "cpus: given twice" },
	{ "3,sockets=2",
	  "sockets (2) * dies (1) * cores (1) * threads (1) make 2 vCPUs, not 3" },
	{ "2,cores=4", "sockets (0) * dies (1) * cores (4) * threads (1) make 0 vCPUs, not 2" },
	{ "4,sockets=2,cores=2,threads=2",
	  "sockets (2) * dies (1) * cores (2) * threads (2) make 8 vCPUs, not 4" },
	{ "2,maxcpus=4", "maxcpus (4) must be the number of vCPUs, 2: none can be plugged in later" },
	{ "4,maxcpus=2", "maxcpus (2) must be equal to or greater than cpus (4)" },
	{ "sockets=1024,cores=2", "sockets, dies, cores and threads make more than 1024 vCPUs" },
	{ "sockets=1024,dies=1024,cores=1024,threads=1024",
	  "sockets, dies, cores and threads make more than 1024 vCPUs" },
	{ "1,this-is-a-very-long-part-of-which-only-a-bit-is-said-again=1",
	  "this-is-a-very-long-part-of-which-only-a: must be cpus, sockets, dies, cores, threads or "
	  "maxcpus with a number" },
};

START_TEST(what_is_refused)
{
	struct cpu_topology t;
	struct error err = { .text = "" };

	ck_assert_int_eq(cpu_topology_parse(bad[_i].text, &t, &err), -1);
	ck_assert_str_eq(err.text, bad[_i].error);
}
END_TEST

/* Every topology that is small enough to try them all. */
START_TEST(ids_are_fields)
{
	for (unsigned int n = 0; n < 6 * 6 * 6 * 6; n++) {
		struct cpu_topology t = { 1 + n % 6, 1 + n / 6 % 6, 1 + n / 36 % 6, 1 + n / 216 };
		unsigned int core = cpu_topology_core_shift(&t), die = cpu_topology_die_shift(&t);
		unsigned int socket = cpu_topology_socket_shift(&t);
		uint32_t last = 0;

		/* As wide as need be, and no wider. */
		ck_assert(1U << core >= t.threads && (1U << core) < 2 * t.threads);
		ck_assert(1U << (die - core) >= t.cores && 1U << (die - core) < 2 * t.cores);
		ck_assert(1U << (socket - die) >= t.dies && 1U << (socket - die) < 2 * t.dies);
		for (unsigned int cpu = 0; cpu < cpu_topology_cpus(&t); cpu++) {
			struct cpu_place place = cpu_topology_place(&t, cpu);
			uint32_t id = cpu_topology_apic_id(&t, cpu);

			/* Not an assertion each: the runner is told of a million one by one. */
			if ((cpu ? id <= last : id != 0) ||
			    (id & ((1U << core) - 1)) != place.thread ||
			    (id >> core & ((1U << (die - core)) - 1)) != place.core ||
			    (id >> die & ((1U << (socket - die)) - 1)) != place.die ||
			    id >> socket != place.socket ||
			    place.thread >= t.threads || place.core >= t.cores ||
			    place.die >= t.dies || place.socket >= t.sockets ||
			    ((place.socket * t.dies + place.die) * t.cores + place.core) *
			    t.threads + place.thread != cpu)
				ck_abort_msg("topology %u: CPU %u has id %#x", n, cpu, id);
			last = id;
		}
		ck_assert_uint_eq(cpu_topology_max_apic_id(&t), last);
	}
}
END_TEST

START_TEST(ids_of_odd_machines)
{
	static const struct {
		struct cpu_topology topology;
		uint32_t id[6];
	} machine[] = {
		{ { 1, 1, 6, 1 }, { 0, 1, 2, 3, 4, 5 } },
		{ { 2, 1, 3, 1 }, { 0, 1, 2, 4, 5, 6 } },
		{ { 1, 1, 2, 3 }, { 0, 1, 2, 4, 5, 6 } },
		{ { 2, 3, 1, 1 }, { 0, 1, 2, 4, 5, 6 } },
		{ { 6, 1, 1, 1 }, { 0, 1, 2, 3, 4, 5 } },
		{ { 1, 2, 1, 3 }, { 0, 1, 2, 4, 5, 6 } },
	};

	for (unsigned int cpu = 0; cpu < 6; cpu++)
		ck_assert_uint_eq(cpu_topology_apic_id(&machine[_i].topology, cpu),
				  machine[_i].id[cpu]);
}
END_TEST

Suite *cpu_topology_suite(void)
{
	Suite *s = suite_create("cpu_topology");
	TCase *text = tcase_create("text"), *ids = tcase_create("ids");

	tcase_add_loop_test(text, what_is_left_out, 0, (int)(sizeof(good) / sizeof(good[0])));
	tcase_add_loop_test(text, what_is_refused, 0, (int)(sizeof(bad) / sizeof(bad[0])));
	suite_add_tcase(s, text);
	tcase_add_test(ids, ids_are_fields);
	tcase_add_loop_test(ids, ids_of_odd_machines, 0, 6);
	suite_add_tcase(s, ids);
	return s;
}
