"""The draw of docs/draws.md in plain Python: an independent reading of that page.

Standard library only, and no code shared with src/. Section numbers are those of the page. A spec is a dict of the
words of a spec line, with every key of its method set; make.py reads spec lines and writes the golden files.
"""
import itertools
import math
import struct

ONE = 2**32
TWO32 = 4294967296.0
WORD = 0xFFFFFFFF
TAG_DIGITS, TAG_OVERLAY, TAG_CENTRES, TAG_NOISE = 1, 2, 3, 4

# ---- sections 1 and 2: Philox, keys, counters


def philox(c, k):
    """Philox4x32-10 of a counter of four words and a key of two."""
    c0, c1, c2, c3 = c
    k0, k1 = k
    for _ in range(10):
        left, right = 0xCD9E8D57 * c2, 0xD2511F53 * c0
        c0, c1, c2, c3 = (left >> 32) ^ c1 ^ k0, left & WORD, (right >> 32) ^ c3 ^ k1, right & WORD
        k0, k1 = (k0 + 0x9E3779B9) & WORD, (k1 + 0xBB67AE85) & WORD
    return c0, c1, c2, c3


def halves(v):
    return v & WORD, v >> 32


def call_key(key, tag):
    seed, offset = key
    return philox((*halves(offset), tag, 0), halves(seed))[:2]


class Field:
    """The draws of one tag for one sample."""

    def __init__(self, key, tag, s):
        self.call_key, self.s = call_key(key, tag), halves(s)

    def draw(self, call, tile):
        return philox((call, tile, *self.s), self.call_key)


# ---- sections 3, 6, 7: from p to T, Q and the tables


def f32(x):
    return struct.unpack('<f', struct.pack('<f', x))[0]


def threshold_of(p):
    return int(f32(p) * TWO32 + 0.5)


def power(b, e):
    r = 1.0
    while e:
        if e & 1:
            r = r * b
        e >>= 1
        if e:
            b = b * b
    return r


class Axis:
    """One axis of a map: its size, the block after clipping, where a position may be, what it covers."""

    def __init__(self, n, k, valid, before):
        self.n, self.k = n, k
        self.positions, self.before = (n - k + 1, 0) if valid else (n, before)

    def interval(self, u):
        return range(max(0, u - self.before), min(self.n, u - self.before + self.k))

    def classes(self):
        """The distinct coverages, ascending, each with its number of cells."""
        cells = {}
        for x in range(self.n):
            first, last = x + self.before - self.k + 1, x + self.before
            covering = min(last, self.positions - 1) - max(first, 0) + 1
            cells[covering] = cells.get(covering, 0) + 1
        return sorted(cells.items())


