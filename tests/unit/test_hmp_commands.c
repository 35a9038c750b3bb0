/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/hmp_fixture.h"
#include "tests/unit/migration_fixture.h"
#include "tests/unit/suites.h"
#include "vmm/dump/dump.h"

/* More of the human monitor; texts are those of QEMU 7.2 where that has the command. */

static uint8_t *ram;

static void setup(void)
{
	transfers_begin();
	machine_start(2);
	ram = machine.vm->memory.host;
	hmp_open();
}

static void teardown(void)
{
	hmp_close();
	teardown_machine();
}

static const struct line lines[] = {
	{ "p 1+1", "0x2\n" },
	{ "print 0x10", "0x10\n" },
	{ "print /d 0xffffffff", "4294967295\n" },
	{ "print /x -1", "0xffffffffffffffff\n" },
	{ "p 0", "0\n" },
	{ "p /o 8", "010\n" },
	{ "p /c 65", "'A'\n" },
	{ "p /c 10", "'\\n'\n" },
	{ "p /c 200", "'\\xc8'\n" },
	{ "p /c 39", "'\\''\n" },
	{ "p /u -1", "18446744073709551615\n" },
	{ "p /d -1", "-1\n" },
	{ "p /i 5", "5\n" },
	{ "p /xb 0x1234", "0x1234\n" },
	{ "p $pc", "0x1000\n" },
	{ "p", "unexpected end of expression\n" TRY("p") },
	{ "p /d $zz", "unknown register\n" TRY("p") },
	{ "p +1", "0x1\n" },
	{ "p 1&$zz", "unknown register\n" TRY("p") },

	{ "sum 0x1000 0", "00000\n" },
	{ "sum 0x1ffff0 17", "No memory is mapped at address 0x200000\n" },
	{ "sum 0xfee00000 4", "No memory is mapped at address 0xfee00000\n" },
	{ "sum 0 0x2000001", "sum: at most 33554432 bytes; save more with pmemsave\n" },
	{ "sum", "unexpected end of expression\n" TRY("sum") },

	/* The second serial port is not there, and of an address only 16 bits are. */
	{ "i /b 0x2f8", "portb[0x02f8] = 0xff\n" },
	{ "i /h 0x102f8", "portw[0x02f8] = 0xffff\n" },
	{ "i 0x2f8", "portl[0x02f8] = 0xffffffff\n" },
	{ "i/w 0x2f8", "portl[0x02f8] = 0xffffffff\n" },
	{ "i /g 0x2f8", "portb[0x02f8] = 0x00000000000000ff\n" },
	{ "i /8xb 0x2f8", "portb[0x02f8] = 0xff\n" },
	{ "i", "unexpected end of expression\n" TRY("i") },
	{ "i /b 0x70 1", "i: extraneous characters at the end of line\n" TRY("i") },
	{ "o /b 0x70", "unexpected end of expression\n" TRY("o") },
	{ "i /b 0x20", "Port 0x0020 is of a device in the kernel (kvm-pic), which only the guest can "
	  "reach\n" },
	{ "i /w 0x3f", "Port 0x003f is of a device in the kernel (kvm-pit), which only the guest can "
	  "reach\n" },
	{ "o /b 0x4d1 1", "Port 0x04d1 is of a device in the kernel (kvm-elcr), which only the guest "
	  "can reach\n" },
	{ "i /h 0x9f", "Port 0x009f is of a device in the kernel (kvm-pic), which only the guest can "
	  "reach\n" },

	{ "gpa2hva 0x200000", "No memory is mapped at address 0x200000\n" },
	{ "gva2gpa 0", "gpa: 0\n" },
	{ "gva2gpa 0x1234", "gpa: 0x1234\n" },
	{ "gva2hva 0xfee00000", "No memory is mapped at address 0xfee00000\n" },

	{ "set", "unknown register\n" TRY("set") },
	{ "set $foo=1", "unknown register\n" TRY("set") },
	{ "set rax", "'=' expected\n" TRY("set") },
	{ "set $rax 1", "'=' expected\n" TRY("set") },
	{ "set $rax=", "unexpected end of expression\n" TRY("set") },
	{ "set $rax=1 rbx=$zz", "unknown register\n" TRY("set") },
	{ "set $cs=0x10000", "cs has 16 bits, too few for 0x10000\n" TRY("set") },

	{ "savevm", "savevm: string expected\n" TRY("savevm") },
	{ "savevm /nonexistent/x\n", "" },
	{ "loadvm x", "A VM that exists can not become another: start one with vmond run --clone x\n" },
	{ "loadvm \"x\\ry\\\\\"", "A VM that exists can not become another: start one with vmond "
	  "run --clone x\ry\\\n" },
	{ "delvm x", "A snapshot is a file, which nothing here keeps: remove x where it is, when no "
	  "clone of it runs any more\n" },
	{ "info snapshots", "Snapshots are files, wherever savevm and snapshot_save were told to write "
	  "them; there is no list\n" },

	{ "info dump", "Status: none\n" },
	{ "dump-guest-memory -p /tmp/x 0", "Error: Parameter 'length' is missing\n" },
	{ "dump-guest-memory -z /tmp/x", "dump-guest-memory: unsupported option -z\n"
	  TRY("dump-guest-memory") },
	{ "dump-guest-memory /nonexistent/x",
	  "Error: Could not open '/nonexistent/x': No such file or directory\n" },
	{ "dump-guest-memory /x -1 1", "Error: Invalid parameter 'begin'\n" },

	{ "info dirty_rate", "Status: unstarted\nStart Time: 0 (ms)\nSample Pages: 0 (per GB)\n"
	  "Period: 0 (sec)\nMode: page-sampling\nDirty rate: (not ready)\n" },
	{ "calc_dirty_rate 0", "Incorrect period length specified!\n" },
	{ "calc_dirty_rate -r -b 1", "Either dirty ring or dirty bitmap can be specified!\n" },
	{ "calc_dirty_rate -r 1",
	  "Error: mode dirty-ring is not enabled, use other method instead.\n" },
	{ "calc_dirty_rate 1 100", "Error: sample-pages is out of range[128, 16384].\n" },
	{ "calc_dirty_rate 61", "Error: calc-time is out of range[1, 60].\n" },
	{ "calc_dirty_rate -b 60 16384", "Starting dirty rate measurement with period 60 seconds\n"
	  "[Please use 'info dirty_rate' to check results]\n" },

	{ "info stats", "stats: string expected\n" TRY("info stats") },
	{ "info stats foo", "invalid stats target foo\n" },
	{ "info stats vm * zz", "invalid stats provider zz\n" },
	{ "info stats vm * kvm x", "stats: extraneous characters at the end of line\n"
	  TRY("info stats") },
	{ "info stats vm nope", "" },
	{ "info stats vm \"page", "unterminated string\n" },
	{ "info stats vm page \"kvm", "unterminated string\n" },
	{ "info stats vm page", "" },
	{ "info stats vm pages", "provider: kvm\n    pages (instant): 101\n" },
	{ "info stats vcpu exits,guest_mode", "provider: kvm\n    exits (cumulative): 1000\n"
	  "    guest_mode (instant, boolean): yes\n" },
	{ "info stats vcpu * kvm", "    exits (cumulative): 1000\n    pages (instant): 1001\n"
	  "    longest_ns (peak, ns): 1002\n    cached (instant, MiB): 1003\n"
	  "    guest_mode (instant, boolean): yes\n    steps (cumulative, * 10^2 cycles): 1005\n"
	  "    linear (linear-histogram, us, bucket size=250): [1]=1006 [2]=1007 [3]=1008 \n"
	  "    log2 (log2-histogram): [1]=1009 [2]=1010 [3]=1011 [4]=1012 \n" },
};

