"""A small sweep that serves a load, for tests."""

SERVED = """\
name: served
arch: nvidia/h100-sxm
serve:
  model: llm/llama-3-8b
  parameters: {layers: 1}
  settings: {max_tokens: 256, max_sequences: 8}
  rate: 8
  duration: 3 s
  input: 20:60
  output: 3:6
  ttft: 20 ms
  tpot: 10 ms
  seed: 3
parameters:
  dram.bandwidth: [2.5 TB/s, 3.35 TB/s]
  serve.rate: [4, 12.3456789]
objectives: [ttft_p99_s, energy_per_output_token_j]
constraints: [held_share >= 0.99]
"""
"""4 points: two machines, each at two rates."""
