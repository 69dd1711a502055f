# SPDX-License-Identifier: BSD-2-Clause
"""Benchmarks: `make bench`, or `python tests/bench/run.py [NAME ...] [--out FILE.json] [--list]`.

One function is one benchmark: it returns a dictionary of figures with units last in their names. Simulator figures are
also given for each operation of a yardstick measured between their repetitions (pop-min and push on a 4096-entry binary
heap of 16-byte events), so that they compare between machines.
"""

import argparse
import json
import multiprocessing
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import ccdrl
from ccdrl.agent.daemon import blas  # noqa: F401 (before numpy: one BLAS thread, as in serve.py)
from ccdrl.bindings.library import measure_heap_s
from ccdrl.bindings.simulator import Simulator, SimulatorBatch

sys.path.insert(0, str(Path(__file__).resolve().parent))
from daemon import daemon_cost, daemon_start  # noqa: E402
from learning import decision_cost, training_speed, vector_env_speed  # noqa: E402
from live import linux_datapath_cost  # noqa: E402
from networks import make_crowd, make_lia_pair, make_pair  # noqa: E402

S = 10**9
REPETITIONS = 7
HEAP_OPERATIONS = 2_000_000

BENCHMARKS: dict[str, Callable[[], dict[str, Any]]] = {}


