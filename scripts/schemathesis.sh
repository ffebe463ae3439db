#!/usr/bin/env bash
# schemathesis from PyPI, in an environment of its own in the cache. Prints the path of its command.
# Usage: schemathesis.sh CACHE
set -euo pipefail
version=4.32.5
folder=$1/schemathesis-$version

if [ ! -x "$folder/bin/st" ]; then
  echo "• getting schemathesis $version from PyPI" >&2
  mkdir -p "$1"
  # Built aside: two runs may do this at once, and one may be cut short. Its scripts name the folder, so the place stays
  # and a link is what appears at the end.
  scratch=$(mktemp -d "$1/.schemathesis-$version-XXXXXX")
  trap 'rm -rf "$scratch"' ERR
  python3 -m venv "$scratch"
  "$scratch/bin/pip" install --quiet --disable-pip-version-check "schemathesis==$version" >&2
  ln -sfn "$(basename "$scratch")" "$folder"
fi
echo "$folder/bin/st"
