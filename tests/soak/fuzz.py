"""Feeds readers of strangers' files mutated bytes, guided by coverage (atheris).

Each kind of file has a process of its own, which begins with the seeds. A crash, a hang
or an undocumented error ends it, and the input is kept.

Example:
    python tests/soak/fuzz.py --runs 100000
"""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
SECONDS_AN_INPUT, MEGABYTES, BYTES_AN_INPUT = 5, 4096, 4096
_XML = b"<annotation><object><name>cat</name></object></annotation>"
_COCO = (
    b'{"images": [{"id": 1, "file_name": "one.jpg"}], "categories": [{"id": 3, "name": '
    b'"cat"}], "annotations": [{"image_id": 1, "category_id": 3}]}'
)
SEEDS = {
    "label file, JSON": [
        b'{"one": [1, "dog"], "two": []}',
        b'{"one": ["2"], "two": ["cat"], "\\u00e9": [null, true, 1e5, {"a": -1}]}',
    ],
    "label file, text": [b"one cat 2\n\ntwo\n", b"two\tdog\r\none 1\n"],
    "label file, NumPy": [],
    "split list": [b"one\nsub/two\n", b"2007_000032 \r\n\n a\n"],
    "VOC's XML": [
        _XML,
        b'<?xml version="1.0" encoding="utf-8"?>' + _XML,
        b'<!DOCTYPE a [<!ENTITY x "dog"><!ENTITY y "&x;&x;">]><a>&y;</a>',
    ],
    "COCO's JSON": [_COCO],
}


def numpy_seeds() -> list[bytes]:
    """Multi-hot arrays as files."""
    import io

    import numpy as np

    seeds = []
    for dtype in ("uint8", "float32", "bool"):
        content = io.BytesIO()
        np.save(content, np.eye(2, dtype=dtype))
        seeds.append(content.getvalue())
    return seeds


def fuzz(kind: str, runs: int, seed: int, corpus: Path) -> None:
    """Fuzzes one kind of file; libFuzzer ends the process."""
    import atheris

    with atheris.instrument_imports(
        include=["mmseg_fsr.datasets", "json", "xml", "numpy.lib"]
    ):
        from tests.support.read_bytes import read_bytes
    for number, content in enumerate(SEEDS[kind] or numpy_seeds()):
        (corpus / f"seed{number}").write_bytes(content)
    folder = corpus.parent / "read"
    folder.mkdir()
    counts = dict(taken=0, refused=0)

    def read_one(content: bytes) -> None:
        taken = read_bytes(kind, content, folder)
        counts["taken" if taken else "refused"] += 1
        if sum(counts.values()) % 1000 == 0 or sum(counts.values()) > runs - 50:
            text = " ".join(f"{name} {count}" for name, count in counts.items())
            (corpus.parent / "counts").write_text(text)

    options = [
        f"-runs={runs}",
        f"-seed={seed}",
        f"-timeout={SECONDS_AN_INPUT}",
        f"-rss_limit_mb={MEGABYTES}",
        f"-max_len={BYTES_AN_INPUT}",
        f"-artifact_prefix={Path.cwd()}/",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], read_one)
    atheris.Fuzz()


def main() -> None:
    """Fuzzes each kind in turn and prints a table; ends with 1 after a finding."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=100_000, help="inputs of each kind")
    parser.add_argument("--seed", type=int, default=1, help="seed of the mutations")
    parser.add_argument("--kind", choices=SEEDS, help="only this kind of file")
    parser.add_argument("--corpus", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.corpus:
        fuzz(args.kind, args.runs, args.seed, args.corpus)
        return
    failed = False
    print("| file | inputs | taken | refused | seconds | findings |")
    print("|---|---|---|---|---|---|")
    for kind in [args.kind] if args.kind else SEEDS:
        with tempfile.TemporaryDirectory() as folder:
            corpus = Path(folder) / "corpus"
            corpus.mkdir()
            command = [sys.executable, __file__, "--kind", kind, "--corpus", corpus]
            command += ["--runs", str(args.runs), "--seed", str(args.seed)]
            done = subprocess.run(command, capture_output=True, text=True)
            ended = re.search(r"Done (\d+) runs in (\d+) second", done.stderr)
            if done.returncode or not ended:
                failed = True
                print(f"| {kind} | | | | | see below |", flush=True)
                print(done.stdout + done.stderr, file=sys.stderr)
                continue
            _, taken, _, refused = (Path(folder) / "counts").read_text().split()
            row = [kind, f"{int(ended[1]):,}", taken, refused, ended[2], "none"]
            print(f"| {' | '.join(row)} |", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
