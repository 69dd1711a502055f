/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The FIFO path of a link: a packet is accepted or dropped when it arrives; an accepted one gets its departure and its arrival
 * at the far end at once, and stands in the pipe until then. Entry points and their contract: internal.h.
 */
#include "link.h"

void link_packet_drop(struct ccdrl_sim *sim, struct link *link, const struct packet *packet)
{
	link->dropped_packets++;
	subflow_packet_dropped(sim, packet);
}

void link_packet_lose(struct ccdrl_sim *sim, struct link *link, const struct packet *packet)
{
	link->lost_packets++;
	subflow_packet_dropped(sim, packet);
}

void link_send(struct ccdrl_sim *sim, struct link *link, const struct packet *packet)
{
	const int64_t now_ns = sim->now_ns;
	enum verdict verdict = VERDICT_ACCEPT;
	struct packet *slot;
	bool is_busy;

	if (unlikely(link->is_down)) {
		link_packet_lose(sim, link, packet);
		return;
	}
	if (unlikely(link->queue_kind == CCDRL_QUEUE_CODEL)) {
		codel_send(sim, link, packet);
		return;
	}
	link_drain(link, now_ns);
	if (unlikely(!link_has_room(link, link->pipe.tail - link->in_service, packet->wire_bytes)))
		verdict = VERDICT_DROP;
	else if (unlikely(link->queue_kind != CCDRL_QUEUE_DROPTAIL))
		verdict = link->queue_kind == CCDRL_QUEUE_RED ? red_arrive(link, now_ns) : pie_arrive(link, now_ns);
	if (unlikely(verdict == VERDICT_DROP || !ring_reserve(sim, &link->pipe))) {
		link_packet_drop(sim, link, packet);
		return;
	}

	is_busy = link->in_service != link->pipe.tail;
	slot = &link->pipe.slots[link->pipe.tail & link->pipe.mask];
	*slot = *packet;
	slot->departure_ns = server_depart(&link->server, now_ns, is_busy, packet->wire_bytes);
	slot->arrival_ns = link_arrival(link, slot->departure_ns);
	if (unlikely(slot->departure_ns == TIME_NEVER && !is_busy))
		link->head_left_bytes = packet->wire_bytes;
	if (unlikely(verdict == VERDICT_MARK)) {
		slot->flags |= PACKET_CE;
		link->marked_packets++;
	}
	if (unlikely(link->is_random) && loss_draw(&link->loss, &link->rng))
		slot->flags |= PACKET_LOST;
	link_integrate(link, now_ns);
	link->queue_bytes += packet->wire_bytes;
	if (link->pipe.tail++ == link->pipe.head)
		source_set(sim, link->source, slot->arrival_ns);
}

void link_pipe_deliver(struct ccdrl_sim *sim, struct link *link)
{
	const int64_t now_ns = sim->now_ns;

	while (link->pipe.head != link->pipe.tail) {
		const struct packet *head = &link->pipe.slots[link->pipe.head & link->pipe.mask];
		struct packet packet;

		if (head->arrival_ns > now_ns)
			return;
		if (link->pipe.head == link->in_service)
			link_drain(link, now_ns);
		/* A copy, and out of the ring first: the receiver's work may come back to link_send, even of this link. */
		packet = *head;
		link->pipe.head++;
		if (unlikely(packet.flags & PACKET_LOST))
			link_packet_lose(sim, link, &packet);
		else
			subflow_packet_forward(sim, &packet);
	}
}

void link_fire(struct ccdrl_sim *sim, struct link *link)
{
	if (unlikely(link->queue_kind == CCDRL_QUEUE_CODEL)) {
		codel_fire(sim, link);
		return;
	}
	link_pipe_deliver(sim, link);
	source_set(sim, link->source, link->pipe.head == link->pipe.tail ? TIME_NEVER :
	    link->pipe.slots[link->pipe.head & link->pipe.mask].arrival_ns);
}

int64_t link_delay_ns(const struct link *link) { return link->delay_ns; }

bool link_is_down(const struct link *link) { return link->is_down; }

bool link_loss_draw(struct link *link) { return loss_draw(&link->loss, &link->rng); }

int64_t link_backlog_ns(struct ccdrl_sim *sim, struct link *link)
{
	const int64_t now_ns = sim->now_ns;

	link_drain(link, now_ns);
	if (link->queue_bytes == 0)
		return 0;
	if (link->queue_kind == CCDRL_QUEUE_CODEL) {
		/* Only the packet in service has been promised; ask a copy of the server for the ones behind it. */
		struct server server = link->server;
		const int64_t behind_bytes = link->queue_bytes -
		    link->queue.slots[link->queue.head & link->queue.mask].wire_bytes;

		if (behind_bytes > 0)
			(void)server_depart(&server, now_ns, true, (double)behind_bytes);
		return server.free_ns > now_ns ? server.free_ns - now_ns : 0;
	}
	return link->server.free_ns - now_ns;
}

uint32_t link_packets_of(const struct link *link, const struct subflow *sf)
{
	uint32_t n = 0;

	for (uint32_t i = link->pipe.head; i != link->pipe.tail; i++)
		n += link->pipe.slots[i & link->pipe.mask].subflow == sf;
	for (uint32_t i = link->queue.head; i != link->queue.tail; i++)
		n += link->queue.slots[i & link->queue.mask].subflow == sf;
	return n;
}
