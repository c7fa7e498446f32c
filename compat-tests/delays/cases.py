"""What is written, and what of it a reader must see: the cases, each a topic of one partition.

A case is a list of steps in the order of the log. A step is one batch, or several batches in one transaction; a record is
visible (its text) or hidden for an hour (None).
"""
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
HOUR = {"kbroker-delay-ms": "3600000"}
H = None


class Step:
    """Batches that are written together; outcome is None, or how their transaction ends: commit, abort."""

    def __init__(self, *batches, codec="none", outcome=None):
        self.batches, self.codec, self.outcome = batches, codec, outcome

    @property
    def offsets(self):
        """How many offsets of the log it takes: a transaction ends with a marker."""
        return sum(map(len, self.batches)) + (self.outcome is not None)


def hidden(count):
    return [H] * count


CASES = {f"third-of-five-{codec}": [Step(["0", "1", H, "3", "4"], codec=codec)] for codec in CODECS}
CASES |= {
    "first-and-last": [Step([H, "1", H]), Step([H, H, "5", H, H], codec="gzip")],
    "tail": [Step(["0", "1", "2"])] + [Step(hidden(60), codec=c) for c in ("none", "gzip", "none", "lz4", "none")],
    "cut": [Step(["0"] + hidden(300))],
    "between": [Step(["0", "1"]), Step(hidden(5)), Step(hidden(100), codec="gzip"), Step(["107", "108"]), Step(hidden(3)), Step(["112"])],
    "only": [Step(hidden(10)), Step(hidden(200), codec="gzip")],
    "head": [Step(hidden(20)), Step(hidden(7), codec="lz4"), Step(["27", "28"])],
    "committed": [Step(["0", H, "2"], [H, H], outcome="commit"), Step([H])],
    "aborted": [Step(["0", H, "2"], [H, H], outcome="abort"), Step(["6", H])],
    "all-aborted": [Step(["0", H], outcome="abort"), Step([H], outcome="commit")],
}
LATE = Step(["late"])


def visible(steps, isolation):
    """The records a reader sees: (offset, value)."""
    found, base = [], 0
    for step in steps:
        values = [v for batch in step.batches for v in batch]
        shown = step.outcome != "abort" or isolation != "read_committed"
        found += [(base + i, v) for i, v in enumerate(values) if shown and v is not H]
        base += step.offsets
    return found


def end(steps):
    return sum(step.offsets for step in steps)


def committed(steps, isolation, commits):
    """The lowest and the highest offset that a client which has read all may have committed (see Client.commits in readers.py);
    -1 is nothing."""
    shown = visible(steps, isolation)
    record = shown[-1][0] + 1 if shown else -1
    is_cut = steps[-1].outcome is None and any(v is not H for v in steps[-1].batches[-1])
    return {"position": (end(steps), end(steps)), "record or control batch": (record, record) if is_cut else (end(steps), end(steps)),
            None: (record, end(steps))}[commits]
