/* SPDX-License-Identifier: MIT */
/*
 * What starting a clone costs when nothing is done for it: `clone_bare FILE SOCKET` maps the RAM of
 * a snapshot of one vCPU (vmond-snapshot(5)), gives KVM its state with the calls that no program
 * can do without, and answers on SOCKET: query-status, and cont, from which on what the guest sends
 * to port 0x3f8 goes to standard output.  Believes the file every word.  The yardstick of the
 * benchmark.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "kvm_calls.h"

#define PORT_SERIAL     0x3f8
#define IDENTITY_MAP    0xfffbc000UL    /* Intel processors need them: api.rst, KVM_SET_TSS_ADDR */
#define TSS_ADDRESS     0xfffbd000UL
#define LOW_MAX         (3UL << 30)
#define HIGH            (4UL << 30)
#define MCE_BANKS       (1UL << 24 | 1UL << 8 | 32)     /* as vmond has them */
#define MSR_TSC         0x10
#define MSRS_MAX        1024
#define CPUID_MAX       256

/* vmond-snapshot(5). */
enum { HEADER_LEN = 64, SECTION_LEN = 56, ITEM_LEN = 8 };
enum { CPUID = 1, REGS = 4, SREGS = 5, XCRS = 7, XSAVE = 8, LAPIC = 10, TSC = 11, MSRS = 12,
       EVENTS = 13, MP_STATE = 14, DEBUGREGS = 15, ITEMS };

struct bytes {
	char *data;
	uint64_t len;
};

static struct bytes irqchip, pit, clock_section, item[ITEMS];
static struct kvm_run *run_page;
static int vcpu;
static sem_t go;

static uint64_t u64(const char *p)
{
	uint64_t value;

	memcpy(&value, p, sizeof(value));
	return value;
}

static uint32_t u32(const char *p)
{
	uint32_t value;

	memcpy(&value, p, sizeof(value));
	return value;
}

static void find_items(char *p, const char *end)
{
	for (; p < end; p += ITEM_LEN + u32(p + 4))
		if ((unsigned char)*p < ITEMS)
			item[(unsigned char)*p] = (struct bytes){ p + ITEM_LEN, u32(p + 4) };
}

/* Returns the offset of RAM, and sets how much there is. */
static uint64_t read_front(int file, uint64_t *ram)
{
	char header[HEADER_LEN], *front, *p;
	uint64_t len;

	if (pread(file, header, HEADER_LEN, 0) != HEADER_LEN)
		die("header");
	*ram = u64(header + 16);
	len = u64(header + 24);
	front = malloc(len);
	if (!front || pread(file, front, len, 0) != (ssize_t)len)
		die("sections");
	for (p = front + HEADER_LEN; strcmp(p, "end"); p += SECTION_LEN + u64(p + 40)) {
		struct bytes content = { p + SECTION_LEN, u64(p + 40) };

		if (!strcmp(p, "irqchip"))
			irqchip = content;
		else if (!strcmp(p, "pit"))
			pit = content;
		else if (!strcmp(p, "clock"))
			clock_section = content;
		else if (!strcmp(p, "vcpu/0"))
			find_items(content.data, content.data + content.len);
	}
	return u64(header + 32);
}

static void map_memory(int vm, int file, uint64_t offset, uint64_t size)
{
	struct kvm_userspace_memory_region region = { .memory_size = size };
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, (off_t)offset);

	if (memory == MAP_FAILED)
		die("guest memory");
	region.userspace_addr = (uintptr_t)memory;
	if (size > LOW_MAX)
		region.memory_size = LOW_MAX;
	CALL(vm, KVM_SET_USER_MEMORY_REGION, &region);
	if (size <= LOW_MAX)
		return;
	region = (struct kvm_userspace_memory_region){
		.slot = 1, .guest_phys_addr = HIGH, .memory_size = size - LOW_MAX,
		.userspace_addr = (uintptr_t)memory + LOW_MAX,
	};
	CALL(vm, KVM_SET_USER_MEMORY_REGION, &region);
}

static void set_vm(int vm)
{
	const char *p = irqchip.data;
	struct kvm_pit_state2 state = { 0 };
	struct kvm_clock_data now = { .clock = u64(clock_section.data) };

	for (uint32_t i = 0; i < 3; i++) {
		struct kvm_irqchip chip = { .chip_id = i };
		size_t size = i == KVM_IRQCHIP_IOAPIC ? sizeof(struct kvm_ioapic_state) :
							sizeof(struct kvm_pic_state);

		memcpy(&chip.chip, p, size);
		p += size;
		CALL(vm, KVM_SET_IRQCHIP, &chip);
	}
	/* A channel is as in the structure, but for the time at its end, which is an age here. */
	for (int i = 0; i < 3; i++)
		memcpy(&state.channels[i], pit.data + i * 24, 16);
	CALL(vm, KVM_SET_PIT2, &state);
	CALL(vm, KVM_SET_CLOCK, &now);
}

static void set_cpuid(void)
{
	static uint64_t room[CPUID_MAX * sizeof(struct kvm_cpuid_entry2) / 8 + 1];
	struct kvm_cpuid2 *table = (struct kvm_cpuid2 *)room;

	for (const char *p = item[CPUID].data; p < item[CPUID].data + item[CPUID].len; p += 28)
		memcpy(&table->entries[table->nent++], p, 28);
	CALL(vcpu, KVM_SET_CPUID2, table);
}

