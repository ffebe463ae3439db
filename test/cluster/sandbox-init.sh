# The first process of a cluster's namespaces. Usage: sandbox-init.sh FOLDER lifeline|stay
# It stays in bash because bash, waiting for a child, also reaps the orphans that a first process inherits.
set -eu
for folder in /run /var/log; do mount -t tmpfs tmpfs "$folder"; done
mkdir -p /var/lib/cni
mount -t tmpfs tmpfs /var/lib/cni
ip link set lo up
# Machine-wide, and by default enough for four clusters: with fewer than they need, kubelets do not start.
limit=/proc/sys/fs/inotify/max_user_instances
[ "$(cat $limit)" -ge 1024 ] || echo 1024 >$limit || true
# Pods reach each other, the API server and Services through this namespace.
echo 1 >/proc/sys/net/ipv4/ip_forward
touch "$1/ready"
if [ "$2" = lifeline ]; then
  cat >/dev/null # until whoever started us is gone
else
  sleep 30
  # Whoever started us died before it noted down how to find us: nobody else would end us.
  [ -e "$1/cluster.json" ] && sleep infinity
fi
