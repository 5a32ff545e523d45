"""The explorer: sweeps over machines and workloads, where they are kept, and what they say."""
