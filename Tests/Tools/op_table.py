#!/usr/bin/env python3
"""Writes the article about ops from `weft doctor --ops` and a conformance report.

  op_table.py WEFT CASES REPORT.json OUT.md

WEFT is the command. CASES is a folder of files OP.jsonl, a case with `id` and `op` in each line;
REPORT.json says which of them failed: {"failures": {id: reason}}. What differs from TensorFlow is
told by the list below; the sources say the same where it is done.
"""
import argparse
import collections
import glob
import json
import os
import subprocess

KEPT = [
    ("`Round` of integers gives 0", "the formula of TensorFlow's kernel halves in integers."),
    ("`DynamicStitch` gives a row that is overwritten the gradient of the row that stays",
     "TensorFlow's rule gathers the gradient at every index."),
    ("`SoftmaxCrossEntropyWithLogits` has the derivative by the logits only for labels that sum to "
     "one, and its second derivative leaves the labels out",
     "the kernel's second output is softmax minus labels, and TensorFlow differentiates no further."),
    ("`Zeta`, `Polygamma` and `Betainc` have a gradient by their last argument only, `Igamma` and "
     "`Igammac` no second one by the first", "TensorFlow has no rule for those either."),
    ("`BroadcastGradientArgs` names an axis of size one in both shapes for both",
     "sums over such an axis change nothing, and graphs compare equal."),
    ("Random ops draw TensorFlow's bits for given seeds",
     "the generator, its counters and the order of its results are the same."),
]
DIFFERENT = [
    ("`GatherNd`, `ScatterNd` and the `TensorScatter` ops take tuples that name places of a tensor "
     "whose rows are empty", "TensorFlow refuses them, though there is nothing to move."),
    ("An axis may be a vector of one number (`ArgMax`, `Cumsum`)",
     "TensorFlow wants a scalar; nothing else can be meant."),
    ("Convolutions run channels first, and their gradients take dilations and groups",
     "TensorFlow's CPU kernels do not."),
    ("`Reciprocal` of integers runs", "TensorFlow registers the types without a CPU kernel."),
    ("Loops of frames (`Enter`, `Merge` and others) have no gradients made here",
     "not done; those of functions (`While`) have, and graphs that hold such gradients run."),
    ("Factors, determinants and solutions of float32 matrices are computed in float64",
     "they are small, and nothing is lost."),
    ("Some sums and products of float32 have another order",
     "the kernels are other ones; the last bits may differ."),
    ("`PrintV2` writes to the error stream whatever stream it names", "a graph writes to no file."),
    ("No gradient: products of complex matrices, `Einsum` with an ellipsis that is summed or does not "
     "come first, `ResourceGather` with `batch_dims`",
     "not done; asking for one is an error that says so."),
    ("No second derivative: `MaxPool`, `FusedBatchNorm`, `ResizeBilinear`",
     "not done; asking for one is an error that says so."),
    ("Savers, summaries, queues, datasets and files load and are kept, and are refused when run",
     "a graph opens no files here; the error says what to do instead."),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weft")
    parser.add_argument("cases")
    parser.add_argument("report")
    parser.add_argument("out")
    args = parser.parse_args()
    failures = json.load(open(args.report, encoding="utf-8"))["failures"]
    passed, total = collections.Counter(), collections.Counter()
    for path in sorted(glob.glob(os.path.join(args.cases, "*.jsonl"))):
        for line in open(path, encoding="utf-8"):
            case = json.loads(line)
            total[case["op"]] += 1
            passed[case["op"]] += case["id"] not in failures
    listing = subprocess.run([args.weft, "doctor", "--ops"], check=True, capture_output=True,
                             text=True).stdout.splitlines()[1:]
    rows = [line.split("\t") for line in listing]
    out = [
        "# Ops", "",
        f"The {len(rows)} ops that a graph may have, by TensorFlow's names.", "",
        "The element types are those that a node's results may have; where one of them has no kernel,",
        "running it is an error that says so. *Cases* counts runs recorded from TensorFlow that Weft repeats,",
        "passed of all. `weft doctor --ops` prints the other columns.", "",
        "| op | element types | gradient | runs | cases |", "|---|---|---|---|---|",
    ]
    for name, dtypes, gradient, runs in rows:
        cases = f"{passed[name]} of {total[name]}" if total[name] else ""
        out.append(f"| `{name}` | {dtypes} | {gradient} | {runs} | {cases} |")
    out += ["", "## Kept as TensorFlow has it", ""]
    out += [f"- {what}: {why}" for what, why in KEPT]
    out += ["", "## Different from TensorFlow", ""]
    out += [f"- {what}: {why}" for what, why in DIFFERENT]
    with open(args.out, "w", encoding="utf-8") as file:
        file.write("\n".join(out) + "\n")
    print(f"{len(rows)} ops, {sum(passed.values())} of {sum(total.values())} cases")


if __name__ == "__main__":
    main()
