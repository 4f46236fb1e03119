"""The configuration base of commands that offer methods: method options and hooks for `tinybert.config.resolve`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType
from typing import ClassVar

from tinybert.config.notices import Notice
from tinybert.config.options import Config, Option, option
from tinybert.config.resolve import Context
from tinybert.errors import UserError
from tinybert.methods.method import DistillationMethod
from tinybert.methods.registry import methods_of, options_of_methods


@lru_cache
def _all_options(config: type[MethodOptions], names: tuple[str, ...]) -> Mapping[str, Option]:
    own = dict(super(MethodOptions, config).options())
    methods = methods_of(config.COMMAND)
    texts = {name: (config.COMMAND == "general" and method.general_help) or method.help for name, method in methods.items()}
    own["method"] = replace(own["method"], choices=names, help="; ".join(f"{name}: {text}" for name, text in texts.items()))
    more = {name: option for name, option in options_of_methods(config.COMMAND).items() if name not in own}
    return MappingProxyType({**own, **more})


class MethodOptions(Config):
    """The options of all methods of a command."""

    COMMAND: ClassVar[str]

    method: str = option("tinybert", group="stage and method", help="the method")

    method_object: DistillationMethod

    @classmethod
    def options(cls) -> Mapping[str, Option]:
        """The options of the command, then those of its methods."""
        return _all_options(cls, tuple(methods_of(cls.COMMAND)))

    def check(self) -> list[Notice]:
        """Reject options of other methods, and invalid combinations with the selected one."""
        methods = methods_of(self.COMMAND)
        self.method_object = methods[self.method]
        for name, method in methods.items():
            for foreign in self.given.intersection(method.own_options()).difference(self.method_object.options()):
                shown = self.spelled[foreign]
                raise UserError(f"--{shown} belongs to --method {name}\nadd --method {name}, or leave out --{shown}")
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
