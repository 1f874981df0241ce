# SPDX-License-Identifier: GPL-2.0-or-later
"""What all measurements share: processes, the first byte of a guest's console, warm memory, figures."""
import ctypes
import mmap
import os
import select
import signal
import statistics
import struct
import time

IN_MODIFY = 2
libc = ctypes.CDLL(None, use_errno=True)
DEADLINE = 60


class Trouble(Exception):
    """A measurement that cannot be made; the text says why."""


def spawn(argv, log=None, stdout=None, fds=(), env=None):
    """Starts a program the quickest way there is (no copy of our memory). fds: (ours, its number)."""
    actions = [(os.POSIX_SPAWN_OPEN, 0, '/dev/null', os.O_RDONLY, 0),
               (os.POSIX_SPAWN_OPEN, 1, stdout or log or '/dev/null', os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
               (os.POSIX_SPAWN_OPEN, 2, log or '/dev/null', os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)]
    actions += [(os.POSIX_SPAWN_DUP2, ours, its) for ours, its in fds]
    return os.posix_spawn(argv[0], argv, env or os.environ, file_actions=actions)


def finish(pid, what='a program'):
    """Waits for a child that must succeed."""
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code:
        raise Trouble(f'{what} ended with status {code}')


def end(pid, sig=signal.SIGTERM):
    try:
        os.kill(pid, sig)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        pass


def alive(pid, may_succeed=False):
    """A question for Console.wait: does our child still run (or has it done its part)?"""
    def check():
        r = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return r is None or (may_succeed and r.si_status == 0)
    return check


def cpu_of(pid, vcpus=False):
    """ns of CPU time of a machine's threads, by thread; those of vCPUs, which poll, if asked for; the kernel's helpers count."""
    ns = {}
    for tid in os.listdir(f'/proc/{pid}/task'):
        try:
            with open(f'/proc/{pid}/task/{tid}/comm', encoding='ascii') as f:
                comm = f.read()
            if not vcpus and comm.startswith(('CPU ', 'vcpu')):
                continue
            with open(f'/proc/{pid}/task/{tid}/schedstat', encoding='ascii') as f:
                ns[tid] = int(f.read().split()[0])
        except FileNotFoundError:
            pass                                # it has just ended
    return ns


def cpu_between(before, after):
    """What was used from one cpu_of to the next; threads that ended in between are not known any more."""
    return sum(ns - before.get(tid, 0) for tid, ns in after.items())


def run(argv, log=None):
    """Seconds from spawn to a successful end."""
    start = time.perf_counter()
    finish(spawn(argv, log), ' '.join(argv[:3]))
    return time.perf_counter() - start


def warm(mib=96):
    """A host below us may take free pages away within seconds, and they are slow to come back: touch some, give them up."""
    m = mmap.mmap(-1, mib << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    m.madvise(mmap.MADV_NOHUGEPAGE)
    m[::4096] = b'\1' * (mib << 8)
    m.close()


class Console:
    """A folder with the files guests' serial ports write to; tells when one gets its first byte."""

    def __init__(self, folder):
        self.folder = folder
        os.makedirs(folder, exist_ok=True)
        os.chmod(folder, 0o777)
        self.fd = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self.fd < 0 or libc.inotify_add_watch(self.fd, folder.encode(), IN_MODIFY) < 0:
            raise Trouble('inotify: ' + os.strerror(ctypes.get_errno()))

    def path(self, name):
        return os.path.join(self.folder, name)

    def _events(self):
        try:
            data = os.read(self.fd, 65536)
        except BlockingIOError:
            return
        at = 0
        while at < len(data):
            length = struct.unpack_from('iIII', data, at)[3]
            yield data[at + 16:at + 16 + length].rstrip(b'\0').decode()
            at += 16 + length

    def more(self, seconds=0.2):
        """Waits a moment for something to be written."""
        select.select([self.fd], [], [], seconds)
        self.forget()

    def forget(self):
        for _ in self._events():
            pass

    def fresh(self, name):
        """Forgets what was: the file is made anew by whoever writes it."""
        path = self.path(name)
        if os.path.exists(path):
            os.unlink(path)
        self.forget()
        return path

    def wait(self, name, alive=None):
        """The moment (perf_counter) at which something was written to the file."""
        until = time.monotonic() + DEADLINE
        while time.monotonic() < until:
            select.select([self.fd], [], [], 1)
            if name in self._events():
                return time.perf_counter()
            if alive and not alive():
                break
        raise Trouble(f'the guest wrote nothing to {name}')


class Figures:
    """Values of one thing, in one unit."""

    def __init__(self, unit, values, digits=None):
        self.unit, self.values, self.digits = unit, list(values), digits

    @property
    def median(self):
        return statistics.median(self.values)

    def _number(self, v):
        digits = self.digits
        if digits is None:
            digits = 0 if v >= 100 else 1 if v >= 10 else 2
        return f'{v:,.{digits}f}'

    def __str__(self):
        text = f'{self._number(self.median)} {self.unit}'
        if len(self.values) > 1:
            text += f' ({self._number(min(self.values))}–{self._number(max(self.values))})'
        return text

    def json(self):
        return {'unit': self.unit, 'median': self.median, 'min': min(self.values), 'max': max(self.values), 'values': self.values}


def ratio(ours, peers):
    """Median of the ratios of neighbouring runs: what slows both for a while does not count."""
    if len(ours.values) != len(peers.values):
        return ours.median / peers.median       # not measured in turns
    return statistics.median([a / b for a, b in zip(ours.values, peers.values) if b > 0] or [0.0])


class Line:
    """One line of the table. goal: (sign, limit): of the ratio, or of the figure itself when absolute is set."""

    def __init__(self, what, ours, peer=None, peer_name='', goal=None, absolute=False, note=''):
        self.what, self.ours, self.peer, self.peer_name = what, ours, peer, peer_name
        self.goal, self.absolute, self.note = goal, absolute, note
        self.ratio = ratio(ours, peer) if peer else None

    @property
    def met(self):
        if not self.goal:
            return None
        sign, limit = self.goal
        value = self.ours.median if self.absolute else self.ratio
        return value <= limit if sign == '≤' else value >= limit

    def cells(self):
        goal = ''
        if self.goal:
            goal = f'{self.goal[0]} {self.goal[1]:,.4g}' + (f' {self.ours.unit}' if self.absolute else ' ×')
        r = f'{self.ratio:.3g} ×' if self.ratio is not None else ''
        peer = f'{self.peer_name}: {self.peer}' if self.peer else self.peer_name
        return [self.what, str(self.ours), peer, r, goal, {None: '', True: 'met', False: 'missed'}[self.met]]

    def json(self):
        return {'what': self.what, 'kvmd': self.ours.json(), 'peer_name': self.peer_name, 'peer': self.peer and self.peer.json(),
                'ratio': self.ratio, 'goal': self.goal, 'absolute': self.absolute, 'met': self.met, 'note': self.note}


HEADS = ['what', 'kvmd: median (min–max)', 'peer', 'ratio', 'goal', 'verdict']


def text_table(lines):
    rows = [HEADS] + [line.cells() for line in lines]
    widths = [max(len(r[i]) for r in rows) for i in range(len(HEADS))]
    out = ['  '.join(c.ljust(w) for c, w in zip(r, widths)).rstrip() for r in rows]
    out.insert(1, '  '.join('-' * w for w in widths))
    return '\n'.join(out)


def markdown_table(lines):
    rows = [HEADS, ['---'] * len(HEADS)] + [line.cells() for line in lines]
    return '\n'.join('| ' + ' | '.join(r) + ' |' for r in rows)
