"""Ways to damage a directory of files, and the bytes of files that lie or harm."""

import io
import json
import os
import pickle
import shutil
import tarfile

import numpy as np
from hypothesis import strategies as st
from PIL import Image


class Bomb:
    """Unpickling one makes a directory."""

    def __init__(self, place):
        self.place = place

    def __reduce__(self):
        return (os.mkdir, (str(self.place),))


def bomb_array(place):
    """An object array that makes a directory at `place` when it is unpickled."""
    array = np.empty(1, object)
    array[0] = Bomb(place)
    return array


def bomb_bytes(place):
    """The same as a bare pickle."""
    return pickle.dumps(Bomb(place))


def npz_bytes(**arrays):
    """The bytes of an npz file; a field that is None is left out."""
    buffer = io.BytesIO()
    np.savez(buffer, **{name: array for name, array in arrays.items() if array is not None})
    return buffer.getvalue()


def npy_bytes(array):
    """The bytes of an npy file."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def image_bytes(side, mode="RGB", kind="JPEG", seed=0):
    """The bytes of a square picture of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, kind)
    return buffer.getvalue()


def special(name, kind, target="/etc/passwd"):
    """A tar's member that is a link or a device."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def tar_bytes(contents, mode="w", extra=()):
    """The bytes of a tar of `{name: bytes}`; one that is None is left out."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:
        for info in extra:
            tar.addfile(info)
        for name, content in contents.items():
            if content is not None:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@st.composite
def spoiled(draw, content, reach=None):
    """Some bytes changed (of the first `reach`), and a piece cut out or the end cut off."""
    content = bytearray(content)
    places = st.integers(0, (reach or len(content)) - 1)
    for place in draw(st.lists(places, min_size=1, max_size=4)):
        content[place] = draw(st.integers(0, 255))
    start = draw(st.integers(0, len(content)))
    del content[start : draw(st.sampled_from([start, start + 1, start + 50, None]))]
    return bytes(content)


# Damages: each is a function of the directory that it changes.


def write(name, content):
    """A file of these bytes, or of this text."""

    def damage(root):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    return damage


def files(contents):
    """All the files of `{name: content}`."""
    return both(*(write(name, content) for name, content in contents.items()))


def empty_folder(name):
    """A directory with nothing in it."""
    return lambda root: (root / name).mkdir(parents=True, exist_ok=True)


def altered(name, change):
    """The file with `change(bytes)` as its bytes."""
    return lambda root: (root / name).write_bytes(change((root / name).read_bytes()))


def cut(name, size):
    """Its first bytes only: so many, all but so many (< 0), or that share of them (a float)."""
    return altered(
        name, lambda old: old[: int(size * len(old)) if isinstance(size, float) else size]
    )


def flip(name, every):
    """Every so many bytes, one with all its bits turned."""
    return altered(name, lambda old: bytes(b ^ 0xFF * (i % every == 0) for i, b in enumerate(old)))


def edit(name, alter):
    """A JSON file, `alter(value)` done to what it holds."""

    def change(old):
        value = json.loads(old)
        alter(value)
        return json.dumps(value).encode()

    return altered(name, change)


def saved(name, array):
    """An npy file of another array."""
    return write(name, npy_bytes(array))


def both(*damages):
    """All of them, one after the other."""
    return lambda root: [damage(root) for damage in damages]


def remove(*names):
    """No such files, no such directories."""

    def damage(root):
        for path in map(root.joinpath, names):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return damage


def folder(name):
    """A directory in its place."""
    return both(remove(name), empty_folder(name))


def linked(name, target):
    """A link in its place."""
    return both(remove(name), lambda root: (root / name).symlink_to(target))
