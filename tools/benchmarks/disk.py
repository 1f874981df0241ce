# SPDX-License-Identifier: GPL-2.0-or-later
"""Rows about disks: flat-blk drives the same queues under kvmd and QEMU, blkhost does the same I/O on the host."""
import os
import re
import shutil
import signal
import subprocess
import time

from ours import disk_xml
from peers import qemu_disk_argv
from rig import Figures, Line, Trouble, alive, cpu_between, cpu_of, end, spawn, warm

MIB = 128
SIZE = 1 << 30


class Result:
    def __init__(self, text, hz, cpu_ns=None):
        m = re.search(r'operations (\d+) cycles (\d+) p50 (\d+) p99 (\d+)(.*)', text)
        if not m or 'done' not in text:
            raise Trouble(f'the guest said: {text[-200:]!r}')
        n, cycles = int(m[1]), int(m[2])
        told = dict(re.findall(r'(\w+) (\d+)', m[5]))
        if int(told.get('errors', 0)) or int(told.get('wrong', 0)) or not n:
            raise Trouble(f'I/O errors: {m[0]}')
        self.rate = n / (cycles / hz)
        self.p50, self.p99 = (int(v) / hz * 1e6 for v in (m[3], m[4]))
        self.cpu = (cpu_ns if cpu_ns is not None else int(told['cpu_ns'])) / n / 1e3
        self.kicks = int(told.get('kicks', 0)) / n


def interrupts():
    """How often each line came so far, by processor."""
    with open('/proc/interrupts', encoding='ascii') as f:
        rows = [line.split() for line in f]
    n = len(rows[0])
    return {r[0]: [int(v) for v in r[1:n + 1]] for r in rows if r[0].rstrip(':').isdigit() and len(r) > n}


class Places:
    """Processors for the threads of all sides alike: the I/O threads where the disk interrupts, the vCPU elsewhere."""

    def __init__(self, io):
        """io: does what makes the disk interrupt."""
        before = interrupts()
        io()
        came = [[b - a for a, b in zip(before.get(irq, now), now)] for irq, now in interrupts().items()]
        most = max(came, key=max)
        cpus = sorted(os.sched_getaffinity(0))
        self.io = most.index(max(most))
        if self.io not in cpus:
            self.io = cpus[-1]
        self.vcpu = next((c for c in cpus if c != self.io), self.io)

    def put(self, pid):
        """All threads that there are."""
        for tid in os.listdir(f'/proc/{pid}/task'):
            try:
                with open(f'/proc/{pid}/task/{tid}/comm', encoding='ascii') as f:
                    is_vcpu = f.read().startswith(('CPU ', 'vcpu'))
                os.sched_setaffinity(int(tid), {self.vcpu if is_vcpu else self.io})
            except OSError:
                pass                            # it has just ended, or is the kernel's


def watched(con, name, pid, child, places=None):
    """The guest's words, and the CPU time (ns) of its process, without the vCPU's thread, between "go" and its results."""
    path, before, used, until = con.path(name), None, None, time.monotonic() + 60
    while time.monotonic() < until:
        if places and before is None:
            places.put(pid)                     # its threads appear one by one
            con.more(0.01)
        else:
            con.more()
        try:
            with open(path, encoding='ascii', errors='replace') as f:
                text = f.read()
        except FileNotFoundError:
            continue
        if before is None and 'go\n' in text:
            before = cpu_of(pid)
        if before is not None and used is None and 'operations' in text:
            used = cpu_between(before, cpu_of(pid))
        if 'done' in text:
            return text, used
        if 'failed' in text or (child and not alive(pid)()):
            raise Trouble(f'the guest said: {text[-200:]!r}')
    raise Trouble(f'the guest wrote no result to {name}')


class Share:
    """A group like the one kvmd gives each machine: on a busy host, tasks of a group share what one task outside gets."""

    def __init__(self):
        self.folder = None

    def learn(self, pid):
        if self.folder is not None:
            return
        self.folder = ''
        with open(f'/proc/{pid}/cgroup', encoding='ascii') as f:
            for line in f:
                _, names, path = line.strip().split(':', 2)
                top = '/sys/fs/cgroup' + ('/cpu' if names else '')
                if names.split(',')[0] in ('cpu', '') and path.count('/') > 1 and os.path.isdir(top + path):
                    self.folder = os.path.join(top + os.path.dirname(path), 'bench-peer')
                    shares = os.environ.get('KVMD_BENCH_SHARES')
                    if shares and names:        # both sides' group against the rest of a busy host; 1024 is what a task has
                        with open(top + os.path.dirname(path) + '/cpu.shares', 'w', encoding='ascii') as g:
                            g.write(shares)
                        # we must be there when a guest begins and ends, too
                        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))

    def join(self, pid):
        if self.folder:
            os.makedirs(self.folder, exist_ok=True)
            with open(os.path.join(self.folder, 'cgroup.procs'), 'w', encoding='ascii') as f:
                f.write(str(pid))

    def leave(self):
        try:
            if self.folder:
                os.rmdir(self.folder)
        except OSError:
            pass                                # somebody is just ending in it: it stays until kvmd cleans up


