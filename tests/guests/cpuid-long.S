/* SPDX-License-Identifier: MIT */
/*
 * What a guest in long mode sees of the processor, on each of its vCPUs, one after the other:
 *
 *	cpu APIC-ID
 *
 * as the local APIC has it, and then the lines of cpuid.inc.  After "end" comes the next.
 */
	.include "long.inc"
	.include "cpuid.inc"

	.set LAPIC_ID, LAPIC + 0x20

	.text
main:	xor	%ebx, %ebx
	jmp	report
ap_main:
	call	lapic_timer_start
1:	cmp	turn, %ebx
	je	report
	sti
	hlt
	cli
	jmp	1b
report:	print	"cpu "
	mov	$LAPIC_ID, %eax
	mov	(%rax), %eax
	shr	$24, %eax
	call	puthex
	print	"\n"
	call	cpuid_report
	print	"end\n"
	incl	turn
1:	hlt
	jmp	1b

	cpuid_routines

	.section .rodata
banner:	.asciz	"long\n"

	.bss
	.balign	4
turn:	.skip	4                       /* how many have reported */
