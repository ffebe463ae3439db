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
# Has the server too, under this name; the package redis-server would start one on a machine with systemd.
need /usr/bin/redis-check-rdb redis-tools
need /usr/bin/faketime faketime
command -v gcc >/dev/null || missing+=(gcc)
command -v ip >/dev/null || missing+=(iproute2)
command -v openssl >/dev/null || missing+=(openssl)
command -v unshare >/dev/null || missing+=(util-linux)
command -v mount >/dev/null || missing+=(mount)
python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv)
# Not installed but unpacked: on a machine with systemd, installing it would start a Prometheus that nobody asked for.
unpacked=${IPS_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/image-prewarm-service}/prometheus
unpack=()
[ -e /usr/bin/promtool ] || [ -e "$unpacked" ] || unpack+=(prometheus)
[ $((${#missing[@]} + ${#unpack[@]})) -eq 0 ] && exit 0

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  echo "These Debian packages are missing: ${missing[*]} ${unpack[*]}" >&2
  echo "Install them (apt-get install ${missing[*]} ${unpack[*]}) and try again." >&2
  exit 1
fi
get() {
  apt-get update
  if [ ${#missing[@]} -gt 0 ]; then
    DEBIAN_FRONTEND=noninteractive apt-get install -y -o DPkg::Lock::Timeout=300 --no-install-recommends "${missing[@]}"
  fi
  for package in "${unpack[@]}"; do
    (cd "$scratch" && apt-get download -o APT::Sandbox::User=root "$package" && dpkg -x "$package"_*.deb files)
    mkdir -p "$(dirname "$unpacked")"
    # Two runs may do this at once; the first to finish wins.
    mv -T "$scratch/files" "$unpacked" || [ -e "$unpacked" ]
  done
}
echo "• getting Debian packages: ${missing[*]} ${unpack[*]}" >&2
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# Not `if ! get`: bash would go on after a step that failed.
get >"$scratch/log" 2>&1 &
if ! wait $!; then
  tail -n 20 "$scratch/log" >&2
  exit 1
fi
