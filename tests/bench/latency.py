# SPDX-License-Identifier: MIT
"""How long a monitor's client waits for its answer."""

import time

import machines
import report

ROUNDS_AT_A_TURN = 10   # of one program, before it is the other's turn
SETTLE = 0.002          # seconds after which processors that were let go run again
UNIT = 1000             # ns in what is printed

_STOP = machines.request("stop")
_CONT = machines.request("cont")
_ALL = machines.hmp("info registers -a")
_ONE = machines.hmp("info registers")

# A round: the machine runs before it and after it.  Steps with no name are not reported.
ROUND = (
    ("query-status", machines.request("query-status")),
    ("query-cpus-fast", machines.request("query-cpus-fast")),
    ("info registers, running", _ONE),
    ("info registers -a, running", _ALL),
    ("stop", _STOP),
    ("cont", _CONT),
    (None, _STOP),
    ("info registers, paused", _ONE),
    ("info registers -a, paused", _ALL),
    ("cont after info registers -a", _CONT),
)
ECHO = "(echo server, same load)"


def _measure_round(machine, samples):
    for name, request in ROUND:
        took, _ = machine.monitor.round_trip(request)
        if name:
            samples.setdefault(name, []).append(took)
        if request is _CONT:
            time.sleep(SETTLE)


def _measure_echo(connection, samples):
    took, _ = connection.round_trip(b'{"return": {}}\r\n')
    samples.setdefault(ECHO, []).append(took)


def _take_turns(contestants, echo, rounds, seconds):
    """Each machine's samples by step, until enough rounds or seconds have gone by.

    They are measured in turn, so that a host that gets slower does so for both, and the one that is
    not measured is frozen."""
    samples = [{} for _ in contestants]
    end = time.monotonic() + seconds
    done = 0
    for machine in contestants:
        machine.freeze()
    while done < rounds and (done == 0 or time.monotonic() < end):
        turn = min(ROUNDS_AT_A_TURN, rounds - done)
        for machine, own in zip(contestants, samples):
            machine.thaw()
            time.sleep(SETTLE)
            _measure_round(machine, {})         # brings back what the caches have lost
            for _ in range(turn):
                _measure_round(machine, own)
                _measure_echo(echo, own)
            machine.freeze()
        done += turn
    return samples, done


def _rows(samples):
    ours, theirs = samples
    for step in ours:
        ratio = report.median(ours[step]) / report.median(theirs[step])
        yield [step, *report.spread(ours[step], UNIT), *report.spread(theirs[step], UNIT),
               "" if step == ECHO else f"{ratio:.3f}"]


def measure(tools, vmond, qemu, options):
    for cpus in options.cpus:
        for load in options.loads:
            echo_path = machines.new_socket_path(tools)
            with machines.Machine(vmond, load, cpus) as ours, \
                    machines.Machine(qemu, load, cpus) as theirs, \
                    machines.Process([tools.program("echo"), echo_path]) as echo_process:
                echo_process.await_bytes(1)
                echo = machines.Connection(echo_path)
                samples, rounds = _take_turns([ours, theirs], echo, options.rounds,
                                              options.seconds)
                echo.close()
            report.print_table(
                f"Monitor round trip, us, {rounds} rounds: {cpus} vCPU, {load}",
                ["", "vmond p50", "min", "p90", "QEMU p50", "min", "p90", "vmond/QEMU"],
                list(_rows(samples)))
