"""The YAML table that says what an ablation compares."""

import json
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, get_origin

import yaml


@dataclass(frozen=True)
class Row:
    """One variant.

    Attributes:
        name: Name of the row, unique in its table.
        config: Path of its config.
        cfg_options: Settings by dotted key that override those of the config.
    """

    name: str
    config: Path
    cfg_options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Claim:
    """A statement about two rows, from the paper or elsewhere.

    Attributes:
        claim: The statement in words.
        better: Name of the row that it says is better.
        worse: Name of the other row.
        score: Which score it is about, by its name in the table.
    """

    claim: str
    better: str
    worse: str
    score: str


@dataclass(frozen=True)
class AblationTable:
    """Variants to train and compare.

    Attributes:
        path: The file.
        title: Heading of the table's section.
        about: Markdown below the heading.
        seeds: Every row is trained with each of them.
        scores: The validation's scores, by the names of their columns.
        rows: The variants.
        config: Config of rows that name none.
        cfg_options: Settings of all rows. A row's own settings override them.
        claims: Statements about rows, to compare with the scores.
        notes: Markdown below the tables.
    """

    path: Path
    title: str
    about: str
    seeds: tuple[int, ...]
    scores: dict[str, str]
    rows: tuple[Row, ...]
    config: str = ""
    cfg_options: dict[str, Any] = field(default_factory=dict)
    claims: tuple[Claim, ...] = ()
    notes: str = ""

    @property
    def name(self) -> str:
        """The file's name without suffix."""
        return self.path.stem


def read_table(path: str | Path) -> AblationTable:
    """Reads a table.

    Args:
        path: YAML file with the attributes of :class:`AblationTable` except ``path``.
            Paths of configs are relative to its folder.

    Raises:
        FileNotFoundError: If the file or a config is missing.
        ValueError: If the file is no such table. The message names file and key.
    """
    path = Path(path)
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: no YAML ({error})") from error
    values = _checked(AblationTable, loaded, str(path), given=("path",))
    rows = tuple(
        _read_row(entry, f"{path}: rows[{i}]", path.parent, values.get("config"))
        for i, entry in enumerate(_items(values, "rows", path))
    )
    claims = tuple(
        Claim(**_checked(Claim, entry, f"{path}: claims[{i}]"))
        for i, entry in enumerate(_items(values, "claims", path))
    )
    seeds = tuple(_items(values, "seeds", path))
    if not seeds or len(set(seeds)) < len(seeds) or set(map(type, seeds)) != {int}:
        raise ValueError(
            f"{path}: seeds: expected different whole numbers, got {list(seeds)}"
        )
    _require_json(values.get("cfg_options"), f"{path}: cfg_options")
    table = AblationTable(
        **values | dict(path=path, rows=rows, claims=claims, seeds=seeds)
    )
    _check_names(table)
    return table


def _checked(
    kind: type,
    loaded: object,
    where: str,
    given: tuple[str, ...] = (),
    defaults: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The loaded values of a data class, but for those that the caller gives."""
    if not isinstance(loaded, Mapping):
        raise ValueError(f"{where}: expected keys and values, got {loaded!r}")
    known = [f.name for f in fields(kind) if f.name not in given]
    unknown = [str(key) for key in loaded if key not in known]
    if unknown:
        raise ValueError(
            f"{where}: unknown {', '.join(unknown)}; expected {', '.join(known)}"
        )
    values = {**(defaults or {}), **loaded}
    for f in fields(kind):
        required = f.default is MISSING and f.default_factory is MISSING
        if required and f.name in known and f.name not in values:
            raise ValueError(f"{where}: {f.name} is missing")
        if f.type is str and not isinstance(values.get(f.name, ""), str):
            raise ValueError(
                f"{where}: {f.name}: expected text, got {values[f.name]!r}"
            )
        if get_origin(f.type) is dict and f.name in values:
            values[f.name] = _mapping(values[f.name], f"{where}: {f.name}")
    return values


def _mapping(loaded: object, where: str) -> dict[str, Any]:
    if not isinstance(loaded, Mapping) or not all(isinstance(k, str) for k in loaded):
        raise ValueError(f"{where}: expected keys and values, got {loaded!r}")
    return dict(loaded)


def _require_json(options: object, where: str) -> None:
    """Refuses options that the JSON file of results could not hold."""
    try:
        json.dumps(options)
    except TypeError as error:
        raise ValueError(
            f"{where}: expected numbers, text, lists and null ({error})"
        ) from error


def _items(values: Mapping[str, Any], name: str, path: Path) -> list:
    loaded = values.get(name, [])
    if not isinstance(loaded, list):
        raise ValueError(f"{path}: {name}: expected a list, got {loaded!r}")
    return loaded


def _read_row(loaded: object, where: str, folder: Path, config: str | None) -> Row:
    values = _checked(Row, loaded, where, defaults=dict(config=config))
    if not isinstance(values["config"], str):
        raise ValueError(f"{where}: config: expected a path, got {values['config']!r}")
    _require_json(values.get("cfg_options"), f"{where}: cfg_options")
    row = Row(**values | dict(config=folder / values["config"]))
    if not row.config.is_file():
        raise FileNotFoundError(f"{where}: config not found: {row.config}")
    return row


def _check_names(table: AblationTable) -> None:
    if not all(isinstance(score, str) for score in table.scores.values()):
        raise ValueError(
            f"{table.path}: scores: expected names of scores, got {table.scores}"
        )
    names = [row.name for row in table.rows]
    if not names or len(set(names)) < len(names):
        raise ValueError(
            f"{table.path}: rows: expected one or more, each with its own name, got "
            f"{names}"
        )
    for claim in table.claims:
        for name, known in (
            (claim.better, names),
            (claim.worse, names),
            (claim.score, list(table.scores)),
        ):
            if name not in known:
                raise ValueError(
                    f"{table.path}: claim {claim.claim!r}: no {name!r} among {known}"
                )
