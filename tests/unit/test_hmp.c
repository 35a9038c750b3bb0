/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/hmp_fixture.h"
#include "tests/unit/suites.h"

/* Texts expected here are those of QEMU 7.2, but where vmond has something of its own to say. */

static void setup(void)
{
	machine_host();
	machine_start(2);
	hmp_open();
}

static void teardown(void)
{
	hmp_close();
	machine_stop();
}

#define BAD_CHAR(c)     "invalid char '" c "' in expression\n"

static const struct line parsing[] = {
	{ "", "" },
	{ "  \t ", "" },
	{ "bogus", "unknown command: 'bogus'\n" },
	{ "   bogus foo", "unknown command: '   bogus'\n" },
	{ "info   foo bar", "unknown command: 'info   foo'\n" },
	{ "info/status", "unknown command: 'info'\n" },
	{ "info \"status\"", "unknown command: 'info \"status\"'\n" },
	{ "co", "unknown command: 'co'\n" },
	{ "stop|s", "unknown command: 'stop|s'\n" },
	{ "stop foo", "stop|s: extraneous characters at the end of line\n" TRY("stop") },
	{ "stop/x", "stop|s: extraneous characters at the end of line\n" TRY("stop") },
	{ "   q  foo", "quit|q: extraneous characters at the end of line\n" TRY("   q") },
	{ "  info  status foo",
	  "status: extraneous characters at the end of line\n" TRY("  info  status") },
	{ "cpu", "unexpected end of expression\n" TRY("cpu") },
	{ "cpu 1 2", "cpu: extraneous characters at the end of line\n" TRY("cpu") },
	{ "cpu foo", BAD_CHAR("f") TRY("cpu") },
	{ "cpu (1", "')' expected\n" TRY("cpu") },
	{ "cpu 1)", "cpu: extraneous characters at the end of line\n" TRY("cpu") },
	{ "cpu -1", "'cpu' has failed: integer is for 32-bit values\n" TRY("cpu") },
	{ "cpu 5000000000", "'cpu' has failed: integer is for 32-bit values\n" TRY("cpu") },
	{ "cpu 4294967295", "invalid CPU index\n" },
	{ "cpu 2", "invalid CPU index\n" },
	{ "info registers -b", "registers: unsupported option -b\n" TRY("info registers") },
	{ "info registers -", "registers: unsupported option -\n" TRY("info registers") },
	{ "info registers -ab", BAD_CHAR("b") TRY("info registers") },
	{ "info registers 0 1",
	  "registers: extraneous characters at the end of line\n" TRY("info registers") },
	{ "info registers 2", "CPU#2 not available\n" },
	{ "info registers 4294967295", "CPU#-1 not available\n" },
	{ "info lapic 2", "No CPU available\n" },
	{ "info lapic -1",
	  "'lapic' has failed: integer is for 32-bit values\n" TRY("info lapic") },
	{ "info lapic x", BAD_CHAR("x") TRY("info lapic") },
	{ "x", "unexpected end of expression\n" TRY("x") },
	{ "x/4", "unexpected end of expression\n" TRY("x") },
	{ "x/4q 0", "invalid char in format: 'q'\n" TRY("x") },
	{ "x/4x4 0", "invalid char in format: '4'\n" TRY("x") },
	{ "x/-1 0", "invalid char in format: '-'\n" TRY("x") },
	{ "x/ 1xb 0", "x: extraneous characters at the end of line\n" TRY("x") },
	{ "x/4xb 0x500 3", "x: extraneous characters at the end of line\n" TRY("x") },
	{ "x/4xb 0x500+", "unexpected end of expression\n" TRY("x") },
	{ "x/4xb !1", BAD_CHAR("!") TRY("x") },
	{ "x/4xb 1/0", "division by zero\n" TRY("x") },
	{ "x/4xb 1%0", "division by zero\n" TRY("x") },
	{ "x/4xb 'a", "missing terminating ' character\n" TRY("x") },
	{ "x/4xb '", "character constant expected\n" TRY("x") },
	{ "x/4xb $", "unknown register\n" TRY("x") },
	{ "x/4xb $foo", "unknown register\n" TRY("x") },
	{ "x/4xb 0x10000000000000000", "number too large\n" TRY("x") },
	{ "x/4xb 0x", "x: extraneous characters at the end of line\n" TRY("x") },
	{ "x/4xb 1.5", "x: extraneous characters at the end of line\n" TRY("x") },
	{ "x/0 0", "" },
	{ "memsave 0 16", "memsave: string expected\n" TRY("memsave") },
	{ "memsave 0 16 /tmp/a", BAD_CHAR("t") TRY("memsave") },
	{ "memsave 0 16 \"/tmp/a", "unterminated string\nmemsave: string expected\n"
	  TRY("memsave") },
	{ "memsave 0 16 \"/a\\q\"", "unsupported escape code: '\\q'\nmemsave: string expected\n"
	  TRY("memsave") },
	{ "memsave 0 16 \"/tmp/a\" foo",
	  "memsave: extraneous characters at the end of line\n" TRY("memsave") },
	{ "help nosuch", "unknown command: 'nosuch'\n" },
	{ "help info nosuch x", "unknown command: 'info nosuch'\n" },
	{ "help \"inf", "unterminated string\n" },
};

