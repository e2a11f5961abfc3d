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
    # Memory that only tensor maps point to: name -> ("in", array), ("inout", array, expected) or ("out", expected).
    buffers: dict = field(default_factory=dict)
    notes: list = field(default_factory=list)

    def write(self, out: pathlib.Path, tool: str, arch: str):
        folder = out / f"{tool}-{arch}-{self.name}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "kernel.ptx").write_text(self.ptx)
        specs = [written(folder, n, arg) for n, arg in enumerate(self.args)]
        buffers = {name: written(folder, name, arg) for name, arg in self.buffers.items()}
        about = {
            "tool": tool,
            "arch": arch,
            "entry": self.entry,
            "grid": list(self.grid),
            "block": list(self.block),
            "shared": self.shared,
            "args": specs,
            "buffers": buffers,
            "rtol": self.rtol,
            "atol": self.atol,
            "read": self.read,
            "check": self.check,
            "prints": self.prints,
            "refuted": self.refuted,
        }
        (folder / "case.json").write_text(json.dumps(about, indent=1))


def written(folder, name, arg):
    """Writes the arrays of one argument or buffer; what case.json says of it."""
    kind = arg[0]
    if kind in ("in", "inout"):
        np.save(folder / f"in{name}.npy", np.ascontiguousarray(arg[1]))
    if kind in ("out", "inout"):
        np.save(folder / f"want{name}.npy", np.ascontiguousarray(arg[-1]))
    if kind == "out":
        return [kind, str(arg[1].dtype), int(arg[1].size)]
    return [kind] if kind in ("in", "inout") else [kind, *map(str, arg[1:])]


def to_bf16(values):
    """float32 to the bits of bfloat16, nearest even."""
    bits = np.asarray(values, np.float32).view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return rounded.astype(np.uint16).view(np.int16)


def from_bf16(bits):
    return (np.asarray(bits).view(np.uint16).astype(np.uint32) << 16).view(np.float32)
