"""Whether a folder's file system does what the store relies on: exclusive names, whole files, listings, a clock."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from isosweep.doctor.finding import Finding, good, problem, warning
from isosweep.store.publish import publish

__all__ = ["check_file_system"]

_SKEW_SECONDS = 60.0
_SLOW_SECONDS = 0.25
_NAMES = 8


def check_file_system(folder: Path) -> Iterator[Finding]:
    """Try it in a new subfolder of `folder`, which is removed again."""
    place = folder / f"doctor-{secrets.token_hex(4)}"
    try:
        place.mkdir(parents=True)
    except OSError as error:
        yield problem("store: writable", f"{folder}: {error.strerror}", "give another folder with --store")
        return
    try:
        yield good("store: writable", str(folder))
        yield from _names(place)
        yield _clock(place)
        yield _room(place)
    except OSError as error:
        yield problem("store: file system", f"{folder}: {error.strerror}", "keep the store on another file system")
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _names(place: Path) -> Iterator[Finding]:
    """A name is given once, by a link; the loser is told, and the file stays as it was. Then it is listed at once."""
    began = time.perf_counter()
    try:
        given = [publish(place / f"name-{i}", b"first") for i in range(_NAMES)]
    except OSError as error:
        yield problem(
            "store: hard links",
            f"link fails: {error.strerror}",
            "the store needs a file system with hard links (Lustre, GPFS, NFS, BeeGFS with them switched on)",
        )
        return
    each = (time.perf_counter() - began) / _NAMES
    again = publish(place / "name-0", b"second")
    if not all(given) or again or (place / "name-0").read_bytes() != b"first":
        yield problem(
            "store: exclusive names",
            "a name could be given twice",
            "two launches could run one run twice here: keep the store on another file system",
        )
    else:
        yield good("store: exclusive names", f"a name is given once, in {1000 * each:.1f} ms with its syncs")
    if each > _SLOW_SECONDS:
        yield warning(
            "store: speed",
            f"publishing a file takes {each:.2f} s",
            "keep runs longer than that: fewer, larger runs",
        )
    listed = sorted(name for name in os.listdir(place) if not name.startswith("."))
    if listed == sorted(f"name-{i}" for i in range(_NAMES)):
        yield good("store: listing", "a folder shows its new files at once")
    else:
        yield problem(
            "store: listing", "a folder does not show its new files", "mount it with a short attribute cache (actimeo)"
        )
    os.rename(place / "name-1", place / "moved")
    with contextlib.suppress(FileNotFoundError):
        os.stat(place / "name-1")
        yield problem("store: rename", "a renamed file keeps its old name too", "keep the store elsewhere")


def _clock(place: Path) -> Finding:
    probe = place / "clock"
    probe.touch()
    skew = time.time() - probe.stat().st_mtime
    if abs(skew) < _SKEW_SECONDS:
        return good("store: clock", f"{skew:+.1f} s against the file server's")
    return warning(
        "store: clock",
        f"this machine's clock is {skew:+.0f} s from the file server's",
        "nothing depends on it but the times that are shown; have NTP mended",
    )


def _room(place: Path) -> Finding:
    found = os.statvfs(place)
    free, files = found.f_bavail * found.f_frsize, found.f_favail
    said = f"{free / 1e9:.1f} GB free" + (f", {files} files" if found.f_files else "")
    if free < 1e9 or (found.f_files and files < 100_000):
        return warning("store: room", said, "a sweep of 100,000 runs takes about 1 GB and 110,000 files")
    return good("store: room", said)
