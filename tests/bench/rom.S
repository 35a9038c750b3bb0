/* SPDX-License-Identifier: MIT */
/*
 * The last 64 KiB below 4 GiB, for a machine that starts with firmware only: runs the image PAYLOAD
 * where it is, so that the same code runs as in a machine that loads an image.
 */
	.code16
	.globl _start
_start:
	.incbin	PAYLOAD

	.org	_start + 0xfff0         /* the reset vector */
	ljmp	$0xf000, $0
	.org	_start + 0xffff
	.byte	0
