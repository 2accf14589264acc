"""The watch that says after which failures a test of moments runs again."""

import os
import signal
import time

from machine_watch import PAUSE, MachineWatch


def test_a_pause_is_noticed_and_belongs_to_its_test_alone(wait_until):
    machine = MachineWatch()
    machine.start()
    try:
        machine.begin()

        def paused():  # the process may not have begun to watch the first time
            os.kill(machine.process.pid, signal.SIGSTOP)
            time.sleep(3 * PAUSE)
            os.kill(machine.process.pid, signal.SIGCONT)
            return machine.stood_still()

        wait_until(paused, 20.0, 'a pause')
        assert max(machine.pauses()) > 2 * PAUSE
        machine.begin()
        assert machine.pauses() == []
    finally:
        machine.stop()


def test_what_a_part_saw_counts_where_it_is_long_enough():
    machine = MachineWatch()
    machine.note(0.9 * PAUSE)
    assert not machine.stood_still()
    machine.note(1.1 * PAUSE)
    machine.note(0.0)
    assert machine.stood_still()
    machine.begin()
    assert not machine.stood_still()
