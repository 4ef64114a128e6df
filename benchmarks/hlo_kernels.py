"""The kernels of a program that XLA compiled for a GPU, read from its text.

It counts one iteration of the program's outermost loop, a training step: its kernels, the bytes that
each reads and writes, and the floating-point operations of its convolutions. An inner loop counts as
often as it runs if the compiler knows that, else once; of a conditional, the branch that moves the
most bytes counts. An operand counts in full, even if a kernel reads only a slice of it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

# Operations that launch nothing: they name, group or start other computations.
_FREE = {
    *("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "copy-done"),
    *("while", "conditional", "call", "optimization-barrier", "partition-id", "replica-id"),
}
_OPERATION = re.compile(r"^(?:ROOT )?%(\S+) = (\(.*?\)|\S+) ([a-z][a-z0-9\-]*)\((.*)$")
_HEAD = re.compile(r"^(ENTRY )?%?(\S+) \(.*\{$")


class Kernel(NamedTuple):
    """A kernel of one step.

    Attributes:
      name: as in the program.
      kind: "element-wise", "reduction", "convolution, forward" (also "image", "weights": its
        gradients), or the library call's own name.
      moved: bytes read and written.
      flop: of a convolution, else 0.
      runs: how often in a step.
    """

    name: str
    kind: str
    moved: int
    flop: int
    runs: int = 1


class _Operation(NamedTuple):
    name: str
    type: str
    opcode: str
    operands: tuple[str, ...]
    text: str


def read(text: str) -> list[Kernel]:
    """The kernels of one step.

    Args:
      text: a compiled module's text, `compiled.as_text()` or a file written by `--xla_dump_to`.

    Raises:
      ValueError: there is no entry computation.
    """
    bodies, entry = _computations(text)
    loops = [o for o in bodies[entry] if o.opcode == "while"]
    start = entry
    if loops:  # the one with the most work; others fill arrays or draw random numbers
        start = max(
            (_called(loop, "body") for loop in loops),
            key=lambda name: sum(k.runs * k.moved for k in _kernels(bodies, name)),
        )
    return list(_kernels(bodies, start))


def _computations(text: str) -> tuple[dict[str, list[_Operation]], str]:
    bodies: dict[str, list[_Operation]] = {}
    entry = name = ""
    for line in text.splitlines():
        if head := _HEAD.match(line):
            name = head[2]
            bodies[name] = []
            entry = name if head[1] else entry
        elif name and line.startswith("  "):
            plain = re.sub(r"/\*.*?\*/", "", line.strip())
            if found := _OPERATION.match(plain):
                operands = tuple(re.findall(r"%([\w.\-]+)", found[4].split(")", 1)[0]))
                bodies[name].append(_Operation(found[1], found[2], found[3], operands, plain))
    if not entry:
        raise ValueError("text: has no ENTRY computation; is it a compiled module's text?")
    return bodies, entry


def _kernels(bodies: dict[str, list[_Operation]], name: str) -> Iterator[Kernel]:
    types = {o.name: o.type for o in bodies[name]}
    for operation in bodies[name]:
        if operation.opcode == "while":
            trips = re.search(r'"known_trip_count":\{"n":"(\d+)"\}', operation.text)
            for kernel in _kernels(bodies, _called(operation, "body")):
                yield kernel._replace(runs=kernel.runs * (int(trips[1]) if trips else 1))
        elif operation.opcode == "call":
            yield from _kernels(bodies, _called(operation, "to_apply"))
        elif operation.opcode == "conditional":
            branches = [list(_kernels(bodies, b)) for b in _branches(operation)]
            yield from max(branches, key=lambda ks: sum(k.runs * k.moved for k in ks))
        elif operation.opcode not in _FREE:
            yield _kernel(operation, types, bodies)


def _called(operation: _Operation, role: str) -> str:
    return re.search(rf"\b{role}=%?([\w.\-]+)", operation.text)[1]


def _branches(operation: _Operation) -> list[str]:
    listed = re.search(r"branch_computations=\{([^}]*)\}", operation.text)
    if listed:
        return re.findall(r"[\w.\-]+", listed[1])
    return [_called(operation, f"{case}_computation") for case in ("true", "false")]


def _kernel(
    operation: _Operation, types: dict[str, str], bodies: dict[str, list[_Operation]]
) -> Kernel:
    read_from = [types.get(name, "") for name in operation.operands]
    target = re.search(r'custom_call_target="([^"]+)"', operation.text)
    # A library call's last result is its workspace.
    result = re.sub(r", u8\[\d+\]\{0\}\)", ")", operation.type) if target else operation.type
    sizes = [size(one) for one in read_from]
    if operation.opcode == "fusion":
        parts = _sliced(bodies.get(_called(operation, "calls"), []))
        sizes = [min(whole, parts.get(index, whole)) for index, whole in enumerate(sizes)]
    moved = size(result) + sum(sizes)
    if target and target[1].startswith("__cudnn$conv"):
        kind, flop = _convolution(target[1], result, read_from, operation.text)
    elif target:
        kind, flop = target[1].strip("_").replace("$", " "), 0
    else:
        kind, flop = "reduction" if "reduce" in operation.name else "element-wise", 0
    return Kernel(operation.name, kind, moved, flop)


def _sliced(body: list[_Operation]) -> dict[int, int]:
    """Bytes read of the parameters that a fused computation only takes slices of."""
    found = {}
    for parameter in body:
        index = re.search(r" parameter\((\d+)\)", parameter.text)
        taken = _taken(body, parameter.name) if index else None
        if taken is not None:
            found[int(index[1])] = taken * _bits(_shapes(parameter.type)[0][0]) // 8
    return found


def _taken(body: list[_Operation], name: str) -> int | None:
    """How many of a value's entries are used, None if it may be all of them."""
    total = 0
    users = [o for o in body if name in o.operands]
    for user in users:
        if user.opcode in ("slice", "dynamic-slice", "gather") and user.operands[0] == name:
            total += math.prod(_shapes(user.type)[0][1])
        elif user.opcode in ("convert", "bitcast") and (more := _taken(body, user.name)):
            total += more
        else:
            return None
    return total if users else None


def _convolution(target: str, result: str, read_from: list[str], text: str) -> tuple[str, int]:
    """2 (multiply, add) times the kernel's entries times the positions it is applied at."""
    first, second = (_shapes(one)[0][1] for one in read_from[:2])
    out = _shapes(result)[0][1]
    if "BackwardInput" in target:
        kind, kernel, cotangent = "image", second, first
    elif "BackwardFilter" in target:
        kind, kernel, cotangent = "weights", out, second
    else:
        kind, kernel, cotangent = "forward", second, out
    feature = re.search(r"->(\w+)", text)[1].index("f")
    places = math.prod(cotangent) // cotangent[feature]
    return f"convolution, {kind}", 2 * math.prod(kernel) * places


def size(type_: str) -> int:
    """Bytes of a type as written in the program's text, summed over the parts of a tuple.

    >>> size("(f32[2,3]{1,0}, bf16[4]{0})")
    32
    """
    return sum(math.prod(shape) * _bits(kind) // 8 for kind, shape in _shapes(type_))


def _shapes(type_: str) -> list[tuple[str, tuple[int, ...]]]:
    found = re.findall(r"\b([a-z]+\d*)\w*\[([\d,]*)\]", type_)
    return [(kind, tuple(int(d) for d in dims.split(",") if d)) for kind, dims in found]


def _bits(kind: str) -> int:
    digits = re.search(r"\d+$", kind)  # f32, bf16, s8
    return int(digits[0]) if digits else 8 * (kind == "pred")  # a token has none