START_TEST(parse_errors)
{
	ck_assert_str_eq(run(parsing[_i].line), parsing[_i].text);
}
END_TEST

START_TEST(hostile_lines)
{
	size_t len = 1 << 20;
	char *line = malloc(len + 1);

	/* Neither a long expression nor a deep one exhausts anything. */
	memset(line, '-', len);
	line[len] = '\0';
	memcpy(line, "cpu ", 4);
	ck_assert_str_eq(run(line), "expression nested too deeply\n" TRY("cpu"));
	memset(line + 4, '(', len - 4);
	ck_assert_str_eq(run(line), "expression nested too deeply\n" TRY("cpu"));
	for (size_t i = 4; i < len; i++)
		line[i] = i % 2 ? '+' : '1';
	line[len - 1] = '0';
	run(line);
	memset(line + 4, 'a', len - 4);
	memcpy(line, "help", 4);
	line[4] = ' ';
	ck_assert_str_eq(run(line), "string of more than 63 characters\n");
	/* The one quotient that does not fit. */
	ck_assert_str_eq(run("cpu (0x8000000000000000/-1)%2"), "");
	ck_assert_str_eq(run("cpu 0x8000000000000000%-1"), "");
	free(line);
}
END_TEST

START_TEST(help)
{
	char *info;

	ck_assert_str_eq(run("help stop"), "stop|s  -- pause the VM\n");
	ck_assert_str_eq(run("? q y"), "quit|q  -- end the VM and its process\n");
	ck_assert_ptr_nonnull(strstr(run("help"), "help|? [cmd] -- "));
	ck_assert_ptr_nonnull(strstr(hmp.out->bytes, "\nx /fmt addr -- "));
	ck_assert_ptr_null(strstr(hmp.out->bytes, "info status"));
	ck_assert_ptr_nonnull(strstr(run("help info"), "\ninfo registers [-a|vcpu] -- "));
	info = strdup(hmp.out->bytes);
	ck_assert_str_eq(run("info"), info);
	free(info);
	ck_assert_ptr_eq(strstr(run("help info status x"), "info status  -- "), hmp.out->bytes);
}
END_TEST

START_TEST(about_the_machine)
{
	ck_assert_str_eq(run("info status"), "VM status: paused (prelaunch)\n");
	ck_assert_str_eq(run("info name"), "alpha\n");
	ck_assert_str_eq(run("info uuid"), "00000000-0000-0000-0000-000000000000\n");
	ck_assert_str_eq(run("info kvm"), "kvm support: enabled\n");
	ck_assert_ptr_eq(strstr(run("info version"), "7.2.0vmond-"), hmp.out->bytes);
	run("quit");
	ck_assert_uint_eq(hmp_quits, 1);
}
END_TEST

START_TEST(run_states)
{
	ck_assert_str_eq(run("c"), "");
	ck_assert_str_eq(run("info status"), "VM status: running\n");
	ck_assert_str_eq(run("cont"), "");
	ck_assert_str_eq(run("s"), "");
	ck_assert_str_eq(run("info status"), "VM status: paused\n");
	ck_assert_str_eq(run("system_powerdown"), "");
	ck_assert_str_eq(run("system_reset"), "");
	ck_assert_str_eq(machine_events(),
			 "RESUME STOP POWERDOWN RESET(host-qmp-system-reset)");
	machine.vm->state = RUN_STATE_INTERNAL_ERROR;
	ck_assert_ptr_eq(strstr(run("cont"), "Error: "), hmp.out->bytes);
	ck_assert_str_eq(run("info status"), "VM status: paused (internal-error)\n");
}
END_TEST

