# What the tests of this folder share: given seeds in place of drawn ones, here and in a peer, and what a probability
# of a seed must drop on average.
#
# A peer's own field is replaced where it draws it: by Tensor.bernoulli_, or by torch.rand, whose numbers it compares
# with gamma. The comparison with the peers' rules for many sizes is tests/peers_test.cc; here the peers themselves run.

import inspect
import math

import dropkit.torch  # noqa: F401  registers the operators
import torch
import torch.nn.functional as F

OPS = torch.ops.dropkit


def picture(*rows):
    """A map from text: `#` is 1. Rows may be indented."""
    return torch.tensor([[float(cell == "#") for cell in row] for row in rows])


def keep_from(layer, seeds, channels=1):
    """The mask that a layer's rule makes of seeds [N, C, positions]: 1 for kept; for one channel, or a few alike."""
    bare = dropkit.torch.specs.with_keys(layer.spec, normalize="none", fill="0")
    return given(layer, torch.ones(seeds.shape[0], channels, *map_of(layer, seeds)), seeds, bare)


def map_of(layer, seeds):
    """Sizes of the map that has these positions of seeds."""
    grown = 0 if "region=whole" in layer.spec else layer.block_size - 1
    return [size + grown for size in seeds.shape[2:]]


def given(layer, x, seeds, line=None):
    """What the layer makes of x where the seeds are given."""
    line = line or layer.spec
    mask = OPS.spread(x, line, seeds.to(torch.uint8).contiguous(), layer.p)
    return OPS.apply(x, *mask, line, False, False)


class Field:
    """Stands in for a peer's random numbers; says what it was asked for."""

    def __init__(self, monkeypatch, seed=1):
        self.gamma, self.seeds = None, None
        self.generator = torch.Generator().manual_seed(seed)
        monkeypatch.setattr(torch.Tensor, "bernoulli_", lambda tensor, q: self.bernoulli(tensor, q))
        monkeypatch.setattr(torch, "rand", self.rand)

    def draw(self, shape):
        """One unit in 60 fires, and one at least, so that there is something to drop and something to keep."""
        units = math.prod(shape)
        fired = torch.randperm(units, generator=self.generator)[: max(1, units // 60)]
        self.seeds = torch.zeros(units).index_fill(0, fired, 1).reshape(shape)
        return self.seeds

    def bernoulli(self, tensor, q):
        self.gamma = float(q)
        return tensor.copy_(self.draw(tensor.shape))

    def rand(self, *shape):
        """Numbers below any gamma where a seed fires; the peer compares them with it."""
        return 1 - self.draw(shape) * 0.999999


def expected_drop(gamma, sizes, block, whole):
    """The dropped fraction for seeds with probability gamma, from how many seeds could drop each cell of the map."""
    dims = len(sizes)
    positions = sizes if whole else [size - block + 1 for size in sizes]
    grow = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[dims - 1]
    options = dict(dtype=torch.float64)
    covering = grow(torch.ones(1, 1, *positions, **options), torch.ones(1, 1, *[block] * dims, **options))
    for axis, size in enumerate(sizes):
        start = (covering.shape[axis + 2] - size) // 2
        covering = covering.narrow(axis + 2, start, size)
    return (1 - (1 - gamma) ** covering).mean().item()


def dropped_by(layer, x):
    """The fraction that the layer drops of x, which is nowhere 0."""
    return (layer(x) == 0).double().mean().item()


def same_signature(ours, theirs):
    """Whether the parameters' names, order, kinds and defaults agree; annotations may differ."""

    def parameters(function):
        return [(each.name, each.kind, each.default) for each in inspect.signature(function).parameters.values()]

    return parameters(ours) == parameters(theirs)


class Wrapped(torch.nn.Module):
    """A network of one layer, to be traced."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x)


def calls_in_trace(layer):
    """How many nodes symbolic tracing sees between the input and the output, training and not."""
    return [len(torch.fx.symbolic_trace(Wrapped(layer).train(training)).graph.nodes) - 2 for training in (True, False)]
