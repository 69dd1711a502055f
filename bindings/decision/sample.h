/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What observations and actions both want of a sample.
 */
#ifndef CCDRL_DECISION_SAMPLE_H
#define CCDRL_DECISION_SAMPLE_H

#include <string.h>

#include "decision.h"

#define SSTHRESH_UNSET UINT32_MAX

static inline double at_least(double value, double low) { return value < low ? low : value; }

static inline double at_most(double value, double high) { return value > high ? high : value; }

static inline struct drl_subflow_sample sample_get(const void *samples, size_t i)
{
	struct drl_subflow_sample sample;

	memcpy(&sample, (const char *)samples + i * sizeof(sample), sizeof(sample));
	return sample;
}

/* An open subflow with an RTT sample and a segment size. */
static inline int sample_is_live(const struct drl_subflow_sample *sample)
{
	return sample->srtt_us > 0 && sample->mss_bytes > 0 && sample->subflow_id != 0 &&
	    sample->event != DRL_EVENT_CLOSED;
}

static inline int sample_is_reducing(const struct drl_subflow_sample *sample)
{
	return sample->state == DRL_STATE_RECOVERY || sample->state == DRL_STATE_CWR;
}

/* 0 where there is none. */
static inline double sample_ssthresh(const struct drl_subflow_sample *sample)
{
	return sample->ssthresh_bytes != SSTHRESH_UNSET ? sample->ssthresh_bytes : 0.0;
}

/*
 * cwnd, or ssthresh while the datapath reduces: in RECOVERY and CWR it moves cwnd towards ssthresh packet by packet (PRR,
 * RFC 6937), and what cwnd is on the way is nobody's decision.
 */
static inline double sample_window(const struct drl_subflow_sample *sample)
{
	double ssthresh = sample_ssthresh(sample);

	return sample_is_reducing(sample) && ssthresh > 0.0 ? ssthresh : sample->cwnd_bytes;
}

/* The newest RTT, microseconds; srtt where there is none. */
static inline double sample_last_rtt(const struct drl_subflow_sample *sample)
{
	return sample->last_rtt_us > 0 ? sample->last_rtt_us : sample->srtt_us;
}

/* Bytes in the network, the default where the datapath cannot tell them. */
static inline double sample_inflight(const struct drl_subflow_sample *sample, double otherwise)
{
	return sample->absent & DRL_ABSENT_INFLIGHT ? otherwise : sample->inflight_bytes;
}

#endif /* CCDRL_DECISION_SAMPLE_H */
