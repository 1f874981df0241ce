#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Watching machines: statistics without asking them, also of one that hangs and by a kvmd that has begun anew."""
import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(__file__))
from kvmd import need_kvm, refused, run  # noqa: E402

build = os.path.abspath(sys.argv[1])
need_kvm()


def xml(k, name, disk=True):
    image = f'{k.root}/{name}.img'
    with open(image, 'wb') as f:
        f.truncate(1 << 20)
    return f'''<domain type='kvm'>
  <name>{name}</name>
  <memory unit='MiB'>32</memory>
  <vcpu>2</vcpu>
  <os><type arch='x86_64'>hvm</type><kernel>{build}/tests/guest/flat/flat-hello</kernel><cmdline>timeout=0</cmdline></os>
  <features><acpi/><apic/></features>
  <devices><serial type='pty'><target port='0'/></serial><memballoon model='virtio'/>
    <disk type='file'><driver name='qemu' type='raw'/><source file='{image}'/><target dev='vda' bus='virtio'/></disk></devices>
</domain>
'''


def start(k, name):
    k.define(xml(k, name))
    k.ctl('start', name)
    k.until(lambda: '> ' in k.console(name), 20, 'the guest greets')
    return k.json('dominfo', name)['pid']


def stats(k, name, *options):
    return k.json('domstats', name, *options)['domains'][0]['stats']


def counted(k):
    start(k, 'one')
    s = stats(k, 'one')
    assert s['state.state'] == 1 and s['state.reason'] == 1, s
    assert s['vcpu.current'] == 2 and s['vcpu.maximum'] == 2 and s['vcpu.0.state'] == 1, s
    if os.geteuid() == 0 and tuple(int(x) for x in os.uname().release.split('.')[:2]) >= (5, 14):     # what only KVM counts: kvmd may look, and the kernel tells
        assert {f'vcpu.{i}.{w}.sum' for i in range(2) for w in ('halt_wait_ns', 'halt_wakeup', 'irq_injections')} <= s.keys(), s
        assert {x['name'] for x in k.json('qmp', 'one', 'query-stats', 'target=vcpu')[0]['stats']} >= {'exits', 'halt_wait_ns', 'insn_assists'}
    assert s['vcpu.0.exits.sum'] > 0 and s['vcpu.0.io_exits.sum'] > 0 and s['vcpu.0.time'] > 0 and 'vcpu.0.delay' in s, s
    assert s['balloon.current'] == s['balloon.maximum'] == 32 << 10 and s['balloon.rss'] > 0, s
    assert s['block.count'] == 1 and s['block.0.name'] == 'vda' and s['block.0.capacity'] == 1 << 20, s
    assert s['block.0.path'].endswith('one.img') and s['block.0.rd.reqs'] == 0 and s['net.count'] == 0, s
    assert 'block.0.rd.latency' not in s
    assert len(stats(k, 'one', '--block', '--latency')['block.0.rd.latency']) == 32
    assert set(stats(k, 'one', '--state')) == {'state.state', 'state.reason'}
    # the guest says something: its exits are there at once
    k.ctl('console', 'one', stdin='cpus\n')
    assert stats(k, 'one')['vcpu.0.io_exits.sum'] > s['vcpu.0.io_exits.sum']
    text = k.ctl('domstats').stdout
    assert text.startswith("Domain: 'one'\n  state.state=1\n") and '\n  block.0.name=vda\n' in text, text
    k.ctl('suspend', 'one')
    assert stats(k, 'one', '--state') == {'state.state': 3, 'state.reason': 1}
    assert not k.json('domstats', '--list-running')['domains'] and len(k.json('domstats', '--list-paused')['domains']) == 1
    k.ctl('destroy', 'one')
    s = stats(k, 'one')
    assert s == {'state.state': 5, 'state.reason': 2}, s
    p = k.ctl('domstats', 'nobody', check=False)
    assert p.returncode == 3 and 'nobody' in p.stderr, p


