/* SPDX-License-Identifier: MIT */
/*
 * A guest with a guest of its own: turns on SVM (AMD APM vol. 2, chapter 15) and runs an inner
 * guest that counts.  The inner one spends nearly all of the time, without an exit, and then asks
 * the outer one, by CPUID, for numbers that it checks, and tells it by OUT how far it has come,
 * which the outer one prints:
 *
 *	step N CRC
 *
 * The CRC is of a sequence that any host can compute again.  The two differ in all that a world
 * switch replaces: registers, control registers, descriptor tables, FS and GS, and where the inner
 * one's memory at INNER_DATA is: by nested paging where there is that, else by its own tables.
 * Each checks at every exit and entry that it has what is its own.  No interrupt comes to either.
 */
	.include "long.inc"

.ifndef SPIN
	.set SPIN, 1 << 24
.endif
	.set MSR_VM_CR, 0xc0010114
	.set MSR_VM_HSAVE_PA, 0xc0010117
	.set MSR_KERNEL_GS_BASE, 0xc0000102
	.set EFER_SVME, 1 << 12
	.set EFER_INNER, EFER_LME | EFER_LMA | EFER_SVME
	.set CR4_OSXMMEXCPT, 1 << 10
	.set CR4_INNER, CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT

	.set INNER_DATA, 48 << 20       /* where the inner guest sees it */
	.set INNER_DATA_REALLY, 32 << 20
	.set PORT_STEP, 0x500
	.set CPUID_LEAF, 0x7d1ce000     /* the step is added */

	/* Offsets in a VMCB: APM vol. 2, appendix B. */
	.set VMCB_INTERCEPT3, 0x00c
	.set VMCB_INTERCEPT4, 0x010
	.set VMCB_IOPM, 0x040
	.set VMCB_MSRPM, 0x048
	.set VMCB_ASID, 0x058
	.set VMCB_EXITCODE, 0x070
	.set VMCB_EXITINFO1, 0x078
	.set VMCB_EXITINFO2, 0x080
	.set VMCB_NP_ENABLE, 0x090
	.set VMCB_N_CR3, 0x0b0
	.set VMCB_ES, 0x400
	.set VMCB_CS, 0x410
	.set VMCB_SS, 0x420
	.set VMCB_DS, 0x430
	.set VMCB_FS, 0x440
	.set VMCB_GS, 0x450
	.set VMCB_GDTR, 0x460
	.set VMCB_IDTR, 0x480
	.set VMCB_EFER, 0x4d0
	.set VMCB_CR4, 0x548
	.set VMCB_CR3, 0x550
	.set VMCB_CR0, 0x558
	.set VMCB_DR7, 0x560
	.set VMCB_DR6, 0x568
	.set VMCB_RFLAGS, 0x570
	.set VMCB_RIP, 0x578
	.set VMCB_RSP, 0x5d8
	.set VMCB_RAX, 0x5f8
	.set VMCB_KERNEL_GS_BASE, 0x620
	.set VMCB_PAT, 0x668
	.set INTERCEPT3_CPUID_HLT_IOIO_SHUTDOWN, 1 << 18 | 1 << 24 | 1 << 27 | 1 << 31
	.set INTERCEPT4_VMRUN_VMMCALL, 1 << 0 | 1 << 1
	.set EXIT_CPUID, 0x72
	.set EXIT_IOIO, 0x7b
	.set EXIT_VMMCALL, 0x81

	.set OUTER_KGS, 0x1111
	.set INNER_KGS, 0x2222
	.set INNER_FS, INNER_DATA + 0x1000
	.set INNER_GS, INNER_DATA + 0x2000

	.text
main:	outb_imm 0xff, (PORT_PIC1 + 1)
	mov	$0x80000001, %eax
	cpuid
	test	$4, %ecx
	jnz	1f
	print	"none\n"
	debug_exit 7
1:	mov	$0x8000000a, %eax
	cpuid
	and	$1, %edx
	mov	%edx, nested_paging
	mov	$MSR_EFER, %ecx
	rdmsr
	or	$EFER_SVME, %eax
	wrmsr
	mov	$MSR_VM_HSAVE_PA, %ecx
	mov	$host_save, %eax
	xor	%edx, %edx
	wrmsr
	mov	$MSR_KERNEL_GS_BASE, %ecx
	mov	$OUTER_KGS, %eax
	wrmsr

	/* The inner guest's view of the first GiB: as it is, but for INNER_DATA. */
	mov	$inner_directory, %edi
	mov	$PTE_LARGE | 4, %eax    /* for nested paging all accesses are those of a user */
