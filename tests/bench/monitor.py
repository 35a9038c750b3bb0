# SPDX-License-Identifier: MIT
"""Messages a second, and how long each waits, beside the least that a server can do."""

import subprocess

import machines
import report

MESSAGES = 20_000       # in a round
ROUNDS_MAX = 9
UNIT = 1000             # ns in what is printed
# Connections, and requests that each has under way.
SHAPES = ((1, 1), (1, 8), (100, 1), (100, 8))
RATE_AIM, LATENCY_AIM = 0.70, 5.0       # of the other server's; p99 to median
_STATUS = machines.request("query-status")


def _chat(tools, path, connections, depth):
    """Messages a second, and the latencies in ns."""
    done = subprocess.run([tools.program("chatter"), path, str(connections), str(depth),
                           str(MESSAGES)], capture_output=True, text=True, check=False,
                          timeout=machines.TIMEOUT)
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    took, *latencies = map(int, done.stdout.split())
    return len(latencies) / took * 1e9, latencies


def _row(shape, ours, theirs):
    """Of the rounds' rates the median; of each round's latencies p50 and p99, and of those too."""
    def middle(samples, q):
        return report.median([report.quantile(latencies, q) for _, latencies in samples])

    rates = [report.median([rate for rate, _ in samples]) for samples in (ours, theirs)]
    p50, p99 = middle(ours, 0.5), middle(ours, 0.99)
    share = report.median([a / b for (a, _), (b, _) in zip(ours, theirs)])
    met = share >= RATE_AIM and p99 / p50 < LATENCY_AIM
    return ["%d x %d" % shape, *map(report.number, rates), f"{share:.2f}",
            report.number(p50 / UNIT), report.number(p99 / UNIT), f"{p99 / p50:.2f}",
            report.number(middle(theirs, 0.5) / UNIT), report.number(middle(theirs, 0.99) / UNIT),
            "yes" if met else "no"]


def measure(tools, vmond, _qemu, options):
    echo_path = machines.new_socket_path(tools)
    with machines.Machine(vmond, "halted", 1) as machine:
        _, answer = machine.monitor.round_trip(_STATUS)
        path = machine.monitor.socket.getpeername()
        with machines.Process([tools.program("echo_event"), echo_path, str(len(answer))]) as echo:
            echo.await_bytes(1)
            rows = []
            for shape in SHAPES:
                ours, theirs = [], []
                for _ in range(min(ROUNDS_MAX, options.rounds)):
                    theirs.append(_chat(tools, echo_path, *shape))
                    ours.append(_chat(tools, path, *shape))
                rows.append(_row(shape, ours, theirs))
    report.print_table(
        f"query-status, clients x requests under way, {MESSAGES} messages a round, beside a server "
        "on libevent that parses nothing",
        ["", "vmond/s", "server/s", "ratio", "us p50", "p99", "p99/p50", "server p50", "p99",
         f"aims ({RATE_AIM:.2f}, {LATENCY_AIM:.0f})"], rows)
