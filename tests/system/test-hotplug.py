#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""vCPUs that come and go: test-hotplug.py BUILD CASE...; the guests are the small Linux and a flat guest that knows no ACPI."""
import json
import os
import re
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(__file__))
from kvmd import PATIENCE, PROMPT, guest_says, linux_domain, need_kvm, refused, run, shell  # noqa: E402

build = os.path.abspath(sys.argv[1])
guest = f'{build}/linux'
need_kvm()


def linux(name, maximum, current, vcpus='', slow=4):
    return linux_domain(guest, name, vcpus=maximum, current=current, cpu=vcpus, slow=slow)


def flat(name, maximum, current, program='spin'):
    """A guest that runs for ever and has never heard of ACPI."""
    return f'''<domain type='kvm'>
  <name>{name}</name>
  <memory unit='MiB'>16</memory>
  <vcpu current='{current}'>{maximum}</vcpu>
  <os>
    <type arch='x86_64'>hvm</type>
    <kernel>{build}/tests/guest/flat/flat-{program}</kernel>
  </os>
  <features><acpi/></features>
  <devices>
    <serial type='null'><target port='0'/></serial>
  </devices>
</domain>
'''


def start(k, xml, name):
    k.define(xml)
    k.ctl('start', name)


def counts(k, name):
    t = k.json('vcpucount', name)
    return t['current_live'], t['maximum_live'], t['current_config'], t['maximum_config']


def has(k, name, n):
    """For what was done at the machine's own socket: kvmd hears of it a moment later."""
    k.until(lambda: counts(k, name)[0] == n, 10, f'kvmd knows of {n} vCPUs')


def nproc(k, name):
    """After bringing online what udev would."""
    guest_says(k, name, '/tests/cpuhp | tail -n 1')
    return int(guest_says(k, name, 'nproc'))


class Qmp:
    """A client of the machine's own socket."""
    def __init__(self, path, *enable):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.connect(path)
        self.f = self.s.makefile('rw')
        self.events = []
        self.greeting = json.loads(self.f.readline())
        self.ask('qmp_capabilities', **({'enable': list(enable)} if enable else {}))

    def read(self):
        return json.loads(self.f.readline())

    def ask(self, command, **arguments):
        self.f.write(json.dumps({'execute': command, 'arguments': {k.replace('_', '-'): v for k, v in arguments.items()}}) + '\n')
        self.f.flush()
        while True:
            m = self.read()
            if 'event' not in m:
                return m
            self.events.append(m)

    def wait(self, name, seconds=120):
        self.s.settimeout(seconds * PATIENCE)
        while not [e for e in self.events if e['event'] == name]:
            m = self.read()
            if 'event' in m:
                self.events.append(m)
        e = [e for e in self.events if e['event'] == name][0]
        self.events.remove(e)
        return e


def qmp(k, name, *enable):
    return Qmp(k.json('dominfo', name)['qmp'], *enable)


# --- cases ---

def linux_counts(k):
    """1, 4, 2, 8: under load, and nproc agrees each time; the definition stays as it was."""
    shell(k, linux('l', 8, 1))
    guest_says(k, 'l', '(while :; do :; done) >/dev/null 2>&1 & echo loaded')
    assert counts(k, 'l') == (1, 8, 1, 8)
    took = []
    for n in 4, 2, 8:
        begun = time.monotonic()
        k.ctl('setvcpus', 'l', str(n), '--timeout', '30', timeout=400)
        took.append(f'{n}: {time.monotonic() - begun:.1f} s')
        assert counts(k, 'l') == (n, 8, 1, 8), counts(k, 'l')
        assert f"<vcpu{'' if n == 8 else f' current={chr(39)}{n}{chr(39)}'}>8</vcpu>" in k.ctl('dumpxml', 'l').stdout
        assert nproc(k, 'l') == n
        rows = k.json('vcpuinfo', 'l')['vcpus']
        assert [r['vcpu'] for r in rows if r['state'] == 'running'] == list(range(n))
        assert rows[0]['cpu'] >= 0 and rows[0]['cpu_time'] > 0 and not rows[0]['hotpluggable'] and rows[1]['hotpluggable']
    out = k.console('l')
    for bad in ('BUG:', 'WARNING:', 'rcu: INFO', 'segfault', 'Call Trace'):
        assert bad not in out, f'"{bad}" on the console:\n{out}'
    assert not [e for e in k.events() if e['event'] == 'KVMD_FENCE']
    return ', '.join(took)


