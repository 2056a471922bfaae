"""The page of ablations, in Markdown."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmseg_fsr.analysis.benchmark import markdown_table

from .claim_verdict import compare
from .table import AblationTable

_MARK = "<!-- Written by tools/analysis/run_ablation.py"
_HEAD = f"""# Ablations

{_MARK}: change the tables' files, not this. -->

Scores are means and standard deviations over the seeds, from the validation at the end
of a run. Beside each claim is the mean difference between two rows, taken seed by seed,
with its standard deviation. The verdict is "agrees" or "disagrees" if the 95 %
confidence interval of that mean (Student's t), widened by 0.01 because scores are
rounded, is on one side of 0; two seeds hardly ever suffice for that. Rows that have not
run are left out. `docs/run_ablations.md` says how to run them.

"""


def require_page(path: Path) -> None:
    """Refuses to replace a file that is no page of :func:`markdown_page`.

    Raises:
        FileExistsError: If it is not.
    """
    if path.is_file() and _MARK.encode() not in path.read_bytes()[:2000]:
        raise FileExistsError(
            f"{path} exists and is no page of ablations: name another file with "
            "--markdown"
        )


def markdown_page(
    results: Sequence[tuple[AblationTable, Sequence[Mapping[str, Any]]]],
) -> str:
    """A page in Markdown, with a section for each table.

    Args:
        results: Tables and their records, see :class:`ResultFile`. Rows without a
            record are left out.
    """
    return _HEAD + "\n".join(_section(table, records) for table, records in results)


def _section(table: AblationTable, records: Sequence[Mapping[str, Any]]) -> str:
    by_row: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        by_row.setdefault(record["row"], []).append(record)
    parts = [f"## {table.title}", table.about.strip()]
    if records:
        parts += [_score_table(table, by_row), _claim_table(table, by_row)]
        parts += [table.notes.strip(), _run_list(records)]
    else:
        parts.append("None of its rows has run.")
    return "\n\n".join(filter(None, parts)) + "\n"


def _mean_and_spread(values: Sequence[float]) -> str:
    mean = f"{statistics.mean(values):.2f}"
    return f"{mean} ± {statistics.stdev(values):.2f}" if len(values) > 1 else mean


def _score_table(
    table: AblationTable, by_row: Mapping[str, Sequence[Mapping[str, Any]]]
) -> str:
    rows = [
        [
            name,
            len(records),
            *(
                _mean_and_spread([record["scores"][score] for record in records])
                for score in table.scores.values()
            ),
        ]
        for name, records in by_row.items()
    ]
    return markdown_table(["", "seeds", *table.scores], rows)


def _claim_table(
    table: AblationTable, by_row: Mapping[str, Sequence[Mapping[str, Any]]]
) -> str:
    rows = []
    for claim in table.claims:
        score = table.scores[claim.score]
        better, worse = (
            {record["seed"]: record["scores"][score] for record in by_row.get(name, ())}
            for name in (claim.better, claim.worse)
        )
        found = compare(better, worse)
        if found is not None:
            spread = "" if found.std is None else f" ± {found.std:.2f}"
            rows.append(
                [
                    claim.claim,
                    f"{claim.score}: {claim.better} against {claim.worse}",
                    f"{found.mean:+.2f}{spread}",
                    found.seeds,
                    found.verdict,
                ]
            )
    head = ["claim", "measured", "difference", "seeds", "verdict"]
    return markdown_table(head, rows) if rows else ""


def _run_list(records: Sequence[Mapping[str, Any]]) -> str:
    """The runs that the numbers come from, folded away."""
    machines: dict[str, int] = {}
    rows = []
    for record in records:
        machine = ", ".join(
            f"{name} {value}" for name, value in record["machine"].items()
        )
        number = machines.setdefault(machine, len(machines) + 1)
        rows.append(
            [
                record["row"],
                f"`{record['config']}`",
                record["seed"],
                record["steps"],
                record["size"],
                record["commit"],
                f"{record['seconds'] / 60:.0f} min",
                number,
            ]
        )
    head = ["row", "config", "seed", "steps", "size", "commit", "last start", "machine"]
    listed = "\n".join(f"{number}. {name}" for name, number in machines.items())
    return (
        "<details><summary>The runs</summary>\n\nCommit, time and machine are those of "
        f"a run's last start.\n\n{markdown_table(head, rows)}\n\nMachines:\n\n{listed}"
        f"\n\nOptions of all rows, then of each:\n\n```\n{_option_list(records)}\n```"
        "\n\n</details>"
    )


def _option_list(records: Sequence[Mapping[str, Any]]) -> str:
    """The options that all rows have, then the other options of each row."""
    rows = {record["row"]: record["cfg_options"] for record in records}
    first, *others = rows.values()
    common = {
        key: value
        for key, value in first.items()
        if all(key in other and other[key] == value for other in others)
    }
    lines = [f"{key}: {value}" for key, value in common.items()]
    for name, options in rows.items():
        own = [f"  {key}: {options[key]}" for key in options if key not in common]
        if own:
            lines += [f"{name}:", *own]
    return "\n".join(lines)
