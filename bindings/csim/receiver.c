/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The receiving end of a subflow: subflow-level reassembly, SACK blocks (RFC 2018), delayed ACKs (RFC 5681 section 4.2: at
 * least every second segment, at once out of order or when a hole fills), ECN echo. Segments are handed to the data level as
 * they arrive; a hole in the subflow sequence does not hold back data that is in data-sequence order.
 */
#include "internal.h"

/* 40 ms in Linux and FreeBSD; counted in ticks of 4 ms (HZ = 250) Linux's timer fires after 40 to 44. */
#define DELAYED_ACK_NS (42 * NS_PER_MS)

static inline bool bitmap_test(const struct subflow *sf, uint32_t seq)
{
	uint32_t slot = seq & sf->rcv_mask;

	return sf->rcv_bitmap[slot / 64] >> (slot % 64) & 1;
}

static inline void bitmap_flip(struct subflow *sf, uint32_t seq)
{
	uint32_t slot = seq & sf->rcv_mask;

	sf->rcv_bitmap[slot / 64] ^= 1ULL << (slot % 64);
}

void receiver_bitmap_grow(struct subflow *sf, uint64_t *bitmap, uint32_t mask)
{
	uint64_t *old = sf->rcv_bitmap;
	uint32_t old_mask = sf->rcv_mask;

	sf->rcv_bitmap = bitmap;
	sf->rcv_mask = mask;
	if (old == NULL)
		return;
	for (uint32_t seq = sf->rcv_nxt; seq != sf->rcv_highest; seq++)
		if (old[(seq & old_mask) / 64] >> ((seq & old_mask) % 64) & 1)
			bitmap_flip(sf, seq);
	free(old);
}

/* The block that holds the newest segment comes first (RFC 2018 section 4); blocks that touch are joined. */
static void blocks_add(struct subflow *sf, uint32_t seq)
{
	struct sack_block block = { seq, seq + 1 };
	uint32_t kept = 0;

	for (uint32_t i = 0; i < sf->n_blocks; i++) {
		struct sack_block other = sf->blocks[i];

		if (other.end == block.start) {
			block.start = other.start;
		} else if (other.start == block.end) {
			block.end = other.end;
		} else {
			sf->blocks[kept++] = other;
		}
	}
	if (kept == 4)
		kept = 3;
	memmove(&sf->blocks[1], &sf->blocks[0], kept * sizeof(sf->blocks[0]));
	sf->blocks[0] = block;
	sf->n_blocks = kept + 1;
}

static void blocks_trim(struct subflow *sf)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < sf->n_blocks; i++)
		if ((int32_t)(sf->blocks[i].end - sf->rcv_nxt) > 0)
			sf->blocks[kept++] = sf->blocks[i];
	sf->n_blocks = kept;
}

static bool ack_ring_grow(struct ccdrl_sim *sim, struct ack_ring *ring)
{
	uint32_t capacity = ring->slots ? 2 * (ring->mask + 1) : 64;
	struct ack *slots = malloc(capacity * sizeof(*slots));

	if (slots == NULL) {
		sim->is_out_of_memory = true;
		return false;
	}
	for (uint32_t i = ring->head; i != ring->tail; i++)
		slots[i & (capacity - 1)] = ring->slots[i & ring->mask];
	free(ring->slots);
	ring->slots = slots;
	ring->mask = capacity - 1;
	return true;
}

