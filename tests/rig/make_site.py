#!/usr/bin/env python3
"""Writes the sources of the two documentation sites that the end-to-end tests publish.

    make_site.py <folder>      makes <folder>/large and <folder>/small, each a source for `techdocs-cli generate`

`large` has what real sites have and what breaks proxies: more than 200 nested pages, a search index of over 1 MiB,
names with spaces, reserved characters and Unicode in both normal forms, an empty file, a file of exactly 20 KiB, one
that is larger than the cache takes. `small` has a few pages and exists so that there are two entities.

The same program always writes the same bytes, so a built site can be kept for as long as this file does not change.
"""

import json
import pathlib
import random
import struct
import sys
import unicodedata
import zlib

SEED = 20261120
SECTIONS = 12
PAGES_PER_SECTION = 18
PARAGRAPHS_PER_PAGE = 7

# The cache keeps objects of up to 8 MiB by default.
OVER_THE_CACHE_LIMIT = 12 * 1024 * 1024

# Page names; MkDocs makes `<name>/index.html` of each. Those that end in NFC and NFD look alike and are two names.
AWKWARD_PAGES = [
    "with spaces in it",
    "c++ and c#",
    "a+b=c",
    "Q&A @ home",
    "100% sure",
    "already%20encoded",
    "(brackets) [and] {braces}",
    "it's, well; odd!",
    "tilde~dollar$star",
    "why?",
    "time 12:30",
    "Größenänderung",
    "Übersicht " + unicodedata.normalize("NFC", "ü") + " nfc",
    "Übersicht " + unicodedata.normalize("NFD", "ü") + " nfd",
    "設計書",
    "설계 문서",
    "документация",
    "توثيق",
    "party 🎉 page",
    # A name may take 255 bytes; these are 240, in 80 characters.
    "長" * 80,
]

# Files that MkDocs copies as they are.
AWKWARD_ASSETS = [
    "plain.txt",
    "with spaces.txt",
    "c#.txt",
    "a+b.txt",
    "a=b&c@d.txt",
    "100%.txt",
    "%2e%2e%2fnot-a-way-out.txt",
    "%C3%BC.txt",
    "what?.txt",
    "two  spaces.txt",
    "trailing space .txt",
    "quote's.txt",
    'double "quotes".txt',
    "semi;colon,comma.txt",
    "star*.txt",
    "co:lon.txt",
    "UPPER and lower.TXT",
    "no-extension",
    "many.dots.in.a.name.tar.gz",
    unicodedata.normalize("NFC", "Ärger.txt"),
    unicodedata.normalize("NFD", "Ärger.txt"),
    "図面 一.txt",
    "emoji 🗺.txt",
]

WORDS = """
    access account agent alert archive audit backup balance batch bridge broker bucket budget buffer build cache
    canary capacity catalog channel check cluster commit config connection container contract counter credential
    cursor daemon dashboard deadline default delivery deploy device digest document domain driver edge endpoint
    entity entry error event export failover fallback feature field filter fleet folder gateway graph handler header
    health history image incident index inventory invoice journal key label latency layer ledger limit listener
    locale lock manifest mapping memory message meter migration mirror module monitor network node notice object
    operator order origin outage owner package page partition path payload permission pipeline policy pool principal
    probe profile project proxy publisher quota queue range reader record region registry release replica report
    request resolver resource response retry role rollout route rule runbook sample schedule schema scope secret
    section sender service session shard signal site snapshot source stage standard state storage stream subject
    support switch table target task team template tenant thread ticket tier timeout token topic trace traffic
    trigger tunnel update upload user vault version volume warning window worker
""".split()


def sentence(rng: random.Random) -> str:
    words = rng.choices(WORDS, k=rng.randint(8, 18))
    return f"{' '.join(words).capitalize()}."


def paragraph(rng: random.Random) -> str:
    return " ".join(sentence(rng) for _ in range(rng.randint(3, 5)))


def page(rng: random.Random, title: str, extra: str = "") -> str:
    parts = [f"# {title}", extra, paragraph(rng)]
    for number in range(1, PARAGRAPHS_PER_PAGE):
        if number % 4 == 0:
            parts.append(f"## {rng.choice(WORDS).capitalize()} {number}")
        parts.append(paragraph(rng))
    if rng.random() < 0.3:
        parts.append("```python\ndef answer():\n    return 42\n```")
    if rng.random() < 0.3:
        parts.append("| key | value |\n| --- | --- |\n" + f"| {rng.choice(WORDS)} | {rng.randint(1, 999)} |")
    if rng.random() < 0.3:
        parts.append(f"!!! note\n    {sentence(rng)}")
    return "\n\n".join(part for part in parts if part) + "\n"