class Disks:
    """One image, and the three who do I/O on it."""

    def __init__(self, rig, image, fmt='raw', null=False):
        self.rig, self.image, self.format, self.null = rig, image, fmt, null
        self.share = Share()
        self.guest, self.hz, self.api = rig.guest('blk'), rig.tsc_hz(), rig.kvmd().ready()
        self.places = None

    def ours(self, **p):
        con, api, name = self.rig.console, self.api, 'disk'
        con.fresh(name)
        cmdline = ' '.join(f'{k}={v}' for k, v in p.items()) + f' hz={self.hz:.0f}'
        api.call('define', xml=disk_xml(name, self.guest, con.path(name), self.image, self.format, cmdline, MIB, self.null))
        warm(MIB)
        pid = api.call('start', name)['pid']
        self.share.learn(pid)
        try:
            return Result(*self._with(name, pid, False))
        finally:
            try:
                api.call('destroy', name)
            except Trouble:
                pass
            api.call('undefine', name)

    def qemu(self, **p):
        con, name = self.rig.console, 'qemu'
        con.fresh(name)
        cmdline = ' '.join(f'{k}={v}' for k, v in p.items()) + f' hz={self.hz:.0f}'
        warm(MIB)
        pid = spawn(qemu_disk_argv(self.guest, con.path(name), self.image, self.format, cmdline, MIB, SIZE if self.null else 0), self.rig.log)
        try:
            self.share.join(pid)
            return Result(*self._with(name, pid, True))
        finally:
            end(pid, signal.SIGKILL)
            self.share.leave()

    def _with(self, name, pid, child):
        text, used = watched(self.rig.console, name, pid, child, self.places)
        return text, self.hz, used

    def limit(self, **q):
        """The least that any program gets: it never sleeps, and where the disk interrupts."""
        return self.host(poll=1, **q)

    def host(self, **q):
        argv = [os.path.abspath(f'{self.rig.build}/tools/benchmarks/blkhost'), self.image] + [f'{k}={v}' for k, v in q.items()]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as p:
            self.share.join(p.pid)
            if self.places:
                self.places.put(p.pid)
            out, err = p.communicate()
        self.share.leave()
        if p.returncode:
            raise Trouble(f'blkhost: {err.strip()}')
        return Result(out, self.hz)


def turns(rounds, sides, **p):
    """Each side once per round, in changing order; the first round does not count."""
    got = {side: [] for side in sides}
    for i in range(rounds + 1):
        for side in sides if i % 2 else reversed(sides):
            r = side(**p)
            if i:
                got[side].append(r)
    return [got[side] for side in sides]


def rates(results, bs):
    if bs >= 1 << 16:
        return Figures('MB/s', [r.rate * bs / 1e6 for r in results])
    return Figures('k/s', [r.rate / 1e3 for r in results])


def latency(results):
    return Figures('µs', [r.p50 for r in results])


def cpu(results):
    return Figures('µs', [r.cpu for r in results], 2)


def image(rig, folder, name, size=SIZE):
    """A raw image all of which is written."""
    path = os.path.join(folder, name)
    with open(path, 'wb') as f:
        block = os.urandom(1 << 20)
        for _ in range(size >> 20):
            f.write(block)
        f.flush()
        os.fsync(f.fileno())
        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    os.chmod(path, 0o666)
    return path


def places(rig):
    """Where images lie: a disk, and tmpfs."""
    disk = os.environ.get('KVMD_BENCH_DISK', '/var/tmp')
    for kind, top in (('disk', disk), ('tmpfs', '/dev/shm')):
        folder = os.path.join(top, f'kvmd-bench-{os.getpid()}')
        os.makedirs(folder, exist_ok=True)
        os.chmod(folder, 0o755)
        try:
            yield kind, folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def lines_of(what, goal, key, three, bs, peers=('host io_uring loop', 'QEMU')):
    """The figure that has a goal, then CPU per operation beside it."""
    ours, host, qemu = three
    out = []
    figure = latency if key == 'latency' else lambda r: rates(r, bs)
    for who, name, of in ((host, peers[0], 'host'), (qemu, peers[1], 'qemu')):
        if who:
            out.append(Line(what + (': latency p50' if key == 'latency' else ''), figure(ours), figure(who), name, goal.get(of)))
    out.append(Line(what + ': host CPU per operation', cpu(ours), cpu(qemu or host), peers[1] if qemu else peers[0]))
    return out