def linux_reboot(k):
    """What is plugged is there after a reboot, and a reset settles what the guest has not answered to."""
    shell(k, linux('l', 4, 2))
    k.ctl('setvcpus', 'l', '3', '--timeout', '60', timeout=400)
    k.ctl('reset', 'l')
    k.until(lambda: k.console('l').count(PROMPT) >= 2, 300, 'the shell after a reset')
    assert counts(k, 'l')[0] == 3
    assert int(guest_says(k, 'l', 'nproc')) == 3
    k.ctl('suspend', 'l')
    refused(k, 'does not run', 'setvcpus', 'l', '2')
    k.ctl('resume', 'l')
    q = qmp(k, 'l')
    assert 'return' in q.ask('device_del', id='/machine/unattached/device[1]')
    k.ctl('reset', 'l')
    q.wait('DEVICE_DELETED')
    has(k, 'l', 2)


def linux_qmp(k):
    """device_add and device_del as QEMU's clients use them."""
    shell(k, linux('l', 4, 1))
    q = qmp(k, 'l')
    free = [s for s in q.ask('query-hotpluggable-cpus')['return'] if 'qom-path' not in s]
    assert len(free) == 3 and len(q.ask('query-cpus-fast')['return']) == 1
    where = [s for s in free if s['props']['core-id'] == 2][0]
    assert 'return' in q.ask('device_add', driver=where['type'], id='mine', **where['props'])
    assert q.ask('device_add', driver=where['type'], id='other', **where['props'])['error']['code'] == 'AlreadyExists'
    ost = q.wait('ACPI_DEVICE_OST')['data']['info']
    assert ost == {'device': 'mine', 'slot': '2', 'slot-type': 'CPU', 'source': 1, 'status': 0}, ost
    paths = [c['qom-path'] for c in q.ask('query-cpus-fast')['return']]
    assert paths == ['/machine/unattached/device[0]', '/machine/peripheral/mine'], paths
    assert q.ask('qom-get', path='/machine/peripheral/mine', property='core-id')['return'] == 2
    assert 'mine' in [p['name'] for p in q.ask('qom-list', path='/machine/peripheral')['return']]
    assert nproc(k, 'l') == 2
    assert guest_says(k, 'l', 'cat /sys/devices/system/cpu/online').replace('-', ',') in ('0,2', '0,1'), 'which are online'
    q.events.clear()
    assert 'return' in q.ask('device_del', id='mine')
    assert q.ask('device_del', id='mine')['error']['code'] in ('ResourceBusy', 'DeviceNotFound')
    gone = q.wait('DEVICE_DELETED')
    assert gone['data'] == {'device': 'mine', 'path': '/machine/peripheral/mine'}, gone
    assert q.ask('device_del', id='mine')['error']['class'] == 'DeviceNotFound'
    assert nproc(k, 'l') == 1
    has(k, 'l', 1)
    # a guest that refuses: the CPU that everything is bound to
    status = q.ask('query-acpi-ospm-status')['return']
    assert len(status) == 4 and status[2]['slot'] == '2' and status[2]['source'] == 3, status


