#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# guest-agent.sh OUTDIR: OUTDIR/agent.img, an ext4 image with Debian's qemu-guest-agent and the libraries it needs, for
# test-agent.py. Fetched and unpacked, never installed. `sh run PORT` in it starts the agent. A second run returns at once.
set -eu
[ $# = 1 ] || { echo "usage: ${0##*/} OUTDIR" >&2; exit 2; }
mkdir -p "$1"
out=$(cd "$1" && pwd)
[ -s "$out/agent.img" ] && exit 0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/debs" "$work/tree" "$work/image/lib"
cd "$work/debs"
apt-get -qq -o APT::Sandbox::User=root download qemu-guest-agent libc6 libglib2.0-0 libnuma1 libpcre2-8-0 libudev1 liburing2
for deb in *.deb; do
	dpkg-deb -x "$deb" "$work/tree"
done
cd "$work/tree"
path=
for dir in lib usr/lib; do
	[ ! -d "$dir/x86_64-linux-gnu" ] || path="$path${path:+:}$PWD/$dir/x86_64-linux-gnu"
done
loader=$(find "$PWD" -name 'ld-linux-x86-64.so.2' ! -type d -print -quit)
loader=$(readlink -f "$loader")
cp "$loader" "$work/image/ld.so"
cp usr/sbin/qemu-ga "$work/image/"
"$loader" --library-path "$path" --list usr/sbin/qemu-ga | while read -r name arrow file rest; do
	case $name in /*) continue ;; esac
	case $file in "$PWD"/*) cp -L "$file" "$work/image/lib/$name" ;; esac
done
cat >"$work/image/run" <<'EOF'
here=${0%/*}
exec "$here/ld.so" --library-path "$here/lib" "$here/qemu-ga" -m virtio-serial -p "$1" -t /tmp
EOF
rm -f "$out/agent.img.tmp"
mkfs.ext4 -q -F -E root_owner=0:0 -d "$work/image" "$out/agent.img.tmp" 24M
mv "$out/agent.img.tmp" "$out/agent.img"