def axes_of(spec, sizes):
    if spec['method'] not in ('dropblock', 'cutout'):
        return []
    extents = [int(x) for x in spec['block' if spec['method'] == 'dropblock' else 'size'].split('x')]
    if len(extents) == 1:
        extents = extents * len(sizes)
    valid = spec['region'] == 'valid'
    if spec['method'] == 'cutout':
        return [Axis(n, min(k, n) if valid else k, valid, k // 2) for n, k in zip(sizes, extents)]
    if spec['clip'] == 'axis':
        extents = [min(n, k) for n, k in zip(sizes, extents)]
    elif spec['clip'] == 'square':
        extents = [min(k, *sizes) for k in extents]
    longer_side_after = spec['anchor'] == 'after'
    return [Axis(n, k, valid, k // 2 - 1 if k % 2 == 0 and longer_side_after else k // 2)
            for n, k in zip(sizes, extents)]


def coverage_classes(axes):
    return [axis.classes() for axis in axes] + [[(1, 1)]] * (3 - len(axes))


def kept_sums(classes, y):
    """F and G of section 7."""
    f = g = 0.0
    pa, a0 = 1.0, 0
    for a, na in classes[0]:
        pa, a0 = pa * power(y, a - a0), a
        pb, b0 = 1.0, 0
        for b, nb in classes[1]:
            pb, b0 = pb * power(pa, b - b0), b
            pc, c0 = 1.0, 0
            for c, nc in classes[2]:
                pc, c0 = pc * power(pb, c - c0), c
                v = float(na * nb * nc) * pc
                f, g = f + v, g + v * float(a * b * c)
    return f, g


def calibrated_gamma(axes, t, cells):
    classes = coverage_classes(axes)
    covered = math.prod(sum(coverage * count for coverage, count in axis) for axis in classes)
    mean = float(covered) / float(cells)
    goal = (1.0 - t) * float(cells)
    y = 1.0 - t / mean
    for _ in range(64):
        f, g = kept_sums(classes, y)
        if g == 0.0:  # f is 0 as well, so the step is -inf or NaN and y' is not below y
            break
        lower = y - ((f - goal) * y) / g
        if not (0.0 < lower < y):
            break
        y = lower
    return max(0.0, 1.0 - y)


def lane_threshold(spec, sizes, big_t):
    """Q of section 3."""
    if spec['method'] != 'dropblock' or big_t in (0, ONE):
        return big_t
    axes = axes_of(spec, sizes)
    t, cells = float(big_t) / TWO32, math.prod(sizes)
    block, scale = float(math.prod(axis.k for axis in axes)), float(spec['gamma_scale'])
    positions = float(math.prod(axis.n - axis.k + 1 for axis in axes))
    if spec['rate'] == 'paper':
        gamma = ((t * float(cells)) / (block * positions)) * scale
    elif spec['rate'] == 'plain':
        gamma = (t / block) * scale
    elif spec['rate'] == 'raw':
        gamma = t * scale
    else:
        gamma = calibrated_gamma(axes, t, cells)
    return ONE if gamma >= 1.0 else int(gamma * TWO32 + 0.5)


def expected_kept(spec, sizes, q):
    u = float(q) / TWO32
    y = 1.0 - u
    cells = float(math.prod(sizes))
    if spec['method'] == 'dropblock':
        return kept_sums(coverage_classes(axes_of(spec, sizes)), y)[0] / cells
    if spec['method'] != 'cutout':
        return y
    axes = axes_of(spec, sizes)
    positions, total = float(math.prod(axis.positions for axis in axes)), 0.0
    for (a, na), (b, nb), (c, nc) in itertools.product(*coverage_classes(axes)):
        missed = 1.0 - (u * float(a * b * c)) / positions
        total = total + float(na * nb * nc) * power(missed, int(spec['holes']))
    return total / cells


def split(q):
    """R's digits D and rest E, and whether R counts the lanes that do not fire (section 5)."""
    inverted = q > 2**31
    r = ONE - q if inverted else q
    d = 0 if r < 2**27 else r >> 25
    return inverted, d, r - d * 2**25


def poisson_table(d, e):
    """Rounds and thresholds of section 6; no round where the overlay is empty."""
    if e == 0:
        return 0, []
    delta = float(e) / (TWO32 - float(d * 2**25))
    z = delta / (2.0 - delta)
    z2 = z * z
    series = 1.0 / 13.0
    for k in (11.0, 9.0, 7.0, 5.0, 3.0, 1.0):
        series = series * z2 + 1.0 / k
    mean = 512.0 * ((2.0 * z) * series)
    rounds = 1 if mean <= 8.0 else 2
    mean = mean / float(rounds)
    x = -(mean / 1024.0)
    power_of_e = 1.0 / 720.0
    for factorial in (120.0, 24.0, 6.0, 2.0, 1.0, 1.0):
        power_of_e = power_of_e * x + 1.0 / factorial
    for _ in range(10):
        power_of_e = power_of_e * power_of_e
    pmf = cdf = power_of_e
    thresholds = []
    for k in range(1, 33):
        threshold = int(cdf * TWO32 + 0.5)
        if threshold >= ONE:
            break
        thresholds.append(threshold)
        pmf = (pmf * mean) / float(k)
        cdf = cdf + pmf
    return rounds, thresholds


# ---- section 5: which lanes fire


def mark_digits(marks, d, field):
    deepest = max(j for j in range(1, 8) if d >> (7 - j) & 1)
    for group in range((len(marks) + 127) // 128):
        acc = [0, 0, 0, 0]
        for j in range(deepest, 0, -1):
            r = field.draw(j - 1, group)
            digit = d >> (7 - j) & 1
            acc = [a | w if digit else a & w for a, w in zip(acc, r)]
        for i in range(128 * group, min(128 * group + 128, len(marks))):
            marks[i] |= acc[(i >> 5) & 3] >> (i & 31) & 1


def mark_overlay(marks, rounds, thresholds, field):
    for tile, r in itertools.product(range((len(marks) + 511) // 512), range(rounds)):
        words = [w for call in range(9) for w in field.draw(16 * r + call, tile)]
        count = sum(threshold <= words[0] for threshold in thresholds)
        for w in words[1:count + 1]:
            lane = 512 * tile + (w >> 23)
            if lane < len(marks):
                marks[lane] = 1


def fired_lanes(q, lanes, key, s):
    if q in (0, ONE):
        return bytearray([q == ONE]) * lanes
    marks = bytearray(lanes)
    inverted, d, e = split(q)
    if d:
        mark_digits(marks, d, Field(key, TAG_DIGITS, s))
    if e:
        mark_overlay(marks, *poisson_table(d, e), Field(key, TAG_OVERLAY, s))
    return bytes(1 - m for m in marks) if inverted else bytes(marks)


# ---- sections 4 and 8: from lanes to elements


def lanes_a_channel(spec, sizes):
    method = spec['method']
    if method in ('spatial_dropout', 'drop_path'):
        return 1
    if method == 'cutout':
        return int(spec['holes'])
    if method == 'dropblock':
        return math.prod(axis.positions for axis in axes_of(spec, sizes))
    return math.prod(sizes)


def unravel(position, counts):
    where = []
    for count in reversed(counts):
        position, u = divmod(position, count)
        where.append(u)
    return where[::-1]


def dropped_cells(spec, sizes, axes, lane, position, centres):
    """Cells of its channel that a fired lane drops."""
    if spec['method'] in ('dropout', 'drop_connect'):
        return [position]
    if spec['method'] in ('spatial_dropout', 'drop_path'):
        return range(math.prod(sizes))
    if spec['method'] == 'cutout':
        words = centres.draw(0, lane)
        where = [w * axis.positions >> 32 for w, axis in zip(words, axes)]
    else:
        where = unravel(position, [axis.positions for axis in axes])
    cells = [0]
    for axis, u in zip(axes, where):
        cells = [cell * axis.n + x for cell in cells for x in axis.interval(u)]
    return cells


def sample_mask(spec, channels, sizes, q, key, s):
    """Keep flags [channels][cells] of global sample s."""
    cells, m = math.prod(sizes), lanes_a_channel(spec, sizes)
    one_channel = spec['share'] in ('channels', 'all') or spec['method'] == 'drop_path'
    centres, axes = Field(key, TAG_CENTRES, s), axes_of(spec, sizes)
    planes = [bytearray(b'\1' * cells) for _ in range(1 if one_channel else channels)]
    for lane, fired in enumerate(fired_lanes(q, len(planes) * m, key, s)):
        if fired:
            plane = planes[lane // m]
            for cell in dropped_cells(spec, sizes, axes, lane, lane % m, centres):
                plane[cell] = 0
    return b''.join(planes) * (channels if one_channel else 1)


# ---- section 9: noise

ACKLAM_A = (-3.969683028665376e+01, 2.209460984245205e+02, -2.759285104469687e+02, 1.383577518672690e+02,
            -3.066479806614716e+01, 2.506628277459239e+00)
ACKLAM_B = (-5.447609879822406e+01, 1.615858368580409e+02, -1.556989798598866e+02, 6.680131188771972e+01,
            -1.328068155288572e+01)
ACKLAM_C = (-7.784894002430293e-03, -3.223964580411365e-01, -2.400758277161838e+00, -2.549732539343734e+00,
            4.374664141464968e+00, 2.938163982698783e+00)
ACKLAM_D = (7.784695709041462e-03, 3.224671290700398e-01, 2.445134137142996e+00, 3.754408661907416e+00)


def horner(coefficients, x):
    value = coefficients[0]
    for coefficient in coefficients[1:]:
        value = value * x + coefficient
    return value


def log_below_one(h):
    half_m, exponent = math.frexp(h)
    m, k = 2.0 * half_m, 1 - exponent
    v = (m - 1.0) / (m + 1.0)
    v2 = v * v
    series = 1.0 / 25.0
    for j in range(23, 0, -2):
        series = series * v2 + 1.0 / float(j)
    return (2.0 * v) * series - float(k) * 0.6931471805599453


def normal(word):
    u = (float(word) + 0.5) / TWO32
    h = min(u, 1.0 - u)
    if h >= 0.02425:
        q = u - 0.5
        r = q * q
        return (horner(ACKLAM_A, r) * q) / horner((*ACKLAM_B, 1.0), r)
    q = math.sqrt(-2.0 * log_below_one(h))
    z = horner(ACKLAM_C, q) / horner((*ACKLAM_D, 1.0), q)
    return -z if u > 0.5 else z


def noise(key, s, element):
    low, high = halves(element >> 2)
    return normal(Field(key, TAG_NOISE, s).draw(high, low)[element & 3])


# ---- section 10: gains


def gains(spec, sizes, big_t, q, kept, elements):
    """The gain on kept elements: one number, or one for each sample or plane where `kept` is counted over those."""
    law = spec['normalize']
    if law == 'kept':
        counts = [sum(kept)] if spec['over'] == 'tensor' else kept
        total = float(elements // len(counts))
        return [total / float(count) if count else 0.0 for count in counts]
    if law == 'expected':
        fraction = expected_kept(spec, sizes, q)
        return [1.0 / fraction if fraction else 0.0]
    if law == 'asked':
        return [1.0 / (1.0 - float(big_t) / TWO32) if big_t != ONE else 0.0]
    return [1.0]
