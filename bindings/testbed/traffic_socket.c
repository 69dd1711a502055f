/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Sockets in other namespaces: a thread that enters a namespace makes the socket there, and any thread may use it.
 *
 * A sender binds to the address of its first route and to a port that names the flow, so that the receiver knows whom it has
 * accepted.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "traffic.h"

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

#define LISTEN_PORT 5001		/* plain TCP; MPTCP one above */

int traffic_watch(const struct testbed_traffic *traffic, int operation, int fd, uint32_t events, enum socket_kind kind,
    uint32_t index)
{
	struct epoll_event event = { .events = events, .data.u64 = (uint64_t)kind << 32 | index };

	return epoll_ctl(traffic->epoll, operation, fd, &event) == 0 ? 0 : -errno;
}

static struct sockaddr_in address(uint32_t host, uint32_t port)
{
	return (struct sockaddr_in){
		.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(host),
	};
}

static int socket_open(bool is_mptcp)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, is_mptcp ? IPPROTO_MPTCP : IPPROTO_TCP);

	return fd < 0 ? -errno : fd;
}

static int listener_open(struct testbed_traffic *traffic, uint32_t index)
{
	const struct sockaddr_in local = address(TESTBED_ADDRESS_RECEIVER, LISTEN_PORT + index);
	int fd = socket_open(index == 1);

	if (fd < 0)
		return fd;
	traffic->listeners[index] = fd;
	if (bind(fd, (const struct sockaddr *)&local, sizeof(local)) != 0 || listen(fd, FLOWS_MAX) != 0)
		return -errno;
	return traffic_watch(traffic, EPOLL_CTL_ADD, fd, EPOLLIN, SOCKET_LISTENER, index);
}

int traffic_connect(struct testbed_traffic *traffic, uint32_t index)
{
	struct flow *flow = traffic->flows[index];
	const struct testbed_flow_config *config = &flow->config;
	const struct sockaddr_in local = address(TESTBED_ADDRESS_SENDERS + config->first_route, FIRST_PORT + index);
	const struct sockaddr_in remote = address(TESTBED_ADDRESS_RECEIVER, LISTEN_PORT + flow_is_mptcp(flow));
	/* Whole segments; -1: unlimited. The namespace's bound (namespaces.py) is for kernels that know none for a socket. */
	const int unsent_bytes = flow_is_mptcp(flow) ? (int)(UNSENT_SEGMENTS * flow_payload_bytes(flow)) : -1;
	const int yes = 1;
	char cc[sizeof(config->cc)] = { 0 };
	socklen_t cc_bytes = sizeof(cc);
	int error = testbed_netns_enter(config->netns);

	if (error != 0)
		return error;
	flow->sender = socket_open(flow_is_mptcp(flow));
	if (flow->sender < 0)
		return flow->sender;
	(void)setsockopt(flow->sender, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent_bytes, sizeof(unsent_bytes));
	/* Segments leave as the application writes them: a rate is given in whole segments. */
	if (setsockopt(flow->sender, IPPROTO_TCP, TCP_CONGESTION, config->cc, (socklen_t)strlen(config->cc)) != 0 ||
	    setsockopt(flow->sender, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes)) != 0 ||
	    bind(flow->sender, (const struct sockaddr *)&local, sizeof(local)) != 0 ||
	    (connect(flow->sender, (const struct sockaddr *)&remote, sizeof(remote)) != 0 && errno != EINPROGRESS))
		return -errno;
	/* An MPTCP socket without subflows takes any name and drops an unknown one in silence: look. */
	if (getsockopt(flow->sender, IPPROTO_TCP, TCP_CONGESTION, cc, &cc_bytes) != 0 || strncmp(cc, config->cc, sizeof(cc)) != 0)
		return -ENOENT;
	return traffic_watch(traffic, EPOLL_CTL_ADD, flow->sender, EPOLLOUT, SOCKET_SENDER, index);
}

/* Falls silent at once: a reset (MPTCP: a fast close), and nothing of the connection stays behind. */
void traffic_abort(int *fd)
{
	const struct sockaddr nothing = { .sa_family = AF_UNSPEC };

	if (*fd < 0)
		return;
	(void)connect(*fd, &nothing, sizeof(nothing));
	close(*fd);
	*fd = -1;
}

struct open_run { struct testbed_traffic *traffic; int error; };

static void *open_thread(void *argument)
{
	struct open_run *run = argument;

	run->error = testbed_netns_enter(run->traffic->receiver_netns);
	for (uint32_t i = 0; i < 2 && run->error == 0; i++)
		run->error = listener_open(run->traffic, i);
	return NULL;
}

int testbed_traffic_open(struct testbed_traffic *traffic)
{
	struct open_run run = { traffic, 0 };
	pthread_t thread;
	int error = pthread_create(&thread, NULL, open_thread, &run);

	if (error != 0)
		return -error;
	pthread_join(thread, NULL);
	return run.error;
}
