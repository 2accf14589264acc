"""How fast the motors are off when what commands them is gone, and whether anything arms again.

Usage: python bench/cutout.py [--trials 100] [--only killed,paused,cut,driver] [--output FOLDER].
The virtual robot balances; then its pilot or its driver is killed, paused or cut off. Every trial
that is done is kept in the folder, and the next run goes on behind it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from live_robot import BusListener, Heard, Person, Processes

from h2o_ros.msg import DriverStatus
from h2o_ros.robot.control.real_time import prefer_punctuality, run_in_real_time
from h2o_ros.robot.motors.odrive.cansimple import CLOSED_LOOP

PRIORITY = 20  # under SCHED_FIFO, below everything that is measured
WATCHED = 2.2  # s at least, from the fault until somebody arms again
FAULT_LASTS = 0.6  # s, of a pause or a cut
POLL = 0.0005  # s
REPORT_LAG = 0.005  # s; a report may cross the command on the bus
ATTEMPTS = 3  # to configure a driver that has just begun
TITLES = {
    'killed': 'policy server killed (SIGKILL)',
    'paused': 'policy server paused (SIGSTOP)',
    'cut': 'network cut',
    'driver': 'driver killed (SIGKILL)',
}
GOALS = {'killed': 50.0, 'paused': 50.0, 'cut': 50.0, 'driver': 100.0}  # ms
# DDS gives up a participant that died after 20 s; so long a second publisher would forbid to arm.
QUICKLY_GONE = """<?xml version="1.0" encoding="UTF-8"?>
<profiles xmlns="http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles">
  <participant profile_name="quickly_gone" is_default_profile="true"><rtps><builtin>
    <discovery_config>
      <leaseDuration><sec>2</sec></leaseDuration>
      <leaseAnnouncement><sec>0</sec><nanosec>400000000</nanosec></leaseAnnouncement>
    </discovery_config>
  </builtin></rtps></participant>
</profiles>
"""
# A host of its own for the policy server: a network namespace behind a cable that can be pulled.
HOST, CABLE, FAR_END = 'h2o_pilot', 'h2o_cable', 'h2o_far_end'


class Network:
    """The cable between driver and policy server."""

    def __init__(self) -> None:
        self.close()
        self._ip(f'netns add {HOST}')
        self._ip(f'link add {CABLE} type veth peer name {FAR_END} netns {HOST}')
        self._ip(f'addr add 10.74.163.1/24 dev {CABLE}')
        self._ip(f'link set {CABLE} up')
        for words in (f'addr add 10.74.163.2/24 dev {FAR_END}', f'link set {FAR_END} up'):
            self._ip(f'-n {HOST} {words}')
        self._ip(f'-n {HOST} link set lo up')
        self.inside = ['ip', 'netns', 'exec', HOST]

    def cut(self) -> float:
        """Pull the cable; return when, s of the system's clock."""
        at = time.time()
        self._ip(f'link set {CABLE} down')
        return at

    def mend(self) -> None:
        """Plug the cable in."""
        self._ip(f'link set {CABLE} up')

    def close(self) -> None:
        """Take host and cable away."""
        for words in (f'link del {CABLE}', f'netns del {HOST}'):
            subprocess.run(['ip', *words.split()], stderr=subprocess.DEVNULL, check=False)

    def _ip(self, words: str) -> None:
        subprocess.run(['ip', *words.split()], check=True)


