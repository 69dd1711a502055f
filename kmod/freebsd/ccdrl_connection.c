/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The subflows of one MPTCP connection, as the fallback needs them: each writes its own window here and reads those of
 * the others, which another CPU may be changing under their own inpcb locks.
 */
#include "ccdrl_var.h"

#include <vm/uma.h>

#include "ccdrl_fallback.h"

#define	CCDRL_CONNECTION_STRIPES	64	/* a power of two */
#define	CCDRL_FAILED_RXTSHIFT		3	/* time-outs in a row after which a subflow no longer counts */

struct ccdrl_member {
	uint64_t subflow_id;			/* 0: free */
	struct ccdrl_fallback_sibling state;
};

struct ccdrl_connection {
	LIST_ENTRY(ccdrl_connection) hash;
	uint64_t conn_id;
	struct vnet *vnet;
	struct ccdrl_member members[DRL_SUBFLOWS_MAX];
};

struct ccdrl_connection_stripe {
	struct mtx lock;
	LIST_HEAD(, ccdrl_connection) list;
} __aligned(CACHE_LINE_SIZE);

static struct ccdrl_connection_stripe connection_stripes[CCDRL_CONNECTION_STRIPES];
static uma_zone_t connection_zone;

static struct ccdrl_connection_stripe *
connection_stripe(uint64_t conn_id)
{

	/* Tokens are random; the addresses that another stack may use instead are aligned. */
	return (&connection_stripes[(conn_id ^ conn_id >> 8) & (CCDRL_CONNECTION_STRIPES - 1)]);
}

/* Takes a place among the members; leaves the subflow alone where there is none, or no memory for the first. */
static void
connection_join(struct ccdrl_subflow *sf)
{
	struct ccdrl_connection_stripe *stripe = connection_stripe(sf->sample.conn_id);
	struct ccdrl_connection *connection;
	uint32_t i;

	LIST_FOREACH(connection, &stripe->list, hash) {
		if (connection->conn_id == sf->sample.conn_id && connection->vnet == sf->vnet)
			break;
	}
	if (connection == NULL) {
		connection = uma_zalloc(connection_zone, M_NOWAIT | M_ZERO);
		if (connection == NULL) {
			CCDRL_COUNT(no_memory);
			return;
		}
		connection->conn_id = sf->sample.conn_id;
		connection->vnet = sf->vnet;
		LIST_INSERT_HEAD(&stripe->list, connection, hash);
	}
	for (i = 0; i < DRL_SUBFLOWS_MAX; i++) {
		if (connection->members[i].subflow_id == 0) {
			connection->members[i].subflow_id = sf->sample.subflow_id;
			sf->connection = connection;
			sf->member = i;
			return;
		}
	}
}

/* Shows the subflow's window to its siblings; in fast recovery that is ssthresh (RFC 6356 section 3). */
void
ccdrl_connection_publish(struct ccdrl_subflow *sf, struct tcpcb *tp)
{
	struct ccdrl_connection_stripe *stripe;
	struct ccdrl_fallback_sibling *state;

	if (sf->sample.conn_id == 0)
		return;
	stripe = connection_stripe(sf->sample.conn_id);
	mtx_lock(&stripe->lock);
	if (sf->connection == NULL)
		connection_join(sf);
	if (sf->connection != NULL) {
		state = &sf->connection->members[sf->member].state;
		state->cwnd_bytes = IN_FASTRECOVERY(tp->t_flags) ? tp->snd_ssthresh : tp->snd_cwnd;
		state->srtt_us = tp->t_rxtshift < CCDRL_FAILED_RXTSHIFT ? sf->sample.srtt_us : 0;
	}
	mtx_unlock(&stripe->lock);
}

void
ccdrl_connection_leave(struct ccdrl_subflow *sf)
{
	struct ccdrl_connection *connection = sf->connection;
	struct ccdrl_connection_stripe *stripe;
	bool is_empty = true;
	uint32_t i;

	if (connection == NULL)
		return;
	stripe = connection_stripe(connection->conn_id);
	mtx_lock(&stripe->lock);
	bzero(&connection->members[sf->member], sizeof(connection->members[sf->member]));
	for (i = 0; i < DRL_SUBFLOWS_MAX; i++)
		is_empty &= connection->members[i].subflow_id == 0;
	if (is_empty)
		LIST_REMOVE(connection, hash);
	mtx_unlock(&stripe->lock);
	sf->connection = NULL;
	if (is_empty)
		uma_zfree(connection_zone, connection);
}

/* What congestion avoidance adds for an ACK, in 1/256 byte: LIA over the live siblings, Reno for a subflow alone. */
uint64_t
ccdrl_connection_increase_q8(const struct ccdrl_subflow *sf, const struct tcpcb *tp, uint32_t acked_bytes)
{
	struct ccdrl_fallback_sibling siblings[DRL_SUBFLOWS_MAX];
	const struct ccdrl_connection *connection = sf->connection;
	struct ccdrl_connection_stripe *stripe;
	uint32_t i, n = 1;

	siblings[0].cwnd_bytes = tp->snd_cwnd;
	siblings[0].srtt_us = sf->sample.srtt_us;
	if (connection != NULL) {
		stripe = connection_stripe(connection->conn_id);
		mtx_lock(&stripe->lock);
		for (i = 0; i < DRL_SUBFLOWS_MAX; i++) {
			if (i != sf->member && connection->members[i].subflow_id != 0)
				siblings[n++] = connection->members[i].state;
		}
		mtx_unlock(&stripe->lock);
	}
	return (ccdrl_fallback_increase_q8(siblings, n, 0, acked_bytes, ccdrl_mss(tp)));
}

void
ccdrl_connections_init(void)
{
	uint32_t i;

	connection_zone = uma_zcreate("ccdrl_connection", sizeof(struct ccdrl_connection), NULL, NULL, NULL, NULL,
	    UMA_ALIGN_PTR, 0);
	for (i = 0; i < CCDRL_CONNECTION_STRIPES; i++) {
		mtx_init(&connection_stripes[i].lock, "ccdrl connection", NULL, MTX_DEF);
		LIST_INIT(&connection_stripes[i].list);
	}
}

void
ccdrl_connections_destroy(void)
{
	uint32_t i;

	for (i = 0; i < CCDRL_CONNECTION_STRIPES; i++)
		mtx_destroy(&connection_stripes[i].lock);
	uma_zdestroy(connection_zone);
}