def linux_survive(k):
    """kvmd dies by kill -9 while the guest works on it: the VM goes on, and the next kvmd knows the result."""
    shell(k, linux('l', 4, 1))
    pid = k.json('dominfo', 'l')['pid']
    os.kill(pid, 19)                # so that the guest cannot answer before kvmd dies
    ended = []
    t = threading.Thread(target=lambda: ended.append(k.ctl('setvcpus', 'l', '3', '--timeout', '60', check=False, timeout=120)))
    t.start()
    k.until(lambda: f'setvcpus l' in open(f'{k.root}/kvmd.log').read(), 20, 'kvmd has the command')
    time.sleep(0.2)                 # and has handed it on
    k.kill()
    os.kill(pid, 18)
    t.join()
    assert ended[0].returncode == 10, ended[0]
    k.start()
    k.until(lambda: k.state('l') == 'running', 20, 'adoption')
    k.until(lambda: [e for e in k.events() if e['event'] == 'COMMAND_DONE'], 120, 'the result')
    events = k.events()
    begun = [e['data'] for e in events if e['event'] == 'COMMAND_BEGUN']
    done = [e['data'] for e in events if e['event'] == 'COMMAND_DONE']
    assert len(begun) == len(done) == 1 and begun[0]['id'] == done[0]['id'], (begun, done)
    assert done[0]['ok'] and done[0]['vcpus'] == 3 and done[0]['command'] == 'setvcpus', done
    k.until(lambda: counts(k, 'l')[0] == 3, 10, 'the new kvmd knows the number')
    assert nproc(k, 'l') == 3


def flat_ignores(k):
    """A guest that ignores ACPI: the command fails by its deadline and leaves no trace."""
    start(k, flat('f', 4, 1), 'f')
    before = k.ctl('dumpxml', 'f').stdout
    begun = time.monotonic()
    p = refused(k, r'GuestRefused.*there are 1: vcpu1: no answer', 'setvcpus', 'f', '3', '--live', '--config', '--timeout', '2')
    took = time.monotonic() - begun
    assert p.returncode == 12 and 1.9 < took < 6, (p, took)
    assert counts(k, 'f') == (1, 4, 1, 4)
    q = qmp(k, 'f')
    assert len(q.ask('query-cpus-fast')['return']) == 1
    assert len([s for s in q.ask('query-hotpluggable-cpus')['return'] if 'qom-path' in s]) == 1
    after = re.sub(r"\s*<vcpus>.*?</vcpus>", '', k.ctl('dumpxml', 'f').stdout, flags=re.S)
    assert re.sub(r"\s*<vcpus>.*?</vcpus>", '', before, flags=re.S) == after, after
    # as often as one likes: the parked vCPUs are used again
    for _ in range(5):
        refused(k, 'no answer', 'setvcpus', 'f', '4', '--timeout', '1')
    assert k.state('f') == 'running'
    done = [e['data'] for e in k.events() if e['event'] == 'COMMAND_DONE']
    assert len(done) == 6 and not any(d['ok'] for d in done) and done[0]['code'] == 'GuestRefused', done
    # plugged without waiting it stays, and is not given back either
    slot = [s for s in q.ask('query-hotpluggable-cpus')['return'] if s['props']['core-id'] == 1][0]
    assert 'return' in q.ask('device_add', driver=slot['type'], id='c1', **slot['props'])
    has(k, 'f', 2)
    refused(k, r'GuestRefused.*there are 2: vcpu1: no answer', 'setvcpus', 'f', '1', '--timeout', '1')
    assert q.wait('DEVICE_UNPLUG_GUEST_ERROR')['data'] == {'device': 'c1', 'path': '/machine/peripheral/c1'}
    assert counts(k, 'f')[0] == 2


