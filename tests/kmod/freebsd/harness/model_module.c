/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What kldload(8) and kldunload(8) set in motion: the SYSINITs in their order, the modules' events, the table of system
 * calls, and the list of congestion controls. Orders and refusals are those of kern_linker.c, kern_module.c,
 * kern_syscalls.c and cc.c.
 */
#include "model.h"

#include <netinet/in.h>
#include <netinet/in_pcb.h>
#include <netinet/tcp.h>
#include <netinet/tcp_var.h>
#include <netinet/cc/cc.h>
#include <netinet/cc/cc_module.h>

enum { MODULES_MAX = 16, SYSCALLS = 600, SYSCALL_FIRST_FREE = 210, SYSCALL_SLOTS = 10, VNET_ENTRIES_MAX = 64 };

struct module {
	const moduledata_t *data;
	modspecific_t specific;
	int is_loaded;
};

static struct host_file *file;
static struct module modules[MODULES_MAX];		/* in the order of their MOD_LOAD */
static int modules_count, load_error;
static struct sysent syscalls[SYSCALLS];
static const struct vnet_sysinit *vnet_entries[VNET_ENTRIES_MAX], *vnet_exits[VNET_ENTRIES_MAX];
static struct cc_algo *algorithm;

struct rwlock cc_list_lock;
VNET_DEFINE(struct cc_algo *, default_cc_ptr);

/* SYSINIT */

static int sysinit_before(const struct sysinit *a, const struct sysinit *b)
{
	return a->subsystem != b->subsystem ? a->subsystem < b->subsystem : a->order < b->order;
}

static void sysinits_run(const char *set, int is_down)
{
	struct sysinit *sorted[256];
	void **begin, **end;
	int n = 0;

	host_file_set(file, set, &begin, &end);
	for (; begin < end && n < (int)nitems(sorted); begin++, n++) {
		int at = n;

		for (; at > 0 && sysinit_before((struct sysinit *)*begin, sorted[at - 1]); at--)
			sorted[at] = sorted[at - 1];
		sorted[at] = *begin;
	}
	for (int i = 0; i < n; i++) {
		struct sysinit *entry = sorted[is_down ? n - 1 - i : i];

		entry->func(entry->udata);
	}
}

/* module(9) */

void module_register_init(const void *argument)
{
	struct module *module = &modules[modules_count];
	int error;

	if (modules_count == MODULES_MAX)
		host_die("fault: more modules in a file than the model counts");
	*module = (struct module){ .data = argument };
	error = module->data->evhand(module, MOD_LOAD, module->data->priv);
	model_assert_nothing_held("MOD_LOAD");
	if (error != 0) {
		(void)module->data->evhand(module, MOD_UNLOAD, module->data->priv);
		printf("module_register_init: MOD_LOAD (%s) error %d", module->data->name, error);
		load_error = error;
		return;
	}
	modules_count++;
}

void module_setspecific(module_t module, modspecific_t *specific)
{
	module->specific = *specific;
}

module_t module_lookupbyname(const char *name)
{
	for (int i = 0; i < modules_count; i++) {
		if (strcmp(modules[i].data->name, name) == 0)
			return &modules[i];
	}
	return NULL;
}

/* As in linker_file_unload(): a module that refuses MOD_UNLOAD does not bring back those that went before it. */
static int modules_tell(int event, int is_forced)
{
	for (int i = modules_count; i-- > 0;) {		/* the last one loaded goes first */
		int error = modules[i].data->evhand(&modules[i], event, modules[i].data->priv);

		model_assert_nothing_held(event == MOD_QUIESCE ? "MOD_QUIESCE" : "MOD_UNLOAD");
		if (event == MOD_QUIESCE && (error == EOPNOTSUPP || error == EINVAL || is_forced))
			error = 0;
		if (error != 0)
			return error;
		if (event == MOD_UNLOAD)
			modules_count--;
	}
	return 0;
}

/* VNET(9) */

static void vnet_run(const struct vnet_sysinit *entry)
{
	entry->func(entry->arg);
}

static void vnet_entry_add(const struct vnet_sysinit **entries, const struct vnet_sysinit *entry)
{
	for (int i = 0; i < VNET_ENTRIES_MAX; i++) {
		if (entries[i] == NULL) {
			entries[i] = entry;
			return;
		}
	}
	host_die("fault: more VNET_SYSINITs than the model counts");
}

