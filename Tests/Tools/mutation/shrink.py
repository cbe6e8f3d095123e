"""A failed case made smaller, as long as it fails in the same way."""
import copy
import glob
import os
import random
import shutil
import tempfile
import time

from .cases import Maker, write_case
from .graphs import nodes_of
from .process import run_jobs


def minimize(options, maker, number, kind):
    """Fewer steps, nodes, attrs and feeds as long as the case fails in the same way."""
    case, suffix, data, action = maker.make(number)
    if suffix != "json" or case.graph is None or data != Maker.serialize(case):
        return None
    folder = tempfile.mkdtemp(dir=maker.work)
    tries = {"crash": 150, "memory": 60, "hang": 12}[kind]
    deadline = time.time() + (60 if kind == "hang" else 30)

    def fails(candidate):
        nonlocal tries
        if tries <= 0 or time.time() > deadline:
            return False
        tries -= 1
        for file in glob.glob(os.path.join(folder, "*")):
            os.remove(file)
        lines = write_case(candidate, suffix, Maker.serialize(candidate), action, folder, "m",
                           random.Random(0))
        _, failure = run_jobs(options, lines, folder, "job.jsonl")
        return failure is not None and failure[0] == kind

    if not fails(case):
        shutil.rmtree(folder, ignore_errors=True)
        return None

    def attempt(change):
        nonlocal case
        candidate = copy.deepcopy(case)
        if change(candidate) is not False and fails(candidate):
            case = candidate
            return True
        return False

    for at in reversed(range(len(case.steps))):
        if len(case.steps) > 1:
            attempt(lambda c, at=at: c.steps.pop(at))
    for at in range(len(case.steps)):
        for kind_of in ("fetches", "targets"):
            for name in list(case.steps[at][kind_of]):
                attempt(lambda c, at=at, k=kind_of, n=name: c.steps[at][k].remove(n))
    if "graphDef" in case.graph:
        attempt(lambda c: setattr(c, "graph", c.graph["graphDef"]))
    for key in [k for k in case.graph if k not in ("node", "graphDef")]:
        attempt(lambda c, k=key: c.graph.pop(k))
    width = max(1, len(nodes_of(case.graph)) // 2)
    while width >= 1:
        start = 0
        while start < len(nodes_of(case.graph)):
            def cut(c, start=start, width=width):
                del nodes_of(c.graph)[start:start + width]
            if not attempt(cut):
                start += width
        width //= 2
    for at in range(len(case.steps)):
        for name in list(case.steps[at]["feeds"]):
            attempt(lambda c, at=at, n=name: c.steps[at]["feeds"].pop(n))
    shutil.rmtree(folder, ignore_errors=True)
    return case, suffix, Maker.serialize(case), action
