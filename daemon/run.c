/* SPDX-License-Identifier: MIT */
#include "daemon/run.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "daemon/activation.h"
#include "daemon/chardev.h"
#include "daemon/chardevs.h"
#include "daemon/daemonize.h"
#include "daemon/logging.h"
#include "daemon/pidfile.h"
#include "daemon/stdio.h"
#include "daemon/terminal.h"
#include "monitor/monitor.h"
#include "vmm/clone.h"
#include "vmm/log.h"
#include "vmm/vm.h"

#define EVENT_LOOP_NICE (-10)

static const char nil_uuid[] = "00000000-0000-0000-0000-000000000000";

/*
 * Everything belongs to the main thread, which runs the event loop.  vCPU threads read wake_fd and
 * chardev, which are constant while such threads exist.
 */
struct run {
	const struct options *options;
	struct event_base *base;
	int wake_fd, signal_fd;
	struct event *wake_event, *signal_event;
	char *serial_name;              /* of chardev, in log lines */
	struct chardev *chardev;
	struct chardevs chardevs;
	struct kvm kvm;
	bool kvm_is_open;
	struct vm *vm;
	struct clone *clone;            /* while it starts; else NULL */
	uint8_t generation_id[16];
	struct cpu_config cpu;          /* of --cpu */
	char *xen_text;                 /* what xen refers to; NULL without --xen-hvm */
	struct xen_hvm_config xen;
	struct monitor *monitor;        /* NULL without --monitor and --incoming */
	struct access_list monitor_allow;
	struct activation activation;
	bool monitor_has_terminal;
	struct pidfile pidfile;
	bool ended;
	int exit_status;                /* once ended */
};

static void on_vm_event(void *opaque, const struct vm_event *event)
{
	struct run *run = opaque;

	/* The loop still carries out what else was due; clients see no second end. */
	if (run->ended)
		return;
	if (event->type == VM_EVENT_EXIT) {
		run->exit_status = event->exit_status;
		run->ended = true;
	} else if (run->monitor) {
		monitor_vm_event(run->monitor, event);
	}
}

