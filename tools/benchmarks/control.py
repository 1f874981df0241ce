# SPDX-License-Identifier: GPL-2.0-or-later
"""Rows about control: QMP round trips, vCPU hot-plug, events, statistics."""
import json
import os
import re
import select
import signal
import socket
import statistics
import time

from ours import Api, Kvmd, guest_xml
from peers import microvm_xml, qemu_argv
from rig import Figures, Line, Trouble, alive, end, run, spawn

ASK = b'{"execute":"query-status"}\n'


class Qmp:
    """A QMP client that does nothing but send and look for the end of the answer."""

    def __init__(self, path, negotiate=True):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self.text = b''
        until = time.monotonic() + 20
        while True:
            try:
                self.sock.connect(path)
                break
            except OSError:
                if time.monotonic() > until:
                    raise Trouble(f'{path}: nobody answers') from None
                time.sleep(0.01)
        self.line()
        if negotiate:
            self.ask(b'{"execute":"qmp_capabilities"}\n')

    def line(self):
        while b'\n' not in self.text:
            data = self.sock.recv(1 << 20)
            if not data:
                raise Trouble('a QMP connection was closed')
            self.text += data
        line, _, self.text = self.text.partition(b'\n')
        return line

    def ask(self, message):
        """Seconds until the answer is there."""
        before = time.perf_counter()
        self.sock.sendall(message)
        answer = self.line()
        while b'"event":' in answer:
            answer = self.line()
        took = time.perf_counter() - before
        if b'"return"' not in answer:
            raise Trouble(f'{message.decode().strip()}: {answer.decode().strip()}')
        return took

    def round_trips(self, message, n):
        """µs each; the median of n."""
        return statistics.median(self.ask(message) for _ in range(n)) * 1e6

    def close(self):
        self.sock.close()


def _started(rig, kvmd, api, name, xml=None):
    """Starts a machine and waits for its guest's first byte; its QMP socket."""
    rig.console.fresh(name)
    api.call('define', xml=xml or guest_xml(name, rig.guest('first'), rig.console.path(name), 16))
    api.call('start', name)
    rig.console.wait(name, lambda: True)
    return api.call('dominfo', name)['qmp']


def qmp(rig):
    """QMP round trip at the VM's socket, and through kvmd"""
    con, kvmd = rig.console, rig.kvmd()
    api = kvmd.ready()
    mine = Qmp(_started(rig, kvmd, api, 'qmp'))
    path = rig.folder('qemu.qmp')
    con.fresh('qmpq')
    pid = spawn(qemu_argv(rig.guest('first'), con.path('qmpq'), 16) + ['-qmp', f'unix:{path},server=on,wait=off'], rig.log)
    through = Qmp(kvmd.control, False)
    by_kvmd = ASK[:-2] + b',"vm":"qmp"}\n'
    got = {'mine': [], 'peer': [], 'through': []}
    try:
        con.wait('qmpq', alive(pid))
        peer = Qmp(path)
        for i in range(rig.rounds(20) + 1):
            for name, client, message in (('mine', mine, ASK), ('peer', peer, ASK), ('through', through, by_kvmd)):
                us = client.round_trips(message, 500)
                if i:
                    got[name].append(us)
        peer.close()
    finally:
        end(pid, signal.SIGKILL)
    mine.close()
    through.close()
    api.call('destroy', 'qmp')
    api.close()
    f = {k: Figures('µs', v) for k, v in got.items()}
    rates = {k: Figures('/s', [1e6 / x for x in v]) for k, v in got.items()}
    return [Line("QMP round trip at the VM's socket", f['mine'], f['peer'], 'QEMU microvm', ('≤', 60), True),
            Line('the same as a rate', rates['mine'], rates['peer'], 'QEMU microvm', ('≥', 1)),
            Line('QMP round trip through kvmd', f['through'], goal=('≤', 150), absolute=True)]


