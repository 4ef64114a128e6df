"""The original archives of the sets that are prepared without TensorFlow, made here in small."""

import io
import tarfile

import numpy as np
import scipy.io

PER_CLASS = {"train": 5, "test": 2}  # CIFAR-10 has five training files


def pictures(split, classes, shape):
    """Images `[N, H, W, C]` and labels of one split."""
    count = PER_CLASS[split] * classes
    generator = np.random.default_rng(count)
    return generator.integers(0, 256, (count, *shape), np.uint8), np.arange(count) % classes


def write_tar(path, members):
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def cifar_records(images, *labels):
    """The binary version by hand: label bytes, then the red, green and blue planes."""
    return b"".join(
        bytes(int(label[row]) for label in labels)
        + b"".join(image[:, :, channel].tobytes() for channel in range(3))
        for row, image in enumerate(images)
    )


def cifar10_members():
    images, labels = pictures("train", 10, (32, 32, 3))
    members = {
        f"cifar-10-batches-bin/data_batch_{n + 1}.bin": cifar_records(
            images[10 * n : 10 * n + 10], labels[10 * n : 10 * n + 10]
        )
        for n in range(5)
    }
    members["cifar-10-batches-bin/test_batch.bin"] = cifar_records(
        *pictures("test", 10, (32, 32, 3))
    )
    names = "".join(f"class {k}\n" for k in range(10)) + "\n"
    members["cifar-10-batches-bin/batches.meta.txt"] = names.encode()
    return members


def make_cifar10(folder):
    path = folder / "cifar-10-binary.tar.gz"
    write_tar(path, {"cifar-10-batches-bin/readme.html": b"not read", **cifar10_members()})
    return path


def make_cifar100(folder):
    members = {}
    for split in PER_CLASS:
        images, labels = pictures(split, 100, (32, 32, 3))
        members[f"cifar-100-binary/{split}.bin"] = cifar_records(images, labels // 5, labels)
    for kind, count in (("coarse", 20), ("fine", 100)):
        names = "".join(f"{kind} {k}\n" for k in range(count))
        members[f"cifar-100-binary/{kind}_label_names.txt"] = names.encode()
    write_tar(folder / "cifar-100-binary.tar.gz", members)
    return folder


def make_svhn(folder):
    for split in PER_CLASS:
        images, labels = pictures(split, 10, (32, 32, 3))
        stored = np.where(labels == 0, 10, labels).astype(np.uint8)[:, None]
        contents = {"X": images.transpose(1, 2, 3, 0), "y": stored}
        scipy.io.savemat(folder / f"{split}_32x32.mat", contents, do_compression=True)
    return folder


MAKERS = {
    "cifar10": (make_cifar10, 10, (32, 32, 3)),
    "cifar100": (make_cifar100, 100, (32, 32, 3)),
    "svhn_cropped": (make_svhn, 10, (32, 32, 3)),
}
