/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/hmp_internal.h"

/* Parentheses and signs nest this deep: a line can not exhaust the stack. */
#define DEPTH_MAX       64

struct expression {
	struct hmp *hmp;
	const char *p;
	unsigned int depth;
};

static int eval_sum(struct expression *e, uint64_t *value);

static int fail(struct expression *e, const char *reason)
{
	text_printf(e->hmp->out, "%s\n", reason);
	return -1;
}

struct reg_name {
	const char *name;
	enum { OF_REGS, OF_SREGS } of;
	size_t offset;
	unsigned int size;
};

#define REG(name, field)        { name, OF_REGS, offsetof(struct kvm_regs, field), 8 }
#define SEGMENT(name) \
	{ #name, OF_SREGS, offsetof(struct kvm_sregs2, name.selector), 2 }, \
	{ #name ".base", OF_SREGS, offsetof(struct kvm_sregs2, name.base), 8 }, \
	{ #name ".limit", OF_SREGS, offsetof(struct kvm_sregs2, name.limit), 4 }

/*
 * QEMU's names, under which whole 64-bit registers go whatever the mode, and the 64-bit ones, which
 * it does not know.  $pc is not here: it is an address, the base of CS added.
 */
static const struct reg_name reg_names[] = {
	REG("eax", rax), REG("ecx", rcx), REG("edx", rdx), REG("ebx", rbx),
	REG("esp", rsp), REG("sp", rsp), REG("ebp", rbp), REG("fp", rbp),
	REG("esi", rsi), REG("edi", rdi), REG("eip", rip), REG("eflags", rflags),
	REG("rax", rax), REG("rcx", rcx), REG("rdx", rdx), REG("rbx", rbx),
	REG("rsp", rsp), REG("rbp", rbp), REG("rsi", rsi), REG("rdi", rdi),
	REG("rip", rip), REG("rflags", rflags),
	REG("r8", r8), REG("r9", r9), REG("r10", r10), REG("r11", r11),
	REG("r12", r12), REG("r13", r13), REG("r14", r14), REG("r15", r15),
	SEGMENT(cs), SEGMENT(ds), SEGMENT(es), SEGMENT(ss), SEGMENT(fs), SEGMENT(gs),
	{ "cr0", OF_SREGS, offsetof(struct kvm_sregs2, cr0), 8 },
	{ "cr2", OF_SREGS, offsetof(struct kvm_sregs2, cr2), 8 },
	{ "cr3", OF_SREGS, offsetof(struct kvm_sregs2, cr3), 8 },
	{ "cr4", OF_SREGS, offsetof(struct kvm_sregs2, cr4), 8 },
};

static const struct reg_name *find_register(const char *name, size_t len)
{
	for (size_t i = 0; i < sizeof(reg_names) / sizeof(reg_names[0]); i++)
		if (strlen(reg_names[i].name) == len && memcmp(reg_names[i].name, name, len) == 0)
			return &reg_names[i];
	return NULL;
}

static int read_registers(struct hmp *hmp, struct kvm_regs *regs, struct kvm_sregs2 *sregs)
{
	struct vcpu_state *s = &hmp->vm->vcpu[hmp->cpu].state;

	if (hmp_inspect_begin(hmp, hmp->cpu, 1u << SUBSTATE_REGS | 1u << SUBSTATE_SREGS) == -1)
		return -1;
	*regs = *vcpu_state_regs(s, NULL);
	*sregs = *vcpu_state_sregs(s, NULL);
	vm_inspect_end(hmp->vm);
	return 0;
}

static int eval_register(struct expression *e, uint64_t *value)
{
	const struct reg_name *reg;
	struct kvm_sregs2 sregs;
	struct kvm_regs regs;
	const char *name = e->p;
	bool pc;

	while (isalnum((unsigned char)*e->p) || *e->p == '_' || *e->p == '.' || *e->p == ':')
		e->p++;
	pc = e->p - name == 2 && memcmp(name, "pc", 2) == 0;
	reg = find_register(name, e->p - name);
	if (!pc && !reg)
		return fail(e, "unknown register");
	if (read_registers(e->hmp, &regs, &sregs) == -1)
		return -1;
	*value = 0;
	if (pc)
		*value = regs.rip + sregs.cs.base;
	else    /* x86 is little endian: the low bytes are the first. */
		memcpy(value, (reg->of == OF_REGS ? (char *)&regs : (char *)&sregs) + reg->offset,
		       reg->size);
	return 0;
}

static int eval_number(struct expression *e, uint64_t *value)
{
	char *end;

	if (!*e->p)
		return fail(e, "unexpected end of expression");
	if (!isdigit((unsigned char)*e->p)) {
		text_printf(e->hmp->out, "invalid char '%c' in expression\n", *e->p);
		return -1;
	}
	errno = 0;
	*value = strtoull(e->p, &end, 0);
	if (errno == ERANGE)
		return fail(e, "number too large");
	e->p = end;
	return 0;
}

static int eval_character(struct expression *e, uint64_t *value)
{
	if (!*e->p)
		return fail(e, "character constant expected");
	*value = (unsigned char)*e->p++;
	if (*e->p != '\'')
		return fail(e, "missing terminating ' character");
	e->p++;
	return 0;
}

/* What signs and parentheses can stand before and around. */
static int eval_unary(struct expression *e, uint64_t *value)
{
	int ret;

	*value = 0;
	if (++e->depth > DEPTH_MAX)
		return fail(e, "expression nested too deeply");
	e->p = hmp_skip_spaces(e->p);
	switch (*e->p) {
	case '+':
		e->p++;
		ret = eval_unary(e, value);
		break;
	case '-':
		e->p++;
		ret = eval_unary(e, value);
		*value = -*value;
		break;
	case '~':
		e->p++;
		ret = eval_unary(e, value);
		*value = ~*value;
		break;
	case '(':
		e->p++;
		ret = eval_sum(e, value);
		if (ret == 0 && *e->p != ')')
			return fail(e, "')' expected");
		e->p += ret == 0;
		break;
	case '\'':
		e->p++;
		ret = eval_character(e, value);
		break;
	case '$':
		e->p++;
		ret = eval_register(e, value);
		break;
	default:
		ret = eval_number(e, value);
		break;
	}
	e->p = hmp_skip_spaces(e->p);
	e->depth--;
	return ret;
}

static int divide(struct expression *e, char op, uint64_t *value, uint64_t by)
{
	if (by == 0)
		return fail(e, "division by zero");
	/* The processor traps where the quotient of the smallest number by -1 does not fit. */
	if (by == UINT64_MAX)
		*value = op == '/' ? -*value : 0;
	else if (op == '/')
		*value = (int64_t)*value / (int64_t)by;
	else
		*value = (int64_t)*value % (int64_t)by;
	return 0;
}

static int eval_product(struct expression *e, uint64_t *value)
{
	uint64_t right;
	char op;

	if (eval_unary(e, value) == -1)
		return -1;
	while ((op = *e->p) == '*' || op == '/' || op == '%') {
		e->p++;
		if (eval_unary(e, &right) == -1)
			return -1;
		if (op == '*')
			*value *= right;
		else if (divide(e, op, value, right) == -1)
			return -1;
	}
	return 0;
}

/* As in QEMU & | ^ are of one rank, between product and sum, other than in C. */
static int eval_logic(struct expression *e, uint64_t *value)
{
	uint64_t right;
	char op;

	if (eval_product(e, value) == -1)
		return -1;
	while ((op = *e->p) == '&' || op == '|' || op == '^') {
		e->p++;
		if (eval_product(e, &right) == -1)
			return -1;
		if (op == '&')
			*value &= right;
		else if (op == '|')
			*value |= right;
		else
			*value ^= right;
	}
	return 0;
}

static int eval_sum(struct expression *e, uint64_t *value)
{
	uint64_t right;
	char op;

	if (eval_logic(e, value) == -1)
		return -1;
	while ((op = *e->p) == '+' || op == '-') {
		e->p++;
		if (eval_logic(e, &right) == -1)
			return -1;
		*value += op == '+' ? right : -right;
	}
	return 0;
}

int hmp_eval(struct hmp *hmp, const char **p, uint64_t *value)
{
	struct expression e = { .hmp = hmp, .p = *p };

	if (eval_sum(&e, value) == -1)
		return -1;
	*p = e.p;
	return 0;
}