def plug(rig):
    """vCPU hot-add, the host's side: device_add until the vCPU's thread is in KVM_RUN"""
    n = 8
    kvmd = rig.kvmd()
    api, times = kvmd.ready(), []
    xml = guest_xml('plug', rig.guest('first'), rig.console.path('plug'), 16).replace('<vcpu>1', f"<vcpu current='1'>{n + 1}")
    for _ in range(rig.rounds(8)):
        q = Qmp(_started(rig, kvmd, api, 'plug', xml))
        pid = api.call('dominfo', 'plug')['pid']
        q.sock.sendall(b'{"execute":"query-hotpluggable-cpus"}\n')
        free = [s for s in json.loads(q.line())['return'] if 'qom-path' not in s]
        for i, slot in enumerate(reversed(free), 1):
            # the guest does not know ACPI: it neither takes nor refuses, all of the time is the host's
            message = json.dumps({'execute': 'device_add', 'arguments': {'driver': slot['type'], 'id': f'c{i}', **slot['props']}}).encode() + b'\n'
            before = time.perf_counter()
            q.ask(message)
            while not _runs(pid, f'vcpu{i}'):
                if time.perf_counter() - before > 5:
                    raise Trouble(f'vcpu{i} does not run')
            times.append((time.perf_counter() - before) * 1e3)
        q.close()
        api.call('destroy', 'plug')
    api.close()
    return [Line('vCPU hot-add until its thread is in KVM_RUN, host side', Figures('ms', times), goal=('≤', 5), absolute=True)]


def _runs(pid, name):
    """Does the thread of that name wait for its start signal inside KVM?"""
    for tid in sorted(os.listdir(f'/proc/{pid}/task'), key=int, reverse=True):
        try:
            with open(f'/proc/{pid}/task/{tid}/comm', encoding='ascii') as f:
                if f.read().strip() != name:
                    continue
            with open(f'/proc/{pid}/task/{tid}/syscall', encoding='ascii') as f:
                at = f.read().split()
                return at[0] == 'running' or at[:1] == ['16']           # ioctl
        except OSError:
            return False
    return False


def domstats(rig):
    """statistics of 200 running VMs; libvirt with 20"""
    n, m = 200, 20
    first, con = rig.guest('first'), rig.console
    kvmd, virt = rig.kvmd(), rig.libvirt()
    api, lapi = kvmd.ready(), virt.connect()
    got = {k: [] for k in ('verb', 'api', 'virsh', 'lapi')}
    names = [f'stat{i:03}' for i in range(n)]
    domains = []
    try:
        for name in names:
            api.call('define', xml=guest_xml(name, first, con.path('stats'), 16))
            api.call('start', name)
        for name in names[:m]:
            domains.append(lapi.defineXML(microvm_xml(name, first, con.path('lstats'), 16)))
            domains[-1].create()
        time.sleep(1)
        for i in range(rig.rounds(20) + 1):
            now = {'verb': run(kvmd.verb('domstats'), rig.log) * 1e3}
            before = time.perf_counter()
            rows = api.call('domstats')['domains']
            now['api'] = (time.perf_counter() - before) * 1e3
            if sum('vcpu.0.exits.sum' in r['stats'] for r in rows) < n:
                raise Trouble('kvmd does not tell of all')
            now['virsh'] = run(virt.verb('domstats'), rig.log) * 1e3
            before = time.perf_counter()
            if len(lapi.getAllDomainStats()) < m:
                raise Trouble('libvirt does not tell of all')
            now['lapi'] = (time.perf_counter() - before) * 1e3
            if i:
                for k, v in now.items():
                    got[k].append(v)
    finally:
        for d in domains:
            d.destroy()
        for name in names:
            try:
                api.call('destroy', name)
            except Trouble:
                pass
        api.close()
        lapi.close()

    def rate(k, count):
        return Figures('VMs/s', [count / v * 1e3 for v in got[k]])
    return [Line(f'`kvmctl domstats`, {n} running VMs', Figures('ms', got['verb']), goal=('≤', 50), absolute=True),
            Line('of that: the answer on an open connection', Figures('ms', got['api']), goal=('≤', 50), absolute=True),
            Line(f'domstats, per VM, API ({n} VMs; libvirt {m})', rate('api', n), rate('lapi', m), 'libvirt, QEMU microvm', ('≥', 10)),
            Line(f'domstats, per VM, command ({n} VMs; virsh {m})', rate('verb', n), rate('virsh', m), '`virsh domstats`', ('≥', 10))]


