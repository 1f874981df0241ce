#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory that comes and goes: test-memory.py BUILD CASE...; the guests are the small Linux and a flat guest without drivers."""
import json
import os
import re
import signal
import socket
import sys
import threading

sys.path.insert(0, os.path.dirname(__file__))
from kvmd import guest_says, linux_domain, need_kvm, run, shell  # noqa: E402

build = os.path.abspath(sys.argv[1])
guest = f'{build}/linux'
MIB = 1 << 20
need_kvm()


def linux(memory, devices, head='', more='', slow=4):
    return linux_domain(guest, 'l', devices, memory=memory, head=head, more=more, slow=slow)


def flat(name, devices="<memballoon model='virtio'/>"):
    """A guest that runs for ever and has no drivers."""
    return f'''<domain type='kvm'>
  <name>{name}</name>
  <memory unit='MiB'>32</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64'>hvm</type>
    <kernel>{build}/tests/guest/flat/flat-spin</kernel>
  </os>
  <features><acpi/></features>
  <devices>
    <serial type='null'><target port='0'/></serial>
    {devices}
  </devices>
</domain>
'''


def meminfo(k, key):
    """KiB of one line of /proc/meminfo, without a process."""
    return int(guest_says(k, 'l', f'while read a b c; do [ $a != {key}: ] || echo $b; done </proc/meminfo'))


def refused(k, want, *args, code=None, **kw):
    p = k.ctl(*args, check=False, **kw)
    assert p.returncode and re.search(want, p.stderr), f'kvmctl {" ".join(args)}: exit {p.returncode}: {p.stdout}{p.stderr}'
    assert code is None or p.returncode == code, f'kvmctl {" ".join(args)}: exit {p.returncode}, not {code}: {p.stderr}'


def rss(k):
    return k.json('dominfo', 'l')['rss'] // MIB


def fill(k, mib):
    """The guest uses so much more, and then no longer."""
    guest_says(k, 'l', f'dd if=/dev/zero of=/fill bs=1M count={mib} 2>/dev/null; echo done')


class Qmp:
    """A client of the machine's own socket."""
    def __init__(self, k, name):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.connect(k.json('dominfo', name)['qmp'])
        self.s.settimeout(120)
        self.f = self.s.makefile('rw')
        self.events = []
        self.f.readline()
        self.ask('qmp_capabilities')

    def ask(self, command, **arguments):
        self.f.write(json.dumps({'execute': command, 'arguments': arguments}) + '\n')
        self.f.flush()
        while True:
            m = json.loads(self.f.readline())
            if 'event' not in m:
                return m
            self.events.append(m)


# --- cases ---

def rounds(k, n, fill_mib=16, memory=64):
    """The balloon to half and back; the host's memory follows what the guest had used."""
    half = memory // 2
    at_rest = rss(k)
    for i in range(n):
        fill(k, fill_mib)
        guest_says(k, 'l', 'rm /fill; echo done')
        used = rss(k)
        assert used >= at_rest + fill_mib * 3 // 4 or i, f'round {i}: {used} MiB on the host after the guest used {fill_mib} more than {at_rest}'
        k.ctl('setmem', 'l', f'{half}MiB', '--timeout', '60', timeout=600)
        small = rss(k)
        assert k.json('dominfo', 'l')['memory'] == half * MIB
        assert small <= used - fill_mib // 4 or i, f'round {i}: {used} MiB on the host before, {small} MiB after the guest gave {half} MiB'
        assert small <= half + 24, f'round {i}: {small} MiB on the host, but the guest has {half} MiB'
        k.ctl('setmem', 'l', f'{memory}MiB', '--timeout', '60', timeout=600)
        assert k.json('dominfo', 'l')['memory'] == memory * MIB
        print(f'# round {i}: at rest {at_rest}, used {used}, half {small} MiB on the host', flush=True)


