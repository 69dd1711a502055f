/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The kernel's floor: CPUs and threads, time, panics and messages, privileges, epochs, network stacks.
 */
#include "model.h"

#include <sys/epoch.h>
#include <sys/jail.h>
#include <sys/priv.h>
#include <sys/syslog.h>
#include <sys/time.h>

#include <machine/stdarg.h>

enum { VNETS = 2, VNET_ROOM = 4096, US_PER_TICK = 1000 };

static struct pcpu cpus[HOST_CPUS] __aligned(HOST_CPU_BYTES);
static struct model_thread threads[HOST_CPUS];
static struct vnet vnets[VNETS];
static struct prison prisons[VNETS];
static host_word now_us;
static volatile int faults;
static char first_fault[HOST_TEXT_MAX];

/* Imports of modules. */
struct pcpu *__pcpu = cpus;
volatile int ticks;
volatile long ticksl;
int hz = 1000, tick = US_PER_TICK;
volatile time_t time_uptime, time_second;
const char *panicstr;
bool panicked;
int mp_ncpus = HOST_CPUS, mp_maxid = HOST_CPUS - 1;
epoch_t net_epoch_preempt;
struct vnet *vnet0 = &vnets[0];
struct vnet_list_head vnet_head;
VNET_DEFINE_STATIC(char, module_room[VNET_ROOM]) __aligned(64);

struct model_thread *model_self(void)
{
	return __containerof(curthread, struct model_thread, td);
}

void *model_cpu(int cpu)
{
	return &cpus[cpu];
}

int model_cpu_is(int cpu)
{
	return model_self() == &threads[cpu];
}

static void text_format(char *text, const char *format, va_list args)
{
	host_format(text, HOST_TEXT_MAX, format, args);
	text[HOST_TEXT_MAX - 1] = '\0';
}

void model_fault(const char *format, ...)
{
	char text[HOST_TEXT_MAX];
	va_list args;

	va_start(args, format);
	text_format(text, format, args);
	va_end(args);
	if (__atomic_fetch_add(&faults, 1, __ATOMIC_RELAXED) == 0)
		memcpy(first_fault, text, sizeof(text));
}

int model_faults(char *text)
{
	int count = faults;

	if (count > 0)
		memcpy(text, first_fault, sizeof(first_fault));
	faults = 0;
	return count;
}

void panic(const char *format, ...)
{
	char text[HOST_TEXT_MAX] = "fault: panic: ";
	char message[HOST_TEXT_MAX];
	va_list args;

	va_start(args, format);
	text_format(message, format, args);
	va_end(args);
	strlcat(text, message, sizeof(text));
	host_die(text);
}

#ifdef kassert_panic
#undef kassert_panic
#endif
void kassert_panic(const char *format, ...) __printflike(1, 2);
void kassert_panic(const char *format, ...)
{
	char text[HOST_TEXT_MAX];
	va_list args;

	va_start(args, format);
	text_format(text, format, args);
	va_end(args);
	panic("%s", text);
}

int printf(const char *format, ...)
{
	char text[HOST_TEXT_MAX];
	va_list args;

	va_start(args, format);
	text_format(text, format, args);
	va_end(args);
	host_note(text);
	return (int)strlen(text);
}

void log(int level __unused, const char *format, ...)
{
	char text[HOST_TEXT_MAX];
	va_list args;

	va_start(args, format);
	text_format(text, format, args);
	va_end(args);
	host_note(text);
}

size_t strlcat(char * __restrict to, const char * __restrict from, size_t size)
{
	size_t used = strlen(to);

	return used + (used < size ? strlcpy(to + used, from, size - used) : strlen(from));
}

size_t strlcpy(char * __restrict to, const char * __restrict from, size_t size)
{
	size_t length = strlen(from);

	if (size > 0) {
		memcpy(to, from, length < size ? length : size - 1);
		to[length < size ? length : size - 1] = '\0';
	}
	return length;
}

/* Time stands still between commands. ticks starts where the caller wants it, to cross its wrap-around. */
void model_advance(host_word us)
{
	host_word before = now_us / US_PER_TICK;

	now_us += us;
	ticks = (int)((unsigned)ticks + (unsigned)(now_us / US_PER_TICK - before));
	ticksl += (long)(now_us / US_PER_TICK - before);
	time_uptime = time_second = (time_t)(now_us / 1000000);
}

host_word model_now_us(void)
{
	return now_us;
}

void binuptime(struct bintime *out)
{
	out->sec = (time_t)(now_us / 1000000);
	out->frac = now_us % 1000000 * 18446744073709ULL;	/* 2^64 / 10^6 */
}

void getbinuptime(struct bintime *out)
{
	binuptime(out);
}

void microuptime(struct timeval *out)
{
	out->tv_sec = (time_t)(now_us / 1000000);
	out->tv_usec = (suseconds_t)(now_us % 1000000);
}

