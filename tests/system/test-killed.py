#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""kill -9 of kvmd during each command that changes something, with real machines: test-killed.py BUILD CASE..., sample, all,
or COMMAND (all cases of that command).

The command table is asked which commands there are; one without a case here fails. Each case is first run without a kill, to
see what was before and is after. Then it runs once for each step that kvmd makes for it (kill-at.c tells what a step is), kvmd
dies before that step, and the next kvmd is looked at:
- the guest goes on, beat by beat, in the same process
- the machine got the command: its result is in the journal, once, and is the one that it would have answered; else it isn't
- machine, definition and what the host keeps for them (taps, helpers, sockets, images, files) are as before or as after, all
  of them: nothing is left over, nothing is missing
- the same command can be given again: it does it, or says what it says when it has been done
- destroy and undefine leave nothing behind
In one run of each case more the machine sleeps when it gets the command, and does it when kvmd is dead."""
import collections
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid

sys.path.insert(0, os.path.dirname(__file__))
from kvmd import PATIENCE, Failed, Watch, is_order, need_kvm, run, skip  # noqa: E402

build = os.path.abspath(sys.argv[1])
UUID = str(uuid.uuid4())        # control groups are named by it
MAC, OTHER = '52:54:00:00:00:07', '52:54:00:00:00:08'
MIB = 1 << 20
need_kvm()


def domain(k):
    return f'''<domain type='kvm'>
  <name>v</name>
  <uuid>{UUID}</uuid>
  <maxMemory slots='4' unit='MiB'>512</maxMemory>
  <memory unit='MiB'>80</memory>
  <vcpu current='2'>4</vcpu>
  <os>
    <type arch='x86_64'>hvm</type>
    <kernel>{build}/tests/guest/flat/flat-plug</kernel>
  </os>
  <features><acpi/><apic/></features>
  <devices>
    <disk type='file'><source file='{k.root}/a.img'/><target dev='vda' bus='virtio'/></disk>
    <disk type='file' device='cdrom'><source file='{k.root}/cd.img'/><target dev='sda' bus='sata'/></disk>
    <interface type='ethernet'><mac address='{MAC}'/><target dev='kvmdtap0'/><model type='virtio'/></interface>
    <serial type='file'><source path='{k.root}/beats'/><target port='0'/></serial>
    <channel type='unix'><source mode='bind' path='{k.root}/one.sock'/><target type='virtio' name='org.kvmd.one'/></channel>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
    <memballoon model='virtio'/>
    <memory model='virtio-mem'>
      <target><size unit='MiB'>64</size><block unit='MiB'>2</block><requested unit='MiB'>0</requested></target>
    </memory>
  </devices>
</domain>
'''


# --- what is given ---

class Case:
    def __init__(self, command, args=None, state='running', first=(), journal=True, vm='v', without='nothing'):
        """first: commands that are given before; journal: whether the machine's journal tells a result; without: elements that
        the machine lacks."""
        self.command, self.args, self.state, self.first, self.journal, self.vm = command, args or {}, state, first, journal, vm
        self.without = without

    def __str__(self):
        words = ' '.join(f'{key}={value}' for key, value in self.args.items() if key != 'xml')
        return f'{self.command} {words} {self.args.get("xml", "")[:40]}'.strip() + ('' if self.state == 'running' else f' ({self.state})')


def live(args):
    return dict(args, live=True, config=True)


NEW_DISK = "<disk type='file'><source file='@/b.img'/><target dev='vdb' bus='virtio'/></disk>"
OLD_DISK = "<disk type='file'><source file='@/a.img'/><target dev='vda' bus='virtio'/></disk>"
NEW_CARD = f"<interface type='ethernet'><mac address='{OTHER}'/><target dev='kvmdtap1'/><model type='virtio'/></interface>"
OLD_CARD = f"<interface type='ethernet'><mac address='{MAC}'/><target dev='kvmdtap0'/><model type='virtio'/>%s</interface>"
RNG = "<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>"
CHANNEL = "<channel type='unix'><source mode='bind' path='@/two.sock'/><target type='virtio' name='org.kvmd.two'/></channel>"
MEMORY = ("<memory model='virtio-mem'><target><size unit='MiB'>64</size><node>0</node><block unit='MiB'>2</block>"
          "<requested unit='MiB'>0</requested></target></memory>")

CASES = [
    # of kvmd
    Case('define', {'xml': 'DOMAIN'}, 'absent', vm=None),
    Case('define', {'xml': 'CHANGED'}, 'off', vm=None),
    Case('define', {'xml': 'CHANGED'}, vm=None),
    Case('undefine', state='off', journal=False),
    Case('undefine', journal=False),
    Case('autostart', journal=False),
    Case('autostart', {'disable': True}, first=[('autostart', {})], journal=False),
    Case('start', state='off', journal=False),
    Case('start', {'paused': True}, 'off', journal=False),
    Case('destroy', journal=False),
    Case('console', journal=False),
    # counts and amounts
    Case('setvcpus', live({'count': 4})),
    Case('setvcpus', live({'count': 1})),
    Case('setvcpus', {'count': 3}, 'off', journal=False),
    Case('setvcpus', {'count': 1, 'guest': True}),
    Case('setvcpu', live({'vcpulist': '3', 'enable': True})),
    Case('setmem', live({'size': 8 * MIB})),
    Case('setmaxmem', {'size': 96 * MIB, 'config': True}, journal=False),
    Case('update-memory-device', live({'requested_size': 4 * MIB})),
    Case('dommemstat', live({'period': 5})),
    Case('balloon', {'value': 8 * MIB}),
    # devices
    Case('attach-device', live({'xml': NEW_DISK})),
    Case('attach-device', live({'xml': NEW_CARD})),
    Case('attach-device', live({'xml': RNG})),
    Case('attach-device', live({'xml': CHANNEL})),
    Case('attach-device', live({'xml': CHANNEL}), without='channel'),         # its controller comes first
    Case('attach-device', live({'xml': MEMORY})),
    Case('attach-device', {'xml': NEW_DISK}, 'off', journal=False),
    Case('detach-device', live({'xml': OLD_DISK, 'force': True})),
    Case('detach-device', live({'xml': OLD_CARD % ''})),
    Case('detach-device-alias', live({'alias': 'rng0'})),
    Case('detach-device-alias', live({'alias': 'channel0'})),
    Case('update-device', live({'xml': OLD_CARD % "<link state='down'/>"})),
    Case('update-device', live({'xml': "<channel type='unix'><source mode='bind' path='@/two.sock'/><target type='virtio' name='org.kvmd.one'/></channel>"})),
    Case('attach-disk', live({'source': '@/b.img', 'target': 'vdb'})),
    Case('detach-disk', live({'target': 'vda', 'force': True})),
    Case('attach-interface', live({'type': 'ethernet', 'target': 'kvmdtap1', 'mac': OTHER})),
    Case('attach-interface', {'type': 'user', 'mac': OTHER}),
    Case('detach-interface', {'type': 'user', 'mac': OTHER}, first=[('attach-interface', {'type': 'user', 'mac': OTHER})]),
    Case('detach-interface', live({'type': 'ethernet', 'mac': MAC})),
    Case('change-media', live({'target': 'sda', 'source': '@/b.img', 'update': True})),
    Case('change-media', live({'target': 'sda', 'eject': True})),
    Case('blkdeviotune', live({'device': 'vda', 'total_iops_sec': 500})),
    Case('blockresize', {'device': 'vda', 'size': 2 * MIB}),
    Case('domif-setlink', live({'interface': MAC, 'state': 'down'})),
    Case('domiftune', live({'interface': MAC, 'inbound': '100'})),
    # the machine's own
    Case('shutdown'),
    Case('shutdown', {'mode': 'agent'}),
    Case('system_reboot'),
    Case('qemu-agent-command', {'command': '{"execute":"guest-info"}'}),
    Case('guestvcpus'),
    Case('stop'),
    Case('cont', first=[('stop', {})]),
    Case('system_powerdown'),
    Case('system_reset'),
    Case('quit', journal=False),
    Case('inject-nmi'),
    Case('system_wakeup'),
    Case('device_add', {'driver': 'virtio-rng-pci', 'id': 'new'}),
    Case('device_del', {'id': 'rng0'}),
    Case('dump-guest-memory', {'paging': False, 'protocol': 'fd:x'}),
    Case('human-monitor-command', {'command-line': 'info status'}),
    Case('screendump', {'filename': '/dev/null'}),
    Case('block_resize', {'device': 'virtio-disk0', 'size': 2 * MIB}),
    Case('block_set_io_throttle', {'id': 'virtio-disk0', 'bps': 0, 'bps_rd': 0, 'bps_wr': 0, 'iops': 9, 'iops_rd': 0, 'iops_wr': 0}),
    Case('blockdev-change-medium', {'device': 'sda', 'filename': '@/b.img'}),
    Case('eject', {'device': 'sda', 'force': True}),
    Case('blockdev-add', {'node-name': 'n', 'driver': 'file', 'filename': '/dev/fdset/1'}),
    Case('blockdev-del', {'node-name': 'n'}),
    Case('netdev_add', {'type': 'tap', 'id': 'n', 'fd': 'x'}),
    Case('netdev_del', {'id': 'n'}),
    Case('set_link', {'name': 'net0', 'up': False}),
    Case('announce-self', {'initial': 50, 'max': 550, 'rounds': 5, 'step': 50}),
    Case('chardev-change', {'id': 'channel0', 'backend': {'type': 'null', 'data': {}}}),
    Case('chardev-change', {'id': 'channel0', 'backend': {'type': 'socket', 'data': {
        'addr': {'type': 'unix', 'data': {'path': '@/two.sock'}}, 'server': True, 'wait': False}}}),
    Case('chardev-add', {'id': 'new', 'backend': {'type': 'file', 'data': {'out': '@/out'}}}),
    Case('chardev-remove', {'id': 'new'}, first=[('chardev-add', {'id': 'new', 'backend': {'type': 'null', 'data': {}}})]),
    Case('ringbuf-write', {'device': 'channel0', 'data': 'x'}, first=[('chardev-change', {'id': 'channel0', 'backend': {'type': 'ringbuf', 'data': {}}})]),
    Case('ringbuf-read', {'device': 'channel0', 'size': 9}, journal=False),
    Case('qom-set', {'path': '/machine/peripheral/balloon0', 'property': 'guest-stats-polling-interval', 'value': 2}),
    Case('calc-dirty-rate', {'calc-time': 1}),
    Case('migrate-set-parameters', {}),
    Case('migrate-set-capabilities', {'capabilities': []}),
    Case('migrate_cancel'),
    Case('migrate-continue', {'state': 'pre-switchover'}),
    Case('migrate-pause'),
    Case('migrate-recover', {'uri': 'tcp:[::1]:1'}),
    Case('migrate-start-postcopy'),
    Case('migrate', {'uri': 'tcp:[::1]:1'}),
    Case('migrate-incoming', {'uri': 'tcp:[::1]:1'}),
    # of a connection, which is kvmd's own and ends with it
    Case('getfd', {'fdname': 'x'}, journal=False),
    Case('closefd', {'fdname': 'x'}, journal=False),
    Case('add-fd', {}, journal=False),
    Case('remove-fd', {'fdset-id': 1}, journal=False),
]
BEGINS_ANEW = ('system_reset', 'system_reboot')         # so the guest counts from 0 again


# --- kvmd's socket ---

class Control:
    def __init__(self, k):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.settimeout(60 * PATIENCE)
        self.s.connect(f'{k.root}/run/kvmd/control.sock')
        self.f = self.s.makefile('rb')
        self.f.readline()

    def send(self, command, args=None, vm='v'):
        m = {'execute': command, 'arguments': args or {}}
        if vm:
            m['vm'] = vm
        self.s.sendall(json.dumps(m).encode() + b'\n')

    def answer(self):
        """None: kvmd is gone."""
        try:
            line = self.f.readline()
        except ConnectionResetError:
            line = b''
        return json.loads(line) if line.endswith(b'\n') else None

    def __call__(self, *args, **kw):
        self.send(*args, **kw)
        return self.answer()

    def good(self, *args, **kw):
        m = self(*args, **kw)
        if 'return' not in (m or {}):
            raise Failed(f'{args}: {m}')
        return m['return']

    def close(self):
        self.f.close()
        self.s.close()


def outcome(answer):
    """What an answer says, without its details: True, or the error."""
    return True if 'return' in answer else answer['error']['desc']


# --- what there is ---

has_helpers = False             # looking for them takes time


def files_below(root):
    # notes of what a machine was given are named after its number and ptys, and stay as long as it runs: there, or gone
    return {os.path.join(where, n)[len(root):].split('/given/')[0] for where, _, names in os.walk(root) for n in names
            if '/var/log/' not in f'{where}/' and n not in ('events.jsonl', 'events.jsonl.1', 'events.ceiling', 'seq', 'kvmd.log', 'control.sock', 'beats', 'out')}


def helpers(k):
    """How many processes of passt there are for machines of this kvmd."""
    n = 0
    for pid in filter(str.isdigit, os.listdir('/proc') if has_helpers else []):
        try:
            with open(f'/proc/{pid}/comm') as f:
                if not f.read().startswith('passt'):
                    continue
            with open(f'/proc/{pid}/cmdline', 'rb') as f:
                words = f.read().decode(errors='replace')
            with open(f'/proc/{pid}/stat') as f:
                state = f.read().rsplit(')', 1)[1].split()[0]
        except OSError:
            continue
        n += k.root in words and state != 'Z'
    return n


def taps():
    with open('/proc/net/dev') as f:
        return set(re.findall(r'kvmdtap\d+|vnet\d+', f.read()))


def groups():
    return [where for where, names, _ in os.walk('/sys/fs/cgroup') if UUID in where]


def open_images(pid, root):
    names = []
    for n in os.listdir(f'/proc/{pid}/fd'):
        try:
            names.append(os.readlink(f'/proc/{pid}/fd/{n}'))
        except OSError:
            pass
    return sorted(n[len(root):] for n in names if n.startswith(root))


def text_of(k, c, **args):
    m = c('dumpxml', args)
    if 'return' not in m:
        return None
    return re.sub(r"<domain type='kvm' id='\d+'", '<domain', m['return']['xml'])


View = collections.namedtuple('View', 'state autostart live config host')


def view(k, c):
    """All that commands change."""
    info = c('dominfo')
    if 'return' not in info:
        return View('absent', False, None, None, (sorted(files_below(k.root)), sorted(taps()), helpers(k), None))
    info = info['return']
    active = bool(info.get('pid'))
    config = text_of(k, c, inactive=True)
    host = (sorted(files_below(k.root)), sorted(taps()), helpers(k), open_images(info['pid'], k.root) if active else None)
    return View(info['state'], info.get('autostart'), text_of(k, c) if active else None, config, host)


def settled(k, c, seconds=20):
    """What the machine's end or a guest's answer brings comes a moment later."""
    last = view(k, c)
    for _ in range(int(seconds / 0.02)):
        time.sleep(0.02)
        now = view(k, c)
        if now == last and now.state not in ('adopting', 'unknown', 'starting', 'in shutdown'):
            return now
        last = now
    raise Failed(f'this does not settle: {last}')


def differs(a, b, name):
    """The parts of two views in which they are not the same."""
    for part in View._fields:
        x, y = getattr(a, part), getattr(b, part)
        if x != y:
            yield f'{name}.{part}: {x!r} instead of {y!r}'


# --- one run ---

class Run:
    """A machine as a case wants it, and the command with kvmd watched."""
    def __init__(self, k, case):
        global has_helpers
        self.k, self.case = k, case
        has_helpers = case.args.get('type') == 'user'
        for name, size in ('a.img', MIB), ('b.img', MIB), ('cd.img', MIB):
            with open(f'{k.root}/{name}', 'wb') as f:
                f.truncate(size)
            os.chmod(f'{k.root}/{name}', 0o666)
        for name in 'beats', 'out':
            if os.path.exists(f'{k.root}/{name}'):
                os.unlink(f'{k.root}/{name}')
        self.c = Control(k)
        self.nothing = view(k, self.c)
        if case.state != 'absent':
            self.c.good('define', {'xml': re.sub(f'<{case.without} .*?</{case.without}>', '', domain(k), flags=re.S)}, vm=None)
        if case.state == 'running':
            self.c.good('start')
            k.until(lambda: self.beats(), 20, 'the guest counts')
        for command, args in case.first:
            self.c.good(command, self.filled(args))
        self.before = settled(k, self.c)
        self.pid = self.process()
        self.since = self.events()[-1]['seq'] if self.events() else 0

    def filled(self, args):
        text = json.dumps(args).replace('@/', self.k.root + '/')
        args = json.loads(text)
        if args.get('xml') == 'DOMAIN':
            args['xml'] = domain(self.k)
        if args.get('xml') == 'CHANGED':
            args['xml'] = domain(self.k).replace("<vcpu current='2'>", "<vcpu current='3'>")
        return args

    def process(self):
        return self.c('dominfo').get('return', {}).get('pid') or None

    def beats(self):
        try:
            with open(f'{self.k.root}/beats') as f:
                return [int(n) for n in re.findall(r'beat (\d+)\r?\n', f.read())]        # a reset may cut a line: "bebeat 0"
        except FileNotFoundError:
            return []

    def events(self):
        with open(f'{self.k.root}/var/lib/kvmd/events.jsonl') as f:
            return [json.loads(line) for line in f]

    def done(self):
        """Results in the journal, without what differs from time to time."""
        return [{key: v for key, v in e['data'].items() if key != 'id'} for e in self.events()
                if e['seq'] > self.since and e['event'] == 'COMMAND_DONE']

    def give(self):
        self.c.send(self.case.command, self.filled(self.case.args), vm=self.case.vm)

    def reborn(self):
        self.k.proc.wait()
        self.c.close()
        self.k.start()
        self.c = Control(self.k)

    def goes_on(self, note):
        """The guest counted all the time, and still does."""
        if self.process() is None or self.c('domstate')['return']['state'] != 'running':
            return
        n = len(self.beats())
        self.k.until(lambda: len(self.beats()) > n + 1, 20, f'the guest goes on ({note})')
        beats = self.beats()
        for a, b in zip(beats, beats[1:]):
            if b != a + 1 and not (b == 0 and self.case.command in BEGINS_ANEW):
                raise Failed(f'{note}: the guest counted {b} after {a}')

    def clean(self, note):
        self.c('destroy')
        self.k.until(lambda: self.process() is None, 10, 'the machine has ended')
        self.c('undefine')
        self.k.until(lambda: view(self.k, self.c).host == self.nothing.host, 10,
                     f'{note}: nothing is left over: {list(differs(view(self.k, self.c), self.nothing, "host"))}')
        self.c.close()


Norm = collections.namedtuple('Norm', 'before after steps first again done')


def normal(k, case):
    """The case without a kill."""
    r = Run(k, case)
    w = Watch(k, 0)
    r.give()
    first = r.c.answer()
    steps = w.end()
    r.goes_on(f'{case}')        # and answers what it was asked
    after = settled(k, r.c)
    done = r.done()
    if bool(done) != case.journal and case.vm:
        raise Failed(f'{case}: the journal has {done}, the answer was {first}')
    if len(done) > 1:
        raise Failed(f'{case}: more than one result: {done}')
    again = r.c(case.command, r.filled(case.args), vm=case.vm)
    r.clean(f'{case}')
    told = [i for i, (what, _) in enumerate(steps) if what.startswith('sendmsg') and ('"return"' in what or '"error"' in what)]
    return Norm(r.before, after, [what for what, _ in steps[:told[0] + 1]] if told else [what for what, _ in steps], outcome(first), outcome(again), done)


def judge(k, r, norm, got, answered, note):
    """After the kill, when the next kvmd is there. got: the machine has the command: True, False, or None, nobody knows."""
    case = r.case
    if norm.done and got:
        k.until(lambda: r.done(), 15, f'{note}: its result in the journal')
    r.goes_on(note)
    now = settled(k, r.c)
    done = r.done()
    if done and done != norm.done:
        raise Failed(f'{note}: the journal says {done} instead of {norm.done}')
    if norm.done and got is False and done:
        raise Failed(f'{note}: the journal tells of a command that the machine never got: {done}')
    if r.pid and now.state != 'shut off' and r.process() not in (r.pid, None) and case.command not in ('destroy', 'quit'):
        raise Failed(f'{note}: another process has the machine')
    if r.pid and norm.after.state == norm.before.state and now.state != norm.before.state:
        raise Failed(f'{note}: it is {now.state}')
    for part in View._fields:
        x, a, b = (getattr(v, part) for v in (now, norm.before, norm.after))
        if x not in (a, b):
            raise Failed(f'{note}: {part} is {x!r}, neither {a!r} nor {b!r}')
    if done and norm.before.live != norm.after.live and now.live != norm.after.live:
        raise Failed(f'{note}: the machine told {done}, and is {now.live!r}')
    # what the host keeps follows the machine; and the definition, where that is changed alone
    leads = 'live' if norm.before.live != norm.after.live else 'config'
    if norm.before.host != norm.after.host and getattr(norm.before, leads) != getattr(norm.after, leads):
        want = norm.after.host if getattr(now, leads) == getattr(norm.after, leads) else norm.before.host
        if now.host != want:
            raise Failed(f'{note}: the host has {now.host!r} instead of {want!r}')
    if answered and (now.config, now.autostart) != (norm.after.config, norm.after.autostart):
        raise Failed(f'{note}: it was answered, and the definition is {now.config!r}')
    again = outcome(r.c(case.command, r.filled(case.args), vm=case.vm))
    whole = all(getattr(now, part) == getattr(norm.before, part) for part in View._fields)
    if not done and whole and norm.before != norm.after and again != norm.first:
        raise Failed(f'{note}: given again: {again} instead of {norm.first}')
    if now == norm.after and again not in (norm.first, norm.again):
        raise Failed(f'{note}: given again: {again} instead of {norm.again}')


def killed_at(k, case, norm, step):
    """True: kvmd took so many steps."""
    r = Run(k, case)
    w = Watch(k, step)
    r.give()
    answer = r.c.answer()
    if answer is None:
        k.proc.wait()
    else:
        k.kill()
    steps = w.end()
    note = f'{case}: killed before step {step}, {steps[step - 1][0] if len(steps) >= step else "behind the answer"}'
    sent = [ok for what, ok in steps if is_order(what)]
    got = False if not sent else True if sent[-1] else None
    r.reborn()
    judge(k, r, norm, got, answer is not None, note)
    r.clean(note)
    return len(steps) >= step


def killed_asleep(k, case, norm):
    """The machine's process sleeps while kvmd hands it the command, and while kvmd dies."""
    r = Run(k, case)
    os.kill(r.pid, signal.SIGSTOP)
    try:
        w = Watch(k, 0)
        r.give()
        w.wait_sent()
        k.kill()
    finally:
        os.kill(r.pid, signal.SIGCONT)
    w.end()
    r.reborn()
    note = f'{case}: killed while the machine slept'
    judge(k, r, norm, True, False, note)
    r.clean(note)