def balloon_five(k):
    shell(k, linux(64, "<memballoon model='virtio'/>"))
    rounds(k, 5)


def balloon(k):
    """There and back once; QMP's side, statistics, a definition that follows, and kvmd's death while the guest works."""
    shell(k, linux(64, "<memballoon model='virtio'><stats period='0'/></memballoon>"))
    rounds(k, 1)
    q = Qmp(k, 'l')
    assert q.ask('query-balloon')['return'] == {'actual': 64 * MIB}
    assert q.ask('query-memory-size-summary')['return'] == {'base-memory': 64 * MIB, 'plugged-memory': 0}
    path = '/machine/peripheral/balloon0'
    assert q.ask('qom-get', path=path, property='guest-stats-polling-interval')['return'] == 0
    assert q.ask('qom-set', path=path, property='guest-stats-polling-interval', value=1) == {'return': {}}
    for bad in -1, 1 << 40, '2', None, 1.5, True, [1]:
        assert 'error' in q.ask('qom-set', path=path, property='guest-stats-polling-interval', value=bad), bad
    assert 'error' in q.ask('qom-set', path=path, property='guest-stats', value=1)
    assert q.ask('qom-set', path='/machine/peripheral/nix', property='x', value=1)['error']['class'] == 'DeviceNotFound'
    k.until(lambda: q.ask('qom-get', path=path, property='guest-stats')['return']['last-update'] > 0, 30, 'the guest tells statistics')
    stats = q.ask('qom-get', path=path, property='guest-stats')['return']['stats']
    assert 0 < stats['stat-free-memory'] < stats['stat-total-memory'] <= 64 * MIB, stats
    told = dict(x.split() for x in k.ctl('dommemstat', 'l').stdout.splitlines())
    assert told['actual'] == str(64 * 1024) and int(told['unused']) < int(told['available']) <= 65536 and int(told['rss']) > 1024 and told['period'] == '1', told
    k.ctl('dommemstat', 'l', '--period', '7', '--live', '--config')
    assert "period='7'" in k.ctl('dumpxml', 'l', '--inactive').stdout and "period='7'" in k.ctl('dumpxml', 'l').stdout
    assert q.ask('qom-get', path=path, property='guest-stats-polling-interval')['return'] == 7
    # without waiting
    assert q.ask('balloon', value=60 * MIB) == {'return': {}}
    k.until(lambda: q.ask('query-balloon')['return']['actual'] == 60 * MIB, 60, 'the guest gave 4 MiB')
    assert [e for e in q.events if e['event'] == 'BALLOON_CHANGE']
    k.until(lambda: k.json('dominfo', 'l')['memory'] == 60 * MIB, 10, 'kvmd knows')
    # kvmd ends meanwhile: the guest goes on, the journal tells
    since = k.events()[-1]['seq']
    t = threading.Thread(target=lambda: k.ctl('setmem', 'l', '52MiB', check=False))
    t.start()

    def told(event):
        return [e['data'] for e in k.events() if e['seq'] > since and e['event'] == event and e['data']['command'] == 'setmem']

    k.until(lambda: told('COMMAND_BEGUN'), 10, 'it has begun')
    k.kill(signal.SIGKILL)
    t.join()
    k.start()
    k.until(lambda: told('COMMAND_DONE'), 90, 'the journal tells the result')
    done = told('COMMAND_DONE')[-1]
    assert done['ok'] and done['actual'] == done['wanted'] == 52 * MIB, done
    k.until(lambda: k.state('l') == 'running' and k.json('dominfo', 'l')['memory'] == 52 * MIB, 20, 'kvmd knows')
    # both: the definition follows
    k.ctl('setmem', 'l', '54MiB', '--live', '--config')
    assert "<currentMemory unit='KiB'>55296<" in k.ctl('dumpxml', 'l', '--inactive').stdout
    # more than it can give: it says what it reached, and is left at that
    p = k.ctl('setmem', 'l', '1MiB', '--timeout', '5', check=False, timeout=300)
    reached = k.json('dominfo', 'l')['memory']
    assert p.returncode == 12 and f'the guest has {reached // 1024} KiB' in p.stderr, p.stderr
    t = k.json('dommemstat', 'l')
    assert t['target'] == reached, f'{t} {reached}'


