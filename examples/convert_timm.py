"""Converts a timm model: its DropBlock, DropPath and Dropout layers become dropkit's, and the weights stay as they are.

    python examples/convert_timm.py --model resnet50 --steps 10

Prints what was swapped, checks that the model in eval mode is the one that it was, and trains some steps on made-up
images with p rising linearly.
"""

from __future__ import annotations

import argparse

import timm
import torch

from dropkit.torch import LinearSchedule, convert


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="resnet18", help="a name that timm.create_model takes (%(default)s)")
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rate", type=float, default=0.1, help="p of every kind of layer (%(default)s)")
    parser.add_argument("--kinds", nargs="*", default=["drop_rate", "drop_path_rate", "drop_block_rate"],
                        help="which of timm's arguments get --rate (%(default)s)")  # fmt: skip
    return parser.parse_args()


def main() -> None:
    args = arguments()
    torch.manual_seed(0)
    model = timm.create_model(args.model, num_classes=10, **dict.fromkeys(args.kinds, args.rate))
    images = torch.randn(args.batch, 3, args.image_size, args.image_size)
    before, weights = model.eval()(images), model.state_dict()

    for path, old, new in convert(model):
        print(f"{path}: {old} -> {new or 'left as it is'}")
    model.load_state_dict(weights, strict=True)
    if not torch.equal(model(images), before):
        raise SystemExit(f"{args.model} in eval mode changed by being converted")

    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    schedule = LinearSchedule(model, args.steps)
    for step in range(1, args.steps + 1):
        loss = torch.nn.functional.cross_entropy(model(images), torch.arange(args.batch) % 10)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        print(f"step {step}: loss {loss.item():.6f}")


if __name__ == "__main__":
    main()
