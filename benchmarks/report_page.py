"""The report of a sweep of 1,000 runs, and of 100,000: seconds, megabytes of the page, peak memory.

Numbers are synthetic, laid out as `isosweep collect` writes them; the page draws what it would of real ones. Every
measurement is a process of its own, beside the time of reading `runs.parquet` with pandas alone in the same run.
`--quick` only shows that it runs.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# runs → (depths, gains, seeds), for two activations and two initialisations
SWEEPS = {1_000: (5, 10, 5), 100_000: (25, 50, 20)}
ASKED = {1_000: "asked: 20 s, 10 MB", 100_000: "asked: 120 s, 2 GB"}
LAYERS, EIGENVALUES, SAMPLES, VALUES = 8, 576, 16, 64


def write(folder: Path, depths: int, gains: int, seeds: int) -> int:
    """Tables of such a sweep in `folder`; returns the number of runs."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    axes = {
        "depth": [4 * (k + 1) for k in range(depths)],
        "activation": ["tanh", "relu"],
        "init": ["orthogonal", "gaussian"],
        "gain": np.linspace(0.8, 1.6, gains).round(6).tolist(),
        "seed": list(range(seeds)),
    }
    grid = np.meshgrid(*(np.arange(len(values)) for values in axes.values()), indexing="ij")
    columns = {
        name: [values[i] for i in index.ravel()] for (name, values), index in zip(axes.items(), grid, strict=True)
    }
    count = len(columns["depth"])
    ids = [f"{k * 2654435761 % 2**64:016x}{k:04x}"[:20] for k in range(count)]
    top = np.exp(rng.normal(size=count)) * np.asarray(columns["depth"])
    s_max = rng.normal(size=count)
    runs = {
        "run_id": ids, "sweep": ["benchmark"] * count, **columns, "width": [64] * count, "bias_std": [0.0] * count,
        "data": ["digits"] * count, "data_inputs": [64] * count, "status": ["done"] * count,
        "digest": [f"{k:064x}" for k in range(count)], "fisher_lambda_max": top, "fisher_trace": 10 * top,
        "fisher_condition_number": 1e6 * top, "jacobian_s_max": np.exp(s_max), "jacobian_log_s_max": s_max,
        "theory_fisher_lambda_max": 1.1 * top, "theory_fisher_trace": 9 * top, "theory_jacobian_s_max": np.exp(s_max),
        "environment_class": ["8c1f0a52d3e4"] * count, "code_id": ["0f3a9b7c21de"] * count, "seconds": [0.5] * count,
        "started_at": ["2026-11-23T11:00:00+00:00"] * count, "peak_memory_bytes": [500_000_000] * count,
    }  # fmt: skip
    folder.mkdir()
    pq.write_table(pa.table(runs), folder / "runs.parquet", compression="zstd")
    order = np.argsort(ids)
    names = ["all", *(f"layer{k}" for k in range(1, LAYERS)), "readout"]
    writers: dict[str, pq.ParquetWriter] = {}

    def add(table: str, data: dict[str, object]) -> None:
        made = pa.table(data)
        if table not in writers:
            writers[table] = pq.ParquetWriter(folder / f"{table}.parquet", made.schema, compression="zstd")
        writers[table].write_table(made)

    def lists(numbers: np.ndarray) -> pa.Array:
        offsets = np.arange(0, numbers.size + 1, numbers.shape[1], dtype=np.int32)
        return pa.ListArray.from_arrays(offsets, numbers.ravel())

    for start in range(0, count, 2000):
        part = [ids[i] for i in order[start : start + 2000]]
        tops = top[order[start : start + 2000]]
        n = len(part)
        spectra = tops[:, None] * np.arange(1, EIGENVALUES + 1) ** -1.2
        whole = [spectra[k] if block == "all" else None for k in range(n) for block in names]
        add("fisher", {
            "run_id": [run for run in part for _ in names], "step": [0] * (n * len(names)), "block": names * n,
            "eigenvalues": pa.array(whole, pa.list_(pa.float64())), "lambda_max": np.repeat(tops, len(names)),
        })  # fmt: skip
        logs = -np.sort(-rng.normal(size=(n * SAMPLES, VALUES)), axis=1)
        add("jacobian", {
            "run_id": [run for run in part for _ in range(SAMPLES)], "step": [0] * (n * SAMPLES),
            "sample": list(range(SAMPLES)) * n, "log_singular_values": lists(logs),
        })  # fmt: skip
        add("layers", {
            "run_id": [run for run in part for _ in range(LAYERS)], "step": [0] * (n * LAYERS),
            "layer": list(range(1, LAYERS + 1)) * n, "q": rng.uniform(0.5, 1, n * LAYERS),
            "correlation": rng.uniform(0, 1, n * LAYERS), "theory_q": rng.uniform(0.5, 1, n * LAYERS),
            "theory_correlation": rng.uniform(0, 1, n * LAYERS),
        })  # fmt: skip
    for writer in writers.values():
        writer.close()
    about = {"name": "benchmark", "sweep_file": "name: benchmark\n", "axes": list(axes), "command": "isosweep report"}
    (folder / "sweep.json").write_text(json.dumps(about))
    return count


READ = "import pandas, sys; pandas.read_parquet(sys.argv[1] + '/runs.parquet')"


def main() -> None:
    """Print a line for each size of sweep."""
    sizes = {40: (2, 5, 1)} if "--quick" in sys.argv else SWEEPS
    print(f"{'runs':>8} {'seconds':>8} {'core-s':>8} {'page MB':>8} {'peak MB':>8}   {'reading runs alone':>18}")
    with tempfile.TemporaryDirectory() as name:
        for size, (depths, gains, seeds) in sizes.items():
            tables, page = Path(name, str(size)), Path(name, f"{size}.html")
            count = write(tables, depths, gains, seeds)
            reading, *_ = _measured([sys.executable, "-c", READ, str(tables)])
            words = ["-m", "isosweep.cli", "report", str(tables), "--out", str(page), "-q"]
            seconds, core, peak = _measured([sys.executable, *words])
            print(
                f"{count:8,} {seconds:8.1f} {core:8.1f} {page.stat().st_size / 1e6:8.2f} {peak / 1e6:8.0f}   "
                f"{reading:15.1f} s   {ASKED.get(size, '')}",
                flush=True,
            )


def _measured(command: list[str]) -> tuple[float, float, float]:
    """Wall seconds, processor seconds, and peak bytes of a process and its children."""
    program = (
        "import json, resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True);"
        "u = resource.getrusage(resource.RUSAGE_CHILDREN);"
        "print(json.dumps([u.ru_utime + u.ru_stime, u.ru_maxrss * 1024]))"
    )
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", program, *command], check=True, stdout=subprocess.PIPE, text=True)
    core, peak = json.loads(done.stdout.splitlines()[-1])
    return time.perf_counter() - began, core, peak


if __name__ == "__main__":
    main()
