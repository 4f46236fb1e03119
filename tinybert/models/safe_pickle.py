"""Parses a pickle as plain data: names stay names, calls become records, nothing is imported or called.

Python's own unpickler is not used, not even with `find_class` disabled: a few bytes make it allocate gigabytes (a memo index far beyond
the file; CPython 3.11) or hash nested tuples for hours. Here a memo is a dictionary, dictionary keys are text or numbers, and everything
that plain data does not need is rejected.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO


class UnsafePickleError(Exception):
    """A pickle contains something that a weight file does not need."""


@dataclass(frozen=True)
class Name:
    """A reference to `module.name`; it is never resolved."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_VALUES = {
    "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "INT", "LONG", "BINFLOAT",
    "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINSTRING", "SHORT_BINSTRING",
    "SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8",
}  # fmt: skip
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_PUT, _GET = {"PUT", "BINPUT", "LONG_BINPUT"}, {"GET", "BINGET", "LONG_BINGET"}
_NOTHING = {"PROTO", "FRAME"}


def _no_persistent(identity: object) -> object:
    raise UnsafePickleError("it refers to an external object")


def _no_build(record: object, state: object) -> None:
    raise UnsafePickleError("it sets attributes of something other than a dictionary")


class SafeUnpickler:
    """Parses one pickle stream to lists, tuples, dictionaries, numbers, text, bytes and the results of the three functions.

    names: the allowed references.
    call: called with a `Name` and the tuple of arguments of a call; returns a record, or raises UnsafePickleError.
    persistent: called with a persistent id; returns a record, or raises UnsafePickleError.
    build: called with a record and the state to set; changes the record, or raises UnsafePickleError.
    """

    def __init__(
        self,
        names: set[Name],
        call: Callable[[Name, tuple], object],
        persistent: Callable[[object], object] = _no_persistent,
        build: Callable[[object, object], None] = _no_build,
    ) -> None:
        self.names, self.call, self.persistent, self.build = names, call, persistent, build

    def load(self, stream: BinaryIO) -> object:
        """Read to the end of one pickle.

        Raises:
            UnsafePickleError: the stream contains more than data.
            ValueError, IndexError, KeyError, TypeError: it is damaged.
        """
        self.stack: list = []
        self.outer: list[list] = []
        self.memo: dict[int, object] = {}
        for opcode, argument, _ in pickletools.genops(stream):
            if opcode.name == "STOP":
                return self.stack.pop()
            self._step(opcode.name, argument)
        raise ValueError("the pickle has no end")

    def _step(self, name: str, argument: object) -> None:
        stack = self.stack
        if name in _VALUES:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _PUT:
            self.memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = stack[-1]
        elif name in _GET:
            stack.append(self.memo[argument])
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            self._refer(name, argument)
        elif name == "REDUCE":
            arguments, function = stack.pop(), stack.pop()
            if not isinstance(function, Name) or not isinstance(arguments, tuple):
                raise UnsafePickleError("it calls an unknown function")
            stack.append(self.call(function, arguments))
        elif name == "BINPERSID":
            stack.append(self.persistent(stack.pop()))
        elif name == "BUILD":
            state = stack.pop()
            if not isinstance(stack[-1], dict):  # attributes of a dictionary (`_metadata` of a state dict) are ignored
                self.build(stack[-1], state)
        elif name not in _NOTHING:
            self._container(name)

    def _refer(self, kind: str, argument: object) -> None:
        if kind == "GLOBAL":
            module, _, name = str(argument).partition(" ")
        else:
            name, module = self.stack.pop(), self.stack.pop()
            if not isinstance(name, str) or not isinstance(module, str):  # the repr of a nested tuple is as slow as its hash
                raise UnsafePickleError("it refers to something that has no name")
        reference = Name(module, name)
        if reference not in self.names:
            raise UnsafePickleError(f"it refers to {reference}")
        self.stack.append(reference)

    def _container(self, name: str) -> None:
        stack = self.stack
        if name == "MARK":
            self.outer.append(stack)
            self.stack = []
        elif name in ("EMPTY_TUPLE", "EMPTY_LIST", "EMPTY_DICT"):
            stack.append({"EMPTY_TUPLE": tuple, "EMPTY_LIST": list, "EMPTY_DICT": dict}[name]())
        elif name in _TUPLES:
            count = _TUPLES[name]
            if len(stack) < count:
                raise IndexError("a tuple of more items than exist")
            stack[-count:] = [tuple(stack[-count:])]
        elif name in ("TUPLE", "LIST", "DICT"):
            items = self._since_mark()
            self.stack.append(tuple(items) if name == "TUPLE" else items if name == "LIST" else fill({}, _pairs(items)))
        elif name == "SETITEM":
            value, key = stack.pop(), stack.pop()
            fill(_expect(stack[-1], dict), [(key, value)])
        elif name == "SETITEMS":
            items = self._since_mark()
            fill(_expect(self.stack[-1], dict), _pairs(items))
        elif name == "APPEND":
            value = stack.pop()
            _expect(stack[-1], list).append(value)
        elif name == "APPENDS":
            items = self._since_mark()
            _expect(self.stack[-1], list).extend(items)
        else:
            raise UnsafePickleError(f"it uses the pickle instruction {name}")

    def _since_mark(self) -> list:
        items, self.stack = self.stack, self.outer.pop()
        return items


def fill(target: dict, pairs: list) -> dict:
    """Add pairs to a dictionary whose keys are text or numbers: hashing a nested tuple may take extremely long."""
    for key, value in pairs:
        if not isinstance(key, (str, int)):
            raise UnsafePickleError(f"a dictionary in it has a key of type {type(key).__name__}")
        target[key] = value
    return target


def ordered(arguments: tuple) -> dict:
    """The dictionary for a call of `OrderedDict`; its list of pairs is consumed, because a few bytes could request it repeatedly."""
    if not arguments:
        return {}
    pairs = _expect(arguments[0], list)
    made = fill({}, pairs)
    pairs.clear()
    return made


def _pairs(items: list) -> list:
    return list(zip(items[::2], items[1::2], strict=True))


def _expect(value: object, kind: type):
    if not isinstance(value, kind):
        raise TypeError(f"expected a {kind.__name__}, found a {type(value).__name__}")
    return value
