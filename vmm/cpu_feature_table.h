/* SPDX-License-Identifier: MIT */
#ifndef VMM_CPU_FEATURE_TABLE_H
#define VMM_CPU_FEATURE_TABLE_H

/*
 * The registers of CPUID each bit of which is a feature, and the features: data for cpu_features.h.
 *
 * Sources: Intel SDM vol. 2A, CPUID, and the Instruction Set Extensions reference; AMD APM vol. 3,
 * appendix E; Documentation/virt/kvm/x86/cpuid.rst.  Names are those of QEMU where it has one.
 */

/* X(identifier, leaf, subleaf, register) */
#define CPU_WORD_TABLE(X) \
	X(1_ECX,        0x00000001, 0, ECX) \
	X(1_EDX,        0x00000001, 0, EDX) \
	X(6_EAX,        0x00000006, 0, EAX) \
	X(7_0_EBX,      0x00000007, 0, EBX) \
	X(7_0_ECX,      0x00000007, 0, ECX) \
	X(7_0_EDX,      0x00000007, 0, EDX) \
	X(7_1_EAX,      0x00000007, 1, EAX) \
	X(7_1_EDX,      0x00000007, 1, EDX) \
	X(7_2_EDX,      0x00000007, 2, EDX) \
	X(D_1_EAX,      0x0000000d, 1, EAX) \
	X(14_0_ECX,     0x00000014, 0, ECX) \
	X(40000001_EAX, 0x40000001, 0, EAX) \
	X(40000001_EDX, 0x40000001, 0, EDX) \
	X(80000001_ECX, 0x80000001, 0, ECX) \
	X(80000001_EDX, 0x80000001, 0, EDX) \
	X(80000007_EDX, 0x80000007, 0, EDX) \
	X(80000008_EBX, 0x80000008, 0, EBX) \
	X(8000000A_EDX, 0x8000000a, 0, EDX) \
	X(80000021_EAX, 0x80000021, 0, EAX)

/*
 * X(identifier, name, word, bits).  Bits that belong to the machine and not to the processor have no
 * name: OSXSAVE and OSPKE, which the guest's operating system switches.  Leaf 0x80000001 EDX repeats
 * bits of leaf 1 EDX on AMD's processors; they have no names of their own there.
 */
