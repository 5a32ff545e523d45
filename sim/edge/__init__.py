"""Language models on edge servers: which of them to keep ready, and which of those to ask.

After MoE² (Jin et al., arXiv:2501.09410): a gate is trained once on all experts, a subset of them is then selected
within budgets of energy and delay (`polyblock`), and for each request the gate asks the best few of the selected
(`gating`). What a request costs on a server is our own estimate (`fleet`); how often an expert is right comes from the
user, or from a model that `synthetic` states.
"""
