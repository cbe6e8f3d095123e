#!/usr/bin/env python3
"""Damages graphs in ways that keep some of their structure, and runs what comes out of it.

  mutate_graphs.py WEFT [SEEDS ...] [--cases DIR] [--count N] [--seed S] [--jobs J] [--out DIR]

SEEDS are graph files or folders of them; without any, the project's graphs/ and Tests/Data/seeds/.
--cases names a folder of conformance cases (ops/*.jsonl), whose feeds are used and damaged too.
Case I of seed S is the same in every run. Each is loaded and run (or converted, or differentiated,
and then run) by `weft batch`, many to a process. A case fails when its process dies, gives no
result for --timeout seconds, or grows beyond --memory MiB; whatever error it reports is fine.
Graphs may ask for six tenths of --memory; weft refuses those that ask for more.
A failed case is run again alone, made smaller, and kept in a folder of --out:
how.txt, graph.*, job.jsonl (cd there; weft batch job.jsonl --results out).
Ends with "N passed, N failed" and exits 1 when a case failed. Python's standard library only.
"""
import argparse
import concurrent.futures
import json
import os
import re
import sys
import tempfile
import time

from mutation.cases import Maker
from mutation.graphs import ops_of
from mutation.runner import Runner
from mutation.seeds import seeds_of_cases, seeds_of_files

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weft", help="the weft command")
    parser.add_argument("seeds", nargs="*", help="graph files, or folders of them")
    parser.add_argument("--cases", help="a folder of conformance cases")
    parser.add_argument("--count", type=int, help="2000; with --sweep all")
    parser.add_argument("--first", type=int, default=0, help="the number of the first case")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--chunk", type=int, default=200, help="cases to a process")
    parser.add_argument("--memory", type=int, default=1024, help="MiB that a process may use")
    parser.add_argument("--data", type=int, default=12 << 10,
                        help="MiB after which the system gives a process no more")
    parser.add_argument("--timeout", type=float, default=5, help="seconds without a result")
    parser.add_argument("--sweep", action="store_true", help="instead of random changes, every "
                        "integer of every seed in turn at the limits of its type; --count of them")
    parser.add_argument("--unknown", action="store_true", help="with --sweep: placeholders do not "
                        "say their sizes, and all that can be is differentiated")
    parser.add_argument("--only", default="", help="only changes whose function matches this")
    parser.add_argument("--having", help="only seeds with an op, in a function too, that matches")
    parser.add_argument("--verbs", type=float, default=0.05,
                        help="share of cases that another verb reads too, in a process of its own")
    parser.add_argument("--out", default="mutated", help="where failed cases are kept")
    options = parser.parse_args()
    sys.setrecursionlimit(4000)
    options.weft = os.path.abspath(options.weft)
    options.out = os.path.abspath(options.out)
    paths = options.seeds or [p for p in (os.path.join(ROOT, "graphs"),
                                          os.path.join(ROOT, "Tests", "Data", "seeds"))
                              if os.path.isdir(p)]
    seeds = list(seeds_of_files(paths))
    if options.cases:
        seeds += list(seeds_of_cases(options.cases))
    if options.having:
        seeds = [s for s in seeds if s["graph"] and any(
            re.fullmatch(options.having, op or "") for op in ops_of(s["graph"]))]
    if not seeds:
        parser.error("there are no seeds")
    os.makedirs(options.out, exist_ok=True)
    started = time.time()
    with tempfile.TemporaryDirectory(prefix="mutate") as work:
        maker = Maker(options.weft, seeds, options.seed, work, options.only, options.unknown)
        runner = Runner(options, maker)
        if options.sweep:
            total = maker.sweep()
            options.count = min(total, options.first + (options.count or total)) - options.first
            print(f"{total} changes of one place", file=sys.stderr, flush=True)
        options.count = 2000 if options.count is None else options.count
        last = options.first + options.count
        chunks = [range(at, min(at + options.chunk, last))
                  for at in range(options.first, last, options.chunk)]
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            for done, _ in enumerate(pool.map(runner.chunk, chunks), 1):
                if done % 25 == 0:
                    print(f"{done * options.chunk} cases, {len(runner.failures)} failed, "
                          f"{time.time() - started:.0f} s", file=sys.stderr, flush=True)
    report = {"seed": options.seed, "count": options.count, "passed": runner.passed,
              "ran_without_error": runner.ok, "errors": runner.errors,
              "failures": runner.seen,
              "errors without a place": {k: v[:5] for k, v in sorted(runner.untyped.items())}}
    with open(os.path.join(options.out, f"report-{options.seed}.json"), "w", encoding="utf-8") as f:
        json.dump(report, f, indent=1, ensure_ascii=False)
    for signature, numbers in sorted(runner.seen.items(), key=lambda x: -len(x[1])):
        print(f"{len(numbers):6}  {signature}   case {numbers[0]}")
    print(f"{len(seeds)} seeds, {maker.unfit} changes did not apply; {runner.ok} results without an error, errors: "
          + ", ".join(f"{k} {v}" for k, v in sorted(runner.errors.items())))
    print(f"{runner.passed} passed, {len(runner.failures)} failed")
    sys.exit(1 if runner.failures else 0)


if __name__ == "__main__":
    main()
