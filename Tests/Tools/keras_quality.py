#!/usr/bin/env python3
"""Trains character models on the same batches in Weft and in Keras; compares held-out nats.

  keras_quality.py WEFT TANG_POETRY POEMS.txt [--cells rnn gru lstm] [--preset report-tensorflow]
                   [--poems N] [--epochs 2] [--keras same own plain] [--work FOLDER] [--json FILE]

WEFT and TANG_POETRY are the two release programs, POEMS.txt has `title:content` lines. Needs keras
and tensorflow-cpu in the interpreter that runs it.

1. Texts. The first N lines (all, if not given) are prepared as Weft's preparation of that preset
   does it, and counted into a vocabulary; the program stops unless `tang-poetry --export-only` made
   the same vocabulary, number of texts and number of characters of the same lines. The last tenth
   of the lines is held out.
2. Batches. Texts are shuffled once, wait in buckets of the graph's widths for a batch of their own,
   and batches are shuffled anew for each epoch, all by --seed. Tokens, targets and lengths go to
   .npy files; both programs get these and nothing else.
3. Weft. `tang-poetry --cell C --preset P --export-only` makes the graph; its learning rate becomes
   --rate (1e-3). One `weft run --script` trains an epoch, one evaluates: the session of the next
   epoch is restored from the .npz file that the last one saved, Adam's slots with it.
4. Keras. Embedding 64, SimpleRNN, GRU or LSTM 128, Dense; keras.optimizers.Adam; the mean of each
   text's cross entropies over its own length, then over the batch. `--keras same` begins with the
   values that Weft drew, `own` and `plain` with what Keras draws itself.

A row of the embedding that a batch uses several times has a gradient of several parts. Keras 2 and
TensorFlow's AdamOptimizer add them up before Adam, as its definition says and as Weft does; Keras 3
on TensorFlow (3.15.1) squares each part by itself, so that Adam's second moment of a frequent
character is another one. `same` and `own` add the parts up first; `plain` leaves them to Keras 3.

The preset report-tensorflow has Keras's own cells (GRU with reset_after, Adam's epsilon 1e-7).
`poems` has TensorFlow 1's: its GRUCell is Keras's GRU without reset_after, its BasicLSTMCell's
forget bias of 1 is added to Keras's bias, and epsilon is 1e-8.

Prints a line for each cell and Keras program: nats per character on the held-out texts after each
epoch, their relative difference, the largest relative difference of one batch's loss, characters
per second of the last epoch, and CPU time. Exits with 1 when a difference after the last epoch is
above --tolerance (0.01).
"""
import argparse
import base64
import collections
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
import unicodedata

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
import numpy as np

EMBEDDING, HIDDEN = 64, 128
BOS, EOS = "\ue000bos", "\ue000eos"  # markers among characters


def log(*words):
    print(*words, file=sys.stderr, flush=True)


# Texts: what Sources/WeftTraining/Text does.


def read_lines(path, count):
    """The file's bytes and its stripped lines; only the first `count` if given."""
    data = open(path, "rb").read()
    lines = re.split(rb"\r\n|\r|\n", data)
    if lines and not lines[-1]:
        lines.pop()
    if count is not None:
        lines = lines[:count]
    return [line.decode("utf-8").strip() for line in lines]


def is_han(c):
    return (
        "\u4e00" <= c <= "\u9fff" or c == "\u3007" or "\u3400" <= c <= "\u4dbf"
        or "\uf900" <= c <= "\ufaff" or "\U00020000" <= c <= "\U0003fffd"
    )


MARKS = {c: c for c in "，。？！；：、"} | dict(zip(",.?!;:", "，。？！；："))
GAPS = re.compile(
    "[\u25a1\u25cb\u25cf\u56d7{}\u2ff0-\u2fff\ue000-\uf8ff\ufffd\U000f0000-\U0010ffff]")


