/* SPDX-License-Identifier: MIT */
/*
 * Something KVM can not go on with, whenever a byte arrives on the serial port: it executes from
 * where there is neither memory nor a device.
 */
	.include "long.inc"

	.text
main:	call	getc
	print	"byte\n"
	mov	$UNCLAIMED_MMIO, %eax
	jmp	*%rax

ap_main:
	ret

	.section .rodata
banner:	.asciz	"internal-error\n"