def bad_input(k):
    k.define(flat('f'))
    for n in '0', '-1', 'much', '12XB', '99999999999999999999', '1023', '1PiB':
        refused(k, 'BadArguments', 'setmem', 'f', '--config', '--', n, code=2)
    refused(k, 'setmaxmem raises', 'setmem', 'f', '33MiB', '--config', code=2)
    refused(k, 'leave out --live', 'setmem', 'f', '16MiB', '--live', code=4)
    refused(k, '--current', 'setmem', 'f', '16MiB', '--current', '--config', code=2)
    k.ctl('setmem', 'f', '16384')           # off: the definition
    assert "<currentMemory unit='KiB'>16384<" in k.ctl('dumpxml', 'f').stdout
    k.ctl('setmaxmem', 'f', '64MiB', '--config')
    t = k.json('dominfo', 'f')
    assert (t['memory'], t['memory_max']) == (16 * MIB, 64 * MIB), t
    k.ctl('setmaxmem', 'f', '8MiB')
    t = k.json('dominfo', 'f')
    assert (t['memory'], t['memory_max']) == (8 * MIB, 8 * MIB), t
    k.ctl('setmaxmem', 'f', '32MiB')
    refused(k, 'running|not', 'dommemstat', 'f', code=4)
    k.ctl('start', 'f')
    refused(k, 'no driver', 'setmem', 'f', '16MiB', code=12)
    refused(k, 'more than the 32768 KiB', 'setmem', 'f', '33MiB', code=2)
    refused(k, 'fixed while', 'setmaxmem', 'f', '64MiB', code=6)
    refused(k, 'fixed while', 'setmaxmem', 'f', '64MiB', '--live', code=6)
    refused(k, '--timeout', 'setmem', 'f', '16MiB', '--timeout', '0', code=2)
    refused(k, '--config is about', 'dommemstat', 'f', '--config', code=2)
    refused(k, 'period', 'dommemstat', 'f', '--period', '-1', code=2)
    assert 'unused' not in k.json('dommemstat', 'f') and k.json('dommemstat', 'f')['actual'] == 32 * MIB
    q = Qmp(k, 'f')
    for bad in ({}, {'value': 0}, {'value': -1}, {'value': '1'}, {'value': 1 << 63}, {'value': 4096}, {'value': 1 << 20, 'x': 1}):
        assert q.ask('balloon', **bad).get('error', {}).get('class') == 'GenericError', bad
    assert q.ask('balloon', value=1 << 40) == {'return': {}}        # all of it, as for QEMU
    assert q.ask('memory-set', size=1 << 20)['error']['class'] == 'CommandNotFound'
    k.ctl('suspend', 'f')
    refused(k, 'does not run', 'setmem', 'f', '16MiB', code=4)
    k.define(flat('n', "<memballoon model='none'/>"))
    k.ctl('start', 'n')
    refused(k, 'no balloon', 'setmem', 'n', '16MiB', code=4)
    refused(k, 'no balloon', 'dommemstat', 'n', '--period', '1', code=4)
    q = Qmp(k, 'n')
    for command in 'balloon', 'query-balloon':
        assert q.ask(command, **({'value': MIB} if command == 'balloon' else {}))['error']['class'] == 'DeviceNotActive'


