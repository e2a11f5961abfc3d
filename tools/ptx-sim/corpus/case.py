"""One run of a kernel: its PTX, its launch, its inputs, and what numpy says must come out."""

import json
import pathlib
from dataclasses import dataclass, field

import numpy as np


@dataclass
class Case:
    """`args` in parameter order: ("in", array), ("inout", array, expected), ("out", expected), ("i32", 7), ("null",)…

    Arrays of bfloat16 and of 8-bit floats are passed as integers of their width; `read` turns an output back into
    numbers for the comparison.
    """

    name: str
    ptx: str
    entry: str
    grid: tuple
    block: tuple
    args: list
    shared: int = 0
    rtol: float = 0.0
    atol: float = 0.0
    read: str = "plain"
    check: bool = True
    prints: str | None = None
    refuted: str | None = None
    notes: list = field(default_factory=list)

    def write(self, out: pathlib.Path, tool: str, arch: str):
        folder = out / f"{tool}-{arch}-{self.name}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "kernel.ptx").write_text(self.ptx)
        specs = []
        for n, arg in enumerate(self.args):
            kind = arg[0]
            if kind in ("in", "inout"):
                np.save(folder / f"in{n}.npy", np.ascontiguousarray(arg[1]))
            if kind in ("out", "inout"):
                np.save(folder / f"want{n}.npy", np.ascontiguousarray(arg[-1]))
            if kind == "out":
                specs.append([kind, str(arg[1].dtype), int(arg[1].size)])
            elif kind in ("in", "inout"):
                specs.append([kind])
            else:
                specs.append([kind, *map(str, arg[1:])])
        about = {
            "tool": tool,
            "arch": arch,
            "entry": self.entry,
            "grid": list(self.grid),
            "block": list(self.block),
            "shared": self.shared,
            "args": specs,
            "rtol": self.rtol,
            "atol": self.atol,
            "read": self.read,
            "check": self.check,
            "prints": self.prints,
            "refuted": self.refuted,
        }
        (folder / "case.json").write_text(json.dumps(about, indent=1))


def to_bf16(values):
    """float32 to the bits of bfloat16, nearest even."""
    bits = np.asarray(values, np.float32).view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return rounded.astype(np.uint16).view(np.int16)


def from_bf16(bits):
    return (np.asarray(bits).view(np.uint16).astype(np.uint32) << 16).view(np.float32)
