#!/usr/bin/env python3
"""Counts the heap allocations of repeated runs, with a counter preloaded before the C library's.

  count_allocations.py BENCHMARK [--workloads LIST] [--threads 1,2] [--trace N]

BENCHMARK is the example program `benchmark`, built with -c release: a debug build allocates what
the optimizer leaves out. Each workload runs a prepared step until it is warm, then 20 times more:
training of a cell by its own optimizer (rnn) or by plain gradient descent (rnn-plain), or one
character generated (generate). Exits with 1 when a step allocates. --trace shows where the first N
allocations come from. Needs a C compiler, and Linux.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

WORKLOADS = "rnn-plain,lstm-plain,lstm2-plain,gru-plain,generate,rnn,lstm,lstm2,gru"
HERE = os.path.dirname(os.path.abspath(__file__))


def build_counter(folder, compiler):
    library = os.path.join(folder, "allocation_counter.so")
    source = os.path.join(HERE, "allocation_counter.c")
    subprocess.run([compiler, "-O2", "-Wall", "-Wextra", "-shared", "-fPIC", "-o", library, source,
                    "-ldl"], check=True)
    return library


def count(benchmark, library, workload, threads, warmup, steps, trace):
    environment = dict(os.environ, LD_PRELOAD=library)
    if trace:
        environment["WEFT_ALLOCATION_TRACE"] = str(trace)
    command = [benchmark, "allocations", "--json", "--threads", str(threads), "--warmup",
               str(warmup), "--steps", str(steps)]
    cell, _, kind = workload.partition("-")
    if cell != "generate":
        command += ["--cell", cell]
    if kind == "plain":
        command.append("--plain")
    run = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                         text=True)
    if run.returncode != 0:
        sys.exit(f"{workload}: the program failed with code {run.returncode}\n{run.stderr}")
    if trace and run.stderr:
        print(run.stderr, file=sys.stderr)
    return json.loads(run.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("benchmark")
    parser.add_argument("--workloads", default=WORKLOADS)
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--warmup", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--trace", type=int, default=0)
    parser.add_argument("--compiler", default=os.environ.get("CC", "cc"))
    options = parser.parse_args()

    failed = False
    with tempfile.TemporaryDirectory() as folder:
        library = build_counter(folder, options.compiler)
        for workload in options.workloads.split(","):
            for threads in options.threads.split(","):
                found = count(options.benchmark, library, workload, int(threads), options.warmup,
                              options.steps, options.trace)
                allocations, late = found["allocations"], found["late_steps"]
                print(f"{workload:12s} {threads} threads  {allocations / options.steps:9.2f} "
                      f"allocations a step, {late} kernels chosen in the run", flush=True)
                failed = failed or allocations != 0
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
