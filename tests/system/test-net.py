#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Networks of Linux guests: test-net.py BUILD CASE...; see `cases` at the end. In a network namespace of its own.

KVMD_NET_MB says how many MB are moved each way (4; the long suite moves 100). Frames are large (MTU 65000), for on a host
that emulates guest kernel code each costs the guest some 20 ms."""
import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(__file__))
from kvmd import PATIENCE, PROMPT, Failed, linux_domain, need_kvm, need_linux, run, skip  # noqa: E402

build = os.path.abspath(sys.argv[1])
guest = f'{build}/linux'
MB = int(os.environ.get('KVMD_NET_MB', '4'))

need_kvm()
if os.geteuid():
    skip('taps and namespaces need root')
if not shutil.which('ip') or not shutil.which('unshare'):
    skip('iproute2 and util-linux are missing: apt-get install iproute2')
if not shutil.which('tcpdump'):
    skip('tcpdump judges the frames: apt-get install tcpdump')
if not os.path.exists('/dev/net/tun'):
    skip('no /dev/net/tun')
need_linux(guest)
if 'KVMD_TEST_NETNS' not in os.environ:
    os.environ['KVMD_TEST_NETNS'] = '1'
    if subprocess.run(['unshare', '--net', 'true'], stderr=subprocess.DEVNULL).returncode:
        skip('this host makes no network namespaces')
    os.execvp('unshare', ['unshare', '--net', sys.executable, *sys.argv])


def sh(*args):
    p = subprocess.run(args, capture_output=True, text=True)
    if p.returncode:
        raise Failed(f'{" ".join(args)}: {p.stderr.strip()}')
    return p.stdout


def bridge(name, address, mtu=1500):
    sh('ip', 'link', 'set', 'lo', 'up')
    if subprocess.run(['ip', 'link', 'show', name], capture_output=True).returncode:
        sh('ip', 'link', 'add', name, 'type', 'bridge')
        sh('ip', 'addr', 'add', address, 'dev', name)
        sh('ip', 'link', 'set', name, 'up')
    sh('ip', 'link', 'set', name, 'mtu', str(mtu))


def xml(interface, vcpus=1):
    return linux_domain(guest, 'n', interface, memory=128 + 2 * MB, vcpus=vcpus, slow=2)


def neighbour(bridge_name, address):
    """Another machine on the bridge: the words before a command that is to run there. It ends with us."""
    p = subprocess.Popen(['unshare', '--net', 'sh', '-c', 'echo; exec cat'], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    p.stdout.readline()
    enter = ['nsenter', '--net', '--target', str(p.pid)]
    sh('ip', 'link', 'add', 'far', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', str(p.pid))
    sh('ip', 'link', 'set', 'far', 'master', bridge_name, 'up')
    sh(*enter, 'ip', 'addr', 'add', address, 'dev', 'eth0')
    sh(*enter, 'ip', 'link', 'set', 'eth0', 'up')
    neighbours.append(p)
    return enter


neighbours = []


class Guest:
    """A shell on the console: one command at a time, its output and exit status."""
    def __init__(self, k, interface, **kw):
        self.k, self.n = k, 0
        k.define(xml(interface, **kw))
        k.ctl('start', 'n')
        k.until(lambda: PROMPT in k.console('n'), 400, 'a shell on the console')

    def run(self, command, seconds=200, check=True):
        self.n += 1
        begun = len(self.k.console('n'))
        # the quotes keep the mark out of what the shell echoes
        self.k.ctl('console', 'n', stdin=f'{command}; echo "DO"NE{self.n}=$?\n', timeout=seconds)
        found = []

        def done():
            m = re.search(rf'^DONE{self.n}=(\d+)', self.k.console('n')[begun:], re.M)
            found[:] = [m] if m else []
            return bool(m)
        self.k.until(done, seconds, command)
        out = self.k.console('n')[begun:]
        if check and found[0][1] != '0':
            raise Failed(f'in the guest: {command}: exit {found[0][1]}:\n{out}')
        return out

    def carrier(self):
        return re.search(r'^([01])\r?$', self.run('cat /sys/class/net/eth0/carrier'), re.M)[1]


class Host:
    """One connection: sends `data` or takes what comes, after a line of greeting or at once."""
    def __init__(self, data=None, greet=False, address='0.0.0.0'):
        self.data, self.greet, self.got, self.error = data, greet, hashlib.sha256(), None
        self.bytes = 0
        self.listener = socket.create_server((address, 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        try:
            c, _ = self.listener.accept()
            begun = time.monotonic()
            with c:
                if self.data is not None:
                    c.sendall(self.data)
                    c.shutdown(socket.SHUT_WR)
                elif self.greet:
                    c.sendall(b'go\n')
                while part := c.recv(1 << 20):
                    self.got.update(part)
                    self.bytes += len(part)
                self.seconds = time.monotonic() - begun
        except OSError as e:
            self.error = e
        self.listener.close()

    def wait(self, seconds):
        self.thread.join(seconds * PATIENCE)
        if self.thread.is_alive() or self.error:
            raise Failed(f'host side: {self.error or "not finished"} after {self.bytes} bytes')


def move(g, address, seconds=1500):
    """MB to the guest and the same back: the sum of what returns is the sum of what went. The host greets: Debian 12's passt
    resets a connection of the guest's, after a while, on which nothing was ever sent to the guest (it waits for a second
    acknowledgement of the handshake)."""
    data = os.urandom(MB << 20)
    down, up = Host(data), Host(greet=True)
    g.run(f'nc {address} {down.port} -e dd of=/tmp/f bs=1M', seconds)
    g.run(f"nc {address} {up.port} -e sh -c 'read go; exec cat /tmp/f'", seconds)
    down.wait(60)
    up.wait(60)
    assert up.bytes == len(data), f'{up.bytes} of {len(data)} bytes came back'
    assert up.got.digest() == hashlib.sha256(data).digest(), 'other bytes came back'
    g.run('rm /tmp/f')
    return f'{MB} MB to the guest in {down.seconds:.0f} s, back in {up.seconds:.0f} s'


class Capture:
    """Frames of an interface by tcpdump, into a file; it must read them without complaint."""
    def __init__(self, k, dev, frames, what):
        self.file = f'{k.root}/{dev}.{what.replace(" ", "-")}.pcap'
        self.p = subprocess.Popen(['tcpdump', '-i', dev, '-U', '-Z', 'root', '-w', self.file, '-c', str(frames), what], stderr=subprocess.PIPE, text=True)
        while 'listening on' not in (line := self.p.stderr.readline()):
            if not line:
                raise Failed('tcpdump did not begin')

    def read(self, seconds=60):
        try:
            self.p.communicate(timeout=seconds * PATIENCE)
        except subprocess.TimeoutExpired:
            self.p.terminate()
            self.p.communicate()
            raise Failed(f'tcpdump waits for more than\n{sh("tcpdump", "-n", "-e", "-r", self.file)}') from None
        r = subprocess.run(['tcpdump', '-n', '-v', '-e', '-r', self.file], capture_output=True, text=True)
        complaints = [x for x in r.stderr.splitlines() if not x.startswith('reading from file')]
        if r.returncode or complaints or 'bad cksum' in r.stdout or 'truncated' in r.stdout:
            raise Failed(f'tcpdump: {complaints}\n{r.stdout}')
        return r.stdout


def taps():
    return re.findall(r'^\d+: (vnet\d+)', sh('ip', '-o', 'link'), re.M)


def cards(k):
    """One guest with a card on a bridge and one of the user-mode network."""
    bridge('brt', '10.77.0.1/24', 65000)
    bridge('ext', '192.0.2.2/24')
    subprocess.run(['ip', 'route', 'replace', 'default', 'via', '192.0.2.1'], check=True)
    own = "<interface type='bridge'><mac address='52:54:00:aa:bb:01'/><source bridge='brt'/><link state='down'/><mtu size='65000'/></interface>"
    user = '''<interface type='user'><backend type='passt'/><mtu size='65520'/>
        <portForward proto='tcp'><range start='2222' to='7777'/></portForward></interface>''' if shutil.which('passt') else ''
    g = Guest(k, own + user)
    moved, pid = tap(k, g), None
    if user:
        more, pid = passt(k, g)
        moved += f'; user mode: {more}'
    k.ctl('destroy', 'n')
    assert not taps(), 'the tap is still there'
    k.until(lambda: not pid or not os.path.exists(f'/proc/{pid}'), 20, 'passt goes with the machine')
    assert k.events()[-1]['event'] == 'STOPPED'
    return moved


def tap(k, g):
    """Bridge: the cable, ping, frames seen by tcpdump, announcements, limits, data both ways."""
    name, = taps()
    link = sh('ip', '-d', '-o', 'link', 'show', name)
    assert 'master brt' in link and 'fe:54:00:aa:bb:01' in link and 'mtu 65000' in link and 'persist off' in link, link
    assert f"<target dev='{name}'" in k.ctl('dumpxml', 'n').stdout
    assert name not in k.ctl('dumpxml', '--inactive', 'n').stdout
    assert 'mtu 65000' in g.run('ip addr add 10.77.0.2/24 dev eth0 && ip link set eth0 up; ip link show eth0')
    assert g.carrier() == '0'
    assert k.ctl('domif-getlink', 'n', name).stdout == f'{name} down\n'
    k.ctl('domif-setlink', 'n', name, 'up')
    assert g.carrier() == '1'
    assert "<link state='down'/>" not in k.ctl('dumpxml', 'n').stdout
    assert "<link state='down'/>" in k.ctl('dumpxml', '--inactive', 'n').stdout
    capture = Capture(k, name, 6, 'icmp or arp')
    assert '3 packets received' in g.run('ping -c 3 -i 0.2 10.77.0.1')
    seen = capture.read()
    assert 'ICMP echo request' in seen and 'ICMP echo reply' in seen and 'Request who-has 10.77.0.1' in seen, seen
    announced(g, name)
    limited(g, name)
    k.kill()                            # kvmd is not in the way of frames
    k.start()
    k.until(lambda: k.state('n') == 'running', 20, 'adoption')
    return move(g, '10.77.0.1')


def announced(g, name):
    """The cable by QMP, what the guest filters, and the neighbours are told where it is."""
    k, qmp = g.k, g.k.qmp('n')
    qmp('set_link', name='net0', up=False)
    assert g.carrier() == '0'
    assert qmp.error('set_link', name='net7', up=True)['class'] == 'DeviceNotFound'
    k.until(lambda: k.ctl('domif-getlink', 'n', name).stdout == f'{name} down\n', 20, 'kvmd knows what QMP did')
    qmp('set_link', name=name, up=True)
    assert g.carrier() == '1'
    f, = qmp('query-rx-filter', name='net0')
    assert f['name'] == 'net0' and f['main-mac'] == '52:54:00:aa:bb:01' and not f['promiscuous'] and f['broadcast-allowed'], f
    assert f['multicast-table'] and f['unicast'] == 'normal', f
    g.run('ip link set eth0 promisc on')
    assert qmp('query-rx-filter', name='net0')[0]['promiscuous']
    # in each round a frame of the host's making; the guest's own come in its time, and one may answer several rounds
    rarp, arp = (Capture(k, name, n, f'{what} and ether src 52:54:00:aa:bb:01') for n, what in ((3, 'rarp'), (1, 'arp')))
    qmp('announce-self', initial=50, max=200, rounds=3, step=50)
    seen = rarp.read()
    assert seen.count('52:54:00:aa:bb:01 > ff:ff:ff:ff:ff:ff') == 3 and seen.count('who-is 52:54:00:aa:bb:01') == 3, seen
    seen = arp.read()
    assert '52:54:00:aa:bb:01 > ff:ff:ff:ff:ff:ff' in seen and '10.77.0.2' in seen, seen
    assert qmp.error('announce-self', initial=50, max=200, rounds=3, step=50, interfaces=['x'])['class'] == 'DeviceNotFound'


def limited(g, name):
    """256 KiB/s: 1 MB takes 4 s less what the burst lets through, and the limit is gone as it came. And counters, names."""
    k = g.k
    k.ctl('domiftune', 'n', name, '--outbound', '256', '--live', '--config')
    assert "<outbound average='256'/>" in k.ctl('dumpxml', 'n').stdout and "<outbound average='256'/>" in k.ctl('dumpxml', '--inactive', 'n').stdout
    up = Host()
    g.run(f'nc 10.77.0.1 {up.port} -e head -c 1000000 /dev/zero')
    up.wait(60)
    assert up.bytes == 1000000 and 2.8 < up.seconds, f'{up.bytes} bytes in {up.seconds:.1f} s'
    k.ctl('domiftune', 'n', name, '--outbound', '0', '--live', '--config')
    assert '<bandwidth' not in k.ctl('dumpxml', 'n').stdout + k.ctl('dumpxml', '--inactive', 'n').stdout
    stat = dict(x.split()[1:] for x in k.ctl('domifstat', 'n', name).stdout.splitlines())
    assert int(stat['rx_packets']) >= 2 and int(stat['tx_bytes']) > 1000000 and stat['rx_errs'] == '0', stat
    assert re.search(rf'{name} +bridge +brt +virtio +52:54:00:aa:bb:01', k.ctl('domiflist', 'n').stdout)


def died(k):
    """The worker is killed while kvmd is away: nothing of it is left on the host."""
    bridge('brt', '10.77.0.1/24')
    k.define(xml("<interface type='bridge'><source bridge='brt'/></interface><interface type='user'/>"))
    bridge('ext', '192.0.2.2/24')
    subprocess.run(['ip', 'route', 'replace', 'default', 'via', '192.0.2.1'], check=True)
    if not shutil.which('passt'):
        return 'skipped: no passt'
    k.ctl('start', 'n')
    info = k.json('dominfo', 'n')
    passt = [int(open(f'{r}/{f}').read()) for r, _, fs in os.walk(f'{k.root}/run/kvmd/vm') for f in fs if f.startswith('passt-')]
    assert len(passt) == 1 and os.path.exists(f'/proc/{passt[0]}') and len(taps()) == 1
    k.kill()
    os.kill(info['pid'], signal.SIGKILL)
    k.until(lambda: not taps() and not os.path.exists(f'/proc/{passt[0]}'), 20, 'tap and passt go with the worker')
    k.start()
    assert k.state('n') == 'shut off'
    assert not [f for _, _, fs in os.walk(f'{k.root}/run/kvmd/vm') for f in fs], 'files are left'


def refusals(k):
    """What cannot be had is told, and leaves nothing behind."""
    for interface, words in (
            ("<interface type='bridge'><source bridge='nobr'/></interface>", "there is no bridge 'nobr'"),
            ("<interface type='bridge'><source bridge='lo'/></interface>", 'is that a bridge?'),
            ("<interface type='ethernet'><target dev='lo'/></interface>", 'is there already'),
            ("<interface type='ethernet'><target dev='tapx' managed='no'/></interface>", "there is no tap 'tapx'"),
            ("<interface type='user'><driver queues='2'/></interface>", 'one pair of queues')):
        k.define(xml(interface))
        p = k.ctl('start', 'n', check=False)
        assert p.returncode and words in p.stderr, f'{interface}: {p.stderr}'
        k.ctl('undefine', 'n')
        assert not taps()
    k.define(xml("<interface type='network'><source network='default'/></interface>"))         # kept: it may be for another host
    p = k.ctl('start', 'n', check=False)
    assert p.returncode and 'networks' in p.stderr, p.stderr


def ethernet(k):
    """A tap that is there already, with several queues; and one that kvmd makes, with an address for the host."""
    sh('ip', 'tuntap', 'add', 'tapq', 'mode', 'tap', 'multi_queue')
    sh('ip', 'addr', 'add', '10.78.0.1/24', 'dev', 'tapq')
    sh('ip', 'link', 'set', 'tapq', 'up')
    g = Guest(k, '''<interface type='ethernet'><target dev='tapq' managed='no'/><driver queues='2'/></interface>
        <interface type='ethernet'><source><ip address='10.79.0.1' prefix='24'/></source><target dev='mine'/></interface>''', vcpus=2)
    g.run('ip addr add 10.78.0.2/24 dev eth0 && ip link set eth0 up; ip addr add 10.79.0.2/24 dev eth1 && ip link set eth1 up')
    queues = g.run('cd /sys/class/net; echo eth0/queues/* eth1/queues/*; cd')
    assert 'eth0/queues/rx-0 eth0/queues/rx-1 eth0/queues/tx-0 eth0/queues/tx-1' in queues and 'eth1/queues/rx-1' not in queues, queues
    assert '2 packets received' in g.run('ping -c 2 -i 0.2 10.78.0.1')
    assert '2 packets received' in g.run('ping -c 2 -i 0.2 10.79.0.1')
    for cpu in (0, 1):                  # Linux sends over the queue of the CPU it runs on
        assert '2 packets received' in g.run(f'taskset {cpu + 1} ping -c 2 -i 0.2 10.78.0.1')
    irqs = g.run('cat /proc/interrupts')
    for queue in ('input.0', 'output.0', 'input.1', 'output.1'):
        assert re.search(rf'virtio\d+-{queue}', irqs), irqs
    counts = re.findall(r'^ *\d+: +(\d+) +(\d+) .*virtio\d+-input\.[01]', irqs, re.M)
    assert sum(int(n) for row in counts for n in row), irqs
    k.ctl('destroy', 'n')
    assert 'tapq' in sh('ip', 'link') and 'mine' not in sh('ip', 'link')
    sh('ip', 'link', 'del', 'tapq')


def passt(k, g):
    """User mode: DHCP, data both ways, a forwarded port, and passt killed under it. What was moved; its pid."""
    away = neighbour('ext', '192.0.2.77/24')
    file, = [f'{r}/{f}' for r, _, fs in os.walk(f'{k.root}/run/kvmd/vm') for f in fs if f.startswith('passt-')]
    g.run('ip link set eth1 up')
    assert 'lease of 192.0.2.2 obtained' in g.run('udhcpc -i eth1 -n -q -s /bin/true')
    g.run('ip addr add 192.0.2.2/24 dev eth1 && ip route add default via 192.0.2.1')
    moved = move(g, '192.0.2.1')                # the gateway is the host itself

    def answers(text):
        """passt takes the connection in any case, and drops it when nobody in the guest does. The client speaks first: Debian
        12's passt does not acknowledge the guest's side before."""
        talk = 'exec 3<>/dev/tcp/192.0.2.2/2222; echo hello >&3; head -n 1 <&3'
        p = subprocess.run([*away, 'timeout', '30', 'bash', '-c', talk], capture_output=True, text=True)
        return p.stdout.strip() == text

    def forwarded(text):
        g.run(f'nc -l -p 7777 -e echo {text} & true')
        k.until(lambda: answers(text), 60, 'an answer at the forwarded port')
    forwarded('one')
    k.kill()
    k.start()
    k.until(lambda: k.state('n') == 'running', 20, 'adoption')
    old = int(open(file).read())
    os.kill(old, signal.SIGKILL)
    k.until(lambda: any(e['event'] == 'NETDEV_STREAM_CONNECTED' for e in k.events()), 60, 'passt is started again')
    names = [e['event'] for e in k.events()]
    assert names.index('NETDEV_STREAM_DISCONNECTED') < names.index('NETDEV_STREAM_CONNECTED')
    assert int(open(file).read()) != old
    forwarded('two')
    return moved, int(open(file).read())


cases = {f.__name__: f for f in (refusals, died, cards, ethernet)}
run([(n, cases[n]) for n in sys.argv[2:] or cases], build)