1:	mov	%rax, (%rdi)
	add	$8, %rdi
	add	$0x200000, %rax
	bt	$30, %rax
	jnc	1b
	movq	$INNER_DATA_REALLY | PTE_LARGE | 4, inner_directory + INNER_DATA / 0x200000 * 8
	movq	$inner_directory + 7, inner_pdpt
	movq	$inner_pdpt + 7, inner_pml4

	mov	$vmcb, %ebx
	movl	$INTERCEPT3_CPUID_HLT_IOIO_SHUTDOWN, VMCB_INTERCEPT3(%rbx)
	movl	$INTERCEPT4_VMRUN_VMMCALL, VMCB_INTERCEPT4(%rbx)
	movq	$io_map, VMCB_IOPM(%rbx)
	movq	$msr_map, VMCB_MSRPM(%rbx)
	movl	$1, VMCB_ASID(%rbx)
	mov	$-1, %rax
	mov	$io_map, %edi
	mov	$3 * 4096 / 8, %ecx
	rep stosq
	movl	$0x0a9b0008, VMCB_CS(%rbx)      /* attributes and selector */
	movl	$-1, VMCB_CS + 4(%rbx)
	mov	$VMCB_ES, %eax
	call	data_segment
	mov	$VMCB_SS, %eax
	call	data_segment
	mov	$VMCB_DS, %eax
	call	data_segment
	movq	$inner_pml4, VMCB_CR3(%rbx)
	cmpl	$0, nested_paging
	je	1f
	movq	$1, VMCB_NP_ENABLE(%rbx)
	movq	$inner_pml4, VMCB_N_CR3(%rbx)
	movq	$outer_copy, VMCB_CR3(%rbx)     /* not the outer one's own, but the same */
	mov	pml4, %rax
	mov	%rax, outer_copy
1:	movl	$inner_gdt_end - inner_gdt - 1, VMCB_GDTR + 4(%rbx)
	movq	$inner_gdt, VMCB_GDTR + 8(%rbx)
	movl	$0x7f, VMCB_IDTR + 4(%rbx)
	movq	$idt, VMCB_IDTR + 8(%rbx)
	movq	$EFER_INNER, VMCB_EFER(%rbx)
	movq	$CR4_INNER, VMCB_CR4(%rbx)
	mov	%cr0, %rax
	mov	%rax, VMCB_CR0(%rbx)
	movq	$0x400, VMCB_DR7(%rbx)
	movl	$0xffff0ff0, VMCB_DR6(%rbx)
	movq	$2, VMCB_RFLAGS(%rbx)
	movq	$inner, VMCB_RIP(%rbx)
	movq	$inner_stack_top, VMCB_RSP(%rbx)
	mov	$0x0007040600070406, %rax
	mov	%rax, VMCB_PAT(%rbx)

	/* What VMLOAD loads: a copy of the outer one's, with other bases. */
	mov	$outer_vmcb, %eax
	vmsave	%rax
	mov	$vmcb, %eax
	vmsave	%rax
	movq	$INNER_FS, VMCB_FS + 8(%rbx)
	movq	$INNER_GS, VMCB_GS + 8(%rbx)
	movq	$INNER_KGS, VMCB_KERNEL_GS_BASE(%rbx)
	movq	$INNER_FS, INNER_DATA_REALLY + 0x1000
	movq	$INNER_GS, INNER_DATA_REALLY + 0x2000

	print	"nested paging "
	mov	nested_paging, %eax
	call	putdec
	print	"\n"

again:	mov	%rsp, outer_rsp
	call	enter
	call	check_outer
	mov	$vmcb, %ebx
	mov	VMCB_EXITCODE(%rbx), %rax
	cmp	$EXIT_CPUID, %rax
	je	exit_cpuid
	cmp	$EXIT_IOIO, %rax
	je	exit_io
	cmp	$EXIT_VMMCALL, %rax
	jne	1f
	print	"FAIL inner "
	mov	inner_rsi, %rsi
	call	puts
	print	"\n"
	debug_exit 3
1:	print	"FAIL exit code "
	call	puthex
	print	" at "
	mov	VMCB_RIP(%rbx), %rax
	call	puthex
	print	"\n"
	debug_exit 4

/* A data segment, at offset RAX. */
data_segment:
	movl	$0x0c930010, (%rbx, %rax)
	movl	$-1, 4(%rbx, %rax)
	ret