void getmicrouptime(struct timeval *out)
{
	microuptime(out);
}

void nanouptime(struct timespec *out)
{
	out->tv_sec = (time_t)(now_us / 1000000);
	out->tv_nsec = (long)(now_us % 1000000 * 1000);
}

void getnanouptime(struct timespec *out)
{
	nanouptime(out);
}

int priv_check(struct thread *td, int priv)
{
	return priv_check_cred(td->td_ucred, priv);
}

int priv_check_cred(struct ucred *cred, int priv)
{
	if (priv <= _PRIV_LOWEST || priv >= _PRIV_HIGHEST)
		model_fault("priv_check of privilege %d, which does not exist", priv);
	return cred->cr_uid == 0 ? 0 : EPERM;
}

void critical_enter_KBI(void)
{
	curthread->td_critnest++;
}

void critical_exit_KBI(void)
{
	if (curthread->td_critnest == 0)
		model_fault("critical_exit without critical_enter");
	else
		curthread->td_critnest--;
}

void _epoch_enter_preempt(epoch_t epoch __unused, epoch_tracker_t tracker __unused)
{
	model_self()->epochs++;
}

void _epoch_exit_preempt(epoch_t epoch __unused, epoch_tracker_t tracker __unused)
{
	if (model_self()->epochs-- == 0)
		model_fault("epoch left that was not entered");
}

int in_epoch(epoch_t epoch __unused)
{
	return model_self()->epochs > 0;
}

void model_assert_may_sleep(const char *what)
{
	struct model_thread *self = model_self();

	for (int i = 0; i < self->held_count; i++) {
		if (self->held[i].kind < MODEL_SLEEPABLE)
			model_fault("%s with lock \"%s\" held", what, self->held[i].name);
	}
	if (self->epochs > 0)
		model_fault("%s inside an epoch", what);
	if (self->td.td_critnest > 0)
		model_fault("%s inside a critical section", what);
}

void model_assert_nothing_held(const char *what)
{
	struct model_thread *self = model_self();

	for (int i = 0; i < self->held_count; i++)
		model_fault("%s returned with lock \"%s\" held", what, self->held[i].name);
	if (self->td.td_critnest > 0)
		model_fault("%s returned inside a critical section", what);
	self->held_count = 0;
	self->td.td_critnest = 0;
}

/* Network stacks: module variables live among the kernel's own, and each stack has a copy of all. */

int model_vnet_switch(int index)
{
	if (index < 0 || index >= VNETS)
		return EINVAL;
	for (int i = 0; i < HOST_CPUS; i++) {
		threads[i].td.td_vnet = &vnets[index];
		threads[i].cred.cr_prison = &prisons[index];
	}
	return 0;
}

void *model_vnet_place(host_word size)
{
	if (size > VNET_ROOM)
		host_die("fault: the module's VNET variables need more room than the model has");
	return VNET_NAME(module_room);
}

void model_vnet_copy(void *start, host_word size)
{
	for (int i = 0; i < VNETS; i++)
		memcpy((char *)vnets[i].vnet_data_base + (uintptr_t)start, start, size);
}

void model_vnet_release(void)
{
	memset(VNET_NAME(module_room), 0, VNET_ROOM);
	model_vnet_copy(VNET_NAME(module_room), VNET_ROOM);
}

void model_vnet_each(void (*function)(const struct vnet_sysinit *), const struct vnet_sysinit *entry)
{
	struct vnet *saved = curthread->td_vnet;

	for (int i = 0; i < VNETS; i++) {
		curthread->td_vnet = &vnets[i];
		function(entry);
	}
	curthread->td_vnet = saved;
}

void model_boot(int first_tick, host_word first_us)
{
	for (int i = 0; i < HOST_CPUS; i++) {
		threads[i].td.td_ucred = &threads[i].cred;
		threads[i].td.td_tid = 100000 + i;
		cpus[i].pc_curthread = &threads[i].td;
		cpus[i].pc_prvspace = &cpus[i];
		cpus[i].pc_cpuid = i;
		cpus[i].pc_zpcpu_offset = (uintptr_t)&cpus[i];
	}
	LIST_INIT(&vnet_head);
	for (int i = 0; i < VNETS; i++) {
		host_word size = VNET_STOP - VNET_START;

		vnets[i].vnet_magic_n = VNET_MAGIC_N;
		vnets[i].vnet_state = SI_SUB_VNET_DONE;
		vnets[i].vnet_data_mem = host_calloc(1, size);
		memcpy(vnets[i].vnet_data_mem, (void *)VNET_START, size);
		vnets[i].vnet_data_base = (uintptr_t)vnets[i].vnet_data_mem - VNET_START;
		prisons[i].pr_vnet = &vnets[i];
		LIST_INSERT_HEAD(&vnet_head, &vnets[i], vnet_le);
	}
	model_vnet_switch(0);
	ticks = first_tick;
	ticksl = first_tick;
	now_us = first_us;
}