def blk(rig):
    """raw disk, cache=none, on disk and on tmpfs: 4 KiB random QD 32 and QD 1, 1 MiB sequential"""
    lines, ms = [], 250
    for kind, folder in places(rig):
        d = Disks(rig, image(rig, folder, 'raw.img'))
        sides = [d.ours, d.host, d.qemu]
        for op in ('randread', 'randwrite'):
            got = turns(rig.rounds(12), sides, op=op, bs=4096, qd=32, ms=ms, warm=50)
            lines += lines_of(f'{kind}: 4 KiB {op} QD 32', {'host': ('≥', 0.95)}, 'rate', got, 4096)
            got = turns(rig.rounds(12), sides, op=op, bs=4096, qd=1, ms=ms, warm=50)
            lines += lines_of(f'{kind}: 4 KiB {op} QD 1', {'qemu': ('≤', 0.9)}, 'latency', got, 4096)
            if kind == 'tmpfs':
                continue
            d.places = Places(lambda: d.host(op='randread', bs=4096, qd=1, ms=100))
            got = turns(rig.rounds(12), [*sides, d.limit], op=op, bs=4096, qd=1, ms=ms, warm=50)
            d.places = None
            what = f'{kind}: 4 KiB {op} QD 1, threads placed alike'
            lines += lines_of(what, {}, 'latency', got[:3], 4096)
            lines.append(Line(what + ': latency p50', latency(got[0]), latency(got[3]), 'host loop that only polls'))
            lines.append(Line(what + ': latency p50, of the least there is', latency(got[3]), latency(got[2]), 'QEMU'))
        for op in ('read', 'write'):
            got = turns(rig.rounds(8), sides, op=op, bs=1 << 20, qd=8, ms=ms, warm=50)
            lines += lines_of(f'{kind}: 1 MiB {op} QD 8', {'host': ('≥', 0.97)}, 'rate', got, 1 << 20)
    return lines


def blknull(rig):
    """null disk, 4 KiB, QD 1 and 32, against QEMU's null-co with a polling iothread"""
    lines = []
    folder = rig.folder('null')
    os.makedirs(folder, exist_ok=True)
    os.chmod(folder, 0o755)
    path = os.path.join(folder, 'null.img')
    with open(path, 'wb') as f:
        f.truncate(SIZE)
    os.chmod(path, 0o666)
    d = Disks(rig, path, null=True)
    for qd in (1, 32):
        ours, qemu = turns(rig.rounds(12), [d.ours, d.qemu], op='randread', bs=4096, qd=qd, ms=250, warm=50)
        what = f'null disk: 4 KiB QD {qd}'
        lines += [Line(what, rates(ours, 4096), rates(qemu, 4096), 'QEMU null-co', ('≥', 1.2)),
                  Line(what + ': host CPU per operation', cpu(ours), cpu(qemu), 'QEMU null-co', ('≤', 1))]
    return lines


def qcow2(rig):
    """qcow2: allocated clusters against our raw, first writes against QEMU's"""
    lines = []
    for kind, folder in places(rig):
        raw, full, empty = (os.path.join(folder, n) for n in ('raw.img', 'full.qcow2', 'empty.qcow2'))
        image(rig, folder, 'raw.img')
        subprocess.run(['qemu-img', 'convert', '-O', 'qcow2', raw, full], check=True)
        os.chmod(full, 0o666)
        on_raw, on_full, first = Disks(rig, raw), Disks(rig, full, 'qcow2'), Disks(rig, empty, 'qcow2')

        def fresh(side):
            def run(**p):
                if os.path.exists(empty):
                    os.unlink(empty)
                subprocess.run(['qemu-img', 'create', '-q', '-f', 'qcow2', empty, str(SIZE)], check=True)
                os.chmod(empty, 0o666)
                return side(**p)
            return run

        for op in ('randread', 'randwrite'):
            got = turns(rig.rounds(8), [on_full.ours, on_raw.ours, on_full.qemu], op=op, bs=4096, qd=32, ms=250, warm=50)
            lines += lines_of(f'{kind}: qcow2 4 KiB {op} QD 32, allocated', {'host': ('≥', 0.9)}, 'rate', got, 4096,
                              ('our raw', 'QEMU'))
        ours, qemu = turns(rig.rounds(8), [fresh(first.ours), fresh(first.qemu)], op='scatter', bs=4096, qd=32, ms=400, ops=4000)
        lines += lines_of(f'{kind}: qcow2 first writes of 4 KiB QD 32', {'qemu': ('≥', 1)}, 'rate', [ours, None, qemu], 4096)
    return lines
