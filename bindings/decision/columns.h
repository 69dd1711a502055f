/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The observation's arithmetic, one line for each column. Included several times, with the macros that are wanted defined
 * (so there is no guard). Names are those of envs/observation_layout.py, which also gives the columns their order, their
 * formulas for people and their meaning; a name that stands in one place only is an error in Python.
 *
 * A new column takes a Column there and a COLUMN here; where it follows a value over time, also a TRACE, which declares
 * the state, starts it, and advances it before any column is computed.
 *
 *   TRACE(name, kind, span, value)   row->name follows `value` with a time constant of `span` srtt (4, 8, 16, 32 or 128):
 *                                    sum   exponentially weighted sum, from 0
 *                                    mean  exponentially weighted mean, from the first value
 *                                    low   the value when it falls, rising to it slowly; from the first value
 *                                    high  the value when it rises, falling to it slowly; from the first value
 *   COLUMN(name, value)              before it is clipped
 *
 * `value` may use: step, what the interval brought (struct ccdrl_step); row, the state after it (struct ccdrl_row; in a
 * TRACE, before it, but for the traces above); in a COLUMN also group, the connection (struct ccdrl_group). Times are in microseconds.
 */
#ifndef TRACE
#define TRACE(name, kind, span, value)
#endif
#ifndef COLUMN
#define COLUMN(name, value)
#endif

/* What columns need of the past. */
TRACE(top, high, 16, step->rate)
TRACE(lost_4, sum, 4, step->lost)
TRACE(sent_4, sum, 4, step->sent)
TRACE(lost_32, sum, 32, step->lost)
TRACE(sent_32, sum, 32, step->sent)
TRACE(queue_min_8, low, 8, step->queue)
TRACE(queue_max_8, high, 8, step->queue)
TRACE(queue_min_32, low, 32, step->queue)
TRACE(queue_max_32, high, 32, step->queue)
TRACE(queue_min_128, low, 128, step->queue)
TRACE(queue_max_128, high, 128, step->queue)
TRACE(deviation, mean, 8, fabs(step->last_rtt - step->srtt) / step->base)
TRACE(cwnd_8, mean, 8, step->log_cwnd)
TRACE(srtt_8, mean, 8, step->log_srtt)
TRACE(cwnd_32, mean, 32, step->log_cwnd)
TRACE(srtt_32, mean, 32, step->log_srtt)
/* Of the trends over 8 srtt: these two stand after what they use. */
TRACE(covariance, mean, 32, (step->log_cwnd - row->cwnd_8) * (step->log_srtt - row->srtt_8))
TRACE(variance, mean, 32, (step->log_cwnd - row->cwnd_8) * (step->log_cwnd - row->cwnd_8))
/* The dither of the window one interval ago, as delays answer after an RTT; nothing else moves with it. */
TRACE(dither_covariance, mean, 128, row->dither * answer_clip(row, step->log_srtt - row->srtt_8))
TRACE(dither_variance, mean, 128, row->dither * row->dither)
TRACE(rate_8, mean, 8, step->log_rate)
TRACE(dither_rate, mean, 128, row->dither * (step->log_rate - row->rate_8))
/* What windows, delays and rates do in step with the dither and a quarter of its turn apart (base.c). */
TRACE(window_sine, mean, 128, row->dither * swing_clip(step->log_cwnd - row->cwnd_8))
TRACE(window_cosine, mean, 128, row->dither_cosine * swing_clip(step->log_cwnd - row->cwnd_8))
TRACE(delay_sine, mean, 128, row->dither * swing_clip(step->log_srtt - row->srtt_8))
TRACE(delay_cosine, mean, 128, row->dither_cosine * swing_clip(step->log_srtt - row->srtt_8))
TRACE(rate_sine, mean, 128, row->dither * swing_clip(step->log_rate - row->rate_8))
TRACE(rate_cosine, mean, 128, row->dither_cosine * swing_clip(step->log_rate - row->rate_8))
/* The queue that an acknowledged segment found: what losses are held against (losses.c). */
TRACE(acked_128, sum, 128, step->acked)
TRACE(acked_root, sum, 128, step->acked * queue_root(step->newest_queue))
TRACE(acked_queue, sum, 128, step->acked * at_least(step->newest_queue, 0.0))
TRACE(queue_variance, mean, 32, (step->log_srtt - row->srtt_8) * (step->log_srtt - row->srtt_8))