/* Long mode: 0 and 0xffff800000000000 map the first 8 KiB of memory, each with a gap behind it. */
static void enter_long_mode(unsigned int vcpu)
{
	uint64_t *memory = (uint64_t *)machine.vm->memory.host;
	struct fake_vcpu *model = machine_model(vcpu);

	memory[0x10000 / 8] = memory[0x10000 / 8 + 256] = 0x11003;
	memory[0x11000 / 8] = 0x12003;
	memory[0x12000 / 8] = 0x13003;
	memory[0x13000 / 8] = 0x3;
	memory[0x13000 / 8 + 1] = 0x1003;
	model->sregs.cr0 = 0x80000011;
	model->sregs.cr3 = model->wanted_cr3 = 0x10000;
	model->sregs.cr4 = 0x20;
	model->sregs.efer = 0x500;
	model->sregs.cs.base = 0;
	model->sregs.cs.l = 1;
}

static const struct line dumps[] = {
	{ "x/8xb 0x500", "0000000000000500: 0xfa 0x31 0xc0 0x8e 0xd8 0x8e 0xc0 0x8e\n" },
	{ "x/3xh 0x500", "0000000000000500: 0x31fa 0x8ec0 0x8ed8\n" },
	{ "x/5xw 0x500", "0000000000000500: 0x8ec031fa 0x8ec08ed8 0x7c00bcd0 0x020c92e4\n"
			 "0000000000000510: 0x010f92e6\n" },
	{ "x/3xg 0x500", "0000000000000500: 0x8ec08ed88ec031fa 0x020c92e47c00bcd0\n"
			 "0000000000000510: 0x0f7da816010f92e6\n" },
	{ "x/3db 0x500", "0000000000000500: 250  49 192\n" },
	{ "x/3dh 0x500", "0000000000000500: 12794 36544 36568\n" },
	{ "x/5dw 0x500", "0000000000000500: 2394960378 2394984152 2080423120   34378468\n"
			 "0000000000000510:   17797862\n" },
	{ "x/3dg 0x500", "0000000000000500: -8160365464036298246   147654397827005648\n"
			 "0000000000000510:  1116233095118295782\n" },
	{ "x/3ug 0x500", "0000000000000500: 10286378609673253370   147654397827005648\n"
			 "0000000000000510:  1116233095118295782\n" },
	{ "x/3ob 0x500", "0000000000000500: 0372 061 0300\n" },
	{ "x/3oh 0x500", "0000000000000500: 030772 0107300 0107330\n" },
	{ "x/3ow 0x500", "0000000000000500: 021660030772 021660107330 017400136320\n" },
	{ "x/3og 0x500", "0000000000000500: 01073004355421660030772  010144456217400136320\n"
			 "0000000000000510:  075755201300103711346\n" },
	{ "x/12cb 0x500", "0000000000000500: '\\xfa' '1' '\\xc0' '\\x8e' '\\xd8' '\\x8e' '\\xc0' "
			  "'\\x8e'\n0000000000000508: '\\xd0' '\\xbc' '\\x00' '|'\n" },
	{ "x/3cw 0x500", "0000000000000500: '\\xfa' '1' '\\xc0' '\\x8e' '\\xd8' '\\x8e' '\\xc0' "
			 "'\\x8e' '\\xd0' '\\xbc' '\\x00' '|'\n" },
	{ "xp /4cb 0x520", "0000000000000520: '\\'' '\\\\' '\\n' '\\r'\n" },
	/* The last of each kind counts. */
	{ "x/2dxhb 0x500", "0000000000000500: 0xfa 0x31\n" },
	{ "x 0x500", "0000000000000500: 0x8ec031fa\n" },
	{ "x/40xb 0x1fe4",
	  "0000000000001fe4: 0x00 0x00 0x00 0x00 0x00 0x00 0x00 0x00\n"
	  "0000000000001fec: 0x00 0x00 0x00 0x00 0x00 0x00 0x00 0x00\n"
	  "0000000000001ff4: 0x00 0x00 0x00 0x00 0x00 0x00 0x00 0x00\n"
	  "0000000000001ffc: Cannot access memory\n" },
	{ "x/8xb 0xffff800000000500",
	  "ffff800000000500: 0xfa 0x31 0xc0 0x8e 0xd8 0x8e 0xc0 0x8e\n" },
	{ "x/4xb 0x0000800000000500", "0000800000000500: Cannot access memory\n" },
	{ "xp/4xb 0x200000", "0000000000200000: Cannot access memory\n" },
	{ "xp/12xb 0x1ffff8",
	  "00000000001ffff8: 0x00 0x00 0x00 0x00 0x00 0x00 0x00 0x00\n"
	  "0000000000200000: Cannot access memory\n" },
	{ "xp/40xb 0xfffffffffffffff0", "fffffffffffffff0: Cannot access memory\n" },
	{ "x/i 0", "vmond has no disassembler: dump bytes (x/64xb), or save them for one "
		   "(memsave)\n" },
	/* Expressions, seen by the address. */
	{ "x/1xb 1 + 2*3&4-5", "0000000000000000: 0x00\n" },
	{ "x/1xb (1+2)*0x200-1", "00000000000005ff: 0x00\n" },
	{ "x/1xb 1|2^7", "0000000000000004: 0x00\n" },
	{ "x/1xb ~0&0xff", "00000000000000ff: 0x00\n" },
	{ "x/1xb -7/2+0x10", "000000000000000d: 0x00\n" },
	{ "x/1xb -7%4+0x10", "000000000000000d: 0x00\n" },
	{ "x/1xb 010", "0000000000000008: 0x00\n" },
	{ "x/1xb 'a'", "0000000000000061: 0x00\n" },
	{ "x/1xb $eip", "0000000000000502: 0xc0\n" },
	{ "x/1xb $rip-2", "0000000000000500: 0xfa\n" },
	{ "x/1xb $pc-0x100", "0000000000000502: 0xc0\n" },
	{ "x/1xb $cs", "0000000000000020: 0x00\n" },
	{ "x/1xb $cs.base", "0000000000000100: 0x00\n" },
	{ "x/1xb $gs.limit", "0000000000000777: 0x00\n" },
	{ "x/1xb $r15", "123456789abcdef0: Cannot access memory\n" },
};

