"""What test_torch_parallel.py runs in two processes: a batch of 5 + 3 samples against one process with all 8.

    python -m torch.distributed.run --standalone --nproc-per-node 2 tests/two_ranks.py

The reference is data_parallel in a group of one process, whose masks test_alone holds against the plain functions. A
line a check and rank, "NAME ok"; an assertion ends both processes.
"""

import copy
import os
import pickle

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from dropkit.torch import DropBlock2d, DropPath, DropPathResidual, Dropout, Layer, LinearSchedule, SpatialDropout
from dropkit.torch import data_parallel, drop

SIZES = (5, 3)
RANK = int(os.environ["RANK"])


def mine(x, sizes=SIZES):
    return x.split(sizes)[RANK]


def images(samples=8, seed=1):
    return torch.randn(samples, 4, 6, 6, generator=torch.Generator().manual_seed(seed))


def pair(model):
    """The model on both ranks, seeded apart, and a copy alone in a group of this rank."""
    return pair_of(model, copy.deepcopy(model))


def pair_of(model, alone, start=11):
    torch.manual_seed(start + 100 * RANK)
    ranks = data_parallel(model)
    torch.manual_seed(start)
    data_parallel(alone, ALONE[RANK])
    return model, alone, ranks


def raises(kind, words, call):
    try:
        call()
    except kind as error:
        assert words in str(error), error
    else:
        raise AssertionError(f"no {kind.__name__}")


def check_alone():
    layer = DropBlock2d(0.3, 3)
    net = nn.Sequential(layer)
    ranks = data_parallel(net, ALONE[RANK])
    y = net(images())
    key = next(iter(ranks._draws.values())).key
    assert torch.equal(y, drop(images(), layer.spec, 0.3, key=key))
    assert not torch.equal(y, net(images()))


def check_masks():
    layers = (
        DropBlock2d(0.3, 3),
        DropBlock2d(0.3, 3, normalize="expected", fill="noise"),
        DropBlock2d(0.3, 3, fill="noise"),
        Dropout(0.4, normalize="kept", over="sample"),
        Dropout(0.4, normalize="kept"),
        SpatialDropout(0.6, share="batch", normalize="kept"),
        DropPath(0.5),
    )
    for layer in layers:
        for last in (False, True):
            both, alone, _ = pair(nn.Sequential(copy.deepcopy(layer)))
            x = images().contiguous(memory_format=torch.channels_last) if last else images()
            y, whole = both(mine(x)), alone(x)
            assert torch.equal(y, mine(whole)), layer
            assert y.is_contiguous() == whole.is_contiguous()
            assert 0 < (whole != x).sum(), layer


def check_uneven():
    both, alone, _ = pair(nn.Sequential(DropBlock2d(0.3, 3)))
    for sizes in ((8, 0), (0, 8), (1, 7)):
        assert torch.equal(both(mine(images(), sizes)), mine(alone(images()), sizes)), sizes


def check_multiples():
    class Windows(nn.Module):
        def __init__(self):
            super().__init__()
            self.drop = DropPath(0.5)

        def forward(self, *, x):
            return self.drop(x.reshape(-1, 4, 6)).reshape(x.shape)

    both, alone, _ = pair(Windows())
    assert torch.equal(both(x=mine(images())), mine(alone(x=images())))


def check_skipped():
    """Ranks that skip a branch stay in step, and layers inside a branch know their samples."""
    inner = nn.Sequential(nn.Conv2d(4, 4, 1), Dropout(0.5))
    both, alone, _ = pair(
        nn.Sequential(DropPathResidual(nn.Conv2d(4, 4, 1), 0.7), Dropout(0.3), DropPathResidual(inner))
    )
    skipped = 0
    for _ in range(12):
        calls = []
        hook = both[0].branch.register_forward_hook(lambda *_: calls.append(1))  # noqa: B023
        torch.testing.assert_close(both(mine(images())), mine(alone(images())))
        hook.remove()
        skipped += not calls
    count = torch.tensor([skipped])
    dist.all_reduce(count)
    assert count.item() > 0


def check_a_layer_that_one_rank_skips():
    class Sometimes(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.skips = Dropout(0.5), DropBlock2d(0.3, 3), False

        def forward(self, x):
            return self.second(x if self.skips else x + 0 * self.first(x))

    both, alone, _ = pair(Sometimes())
    both.skips = RANK == 1
    for _ in range(2):
        assert torch.equal(both(mine(images())), mine(alone(images())))


def check_a_layer_called_twice():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.drop = Dropout(0.5)

        def forward(self, x):
            return torch.stack([self.drop(x), self.drop(x)], 1)

    both, alone, _ = pair(Twice())
    y = both(mine(images()))
    assert torch.equal(y, mine(alone(images()))) and not torch.equal(y[:, 0], y[:, 1])


def check_weights():
    """A weight under drop_connect has no samples: one mask for all ranks, and a gain that needs no sum."""

    class Weight(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.weight = Layer("drop_connect:normalize=kept", 0.5), torch.ones(7, 4)

        def forward(self, x):
            return self.layer._ranks.drop(self.layer, self.weight)

    both, alone, _ = pair(Weight())
    assert torch.equal(both(mine(images())), alone(images()))


def small_net():
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(4, 8, 3, padding=1), DropBlock2d(0.3, 3), nn.ReLU(), DropPathResidual(nn.Conv2d(8, 8, 1), 0.5),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), Dropout(0.2), nn.Linear(8, 3),
    )  # fmt: skip


