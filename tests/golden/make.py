#!/usr/bin/env python3
"""Writes the golden files draws.txt and masks.txt; with --check, exits 1 if a file on disk differs.

Standard library only. What is drawn is in draw.py, written from docs/draws.md alone; here are the cases and the form
of the lines (README.md). A changed line means that the draw changed, which a release never does: only add lines.
"""
import itertools
import math
import os
import struct
import sys
import zlib

import draw

FOLDER = os.path.dirname(os.path.abspath(__file__))
LARGEST_HEX_MASK = 4096
SWEEP = (0, 1e-6, 0.001, 0.03, 0.1, 0.17, 0.25, 0.5, 0.75, 0.93, 1)

DEFAULTS = {
    'dropout': 'share=none,normalize=expected,over=tensor,fill=0',
    'spatial_dropout': 'share=none,normalize=expected,over=tensor,fill=0',
    'drop_path': 'share=none,normalize=expected,over=tensor,fill=0',
    'drop_connect': 'share=batch,normalize=expected',
    'dropblock': 'share=none,normalize=kept,over=tensor,fill=0,block=7,region=valid,rate=paper,gamma_scale=1,'
                 'anchor=before,clip=axis',
    'cutout': 'share=channels,normalize=none,over=tensor,fill=0,size=16,holes=1,region=whole',
}


def parse(line):
    method, _, keys = line.partition(':')
    spec = {'method': method}
    for pair in (DEFAULTS[method] + ',' + keys).split(','):
        if pair:
            key, value = pair.split('=')
            spec[key] = value
    return spec


def shortest(p):
    """The shortest decimal that reads back as the f32 nearest to p."""
    return next(text for text in (f'{p:.{digits}g}' for digits in range(1, 10)) if draw.f32(float(text)) == draw.f32(p))


def bits_of(x):
    return struct.pack('>d', x).hex()


def joined(values):
    return ','.join(str(v) for v in values)


# ---- draws.txt


def philox_lines():
    counters = [(2499, 0, 0, 0), (0, 0, 0, 0), (2**32 - 1,) * 4, (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344)]
    keys = [(20111115, 0), (0, 0), (2**32 - 1,) * 2, (0xA4093822, 0x299F31D0)]
    for counter, key in itertools.product(counters, keys):
        yield f'philox counter={joined(counter)} key={joined(key)} words={joined(draw.philox(counter, key))}'


def key_lines():
    values = (0, 1, 2**32 - 1, 2**32, 0x0123456789ABCDEF, 2**64 - 1)
    for seed, offset, tag in itertools.product(values, values, (1, 2, 3, 4)):
        yield f'call_key seed={seed} offset={offset} tag={tag} key={joined(draw.call_key((seed, offset), tag))}'


def threshold_lines():
    tiny = [0.0, 2.0**-149, 2.0**-34, 2.0**-33, 1.5 * 2.0**-33, 2.0**-32, 1.5 * 2.0**-32, 2.5 * 2.0**-32]
    near_one = [1 - 2.0**-24, 1 - 2.0**-23, 1 - 2.0**-12]
    edges = [2.0**-8, 2.0**-8 - 2.0**-32, 2.0**-9 + 2.0**-33, 2.0**-6, 1 / 128, 1 / 3, 2 / 3]
    for p in sorted(draw.f32(p) for p in {*tiny, *near_one, *edges, *SWEEP, 1e-9, 0.05, 0.2, 0.3, 0.6, 0.9, 0.999}):
        yield f'threshold p={p.hex()} T={draw.threshold_of(p)}'


def largest_one_round_rest(d):
    """The largest E whose table needs a single round, or the largest there is."""
    low, high = 1, (2**27 if d == 0 else 2**25) - 1
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if draw.poisson_table(d, middle)[0] == 1 else (low, middle - 1)
    return low


def table_lines():
    edge = largest_one_round_rest(0)
    drawn = {int(2.0**(i / 3)) for i in range(0, 96)} | {draw.threshold_of(p) for p in SWEEP[1:-1]}
    steps = {d * 2**25 + e for d in (4, 5, 31, 32, 63) for e in (0, 1, 2**24, 2**25 - 1)}
    edges = {2**27 - 1, 2**27, 2**27 + 1, 2**31 - 1, 2**31, edge - 1, edge, edge + 1, edge + 2}
    low = drawn | steps | edges
    for q in sorted(low | {draw.ONE - q for q in low}):
        inverted, d, e = draw.split(q)
        rounds, thresholds = draw.poisson_table(d, e)
        yield f'table Q={q} inverted={int(inverted)} D={d} E={e} rounds={rounds} thresholds={joined(thresholds)}'