def flat_answers(k):
    """What a guest can say at the block's registers: taken, refused, silence, progress."""
    start(k, flat('f', 8, 1, 'cpuhp'), 'f')
    k.ctl('setvcpus', 'f', '2', '--timeout', '5')
    assert counts(k, 'f')[0] == 2
    # busy: it stays
    p = refused(k, r'there are 2: vcpu1: the guest refused: busy \(_OST event 0x3, status 0x82\)', 'setvcpus', 'f', '1', '--timeout', '5')
    assert p.returncode == 12 and counts(k, 'f')[0] == 2
    # slot 2 is refused: nothing of it stays
    refused(k, r'there are 2: vcpu2: the guest refused: failed, .*status 0x1\)', 'setvcpus', 'f', '3', '--timeout', '5')
    assert counts(k, 'f')[0] == 2
    # 2 refused, 3 silent, 4 slow: what the guest has taken stays and is told
    begun = time.monotonic()
    p = refused(k, r'5 vCPUs were asked for, there are 3: vcpu2: the guest refused.*; vcpu3: no answer', 'setvcpus', 'f', '5', '--timeout', '2')
    assert time.monotonic() - begun > 3, 'signs of progress give more time'
    rows = k.json('vcpuinfo', 'f')['vcpus']
    assert [r['vcpu'] for r in rows if r['state'] == 'running'] == [0, 1, 4], rows
    # slow, but it goes; slot 1 never does
    q = qmp(k, 'f')
    assert 'return' in q.ask('device_del', id='vcpu4')
    ost = q.wait('ACPI_DEVICE_OST')['data']['info']
    assert ost == {'device': 'vcpu4', 'slot': '4', 'slot-type': 'CPU', 'source': 3, 'status': 0x84}, ost
    assert q.wait('DEVICE_DELETED')['data']['device'] == 'vcpu4'
    assert 'return' in q.ask('device_del', id='vcpu1')
    assert q.wait('DEVICE_UNPLUG_GUEST_ERROR')['data']['device'] == 'vcpu1'
    has(k, 'f', 2)
    # one by its number, past free ones below it
    k.ctl('setvcpu', 'f', '4', '--enable', '--timeout', '5')
    rows = k.json('vcpuinfo', 'f')['vcpus']
    assert [r['vcpu'] for r in rows if r['state'] == 'running'] == [0, 1, 4], rows
    k.ctl('setvcpu', 'f', '4', '--disable', '--timeout', '5')
    has(k, 'f', 2)
    assert k.state('f') == 'running'


def flat_killed(k):
    """The same with kvmd killed meanwhile: the failure is known afterwards."""
    start(k, flat('f', 4, 1), 'f')
    t = threading.Thread(target=lambda: k.ctl('setvcpus', 'f', '3', '--timeout', '3', check=False))
    t.start()
    k.until(lambda: [e for e in k.events() if e['event'] == 'COMMAND_BEGUN'], 10, 'the command has begun')
    k.kill()
    t.join()
    k.start()
    k.until(lambda: [e for e in k.events() if e['event'] == 'COMMAND_DONE'], 20, 'the result')
    done = [e['data'] for e in k.events() if e['event'] == 'COMMAND_DONE'][0]
    assert not done['ok'] and done['code'] == 'GuestRefused' and done['vcpus'] == 1, done
    k.until(lambda: k.state('f') == 'running' and counts(k, 'f')[0] == 1, 10, 'the machine is as it was')


