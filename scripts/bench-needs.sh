#!/usr/bin/env bash
# What make bench-admission needs of this machine: Go, and h2load. Installs h2load where it may.
set -euo pipefail

command -v go >/dev/null || { echo 'Go is needed to build what IPS is compared with; please install it.' >&2; exit 1; }
missing=()
command -v h2load >/dev/null || missing+=(nghttp2-client)
command -v taskset >/dev/null || missing+=(util-linux)
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  echo "These Debian packages are missing: ${missing[*]}. Install them and try again." >&2
  exit 1
fi
echo "• getting Debian packages: ${missing[*]}" >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
get() {
  apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y -o DPkg::Lock::Timeout=300 --no-install-recommends "${missing[@]}"
}
get >"$log" 2>&1 || { tail -n 20 "$log" >&2; exit 1; }