def stopped(k):
    """A machine whose process does not run answers as fast as any; and to a kvmd that never spoke with it."""
    pid = start(k, 'one')
    before = stats(k, 'one')
    os.kill(pid, signal.SIGSTOP)
    try:
        begun = time.monotonic()
        s = stats(k, 'one')
        took = time.monotonic() - begun
        assert took < 1 and s['vcpu.0.exits.sum'] >= before['vcpu.0.exits.sum'], (took, s)
        k.kill()
        k.start()
        s = stats(k, 'one')
        assert s['vcpu.0.exits.sum'] >= before['vcpu.0.exits.sum'] and s['block.0.capacity'] == 1 << 20 and s['vcpu.0.time'] > 0, s
    finally:
        os.kill(pid, signal.SIGCONT)
    k.until(lambda: k.state('one') == 'running', 20, 'it is adopted')
    assert stats(k, 'one')['vcpu.current'] == 2


def hostile(k):
    """What a machine's process may write is not believed; what it wrote does not hurt others."""
    start(k, 'one')
    start(k, 'two')
    uuid = k.ctl('domuuid', 'one').stdout.strip()
    path = f'{k.root}/run/kvmd/vm/{uuid}/stats'
    with open(path, 'rb') as f:
        whole = f.read()
    for text in (b'', b'kvmdstat', whole[:60], whole[:-1], b'x' * len(whole), whole[:8] + b'\xff' * (len(whole) - 8),
                 whole[:96] + b'\xff' * (len(whole) - 96)):
        # in a new file: the old one is mapped
        with open(path + '.new', 'wb') as f:
            f.write(text)
        os.rename(path + '.new', path)
        both = {d['name']: d['stats'] for d in k.json('domstats')['domains']}
        assert both['one']['state.state'] == 1 and both['two']['vcpu.0.exits.sum'] > 0, both
    os.unlink(path)
    os.mkfifo(path)
    assert stats(k, 'one')['state.state'] == 1
    os.unlink(path)
    pid = k.json('dominfo', 'two')['pid']
    links = [os.readlink(f'/proc/{pid}/fd/{fd}') for fd in os.listdir(f'/proc/{pid}/fd')]
    assert not [x for x in links if x.endswith('/stats')], 'its process could still change the size of its page'


def on_terminal(k, *args, keys=b'', until=b''):
    """Runs kvmctl on a terminal, sends keys when `until` was shown; what it printed, and its status."""
    pid, fd = pty.fork()
    if not pid:
        os.execve(f'{k.build}/tools/kvmctl', ['kvmctl', *args], dict(k.env, TERM='xterm'))
    seen, end, sent = b'', time.monotonic() + 30, False
    while time.monotonic() < end:
        if select.select([fd], [], [], 0.5)[0]:
            try:
                seen += os.read(fd, 65536)
            except OSError:
                break
        if until in seen and not sent:
            os.write(fd, keys)
            sent = True
    else:
        os.kill(pid, signal.SIGKILL)
    os.close(fd)
    return seen, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def disk(k):
    """Disk counters while a guest drives its disk."""
    image = f'{k.root}/d.img'
    with open(image, 'wb') as f:
        f.truncate(8 << 20)
    k.define(f'''<domain type='kvm'>
  <name>d</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>
  <os><type arch='x86_64'>hvm</type><kernel>{build}/tests/guest/flat/flat-blk</kernel>
    <cmdline>op=scatter bs=4096 qd=8 ops=2048 ms=60000 hz=2000000000</cmdline></os>
  <features><acpi/><apic/></features>
  <devices><serial type='pty'><target port='0'/></serial>
    <disk type='file'><driver name='qemu' type='raw'/><source file='{image}'/><target dev='vda' bus='virtio'/>
      <iotune><total_iops_sec>1000</total_iops_sec></iotune></disk></devices>
</domain>''')
    k.ctl('start', 'd')
    s = {}
    while k.state('d') != 'shut off':
        now = stats(k, 'd', '--block', '--latency')
        if 'block.0.wr.reqs' in now:
            assert now['block.0.wr.reqs'] >= s.get('block.0.wr.reqs', 0)
            s = now
        time.sleep(0.02)
    assert s['block.0.wr.reqs'] > 100 and s['block.0.wr.bytes'] >= 4096 * (s['block.0.wr.reqs'] - 8), s
    assert abs(sum(s['block.0.wr.latency']) - s['block.0.wr.reqs']) <= 8 and s['block.0.wr.times'] > 0, s
    assert s['block.0.throttled.times'] > 100_000_000 and s['block.0.rd.errors'] == s['block.0.wr.errors'] == 0, s
    assert s['block.0.wr.highest_offset'] > 1 << 20, s