def benchmark(function: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
    """Enter a function into the registry under its own name."""
    BENCHMARKS[function.__name__] = function
    return function


def time_wall_s(action: Callable[[], object]) -> float:
    """Return the wall time of one call."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def time_cpu_s(action: Callable[[], object]) -> float:
    """Return the processor time of one call on this thread: other processes blur it less than wall time."""
    start = time.thread_time()
    action()
    return time.thread_time() - start


def measure_heap_rate() -> float:
    """Return operations a second of the yardstick."""
    return HEAP_OPERATIONS / time_cpu_s(lambda: measure_heap_s(HEAP_OPERATIONS))


@benchmark
def simulator_speed() -> dict[str, Any]:
    """Data packets a second, one core: LIA over two paths and a Reno TCP on each; target 0.40 a heap operation."""
    heap_rates, packet_rates, ratios = [], [], []
    for seed in range(REPETITIONS):
        before = measure_heap_rate()
        with make_lia_pair(seed) as simulator:
            cpu_s = time_cpu_s(lambda simulator=simulator: simulator.run(300 * S))
            packet_rates.append(simulator.packets / cpu_s)
        heap_rates.append((before + measure_heap_rate()) / 2)
        ratios.append(packet_rates[-1] / heap_rates[-1])
    return {
        "heap_operations_per_s": median(heap_rates),
        "packets_per_s": median(packet_rates),
        "packets_per_heap_operation": median(ratios),
        "packets_per_heap_operation_all": ratios,
    }


@benchmark
def controllers_speed() -> dict[str, Any]:
    """Data packets a heap operation on the same network, by controller."""
    figures = {}
    for cc in ("reno", "cubic", "bbr", "lia", "olia", "balia", "wvegas", "ewtcp", "drl"):
        heap_rate = measure_heap_rate()
        with make_lia_pair(1, cc) as simulator:
            cpu_s = time_cpu_s(lambda simulator=simulator: simulator.run(100 * S))
            figures[f"{cc}_packets_per_heap_operation"] = simulator.packets / cpu_s / heap_rate
    return figures


@benchmark
def batch_speed() -> dict[str, Any]:
    """64 simulators in one call: packets a second on one and on two threads; target 1.8 times on two cores.

    The speed-up is wall time, so it needs an idle machine; the processor time that threads add does not. The limit is
    what two processes that share nothing reach together in the same minute: cores that share caches, power or a host
    with others give less than 2.
    """
    rates: dict[int, list[float]] = {1: [], 2: []}
    limits = []
    cpu_s: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(REPETITIONS):
        for n_threads, measured in rates.items():
            simulators = [make_lia_pair(seed, "drl") for seed in range(64)]
            with SimulatorBatch(simulators, n_threads) as batch:
                start_s = time.process_time()
                wall_s = time_wall_s(lambda batch=batch: [batch.step(step * S // 10) for step in range(1, 51)])
                cpu_s[n_threads].append(time.process_time() - start_s)
            measured.append(sum(simulator.packets for simulator in simulators) / wall_s)
        limits.append(measure_processes_rate(2) / measure_processes_rate(1))
    return {
        "cores": os.cpu_count(),
        "one_thread_packets_per_s": median(rates[1]),
        "two_threads_packets_per_s": median(rates[2]),
        "two_threads_processor_time_ratio": median(two / one for one, two in zip(cpu_s[1], cpu_s[2], strict=True)),
        "two_threads_speed_up": median(two / one for one, two in zip(rates[1], rates[2], strict=True)),
        "two_processes_speed_up": median(limits),
    }


def measure_processes_rate(count: int) -> float:
    """Return packets a second of `count` processes together, each with a batch of its own on one thread."""
    context = multiprocessing.get_context("fork")
    barrier, rates = context.Barrier(count), context.SimpleQueue()

    def work() -> None:
        simulators = [make_lia_pair(seed, "drl") for seed in range(64)]
        with SimulatorBatch(simulators, 1) as batch:
            barrier.wait()
            wall_s = time_wall_s(lambda: [batch.step(step * S // 10) for step in range(1, 51)])
        rates.put(sum(simulator.packets for simulator in simulators) / wall_s)

    processes = [context.Process(target=work) for _ in range(count)]
    for process in processes:
        process.start()
    total = sum(float(rates.get()) for _ in processes)
    for process in processes:
        process.join()
    return total


PAIRS = 200


def measure_pairs_bytes() -> float:
    """Return the memory of one idle connection pair at 10 Mbit/s: what PAIRS of them add to this process."""
    page_bytes = resource.getpagesize()

    def resident_bytes() -> int:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * page_bytes

    kept: list[Simulator] = [make_pair(0, 10e6)]
    kept[0].run(S)
    before = resident_bytes()
    for seed in range(1, PAIRS + 1):
        kept.append(make_pair(seed, 10e6))
        kept[-1].run(30 * S)
    return (resident_bytes() - before) / PAIRS


@benchmark
def memory() -> dict[str, Any]:
    """Resident memory of a connection pair after 30 s, in a process of its own; target below 1 MB."""
    code = "import run; print(run.measure_pairs_bytes())"
    folder = Path(__file__).resolve().parent
    run = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    return {"pairs": PAIRS, "bytes_per_connection_pair": float(run.stdout)}


@benchmark
def cost_of_packets() -> dict[str, Any]:
    """Nanoseconds a packet as the simulated time grows: flat, if the cost is linear in packets."""
    points = []
    for duration_s in (10, 30, 100, 300, 1000):
        with make_lia_pair(1) as simulator:
            cpu_s = time_cpu_s(lambda simulator=simulator, end=duration_s * S: simulator.run(end))
            packets = simulator.packets
            points.append({"duration_s": duration_s, "packets": packets, "ns_per_packet": cpu_s / packets * 1e9})
    return {"points": points}


@benchmark
def cost_of_flows() -> dict[str, Any]:
    """Nanoseconds a packet from 1 to 1 000 flows of 2 Mbit/s each on one link: target no worse than log n."""
    points = []
    for n_flows in (1, 3, 10, 30, 100, 300, 1000):
        with make_crowd(1, n_flows, 2e6 * n_flows) as simulator:
            simulator.run(2 * S)
            packets = simulator.packets
            cpu_s = time_cpu_s(lambda simulator=simulator, end=(2 + 3000 // n_flows) * S: simulator.run(end))
            packets = simulator.packets - packets
            points.append({"flows": n_flows, "packets": packets, "ns_per_packet": cpu_s / packets * 1e9})
    return {"points": points}


# Last, because torch stays loaded.
for _function in (linux_datapath_cost, decision_cost, daemon_cost, daemon_start, vector_env_speed, training_speed):
    benchmark(_function)


def main(arguments: list[str] | None = None) -> int:
    """Run the named benchmarks, or all, and write JSON."""
    parser = argparse.ArgumentParser(prog="bench", description="Measure speed and memory; JSON on stdout.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="benchmarks to run (all)")
    parser.add_argument("--out", type=Path, help="write the JSON here instead")
    parser.add_argument("--list", action="store_true", help="list the benchmarks and leave")
    options = parser.parse_args(arguments)
    if options.list:
        for name, function in BENCHMARKS.items():
            print(f"{name:20} {(function.__doc__ or '').splitlines()[0]}")
        return 0
    unknown = sorted(set(options.names) - set(BENCHMARKS))
    if unknown:
        print(f"bench: error: NAME: expected some of {', '.join(BENCHMARKS)}, got {unknown[0]}", file=sys.stderr)
        return 2
    report: dict[str, Any] = {
        "schema": "ccdrl-bench/1",
        "version": ccdrl.__version__,
        "machine": {
            "cores": os.cpu_count(),
            "processor": platform.processor() or platform.machine(),
            "load_before": os.getloadavg()[0],
        },
        "results": {},
    }
    for name in options.names or BENCHMARKS:
        print(f"bench: {name} ...", file=sys.stderr, flush=True)
        report["results"][name] = BENCHMARKS[name]()
    text = json.dumps(report, indent=2) + "\n"
    if options.out:
        options.out.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
