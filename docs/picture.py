"""Draws docs/picture.svg: what each method drops, on 2 samples x 4 channels of 28x28, from the program's own masks.

.venv/bin/python docs/picture.py [build/dropkit]
"""

import os
import subprocess
import sys
import tempfile

import numpy

CASES = [
    ("Dropout", "dropout@0.2"),
    ("SpatialDropout", "spatial_dropout@0.25"),
    ("Stochastic Depth", "drop_path@0.5"),
    ("DropBlock", "dropblock:block=7,rate=calibrated@0.2"),
    ("Cutout", "cutout:size=14@1"),
]
SAMPLES, CHANNELS, SIDE = 2, 4, 28
SCALE, GAP, LEFT, TOP = 3, 8, 250, 40
KEPT, DROPPED = "#f3efe4", "#20435c"


def mask_of(program, case):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "mask.npy")
        shape = f"{SAMPLES},{CHANNELS},{SIDE},{SIDE}"
        subprocess.run(
            [program, "mask", case, "--shape", shape, "--seed", "11", "--npy", path],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        return numpy.load(path)


def runs_of_zeros(row):
    """Half-open runs of dropped cells."""
    edges = numpy.flatnonzero(numpy.diff(numpy.concatenate([[1], row.astype(int), [1]])))
    return zip(edges[::2], edges[1::2])


def map_svg(plane, x, y):
    parts = [
        f'<rect x="{x}" y="{y}" width="{SIDE * SCALE}" height="{SIDE * SCALE}" '
        f'fill="{KEPT}" stroke="#888" stroke-width="1"/>'
    ]
    path = "".join(
        f"M{x + a * SCALE} {y + i * SCALE}h{(b - a) * SCALE}v{SCALE}h{-(b - a) * SCALE}z"
        for i, row in enumerate(plane)
        for a, b in runs_of_zeros(row)
    )
    if path:
        parts.append(f'<path d="{path}" fill="{DROPPED}"/>')
    return "".join(parts)


def main(program):
    step = SIDE * SCALE + GAP
    width = LEFT + SAMPLES * (CHANNELS * step + 2 * GAP)
    height = TOP + len(CASES) * step
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif"><rect width="100%" height="100%" fill="white"/>'
    ]
    for n in range(SAMPLES):
        x = LEFT + n * (CHANNELS * step + 2 * GAP)
        parts.append(f'<text x="{x}" y="{TOP - 14}" font-size="15">sample {n}, channels 0 to {CHANNELS - 1}</text>')
    for row, (name, case) in enumerate(CASES):
        y = TOP + row * step
        mask = mask_of(program, case)
        parts.append(f'<text x="10" y="{y + 38}" font-size="18" font-weight="bold">{name}</text>')
        label, _, p = case.rpartition("@")
        parts.append(
            f'<text x="10" y="{y + 60}" font-size="11" fill="#333">{label.replace(",rate=", ", rate=")} @ {p}</text>'
        )
        for n in range(SAMPLES):
            for c in range(CHANNELS):
                parts.append(map_svg(mask[n, c], LEFT + n * (CHANNELS * step + 2 * GAP) + c * step, y))
    parts.append("</svg>\n")
    target = os.path.join(os.path.dirname(os.path.abspath(__file__)), "picture.svg")
    with open(target + ".tmp", "w", encoding="ascii") as file:
        file.write("".join(parts))
    os.replace(target + ".tmp", target)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "build/dropkit")
