"""Runs cases, many to a process; counts how they end and keeps those that fail."""
import glob
import os
import random
import re
import shutil
import sys
import tempfile
import threading

from .cases import write_case
from .process import VERBS, run_jobs, run_verb, stack
from .shrink import minimize


class Runner:
    def __init__(self, options, maker):
        self.options, self.maker = options, maker
        self.lock = threading.Lock()
        self.failures, self.seen, self.untyped = [], {}, {}
        self.passed, self.ok, self.errors = 0, 0, {}

    def chunk(self, numbers):
        """Runs cases in one process, and again from the one it died at."""
        folder = tempfile.mkdtemp(dir=self.maker.work)
        lines = []
        for number in numbers:
            lines += self.maker.write(number, folder)
        failed = set()
        todo = lines
        while todo:
            found, failure = run_jobs(self.options, todo, folder)
            self.note(found)
            if failure is None:
                break
            at = next((i for i, line in enumerate(todo) if line["id"] not in found), None)
            if at is None:
                break  # it failed after its last result; the next lines show what it was
            number = int(todo[at]["id"].rstrip("+"))
            self.guilty(number, failure, [int(x["id"].rstrip("+")) for x in todo[:at]])
            failed.add(number)
            todo = [x for x in todo[at + 1:] if int(x["id"].rstrip("+")) != number]
        for number in numbers:
            rng = random.Random(f"{self.options.seed}:{number}:verb")
            if number not in failed and rng.random() < self.options.verbs:
                failure = self.verb(number, rng, folder)
                if failure:
                    failed.add(number)
        shutil.rmtree(folder, ignore_errors=True)
        with self.lock:
            self.passed += len(numbers) - len(failed)

    def verb(self, number, rng, folder):
        graphs = glob.glob(os.path.join(folder, f"{number}.[jp]*"))
        verb = rng.choice(VERBS)
        failure = run_verb(self.options, verb, os.path.basename(graphs[0]), folder)
        if failure is None:
            return None
        signature = f"{failure[0]} of weft {' '.join(verb)}"
        kept = os.path.join(self.options.out, f"case-{self.options.seed}-{number}-verb")
        os.makedirs(kept, exist_ok=True)
        shutil.copy(graphs[0], kept)
        with open(os.path.join(kept, "how.txt"), "w", encoding="utf-8") as f:
            f.write(f"{signature}\n{failure[1]}\n")
        with self.lock:
            if signature not in self.seen:
                print(f"case {number}: {signature}", file=sys.stderr, flush=True)
            self.seen.setdefault(signature, []).append(number)
            self.failures.append((number, signature))
        return failure

    def note(self, found):
        """Counts how cases end; keeps errors that are not typed ones."""
        with self.lock:
            for result in found.values():
                messages = [result.get("message")] + [s.get("error") for s in result.get("steps") or []]
                self.ok += not any(messages)
                for message in filter(None, messages):
                    code = re.match(r"error\[(\w+)\]", message)
                    key = code[1] if code else "untyped"
                    self.errors[key] = self.errors.get(key, 0) + 1
                    if key in ("untyped", "Internal"):
                        short = re.sub(r"\d+", "N", message.split("\n")[0])[:160]
                        self.untyped.setdefault(short, []).append(result["id"])

    def guilty(self, number, failure, before):
        folder = os.path.join(self.options.out, f"case-{self.options.seed}-{number}")
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        lines = self.maker.write(number, folder)
        _, again = run_jobs(self.options, lines, folder, "job.jsonl")
        alone = again is not None
        frames = []
        if alone:
            frames = stack(self.options, folder, again[0])
        kind, how = again or failure
        signature = f"{kind} | " + (" < ".join(frames[:4]) if frames else how)
        small = None
        if alone and kind == "memory":
            # Where it stands when the limit is passed is chance; the ops that are left are not.
            small = minimize(self.options, self.maker, number, kind)
            if small:
                left = {n.get("op") for n in small[0].nodes} - {"Const", "Placeholder", "Identity"}
                signature = f"memory | {' '.join(sorted(map(str, left)))}"
        if not alone:
            signature = f"{kind}, not when alone | {how}"
        with self.lock:
            is_new = signature not in self.seen
            self.seen.setdefault(signature, []).append(number)
            self.failures.append((number, signature))
        if is_new and alone:
            if small is None:
                small = minimize(self.options, self.maker, number, kind)
            if small:
                for file in glob.glob(os.path.join(folder, "*")):
                    os.remove(file)
                lines = write_case(*small, folder, str(number), random.Random(0))
                run_jobs(self.options, lines, folder, "job.jsonl")
        with open(os.path.join(folder, "how.txt"), "w", encoding="utf-8") as f:
            f.write(f"{signature}\n{how}\nseed of the graph: {self.maker.make(number)[0].seed['id']}\n")
            f.writelines(f"  {frame}\n" for frame in frames)
            if not alone:
                f.write("It passed when run alone. Cases before it in its process: "
                        + " ".join(map(str, before)) + "\n")
        if is_new:
            print(f"case {number}: {signature}", file=sys.stderr, flush=True)
