#!/usr/bin/env bash
# Rebuilds site/ from source/, as a documentation pipeline would: `techdocs-cli generate` over mkdocs-techdocs-core.
#
#   tests/setup.sh          # once: brings techdocs-cli
#   src/sample/build.sh     # then as often as you like
#
# The result is committed and embedded into the binary, so the same source must give the same bytes: versions are the
# ones that tests/rig/constraints.txt and tests/backstage/package-lock.json pin, and the build's date is fixed below.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
techdocs_cli=$root/tests/backstage/node_modules/.bin/techdocs-cli

# 2026-11-20T00:00:00Z. MkDocs takes it for the site map, the step at the end for `build_timestamp`.
export SOURCE_DATE_EPOCH=1795132800

if [ ! -x "$techdocs_cli" ]; then
  echo "build.sh: $techdocs_cli is missing; run tests/setup.sh first" >&2
  exit 1
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  --constraint "$root/tests/rig/constraints.txt" mkdocs-techdocs-core

# The commit stands for the prepared source in a real pipeline; here it is the source's own hash.
etag=$(cd "$here/source" && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -c1-40)

# techdocs-cli rewrites mkdocs.yml where it finds it, hence the copy. On a machine without Node, setup.sh has put one
# beside the tests' Python.
cp -R "$here/source" "$work/source"
PATH="$work/venv/bin:$root/target/test-tools/venv/bin:$PATH" "$techdocs_cli" generate --no-docker \
  --source-dir "$work/source" --output-dir "$work/site" --etag "$etag"

# Leave out what no page of an English site loads (stemmers for other languages, source maps, and the site map, which is
# empty for a site without an address), and let the metadata tell what is there, sorted, with the fixed date.
python3 - "$work/site" <<'PYTHON'
import json, os, pathlib, shutil, sys

site = pathlib.Path(sys.argv[1])
shutil.rmtree(site / "assets/javascripts/lunr")
for pattern in ["**/*.map", "sitemap.xml*"]:
    for path in site.glob(pattern):
        path.unlink()

metadata_path = site / "techdocs_metadata.json"
metadata = json.loads(metadata_path.read_text(encoding="utf-8"))
metadata["build_timestamp"] = int(os.environ["SOURCE_DATE_EPOCH"]) * 1000
metadata["files"] = sorted(path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file())
metadata_path.write_text(json.dumps(metadata, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
PYTHON

rm -rf "$here/site"
mv "$work/site" "$here/site"
echo "build.sh: $(find "$here/site" -type f | wc -l) files, $(du -sh --apparent-size "$here/site" | cut -f1)"
