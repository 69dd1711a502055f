/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Between the two halves of the harness. The host (host_*) is Linux: libc, threads, the loader, the command line. The
 * model (model_*) is the kernel: compiled with FreeBSD's headers and flags, without floating point. Only plain C types
 * cross, so both include this file.
 */
#ifndef HOST_H
#define HOST_H

typedef unsigned char host_byte;
typedef unsigned long host_word;	/* 64 bits on both sides */

enum host_limits {
	HOST_CPUS = 8,			/* a thread is a CPU, and has its own curthread */
	HOST_CPU_BYTES = 4096,		/* UMA_PCPU_ALLOC_SIZE */
	HOST_TEXT_MAX = 512,
	HOST_USER_BASE = 0x60000000,	/* the user's memory, as the module sees its addresses; a random heap ends below */
	HOST_USER_BYTES = 0x1000000,
};

/* Host services for the model. */
void *host_alloc(host_word size, host_word align);	/* not cleared; a guard page follows; NULL never */
void host_free(void *item, host_word size);		/* faults at any later use */
void *host_calloc(host_word n, host_word size);	/* the model's own, unfenced memory */
void host_release(void *memory);
void host_yield(void);
int host_format(char *out, host_word size, const char *format, __builtin_va_list args);
_Noreturn void host_die(const char *text);
void host_note(const char *text);			/* a line on stderr */

/* The loader: a loaded file is an ET_REL object in its own low memory, as the kernel's linker lays it out. */
struct host_file;
struct host_file *host_file_load(const char *path, char *problem);	/* NULL: problem says why */
void host_file_unload(struct host_file *file);
int host_file_set(const struct host_file *file, const char *name, void ***begin, void ***end);
int host_file_holds(const struct host_file *file, const void *address);
int host_file_runs(const struct host_file *file, const void *address);	/* its code */
void host_file_patch(const void *address, host_byte byte);		/* of the code */

/* The symbols that a module may import: made from the model's by the build. */
struct host_symbol {
	const char *name;
	const void *address;
};
extern const struct host_symbol host_symbols[];
extern const host_word host_symbols_count;

/* model_base.c */
void model_boot(int first_tick, host_word first_us);
void *model_cpu(int cpu);				/* what %gs points to */
void model_advance(host_word us);
host_word model_now_us(void);
int model_faults(char *text);				/* new ones since the last call; text gets the first */
int model_vnet_switch(int index);			/* 0 or 1: the network stack of what comes next */
void *model_vnet_place(host_word size);			/* the kernel linker's vnet_data_alloc() */
void model_vnet_copy(void *start, host_word size);
void model_vnet_release(void);

/* model_module.c: errno, 0 for success */
int model_load(const char *path, char *problem);
int model_unload(int is_forced);
int model_syscall_number(const char *module_name);	/* modfind(2), modstat(2); -1: none */
int model_syscall(int number, int is_privileged, const host_word registers[8], host_word *value);
int model_module_runs(host_word address);		/* the module's code */
void model_module_patch(host_word address, host_byte byte);
int model_holds_module_lock(void);			/* this thread does; the stack's own around a callback is none */
int model_cpu_is(int cpu);

/* model_memory.c */
void model_fail_allocation(host_word nth);		/* the nth that may fail from now on; 0: none */
host_word model_allocations(void);			/* that could have failed, since boot */
host_word model_live_allocations(void);

/* model_user.c: errno */
int model_user_map(host_word address, host_word size, int is_writable);
void model_user_unmap(host_word address, host_word size);
int model_user_read(host_word address, void *out, host_word size);
int model_user_write(host_word address, const void *in, host_word size);

/* model_sysctl.c: errno */
int model_sysctl(const char *name, int is_privileged, const char *new_value, char *value);
int model_sysctl_list(char *names, host_word size);

/* model_tcp.c: one TCP connection each */
struct model_address {
	int is_ipv6;
	host_byte address[16];
	unsigned short port;
};
int model_subflow_create(const struct model_address *local, const struct model_address *foreign, unsigned mss_bytes,
    host_word conn_id, int *subflow);
int model_subflow_close(int subflow);
int model_subflow_switch(int subflow, int is_on);	/* setsockopt(TCP_CONGESTION) at any time */
int model_subflow_get(int subflow, const char *field, long *value);
int model_subflow_set(int subflow, const char *field, long value);
int model_send(int subflow, unsigned bytes, int is_again);
int model_ack(int subflow, unsigned bytes, unsigned rtt_us, int is_cwnd_limited);
int model_dupack(int subflow, unsigned sacked_bytes);
int model_event(int subflow, const char *event, unsigned argument);

/* interrupt.c: until the end, `function` runs as another CPU at the nth place; the end returns how many there were */
void host_module_entered(int is_inside);		/* the model is about to call the module, or did */
void interrupt_begin(host_word place, void (*function)(void));
host_word interrupt_end(void);

/* hammer.c: threads at once; summary is a line of figures */
void hammer(unsigned ms, unsigned subflows, unsigned seed, char *summary);
void host_thread_enter(int cpu);			/* this thread is now that CPU */

#endif /* HOST_H */
