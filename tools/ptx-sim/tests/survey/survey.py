#!/usr/bin/env python3
"""Asks a device a thousand small questions, and compares its answers with the simulator's, byte by byte.

    python3 survey.py run --out device.npz                      with NVIDIA's driver, about half a minute on 16 cores
    LD_LIBRARY_PATH=shim python3 survey.py run --out sim.npz    with the driver that stands for a device (docs/sim-cuda.md)
    python3 survey.py compare device.npz sim.npz                what differs: how many rows, and the first of them

Needs numpy. Each group runs in processes of its own, a share of its items in each; an item that faults is named and left out.
"""

import argparse
import concurrent.futures
import ctypes
import importlib
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from item import HEAD  # noqa: E402

# Groups, and into how many processes each is split.
GROUPS = {"arithmetic": 4, "convert": 5, "tensor": 3}
# Kernels of one module, and seconds that a process may take.
TOGETHER, LIMIT = 24, 100

POINTER = ctypes.c_void_p


def items(group):
    return list(importlib.import_module(group).items())


class Driver:
    def __init__(self):
        self.cuda = ctypes.CDLL("libcuda.so.1")
        self.device, context = ctypes.c_int(), POINTER()
        self.ok("cuInit", 0)
        self.ok("cuDeviceGet", ctypes.byref(self.device), 0)
        self.ok("cuDevicePrimaryCtxRetain", ctypes.byref(context), self.device)
        self.ok("cuCtxSetCurrent", context)

    def ok(self, function, *arguments):
        error = getattr(self.cuda, function)(*arguments)
        if error:
            name = ctypes.c_char_p()
            self.cuda.cuGetErrorName(error, ctypes.byref(name))
            raise RuntimeError(f"{function}: {(name.value or b'?').decode()}")

    def load(self, text):
        module = POINTER()
        self.ok("cuModuleLoadData", ctypes.byref(module), text.encode() + b"\0")
        return module

    def room(self, size):
        address = ctypes.c_uint64()
        self.ok("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(max(size, 16)))
        return address

    def answer(self, module, entry, item):
        function, out = POINTER(), np.zeros(item.out_bytes, np.uint8)
        self.ok("cuModuleGetFunction", ctypes.byref(function), module, entry.encode())
        source, target = self.room(item.input.size), self.room(out.size)
        self.ok("cuMemcpyHtoD_v2", source, item.input.ctypes.data_as(POINTER), ctypes.c_size_t(item.input.size))
        self.ok("cuMemcpyHtoD_v2", target, out.ctypes.data_as(POINTER), ctypes.c_size_t(out.size))
        arguments = (POINTER * 2)(*(ctypes.cast(ctypes.byref(v), POINTER) for v in (source, target)))
        self.ok("cuLaunchKernel", function, item.grid, 1, 1, item.threads, 1, 1, item.shared, None, arguments, None)
        self.ok("cuCtxSynchronize")
        self.ok("cuMemcpyDtoH_v2", out.ctypes.data_as(POINTER), target, ctypes.c_size_t(out.size))
        self.cuda.cuMemFree_v2(source)
        self.cuda.cuMemFree_v2(target)
        return out


def child(group, share, first, path):
    """One share of a group from an item on; writes what it has when an item ends the context, and says where to go on."""
    driver, answers = Driver(), {}
    mine = list(enumerate(items(group)))[share :: GROUPS[group]]
    mine = [(at, item) for at, item in mine if at >= first]
    for begin in range(0, len(mine), TOGETHER):
        some = mine[begin : begin + TOGETHER]
        # Declarations of shared memory would be there twice.
        apart = any(item.shared for _, item in some)
        module = None if apart else driver.load(HEAD + "".join(item.text(f"k{at}") for at, item in some))
        for at, item in some:
            try:
                here = module or driver.load(HEAD + item.text(f"k{at}"))
                answers[f"{group} {at}"] = driver.answer(here, f"k{at}", item)
            except RuntimeError as error:
                print(f"FAULT {group} {at} {item.name}: {error}", flush=True)
                np.savez_compressed(path, **answers)
                return at + 1
    np.savez_compressed(path, **answers)
    return None


def share_of(group, share, folder):
    """Runs a share in processes one after the other, each from behind the item that ended the one before."""
    first, parts = 0, []
    while first is not None:
        path = f"{folder}/{group}-{share}-{first}.npz"
        command = [sys.executable, __file__, "child", group, str(share), str(first), path]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)
        except subprocess.TimeoutExpired:
            print(f"FAULT {group}, share {share}: nothing after {LIMIT} s", flush=True)
            break
        lines = done.stdout.splitlines()
        print("".join(f"{line}\n" for line in lines if line.startswith("FAULT")), end="")
        if done.returncode:
            print(f"FAULT {group}, share {share}: {done.stderr[-400:]}", flush=True)
            break
        parts.append(path)
        first = next((int(line[5:]) for line in lines if line.startswith("next ")), None)
    return parts


def run(out, groups):
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        shares = [(group, share) for group in groups for share in range(GROUPS[group])]
        parts = [part for some in pool.map(lambda s: share_of(*s, folder), shares) for part in some]
        answers = {}
        for part in parts:
            with np.load(part) as file:
                answers.update({name: file[name] for name in file.files})
    np.savez_compressed(out, **answers)
    print(f"{len(answers)} answers")


def compare(device, simulator):
    same = different = 0
    with np.load(device) as p, np.load(simulator) as q:
        for group in GROUPS:
            for at, item in enumerate(items(group)):
                name = f"{group} {at}"
                if name not in p.files or name not in q.files:
                    continue
                word = np.uint64 if item.slots else np.uint32
                x, y = p[name].view(word), q[name].view(word)
                bad = np.nonzero(x != y)[0]
                same, different = same + (len(bad) == 0), different + (len(bad) > 0)
                if len(bad):
                    rows = item.input.view(np.uint64).reshape(len(x), -1) if item.slots else None
                    shown = [f"{[hex(v) for v in rows[n]] if item.slots else n}: {x[n]:#x}, not {y[n]:#x}" for n in bad[:3]]
                    print(f"{name} {item.name}: {len(bad)} of {len(x)} differ; " + "; ".join(shown))
    print(f"{same} the same, {different} different")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("run")
    one.add_argument("--out", required=True)
    one.add_argument("--only", choices=GROUPS, action="append")
    two = commands.add_parser("compare")
    two.add_argument("device")
    two.add_argument("simulator")
    three = commands.add_parser("child")
    for name in ("group", "share", "first", "path"):
        three.add_argument(name)
    arguments = parser.parse_args()
    if arguments.command == "run":
        run(arguments.out, arguments.only or GROUPS)
    elif arguments.command == "compare":
        compare(arguments.device, arguments.simulator)
    else:
        following = child(arguments.group, int(arguments.share), int(arguments.first), arguments.path)
        if following is not None:
            print(f"next {following}")


if __name__ == "__main__":
    main()
