"""The configuration base of commands that offer methods: method options and hooks for `tinybert.config.resolve`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

from tinybert.config.notices import Notice
from tinybert.config.options import Config, Entry, Option, option
from tinybert.methods.method import Method, check_other_methods
from tinybert.methods.registry import get_method, methods_of, options_of_methods, register

if TYPE_CHECKING:
    from tinybert.config.resolve import Context


def described_methods(command: str) -> str:
    """The methods of a command for a help text."""
    return "; ".join(f"{name}: {method.help}" for name, method in methods_of(command).items())


@lru_cache
def _all_options(config: type[MethodOptions], names: tuple[str, ...]) -> Mapping[str, Option]:
    own = dict(super(MethodOptions, config).options())
    own["method"] = replace(own["method"], choices=names, help=described_methods(config.COMMAND))
    more = {name: option for name, option in options_of_methods(config.COMMAND).items() if name not in own}
    return MappingProxyType({**own, **more})


class MethodOptions(Config):
    """The options of all methods of a command; `method` may be an instance, whose class need not be registered."""

    COMMAND: ClassVar[str]

    method: str = option("tinybert", group="stage and method", help="the method")

    method_object: Method

    def __init__(self, **values: object) -> None:
        method = values.get("method")
        if isinstance(method, type) and issubclass(method, Method):
            method = method()
        if isinstance(method, Method):
            register(type(method))
            self.method_object = method
            values = {**{entry.spelling: entry.raw for entry in method.given}, **values, "method": method.name}
        super().__init__(**values)

    @classmethod
    def options(cls) -> Mapping[str, Option]:
        """The options of the command, then those of its methods."""
        return _all_options(cls, tuple(methods_of(cls.COMMAND)))

    def _set(self, *parts: list[Entry]) -> None:
        self.__dict__.setdefault("method_object", None)
        super()._set(*parts)

    def check(self) -> list[Notice]:
        """Reject options of other methods, and invalid combinations with the selected one."""
        if self.method_object is None or self.method_object.name != self.method:
            self.method_object = get_method(self.method, self.COMMAND)()
        check_other_methods(methods_of(self.COMMAND), self.method_object, self)
        self._refuse_two_words()
        self.method_object.check(self)
        return super().check()

    def option_off(self, context: Context, declared: Option) -> str | None:
        """Why an option has no effect: not an option of the method, not learned in the stage, or its term is disabled."""
        method, name = context.method, declared.name
        if name in options_of_methods(self.COMMAND) and name not in method.options():
            return f"--method {method.name} does not use it"
        if declared.learnt is not None and declared.learnt not in context.learns:
            return f"the {context.stage} stage does not learn {'logits' if declared.learnt == 'logits' else 'hidden states and attention'}"
        found = method.part_off(context, declared.part) if declared.part else None
        if found is None and declared.learnt == "logits" and context.kind is not None:
            found = context.kind.inactive_options(context.values).get(name)
        return found

    def check_stage(self, context: Context) -> None:
        """Reject a stage that learns nothing."""
        context.method.check_stage(context)