# --- all ---

def rows(k):
    """Every command that may change something, from kvmd's own description."""
    c = Control(k)
    names = {row['name'] for row in c.good('query-schema', vm=None) if 'read-only' not in row['flags'] and row['where'] != 'client'}
    c.close()
    have = {case.command for case in CASES}
    if names - have:
        raise Failed(f'commands that change something and have no case here: {", ".join(sorted(names - have))}')
    if have - names:
        raise Failed(f'cases of commands that there are not: {", ".join(sorted(have - names))}')


def tidy_up(k):
    """After a failure: as it was, for the next case."""
    if k.proc.poll() is None:
        k.kill()
    k.start()
    for verb in 'destroy', 'undefine':
        k.ctl(verb, 'v', check=False)
    k.until(lambda: not taps() and not os.listdir(f'{k.root}/run/kvmd/vm'), 10, 'all is as it was')
    for name in os.listdir(k.root):
        if name.endswith('.sock'):
            os.unlink(f'{k.root}/{name}')


def sweep(k, cases, sample):
    runs, begun, bad = 0, time.monotonic(), []
    for i, case in enumerate(cases):
        try:
            runs += one(k, case, i if sample else None)
        except Failed as e:
            print(f'# FAILED: {e}', flush=True)
            bad.append(str(e))
            tidy_up(k)
    if bad:
        raise Failed(f'{len(bad)} of {len(cases)} cases failed')
    return f'{len(cases)} cases, {runs} kills, {time.monotonic() - begun:.0f} s'