static void vnet_entry_remove(const struct vnet_sysinit **entries, const struct vnet_sysinit *entry)
{
	for (int i = 0; i < VNET_ENTRIES_MAX; i++) {
		if (entries[i] == entry)
			entries[i] = NULL;
	}
}

void vnet_register_sysinit(void *argument)
{
	vnet_entry_add(vnet_entries, argument);
	model_vnet_each(vnet_run, argument);
}

void vnet_deregister_sysinit(void *argument)
{
	vnet_entry_remove(vnet_entries, argument);
}

void vnet_register_sysuninit(void *argument)
{
	vnet_entry_add(vnet_exits, argument);
}

void vnet_deregister_sysuninit(void *argument)
{
	model_vnet_each(vnet_run, argument);
	vnet_entry_remove(vnet_exits, argument);
}

/* System calls */

static int syscall_register(int *offset, struct sysent *new_sysent, struct sysent *old_sysent, int flags)
{
	int number = *offset;

	if ((flags & ~SY_THR_STATIC) != 0)
		return EINVAL;
	if (number == NO_SYSCALL) {
		for (number = SYSCALL_FIRST_FREE; syscalls[number].sy_call != NULL; number++) {
			if (number == SYSCALL_FIRST_FREE + SYSCALL_SLOTS)
				return ENFILE;
		}
		*offset = number;
	} else if (number < 0 || number >= SYSCALLS)
		return EINVAL;
	else if (syscalls[number].sy_call != NULL)
		return EEXIST;
	*old_sysent = syscalls[number];
	syscalls[number] = *new_sysent;
	return 0;
}

static int syscall_deregister(int *offset, struct sysent *old_sysent)
{
	struct sysent *entry;

	if (*offset == 0)
		return 0;
	entry = &syscalls[*offset];
	entry->sy_thrcnt |= SY_THR_DRAINING;
	while (__atomic_load_n(&entry->sy_thrcnt, __ATOMIC_ACQUIRE) >= SY_THR_INCR)
		host_yield();
	*entry = *old_sysent;
	return 0;
}

int syscall_module_handler(module_t module, int event, void *argument)
{
	struct syscall_module_data *data = argument;
	modspecific_t specific;
	int error;

	switch (event) {
	case MOD_LOAD:
		error = syscall_register(data->offset, data->new_sysent, &data->old_sysent, data->flags);
		if (error != 0) {
			*data->offset = 0;		/* the sign for MOD_UNLOAD that there is nothing to undo */
			return error;
		}
		specific.intval = *data->offset;
		module_setspecific(module, &specific);
		return data->chainevh ? data->chainevh(module, event, data->chainarg) : 0;
	case MOD_UNLOAD:
		if (data->chainevh != NULL && (error = data->chainevh(module, event, data->chainarg)) != 0)
			return error;
		return syscall_deregister(data->offset, &data->old_sysent);
	default:
		return data->chainevh ? data->chainevh(module, event, data->chainarg) : EOPNOTSUPP;
	}
}

int model_syscall_number(const char *module_name)
{
	module_t module = module_lookupbyname(module_name);

	return module ? module->specific.intval : -1;
}

int model_syscall(int number, int is_privileged, const host_word registers[8], host_word *value)
{
	struct model_thread *self = model_self();
	host_word arguments[8];
	struct sysent *entry;
	int error;

	if (number < 0 || number >= SYSCALLS || syscalls[number].sy_call == NULL)
		return ENOSYS;
	entry = &syscalls[number];
	__atomic_fetch_add(&entry->sy_thrcnt, SY_THR_INCR, __ATOMIC_ACQUIRE);
	if (entry->sy_narg > nitems(arguments))
		host_die("fault: a system call with more than eight arguments");
	/* what the call does not declare it must not read */
	memset(arguments, 0xd0, sizeof(arguments));
	memcpy(arguments, registers, entry->sy_narg * sizeof(arguments[0]));
	self->cred.cr_uid = self->cred.cr_ruid = is_privileged ? 0 : 1001;
	self->td.td_retval[0] = 0;
	host_module_entered(1);
	error = entry->sy_call(&self->td, arguments);
	host_module_entered(0);
	*value = (host_word)self->td.td_retval[0];
	model_assert_nothing_held("a system call");
	__atomic_fetch_sub(&entry->sy_thrcnt, SY_THR_INCR, __ATOMIC_RELEASE);
	return error;
}