def clean_poem(text):
    """PoemCleaner.clean: the characters to keep, or None for a text to drop."""
    out = []
    depth, bracket = 0, None
    for c in text:
        if c in "（(〖【〔":
            depth += 1
        elif c in "）)〗】〕":
            depth -= 1
            if depth < 0:
                return None
        elif depth > 0:
            pass
        elif c in "[［":
            bracket = len(out)
        elif c in "]］":
            if bracket is not None and bracket < len(out):
                if all(d in "0123456789〇一二三四五六七八九十" for d in out[bracket:]):
                    del out[bracket:]
            bracket = None
        elif c in "《》〈〉「」『』“”‘’":
            pass
        elif GAPS.match(c):
            return None
        else:
            follows_ascii = bool(out) and out[-1] < "\x80"
            if is_han(c):
                if out and out[-1] == " ":
                    out.pop()
                out.append(c)
            elif c.isspace():
                if follows_ascii and out[-1] != " ":
                    out.append(" ")
            elif follows_ascii and "\x21" <= c <= "\x7e":
                out.append(c)
            elif c in MARKS:
                if out and (out[-1] not in MARKS or out[-1] < "\x80"):
                    out.append(MARKS[c])
            elif c.isalpha() or unicodedata.numeric(c, None) is not None:
                out.append(c)
    if depth != 0:
        return None
    if out and out[-1] == " ":
        out.pop()
    return out


