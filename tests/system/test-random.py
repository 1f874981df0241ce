#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Hot-plug at random: test-random.py BUILD CASE…, few, hundred, killed, or N[:SEED] for N operations on one running Linux.

After each operation the test's own model is compared with what the guest sees (its shell reads sysfs: processors, disks with
their content, cards, virtio devices, ports, MemTotal) and with what kvmd tells (dumpxml, vcpuinfo, domblklist, domiflist, …)."""
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree

sys.path.insert(0, os.path.dirname(__file__))
from kvmd import Failed, Watch, linux_domain, need_kvm, need_linux, run, shell, skip  # noqa: E402

build = os.path.abspath(sys.argv[1])
guest = f'{build}/linux'
MIB = 1 << 20
BASE, ROOM = 192, 128       # MiB: what the guest boots with, and its memory device's size
SECOND = 128                # and that of one that comes and goes: Linux takes whole blocks of 128 MiB into its zones
MAX_VCPUS = 4
PATIENT = ('--timeout', '60')
SERIOUS = ('BUG:', 'WARNING:', 'rcu: INFO', 'segfault', 'Call Trace', 'Out of memory', 'Killed', 'Kernel panic')
need_kvm()

# What the guest sees, in one line and without a process: on a host that emulates guest kernel code a fork costs 0.4 s.
# The loop around it all reads whole lines, where the shell's own line editing is a dozen system calls for each character.
# A processor that was plugged is brought online and a card is set up (0x1003: up, for only then it has a carrier), as udev would.
VIEW = r'''while read -r line; do eval "$line"; done
r() { v=; read -r v <$1; } 2>/dev/null
up() { for f in /sys/devices/system/cpu/cpu*/online; do r $f; [ "$v" != 0 ] || echo 1 >$f; done; }
one() { r /sys/devices/system/cpu/online; o="cpu=$v"; read -r a b c </proc/meminfo; o="$o mem=$b"; }
two() { for f in /sys/block/vd*; do [ -e $f ] || break; r $f/size; s=$v; r /dev/${f##*/}; o="$o disk=$s/$v"; done; }
three() { for f in /sys/class/net/eth*; do [ -e $f ] || break; r $f/address; a=$v; echo 0x1003 >$f/flags; r $f/carrier; o="$o card=$a/$v"; done; }
four() { for f in /sys/bus/virtio/devices/*; do r $f/device; o="$o virtio=$v"; done; for f in /sys/class/virtio-ports/*; do [ -e $f ] || break; r $f/name; o="$o port=$v"; done; }
view() { up; one; two; three; four; echo "V$1=$o."; } 2>/dev/null
echo defined-$?
'''


def linux():
    need_linux(guest)
    with open(f'{guest}/vmlinux', 'rb') as f:
        if b'initcall_blacklist=param_sysfs_init' in f.read():
            skip(f'the Linux guest is older than its configuration and cannot do PCI hot-plug: tests/guest/linux/build.sh {guest} makes it anew')
    # online_movable: else the kernel's own data settles in plugged memory, and it cannot be given back
    return linux_domain(guest, 'l', f"""
    <controller type='virtio-serial' index='0' ports='8'/>
    <memballoon model='virtio'/>
    <memory model='virtio-mem'>
      <target><size unit='MiB'>{ROOM}</size><block unit='MiB'>2</block><requested unit='MiB'>0</requested></target>
    </memory>""", memory=BASE + ROOM, vcpus=MAX_VCPUS, current=2, head="<maxMemory slots='2' unit='MiB'>1024</maxMemory>",
                        more='acpiphp.disable=0 memhp_default_state=online_movable')


class Machine:
    """A running guest and the model of it."""
    def __init__(self, k):
        self.k, self.marks, self.made = k, 0, 0
        self.vcpus, self.balloon, self.plugged = 2, BASE, 0             # MiB
        self.disks = {}             # target: [path, sectors, first word, iops]
        self.cards = {}             # MAC: [tap, cable is in]
        self.rngs = []              # aliases
        self.more = {}              # memory devices that came: alias: MiB
        self.channels = {}          # alias: name
        shell(k, linux())
        self.pid = k.json('dominfo', 'l')['pid']
        first, rest = VIEW.split('\n', 1)
        for text in first + '\n', rest:
            k.ctl('console', 'l', stdin=text, timeout=240)
        k.until(lambda: re.search(r'^defined-0\r?$', k.console('l'), re.M), 60, "the guest's shell has its functions")
        self.total = int(self.look()['mem'][0])

    # what is seen

    def look(self):
        """{key: sorted values} of the guest's view."""
        self.marks += 1
        self.k.ctl('console', 'l', stdin=f'view {self.marks}\n', timeout=240)
        found = []

        def answered():
            found[:] = re.findall(rf'^V{self.marks}=(.*)\.\r?$', self.k.console('l'), re.M)
            return found
        self.k.until(answered, 240, f'the guest answers (view {self.marks})')
        seen = {}
        for word in found[0].split():
            key, _, value = word.partition('=')
            seen.setdefault(key, []).append(value)
        return {key: sorted(v) for key, v in seen.items()}

    def given(self):
        """MiB by memory devices."""
        return self.plugged + sum(self.more.values())

    def guest_differs(self):
        """What the guest sees otherwise than the model; '' if nothing."""
        seen = self.look()
        ids = [3, 5, 24] + [24] * len(self.more) + [2] * len(self.disks) + [1] * len(self.cards) + [4] * len(self.rngs)
        want = {'cpu': ['0' if self.vcpus == 1 else f'0-{self.vcpus - 1}'],
                'disk': sorted(f'{d[1]}/{d[2]}' for d in self.disks.values()),
                'card': sorted(f'{mac}/{int(c[1])}' for mac, c in self.cards.items()),
                'virtio': sorted(f'{i:#06x}' for i in ids), 'port': sorted(self.channels.values())}
        bad = [f'{key}: {seen.get(key, [])} instead of {v}' for key, v in want.items() if seen.get(key, []) != v]
        # the table of pages of plugged memory may or may not be counted, and per-processor data comes and goes
        mem, should = int(seen['mem'][0]), self.total + (self.balloon - BASE + self.given()) * 1024
        if not should - 2048 - self.given() * 32 <= mem <= should + 2048:
            bad.append(f'mem: {mem} KiB instead of about {should}')
        return '; '.join(bad)

    def kvmd_differs(self):
        k, bad = self.k, []

        def same(what, is_, should):
            if is_ != should:
                bad.append(f'{what}: {is_} instead of {should}')
        x = xml.etree.ElementTree.fromstring(k.ctl('dumpxml', 'l').stdout)
        v = x.find('vcpu')
        same('dumpxml vcpu', (int(v.get('current', v.text)), int(v.text)), (self.vcpus, MAX_VCPUS))
        same('vcpuinfo', [r['vcpu'] for r in k.json('vcpuinfo', 'l')['vcpus'] if r['state'] == 'running'], list(range(self.vcpus)))
        same('vcpucount', k.json('vcpucount', 'l')['current_live'], self.vcpus)
        same('dumpxml disks', {d.find('target').get('dev'): [d.find('source').get('file'), int(d.findtext('iotune/total_iops_sec', '0'))]
                               for d in x.findall('devices/disk')}, {t: [d[0], d[3]] for t, d in self.disks.items()})
        same('domblklist', {d['target']: d['source'] for d in k.json('domblklist', 'l').get('disks', [])}, {t: d[0] for t, d in self.disks.items()})
        for target, d in self.disks.items():
            same(f'blkdeviotune {target}', k.json('blkdeviotune', 'l', target).get('total_iops_sec', 0), d[3])
        same('dumpxml cards', {c.find('mac').get('address'): [c.find('target').get('dev'), c.find('link') is None or c.find('link').get('state') == 'up']
                               for c in x.findall('devices/interface')}, self.cards)
        same('domiflist', {c['mac']: [c['interface'], c['state'] == 'up'] for c in k.json('domiflist', 'l').get('interfaces', [])}, self.cards)
        same('dumpxml rng', sorted(r.find('alias').get('name') for r in x.findall('devices/rng')), sorted(self.rngs))
        same('dumpxml channels', {c.find('alias').get('name'): c.find('target').get('name') for c in x.findall('devices/channel')}, self.channels)
        same('dumpxml memory devices', [[int(m.findtext(f'target/{w}', '0')) // 1024 for w in ('requested', 'current')] for m in x.findall('devices/memory')],
             [[n] * 2 for n in [self.plugged, *self.more.values()]])
        same('dumpxml memory', int(x.findtext('memory')) // 1024, BASE + ROOM + SECOND * len(self.more))
        t = k.json('dominfo', 'l')
        same('dominfo memory', t['memory'] // MIB, self.balloon + self.given())
        same('dommemstat', k.json('dommemstat', 'l')['actual'] // MIB, self.balloon)
        same('pid', t['pid'], self.pid)
        same('state', k.state('l'), 'running')
        fds = [os.readlink(f'/proc/{self.pid}/fd/{n}') for n in os.listdir(f'/proc/{self.pid}/fd')]
        same('images that are open', sorted(f for f in fds if f.endswith('.img')), sorted(d[0] for d in self.disks.values()))
        with open('/proc/net/dev') as f:
            same('taps', sorted(re.findall(r'kvmdtap\d+', f.read())), sorted(c[0] for c in self.cards.values()))
        return '; '.join(bad)

    def compare(self, after):
        """Linux makes some things its own a moment after it has answered, so the guest is asked until it agrees."""
        for what, seconds in (self.kvmd_differs, 5), (self.guest_differs, 30):
            differs, end = what(), time.monotonic() + seconds
            while differs and time.monotonic() < end:
                time.sleep(0.1)
                differs = what()
            if differs:
                raise Failed(f'{what.__name__} after {after}: {differs}')
        out = self.k.console('l')
        for s in SERIOUS:
            assert s not in out, f'"{s}" on the console after {after}:\n{out[-4000:]}'

    # operations: each does it, changes the model and tells what it did; None if there is nothing to do it to

    def ctl(self, *args, **kw):
        return self.k.ctl(args[0], 'l', *args[1:], timeout=600, **kw)

    def new_image(self):
        self.made += 1
        path, sectors, text = f'{self.k.root}/d{self.made}.img', 2048 + 8 * self.made, f'kvmd-{self.made}'
        with open(path, 'wb') as f:
            f.write(f'{text}\n'.encode().ljust(sectors * 512, b'\0'))
        os.chmod(path, 0o666)
        return [path, sectors, text, 0]

    def vcpus_set(self, r):
        n = r.choice([n for n in range(1, MAX_VCPUS + 1) if n != self.vcpus])
        self.ctl('setvcpus', str(n), *PATIENT)
        self.vcpus = n
        return f'setvcpus {n}'

    def disk_in(self, r):
        free = [t for t in ('vda', 'vdb', 'vdc', 'vdd') if t not in self.disks]
        if not free:
            return None
        target, d = r.choice(free), self.new_image()
        self.ctl('attach-disk', d[0], target, *PATIENT)
        self.disks[target] = d
        return f'attach-disk {target}'

    def disk_out(self, r):
        if not self.disks:
            return None
        target = r.choice(sorted(self.disks))
        self.ctl('detach-disk', target, *PATIENT)
        os.unlink(self.disks.pop(target)[0])
        return f'detach-disk {target}'

    def tune(self, r):
        if not self.disks:
            return None
        target = r.choice(sorted(self.disks))
        n = r.choice([n for n in (0, 500, 1000, 20000) if n != self.disks[target][3]])
        self.ctl('blkdeviotune', target, '--total-iops-sec', str(n))
        self.disks[target][3] = n
        return f'blkdeviotune {target} {n}'

    def card_in(self, r):
        if len(self.cards) == 3:
            return None
        self.made += 1
        mac, tap = f'52:54:00:00:{self.made >> 8:02x}:{self.made & 255:02x}', f'kvmdtap{self.made}'
        self.ctl('attach-interface', 'ethernet', '--target', tap, '--mac', mac, *PATIENT)
        self.cards[mac] = [tap, True]
        return f'attach-interface {tap}'

    def card_out(self, r):
        if not self.cards:
            return None
        mac = r.choice(sorted(self.cards))
        self.ctl('detach-interface', 'ethernet', '--mac', mac, *PATIENT)
        return f'detach-interface {self.cards.pop(mac)[0]}'

    def cable(self, r):
        if not self.cards:
            return None
        c = self.cards[r.choice(sorted(self.cards))]
        self.ctl('domif-setlink', c[0], 'down' if c[1] else 'up')
        c[1] = not c[1]
        return f"domif-setlink {c[0]} {'up' if c[1] else 'down'}"

    def attach(self, text):
        return json.loads(self.ctl('attach-device', '-', *PATIENT, '-o', 'json', stdin=text).stdout)['alias']

    def rng(self, r):
        if self.rngs and (len(self.rngs) == 2 or r.random() < 0.5):
            alias = self.rngs.pop(r.randrange(len(self.rngs)))
            self.ctl('detach-device-alias', alias, *PATIENT)
            return f'detach {alias}'
        self.rngs.append(self.attach("<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>"))
        return f'attach {self.rngs[-1]}'

    def channel(self, r):
        if self.channels and (len(self.channels) == 3 or r.random() < 0.5):
            alias = r.choice(sorted(self.channels))
            self.ctl('detach-device-alias', alias, *PATIENT)
            return f'detach {alias} {self.channels.pop(alias)}'
        self.made += 1
        name = f'org.kvmd.{self.made}'
        alias = self.attach(f"<channel type='unix'><source mode='bind' path='{self.k.root}/c{self.made}.sock'/><target type='virtio' name='{name}'/></channel>")
        self.channels[alias] = name
        return f'attach {alias} {name}'

    def memory(self, r):
        n = r.choice([n for n in range(BASE - 64, BASE + 1, 4) if n != self.balloon])
        self.ctl('setmem', f'{n}MiB', *PATIENT)
        self.balloon = n
        return f'setmem {n}MiB'

    def memory_device(self, r):
        n = r.choice([n for n in range(0, ROOM + 1, 8) if n != self.plugged])
        self.ctl('update-memory-device', '--alias', 'virtiomem0', '--requested-size', f'{n}MiB', *PATIENT)
        self.plugged = n
        return f'update-memory-device {n}MiB'

    def memory_plug(self, r):
        if self.more:
            alias = self.more.popitem()[0]
            self.ctl('detach-device-alias', alias, *PATIENT)
            return f'detach {alias}'
        n = r.randrange(8, SECOND + 1, 8)
        alias = self.attach(f"""<memory model='virtio-mem'><target><size unit='MiB'>{SECOND}</size><block unit='MiB'>2</block>
                                <requested unit='MiB'>{n}</requested></target></memory>""")
        self.more[alias] = n
        return f'attach {alias} {n}MiB'

    def pause(self, r):
        self.ctl('suspend')
        assert self.k.state('l') == 'paused'
        for args in ('setvcpus', str(self.vcpus % MAX_VCPUS + 1)), ('setmem', f'{BASE - 32}MiB'):
            p = self.ctl(*args, check=False)
            assert p.returncode and 'does not run' in p.stderr, p
        self.ctl('resume')
        return 'suspend, resume'


KINDS = [Machine.vcpus_set, Machine.disk_in, Machine.disk_out, Machine.tune, Machine.card_in, Machine.card_out, Machine.cable, Machine.rng,
         Machine.channel, Machine.memory, Machine.memory_device, Machine.memory_plug, Machine.pause]


def operations(k, n, seed, kind_of_machine=Machine):
    """Every kind in each round of as many, in an order of chance."""
    print(f'# {n} operations, seed {seed}', flush=True)
    m, r, deck, took = kind_of_machine(k), random.Random(seed), [], []
    m.compare('the start')
    while len(took) < n:
        if not deck:
            deck = r.sample(KINDS, len(KINDS))
        begun = time.monotonic()
        kind = deck.pop(0)
        did = kind(m, r)
        if did is None:             # not now: something is needed for it, or must make room
            other = {Machine.disk_in: Machine.disk_out, Machine.card_in: Machine.card_out, Machine.disk_out: Machine.disk_in,
                     Machine.tune: Machine.disk_in}.get(kind, Machine.card_in)
            if other in deck:       # the two change places, so that the round stays whole
                deck[deck.index(other)] = kind
            else:
                deck.append(kind)
            did = other(m, r)
        done = time.monotonic()
        m.compare(f'operation {len(took) + 1}, {did}, seed {seed}')
        took.append(done - begun)
        print(f'# {len(took)}: {did}: {done - begun:.1f} s, compared {time.monotonic() - done:.1f} s', flush=True)
    assert not [e for e in k.events() if e['event'] == 'KVMD_FENCE']
    return f'{n} operations, seed {seed}: {sum(took) / n:.2f} s each, {max(took):.1f} s at most'


def few(k):
    return operations(k, len(KINDS), 23)        # every kind of them


def hundred(k):
    return operations(k, 100, 4)


def journal(k, since, name):
    events = [json.loads(x) for x in k.ctl('event', '--since', str(since), '-o', 'jsonl').stdout.splitlines()]
    return [e for e in events if e['event'] == name]


class Killed(Machine):
    """kvmd dies by kill -9 during each command, in turn
    - while the machine's process sleeps and the command waits for it
    - while the guest is at it
    - when the guest has done it, and kvmd knows and has not written it down
    The next kvmd's journal has the result once, and that it was done."""
    turn = 0

    def ctl(self, *args, check=True, stdin=None, **kw):
        if not check:
            return super().ctl(*args, check=check, **kw)
        k, how = self.k, ('asleep', 'begun', 'done')[self.turn % 3]
        type(self).turn += 1
        if how == 'begun' and args[0] in ('blkdeviotune', 'domif-setlink', 'suspend', 'resume'):    # the guest has no part in these
            how = 'asleep'
        events = k.events()
        since = max(e['seq'] for e in events) if events else 0
        w = None
        if how == 'asleep':
            os.kill(self.pid, signal.SIGSTOP)
        if how != 'begun':
            w = Watch(k, '"event":"COMMAND_DONE"' if how == 'done' else 0)
        asker = subprocess.Popen([f'{build}/tools/kvmctl', args[0], 'l', *args[1:]], env=k.env, stdin=subprocess.PIPE, text=True,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        asker.stdin.write(stdin or '')
        asker.stdin.close()
        if how == 'asleep':
            w.wait_sent()
        elif how == 'begun':
            k.until(lambda: journal(k, since, 'COMMAND_BEGUN'), 20, f'{args[0]} has begun')
        if how != 'done':
            k.kill()
        k.proc.wait()
        if how == 'asleep':
            os.kill(self.pid, signal.SIGCONT)
        if w:
            w.end()
        asker.wait()
        k.start()
        k.until(lambda: journal(k, since, 'COMMAND_DONE'), 240, f'the result of {args} (killed: {how})')
        done = [e['data'] for e in journal(k, since, 'COMMAND_DONE')]
        assert len(done) == 1 and done[0]['ok'], (args, how, done)
        k.until(lambda: k.state('l') in ('running', 'paused'), 20, 'it is adopted')
        print(f'# {args[0]}: killed: {how}', flush=True)
        return subprocess.CompletedProcess(args, 0, json.dumps({'alias': done[0].get('device')}), '')


def killed(k):
    """Every kind of operation four times, so that each is met by each way of dying."""
    return operations(k, 4 * len(KINDS), 5, Killed)


def inside_a_network():
    """A network of its own, so that taps disturb nobody."""
    if os.environ.get('KVMD_TEST_NET') or not os.path.exists('/dev/net/tun') or not shutil.which('unshare') or os.geteuid():
        return
    if not subprocess.run(['unshare', '--net', 'true'], stderr=subprocess.DEVNULL).returncode:
        os.environ['KVMD_TEST_NET'] = '1'
        os.execvp('unshare', ['unshare', '--net', sys.executable, *sys.argv])


def case(name):
    if not name[0].isdigit():
        return globals()[name]
    n, _, seed = name.partition(':')
    return lambda k: operations(k, int(n), int(seed) if seed else random.randrange(1 << 32))


inside_a_network()
if not os.environ.get('KVMD_TEST_NET'):
    skip('taps need root, /dev/net/tun and unshare')
run([(n, case(n)) for n in sys.argv[2:] or ['few', 'hundred', 'killed']], build)
