"""Names of earlier versions: they keep working for one release, and warn."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])
C = TypeVar("C", bound=type)


class Renamed:
    """An attribute, property or method that has another name now: ``old = Renamed("new")`` in its class."""

    def __init__(self, new: str) -> None:
        self._new = new
        self._old = ""
        self.__doc__ = None  # so that the reference does not list it

    def __set_name__(self, owner: type, name: str) -> None:
        self._old = name

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        if instance is None:
            return self
        warn(f"{type(instance).__name__}.{self._old}", self._new)
        return getattr(instance, self._new)


def renamed_arguments(**names: str) -> Callable[[F], F]:
    """Let a function take arguments by their old names: ``@renamed_arguments(old="new")``."""

    def decorate(function: F) -> F:
        @wraps(function)
        def call(*arguments: Any, **named: Any) -> Any:
            for old, new in names.items():
                if old in named:
                    warn(f"The argument {old}", new)
                    named[new] = named.pop(old)
            return function(*arguments, **named)

        return call  # type: ignore[return-value]

    return decorate


def renamed_fields(**names: str) -> Callable[[C], C]:
    """Let a class be made, and read, with its fields' old names: ``@renamed_fields(old="new")``."""

    def decorate(cls: C) -> C:
        type.__setattr__(cls, "__init__", renamed_arguments(**names)(cls.__init__))  # type: ignore[misc]
        for old, new in names.items():
            attribute = Renamed(new)
            attribute.__set_name__(cls, old)
            type.__setattr__(cls, old, attribute)
        return cls

    return decorate


def warn(old: str, new: str) -> None:
    """Say that a name is another one now, to the caller of the function that says it."""
    said = f"{old} is called {new} now; the old name goes with the next release."
    warnings.warn(said, DeprecationWarning, stacklevel=3)
