#!/usr/bin/env python3
"""Makes a corpus of PTX from good kernels: Triton, nvcc and clang, as far as they are installed.

    make.py OUT [triton] [nvcc] [clang]

Each case is a folder: kernel.ptx, case.json (the launch), the inputs and numpy's answers as .npy. run.py runs them.
"""

import pathlib
import sys
import traceback


def make(out, tools):
    wanted = tools or ["triton", "nvcc", "clang"]
    failures = 0
    for tool in wanted:
        try:
            if tool == "triton":
                import triton_cases

                made = [("sm_%d" % arch, triton_cases.cases(arch)) for arch in (80, 90)]
            elif tool == "nvcc":
                import cuda_cases

                made = [(arch, cuda_cases.cases(arch)) for arch in ("sm_80", "sm_90a")]
            else:
                import clang_cases

                made = [(arch, clang_cases.cases(arch)) for arch in ("sm_80", "sm_90")]
            for arch, cases in made:
                count = 0
                for case in cases:
                    case.write(out, tool, arch)
                    count += 1
                print(f"{tool} {arch}: {count} cases")
        except Exception:
            failures += 1
            print(f"{tool}: left out\n{traceback.format_exc(limit=3)}", file=sys.stderr)
    return failures


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(make(pathlib.Path(sys.argv[1]), sys.argv[2:]))
