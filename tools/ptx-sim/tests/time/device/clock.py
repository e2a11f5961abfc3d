"""The clock that a device keeps under loads of different kinds, by clocks on the multiprocessor and seconds between events.

A load runs a tenth of a second and longer in launches of some milliseconds: what it starts with, and what it comes to.
"""

import arithmetic
import tensor
from kernel import build


def fma(kind, instruction):
    return arithmetic.text(kind, instruction, 4, 8), 1024, 0


def mma():
    """mma.sync on values of either sign between 2^-4 and 2 that differ from lane to lane."""
    name, chains = "mma m16n8k16 bf16", 4
    text = tensor.mma(name, chains, 8)
    values = "".join(
        f"    mad.lo.u32 %r{10 + n}, %lane, {0x9E3779B1 - 0x1234567 * n}, {0x51ED27 * (n + 1)};\n"
        f"    and.b32 %r{10 + n}, %r{10 + n}, 0x82ff82ff;\n    add.u32 %r{10 + n}, %r{10 + n}, 0x3d803d80;\n"
        for n in range(6)
    )
    # Behind the zeros that the text has in their place.
    at = text.index("    bar.sync 0;")
    return text[:at] + values + text[at:], 512, 0


def wgmma(values):
    return tensor.wgmma(256, 16, "f32.bf16.bf16", False, 4, 2, 256, wait=1, values=values), 256, tensor.SHARED


def items(gpu):
    import numpy as np

    source = gpu.upload(np.full(64, 0.9, np.float32).repeat(8))
    loads = {
        "nothing but a loop": lambda: (build(""), 128, 0),
        "fma.f32": lambda: fma("f", "fma.rn.f32 {x}, {x}, %f300, %f301;"),
        "ex2": lambda: fma("f", "ex2.approx.ftz.f32 {x}, {x};"),
        "mma.sync": mma,
        "wgmma of zeros": lambda: wgmma(""),
        "wgmma of random values": lambda: wgmma(tensor.RANDOM),
    }
    for name, make in loads.items():
        def run(make=make):
            text, threads, shared = make()
            function = gpu.function(text, shared)
            few = 1 if gpu.quick else 2000

            def once(rounds):
                seconds = gpu.seconds(lambda: gpu.launch(function, gpu.sms, threads, shared, rounds, source=source), repeat=1)
                return seconds, float(np.median(gpu.elapsed(gpu.sms, threads)))

            once(few)
            seconds, clocks = once(few)
            # Four milliseconds a launch.
            rounds = few if gpu.quick else max(few, min(int(few * 4e-3 / seconds), 1 << 24))
            series = [once(rounds) for _ in range(2 if gpu.quick else 60)]
            ghz = [c / s / 1e9 for s, c in series]
            return {"first": ghz[0], "tenth": ghz[min(9, len(ghz) - 1)], "last": ghz[-1], "clocks_a_round": series[-1][1] / rounds,
                    "clocks_a_round_first": series[0][1] / rounds, "ms": series[-1][0] * 1e3}

        yield f"clock under {name}", "GHz", run
