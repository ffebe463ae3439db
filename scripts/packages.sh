#!/usr/bin/env bash
# Installs the npm packages where the lock file has changed since the last time.
set -euo pipefail
stamp=node_modules/.installed-lock
cmp -s package-lock.json "$stamp" 2>/dev/null && exit 0
echo "• installing npm packages" >&2
# Not `npm ci`: it refuses a lock file whose optional packages for other systems are not on the registry in use.
npm install --no-save --no-audit --no-fund --loglevel error >&2
cp package-lock.json "$stamp"