class Trials:
    """Stands the robot up, has the fault, and looks at what was on the bus."""

    def __init__(self, case: str, processes: Processes, network: Network | None) -> None:
        self._case, self._processes, self._network = case, processes, network
        self._listener, self._person = BusListener(), Person()
        processes.start('virtual_robot')
        self._start_driver()
        self._start_pilot()

    def run_one(self) -> dict:
        """Run one trial; RuntimeError where the driver tripped before it."""
        self._stand()
        time.sleep(random.uniform(0.3, 0.6))
        if not self._person.is_in(DriverStatus.ARMED):
            raise RuntimeError(self._person.last_words())
        begun = self._fault()
        applied = self._person.applied()
        time.sleep(FAULT_LASTS)
        reason = self._person.last_words()
        self._undo()
        self._person.call('lift')
        self._make_ready()
        time.sleep(max(0.0, begun + WATCHED - time.time()))
        return {
            **self._look(begun, applied),
            'reason': reason,
            'watched': time.time() - begun,
            'load': os.getloadavg()[0],
        }

    def close(self) -> None:
        """Leave graph and bus."""
        self._person.close()
        self._listener.close()

    def _stand(self) -> None:
        """Arm by hand; the robot balances when this returns."""
        person = self._person
        self._make_ready()
        self._listener.heard.clear()
        if not (person.change('ACTIVATE') if self._fresh else person.call('arm')):
            raise RuntimeError(f'not armed: {person.last_words()}')
        self._fresh = False
        person.wait(lambda: person.is_in(DriverStatus.ARMED), 'armed', 2.0)

    def _make_ready(self) -> None:
        person = self._person
        person.wait(lambda: person.status is not None, 'driver')
        for _ in range(ATTEMPTS):
            if person.is_in(DriverStatus.UNCONFIGURED) and not person.change('CONFIGURE'):
                time.sleep(0.2)
        person.wait(person.is_ready, 'ready')

    def _start_driver(self) -> None:
        self._fresh = True  # neither configured nor ever active
        self._processes.start('hardware_driver', 'interface:=udp_multicast')

    def _start_pilot(self) -> None:
        inside = self._network.inside if self._network else None
        self._processes.start('policy_server', 'mode:=balance', inside=inside)

    def _fault(self) -> float:
        """Have the fault; return when it began, s of the system's clock."""
        if self._network is not None:
            return self._network.cut()
        if self._case == 'driver':
            return self._kill_driver()
        number = signal.SIGKILL if self._case == 'killed' else signal.SIGSTOP
        return self._processes.send('policy_server', number)

    def _kill_driver(self) -> float:
        """Kill it and ask the motors for their torque until they make none."""
        at = self._processes.send('hardware_driver', signal.SIGKILL)
        self._person.status = None
        while time.time() < at + 0.3:
            self._listener.ask_torque()
            time.sleep(POLL)
        return at

    def _undo(self) -> None:
        if self._network is not None:
            self._network.mend()
        elif self._case == 'driver':
            self._start_driver()
        elif self._case == 'killed':
            self._start_pilot()
        else:
            self._processes.send('policy_server', signal.SIGCONT)

    def _look(self, begun: float, applied: float) -> dict:
        """Read from the frames when the last fresh command came and when the torque was zero."""
        heard = list(self._listener.heard)
        off = [f for f in heard if f.time > begun and f.value == 0.0 and f.name == self._shows_off]
        off_at = max(next(f.time for f in off if f.node_id == node) for node in (0, 1))
        ways = [self._last_fresh(heard, node, off_at) for node in (0, 1)]
        fresh_at = min(frame.time for frame in ways)
        sent = ways[0].value - ways[1].value  # the right motor is mirrored
        again = [f for f in heard if _moves(f, off_at)]
        return {
            'ms': 1e3 * (off_at - fresh_at),
            'ms_from_fault': 1e3 * (off_at - begun),
            'agrees': abs(sent - applied) < 1e-5 or self._case == 'driver',
            'armed_again': [[f.time - off_at, f.node_id, f.name, f.value] for f in again],
            'broken': self._listener.broken,
        }

    @property
    def _shows_off(self) -> str:
        return 'Get_Torques' if self._case == 'driver' else 'Set_Input_Torque'

    def _last_fresh(self, heard: list[Heard], node: int, until: float) -> Heard:
        """Return the last command; what repeats it has its value. Killed: the last of all."""
        sent = [
            f
            for f in heard
            if f.node_id == node and f.name == 'Set_Input_Torque' and f.time < until and f.value
        ]
        last = len(sent) - 1
        while self._case != 'driver' and last and sent[last - 1].value == sent[-1].value:
            last -= 1
        return sent[last]


