/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What an agent does around its policy, for many subflows a call. Parsed by cffi, together with ccdrl.h.
 *
 * table.h     which subflows there are, their newest records, and whose monitor interval is over
 * observer.h  samples to observations
 * action.h    actions to windows
 * layers.h    parts of a policy's inference
 * turn.h      all of it but the layers, for a live loop
 * tally.h     histograms
 *
 * One subflow is one row. Nothing here allocates or keeps a pointer beyond what the caller put into the structs, and
 * nothing is shared between two of them. Samples are copied byte by byte, so they need no alignment.
 */
#ifndef CCDRL_DECISION_H
#define CCDRL_DECISION_H

#include "action.h"
#include "layers.h"
#include "observer.h"
#include "table.h"
#include "tally.h"
#include "turn.h"

#endif /* CCDRL_DECISION_H */