/* Any thread. */
static void wake(void *opaque)
{
	struct run *run = opaque;
	uint64_t one = 1;

	/* It fails only when the counter is about to overflow: then the loop has been woken. */
	while (write(run->wake_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

/* vCPU threads. */
static void serial_transmit(void *opaque, const uint8_t *bytes, size_t len)
{
	struct run *run = opaque;

	chardev_transmit(run->chardev, bytes, len);
}

/* Any thread. */
static void serial_receive_ready(void *opaque)
{
	struct run *run = opaque;

	chardev_receive_ready(run->chardev);
}

static size_t serial_receive(void *opaque, const uint8_t *bytes, size_t len)
{
	struct run *run = opaque;

	return vm_serial_receive(run->vm, bytes, len);
}

static void quit_by_user(void *opaque)
{
	struct run *run = opaque;

	vm_quit(run->vm, SHUTDOWN_CAUSE_HOST_SIGNAL);
}

static void quit_by_monitor(void *opaque)
{
	struct run *run = opaque;

	vm_quit(run->vm, SHUTDOWN_CAUSE_HOST_QMP_QUIT);
}

static void on_wake(evutil_socket_t fd, short what, void *opaque)
{
	struct run *run = opaque;
	uint64_t count;

	(void)what;
	if (read(fd, &count, sizeof(count)) < 0)
		return;
	vm_dispatch(run->vm);
	chardev_dispatch(run->chardev);
}

static void on_signal(evutil_socket_t fd, short what, void *opaque)
{
	struct run *run = opaque;
	struct signalfd_siginfo info;

	(void)what;
	if (read(fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGCONT) {
		chardev_continued(run->chardev);
		if (run->monitor_has_terminal)
			terminal_grab();
		return;
	}
	log_info("SIG%s from process %u: shutting down", sigabbrev_np(info.ssi_signo),
		 info.ssi_pid);
	vm_quit(run->vm, SHUTDOWN_CAUSE_HOST_SIGNAL);
}

static void log_libevent(int severity, const char *text)
{
	log_line(severity >= EVENT_LOG_ERR ? LOG_LEVEL_ERROR :
		 severity == EVENT_LOG_WARN ? LOG_LEVEL_WARNING : LOG_LEVEL_DEBUG,
		 "libevent: %s", text);
}

static struct event *watch(struct run *run, int fd, event_callback_fn fn)
{
	struct event *event = event_new(run->base, fd, EV_READ | EV_PERSIST, fn, run);

	if (event && event_add(event, NULL) < 0) {
		event_free(event);
		event = NULL;
	}
	return event;
}

/*
 * Signals are taken from a descriptor, on the event loop.  They are blocked first, because every
 * thread inherits that: none is interrupted or ended by them, and one that comes early waits.
 */
static int open_loop(struct run *run, struct error *err)
{
	struct event_config *config;
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	sigaddset(&signals, SIGCONT);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	/* A peer that has gone, and a file at its limit, are errors of the one write(2). */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);

	event_set_log_callback(log_libevent);
	config = event_config_new();
	if (!config)
		return error_set(err, ENOMEM, "event loop: out of memory");
	event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_IGNORE_ENV);
	run->base = event_base_new_with_config(config);
	event_config_free(config);
	if (!run->base)
		return error_set(err, EMFILE, "event loop: can not be created");

	run->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (run->wake_fd < 0)
		return error_errno(err, errno, "eventfd");
	run->signal_fd = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
	if (run->signal_fd < 0)
		return error_errno(err, errno, "signalfd");
	run->wake_event = watch(run, run->wake_fd, on_wake);
	run->signal_event = watch(run, run->signal_fd, on_signal);
	if (!run->wake_event || !run->signal_event)
		return error_set(err, ENOMEM, "event loop: out of memory");
	return 0;
}

static void close_loop(struct run *run)
{
	if (run->wake_event)
		event_free(run->wake_event);
	if (run->signal_event)
		event_free(run->signal_event);
	if (run->base)
		event_base_free(run->base);
	if (run->wake_fd >= 0)
		close(run->wake_fd);
	if (run->signal_fd >= 0)
		close(run->signal_fd);
}

static int open_chardev(struct run *run, struct error *err)
{
	const char *address = run->options->serial ? run->options->serial : "null";
	struct chardev_config config = {
		.address = address,
		.base = run->base,
		.receive = serial_receive,
		.quit = quit_by_user,
		.wake = wake,
		.opaque = run,
	};

	if (asprintf(&run->serial_name, "serial %s", address) < 0) {
		run->serial_name = NULL;
		return error_set(err, ENOMEM, "--serial %s: out of memory", address);
	}
	config.name = run->serial_name;
	run->chardev = chardev_new(&config, err);
	if (!run->chardev)
		return error_prefix(err, "--serial %s", address);
	chardevs_init(&run->chardevs, run->base, run->chardev,
		      run->options->serial_id ? run->options->serial_id : "serial0");
	return 0;
}

/* Its name is what somebody is waiting for, whatever the log level; and before stderr goes away. */
static void announce_pty(const struct chardev *chardev)
{
	const char *name = chardev_pty_name(chardev);

	if (name)
		fprintf(stderr, "vmond: --serial pty: %s\n", name);
}

/* As a GUID is in memory: the first three fields are little endian (RFC 4122 has them big). */
static void read_guid(const char *text, uint8_t id[16])
{
	static const uint8_t place[16] = { 3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15 };

	for (unsigned int i = 0; i < 16; i++, text += 2) {
		char byte[3];

		if (*text == '-')
			text++;
		memcpy(byte, text, 2);
		byte[2] = '\0';
		id[place[i]] = strtoul(byte, NULL, 16);
	}
}

static int choose_generation_id(struct run *run, struct error *err)
{
	const char *text = run->options->generation_id;

	if (strcmp(text, "auto") != 0)
		read_guid(text, run->generation_id);
	else if (getrandom(run->generation_id, sizeof(run->generation_id), 0) < 0)
		return error_errno(err, errno, "--generation-id auto");
	return 0;
}

/* What --cpus, --smp and --cpu say; all of it has been parsed before. */
static int choose_cpus(struct run *run, struct vm_config *config, struct error *err)
{
	const struct options *options = run->options;

	config->cpus = options->cpus;
	if (options->smp) {
		if (cpu_topology_parse(options->smp, &config->topology, err) < 0)
			return -1;
		config->cpus = cpu_topology_cpus(&config->topology);
	}
	if (options->cpu) {
		if (cpu_model_parse(options->cpu, &run->cpu, err) < 0)
			return -1;
		config->cpu = &run->cpu;
	}
	return 0;
}

static int configure_xen(struct run *run, struct error *err)
{
	run->xen_text = strdup(run->options->xen_hvm);
	if (!run->xen_text)
		return error_set(err, ENOMEM, "--xen-hvm: out of memory");
	return option_parse_xen_hvm(run->xen_text, &run->xen, err);
}

static int create_vm(struct run *run, struct error *err)
{
	const struct options *options = run->options;
	struct vm_config config = {
		.memory = options->memory,
		.boot = {
			.kernel = options->kernel,
			.append = options->append,
			.initrd = (const char *const *)options->initrd.item,
			.nr_initrd = options->initrd.count,
		},
		.actions = {
			.reboot = options->no_reboot ? REBOOT_ACTION_SHUTDOWN :
						       REBOOT_ACTION_RESET,
			.shutdown = options->no_shutdown ? SHUTDOWN_ACTION_PAUSE :
							   SHUTDOWN_ACTION_POWEROFF,
		},
		.generation_id = options->generation_id ? run->generation_id : NULL,
		.incoming = options->incoming != NULL,
		.incoming_defer = options->incoming && strcmp(options->incoming, "defer") == 0,
		.start_running = !options->paused,
		.force_cpuid = options->allow_missing_features,
		.xen = options->xen_hvm ? &run->xen : NULL,
	};
	const struct vm_callbacks callbacks = {
		.event = on_vm_event,
		.wake = wake,
		.serial_transmit = serial_transmit,
		.serial_receive_ready = serial_receive_ready,
		.opaque = run,
	};

	if (choose_cpus(run, &config, err) < 0)
		return -1;
	if (options->generation_id && choose_generation_id(run, err) < 0)
		return -1;
	if (options->xen_hvm && configure_xen(run, err) < 0)
		return -1;
	if (options->clone) {
		run->clone = clone_open(options->clone, &config, err);
		if (!run->clone)
			return -1;
	}
	return vm_create(&run->vm, &run->kvm, &config, &callbacks, err);
}

/* The machine runs, or gets its state, or waits for what it has been told to wait for. */
static int set_going(struct run *run, struct error *err)
{
	const char *incoming = run->options->incoming;

	if (run->clone) {
		int rc = vm_clone(run->vm, run->clone, err);

		clone_close(run->clone);
		run->clone = NULL;
		return rc;
	}
	if (incoming)
		return strcmp(incoming, "defer") == 0 ? 0 :
		       monitor_migrate_incoming(run->monitor, incoming, err);
	return run->options->paused ? 0 : vm_cont(run->vm, err);
}

/* Somebody, or some script, waits for it: whatever the log level, and before stderr goes away. */
static void announce_monitor(void *opaque, const char *address)
{
	(void)opaque;
	fprintf(stderr, "vmond: --monitor tcp: %s\n", address);
}

/* One client, whose end is the end of no other. */
static int open_stdio_monitor(struct run *run, const struct monitor_options *options,
			      struct error *err)
{
	int in, out = stdio_open(STDOUT_FILENO, O_WRONLY, err);

	if (out < 0)
		return -1;
	/* Started in the background it gets its modes when it comes to the front. */
	if (options->mode == MONITOR_READLINE && terminal_take(STDIN_FILENO, true)) {
		run->monitor_has_terminal = true;
		terminal_grab();
	}
	in = stdio_open(STDIN_FILENO, O_RDONLY, err);
	if (in < 0) {
		close(out);
		return -1;
	}
	return monitor_serve(run->monitor, in, out, options, err);
}

static int open_monitor(struct run *run, const char *text, struct error *err)
{
	struct monitor_address address;

	if (monitor_address_parse(&address, text, err) < 0) {
		error_prefix(err, "--monitor %s", text);
		return -1;
	}
	if (address.kind == MONITOR_STDIO)
		return open_stdio_monitor(run, &address.options, err);
	return monitor_listen(run->monitor, text, err);
}

static int open_monitors(struct run *run, struct error *err)
{
	const struct option_list *addresses = &run->options->monitor;
	const struct option_list *allow = &run->options->monitor_allow;
	const struct monitor_config config = {
		.base = run->base,
		.vm = run->vm,
		.name = run->options->name,
		.uuid = run->options->uuid ? run->options->uuid : nil_uuid,
		.quit = quit_by_monitor,
		.listening = announce_monitor,
		.opaque = run,
		.allow = &run->monitor_allow,
		.passed = run->activation.passed,
		.nr_passed = run->activation.count,
		.why_none_passed = run->activation.why_none.text,
		.chardevs = &run->chardevs.calls,
		.option = options_describe,
	};
	unsigned int i;

	for (i = 0; i < allow->count; i++) {
		if (access_add(&run->monitor_allow, allow->item[i], err) < 0) {
			error_prefix(err, "--monitor-allow %s", allow->item[i]);
			return -1;
		}
	}

	if (!addresses->count && !run->options->incoming)
		return 0;
	run->monitor = monitor_new(&config, err);
	if (!run->monitor)
		return -1;
	for (i = 0; i < addresses->count; i++)
		if (open_monitor(run, addresses->item[i], err) < 0)
			return -1;
	return 0;
}

/*
 * This thread has little to do and somebody waits for each answer, while vCPUs take all the time
 * they get: where the system lets us, it comes before them.  vCPU threads have been started by now
 * and keep their priority.
 */
static void prefer_event_loop(void)
{
	if (setpriority(PRIO_PROCESS, 0, EVENT_LOOP_NICE) < 0)
		log_debug("the event loop keeps its priority: %s", strerror(errno));
}

/* A thousand clients are a thousand descriptors, and the soft limit is 1024 by tradition. */
#define DESCRIPTORS 65536

static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= DESCRIPTORS)
		return;
	limit.rlim_cur = limit.rlim_max < DESCRIPTORS ? limit.rlim_max : DESCRIPTORS;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		log_debug("the limit of descriptors stays: %s", strerror(errno));
}