/* The leaf must be that of the step after the last; the answer is made of it. */
exit_cpuid:
	mov	steps, %rcx
	lea	CPUID_LEAF + 1(%rcx), %eax
	cmp	%rax, VMCB_RAX(%rbx)
	check	e, "cpuid leaf"
	addq	$2, VMCB_RIP(%rbx)
	not	%eax
	mov	%rax, VMCB_RAX(%rbx)
	rol	$1, %eax
	mov	%rax, inner_rbx
	rol	$1, %eax
	mov	%rax, inner_rcx
	rol	$1, %eax
	mov	%rax, inner_rdx
	stgi                            /* now and then, for a moment */
	jmp	again

/* A step is done: its number in R15, and the CRC in R14. */
exit_io:
	mov	VMCB_EXITINFO1(%rbx), %rax
	shr	$16, %rax
	cmp	$PORT_STEP, %eax
	check	e, "port"
	mov	VMCB_EXITINFO2(%rbx), %rax      /* where it goes on */
	mov	%rax, VMCB_RIP(%rbx)
	incq	steps
	mov	steps, %rax
	cmp	%rax, inner_r15
	check	e, "inner r15"
	cmp	%rax, INNER_DATA_REALLY
	check	e, "inner memory"
	print	"step "
	call	putdec
	mov	$' ', %al
	call	putc
	mov	inner_r14, %rax
	call	puthex
	print	"\n"
	jmp	again

/* Runs the inner guest until it exits.  All registers but RSP are changed. */
enter:	mov	$vmcb, %eax
	mov	inner_rbx, %rbx
	mov	inner_rcx, %rcx
	mov	inner_rdx, %rdx
	mov	inner_rsi, %rsi
	mov	inner_rdi, %rdi
	mov	inner_rbp, %rbp
	mov	inner_r8, %r8
	mov	inner_r9, %r9
	mov	inner_r10, %r10
	mov	inner_r11, %r11
	mov	inner_r12, %r12
	mov	inner_r13, %r13
	mov	inner_r14, %r14
	mov	inner_r15, %r15
	vmload	%rax
	vmrun	%rax
	vmsave	%rax
	mov	%rax, rax_at_exit
	mov	%rbx, inner_rbx
	mov	%rcx, inner_rcx
	mov	%rdx, inner_rdx
	mov	%rsi, inner_rsi
	mov	%rdi, inner_rdi
	mov	%rbp, inner_rbp
	mov	%r8, inner_r8
	mov	%r9, inner_r9
	mov	%r10, inner_r10
	mov	%r11, inner_r11
	mov	%r12, inner_r12
	mov	%r13, inner_r13
	mov	%r14, inner_r14
	mov	%r15, inner_r15
	mov	$outer_vmcb, %eax
	vmload	%rax
	ret

/* Everything that VMRUN has saved and the exit has brought back. */
check_outer:
	cmpq	$vmcb, rax_at_exit
	check	e, "rax"
	lea	8(%rsp), %rax
	cmp	%rax, outer_rsp
	check	e, "rsp"
	mov	%cr3, %rax
	cmp	$pml4, %rax
	check	e, "cr3"
	mov	%cr4, %rax
	cmp	$CR4_PAE | CR4_OSFXSR, %rax
	check	e, "cr4"
	mov	$MSR_EFER, %ecx
	rdmsr
	cmp	$EFER_INNER, %eax
	check	e, "efer"
	sgdt	scratch
	cmpq	$gdt, scratch + 2
	check	e, "gdt"
	sidt	scratch
	cmpw	$NR_VECTORS * 16 - 1, scratch
	check	e, "idt"
	mov	$MSR_KERNEL_GS_BASE, %ecx
	rdmsr
	cmp	$OUTER_KGS, %eax
	check	e, "kernel_gs_base"
	mov	$MSR_VM_HSAVE_PA, %ecx
	rdmsr
	cmp	$host_save, %eax
	check	e, "vm_hsave_pa"
	mov	%ds, %eax
	cmp	$16, %eax
	check	e, "ds"
	ret

/* ---- The inner guest ---- */

/* Says what is wrong, unless the flags say `cond`. */
	.macro inner_check cond, text
	.pushsection .rodata.print, "a"
7773:	.asciz	"\text"
	.popsection
	j\cond	7774f
	mov	$7773b, %rsi
	vmmcall
7774:
	.endm

inner:	sequence_begin

