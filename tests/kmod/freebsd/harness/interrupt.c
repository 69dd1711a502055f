/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What another CPU does between two instructions of the module: races on purpose, and again. The processor's trap flag
 * stops the thread after each instruction. Places are counted where it is in the module and holds no lock of the
 * module's; at the one that was asked for something is run as another CPU. Functions that the module calls run at full
 * speed, up to a breakpoint where they return to.
 */
#include "host.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <ucontext.h>

#define TRAP_FLAG 0x100UL
#define BREAKPOINT 0xcc

enum { FIRST_CPU = 0, OTHER_CPU = 1 };

static host_word places, wanted, stop_at;
static host_byte stop_byte;
static void (*intrude)(void);		/* NULL: nothing is asked for */

static void run_until(host_word address, greg_t *flags)
{
	stop_byte = *(const host_byte *)(uintptr_t)address;
	stop_at = address;
	model_module_patch(address, BREAKPOINT);
	*flags &= ~(greg_t)TRAP_FLAG;
}

/* It reads a stack that is in use by others. */
__attribute__((no_sanitize_address)) static void on_trap(int number, siginfo_t *info, void *context)
{
	greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
	host_word at = (host_word)registers[REG_RIP], back = *(const host_word *)(uintptr_t)registers[REG_RSP];
	int saved = errno;

	(void)number;
	(void)info;
	if (stop_at != 0 && at == stop_at + 1) {
		model_module_patch(stop_at, stop_byte);
		stop_at = 0;
		registers[REG_RIP] = (greg_t)--at;
		registers[REG_EFL] |= (greg_t)TRAP_FLAG;
	}
	if (!model_module_runs(at)) {
		if (model_module_runs(back))
			run_until(back, &registers[REG_EFL]);
	} else if (!model_holds_module_lock() && ++places == wanted) {
		host_thread_enter(OTHER_CPU);
		intrude();
		host_thread_enter(FIRST_CPU);
	}
	errno = saved;
}

void interrupt_begin(host_word place, void (*function)(void))
{
	struct sigaction action = { .sa_sigaction = on_trap, .sa_flags = SA_SIGINFO };

	places = 0;
	wanted = place;
	intrude = function;
	sigaction(SIGTRAP, &action, NULL);
}

host_word interrupt_end(void)
{
	if (stop_at != 0)			/* what looked like a return address was another word */
		model_module_patch(stop_at, stop_byte);
	stop_at = 0;
	intrude = NULL;
	return places;
}

/* The flag is clear in handlers, and so for the other CPU. */
void host_module_entered(int is_inside)
{
	if (intrude != NULL && model_cpu_is(FIRST_CPU))
		__builtin_ia32_writeeflags_u64(is_inside ? __builtin_ia32_readeflags_u64() | TRAP_FLAG :
		    __builtin_ia32_readeflags_u64() & ~TRAP_FLAG);
}
