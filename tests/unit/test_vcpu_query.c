/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <check.h>
#include <string.h>

#include "monitor/monitor_internal.h"
#include "tests/unit/migrate_fixture.h"
#include "tests/unit/suites.h"
#include "tests/unit/vm_fixture.h"

/* What query-vcpu-state and its relatives show of states that guests are seldom in. */

static struct wire wire;
static struct peer peer;

static void start(void)
{
	machine_start(2);
	wire_open_vm(&wire, machine.vm);
	peer = wire_connect_ready(&wire);
	machine_run_all();
	vm_stop(machine.vm);
}

static void end(void)
{
	peer_close(&peer);
	wire_close(&wire);
	machine_stop();
}

static void setup(void)
{
	machine_host();
}

static void ask(const char *command)
{
	peer_clear(&peer);
	wire_send(&wire, &peer, command, strlen(command));
	wire_settle(&wire, &peer);
}

#define HAS(what) ck_assert_msg(strstr(peer.text, (what)), "no %s: %s", (what), peer.text)

static const struct {
	uint32_t mp_state;
	const char *text;
} mp_states[] = {
	{ KVM_MP_STATE_RUNNABLE, "\"mp-state\": \"runnable\"" },
	{ KVM_MP_STATE_UNINITIALIZED, "\"mp-state\": \"uninitialized\"" },
	{ KVM_MP_STATE_INIT_RECEIVED, "\"mp-state\": \"init-received\"" },
	{ KVM_MP_STATE_HALTED, "\"mp-state\": \"halted\"" },
	{ KVM_MP_STATE_SIPI_RECEIVED, "\"mp-state\": \"sipi-received\"" },
};

START_TEST(mp_state)
{
	start();
	machine_model(1)->mp_state = mp_states[_i].mp_state;
	ask(COMMAND("query-vcpu-state", "\"cpu-index\":1"));
	HAS(mp_states[_i].text);
	HAS(mp_states[_i].mp_state == KVM_MP_STATE_HALTED ? "\"halted\": true" :
							    "\"halted\": false");
	ck_assert_uint_eq(peer_count(&peer, "\"cpu-index\""), 1);
	machine_model(1)->mp_state = KVM_MP_STATE_RUNNABLE;
	end();
}
END_TEST

/* Intel SDM vol. 1, 10.5.1, for where FXSAVE has them: ST(0) from byte 32 on, XMM0 from 160. */
START_TEST(fpu)
{
	uint8_t *area;

	start();
	area = machine_model(0)->xsave;
	memcpy(area + 32, "\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a", 10);
	for (unsigned int i = 0; i < 16; i++)
		area[160 + 16 + i] = (uint8_t)(0xf0 + i);
	memcpy(area + 24, "\x80\x1f\x00\x00", 4);
	/* XSTATE_BV: x87 and SSE are not as after a reset. */
	area[512] |= 3;
	ask(COMMAND("query-vcpu-state", "\"cpu-index\":0,\"fpu\":true"));
	HAS("\"st\": [\"0a090807060504030201\", \"00000000000000000000\"");
	HAS("\"xmm\": [\"00000000000000000000000000000000\", "
	    "\"fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0\"");
	HAS("\"mxcsr\": 8064");
	ask(COMMAND("query-vcpu-state", "\"cpu-index\":0"));
	ck_assert_uint_eq(peer_count(&peer, "\"fpu\""), 0);
	end();
}
END_TEST

/* A vCPU of which an MSR is missing that the host lists has all others. */
START_TEST(msrs)
{
	start();
	ask(COMMAND("query-vcpu-state", "\"cpu-index\":0,\"msrs\":true"));
	HAS("\"msrs\": [{\"index\": ");
	HAS("\"name\": \"IA32_TSC\"");
	ck_assert_uint_gt(peer_count(&peer, "\"index\": "), 10);
	end();
}
END_TEST

START_TEST(nested)
{
	struct kvm_nested_state *state;

	fake_kvm_set_nested_format(machine.fake, _i ? KVM_STATE_NESTED_FORMAT_SVM :
						      KVM_STATE_NESTED_FORMAT_VMX);
	start();
	state = machine_model(0)->nested;
	state->flags |= KVM_STATE_NESTED_GUEST_MODE;
	if (_i) {
		state->hdr.svm.vmcb_pa = 0x5000;
		state->size += KVM_STATE_NESTED_SVM_VMCB_SIZE;
	} else {
		state->hdr.vmx.vmxon_pa = 0x3000;
		state->hdr.vmx.vmcs12_pa = 0x4000;
		state->size += KVM_STATE_NESTED_VMX_VMCS_SIZE;
	}
	ask(COMMAND("query-vcpu-state", "\"cpu-index\":0"));
	HAS(_i ? "\"nested\": {\"format\": \"svm\", \"guest-mode\": true, \"run-pending\": false, "
		 "\"nested-paging\": false, \"gif\": true, \"vmcb-pa\": 20480}" :
		 "\"nested\": {\"format\": \"vmx\", \"guest-mode\": true, \"run-pending\": false, "
		 "\"nested-paging\": false, \"vmxon-pa\": 12288, \"vmcs12-pa\": 16384, "
		 "\"mtf-pending\": false, ");
	state->flags &= (uint16_t)~KVM_STATE_NESTED_GUEST_MODE;
	end();
}
END_TEST

/* The books of one vCPU, and of one that there is not. */
START_TEST(books)
{
	start();
	ask(COMMAND("query-vcpu-sync", "\"cpu-index\":1"));
	HAS("{\"return\": {\"vcpus\": [{\"cpu-index\": 1, \"substates\": [");
	ck_assert_uint_eq(peer_count(&peer, "\"cpu-index\""), 1);
	ask(COMMAND("query-vcpu-sync", "\"cpu-index\":2"));
	HAS("Parameter 'cpu-index' expects a CPU number");
	ask(COMMAND("query-vcpu-state", "\"cpu-index\":-1"));
	HAS("Parameter 'cpu-index' expects a CPU number");
	end();
}
END_TEST

#define SET(registers) \
	COMMAND("set-vcpu-registers", "\"cpu-index\":0,\"registers\":{" registers "}")

/* Debug registers, and a host that has none: then nothing else is set, either. */
START_TEST(set_debug_registers)
{
	if (_i)
		fake_kvm_set_cap(machine.fake, KVM_CAP_DEBUGREGS, 0);
	start();
	ask(SET("\"rax\":7,\"dr0\":4096"));
	if (_i)
		HAS("Register 'dr0' can not be set: this host's KVM does not offer debugregs");
	else
		ck_assert_str_eq(peer.text, OK);
	ask(COMMAND("set-vcpu-registers", "\"cpu-index\":2,\"registers\":{}"));
	HAS("Parameter 'cpu-index' expects a CPU number");
	machine_run_all();
	ck_assert_uint_eq(machine_model(0)->debugregs.db[0], _i ? 0 : 4096);
	ck_assert_int_eq(machine_model(0)->regs.rax == 7, !_i);
	end();
}
END_TEST

Suite *vcpu_query_suite(void)
{
	Suite *suite = suite_create("vcpu query");
	TCase *tc = tcase_create("query");

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_loop_test(tc, mp_state, 0, sizeof(mp_states) / sizeof(mp_states[0]));
	tcase_add_test(tc, fpu);
	tcase_add_test(tc, msrs);
	tcase_add_loop_test(tc, nested, 0, 2);
	tcase_add_test(tc, books);
	tcase_add_loop_test(tc, set_debug_registers, 0, 2);
	suite_add_tcase(suite, tc);
	return suite;
}
