"""A model's `config.json` as it was read: its keys, checked as they are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from simexplore.errors import SimexploreError
from simexplore.workloads.hints import did_you_mean, found, in_words

MOST = 2**31 - 1
"""Largest number that a key may have: that of 32-bit integers."""
MOST_LAYERS = 4096


class ConfigError(SimexploreError):
    """A `config.json` that describes no language model: the key, what was expected and what was found."""


@dataclass(frozen=True)
class Config:
    """A configuration.

    Args:
        data: its keys and values.
        where: the file, for messages.
        defaults: what the family's own code takes for keys that are left out.
    """

    data: Mapping[str, Any]
    where: str
    defaults: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def get(self, key: str) -> Any:
        """A value, or the family's default, or None."""
        value = self.data.get(key)
        return self.defaults.get(key) if value is None else value

    def error(self, key: str, expected: str) -> ConfigError:
        """What is wrong with a key."""
        value = self.get(key)
        near = did_you_mean(key, self.data) if value is None else ""
        return ConfigError(f"{self.where}: {in_words(key)}: expected {expected}, found {found(value)}{near}")

    def count(self, key: str, *others: str, default: int | None = None, least: int = 1, most: int = MOST) -> int:
        """An integer by its key, or by another name that some files have for it.

        Raises:
            ConfigError: it is missing and has no default, or is no integer from `least` to `most`.
        """
        present = next((name for name in (key, *others) if self.get(name) is not None), key)
        value = self.get(present)
        if value is None and default is not None:
            return default
        if type(value) is not int or not least <= value <= most:
            raise self.error(present, f"an integer from {least} to {most}")
        return value

    def flag(self, key: str, default: bool = False) -> bool:
        """A truth value.

        Raises:
            ConfigError: it is something else.
        """
        value = self.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.error(key, "true or false")
        return value

    def word(self, key: str, *known: str, default: str | None = None) -> str:
        """One of the words that are known.

        Raises:
            ConfigError: it is none of them.
        """
        value = default if self.get(key) is None else self.get(key)
        if not isinstance(value, str) or (known and value not in known):
            expected = f"one of {', '.join(known)}" if known else "a word"
            raise self.error(key, expected)
        return value

    def within(self, key: str, defaults: Mapping[str, Any]) -> Config:
        """The configuration under a key, as multi-modal models have their language model's."""
        value = self.data.get(key)
        if not isinstance(value, dict):
            raise self.error(key, "a mapping")
        outer = {name: self.data[name] for name in ("tie_word_embeddings",) if name in self.data}
        return Config({**outer, **value}, f"{self.where}: {key}", defaults)