def normal_lines():
    tail = int(0.02425 * draw.TWO32)
    edges = [0, 1, 2, tail - 1, tail, tail + 1, 2**31 - 2, 2**31 - 1]
    low = edges + [2**k for k in range(2, 31)]
    drawn = itertools.chain.from_iterable(draw.philox((i, 0, 0, 0), (1, 2)) for i in range(16))
    for word in [*low, *(2**32 - 1 - w for w in low), *drawn]:
        yield f'normal word={word} z={bits_of(draw.normal(word))}'
    for s, element in itertools.product((0, 1, 2**33 + 5), (0, 1, 2, 3, 4, 7, 1000, 2**34 - 1, 2**34, 2**37 + 6)):
        yield f'noise seed=7 offset=9 s={s} element={element} z={bits_of(draw.noise((7, 9), s, element))}'


def rate_specs():
    """Spec lines and spatial sizes whose rates are worth pinning."""
    maps = [(), (1,), (9,), (64,), (7, 7), (14, 14), (28, 28), (5, 11), (56, 56), (3, 8, 8), (5, 6, 7)]
    blocks = ['block=1', 'block=2', 'block=3', 'block=6', 'block=7']
    regions = ['region=valid', 'region=whole', 'region=whole,anchor=after']
    for block, region, rate, sizes in itertools.product(blocks, regions, ('paper', 'calibrated'), maps):
        yield f'dropblock:{block},{region},rate={rate}', sizes
    for keys in ('block=3x5', 'block=3x5,region=whole', 'block=4x3,clip=square', 'block=9x2,rate=calibrated',
                 'rate=plain', 'rate=raw', 'rate=plain,gamma_scale=1.7', 'gamma_scale=0.3', 'rate=raw,gamma_scale=2.5',
                 'block=20,region=whole,rate=plain,clip=none', 'block=20,region=whole,rate=calibrated,clip=none'):
        yield f'dropblock:{keys}', (8, 13)
    for keys, sizes in itertools.product(('size=1', 'size=4', 'size=5,holes=3', 'size=40,holes=2'), maps):
        yield f'cutout:{keys}', sizes
        yield f'cutout:{keys},region=valid', sizes