inner_step:
	sequence_step inner_words
	mov	%r15, INNER_DATA

	lea	CPUID_LEAF(%r15), %eax
	mov	$-1, %rcx
	cpuid
	lea	CPUID_LEAF(%r15), %esi
	not	%esi
	cmp	%rsi, %rax
	inner_check e, "eax of cpuid"
	rol	$1, %esi
	cmp	%rsi, %rbx
	inner_check e, "ebx of cpuid"
	rol	$1, %esi
	cmp	%rsi, %rcx
	inner_check e, "ecx of cpuid"
	rol	$1, %esi
	cmp	%rsi, %rdx
	inner_check e, "edx of cpuid"

	/* Most of the time goes here, with registers that are worth something. */
	mov	%r14, inner_hidden
	mov	%r13, inner_hidden + 8
	movdqu	inner_hidden, %xmm7
	mov	%r15, %rax
	shl	$12, %rax
	mov	%rax, %cr2
	mov	%r15, %r8
	not	%r8
	mov	%r13, %r9
	mov	%r14, %r10
	mov	$0x5ca1ab1e, %ebp
	mov	$SPIN, %ecx
	xor	%ebx, %ebx
1:	add	%r15, %rbx
	dec	%rcx
	jnz	1b
	mov	%r15, %rax
	imul	$SPIN, %rax
	cmp	%rax, %rbx
	inner_check e, "sum"
	cmp	$0x5ca1ab1e, %rbp
	inner_check e, "rbp"
	mov	%r15, %rax
	not	%rax
	cmp	%rax, %r8
	inner_check e, "r8"
	cmp	%r13, %r9
	inner_check e, "r9"
	cmp	%r14, %r10
	inner_check e, "r10"
	movdqu	%xmm7, inner_hidden
	cmp	%r14, inner_hidden
	inner_check e, "xmm7"
	mov	%cr2, %rax
	shr	$12, %rax
	cmp	%r15, %rax
	inner_check e, "cr2"
	mov	%cr4, %rax
	cmp	$CR4_INNER, %rax
	inner_check e, "cr4"
	mov	%cr3, %rax
	cmp	%rax, vmcb + VMCB_CR3
	inner_check e, "cr3"
	cmp	$inner_stack_top, %rsp
	inner_check e, "rsp"
	sgdt	inner_hidden
	cmpq	$inner_gdt, inner_hidden + 2
	inner_check e, "gdt"
	sidt	inner_hidden
	cmpw	$0x7f, inner_hidden
	inner_check e, "idt"
	mov	$INNER_FS, %eax
	cmp	%rax, %fs:0
	inner_check e, "fs"
	mov	$INNER_GS, %eax
	cmp	%rax, %gs:0
	inner_check e, "gs"
	mov	$MSR_KERNEL_GS_BASE, %ecx
	rdmsr
	cmp	$INNER_KGS, %eax
	inner_check e, "kernel_gs_base"
	cmp	%r15, INNER_DATA
	inner_check e, "memory"

	mov	$PORT_STEP, %edx
	out	%al, %dx
	jmp	inner_step

ap_main:
	cli
	hlt
	jmp	ap_main

	.section .rodata
banner:	.asciz	"svm\n"

	.data
	.balign	8
inner_gdt:
	.quad	0
	.quad	0x00af9b000000ffff
	.quad	0x00cf93000000ffff
	.quad	0                       /* so that it is longer than the outer one's */
inner_gdt_end:

	.bss
	.balign	4096
vmcb:	.skip	4096
outer_vmcb:
	.skip	4096
host_save:
	.skip	4096
io_map:	.skip	3 * 4096
msr_map:
	.skip	2 * 4096
inner_pml4:
	.skip	4096
inner_pdpt:
	.skip	4096
inner_directory:
	.skip	4096
outer_copy:
	.skip	4096
	.skip	1024
inner_stack_top:
inner_words:
	.skip	WORDS * 8
inner_hidden:
	.skip	16
inner_rbx: .skip 8
inner_rcx: .skip 8
inner_rdx: .skip 8
inner_rsi: .skip 8
inner_rdi: .skip 8
inner_rbp: .skip 8
inner_r8: .skip	8
inner_r9: .skip	8
inner_r10: .skip 8
inner_r11: .skip 8
inner_r12: .skip 8
inner_r13: .skip 8
inner_r14: .skip 8
inner_r15: .skip 8
outer_rsp:
	.skip	8
rax_at_exit:
	.skip	8
steps:	.skip	8
nested_paging:
	.skip	8
scratch:
	.skip	16
