/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Network namespaces without a name and TUN devices in them. Both live as long as a file descriptor of this process: however
 * the process ends, SIGKILL included, the kernel takes them away.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "testbed.h"

int64_t testbed_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int netns_unshare(void)
{
	int fd;

	if (unshare(CLONE_NEWNET) != 0)
		return -errno;
	fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static void *netns_thread(void *result)
{
	*(int *)result = netns_unshare();
	return NULL;
}

/* A thread of its own makes the namespace, so that the caller never leaves its own one. */
int testbed_netns_new(void)
{
	pthread_t thread;
	int result = -EAGAIN;
	int error = pthread_create(&thread, NULL, netns_thread, &result);

	if (error != 0)
		return -error;
	pthread_join(thread, NULL);
	return result;
}

int testbed_netns_enter(int netns)
{
	return setns(netns, CLONE_NEWNET) == 0 ? 0 : -errno;
}

static int tun_open(const char *name)
{
	struct ifreq request = { .ifr_flags = IFF_TUN | IFF_NO_PI };
	int fd;

	if (strlen(name) >= sizeof(request.ifr_name))
		return -EINVAL;
	strcpy(request.ifr_name, name);
	fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (ioctl(fd, TUNSETIFF, &request) != 0) {
		int error = -errno;

		close(fd);
		return error;
	}
	return fd;
}

struct tun_request { int netns; const char *name; int result; };

static void *tun_thread(void *argument)
{
	struct tun_request *request = argument;
	int error = testbed_netns_enter(request->netns);

	request->result = error != 0 ? error : tun_open(request->name);
	return NULL;
}

int testbed_tun_open(int netns, const char *name)
{
	struct tun_request request = { .netns = netns, .name = name, .result = -EAGAIN };
	pthread_t thread;
	int error = pthread_create(&thread, NULL, tun_thread, &request);

	if (error != 0)
		return -error;
	pthread_join(thread, NULL);
	return request.result;
}

int testbed_die_with_parent(void)
{
	return prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 ? 0 : -errno;
}
