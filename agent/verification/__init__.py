# SPDX-License-Identifier: BSD-2-Clause
"""What is proven of a policy, and what is not (docs/safety.md).

job, report                          the command; its result as JSON and text
network, relaxation, bounds          the network with bounds on rounding; lines around tanh; bounds over boxes
extremes, guarantees                 the whole observation box; what follows for windows, pacing and leases
families, regions, search            states with few parameters; the properties wanted; branch and bound
derivative, monotonicity             slopes along a line; more congestion never means a larger action
states, selection                    recorded states; which of them a check starts from
"""
