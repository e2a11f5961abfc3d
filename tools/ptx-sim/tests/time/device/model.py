"""The simulator's model in the place of a device: what `ptx-sim` predicts that the same kernels take.

Only what reads the multiprocessor's clock can be asked: launches and bandwidths of the whole device have no kernel of that kind, and
the model knows no hits in L1 and takes what L2 holds from the bytes that a kernel touches, so that chains of loads are left out too.
"""

import json
import pathlib
import subprocess
import tempfile

import numpy as np

from kernel import OUT_BYTES


class NotModelled(Exception):
    pass


class Model:
    """As `Gpu`, for `--model PTX_SIM`."""

    def __init__(self, command, target="sm_90"):
        self.command, self.target = command, target
        self.quick, self.name, self.sms = False, f"the model of {target}", 132
        self.folder = pathlib.Path(tempfile.mkdtemp())
        self.buffers = {}
        # What is shown for an item that is not asked for clocks a round.
        self.out = self.zeros(OUT_BYTES)

    def zeros(self, bytes_):
        name = f"b{len(self.buffers)}"
        self.buffers[name] = f"out:u8:{bytes_}:{self.folder / 'out.npy'}"
        return name

    room = zeros

    def upload(self, values):
        name = f"b{len(self.buffers)}"
        np.save(self.folder / f"{name}.npy", values.view(np.uint8))
        self.buffers[name] = f"in:{self.folder / name}.npy"
        return name

    def free(self, name):
        del self.buffers[name]

    def tensor_map(self, buffer, rows, columns, box_rows):
        return buffer, f"tmap:{buffer}:bf16:{columns},{rows}:{columns * 2}:64,{box_rows}::128:zero"

    def per_round(self, text, threads=32, grid=1, shared=0, rounds=(32, 96), before=None, source=None, maps=(), cluster=1):
        if before:
            raise NotModelled("L2 is emptied before")
        # The model sees no difference between rounds: few do.
        few, many = 4, 12
        file = self.folder / "k.ptx"
        file.write_text(text)
        clocks = []
        for count in (few, many):
            command = [self.command, "run", str(file), "--entry", "k", "--grid", f"{grid}", "--block", f"{threads}",
                       "--shared", f"{shared}", "--cluster", f"{cluster}", "--target", self.target, "--count", "--json"]
            command += ["--sample"] if grid > 4 else []
            used = dict.fromkeys([*(name for name, _ in maps), *([source] if source else []), self.out])
            for name in used:
                command += ["--buffer", f"{name}={self.buffers[name]}"]
            arguments = [f"ptr:{source}" if source else "null", f"ptr:{self.out}", f"u32:{count}", "u32:0", *(m for _, m in maps)]
            for argument in arguments:
                command += ["--arg", argument]
            done = subprocess.run(command, capture_output=True, text=True, timeout=120)
            report = json.loads(done.stdout or "{}")
            predicted = report.get("counters", {}).get("time", {}).get("predicted") or {}
            if "clocks" not in predicted:
                raise NotModelled((done.stderr or done.stdout)[-300:])
            clocks.append(predicted["clocks"])
        return (clocks[1] - clocks[0]) / (many - few)
