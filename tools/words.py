"""Check the house style of docs/contributing.md, as far as a few patterns can.

    python tools/words.py

In every text that is kept in git, it looks for phrases that the style sheet rules out. In Markdown and in
the text cells of notebooks, it counts the words of sentences; in Markdown files, the characters of lines. The
exit status is 1 if it finds anything.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
KINDS = {".cff", ".css", ".ipynb", ".json", ".md", ".mjs", ".py", ".sh", ".toml", ".ts", ".yml"}
LONGEST_SENTENCE = 30
"""Words. The style sheet asks for fewer than 25; formulas and names may take the rest."""
LONGEST_LINE = 100
PHRASES = {
    r"\b(?:is|are)\s+no\b": "say what it is, or write 'is not a', 'does not exist', 'does not hold'",
    r"\bwhoever\b": "name the caller, the reader or the thread",
    r"\bsomebody\b": "name the user, the student or the caller",
}


def main() -> int:
    """Print what is found, as ``path:line: remark``; return the exit status."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    found = 0
    for name in listed.stdout.splitlines():
        path = ROOT / name
        if (path.suffix not in KINDS and path.name != "Makefile") or name == "package-lock.json":
            continue
        for line, remark in remarks(path):
            print(f"{name}:{line}: {remark}")
            found += 1
    return int(found > 0)


def remarks(path: Path) -> Iterator[tuple[int, str]]:
    """Yield a line and a remark for everything in a file that breaks the style."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        for number, cell in enumerate(json.loads(text)["cells"]):
            source = "".join(cell["source"])
            yield from ((number, f"(cell) {remark}") for _, remark in phrases(source))
            if cell["cell_type"] == "markdown":
                yield from ((number, f"(cell) {remark}") for _, remark in sentences(source))
        return
    yield from phrases(text)
    if path.suffix == ".md":
        yield from sentences(text)
        yield from lines(text)


def phrases(text: str) -> Iterator[tuple[int, str]]:
    for pattern, advice in PHRASES.items():
        for match in re.finditer(pattern, text, re.IGNORECASE):
            yield text.count("\n", 0, match.start()) + 1, f"{match[0]!r}: {advice}"


def sentences(text: str) -> Iterator[tuple[int, str]]:
    """Yield the sentences of Markdown prose that are too long; code, tables and headings have none."""
    prose = re.sub(r"^(```|:::)[\s\S]*?^\1.*$", blank, text, flags=re.MULTILINE)
    prose = re.sub(r"\A---\n[\s\S]*?^---$", blank, prose, flags=re.MULTILINE)
    prose = re.sub(r"^(\||#|!\[|\(\w+\)=|- \[).*$", "", prose, flags=re.MULTILINE)
    prose = re.sub(r"^(\s*)([-*:]|\d+\.) ", r"\n\1", prose, flags=re.MULTILINE)
    prose = re.sub(r"`[^`]*`|\$[^$]*\$", "code", prose)
    for match in re.finditer(r"(?:[^.!?:;\n]|[.!?:;](?![\s*_)\"”])|\n(?!\s*\n))+", prose):
        words = re.findall(r"\w[\w'’.-]*", match[0])
        if len(words) > LONGEST_SENTENCE:
            line = prose.count("\n", 0, match.end()) + 1
            yield line, f"a sentence of {len(words)} words: ... {' '.join(words[-6:])}"


def lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines that are too long; tables, links on a line of their own and code may be."""
    code = False
    for number, line in enumerate(text.splitlines(), 1):
        code ^= line.lstrip().startswith("```")
        may_be_long = code or line.startswith(("|", "```", "![")) or " " not in line.strip()
        if len(line) > LONGEST_LINE and not may_be_long:
            yield number, f"a line of {len(line)} characters"


def blank(match: re.Match[str]) -> str:
    """Keep the line breaks, so that lines keep their numbers."""
    return "\n" * match[0].count("\n")


if __name__ == "__main__":
    sys.exit(main())
