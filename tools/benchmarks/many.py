# SPDX-License-Identifier: GPL-2.0-or-later
"""Rows about many machines: definitions, starts and ends, XML."""
import os
import re
import subprocess
import threading
import time

from ours import Api, Kvmd, guest_xml
from peers import Libvirt, microvm_xml
from rig import Figures, Line, Trouble, end, finish, run, spawn

PARALLEL = 20


def _typical_xml(i, mib=512):
    """What an installer writes for a small server, shortened to what both daemons take."""
    return (f"<domain type='kvm'><name>guest-{i:04}</name><title>number {i}</title><memory unit='MiB'>{mib}</memory>"
            "<vcpu placement='static'>2</vcpu>"
            "<os><type arch='x86_64' machine='q35'>hvm</type><kernel>/boot/vmlinuz</kernel><initrd>/boot/initrd</initrd>"
            "<cmdline>console=ttyS0 root=/dev/vda1</cmdline></os>"
            "<features><acpi/><apic/></features><cpu mode='host-passthrough'/>"
            "<clock offset='utc'><timer name='rtc' tickpolicy='catchup'/><timer name='hpet' present='no'/></clock>"
            "<on_poweroff>destroy</on_poweroff><on_reboot>restart</on_reboot><on_crash>destroy</on_crash><devices>"
            f"<disk type='file' device='disk'><driver name='qemu' type='raw' cache='none'/><source file='/images/{i}.img'/>"
            "<target dev='vda' bus='virtio'/></disk>"
            f"<interface type='bridge'><mac address='52:54:00:00:{i >> 8:02x}:{i & 255:02x}'/><source bridge='br0'/><model type='virtio'/></interface>"
            "<serial type='pty'><target port='0'/></serial><console type='pty'><target type='serial' port='0'/></console>"
            "<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng><memballoon model='virtio'/></devices></domain>")


def _rss(pid):
    with open(f'/proc/{pid}/status', encoding='ascii') as f:
        return int(re.search(r'VmRSS:\s+(\d+)', f.read())[1]) / 1024


def fleet(rig):
    """kvmd with 1,000 defined domains: memory, start, list"""
    n = 1000
    kvmd = Kvmd(rig.build, rig.folder('fleet'))
    kvmd.start()
    api = kvmd.ready()
    before = time.perf_counter()
    for i in range(n):
        api.call('define', xml=_typical_xml(i))
    define = n / (time.perf_counter() - before)
    api.close()
    ours = {k: [] for k in ('start', 'rss', 'list', 'server')}
    for _ in range(rig.rounds(7)):
        end(kvmd.pid)
        ours['start'].append(kvmd.start() * 1e3)
        api = kvmd.ready()
        ours['rss'].append(_rss(kvmd.pid))
        for _ in range(3):
            ours['list'].append(run(kvmd.verb('list', '--all'), rig.log) * 1e3)
            before = time.perf_counter()
            if len(api.call('list', all=True)['domains']) != n:
                raise Trouble('kvmd lost definitions')
            ours['server'].append((time.perf_counter() - before) * 1e3)
        api.close()
    after = _rss(kvmd.pid)
    kvmd.stop()
    peer = _fleet_of_libvirt(rig, n)
    f = {k: Figures('MiB' if k == 'rss' else 'ms', v) for k, v in ours.items()}
    return [Line(f'kvmd\'s memory, {n:,} definitions (RSS)', f['rss'], peer['rss'], 'libvirtd', ('≤', 30), True),
            Line(f'kvmd: exec → `list` answered, {n:,} definitions', f['start'], peer['start'], 'libvirtd', ('≤', 1000), True),
            Line(f'`kvmctl list --all`, {n:,} definitions', f['list'], peer['list'], '`virsh list --all`', ('≤', 50), True),
            Line('of that: the answer on an open connection', f['server'], peer['server'], 'libvirt API'),
            Line('definitions stored, synced to disk', Figures('/s', [define]), peer['define'], 'libvirt API'),
            Line('kvmd\'s RSS after all this', Figures('MiB', [after]))]


