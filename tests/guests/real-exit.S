/* SPDX-License-Identifier: MIT */
/* Ends the machine at once through the debug exit port, with status 21. */
	.set BITS, 16
	.code16
	.include "guest.inc"
	.globl _start
_start:
	debug_exit 21
