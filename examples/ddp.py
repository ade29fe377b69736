"""Trains a small convolutional network on several processes, whose masks together are those of one process.

    torchrun --standalone --nproc-per-node 2 examples/ddp.py --steps 100

DropBlock's p rises from 0 to 0.1 over the run. The images are torchvision's FakeData: noise with labels, so the loss
falls only as far as noise can be learned by heart; put a dataset of yours in its place. On the CPU, by gloo: dropkit's
operators have no kernels for GPUs yet.
"""

import argparse
import itertools

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler
from torchvision.datasets import FakeData
from torchvision.transforms import ToTensor

from dropkit.torch import DropBlock2d, LinearSchedule, data_parallel

CLASSES = 10


def build() -> nn.Module:
    def stage(inputs: int, outputs: int) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, 3, 2, 1), nn.GroupNorm(4, outputs), DropBlock2d(0.1, 3), nn.ReLU()]

    return nn.Sequential(*stage(3, 16), *stage(16, 32), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, CLASSES))


def batches(images: int, batch: int):
    """(epoch by epoch) this rank's batches."""
    data = FakeData(images, (3, 32, 32), CLASSES, ToTensor())
    sampler = DistributedSampler(data, seed=0)
    for epoch in itertools.count():
        sampler.set_epoch(epoch)
        yield from DataLoader(data, batch, sampler=sampler)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--batch", type=int, default=16, help="images a process and step")
    parser.add_argument("--images", type=int, default=256)
    options = parser.parse_args()

    dist.init_process_group("gloo")
    torch.manual_seed(0)

    model = build()
    data_parallel(model)
    schedule = LinearSchedule(model, options.steps)
    ranks_model = DistributedDataParallel(model)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for step, (images, labels) in zip(range(1, options.steps + 1), batches(options.images, options.batch)):
        loss = nn.functional.cross_entropy(ranks_model(images), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if dist.get_rank() == 0 and (step % 10 == 0 or step == options.steps):
            print(f"step {step}  loss {loss.item():.3f}  p {schedule.layers[0].p:.3f}")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
