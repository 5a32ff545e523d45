"""What a user's own script may look like, with types from end to end; `.ci/typing` holds checkers to it.

    python examples/user_script.py [MACHINE]

It asks what one operator takes, what a table of them takes, and what more SMs would change.
"""

from __future__ import annotations

import argparse

import simexplore

MACHINE = "nvidia/h200-sxm"
OPERATOR = "gemm(m=4096,n=4096,k=4096,dtype=bf16)"
SIZES = [1, 16, 256, 4096]


def times_s(machine: str) -> dict[int, float]:
    """Time of a product by its rows [s]."""
    table = simexplore.predict({"op": "gemm", "m": SIZES, "n": 4096, "k": 4096, "dtype": "bf16"}, machine)
    return dict(zip(SIZES, (float(time_s) for time_s in table["time_s"]), strict=True))


def main(machine: str = MACHINE) -> None:
    """Print it all."""
    told: simexplore.Estimate = simexplore.estimate(OPERATOR, machine)
    print(f"{OPERATOR}: {1e6 * told.time_low_s:.1f} to {1e6 * told.time_high_s:.1f} µs, {told.bound}")
    for rows, time_s in times_s(machine).items():
        print(f"{rows:5} rows: {1e6 * time_s:.1f} µs")
    gpu: simexplore.Gpu = simexplore.load_arch(machine)
    larger = gpu.replace({"sm.count": 2 * gpu.sm.count})
    run: simexplore.Run = simexplore.simulate("llm/llama-3-8b/decode", larger, {"batch": 8})
    print(f"twice the SMs: {1e3 * run.time_s:.2f} ms a decode step, {run.mean_power_w:.0f} W")
    for name in simexplore.list_archs():
        if name.startswith("nvidia/h"):
            print(name, simexplore.load_arch(name).sm.count)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("machine", nargs="?", default=MACHINE, help="a name or a file [default: %(default)s]")
    main(parser.parse_args().machine)