def config(k):
    """The definition alone, also of a machine that is off."""
    k.define(flat('f', 4, 2))
    k.ctl('setvcpus', 'f', '3')
    assert counts(k, 'f') == (0, 0, 3, 4)
    assert "<vcpu current='3'>4</vcpu>" in k.ctl('dumpxml', 'f').stdout
    k.ctl('setvcpus', 'f', '4', '--config')
    assert '<vcpu>4</vcpu>' in k.ctl('dumpxml', 'f').stdout
    k.ctl('setvcpus', 'f', '8', '--config', '--maximum')
    assert counts(k, 'f') == (0, 0, 4, 8)
    k.ctl('setvcpus', 'f', '2', '--config', '--maximum')
    assert counts(k, 'f') == (0, 0, 2, 2)
    assert k.ctl('vcpucount', 'f', '--maximum', '--config').stdout == '2\n'
    refused(k, 'not running', 'setvcpus', 'f', '1', '--live')
    refused(k, 'not running', 'vcpuinfo', 'f')
    k.define(flat('f', 4, 2).replace('</vcpu>', "</vcpu><vcpus><vcpu id='0' enabled='yes'/><vcpu id='1' enabled='no' hotpluggable='yes'/>"
                                     "<vcpu id='2' enabled='no' hotpluggable='yes'/><vcpu id='3' enabled='yes' hotpluggable='yes'/></vcpus>"))
    k.ctl('setvcpus', 'f', '3')
    text = k.ctl('dumpxml', 'f').stdout
    assert [re.search(rf"id='{i}' enabled='(\w+)'", text)[1] for i in range(4)] == ['yes', 'yes', 'no', 'yes'], text
    k.ctl('setvcpus', 'f', '1')
    k.ctl('start', 'f')
    assert counts(k, 'f') == (1, 4, 1, 4)
    k.ctl('setvcpus', 'f', '2', '--config')
    assert counts(k, 'f') == (1, 4, 2, 4)


def per_vcpu(k):
    """<vcpus> says which are there, and which may go."""
    k.define(flat('f', 4, 3).replace('</vcpu>', "</vcpu><vcpus><vcpu id='0' enabled='yes' hotpluggable='no'/>"
                                     "<vcpu id='1' enabled='yes' hotpluggable='no'/><vcpu id='2' enabled='no' hotpluggable='yes'/>"
                                     "<vcpu id='3' enabled='yes' hotpluggable='yes'/></vcpus>"))
    k.ctl('start', 'f')
    rows = k.json('vcpuinfo', 'f')['vcpus']
    assert [r['state'] for r in rows] == ['running', 'running', 'offline', 'running'], rows
    assert [r['hotpluggable'] for r in rows] == [False, False, True, True], rows
    refused(k, 'only 1 can be unplugged', 'setvcpus', 'f', '1')
    refused(k, 'vCPU 1 cannot be plugged or unplugged', 'setvcpu', 'f', '1', '--disable')
    refused(k, 'boots the guest', 'setvcpu', 'f', '0', '--disable')
    refused(k, 'vCPU 3 is there already', 'setvcpu', 'f', '2-3', '--enable')
    refused(k, 'vCPU 2 is away already', 'setvcpu', 'f', '2', '--disable')
    refused(k, 'there is no vCPU 4', 'setvcpu', 'f', '4', '--enable')
    refused(k, 'vcpu2: no answer', 'setvcpu', 'f', '2', '--enable', '--timeout', '1')
    refused(k, 'vcpu3: no answer', 'setvcpu', 'f', '3', '--disable', '--timeout', '1')
    # what is done, or refused, at once is in the journal too, and what is only asked is not
    since = max(e['seq'] for e in k.events())
    refused(k, 'only 1 can be unplugged', 'setvcpus', 'f', '1')
    k.ctl('suspend', 'f')
    k.ctl('resume', 'f')
    k.ctl('dominfo', 'f')
    k.ctl('vcpuinfo', 'f')
    done = [(e['data']['command'], e['data']['ok']) for e in k.events() if e['event'] == 'COMMAND_DONE' and e['seq'] > since]
    assert done == [('setvcpus', False), ('suspend', True), ('resume', True)], done
    k.ctl('setvcpu', 'f', '2', '--enable', '--config')
    assert counts(k, 'f') == (3, 4, 4, 4)
    q = qmp(k, 'f')
    assert q.ask('device_del', id='/machine/unattached/device[1]')['error']['code'] == 'Unsupported'
    assert q.ask('device_del', id='/machine/unattached/device[0]')['error']['code'] == 'Unsupported'
    assert q.ask('device_del', id='/machine/unattached/device[2]')['error']['class'] == 'DeviceNotFound'