def top(k):
    start(k, 'one')
    start(k, 'two')
    text = k.ctl('top').stdout
    assert text.split()[:3] == ['NAME', 'STATE', 'CPU%'] and text.count('running') == 2, text
    tables = k.ctl('top', '-b', '-n', '2', '-d', '1', '--sort=name').stdout.split('\n\n')
    assert len(tables) == 2 and tables[1].index('one') < tables[1].index('two'), tables
    rows = [json.loads(x) for x in k.ctl('top', '-b', '-n', '1', '-o', 'jsonl', '-s', 'rss').stdout.splitlines()]
    assert {r['name'] for r in rows} == {'one', 'two'} and rows[0]['rss'] >= rows[1]['rss'] > 0 and rows[0]['vcpus'] == 2, rows
    seen, status = on_terminal(k, 'top', '-d', '1', keys=b'nRmq', until=b'READ/s')
    assert status == 0 and b'sorted by name, the other way round' in seen and b'sorted by rss' in seen and seen.endswith(b'\x1b[?1049l'), (status, seen)
    assert k.ctl('top', 'one', check=False).returncode == 2
    assert 'nonsense' in k.ctl('top', '--sort=nonsense', check=False).stderr
    progress(k)


def progress(k):
    """Who waits at a terminal sees how far the guest is: kvmctl beside a kvmd that takes its time."""
    path = f'{k.root}/slow.sock'
    s = socket.socket(socket.AF_UNIX)
    s.bind(path)
    s.listen()
    asked = []

    def serve(c):
        def say(**m):
            c.sendall(json.dumps(m).encode() + b'\n')
        f = c.makefile('r')
        say(QMP={'version': {}, 'capabilities': []})
        m = json.loads(f.readline())
        asked.append(m)
        if m['execute'] != 'event':
            time.sleep(4.5)
        say(**{'return': {}})
        for mib in (500, 400, 300) if m['execute'] == 'event' else ():
            say(event='COMMAND_PROGRESS', data={'vm': 'one', 'command': 'setmem', 'actual': mib << 20, 'wanted': 256 << 20})
            time.sleep(1)

    def accept():
        while True:
            threading.Thread(target=serve, args=(s.accept()[0],), daemon=True).start()
    threading.Thread(target=accept, daemon=True).start()
    seen, status = on_terminal(k, 'setmem', 'one', '256MiB', '--connect', path)
    assert status == 0 and b'waiting' in seen and b'400 MiB, wanted are 256 MiB' in seen and b'is changed' in seen, (status, seen)
    assert asked[1]['arguments'] == {'follow': True, 'domain': 'one', 'event': 'COMMAND_PROGRESS'}, asked


