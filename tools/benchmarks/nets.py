# SPDX-License-Identifier: GPL-2.0-or-later
"""Rows about networks: flat-net drives the same card under kvmd and QEMU, over taps in a network namespace of the bench's own."""
import os
import signal
import subprocess
from contextlib import contextmanager

from disk import Result, Share, rates, latency, cpu, turns, watched
from ours import Kvmd, guest_xml
from peers import qemu_argv
from rig import Line, Trouble, end, libc, spawn, warm

MIB = 128
NEWNET = 0x40000000


@contextmanager
def namespace():
    """A network of our own for what is started inside."""
    before = os.open('/proc/self/ns/net', os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.unshare(NEWNET):
            raise Trouble('a network namespace needs root')
        yield
    finally:
        libc.setns(before, NEWNET)
        os.close(before)


def ip(*args):
    p = subprocess.run(['ip', *args], capture_output=True, text=True, check=False)
    if p.returncode:
        raise Trouble(f"ip {' '.join(args)}: {p.stderr.strip()}")


class Nets:
    def __init__(self, rig, kvmd):
        self.rig, self.guest, self.hz, self.share = rig, rig.guest('net'), rig.tsc_hz(), Share()
        self.api = kvmd.ready()
        ip('link', 'set', 'lo', 'up')
        ip('tuntap', 'add', 'tapq', 'mode', 'tap', 'vnet_hdr')

    def _measure(self, name, pid, tap, child, p):
        ip('link', 'set', tap, 'up')
        other, argv = 0, [os.path.abspath(f'{self.rig.build}/tools/benchmarks/nethost'), tap]
        if p['op'] == 'recv':
            other = spawn(argv + ['blast', str(p['bs'])], self.rig.log)
        elif p['op'] == 'echo':
            other = spawn(argv + ['reflect'], self.rig.log)
        try:
            if other:
                self.share.join(other)
            text, used = watched(self.rig.console, name, pid, child)
            return Result(text, self.hz, used)
        finally:
            if other:
                end(other, signal.SIGKILL)

    def _cmdline(self, p):
        return ' '.join(f'{k}={v}' for k, v in p.items()) + f' hz={self.hz:.0f}'

    def ours(self, **p):
        con, api, name = self.rig.console, self.api, 'net'
        con.fresh(name)
        card = "<interface type='ethernet'><mac address='52:54:00:00:00:01'/><target dev='tapk'/><model type='virtio'/></interface>"
        api.call('define', xml=guest_xml(name, self.guest, con.path(name), MIB, self._cmdline(p)).replace('<devices>', '<devices>' + card))
        warm(MIB)
        pid = api.call('start', name)['pid']
        self.share.learn(pid)
        try:
            return self._measure(name, pid, 'tapk', False, p)
        finally:
            api.call('destroy', name)
            api.call('undefine', name)

    def qemu(self, **p):
        con, name = self.rig.console, 'qemu'
        con.fresh(name)
        argv = qemu_argv(self.guest, con.path(name), MIB, self._cmdline(p))
        argv[2] = 'microvm,pcie=on'
        warm(MIB)
        pid = spawn(argv + ['-name', 'bench,debug-threads=on', '-netdev', 'tap,id=n,ifname=tapq,script=no,downscript=no,vhost=off',
                            '-device', 'virtio-net-pci,netdev=n,disable-legacy=on'], self.rig.log)
        try:
            self.share.join(pid)
            return self._measure(name, pid, 'tapq', True, p)
        finally:
            end(pid, signal.SIGKILL)
            self.share.leave()


def net(rig):
    """frames of 60 and 1,514 bytes through a tap, each way, and the round trip of an echo, against QEMU without vhost"""
    lines = []
    with namespace():
        kvmd = Kvmd(rig.build, rig.folder('kvmd-net'))
        kvmd.start()
        try:
            n = Nets(rig, kvmd)
            for bs in (60, 1514):
                for op, way in (('send', 'guest → tap'), ('recv', 'tap → guest')):
                    ours, qemu = turns(rig.rounds(10), [n.ours, n.qemu], op=op, bs=bs, ms=250)
                    what = f'frames of {bs} B, {way}'
                    lines += [Line(what, rates(ours, bs), rates(qemu, bs), 'QEMU', ('≥', 1.3)),
                              Line(what + ': host CPU per frame', cpu(ours), cpu(qemu), 'QEMU')]
            ours, qemu = turns(rig.rounds(10), [n.ours, n.qemu], op='echo', bs=60, ms=250)
            lines += [Line('echo of 60 B: round trip p50', latency(ours), latency(qemu), 'QEMU', ('≤', 0.8)),
                      Line('echo of 60 B: host CPU per round trip', cpu(ours), cpu(qemu), 'QEMU')]
        finally:
            kvmd.stop()
    return lines