def png(rng: random.Random, width: int, height: int) -> bytes:
    """A true-colour image of noise, so that its size does not vanish in compression."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = b"".join(b"\x00" + rng.randbytes(3 * width) for _ in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


def pdf(text: str) -> bytes:
    """One page with one line of text, with a cross-reference table that is right to the byte."""
    content = f"BT /F1 24 Tf 72 720 Td ({text}) Tj ET".encode("ascii")
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R"
        b" /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    out = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    offsets = []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, table)
    return bytes(out)


SVG = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 120 60">
  <rect width="120" height="60" rx="6" fill="#37474f"/>
  <text x="60" y="36" text-anchor="middle" font-family="sans-serif" font-size="16" fill="#fff">diagram</text>
</svg>
"""


def html_of_size(size: int) -> bytes:
    head, tail = b"<!doctype html><title>20 KiB</title><p>", b"</p>\n"
    filler = (b"The quick brown fox jumps over the lazy dog. " * (size // 45 + 1))[: size - len(head) - len(tail)]
    return head + filler + tail


class Source:
    """A folder that files are written to by their path inside docs/."""

    def __init__(self, folder: pathlib.Path, config: dict):
        folder.mkdir(parents=True)
        # JSON is YAML, and the standard library writes it.
        (folder / "mkdocs.yml").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        self.docs = folder / "docs"

    def write(self, path: str, content: str | bytes) -> None:
        target = self.docs / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)


def make_large(folder: pathlib.Path) -> None:
    rng = random.Random(SEED)
    source = Source(
        folder,
        {
            "site_name": "A large site — größer als üblich",
            "site_description": "Made for Callboard's end-to-end tests",
            "plugins": ["techdocs-core"],
            # Pruning keeps the whole tree of 200 pages from being repeated on each of them.
            "theme": {"name": "material", "font": False, "features": ["navigation.prune"]},
        },
    )
    source.write("index.md", page(rng, "A large site"))
    for section in range(1, SECTIONS + 1):
        below = f"section-{section:02}"
        source.write(f"{below}/index.md", page(rng, f"Section {section}"))
        source.write(f"{below}/images/figure {section}.png", png(rng, 64, 8 * section))
        for number in range(1, PAGES_PER_SECTION + 1):
            # Every third page lies deeper.
            depth = f"{below}/part-{number // 6}/details" if number % 3 == 0 else below
            up = "../" * (depth.count("/"))
            image = f"![A figure]({up}images/figure%20{section}.png)" if number % 4 == 0 else ""
            source.write(f"{depth}/page-{number:02}.md", page(rng, f"Page {section}.{number}", image))
    for name in AWKWARD_PAGES:
        source.write(f"awkward names & more/{name}.md", page(rng, f"Called: {name}"))
    for name in AWKWARD_ASSETS:
        source.write(f"awkward assets/{name}", f"This file is called {name!a}.\n")
    source.write("awkward assets/ordner für ästhetik/größe 100%/画像 #1.png", png(rng, 16, 16))
    source.write("files/diagram.svg", SVG)
    source.write("files/handbook.pdf", pdf("A handbook of one page"))
    source.write("files/empty.txt", b"")
    source.write("files/one-byte.txt", b"1")
    source.write("files/twenty-kib.html", html_of_size(20 * 1024))
    source.write("files/release.bin", rng.randbytes(OVER_THE_CACHE_LIMIT))


def make_small(folder: pathlib.Path) -> None:
    rng = random.Random(SEED + 1)
    source = Source(
        folder,
        {
            "site_name": "A small site",
            "site_description": "The second entity in the bucket",
            "plugins": ["techdocs-core"],
            "theme": {"name": "material", "font": False},
        },
    )
    source.write("index.md", page(rng, "A small site"))
    source.write("about.md", page(rng, "About"))
    source.write("images/dot.png", png(rng, 8, 8))


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = pathlib.Path(sys.argv[1])
    make_large(folder / "large")
    make_small(folder / "small")


if __name__ == "__main__":
    main()