def edit(k):
    k.define(xml(k, 'one'))

    def run_edit(editor, code=0):
        env = dict(k.env, TMPDIR=k.root)
        env.pop('VISUAL', None)
        env.pop('EDITOR', None)
        if editor:
            env['EDITOR'] = editor
        p = subprocess.run([f'{k.build}/tools/kvmctl', 'edit', 'one'], env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        assert p.returncode == code, p
        return p

    def left():
        return [x for x in os.listdir(k.root) if x.startswith('kvmctl-')]

    assert 'not changed' in run_edit('true').stdout
    assert 'changed' in run_edit('sed -i s/vda/vdb/').stdout and "dev='vdb'" in k.ctl('dumpxml', 'one').stdout
    assert 'terminal' in run_edit(None, 2).stderr
    assert 'editor' in run_edit('false', 2).stderr and not [x for x in left() if 'vdc' in open(f'{k.root}/{x}').read()]
    for x in left():
        os.unlink(f'{k.root}/{x}')
    p = run_edit("sed -i 's/<vcpu.*vcpu>/<vcpu>many<\\/vcpu>/'", 2)
    kept = left()
    assert len(kept) == 1 and kept[0] in p.stderr and 'many' in open(f'{k.root}/{kept[0]}').read(), (p, kept)
    assert os.stat(f'{k.root}/{kept[0]}').st_mode & 0o777 == 0o600
    assert 'many' not in k.ctl('dumpxml', 'one').stdout
    # someone else is faster
    with open(f'{k.root}/other', 'w') as f:
        f.write(k.ctl('dumpxml', 'one').stdout.replace('vdb', 'vdd'))
    p = run_edit(f"{k.build}/tools/kvmctl define {k.root}/other; sed -i s/vdb/vdc/", 5)
    assert 'meanwhile' in p.stderr and "dev='vdd'" in k.ctl('dumpxml', 'one').stdout


def qmp(k):
    start(k, 'one')
    s = json.loads(k.ctl('qmp', 'one', 'query-status').stdout)
    assert s['status'] == 'running', s
    s = json.loads(k.ctl('qmp', 'one', '{"execute":"query-stats","arguments":{"target":"vm"}}', '-o', 'jsonl').stdout)
    assert s[0]['provider'] == 'kvm', s
    assert json.loads(k.ctl('qmp', 'one', 'query-stats', 'target=vm').stdout)[0]['provider'] == 'kvm'
    assert json.loads(k.ctl('qmp', 'one', 'query-stats', '{"target": "vcpu"}').stdout)[1]['stats']
    for args, words in ((('nonsense',), 'nonsense'), (('query-status', 'x'), 'key=value'), (('query-status', '{x'), 'not JSON'),
                        (('query-status', 'x=1'), 'takes no arguments'), (('{"no": 1}',), 'execute'), (('hello',), 'hello')):
        p = k.ctl('qmp', 'one', *args, check=False)
        assert p.returncode and words in p.stderr, (args, p)


def deaf(k):
    """A QMP client that does not read is cut off when 4 MiB wait for it, and the log says so; others go on."""
    start(k, 'one')
    path = k.json('dominfo', 'one')['qmp']

    def connect():
        s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        s.settimeout(60)
        s.connect(path)
        f = s.makefile('rb')
        f.readline()
        s.sendall(b'{"execute":"qmp_capabilities"}')
        f.readline()
        return s, f

    d, df = connect()
    s, f = connect()

    def log():
        with open(f'{k.root}/var/log/kvmd/one.log') as x:
            return x.read()

    for _ in range(200):
        s.sendall(b'{"execute":"stop"}{"execute":"cont"}' * 4 * 50)
        answers = 0
        while answers < 400:
            line = f.readline()
            assert line, 'the one that reads was cut off'
            answers += b'"return"' in line
        if 'does not read' in log():
            break
    assert 'does not read' in log(), 'nobody was cut off'
    while d.recv(1 << 20):
        pass
    s.sendall(b'{"execute":"query-status"}')
    while b'"return"' not in f.readline():
        pass
    assert k.state('one') in ('running', 'paused')


def follow(k):
    """Events as JSON lines, again from a number, by a kvmd that has begun anew."""
    start(k, 'one')
    k.ctl('suspend', 'one')
    k.ctl('resume', 'one')
    all_ = [json.loads(x) for x in k.ctl('event', '--since', '0', '-o', 'jsonl').stdout.splitlines()]
    numbers = [e['seq'] for e in all_]
    assert numbers == list(range(1, len(all_) + 1)) and {'STARTED', 'STOP', 'RESUME'} <= {e['event'] for e in all_}, all_
    reasons = {(e['event'], e['data'].get('reason')) for e in all_}
    assert {('STARTED', 'by request'), ('RESUME', 'booted'), ('STOP', 'by request'), ('RESUME', 'resumed')} <= reasons, reasons
    refused(k, "did you mean 'STOP'", 'event', '--event', 'stop')
    middle = numbers[len(numbers) // 2]
    k.kill()
    k.start()
    p = subprocess.Popen([f'{k.build}/tools/kvmctl', 'event', '--follow', '--since', str(middle), '-o', 'jsonl'], env=k.env, stdout=subprocess.PIPE, text=True)
    try:
        k.until(lambda: k.state('one') == 'running', 20, 'it is adopted')
        k.ctl('suspend', 'one')
        seen = []
        while not seen or seen[-1]['event'] != 'STOP' or seen[-1]['seq'] <= numbers[-1]:
            seen.append(json.loads(p.stdout.readline()))
        assert [e['seq'] for e in seen] == list(range(middle + 1, seen[-1]['seq'] + 1)), seen
        assert 'ADOPTED' in {e['event'] for e in seen}
        # it goes on where it was when there is a kvmd again, and says so
        k.kill()
        k.start()
        k.until(lambda: k.state('one') == 'paused', 20, 'it is adopted')
        k.ctl('resume', 'one')
        after = []
        while not after or after[-1]['event'] != 'RESUME':
            after.append(json.loads(p.stdout.readline()))
        assert [e['seq'] for e in after] == list(range(seen[-1]['seq'] + 1, after[-1]['seq'] + 1)), after
        assert 'ADOPTED' in {e['event'] for e in after}
    finally:
        p.kill()
        p.wait()


def dirty(k):
    # a region of memory that comes and goes is in it too
    k.define(xml(k, 'one').replace("<memory unit='MiB'>32</memory>", "<maxMemory slots='4' unit='MiB'>512</maxMemory><memory unit='MiB'>96</memory>")
             .replace('</features>', "</features><cpu><numa><cell id='0' cpus='0-1' memory='32' unit='MiB'/></numa></cpu>")
             .replace('</devices>', """<memory model='virtio-mem'><target><size unit='MiB'>64</size><node>0</node><block unit='MiB'>2</block>
                      <requested unit='MiB'>4</requested></target></memory></devices>"""))
    k.ctl('start', 'one')
    k.until(lambda: '> ' in k.console('one'), 20, 'the guest greets')
    s = k.json('qmp', 'one', 'query-dirty-rate')
    assert s['status'] == 'unstarted' and 'dirty-rate' not in s, s
    assert 'dirtyrate.megabytes_per_second' not in stats(k, 'one')
    k.ctl('domdirtyrate-calc', 'one', '--calc-time', '1')
    assert k.json('qmp', 'one', 'query-dirty-rate')['status'] == 'measuring'
    assert stats(k, 'one', '--dirtyrate')['dirtyrate.calc_status'] == 1
    assert 'already' in k.ctl('domdirtyrate-calc', 'one', '--calc-time', '1', check=False).stderr
    k.until(lambda: k.json('qmp', 'one', 'query-dirty-rate')['status'] == 'measured', 10, 'it is measured')
    s = k.json('qmp', 'one', 'query-dirty-rate')
    assert s['dirty-rate'] < 100 and s['calc-time'] == 1 and s['mode'] == 'dirty-bitmap', s
    s = stats(k, 'one')
    assert s['dirtyrate.calc_status'] == 2 and s['dirtyrate.calc_period'] == 1 and 'dirtyrate.megabytes_per_second' in s, s
    for bad in ({'calc-time': 0}, {'calc-time': 61}, {}, {'calc-time': 1, 'mode': 'dirty-ring'}):
        assert k.ctl('qmp', 'one', 'calc-dirty-rate', json.dumps(bad), check=False).returncode, bad


def dirty_disk(k):
    """What a disk reads into memory counts as changed: the guest itself only writes to its rings."""
    image = f'{k.root}/d.img'
    with open(image, 'wb') as f:
        f.truncate(64 << 20)
    k.define(f'''<domain type='kvm'>
  <name>d</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>
  <os><type arch='x86_64'>hvm</type><kernel>{build}/tests/guest/flat/flat-blk</kernel>
    <cmdline>op=read bs=65536 qd=240 ops=1000000000 ms=600000 hz=2000000000</cmdline></os>
  <features><acpi/><apic/></features>
  <devices><serial type='pty'><target port='0'/></serial>
    <disk type='file'><driver name='qemu' type='raw'/><source file='{image}'/><target dev='vda' bus='virtio'/></disk></devices>
</domain>''')
    k.ctl('start', 'd')
    k.until(lambda: stats(k, 'd', '--block').get('block.0.rd.reqs', 0) > 300, 60, 'the guest reads')
    k.ctl('domdirtyrate-calc', 'd', '--calc-time', '1')
    k.until(lambda: k.json('qmp', 'd', 'query-dirty-rate')['status'] == 'measured', 30, 'it is measured')
    rate, buffers = k.json('qmp', 'd', 'query-dirty-rate')['dirty-rate'], 240 * 65536 >> 20
    assert buffers / 8 <= rate <= buffers + 4, f'{rate} MiB/s, the buffers have {buffers} MiB'
    return f'{rate} MiB/s, {buffers} MiB of buffers'


cases = [('disk', disk), ('dirty-rate', dirty), ('dirty-disk', dirty_disk), ('a-deaf-client', deaf), ('follow', follow), ('top', top), ('edit', edit), ('qmp', qmp), ('counted', counted), ('a-stopped-machine', stopped), ('a-page-that-lies', hostile)]
run([c for c in cases if c[0] in sys.argv[2:] or not sys.argv[2:]], build)