def cut_poem(text, limit):
    """PoemCleaner.pieces: pieces of much the same length that end with sentences."""
    if len(text) <= limit:
        return [text] if text else []
    ends = [i + 1 for i, c in enumerate(text) if c in "。！？；!?;…"]
    if not ends or ends[-1] != len(text):
        ends.append(len(text))
    cuts, start = [], 0
    for end in ends:
        if end - start > limit:
            clause = start
            for i in range(start, end):
                if text[i] in "，、：" or i + 1 - clause == limit:
                    if i + 1 < end:
                        cuts.append(i + 1)
                    clause = i + 1
        cuts.append(end)
        start = end
    count = -(-len(text) // limit)
    target = -(-len(text) // count)
    pieces, start, last = [], 0, 0
    for end in cuts:
        if end - start > limit and last > start:
            pieces.append(text[start:last])
            start = last
        last = end
        if end - start >= target:
            pieces.append(text[start:end])
            start = end
    if start < len(text):
        pieces.append(text[start:])
    return pieces


def prepare(lines, preset):
    """Texts between markers."""
    texts = []
    for line in lines:
        body = line.partition(":")[2]
        if preset == "report-tensorflow":
            text = [BOS, *body.replace(":", ""), EOS]
            if len(text) <= 200:
                texts.append(text)
        else:
            for piece in cut_poem(clean_poem(body) or [], 80):
                if len(piece) >= 5:
                    texts.append([BOS, *piece, EOS])
    return texts


def vocabulary_of(texts, preset):
    """Entries by falling frequency, ties as first seen."""
    counts = collections.Counter()
    for text in texts:
        counts.update(text)
    words = ["PAD", "UNK"]
    if preset == "poems":
        words += [BOS, EOS]
        del counts[BOS], counts[EOS]
    return words + [word for word, _ in counts.most_common()]


# Batches.


class Batch:
    """Texts padded to a width, and the files that hold them."""

    def __init__(self, texts, width, ids, folder, name):
        self.width = width
        self.tokens = np.zeros([len(texts), width], np.int32)
        self.targets = np.zeros([len(texts), width], np.int32)
        self.lengths = np.zeros([len(texts)], np.int32)
        for row, text in enumerate(texts):
            code = [ids[c] for c in text]
            self.lengths[row] = len(code) - 1
            self.tokens[row, : len(code) - 1] = code[:-1]
            self.targets[row, : len(code) - 1] = code[1:]
        self.files = {}
        for key in ("tokens", "targets", "lengths"):
            self.files[key] = os.path.join(folder, f"{name}.{key}.npy")
            np.save(self.files[key], getattr(self, key))

    @property
    def characters(self):
        return int(self.lengths.sum())


def batches_of(texts, widths, size, ids, folder, name):
    """Batches in the order in which they fill."""
    waiting = {width: [] for width in widths}
    batches = []

    def close(width):
        batches.append(Batch(waiting[width], width, ids, folder, f"{name}{len(batches):05}"))
        waiting[width] = []

    for text in texts:
        width = next(w for w in widths if w >= len(text) - 1)
        waiting[width].append(text)
        if len(waiting[width]) == size:
            close(width)
    for width in widths:
        if waiting[width]:
            close(width)
    return batches


# Weft.


class Weft:
    """The graph of one cell, driven by scripts."""

    def __init__(self, args, cell, folder, corpus):
        self.args = args
        self.folder = folder
        self.run_dir = os.path.join(folder, "graph")
        command = [
            args.tang_poetry, "--preset", args.preset, "--cell", cell, "--data", corpus,
            "--export-only", "--run-dir", self.run_dir, "--seed", str(args.seed),
        ]
        text = self.call(command).stderr
        found = re.search(r": (\d+) texts, (\d+) characters, vocabulary (\d+)", text)
        self.sizes = tuple(int(number) for number in found.groups())
        path = os.path.join(self.run_dir, "model.json")
        graph = json.load(open(path, encoding="utf-8"))
        rates = 0
        for node in graph["graphDef"]["node"]:
            if node["op"] == "Const" and node["name"].split("/")[-1] == "learning_rate":
                node["attr"]["value"]["tensor"]["floatVal"] = [args.rate]
                rates += 1
        self.graph = os.path.join(folder, "model.json")
        json.dump(graph, open(self.graph, "w", encoding="utf-8"))
        self.signatures = graph["signatureDef"]
        words = graph["collectionDef"]["weft/vocabulary"]["bytesList"]["value"]
        self.vocabulary = [base64.b64decode(word).decode("utf-8") for word in words]
        self.verbs = {}
        for name, signature in self.signatures.items():
            if re.fullmatch(r"train(_\d+)?", name):
                width = int(signature["inputs"]["tokens"]["tensorShape"]["dim"][1]["size"])
                self.verbs[width] = name[len("train"):]
        if rates != len(self.verbs):
            sys.exit(f"{path} has {rates} learning rates for {len(self.verbs)} widths")

    def call(self, command):
        log("+", " ".join(command))
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{command[0]} failed: {done.stderr}")
        return done

    def initialize(self):
        """The initial values of all variables."""
        path = os.path.join(self.folder, "initial.npz")
        self.call([
            self.args.weft, "run", self.graph, "--signature", "init", "--save", path,
            "--seed", str(self.args.seed),
        ])
        self.values = path
        return dict(np.load(path))

    def script(self, name, verb, batches, outputs, target=None):
        """Runs a signature over batches; gives each batch's outputs."""
        steps = []
        for batch in batches:
            signature = self.signatures[verb + self.verbs[batch.width]]
            step = {
                "feeds": {
                    signature["inputs"][key]["name"]: file for key, file in batch.files.items()},
                "fetches": {signature["outputs"][key]["name"]: None for key in outputs},
            }
            if target:
                step["targets"] = [signature["outputs"][target]["name"]]
            steps.append(step)
        path = os.path.join(self.folder, name + ".json")
        json.dump({"steps": steps}, open(path, "w"))
        command = [self.args.weft, "run", self.graph, "--script", path, "--restore", self.values]
        if self.args.threads:
            command += ["--threads", str(self.args.threads)]
        if target:
            self.values = os.path.join(self.folder, name + ".npz")
            command += ["--save", self.values]
        text = self.call(command).stdout
        found = {}
        for line in text.splitlines():
            # "12  train_26/loss:0  float32 []  6.5"
            index, tensor, _, number = re.split(r"\s{2,}|(?<=\])\s+", line.strip())
            found[int(index), tensor] = float(number)
        return [
            [found[i, name] for name in sorted(step["fetches"])] for i, step in enumerate(steps)
        ]

    def train(self, epoch, batches):
        losses = self.script(f"train{epoch}", "train", batches, ["loss"], "train_op")
        return [loss for loss, in losses]

    def evaluate(self, epoch, batches):
        # By name `count` comes before `nats`.
        sums = self.script(f"evaluate{epoch}", "evaluate", batches, ["count", "nats"])
        return sum(nats for _, nats in sums) / sum(count for count, _ in sums)


# Keras.


def keras_values(values, preset, cell):
    """Weft's values of the recurrent layer in Keras's layout."""
    if preset == "report-tensorflow":
        return [values["rnn/" + name] for name in ("kernel", "recurrent_kernel", "bias")]

    def gates(kernel, bias, count):
        return np.split(kernel, count, axis=1), np.split(bias, count)

    if cell == "gru":
        kernels, biases = gates(
            values["rnn/gru_cell/gates/kernel"], values["rnn/gru_cell/gates/bias"], 2)
        order = [1, 0, 2]  # r u c, which Keras has as z r h
        kernels = kernels + [values["rnn/gru_cell/candidate/kernel"]]
        biases = biases + [values["rnn/gru_cell/candidate/bias"]]
    else:
        name = f"rnn/basic_{cell}_cell/"
        order = [0, 2, 1, 3] if cell == "lstm" else [0]  # i j f o, which Keras has as i f c o
        kernels, biases = gates(values[name + "kernel"], values[name + "bias"], len(order))
        if cell == "lstm":
            biases[2] = biases[2] + 1
    kernel = np.concatenate([kernels[i] for i in order], axis=1)
    bias = np.concatenate([biases[i] for i in order])
    return [kernel[:EMBEDDING], kernel[EMBEDDING:], bias]


class Keras:
    """The same model as a Keras program."""

    def __init__(self, args, cell, rows, values, adds_rows=True):
        import keras
        import tensorflow as tf

        tf.get_logger().setLevel("ERROR")
        if args.threads and not hasattr(Keras, "threads"):
            tf.config.threading.set_intra_op_parallelism_threads(args.threads)
            Keras.threads = args.threads
        self.tf = tf
        self.adds_rows = adds_rows
        keras.utils.set_random_seed(args.seed)
        layers = {"rnn": keras.layers.SimpleRNN, "gru": keras.layers.GRU, "lstm": keras.layers.LSTM}
        own = args.preset == "report-tensorflow"
        more = {"reset_after": own} if cell == "gru" else {}
        embedding = keras.layers.Embedding(rows, EMBEDDING)
        recurrent = layers[cell](HIDDEN, return_sequences=True, **more)
        dense = keras.layers.Dense(rows)
        self.model = keras.Sequential([embedding, recurrent, dense])
        self.model.build([None, None])
        if values is not None:
            embedding.set_weights([values["embedding"]])
            recurrent.set_weights(keras_values(values, args.preset, cell))
            dense.set_weights([values["dense/kernel"], values["dense/bias"]])
        self.optimizer = keras.optimizers.Adam(args.rate, epsilon=1e-7 if own else 1e-8)
        self.optimizer.build(self.model.trainable_variables)
        self.cross_entropy = keras.losses.SparseCategoricalCrossentropy(
            from_logits=True, reduction="none")
        self.functions = {}

    def masked(self, tokens, targets, lengths, width):
        losses = self.cross_entropy(targets, self.model(tokens))
        return losses * self.tf.sequence_mask(lengths, width, losses.dtype)

    def function(self, kind, width):
        """The step of one width, traced once."""
        tf = self.tf

        def train(tokens, targets, lengths):
            with tf.GradientTape() as tape:
                masked = self.masked(tokens, targets, lengths, width)
                counts = tf.cast(lengths, masked.dtype)
                loss = tf.reduce_mean(tf.reduce_sum(masked, axis=1) / counts)
            variables = self.model.trainable_variables
            gradients = tape.gradient(loss, variables)
            if self.adds_rows:
                gradients = [tf.convert_to_tensor(gradient) for gradient in gradients]
            self.optimizer.apply(gradients, variables)
            return loss

        def evaluate(tokens, targets, lengths):
            return tf.reduce_sum(self.masked(tokens, targets, lengths, width))

        if (kind, width) not in self.functions:
            table = tf.TensorSpec([None, width], tf.int32)
            self.functions[kind, width] = tf.function(
                train if kind == "train" else evaluate,
                input_signature=[table, table, tf.TensorSpec([None], tf.int32)])
        return self.functions[kind, width]

    def run(self, kind, batches):
        results = []
        for batch in batches:
            step = self.function(kind, batch.width)
            results.append(float(step(batch.tokens, batch.targets, batch.lengths)))
        return results

    def train(self, epoch, batches):
        return self.run("train", batches)

    def evaluate(self, epoch, batches):
        return sum(self.run("evaluate", batches)) / sum(batch.characters for batch in batches)


# Both.


def cpu_seconds():
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def trained(name, program, epochs, held):
    """Trains and evaluates epoch after epoch."""
    result = {"nats": [], "losses": []}
    begin = cpu_seconds()
    for number, batches in enumerate(epochs, 1):
        start = time.monotonic()
        losses = program.train(number, batches)
        seconds = time.monotonic() - start
        result["characters_per_second"] = sum(b.characters for b in batches) / seconds
        result["losses"].append(losses)
        result["nats"].append(program.evaluate(number, held))
        log(
            f"{name}  epoch {number}  mean loss {np.mean(losses):.5f}  held out "
            f"{result['nats'][-1]:.5f} nats/char  {result['characters_per_second']:.0f} chars/s")
    result["cpu_seconds"] = cpu_seconds() - begin
    return result


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weft")
    parser.add_argument("tang_poetry")
    parser.add_argument("poems")
    parser.add_argument("--cells", nargs="+", choices=["rnn", "gru", "lstm"])
    parser.add_argument(
        "--preset", choices=["report-tensorflow", "poems"], default="report-tensorflow")
    parser.add_argument("--poems", dest="count", type=int, help="only the first N lines")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--keras", nargs="+", choices=["same", "own", "plain"], default=["same"])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--limit", type=int, help="only so many batches of an epoch: for timing")
    parser.add_argument("--tolerance", type=float, default=0.01)
    parser.add_argument("--work", help="a folder for graphs and batches; temporary if not given")
    parser.add_argument("--json", help="write all losses and figures to this file")
    args = parser.parse_args()
    args.cells = args.cells or ["rnn", "gru", "lstm"]
    temporary = None if args.work else tempfile.TemporaryDirectory()
    work = os.path.abspath(args.work or temporary.name)
    os.makedirs(work, exist_ok=True)

    lines = read_lines(args.poems, args.count)
    corpus = os.path.join(work, "poems.txt")
    with open(corpus, "w", encoding="utf-8", newline="\n") as file:
        file.writelines(line + "\n" for line in lines)
    held_count = min(max(int(len(lines) * 0.1 + 0.5), 1), len(lines) - 1)
    training = prepare(lines[:-held_count], args.preset)
    held_out = prepare(lines[-held_count:], args.preset)
    words = vocabulary_of(training + held_out, args.preset)
    ids = {word: id for id, word in enumerate(words)}
    characters = sum(len(text) - 2 for text in training + held_out)
    log(
        f"{len(lines)} lines: {len(training)} texts to train on, {len(held_out)} held out, "
        f"{characters} characters, vocabulary {len(words)}")

    failed = False
    report = {}
    epochs = None
    for cell in args.cells:
        folder = os.path.join(work, cell)
        os.makedirs(folder, exist_ok=True)
        weft = Weft(args, cell, folder, corpus)
        plain = [word.removeprefix("\ue000") for word in words]
        if weft.vocabulary != plain:
            pairs = zip(weft.vocabulary, plain)
            different = [i for i, (a, b) in enumerate(pairs) if a != b]
            sys.exit(
                f"Weft's vocabulary of {len(weft.vocabulary)} is another one, from entry "
                f"{(different or ['the shorter end'])[0]}")
        if weft.sizes != (len(training) + len(held_out), characters, len(words)):
            sys.exit(f"Weft has {weft.sizes} texts, characters and entries")
        if epochs is None:
            rng = np.random.default_rng(args.seed)
            widths = sorted(weft.verbs)
            folder = os.path.join(work, "batches")
            os.makedirs(folder, exist_ok=True)
            shuffled = [training[i] for i in rng.permutation(len(training))]
            batches = batches_of(shuffled, widths, args.batch, ids, folder, "train")
            held = batches_of(sorted(held_out, key=len), widths, args.batch, ids, folder, "held")
            if args.limit:
                held = held[:: max(1, len(held) // args.limit)]
            epochs = [
                [batches[i] for i in rng.permutation(len(batches))[: args.limit]]
                for _ in range(args.epochs)
            ]
            log(
                f"widths {widths}: {len(epochs[0])} batches, "
                f"{sum(b.characters for b in epochs[0])} characters an epoch; held out "
                f"{len(held)} batches, {sum(b.characters for b in held)} characters")
        values = weft.initialize()
        report[cell] = {"weft": trained(f"weft  {cell}", weft, epochs, held)}
        for kind in args.keras:
            keras = Keras(
                args, cell, len(words), values if kind == "same" else None, kind != "plain")
            report[cell][kind] = trained(f"keras {cell} {kind}", keras, epochs, held)
        ours = report[cell]["weft"]
        for kind in args.keras:
            theirs = report[cell][kind]
            difference = ours["nats"][-1] / theirs["nats"][-1] - 1
            failed = failed or abs(difference) > args.tolerance
            losses = [
                np.abs(np.divide(a, b) - 1).max() for a, b in zip(ours["losses"], theirs["losses"])]
            print(
                f"{args.preset} {cell}  weft {' '.join(f'{n:.5f}' for n in ours['nats'])}  keras "
                f"{' '.join(f'{n:.5f}' for n in theirs['nats'])} ({kind})  "
                f"difference {difference * 100:+.4f} %  largest of a batch's loss "
                f"{max(losses) * 100:.4f} %  chars/s {ours['characters_per_second']:.0f} and "
                f"{theirs['characters_per_second']:.0f}  CPU s {ours['cpu_seconds']:.0f} and "
                f"{theirs['cpu_seconds']:.0f}", flush=True)
        if args.json:
            json.dump(report, open(args.json, "w"), indent=1)
    log(f"{cpu_seconds():.0f} seconds of CPU time in all")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
