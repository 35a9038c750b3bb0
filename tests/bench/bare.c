/* SPDX-License-Identifier: MIT */
/*
 * What a machine costs that nothing is done for: `bare IMAGE [CPUS [MIB]]` runs a flat 16-bit image
 * with the calls that no program can do without, writes what the guest sends to port 0x3f8 to
 * standard output, and ends when it writes to port 0xf4.  The yardstick of the benchmark.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kvm_calls.h"

#define PORT_SERIAL     0x3f8
#define PORT_DEBUG_EXIT 0xf4
#define IMAGE_START     0x7c00UL
#define TSS_ADDRESS     0xfffbd000UL    /* Intel processors need it: api.rst, KVM_SET_TSS_ADDR */

static size_t run_size;

static void load(const char *path, char *memory, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || size <= IMAGE_START || read(fd, memory + IMAGE_START, size - IMAGE_START) <= 0)
		die(path);
	close(fd);
}

static int new_vm(int kvm, const char *image, size_t size)
{
	struct kvm_pit_config pit = { 0 };
	struct kvm_userspace_memory_region region = { .memory_size = size };
	int vm = CALL(kvm, KVM_CREATE_VM, 0);
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		die("guest memory");
	load(image, memory, size);
	region.userspace_addr = (unsigned long)memory;
	CALL(vm, KVM_SET_TSS_ADDR, TSS_ADDRESS);
	CALL(vm, KVM_SET_USER_MEMORY_REGION, &region);
	CALL(vm, KVM_CREATE_IRQCHIP, 0);
	CALL(vm, KVM_CREATE_PIT2, &pit);
	return vm;
}

static void start_at_image(int cpu)
{
	struct kvm_sregs sregs;
	struct kvm_regs regs = { .rip = IMAGE_START, .rflags = 2 };

	CALL(cpu, KVM_GET_SREGS, &sregs);
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	CALL(cpu, KVM_SET_SREGS, &sregs);
	CALL(cpu, KVM_SET_REGS, &regs);
}

static void *run_cpu(void *opaque)
{
	int cpu = (int)(long)opaque;
	struct kvm_run *run = mmap(NULL, run_size, PROT_READ | PROT_WRITE, MAP_SHARED, cpu, 0);

	if (run == MAP_FAILED)
		die("run page");
	for (;;) {
		/* EAGAIN: a processor that waited for its INIT has got it. */
		if (ioctl(cpu, KVM_RUN, 0) < 0) {
			if (errno == EINTR || errno == EAGAIN)
				continue;
			die("KVM_RUN");
		}
		if (run->exit_reason != KVM_EXIT_IO) {
			fprintf(stderr, "bare: exit reason %u\n", run->exit_reason);
			exit(EXIT_FAILURE);
		}
		if (run->io.port == PORT_DEBUG_EXIT)
			exit(EXIT_SUCCESS);
		if (run->io.port == PORT_SERIAL &&
		    write(STDOUT_FILENO, (char *)run + run->io.data_offset, 1) != 1)
			die("standard output");
	}
	return NULL;
}

int main(int argc, char **argv)
{
	long cpus = argc > 2 ? atol(argv[2]) : 1, mib = argc > 3 ? atol(argv[3]) : 128;
	int kvm, vm, boot_cpu;

	if (argc < 2 || argc > 4 || cpus < 1 || mib < 1) {
		fprintf(stderr, "Usage: bare IMAGE [CPUS [MIB]]\n");
		return 2;
	}
	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm < 0)
		die("/dev/kvm");
	vm = new_vm(kvm, argv[1], (size_t)mib << 20);
	run_size = (size_t)CALL(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	boot_cpu = CALL(vm, KVM_CREATE_VCPU, 0);
	start_at_image(boot_cpu);
	for (long i = 1; i < cpus; i++) {
		pthread_t thread;

		errno = pthread_create(&thread, NULL, run_cpu,
				       (void *)(long)CALL(vm, KVM_CREATE_VCPU, i));
		if (errno)
			die("thread");
	}
	run_cpu((void *)(long)boot_cpu);
	return 0;
}