def _fleet_of_libvirt(rig, n):
    virt = Libvirt(rig.folder('fleet-libvirt'))
    out = {k: [] for k in ('start', 'rss', 'list', 'server')}
    virt.start()
    try:
        c = virt.connect()
        before = time.perf_counter()
        for i in range(n):
            c.defineXML(_typical_xml(i))
        define = n / (time.perf_counter() - before)
        c.close()
        for _ in range(rig.rounds(3)):
            virt.stop()
            out['start'].append(virt.start() * 1e3)
            out['rss'].append(_rss(virt.daemon_pid()))
            c = virt.connect()
            for _ in range(3):
                out['list'].append(run(virt.verb('list', '--all'), rig.log) * 1e3)
                before = time.perf_counter()
                for d in c.listAllDomains():
                    d.info()
                out['server'].append((time.perf_counter() - before) * 1e3)
            c.close()
    finally:
        virt.stop()
    f = {k: Figures('MiB' if k == 'rss' else 'ms', v) for k, v in out.items()}
    f['define'] = Figures('/s', [define])
    return f


def _together(jobs):
    """Runs all at once, each in a thread; seconds until the last has ended."""
    troubles = []

    def guarded(job):
        try:
            job()
        except Exception as e:          # told by the caller
            troubles.append(e)
    threads = [threading.Thread(target=guarded, args=(job,)) for job in jobs]
    before = time.perf_counter()
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if troubles:
        raise Trouble(f'{len(troubles)} of {len(jobs)}: {troubles[0]}')
    return time.perf_counter() - before


def rate(rig):
    """guests started and destroyed per second: one after another, and 20 at once"""
    first, con = rig.guest('first'), rig.console
    kvmd, virt = rig.kvmd(), rig.libvirt()
    api, lapi = kvmd.ready(), virt.connect()
    for i in range(PARALLEL):
        api.call('define', xml=guest_xml(f'rate{i}', first, con.path(f'k{i}')))
        lapi.defineXML(microvm_xml(f'rate{i}', first, con.path(f'l{i}')))
    apis = [Api(kvmd.control) for _ in range(PARALLEL)]
    lapis = [virt.connect() for _ in range(PARALLEL)]
    domains = [c.lookupByName(f'rate{i}') for i, c in enumerate(lapis)]

    def ours(i, times):
        for _ in range(times):
            apis[i].call('start', f'rate{i}')
            apis[i].call('destroy', f'rate{i}')

    def theirs(i, times):
        for _ in range(times):
            domains[i].create()
            domains[i].destroy()

    def verbs(maker, i, times):
        for _ in range(times):
            for verb in ('start', 'destroy'):
                finish(spawn(maker.verb(verb, f'rate{i}'), rig.log), f'{verb} rate{i}')

    def per_second(job, width, times):
        return width * times / _together([lambda i=i: job(i, times) for i in range(width)])

    cases = {
        'API, one after another': (ours, theirs, 1, 40, 5),
        f'API, {PARALLEL} at once': (ours, theirs, PARALLEL, 5, 1),
        'commands, one after another': (lambda i, t: verbs(kvmd, i, t), lambda i, t: verbs(virt, i, t), 1, 40, 5),
        f'commands, {PARALLEL} at once': (lambda i, t: verbs(kvmd, i, t), lambda i, t: verbs(virt, i, t), PARALLEL, 5, 1),
    }
    got = {k: ([], []) for k in cases}
    ours(0, 1)
    theirs(0, 1)                # libvirt asks QEMU what it can do
    for _ in range(rig.rounds(5)):
        for what, (mine, peers, width, times, peers_times) in cases.items():
            got[what][0].append(per_second(mine, width, times))
            got[what][1].append(per_second(peers, width, peers_times))
    for c in apis + [api] + lapis + [lapi]:
        c.close()
    return [Line(f'start + destroy, {what}', Figures('/s', a), Figures('/s', b), 'libvirt, QEMU microvm', ('≥', 10)) for what, (a, b) in got.items()]


def xml(rig):
    """XML parse + check + format of a domain with 60 devices, per second and core"""
    program = os.path.abspath(f'{rig.build}/tools/benchmarks/xml')
    values, parts = [], {}
    for _ in range(rig.rounds(7)):
        out = subprocess.run([program, '1'], capture_output=True, text=True, check=False)
        if out.returncode:
            raise Trouble('xml: ' + out.stderr.strip())
        for name, v in re.findall(r'^(.+): ([\d.]+)$', out.stdout, re.M):
            parts.setdefault(name, []).append(float(v))
    values = parts.pop('all per second')
    return [Line('XML parse + check + format, 60 devices (and 25 controllers)', Figures('/s', values), goal=('≥', 2000), absolute=True)] + \
        [Line('of that: ' + name, Figures('µs', v)) for name, v in parts.items()]
