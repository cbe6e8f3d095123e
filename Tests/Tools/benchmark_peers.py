#!/usr/bin/env python3
"""Runs other frameworks' programs and Weft in turn, and prints one table of ratios (Markdown).

  benchmark_peers.py --bench FOLDER --python PYTHON --weft WEFT --benchmark BENCHMARK --poems FILE
                     [--rounds 3] [--workloads a,b,c,d,e] [--cells rnn,lstm2,gru] [--out FILE]

FOLDER holds bench_peers.py, bench_seed_epoch.py, bench_generate.py and export_graphs.py; PYTHON has
what they import (TensorFlow, Keras, ONNX Runtime). WEFT and BENCHMARK are the products `weft` and
`benchmark`, built with -c release. Workloads: a, a training step: TensorFlow's graph mode, Keras,
the step built in Swift, and the graph that TensorFlow exported, run by Weft; b, padded batches:
Keras; c, one generated character: ONNX Runtime; d, start-up, and e, growth, against their goals.
A ratio is the median over the rounds of Weft's figure by the peer's in the same round: on a shared
machine nothing else can be compared. OPENBLAS_CORETYPE and OPENBLAS_L2_SIZE are not handed on.
--out also writes every figure as JSON. Python's standard library only.
"""
import argparse
import datetime
import json
import os
import platform
import re
import subprocess
import sys
import tempfile

# Goals: the most that Weft may take of the peer's time, and Weft's least share of their rates.
STEP_GOALS = {"rnn": 0.5, "lstm2": 0.58, "gru": 0.5}
RATE_GOALS = {"rnn": 6.0, "lstm": 5.0}
LIMIT_GOAL, MEMORY_GOAL, EXPORTED_GOAL = 1.25, 0.2, 1.05


def median(values):
    ordered = sorted(values)
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    return (ordered[middle - 1] + ordered[middle]) / 2


class Runner:
    """Runs programs in a clean environment and reads their figures."""

    def __init__(self, options):
        self.options = options
        self.environment = dict(os.environ, POEMS=os.path.abspath(options.poems),
                                TF_CPP_MIN_LOG_LEVEL="3", PYTHONDONTWRITEBYTECODE="1")
        for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
            self.environment.pop(name, None)

    def output(self, command):
        run = subprocess.run(command, env=self.environment, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True, timeout=self.options.timeout)
        if run.returncode != 0:
            sys.exit(f"failed with code {run.returncode}: {' '.join(command)}\n"
                     + run.stderr[-2000:])
        return run.stdout

    def peer(self, program, *arguments):
        path = os.path.join(self.options.bench, program)
        return self.output([self.options.python, path, *map(str, arguments)])

    def benchmark(self, *arguments):
        return json.loads(self.output([self.options.benchmark, *map(str, arguments), "--json"]))

    def figure(self, text, pattern):
        found = re.search(pattern, text)
        if not found:
            sys.exit(f"no figure like {pattern!r} in: {text}")
        return float(found.group(1))


class Table:
    """Rows of one figure each: Weft's, the peer's, their ratio, the goal."""

    HEAD = ("Workload", "Figure", "Beside", "Theirs", "Weft", "Ratio", "Goal", "Met")

    def __init__(self):
        self.rows = []

    def add(self, workload, figure, peer, theirs, ours, goal, most=True):
        """`theirs` and `ours` hold a figure for each round; `most`: the goal is an upper bound."""
        ratio = median([w / p if p else float("nan") for w, p in zip(ours, theirs)])
        met = ratio <= goal if most else ratio >= goal
        self.rows.append((workload, figure, peer, number(median(theirs)), number(median(ours)),
                          f"{ratio:.3f}", f"{'<=' if most else '>='} {goal:g}",
                          "yes" if met else "no"))

    def add_alone(self, workload, figure, ours, goal, most=True):
        """A figure with a goal of its own."""
        value = median(ours)
        met = value <= goal if most else value >= goal
        self.rows.append((workload, figure, "", "", number(value), "",
                          f"{'<=' if most else '>='} {goal:g}", "yes" if met else "no"))

    def text(self):
        lines = ["| " + " | ".join(self.HEAD) + " |", "|" + "---|" * len(self.HEAD)]
        return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in self.rows])