START_TEST(texts)
{
	ck_assert_str_eq(run(lines[_i].line), lines[_i].text);
	logged();
}
END_TEST

START_TEST(sums)
{
	uint16_t sum = 0;
	char expected[16];

	for (unsigned int i = 0; i < 0x2000; i++)
		ram[0x1800 + i] = (uint8_t)(i * 31 + (i >> 8));
	for (unsigned int i = 0; i < 0x1801; i++) {
		sum = (uint16_t)(sum >> 1 | sum << 15);
		sum = (uint16_t)(sum + ram[0x1800 + i]);
	}
	snprintf(expected, sizeof(expected), "%05d\n", sum);
	ck_assert_str_eq(run("sum 0x1800 0x1801"), expected);
}
END_TEST

START_TEST(addresses)
{
	char expected[128];

	snprintf(expected, sizeof(expected), "Host virtual address for 0x1234 (ram) is %p\n",
		 (void *)(ram + 0x1234));
	ck_assert_str_eq(run("gpa2hva 0x1234"), expected);
	machine_long_mode(0);
	fake_kvm_fail(machine.fake, (struct fake_fault) { .request = KVM_GET_SREGS2, .vcpu = 0,
							  .error = EIO });
	ck_assert_ptr_eq(strstr(run("gva2gpa 0x40002000"), "Error: "), hmp.out->bytes);
	fake_kvm_heal(machine.fake);
	ck_assert_str_eq(run("gva2gpa 0x40001234"), "gpa: 0x2234\n");
	ck_assert_str_eq(run("gva2gpa 0x40002000"), "Unmapped\n");
	ck_assert_str_eq(run("gva2hva 0x40002000"), "Unmapped\n");
	snprintf(expected, sizeof(expected), "Host virtual address for 0x40001234 (ram) is %p\n",
		 (void *)(ram + 0x2234));
	ck_assert_str_eq(run("gva2hva 0x40001234"), expected);
	/* The other vCPU does not page. */
	hmp.cpu = 1;
	ck_assert_str_eq(run("gva2gpa 0x40002000"), "gpa: 0x40002000\n");
}
END_TEST

