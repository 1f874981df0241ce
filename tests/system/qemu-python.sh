#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# qemu-python.sh OUTDIR: QEMU's own Python client (qemu.qmp, qmp-shell) from Debian's source package, for test-qmp.py. It is
# in no binary package. The system's package sources are not changed. A second run returns at once.
set -eu
[ $# = 1 ] || { echo "usage: ${0##*/} OUTDIR" >&2; exit 2; }
mkdir -p "$1"
out=$(cd "$1" && pwd)
[ -d "$out/qemu/qmp" ] && exit 0
. /etc/os-release
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/tree"
echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian $VERSION_CODENAME main" >"$work/sources.list"
apt="-qq -o Dir::Etc::sourcelist=$work/sources.list -o Dir::Etc::sourceparts=- -o Dir::State::lists=$work/lists -o APT::Sandbox::User=root"
cd "$work"
apt-get $apt update
apt-get $apt source --download-only qemu
tar xf qemu_*.orig.tar.* -C tree --wildcards --strip-components=2 '*/python/qemu'
mv tree/qemu "$out/"