def kills(k, case, place):
    """All kills of a case; place: those that the sample has of it. How many."""
    norm, runs, step = normal(k, case), 0, 1
    print(f'# {case}: {len(norm.steps)} steps, {norm.first}', flush=True)
    if os.environ.get('KVMD_TEST_STEPS'):
        print('\n'.join(f'#   {n} {what}' for n, what in enumerate(norm.steps, 1)), flush=True)
    if norm.done:
        orders = [n for n, what in enumerate(norm.steps, 1) if is_order(what)]
        if any('"execute"' in what and what.startswith('sendmsg') for what in norm.steps[:orders[0] - 1]):
            killed_at(k, case, norm, orders[0] + 1)     # a machine that slept would not answer what it is asked before
        else:
            killed_asleep(k, case, norm)
        runs += 1
    if place is not None:
        if not norm.done or len(norm.steps) > 10:
            killed_at(k, case, norm, 1 + place * 7 % len(norm.steps))
            runs += 1
        return runs
    while killed_at(k, case, norm, step):
        step += 1
    return runs + step


def one(k, case, place):
    """The same, and no control group is left (to look at all there are takes time)."""
    n = kills(k, case, place)
    k.until(lambda: not groups(), 10, f'{case}: its control groups are gone')
    return n


def sample(k):
    rows(k)
    return sweep(k, CASES, True)


