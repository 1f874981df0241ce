# SPDX-License-Identifier: GPL-2.0-or-later
"""Rows about one machine: its start, its process, its exits."""
import os
import re
import signal
import subprocess
import time

from ours import Worker, guest_xml
from peers import bare_argv, microvm_xml, qemu_argv
from rig import Figures, Line, Trouble, alive, cpu_between, cpu_of, end, finish, spawn, warm

MIB = 128


def start(rig):
    """`kvmctl start` → first byte of a flat guest on its console"""
    first, con = rig.guest('first'), rig.console
    kvmd, virt = rig.kvmd(), rig.libvirt()
    api, lapi = kvmd.ready(), virt.connect()
    api.call('define', xml=guest_xml('first', first, con.path('kvmd'), MIB))
    domain = lapi.defineXML(microvm_xml('first', first, con.path('libvirt'), MIB))
    times = {'kvmd': [], 'libvirt': [], 'qemu': [], 'bare': []}
    told = []

    def by_verb(name, argv):
        con.fresh(name)
        warm()
        before = time.perf_counter()
        pid = spawn(argv, rig.log)
        moment = con.wait(name, alive(pid, True))
        finish(pid, ' '.join(argv))
        if name == 'kvmd':
            told.append((time.perf_counter() - before) * 1e3)
        return moment - before

    def by_process(name, argv, stdout=None):
        con.fresh(name)
        warm()
        before = time.perf_counter()
        pid = spawn(argv, rig.log, stdout)
        try:
            return con.wait(name, alive(pid)) - before
        finally:
            end(pid, signal.SIGKILL)

    runs = {
        'kvmd': lambda: by_verb('kvmd', kvmd.verb('start', 'first')),
        'libvirt': lambda: by_verb('libvirt', virt.verb('start', 'first')),
        'qemu': lambda: by_process('qemu', qemu_argv(first, con.path('qemu'), MIB)),
        'bare': lambda: by_process('bare', bare_argv(rig.build, first, MIB), con.path('bare')),
    }
    for i in range(rig.rounds(20) + 2):
        for name, measure in runs.items():
            seconds = measure()
            if name == 'kvmd':
                api.call('destroy', 'first')
            elif name == 'libvirt':
                domain.destroy()
            if i >= 2:          # the first ones fill caches (libvirt asks QEMU what it can do)
                times[name].append(seconds * 1e3)
    lapi.close()
    api.close()
    f = {name: Figures('ms', values) for name, values in times.items()}
    what = '`kvmctl start` → first byte on the console'
    return [Line(what, f['kvmd'], f['libvirt'], '`virsh start` of QEMU microvm', ('≤', 1 / 15)),
            Line(what, f['kvmd'], f['qemu'], '`qemu-system-x86_64 -M microvm`', ('≤', 0.4)),
            Line(what, f['kvmd'], f['bare'], 'bare KVM loop'),
            Line('`kvmctl start`, until it returns', Figures('ms', told[2:]))]


def worker(rig):
    """worker start → first KVM_RUN, seen as: exec → first byte, for the worker and for a minimal loop of KVM ioctls"""
    first, con = rig.guest('first'), rig.console
    w = Worker(rig.build, rig.folder('worker'), guest_xml('worker', first, con.path('worker'), MIB))
    ours, bare = [], []
    for i in range(rig.rounds(30) + 2):
        con.fresh('worker')
        with open(con.path('worker'), 'wb'):
            pass                # the worker gets it open
        os.chmod(con.path('worker'), 0o666)
        warm()
        before, pid, sock = w.start()
        try:
            a = con.wait('worker', alive(pid)) - before
        except Trouble as e:
            with open(w.log, encoding='utf-8', errors='replace') as f:
                raise Trouble(f'{e}: {f.read()[-300:]}') from None
        finally:
            w.stop(pid, sock)
        con.fresh('bare')
        warm()
        before = time.perf_counter()
        pid = spawn(bare_argv(rig.build, first, MIB), rig.log, con.path('bare'))
        try:
            b = con.wait('bare', alive(pid)) - before
        finally:
            end(pid, signal.SIGKILL)
        if i >= 2:
            ours.append(a * 1e3)
            bare.append(b * 1e3)
    return [Line('worker: exec → first guest byte', Figures('ms', ours), Figures('ms', bare), 'bare KVM loop', ('≤', 3))]