void receiver_ack(struct subflow *sf)
{
	struct ccdrl_sim *sim = sf->sim;
	struct conn *conn = sf->conn;
	struct ack_ring *ring = &sf->acks;
	int64_t arrival_ns = sim->now_ns + sf->base_rtt_ns / 2;
	uint64_t room;
	struct ack *ack;

	sf->unacked = 0;
	sf->delack_deadline_ns = TIME_NEVER;
	if (unlikely(sim->n_links_down > 0 && subflow_is_cut(sf)))
		return;			/* the way back is cut too */
	if (unlikely(ring->slots == NULL || ring->tail - ring->head > ring->mask) && !ack_ring_grow(sim, ring))
		return;
	if (ring->tail != ring->head && ring->slots[(ring->tail - 1) & ring->mask].arrival_ns > arrival_ns)
		arrival_ns = ring->slots[(ring->tail - 1) & ring->mask].arrival_ns;	/* order kept when a delay falls */
	ack = &ring->slots[ring->tail & ring->mask];
	ack->arrival_ns = arrival_ns;
	ack->echo_sent_ns = sf->echo_sent_ns;
	room = conn->config.rwnd_bytes > conn->unread_bytes ? conn->config.rwnd_bytes - conn->unread_bytes : 0;
	ack->rwnd_edge = conn->rcv_dsn_nxt + room;
	ack->data_ack = conn->rcv_map_nxt;
	ack->cumulative = sf->rcv_nxt;
	ack->n_blocks = (uint8_t)(sf->n_blocks < 3 ? sf->n_blocks : 3);
	for (uint32_t i = 0; i < ack->n_blocks; i++)
		ack->blocks[i] = sf->blocks[i];
	ack->is_ece = sf->is_ce_pending;
	sf->is_ce_pending = false;
	if (ring->tail++ == ring->head)
		source_set(sim, sf->acks_source, arrival_ns);
}

void receiver_segment(struct subflow *sf, const struct packet *packet)
{
	struct ccdrl_sim *sim = sf->sim;
	uint32_t seq = packet->seq;
	bool is_ack_now = false;

	sf->received_packets++;
	record(sf, CCDRL_RECORD_RECEIVE, seq, UINT32_MAX);
	if (unlikely(packet->flags & PACKET_PROBE)) {
		receiver_ack(sf);
		return;
	}
	sf->received_bytes += packet->wire_bytes - CCDRL_HEADER_BYTES;
	if (sim->has_stats) {
		int64_t rtt_ns = sim->now_ns - packet->sent_ns + sf->base_rtt_ns / 2;

		histogram_add(&sf->rtt, rtt_ns);
		/* A packet that was on its way when a delay rose is faster than the path now is. */
		histogram_add(&sf->queue_delay, rtt_ns > sf->base_rtt_ns ? rtt_ns - sf->base_rtt_ns : 0);
	}
	if (sf->conn->is_stopped)
		return;
	if (unlikely(packet->flags & PACKET_CE))
		sf->is_ce_pending = is_ack_now = true;
	if (likely(seq == sf->rcv_nxt)) {
		conn_map_delivered(sf->conn, subflow_segment(sf, seq)->map);
		sf->echo_sent_ns = sf->unacked == 0 ? packet->sent_ns : sf->echo_sent_ns; /* RFC 7323 section 4.3 */
		sf->rcv_nxt++;
		if (likely((int32_t)(sf->rcv_highest - sf->rcv_nxt) <= 0)) {
			sf->rcv_highest = sf->rcv_nxt;
		} else {
			while (sf->rcv_nxt != sf->rcv_highest && bitmap_test(sf, sf->rcv_nxt))
				bitmap_flip(sf, sf->rcv_nxt++);
			blocks_trim(sf);
			is_ack_now = true;
		}
		if (++sf->unacked >= sf->conn->config.ack_segments)
			is_ack_now = true;
	} else if ((int32_t)(seq - sf->rcv_nxt) > 0) {
		if ((int32_t)(seq - sf->rcv_highest) >= 0)
			sf->rcv_highest = seq + 1;
		if (!bitmap_test(sf, seq)) {
			bitmap_flip(sf, seq);
			conn_map_delivered(sf->conn, subflow_segment(sf, seq)->map);
			blocks_add(sf, seq);
		}
		is_ack_now = true;
	} else {
		sf->echo_sent_ns = packet->sent_ns;	/* RFC 7323 section 4.3: SEG.SEQ <= Last.ACK.sent */
		is_ack_now = true;	/* duplicate: the sender wants to know where we are */
	}
	if (is_ack_now) {
		receiver_ack(sf);
	} else {
		sf->delack_deadline_ns = sim->now_ns + DELAYED_ACK_NS;
		subflow_timer_need(sf, sf->delack_deadline_ns);
	}
}
