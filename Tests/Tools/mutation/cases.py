"""Case I of seed S: which seed, which changes, and the files and manifest lines of it."""
import json
import os
import random
import re
import subprocess
import threading

from .binary import damage
from .graphs import Case, Pool
from .structure import (m_append, m_big, m_deep, m_library, m_meta, m_node_drop, m_node_field,
                        m_node_order, m_node_twice, m_op, m_op_same_inputs, m_op_whole, m_rewire)
from .sweep import change, forget_shapes, places
from .values import (m_attr_add, m_attr_drop, m_attr_kind, m_attr_twice, m_attr_value, m_constant,
                     m_constant_to_feed, m_empty_and_huge, m_feed, m_feed_edges, m_fetch, m_huge,
                     m_output_shapes, m_small_integers, m_step_again, m_type_everywhere,
                     m_type_of_node, m_unknown_shapes)

MUTATORS = [
    (12, m_attr_value), (3, m_attr_kind), (3, m_attr_drop), (2, m_attr_add), (1, m_attr_twice),
    (2, m_output_shapes), (3, m_type_of_node), (6, m_type_everywhere), (8, m_constant),
    (20, m_small_integers), (16, m_constant_to_feed), (8, m_unknown_shapes), (16, m_feed),
    (4, m_feed_edges), (4, m_fetch), (4, m_step_again), (7, m_rewire), (2, m_op), (8, m_op_whole),
    (8, m_op_same_inputs), (16, m_append), (8, m_empty_and_huge),
    (5, m_huge), (1, m_node_twice), (1, m_node_drop), (1, m_node_order),
    (2, m_node_field), (1, m_deep), (1, m_big), (4, m_meta), (2, m_library)]

# What a change raises where an earlier one left something that is no graph.
UNFIT = (AttributeError, IndexError, KeyError, TypeError, ValueError)


class Maker:
    def __init__(self, weft, seeds, seed, work, only="", unknown=False):
        self.weft, self.seeds, self.seed, self.work = weft, seeds, seed, work
        self.unknown = unknown
        self.pool = Pool(seeds)
        chosen = [(w, m) for w, m in MUTATORS if re.search(only, m.__name__)]
        self.weights = [w for w, _ in chosen]
        self.mutators = [m for _, m in chosen]
        self.converted = {}
        self.unfit, self.places = 0, []
        self.lock = threading.Lock()

    def bytes_of(self, index, suffix):
        """The seed as .pb or .pbtxt, by `weft convert`; None when it does not convert."""
        with self.lock:
            if (index, suffix) not in self.converted:
                source = os.path.join(self.work, f"seed{index}.json")
                target = os.path.join(self.work, f"seed{index}.{suffix}")
                seed = self.seeds[index]
                with open(source, "w", encoding="utf-8") as f:
                    f.write(json.dumps(seed["graph"]) if seed["graph"] else seed["text"])
                subprocess.run([self.weft, "convert", source, target], stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)
                data = None
                if os.path.exists(target):
                    with open(target, "rb") as f:
                        data = f.read()
                self.converted[index, suffix] = data
            return self.converted[index, suffix]

    def sweep(self):
        """All changes of one place; -> their number."""
        self.places = [(at, place) for at, seed in enumerate(self.seeds) for place in places(seed)]
        random.Random(self.seed).shuffle(self.places)
        return len(self.places)

    def make(self, number):
        """-> (case, suffix, bytes of the graph, action)"""
        if self.places:
            index, place = self.places[number]
            case = Case(self.seeds[index])
            change(case, place)
            if self.unknown:
                forget_shapes(case, keep_rank=number % 2 == 0)
            # A quarter of those that can be are differentiated by Weft first.
            chosen = self.unknown or number % 4 == 0
            action = "grad" if case.autodiff and chosen else "run"
            return case, "json", self.serialize(case), action
        rng = random.Random(f"{self.seed}:{number}")
        index = rng.randrange(len(self.seeds))
        seed = self.seeds[index]
        case = Case(seed)
        actions = ["run"] * 14 + ["convert"] * 3 + (["grad"] * 4 if case.autodiff else ["grad"])
        action = rng.choice(actions)
        form = rng.choices(["json", "text", "pb", "pbtxt"], [88, 4, 5, 3])[0]
        if form in ("pb", "pbtxt"):
            data = self.bytes_of(index, form)
            if data is None:
                form = "text"
            else:
                if rng.random() < 0.3 and case.graph:
                    try:
                        m_feed(rng, case, self.pool)
                    except UNFIT:
                        self.unfit += 1
                return case, form, damage(rng, data), action
        if form == "text" or case.graph is None:
            text = case.text if case.text and rng.random() < 0.3 else json.dumps(case.graph or {})
            return case, "json", damage(rng, text.encode("utf-8", "surrogatepass")), action
        for _ in range(rng.choice([1, 1, 1, 2, 2, 4])):
            try:
                rng.choices(self.mutators, self.weights)[0](rng, case, self.pool)
            except UNFIT:
                self.unfit += 1
        return case, "json", self.serialize(case), action

    @staticmethod
    def serialize(case):
        text = json.dumps(case.graph, ensure_ascii=False)
        if case.repeats:
            text = re.sub(r'@@\d+"', '"', text)
        return text.encode("utf-8", "surrogatepass")

    def write(self, number, folder, prefix=""):
        """The files of a case in `folder`; -> its lines of a manifest."""
        case, suffix, data, action = self.make(number)
        return write_case(case, suffix, data, action, folder, f"{prefix}{number}",
                          random.Random(f"{self.seed}:{number}:jobs"))


def write_case(case, suffix, data, action, folder, name, rng):
    graph = f"{name}.{suffix}"
    with open(os.path.join(folder, graph), "wb") as f:
        f.write(data)
    steps = []
    for at, step in enumerate(case.steps):
        feeds = {}
        for position, (key, array) in enumerate(step["feeds"].items()):
            file = f"{name}.{at}.{position}.npy"
            content = array.npy()
            if rng.random() < 0.01:
                content = damage(rng, content)
            with open(os.path.join(folder, file), "wb") as f:
                f.write(content)
            feeds[key] = file
        steps.append({"feeds": feeds, "fetches": {t: None for t in step["fetches"] if t},
                      "targets": step["targets"], "may_fail": True})
    run = {"id": f"{name}", "action": "run", "graph": graph, "steps": steps}
    if action == "run":
        return [run]
    first = {"id": f"{name}+", "graph": graph}
    if action == "convert":
        target = f"{name}.out.{rng.choice(['json', 'pb', 'pbtxt', 'dot'])}"
        first.update({"action": "convert", "to": target})
    else:
        target = f"{name}.out.json"
        placeholders = [n.get("name") for n in case.nodes if n.get("op") == "Placeholder"]
        diff = case.autodiff or {
            "ys": [t for s in case.steps for t in s["fetches"]][:1],
            "xs": [p for p in placeholders if isinstance(p, str)][:3]}
        first.update({"action": "grad", "to": target, "ys": diff.get("ys") or [],
                      "xs": diff.get("xs") or [], "grad_ys": diff.get("grad_ys") or [],
                      "names": [f"grad_of_{i}" for i in range(len(diff.get("xs") or []))]})
        if steps:
            steps[-1]["fetches"].update({n: None for n in first["names"]})
    run["graph"] = target
    return [first, run]