START_TEST(memory_dumps)
{
	static const uint8_t code[] =
		"\xfa\x31\xc0\x8e\xd8\x8e\xc0\x8e\xd0\xbc\x00\x7c\xe4\x92\x0c\x02"
		"\xe6\x92\x0f\x01\x16\xa8\x7d\x0f\x01\x1e\xae\x7d\x0f\x20\xc0\x0c";

	enter_long_mode(0);
	memset(machine.vm->memory.host, 0, 0x2000);
	memcpy(machine.vm->memory.host + 0x500, code, 24);
	memcpy(machine.vm->memory.host + 0x520, "'\\\n\r", 4);
	machine_model(0)->regs.rip = 0x502;
	machine_model(0)->regs.r15 = 0x123456789abcdef0;
	machine_model(0)->sregs.cs.selector = 0x20;
	machine_model(0)->sregs.cs.base = 0x100;
	machine_model(0)->sregs.gs.limit = 0x777;
	ck_assert_str_eq(run(dumps[_i].line), dumps[_i].text);
}
END_TEST

START_TEST(last_format)
{
	ck_assert_str_eq(run("xp 0x500"), "0000000000000500: 0x00000000\n");
	run("xp/uh 0x500");
	ck_assert_str_eq(run("xp 0x500"), "0000000000000500:     0\n");
	run("xp/b 0x500");
	ck_assert_str_eq(run("xp/2 0x500"), "0000000000000500:   0   0\n");
	/* i is none to be remembered. */
	run("xp/i 0x500");
	ck_assert_str_eq(run("xp 0x500"), "0000000000000500:   0\n");
}
END_TEST

