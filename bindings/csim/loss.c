/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Random loss on the wire: Bernoulli, or the Gilbert-Elliott chain (Gilbert 1960, Elliott 1963), which begins in its good
 * state and takes one step before each packet. With loss_good 0 and loss_bad 1 the loss ratio is
 * good_to_bad / (good_to_bad + bad_to_good) and the mean burst 1 / bad_to_good packets.
 */
#include "link.h"

void loss_init(struct loss_process *loss, const struct ccdrl_loss_config *config)
{
	loss->config = *config;
	loss->is_bad = false;
}

static bool draw(struct rng *rng, double probability)
{
	return probability > 0 && (probability >= 1 || rng_double(rng) < probability);
}

bool loss_draw(struct loss_process *loss, struct rng *rng)
{
	const struct ccdrl_loss_config *config = &loss->config;

	if (config->kind == CCDRL_LOSS_NONE)
		return false;
	if (config->kind == CCDRL_LOSS_BERNOULLI)
		return draw(rng, config->p);
	loss->is_bad ^= draw(rng, loss->is_bad ? config->bad_to_good : config->good_to_bad);
	return draw(rng, loss->is_bad ? config->loss_bad : config->loss_good);
}

static bool is_probability(double value) { return value >= 0 && value <= 1; }

const char *loss_config_error(const struct ccdrl_loss_config *config)
{
	if (config->kind > CCDRL_LOSS_GILBERT_ELLIOTT)
		return "loss.kind: accepted are none, bernoulli, gilbert-elliott";
	if (config->kind == CCDRL_LOSS_BERNOULLI && !is_probability(config->p))
		return "loss.p: accepted are probabilities, 0 to 1";
	if (config->kind == CCDRL_LOSS_GILBERT_ELLIOTT && !(is_probability(config->good_to_bad) &&
	    is_probability(config->bad_to_good) && is_probability(config->loss_good) && is_probability(config->loss_bad)))
		return "loss: good_to_bad, bad_to_good, loss_good and loss_bad are probabilities, 0 to 1";
	return NULL;
}
