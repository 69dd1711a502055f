/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * CoDel (RFC 8289). The decision falls when a packet's service begins, so packets wait in a queue of their own, the first of
 * them in service, and move to the pipe when they depart. The link's source is due at the end of service or at the next
 * arrival at the far end, whichever comes first.
 */
#include "link.h"

#define CODEL_TARGET_NS (5 * NS_PER_MS)
#define CODEL_INTERVAL_NS (100 * NS_PER_MS)

void codel_init(struct link *link, const struct ccdrl_link_config *config)
{
	struct codel_state *codel = &link->aqm.codel;

	codel->target_ns = config->aqm_target_ns > 0 ? config->aqm_target_ns : CODEL_TARGET_NS;
	codel->interval_ns = config->aqm_interval_ns > 0 ? config->aqm_interval_ns : CODEL_INTERVAL_NS;
}

static struct packet *codel_head(struct link *link)
{
	return link->queue.head == link->queue.tail ? NULL : &link->queue.slots[link->queue.head & link->queue.mask];
}

/* Section 5.3: has the sojourn time been above the target for an interval? The head itself no longer counts as queued. */
static bool codel_is_ok_to_drop(struct link *link, int64_t now_ns)
{
	struct codel_state *codel = &link->aqm.codel;
	const struct packet *head = codel_head(link);

	if (head == NULL || now_ns - head->arrival_ns < codel->target_ns ||
	    link->queue_bytes - head->wire_bytes <= MTU_BYTES) {
		codel->first_above_ns = 0;
		return false;
	}
	if (codel->first_above_ns == 0) {
		codel->first_above_ns = now_ns + codel->interval_ns;
		return false;
	}
	return now_ns >= codel->first_above_ns;
}

static int64_t codel_control_law(const struct codel_state *codel, int64_t time_ns)
{
	return time_ns + (int64_t)((double)codel->interval_ns / sqrt((double)codel->count));
}

static void codel_remove_head(struct link *link, int64_t now_ns)
{
	link_integrate(link, now_ns);
	link->queue_bytes -= codel_head(link)->wire_bytes;
	link->queue.head++;
}

/* Drops the head, and says whether the next one may go as well; a marked head stays and is served. */
static bool codel_drop_head(struct ccdrl_sim *sim, struct link *link, int64_t now_ns)
{
	const struct packet packet = *codel_head(link);

	if (link->is_ecn) {
		codel_head(link)->flags |= PACKET_CE;
		link->marked_packets++;
		return true;
	}
	codel_remove_head(link, now_ns);
	link_packet_drop(sim, link, &packet);
	return codel_is_ok_to_drop(link, now_ns);
}

/* Section 5.6: drops what the control law asks for; the head that is left goes into service. */
static void codel_dequeue(struct ccdrl_sim *sim, struct link *link, int64_t now_ns)
{
	struct codel_state *codel = &link->aqm.codel;
	bool is_ok = codel_is_ok_to_drop(link, now_ns);

	if (codel->is_dropping) {
		codel->is_dropping = is_ok;
		while (codel->is_dropping && now_ns >= codel->drop_next_ns) {
			codel->is_dropping = codel_drop_head(sim, link, now_ns);
			if (!codel->is_dropping)
				break;
			codel->count++;
			codel->drop_next_ns = codel_control_law(codel, codel->drop_next_ns);
			if (link->is_ecn)
				break;		/* one mark a packet */
		}
	} else if (is_ok) {
		const uint32_t delta = codel->count - codel->last_count;

		(void)codel_drop_head(sim, link, now_ns);
		codel->is_dropping = true;
		/* Soon after the last episode: begin near the drop rate that controlled the queue then. */
		codel->count = delta > 1 && now_ns - codel->drop_next_ns < 16 * codel->interval_ns ? delta : 1;
		codel->drop_next_ns = codel_control_law(codel, now_ns);
		codel->last_count = codel->count;
	}
}

static void codel_serve(struct ccdrl_sim *sim, struct link *link, int64_t now_ns, bool is_busy)
{
	struct packet *head;

	codel_dequeue(sim, link, now_ns);
	head = codel_head(link);
	if (head == NULL)
		return;
	head->departure_ns = server_depart(&link->server, now_ns, is_busy, head->wire_bytes);
	if (unlikely(head->departure_ns == TIME_NEVER))
		link->head_left_bytes = head->wire_bytes;
}

void codel_advance(struct ccdrl_sim *sim, struct link *link)
{
	for (struct packet *head = codel_head(link); head != NULL && head->departure_ns <= sim->now_ns;
	    head = codel_head(link)) {
		struct packet packet = *head;

		codel_remove_head(link, packet.departure_ns);
		link->departed_bytes += packet.wire_bytes;
		packet.arrival_ns = link_arrival(link, packet.departure_ns);
		if (likely(ring_reserve(sim, &link->pipe))) {
			link->pipe.slots[link->pipe.tail++ & link->pipe.mask] = packet;
			link->in_service = link->pipe.tail;
		} else {
			link_packet_drop(sim, link, &packet);
		}
		codel_serve(sim, link, packet.departure_ns, true);
	}
}

void codel_source_set(struct ccdrl_sim *sim, struct link *link)
{
	const struct packet *head = codel_head(link);
	int64_t time_ns = head == NULL ? TIME_NEVER : head->departure_ns;

	if (link->pipe.head != link->pipe.tail) {
		const int64_t arrival_ns = link->pipe.slots[link->pipe.head & link->pipe.mask].arrival_ns;

		time_ns = arrival_ns < time_ns ? arrival_ns : time_ns;
	}
	if (time_ns == link->source_time_ns)
		return;
	link->source_time_ns = time_ns;
	source_set(sim, link->source, time_ns);
}

void codel_send(struct ccdrl_sim *sim, struct link *link, const struct packet *packet)
{
	struct packet *slot;

	codel_advance(sim, link);
	if (!link_has_room(link, link->queue.tail - link->queue.head, packet->wire_bytes) ||
	    !ring_reserve(sim, &link->queue)) {
		link_packet_drop(sim, link, packet);
	} else {
		link_integrate(link, sim->now_ns);
		link->queue_bytes += packet->wire_bytes;
		slot = &link->queue.slots[link->queue.tail++ & link->queue.mask];
		*slot = *packet;
		slot->arrival_ns = sim->now_ns;
		slot->departure_ns = TIME_NEVER;
		if (link->is_random && loss_draw(&link->loss, &link->rng))
			slot->flags |= PACKET_LOST;
		if (link->queue.tail - link->queue.head == 1)
			codel_serve(sim, link, sim->now_ns, false);
	}
	codel_source_set(sim, link);
}

void codel_fire(struct ccdrl_sim *sim, struct link *link)
{
	codel_advance(sim, link);
	link_pipe_deliver(sim, link);
	link->source_time_ns = -1;	/* it has fired: set it afresh, whatever it is */
	codel_source_set(sim, link);
}