def _memory(pid, ram):
    """PSS and private KiB of a process without its guest's memory."""
    pss = private = skipped = 0
    inside = False
    with open(f'/proc/{pid}/smaps', encoding='utf-8') as f:
        for line in f:
            head = re.match(r'([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ \d+\s*(.*)', line)
            if head:
                size = int(head[2], 16) - int(head[1], 16)
                # a file of memory without a name, or anonymous memory of just its size
                inside = 'memfd:ram' in head[3] or (head[3].endswith('(deleted)') and size >= ram // 2) or (not head[3] and size == ram)
                skipped += size if inside else 0
            elif not inside and line.startswith('Pss:'):
                pss += int(line.split()[1])
            elif not inside and line.startswith('Private_'):
                private += int(line.split()[1])
    if skipped < ram:
        raise Trouble(f'the guest\'s memory was not found in /proc/{pid}/smaps')
    return pss / 1024, private / 1024


def memory(rig):
    """PSS of an idle worker beyond its guest's 128 MiB, one vCPU, against QEMU's"""
    first, con, kvmd = rig.guest('first'), rig.console, rig.kvmd()
    api = kvmd.ready()
    api.call('define', xml=guest_xml('idle', first, con.path('idle'), MIB))
    ours, peers, private = [], [], []
    for _ in range(rig.rounds(5)):
        con.fresh('idle')
        pid = api.call('start', 'idle')['pid']
        con.wait('idle')
        time.sleep(1)
        pss, own = _memory(pid, MIB << 20)
        ours.append(pss)
        private.append(own)
        api.call('destroy', 'idle')
        con.fresh('qemu')
        pid = spawn(qemu_argv(first, con.path('qemu'), MIB), rig.log)
        try:
            con.wait('qemu', alive(pid))
            time.sleep(1)
            peers.append(_memory(pid, MIB << 20)[0])
        finally:
            end(pid, signal.SIGKILL)
    api.call('undefine', 'idle')
    api.close()
    return [Line('worker\'s PSS beyond the guest\'s memory', Figures('MiB', ours), Figures('MiB', peers), 'QEMU microvm', ('≤', 4), True),
            Line('of that private to it', Figures('MiB', private))]


def touch(rig):
    """first touch of guest memory: 256 MiB, a page at a time, against QEMU; memory is warm, so that the host below does not count"""
    guest, con, kvmd, hz, mib = rig.guest('touch'), rig.console, rig.kvmd(), rig.tsc_hz(), 256
    api = kvmd.ready()
    api.call('define', xml=guest_xml('touch', guest, con.path('touch'), mib + 64, f'mib={mib}'))

    def told(name, check):
        con.wait(name, check)
        until = time.monotonic() + 60
        while time.monotonic() < until:
            with open(con.path(name), encoding='ascii', errors='replace') as f:
                m = re.search(r'pages (\d+) cycles (\d+)\ndone', f.read().replace('\r', ''))
            if m:
                return int(m[2]) / int(m[1]) / hz * 1e6
            con.more()
        raise Trouble('the guest told nothing')

    def ours():
        con.fresh('touch')
        warm(mib + 64)
        api.call('start', 'touch')
        try:
            return told('touch', None)
        finally:
            api.call('destroy', 'touch')

    def qemu():
        con.fresh('qemu')
        warm(mib + 64)
        pid = spawn(qemu_argv(guest, con.path('qemu'), mib + 64, f'mib={mib}'), rig.log)
        try:
            return told('qemu', alive(pid))
        finally:
            end(pid, signal.SIGKILL)

    values = {ours: [], qemu: []}
    for i in range(rig.rounds(12)):
        for side in (ours, qemu) if i % 2 else (qemu, ours):
            values[side].append(side())
    api.call('undefine', 'touch')
    api.close()
    return [Line('first touch of a 4 KiB page', Figures('µs', values[ours]), Figures('µs', values[qemu]), 'QEMU microvm', ('≤', 1))]


IDLE = """<controller type='virtio-serial'/><channel type='unix'><source mode='bind' path='{socket}'/><target type='virtio' name='org.example.0'/></channel>
<console type='pty'><target type='virtio'/></console><rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
<memballoon model='virtio'/>"""


def idle(rig):
    """a halted machine with all kinds of devices: CPU time of its process in 3 s, and PSS beyond its memory"""
    first, con, kvmd = rig.guest('first'), rig.console, rig.kvmd()
    api, name = kvmd.ready(), 'devices'
    images = []
    for i in range(2):
        images.append(os.path.join(rig.root, f'idle{i}.img'))
        with open(images[-1], 'wb') as f:
            f.truncate(64 << 20)
        os.chmod(images[-1], 0o666)
    disks = ''.join(f"<disk type='file' device='disk'><driver type='raw' cache='none'/><source file='{p}'/><target dev='vd{'ab'[i]}' bus='virtio'/></disk>"
                    for i, p in enumerate(images))
    api.call('define', xml=guest_xml(name, first, con.path(name), MIB).replace('<devices>', '<devices>' + disks + IDLE.format(socket=os.path.join(rig.root, 'idle.sock'))))
    percent, pss = [], []
    for _ in range(rig.rounds(5)):
        con.fresh(name)
        pid = api.call('start', name)['pid']
        con.wait(name)
        time.sleep(1)
        before, begun = cpu_of(pid, True), time.perf_counter()
        time.sleep(3)
        percent.append(cpu_between(before, cpu_of(pid, True)) / (time.perf_counter() - begun) / 1e7)
        pss.append(_memory(pid, MIB << 20)[0])
        api.call('destroy', name)
    api.call('undefine', name)
    api.close()
    what = 'idle, with disks, console, channel, rng, balloon'
    return [Line(what + ': of a processor', Figures('%', percent, 3), None, '', ('≤', 0.1), True),
            Line(what + ': PSS beyond the guest\'s memory', Figures('MiB', pss), None, '', ('≤', 6), True)]


LINUX = {       # what: arguments of cmdline.sh
    "the tests' command line": ('suite', '4'),
    "the tests', time not slowed": ('suite', '1'),
    'console=ttyS0': ('product',),
}


def linux(rig):
    """the tests' Linux with ACPI, PCI and its hot-plug, one vCPU, 128 MiB: `kvmctl start` → its userland"""
    con, kvmd, folder, lines = rig.console, rig.kvmd(), f'{rig.build}/linux', []
    if not os.path.exists(f'{folder}/vmlinux'):
        raise Trouble(f'no {folder}/vmlinux: `tests/guest/linux/build.sh {folder}` makes it in some minutes')
    api = kvmd.ready()
    for what, words in LINUX.items():
        command = subprocess.run(['bash', 'tests/guest/linux/cmdline.sh', *words], env=dict(os.environ, OUTDIR=folder), check=True,
                                 capture_output=True, text=True).stdout.strip()
        xml = guest_xml('linux', os.path.abspath(f'{folder}/vmlinux'), con.path('linux'), MIB, command)
        api.call('define', xml=xml.replace('</kernel>', f"</kernel><initrd>{os.path.abspath(folder)}/initramfs.cpio</initrd>", 1))
        seconds = []
        for _ in range(rig.rounds(4)):
            con.fresh('linux')
            before = time.perf_counter()
            api.call('start', 'linux')
            until = time.monotonic() + 300
            with open(con.path('linux'), encoding='ascii', errors='replace') as f:
                text = ''
                while 'KVMD-GUEST-UP' not in text:
                    if time.monotonic() > until:
                        raise Trouble(f'Linux did not come up; its console ended with: {text[-200:]!r}')
                    con.more()
                    text += f.read()
            seconds.append(time.perf_counter() - before)
            api.call('destroy', 'linux')
        api.call('undefine', 'linux')
        lines.append(Line(f'Linux to its userland, {what}', Figures('s', seconds), None, '', ('≤', 20) if not lines else None, True))
    api.close()
    return lines


def _cycles(text):
    found = {m[1]: int(m[3]) / int(m[2]) for m in re.finditer(r'(\w+ \w+) (\d+) in (\d+) cycles', text)}
    if not found or 'done' not in text:
        raise Trouble(f'the guest said: {text[-200:]!r}')
    return found


EXITS = {       # what: (the guest's command line, its name for that)
    'out to a port nobody has': ('pio=1000 mmio=0', 'pio writes'),
    'in from the serial port': ('pio=0 mmio=0 reads=1000 port=0x3fd', 'pio reads'),
    'store to memory nobody has': ('pio=0 mmio=1000', 'mmio writes'),
}


def exits(rig):
    """round trip of port and MMIO exits in the worker, against the bare loop; the guest measures"""
    guest, con, kvmd = rig.guest('exits'), rig.console, rig.kvmd()
    api, hz, lines = kvmd.ready(), rig.tsc_hz(), []

    def ours(key):
        con.fresh('exits')
        warm(16)
        api.call('start', 'exits')
        api.call('wait', 'exits', state='off', timeout=60)
        return told('exits', key)

    def bare(key):
        con.fresh('bare')
        warm(16)
        finish(spawn(bare_argv(rig.build, guest, MIB, cmdline), rig.log, con.path('bare')), 'bare')
        return told('bare', key)

    def told(name, key):
        with open(con.path(name), encoding='ascii', errors='replace') as f:
            return _cycles(f.read())[key] / hz * 1e6

    for what, (cmdline, key) in EXITS.items():
        api.call('define', xml=guest_xml('exits', guest, con.path('exits'), MIB, cmdline))
        values = {ours: [], bare: []}
        # short runs in the order ABBA: a busy host hits few of them, and both alike
        for i in range(rig.rounds(60)):
            for side in (ours, bare) if i % 2 else (bare, ours):
                values[side].append(side(key))
        lines.append(Line('exit: ' + what, Figures('µs', values[ours]), Figures('µs', values[bare]), 'bare KVM loop', ('≤', 1.05)))
        api.call('undefine', 'exits')
    api.close()
    return lines