def number(value):
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def say(text):
    print(text, file=sys.stderr, flush=True)


def step_peer(runner, framework, cell):
    text = runner.peer("bench_peers.py", framework, cell, runner.options.steps)
    return {"ms": runner.figure(text, r"median=([\d.]+)ms"),
            "mb": runner.figure(text, r"rss=([\d.]+)MB") * 1.048576}


def exported_step(runner, folder, cell):
    data = os.path.join(folder, cell + ".npz")
    text = runner.output([
        runner.options.weft, "bench", os.path.join(folder, cell + ".json"), "--signature", "train",
        "--inputs", f"tokens={data}", "--inputs", f"targets={data}", "--steps",
        str(runner.options.steps), "--json"])
    found = json.loads(text)
    return {"ms": found["median_ms"], "mb": found["peak_rss_bytes"] / 1e6,
            "limit": found["product_limit_ms"]}


def run_a(runner, table, figures):
    with tempfile.TemporaryDirectory() as folder:
        for cell in runner.options.cells.split(","):
            runner.peer("export_graphs.py", cell, folder, runner.options.steps)
            rounds = []
            for index in range(runner.options.rounds):
                found = {"tf1": step_peer(runner, "tf1", cell)}
                ours = runner.benchmark("a", "--cell", cell, "--steps", runner.options.steps,
                                        "--poems", runner.options.poems)
                found["weft"] = {"ms": ours["median_ms"], "mb": ours["peak_rss_mb"],
                                 "limit": ours["product_limit_ms"]}
                found["keras"] = step_peer(runner, "keras", cell)
                found["exported"] = exported_step(runner, folder, cell)
                rounds.append(found)
                say(f"a {cell} {index + 1}: " + ", ".join(
                    f"{name} {value['ms']:.1f} ms" for name, value in found.items()))
            figures["a " + cell] = rounds
            add_step_rows(table, cell, rounds)


def add_step_rows(table, cell, rounds):
    def column(who, what):
        return [found[who][what] for found in rounds]

    name, goal = "A " + cell, STEP_GOALS.get(cell, 0.5)
    ours = column("weft", "ms")
    faster = [min(found["tf1"]["ms"], found["keras"]["ms"]) for found in rounds]
    table.add(name, "ms a step", "TensorFlow, graph mode", column("tf1", "ms"), ours, goal)
    table.add(name, "ms a step", "Keras", column("keras", "ms"), ours, goal)
    table.add(name, "ms a step", "the faster of both", faster, ours, goal)
    table.add(name, "ms a step", "its products at BLAS's rate", column("weft", "limit"), ours,
              LIMIT_GOAL)
    table.add(name, "peak MB", "TensorFlow, graph mode", column("tf1", "mb"), column("weft", "mb"),
              MEMORY_GOAL)
    table.add(name, "ms, exported graph", "the graph made in Swift", ours,
              column("exported", "ms"), EXPORTED_GOAL)


def run_b(runner, table, figures):
    for cell in RATE_GOALS:
        rounds = []
        for index in range(runner.options.rounds):
            text = runner.peer("bench_seed_epoch.py", "keras", cell, runner.options.steps)
            keras = runner.figure(text, r"([\d.]+) real chars/s")
            ours = runner.benchmark("b", "--cell", cell, "--steps", runner.options.steps,
                                    "--poems", runner.options.poems)["characters_per_s"]
            rounds.append({"keras": keras, "weft": ours})
            say(f"b {cell} {index + 1}: keras {keras:.0f}, weft {ours:.0f} characters/s")
        figures["b " + cell] = rounds
        table.add("B " + cell, "real characters/s", "Keras", [r["keras"] for r in rounds],
                  [r["weft"] for r in rounds], RATE_GOALS[cell], most=False)