def rates_lines():
    probabilities = (1e-6, 0.001, 0.1, 0.25, 0.5, 0.93, 0.999, 1 - 2.0**-24)
    for i, (line, sizes) in enumerate(rate_specs()):
        spec = parse(line)
        for p in (probabilities[i % 8], probabilities[(3 * i + i // 8 + 1) % 8]):
            big_t = draw.threshold_of(p)
            q = draw.lane_threshold(spec, sizes, big_t)
            shape = joined((1, 1, *sizes))
            kept = bits_of(draw.expected_kept(spec, sizes, q))
            yield f'rates case={line}@{shortest(p)} shape={shape} T={big_t} Q={q} expected_kept={kept}'


def draws_text():
    makers = (philox_lines, key_lines, threshold_lines, table_lines, normal_lines, rates_lines)
    return '\n'.join(line for maker in makers for line in maker()) + '\n'


# ---- masks.txt: (spec line, p, shape[, seed, offset, first sample])


def sweep_cases():
    shapes = {'dropout': (3, 4, 5, 6), 'spatial_dropout': (4, 130), 'drop_path': (140, 1), 'drop_connect': (2, 9, 30),
              'dropblock': (2, 3, 9, 8), 'cutout': (3, 4, 7, 6)}
    keys = {'dropblock': ',block=3', 'cutout': ',size=3,holes=2'}
    for method, shape in shapes.items():
        narrow = method in ('spatial_dropout', 'drop_path', 'drop_connect')
        for share, p in itertools.product(('none', 'batch') if narrow else ('none', 'channels', 'batch', 'all'), SWEEP):
            yield f'{method}:share={share}{keys.get(method, "")}', p, shape


def boundary_cases():
    """Lane counts on both sides of a word, a group of digits and a tile."""
    counts = (1, 31, 32, 33, 63, 64, 65, 127, 128, 129, 511, 512, 513, 1023, 1024, 1025)
    for i, count in enumerate(counts):
        yield 'dropout', (0.3, 0.93)[i % 2], (1, count)
        yield 'dropout', (0.02, 0.17)[i % 2], (2, 1, count)
        yield 'spatial_dropout', (0.99, 0.03)[i % 2], (1, count, 2)
        yield 'drop_path', (0.1, 0.6)[i % 2], (count, 2, 1)
        yield 'dropblock:block=3', 0.1, (1, 1, count + 2)
        yield 'dropblock:block=1,share=channels', (0.5, 0.025)[i % 2], (2, 3, count)
        yield f'cutout:size=1,holes={count},share=none', (0.25, 0.97)[i % 2], (1, 2, 40, 41)
    # Keys whose first overlay word equals threshold[0]: K is 1, as that threshold counts.
    yield 'dropout', 0.00021817302, (1, 512), 335, 0, 0
    yield 'dropout', 0.0017781926, (1, 512), 391, 0, 0


def block_cases():
    blocks = ('block=1', 'block=2', 'block=3', 'block=4', 'block=7', 'block=3x5', 'block=6x2')
    regions = ('region=valid', 'region=whole', 'region=whole,anchor=after')
    rates = ('paper', 'calibrated', 'plain', 'raw', 'paper,gamma_scale=2.5', 'plain,gamma_scale=0.75')
    for i, (block, region, rate) in enumerate(itertools.product(blocks, regions, rates)):
        yield f'dropblock:{block},{region},rate={rate}', (0.03, 0.1, 0.25, 0.5, 0.75)[i % 5], (2, 2, 9, 11)
    for region, rate, p in itertools.product(regions, ('paper', 'calibrated'), (0.1, 0.6)):
        yield f'dropblock:block=2,{region},rate={rate}', p, (2, 3)
        yield f'dropblock:block=4,{region},rate={rate}', p, (2, 3, 17)
        yield f'dropblock:block=2x3x4,{region},rate={rate}', p, (2, 2, 4, 6, 7)
        yield f'dropblock:block=3,{region},rate={rate},share=channels', p, (2, 2, 5, 4, 3)


def clip_cases():
    for clip, region, rate in itertools.product(('axis', 'square'), ('valid', 'whole'), ('paper', 'calibrated', 'raw')):
        keys = f'region={region},rate={rate},clip={clip}'
        yield f'dropblock:block=7,{keys}', 0.3, (2, 3, 5, 9)
        yield f'dropblock:block=6x9,{keys}', 0.3, (2, 3, 4, 12)
        yield f'dropblock:block=20,{keys}', 0.4, (4, 5, 6, 3)
    for block, anchor, rate in itertools.product((8, 9, 20), ('before', 'after'), ('calibrated', 'plain', 'raw')):
        yield f'dropblock:block={block},region=whole,anchor={anchor},rate={rate},clip=none', 0.2, (2, 3, 5, 9)
    yield 'dropblock:block=5,clip=error', 0.2, (2, 3, 5, 9)
    yield 'dropblock:block=5,clip=none', 0.2, (2, 3, 5, 9)


def cutout_cases():
    sizes, regions = ('size=1', 'size=2', 'size=3', 'size=4x7', 'size=16', 'size=30'), ('whole', 'valid')
    for i, (size, region, holes) in enumerate(itertools.product(sizes, regions, (1, 3))):
        yield f'cutout:{size},region={region},holes={holes}', (1, 0.5)[i % 2], (3, 2, 12, 10)
    for region, share in itertools.product(regions, ('none', 'all')):
        yield f'cutout:size=5,region={region},share={share}', 1, (2, 3)
        yield f'cutout:size=5,region={region},share={share}', 1, (2, 3, 19)
        yield f'cutout:size=2x3x4,region={region},share={share},holes=2', 1, (2, 3, 5, 6, 7)
    yield 'cutout', 1, (4, 3, 32, 32)


def count_cases():
    """Every law of the gain, and every group that `kept` is counted over."""
    laws = ('normalize=expected', 'normalize=asked', 'normalize=none', 'normalize=kept,over=tensor',
            'normalize=kept,over=sample', 'normalize=kept,over=plane')
    for law, p in itertools.product(laws, (0.3, 0.9, 1)):
        yield f'dropout:{law}', p, (3, 2, 7)
        yield f'spatial_dropout:{law}', p, (3, 9, 2)
        yield f'drop_path:{law}', p, (9, 2, 2)
        yield f'dropblock:block=3,{law}', p, (3, 2, 7, 6)
        yield f'cutout:size=4,{law}', p, (3, 2, 7, 6)
        yield f'dropblock:block=3,share=all,{law}', p, (3, 2, 7, 6)


def key_cases():
    top = 2**64 - 1
    keys = [(0, 0), (1, 0), (0, 1), (2**32, 0), (0, 2**32), (top, 0), (0, top), (top, top), (0x0123456789ABCDEF, 2**63)]
    firsts = (0, 1, 5, 2**31 - 1, 2**32 - 1, 2**32, 2**33)
    for (seed, offset), first in itertools.product(keys, firsts):
        yield 'dropblock:block=3,rate=calibrated', 0.2, (2, 2, 8, 8), seed, offset, first
    for first, share in itertools.product(firsts, ('none', 'batch')):
        yield f'dropout:share={share}', 0.17, (3, 50), 11, 12, first
        yield f'drop_path:share={share}', 0.5, (64, 1), 11, 12, first
        yield f'cutout:size=3,share={"channels" if share == "none" else "all"}', 1, (3, 1, 9, 9), 11, 12, first


def network_cases():
    """Shapes of real layers; most masks are long and given by their CRC."""
    for p in (0.05, 0.1, 0.25):
        yield 'dropblock:block=7', p, (2, 3, 14, 14)
        yield 'dropblock:block=7', p, (4, 64, 7, 7)
        yield 'dropblock:block=7,rate=calibrated', p, (2, 24, 28, 28)
        yield 'dropblock:block=7,region=whole,share=channels', p, (3, 16, 56, 56)
        yield 'dropblock:block=5', p, (1, 4, 8, 24, 24)
    for p in (0.1, 0.5):
        yield 'dropout', p, (8, 4096)
        yield 'spatial_dropout', p, (8, 512, 4, 4)
        yield 'drop_path', p, (256, 8, 4, 4)
        yield 'drop_connect', p, (1, 100, 512)
        yield 'drop_connect:share=none', p, (4, 50, 200)


def cases():
    makers = (sweep_cases, boundary_cases, block_cases, clip_cases, cutout_cases, count_cases, key_cases, network_cases)
    number = 0
    for maker in makers:
        for case in maker():
            number += 1
            yield case if len(case) == 6 else (*case, number, number // 7, number % 3)


def packed(keep):
    """One bit an element, bit i at byte i / 8, position i % 8."""
    padded = keep + bytes(-len(keep) % 8)
    return bytes(sum(padded[i + bit] << bit for bit in range(8)) for i in range(0, len(padded), 8))


def mask_line(line, p, shape, seed, offset, first):
    spec, sizes = parse(line), shape[2:]
    samples, channels = shape[:2]
    cells, big_t = math.prod(sizes), draw.threshold_of(p)
    q = draw.lane_threshold(spec, sizes, big_t)
    shared = spec['share'] in ('batch', 'all')
    masks = [draw.sample_mask(spec, channels, sizes, q, (seed, offset), 0 if shared else first + n)
             for n in range(1 if shared else samples)] * (samples if shared else 1)
    keep = b''.join(masks)
    group = cells if spec.get('over') == 'plane' else cells * channels
    kept = [sum(keep[i:i + group]) for i in range(0, len(keep), group)]
    gains = draw.gains(spec, sizes, big_t, q, kept, len(keep))
    data = packed(keep)
    bits = f'bits={data.hex()}' if len(data) <= LARGEST_HEX_MASK else f'crc32={zlib.crc32(data):08x}'
    return (f'mask case={line}@{shortest(p)} shape={joined(shape)} seed={seed} offset={offset} first={first} '
            f'T={big_t} Q={q} kept={joined(kept)} gain={joined(map(bits_of, gains))} {bits}')


def masks_text():
    return '\n'.join(mask_line(*case) for case in cases()) + '\n'


# ---- the files


def differs(path, text):
    try:
        with open(path, encoding='ascii') as file:
            return file.read() != text
    except FileNotFoundError:
        return True


def main():
    if sys.argv[1:] not in ([], ['--check']):
        sys.exit(f'make.py: unknown arguments {sys.argv[1:]}; allowed: nothing, or --check')
    stale = []
    for name, text in (('draws.txt', draws_text()), ('masks.txt', masks_text())):
        path = os.path.join(FOLDER, name)
        if not differs(path, text):
            continue
        stale.append(name)
        if not sys.argv[1:]:
            with open(path + '.new', 'w', encoding='ascii') as file:
                file.write(text)
            os.replace(path + '.new', path)
    print(f'make.py: {" and ".join(stale) or "no file"} differed from docs/draws.md as read by draw.py')
    sys.exit(1 if stale and sys.argv[1:] else 0)


if __name__ == '__main__':
    main()
