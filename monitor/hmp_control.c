/* SPDX-License-Identifier: MIT */
#include "monitor/hmp_internal.h"
#include "monitor/monitor.h"

void hmp_stop(struct hmp *hmp, const struct hmp_args *args)
{
	struct error err;

	(void)args;
	if (vm_dump_refuse(hmp->vm, &err) == -1)
		hmp_print_error(hmp, &err);
	else
		vm_stop(hmp->vm);
}

void hmp_cont(struct hmp *hmp, const struct hmp_args *args)
{
	struct error err;

	(void)args;
	if (vm_cont(hmp->vm, &err) == -1)
		hmp_print_error(hmp, &err);
}

void hmp_system_reset(struct hmp *hmp, const struct hmp_args *args)
{
	struct error err;

	(void)args;
	if (vm_system_reset(hmp->vm, SHUTDOWN_CAUSE_HOST_QMP_SYSTEM_RESET, &err) == -1)
		hmp_print_error(hmp, &err);
}

void hmp_system_powerdown(struct hmp *hmp, const struct hmp_args *args)
{
	(void)args;
	vm_system_powerdown(hmp->vm);
}

void hmp_quit(struct hmp *hmp, const struct hmp_args *args)
{
	(void)args;
	monitor_quit(hmp->monitor);
}

void hmp_nmi(struct hmp *hmp, const struct hmp_args *args)
{
	struct error err;

	(void)args;
	if (vm_inject_nmi(hmp->vm, &err) == -1)
		hmp_print_error(hmp, &err);
}

void hmp_cpu(struct hmp *hmp, const struct hmp_args *args)
{
	if (args->index >= hmp->vm->nr_vcpus)
		text_printf(hmp->out, "invalid CPU index\n");
	else
		hmp->cpu = args->index;
}
