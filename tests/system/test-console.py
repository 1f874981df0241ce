#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A Linux guest that has no serial port: it boots to a login on a virtio console, its channel is a socket of the host, and its
random numbers come no faster than the definition says. test-console.py BUILD."""
import os
import re
import socket
import sys
import time

sys.path.insert(0, os.path.dirname(__file__))
from kvmd import PROMPT, Failed, linux_domain, need_kvm, need_linux, run, suite_cmdline  # noqa: E402

build = os.path.abspath(sys.argv[1])
guest = f'{build}/linux'
RATE, BYTES = 2048, 10240
need_kvm()
need_linux(guest)


def xml(k):
    return linux_domain(guest, 'c', f'''
    <console type='pty'><target type='virtio'/></console>
    <console type='null'><target type='virtio'/></console>
    <channel type='unix'><source mode='bind' path='{k.root}/chan'/><target type='virtio' name='org.test.0'/></channel>
    <rng model='virtio'><rate bytes='{RATE}' period='1000'/><backend model='random'>/dev/urandom</backend></rng>
    ''', console='', command=suite_cmdline(guest, 2).replace('console=ttyS0', 'console=hvc0'))


class Channel:
    def __init__(self, path):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.settimeout(60)
        self.s.connect(path)

    def echo(self, data):
        self.s.sendall(data)
        got = b''
        while len(got) < len(data):
            if not (part := self.s.recv(65536)):
                raise Failed('the channel was closed')
            got += part
        assert got == data, f'other bytes came back: {got[:100]}'


def hvc(k):
    k.define(xml(k))
    k.ctl('start', 'c')
    k.until(lambda: PROMPT in k.console('c'), 400, 'a shell on the virtio console, in the log')
    n = 0

    def shell(command, *device, seconds=120):
        nonlocal n
        n += 1
        begun = len(k.console('c'))
        k.ctl('console', 'c', *device, stdin=f'{command}; echo "DO"NE{n}=$?\n', timeout=seconds)
        took = k.until(lambda: re.search(rf'^DONE{n}=\d', k.console('c')[begun:], re.M), seconds, command)
        return k.console('c')[begun:], took
    assert re.search(r'^hvc0\r?$', shell('cat /sys/class/tty/console/active')[0], re.M)
    shell('true', 'console0')
    p = k.ctl('console', 'c', 'console7', stdin='', check=False)
    assert p.returncode and "'console7'" in p.stderr, p.stderr
    # a channel: echo, the host's side goes and comes, and the guest sees its name
    assert 'org.test.0' in shell('cat /sys/class/virtio-ports/*/name')[0]
    shell('for p in /sys/class/virtio-ports/*; do read n <$p/name && [ $n = org.test.0 ] && p=/dev/${p##*/} && break; done; exec 4<>$p; '
          '(while true; do cat <&4 >&4; sleep 1; done) & true')     # the host's side goes: cat sees an end
    for i in range(3):
        Channel(f'{k.root}/chan').echo(bytes(range(256)) * 16)
    # random numbers: the first second's are free
    out, _ = shell('cat /sys/class/misc/hw_random/rng_current')
    assert 'virtio_rng' in out, out
    begun = time.monotonic()
    out, _ = shell(f'dd if=/dev/hwrng of=/tmp/r bs=512 count={BYTES // 512} iflag=fullblock; wc -c /tmp/r')
    took = time.monotonic() - begun
    assert f'{BYTES} /tmp/r' in out, out
    least = (BYTES - 2 * RATE) / RATE           # the driver had asked for some beforehand
    assert took > least, f'{BYTES} bytes in {took:.1f} s, at {RATE} bytes per second'
    k.ctl('console', 'c', stdin='poweroff\n')
    k.until(lambda: k.state('c') == 'shut off', 120, 'power off')
    return f'{BYTES} random bytes at {RATE} per second in {took:.1f} s'


run([('hvc', hvc)], build)
