#!/usr/bin/env bash
# What a real cluster needs of this machine: Go, and some Debian packages. Installs the packages where it may.
set -euo pipefail
least=1.26.6

if ! command -v go >/dev/null; then
  echo "Go $least or newer is needed to build the test cluster; please install it." >&2
  exit 1
fi
found=$(go env GOVERSION | sed 's/^go//')
# From 1.21 on, Go gets a newer toolchain by itself unless it is told not to.
if [ "$(printf '%s\n' "$least" "$found" | sort -V | head -n 1)" != "$least" ] && [ "$(go env GOTOOLCHAIN)" = local ]; then
  echo "Go $least or newer is needed to build the test cluster; found $found. Please update it." >&2
  exit 1
fi

missing=()
need() { [ -e "$1" ] || missing+=("$2"); }
need /usr/sbin/runc runc
need /usr/lib/cni/ptp containernetworking-plugins
need /usr/bin/docker-registry docker-registry
need /usr/sbin/nft nftables
need /usr/bin/buildah buildah
command -v gcc >/dev/null || missing+=(gcc)
command -v ip >/dev/null || missing+=(iproute2)
command -v openssl >/dev/null || missing+=(openssl)
command -v unshare >/dev/null || missing+=(util-linux)
command -v mount >/dev/null || missing+=(mount)
python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv)
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  echo "These Debian packages are missing: ${missing[*]}" >&2
  echo "Install them (apt-get install ${missing[*]}) and try again." >&2
  exit 1
fi
echo "• installing Debian packages: ${missing[*]}" >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! (apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y -o DPkg::Lock::Timeout=300 --no-install-recommends "${missing[@]}") >"$log" 2>&1; then
  tail -n 20 "$log" >&2
  exit 1
fi