def reporting(k):
    """The guest names what it has freed, by itself: the host gets it back."""
    # Linux reports while 64 MiB more than it keeps for itself are free
    shell(k, linux(192, "<memballoon model='virtio' freePageReporting='on'/>"))
    fill(k, 16)
    used, named = rss(k), k.json('dommemstat', 'l')['reported']
    guest_says(k, 'l', 'rm /fill; echo done')
    k.until(lambda: rss(k) <= used - 10, 120, 'the host has back what the guest freed')
    assert k.json('dommemstat', 'l')['reported'] >= named + 10 * MIB
    return f'{used} MiB in use, {rss(k)} MiB after it was freed'


def oom(k):
    """Before Linux kills a process it takes memory back from the balloon."""
    shell(k, linux(64, "<memballoon model='virtio' autodeflate='on'/>"))
    free = meminfo(k, 'MemAvailable') // 1024
    k.ctl('setmem', 'l', f'{64 - free + 6}MiB', '--timeout', '60', timeout=600)
    small = k.json('dominfo', 'l')['memory']
    assert guest_says(k, 'l', f'dd if=/dev/zero of=/dev/null bs=8M count=1 2>/dev/null && echo done || echo failed') == 'done'
    k.until(lambda: k.json('dominfo', 'l')['memory'] > small, 20, 'the guest took memory back')
    assert 'Killed' not in k.console('l') and 'Out of memory' not in k.console('l')
    return f'{small // MIB} MiB, {k.json("dominfo", "l")["memory"] // MIB} MiB after it ran short'


MEMDEV = """<memory model='virtio-mem'>
      <target><size unit='MiB'>{size}</size><block unit='MiB'>2</block><requested unit='MiB'>{requested}</requested></target>
    </memory>"""


def virtio_mem(k):
    """A device grows and shrinks by blocks: the guest's MemTotal and the host's RSS follow, both ways."""
    xml = linux(64 + 256, "<memballoon model='none'/>" + MEMDEV.format(size=256, requested=0), "<maxMemory slots='2' unit='MiB'>1024</maxMemory>",
                more='memhp_default_state=online_movable')  # else the kernel's own data settles there, which it cannot move
    shell(k, xml)
    assert k.json('dominfo', 'l')['memory'] == 64 * MIB
    before = meminfo(k, 'MemTotal')
    q = Qmp(k, 'l')
    d = q.ask('query-memory-devices')['return']
    assert len(d) == 1 and d[0]['type'] == 'virtio-mem' and d[0]['data']['size'] == 0 and d[0]['data']['max-size'] == 256 * MIB, d
    t = k.json('update-memory-device', 'l', '--requested-size', '128MiB', '--timeout', '60', timeout=600)
    assert (t['alias'], t['requested'], t['size'], t['maximum']) == ('virtiomem0', 128 * MIB, 128 * MIB, 256 * MIB), t
    assert k.json('dominfo', 'l')['memory'] == 192 * MIB
    # Linux brings it online by itself; the device's own table of pages is in it
    k.until(lambda: meminfo(k, 'MemTotal') >= before + 120 * 1024, 120, 'MemTotal has grown')
    assert q.ask('query-memory-size-summary')['return'] == {'base-memory': 64 * MIB, 'plugged-memory': 128 * MIB}
    x = k.ctl('dumpxml', 'l').stdout
    assert "<requested unit='KiB'>131072<" in x and "<current unit='KiB'>131072<" in x, x
    fill(k, 16)
    used = rss(k)
    guest_says(k, 'l', 'rm /fill; echo done')
    # by QMP, and not waited for; Linux' own grain is 4 MiB
    assert q.ask('qom-set', path='/machine/peripheral/virtiomem0', property='requested-size', value=124 * MIB) == {'return': {}}
    k.until(lambda: q.ask('query-memory-devices')['return'][0]['data']['size'] == 124 * MIB, 120, 'the guest gave two blocks')
    k.ctl('update-memory-device', 'l', '--requested-size', '0', '--live', '--config', '--timeout', '60', timeout=900)
    assert meminfo(k, 'MemTotal') <= before + 1024
    small = rss(k)
    assert small <= used - 10, f'{used} MiB on the host with 128 MiB more, {small} MiB without'
    assert [e for e in k.events() if e['event'] == 'MEMORY_DEVICE_SIZE_CHANGE' and e['data']['id'] == 'virtiomem0']
    assert k.json('dominfo', 'l')['memory'] == 64 * MIB
    return f'{used} MiB on the host in use, {small} MiB after it was given back'