def _moves(frame: Heard, off_at: float) -> bool:
    """Say whether a frame after `off_at` arms, commands torque or tells of some."""
    if frame.name == 'Set_Axis_State':
        return frame.time > off_at and frame.value == CLOSED_LOOP
    lag = REPORT_LAG if frame.name == 'Get_Torques' else 0.0
    return frame.time > off_at + lag and frame.name != 'Estop' and frame.value != 0.0


@contextlib.contextmanager
def robot(case: str) -> Iterator[Trials]:
    """Run the processes of a case."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        profile = Path(folder) / 'profile.xml'
        profile.write_text(QUICKLY_GONE, encoding='utf-8')
        environment = {'FASTDDS_DEFAULT_PROFILES_FILE': str(profile)}
        network = None
        if case == 'cut':
            network = Network()
            stack.callback(network.close)
            environment |= {
                'FASTDDS_BUILTIN_TRANSPORTS': 'UDPv4',
                'ROS_AUTOMATIC_DISCOVERY_RANGE': 'SUBNET',
            }
        os.environ |= environment
        processes = Processes()
        stack.callback(processes.end)
        trials = Trials(case, processes, network)
        stack.callback(trials.close)
        prefer_punctuality()
        run_in_real_time(PRIORITY)
        yield trials


def measure(case: str, wanted: int, folder: Path) -> None:
    """Run the trials that are missing."""
    path = folder / f'{case}.jsonl'
    done = len(read(path))
    while done < wanted:
        with robot(case) as trials:
            while done < wanted:
                try:
                    row = trials.run_one()
                except (RuntimeError, TimeoutError) as err:
                    row = {'aborted': str(err)}
                with path.open('a', encoding='utf-8') as file:
                    file.write(json.dumps(row) + '\n')
                if 'aborted' in row:
                    break
                done += 1


def read(path: Path) -> list[dict]:
    """Return the trials of a case, without those that did not come to the fault."""
    if not path.exists():
        return []
    rows = [json.loads(line) for line in path.read_text(encoding='utf-8').splitlines()]
    return [row for row in rows if 'aborted' not in row]


def summary(case: str, folder: Path) -> str:
    """Return a case's line."""
    rows = read(folder / f'{case}.jsonl')
    times, goal = [row['ms'] for row in rows], GOALS[case]
    load = statistics.median(row['load'] for row in rows)
    lines = (folder / f'{case}.jsonl').read_text(encoding='utf-8').splitlines()
    within = sum(each <= goal for each in times)
    again = sum(bool(row['armed_again']) for row in rows)
    return (
        f'{TITLES[case]}: torque zero {statistics.median(times):.1f} ms after the last fresh '
        f'command (median), {max(times):.1f} ms at most; {goal:g} ms or less in {within} of '
        f'{len(rows)}; {max(row["ms_from_fault"] for row in rows):.1f} ms at most after the '
        f'fault; armed again by itself: {again}, watched for {min(r["watched"] for r in rows):.1f}'
        f' s at least; applied_action agrees in {sum(row["agrees"] for row in rows)}; '
        f'{len(lines) - len(rows)} begun anew; load {load:.1f}'
    )


def main() -> None:
    """Run what is missing and print a line a case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--trials', type=int, default=100)
    parser.add_argument('--only', default=','.join(TITLES))
    parser.add_argument('--output', type=Path, default=Path('runs/cutout'))
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault('ROS_DOMAIN_ID', '95')
    for case in options.only.split(','):
        measure(case, options.trials, options.output)
        print(summary(case, options.output), flush=True)


if __name__ == '__main__':
    main()