#define CPU_FEATURE_TABLE(X) \
	X(PNI, "pni", 1_ECX, 1U << 0) \
	X(PCLMULQDQ, "pclmulqdq", 1_ECX, 1U << 1) \
	X(DTES64, "dtes64", 1_ECX, 1U << 2) \
	X(MONITOR, "monitor", 1_ECX, 1U << 3) \
	X(DS_CPL, "ds-cpl", 1_ECX, 1U << 4) \
	X(VMX, "vmx", 1_ECX, 1U << 5) \
	X(SMX, "smx", 1_ECX, 1U << 6) \
	X(EST, "est", 1_ECX, 1U << 7) \
	X(TM2, "tm2", 1_ECX, 1U << 8) \
	X(SSSE3, "ssse3", 1_ECX, 1U << 9) \
	X(CID, "cid", 1_ECX, 1U << 10) \
	X(FMA, "fma", 1_ECX, 1U << 12) \
	X(CX16, "cx16", 1_ECX, 1U << 13) \
	X(XTPR, "xtpr", 1_ECX, 1U << 14) \
	X(PDCM, "pdcm", 1_ECX, 1U << 15) \
	X(PCID, "pcid", 1_ECX, 1U << 17) \
	X(DCA, "dca", 1_ECX, 1U << 18) \
	X(SSE4_1, "sse4.1", 1_ECX, 1U << 19) \
	X(SSE4_2, "sse4.2", 1_ECX, 1U << 20) \
	X(X2APIC, "x2apic", 1_ECX, 1U << 21) \
	X(MOVBE, "movbe", 1_ECX, 1U << 22) \
	X(POPCNT, "popcnt", 1_ECX, 1U << 23) \
	X(TSC_DEADLINE, "tsc-deadline", 1_ECX, 1U << 24) \
	X(AES, "aes", 1_ECX, 1U << 25) \
	X(XSAVE, "xsave", 1_ECX, 1U << 26) \
	X(AVX, "avx", 1_ECX, 1U << 28) \
	X(F16C, "f16c", 1_ECX, 1U << 29) \
	X(RDRAND, "rdrand", 1_ECX, 1U << 30) \
	X(HYPERVISOR, "hypervisor", 1_ECX, 1U << 31) \
	\
	X(FPU, "fpu", 1_EDX, 1U << 0) \
	X(VME, "vme", 1_EDX, 1U << 1) \
	X(DE, "de", 1_EDX, 1U << 2) \
	X(PSE, "pse", 1_EDX, 1U << 3) \
	X(TSC, "tsc", 1_EDX, 1U << 4) \
	X(MSR, "msr", 1_EDX, 1U << 5) \
	X(PAE, "pae", 1_EDX, 1U << 6) \
	X(MCE, "mce", 1_EDX, 1U << 7) \
	X(CX8, "cx8", 1_EDX, 1U << 8) \
	X(APIC, "apic", 1_EDX, 1U << 9) \
	X(SEP, "sep", 1_EDX, 1U << 11) \
	X(MTRR, "mtrr", 1_EDX, 1U << 12) \
	X(PGE, "pge", 1_EDX, 1U << 13) \
	X(MCA, "mca", 1_EDX, 1U << 14) \
	X(CMOV, "cmov", 1_EDX, 1U << 15) \
	X(PAT, "pat", 1_EDX, 1U << 16) \
	X(PSE36, "pse36", 1_EDX, 1U << 17) \
	X(PN, "pn", 1_EDX, 1U << 18) \
	X(CLFLUSH, "clflush", 1_EDX, 1U << 19) \
	X(DS, "ds", 1_EDX, 1U << 21) \
	X(ACPI, "acpi", 1_EDX, 1U << 22) \
	X(MMX, "mmx", 1_EDX, 1U << 23) \
	X(FXSR, "fxsr", 1_EDX, 1U << 24) \
	X(SSE, "sse", 1_EDX, 1U << 25) \
	X(SSE2, "sse2", 1_EDX, 1U << 26) \
	X(SS, "ss", 1_EDX, 1U << 27) \
	X(HT, "ht", 1_EDX, 1U << 28) \
	X(TM, "tm", 1_EDX, 1U << 29) \
	X(IA64, "ia64", 1_EDX, 1U << 30) \
	X(PBE, "pbe", 1_EDX, 1U << 31) \
	\
	X(ARAT, "arat", 6_EAX, 1U << 2) \
	\
	X(FSGSBASE, "fsgsbase", 7_0_EBX, 1U << 0) \
	X(TSC_ADJUST, "tsc-adjust", 7_0_EBX, 1U << 1) \
	X(SGX, "sgx", 7_0_EBX, 1U << 2) \
	X(BMI1, "bmi1", 7_0_EBX, 1U << 3) \
	X(HLE, "hle", 7_0_EBX, 1U << 4) \
	X(AVX2, "avx2", 7_0_EBX, 1U << 5) \
	X(FDP_EXCPTN_ONLY, "fdp-excptn-only", 7_0_EBX, 1U << 6) \
	X(SMEP, "smep", 7_0_EBX, 1U << 7) \
	X(BMI2, "bmi2", 7_0_EBX, 1U << 8) \
	X(ERMS, "erms", 7_0_EBX, 1U << 9) \
	X(INVPCID, "invpcid", 7_0_EBX, 1U << 10) \
	X(RTM, "rtm", 7_0_EBX, 1U << 11) \
	X(CQM, "cqm", 7_0_EBX, 1U << 12) \
	X(ZERO_FCS_FDS, "zero-fcs-fds", 7_0_EBX, 1U << 13) \
	X(MPX, "mpx", 7_0_EBX, 1U << 14) \
	X(RDT_A, "rdt-a", 7_0_EBX, 1U << 15) \
	X(AVX512F, "avx512f", 7_0_EBX, 1U << 16) \
	X(AVX512DQ, "avx512dq", 7_0_EBX, 1U << 17) \
	X(RDSEED, "rdseed", 7_0_EBX, 1U << 18) \
	X(ADX, "adx", 7_0_EBX, 1U << 19) \
	X(SMAP, "smap", 7_0_EBX, 1U << 20) \
	X(AVX512IFMA, "avx512ifma", 7_0_EBX, 1U << 21) \
	X(PCOMMIT, "pcommit", 7_0_EBX, 1U << 22) \
	X(CLFLUSHOPT, "clflushopt", 7_0_EBX, 1U << 23) \
	X(CLWB, "clwb", 7_0_EBX, 1U << 24) \
	X(INTEL_PT, "intel-pt", 7_0_EBX, 1U << 25) \
	X(AVX512PF, "avx512pf", 7_0_EBX, 1U << 26) \
	X(AVX512ER, "avx512er", 7_0_EBX, 1U << 27) \
	X(AVX512CD, "avx512cd", 7_0_EBX, 1U << 28) \
	X(SHA_NI, "sha-ni", 7_0_EBX, 1U << 29) \
	X(AVX512BW, "avx512bw", 7_0_EBX, 1U << 30) \
	X(AVX512VL, "avx512vl", 7_0_EBX, 1U << 31) \
	\
	X(PREFETCHWT1, "prefetchwt1", 7_0_ECX, 1U << 0) \
	X(AVX512VBMI, "avx512vbmi", 7_0_ECX, 1U << 1) \
	X(UMIP, "umip", 7_0_ECX, 1U << 2) \
	X(PKU, "pku", 7_0_ECX, 1U << 3) \
	X(WAITPKG, "waitpkg", 7_0_ECX, 1U << 5) \
	X(AVX512VBMI2, "avx512vbmi2", 7_0_ECX, 1U << 6) \
	X(SHSTK, "shstk", 7_0_ECX, 1U << 7) \
	X(GFNI, "gfni", 7_0_ECX, 1U << 8) \
	X(VAES, "vaes", 7_0_ECX, 1U << 9) \
	X(VPCLMULQDQ, "vpclmulqdq", 7_0_ECX, 1U << 10) \
	X(AVX512VNNI, "avx512vnni", 7_0_ECX, 1U << 11) \
	X(AVX512BITALG, "avx512bitalg", 7_0_ECX, 1U << 12) \
	X(TME, "tme", 7_0_ECX, 1U << 13) \
	X(AVX512_VPOPCNTDQ, "avx512-vpopcntdq", 7_0_ECX, 1U << 14) \
	X(LA57, "la57", 7_0_ECX, 1U << 16) \
	X(RDPID, "rdpid", 7_0_ECX, 1U << 22) \
	X(KL, "kl", 7_0_ECX, 1U << 23) \
	X(BUS_LOCK_DETECT, "bus-lock-detect", 7_0_ECX, 1U << 24) \
	X(CLDEMOTE, "cldemote", 7_0_ECX, 1U << 25) \
	X(MOVDIRI, "movdiri", 7_0_ECX, 1U << 27) \
	X(MOVDIR64B, "movdir64b", 7_0_ECX, 1U << 28) \
	X(ENQCMD, "enqcmd", 7_0_ECX, 1U << 29) \
	X(SGXLC, "sgxlc", 7_0_ECX, 1U << 30) \
	X(PKS, "pks", 7_0_ECX, 1U << 31) \
	\
	X(SGX_KEYS, "sgx-keys", 7_0_EDX, 1U << 1) \
	X(AVX512_4VNNIW, "avx512-4vnniw", 7_0_EDX, 1U << 2) \
	X(AVX512_4FMAPS, "avx512-4fmaps", 7_0_EDX, 1U << 3) \
	X(FSRM, "fsrm", 7_0_EDX, 1U << 4) \
	X(UINTR, "uintr", 7_0_EDX, 1U << 5) \
	X(AVX512_VP2INTERSECT, "avx512-vp2intersect", 7_0_EDX, 1U << 8) \
	X(SRBDS_CTRL, "srbds-ctrl", 7_0_EDX, 1U << 9) \
	X(MD_CLEAR, "md-clear", 7_0_EDX, 1U << 10) \
	X(RTM_ALWAYS_ABORT, "rtm-always-abort", 7_0_EDX, 1U << 11) \
	X(RTM_FORCE_ABORT, "rtm-force-abort", 7_0_EDX, 1U << 13) \
	X(SERIALIZE, "serialize", 7_0_EDX, 1U << 14) \
	X(HYBRID, "hybrid", 7_0_EDX, 1U << 15) \
	X(TSX_LDTRK, "tsx-ldtrk", 7_0_EDX, 1U << 16) \
	X(PCONFIG, "pconfig", 7_0_EDX, 1U << 18) \
	X(ARCH_LBR, "arch-lbr", 7_0_EDX, 1U << 19) \
	X(IBT, "ibt", 7_0_EDX, 1U << 20) \
	X(AMX_BF16, "amx-bf16", 7_0_EDX, 1U << 22) \
	X(AVX512_FP16, "avx512-fp16", 7_0_EDX, 1U << 23) \
	X(AMX_TILE, "amx-tile", 7_0_EDX, 1U << 24) \
	X(AMX_INT8, "amx-int8", 7_0_EDX, 1U << 25) \
	X(SPEC_CTRL, "spec-ctrl", 7_0_EDX, 1U << 26) \
	X(STIBP, "stibp", 7_0_EDX, 1U << 27) \
	X(FLUSH_L1D, "flush-l1d", 7_0_EDX, 1U << 28) \
	X(ARCH_CAPABILITIES, "arch-capabilities", 7_0_EDX, 1U << 29) \
	X(CORE_CAPABILITY, "core-capability", 7_0_EDX, 1U << 30) \
	X(SSBD, "ssbd", 7_0_EDX, 1U << 31) \
	\
	X(SHA512, "sha512", 7_1_EAX, 1U << 0) \
	X(SM3, "sm3", 7_1_EAX, 1U << 1) \
	X(SM4, "sm4", 7_1_EAX, 1U << 2) \
	X(AVX_VNNI, "avx-vnni", 7_1_EAX, 1U << 4) \
	X(AVX512_BF16, "avx512-bf16", 7_1_EAX, 1U << 5) \
	X(LASS, "lass", 7_1_EAX, 1U << 6) \
	X(CMPCCXADD, "cmpccxadd", 7_1_EAX, 1U << 7) \
	X(FZRM, "fzrm", 7_1_EAX, 1U << 10) \
	X(FSRS, "fsrs", 7_1_EAX, 1U << 11) \
	X(FSRC, "fsrc", 7_1_EAX, 1U << 12) \
	X(FRED, "fred", 7_1_EAX, 1U << 17) \
	X(LKGS, "lkgs", 7_1_EAX, 1U << 18) \
	X(WRMSRNS, "wrmsrns", 7_1_EAX, 1U << 19) \
	X(AMX_FP16, "amx-fp16", 7_1_EAX, 1U << 21) \
	X(HRESET, "hreset", 7_1_EAX, 1U << 22) \
	X(AVX_IFMA, "avx-ifma", 7_1_EAX, 1U << 23) \
	X(LAM, "lam", 7_1_EAX, 1U << 26) \
	\
	X(AVX_VNNI_INT8, "avx-vnni-int8", 7_1_EDX, 1U << 4) \
	X(AVX_NE_CONVERT, "avx-ne-convert", 7_1_EDX, 1U << 5) \
	X(AMX_COMPLEX, "amx-complex", 7_1_EDX, 1U << 8) \
	X(AVX_VNNI_INT16, "avx-vnni-int16", 7_1_EDX, 1U << 10) \
	X(PREFETCHITI, "prefetchiti", 7_1_EDX, 1U << 14) \
	X(AVX10, "avx10", 7_1_EDX, 1U << 19) \
	\
	X(INTEL_PSFD, "intel-psfd", 7_2_EDX, 1U << 0) \
	X(IPRED_CTRL, "ipred-ctrl", 7_2_EDX, 1U << 1) \
	X(RRSBA_CTRL, "rrsba-ctrl", 7_2_EDX, 1U << 2) \
	X(DDPD_U, "ddpd-u", 7_2_EDX, 1U << 3) \
	X(BHI_CTRL, "bhi-ctrl", 7_2_EDX, 1U << 4) \
	X(MCDT_NO, "mcdt-no", 7_2_EDX, 1U << 5) \
	\
	X(XSAVEOPT, "xsaveopt", D_1_EAX, 1U << 0) \
	X(XSAVEC, "xsavec", D_1_EAX, 1U << 1) \
	X(XGETBV1, "xgetbv1", D_1_EAX, 1U << 2) \
	X(XSAVES, "xsaves", D_1_EAX, 1U << 3) \
	X(XFD, "xfd", D_1_EAX, 1U << 4) \
	\
	X(INTEL_PT_LIP, "intel-pt-lip", 14_0_ECX, 1U << 31) \
	\
	X(KVMCLOCK, "kvmclock", 40000001_EAX, 1U << 0 | 1U << 3) \
	X(KVM_NOPIODELAY, "kvm-nopiodelay", 40000001_EAX, 1U << 1) \
	X(KVM_MMU, "kvm-mmu", 40000001_EAX, 1U << 2) \
	X(KVM_ASYNCPF, "kvm-asyncpf", 40000001_EAX, 1U << 4) \
	X(KVM_STEAL_TIME, "kvm-steal-time", 40000001_EAX, 1U << 5) \
	X(KVM_PV_EOI, "kvm-pv-eoi", 40000001_EAX, 1U << 6) \
	X(KVM_PV_UNHALT, "kvm-pv-unhalt", 40000001_EAX, 1U << 7) \
	X(KVM_PV_TLB_FLUSH, "kvm-pv-tlb-flush", 40000001_EAX, 1U << 9) \
	X(KVM_ASYNCPF_VMEXIT, "kvm-asyncpf-vmexit", 40000001_EAX, 1U << 10) \
	X(KVM_PV_IPI, "kvm-pv-ipi", 40000001_EAX, 1U << 11) \
	X(KVM_POLL_CONTROL, "kvm-poll-control", 40000001_EAX, 1U << 12) \
	X(KVM_PV_SCHED_YIELD, "kvm-pv-sched-yield", 40000001_EAX, 1U << 13) \
	X(KVM_ASYNCPF_INT, "kvm-asyncpf-int", 40000001_EAX, 1U << 14) \
	X(KVM_MSI_EXT_DEST_ID, "kvm-msi-ext-dest-id", 40000001_EAX, 1U << 15) \
	X(KVMCLOCK_STABLE_BIT, "kvmclock-stable-bit", 40000001_EAX, 1U << 24) \
	X(KVM_HINT_DEDICATED, "kvm-hint-dedicated", 40000001_EDX, 1U << 0) \
	\
	X(LAHF_LM, "lahf-lm", 80000001_ECX, 1U << 0) \
	X(CMP_LEGACY, "cmp-legacy", 80000001_ECX, 1U << 1) \
	X(SVM, "svm", 80000001_ECX, 1U << 2) \
	X(EXTAPIC, "extapic", 80000001_ECX, 1U << 3) \
	X(CR8LEGACY, "cr8legacy", 80000001_ECX, 1U << 4) \
	X(ABM, "abm", 80000001_ECX, 1U << 5) \
	X(SSE4A, "sse4a", 80000001_ECX, 1U << 6) \
	X(MISALIGNSSE, "misalignsse", 80000001_ECX, 1U << 7) \
	X(3DNOWPREFETCH, "3dnowprefetch", 80000001_ECX, 1U << 8) \
	X(OSVW, "osvw", 80000001_ECX, 1U << 9) \
	X(IBS, "ibs", 80000001_ECX, 1U << 10) \
	X(XOP, "xop", 80000001_ECX, 1U << 11) \
	X(SKINIT, "skinit", 80000001_ECX, 1U << 12) \
	X(WDT, "wdt", 80000001_ECX, 1U << 13) \
	X(LWP, "lwp", 80000001_ECX, 1U << 15) \
	X(FMA4, "fma4", 80000001_ECX, 1U << 16) \
	X(TCE, "tce", 80000001_ECX, 1U << 17) \
	X(NODEID_MSR, "nodeid-msr", 80000001_ECX, 1U << 19) \
	X(TBM, "tbm", 80000001_ECX, 1U << 21) \
	X(TOPOEXT, "topoext", 80000001_ECX, 1U << 22) \
	X(PERFCTR_CORE, "perfctr-core", 80000001_ECX, 1U << 23) \
	X(PERFCTR_NB, "perfctr-nb", 80000001_ECX, 1U << 24) \
	\
	X(SYSCALL, "syscall", 80000001_EDX, 1U << 11) \
	X(MP, "mp", 80000001_EDX, 1U << 19) \
	X(NX, "nx", 80000001_EDX, 1U << 20) \
	X(MMXEXT, "mmxext", 80000001_EDX, 1U << 22) \
	X(FXSR_OPT, "fxsr-opt", 80000001_EDX, 1U << 25) \
	X(PDPE1GB, "pdpe1gb", 80000001_EDX, 1U << 26) \
	X(RDTSCP, "rdtscp", 80000001_EDX, 1U << 27) \
	X(LM, "lm", 80000001_EDX, 1U << 29) \
	X(3DNOWEXT, "3dnowext", 80000001_EDX, 1U << 30) \
	X(3DNOW, "3dnow", 80000001_EDX, 1U << 31) \
	\
	X(INVTSC, "invtsc", 80000007_EDX, 1U << 8) \
	\
	X(CLZERO, "clzero", 80000008_EBX, 1U << 0) \
	X(XSAVEERPTR, "xsaveerptr", 80000008_EBX, 1U << 2) \
	X(RDPRU, "rdpru", 80000008_EBX, 1U << 4) \
	X(WBNOINVD, "wbnoinvd", 80000008_EBX, 1U << 9) \
	X(IBPB, "ibpb", 80000008_EBX, 1U << 12) \
	X(IBRS, "ibrs", 80000008_EBX, 1U << 14) \
	X(AMD_STIBP, "amd-stibp", 80000008_EBX, 1U << 15) \
	X(STIBP_ALWAYS_ON, "stibp-always-on", 80000008_EBX, 1U << 17) \
	X(AMD_SSBD, "amd-ssbd", 80000008_EBX, 1U << 24) \
	X(VIRT_SSBD, "virt-ssbd", 80000008_EBX, 1U << 25) \
	X(AMD_NO_SSB, "amd-no-ssb", 80000008_EBX, 1U << 26) \
	X(AMD_PSFD, "amd-psfd", 80000008_EBX, 1U << 28) \
	X(BTC_NO, "btc-no", 80000008_EBX, 1U << 29) \
	X(IBPB_RET, "ibpb-ret", 80000008_EBX, 1U << 30) \
	\
	X(NPT, "npt", 8000000A_EDX, 1U << 0) \
	X(LBRV, "lbrv", 8000000A_EDX, 1U << 1) \
	X(SVM_LOCK, "svm-lock", 8000000A_EDX, 1U << 2) \
	X(NRIP_SAVE, "nrip-save", 8000000A_EDX, 1U << 3) \
	X(TSC_SCALE, "tsc-scale", 8000000A_EDX, 1U << 4) \
	X(VMCB_CLEAN, "vmcb-clean", 8000000A_EDX, 1U << 5) \
	X(FLUSHBYASID, "flushbyasid", 8000000A_EDX, 1U << 6) \
	X(DECODEASSISTS, "decodeassists", 8000000A_EDX, 1U << 7) \
	X(PAUSE_FILTER, "pause-filter", 8000000A_EDX, 1U << 10) \
	X(PFTHRESHOLD, "pfthreshold", 8000000A_EDX, 1U << 12) \
	X(AVIC, "avic", 8000000A_EDX, 1U << 13) \
	X(V_VMSAVE_VMLOAD, "v-vmsave-vmload", 8000000A_EDX, 1U << 15) \
	X(VGIF, "vgif", 8000000A_EDX, 1U << 16) \
	X(X2AVIC, "x2avic", 8000000A_EDX, 1U << 18) \
	X(VNMI, "vnmi", 8000000A_EDX, 1U << 25) \
	X(SVME_ADDR_CHK, "svme-addr-chk", 8000000A_EDX, 1U << 28) \
	\
	X(NO_NESTED_DATA_BP, "no-nested-data-bp", 80000021_EAX, 1U << 0) \
	X(FS_GS_BASE_NS, "fs-gs-base-ns", 80000021_EAX, 1U << 1) \
	X(LFENCE_ALWAYS_SERIALIZING, "lfence-always-serializing", 80000021_EAX, 1U << 2) \
	X(VERW_CLEAR, "verw-clear", 80000021_EAX, 1U << 5) \
	X(NULL_SEL_CLR_BASE, "null-sel-clr-base", 80000021_EAX, 1U << 6) \
	X(AUTO_IBRS, "auto-ibrs", 80000021_EAX, 1U << 8) \
	X(NO_SMM_CTL_MSR, "no-smm-ctl-msr", 80000021_EAX, 1U << 9) \
	X(PREFETCHI, "prefetchi", 80000021_EAX, 1U << 20) \
	X(ERAPS, "eraps", 80000021_EAX, 1U << 24) \
	X(SBPB, "sbpb", 80000021_EAX, 1U << 27) \
	X(IBPB_BRTYPE, "ibpb-brtype", 80000021_EAX, 1U << 28) \
	X(SRSO_NO, "srso-no", 80000021_EAX, 1U << 29) \
	X(SRSO_USER_KERNEL_NO, "srso-user-kernel-no", 80000021_EAX, 1U << 30)

