"""What a contestant's results have to be before it is timed.

dropkit's are held against its mask, element by element, and the mask against DropBlock's theory, written here anew. Of
the others only what they claim is asked: finite, zeros or one number times the input, and the same for the gradient.
Assumes inputs and gradients from 0.5 to 1.5.
"""

import math

import torch
from contestants import BLOCK, P

MOST_CALLS = 6  # one mask for all channels of a few small samples often drops nothing


class Wrong(Exception):
    """A result that is not what it has to be."""


def expected_drop(height, width):
    """(expected dropped fraction of a plane, bound on its standard deviation): valid seeds, the paper's gamma.

    The bound is Efron and Stein's: a seed that changes moves the fraction by a block at most.
    """
    kh, kw = min(BLOCK, height), min(BLOCK, width)
    seeds = (height - kh + 1) * (width - kw + 1)
    gamma = P * height * width / (kh * kw * seeds)

    def seeds_over(n, k):
        return [min(i, n - k) - max(0, i - k + 1) + 1 for i in range(n)]

    drops = [1 - (1 - gamma) ** (r * c) for r in seeds_over(height, kh) for c in seeds_over(width, kw)]
    deviation = kh * kw / (height * width) * math.sqrt(seeds * gamma * (1 - gamma))
    return sum(drops) / len(drops), deviation


def check_drawn(keep, gain):
    """A mask and its gain against the theory; keep is N, C, H, W."""
    dropped = 1 - keep.count_nonzero().item() / keep.numel()
    expected, deviation = expected_drop(*keep.shape[2:])
    allowed = 5 * deviation / math.sqrt(keep.shape[0] * keep.shape[1])
    if abs(dropped - expected) > allowed:
        raise Wrong(f"drops {dropped:.5f}; allowed: {expected:.5f} +- {allowed:.5f}")
    if not math.isclose(gain, 1 / (1 - dropped), rel_tol=1e-6):
        raise Wrong(f"gain = {gain}; allowed: elements / kept = {1 / (1 - dropped)}")


def masked(keep, gain, values):
    """One multiplication in f32 where kept and one rounding to the dtype; 0 elsewhere."""
    scaled = (values.float() * torch.tensor(gain, dtype=torch.float32)).to(values.dtype)
    return torch.where(keep, scaled, torch.zeros((), dtype=values.dtype))


def check_dropkit(contestant, tensors):
    """One call of each pass, checked element by element. Returns the dropped fraction."""
    y = contestant.forward().clone()
    keep, gain = contestant.drawn()
    check_drawn(keep, gain)
    if not torch.equal(y, masked(keep, gain, tensors.x)):
        raise Wrong("the output is not x times the gain where kept and 0 elsewhere")
    first = keep
    y, dx = contestant.both()
    keep, gain = contestant.drawn()
    if torch.equal(keep, first):
        raise Wrong("two calls drew the same mask")
    if not torch.equal(y, masked(keep, gain, tensors.x)) or not torch.equal(dx, masked(keep, gain, tensors.gradient)):
        raise Wrong("output and gradient are not those of one mask")
    return 1 - keep.count_nonzero().item() / keep.numel()


def gain_of(result, source, what):
    """The one number that result is of source where it is not 0."""
    if result.shape != source.shape:
        raise Wrong(f"{what} of shape {list(result.shape)}")
    if not result.isfinite().all():
        raise Wrong(f"{what} is not finite")
    kept = result != 0
    if not kept.any():
        raise Wrong(f"{what} is 0 everywhere")
    gains = result[kept].float() / source[kept].float()
    low, high = gains.aminmax()
    # A product is rounded up to three times on the way: by the input's mask, its gain, and the gain itself.
    if high - low > 4 * torch.finfo(source.dtype).eps * high:
        raise Wrong(f"{what} is not 0 or one number times its source, but {low:.4f} to {high:.4f} times")
    return gains.double().mean().item()


def check_other(contestant, tensors):
    """A call of each pass, or more until something is dropped. Returns the dropped fraction.

    Both passes are called before anything is judged: what is compiled at a first call is not left to the clock.
    """
    alone = contestant.forward()
    for _ in range(MOST_CALLS):
        y, dx = contestant.both()
        if not contestant.drops or (y == 0).any():
            break
    gain_of(alone, tensors.x, "the output")
    gain, back = gain_of(y, tensors.x, "the output"), gain_of(dx, tensors.gradient, "the gradient")
    if not torch.equal(y == 0, dx == 0) or not math.isclose(gain, back, rel_tol=0.02):
        raise Wrong("output and gradient are not those of one mask")
    dropped = 1 - y.count_nonzero().item() / y.numel()
    if (dropped > 0) != contestant.drops:
        raise Wrong("drops what it should copy" if dropped else f"drops nothing in {MOST_CALLS} calls")
    return dropped


def check(contestant, tensors):
    return (check_dropkit if contestant.drawn else check_other)(contestant, tensors)
