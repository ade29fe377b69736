"""drop_path_residual: drop_path's mask and gain for the same key, and a branch that runs on kept samples alone."""

import copy
import pickle

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from dropkit.torch import DropPathResidual, Dropout, LinearSchedule, drop_path, drop_path_residual

KEY = (3, 9)


def images(dtype=torch.float32, samples=9):
    return torch.randn(samples, 3, 4, 5, generator=torch.Generator().manual_seed(2)).to(dtype)


def curve(x):
    return x * 3 - x * x


class Watched(nn.Module):
    """A convolution that remembers what it saw."""

    def __init__(self):
        super().__init__()
        self.conv, self.seen = nn.Conv2d(3, 3, 1), []

    def forward(self, x):
        self.seen.append(x)
        return self.conv(x)


def kept_of(p, key=KEY, samples=9, **keys):
    return drop_path(torch.ones(samples, 1), p, key=key, **keys).flatten().nonzero().flatten()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("keys", [{}, {"share": "batch"}, {"normalize": "kept"}, {"normalize": "none"}], ids=str)
def test_equals_drop_path_of_the_branch(keys, dtype):
    for last in (torch.contiguous_format, torch.channels_last):
        x = images(dtype).contiguous(memory_format=last)
        for p in (0.0, 0.2, 0.6, 1.0):
            y = drop_path_residual(x, curve, p, key=KEY, first_sample=4, **keys)
            assert torch.equal(y, x + drop_path(curve(x), p, key=KEY, first_sample=4, **keys)), p
            assert y.dtype == dtype and y.is_contiguous(memory_format=last) and y is not x


def test_the_branch_runs_on_kept_samples_only():
    x, branch = images().contiguous(memory_format=torch.channels_last), Watched()
    kept = kept_of(0.5)
    assert 0 < len(kept) < 9
    drop_path_residual(x, branch, 0.5, key=KEY)
    (seen,) = branch.seen
    assert torch.equal(seen, x[kept]) and seen.is_contiguous(memory_format=torch.channels_last)
    drop_path_residual(x, branch, 1.0)
    assert len(branch.seen) == 1
    for call in ({"p": 0.0}, {"p": 0.5, "training": False}, {"p": 1e-9}):
        drop_path_residual(x, branch, **call)
        assert branch.seen.pop() is x


def test_gradients():
    branch, x = nn.Conv2d(3, 3, 1).double(), images(torch.float64).requires_grad_()
    for p in (0.0, 0.5):
        wanted = torch.autograd.grad((x + drop_path(branch(x), p, key=KEY)).square().sum(), [x, *branch.parameters()])
        found = torch.autograd.grad(drop_path_residual(x, branch, p, key=KEY).square().sum(), [x, *branch.parameters()])
        for a, b in zip(wanted, found):
            torch.testing.assert_close(a, b)
    small = images(torch.float64, 4)[:, :, :1, :2].clone().requires_grad_()
    for check in (torch.autograd.gradcheck, torch.autograd.gradgradcheck):
        assert check(lambda v: drop_path_residual(v, curve, 0.5, key=KEY), (small,))


def test_nothing_kept():
    branch, x = Watched(), images().requires_grad_()
    y = drop_path_residual(x, branch, 1.0)
    assert torch.equal(y, x) and y.data_ptr() != x.data_ptr()
    y.mul_(2).sum().backward()
    assert torch.equal(x.grad, torch.full_like(x, 2)) and branch.conv.weight.grad is None
    empty = drop_path_residual(x[:0], branch, 0.5)
    assert empty.shape == (0, 3, 4, 5) and len(branch.seen) == 1


