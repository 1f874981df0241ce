# SPDX-License-Identifier: GPL-2.0-or-later
"""tools/bench: which rows, what they share, the table."""
import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time

import control
import disk
import many
import nets
import one
from ours import Kvmd
from peers import LIBVIRTD, QEMU, Libvirt
from rig import Console, Trouble, markdown_table, text_table

ROWS = {f.__name__: f for f in (one.start, one.worker, one.memory, many.fleet, one.exits, one.touch, one.idle, one.linux, many.rate, many.xml, disk.blk, disk.blknull,
                                disk.qcow2, nets.net, control.qmp, control.plug, control.events, control.domstats)}


class Rig:
    """What rows share; daemons are started when the first row asks for them."""

    def __init__(self, build, root, quick, rounds):
        self.build, self.root, self.quick, self._rounds = build, root, quick, rounds
        self.console = Console(os.path.join(root, 'console'))
        self.log = os.path.join(root, 'programs.log')
        self._kvmd = self._libvirt = None

    def rounds(self, usual):
        return self._rounds or (max(3, usual // 4) if self.quick else usual)

    def folder(self, name):
        return os.path.join(self.root, name)

    def guest(self, name):
        """A flat guest, where any user may read it."""
        to = os.path.join(self.root, name)
        if not os.path.exists(to):
            shutil.copy(f'{self.build}/tests/guest/flat/flat-{name}', to)
            os.chmod(to, 0o644)
        return to

    def kvmd(self):
        if not self._kvmd:
            self._kvmd = Kvmd(self.build, self.folder('kvmd'))
            self._kvmd.start()
        return self._kvmd

    def libvirt(self):
        if not self._libvirt:
            self._libvirt = Libvirt(self.folder('libvirt'))
            self._libvirt.start()
        return self._libvirt

    def tsc_hz(self):
        with open('/proc/cpuinfo', encoding='utf-8') as f:
            return float(re.search(r'cpu MHz\s*:\s*([\d.]+)', f.read())[1]) * 1e6

    def stop(self):
        for daemon in (self._kvmd, self._libvirt):
            if daemon:
                daemon.stop()


def said(*argv):
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout.strip().split('\n')[0]
    except OSError:
        return 'not installed'


def about(build):
    with open('/proc/cpuinfo', encoding='utf-8') as f:
        cpu = re.search(r'model name\s*:\s*(.*)', f.read())
    return {'kvmd': said(f'{build}/daemon/kvmd', '--version'), 'commit': said('git', 'describe', '--always', '--dirty'),
            'qemu': said(QEMU, '--version'), 'libvirt': said(LIBVIRTD, '--version'), 'kernel': platform.release(),
            'cpu': cpu[1] if cpu else '?', 'cpus': os.cpu_count(), 'date': time.strftime('%Y-%m-%d %H:%M')}


def arguments():
    p = argparse.ArgumentParser(prog='tools/bench', description='Measures kvmd against QEMU, libvirt and a bare loop of KVM ioctls.')
    p.add_argument('--quick', action='store_true', help='a quarter of the rounds')
    p.add_argument('--rounds', type=int, help='so many rounds for each row')
    p.add_argument('--json', metavar='FILE', help='all values too')
    p.add_argument('--list', action='store_true', help='the rows')
    p.add_argument('--keep', action='store_true', help='leave the logs')
    p.add_argument('--build', default='build', help=argparse.SUPPRESS)
    p.add_argument('names', nargs='*', metavar='NAME', help='rows; none: all')
    a = p.parse_args()
    if a.list:
        print('\n'.join(f'{name:8} {f.__doc__}' for name, f in ROWS.items()))
        sys.exit(0)
    for name in a.names:
        if name not in ROWS:
            p.error(f"there is no row '{name}'; there are {', '.join(ROWS)}")
    return a


def main():
    a = arguments()
    if not os.access('/dev/kvm', os.R_OK | os.W_OK):
        print('tools/bench: /dev/kvm cannot be opened: `kvmctl host` says what to do', file=sys.stderr)
        return 1
    root = tempfile.mkdtemp(prefix='kvmd-bench-')
    os.chmod(root, 0o755)
    rig, lines, troubles, loads = Rig(a.build, root, a.quick, a.rounds), [], [], {}
    try:
        for name in a.names or ROWS:
            before = os.getloadavg()[0]
            began = time.time()
            print(f'{name}: {ROWS[name].__doc__} …', flush=True)
            try:
                got = ROWS[name](rig)
            except Trouble as e:
                troubles.append(f'{name}: {e}')
                print('   not measured:', e, flush=True)
                continue
            loads[name] = [round(before, 2), round(os.getloadavg()[0], 2)]
            print(f'   {time.time() - began:.0f} s, load {loads[name][0]} to {loads[name][1]}', flush=True)
            lines += got
    finally:
        rig.stop()
        if a.keep or troubles:
            print('logs:', root)
        else:
            shutil.rmtree(root, ignore_errors=True)
    facts = about(a.build)
    print('\n' + text_table(lines) + '\n\n' + markdown_table(lines))
    print(f"\n{facts['date']}, {facts['kvmd']} ({facts['commit']}), {facts['qemu']}, {facts['libvirt']}, Linux {facts['kernel']}, "
          f"{facts['cpus']} × {facts['cpu']}; load while measuring: "
          + ', '.join(f'{k} {v[0]}–{v[1]}' for k, v in loads.items()))
    for t in troubles:
        print('not measured:', t)
    if a.json:
        with open(a.json, 'w', encoding='utf-8') as f:
            json.dump({'about': facts, 'load': loads, 'lines': [line.json() for line in lines], 'troubles': troubles}, f, indent=1)
    missed = [line.what for line in lines if line.met is False]
    print(f"{sum(1 for line in lines if line.met)} goals met, {len(missed)} missed, {len(troubles)} rows not measured")
    return 1 if missed or troubles else 0


if __name__ == '__main__':
    sys.exit(main())
