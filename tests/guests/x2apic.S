/* SPDX-License-Identifier: MIT */
/*
 * More vCPUs than 8 bits of APIC id can tell apart: each is started by an INIT and a SIPI to its
 * own 32-bit id, by way of the x2APIC's registers, and reports that the id is its own:
 *
 *	started COUNT
 *
 * A byte from the serial port, and each gets an interrupt, which it reports too:
 *
 *	woken COUNT
 *
 * Then the machine ends, with this count as its status.
 */
	.set BITS, 64
	.code64
	.include "guest.inc"

	.set MSR_APIC_BASE, 0x1b
	.set APIC_BASE_X2APIC, 0xc00    /* on, and in x2APIC mode */
	.set MSR_X2APIC_ID, 0x802
	.set MSR_X2APIC_EOI, 0x80b
	.set MSR_X2APIC_SPIV, 0x80f
	.set MSR_X2APIC_ICR, 0x830      /* the upper half: the id that it goes to */
	.set ICR_INIT, 0x4500
	.set ICR_STARTUP, 0x4600
	.set ICR_FIXED, 0x4000
	.set CPUID1_ECX_X2APIC, 1 << 21

	.set VECTOR_WAKE, 0x50
	.set VECTOR_SPURIOUS, 0xff

	/* High in conventional memory: loaders put their tables low. */
	.set AP_START, 0x90000
	.set AP_STACKS, 0x80000
	.set AP_STACK, 32
	.set MAX_CPUS, 1024

	.text
	.globl _start
_start:
	cli
	cld
	mov	$stack_top, %rsp
	serial_init
	print	"x2apic\n"
	mov	$1, %eax
	cpuid
	test	$CPUID1_ECX_X2APIC, %ecx
	check	nz, "no x2APIC"
	mov	$0xb, %eax              /* subleaf 1: so many processors are in this package */
	mov	$1, %ecx
	cpuid
	mov	%ebx, %ebp
	cmp	$1, %ebp
	check	a, "no other processors"
	cmp	$MAX_CPUS, %ebp
	check	be, "too many processors"
	mov	$MSR_APIC_BASE, %ecx
	rdmsr
	or	$APIC_BASE_X2APIC, %eax
	wrmsr
	mov	$MSR_X2APIC_ID, %ecx
	rdmsr
	test	%eax, %eax
	check	z, "id of the boot processor"

	mov	$ap_start, %esi
	mov	$AP_START, %edi
	mov	$ap_end - ap_start, %ecx
	rep movsb
	movw	$ap_interrupt - ap_start, VECTOR_WAKE * 4
	movw	$AP_START >> 4, VECTOR_WAKE * 4 + 2

	mov	$ICR_INIT, %eax
	call	send_all
	mov	$ICR_STARTUP | AP_START >> 12, %eax
	call	send_all
	mov	$ICR_STARTUP | AP_START >> 12, %eax
	call	send_all
	mov	$AP_START + started - ap_start, %edi
	call	await_all
	print	"started "
	mov	(%rdi), %eax
	call	putdec
	print	"\n"
	mov	$1, %ebx
1:	cmpb	$1, AP_START + seen - ap_start(%rbx)
	check	e, "a processor has not come, or twice"
	inc	%ebx
	cmp	%ebp, %ebx
	jb	1b

	call	getc
	mov	$ICR_FIXED | VECTOR_WAKE, %eax
	call	send_all
	mov	$AP_START + woken - ap_start, %edi
	call	await_all
	print	"woken "
	mov	(%rdi), %eax
	call	putdec
	print	"\n"
	out	%eax, $PORT_DEBUG_EXIT
1:	cli
	hlt
	jmp	1b

/* EAX to the interrupt command registers of all ids from 1 up to EBP.  Changes RBX, RCX, RDX. */
send_all:
	mov	$MSR_X2APIC_ICR, %ecx
	mov	$1, %edx
1:	wrmsr
	inc	%edx
	cmp	%ebp, %edx
	jb	1b
	ret

/* Until the count at RDI is that of all others.  Changes RAX. */
await_all:
	lea	-1(%rbp), %eax
1:	pause
	cmp	%eax, (%rdi)
	jb	1b
	ret

/* Copied to AP_START, and run there in real mode by all others at the same time. */
	.code16
ap_start:
	cli
	mov	%cs, %ax
	mov	%ax, %ds
	mov	$AP_STACKS >> 4, %ax
	mov	%ax, %ss
	mov	$MSR_APIC_BASE, %ecx
	rdmsr
	or	$APIC_BASE_X2APIC, %eax
	wrmsr
	mov	$MSR_X2APIC_ID, %ecx
	rdmsr
	cmp	$MAX_CPUS, %eax
	jae	2f
	mov	%ax, %bx
	mov	%ax, %sp
	inc	%sp
	imul	$AP_STACK, %sp, %sp
	mov	$MSR_X2APIC_SPIV, %ecx
	mov	$0x100 | VECTOR_SPURIOUS, %eax
	xor	%edx, %edx
	wrmsr
	lock incb seen - ap_start(%bx)
	lock incl started - ap_start
1:	sti
	hlt
	jmp	1b
2:	cli
	hlt
	jmp	2b

ap_interrupt:
	lock incl %cs:woken - ap_start
	mov	$MSR_X2APIC_EOI, %ecx
	xor	%eax, %eax
	xor	%edx, %edx
	wrmsr
	iret
	.balign	4
started:
	.long	0
woken:	.long	0
seen:	.skip	MAX_CPUS
ap_end:

	.bss
	.balign	16
	.skip	4096
stack_top:

	.code64
	.text
	serial_routines
