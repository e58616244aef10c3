"""docs/reliability.md tells of every fault test, in their order and words, and of no other; and all of them hold."""

from __future__ import annotations

from .reliability import PAGE, commit_of, page, rows


def test_the_page_is_that_of_the_fault_tests() -> None:
    ended = {row.test: ["passed"] for row in rows()}
    assert len(ended) >= 24
    text = PAGE.read_text()
    assert text == page(ended, commit_of(text)), "a fault test is new, gone, or failed: tests/cluster/reliability.py"