def run_c(runner, table, figures):
    rounds = []
    for index in range(runner.options.rounds):
        text = runner.peer("bench_generate.py", "ort")
        found = runner.benchmark("c")
        found["ort"] = runner.figure(text, r"median ([\d.]+) us")
        rounds.append(found)
        say(f"c {index + 1}: ort {found['ort']:.0f}, weft {found['character_median_us']:.1f} us")
    figures["c"] = rounds
    ours = [r["character_median_us"] for r in rounds]
    table.add("C", "us a character", "ONNX Runtime", [r["ort"] for r in rounds], ours, 1)
    table.add_alone("C", "us a character", ours, 45)
    table.add_alone("C", "us, one op, prepared", [r["overhead_prepared_us"] for r in rounds], 3)
    table.add_alone("C", "us, one op, Session.run", [r["overhead_run_us"] for r in rounds], 3)


def run_d(runner, table, figures):
    rounds = [runner.benchmark("d", "--weft", runner.options.weft)
              for _ in range(runner.options.rounds)]
    figures["d"] = rounds
    for key, label, goal in [("help", "ms, --help", 30), ("one_op", "ms, one-op run", 40),
                             ("first_step", "ms, 5,000 nodes to first step", 1000)]:
        table.add_alone("D", label, [r[key + "_median_ms"] for r in rounds], goal)


def run_e(runner, table, figures):
    rounds = [runner.benchmark("e") for _ in range(runner.options.rounds)]
    figures["e"] = rounds
    for key in [k for k in rounds[0] if k.endswith(("_time_growth", "_node_growth"))]:
        steps, _, what = key.partition("_")
        table.add_alone("E", f"{what.replace('_', ' ')} to {steps[1:]} steps (1: linear)",
                        [r[key] for r in rounds], 1.2)
    table.add_alone("E", "ns a kernel", [r["kernel_overhead_ns"] for r in rounds], 100)
    if "thread_gain" in rounds[0]:
        table.add("E", "gain of threads", "that of products",
                  [r["thread_gain_of_products"] for r in rounds],
                  [r["thread_gain"] for r in rounds], 0.9, most=False)


def machine(runner):
    """What ran the figures: the CPU, OpenBLAS's core type, the peers' versions, the day."""
    model = platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.partition(":")[2].strip() for line in file
                     if line.startswith("model name")]
        model = names[0] if names else model
    found = runner.benchmark("c", "--steps", 1, "--vocabulary", 64)
    versions = runner.output([runner.options.python, "-c", (
        "import importlib.metadata as m, platform as p\n"
        "names = [d.metadata['Name'] for d in m.distributions()]\n"
        "wanted = ('tensorflow', 'tensorflow-cpu', 'keras', 'onnxruntime')\n"
        "found = sorted({n + ' ' + m.version(n) for n in names if n in wanted})\n"
        "print(', '.join(found + ['Python ' + p.python_version()]))")])
    return "\n".join([
        f"- Machine: {model}, {len(os.sched_getaffinity(0))} cores, "
        f"{platform.system()} {platform.machine()}",
        f"- OpenBLAS core type: {found['blas_core']}; Weft on {found['threads']:g} threads",
        f"- Peers: {versions.strip()}",
        f"- {datetime.date.today().isoformat()}, {runner.options.rounds} rounds of "
        f"{runner.options.steps} steps, medians of each round's ratio"])


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("bench", "weft", "benchmark", "poems"):
        parser.add_argument("--" + name, required=True)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--workloads", default="a,b,c,d,e")
    parser.add_argument("--cells", default="rnn,lstm2,gru")
    parser.add_argument("--timeout", type=float, default=1800, help="seconds for one program")
    parser.add_argument("--out", help="a file for every figure, as JSON")
    options = parser.parse_args()
    if options.rounds < 1 or options.steps < 4:
        parser.error("--rounds takes a number from 1, --steps one from 4")
    workloads = {"a": run_a, "b": run_b, "c": run_c, "d": run_d, "e": run_e}
    chosen = options.workloads.split(",")
    unknown = [name for name in chosen if name not in workloads]
    if unknown:
        parser.error(f"there is no workload {unknown[0]!r}")

    runner, table, figures = Runner(options), Table(), {}
    about = machine(runner)
    for name in chosen:
        workloads[name](runner, table, figures)
    if options.out:
        with open(options.out, "w", encoding="utf-8") as file:
            json.dump(figures, file, indent=1)
    print(about + "\n\n" + table.text())


if __name__ == "__main__":
    main()
