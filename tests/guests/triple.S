/* SPDX-License-Identifier: MIT */
/* A triple fault whenever a byte arrives on the serial port. */
	.include "long.inc"

	.text
main:	call	getc
	print	"byte\n"
	lidt	no_idt
	ud2

ap_main:
	ret

	.section .rodata
banner:	.asciz	"triple\n"
no_idt:	.word	0
	.quad	0