START_TEST(long_dump)
{
	static const char cut[] =
		"The dump ends here, after 1048576 bytes; pmemsave saves more to a file\n";

	run("xp/99999999999999999999xb 0");
	ck_assert_uint_lt(hmp.out->len, HMP_OUTPUT_MAX);
	ck_assert_str_eq(hmp.out->bytes + hmp.out->len - strlen(cut), cut);
	run("xp/99999999999999999999xg 0x1ffff0");
	ck_assert_str_eq(hmp.out->bytes,
			 "00000000001ffff0: 0x0000000000000000 0x0000000000000000\n"
			 "0000000000200000: Cannot access memory\n");
}
END_TEST

START_TEST(cpus)
{
	static const struct fake_step halt = { .action = FAKE_HLT };
	char expected[256];

	machine_model(0)->regs.rip = 0xfff0;
	machine_model(0)->sregs.cs.base = 0xffff0000;
	machine_model(1)->regs.rip = 0x1234;
	machine_model(1)->sregs.cs.base = 0x10;
	fake_vcpu_script(machine_model(1), &halt, 1);
	machine_run_all();
	fake_vcpu_await_blocked(machine_model(1));
	ck_assert_str_eq(run("cpu 1"), "");
	ck_assert_int_eq(hmp.cpu, 1);
	snprintf(expected, sizeof(expected), "  CPU #0: pc=0x00000000fffffff0 thread_id=%d\n"
		 "* CPU #1: pc=0x0000000000001244 (halted) thread_id=%d\n",
		 (int)machine.vm->vcpu[0].tid, (int)machine.vm->vcpu[1].tid);
	ck_assert_str_eq(run("info cpus"), expected);
	ck_assert_ptr_eq(strstr(run("info registers"), "\nCPU#1\n"), hmp.out->bytes);
	ck_assert_ptr_nonnull(strstr(hmp.out->bytes, "\nEIP=00001234 "));
	ck_assert_ptr_nonnull(strstr(hmp.out->bytes, " HLT=1\n"));
	ck_assert_ptr_eq(strstr(run("info registers 0"), "\nCPU#0\n"), hmp.out->bytes);
	ck_assert_ptr_eq(strstr(hmp.out->bytes, "\nCPU#1\n"), NULL);
	ck_assert_ptr_eq(strstr(run("info registers -a 1"), "\nCPU#0\n"), hmp.out->bytes);
	ck_assert_ptr_nonnull(strstr(hmp.out->bytes, "\n\nCPU#1\n"));
	ck_assert_ptr_eq(strstr(run("info lapic"), "dumping local APIC state for CPU 1 \n"),
			 hmp.out->bytes);
	ck_assert_ptr_eq(strstr(run("info lapic 0"), "dumping local APIC state for CPU 0 \n"),
			 hmp.out->bytes);
}
END_TEST

static const char *const inspecting[] = {
	"info status", "info cpus", "info registers", "info registers -a", "info tlb", "info mem",
	"info lapic", "info mtree", "info cpuid", "info vcpu-sync", "x/64xb 0", "xp/64xb 0", "x/4xb $pc",
	"info qom-tree", "info qtree", "qom-get device[1] vendor", "qom-get device[0] model-id",
	/* The file is put behind these two. */
	"memsave 0 0x1800", "pmemsave 0 64",
};

START_TEST(looking_writes_nothing)
{
	char dir[] = "/tmp/vmond-hmp-XXXXXX", file[64], line[128];
	uint64_t mark;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(file, sizeof(file), "%s/dump", dir);
	snprintf(line, sizeof(line), strstr(inspecting[_i], "memsave") ? "%s \"%s\"" : "%s",
		 inspecting[_i], file);
	enter_long_mode(0);
	machine_run_all();
	machine_events();
	/* A running VM goes on, and nobody hears of it. */
	run(line);
	ck_assert_ptr_eq(strstr(hmp.out->bytes ? hmp.out->bytes : "", "Error"), NULL);
	ck_assert(vm_is_running(machine.vm));
	ck_assert_str_eq(machine_events(), "");
	run("stop");
	mark = fake_kvm_mark(machine.fake);
	run(line);
	run("cont");
	ck_assert_uint_eq(machine_sets(mark), 0);
	ck_assert_ptr_nonnull(strstr(run("info vcpu-sync"),
		"\nKVM_SET calls since the last stop: 0 (vCPU), 0 (VM); clock policy: "));
	unlink(file);
	ck_assert_int_eq(rmdir(dir), 0);
}
END_TEST