def plugged(k):
    """A device of 256 MiB comes while Linux runs, grows, shrinks and goes; what the guest does not give back stays."""
    def device(size=256, requested=128, more=''):
        return f"""<memory model='virtio-mem'><target><size unit='MiB'>{size}</size><block unit='MiB'>2</block>
                   <requested unit='MiB'>{requested}</requested></target>{more}</memory>"""

    def attach(xml, *more):
        return json.loads(k.ctl('attach-device', 'l', '-', '--timeout', '60', '-o', 'json', *more, stdin=xml, timeout=600).stdout)['alias']

    # boot memory is what the definition says without devices
    shell(k, linux(64, "<memballoon model='none'/>", "<maxMemory slots='2' unit='MiB'>704</maxMemory>", more='acpiphp.disable=0 memhp_default_state=online_movable'))
    pid = k.json('dominfo', 'l')['pid']
    before, q = meminfo(k, 'MemTotal'), Qmp(k, 'l')
    refused(k, 'more than its', 'attach-device', 'l', '-', stdin=device(size=642), code=8)
    refused(k, "only model='virtio-mem'", 'attach-device', 'l', '-', stdin=device().replace('virtio-mem', 'dimm'), code=6)
    refused(k, 'whole number|multiple', 'attach-device', 'l', '-', stdin=device(requested=3), code=2)
    assert attach(device()) == 'virtiomem0'
    k.until(lambda: meminfo(k, 'MemTotal') >= before + 120 * 1024, 120, 'MemTotal has grown')
    d = q.ask('query-memory-devices')['return']
    assert len(d) == 1 and d[0]['data']['max-size'] == 256 * MIB and d[0]['data']['size'] == 128 * MIB and d[0]['data']['memaddr'] >= 1 << 32, d
    assert q.ask('query-memory-size-summary')['return'] == {'base-memory': 64 * MIB, 'plugged-memory': 128 * MIB}
    x = k.ctl('dumpxml', 'l').stdout
    assert "<current unit='KiB'>131072<" in x and "<memory unit='KiB'>327680<" in x and "<currentMemory unit='KiB'>196608<" in x, x
    assert 'virtio-mem' not in k.ctl('dumpxml', 'l', '--inactive').stdout
    k.ctl('update-memory-device', 'l', '--requested-size', '192MiB', '--timeout', '60', timeout=600)
    k.until(lambda: meminfo(k, 'MemTotal') >= before + 184 * 1024, 120, 'MemTotal has grown again')
    # by its XML too; and the second slot, with its place and the definition
    k.ctl('update-device', 'l', '-', stdin=device(requested=64))
    k.until(lambda: q.ask('query-memory-devices')['return'][0]['data']['size'] == 64 * MIB, 120, 'the guest gave it')
    refused(k, "'target/block'", 'update-device', 'l', '-', stdin=device(more="<alias name='virtiomem0'/>").replace("<block unit='MiB'>2<", "<block unit='MiB'>4<"))
    assert attach(device(size=64, requested=32), '--persistent') == 'virtiomem1'
    assert "<memory unit='KiB'>131072<" in k.ctl('dumpxml', 'l', '--inactive').stdout
    refused(k, 'slots', 'attach-device', 'l', '-', stdin=device(size=2, requested=0), code=8)
    fill(k, 48)
    used = rss(k)
    guest_says(k, 'l', 'rm /fill; echo done')
    assert 'error' in q.ask('device_del', id='virtiomem0')
    # what is taken away is given back first
    k.ctl('detach-device', 'l', '-', '--persistent', '--timeout', '60', stdin=device(size=64, requested=32), timeout=900)
    assert k.ctl('dumpxml', 'l', '--inactive').stdout.count('virtio-mem') == 0
    k.ctl('detach-device', 'l', '-', '--timeout', '60', stdin=device(), timeout=900)
    assert q.ask('query-memory-devices')['return'] == []
    assert 'virtio-mem' not in k.ctl('dumpxml', 'l').stdout and k.json('dominfo', 'l')['memory'] == 64 * MIB
    assert meminfo(k, 'MemTotal') <= before + 1024
    assert rss(k) <= used - 20, f'{used} MiB on the host with it, {rss(k)} MiB without'
    # a guest that needs it keeps it
    k.ctl('attach-device', 'l', '-', '--timeout', '60', stdin=device(), timeout=600)
    k.until(lambda: meminfo(k, 'MemTotal') >= before + 120 * 1024, 120, 'MemTotal has grown')
    fill(k, 110)
    p = k.ctl('detach-device-alias', 'l', 'virtiomem0', '--timeout', '8', check=False, timeout=900)
    assert p.returncode == 12 and 'was to have 0 KiB' in p.stderr and 'the device stays' in p.stderr, p.stderr
    d = q.ask('query-memory-devices')['return'][0]['data']
    assert d['requested-size'] == 128 * MIB and d['size'] > 0, d
    guest_says(k, 'l', 'rm /fill; echo done')
    k.until(lambda: q.ask('query-memory-devices')['return'][0]['data']['size'] == 128 * MIB, 120, 'the guest takes again what it had')
    k.ctl('detach-device-alias', 'l', 'virtiomem0', '--timeout', '60', timeout=900)
    # only the definition, and a machine without room for any
    k.ctl('attach-device', 'l', '-', '--config', stdin=device())
    assert q.ask('query-memory-devices')['return'] == [] and "<memory unit='KiB'>327680<" in k.ctl('dumpxml', 'l', '--inactive').stdout
    k.ctl('detach-device', 'l', '-', '--config', stdin=device())
    assert "<memory unit='KiB'>65536<" in k.ctl('dumpxml', 'l', '--inactive').stdout
    s = k.json('domstats', 'l')['domains'][0]['stats']      # an idle guest halts, which only KVM sees
    assert s.get('vcpu.0.halt_wait_ns.sum', 1) > 0 and s.get('vcpu.0.halt_exits.sum', 1) > 0, s
    assert k.json('dominfo', 'l')['pid'] == pid and not [e for e in k.events() if e['event'] == 'KVMD_FENCE']