def bad_input(k):
    start(k, flat('f', 4, 1), 'f')
    assert refused(k, 'more than its maximum of 4', 'setvcpus', 'f', '5').returncode == 2
    for n in '0', '-1', 'many', '99999999999999999999', '70000':
        assert refused(k, 'BadArguments', 'setvcpus', '--', 'f', n).returncode == 2
    assert refused(k, '', 'setvcpus', 'f').returncode == 2
    refused(k, 'more than the definition', 'setvcpus', 'f', '5', '--config')
    refused(k, '--maximum needs --config', 'setvcpus', 'f', '5', '--maximum')
    refused(k, '--maximum needs --config', 'setvcpus', 'f', '5', '--maximum', '--live', '--config')
    refused(k, 'leave out', 'setvcpus', 'f', '2', '--current', '--live')
    assert refused(k, 'no channel to a guest agent', 'setvcpus', 'f', '2', '--guest').returncode == 4
    refused(k, 'timeout', 'setvcpus', 'f', '2', '--timeout', '0')
    # twice at once
    t = threading.Thread(target=lambda: k.ctl('setvcpus', 'f', '3', '--timeout', '3', check=False))
    t.start()
    k.until(lambda: [e for e in k.events() if e['event'] == 'COMMAND_BEGUN'], 10, 'the first has begun')
    assert refused(k, 'ResourceBusy', 'setvcpus', 'f', '2').returncode == 5
    q = qmp(k, 'f')
    assert q.ask('device_del', id='vcpu1')['error']['code'] == 'ResourceBusy'
    t.join()
    assert counts(k, 'f')[0] == 1
    driver = q.ask('query-hotpluggable-cpus')['return'][0]['type']
    props = {'socket-id': 0, 'core-id': 1, 'thread-id': 0}
    for bad in ({'driver': driver}, {'driver': driver, **props, 'socket-id': 1}, {'driver': driver, **props, 'core-id': 4},
                {'driver': driver, **props, 'core-id': -1}, {'driver': driver, **props, 'die-id': 1}, {'driver': 'pentium-x86_64-cpu', **props},
                {'driver': driver, **props, 'id': ''}, {'driver': driver, **props, 'id': '1x'}, {'driver': driver, **props, 'id': 'a b'},
                {'driver': driver, **props, 'bus': 'pci.0'}, {'driver': driver, **props, 'id': 7}, {'driver': 'nix'}, {'id': 'x'}, {}):
        r = q.ask('device_add', **bad)
        assert r.get('error', {}).get('class') == 'GenericError', (bad, r)
    assert q.ask('device_add', driver=driver, **{**props, 'core-id': 0})['error']['code'] == 'AlreadyExists'
    for bad in ({}, {'id': ''}, {'id': 'nix'}, {'id': 5}, {'id': 'x', 'force': True}, {'id': 'serial0'}):
        assert 'error' in q.ask('device_del', **bad), bad
    assert counts(k, 'f') == (1, 4, 1, 4)
    # fixed: without room there is nothing to plug
    start(k, flat('g', 2, 2), 'g')
    assert refused(k, 'stay', 'setvcpus', 'g', '1').returncode == 6
    assert 'return' in qmp(k, 'g').ask('query-hotpluggable-cpus')


def many_times(k):
    """A hundred random numbers, one after the other: the guest agrees with each (long)."""
    import random
    r = random.Random(4)
    shell(k, linux('l', 8, 1))
    for i in range(100):
        n = r.randint(1, 8)
        k.ctl('setvcpus', 'l', str(n), '--timeout', '60', timeout=600)
        assert counts(k, 'l')[0] == n
        if i % 5 == 0:
            assert nproc(k, 'l') == n, f'step {i}'


cases = {f.__name__: f for f in (linux_counts, linux_reboot, linux_qmp, linux_survive, flat_ignores, flat_answers, flat_killed, config, per_vcpu,
                                 bad_input, many_times)}
run([(n, cases[n]) for n in sys.argv[2:] or cases], build)