def test_keys_come_from_the_generator_of_the_cpu():
    x = images()
    for make in (lambda: drop_path_residual(x, curve, 0.5), lambda: x + drop_path(curve(x), 0.5)):
        torch.manual_seed(7)
        results = [make(), make(), torch.get_rng_state()]
        torch.manual_seed(7)
        for a, b in zip(results, (drop_path_residual(x, curve, 0.5), drop_path_residual(x, curve, 0.5))):
            assert torch.equal(a, b)
    draw = [drop_path_residual(x, curve, 0.5, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(draw[0], draw[1]) and not torch.equal(draw[0], draw[2])


def test_batch_norm_sees_the_kept_samples():
    kept, x = kept_of(0.5), images()
    norm = nn.BatchNorm2d(3, momentum=1.0)
    drop_path_residual(x, norm, 0.5, key=KEY)
    torch.testing.assert_close(norm.running_mean, x[kept].mean((0, 2, 3)))
    before = norm.running_mean.clone()
    drop_path_residual(x, norm, 1.0)
    assert torch.equal(norm.running_mean, before)


def test_ddp_needs_find_unused_parameters(tmp_path):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        for finds in (False, True):
            block = DropPathResidual(nn.Conv2d(3, 3, 1), 1.0)
            model = DistributedDataParallel(nn.Sequential(nn.Conv2d(3, 3, 1), block), find_unused_parameters=finds)
            model(images()).sum().backward()
            if finds:
                model(images()).sum().backward()
                assert block.branch.weight.grad is None
            else:
                with pytest.raises(RuntimeError, match="find_unused_parameters=True"):
                    model(images())
    finally:
        dist.destroy_process_group()


def test_compiled_it_multiplies_with_the_same_mask():
    block = nn.Sequential(DropPathResidual(nn.Conv2d(3, 3, 1), 0.5), DropPathResidual(nn.Conv2d(3, 3, 1), 0.6))
    schedule = LinearSchedule(block, 2)

    def both(x):
        return drop_path_residual(block(x), curve, 0.4)

    compiled, x = torch.compile(both, fullgraph=True, backend="aot_eager"), images()
    torch.manual_seed(11)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for _ in range(4):
            state = torch.get_rng_state()
            wanted = both(x)
            torch.set_rng_state(state)
            torch.testing.assert_close(compiled(x), wanted)
            schedule.step()


def test_under_transforms_and_symbolic_tracing():
    x = images()
    wanted = drop_path_residual(x, curve, 0.5, key=KEY)
    pair = torch.vmap(lambda v: drop_path_residual(v, curve, 0.5, key=KEY))(torch.stack([x, x]))
    assert torch.equal(pair[0], wanted) and torch.equal(pair[1], wanted)
    grad = torch.func.grad(lambda v: drop_path_residual(v, curve, 0.5, key=KEY).sum())(x)
    kept = kept_of(0.5)
    torch.testing.assert_close(grad[kept], 1 + 2 * (3 - 2 * x[kept]))
    block = DropPathResidual(nn.Conv2d(3, 3, 1), 0.5)
    for traced in (torch.fx.symbolic_trace(block), torch.jit.trace(block, x, check_trace=False)):
        for seed in (4, 5):
            torch.manual_seed(seed)
            y = block(x)
            torch.manual_seed(seed)
            torch.testing.assert_close(traced(x), y)


def test_checkpointing_and_autocast():
    block, x = DropPathResidual(nn.Conv2d(3, 3, 1), 0.5), images()
    grads = []
    for call in (block, lambda v: checkpoint(block, v, use_reentrant=False)):
        torch.manual_seed(1)
        block.zero_grad()
        call(x).square().sum().backward()
        grads.append(block.branch.weight.grad.clone())
    assert torch.equal(*grads) and grads[0].any()
    y = drop_path_residual(x.half(), lambda v: v.float() / 3, 0.5, key=KEY)
    assert torch.equal(y, x.half() + drop_path(x.half().float() / 3, 0.5, key=KEY)) and y.dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        for key in (KEY, (1, 1)):
            y = drop_path_residual(x, block.branch, 0.5, key=key)
            assert y.dtype == torch.float32
            torch.testing.assert_close(y, x + drop_path(block.branch(x), 0.5, key=key))


def test_module():
    block = DropPathResidual(nn.Conv2d(3, 3, 1), 0.5, share="batch")
    assert list(block.state_dict()) == ["branch.weight", "branch.bias"]
    assert repr(block).startswith("DropPathResidual(\n  p=0.5, share=batch\n  (branch): Conv2d")
    x = images()
    block.eval()
    assert torch.equal(block(x), x + block.branch(x))
    block.p, block.mc = 1.0, True
    assert torch.equal(block(x), x)
    for copied in (copy.deepcopy(block), pickle.loads(pickle.dumps(block))):
        assert copied.p == 1 and torch.equal(copied(x), x)
    LinearSchedule(block, 3, 0.25)
    assert block.p == 0.25


def test_errors():
    x = images()
    for kind, words, arguments, options in (
        (TypeError, "x = 3; allowed: a tensor", (3, curve, 0.5), {}),
        (ValueError, "x has 0 dimensions", (x.sum(), curve, 0.5), {}),
        (ValueError, "p = 1.5; allowed: a number from 0 to 1", (x, curve, 1.5), {}),
        (ValueError, r"branch returned shape \(\d, 1, 4, 5\); allowed: its input's", (x, lambda v: v[:, :1], 0.5), {}),
        (ValueError, "fill = 2; allowed: 0", (x, curve, 0.5), {"fill": 2}),
        (TypeError, "no key block", (x, curve, 0.5), {"block": 2}),
        (ValueError, "share", (x, curve, 0.5), {"share": "some"}),
        (TypeError, "key = 3; allowed", (x, curve, 0.5), {"key": 3}),
        (TypeError, "branch = 3; allowed", (x, 3, 0.5), {}),
        (TypeError, "branch returned None; allowed", (x, lambda v: None, 0.5), {}),
        (ValueError, "x has 0 dimensions", (torch.tensor(1.0), curve, 0.5), {}),
        (TypeError, "generator = 3; allowed", (x, curve, 0.5), {"key": None, "generator": 3}),
        (ValueError, "key and generator are both given", (x, curve, 0.5), {"generator": torch.Generator()}),
        (ValueError, "key is on meta; allowed: on the CPU", (x, curve, 0.5), {"key": torch.empty(2, device="meta")}),
    ):
        with pytest.raises(kind, match=words):
            drop_path_residual(*arguments, **({"key": KEY} | options))
    with pytest.raises(TypeError, match="branch = <function curve"):
        DropPathResidual(curve, 0.5)
    with pytest.raises(ValueError, match="fill"):
        DropPathResidual(Dropout(), 0.5, fill="noise")


def test_torchs_default_device_does_not_matter():
    x = images()
    torch.set_default_device("meta")
    try:
        y = drop_path_residual(x, curve, 0.5, key=KEY)
    finally:
        torch.set_default_device(None)
    assert torch.equal(y, drop_path_residual(x, curve, 0.5, key=KEY))
