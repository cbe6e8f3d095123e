"""Processes of weft under watch: time, memory, how they end, and where they stood."""
import json
import os
import re
import resource
import shutil
import subprocess
import threading
import time


def start(options, arguments, folder, output, errors, **environment):
    """A process in `folder` that leaves no core and gets --data MiB at most."""
    def limit():
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_DATA, (options.data << 20, options.data << 20))
    return subprocess.Popen(
        arguments, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=errors,
        preexec_fn=limit, env=dict(os.environ, SWIFT_BACKTRACE="enable=no", **environment))


def value_limit(options):
    """What graphs may ask for, the rest of --memory being for all that is no value of theirs."""
    return ["--memory-limit", f"{options.memory * 6 // 10}M"]


def batch(options, manifest):
    # A loop that a change left without an end is to meet its limit within --timeout.
    return [options.weft, "batch", manifest, "--results", "results.jsonl",
            "--iteration-limit", "20000", *value_limit(options)]


def peak(pid):
    """(most resident bytes so far, processor seconds used)"""
    try:
        with open(f"/proc/{pid}/status") as f:
            status = f.read()
        with open(f"/proc/{pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        found = re.search(r"VmHWM:\s+(\d+)", status)
        return (int(found[1]) << 10 if found else 0,
                (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"))
    except (OSError, IndexError):
        return 0, 0.0


def run_jobs(options, lines, folder, manifest="manifest.jsonl"):
    """Runs a manifest. -> ({id: result}, None or how the process failed)"""
    results = os.path.join(folder, "results.jsonl")
    with open(os.path.join(folder, manifest), "w", encoding="utf-8") as f:
        f.writelines(json.dumps(line) + "\n" for line in lines)
    open(results, "w").close()
    with open(os.path.join(folder, "stderr.txt"), "wb") as log:
        process = start(options, batch(options, manifest), folder, subprocess.DEVNULL, log)
        failure, size, last = None, -1, time.time()
        while failure is None:
            try:
                process.wait(0.02)
                break
            except subprocess.TimeoutExpired:
                pass
            memory, _ = peak(process.pid)
            now, length = time.time(), os.path.getsize(results)
            if length != size:
                size, last = length, now
            if memory > options.memory << 20:
                failure = ("memory", f"{memory >> 20} MiB resident")
            elif now - last > options.timeout:
                failure = ("hang", f"no result for {options.timeout:g} s")
        if failure:
            process.kill()
            process.wait()
    found = {}
    with open(results, encoding="utf-8", errors="replace") as f:
        for line in f:
            try:
                result = json.loads(line)
                found[result["id"]] = result
            except (ValueError, KeyError, TypeError):
                pass
    if failure is None and process.returncode != 0:
        with open(os.path.join(folder, "stderr.txt"), "rb") as f:
            tail = f.read()[-400:].decode("utf-8", "replace").strip()
        if process.returncode < 0:
            failure = ("crash", f"signal {-process.returncode} {tail}")
        else:
            failure = ("crash", f"exit {process.returncode} {tail}")
    return found, failure


def stack(options, folder, kind):
    """Where a case dies: the functions of the project on the stack, innermost first."""
    if shutil.which("gdb") is None:
        return []
    open(os.path.join(folder, "results.jsonl"), "w").close()
    orders = ["-ex", "set pagination off", "-ex", "set print thread-events off"]
    interrupt = kind != "crash"
    try:
        process = start(
            options, ["gdb", "-q", "-batch", *orders, "-ex", "run", "-ex", "thread apply all bt 30",
                      "--args", *batch(options, "job.jsonl")],
            folder, subprocess.PIPE, subprocess.DEVNULL, DEBUGINFOD_URLS="")
        if interrupt:
            threading.Timer(4.0, lambda: interrupt_child(process.pid)).start()
        try:
            text = process.communicate(timeout=60)[0].decode("utf-8", "replace")
        except subprocess.TimeoutExpired:
            process.kill()
            return []
    except OSError:
        return []
    blocks = re.split(r"\nThread \d+ ", text)
    names = []
    for block in blocks[1:]:
        frames = re.findall(r"#\d+\s+(?:0x[0-9a-f]+ in )?(.+?) \(.*", block)
        if any("__futex" in f or "pthread_cond" in f or "__lll_lock" in f for f in frames[:4]):
            continue
        for frame in frames:
            # Swift names, mangled or not, of the project's modules; C kernels as they are.
            if "Weft" in frame or "$s" in frame or "weft" in frame:
                names.append(demangle(frame))
    return names[:12]


def interrupt_child(pid):
    try:
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                with open(f"/proc/{entry}/stat") as f:
                    parent = int(f.read().rsplit(")", 1)[1].split()[1])
                if parent == pid:
                    os.kill(int(entry), 2)
    except (OSError, ValueError, IndexError):
        pass


def demangle(name):
    if not name.startswith("$s"):
        return name[:160]
    found = shutil.which("swift-demangle")
    if not found:
        return name[:160]
    out = subprocess.run([found, "-compact", "-simplified", name], stdout=subprocess.PIPE,
                         stdin=subprocess.DEVNULL)
    return out.stdout.decode("utf-8", "replace").strip()[:160]


VERBS = [["show"], ["show", "--nodes", "--json"], ["plan"], ["plan", "--json"], ["plan", "--dot"],
         ["run"], ["run", "--steps", "2", "--init", "always"], ["convert"], ["diff"], ["generate"]]


def run_verb(options, verb, graph, folder):
    """Runs another verb than batch on a graph. -> None or how it failed"""
    command = [options.weft, verb[0], graph, *verb[1:]]
    if verb[0] == "convert":
        command.append("verb.out.json")
    elif verb[0] == "diff":
        command.append(graph)
    elif verb[0] == "run":
        command += value_limit(options)
    with open(os.path.join(folder, "stderr.txt"), "wb") as log:
        process = start(options, command, folder, subprocess.DEVNULL, log)
        started = time.time()
        while True:
            try:
                process.wait(0.01)
                break
            except subprocess.TimeoutExpired:
                pass
            memory, _ = peak(process.pid)
            failure = None
            if memory > options.memory << 20:
                failure = ("memory", f"{memory >> 20} MiB resident: {' '.join(command[1:])}")
            elif time.time() - started > options.timeout:
                failure = ("hang", f"no end after {options.timeout:g} s: {' '.join(command[1:])}")
            if failure:
                process.kill()
                process.wait()
                return failure
    if process.returncode not in (0, 1, 2, 64, 65, 66, 73, 74):
        return ("crash", f"exit {process.returncode}: {' '.join(command[1:])}")
    return None