int model_module_runs(host_word address)
{
	return file != NULL && host_file_runs(file, (void *)address);
}

void model_module_patch(host_word address, host_byte byte)
{
	host_file_patch((void *)address, byte);
}

/* mod_cc(9) */

int cc_register_algo(struct cc_algo *algo)
{
	if (algorithm != NULL)
		return EEXIST;
	algo->cc_refcount = 0;
	algo->flags = 0;
	algorithm = algo;
	return 0;
}

int cc_deregister_algo(struct cc_algo *algo)
{
	if (algorithm != algo)
		return ENOENT;
	if (!(algo->flags & CC_MODULE_BEING_REMOVED))
		model_fault("cc_deregister_algo of a controller that did not see MOD_QUIESCE");
	if (V_default_cc_ptr == algo || algo->cc_refcount > 0)
		return EBUSY;
	algorithm = NULL;
	return 0;
}

void cc_refer(struct cc_algo *algo)
{
	__atomic_fetch_add(&algo->cc_refcount, 1, __ATOMIC_RELAXED);
}

void cc_release(struct cc_algo *algo)
{
	if (__atomic_fetch_sub(&algo->cc_refcount, 1, __ATOMIC_RELAXED) == 0)
		model_fault("cc_release without cc_refer");
}

/* A module that is being removed gets no new connections; it goes when its last one has gone. */
int cc_modevent(module_t module __unused, int event, void *argument)
{
	struct cc_algo *algo = argument;
	int error = 0;

	switch (event) {
	case MOD_LOAD:
		if (algo->cc_data_sz == NULL && algo->cb_init != NULL)
			return EINVAL;
		if (algo->mod_init != NULL)
			error = algo->mod_init();
		return error ? error : cc_register_algo(algo);
	case MOD_QUIESCE:
		if (V_default_cc_ptr == algo)
			return EBUSY;
		algo->flags |= CC_MODULE_BEING_REMOVED;
		return 0;
	case MOD_UNLOAD:
		error = cc_deregister_algo(algo);
		if (error == 0 && algo->mod_destroy != NULL)
			algo->mod_destroy();
		return error;
	case MOD_SHUTDOWN:
		return 0;
	default:
		return EINVAL;
	}
}

struct cc_algo *model_cc(void)
{
	return algorithm != NULL && !(algorithm->flags & CC_MODULE_BEING_REMOVED) ? algorithm : NULL;
}

/* kldload(8), kldunload(8) */

static void file_drop(void)
{
	model_sysctl_unregister();
	sysinits_run("set_sysuninit_set", 1);
	model_assert_nothing_held("SYSUNINIT");
	model_memory_check();
	model_locks_check("at unload");
	if (algorithm != NULL)
		model_fault("the congestion control is still registered at unload");
	algorithm = NULL;
	for (int i = 0; i < SYSCALLS; i++) {
		if (syscalls[i].sy_call != NULL)
			model_fault("system call %d is still registered at unload", i);
		syscalls[i].sy_call = NULL;
	}
	host_file_unload(file);
	file = NULL;
}

int model_load(const char *path, char *problem)
{
	if (file != NULL)
		return EEXIST;
	file = host_file_load(path, problem);
	if (file == NULL)
		return ENOEXEC;
	modules_count = load_error = 0;
	sysinits_run("set_sysinit_set", 0);
	model_assert_nothing_held("SYSINIT");
	if (modules_count == 0) {
		file_drop();
		return load_error ? load_error : ENOEXEC;
	}
	model_sysctl_register(file);
	return 0;
}

int model_unload(int is_forced)
{
	int error;

	if (file == NULL)
		return ENOENT;
	error = modules_tell(MOD_QUIESCE, is_forced);
	if (error == 0)
		error = modules_tell(MOD_UNLOAD, is_forced);
	if (error == 0)
		file_drop();
	return error;
}