/* Devices see what the guest's own instructions would do: a register and its read-back. */
START_TEST(ports)
{
	ck_assert_str_eq(run("o /b 0x3ff 0xa5"), "");
	ck_assert_str_eq(run("i /b 0x3ff"), "portb[0x03ff] = 0xa5\n");
	/* No more than an access carries: two bytes here, as two registers. */
	ck_assert_str_eq(run("o /b 0x70 0x10f"), "");
	ck_assert_str_eq(run("o /b 0x71 0x1234"), "");
	ck_assert_str_eq(run("i /b 0x71"), "portb[0x0071] = 0x34\n");
	/* A port that ends the machine does just that. */
	ck_assert_str_eq(run("o /b 0xf4 1"), "");
	machine_dispatch();
	ck_assert_ptr_nonnull(strstr(machine_events(), "SHUTDOWN(guest-shutdown)"));
}
END_TEST

/* That substate becomes dirty, and no other; nothing does when anything is wrong. */
START_TEST(set)
{
	struct vcpu_state *state = &machine.vm->vcpu[1].state;
	uint64_t mark;

	hmp.cpu = 1;
	machine_model(1)->regs.rax = 5;
	ck_assert_str_eq(run("set $rip=0x7c08 $cs=0x12345"),
			 "cs has 16 bits, too few for 0x12345\n" TRY("set"));
	ck_assert_uint_eq(state->dirty, 0);
	/* Values are of before, whatever their order. */
	ck_assert_str_eq(run("set $rax=$rax+1 rbx = $rax*2 $rip=0x7c08"), "");
	ck_assert_uint_eq(state->dirty, 1u << SUBSTATE_REGS);
	ck_assert_uint_eq(machine.vm->vcpu[0].state.dirty, 0);
	ck_assert_str_eq(run("p $rax"), "0x6\n");
	ck_assert_str_eq(run("p $rbx"), "0xa\n");
	mark = fake_kvm_mark(machine.fake);
	machine_run_all();
	ck_assert_str_eq(fake_kvm_names(machine.fake, fake_filter(mark, FAKE_ANY, KVM_CLASS_SET)),
			 "SET_REGS");
	ck_assert_ptr_eq(strstr(run("set $rip=0"), "Error: Registers can be set only while"),
			 hmp.out->bytes);
	vm_stop(machine.vm);
	ck_assert_str_eq(run("set cs-base=0x10 fs=3"), "");
	ck_assert_uint_eq(state->dirty, 1u << SUBSTATE_SREGS);
}
END_TEST

START_TEST(too_many_values)
{
	char line[64 * 8 + 8] = "set";

	for (int i = 0; i < 64; i++)
		strcat(line, " rax=1");
	ck_assert_str_eq(run(line), "");
	strcat(line, " rax=2");
	ck_assert_str_eq(run(line), "set: at most 64 registers\n");
}
END_TEST

