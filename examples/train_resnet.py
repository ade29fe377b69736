"""Trains a torchvision ResNet with DropBlock as the paper places it, p rising linearly over the training.

    python examples/train_resnet.py --data FOLDER --steps 10000 --checkpoint resnet.pt

FOLDER has one folder of images a class; without it the images are made up. Run again with the same checkpoint it goes
on where it stopped, and ends as a run that was never stopped: the checkpoint has the model, the optimiser, the schedule
(whose p is in no state_dict of a model) and torch's generator, which draws the keys of the masks.
"""

from __future__ import annotations

import argparse
import os
import pathlib

import torch
import torchvision
from torch.utils.data import DataLoader, Dataset

from dropkit.torch import LinearSchedule, place


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=pathlib.Path, help="a folder of folders of images; without it, made-up images")
    parser.add_argument("--arch", default="resnet18", help="a ResNet of torchvision.models (%(default)s)")
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=100, help="steps in all, also those of a checkpoint (%(default)s)")
    parser.add_argument("--p", type=float, default=0.1, help="probability to drop in the last stage (%(default)s)")
    parser.add_argument("--block-size", type=int, default=7)
    parser.add_argument("--p-steps", type=int, help="steps until p is reached (those of --steps)")
    parser.add_argument("--lr", type=float, default=0.01)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=0, help="processes that load images (%(default)s)")
    parser.add_argument("--save-every", type=int, default=1000)
    parser.add_argument("--checkpoint", type=pathlib.Path, help="a file to save to, and to go on from if it is there")
    return parser.parse_args()


def images_of(folder: pathlib.Path | None, side: int) -> Dataset:
    transforms = torchvision.transforms
    tensors = transforms.Compose([transforms.Resize((side, side)), transforms.ToTensor()])
    if folder is None:
        return torchvision.datasets.FakeData(512, (3, side, side), 10, tensors)
    return torchvision.datasets.ImageFolder(str(folder), tensors)


def batches(dataset: Dataset, size: int, first: int, last: int, seed: int) -> list[list[int]]:
    """The indices of steps `first` to `last`, a function of the seed and the step alone."""
    every = max(1, len(dataset) // size)
    found = []
    for step in range(first, last):
        epoch, number = divmod(step, every)
        order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(seed + epoch))
        found.append(order[number * size : (number + 1) * size].tolist())
    return found


class Training:
    """What a checkpoint has."""

    def __init__(self, args: argparse.Namespace, classes: int) -> None:
        self.step = 0
        self.model = torchvision.models.get_model(args.arch, num_classes=classes)
        self.sites = place(self.model, args.p, args.block_size)
        self.schedule = LinearSchedule(self.model, args.p_steps or args.steps)
        self.optimizer = torch.optim.SGD(self.model.parameters(), args.lr, momentum=0.9, weight_decay=1e-4)

    def save(self, file: pathlib.Path) -> None:
        parts = {name: getattr(self, name).state_dict() for name in ("model", "schedule", "optimizer")}
        new = file.with_name(file.name + ".new")
        torch.save({"step": self.step, "generator": torch.get_rng_state(), **parts}, new)
        os.replace(new, file)

    def load(self, file: pathlib.Path) -> None:
        state = torch.load(file, weights_only=True)
        for name in ("model", "schedule", "optimizer"):
            getattr(self, name).load_state_dict(state[name])
        self.step = state["step"]
        torch.set_rng_state(state["generator"])

    def train_on(self, images: torch.Tensor, labels: torch.Tensor) -> float:
        loss = torch.nn.functional.cross_entropy(self.model(images), labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        self.step += 1
        return loss.item()


def main() -> None:
    args = arguments()
    torch.manual_seed(args.seed)
    dataset = images_of(args.data, args.image_size)
    training = Training(args, len(getattr(dataset, "classes", range(10))))
    print(f"{args.arch}: DropBlock at {len(training.sites)} places, {len(dataset)} images")
    if args.checkpoint and args.checkpoint.exists():
        training.load(args.checkpoint)
        print(f"going on after step {training.step} of {args.checkpoint}")
    indices = batches(dataset, args.batch, training.step, args.steps, args.seed)
    # A generator of its own, so that the loader draws nothing from the one that keys come from.
    loader = DataLoader(dataset, batch_sampler=indices, num_workers=args.workers, generator=torch.Generator())
    for images, labels in loader:
        p = training.sites[-1].layer.p
        loss = training.train_on(images, labels)
        print(f"step {training.step}: loss {loss:.6f}, p {p:g}")
        if args.checkpoint and (training.step % args.save_every == 0 or training.step == args.steps):
            training.save(args.checkpoint)


if __name__ == "__main__":
    main()
