"""What tracing is told of the operators is what the kernels do: shapes, strides, schemas, aliasing, autograd.

torch.library.opcheck holds the registrations together; the shapes and strides that torch.compile and torch.export
believe are compared with those of real calls over every rank and many layouts. Values are test_torch_values.py's.
"""

import pytest
import torch

from dropkit.torch import specs
from dropkit.torch.library import OPS

METHODS = [*specs.METHODS]
SHARES = {"spatial_dropout": "none batch", "drop_path": "none batch", "drop_connect": "none batch"}
ELSEWHERE = {"spread", "connect", "connect_masks"}  # test_torch_compat.py, test_torch_connect.py
SIZES = (3, 4, 5, 6, 2, 3)


def a_key(device="cpu"):
    return torch.tensor([1, 5], device=device)


def lines(method):
    for share in SHARES.get(method, "none channels batch all").split():
        for over in ("tensor", "sample", "plane"):
            yield specs.line_of(method, share=share, over=over)


def layouts():
    """Tensors of 0 to 6 dimensions: dense, channels last, sliced, expanded, transposed, empty, of size 1."""
    for dims in range(7):
        base = SIZES[:dims]
        yield torch.zeros(base)
        if dims == 1:
            yield torch.zeros(0)
        if dims == 2:
            yield from (torch.zeros(base).t(), torch.zeros(4).expand(3, 4), torch.zeros(3, 0), torch.zeros(0, 4))
        if dims >= 3:
            yield from maps(base)


def maps(base):
    samples, channels, *sizes = base
    last = [0, len(base) - 1, *range(1, len(base) - 1)]
    for n, c in ((0, channels), (samples, 0), (1, channels), (samples, 1), (1, 1)):
        yield torch.zeros(n, c, *sizes)
        yield torch.zeros(n, *sizes, c).permute(last)
    yield torch.zeros(samples, channels, *[1] * len(sizes))
    yield torch.zeros(samples, *sizes, channels).permute(last)
    yield torch.zeros(samples, *sizes, 2 * channels).permute(last)[:, ::2]
    yield torch.zeros(*base[:-1], 2 * base[-1])[..., ::2]
    yield from (torch.zeros(base).transpose(0, -1), torch.zeros(base).transpose(1, 2))
    yield from (torch.zeros(*base[:-1], 1).expand(base), torch.zeros(samples, 1, *sizes).expand(base))
    yield from (torch.zeros(1, *base[1:]).expand(base), torch.zeros(()).expand(base))


def forms(result):
    results = result if isinstance(result, tuple) else (result,)
    return [(each.shape, each.stride(), each.dtype) for each in results]


@pytest.mark.parametrize("method", METHODS)
def test_shapes_without_data_are_the_kernels(method):
    compared = 0
    for line in lines(method):
        for x in layouts():
            if x.dim() == 6 and method in ("dropblock", "cutout"):
                continue  # refused
            told = torch.empty_strided(x.shape, x.stride(), device="meta")
            draw = line, a_key(), 0.4
            for name, more in (("drop", ()), ("_drop", ()), ("sample", (None, 0, True)), ("drop_recompute", ())):
                real = getattr(OPS, name)(x, *draw, *more)
                meta = getattr(OPS, name)(told, line, a_key("meta"), 0.4, *more)
                assert forms(meta) == forms(real), (name, line, x.shape, x.stride())
                compared += 1
            y, mask = OPS._drop(x, *draw)
            last = not y.is_contiguous()
            for grad in (
                torch.empty_strided(x.shape, x.stride()),
                torch.zeros(x.shape),
                torch.zeros(()).expand(x.shape),
            ):
                real = OPS._gradient(grad, mask, line, last)
                assert forms(real)[0][:2] == forms(y)[0][:2]
                assert forms(OPS._gradient(grad.to("meta"), mask.to("meta"), line, last)) == forms(real)
    assert compared > 1000


def opchecks(x, line):
    """Every operator with x, as (operator, arguments)."""
    bare = x.detach()
    y, bits, counts = OPS.drop(bare, line, a_key(), 0.4)
    mask = OPS._drop(bare, line, a_key(), 0.4)[1]
    last = not y.is_contiguous()
    for name in ("drop", "drop_recompute"):
        yield name, (x, line, a_key(), 0.4)
    yield "drop", (bare, line, a_key(), 0.4, torch.tensor(0.3), 2)
    yield "apply", (x, bits, counts, line, last, False)
    yield "apply", (x, bits, counts, line, last, True)
    for name in ("sample", "_drop"):
        yield name, (bare, line, a_key(), 0.4)
    yield "_gradient", (bare, mask, line, last)
    for name in ("drop_", "_drop_"):
        yield name, (bare.clone(), line, a_key(), 0.4, None, 0, last)
    yield "apply_", (bare.clone(), bits, counts, line, last, False)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("line", ["dropblock:block=2", "dropout:over=plane", "drop_path:share=batch", "drop_connect"])
def test_opcheck(line, last):
    x = torch.randn(2, 3, 4, 5)
    x = x.contiguous(memory_format=torch.channels_last) if last else x
    checked = set()
    for name, arguments in opchecks(x.requires_grad_(), line):
        torch.library.opcheck(getattr(OPS, name).default, arguments)
        checked.add(name)
    registered = {
        name.removeprefix("dropkit::") for name in torch._C._dispatch_get_all_op_names() if "dropkit::" in name
    }
    assert checked == registered - {"_read", "_list", "_build"} - ELSEWHERE


def test_writing_in_place_moves_the_version_counter():
    for name in ("drop_", "apply_", "_drop_"):
        x = torch.ones(2, 3, 4, 5)
        _, bits, counts = OPS.drop(x, "dropout", a_key(), 0.4)
        draws = ("dropout", a_key(), 0.4) if name != "apply_" else (bits, counts, "dropout", False, False)
        weight = torch.ones_like(x, requires_grad=True)
        product = weight * x
        getattr(OPS, name)(x, *draws)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            product.sum().backward()