START_TEST(vcpu_sync)
{
	struct error err;

	machine_run_all();
	run("stop");
	run("info registers 1");
	ck_assert_ptr_nonnull(vcpu_state_regs_edit(&machine.vm->vcpu[1].state, &err));
	run("info vcpu-sync");
	ck_assert_ptr_nonnull(strstr(hmp.out->bytes, "\n  1  regs             yes      yes  "));
	ck_assert_ptr_nonnull(strstr(hmp.out->bytes,
		"\n  1  xsave            yes      -              1"
		"        0          1        0\n"));
	ck_assert_ptr_nonnull(strstr(hmp.out->bytes,
		"\n  0  xsave            -        -              0"
		"        0          0        0\n"));
	run("cont");
	run("info vcpu-sync");
	ck_assert_ptr_nonnull(strstr(hmp.out->bytes, "stop: 1 (vCPU), 0 (VM); clock policy: "));
	ck_assert_ptr_nonnull(strstr(hmp.out->bytes, "\n  1  regs             -        -    "));
}
END_TEST

START_TEST(kernel_refuses)
{
	uint64_t entries[2];

	machine_run_all();
	for (int i = 0; i < 2; i++)
		entries[i] = machine_model(i)->entries;
	fake_kvm_fail(machine.fake, (struct fake_fault){
		.request = KVM_GET_XSAVE2, .vcpu = 1, .error = EIO });
	ck_assert_ptr_eq(strstr(run("info registers -a"), "Error: "), hmp.out->bytes);
	ck_assert_ptr_nonnull(strchr(hmp.out->bytes, '\n'));
	ck_assert_ptr_null(strstr(hmp.out->bytes, "CPU#"));
	/* Neither is left parked. */
	for (int i = 0; i < 2; i++)
		fake_vcpu_await_entries(machine_model(i), entries[i] + 1);
	fake_kvm_heal(machine.fake);
	ck_assert_ptr_eq(strstr(run("info registers -a"), "\nCPU#0\n"), hmp.out->bytes);
}
END_TEST

START_TEST(mtree)
{
	run("info mtree");
	ck_assert_ptr_eq(strstr(hmp.out->bytes, "address-space: memory\n"
		"  0000000000000000-ffffffffffffffff (prio 0, i/o): system\n"
		"    0000000000000000-00000000001fffff (prio 0, ram): alias ram-below-4g @ram "
		"0000000000000000-00000000001fffff\n"
		"    00000000fec00000-00000000fec00fff (prio 0, i/o): kvm-ioapic\n"
		"    00000000fee00000-00000000feefffff (prio 0, i/o): kvm-apic-msi\n"
		"\n"
		"address-space: I/O\n"
		"  0000000000000000-000000000000ffff (prio 0, i/o): io\n"
		"    0000000000000020-0000000000000021 (prio 0, i/o): kvm-pic\n"), hmp.out->bytes);
	ck_assert_ptr_nonnull(strstr(hmp.out->bytes,
		"    00000000000003f8-00000000000003ff (prio 0, i/o): serial\n"
		"    00000000000004d0-00000000000004d0 (prio 0, i/o): kvm-elcr\n"));
	ck_assert_ptr_nonnull(strstr(hmp.out->bytes, "\nmemory-region: ram\n"
		"  0000000000000000-00000000001fffff (prio 0, ram): ram\n\n"));
}
END_TEST

#define COUNT(array)    (int)(sizeof(array) / sizeof((array)[0]))

Suite *hmp_suite(void)
{
	Suite *suite = suite_create("hmp");
	TCase *tc = tcase_create("hmp");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, parse_errors, 0, COUNT(parsing));
	tcase_add_test(tc, hostile_lines);
	tcase_add_test(tc, help);
	tcase_add_test(tc, about_the_machine);
	tcase_add_test(tc, run_states);
	tcase_add_loop_test(tc, memory_dumps, 0, COUNT(dumps));
	tcase_add_test(tc, last_format);
	tcase_add_test(tc, long_dump);
	tcase_add_test(tc, cpus);
	tcase_add_loop_test(tc, looking_writes_nothing, 0, COUNT(inspecting));
	tcase_add_test(tc, vcpu_sync);
	tcase_add_test(tc, kernel_refuses);
	tcase_add_test(tc, mtree);
	suite_add_tcase(suite, tc);
	return suite;
}