def every(k):
    rows(k)
    return sweep(k, CASES, False)


def inside_a_network():
    """A network of its own, so that taps disturb nobody."""
    if os.environ.get('KVMD_TEST_NET') or not os.path.exists('/dev/net/tun') or not shutil.which('unshare') or os.geteuid():
        return
    if not subprocess.run(['unshare', '--net', 'true'], stderr=subprocess.DEVNULL).returncode:
        os.environ['KVMD_TEST_NET'] = '1'
        os.execvp('unshare', ['unshare', '--net', sys.executable, *sys.argv])


def case_of(name):
    if name in ('sample', 'every'):
        return globals()[name]
    return lambda k: sweep(k, [case for case in CASES if case.command == name], False)


def way_out():
    """passt wants a network with a router, though nothing is sent here."""
    for words in ('link add kvmdout type bridge', 'addr add 10.77.0.1/24 dev kvmdout', 'link set kvmdout up', 'route add default via 10.77.0.2'):
        if subprocess.run(['ip', *words.split()], capture_output=True).returncode:
            return False
    return bool(shutil.which('passt'))


if __name__ == '__main__':
    inside_a_network()
    if not os.environ.get('KVMD_TEST_NET'):
        skip('taps need root, /dev/net/tun and unshare')
    if not way_out():
        print('# without passt: apt-get install passt iproute2', flush=True)
        CASES[:] = [case for case in CASES if case.args.get('type') != 'user']
    run([(n, case_of(n)) for n in sys.argv[2:] or ['sample']], build)
