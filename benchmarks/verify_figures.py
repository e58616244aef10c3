"""The figures of docs/reproducibility.md: how many digests agree under every change that must not matter, how far
float32 is from float64, and how far another order of the data moves training. Parts: bits, precision, orders.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SPEC = """\
name: figures
network:
  depth: [4, 24]
  width: [33, 100]
  activation: [tanh, relu, gelu]
  init: [orthogonal, gaussian]
  gain: 1.2
  bias_std: 0.05
data: {name: digits, samples: 60}
measure: {fisher: {samples: 24, layers: spectrum}, jacobian: {samples: 4}}
seeds: 1
"""
TRAINED = """\
name: trained
network: {depth: 3, width: 32, activation: tanh, init: orthogonal, gain: 1.0}
data: {name: digits, samples: 600, test: 300}
measure: {fisher: {samples: 12}, jacobian: {samples: 4}}
train: {epochs: 4, batch: 20, optimizer: [sgd, adam], learning_rate: 0.01}
"""
SHOWN = ("train_loss", "test_loss", "test_accuracy", "fisher_lambda_max", "jacobian_s_max")
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class Bench:
    """Launches of one sweep into stores of their own, and their digests."""

    def __init__(self, folder: str):
        self.folder = Path(folder)
        self.spec = self.folder / "figures.yaml"
        self.spec.write_text(SPEC)
        self.expected: dict[str, str] = {}

    def arguments(self, *words: object) -> list[str]:
        return [sys.executable, "-m", "isosweep.cli", *map(str, words), "-q"]

    def run(self, *words: object, **environment: str) -> str:
        done = subprocess.run(
            self.arguments(*words),
            cwd=self.folder,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return done.stdout

    def launch(self, store: str, *words: object, **environment: str) -> None:
        self.run("launch", self.spec, "--local", "--store", store, *words, **environment)

    def digests(self, store: str) -> dict[str, str]:
        import pyarrow.parquet as pq

        self.run("collect", self.spec, "--store", store, "--out", f"{store}-tables")
        rows = pq.read_table(self.folder / f"{store}-tables" / "runs.parquet").to_pylist()
        return {row["run_id"]: row["digest"] for row in rows}

    def compare(self, what: str, store: str) -> None:
        found = self.digests(store)
        same = sum(found[run] == digest for run, digest in self.expected.items())
        print(f"{what:58} {same:4d} of {len(found)} digests agree", flush=True)

    def killed(self, store: str, times: int) -> int:
        """Launch, and kill the whole of it as soon as more records are there, so many times."""
        done = 0
        for number in range(1, times + 1):
            process = subprocess.Popen(
                self.arguments("launch", self.spec, "--local", "--store", store, "--runs-per-task", 4),
                cwd=self.folder,
                start_new_session=True,
            )
            wanted = number * len(self.expected) // (times + 1)
            while process.poll() is None and len(list(self.folder.glob(f"{store}/records/*/*.arrow"))) < wanted:
                time.sleep(0.01)
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                done += 1
            process.wait()
        self.launch(store)
        return done


def bits(bench: Bench) -> None:
    """How many digests agree under each change."""
    shown = json.loads(bench.run("verify", bench.spec, "--store", "first", "--all", "--json"))
    print(
        f"{'repeated by isosweep verify --all':58} {shown['counts']['same']:4d} of {shown['recorded']} agree",
        flush=True,
    )
    for threads in (1, 2, 7):
        bench.launch(f"threads-{threads}", **dict.fromkeys(THREADS, str(threads)))
        bench.compare(f"told to use {threads} threads", f"threads-{threads}")
    for runs, workers in ((1, 1), (7, 2), (len(bench.expected), 1)):
        bench.launch(f"packed-{runs}", "--runs-per-task", runs, "--workers", workers)
        bench.compare(f"{runs} runs a task, {workers} workers", f"packed-{runs}")
    killed = bench.killed("killed", 3)
    bench.compare(f"killed {killed} times (SIGKILL) and launched again", "killed")


def precision(bench: Bench) -> None:
    """float32 against float64."""
    words = ("verify", bench.spec, "--store", "first", "--across", "float64,float32", "--all", "--json")
    across = subprocess.run(bench.arguments(*words), cwd=bench.folder, stdout=subprocess.PIPE, text=True, check=False)
    print("\nfloat32 against float64: largest relative error over all runs, and as a share of its tolerance")
    table = json.loads(across.stdout)
    for row in table["quantities"]:
        used = f"{row['used']:10.2g}" if row["judged"] else "not judged"
        print(f"  {row['quantity']:36} {row['largest_relative']:10.1e} {used}")
    print("  " + ", ".join(f"{count} runs {verdict}" for verdict, count in table["counts"].items()), flush=True)


def orders(bench: Bench) -> None:
    """Training under other orders of its data."""
    spec = bench.folder / "trained.yaml"
    spec.write_text(TRAINED)
    bench.run("launch", spec, "--local", "--store", "trained")
    table = json.loads(bench.run("verify", spec, "--store", "trained", "--orders", "5", "--json"))
    print("\ntraining with 5 other orders: recorded, mean ± standard deviation")
    for run in table["runs"]:
        print(f"  {run['settings']['optimizer']}, {run['verdict']}")
        for row in run["spreads"]:
            if row["quantity"] in SHOWN:
                print(f"    {row['quantity']:22} {row['recorded']:10.4g} {row['mean']:10.4g} ± {row['deviation']:.2g}")


PARTS = {"bits": bits, "precision": precision, "orders": orders}


def main() -> None:
    """Print all parts, or those named."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(folder)
        wanted = sys.argv[1:] or list(PARTS)
        if wanted != ["orders"]:
            bench.launch("first")
            bench.expected = bench.digests("first")
        for name in wanted:
            PARTS[name](bench)


if __name__ == "__main__":
    main()