def loss_of(net, x, samples):
    return net(x).square().sum() / samples


def check_training():
    """DistributedDataParallel, a schedule, accumulation: gradients and weights of one process with the whole batch."""
    both, alone, _ = pair(small_net())
    wrapped = DistributedDataParallel(both, find_unused_parameters=True)
    nets = {wrapped: mine, alone: lambda x: x}
    optimisers = [torch.optim.SGD(net.parameters(), 0.1) for net in nets]
    schedules = [LinearSchedule(net, 2, start=0.05) for net in nets]
    for step in range(3):
        losses = []
        for net, part in nets.items():
            scale = 2 if net is wrapped else 1  # of the mean over ranks that DistributedDataParallel takes
            net.zero_grad()
            with wrapped.no_sync():
                (loss_of(net, part(images(seed=10 + step)), 8) * scale).backward()
            loss = loss_of(net, part(images(seed=20 + step)), 8)
            (loss * scale).backward()
            losses.append(loss.detach())
        dist.all_reduce(losses[0])
        torch.testing.assert_close(*losses)
        for ours, whole in zip(both.parameters(), alone.parameters()):
            torch.testing.assert_close(ours.grad, whole.grad)
        for each in (*optimisers, *schedules):
            each.step()
    for ours, whole in zip(both.parameters(), alone.parameters()):
        torch.testing.assert_close(ours, whole)


def check_checkpointing():
    class Segment(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.how = small_net(), None

        def forward(self, x):
            return self.net(x) if self.how is None else checkpoint(self.net, x, use_reentrant=self.how)

    grads = []
    for how in (None, False, True):
        net = Segment()
        net.how = how
        both, _, _ = pair(net)
        x, more = mine(images()).requires_grad_(), mine(images(seed=2)).requires_grad_()
        (loss_of(both, x, 8) + loss_of(both, more, 8)).backward()  # two forward passes before the backward pass
        grads.append([x.grad, *(each.grad for each in both.parameters())])
    for other in grads[1:]:
        assert all(torch.equal(a, b) for a, b in zip(grads[0], other) if a is not None)


def check_wrapped_before():
    """data_parallel of a model that DistributedDataParallel has already."""
    net = nn.Sequential(nn.Conv2d(4, 4, 1), DropBlock2d(0.3, 3))
    both, alone, _ = pair_of(DistributedDataParallel(net), copy.deepcopy(net))
    torch.testing.assert_close(both(mine(images())), mine(alone(images())))


def check_compiled():
    """Graph breaks at the layers, and the same masks."""
    both, alone, _ = pair(nn.Sequential(nn.ReLU(), DropBlock2d(0.3, 3), nn.Tanh()))
    compiled = torch.compile(both, backend="eager")
    for _ in range(2):
        assert torch.equal(compiled(mine(images())), mine(alone(images())))


def check_eval():
    both, alone, _ = pair(nn.Sequential(DropBlock2d(0.3, 3), DropBlock2d(0.2, 3, mc=True)))
    both.eval(), alone.eval()
    assert torch.equal(both(mine(images())), mine(alone(images())))
    both[1].mc = False
    x = mine(images())
    if RANK == 0:  # the other rank is not asked
        assert both(x) is x


def check_undone():
    both, _, ranks = pair(nn.Sequential(DropBlock2d(0.3, 3)))
    for copied in (copy.deepcopy(both), pickle.loads(pickle.dumps(both))):
        if RANK == 0:
            assert not torch.equal(copied(images()), images())
    ranks.remove()
    if RANK == 0:
        torch.manual_seed(1)
        y = both(images())
        torch.manual_seed(1)
        assert torch.equal(y, both[0](images()))
    data_parallel(both).remove()


def check_errors():
    both, _, _ = pair(nn.Sequential(nn.Flatten(0, 1), DropBlock2d(0.3, 3)))
    raises(ValueError, "in data_parallel already", lambda: data_parallel(both[1]))
    raises(RuntimeError, "outside the forward", lambda: both[1](images()))
    raises(ValueError, "without a tensor", lambda: both(3))
    raises(ValueError, "allowed: 4", lambda: both(mine(images())))
    raises(RuntimeError, "outside the forward", lambda: both[1](images()))  # also after a forward that failed
    raises(TypeError, "model = 3", lambda: data_parallel(3))
    raises(ValueError, "without this rank", lambda: data_parallel(nn.ReLU(), ALONE[1 - RANK]))
    odd, _, _ = pair(_First())
    raises(ValueError, "allowed: a multiple of the batch's", lambda: odd(mine(images())))


class _First(nn.Module):
    """Drops one sample less than its batch has."""

    def __init__(self):
        super().__init__()
        self.drop = DropPath(0.5)

    def forward(self, x):
        return self.drop(x[1:])


if __name__ == "__main__":
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    ALONE = [dist.new_group([rank]) for rank in range(2)]
    for name, check in list(globals().items()):
        if name.startswith("check_"):
            check()
            print(f"{name} rank {RANK} ok\n", end="", flush=True)  # one write a line: two processes share the pipe
    dist.destroy_process_group()