/* From the subflow's own samples. */
COLUMN(srtt_ratio, step->queue)
COLUMN(rtt_ratio, step->newest_queue)
COLUMN(rtt_gradient, step->rtt_rise / step->interval)
COLUMN(loss_now, sqrt(share(step->lost, step->sent)))
COLUMN(loss_short, sqrt(share(row->lost_4, row->sent_4)))
COLUMN(loss_long, step->loss_long)
COLUMN(utilization, step->acked / (step->cwnd * step->periods))
COLUMN(rate_ratio, step->rate / step->top)
COLUMN(rate_sample, step->sample_rate > 0.0 ? log2(at_least(step->sample_rate, 1.0) / step->top) : 0.0)
COLUMN(cwnd_bdp, log2(step->cwnd / (step->top * step->base * 1e-6)))
COLUMN(inflight_ratio, step->inflight / step->cwnd)
COLUMN(sent_acked, log2((step->sent + step->mss) / (step->acked + step->mss)))
COLUMN(queue_min_8, row->queue_min_8)
COLUMN(queue_max_8, row->queue_max_8)
COLUMN(queue_min_32, row->queue_min_32)
COLUMN(queue_max_32, row->queue_max_32)
COLUMN(queue_min_128, row->queue_min_128)
COLUMN(queue_max_128, row->queue_max_128)
COLUMN(queue_segments, log2(1.0 + (1.0 - step->base / step->srtt) * step->cwnd / step->mss) / 4.0)
COLUMN(peak_segments, log2(1.0 + (1.0 - exp2(-row->queue_max_32)) * step->cwnd / step->mss) / 4.0)
COLUMN(interval, log2(step->periods))
COLUMN(is_recovery, step->is_reducing)
COLUMN(is_timeout, step->is_timeout)
COLUMN(is_limited, step->is_limited)
COLUMN(is_cwnd_limited, step->is_cwnd_limited)
COLUMN(since_loss, log2(1.0 + row->since_loss))
COLUMN(cwnd_mss, log2(step->cwnd / step->mss) / 8.0)
COLUMN(previous_action, row->previous_action)
COLUMN(is_startup, row->is_startup)
COLUMN(ecn_ratio, sqrt(share(step->marks * step->mss, at_least(step->acked, step->mss))))
COLUMN(tcp_window, log2(step->cwnd / (step->mss * sqrt(1.5 * event_segments(row)))))
COLUMN(rtt_deviation, row->deviation)
COLUMN(cwnd_trend_8, step->log_cwnd - row->cwnd_8)
COLUMN(cwnd_trend_32, step->log_cwnd - row->cwnd_32)
COLUMN(rate_trend_8, step->log_rate - row->rate_8)
COLUMN(srtt_trend_8, step->log_srtt - row->srtt_8)
COLUMN(srtt_trend_32, step->log_srtt - row->srtt_32)
COLUMN(elasticity, row->covariance / (row->variance + ELASTICITY_FLOOR))
COLUMN(dither_response, ccdrl_dither_response(row, row->dither_covariance))
COLUMN(rate_response, ccdrl_dither_response(row, row->dither_rate))
COLUMN(queue_alien, sqrt(at_least(row->queue_variance - row->covariance * row->covariance / (row->variance + ELASTICITY_FLOOR), 0.0)))
COLUMN(coupled_step, row->steps.coupled)
COLUMN(is_alien, row->steps.freedom <= 0.0)
COLUMN(is_clear, row->steps.freedom > 1.0)

/* Pooled over the live subflows of the connection. */
COLUMN(n_subflows, group->count / 8.0)
COLUMN(rate_share, step_rate_share(step, group))
COLUMN(srtt_above_best, log2(step->srtt / group->srtt_min))
COLUMN(base_above_best, log2(step->base / group->base_min))
COLUMN(queue_mean, group->queue / group->count)
COLUMN(queue_best, group->queue_min)
COLUMN(loss_mean, sqrt(group->loss / group->count))
COLUMN(loss_above_best, step->loss_long - group->loss_long_min)
COLUMN(top_share, log2(step->top / group->top))
COLUMN(queue_weighted, (group->rate > 0.0 ? group->rate_queue / group->rate : group->queue / group->count))

#undef TRACE
#undef COLUMN