/* The first vCPU runs when everything is there. */
static int start(struct run *run, struct error *err)
{
	const struct options *options = run->options;

	activation_take(&run->activation);
	raise_descriptor_limit();
	if (options->daemonize && daemonize_begin(err) < 0)
		return -1;
	if (open_loop(run, err) < 0 || vcpu_signal_init(err) < 0 ||
	    kvm_open(&run->kvm, NULL, NULL, err) < 0)
		return -1;
	run->kvm_is_open = true;
	if (open_chardev(run, err) < 0 || create_vm(run, err) < 0 || open_monitors(run, err) < 0)
		return -1;
	if (options->pidfile && pidfile_create(&run->pidfile, options->pidfile, err) < 0)
		return -1;
	if (chardev_start(run->chardev, err) < 0)
		return error_prefix(err, "--serial %s", options->serial);
	announce_pty(run->chardev);
	prefer_event_loop();
	if (set_going(run, err) < 0)
		return -1;
	if (options->daemonize) {
		if (daemonize_ready(err) < 0)
			return -1;
		logging_use_syslog();
	}
	return 0;
}

/* The reverse, from wherever start() got to. */
static void finish(struct run *run)
{
	pidfile_remove(&run->pidfile);
	monitor_free(run->monitor);
	if (run->monitor_has_terminal)
		terminal_release();
	vm_destroy(run->vm);
	clone_close(run->clone);
	free(run->xen_text);
	chardevs_free(&run->chardevs);
	chardev_free(run->chardev);
	/* Whatever writes to them has ended: it counts on their not blocking. */
	stdio_restore();
	free(run->serial_name);
	if (run->kvm_is_open)
		kvm_close(&run->kvm);
	close_loop(run);
}

int run_vm(const struct options *options, struct error *err)
{
	/* Not on the stack: struct kvm has a counter for every request. */
	static struct run run;
	int status = -1;

	memset(&run, 0, sizeof(run));
	run.options = options;
	run.wake_fd = run.signal_fd = -1;
	run.pidfile = PIDFILE_NONE;
	logging_init(options->name, options->log_level);
	if (start(&run, err) == 0) {
		while (!run.ended && event_base_loop(run.base, EVLOOP_ONCE) == 0)
			;
		if (!run.ended)
			log_error("the event loop has failed: %s", strerror(errno));
		status = run.ended ? run.exit_status : EXIT_FAILURE;
	}
	finish(&run);
	return status;
}