def flat_mem(name, n=1):
    x = flat(name, ''.join(MEMDEV.format(size=64, requested=4) for _ in range(n)))
    return x.replace("<memory unit='MiB'>32</memory>", f"<maxMemory slots='4' unit='MiB'>512</maxMemory><memory unit='MiB'>{32 + 64 * n}</memory>")


def mem_input(k):
    k.define(flat_mem('f'))
    k.ctl('update-memory-device', 'f', '--requested-size', '8MiB')
    assert "<requested unit='KiB'>8192<" in k.ctl('dumpxml', 'f').stdout
    for n in '-1', 'much', '12XB', '99999999999999999999', '1MiB', '65MiB', '66MiB':
        refused(k, 'BadArguments', 'update-memory-device', 'f', f'--requested-size={n}', code=2)
    refused(k, '', 'update-memory-device', 'f', code=2)
    refused(k, "no virtio-mem device 'nix'", 'update-memory-device', 'f', '--alias', 'nix', '--requested-size', '2MiB', code=3)
    refused(k, 'no such', 'update-memory-device', 'f', '--node', '3', '--requested-size', '2MiB', code=3)
    refused(k, 'leave out --live', 'update-memory-device', 'f', '--requested-size', '2MiB', '--live', code=4)
    k.ctl('start', 'f')
    k.until(lambda: k.json('dominfo', 'f')['memory'] == 32 * MIB, 10, 'nothing of the device is plugged')
    refused(k, 'no driver', 'update-memory-device', 'f', '--requested-size', '2MiB', code=12)
    refused(k, "can't be asked", 'update-memory-device', 'f', '--requested-size', '3MiB', code=2)
    q = Qmp(k, 'f')
    assert q.ask('query-memory-devices')['return'][0]['data'] == {
        'id': 'virtiomem0', 'memaddr': 1 << 32, 'requested-size': 8 * MIB, 'size': 0, 'max-size': 64 * MIB, 'block-size': 2 * MIB, 'node': 0,
        'memdev': '/objects/memvirtiomem0'}
    path = '/machine/peripheral/virtiomem0'
    for bad in -1, 3 * MIB, 66 * MIB, 1 << 60, '2', None, 1.5:
        assert 'error' in q.ask('qom-set', path=path, property='requested-size', value=bad), bad
    assert 'error' in q.ask('qom-set', path=path, property='size', value=0)
    assert q.ask('qom-set', path=path, property='requested-size', value=2 * MIB) == {'return': {}}
    assert q.ask('qom-get', path=path, property='requested-size')['return'] == 2 * MIB
    # a dump has what the guest has, and no holes
    r, w = os.pipe()
    socket.send_fds(q.s, [(json.dumps({'execute': 'getfd', 'arguments': {'fdname': 'd'}}) + '\n').encode()], [w])
    os.close(w)
    got = []
    t = threading.Thread(target=lambda: got.append(sum(iter(lambda: len(os.read(r, 1 << 20)), 0))))
    t.start()
    assert 'return' in json.loads(q.f.readline())
    assert q.ask('dump-guest-memory', paging=False, protocol='fd:d') == {'return': {}}
    t.join()
    assert 32 * MIB < got[0] < 33 * MIB, got
    k.ctl('suspend', 'f')
    refused(k, 'does not run', 'update-memory-device', 'f', '--requested-size', '4MiB', code=4)
    # several
    k.define(flat_mem('g', 2))
    k.ctl('start', 'g')
    refused(k, '--alias says', 'update-memory-device', 'g', '--requested-size', '2MiB', code=2)
    refused(k, 'no driver', 'update-memory-device', 'g', '--alias', 'virtiomem1', '--requested-size', '2MiB', code=12)
    addresses = [d['data']['memaddr'] for d in Qmp(k, 'g').ask('query-memory-devices')['return']]
    assert addresses == [1 << 32, 5 << 30], addresses
    # with NUMA: the device says its node, the tables its range
    k.define(flat_mem('u').replace('<os>', "<cpu><numa><cell id='0' cpus='0' memory='32' unit='MiB'/></numa></cpu>\n  <os>").replace(
        '</requested>', '</requested><node>0</node>'))
    k.ctl('start', 'u')
    k.until(lambda: k.json('dominfo', 'u')['memory'] == 32 * MIB, 10, 'it runs, nothing of the device is plugged')
    refused(k, 'no driver', 'update-memory-device', 'u', '--node', '0', '--requested-size', '2MiB', code=12)
    # none
    k.define(flat('n'))
    refused(k, 'no such virtio-mem', 'update-memory-device', 'n', '--requested-size', '2MiB', code=3)
    # other kinds
    k.define(flat_mem('o').replace("model='virtio-mem'", "model='dimm'").replace("<block unit='MiB'>2</block><requested unit='MiB'>4</requested>", ''))
    refused(k, "only model='virtio-mem'", 'start', 'o', code=6)


cases = [(n, globals()[n]) for n in sys.argv[2:] or ['bad_input', 'mem_input', 'balloon', 'reporting', 'oom', 'virtio_mem', 'plugged']]
run(cases, build)
