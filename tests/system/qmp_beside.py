# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU 7.2 beside a machine of kvmd: the same dialogue for both, how their answers are compared, and where they may differ.

Answers are compared by shape: which keys, which JSON types, which class of error. Where kvmd differs, `differences` says so and
why; a difference that is not listed there is a failure, and so is a listed one that is not there any more.
"""
import json
import shutil
import subprocess
import tempfile
import time

from kvmd import Failed, skip
from qmp import MIB, Client

# command (or 'event NAME') -> {path: why}. A path is where in the answer: 'model.props', '[].qdev_id'; '+' before it: kvmd has a key more,
# '-': a key less, '~': another type or another kind of answer.
differences = {
    '*': {
        '+error.code': 'kvmd says the finer reason in a key of its own beside class and desc',
    },
    'event *': {
        '+seq': 'the number of the event: a client that comes back knows what it missed',
    },
    'query-cpus-fast': {'+[].props.die-id': 'QEMU gives die-id only when there are dies; kvmd always'},
    'query-hotpluggable-cpus': {'+[].props.die-id': 'the same'},
    'query-machines': {
        '-[].alias': 'kvmd has one machine, by one name',
    },
    'query-cpu-model-expansion': {
        'model.props': 'properties are features by libvirt\'s names; QEMU has knobs of its emulation there too',
    },
    'query-migrate-parameters': {f'-{k}': 'of compression, COLO and block migration as only QEMU had them, and has dropped since' for k in (
        'compress-level', 'compress-threads', 'compress-wait-thread', 'decompress-threads', 'xbzrle-cache-size', 'block-incremental',
        'x-checkpoint-delay')},
    'query-events': {'~': 'QEMU dropped the command in 6.0; libvirt of Debian 12 still knows it, so kvmd answers'},
    'exec-oob query-status': {'~': 'QEMU runs only a few commands out of band; kvmd all that change nothing'},
    'query-pci': {
        '~': 'the devices differ: another chipset',
        '-[].devices[].class_info.desc': 'a text for people: the class says it',
    },
    'blocks query-blockstats': {
        '-[].parent': 'kvmd counts where the guest asks, not at each file below',
        '-[].backing': 'the same',
    },
    'blocks block_resize smaller': {'~': 'what is cut off would be lost: kvmd refuses'},
    'paths blockdev-add in use': {'~': 'kvmd locks an image when it is opened; QEMU when a device writes'},
    'human-monitor-command': {'~': 'refused: there is no monitor for people'},
}

PROPS = {'socket-id': 0, 'core-id': 2, 'thread-id': 0}
# name (for `differences`; the command when None), message
dialogue = [
    (None, {'execute': 'query-status'}),
    (None, {'execute': 'query-version'}),
    (None, {'execute': 'query-name'}),
    (None, {'execute': 'query-uuid'}),
    (None, {'execute': 'query-kvm'}),
    (None, {'execute': 'query-target'}),
    (None, {'execute': 'query-commands'}),
    (None, {'execute': 'query-events'}),
    (None, {'execute': 'query-cpus-fast'}),
    (None, {'execute': 'query-hotpluggable-cpus'}),
    (None, {'execute': 'query-cpu-model-expansion', 'arguments': {'type': 'static', 'model': {'name': 'MODEL'}}}),
    (None, {'execute': 'query-cpu-model-expansion', 'arguments': {'type': 'full', 'model': {'name': 'MODEL'}}}),
    ('expansion bad type', {'execute': 'query-cpu-model-expansion', 'arguments': {'type': 'half', 'model': {'name': 'MODEL'}}}),
    ('expansion bad model', {'execute': 'query-cpu-model-expansion', 'arguments': {'type': 'full', 'model': {'name': 'nix'}}}),
    (None, {'execute': 'query-machines'}),
    (None, {'execute': 'query-current-machine'}),
    (None, {'execute': 'query-chardev'}),
    (None, {'execute': 'query-iothreads'}),
    (None, {'execute': 'query-jobs'}),
    (None, {'execute': 'query-block-jobs'}),
    (None, {'execute': 'query-memory-size-summary'}),
    (None, {'execute': 'query-memory-devices'}),
    (None, {'execute': 'query-balloon'}),
    (None, {'execute': 'balloon', 'arguments': {'value': 8 << 20}}),
    ('balloon nothing', {'execute': 'balloon', 'arguments': {}}),
    ('balloon zero', {'execute': 'balloon', 'arguments': {'value': 0}}),
    ('balloon text', {'execute': 'balloon', 'arguments': {'value': 'much'}}),
    (None, {'execute': 'query-block'}),
    (None, {'execute': 'query-blockstats'}),
    (None, {'execute': 'query-named-block-nodes'}),
    (None, {'execute': 'query-pci'}),
    (None, {'execute': 'query-rx-filter'}),
    (None, {'execute': 'query-migrate'}),
    (None, {'execute': 'query-migrate-parameters'}),
    (None, {'execute': 'query-migrate-capabilities'}),
    (None, {'execute': 'migrate_cancel'}),
    (None, {'execute': 'migrate-set-parameters', 'arguments': {'downtime-limit': 20, 'max-bandwidth': 1 << 30}}),
    (None, {'execute': 'query-migrate-parameters'}),
    ('migrate parameter nix', {'execute': 'migrate-set-parameters', 'arguments': {'nix': 1}}),
    ('migrate parameter range', {'execute': 'migrate-set-parameters', 'arguments': {'cpu-throttle-initial': 100}}),
    (None, {'execute': 'migrate-set-capabilities', 'arguments': {'capabilities': [{'capability': 'events', 'state': False}]}}),
    ('migrate capability nix', {'execute': 'migrate-set-capabilities', 'arguments': {'capabilities': [{'capability': 'nix', 'state': True}]}}),
    ('migrate-continue', {'execute': 'migrate-continue', 'arguments': {'state': 'pre-switchover'}}),
    (None, {'execute': 'migrate-pause'}),
    (None, {'execute': 'migrate-recover', 'arguments': {'uri': 'tcp:127.0.0.1:1'}}),
    (None, {'execute': 'migrate-start-postcopy'}),
    ('migrate-incoming', {'execute': 'migrate-incoming', 'arguments': {'uri': 'defer'}}),
    (None, {'execute': 'query-stats', 'arguments': {'target': 'vcpu'}}),
    (None, {'execute': 'query-stats', 'arguments': {'target': 'vm'}}),
    ('query-stats bad target', {'execute': 'query-stats', 'arguments': {'target': 'disk'}}),
    (None, {'execute': 'query-stats-schemas'}),
    (None, {'execute': 'query-acpi-ospm-status'}),
    (None, {'execute': 'query-dump'}),
    (None, {'execute': 'query-dump-guest-memory-capability'}),
    (None, {'execute': 'qom-list', 'arguments': {'path': '/machine/peripheral'}}),
    ('qom-list nix', {'execute': 'qom-list', 'arguments': {'path': '/machine/nix'}}),
    (None, {'execute': 'qom-get', 'arguments': {'path': '/machine', 'property': 'type'}}),
    ('qom-get nix', {'execute': 'qom-get', 'arguments': {'path': '/machine', 'property': 'nix'}}),
    ('qom-set nothing', {'execute': 'qom-set', 'arguments': {'path': '/machine/nix', 'property': 'x', 'value': 1}}),
    ('qom-set nix', {'execute': 'qom-set', 'arguments': {'path': '/machine', 'property': 'nix', 'value': 1}}),
    ('qom-set no value', {'execute': 'qom-set', 'arguments': {'path': '/machine', 'property': 'nix'}}),
    ('qom-get nothing', {'execute': 'qom-get', 'arguments': {'path': '/machine/nix', 'property': 'type'}}),
    (None, {'execute': 'getfd', 'arguments': {'fdname': 'x'}}),
    (None, {'execute': 'closefd', 'arguments': {'fdname': 'x'}}),
    (None, {'execute': 'add-fd', 'arguments': {}}),
    (None, {'execute': 'remove-fd', 'arguments': {'fdset-id': 3}}),
    (None, {'execute': 'query-fdsets'}),
    (None, {'execute': 'system_wakeup'}),
    (None, {'execute': 'human-monitor-command', 'arguments': {'command-line': 'info status'}}),
    (None, {'execute': 'screendump', 'arguments': {'filename': '/nix/x'}}),
    ('dump no fd', {'execute': 'dump-guest-memory', 'arguments': {'paging': False, 'protocol': 'fd:nix'}}),
    ('dump bad protocol', {'execute': 'dump-guest-memory', 'arguments': {'paging': False, 'protocol': 'nix'}}),
    (None, {'execute': 'inject-nmi'}),
    # ids of every kind
    ('id', {'execute': 'query-name', 'id': 'text'}), ('id', {'execute': 'query-name', 'id': 7}), ('id', {'execute': 'query-name', 'id': 1.5}),
    ('id', {'execute': 'query-name', 'id': True}), ('id', {'execute': 'query-name', 'id': None}),
    ('id', {'execute': 'query-name', 'id': [1, {'a': None}]}), ('id', {'execute': 'nix', 'id': {'a': [[]]}}),
    # wrong messages
    ('unknown', {'execute': 'nix'}),
    ('no execute', {}),
    ('no execute', {'id': 1}),
    ('execute no string', {'execute': 7}),
    ('arguments no object', {'execute': 'stop', 'arguments': []}),
    ('surplus argument', {'execute': 'stop', 'arguments': {'x': 1}}),
    ('surplus key', {'execute': 'stop', 'nix': 1}),
    ('negotiated twice', {'execute': 'qmp_capabilities'}),
    ('exec-oob query-status', {'exec-oob': 'query-status', 'id': 9}),
    ('exec-oob stop', {'exec-oob': 'stop', 'id': 10}),
    ('missing argument', {'execute': 'device_add', 'arguments': {'id': 'x'}}),
    ('mistyped argument', {'execute': 'device_add', 'arguments': {'driver': 7}}),
    ('device_add nix', {'execute': 'device_add', 'arguments': {'driver': 'nix'}}),
    ('device_add place', {'execute': 'device_add', 'arguments': {'driver': 'DRIVER', 'id': 'c2'}}),
    ('device_add range', {'execute': 'device_add', 'arguments': {'driver': 'DRIVER', 'id': 'c2', **PROPS, 'socket-id': 9}}),
    (None, {'execute': 'device_add', 'arguments': {'driver': 'DRIVER', 'id': 'c2', **PROPS}}),
    ('device_add twice', {'execute': 'device_add', 'arguments': {'driver': 'DRIVER', 'id': 'c3', **PROPS}}),
    (None, {'execute': 'query-cpus-fast'}),
    (None, {'execute': 'query-hotpluggable-cpus'}),
    (None, {'execute': 'qom-list', 'arguments': {'path': '/machine/peripheral'}}),
    ('qom-get core', {'execute': 'qom-get', 'arguments': {'path': '/machine/peripheral/c2', 'property': 'core-id'}}),
    ('device_del nix', {'execute': 'device_del', 'arguments': {'id': 'nix'}}),
    ('device_del boot', {'execute': 'device_del', 'arguments': {'id': '/machine/unattached/device[0]'}}),
    (None, {'execute': 'cont'}),
    (None, {'execute': 'query-status'}),
    (None, {'execute': 'stop'}),
    (None, {'execute': 'query-status'}),
    (None, {'execute': 'system_reset'}),
    (None, {'execute': 'query-status'}),
]


def kind(v):
    return {dict: 'object', list: 'array', str: 'string', bool: 'boolean', int: 'number', float: 'number', type(None): 'null'}[type(v)]


def merge(values):
    """One value that stands for all entries of a list: the union of their keys."""
    if not values:
        return None
    if all(isinstance(v, dict) for v in values):
        return {k: merge([v[k] for v in values if k in v]) for v in values for k in v}
    if all(isinstance(v, list) for v in values):
        return [x for v in values for x in v]
    return values[0]


def compare(theirs, ours, path=''):
    """Paths at which they differ."""
    if kind(theirs) != kind(ours):
        return {f'~{path}'}
    if isinstance(theirs, list):
        a, b = merge(theirs), merge(ours)
        return compare(a, b, path + '[]') if theirs and ours else set()
    out = set()
    if isinstance(theirs, dict):
        dot = path + '.' if path else ''
        out |= {f'-{dot}{k}' for k in theirs.keys() - ours.keys()} | {f'+{dot}{k}' for k in ours.keys() - theirs.keys()}
        for k in theirs.keys() & ours.keys():
            out |= compare(theirs[k], ours[k], dot + k)
    return out


class Qemu:
    def __init__(self, *options):
        if not shutil.which('qemu-system-x86_64'):
            skip('qemu-system-x86 is not installed')
        self.dir = tempfile.mkdtemp(prefix='kvmd-qemu-')
        self.path = f'{self.dir}/qmp'
        self.proc = subprocess.Popen(['qemu-system-x86_64', '-M', 'pc,accel=kvm', '-S', '-nodefaults', '-display', 'none', '-m', str(MIB),
                                      '-smp', '1,maxcpus=4', '-name', 'q', '-serial', 'pty', '-qmp', f'unix:{self.path},server=on,wait=off', *options],
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 30
        while True:
            try:
                self.client = Client(self.path)
                return
            except OSError:
                if time.monotonic() > end or self.proc.poll() is not None:
                    raise Failed('QEMU does not start')
                time.sleep(0.05)

    def close(self):
        self.proc.terminate()
        self.proc.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


def fill(message, client):
    """What each calls its own model."""
    text = json.dumps(message)
    if 'MODEL' in text or 'DRIVER' in text:
        driver = client.run('query-hotpluggable-cpus')[0]['type']
        text = text.replace('DRIVER', driver).replace('MODEL', driver[:-len('-x86_64-cpu')])
    return json.loads(text)


def judge(name, theirs, ours, seen, wrong):
    allowed = dict(differences['event *' if name.startswith('event ') else '*'])
    allowed.update(differences.get(name, {}))
    if 'id' in theirs or 'id' in ours:
        if ('id' in theirs, theirs.get('id')) != ('id' in ours, ours.get('id')):
            wrong.append(f'{name}: id {theirs.get("id")!r} came back as {ours.get("id")!r}')
    which = [next(iter({'return', 'error', 'event'} & m.keys())) for m in (theirs, ours)]
    found = set()
    if which[0] != which[1]:
        found = {'~'}
    elif which[0] == 'error':
        found = compare(theirs, ours)
        if theirs['error']['class'] != ours['error']['class']:
            found.add('~error.class')
    elif which[0] == 'return':
        found = compare(theirs['return'], ours['return'])
    else:
        found = compare(theirs, ours)
    for path in found:
        skip_ = [a for a in allowed if a == path or (a[0] not in '+-~' and path[1:].startswith(a)) or (a == '~' and path != '~' and which[0] != 'error')]
        if not skip_:
            wrong.append(f'{name}: {path}: QEMU {json.dumps(theirs)[:300]}; kvmd {json.dumps(ours)[:300]}')
        seen.update((name, a) for a in skip_)