static void set_msrs(void)
{
	static uint64_t room[MSRS_MAX * sizeof(struct kvm_msr_entry) / 8 + 1];
	struct kvm_msrs *list = (struct kvm_msrs *)room;

	list->entries[list->nmsrs++] = (struct kvm_msr_entry){
		.index = MSR_TSC, .data = u64(item[TSC].data)
	};
	for (const char *p = item[MSRS].data; p < item[MSRS].data + item[MSRS].len; p += 12)
		list->entries[list->nmsrs++] = (struct kvm_msr_entry){
			.index = u32(p), .data = u64(p + 4)
		};
	if (CALL(vcpu, KVM_SET_MSRS, list) != (int)list->nmsrs)
		die("an MSR");
}

/* In vmond's order; each structure from where it is in the file. */
static void set_vcpu(void)
{
	unsigned long banks = MCE_BANKS;

	CALL(vcpu, KVM_X86_SETUP_MCE, &banks);
	set_cpuid();
	CALL(vcpu, KVM_SET_REGS, item[REGS].data);
	CALL(vcpu, KVM_SET_SREGS2, item[SREGS].data);
	CALL(vcpu, KVM_SET_XCRS, item[XCRS].data);
	CALL(vcpu, KVM_SET_XSAVE, item[XSAVE].data);
	CALL(vcpu, KVM_SET_LAPIC, item[LAPIC].data);
	set_msrs();
	CALL(vcpu, KVM_SET_VCPU_EVENTS, item[EVENTS].data);
	CALL(vcpu, KVM_SET_MP_STATE, item[MP_STATE].data);
	CALL(vcpu, KVM_SET_DEBUGREGS, item[DEBUGREGS].data);
}

static void new_vm(const char *path)
{
	struct kvm_enable_cap payload = { .cap = KVM_CAP_EXCEPTION_PAYLOAD, .args[0] = 1 };
	struct kvm_enable_cap triple = { .cap = KVM_CAP_X86_TRIPLE_FAULT_EVENT, .args[0] = 1 };
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), file = open(path, O_RDONLY | O_CLOEXEC), vm;
	unsigned long identity_map = IDENTITY_MAP;
	struct kvm_pit_config no_pit = { 0 };
	uint64_t offset, size;

	if (kvm < 0 || file < 0)
		die(kvm < 0 ? "/dev/kvm" : path);
	offset = read_front(file, &size);
	vm = CALL(kvm, KVM_CREATE_VM, 0);
	CALL(vm, KVM_ENABLE_CAP, &payload);
	CALL(vm, KVM_ENABLE_CAP, &triple);
	CALL(vm, KVM_SET_IDENTITY_MAP_ADDR, &identity_map);
	CALL(vm, KVM_SET_TSS_ADDR, TSS_ADDRESS);
	map_memory(vm, file, offset, size);
	CALL(vm, KVM_CREATE_IRQCHIP, 0);
	CALL(vm, KVM_CREATE_PIT2, &no_pit);
	vcpu = CALL(vm, KVM_CREATE_VCPU, 0);
	run_page = mmap(NULL, (size_t)CALL(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), PROT_READ | PROT_WRITE,
			MAP_SHARED, vcpu, 0);
	if (run_page == MAP_FAILED)
		die("run page");
	set_vm(vm);
	set_vcpu();
}

static void *run_vcpu(void *opaque)
{
	sem_wait(&go);
	for (;;) {
		if (ioctl(vcpu, KVM_RUN, 0) < 0)
			die("KVM_RUN");
		if (run_page->exit_reason != KVM_EXIT_IO) {
			fprintf(stderr, "clone_bare: exit reason %u\n", run_page->exit_reason);
			exit(EXIT_FAILURE);
		}
		if (run_page->io.port == PORT_SERIAL &&
		    write(STDOUT_FILENO, (char *)run_page + run_page->io.data_offset, 1) != 1)
			die("standard output");
	}
	return opaque;
}

static void say(int client, const char *text)
{
	if (write(client, text, strlen(text)) < 0)
		die("answer");
}

/* Requests come one at a time, and each in one piece. */
static void serve(int client)
{
	char request[4096];
	ssize_t len;

	say(client, "{\"QMP\": {}}\r\n");
	while ((len = read(client, request, sizeof(request) - 1)) > 0) {
		request[len] = '\0';
		if (strstr(request, "\"cont\""))
			sem_post(&go);
		say(client, strstr(request, "query-status") ?
		    "{\"return\": {\"status\": \"paused\"}}\r\n" : "{\"return\": {}}\r\n");
	}
	close(client);
}

int main(int argc, char **argv)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), client;
	pthread_t thread;

	if (argc != 3 || strlen(argv[2]) >= sizeof(address.sun_path)) {
		fprintf(stderr, "Usage: clone_bare FILE SOCKET\n");
		return 2;
	}
	strcpy(address.sun_path, argv[2]);
	new_vm(argv[1]);
	sem_init(&go, 0, 0);
	errno = pthread_create(&thread, NULL, run_vcpu, NULL);
	if (errno)
		die("thread");
	if (bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(listener, 1) < 0)
		die(argv[2]);
	while ((client = accept(listener, NULL, NULL)) >= 0)
		serve(client);
	die("accept");
}
