"""Data for recipes: small, made from nothing, and learnable.

Asked:  how does a project that expects CIFAR-10, ImageNet or a text get to run where nothing is downloaded?
Answer: files in the same formats, with a pattern in them: a class has a colour and a stripe, a text repeats its words. A
        recipe's maker imports this module.
Limits: nothing that is learnt from it is worth anything. A loss falls on it or doesn't: that is all it is for.
"""

from __future__ import annotations

import gzip
import hashlib
import pickle
import random
import struct
import wave
from pathlib import Path

import numpy as np

ARTICLES = ["the", "a", "one", "every", "no"]
BEASTS = ["cat", "dog", "bird", "fish", "tree"]
VERBS = ["sees", "eats", "likes", "finds", "leaves"]
KINDS = ["small", "big", "red", "old", "new"]


def sentences(count: int, seed: int = 1) -> list[str]:
    """Short sentences over twenty words, of one shape: what a language model learns first."""
    dice = random.Random(seed)
    shape = [ARTICLES, KINDS, BEASTS, VERBS, ARTICLES, BEASTS]
    return [" ".join(dice.choice(words) for words in shape) for _ in range(count)]


def images(count: int, classes: int, size: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Pictures (N, size, size, 3) of bytes and their classes: a colour, stripes and a little noise."""
    dice = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    tint = np.random.default_rng(0).uniform(0, 200, (classes, 3))
    stripes = (np.arange(size)[None, :, None, None] // (1 + labels[:, None, None, None] % 4)) % 2 * 40
    body = tint[labels][:, None, None, :] + stripes + dice.normal(0, 10, (count, size, size, 3))
    return body.clip(0, 255).astype(np.uint8), labels


def image_folders(root: str | Path, classes: int = 4, each: int = 8, size: int = 64) -> None:
    """root/class-0/0.jpg and so on: torchvision's ImageFolder."""
    from PIL import Image

    body, labels = images(classes * each, classes, size)
    for number, (picture, label) in enumerate(zip(body, labels, strict=True)):
        place = Path(root) / f"class-{label}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(place / f"{number}.jpg")


def mnist(root: str | Path, train: int = 256, test: int = 64) -> None:
    """root/MNIST/raw: the four files of the digits, 28 x 28."""
    place = Path(root) / "MNIST" / "raw"
    place.mkdir(parents=True, exist_ok=True)
    for kind, count in (("train", train), ("t10k", test)):
        body, labels = images(count, 10, 28)
        for name, data in (
            (f"{kind}-images-idx3-ubyte", struct.pack(">IIII", 2051, count, 28, 28) + body.mean(-1).astype(np.uint8).tobytes()),
            (f"{kind}-labels-idx1-ubyte", struct.pack(">II", 2049, count) + labels.astype(np.uint8).tobytes()),
        ):
            (place / name).write_bytes(data)
            (place / f"{name}.gz").write_bytes(gzip.compress(data, mtime=0))


def cifar10(root: str | Path, each: int = 64) -> dict[str, str]:
    """root/cifar-10-batches-py: five batches of `each` pictures and a test batch. Returns each file's MD5."""
    place = Path(root) / "cifar-10-batches-py"
    files = {}
    for number, name in enumerate(["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"]):
        body, labels = images(each, 10, 32, seed=number)
        files[name] = {"data": body.transpose(0, 3, 1, 2).reshape(each, -1), "labels": labels.tolist()}
    return _pickles(place, files | {"batches.meta": {"label_names": [f"class-{i}" for i in range(10)]}})


def cifar100(root: str | Path, train: int = 256, test: int = 64) -> dict[str, str]:
    """root/cifar-100-python: train, test and meta. Returns each file's MD5."""
    files = {}
    for name, count in (("train", train), ("test", test)):
        body, labels = images(count, 10, 32)
        flat = body.transpose(0, 3, 1, 2).reshape(count, -1)
        files[name] = {"data": flat, "fine_labels": labels.tolist(), "coarse_labels": labels.tolist()}
    return _pickles(Path(root) / "cifar-100-python", files | {"meta": {"fine_label_names": [f"class-{i}" for i in range(100)]}})


def _pickles(place: Path, files: dict[str, object]) -> dict[str, str]:
    place.mkdir(parents=True, exist_ok=True)
    for name, body in files.items():
        (place / name).write_bytes(pickle.dumps(body))
    return {name: hashlib.md5((place / name).read_bytes()).hexdigest() for name in files}


def voices(folder: str | Path, count: int = 8, seconds: float = 1.0, rate: int = 22050) -> list[str]:
    """Wave files of a few gliding tones; returns their paths as given."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    at = np.arange(int(seconds * rate)) / rate
    paths = []
    for number in range(count):
        tone = sum(np.sin(2 * np.pi * (120 + 20 * number) * k * at * (1 + 0.1 * at)) / k for k in (1, 2, 3))
        path = f"{folder}/{number}.wav"
        with wave.open(path, "wb") as file:
            file.setparams((1, 2, rate, len(at), "NONE", "not compressed"))
            file.writeframes((tone * 8000).astype("<i2").tobytes())
        paths.append(path)
    return paths