START_TEST(pic)
{
	struct fake_vm *vm = fake_kvm_vm(machine.fake, 0);
	struct kvm_ioapic_state *ioapic = &vm->irqchips[KVM_IRQCHIP_IOAPIC].chip.ioapic;
	struct kvm_pic_state *slave = &vm->irqchips[KVM_IRQCHIP_PIC_SLAVE].chip.pic;

	for (int i = 0; i < KVM_IOAPIC_NUM_PINS; i++)
		ioapic->redirtbl[i].bits = 0x10000;
	ioapic->redirtbl[4].bits = 0x030000000000e934;          /* logical, level, low, lowest */
	ioapic->redirtbl[4].bits |= 1ULL << 11 | 0x100;
	ioapic->irr = 1 << 4 | 1 << 9;
	ioapic->ioregsel = 0x18;
	*slave = (struct kvm_pic_state) {
		.irr = 1, .imr = 0xde, .isr = 2, .priority_add = 3, .irq_base = 0x70,
		.read_reg_select = 1, .elcr = 0xc, .special_fully_nested_mode = 1,
	};
	run("info pic");
	ck_assert_ptr_eq(strstr(hmp.out->bytes, "ioapic0: ver=0x11 id=0x00 sel=0x18 (redir[4])\n"
		"  pin 0  0x0000000000010000 dest=0 vec=0   active-hi edge  masked fixed  physical\n"),
		hmp.out->bytes);
	ck_assert_ptr_nonnull(strstr(hmp.out->bytes,
		"  pin 4  0x030000000000e934 dest=3 vec=52  active-lo level        lowest logical\n"));
	ck_assert_ptr_nonnull(strstr(hmp.out->bytes, "  IRR      4 9 \n  Remote IRR 4 \n"
		"pic1: irr=01 imr=de isr=02 hprio=3 irq_base=70 rr_sel=1 elcr=0c fnm=1\n"
		"pic0: irr=00 imr=00 isr=00 hprio=0 irq_base=00 rr_sel=0 elcr=00 fnm=0\n"));
	fake_kvm_fail(machine.fake, (struct fake_fault) { .request = KVM_GET_IRQCHIP, .vcpu = -1,
							  .nth = 3, .error = EIO });
	ck_assert_str_eq(run("info pic"), "Error: KVM_GET_IRQCHIP: Input/output error\n");
}
END_TEST

/* Without a client that could wait, dumps and snapshots go on by themselves. */
START_TEST(dump)
{
	struct dump_info info;
	char line[160];

	snprintf(line, sizeof(line), "dump-guest-memory -p %s 0x1000 0x2000", file_named("core"));
	ck_assert_str_eq(run(line), "");
	ck_assert_str_eq(run("stop"), "Error: There is a dump in process, please wait.\n");
	ck_assert_ptr_eq(strstr(run("info dump"), "Status: active\nFinished: "), hmp.out->bytes);
	do {
		machine_dispatch();
		vm_dump_info(machine.vm, &info);
	} while (info.status == DUMP_ACTIVE);
	ck_assert_str_eq(run("info dump"), "Status: completed\n");
	ck_assert_uint_eq(info.total, 0x2000);
	ck_assert_int_eq(access(file_named("core"), R_OK), 0);
}
END_TEST

#define COUNT(array)    (int)(sizeof(array) / sizeof((array)[0]))

/* For the vCPU whose LINT1 is for that; a kernel that refuses is heard. */
START_TEST(nmi)
{
	const uint32_t masked = 1U << 16, for_nmi = 4U << 8;

	memcpy(machine_model(0)->lapic.regs + 0x360, &masked, sizeof(masked));
	memcpy(machine_model(1)->lapic.regs + 0x360, &for_nmi, sizeof(for_nmi));
	machine_run_all();
	ck_assert_str_eq(run("nmi"), "");
	for (int i = 0; i < 2; i++)
		ck_assert_uint_eq(fake_kvm_count_request(machine.fake, 0, i, KVM_NMI), i);
	fake_kvm_fail(machine.fake, (struct fake_fault){ KVM_NMI, -1, 1, 0, EIO });
	ck_assert_ptr_eq(strstr(run("nmi"), "Error: "), hmp.out->bytes);
	fake_kvm_heal(machine.fake);
}
END_TEST

Suite *hmp_commands_suite(void)
{
	Suite *suite = suite_create("hmp_commands");
	TCase *tc = tcase_create("hmp_commands");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, texts, 0, COUNT(lines));
	tcase_add_test(tc, sums);
	tcase_add_test(tc, addresses);
	tcase_add_test(tc, ports);
	tcase_add_test(tc, set);
	tcase_add_test(tc, too_many_values);
	tcase_add_test(tc, pic);
	tcase_add_test(tc, dump);
	tcase_add_test(tc, nmi);
	suite_add_tcase(suite, tc);
	return suite;
}