/* X(other name, identifier): what QEMU, Linux and old scripts say besides. */
#define CPU_FEATURE_ALIASES(X) \
	X("sse3", PNI) X("pclmuldq", PCLMULQDQ) X("sse4-1", SSE4_1) X("sse4-2", SSE4_2) \
	X("mwait", MONITOR) X("sha", SHA_NI) X("xd", NX) X("i64", LM) X("lzcnt", ABM) \
	X("ffxsr", FXSR_OPT) X("1g-pages", PDPE1GB) X("kvm-steal-tm", KVM_STEAL_TIME) \
	X("tsc-deadline-timer", TSC_DEADLINE)

/*
 * X(feature, what it needs): off without it.  What the thing needed itself needs stands before that,
 * so that one pass in this order does.
 */
#define CPU_FEATURE_NEEDS(X) \
	X(FXSR, FPU) X(MMX, FPU) X(SSE, FXSR) X(SSE2, SSE) X(PNI, SSE2) X(SSSE3, PNI) \
	X(SSE4_1, SSSE3) X(SSE4_2, SSE4_1) X(SSE4A, PNI) X(MISALIGNSSE, SSE) \
	X(3DNOW, MMX) X(3DNOWEXT, 3DNOW) X(MMXEXT, MMX) X(FXSR_OPT, FXSR) \
	X(MCA, MCE) X(PSE36, PSE) X(X2APIC, APIC) X(TSC_DEADLINE, APIC) X(TSC_DEADLINE, TSC) \
	X(EXTAPIC, APIC) X(ARAT, APIC) X(TSC_ADJUST, TSC) X(RDTSCP, TSC) X(INVTSC, TSC) \
	X(NX, PAE) X(LM, PAE) X(LM, CX8) X(LM, CMOV) X(LM, MSR) X(LM, SSE2) X(SYSCALL, MSR) \
	X(PCID, LM) X(INVPCID, PCID) X(LA57, LM) X(LAHF_LM, LM) X(CX16, LM) X(PDPE1GB, LM) \
	X(FSGSBASE, LM) X(PKU, LM) X(PKS, LM) X(LAM, LM) X(LASS, LM) X(LKGS, LM) X(FRED, LM) \
	X(FRED, LKGS) X(UINTR, LM) X(SHSTK, LM) X(IBT, LM) X(CMPCCXADD, LM) X(RDPID, RDTSCP) \
	X(AES, SSE2) X(PCLMULQDQ, SSE2) X(SHA_NI, SSE2) X(GFNI, SSE2) X(KL, SSE2) \
	\
	X(XSAVE, FXSR) X(XSAVEOPT, XSAVE) X(XSAVEC, XSAVE) X(XGETBV1, XSAVE) X(XSAVES, XSAVE) \
	X(XSAVES, XSAVEC) X(XFD, XSAVE) X(MPX, XSAVE) X(PKU, XSAVE) X(XSAVEERPTR, XSAVE) \
	X(SHSTK, XSAVES) X(IBT, XSAVES) X(LWP, XSAVE) \
	X(AVX, XSAVE) X(AVX, SSE4_2) X(F16C, AVX) X(FMA, AVX) X(FMA4, AVX) X(XOP, AVX) \
	X(AVX2, AVX) X(VAES, AVX) X(VAES, AES) X(VPCLMULQDQ, AVX) X(VPCLMULQDQ, PCLMULQDQ) \
	X(AVX_VNNI, AVX2) X(AVX_IFMA, AVX2) X(AVX_VNNI_INT8, AVX2) X(AVX_VNNI_INT16, AVX2) \
	X(AVX_NE_CONVERT, AVX2) X(SHA512, AVX2) X(SM3, AVX) X(SM4, AVX2) X(AVX512F, AVX2) \
	X(AVX512DQ, AVX512F) X(AVX512IFMA, AVX512F) X(AVX512PF, AVX512F) X(AVX512ER, AVX512F) \
	X(AVX512CD, AVX512F) X(AVX512BW, AVX512F) X(AVX512VL, AVX512F) X(AVX512VBMI, AVX512F) \
	X(AVX512VBMI2, AVX512F) X(AVX512VNNI, AVX512F) X(AVX512BITALG, AVX512F) \
	X(AVX512_VPOPCNTDQ, AVX512F) X(AVX512_4VNNIW, AVX512F) X(AVX512_4FMAPS, AVX512F) \
	X(AVX512_VP2INTERSECT, AVX512F) X(AVX512_FP16, AVX512BW) X(AVX512_BF16, AVX512F) \
	X(AVX10, AVX512VL) \
	X(AMX_TILE, LM) X(AMX_TILE, XSAVE) X(AMX_BF16, AMX_TILE) X(AMX_INT8, AMX_TILE) \
	X(AMX_FP16, AMX_TILE) X(AMX_COMPLEX, AMX_TILE) \
	\
	X(SGXLC, SGX) X(SGX_KEYS, SGX) X(INTEL_PT_LIP, INTEL_PT) X(TSX_LDTRK, RTM) \
	X(DTES64, DS) X(DS_CPL, DS) X(SMX, VMX) \
	X(SVM, LM) X(NPT, SVM) X(LBRV, SVM) X(SVM_LOCK, SVM) X(NRIP_SAVE, SVM) X(TSC_SCALE, SVM) \
	X(VMCB_CLEAN, SVM) X(FLUSHBYASID, SVM) X(DECODEASSISTS, SVM) X(PAUSE_FILTER, SVM) \
	X(PFTHRESHOLD, PAUSE_FILTER) X(AVIC, SVM) X(V_VMSAVE_VMLOAD, NPT) X(VGIF, SVM) \
	X(X2AVIC, AVIC) X(VNMI, VGIF) X(SVME_ADDR_CHK, SVM) X(SKINIT, SVM) \
	\
	X(KVMCLOCK, TSC) X(KVMCLOCK_STABLE_BIT, KVMCLOCK) X(KVM_ASYNCPF_VMEXIT, KVM_ASYNCPF) \
	X(KVM_ASYNCPF_INT, KVM_ASYNCPF) X(KVM_PV_EOI, APIC) X(KVM_PV_IPI, APIC)

#endif