class Followers:
    """Clients that follow events and count those of one name."""

    def __init__(self, path, n, mark):
        self.mark, self.poll, self.socks = mark, select.epoll(), {}
        for _ in range(n):
            q = Qmp(path, False)
            q.ask(b'{"execute":"event","arguments":{"follow":true}}\n')
            q.sock.setblocking(False)
            self.socks[q.sock.fileno()] = [q, 0, b'']
            self.poll.register(q.sock.fileno(), select.EPOLLIN)

    def read(self, count, seconds):
        """Until each has had so many; the moment of the last."""
        until, left = time.monotonic() + seconds, len(self.socks)
        for s in self.socks.values():
            s[1] = 0
        while left:
            if time.monotonic() > until:
                raise Trouble(f'{left} of {len(self.socks)} followers did not get all events; one has {min(s[1] for s in self.socks.values()):,}')
            for fd, _ in self.poll.poll(1):
                s = self.socks[fd]
                data = s[0].sock.recv(1 << 20)
                if not data:
                    raise Trouble('kvmd cut a follower off')
                whole = s[2] + data
                at = whole.rfind(b'\n') + 1
                s[2] = whole[at:]
                before = s[1]
                s[1] += whole.count(self.mark, 0, at)
                left -= before < count <= s[1]
        if any(s[1] != count for s in self.socks.values()):
            raise Trouble('a follower got an event twice')
        return time.perf_counter()

    def close(self):
        self.poll.close()
        for s in self.socks.values():
            s[0].close()


def events(rig):
    """events of 20 machines, a thousand each, to 100 followers"""
    machines, each, followers = 20, 1000, 100
    kvmd = Kvmd(rig.build, rig.folder('events'), os.path.abspath(f'{rig.build}/tests/daemon/fake-worker'))
    kvmd.start()
    rates, memory = [], []
    try:
        api = kvmd.ready()
        crowd = Followers(kvmd.control, followers, b'"event":"BURST"')
        for i in range(rig.rounds(8)):
            socks = []
            for m in range(machines):   # new ones: a machine may say a thousand things at once, then one a second
                name = f'noise{i}-{m}'
                api.call('define', xml=guest_xml(name, rig.guest('first'), rig.console.path('noise'), 16))
                api.call('start', name)
                s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                s.connect(api.call('dominfo', name)['qmp'])
                socks.append(s)
            before = time.perf_counter()
            for s in socks:
                s.sendall(b'{"execute":"x-burst","arguments":{"text":"%d"}}\n' % each)
            rates.append(machines * each / (crowd.read(machines * each, 60) - before))
            memory.append(_rss(kvmd.pid))
            for m, s in enumerate(socks):
                s.close()
                api.call('destroy', f'noise{i}-{m}')
        crowd.close()
        api.close()
    finally:
        kvmd.stop()
    return [Line(f'events to {followers} followers, none lost, each', Figures('/s', rates), goal=('≥', 20000), absolute=True),
            Line('kvmd\'s memory meanwhile (RSS)', Figures('MiB', memory), goal=('≤', 30), absolute=True)]


def _rss(pid):
    with open(f'/proc/{pid}/status', encoding='ascii') as f:
        return int(re.search(r'VmRSS:\s+(\d+)', f.read())[1]) / 1024
